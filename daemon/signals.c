/* SPDX-License-Identifier: MIT */
#include "daemon/signals.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <sys/signalfd.h>
#include <unistd.h>

int signals_open(void)
{
    sigset_t set;
    (void)sigemptyset(&set);                  /* can not fail */
    (void)sigaddset(&set, SIGTERM);           /* likewise, for a signal that there is */
    (void)sigaddset(&set, SIGINT);            /* likewise */
    (void)sigaddset(&set, SIGHUP);            /* likewise */
    (void)sigaddset(&set, SIGCHLD);           /* likewise */
    (void)sigprocmask(SIG_BLOCK, &set, NULL); /* likewise */
    const int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return fd < 0 ? -errno : fd;
}

int signals_take(int signal_fd)
{
    struct signalfd_siginfo info;
    return read(signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info) ? (int)info.ssi_signo : 0;
}

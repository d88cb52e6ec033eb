/* SPDX-License-Identifier: MIT */
#include "client/ctl/signals.h"

#include <errno.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

/* Those that end a process and are sent by people, and the one that tells of children. */
static const int held_back[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGCHLD};

static sigset_t held_back_set(void)
{
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < sizeof(held_back) / sizeof(held_back[0]); i++) {
        sigaddset(&set, held_back[i]);
    }
    return set;
}

int signals_open(struct signals *signals)
{
    const struct sigaction ignored = {.sa_handler = SIG_IGN};
    const struct sigaction usual = {.sa_handler = SIG_DFL};
    sigset_t set = held_back_set();
    signals->fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (signals->fd < 0) {
        return -errno;
    }
    /* None of these can fail: the numbers are right. */
    (void)sigprocmask(SIG_BLOCK, &set, &signals->mask_before);
    (void)sigaction(SIGPIPE, &ignored, &signals->pipe_before);
    /* Inherited as ignored, children could not be waited for. */
    (void)sigaction(SIGCHLD, &usual, NULL);
    return 0;
}

void signals_restore(const struct signals *signals)
{
    (void)sigaction(SIGPIPE, &signals->pipe_before, NULL);
    (void)sigprocmask(SIG_SETMASK, &signals->mask_before, NULL);
}

void signals_clear(void)
{
    const struct sigaction usual = {.sa_handler = SIG_DFL};
    sigset_t none;
    sigemptyset(&none);
    (void)sigaction(SIGPIPE, &usual, NULL);
    (void)sigaction(SIGTERM, &usual, NULL);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/* What came too late to be forwarded is dropped: it asked us to end, and we do. */
void signals_close(struct signals *signals)
{
    while (signals_take(signals, false).number != 0) {
    }
    (void)close(signals->fd);
    signals->fd = -1;
    signals_restore(signals);
}

struct signal_received signals_take(const struct signals *signals, bool may_wait)
{
    struct pollfd readable = {.fd = signals->fd, .events = POLLIN};
    struct signalfd_siginfo info;
    (void)poll(&readable, 1, may_wait ? -1 : 0); /* interrupted, it finds nothing: asked again */
    if (read(signals->fd, &info, sizeof(info)) != (ssize_t)sizeof(info)) {
        return (struct signal_received){0};
    }
    return (struct signal_received){
        .number = (int)info.ssi_signo,
        .is_terminal_key = info.ssi_code == SI_KERNEL,
    };
}

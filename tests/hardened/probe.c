/* SPDX-License-Identifier: MIT */
/*
 * probe.c - what is kept from kmemd in the sandbox of its unit: run as the launcher's program
 *
 * A sandbox that keeps nothing back would let every test pass.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static unsigned int n_wrong;

static void want(bool is_so, const char *what)
{
    if (!is_so) {
        (void)fprintf(stderr, "%s: %s\n", what, strerror(errno));
        n_wrong++;
    }
}

static bool is_refused(long r, int error)
{
    return r < 0 && errno == error;
}

static void probe_calls(void)
{
    const struct sched_param first = {.sched_priority = 1};
    want(is_refused(socket(AF_INET, SOCK_STREAM, 0), EAFNOSUPPORT), "another family of sockets");
    want(is_refused(unshare(CLONE_NEWUSER), EPERM), "a namespace");
    want(is_refused(sched_setscheduler(0, SCHED_FIFO, &first), EPERM), "realtime");
    want(is_refused(personality(ADDR_NO_RANDOMIZE), EPERM), "another personality");
    want(is_refused(syscall(SYS_mount, "a", "/", "b", 0UL, NULL), EPERM), "a mount");
    want(is_refused(syscall(SYS_ptrace, 0L, 0L, 0L, 0L), EPERM), "a debugger");
    want(is_refused(syscall(SYS_bpf, 0, NULL, 0), EPERM), "a program for the kernel");
    want(is_refused(fchmod(STDERR_FILENO, S_ISUID), EPERM), "a set-user-ID file");
    want(mmap(NULL, 4096, PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED,
         "memory that is written and executed");
}

static void probe_files(void)
{
    want(is_refused(open("/etc/hardened-probe", O_CREAT | O_WRONLY | O_CLOEXEC, 0600), EROFS),
         "a file in /etc");
    want(is_refused(open("/proc/sys/vm/swappiness", O_WRONLY | O_CLOEXEC), EROFS) ||
             errno == EACCES,
         "a setting of the kernel");
    want(access("/dev/kmsg", F_OK) < 0, "a device");
}

static void probe_rights(void)
{
    struct rlimit core;
    want(geteuid() != 0 && getegid() != 0, "a user of its own");
    want(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1, "no new privileges");
    want(prctl(PR_CAPBSET_READ, 0) == 0, "no capability");
    want(getrlimit(RLIMIT_CORE, &core) == 0 && core.rlim_max == 0, "no core dump");
}

int main(void)
{
    probe_calls();
    probe_files();
    probe_rights();
    return n_wrong == 0 ? 0 : 1;
}

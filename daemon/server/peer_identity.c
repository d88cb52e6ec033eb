/* SPDX-License-Identifier: MIT */
/*
 * peer_identity.c - from a connection to a process
 *
 * A pid is a number that another process may have a moment later. So everything hangs on the pidfd
 * that the kernel makes of the connection itself, and /proc only adds to it:
 *
 *      SO_PEERCRED    user, group and pid at the time of the connect(); pid 0: not visible here
 *      SO_PEERPIDFD   the process (Linux 6.5)
 *      its inode      no other process has it until the next boot (pidfs, Linux 6.9)
 *      /proc          start time and command, if it shows that process at all (hidepid=, no /proc,
 *                     another pid namespace: it does not)
 *      poll()         the process lives: what was read under its number was about it
 *
 * Before Linux 6.5 the pidfd is opened by number. Then /proc must confirm the user before and the
 * start time after: so at worst it is another process of the same user.
 */
#include "daemon/server/peer_identity.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "daemon/server/cgroup_unit.h"
#include "proto/text.h"

/* From <asm-generic/socket.h> of Linux 6.5; older headers lack it, older kernels refuse it. */
#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif
/* From <linux/magic.h> of Linux 6.9. Before, all pidfds have the same inode. */
#ifndef PID_FS_MAGIC
#define PID_FS_MAGIC 0x50494446
#endif

/* NGROUPS_MAX is 65,536, but nobody is in a thousand groups; the kernel tells all or none. */
#define GROUPS_READ_MAX 1024

/* ----------------------------------------------------------------------------------- /proc ---- */

/* Reads a small file of /proc as a string. Return: 0; -ESRCH: it is not shown; or another errno. */
static int proc_read(const char *process, const char *file, char *buffer, size_t buffer_bytes)
{
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/%s/%s", process, file); /* fits */
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        const bool is_hidden =
            errno == ENOENT || errno == ENOTDIR || errno == EACCES || errno == EPERM;
        return is_hidden ? -ESRCH : -errno;
    }
    const ssize_t n_bytes = read(fd, buffer, buffer_bytes - 1);
    const int error = errno;
    (void)close(fd); /* only read */
    if (n_bytes < 0) {
        return -error;
    }
    buffer[n_bytes] = '\0';
    return 0;
}

/* Field 22 of /proc/PID/stat; the command before it may hold spaces and parentheses. */
static int start_time_read(const char *process, uint64_t *ret_start_time)
{
    char stat[1024];
    const int r = proc_read(process, "stat", stat, sizeof(stat));
    if (r) {
        return r;
    }
    char *at = strrchr(stat, ')');
    for (int field = 2; field < 22 && at; field++) {
        at = strchr(at + 1, ' ');
    }
    if (!at) {
        return -EPROTO;
    }
    *ret_start_time = strtoull(at + 1, NULL, 10);
    return 0;
}

/* The kernel takes any bytes for a command, and cuts between the bytes of a character. */
static int command_read(const char *process, char *ret_command)
{
    char command[COMMAND_BYTES + 1];
    const int r = proc_read(process, "comm", command, sizeof(command));
    if (r == 0) {
        command[strcspn(command, "\n")] = '\0';
        (void)text_clean(command, ret_command, COMMAND_BYTES); /* its length */
    }
    return r;
}

int peer_identity_pid_of(int pidfd, long *ret_pid)
{
    char file[32];
    char text[1024];
    (void)snprintf(file, sizeof(file), "fdinfo/%d", pidfd); /* fits */
    const int r = proc_read("self", file, text, sizeof(text));
    if (r) {
        return r;
    }
    const char *line = strstr(text, "Pid:");
    *ret_pid = line ? strtol(line + strlen("Pid:"), NULL, 10) : 0;
    return 0;
}

/*
 * What /proc knows of the process: its start time, 0 if nothing, and its command, "?" if nothing.
 * The mounted /proc may be of another pid namespace, so it is asked for its own number of the
 * process. Return: 0 or a negative errno.
 */
static int peer_identity_describe(int pidfd, struct client_identity *identity)
{
    char process[24];
    long pid = 0;
    int r = peer_identity_pid_of(pidfd, &pid);
    if (r == 0 && pid <= 0) {
        r = -ESRCH;
    }
    if (r == 0) {
        (void)snprintf(process, sizeof(process), "%ld", pid); /* fits */
        r = start_time_read(process, &identity->start_time);
    }
    r = r ? r : command_read(process, identity->command);
    if (r == -ESRCH) {
        identity->start_time = 0;
        (void)snprintf(identity->command, sizeof(identity->command), "?"); /* fits */
    }
    return r == -ESRCH ? 0 : r;
}

/* ----------------------------------------------------------------------------------- pidfd ---- */

bool peer_identity_has_ended(int pidfd)
{
    struct pollfd process = {.fd = pidfd, .events = POLLIN};
    return poll(&process, 1, 0) == 1;
}

uint64_t peer_identity_inode_of(int pidfd)
{
    struct statfs system;
    struct stat status;
    return fstatfs(pidfd, &system) == 0 && system.f_type == PID_FS_MAGIC &&
                   fstat(pidfd, &status) == 0
               ? status.st_ino
               : 0;
}

static int pidfd_open_by_number(uint32_t pid)
{
    const int pidfd = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0);
    return pidfd < 0 ? -errno : pidfd; /* ESRCH, if there is no such process */
}

/* Whether one of the users that a process is now is the one that has connected. */
static int user_compare(const char *process, uint32_t uid)
{
    char status[4096];
    const int r = proc_read(process, "status", status, sizeof(status));
    const char *at = r == 0 ? strstr(status, "\nUid:") : NULL;
    at = at ? at + strlen("\nUid:") : NULL;
    for (int i = 0; i < 4 && at; i++) {
        char *end;
        if (strtoul(at, &end, 10) == uid) {
            return 0;
        }
        at = end;
    }
    return r ? r : -ESRCH;
}

/* The pidfd as it was had before Linux 6.5. Return: 0, IDENTITY_E_UNSEEN, or a negative errno. */
static int pidfd_compare(const struct client_identity *identity, int *ret_pidfd)
{
    char process[24];
    uint64_t before;
    uint64_t after;
    (void)snprintf(process, sizeof(process), "%u", identity->pid); /* fits */
    int r = identity->pid == 0 ? -ESRCH : start_time_read(process, &before);
    if (r) {
        return r == -ESRCH ? IDENTITY_E_UNSEEN : r;
    }
    const int pidfd = pidfd_open_by_number(identity->pid);
    if (pidfd < 0) {
        return pidfd;
    }
    r = user_compare(process, identity->uid);
    r = r ? r : start_time_read(process, &after);
    if (r == 0 && before != after) {
        r = -ESRCH;
    }
    if (r) {
        (void)close(pidfd); /* of the wrong process */
        return r;
    }
    *ret_pidfd = pidfd;
    return 0;
}

/* Return: 0, IDENTITY_E_UNSEEN, or a negative errno. */
static int pidfd_take(int fd, const struct client_identity *identity, int *ret_pidfd)
{
    int pidfd;
    socklen_t pidfd_bytes = sizeof(pidfd);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &pidfd_bytes) == 0) {
        *ret_pidfd = pidfd; /* close-on-exec, says the kernel */
        return 0;
    }
    return errno == ENOPROTOOPT ? pidfd_compare(identity, ret_pidfd) : -errno;
}

int peer_identity_read(int fd, struct client_identity *ret_identity, int *ret_pidfd)
{
    struct ucred peer;
    int pidfd = -1;
    socklen_t peer_bytes = sizeof(peer);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &peer_bytes) < 0) {
        return -errno;
    }
    struct client_identity identity = {
        .pid = peer.pid > 0 ? (uint32_t)peer.pid : 0,
        .uid = peer.uid,
        .gid = peer.gid,
        .command = "?",
    };
    *ret_identity = identity; /* for those who say why it is refused */
    int r = pidfd_take(fd, &identity, &pidfd);
    if (r) {
        return r == -ESRCH ? IDENTITY_E_ENDED : r;
    }
    identity.inode = peer_identity_inode_of(pidfd);
    r = peer_identity_describe(pidfd, &identity);
    if (r == 0 && peer_identity_has_ended(pidfd)) {
        r = IDENTITY_E_ENDED; /* /proc may have told of the next process with that number */
    }
    if (r) {
        (void)close(pidfd); /* nothing is written through it */
        return r;
    }
    *ret_identity = identity;
    *ret_pidfd = pidfd;
    return 0;
}

/* Whether a pidfd that was opened by number is of the process that is meant. */
static int pidfd_check(int pidfd, const struct client_identity *identity)
{
    char process[24];
    uint64_t start_time = 0;
    const uint64_t inode = peer_identity_inode_of(pidfd);
    if (inode != 0 && identity->inode != 0) {
        return inode == identity->inode ? 0 : -ESRCH;
    }
    if (identity->start_time == 0) {
        return 0; /* nothing says that it is another */
    }
    (void)snprintf(process, sizeof(process), "%u", identity->pid); /* fits */
    const int r = start_time_read(process, &start_time);
    if (r) {
        return r;
    }
    return start_time == identity->start_time ? 0 : -ESRCH;
}

int peer_identity_open(const struct client_identity *identity)
{
    if (identity->pid == 0) {
        return -EOPNOTSUPP;
    }
    const int pidfd = pidfd_open_by_number(identity->pid);
    const int r = pidfd < 0 ? pidfd : pidfd_check(pidfd, identity);
    if (r && pidfd >= 0) {
        (void)close(pidfd); /* of the wrong process */
    }
    return r ? r : pidfd;
}

/* Return: 0 or a negative errno. */
static int unit_read(int pidfd, char *ret_unit)
{
    char process[24];
    char cgroup[4096];
    long pid = 0;
    int r = peer_identity_pid_of(pidfd, &pid);
    if (r || pid <= 0) {
        return r ? r : -ESRCH;
    }
    (void)snprintf(process, sizeof(process), "%ld", pid); /* fits */
    r = proc_read(process, "cgroup", cgroup, sizeof(cgroup));
    if (r == 0 && peer_identity_has_ended(pidfd)) {
        r = -ESRCH; /* it may have told of the next process with that number */
    }
    if (r == 0) {
        cgroup_unit(cgroup, ret_unit);
    }
    return r;
}

void peer_identity_unit(const struct client_identity *identity, char *ret_unit)
{
    const int pidfd = peer_identity_open(identity);
    const int r = pidfd < 0 ? pidfd : unit_read(pidfd, ret_unit);
    if (r) {
        (void)snprintf(ret_unit, UNIT_NAME_BYTES, "?"); /* fits */
    }
    if (pidfd >= 0) {
        (void)close(pidfd); /* nothing is written through it */
    }
}

unsigned peer_identity_roles(int fd, const struct client_identity *identity,
                             const struct roles *roles)
{
    gid_t groups[GROUPS_READ_MAX];
    socklen_t groups_bytes = sizeof(groups);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &groups_bytes) < 0) {
        groups_bytes = 0;
    }
    const struct roles_peer peer = {
        .uid = identity->uid,
        .gid = identity->gid,
        .groups = groups,
        .n_groups = groups_bytes / sizeof(groups[0]),
    };
    return roles_of(roles, &peer);
}

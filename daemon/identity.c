/* SPDX-License-Identifier: MIT */
#include "daemon/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "proto/text.h"

/* From <asm-generic/socket.h> of Linux 6.5; older headers lack it, older kernels refuse it. */
#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

/* What the kernel shows for a user that has no number in this namespace. */
#define OVERFLOW_UID 65534

/* NGROUPS_MAX is 65,536, but nobody is in a thousand groups; the kernel tells all or none. */
#define GROUPS_READ_MAX 1024

/* Reads a small file of /proc as a string. */
static int proc_read(uint32_t pid, const char *file, char *buffer, size_t buffer_bytes)
{
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/%u/%s", pid, file); /* fits */
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return errno == ENOENT ? -ESRCH : -errno;
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
static int start_time_read(uint32_t pid, uint64_t *ret_start_time)
{
    char stat[1024];
    const int r = proc_read(pid, "stat", stat, sizeof(stat));
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

int identity_read(int fd, struct client_identity *ret_identity)
{
    struct ucred peer;
    socklen_t peer_bytes = sizeof(peer);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &peer_bytes) < 0) {
        return -errno;
    }
    if (peer.pid <= 0) {
        return -ESRCH;
    }
    struct client_identity identity = {
        .pid = (uint32_t)peer.pid,
        .uid = peer.uid,
        .gid = peer.gid,
    };
    char command[COMMAND_BYTES + 1];
    int r = start_time_read(identity.pid, &identity.start_time);
    if (r == 0) {
        r = proc_read(identity.pid, "comm", command, sizeof(command));
    }
    if (r) {
        return r;
    }
    command[strcspn(command, "\n")] = '\0';
    /* The kernel takes any bytes, and cuts between the bytes of a character. */
    (void)text_clean(command, identity.command, sizeof(identity.command)); /* its length */
    *ret_identity = identity;
    return 0;
}

int identity_open(const struct client_identity *identity)
{
    const int pidfd = (int)syscall(SYS_pidfd_open, (pid_t)identity->pid, 0);
    if (pidfd < 0) {
        return -errno; /* ESRCH, if there is no such process */
    }
    uint64_t start_time;
    int r = start_time_read(identity->pid, &start_time);
    if (r == 0 && start_time != identity->start_time) {
        r = -ESRCH;
    }
    if (r) {
        (void)close(pidfd); /* of the wrong process */
        return r;
    }
    return pidfd;
}

int identity_pidfd(int fd, const struct client_identity *identity)
{
    int pidfd;
    socklen_t pidfd_bytes = sizeof(pidfd);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &pidfd_bytes) == 0) {
        return pidfd; /* close-on-exec, says the kernel */
    }
    return errno == ENOPROTOOPT ? identity_open(identity) : -errno;
}

int identity_pid_of(int pidfd, long *ret_pid)
{
    char file[32];
    char text[1024];
    (void)snprintf(file, sizeof(file), "fdinfo/%d", pidfd); /* fits */
    const int r = proc_read((uint32_t)getpid(), file, text, sizeof(text));
    if (r) {
        return r;
    }
    const char *line = strstr(text, "Pid:");
    *ret_pid = line ? strtol(line + strlen("Pid:"), NULL, 10) : 0;
    return 0;
}

bool identity_may_join(int fd, const struct client_identity *identity, bool has_group, gid_t group)
{
    if (identity->uid == 0 || identity->uid == geteuid()) {
        return true;
    }
    if (identity->uid == OVERFLOW_UID || !has_group) {
        return false;
    }
    gid_t groups[GROUPS_READ_MAX];
    socklen_t groups_bytes = sizeof(groups);
    if (identity->gid == group) {
        return true;
    }
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &groups_bytes) < 0) {
        return false;
    }
    for (size_t i = 0; i < groups_bytes / sizeof(groups[0]); i++) {
        if (groups[i] == group) {
            return true;
        }
    }
    return false;
}

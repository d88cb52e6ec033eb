/* SPDX-License-Identifier: MIT */
/*
 * recorder.c - LD_PRELOAD: what a program says to kmemd and hears from it, as files
 *
 * All that goes through send() and recv() over Unix sockets is added to $KMEM_RECORD/PID-FD.out and
 * .in: streams of frames, which tests/fuzz/seeds makes inputs of.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/attributes.h"

#define PUBLIC __attribute__((visibility("default")))

static void record(int fd, const char *way, const void *bytes, ssize_t n_bytes)
{
    char path[4096];
    const char *directory = getenv("KMEM_RECORD");
    if (!directory || n_bytes <= 0) {
        return;
    }
    (void)snprintf(path, sizeof(path), "%s/%d-%d.%s", directory, (int)getpid(), fd, way);
    const int file = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (file >= 0) {
        (void)!write(file, bytes, (size_t)n_bytes); /* a recording may be cut */
        (void)close(file);
    }
}

PUBLIC ssize_t send(int fd, const void *bytes, size_t n_bytes, int flags)
{
    static ssize_t (*next)(int, const void *, size_t, int);
    next = next ? next : (ssize_t(*)(int, const void *, size_t, int))dlsym(RTLD_NEXT, "send");
    const ssize_t n = next(fd, bytes, n_bytes, flags);
    record(fd, "out", bytes, n);
    return n;
}

PUBLIC ssize_t recv(int fd, void *bytes, size_t n_bytes, int flags)
{
    static ssize_t (*next)(int, void *, size_t, int);
    next = next ? next : (ssize_t(*)(int, void *, size_t, int))dlsym(RTLD_NEXT, "recv");
    const ssize_t n = next(fd, bytes, n_bytes, flags);
    record(fd, "in", bytes, flags & MSG_PEEK ? 0 : n);
    return n;
}

/* Descriptors come with a Welcome. */
PUBLIC ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
    static ssize_t (*next)(int, struct msghdr *, int);
    next = next ? next : (ssize_t(*)(int, struct msghdr *, int))dlsym(RTLD_NEXT, "recvmsg");
    const ssize_t n = next(fd, message, flags);
    if (n > 0 && message->msg_iovlen > 0 && !(flags & MSG_PEEK)) {
        const size_t n_first = message->msg_iov[0].iov_len;
        record(fd, "in", message->msg_iov[0].iov_base, (size_t)n < n_first ? n : (ssize_t)n_first);
    }
    return n;
}

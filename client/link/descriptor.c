/* SPDX-License-Identifier: MIT */
#include "client/link/descriptor.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * A shell's `exec 3<file`, and programs that close 3 and everything above it before they open their
 * own, use low numbers. A high one stays out of their way; the table of descriptors is as long as
 * the highest, so it is not higher than that takes.
 */
#define HIGH_DESCRIPTOR 500
/* Behind the standard ones. */
#define LOWEST_DESCRIPTOR 3

int kmem__descriptor_raise(int fd)
{
    struct rlimit limit;
    rlim_t lowest = HIGH_DESCRIPTOR;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur / 2 < HIGH_DESCRIPTOR) {
        lowest = limit.rlim_cur / 2;
    }
    lowest = lowest < LOWEST_DESCRIPTOR ? LOWEST_DESCRIPTOR : lowest;
    const int high = fcntl(fd, F_DUPFD_CLOEXEC, (int)lowest);
    if (high < 0) {
        return fd;
    }
    (void)close(fd); /* it goes on as the other one */
    return high;
}

struct descriptor_id kmem__descriptor_identify(int fd)
{
    struct stat status;
    return fstat(fd, &status) == 0 ? (struct descriptor_id){status.st_dev, status.st_ino}
                                   : (struct descriptor_id){0, 0};
}

bool kmem__descriptor_is(int fd, struct descriptor_id id)
{
    struct stat status;
    return fd >= 0 && fstat(fd, &status) == 0 && status.st_dev == id.device &&
           status.st_ino == id.inode;
}

void kmem__standard_occupy(struct standard *standard)
{
    for (int i = 0; i < LOWEST_DESCRIPTOR; i++) {
        standard->fd[i] = -1;
        if (fcntl(i, F_GETFD) < 0 && errno == EBADF) {
            /* Not connected to anything: what is written to it fails, as to a closed one. */
            standard->fd[i] = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
            standard->id[i] = kmem__descriptor_identify(standard->fd[i]);
        }
    }
}

void kmem__standard_vacate(const struct standard *standard)
{
    for (int i = 0; i < LOWEST_DESCRIPTOR; i++) {
        if (standard->fd[i] >= 0 && kmem__descriptor_is(standard->fd[i], standard->id[i])) {
            (void)close(standard->fd[i]); /* nothing came or went through it */
        }
    }
}

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

struct mark kmem__mark_of(int fd)
{
    struct stat status;
    if (fstat(fd, &status) == 0) {
        return (struct mark){fd, status.st_dev, status.st_ino};
    }
    (void)close(fd); /* it could not be told from another any more, and so never be closed */
    return (struct mark){.inode = 0};
}

bool kmem__mark_holds(const struct mark *mark)
{
    struct stat status;
    return mark->inode != 0 && fstat(mark->fd, &status) == 0 && status.st_dev == mark->device &&
           status.st_ino == mark->inode;
}

void kmem__mark_close(struct mark *mark)
{
    if (kmem__mark_holds(mark)) {
        (void)close(mark->fd); /* nothing is buffered */
    }
    mark->inode = 0;
}

void kmem__standard_occupy(struct standard *standard)
{
    for (int i = 0; i < LOWEST_DESCRIPTOR; i++) {
        standard->mark[i].inode = 0;
        if (fcntl(i, F_GETFD) < 0 && errno == EBADF) {
            /* Not connected to anything: what is written to it fails, as to a closed one. */
            standard->mark[i] = kmem__mark_of(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
        }
    }
}

void kmem__standard_vacate(struct standard *standard)
{
    for (int i = 0; i < LOWEST_DESCRIPTOR; i++) {
        kmem__mark_close(&standard->mark[i]);
    }
}

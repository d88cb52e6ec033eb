/* SPDX-License-Identifier: MIT */
/*
 * Releases a block that another process has allocated and told the offset of; or, built with
 * MISUSE_INTERIOR, a pointer into it, many pages behind its first byte.
 */
#include <sys/wait.h>
#include <unistd.h>

#include "tests/misuse/misuse.h"

#ifdef MISUSE_INTERIOR
static const int num_bytes = 400000;
static const int aimed_at = 300000;
#else
static const int num_bytes = 1000;
static const int aimed_at = 0;
#endif

/* Allocates a block, tells its offset, and waits for the pipe to be closed. */
static int be_the_owner(int offset_fd, int until_fd)
{
    char byte;
    void *block = misuse_allocate(num_bytes, "of another process");
    const uint64_t offset = kmem_offset_of(block);
    if (write(offset_fd, &offset, sizeof(offset)) != sizeof(offset)) {
        return 1;
    }
    const ssize_t n = read(until_fd, &byte, 1);
    kmem_release(&block);
    return n == 0 && block == NULL ? 0 : 1;
}

int main(int argc, char **argv)
{
    int offset_fds[2];
    int until_fds[2];
    int status = -1;
    uint64_t offset = 0;
    if (pipe(offset_fds) != 0 || pipe(until_fds) != 0) {
        return 1;
    }
    const pid_t owner = fork();
    if (owner == 0) {
        (void)close(until_fds[1]);
        _exit(be_the_owner(offset_fds[1], until_fds[0]));
    }
    misuse_begin(argc, argv);
    if (read(offset_fds[0], &offset, sizeof(offset)) != sizeof(offset)) {
        return 1;
    }
    char *const witness = misuse_witness();
    void *anothers = witness - kmem_offset_of(witness) + offset + aimed_at;
    kmem_release(&anothers);
    (void)close(until_fds[1]);
    const pid_t ended = waitpid(owner, &status, 0);
    return ended == owner && status == 0 && anothers != NULL ? misuse_end(witness) : 1;
}

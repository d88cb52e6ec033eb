/* SPDX-License-Identifier: MIT */
#include "client/map/map.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "client/tsan.h"
#include "proto/text.h"

#define CPU_PAGE_BYTES 4096

/*
 * Opens a mapping. A private one that is locked is populated by that, unless it is told to be
 * locked as it is touched; that it is locked nothing tells but its first page, which is there then.
 */
static int map_open(void *mapping, uint64_t num_bytes, int protection, int flags)
{
    unsigned char is_there = 0;
    if ((flags & MAP_PRIVATE) != 0) {
        if (mprotect(mapping, CPU_PAGE_BYTES, protection) < 0) {
            return -1;
        }
        (void)mincore(mapping, CPU_PAGE_BYTES, &is_there); /* it is mapped */
        if ((is_there & 1) != 0 && mlock2(mapping, num_bytes, MLOCK_ONFAULT) < 0) {
            (void)munlock(mapping, num_bytes); /* likewise */
        }
    }
    return mprotect(mapping, num_bytes, protection);
}

void *kmem__map_sparse(void *at, uint64_t num_bytes, int protection, int flags, int fd)
{
    void *mapping = kmem__tsan_map(at, num_bytes, PROT_NONE, flags, fd);
    if (mapping == MAP_FAILED || protection == PROT_NONE) {
        return mapping;
    }
    if (map_open(mapping, num_bytes, protection, flags) < 0) {
        const int error = errno;
        (void)munmap(mapping, num_bytes);
        errno = error;
        return MAP_FAILED;
    }
    return mapping;
}

int kmem__map_look(int fd, struct map_file *ret_file, struct failure *failure)
{
    struct stat status;
    const int r = fstat(fd, &status);
    const int seals = r < 0 ? -1 : fcntl(fd, F_GET_SEALS);
    /* EBADF: what was sent is no descriptor; EINVAL: no file that can be sealed. */
    if (seals < 0 && errno != EBADF && errno != EINVAL) {
        const int error = errno;
        return kmem__failure_set(failure, error, "what the daemon sent can not be looked at: %s",
                                 strerror(error));
    }
    *ret_file = (struct map_file){.num_bytes = 0};
    if (r == 0 && S_ISREG(status.st_mode)) {
        ret_file->num_bytes = (uint64_t)status.st_size;
        ret_file->seals = seals < 0 ? 0 : (unsigned int)seals;
    }
    return 0;
}

int kmem__map_failed(struct failure *failure, int error, const char *what, uint64_t num_bytes)
{
    char size[TEXT_BYTES_MAX];
    (void)text_format_bytes(num_bytes, size, sizeof(size)); /* its buffer */
    if (error == EAGAIN) {
        return kmem__failure_set(failure, ENOMEM,
                                 "can not map %s (%s): this program has called "
                                 "mlockall(MCL_FUTURE), and its RLIMIT_MEMLOCK does not allow so "
                                 "much more; raise it, or call the library before mlockall()",
                                 what, size);
    }
    return kmem__failure_set(failure, error, "can not map %s (%s): %s", what, size,
                             strerror(error));
}

/* SPDX-License-Identifier: MIT */
#include "client/malloc/inherited.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "client/inherit.h"

/* 64 KiB: larger blocks are pages of their own; less is not worth a call of the system. */
#define GIVE_BACK_BYTES ((size_t)64 * 1024)

#define CPU_PAGE_BYTES ((uintptr_t)4096)

bool inherited_may_join(void)
{
    return kmem__inherit_may_join();
}

bool inherited_has(const void *block)
{
    return kmem__inherit_has(block);
}

size_t inherited_num_bytes(const void *block)
{
    return kmem__inherit_sizeof(block);
}

int inherited_free(void *block)
{
    const size_t num_bytes = kmem__inherit_sizeof(block);
    const int r = kmem__inherit_release(block);
    if (r == 0 && num_bytes >= GIVE_BACK_BYTES) {
        const uintptr_t begin = ((uintptr_t)block + CPU_PAGE_BYTES - 1) & -CPU_PAGE_BYTES;
        const uintptr_t end = ((uintptr_t)block + num_bytes) & -CPU_PAGE_BYTES;
        const int saved_errno = errno;
        (void)madvise((unsigned char *)block + (begin - (uintptr_t)block), end - begin,
                      MADV_DONTNEED);
        errno = saved_errno;
    }
    return r;
}

/* The parent's memory is not to be touched, and there is none to take its place. */
void inherited_end(int error)
{
    char why[200];
    const int n_bytes = snprintf(why, sizeof(why),
                                 "kmem-malloc: fork(): no copy of the parent's heap: %s; "
                                 "process %d ends\n",
                                 strerrordesc_np(error), (int)getpid());
    (void)!write(STDERR_FILENO, why, (size_t)n_bytes);
    (void)kill(getpid(), SIGKILL);
    _exit(EXIT_FAILURE);
}

void inherited_part(void)
{
    const int saved_errno = errno;
    const int r = kmem__inherit_late();
    if (r < 0) {
        inherited_end(-r);
    }
    errno = saved_errno;
}

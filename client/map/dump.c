/* SPDX-License-Identifier: MIT */
#include "client/map/dump.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define CPU_PAGE_BYTES UINT64_C(4096)

/* client/malloc has it: a hook that is there or not, so that a static library needs none. */
extern const bool kmem_serves_malloc __attribute__((weak, visibility("default")));

bool kmem__dump_serves_malloc(void)
{
    return &kmem_serves_malloc != NULL;
}

enum dump kmem__dump_wanted(enum dump otherwise)
{
    const char *word = secure_getenv("KMEM_CORE");
    if (word == NULL) {
        return otherwise;
    }
    return strcmp(word, "blocks") == 0   ? DUMP_BLOCKS
           : strcmp(word, "ledger") == 0 ? DUMP_LEDGER
           : strcmp(word, "own") == 0    ? DUMP_OWN
                                         : DUMP_NONE;
}

void kmem__dump_leave_out(void *at, uint64_t num_bytes)
{
    /* If the kernel can not do it, core dumps are larger. That is no reason to fail. */
    (void)madvise(at, num_bytes, MADV_DONTDUMP);
}

void kmem__dump_keep(void *at, uint64_t num_bytes)
{
    const uint64_t skew = (uintptr_t)at % CPU_PAGE_BYTES;
    /* Likewise, if they are smaller. */
    (void)madvise((unsigned char *)at - skew, num_bytes + skew, MADV_DODUMP);
}

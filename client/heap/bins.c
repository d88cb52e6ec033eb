/* SPDX-License-Identifier: MIT */
#include "client/heap/bins.h"

#include <sys/mman.h>

#include "client/tsan.h"

/* Where a heap begins in its mapping: see CPU_PAGE_SKEW_BYTES. */
#define HEAP_SKEW_BYTES (CPU_PAGE_SKEW_BYTES + 0xc0)

struct heap *kmem__bins_map(void)
{
    const size_t n_bytes = HEAP_SKEW_BYTES + sizeof(struct heap);
    unsigned char *mapping =
        kmem__tsan_map(NULL, n_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    if (mapping == MAP_FAILED) {
        return NULL;
    }
    if (madvise(mapping, n_bytes, MADV_WIPEONFORK) < 0) {
        (void)munmap(mapping, n_bytes);
        return NULL;
    }
    return (struct heap *)(void *)(mapping + HEAP_SKEW_BYTES);
}

void kmem__bins_unmap(struct heap *heap)
{
    (void)munmap((unsigned char *)heap - HEAP_SKEW_BYTES, HEAP_SKEW_BYTES + sizeof(*heap));
}

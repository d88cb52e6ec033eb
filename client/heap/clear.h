/* SPDX-License-Identifier: MIT */
/*
 * clear.h - zeros, by size and by where the bytes are
 */
#ifndef CLIENT_HEAP_CLEAR_H
#define CLIENT_HEAP_CLEAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "proto/attributes.h"
#include "proto/clear.h"
#include "proto/limits.h"

/*
 * Up to here the stores are written out where a block is taken. Beyond, memset() has wider ones,
 * which make up for the call.
 */
#define CLEAR_INLINE_BYTES 64

/*
 * Above 2 KiB glibc's memset uses `rep stosb`, which is right for memory that is in no cache, and
 * often slower than a loop of stores where it is: see proto/clear.h.
 */
#define CLEAR_LOOP_MIN_BYTES CLEAR_BAND_MIN_BYTES

typedef unsigned char __attribute__((vector_size(16), aligned(16), may_alias)) clear_chunk;

/** kmem__clear_inline() - 1 to CLEAR_INLINE_BYTES bytes of a block, rounded up to 16 */
static inline void kmem__clear_inline(unsigned char *block, size_t num_bytes)
{
    const clear_chunk zero = {0};
    /* Whatever the size, the first chunk and the last; stores may fall on one another. */
    const size_t last = (num_bytes - 1) & ~(size_t)15;
    *(clear_chunk *)block = zero;
    *(clear_chunk *)(block + last) = zero;
    if (last < 32) {
        return;
    }
    *(clear_chunk *)(block + 16) = zero;
    *(clear_chunk *)(block + last - 16) = zero;
}

/**
 * kmem__clear_choose() - which loops are used from now on
 * @forced:  the loop for every block of CLEAR_LOOP_MIN_BYTES and more; CLEAR_UNSAID: as planned
 * @plan:    of the notice file; what can not be used here is not
 */
void kmem__clear_choose(enum clear_loop forced, uint32_t plan);

/**
 * kmem__clear() - CLEAR_LOOP_MIN_BYTES and more, as clear_function says
 * @is_warm:  whether the bytes are likely to be in the second-level cache
 *
 * Return: block, so that an allocation may end here.
 */
void *kmem__clear(unsigned char *block, size_t num_bytes, bool is_warm);

#endif

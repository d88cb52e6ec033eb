/* SPDX-License-Identifier: MIT */
/*
 * blocks.h - for clients with the library: blocks that are had and given back without fail
 */
#ifndef TESTS_SYSTEM_BLOCKS_H
#define TESTS_SYSTEM_BLOCKS_H

#include <stddef.h>
#include <string.h>

#include <kmem/kmem.h>

#include "tests/system/client.h"
#include "tests/system/harness.h"

static inline void *allocate(size_t num_bytes, const char *reason)
{
    void *const block = kmem_try_allocate(num_bytes, reason);
    if (block == NULL) {
        fail("%zu bytes: %s", num_bytes, kmem_last_error());
    }
    return block;
}

static inline void release(void *block)
{
    expect_equal(kmem_try_release(&block), 0);
}

/* Of which the first and the last byte tell how long it is. */
static inline unsigned char *allocate_marked(size_t num_bytes, const char *reason)
{
    unsigned char *const block = allocate(num_bytes, reason);
    expect_equal(block[0] | block[num_bytes - 1], 0);
    block[0] = (unsigned char)num_bytes;
    block[num_bytes - 1] = (unsigned char)num_bytes;
    return block;
}

/* Looks at it before; NULL is none. */
static inline void release_marked(unsigned char *block)
{
    size_t num_bytes = 0;
    if (block != NULL) {
        expect_equal(kmem_try_sizeof(block, &num_bytes), 0);
        expect_equal(block[0], (unsigned char)num_bytes);
        expect_equal(block[num_bytes - 1], (unsigned char)num_bytes);
        release(block);
    }
}

#define DIRTY_BYTES ((size_t)1 << 20)
#define N_DIRTY 12

/* A client's function: writes to every byte of so many blocks, direct ones first, leased later. */
static inline void fill(const void *argument)
{
    (void)argument;
    for (unsigned int i = 0; i < N_DIRTY; i++) {
        (void)memset(allocate(DIRTY_BYTES, "filled"), 0xa5, DIRTY_BYTES);
    }
    client_pause();
}

#endif

/* SPDX-License-Identifier: MIT */
/*
 * heap_fixture.h - a heap with a lender behind it, called as the library's calls do
 */
#ifndef TESTS_UNIT_HEAP_FIXTURE_H
#define TESTS_UNIT_HEAP_FIXTURE_H

#include "client/heap/heap.h"
#include "tests/unit/fake_lender.h"
#include "tests/unit/unit.h"

static struct fake_lender *lender;
static struct allocator *allocator;

static inline int set_up(void **state)
{
    lender = fake_lender_new(4096);
    allocator = lender->allocator;
    return 0;
}

static inline int tear_down(void **state)
{
    fake_lender_free(lender);
    return 0;
}

static inline void *allocate_slow(size_t num_bytes, const char *reason, struct kmem_site *site)
{
    return kmem__heap_allocate(allocator, num_bytes, reason, site);
}

/* A cold class is asked until it is hot. Return: NULL if there is no room. */
static inline void *allocate_hot(size_t num_bytes, const char *reason)
{
    void *block = NULL;
    for (int i = 0; i <= HOT_AFTER && block == NULL; i++) {
        block = kmem__heap_take(num_bytes, reason, allocate_slow);
    }
    return block;
}

static inline struct seg_off offset_of(const void *block)
{
    return (struct seg_off){(uint64_t)((const unsigned char *)block - allocator->base)};
}

static inline int release_hot(void *block)
{
    struct found found;
    return kmem__heap_give(block) ? HEAP_OK
                                  : kmem__heap_release(allocator, offset_of(block), &found);
}

#endif

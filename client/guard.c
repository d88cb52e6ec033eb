/* SPDX-License-Identifier: MIT */
/*
 * Opening is done by whoever takes pages, whether they were granted to this thread or to another
 * a moment ago: a bit test if the granule is open already, one mprotect() if not. Two threads may
 * open one granule at the same time; that is done twice, and no harm.
 *
 * Closing must not meet an opening. It is done where no page can become this process's: with the
 * connection in hand, before a request. What is then neither leased nor a direct block's is
 * nobody's here, so no thread has a reason to open it.
 */
#include "client/guard.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "proto/lease.h"
#include "proto/limits.h"

#define GRANULES_PER_WORD 64

int kmem__guard_init(struct guard *guard, unsigned char *base, uint64_t num_bytes,
                     uint64_t granule_bytes)
{
    guard->base = base;
    guard->num_bytes = num_bytes;
    guard->granule_shift = (uint32_t)__builtin_ctzll(granule_bytes);
    guard->n_granules = (uint32_t)((num_bytes + granule_bytes - 1) >> guard->granule_shift);
    guard->open = calloc(guard->n_granules / GRANULES_PER_WORD + 1, sizeof(*guard->open));
    guard->n_direct = calloc(guard->n_granules, sizeof(*guard->n_direct));
    if (guard->open == NULL || guard->n_direct == NULL) {
        kmem__guard_fini(guard);
        return -ENOMEM;
    }
    return 0;
}

void kmem__guard_fini(struct guard *guard)
{
    free((void *)guard->open);
    free(guard->n_direct);
    *guard = (struct guard){.base = NULL};
}

static bool granule_is_open(const struct guard *guard, uint32_t granule)
{
    /* Acquire: pairs with granule_mark(); who sees the bit may touch the bytes. */
    const uint64_t word =
        atomic_load_explicit(&guard->open[granule / GRANULES_PER_WORD], memory_order_acquire);
    return word >> granule % GRANULES_PER_WORD & 1;
}

static void granule_mark(struct guard *guard, uint32_t granule)
{
    const uint64_t bit = UINT64_C(1) << granule % GRANULES_PER_WORD;
    /* Release: pairs with granule_is_open(); access is there. */
    (void)atomic_fetch_or_explicit(&guard->open[granule / GRANULES_PER_WORD], bit,
                                   memory_order_release);
}

static void granule_unmark(struct guard *guard, uint32_t granule)
{
    const uint64_t bit = UINT64_C(1) << granule % GRANULES_PER_WORD;
    /* Release: before the pages can be granted again; their state leads back here. */
    (void)atomic_fetch_and_explicit(&guard->open[granule / GRANULES_PER_WORD], ~bit,
                                    memory_order_release);
}

/* The part of the segment that the granules [first, end) are. Return: 0 or -errno. */
static int granules_protect(const struct guard *guard, uint32_t first, uint32_t end, int protection)
{
    const uint64_t from = (uint64_t)first << guard->granule_shift;
    const uint64_t to = (uint64_t)end << guard->granule_shift;
    const uint64_t num_bytes = (to < guard->num_bytes ? to : guard->num_bytes) - from;
    return mprotect(guard->base + from, num_bytes, protection) < 0 ? -errno : 0;
}

void kmem__guard_open(struct guard *guard, struct seg_off offset, uint64_t num_bytes)
{
    if (guard->open == NULL) {
        return;
    }
    uint32_t first = (uint32_t)(offset.bytes >> guard->granule_shift);
    uint32_t end = (uint32_t)((offset.bytes + num_bytes - 1) >> guard->granule_shift) + 1;
    while (first < end && granule_is_open(guard, first)) {
        first++;
    }
    if (first == end) {
        return;
    }
    if (granules_protect(guard, first, end, PROT_READ | PROT_WRITE) < 0) {
        /* One piece is always possible. */
        first = 0;
        end = guard->n_granules;
        (void)granules_protect(guard, first, end, PROT_READ | PROT_WRITE);
    }
    for (uint32_t granule = first; granule < end; granule++) {
        granule_mark(guard, granule);
    }
}

static void direct_count(struct guard *guard, struct seg_off offset, uint64_t num_bytes, int change)
{
    const uint32_t first = (uint32_t)(offset.bytes >> guard->granule_shift);
    const uint32_t last = (uint32_t)((offset.bytes + num_bytes - 1) >> guard->granule_shift);
    for (uint32_t granule = first; granule <= last; granule++) {
        guard->n_direct[granule] += (uint32_t)change;
    }
}

void kmem__guard_add_direct(struct guard *guard, struct seg_off offset, uint64_t num_bytes)
{
    if (guard->open != NULL) {
        direct_count(guard, offset, num_bytes, 1);
        kmem__guard_open(guard, offset, num_bytes);
    }
}

void kmem__guard_drop_direct(struct guard *guard, struct seg_off offset, uint64_t num_bytes)
{
    if (guard->open != NULL && num_bytes > 0 && num_bytes <= guard->num_bytes - offset.bytes) {
        direct_count(guard, offset, num_bytes, -1);
    }
}

static bool granule_is_held(const struct guard *guard, uint32_t granule,
                            const _Atomic uint64_t *states)
{
    const uint32_t pages_shift = guard->granule_shift - PAGE_SHIFT;
    const uint32_t n_all = (uint32_t)(guard->num_bytes >> PAGE_SHIFT);
    const uint32_t page = granule << pages_shift;
    const uint32_t n_pages = n_all - page < 1U << pages_shift ? n_all - page : 1U << pages_shift;
    return guard->n_direct[granule] > 0 || lease_has_any(states, page, n_pages);
}

void kmem__guard_sweep(struct guard *guard, const _Atomic uint64_t *states)
{
    if (guard->open == NULL) {
        return;
    }
    for (uint32_t granule = 0; granule < guard->n_granules; granule++) {
        if (granule_is_open(guard, granule) && !granule_is_held(guard, granule, states)) {
            granule_unmark(guard, granule);
            if (granules_protect(guard, granule, granule + 1, PROT_NONE) < 0) {
                granule_mark(guard, granule); /* too many pieces: it stays open */
            }
        }
    }
}

void kmem__guard_keep(struct guard *guard)
{
    for (uint32_t granule = 0; guard->open != NULL && granule < guard->n_granules; granule++) {
        guard->n_direct[granule] = granule_is_open(guard, granule);
    }
}

bool kmem__guard_is_open(const struct guard *guard, struct seg_off offset)
{
    return guard->open == NULL ||
           granule_is_open(guard, (uint32_t)(offset.bytes >> guard->granule_shift));
}

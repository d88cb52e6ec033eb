/* SPDX-License-Identifier: MIT */
/*
 * A table with open addressing: an entry stands in the first free slot from its offset's own on.
 * One that goes leaves no mark; those behind it move up, as far as they may. It is mapped, not
 * allocated, so that a forked child can be without it, and grows when it is half full.
 *
 * The lock is taken for a look and a count, some ten instructions, and given back by a store: a
 * mutex takes another atomic exchange for that, to find out who waits, and a pair of attach and
 * release 25 ns more. A thread that meets it taken tries again, and sleeps if its holder does. A
 * count changed by compare-and-swap would need no lock, but entries move when the table grows and
 * when others go.
 */
#include "client/map/holds.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "client/map/map.h"

/* 64: 3 KiB, one page; a program that shares some dozen blocks never grows it. */
#define SLOTS_MIN 64

/* Of the direct blocks that are noted for a child there may be more than can be shared. */
#define ENTRIES_MAX (UINT32_C(1) << 24)

static uint32_t slot_of(uint64_t offset, uint32_t n_slots)
{
    /* Fibonacci hashing: offsets are multiples of 16 and more. */
    return (uint32_t)((offset / 16 * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & (n_slots - 1);
}

/* 100: longer than any holder needs that runs. 50 us: then it does not run, and may be let. */
#define LOCK_TRIES 100
#define LOCK_PAUSE_NS 50000

static void holds_lock_slowly(struct holds *holds)
{
    const struct timespec pause = {.tv_nsec = LOCK_PAUSE_NS};
    for (unsigned int n_tries = 1;; n_tries++) {
        /* Relaxed: a look, before the exchange that counts. */
        if (!atomic_load_explicit(&holds->is_locked, memory_order_relaxed) &&
            !atomic_exchange_explicit(&holds->is_locked, true, memory_order_acquire)) {
            return;
        }
        if (n_tries % LOCK_TRIES == 0) {
            (void)nanosleep(&pause, NULL);
        }
    }
}

static inline void holds_lock(struct holds *holds)
{
    /* Acquire: pairs with holds_unlock(). */
    if (KMEM_UNLIKELY(atomic_exchange_explicit(&holds->is_locked, true, memory_order_acquire))) {
        holds_lock_slowly(holds);
    }
}

static inline void holds_unlock(struct holds *holds)
{
    atomic_store_explicit(&holds->is_locked, false, memory_order_release);
}

/* Where an offset's entry is, or would be put. */
static inline struct hold *holds_at(const struct holds *holds, uint64_t offset)
{
    uint32_t at = slot_of(offset, holds->n_slots);
    while (holds->slots[at].offset != 0 && holds->slots[at].offset != offset) {
        at = (at + 1) & (holds->n_slots - 1);
    }
    return &holds->slots[at];
}

/* NULL: there is none. The lock is held, or the connection. */
static inline struct hold *holds_look(const struct holds *holds, struct seg_off offset)
{
    if (holds->n_slots == 0 || offset.bytes == 0) {
        return NULL;
    }
    struct hold *hold = holds_at(holds, offset.bytes);
    return hold->offset != 0 ? hold : NULL;
}

static uint32_t holds_n(const struct holds *holds)
{
    /* Relaxed: a hint, or the reader has the lock. */
    return atomic_load_explicit(&holds->n_holds, memory_order_relaxed);
}

static void slots_unmap(struct hold *slots, uint32_t n_slots)
{
    if (slots != NULL) {
        (void)munmap(slots, n_slots * sizeof(*slots));
    }
}

void kmem__holds_fini(struct holds *holds)
{
    slots_unmap(holds->slots, holds->n_slots);
    memset((void *)holds, 0, sizeof(*holds));
}

/* Moves all entries into a table of n_slots. Return: 0 or -ENOMEM. */
KMEM_MUST_USE static int holds_grow(struct holds *holds, uint32_t n_slots)
{
    struct hold *slots = kmem__map_sparse(NULL, n_slots * sizeof(*slots), PROT_READ | PROT_WRITE,
                                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
    if (slots == MAP_FAILED) {
        return -ENOMEM;
    }
    (void)madvise(slots, n_slots * sizeof(*slots), MADV_DONTFORK);
    holds_lock(holds);
    struct hold *old = holds->slots;
    const uint32_t n_old = holds->n_slots;
    holds->slots = slots;
    holds->n_slots = n_slots;
    for (uint32_t i = 0; i < n_old; i++) {
        if (old[i].offset != 0) {
            *holds_at(holds, old[i].offset) = old[i];
        }
    }
    holds_unlock(holds);
    slots_unmap(old, n_old);
    return 0;
}

uint32_t kmem__holds_count(const struct holds *holds)
{
    return holds_n(holds);
}

uint32_t kmem__holds_slots_for(uint32_t n)
{
    uint32_t n_slots = SLOTS_MIN;
    while (n_slots / 2 < n) {
        n_slots *= 2;
    }
    return n_slots;
}

int kmem__holds_reserve(struct holds *holds, uint32_t n)
{
    if (n > ENTRIES_MAX || holds_n(holds) + n > ENTRIES_MAX) {
        return -ENOMEM; /* there are not as many blocks to be held */
    }
    const uint32_t n_slots = kmem__holds_slots_for(holds_n(holds) + n);
    return n_slots <= holds->n_slots ? 0 : holds_grow(holds, n_slots);
}

void kmem__holds_copy(struct holds *from, struct holds *to)
{
    holds_lock(from);
    for (uint32_t i = 0; i < from->n_slots && holds_n(to) < to->n_slots / 2; i++) {
        if (from->slots[i].count > 0) {
            kmem__holds_add(to, &from->slots[i]);
        }
    }
    holds_unlock(from);
}

const struct hold *kmem__holds_peek(const struct holds *holds, struct seg_off offset)
{
    return holds_look(holds, offset);
}

const struct hold *kmem__holds_next(const struct holds *holds, uint32_t *at)
{
    while (*at < holds->n_slots) {
        const struct hold *hold = &holds->slots[(*at)++];
        if (hold->offset != 0) {
            return hold;
        }
    }
    return NULL;
}

static bool hold_is(const struct hold *hold, const struct share_handle *handle, bool write)
{
    return hold != NULL && hold->count > 0 && hold->count < UINT32_MAX / 2 &&
           hold->generation == handle->generation && hold->generation != 0 &&
           hold->tag == handle->tag && hold->num_bytes == handle->num_bytes &&
           (hold->is_writable || !write);
}

bool kmem__holds_again(struct holds *holds, const struct share_handle *handles, size_t n,
                       bool write)
{
    bool are_held = holds_n(holds) > 0;
    if (!are_held) {
        return false;
    }
    holds_lock(holds);
    for (size_t i = 0; i < n && are_held; i++) {
        const struct hold *hold = holds_look(holds, (struct seg_off){handles[i].offset});
        are_held = hold_is(hold, &handles[i], write);
    }
    for (size_t i = 0; i < n && are_held; i++) {
        holds_look(holds, (struct seg_off){handles[i].offset})->count++;
    }
    holds_unlock(holds);
    return are_held;
}

bool kmem__holds_drop(struct holds *holds, struct seg_off offset)
{
    if (holds_n(holds) == 0) {
        return false;
    }
    holds_lock(holds);
    struct hold *hold = holds_look(holds, offset);
    const bool is_dropped = hold != NULL && hold->count > 1;
    if (is_dropped) {
        hold->count--;
    }
    holds_unlock(holds);
    return is_dropped;
}

bool kmem__holds_find(struct holds *holds, struct seg_off offset, struct hold *ret_hold)
{
    if (holds_n(holds) == 0) {
        return false;
    }
    holds_lock(holds);
    const struct hold *hold = holds_look(holds, offset);
    const bool is_held = hold != NULL && hold->count > 0;
    if (is_held) {
        *ret_hold = *hold;
    }
    holds_unlock(holds);
    return is_held;
}

int kmem__holds_begin(struct holds *holds, struct seg_off offset, struct hold *ret_hold)
{
    int r = HOLDS_NONE;
    holds_lock(holds);
    struct hold *hold = holds_look(holds, offset);
    if (hold != NULL && hold->count > 0) {
        hold->count--;
        *ret_hold = *hold;
        r = hold->count == 0 ? HOLDS_LAST : HOLDS_DROPPED;
    }
    holds_unlock(holds);
    return r;
}

/* Empties a slot; entries behind it that were pushed on by it move up. */
static void holds_remove(struct holds *holds, const struct hold *hold)
{
    const uint32_t mask = holds->n_slots - 1;
    uint32_t hole = (uint32_t)(hold - holds->slots);
    for (uint32_t at = (hole + 1) & mask; holds->slots[at].offset != 0; at = (at + 1) & mask) {
        const uint32_t home = slot_of(holds->slots[at].offset, holds->n_slots);
        if (((at - home) & mask) >= ((at - hole) & mask)) {
            holds->slots[hole] = holds->slots[at];
            hole = at;
        }
    }
    holds->slots[hole] = (struct hold){.offset = 0};
    (void)atomic_fetch_sub_explicit(&holds->n_holds, 1, memory_order_relaxed); /* the lock's */
}

void kmem__holds_end(struct holds *holds, struct seg_off offset, bool is_gone)
{
    holds_lock(holds);
    struct hold *hold = holds_look(holds, offset);
    if (hold != NULL && is_gone) {
        holds_remove(holds, hold);
    } else if (hold != NULL) {
        hold->count++;
    }
    holds_unlock(holds);
}

void kmem__holds_add(struct holds *holds, const struct hold *hold)
{
    holds_lock(holds);
    struct hold *at = holds_at(holds, hold->offset);
    if (at->offset == 0) {
        (void)atomic_fetch_add_explicit(&holds->n_holds, 1, memory_order_relaxed); /* the lock's */
    }
    const uint32_t count = at->count + hold->count;
    *at = *hold;
    at->count = count;
    holds_unlock(holds);
}

bool kmem__holds_check(const struct holds *holds)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < holds->n_slots; i++) {
        const struct hold *hold = &holds->slots[i];
        n += hold->offset != 0;
        if (hold->offset != 0 && holds_at(holds, hold->offset) != hold) {
            return false;
        }
    }
    return n == holds_n(holds) && n <= holds->n_slots / 2;
}

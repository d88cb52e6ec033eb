/* SPDX-License-Identifier: MIT */
/*
 * holds.h - the shared blocks that this process holds: how often, and whether it may write
 *
 * The server knows of one hold a process and block, however often the process attaches it: what is
 * counted here. Attaching again what is held, and letting go of all but the last, need no server.
 *
 *      an entry with count >= 1   =>   the server has this process as owner or holder
 *
 * A block that this process owns has an entry from when it shares it, so that its own use is
 * counted with what it attaches.
 *
 *  field            written by                                   read by
 *  slots, n_slots,  who has the connection, and the lock         who has either
 *  n_holds
 *  hold.count       any thread that has the lock, above 0;       any thread that has the lock
 *                   to and from 0 with the connection as well
 *
 * So an entry whose count is 0 is known to the thread that has the connection only: it has asked
 * the server to let go, and any other that wants the block waits for the connection. All zero:
 * nothing is held, as in a forked child.
 */
#ifndef CLIENT_MAP_HOLDS_H
#define CLIENT_MAP_HOLDS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/attributes.h"
#include "proto/ledger.h"
#include "proto/share.h"

/* What of it the guard counts: see guard.h. */
enum hold_access {
    HOLD_OF_LEASE, /* it is in a lease of this process, which is open as it is */
    HOLD_READS,
    HOLD_WRITES,
};

struct hold {
    uint64_t offset;     /* 0: the slot is free */
    uint64_t generation; /* of the handle, with the tag; 0: not known, so the server is asked */
    uint64_t tag;
    uint64_t num_bytes;
    uint32_t count;
    uint8_t access; /* enum hold_access */
    bool is_own;
    bool is_writable;
};

struct holds {
    _Atomic bool is_locked;
    struct hold *slots; /* open addressing by offset; a power of two, half of them used at most */
    uint32_t n_slots;
    _Atomic uint32_t n_holds; /* read without the lock as a hint: whether there is any */
};

/** kmem__holds_fini() - forget all */
void kmem__holds_fini(struct holds *holds);

/**
 * kmem__holds_reserve() - have room for n more; with the connection
 * Return: 0 or -ENOMEM.
 */
KMEM_MUST_USE int kmem__holds_reserve(struct holds *holds, uint32_t n);

/**
 * kmem__holds_again() - hold once more what n handles lead to, if all of it is held; any thread
 * Return: whether it was.
 */
KMEM_MUST_USE bool kmem__holds_again(struct holds *holds, const struct share_handle *handles,
                                     size_t n, bool write);

/**
 * kmem__holds_drop() - let go of a block that is held more than once; any thread
 * Return: false: it is not, or it is the last time.
 */
KMEM_MUST_USE bool kmem__holds_drop(struct holds *holds, struct seg_off offset);

/** kmem__holds_find() - what is held at an offset, if any; any thread. Return: whether. */
KMEM_MUST_USE bool kmem__holds_find(struct holds *holds, struct seg_off offset,
                                    struct hold *ret_hold);

/** kmem__holds_count() - how many entries there are: a hint */
uint32_t kmem__holds_count(const struct holds *holds);

/** kmem__holds_slots_for() - how many slots n entries need */
uint32_t kmem__holds_slots_for(uint32_t n);

/** kmem__holds_copy() - add to `to`, which is this thread's alone, what `from` has, if it fits */
void kmem__holds_copy(struct holds *from, struct holds *to);

/** kmem__holds_peek() - the entry at an offset, of a table that does not change; NULL: none */
const struct hold *kmem__holds_peek(const struct holds *holds, struct seg_off offset);

/**
 * kmem__holds_next() - one entry after the other, of a table that does not change
 * @at:  0 at first
 * Return: the entry; NULL: there is no more.
 */
const struct hold *kmem__holds_next(const struct holds *holds, uint32_t *at);

/* With the connection, of a thread that asks the server: */

enum { HOLDS_NONE, HOLDS_DROPPED, HOLDS_LAST };

/**
 * kmem__holds_begin() - the server is about to be asked to let go
 * @ret_hold:  the entry, whose count is 0 now
 * Return: HOLDS_LAST; HOLDS_DROPPED: it is held more than once, and was counted down; HOLDS_NONE.
 */
KMEM_MUST_USE int kmem__holds_begin(struct holds *holds, struct seg_off offset,
                                    struct hold *ret_hold);

/** kmem__holds_end() - it did: the entry goes; or it did not: it is held once, as before */
void kmem__holds_end(struct holds *holds, struct seg_off offset, bool is_gone);

/**
 * kmem__holds_add() - a block is held hold->count times more, as `hold` says; there is room
 *
 * 0 times: what an entry says of its block has changed.
 */
void kmem__holds_add(struct holds *holds, const struct hold *hold);

/** kmem__holds_check() - every entry is found where it is looked for, and n_holds of them are */
KMEM_MUST_USE bool kmem__holds_check(const struct holds *holds);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * site.h - a place in a program that allocates with a literal as the reason
 *
 * The text of a literal can not change, so its number need not be looked up each time: the macros
 * of kmem.h give each such place a struct kmem_site, in the program's own data.
 *
 *      word = reason's number << ENTRY_REASON_SHIFT | epoch of the allocator whose it is
 *
 * A process gets a new epoch whenever it joins, and a forked child continues its parent's count:
 * what a site remembers of an earlier membership, or of the parent's, never passes for the present
 * one's.
 *
 *  field   written by                    read by     order
 *  reason  the first call, once          every call  release / acquire
 *  word    a call whose reason it is     every call  release / acquire: the ledger has the text
 *
 * A compiler may copy code, so that one site sees two literals. The first has it, the other is
 * compared each time, as a reason in a buffer is.
 */
#ifndef CLIENT_HEAP_SITE_H
#define CLIENT_HEAP_SITE_H

#include <stdbool.h>
#include <stdint.h>

#include <kmem/kmem.h>

#include "proto/attributes.h"
#include "proto/ledger.h"

#define SITE_EPOCH_MASK ((UINT64_C(1) << ENTRY_REASON_SHIFT) - 1)

/**
 * kmem__site_knows() - whether the site remembers the reason
 * @ret_word:  the entry's word but for num_bytes; written in any case
 */
__attribute__((always_inline)) static inline bool kmem__site_knows(const struct kmem_site *site,
                                                                   const char *reason,
                                                                   uint64_t epoch,
                                                                   uint64_t *ret_word)
{
    /* Acquire: pairs with kmem__site_learn(); the text is in the ledger. */
    const uint64_t word = __atomic_load_n(&site->word, __ATOMIC_ACQUIRE) ^ epoch;
    *ret_word = word;
    /* Not NULL: an empty site has that, and where there is no heap yet its epoch, too. */
    return (word & SITE_EPOCH_MASK) == 0 && KMEM_LIKELY(reason != NULL) &&
           /* Relaxed: it is written once, and before word. */
           __atomic_load_n(&site->reason, __ATOMIC_RELAXED) == reason;
}

/** kmem__site_learn() - remember a reason's word, if the site is this reason's */
void kmem__site_learn(struct kmem_site *site, const char *reason, uint64_t word, uint64_t epoch);

#endif

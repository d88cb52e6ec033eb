/* SPDX-License-Identifier: MIT */
/*
 * intern.h - reasons: each text of the process once in its ledger, and remembered by each thread
 */
#ifndef CLIENT_HEAP_INTERN_H
#define CLIENT_HEAP_INTERN_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/attributes.h"
#include "proto/ledger.h"

/* The process's reasons. All zero: none; then REASON_NONE is all that there is. */
struct intern {
    pthread_mutex_t lock;
    struct ledger *ledger;
    _Atomic uint32_t *ids;   /* hash table, INTERN_SLOTS of them; 0 an empty slot */
    uint64_t n_overflows;    /* asked for when the table was full, and not in it */
    unsigned char *verdicts; /* by number: of budgets that deny; in the memory of ids */
    uint32_t budgets;        /* which the verdicts are of: struct notice */
    uint64_t n_changes;      /* of budgets */
};

/* A reason is read in chunks that lie in one CPU page; any type may be beneath. */
typedef unsigned char __attribute__((vector_size(16), aligned(16), may_alias)) reason_chunk;

#define REASON_CHUNK_BYTES ((size_t)16)
static_assert(sizeof(reason_chunk) == REASON_CHUNK_BYTES, "what one comparison takes");
/* What precedes the text in its first chunk, the longest text and its NUL. */
#define REASON_CHUNKS ((REASON_CHUNK_BYTES - 1 + REASON_MAX_BYTES) / REASON_CHUNK_BYTES + 1)

/*
 * A pointer that this thread passed before, and the text that it pointed at: in `chunks` as it lies
 * in memory, from the last multiple of 16 bytes on. A bit of the masks is a byte that is not of the
 * text: before it in the first chunk, behind its NUL in the last.
 */
struct remembered {
    const char *reason; /* as it was passed; NULL: nothing is remembered here */
    uint64_t word;      /* the entry's word but for num_bytes */
    uint32_t n_more;    /* chunks behind the first */
    uint32_t first_mask;
    uint32_t last_mask; /* if there are more than one */
    uint32_t reserved;
    reason_chunk chunks[REASON_CHUNKS];
    uint64_t unused[10]; /* to REMEMBERED_BYTES */
};

#define REMEMBERED_BYTES UINT64_C(256)
static_assert(sizeof(struct remembered) == REMEMBERED_BYTES, "found by a shift");

/*
 * 32: places in a program that allocate at about the same time. More would push blocks out of the
 * first cache; with fewer, two literals that share a slot take the way through the process's table
 * (some 50 ns) in turns.
 */
#define REMEMBERED_MAX 32

/** kmem__remembered_at() - where a pointer is remembered, if it is */
static inline struct remembered *kmem__remembered_at(struct remembered *all, const char *reason)
{
    /* Literals lie close together: each bit above the lowest three tells some of them apart. */
    const uintptr_t hash = (uintptr_t)reason ^ (uintptr_t)reason << 5;
    const uintptr_t at = hash & (REMEMBERED_MAX - 1) * REMEMBERED_BYTES;
    return (struct remembered *)(void *)((unsigned char *)all + at);
}

#if defined(__x86_64__)

/* A bit for each byte that is equal in both. */
__attribute__((no_sanitize("address", "thread"))) static inline uint32_t
kmem__chunk_equal(const reason_chunk *a, const reason_chunk *b)
{
    typedef char __attribute__((vector_size(16))) mask;
    return (uint32_t)__builtin_ia32_pmovmskb128((mask)(*a == *b));
}

#else

__attribute__((no_sanitize("address", "thread"))) static inline uint32_t
kmem__chunk_equal(const reason_chunk *a, const reason_chunk *b)
{
    uint32_t equal = 0;
    for (uint32_t i = 0; i < REASON_CHUNK_BYTES; i++) {
        equal |= (uint32_t)((*a)[i] == (*b)[i]) << i;
    }
    return equal;
}

#endif

/**
 * kmem__remembered_matches() - whether the pointer is the remembered one and the text, too
 *
 * Reads whole aligned chunks, and none behind the one that ends the text: if all chunks before it
 * are equal, so is what they contain, no NUL. An aligned chunk lies in one CPU page; what is read
 * beside the text is masked out.
 */
__attribute__((no_sanitize("address", "thread"))) static inline bool
kmem__remembered_matches(const struct remembered *it, const char *reason)
{
    const uint32_t all = (UINT32_C(1) << REASON_CHUNK_BYTES) - 1;
    if (KMEM_UNLIKELY(it->reason != reason)) {
        return false;
    }
    const reason_chunk *at = (const void *)((uintptr_t)reason & ~(REASON_CHUNK_BYTES - 1));
    const reason_chunk *of_it = it->chunks;
    uint32_t n_more = it->n_more;
    if (KMEM_UNLIKELY((kmem__chunk_equal(at, of_it) | it->first_mask) != all)) {
        return false;
    }
    if (n_more == 0) {
        return true;
    }
    while (KMEM_UNLIKELY(--n_more != 0)) {
        if (kmem__chunk_equal(++at, ++of_it) != all) {
            return false;
        }
    }
    return KMEM_LIKELY((kmem__chunk_equal(at + 1, of_it + 1) | it->last_mask) == all);
}

/**
 * kmem__intern_init() - begin an empty table in a client's ledger
 * Return: 0 or -ENOMEM.
 */
KMEM_MUST_USE int kmem__intern_init(struct intern *intern, struct ledger *ledger);

/** kmem__intern_fini() - the ledger's table stays as it is */
void kmem__intern_fini(struct intern *intern);

/**
 * kmem__intern() - a text's number in this process's ledger
 * @text:  clean text of n_bytes, at most REASON_MAX_BYTES; empty: no reason given
 *
 * Once the table is full: the number of what stands before '#', else REASON_OTHER.
 */
KMEM_MUST_USE uint32_t kmem__intern(struct intern *intern, const char *text, size_t n_bytes);

/*
 * While a budget denies, a reason is carved from leases only if the server has said that none of
 * those covers it. It says so with each block that it carves itself, so the first block of each
 * reason is one of those.
 */

/**
 * kmem__intern_may_carve() - whether a block with that reason may be leased
 * @budgets:  what the daemon's notice says, not 0
 * @reason:   as it was passed
 */
KMEM_MUST_USE bool kmem__intern_may_carve(struct intern *intern, uint32_t budgets,
                                          const char *reason);

/** kmem__intern_judge() - the server, asked when the notice said `budgets`, has told of a reason */
void kmem__intern_judge(struct intern *intern, uint32_t budgets, const char *clean_reason,
                        bool is_direct_only);

/** kmem__intern_budgets() - the notice says so from now on. Return: how often it has changed. */
uint64_t kmem__intern_budgets(struct intern *intern, uint32_t budgets);

/**
 * kmem__intern_remember() - kmem__intern() for what a program passed, kept for the next call
 * @all:     the thread's, REMEMBERED_MAX of them
 * @reason:  as it was passed, not NULL
 *
 * Return: the entry's word but for num_bytes.
 */
KMEM_MUST_USE uint64_t kmem__intern_remember(struct intern *intern, struct remembered *all,
                                             const char *reason);

#endif

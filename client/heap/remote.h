/* SPDX-License-Identifier: MIT */
/*
 * remote.h - blocks that a thread has released and that are of another heap's slabs: how they get
 *            home
 *
 * A thread keeps what it releases in its own magazine, whatever slab it is from, and may hand it
 * out again: threads that hand blocks to each other both ways use each other's, and need nothing
 * of each other. What it has too many of it puts back, half a magazine at a time, and its own
 * blocks go to their slabs and others to a stack of their slab. Each slab has one, linked through
 * the entries, and each heap has one of its slabs that have such a stack. Who makes a slab's stack
 * from empty puts the slab into its heap's:
 *
 *      the slab is in a visited stack, or about to be pushed   <=>   remote.pushed is not empty
 *
 * so a slab is never in two stacks, and is not closed while a thread is about to push it: a block
 * counts as used until its owner has collected it.
 *
 * So a thread that only releases keeps a magazine of each class at most, as a thread does that only
 * allocates. It puts them back when it ends, and the daemon takes a slab that has nothing but such
 * blocks, for their entries are free.
 *
 * Rejected: to push each block to its slab as it is released. It costs an atomic read-modify-write
 * for each, and two ways between the processors for the entry's cache line, there and back.
 */
#ifndef CLIENT_HEAP_REMOTE_H
#define CLIENT_HEAP_REMOTE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "client/heap/bins.h"
#include "proto/attributes.h"
#include "proto/crash_point.h"
#include "proto/ledger.h"

struct allocator;

/*
 * A line that is about to be written comes to this processor as its own. Loaded first, it would
 * come as one that the other may go on reading, and has to be asked for once more. x86-64 has that
 * as a hint, which a processor without it takes for nothing; compilers do not trust in that.
 */
static inline void kmem__prefetch_to_write(const void *line)
{
#ifdef __x86_64__
    __asm__ volatile("prefetchw %0" : : "m"(*(const char *)line));
#else
    __builtin_prefetch(line, 1);
#endif
}

/*
 * So many blocks a thread without a heap gives back one by one; with the next it gets one. A thread
 * may release when all its destructors have run, as the C library does for others, and a heap that
 * it gets then is nobody's for ever.
 */
#define LOOSE_MAX 16

/* Blocks of one slab, linked through their entries, the first to be pushed last. */
struct remote_chain {
    uint32_t page;  /* the slab's first */
    uint32_t first; /* 1 + the block's number; 0: the chain is empty */
    struct ledger_entry *last;
};

/** kmem__remote_add() - put a block whose entry is retired before the others of a chain */
static inline void kmem__remote_add(struct remote_chain *chain, const struct ledger_block *block)
{
    /* Relaxed: published by kmem__remote_push(). */
    atomic_store_explicit(&block->entry->holder, chain->first, memory_order_relaxed);
    chain->last = chain->first == 0 ? block->entry : chain->last;
    chain->first = block->index + 1;
}

/** kmem__remote_push() - give a chain, which is not empty, to the heap that owns the slab */
void kmem__remote_push(struct allocator *allocator, const struct remote_chain *chain);

/**
 * kmem__remote_retire() - release a block of a slab that is another heap's: nobody's from then on
 * @word:  what stood there a moment ago, when the block was live and private
 * Return: false: another thread has just released it, or has begun to share it.
 */
KMEM_MUST_USE static inline bool kmem__remote_retire(struct ledger_entry *entry, uint64_t word)
{
    /* Before: the block is live. After: it is free, and this thread's. Of two threads that release
       it one retires it, and has all its bytes; of one that releases and one that shares it, which
       asks in the same way, the first has it. Not tried again with another word: that block is
       another than the one that was looked at. */
    if (KMEM_UNLIKELY(!atomic_compare_exchange_strong_explicit(
            &entry->word, &word, 0, memory_order_acq_rel, memory_order_relaxed))) {
        return false;
    }
    KMEM_CRASH_POINT("client.remote.retired");
    return true;
}

/** kmem__remote_visit() - put a slab whose stack is not empty before the heap that owns it */
void kmem__remote_visit(struct allocator *allocator, uint32_t page);

/** kmem__remote_take() - by the owner: 1 + the block that was pushed last, of all; 0: none */
uint32_t kmem__remote_take(struct allocator *allocator, uint32_t page);

/** kmem__remote_next() - 1 + the block that was pushed before one; 0: it was the first */
static inline uint32_t kmem__remote_next(const struct ledger_entry *entry)
{
    /* Relaxed: written before the push, which the owner has acquired. */
    return atomic_load_explicit(&entry->holder, memory_order_relaxed);
}

#endif

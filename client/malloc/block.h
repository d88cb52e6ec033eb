/* SPDX-License-Identifier: MIT */
/*
 * block.h - blocks from the segment, and from libc where the segment can not be asked
 *
 * All of them any size and alignment, in any thread, before main() and after it.
 *
 * What is inline here is the way that nearly every malloc() and free() takes: a ready block of the
 * thread's heap, by what the heap remembers of the place that calls. It calls nothing: of the
 * library it uses the thread's heap, as the library's own calls do (client/heap/heap.h). Whatever
 * is not as usual goes on in block.c.
 *
 * A PLACE THAT CALLS is known by its return address, and what the heap remembers of it is forgotten
 * before another module can be there: see caller.h. The library wipes it in a forked child, and
 * forgets it when the daemon's budgets have changed. While the thread is in a call of the library,
 * and until it has been served, kmem__heap_open is a heap that remembers nothing.
 */
#ifndef CLIENT_MALLOC_BLOCK_H
#define CLIENT_MALLOC_BLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <kmem/kmem.h>

#include "client/heap/heap.h"
#include "client/malloc/caller.h"
#include "proto/attributes.h"

/**
 * block_new() - num_bytes bytes, or NULL and ENOMEM
 * @caller:  an address in the module that is to be named as the reason
 *
 * What is in them is 0, or what this process has left there.
 */
KMEM_MUST_USE void *block_new(size_t num_bytes, const void *caller);

/** block_new_zeroed() - the same, every byte 0 */
KMEM_MUST_USE void *block_new_zeroed(size_t num_bytes, const void *caller);

/*
 * The same two, for a thread whose heap has no ready block. They are of type allocate_function of
 * client/heap/heap.h, to which the address of the caller is a reason that it passes on.
 */
void *block_new_slowly(size_t num_bytes, const char *caller, struct kmem_site *no_site);
void *block_new_zeroed_slowly(size_t num_bytes, const char *caller, struct kmem_site *no_site);

/** block_new_aligned() - num_bytes bytes on a multiple of alignment, a power of two, or as above */
KMEM_MUST_USE void *block_new_aligned(size_t alignment, size_t num_bytes, const void *caller);

/**
 * block_resize() - a block with the bytes of another, which is gone
 * @num_bytes:  1 at least
 *
 * Return: the block; or NULL and ENOMEM, and the other one is as it was.
 */
KMEM_MUST_USE void *block_resize(void *block, size_t num_bytes, const void *caller);

/** block_num_bytes() - how many bytes the program may use from there on */
size_t block_num_bytes(void *block);

/** block_libc_num_bytes() - likewise, of a block of libc's */
size_t block_libc_num_bytes(void *block);

/** block_join() - once, before the first block that is to be from the segment */
void block_join(void);

/** block_can_serve() - whether blocks are from the segment, or would be if one was asked for */
bool block_can_serve(void);

/** block_begin_child() - in a forked child, of a parent that could serve or not */
void block_begin_child(bool can_serve);

/** block_free() - give one back; what is no block ends the program, as in libc. errno stays. */
void block_free(void *block);

/**
 * block_enter() - what this thread allocates from here on is libc's, until block_leave()
 *
 * For what this library does with the segment itself: its own objects are not to lie there.
 * Return: whether the thread was inside already, for block_leave().
 */
KMEM_MUST_USE bool block_enter(void);
void block_leave(bool was_inside);

/* ---------------------------------------------------------------------------- the fast way ---- */

/*
 * The reason of a place that calls, if the heap remembers it as the set's first. The set is counted
 * in bytes, and its offset in the heap a part of what loads from it, each time: so it takes no
 * instruction of its own.
 */
__attribute__((always_inline)) static inline bool
block_knows(const struct heap *heap, const void *caller, uint64_t *ret_word)
{
    const unsigned char *calls = (const unsigned char *)heap + offsetof(struct heap, calls);
    uintptr_t at = (uint8_t)(uintptr_t)caller;
    __asm__("" : "+r"(at)); /* the byte first: else it is shifted with all others, and cut out */
    at *= sizeof(heap->calls[0]);
    const struct call_site *site = (const void *)(calls + at);
    if (KMEM_UNLIKELY(site->caller != caller)) {
        return false;
    }
    __asm__("" : "+r"(at)); /* not to be kept as an address */
    site = (const void *)(calls + at);
    *ret_word = site->word;
    return true;
}

/** block_fast_new() - block_new(), by the way that is usual */
__attribute__((always_inline)) static inline void *block_fast_new(size_t num_bytes,
                                                                  const void *caller)
{
    struct heap *heap = kmem__heap_open;
    uint64_t word;
    if (!kmem__heap_has_bin_at(num_bytes) || !block_knows(heap, caller, &word)) {
        return block_new(num_bytes, caller);
    }
    return kmem__heap_pop_uncleared(heap, kmem__heap_bin_at(heap, num_bytes), num_bytes, caller,
                                    word, block_new_slowly);
}

static inline void *block_clear(unsigned char *block, size_t num_bytes)
{
    if (num_bytes > CLEAR_INLINE_BYTES) {
        return memset(block, 0, num_bytes);
    }
    kmem__clear_inline(block, num_bytes);
    return block;
}

/** block_fast_new_zeroed() - block_new_zeroed(), likewise */
__attribute__((always_inline)) static inline void *block_fast_new_zeroed(size_t num_bytes,
                                                                         const void *caller)
{
    struct heap *heap = kmem__heap_open;
    unsigned char *block;
    uint64_t word;
    if (!kmem__heap_has_bin_at(num_bytes) || !block_knows(heap, caller, &word)) {
        return block_new_zeroed(num_bytes, caller);
    }
    struct bin *bin = kmem__heap_bin_at(heap, num_bytes);
    const int r = kmem__heap_pop_ready(heap, bin, num_bytes, word, &block);
    if (KMEM_LIKELY(r == POP_OK)) {
        return block_clear(block, num_bytes);
    }
    return r == POP_E_NONE ? block_new_zeroed(num_bytes, caller)
                           : kmem__heap_contest(num_bytes, caller, NULL, block_new_zeroed_slowly);
}

/**
 * block_fast_free() - block_free(), likewise
 *
 * Not by the clock: of a segment that has ended nothing is handed out any more, and the program is
 * told nothing. Nor does it matter whether the library is at work: what it calls that releases a
 * block is no part of a change of a heap.
 */
__attribute__((always_inline)) static inline void block_fast_free(void *block)
{
    struct given given;
    if (KMEM_UNLIKELY(!kmem__heap_give_own(kmem__heap_mine, block, false, &given))) {
        block_free(block);
        return;
    }
    if (KMEM_UNLIKELY(given.is_noted)) {
        (void)kmem__heap_note_lifetime(given.entry, given.word); /* always 0 */
    }
}

/** block_fast_num_bytes() - how large a block of this thread's was asked for; 0: block.c knows */
static inline size_t block_fast_num_bytes(const void *block)
{
    return KMEM_LIKELY(kmem__heap_open->num_bytes != 0) ? kmem__heap_sizeof(block) : 0;
}

/**
 * block_fast_resize() - a block of this thread's is to have num_bytes, and does, where it is
 * Return: false, and nothing has changed: block_resize().
 */
static inline bool block_fast_resize(void *block, size_t num_bytes)
{
    return kmem__heap_resize(kmem__heap_open, block, num_bytes);
}

#endif

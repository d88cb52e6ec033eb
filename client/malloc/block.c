/* SPDX-License-Identifier: MIT */
/*
 * A program's heap, on a segment: all that is not inline in block.h, through kmem.h.
 *
 * WHERE A BLOCK IS FROM. kmem_offset_of() tells a pointer into the segment by its address, so the
 * two kinds mix freely, and each goes back where it is from. libc is asked
 *  - until the constructor below has joined, and for ever if it could not (it says so): the loader
 *    and other libraries allocate before;
 *  - by what the library itself calls: protobuf-c and pthreads allocate while the library holds its
 *    lock. A flag of the thread says that it is in there. If such a call releases a block of the
 *    segment (libc keeps a few of a thread's buffers from one call to the next) that is not of the
 *    thread's own heap, that is put off until the thread releases the next one;
 *  - in the child of a fork: see below;
 *  - if the connection is lost: the daemon has ended, or the program has closed all descriptors.
 *    Sizes that are leased go on as before; what needs the daemon comes from libc, unaccounted.
 * A segment that is full is none of these: the program is told, by NULL and ENOMEM. The size of the
 * segment is the limit that the user gave the program, and memory that is taken past it would be
 * just the memory that the ledger is asked about.
 *
 * ALIGNMENT. Blocks whose size is a multiple of a power of two up to a page of the segment are on
 * such a multiple already, the way the daemon and the library carve slabs. That is not promised, so
 * it is looked at each time; where it does not hold, a larger block is taken and the program gets
 * an address inside:
 *
 *      start                    aligned - 16              aligned
 *      | nothing                | struct origin           | the program's bytes ...
 *
 * No mark tells such an address from others: the library does. It refuses to release the inside of
 * a block, and only then the origin is looked at, which is in that same live block and so can be
 * read. No older block's bytes can be taken for it, because it is wiped before its block is
 * released. Rejected: to look for a mark in front of each address that is released. In front of a
 * block is another one, in which a program may write what it likes, or memory that is not
 * accessible.
 *
 * A PROGRAM THAT USES KMEM TOO shares the library with its heap, for a process is one client of the
 * daemon. It can not leave the segment then: kmem_close() does nothing. The library allocates only
 * when it joins, and has joined before the program can call it, so that it is never entered again
 * from inside a call that the program has made. But in a child the program's call may be what
 * joins: what the library allocates then comes from libc.
 *
 * FORK. What a child has of its parent are copies (fork.c), which are no blocks of the segment:
 * they have sizes, and are released to nobody. Its own come from a segment that it joins when it
 * asks for the first, so that a child that soon calls exec() is no client. A child that was forked
 * by an instruction of the program's own shares its parent's blocks, until it asks for one or
 * releases one: that is noticed by a word that the kernel hands to it as zero. Then they are copied
 * as they are, so that its parent is spoilt by no more than what it has written before.
 */
#include "client/malloc/block.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <kmem/share.h>

#include "client/inherit.h"
#include "client/malloc/caller.h"
#include "client/malloc/inherited.h"
#include "client/malloc/rival.h"

#define LIKELY KMEM_LIKELY
#define UNLIKELY KMEM_UNLIKELY

/* What kmem.h promises for every block. */
#define PROMISED_ALIGNMENT ((size_t)16)

/* A page of the segment: no slab begins on more than that. */
#define NATURAL_ALIGNMENT_MAX 16384

/* 8: libc keeps two or three buffers of a thread. More are leaked until the process ends. */
#define DEFERRED_MAX 8

extern void *__libc_calloc(size_t count, size_t each_bytes);
extern void *__libc_memalign(size_t alignment, size_t num_bytes);
extern void __libc_free(void *block);

/* ----------------------------------------------------------- whether the segment is asked ---- */

/* All zero, in a page that the constructor has made: this is a child that was forked unseen. */
enum { OWN_NONE, OWN_UNSERVED, OWN_MAY_JOIN, OWN_JOINING, OWN_HAS_JOINED };

/* In memory that the kernel hands to a forked child as zeros. */
struct own {
    _Atomic int state;
};

static struct own not_joined = {OWN_UNSERVED};

/* Written by the constructor, once, release; read by every call, acquire. */
static _Atomic(struct own *) own = &not_joined;

static _Thread_local struct {
    bool is_inside; /* a call of the library */
    unsigned int n_deferred;
    void *deferred[DEFERRED_MAX]; /* to be released with the thread's next block */
} here;

static int own_state(void)
{
    /* Acquire, both: pair with block_join() and join(). */
    return atomic_load_explicit(&atomic_load_explicit(&own, memory_order_acquire)->state,
                                memory_order_acquire);
}

/* Whether this is the process that has joined: not before, and not a child of it. */
static bool has_joined(void)
{
    return own_state() == OWN_HAS_JOINED;
}

static bool is_served(void)
{
    return LIKELY(has_joined()) && LIKELY(!here.is_inside);
}

static bool is_in_segment(const void *block)
{
    return kmem_offset_of(block) != 0;
}

/* The fast way ends here for as long as the library is at work. */
static void inside_begin(void)
{
    static struct heap closed; /* zeros */
    here.is_inside = true;
    kmem__heap_open = &closed;
}

static void inside_end(void)
{
    here.is_inside = false;
    kmem__heap_open = kmem__heap_mine;
}

bool block_enter(void)
{
    const bool was_inside = here.is_inside;
    inside_begin();
    return was_inside;
}

void block_leave(bool was_inside)
{
    if (!was_inside) {
        inside_end();
    }
}

static void defer(void *block)
{
    if (here.n_deferred < DEFERRED_MAX) {
        here.deferred[here.n_deferred++] = block;
    }
}

/* Only a wrong call of the program ends it. */
__attribute__((noreturn)) static void complain_of(const char *call, const void *block,
                                                  const char *why)
{
    inside_begin(); /* whatever this allocates is libc's */
    (void)dprintf(STDERR_FILENO, "kmem-malloc: %s(%p): %s\n", call, block, why);
    abort();
}

/* In the words of the library. */
__attribute__((noreturn)) static void complain(const char *call, const void *block)
{
    complain_of(call, block, kmem_last_error());
}

/* ----------------------------------------------------------------------------- the library ---- */

static void *take_slowly(size_t num_bytes, const void *caller, bool clears)
{
    struct caller of;
    caller_find(caller, &of);
    inside_begin();
    void *block = clears ? (kmem_try_allocate)(num_bytes, of.reason)
                         : kmem_try_allocate_with(num_bytes, KMEM_UNINITIALIZED, of.reason);
    inside_end();
    struct heap *heap = kmem__heap_mine;
    const struct remembered *known = kmem__remembered_at(heap->remembered, of.reason);
    /* The heap knows the reason if it carves blocks for it; else the daemon does. */
    if (of.stays && heap->id != 0 && kmem__remembered_matches(known, of.reason)) {
        caller_remember(heap, caller, &of, known->word);
    }
    return block;
}

/* As of type allocate_function. */
static void *take_uncleared(size_t num_bytes, const char *caller, struct kmem_site *no_site)
{
    (void)no_site;
    return take_slowly(num_bytes, caller, false);
}

/* A block of the segment, or NULL and the library's errno. */
static void *take(size_t num_bytes, const void *caller)
{
    struct heap *heap = kmem__heap_open;
    const struct call_site *site =
        num_bytes <= SMALL_MAX_BYTES ? caller_remembered(heap, caller) : NULL;
    return site != NULL ? kmem__heap_pop_uncleared(heap, kmem__heap_bin(heap, (uint32_t)num_bytes),
                                                   num_bytes, caller, site->word, take_uncleared)
                        : take_slowly(num_bytes, caller, false);
}

static int give(void *block)
{
    inside_begin();
    const int r = kmem_try_release(&block);
    inside_end();
    return r;
}

static int measure(const void *block, size_t *ret_num_bytes)
{
    inside_begin();
    const int r = kmem_try_sizeof(block, ret_num_bytes);
    inside_end();
    return r;
}

/* Of a call that has failed: whether the segment has no room, so that errno is ENOMEM. */
static bool segment_is_full(void)
{
    if (errno == EINVAL) {
        errno = ENOMEM; /* more than the whole segment has */
    }
    return errno == ENOMEM;
}

/* What can not be done, and why, is said once, and by children not again. */
static void join(struct own *mine)
{
    static bool has_complained;
    inside_begin();
    void *first = kmem_try_allocate(1, "malloc");
    const bool is_member = first != NULL && kmem_try_release(&first) == 0;
    if (!is_member && !has_complained) {
        has_complained = true;
        (void)dprintf(STDERR_FILENO, "kmem-malloc: %s; memory comes from libc\n",
                      kmem_last_error());
    }
    inside_end();
    /* Release: pairs with own_state(). */
    atomic_store_explicit(&mine->state, is_member ? OWN_HAS_JOINED : OWN_UNSERVED,
                          memory_order_release);
}

void block_join(void)
{
    if (rival_found()) {
        return;
    }
    struct own *mine =
        mmap(NULL, sizeof(*mine), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mine == MAP_FAILED || madvise(mine, sizeof(*mine), MADV_WIPEONFORK) < 0) {
        (void)dprintf(STDERR_FILENO, "kmem-malloc: %m; memory comes from libc\n");
        return;
    }
    if (kmem__malloc_layout != MALLOC_LAYOUT) {
        (void)dprintf(STDERR_FILENO, "kmem-malloc: libkmem.so.0 is of another build; install the "
                                     "same version of both; memory comes from libc\n");
        return;
    }
    join(mine);
    /* Release: pairs with own_state(). */
    atomic_store_explicit(&own, mine, memory_order_release);
}

/* Forked by a system call that no library sees: clone.c. It is served by libc. */
static void part_from_parent(void)
{
    struct own *mine = atomic_load_explicit(&own, memory_order_acquire);
    int none = OWN_NONE;
    if (!atomic_compare_exchange_strong_explicit(&mine->state, &none, OWN_UNSERVED,
                                                 memory_order_acq_rel, memory_order_acquire)) {
        return;
    }
    inside_end();
    inherited_part();
}

/* In a forked child: joins with the first block. Return: whether this thread is served now. */
static bool join_late(void)
{
    int may_join = OWN_MAY_JOIN;
    if (UNLIKELY(own_state() == OWN_NONE)) {
        part_from_parent();
    }
    if (own_state() == OWN_UNSERVED || here.is_inside || !inherited_may_join()) {
        return false;
    }
    struct own *mine = atomic_load_explicit(&own, memory_order_acquire);
    if (atomic_compare_exchange_strong_explicit(&mine->state, &may_join, OWN_JOINING,
                                                memory_order_acq_rel, memory_order_acquire)) {
        const int saved_errno = errno;
        join(mine);
        errno = saved_errno;
    }
    return is_served();
}

/* A child that was forked unseen parts before it forks: its own would have no word that tells. */
bool block_can_serve(void)
{
    if (UNLIKELY(own_state() == OWN_NONE)) {
        part_from_parent();
    }
    return own_state() >= OWN_MAY_JOIN;
}

void block_begin_child(bool can_serve)
{
    inside_end();
    here.n_deferred = 0;
    caller_begin_child();
    atomic_store_explicit(&atomic_load_explicit(&own, memory_order_acquire)->state,
                          can_serve ? OWN_MAY_JOIN : OWN_UNSERVED, memory_order_release);
}

/* Comes before the library's own. What the program still holds comes back when it ends. */
int kmem_close(void)
{
    return 0;
}

/* ------------------------------------------------------------------------------ new blocks ---- */

/* Of the loader each call counts, whoever serves it: see caller.h. */
static void *libc_zeroed(size_t num_bytes, const void *caller)
{
    if (has_joined()) {
        struct caller of;
        caller_find(caller, &of);
    }
    return __libc_calloc(1, num_bytes);
}

static void *new_block(size_t num_bytes, const void *caller, bool clears)
{
    if (UNLIKELY(num_bytes > PTRDIFF_MAX)) {
        errno = ENOMEM;
        return NULL;
    }
    if (LIKELY(is_served()) || join_late()) {
        const size_t wanted = num_bytes + (num_bytes == 0);
        void *block = clears ? take_slowly(wanted, caller, true) : take(wanted, caller);
        if (LIKELY(block != NULL) || segment_is_full()) {
            return block;
        }
    }
    return libc_zeroed(num_bytes, caller);
}

void *block_new(size_t num_bytes, const void *caller)
{
    return new_block(num_bytes, caller, false);
}

void *block_new_zeroed(size_t num_bytes, const void *caller)
{
    return new_block(num_bytes, caller, true);
}

void *block_new_slowly(size_t num_bytes, const char *caller, struct kmem_site *no_site)
{
    (void)no_site;
    return new_block(num_bytes, caller, false);
}

void *block_new_zeroed_slowly(size_t num_bytes, const char *caller, struct kmem_site *no_site)
{
    (void)no_site;
    return new_block(num_bytes, caller, true);
}

/* In front of an address inside a block. */
struct origin {
    unsigned char *start;
    uint64_t check;
};

static_assert(sizeof(struct origin) == PROMISED_ALIGNMENT, "fits before the first aligned address");

static uint64_t origin_check(const unsigned char *start, const unsigned char *aligned)
{
    /* "aligned!", so that zeros are no origin. */
    return UINT64_C(0x616c69676e656421) ^ (uintptr_t)start ^ ((uint64_t)(uintptr_t)aligned << 16);
}

static struct origin *origin_of(void *aligned)
{
    return (struct origin *)aligned - 1;
}

/* Return: where the block begins in which an address is that the program was given; NULL: none. */
static void *origin_start(void *inside)
{
    if ((uintptr_t)inside % (2 * PROMISED_ALIGNMENT) != 0) {
        return NULL;
    }
    const struct origin *origin = origin_of(inside);
    return origin->check == origin_check(origin->start, inside) ? origin->start : NULL;
}

static bool is_aligned(const void *block, size_t alignment)
{
    return (uintptr_t)block % alignment == 0;
}

/* Return: an address inside a larger block; NULL and the library's errno. */
static void *take_inside(size_t alignment, size_t num_bytes, const void *caller)
{
    /* start + 16 is a multiple of 16: rounding it up adds alignment - 16 at most. */
    unsigned char *start = take(num_bytes + alignment, caller);
    if (start == NULL) {
        return NULL;
    }
    const uintptr_t after_origin = (uintptr_t)start + sizeof(struct origin);
    const size_t to_aligned = (alignment - after_origin % alignment) % alignment;
    unsigned char *aligned = start + sizeof(struct origin) + to_aligned;
    *origin_of(aligned) = (struct origin){start, origin_check(start, aligned)};
    return aligned;
}

static void *take_aligned(size_t alignment, size_t num_bytes, const void *caller)
{
    if (alignment <= NATURAL_ALIGNMENT_MAX) {
        void *block = take((num_bytes + alignment - 1) / alignment * alignment, caller);
        if (block == NULL || is_aligned(block, alignment)) {
            return block;
        }
        (void)give(block); /* a block that has just been made: it is in the segment for longer */
    }
    return take_inside(alignment, num_bytes, caller);
}

void *block_new_aligned(size_t alignment, size_t num_bytes, const void *caller)
{
    if (alignment <= PROMISED_ALIGNMENT) {
        return block_new(num_bytes, caller);
    }
    if (alignment > PTRDIFF_MAX / 2 || num_bytes > PTRDIFF_MAX / 2) {
        errno = ENOMEM;
        return NULL;
    }
    if (LIKELY(is_served()) || join_late()) {
        void *block = take_aligned(alignment, num_bytes + (num_bytes == 0), caller);
        if (LIKELY(block != NULL) || segment_is_full()) {
            return block;
        }
    }
    return __libc_memalign(alignment, num_bytes);
}

/* ------------------------------------------------------------------------------ old blocks ---- */

/* An address that the library does not know as a block: it may be inside one. */
static void release_inside(void *inside)
{
    void *start = origin_start(inside);
    if (start != NULL) {
        *origin_of(inside) = (struct origin){NULL, 0}; /* the next block here may not be cleared */
    }
    if (start == NULL || give(start) != 0) {
        complain("free", inside);
    }
}

static void release(void *block)
{
    const int r = give(block);
    if (UNLIKELY(r == -EINVAL)) {
        release_inside(block);
    } else if (UNLIKELY(r == -EALREADY)) {
        complain("free", block);
    } /* else released; or the daemon can not be told, and takes it back when the process ends */
}

/* Of a parent: the bytes are this process's, and its alone, but the block is in no segment. */
static void release_inherited(void *block)
{
    int r = inherited_free(block);
    if (r == -EINVAL) {
        void *start = origin_start(block);
        r = start != NULL ? inherited_free(start) : -EINVAL;
    }
    if (r < 0) {
        complain_of("free", block,
                    r == -EALREADY ? "this block was inherited, and has been released already"
                                   : "this is no block that was inherited");
    }
}

/* What no heap knows, or no thread may release just now. */
static void free_more(void *block)
{
    if (block == NULL) {
        return;
    }
    if (UNLIKELY(!is_in_segment(block))) {
        if (UNLIKELY(inherited_has(block))) {
            release_inherited(block);
        } else {
            __libc_free(block);
        }
        return;
    }
    if (UNLIKELY(!is_served())) {
        if (has_joined()) {
            defer(block);
        } else if (own_state() == OWN_NONE) {
            part_from_parent();
        }
        return; /* of a parent: it stays */
    }
    release(block);
    while (UNLIKELY(here.n_deferred > 0)) {
        release(here.deferred[--here.n_deferred]);
    }
}

/*
 * What another thread allocated is usual as well, and saves no register. A thread that has not been
 * served, and one of a forked child, has a heap in which no pointer lies; one that only releases
 * has its own.
 */
void block_free(void *block)
{
    if (UNLIKELY(here.is_inside)) {
        free_more(block);
        return;
    }
    kmem__heap_give_remote_or(block, free_more);
}

/* A block that lies in the segment. Return: how many of its bytes the program may use. */
static size_t segment_num_bytes(void *block)
{
    size_t num_bytes = 0;
    int r = measure(block, &num_bytes);
    if (r == -EINVAL) {
        unsigned char *start = origin_start(block);
        if (start == NULL || measure(start, &num_bytes) != 0) {
            complain("malloc_usable_size", block);
        }
        return num_bytes - (size_t)((unsigned char *)block - start);
    }
    if (r == -EALREADY) {
        complain("malloc_usable_size", block);
    }
    return num_bytes; /* 0 if the daemon can not be asked */
}

/* Return: how many bytes from there on are of an inherited block. */
static size_t inherited_rest_bytes(void *block)
{
    size_t num_bytes = inherited_num_bytes(block);
    if (num_bytes == 0) {
        unsigned char *start = origin_start(block);
        num_bytes = start != NULL ? inherited_num_bytes(start) : 0;
        if (num_bytes == 0) {
            complain_of("malloc_usable_size", block, "this is no block that was inherited");
        }
        num_bytes -= (size_t)((unsigned char *)block - start);
    }
    return num_bytes;
}

size_t block_num_bytes(void *block)
{
    if (!is_in_segment(block)) {
        return inherited_has(block) ? inherited_rest_bytes(block) : block_libc_num_bytes(block);
    }
    return is_served() ? segment_num_bytes(block) : 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * A program's heap, on a segment, through nothing but kmem.h.
 *
 * WHERE A BLOCK IS FROM. kmem_offset_of() tells a pointer into the segment by its address, so the
 * two kinds mix freely, and each goes back where it is from. libc is asked
 *  - until the constructor below has joined, and for ever if it could not (it says so): the loader
 *    and other libraries allocate before;
 *  - by what the library itself calls: protobuf-c and pthreads allocate while the library holds its
 *    lock. A flag of the thread says that it is in there. If such a call releases a block of the
 *    segment (libc keeps a few of a thread's buffers from one call to the next), that is put off
 *    until the thread releases the next one;
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
 *      | zeros ...              | struct origin           | the program's bytes ...
 *
 * No mark tells such an address from others: the library does. It refuses to release the inside of
 * a block, and only then the origin is looked at, which is in that same live block and so can be
 * read, and which no older block's bytes can be taken for, because the block was cleared. Rejected:
 * to look for a mark in front of each address that is released. In front of a block is another one,
 * in which a program may write what it likes, or memory that is not accessible.
 *
 * A PROGRAM THAT USES KMEM TOO shares the library with its heap, for a process is one client of the
 * daemon. It can not leave the segment then: kmem_close() does nothing. The library allocates only
 * when it joins, and has joined before the program can call it, so that it is never entered again
 * from inside a call that the program has made.
 *
 * GROWING. The ledger has what was asked for, and nothing can be added to it later. A block that
 * grows is given a quarter more than it needs, so that one that grows in small steps is copied a
 * number of times that is logarithmic in its size; within that it stays where it is.
 *
 * FORK. The segment is shared memory: what a child writes into its parent's heap, the parent sees.
 * A program that forks and goes on in both is not served. What a child does before exec() does no
 * harm: it allocates from libc; what it releases of its parent's stays.
 */
#include "client/malloc/block.h"

#include <assert.h>
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "client/malloc/caller.h"

#define LIKELY(condition) __builtin_expect(!!(condition), 1)
#define UNLIKELY(condition) __builtin_expect(!!(condition), 0)

/* What kmem.h promises for every block. */
#define PROMISED_ALIGNMENT ((size_t)16)

/* A page of the segment: no slab begins on more than that. */
#define NATURAL_ALIGNMENT_MAX 16384

/*
 * 1 KiB: below that a copy costs less than finding out whether it was needed; above, programs grow
 * buffers line by line.
 */
#define GROW_MIN_BYTES 1024

/* 8: libc keeps two or three buffers of a thread. More are leaked until the process ends. */
#define DEFERRED_MAX 8

extern void *__libc_calloc(size_t count, size_t each_bytes);
extern void *__libc_memalign(size_t alignment, size_t num_bytes);
extern void *__libc_realloc(void *block, size_t num_bytes);
extern void __libc_free(void *block);

/* ----------------------------------------------------------- whether the segment is asked ---- */

/* In memory that the kernel hands to a forked child as zeros. */
struct own {
    bool has_joined;
};

static const struct own not_joined;

/* Written by the constructor, once, release; read by every call, acquire. */
static _Atomic(const struct own *) own = &not_joined;

static _Thread_local struct {
    bool is_inside; /* a call of the library */
    unsigned int n_deferred;
    void *deferred[DEFERRED_MAX]; /* to be released with the thread's next block */
} here;

/* Whether this is the process that has joined: not before, and not a child of it. */
static bool has_joined(void)
{
    /* Acquire: pairs with block_join(). */
    return atomic_load_explicit(&own, memory_order_acquire)->has_joined;
}

static bool is_served(void)
{
    return LIKELY(has_joined()) && LIKELY(!here.is_inside);
}

static bool is_in_segment(const void *block)
{
    return kmem_offset_of(block) != 0;
}

static void inside_begin(void)
{
    here.is_inside = true;
}

static void inside_end(void)
{
    here.is_inside = false;
}

static void defer(void *block)
{
    if (here.n_deferred < DEFERRED_MAX) {
        here.deferred[here.n_deferred++] = block;
    }
}

/* Only a wrong call of the program ends it, and in the words of the library. */
__attribute__((noreturn)) static void complain(const char *call, const void *block)
{
    here.is_inside = true; /* whatever this allocates is libc's */
    (void)dprintf(STDERR_FILENO, "kmem-malloc: %s(%p): %s\n", call, block, kmem_last_error());
    abort();
}

/* ----------------------------------------------------------------------------- the library ---- */

/* A block of the segment, or NULL and the library's errno. */
static void *take(size_t num_bytes, const void *caller)
{
    const char *reason = caller_reason(caller);
    inside_begin();
    void *block = kmem_try_allocate(num_bytes, reason);
    inside_end();
    return block;
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

/* The constructor. What it can not do, and why, is said once, by the process that wanted it. */
__attribute__((constructor)) static void block_join(void)
{
    struct own *mine =
        mmap(NULL, sizeof(*mine), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mine == MAP_FAILED || madvise(mine, sizeof(*mine), MADV_WIPEONFORK) < 0) {
        (void)dprintf(STDERR_FILENO, "kmem-malloc: %m; memory comes from libc\n");
        return;
    }
    inside_begin();
    void *first = kmem_try_allocate(1, "malloc");
    if (first != NULL && kmem_try_release(&first) == 0) {
        mine->has_joined = true;
        /* Release: pairs with has_joined(). */
        atomic_store_explicit(&own, mine, memory_order_release);
    } else {
        (void)dprintf(STDERR_FILENO, "kmem-malloc: %s; memory comes from libc\n",
                      kmem_last_error());
    }
    inside_end();
}

/* Comes before the library's own. What the program still holds comes back when it ends. */
int kmem_close(void)
{
    return 0;
}

/* ------------------------------------------------------------------------------ new blocks ---- */

void *block_new(size_t num_bytes, const void *caller)
{
    if (UNLIKELY(num_bytes > PTRDIFF_MAX)) {
        errno = ENOMEM;
        return NULL;
    }
    if (LIKELY(is_served())) {
        void *block = take(num_bytes + (num_bytes == 0), caller);
        if (LIKELY(block != NULL) || segment_is_full()) {
            return block;
        }
    }
    return __libc_calloc(1, num_bytes);
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
    if (LIKELY(is_served())) {
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

void block_free(void *block)
{
    if (block == NULL) {
        return;
    }
    if (UNLIKELY(!is_in_segment(block))) {
        __libc_free(block);
        return;
    }
    if (UNLIKELY(!is_served())) {
        if (has_joined()) {
            defer(block);
        }
        return; /* of a parent: it stays */
    }
    release(block);
    while (UNLIKELY(here.n_deferred > 0)) {
        release(here.deferred[--here.n_deferred]);
    }
}

/* libc's own; it does not export that under another name. */
static size_t libc_num_bytes(void *block)
{
    static _Atomic(size_t(*)(void *)) found;
    /* Relaxed: every thread finds the same. */
    size_t (*usable)(void *) = atomic_load_explicit(&found, memory_order_relaxed);
    if (usable == NULL) {
        void *symbol = dlsym(RTLD_NEXT, "malloc_usable_size");
        memcpy(&usable, &symbol, sizeof(usable));
        atomic_store_explicit(&found, usable, memory_order_relaxed); /* Relaxed: as above. */
    }
    return usable != NULL ? usable(block) : 0;
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

size_t block_num_bytes(void *block)
{
    if (!is_in_segment(block)) {
        return libc_num_bytes(block);
    }
    return is_served() ? segment_num_bytes(block) : 0;
}

/* -------------------------------------------------------------------------------- resizing ---- */

/* Copies as much as can be read. Return: how much; the pages behind a block may be inaccessible. */
static size_t copy_readable(void *to, const unsigned char *from, size_t max_bytes)
{
    const size_t cpu_page_bytes = 4096; /* the smallest that there is */
    size_t done = 0;
    while (done < max_bytes) {
        const size_t to_page_end = cpu_page_bytes - (uintptr_t)(from + done) % cpu_page_bytes;
        const size_t n_bytes = max_bytes - done < to_page_end ? max_bytes - done : to_page_end;
        const struct iovec local = {(unsigned char *)to + done, n_bytes};
        const struct iovec remote = {(void *)(uintptr_t)(from + done), n_bytes};
        if (process_vm_readv(getpid(), &local, 1, &remote, 1, 0) != (ssize_t)n_bytes) {
            break;
        }
        done += n_bytes;
    }
    return done;
}

/* A block whose size can not be asked for: a parent's, or the library is at work, or gone. */
static void *resize_unknown(void *block, size_t num_bytes)
{
    void *copy = __libc_calloc(1, num_bytes);
    if (copy == NULL || copy_readable(copy, block, num_bytes) == 0) {
        __libc_free(copy);
        errno = ENOMEM;
        return NULL;
    }
    block_free(block);
    return copy;
}

/* A block that becomes less than half as large is worth a copy. */
static bool fits(size_t num_bytes, size_t room_bytes)
{
    return num_bytes <= room_bytes && (room_bytes < GROW_MIN_BYTES || num_bytes > room_bytes / 2);
}

static void *new_for_resize(size_t num_bytes, size_t old_bytes, const void *caller)
{
    if (num_bytes > old_bytes && num_bytes >= GROW_MIN_BYTES && num_bytes < PTRDIFF_MAX / 2) {
        void *larger = block_new(num_bytes + num_bytes / 4, caller);
        if (larger != NULL) {
            return larger;
        }
    }
    return block_new(num_bytes, caller);
}

void *block_resize(void *block, size_t num_bytes, const void *caller)
{
    if (!is_in_segment(block)) {
        return __libc_realloc(block, num_bytes);
    }
    const size_t old_bytes = is_served() ? segment_num_bytes(block) : 0;
    if (old_bytes == 0) {
        return resize_unknown(block, num_bytes);
    }
    if (fits(num_bytes, old_bytes)) {
        return block;
    }
    void *moved = new_for_resize(num_bytes, old_bytes, caller);
    if (moved == NULL) {
        return NULL;
    }
    memcpy(moved, block, old_bytes < num_bytes ? old_bytes : num_bytes);
    block_free(block);
    return moved;
}

/* SPDX-License-Identifier: MIT */
/*
 * The public calls. Each has a body, api_NAME(), that takes and fills a struct failure and does not
 * know what it is called; around it the kmem_try_ call returns the errno, and the call of the
 * original interface ends in the failure handler. The sentence gets the name of the call here.
 *
 * Two promises are kept in one place each: errno is the program's, and is only written by a call
 * that returns NULL for a failure; and no lock is held while the failure handler runs, so that it
 * may call the library, throw or jump.
 *
 * What can be told without the daemon is told without it: a size of 0, a pointer that is not in the
 * segment. Everything else only the daemon knows; it is asked.
 */
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <kmem/share.h>

#include "client/blocks.h"
#include "client/context.h"
#include "client/heap/counts.h"
#include "client/failure.h"
#include "client/heap/heap.h"
#include "client/link/notice.h"
#include "client/link/calls.h"
#include "client/share_parts.h"
#include "client/sharing.h"
#include "proto/notice.h"
#include "proto/size_class.h"
#include "proto/text.h"

/* ------------------------------------------------------------------------------ allocating ---- */

/* The block is the caller's already; clearing it keeps no other thread waiting. */
static void *api_clear(const struct segment *segment, const struct carved *carved, size_t num_bytes)
{
    void *block = kmem__segment_pointer(segment, carved->offset);
    if (!carved->is_zero) {
        memset(block, 0, num_bytes);
    }
    return block;
}

KMEM_MUST_USE static int api_refuse_number(long long num_bytes, const char *reason,
                                           struct failure *failure)
{
    char clean[KMEM_REASON_MAX_BYTES + 1];
    (void)text_clean(reason != NULL ? reason : "", clean, sizeof(clean));
    kmem__counts_note(&kmem__blocks_counts()->n_invalid);
    int r = kmem__failure_set_for(failure, EINVAL, 0, clean);
    kmem__failure_add(failure, "%lld bytes are no block; ask for 1 at least", num_bytes);
    return r;
}

KMEM_MUST_USE static int api_refuse_size(size_t num_bytes, const struct segment *segment,
                                         const char *reason, struct failure *failure)
{
    char asked[TEXT_BYTES_MAX];
    char all[TEXT_BYTES_MAX];
    int r = kmem__failure_set_for(failure, EINVAL, num_bytes, reason);
    kmem__failure_add(failure, "%s is more than the segment \"",
                      text_format_bytes(num_bytes, asked, sizeof(asked)));
    kmem__failure_add_foreign(failure, segment->name);
    kmem__failure_add(failure, "\" may have (%s); start kmemd with a larger --max-size",
                      text_format_bytes(segment->num_bytes, all, sizeof(all)));
    return r;
}

/* What the server has just said: whether a quota gets tight, and whether blocks with that reason
   may be leased, while budgets deny. */
static void api_learn(const char *clean_reason, const struct carved *carved)
{
    struct allocator *allocator = kmem__context_allocator();
    if (allocator == NULL || allocator->clock == NULL) {
        return;
    }
    kmem__allocator_set_tight(allocator, carved->is_tight);
    const struct notice *notice = (const void *)allocator->clock;
    /* Relaxed: a number that stands alone. */
    const uint32_t budgets = atomic_load_explicit(&notice->budgets, memory_order_relaxed);
    if (budgets != 0) {
        kmem__intern_judge(&allocator->intern, budgets, clean_reason, carved->is_direct_only);
    }
}

/* A block that the daemon carves. */
KMEM_MUST_USE static int api_allocate_direct(size_t num_bytes, const char *reason, unsigned how,
                                             const struct waiting *waiting, void **ret_block,
                                             struct failure *failure)
{
    char clean[KMEM_REASON_MAX_BYTES + 1];
    struct carved carved = {.is_zero = false};
    struct conn_lock lock;
    (void)text_clean(reason != NULL ? reason : "", clean, sizeof(clean));
    int r = kmem__context_enter(&lock, failure);
    if (r < 0) {
        kmem__failure_about(failure, 0, num_bytes, clean);
        return r;
    }
    r = kmem__context_refuse_reader(&lock, "allocate", failure);
    if (r < 0) {
        kmem__failure_about(failure, 0, num_bytes, clean);
    } else if (num_bytes > lock.segment->num_bytes) {
        r = api_refuse_size(num_bytes, lock.segment, clean, failure);
        kmem__counts_note(&kmem__blocks_counts()->n_too_large);
    } else {
        r = kmem__blocks_reserve_direct(failure);
        r = r < 0 ? r
                  : kmem__calls_allocate(lock.conn, lock.segment, num_bytes, clean, how, waiting,
                                         &carved, failure);
    }
    if (r == 0) {
        kmem__blocks_note_direct(carved.offset, num_bytes);
    }
    if (r == -ENOMEM) {
        kmem__context_add_refusal(&lock, failure);
    }
    kmem__context_leave(&lock);
    if (r == 0) {
        api_learn(clean, &carved);
        kmem__counts_grow(kmem__blocks_counts(), num_bytes);
        *ret_block = api_clear(lock.segment, &carved, num_bytes);
    }
    return r;
}

/*
 * What this thread keeps ready is unused memory, and no reason for a refusal. The server takes it
 * back itself, with what other threads keep, if membarrier() is to be had. Where it is not, the
 * thread puts it back when it is refused, and asks again; and if this process was refused last it
 * puts it back first, so that a refusal is one round trip. Return: whether it is to ask again.
 */
static bool api_flush_first(struct allocator *allocator)
{
    if (allocator == NULL || !kmem__heap_can_flush(allocator)) {
        return false;
    }
    /* Relaxed: a hint. */
    const bool was_refused = atomic_load_explicit(&allocator->was_refused, memory_order_relaxed);
    if (was_refused) {
        (void)kmem__heap_flush(allocator); /* or nothing was ready */
    }
    return !was_refused && !kmem__allocator_is_fenced(allocator);
}

/* The block with which a process joins is the first of its size, too. */
static void api_count_first(uint64_t num_bytes)
{
    struct allocator *allocator = kmem__context_allocator();
    if (allocator != NULL) {
        kmem__hot_note(&allocator->hot, num_bytes);
    }
}

static void api_note_refused(struct allocator *allocator, int r)
{
    const bool is_refused = r == -ENOMEM;
    /* Relaxed, both: a hint; a look before the store, for all threads have the line. */
    if (allocator != NULL &&
        atomic_load_explicit(&allocator->was_refused, memory_order_relaxed) != is_refused) {
        atomic_store_explicit(&allocator->was_refused, is_refused, memory_order_relaxed);
    }
}

/* A block of this process's leases, if it is to be one; flags as of kmem_try_allocate_with(). */
static void *api_allocate_leased(struct allocator *allocator, size_t num_bytes, const char *reason,
                                 struct kmem_site *site, int flags)
{
    const bool is_small = num_bytes <= SMALL_MAX_BYTES;
    if (allocator == NULL || num_bytes > allocator->num_bytes ||
        (is_small && (flags & KMEM_SHAREABLE) != 0)) {
        return NULL;
    }
    return (flags & KMEM_UNINITIALIZED) != 0
               ? kmem__heap_allocate_uncleared(allocator, num_bytes, reason)
               : kmem__heap_allocate(allocator, num_bytes, reason, site);
}

KMEM_MUST_USE static int api_allocate(size_t num_bytes, const char *reason, struct kmem_site *site,
                                      int flags, void **ret_block, struct failure *failure)
{
    if (num_bytes == 0) {
        return api_refuse_number(0, reason, failure);
    }
    kmem__context_call();
    struct allocator *allocator = kmem__context_allocator();
    if (allocator != NULL && kmem__notice_look(&allocator->notice, failure) < 0) {
        return kmem__blocks_refuse_ended(num_bytes, reason, failure);
    }
    void *leased = api_allocate_leased(allocator, num_bytes, reason, site, flags);
    if (leased != NULL) {
        *ret_block = leased;
        return 0;
    }
    const bool may_again = api_flush_first(allocator);
    const unsigned how = (flags & KMEM_SHAREABLE) != 0 ? ALLOCATE_SHAREABLE : 0;
    int r = api_allocate_direct(num_bytes, reason, how | (may_again ? ALLOCATE_MAY_AGAIN : 0), NULL,
                                ret_block, failure);
    const bool came_home = r == -ENOMEM && allocator != NULL && kmem__heap_take_returns(allocator);
    if (r == -ENOMEM && (may_again || came_home)) {
        (void)kmem__heap_flush(allocator); /* if there was nothing, the server says why not */
        r = api_allocate_direct(num_bytes, reason, how, NULL, ret_block, failure);
    }
    api_note_refused(allocator, r);
    if (allocator == NULL && r == 0) {
        api_count_first(num_bytes);
    }
    return r;
}

/* ------------------------------------------------------------------------------- waiting ---- */

/* 100 ms: a server that is started anew knows of no ticket, and one that is asked less seldom lets
   others pass. */
#define ASK_AGAIN_MS 100

struct patience {
    int timeout_ms;       /* negative: for ever */
    kmem_wait_fn goes_on; /* NULL: until that is over */
    void *user;
};

/* How long to wait still; a negative timeout is for ever, which is asked for in pieces. */
static uint32_t api_left_ms(int timeout_ms, int64_t until_ms)
{
    const int64_t left_ms = timeout_ms < 0 ? INT_MAX : until_ms - kmem__monotonic_ms();
    return left_ms > 0 ? (uint32_t)left_ms : 0;
}

/* Sleeps until memory may be had, or for a while. Without a bell, which a process has that leases,
   for a while. */
static void api_sleep(const _Atomic uint32_t *bell, uint32_t seen, uint32_t left_ms)
{
    static _Atomic uint32_t no_bell;
    const uint32_t wait_ms = left_ms < ASK_AGAIN_MS ? left_ms : ASK_AGAIN_MS;
    const struct timespec time = {.tv_nsec = (long)wait_ms * 1000000};
    /* Woken, changed, interrupted or late: each time the caller asks. */
    (void)syscall(SYS_futex, bell != NULL ? bell : &no_bell, FUTEX_WAIT, seen, &time, NULL, 0);
}

/* Asks for a block until it is there, or its time is up. The connection is free between. */
KMEM_MUST_USE static int api_wait_direct(size_t num_bytes, const char *reason,
                                         const struct patience *patience, void **ret_block,
                                         struct failure *failure)
{
    static _Atomic uint64_t n_tickets;
    const int64_t until_ms = kmem__monotonic_ms() + patience->timeout_ms;
    /* Relaxed: a number of its own is all that is asked for. */
    struct waiting waiting = {
        .ticket = atomic_fetch_add_explicit(&n_tickets, 1, memory_order_relaxed) + 1};
    for (;;) {
        struct allocator *allocator = kmem__context_allocator();
        const _Atomic uint32_t *bell =
            allocator == NULL ? NULL
                              : (const _Atomic uint32_t *)(const void *)((const unsigned char *)
                                                                             allocator->clock_at +
                                                                         NOTICE_BELLS_AT) +
                                    NOTICE_MEMORY_BELL;
        /* Acquire: what is rung after this look wakes the sleep below. */
        const uint32_t seen = bell != NULL ? atomic_load_explicit(bell, memory_order_acquire) : 0;
        const bool is_over = patience->goes_on != NULL && patience->goes_on(patience->user) == 0;
        waiting.wait_ms = is_over ? 0 : api_left_ms(patience->timeout_ms, until_ms);
        kmem__context_call();
        int r = allocator != NULL ? kmem__notice_look(&allocator->notice, failure) : 0;
        if (r < 0) {
            return kmem__blocks_refuse_ended(num_bytes, reason, failure);
        }
        if (allocator != NULL) {
            (void)kmem__heap_take_returns(allocator); /* or nothing has come home */
        }
        r = api_allocate_direct(num_bytes, reason, 0, &waiting, ret_block, failure);
        if (is_over && r < 0) {
            return kmem__failure_set(failure, EINTR, "the caller waits no longer for room");
        }
        if (r != -EBUSY || waiting.wait_ms == 0) {
            return r;
        }
        if (bell != NULL || kmem__context_allocator() == NULL) { /* else it has one since */
            api_sleep(bell, seen, waiting.wait_ms);
        }
    }
}

KMEM_MUST_USE static int api_wait_allocate(size_t num_bytes, const char *reason,
                                           const struct patience *patience, void **ret_block,
                                           struct failure *failure)
{
    if (patience->timeout_ms == 0 || num_bytes == 0) {
        return api_allocate(num_bytes, reason, NULL, 0, ret_block, failure);
    }
    kmem__context_call();
    struct allocator *allocator = kmem__context_allocator();
    if (allocator != NULL && kmem__notice_look(&allocator->notice, failure) < 0) {
        return kmem__blocks_refuse_ended(num_bytes, reason, failure);
    }
    *ret_block = api_allocate_leased(allocator, num_bytes, reason, NULL, 0);
    return *ret_block != NULL ? 0
                              : api_wait_direct(num_bytes, reason, patience, ret_block, failure);
}

void *kmem_wait_allocate_while(size_t num_bytes, const char *reason, int timeout_ms,
                               kmem_wait_fn goes_on, void *user)
{
    const struct patience patience = {timeout_ms, goes_on, user};
    struct failure failure;
    void *block = NULL;
    int saved_errno = errno;
    int r = api_wait_allocate(num_bytes, reason, &patience, &block, &failure);
    if (r < 0) {
        kmem__failure_record(&failure,
                             goes_on != NULL ? "kmem_wait_allocate_while" : "kmem_wait_allocate");
        saved_errno = -r;
    }
    errno = saved_errno;
    return block;
}

void *kmem_wait_allocate(size_t num_bytes, const char *reason, int timeout_ms)
{
    return kmem_wait_allocate_while(num_bytes, reason, timeout_ms, NULL, NULL);
}

static void *api_try_allocate(size_t num_bytes, const char *reason, struct kmem_site *site)
{
    struct failure failure;
    void *block = NULL;
    int saved_errno = errno;
    int r = api_allocate(num_bytes, reason, site, 0, &block, &failure);
    if (r < 0) {
        kmem__failure_record(&failure, "kmem_try_allocate");
        saved_errno = -r;
    }
    errno = saved_errno;
    return block;
}

KMEM_LINE void *(kmem_try_allocate)(size_t num_bytes, const char *reason)
{
    return kmem__heap_take(num_bytes, reason, api_try_allocate);
}

KMEM_LINE void *kmem_try_allocate_at(size_t num_bytes, const char *reason, struct kmem_site *site)
{
    return kmem__heap_take_at(num_bytes, reason, site, api_try_allocate);
}

void *kmem_try_allocate_with(size_t num_bytes, int flags, const char *reason)
{
    struct failure failure;
    void *block = NULL;
    int saved_errno = errno;
    int r = kmem__share_check_flags(flags, KMEM_SHAREABLE | KMEM_UNINITIALIZED, &failure);
    r = r < 0 ? r : api_allocate(num_bytes, reason, NULL, flags, &block, &failure);
    if (r < 0) {
        kmem__failure_record(&failure, "kmem_try_allocate_with");
        saved_errno = -r;
    }
    errno = saved_errno;
    return block;
}

/* num_bytes is what became of the int, which may have been negative. */
static void *api_allocate_or_raise(size_t num_bytes_as_passed, const char *reason,
                                   struct kmem_site *site)
{
    const int num_bytes = (int)num_bytes_as_passed;
    struct failure failure;
    void *block = NULL;
    int saved_errno = errno;
    int r = num_bytes > 0 ? api_allocate((size_t)num_bytes, reason, site, 0, &block, &failure)
                          : api_refuse_number(num_bytes, reason, &failure);
    errno = saved_errno;
    if (r < 0) {
        kmem__failure_raise(&failure, "kmem_allocate");
        errno = -r;
    }
    return block;
}

KMEM_LINE void *(kmem_allocate)(const int num_bytes, const char *const reason)
{
    return kmem__heap_take((size_t)num_bytes, reason, api_allocate_or_raise);
}

KMEM_LINE void *kmem_allocate_at(const int num_bytes, const char *const reason,
                                 struct kmem_site *const site)
{
    return kmem__heap_take_at((size_t)num_bytes, reason, site, api_allocate_or_raise);
}

/* ----------------------------------------------------------------------- blocks by pointer ---- */

KMEM_MUST_USE static int api_release(void **mem, struct failure *failure)
{
    struct seg_off offset = {0};
    struct found found;
    struct conn_lock lock;
    if (mem == NULL) {
        kmem__blocks_count_misuse();
        return kmem__failure_set(failure, EINVAL, "NULL is no pointer's address; pass &pointer");
    }
    const void *block = pointer_get(mem);
    if (block == NULL) {
        return 0;
    }
    if (kmem__sharing_drop(block)) {
        pointer_clear(mem);
        return 0;
    }
    struct allocator *allocator = kmem__context_allocator();
    if (allocator != NULL && kmem__notice_look(&allocator->notice, failure) < 0) {
        return kmem__blocks_refuse_ended(0, NULL, failure);
    }
    kmem__context_call();
    int r = kmem__blocks_leased(block, kmem__heap_release, &found, failure);
    if (r == BLOCKS_E_ASK) {
        r = kmem__blocks_enter_about(&lock, block, &offset, failure);
        if (r < 0) {
            return r;
        }
        r = kmem__sharing_release(&lock, offset, failure);
        kmem__context_leave(&lock);
    }
    if (r == 0) {
        pointer_clear(mem);
    }
    return r;
}

__attribute__((noinline)) static int api_try_release_more(void **mem)
{
    struct failure failure;
    int saved_errno = errno;
    int r = api_release(mem, &failure);
    if (r < 0) {
        kmem__failure_record(&failure, "kmem_try_release");
    }
    errno = saved_errno;
    return r;
}

/* What another thread allocated is usual as well. */
__attribute__((noinline)) static int api_try_release(void **mem)
{
    if (KMEM_LIKELY(mem != NULL) && KMEM_LIKELY(kmem__heap_give_remote(pointer_get(mem)))) {
        pointer_clear(mem);
        return 0;
    }
    return api_try_release_more(mem);
}

KMEM_LINE int(kmem_try_release)(void **mem)
{
    struct given given;
    if (KMEM_LIKELY(mem != NULL) && KMEM_LIKELY(kmem__heap_give_noted(pointer_get(mem), &given))) {
        pointer_clear(mem);
        return KMEM_LIKELY(!given.is_noted) ? 0 : kmem__heap_note_lifetime(given.entry, given.word);
    }
    return api_try_release(mem);
}

__attribute__((noinline)) static void api_release_or_raise(void **mem)
{
    struct failure failure;
    int saved_errno = errno;
    int r = api_release(mem, &failure);
    errno = saved_errno;
    if (r < 0) {
        kmem__failure_raise(&failure, "kmem_release");
    }
}

__attribute__((noinline)) static void api_release_more(void **mem)
{
    if (KMEM_LIKELY(mem != NULL) && KMEM_LIKELY(kmem__heap_give_remote(pointer_get(mem)))) {
        pointer_clear(mem);
        return;
    }
    api_release_or_raise(mem);
}

KMEM_LINE void(kmem_release)(void **mem)
{
    struct given given;
    if (KMEM_LIKELY(mem != NULL) && KMEM_LIKELY(kmem__heap_give_noted(pointer_get(mem), &given))) {
        pointer_clear(mem);
        if (KMEM_UNLIKELY(given.is_noted)) {
            (void)kmem__heap_note_lifetime(given.entry, given.word); /* always 0 */
        }
        return;
    }
    api_release_more(mem);
}

KMEM_MUST_USE static int api_sizeof(const void *mem, size_t *ret_num_bytes, struct failure *failure)
{
    struct seg_off offset = {0};
    uint64_t num_bytes = 0;
    struct conn_lock lock;
    if (mem == NULL || ret_num_bytes == NULL) {
        kmem__blocks_count_misuse();
        return kmem__failure_set(failure, EINVAL, "NULL is %s",
                                 mem == NULL ? "no block" : "no place for the size");
    }
    struct found found;
    kmem__context_call();
    int r = kmem__blocks_leased(mem, kmem__heap_find, &found, failure);
    if (r == 0) {
        num_bytes = found.num_bytes;
    } else if (r == BLOCKS_E_ASK && !kmem__sharing_sizeof(mem, &num_bytes)) {
        r = kmem__blocks_enter_about(&lock, mem, &offset, failure);
        if (r < 0) {
            return r;
        }
        r = kmem__calls_size_of(lock.conn, offset, &num_bytes, failure);
        kmem__context_leave(&lock);
    } else if (r == BLOCKS_E_ASK) {
        r = 0; /* it is held, and its size is known */
    }
    if (r == 0) {
        *ret_num_bytes = num_bytes;
    }
    return r;
}

static int api_try_sizeof(const void *mem, size_t *ret_num_bytes)
{
    struct failure failure;
    int saved_errno = errno;
    int r = api_sizeof(mem, ret_num_bytes, &failure);
    if (r < 0) {
        kmem__failure_record(&failure, "kmem_try_sizeof");
    }
    errno = saved_errno;
    return r;
}

KMEM_LINE int kmem_try_sizeof(const void *mem, size_t *ret_num_bytes)
{
    const uint32_t own_bytes = kmem__heap_sizeof(mem);
    if (KMEM_LIKELY(own_bytes != 0) && KMEM_LIKELY(ret_num_bytes != NULL)) {
        *ret_num_bytes = own_bytes;
        return 0;
    }
    return api_try_sizeof(mem, ret_num_bytes);
}

static unsigned int api_sizeof_or_raise(const void *mem)
{
    struct failure failure;
    size_t num_bytes = 0;
    int saved_errno = errno;
    int r = api_sizeof(mem, &num_bytes, &failure);
    if (r == 0 && num_bytes > UINT_MAX) {
        r = kmem__failure_set(&failure, EOVERFLOW,
                              "the block has %zu bytes, more than the result can say; use "
                              "kmem_try_sizeof()",
                              num_bytes);
        kmem__failure_about(&failure, kmem_offset_of(mem), num_bytes, NULL);
        num_bytes = 0;
    }
    errno = saved_errno;
    if (r < 0) {
        kmem__failure_raise(&failure, "kmem_sizeof_allocation");
    }
    return (unsigned int)num_bytes;
}

KMEM_LINE unsigned int kmem_sizeof_allocation(const void *const mem)
{
    const uint32_t own_bytes = kmem__heap_sizeof(mem);
    return KMEM_LIKELY(own_bytes != 0) ? own_bytes : api_sizeof_or_raise(mem);
}

uint64_t kmem_offset_of(const void *mem)
{
    return kmem__segment_offset(kmem__context_segment(), mem).bytes;
}

/* --------------------------------------------------------------------------------- leaving ---- */

int kmem_close(void)
{
    struct failure failure;
    int saved_errno = errno;
    kmem__context_call();
    int r = kmem__context_close(&failure);
    if (r < 0) {
        kmem__failure_record(&failure, "kmem_close");
    }
    errno = saved_errno;
    return r;
}

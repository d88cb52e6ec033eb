/* SPDX-License-Identifier: MIT */
/*
 * Slabs and large blocks are made of runs of pages. Three places are looked at, in this order:
 *
 *      recent    runs of exactly this length that were given back lately, the latest first: its
 *                bytes are most likely still in a cache
 *      extents   every stretch in which pages were ever leased, first fit
 *      daemon    a new lease: 16 pages, then twice as many each time
 *
 * Before them, a thread that gives large blocks back and takes them again has a list of its own of
 * such runs, and needs no lock: what is in its caches stays with its processor. It tells the cache
 * of them when it finds none of the length, so that first fit goes by all it gave; a search by
 * another thread that fails is made once more over everything.
 *
 * All of it are hints. The states in the ledger alone say what may be taken, the daemon may revoke
 * a page between two instructions, and lease_take() decides. So nothing here needs to be told when
 * pages are revoked, and nothing can go wrong by being out of date: a run that is not there any
 * more is forgotten when it can not be taken.
 *
 * Unused pages are kept. That costs others nothing, since the daemon takes them back when it runs
 * short, and spares the next block a round trip.
 *
 * First fit, because it gathers what is used at the front of a lease, and leaves long runs behind
 * it for large blocks and for the daemon. `first` keeps a search from walking over what is
 * in use each time; `too_long` keeps one that failed from being repeated before a page has come
 * back.
 *
 * The lock is held for a search, never for a round trip. Two threads that find nothing at the same
 * time ask for a lease each; the second finds its place among the first's pages.
 */
#include "client/heap/lease_cache.h"

#include <string.h>

#include "proto/limits.h"
#include "proto/notice.h"

/* 16: a page for each of the classes that a program warms up with; 256 KiB are soon used. */
#define LEASE_FIRST_PAGES 16
/* A lease that grows by doubling takes at most 1/16 of the segment more than is asked for. */
#define LEASE_FRACTION 16
/* 4,096: of 64 MiB, which with --commit lazy the system has to clear, some 50 ms in which the
   caller waits; a round trip is nothing beside that. */
#define LEASE_MOST_PAGES 4096
/* 4: when the daemon gives back what was not used meanwhile. Who needs a lease no sooner has had
   one that was too long. */
#define LEASE_SOON_TICKS 4
/* 64: 6.4 s. A full segment is asked about again now and then, not with every block. */
#define PAUSE_MAX_TICKS 64
/* A lease may be revoked, or used up by another thread, before its pages are taken. */
#define ASK_TRIES 4

void kmem__lease_cache_init(struct lease_cache *cache, struct ledger *ledger,
                            const _Atomic uint32_t *clock, lend_function lend, void *lender)
{
    memset(cache, 0, sizeof(*cache));
    cache->ledger = ledger;
    cache->clock = clock;
    cache->lend = lend;
    cache->lender = lender;
    cache->want_pages = LEASE_FIRST_PAGES;
    cache->pause_ticks = 1;
    cache->leased_at = notice_tick(clock);
}

/* ---------------------------------------------------------------------------------- recent ---- */

static void recent_remove(struct recent *recent, uint32_t at)
{
    recent->n_untold -= at >= recent->n_runs - recent->n_untold;
    recent->n_runs--;
    memmove(&recent->runs[at], &recent->runs[at + 1],
            (recent->n_runs - at) * sizeof(recent->runs[0]));
}

static void recent_push(struct recent *recent, struct run run)
{
    if (recent->n_runs == RECENT_MAX) {
        recent_remove(recent, 0);
    }
    recent->runs[recent->n_runs++] = run;
}

static bool recent_take(struct recent *recent, _Atomic uint64_t *states, uint32_t n_pages,
                        struct taken *ret_taken)
{
    for (uint32_t at = recent->n_runs; at-- > 0;) {
        const struct run run = recent->runs[at];
        if (run.n_pages != n_pages) {
            continue;
        }
        recent_remove(recent, at);
        if (lease_take_own(states, run.page, n_pages, &ret_taken->is_zero, &ret_taken->n_own)) {
            ret_taken->page = run.page;
            ret_taken->is_warm = true;
            return true;
        }
    }
    return false;
}

/* --------------------------------------------------------------------------------- extents ---- */

/* Pages from `page` on may be unused now, and with them runs that begin before it. */
static void firsts_lower(struct extent *extent, uint32_t page)
{
    for (uint32_t length = 1; length < FIRSTS; length++) {
        const uint32_t reach = length - 1;
        const uint32_t first = page > extent->begin + reach ? page - reach : extent->begin;
        extent->first[length] = first < extent->first[length] ? first : extent->first[length];
    }
}

/* Where a search for a run begins: what is too short for a shorter one is too short for it. */
static uint32_t firsts_begin(const struct extent *extent, uint32_t n_pages)
{
    uint32_t first = extent->begin;
    for (uint32_t length = 1; length < FIRSTS && length <= n_pages; length++) {
        first = extent->first[length] > first ? extent->first[length] : first;
    }
    return first;
}

static bool extent_take(struct lease_cache *cache, struct extent *extent, uint32_t n_pages,
                        struct taken *ret_taken)
{
    uint32_t from = firsts_begin(extent, n_pages);
    while (n_pages < extent->too_long &&
           lease_find(cache->ledger->states, from, extent->end, n_pages, &ret_taken->page)) {
        if (lease_take_own(cache->ledger->states, ret_taken->page, n_pages, &ret_taken->is_zero,
                           &ret_taken->n_own)) {
            ret_taken->is_warm = false;
            if (n_pages < FIRSTS) {
                extent->first[n_pages] = ret_taken->page + n_pages;
            }
            return true;
        }
        /* Revoked meanwhile. Each turn begins behind the last, so the loop ends. */
        from = ret_taken->page + 1;
    }
    if (n_pages < extent->too_long) {
        extent->too_long = n_pages;
    }
    return false;
}

static bool extents_take(struct lease_cache *cache, uint32_t n_pages, struct taken *ret_taken)
{
    for (uint32_t i = 0; i < cache->n_extents; i++) {
        if (extent_take(cache, &cache->extents[i], n_pages, ret_taken)) {
            return true;
        }
    }
    return false;
}

/* What threads have given back and not said so, they and others: each extent from its beginning. */
static bool extents_take_untold(struct lease_cache *cache, uint32_t n_pages,
                                struct taken *ret_taken)
{
    /* Acquire: pairs with kmem__lease_cache_keep(). */
    if (!atomic_exchange_explicit(&cache->has_untold, false, memory_order_acquire)) {
        return false;
    }
    for (uint32_t i = 0; i < cache->n_extents; i++) {
        cache->extents[i].too_long = UINT32_MAX;
        firsts_lower(&cache->extents[i], cache->extents[i].begin);
    }
    return extents_take(cache, n_pages, ret_taken);
}

/* The extent that has the page; NULL if none has. */
static struct extent *extents_find(struct lease_cache *cache, uint32_t page)
{
    uint32_t low = 0;
    uint32_t high = cache->n_extents;
    while (low < high) {
        const uint32_t middle = (low + high) / 2;
        struct extent *extent = &cache->extents[middle];
        if (page < extent->begin) {
            high = middle;
        } else if (page >= extent->end) {
            low = middle + 1;
        } else {
            return extent;
        }
    }
    return NULL;
}

/* Makes the extents at and at + 1 one. */
static void extents_join(struct lease_cache *cache, uint32_t at)
{
    struct extent *extent = &cache->extents[at];
    const struct extent *next = extent + 1;
    extent->end = next->end > extent->end ? next->end : extent->end;
    firsts_lower(extent, next->begin); /* it may go on with what is unused before it */
    extent->too_long = UINT32_MAX;
    cache->n_extents--;
    memmove(extent + 1, extent + 2, (cache->n_extents - at - 1) * sizeof(*extent));
}

/* Makes room for one more: the two extents with the smallest gap become one. */
static void extents_condense(struct lease_cache *cache)
{
    uint32_t best = 0;
    uint32_t best_gap = UINT32_MAX;
    for (uint32_t i = 0; i + 1 < cache->n_extents; i++) {
        const uint32_t gap = cache->extents[i + 1].begin - cache->extents[i].end;
        if (gap < best_gap) {
            best = i;
            best_gap = gap;
        }
    }
    extents_join(cache, best);
}

static void extents_insert(struct lease_cache *cache, struct run run)
{
    if (cache->n_extents == EXTENTS_MAX) {
        extents_condense(cache);
    }
    uint32_t at = 0;
    while (at < cache->n_extents && cache->extents[at].begin < run.page) {
        at++;
    }
    memmove(&cache->extents[at + 1], &cache->extents[at],
            (cache->n_extents - at) * sizeof(cache->extents[0]));
    cache->extents[at] =
        (struct extent){.begin = run.page, .end = run.page + run.n_pages, .too_long = UINT32_MAX};
    for (uint32_t length = 1; length < FIRSTS; length++) {
        cache->extents[at].first[length] = run.page;
    }
    cache->n_extents++;
    while (at + 1 < cache->n_extents && cache->extents[at + 1].begin <= cache->extents[at].end) {
        extents_join(cache, at);
    }
    if (at > 0 && cache->extents[at].begin <= cache->extents[at - 1].end) {
        extents_join(cache, at - 1);
    }
}

/* ---------------------------------------------------------------------------------- asking ---- */

static uint32_t cache_now(const struct lease_cache *cache)
{
    return notice_tick(cache->clock);
}

/* Less than what was refused may be there. */
static bool lease_cache_may_ask(const struct lease_cache *cache, uint32_t n_pages)
{
    return n_pages <= LEASE_MAX_PAGES && (!cache->is_refused || n_pages < cache->refused_pages ||
                                          cache_now(cache) - cache->asked_at >= cache->pause_ticks);
}

static void lease_cache_note_refusal(struct lease_cache *cache, uint32_t n_pages)
{
    cache->refused_pages =
        cache->is_refused && cache->refused_pages < n_pages ? cache->refused_pages : n_pages;
    if (cache->is_refused && cache->pause_ticks < PAUSE_MAX_TICKS) {
        cache->pause_ticks *= 2;
    }
    cache->is_refused = true;
    cache->asked_at = cache_now(cache);
    cache->want_pages = LEASE_FIRST_PAGES;
}

/* The most that is worth while to want, of the segment as large as it is now. */
static uint32_t lease_cache_most(const struct lease_cache *cache)
{
    /* Relaxed: a hint; 0: all. */
    const uint32_t now = atomic_load_explicit(cache->clock + CLOCK_PAGES, memory_order_relaxed);
    const uint32_t n_pages = now > 0 ? now : cache->ledger->n_pages;
    const uint32_t most = n_pages / LEASE_FRACTION;
    return most < LEASE_MOST_PAGES ? most : LEASE_MOST_PAGES;
}

static void lease_cache_note_lease(struct lease_cache *cache, struct run run)
{
    const uint32_t now = cache_now(cache);
    const bool is_soon = now - cache->leased_at <= LEASE_SOON_TICKS;
    extents_insert(cache, run);
    cache->is_refused = false;
    cache->pause_ticks = 1;
    cache->leased_at = now;
    if (is_soon && cache->want_pages * 2 <= lease_cache_most(cache)) {
        cache->want_pages *= 2;
    } else if (!is_soon && cache->want_pages > LEASE_FIRST_PAGES) {
        cache->want_pages /= 2;
    }
}

/* Called without the lock, comes back without it. */
KMEM_MUST_USE static int lease_cache_ask(struct lease_cache *cache, uint32_t n_pages,
                                         uint32_t want_pages)
{
    struct run run = {0, 0};
    const int r = cache->lend(cache->lender, n_pages, want_pages, &run);
    (void)pthread_mutex_lock(&cache->lock);
    if (r == 0) {
        lease_cache_note_lease(cache, run);
    } else {
        lease_cache_note_refusal(cache, n_pages);
    }
    (void)pthread_mutex_unlock(&cache->lock);
    return r == 0 ? 0 : CACHE_E_NONE;
}

bool kmem__lease_cache_is_short(struct lease_cache *cache, uint32_t n_pages)
{
    /* Relaxed, all: hints. */
    const uint64_t n_used =
        atomic_load_explicit(&cache->ledger->header->n_used_pages, memory_order_relaxed);
    const uint32_t tick = cache_now(cache);
    const uint32_t spare = atomic_load_explicit(cache->clock + CLOCK_SPARE, memory_order_relaxed);
    /* What the daemon says counts what this process used until then: count anew. */
    if (atomic_load_explicit(&cache->spare_tick, memory_order_relaxed) != tick ||
        atomic_load_explicit(&cache->spare_told, memory_order_relaxed) != spare) {
        atomic_store_explicit(&cache->spare_base, n_used, memory_order_relaxed);
        atomic_store_explicit(&cache->spare_told, spare, memory_order_relaxed);
        atomic_store_explicit(&cache->spare_tick, tick, memory_order_relaxed);
    }
    const uint64_t base = atomic_load_explicit(&cache->spare_base, memory_order_relaxed);
    if (spare <= CLOCK_SPARE_NONE) { /* nothing was said, or there is nothing to spare */
        return spare == CLOCK_SPARE_NONE;
    }
    return n_used + n_pages > base + spare - CLOCK_SPARE_NONE;
}

/* How long the next lease is to be. */
static uint32_t lease_cache_wants(struct lease_cache *cache, uint32_t n_pages)
{
    return cache->want_pages > n_pages && !kmem__lease_cache_is_short(cache, n_pages)
               ? cache->want_pages
               : n_pages;
}

static void lease_cache_note_used(struct lease_cache *cache, int64_t n_pages)
{
    /* Relaxed: read by the daemon for what it shows. */
    (void)atomic_fetch_add_explicit(&cache->ledger->header->n_used_pages, (uint64_t)n_pages,
                                    memory_order_relaxed);
}

int kmem__lease_cache_take(struct lease_cache *cache, uint32_t n_pages, struct taken *ret_taken)
{
    for (uint32_t tries = 0; tries < ASK_TRIES; tries++) {
        (void)pthread_mutex_lock(&cache->lock);
        const bool is_taken =
            recent_take(&cache->recent, cache->ledger->states, n_pages, ret_taken) ||
            extents_take(cache, n_pages, ret_taken) ||
            extents_take_untold(cache, n_pages, ret_taken);
        const bool may_ask = lease_cache_may_ask(cache, n_pages);
        const uint32_t want = lease_cache_wants(cache, n_pages);
        (void)pthread_mutex_unlock(&cache->lock);
        if (is_taken) {
            lease_cache_note_used(cache, n_pages);
            return 0;
        }
        if (!may_ask || lease_cache_ask(cache, n_pages, want) != 0) {
            return CACHE_E_NONE;
        }
    }
    return CACHE_E_NONE;
}

/* The pages are unused: a search finds them. The lock is held. */
static void lease_cache_note_unused(struct lease_cache *cache, uint32_t page)
{
    struct extent *extent = extents_find(cache, page);
    if (extent != NULL) {
        extent->too_long = UINT32_MAX;
        firsts_lower(extent, page);
    }
}

void kmem__lease_cache_give(struct lease_cache *cache, uint32_t page, uint32_t n_pages,
                            uint32_t n_own)
{
    (void)pthread_mutex_lock(&cache->lock);
    lease_give_own(cache->ledger->states, page, n_pages, n_own);
    lease_cache_note_used(cache, -(int64_t)n_pages);
    lease_cache_note_unused(cache, page);
    recent_push(&cache->recent, (struct run){page, n_pages});
    (void)pthread_mutex_unlock(&cache->lock);
}

/* Tells the cache of what a thread has given back. */
static void lease_cache_hear(struct lease_cache *cache, struct recent *own)
{
    if (own->n_untold == 0) {
        return;
    }
    (void)pthread_mutex_lock(&cache->lock);
    for (; own->n_untold > 0; own->n_untold--) {
        lease_cache_note_unused(cache, own->runs[own->n_runs - own->n_untold].page);
    }
    (void)pthread_mutex_unlock(&cache->lock);
}

int kmem__lease_cache_take_kept(struct lease_cache *cache, struct recent *own, uint32_t n_pages,
                                struct taken *ret_taken)
{
    if (recent_take(own, cache->ledger->states, n_pages, ret_taken)) {
        lease_cache_note_used(cache, n_pages);
        return 0;
    }
    lease_cache_hear(cache, own);
    return kmem__lease_cache_take(cache, n_pages, ret_taken);
}

void kmem__lease_cache_keep(struct lease_cache *cache, struct recent *own, uint32_t page,
                            uint32_t n_pages, uint32_t n_own)
{
    lease_give_own(cache->ledger->states, page, n_pages, n_own);
    lease_cache_note_used(cache, -(int64_t)n_pages);
    if (own->n_untold == RECENT_MAX) {
        lease_cache_hear(cache, own);
    }
    recent_push(own, (struct run){page, n_pages});
    own->n_untold++;
    /* Release: pairs with extents_take_untold(), which finds the pages FREE. */
    atomic_store_explicit(&cache->has_untold, true, memory_order_release);
}

void kmem__lease_cache_tell(struct lease_cache *cache, struct recent *own)
{
    lease_cache_hear(cache, own);
    own->n_runs = 0;
}

void kmem__lease_cache_give_slab(struct lease_cache *cache, uint32_t page, uint32_t n_pages,
                                 bool is_own)
{
    (void)pthread_mutex_lock(&cache->lock);
    lease_cache_note_used(cache, -(int64_t)n_pages);
    if (is_own ? lease_close_own_slab(cache->ledger->states, page, n_pages)
               : lease_close_slab(cache->ledger->states, page, n_pages)) {
        lease_cache_note_unused(cache, page);
        recent_push(&cache->recent, (struct run){page, n_pages});
    }
    (void)pthread_mutex_unlock(&cache->lock);
}

bool kmem__lease_cache_check(struct lease_cache *cache)
{
    bool is_sound = true;
    (void)pthread_mutex_lock(&cache->lock);
    for (uint32_t i = 0; i < cache->n_extents; i++) {
        const struct extent *extent = &cache->extents[i];
        is_sound =
            is_sound && extent->begin < extent->end && (i == 0 || extent[-1].end < extent->begin);
    }
    for (uint32_t i = 0; i < cache->recent.n_runs; i++) {
        const struct run run = cache->recent.runs[i];
        const struct extent *extent = extents_find(cache, run.page);
        is_sound = is_sound && extent != NULL && run.page + run.n_pages <= extent->end;
    }
    (void)pthread_mutex_unlock(&cache->lock);
    return is_sound;
}

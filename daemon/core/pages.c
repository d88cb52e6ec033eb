/* SPDX-License-Identifier: MIT */
/*
 * pages.c - runs of pages, segregated by length
 *
 * Free runs hang in bins, one for each length, and a set of bits with bits over it says which bins
 * have any (run_starts.h). A request for n pages takes a run of the shortest length from n up that
 * there is, and the longest run is found likewise: some ten words are read, however many runs there
 * are and however they lie. So no request holds the server for long, also not one for which there
 * is no room.
 *
 * That is best fit. TLSF (Masmano, Ripoll, Crespo and Real, "TLSF: a New Dynamic Memory Allocator
 * for Real-Time Systems", 2004) has 16 bins to a doubling of the length and takes good fit, of the
 * next bin: it never looks into n's own, and so leaves a free extent in which exactly such a block
 * was to those that are shorter: of frames of three sizes, which leave such free extents, it was
 * refused up to 30 times as many. Where its own bin is searched as well, what is long enough may
 * come last of thousands. First fit by address needs a tree and is worse where all sizes are mixed.
 *
 * A single page is the first that is free. It is a slab of small blocks, which live long: wherever
 * one lies it parts what is free, so they lie side by side. It fits anywhere, so a bitmap finds it.
 * docs/design.md has the figures.
 *
 * It departs from TLSF in what is written where. TLSF keeps its tags in the memory that it manages;
 * here that memory is writable by every client, so nothing is read from it. The truth is one word
 * per run in the state file, and a change is one store:
 *
 *      take k of n:  word[page + k] = FREE, n - k     a page inside a run: means nothing yet
 *                    word[page]     = owner, k        now both runs exist
 *      give:         word[page]     = FREE, k
 *      join:         word[left]     = FREE, n + k     the right run's word is now inside a run
 *                    likewise the runs of one owner, if they are leases: pages_join()
 *      split:        word[page + k] = owner, n - k    a page inside a run
 *                    word[page]     = owner, k        two runs of one owner
 *      turn:         split on both sides
 *                    word[page]     = DIRECT, k       of what was leased, as one run
 *      grow:         split off the first k of what is beyond, and give them
 *      shrink:       as scrub, at the end of the last free run, and join what is beyond
 *      scrub:        word[page + k] = FREE, n - k     a page inside a free run
 *                    word[page]     = SCRUB, k        another
 *                    word[first]    = FREE, page - first    now there are three runs
 *
 * and the lists, the bitmaps and the boundary tags (`left`) are private arrays, 16 bytes and four
 * bits per page: sparse anonymous memory, of which large runs touch little.
 */
#include "daemon/core/pages.h"

#include <errno.h>
#include <stdlib.h>

#include "daemon/core/pages_bits.h"
#include "proto/store.h"

uint64_t pages_word(const struct pages *pages, uint32_t page)
{
    return state_load(&pages->state->page_words[page]);
}

static uint32_t run_pages(const struct pages *pages, uint32_t page)
{
    return PAGE_WORD_PAGES(pages_word(pages, page));
}

static bool run_is(const struct pages *pages, uint32_t page, enum page_state page_state)
{
    return PAGE_WORD_STATE(pages_word(pages, page)) == page_state;
}

static bool run_is_free(const struct pages *pages, uint32_t page)
{
    return run_is(pages, page, PAGE_FREE);
}

uint32_t pages_run_of(const struct pages *pages, uint32_t page)
{
    KMEM_ASSERT(page < pages->state->n_pages);
    return run_starts_last(&pages->starts, page, NULL); /* page 0 begins a run */
}

static void bin_insert(struct pages *pages, uint32_t page)
{
    const uint32_t length = run_pages(pages, page);
    const uint32_t second = pages->bin_first[length];
    pages->next[page] = second;
    pages->prev[page] = 0;
    if (second != 0) {
        pages->prev[second] = page;
    } else {
        run_starts_add(&pages->lengths, length);
    }
    pages->bin_first[length] = page;
    run_starts_add(&pages->free_starts, page);
}

static void bin_remove(struct pages *pages, uint32_t page)
{
    const uint32_t length = run_pages(pages, page);
    const uint32_t next = pages->next[page];
    const uint32_t prev = pages->prev[page];
    run_starts_remove(&pages->free_starts, page);
    if (next != 0) {
        pages->prev[next] = prev;
    }
    if (prev != 0) {
        pages->next[prev] = next;
        return;
    }
    KMEM_ASSERT(pages->bin_first[length] == page);
    pages->bin_first[length] = next;
    if (next == 0) {
        run_starts_remove(&pages->lengths, length);
    }
}

/* Puts a leased run on its owner's list, behind another of its runs, or first if that is 0. */
static void leased_insert(struct pages *pages, uint32_t page, uint32_t behind)
{
    const uint32_t owner = PAGE_WORD_OWNER(pages_word(pages, page));
    uint32_t *first = &pages->leased_first[owner];
    const uint32_t next = behind != 0 ? pages->next[behind] : *first;
    pages->n_owners = owner < pages->n_owners ? pages->n_owners : owner + 1;
    *(behind != 0 ? &pages->next[behind] : first) = page;
    pages->prev[page] = behind;
    pages->next[page] = next;
    if (next != 0) {
        pages->prev[next] = page;
    }
}

static void leased_remove(struct pages *pages, uint32_t page)
{
    uint32_t *first = &pages->leased_first[PAGE_WORD_OWNER(pages_word(pages, page))];
    const uint32_t next = pages->next[page];
    const uint32_t prev = pages->prev[page];
    KMEM_ASSERT(prev != 0 || *first == page);
    *(prev != 0 ? &pages->next[prev] : first) = next;
    if (next != 0) {
        pages->prev[next] = prev;
    }
}

uint32_t pages_leased_first(const struct pages *pages, uint32_t owner)
{
    KMEM_ASSERT(owner < CLIENTS_MAX);
    return pages->leased_first[owner];
}

uint32_t pages_leased_next(const struct pages *pages, uint32_t page)
{
    return pages->next[page];
}

/* Tells the run behind `page` where its left neighbour begins. */
static void left_set(struct pages *pages, uint32_t page)
{
    const uint64_t behind = (uint64_t)page + run_pages(pages, page);
    if (behind < pages->state->n_pages) {
        pages->left[behind] = page;
    }
}

/* Whether a run can begin at `page` with what its word says. */
static bool run_is_sound(const struct pages *pages, uint32_t page)
{
    const enum page_state page_state = PAGE_WORD_STATE(pages_word(pages, page));
    const uint32_t length = run_pages(pages, page);
    if (length == 0 || length > pages->state->n_pages - page) {
        return false;
    }
    if (page == 0) {
        return page_state == PAGE_RESERVED && length == 1;
    }
    if (page_state == PAGE_BEYOND) {
        return page > 1;
    }
    if (pages->n_pages < page) {
        return false; /* behind what is beyond */
    }
    if (page_state == PAGE_SCRUB) {
        return pages->scrub_page == 0; /* no run before it is */
    }
    const bool is_owned = PAGE_WORD_OWNER(pages_word(pages, page)) < CLIENTS_MAX;
    return page_state == PAGE_FREE || page_state == PAGE_DIRECT ||
           (page_state == PAGE_LEASED && is_owned);
}

/* Pages have become free. */
static void dirty_add(struct pages *pages, uint32_t page, uint32_t n_pages)
{
    uint32_t n_here;
    for (uint32_t at = page; at < page + n_pages; at += n_here) {
        const uint64_t mask = pages_bits(at, page + n_pages, &n_here);
        const uint64_t maybe_dirty = state_load(&pages->state->maybe_dirty[at / 64]) & mask;
        pages->dirty[at / 64] |= maybe_dirty;
        pages->n_dirty += (uint32_t)__builtin_popcountll(maybe_dirty);
    }
}

/* Pages are free no more, or 0. */
static void dirty_remove(struct pages *pages, uint32_t page, uint32_t n_pages)
{
    uint32_t n_here;
    for (uint32_t at = page; at < page + n_pages; at += n_here) {
        const uint64_t mask = pages_bits(at, page + n_pages, &n_here);
        pages->n_dirty -= (uint32_t)__builtin_popcountll(pages->dirty[at / 64] & mask);
        pages->dirty[at / 64] &= ~mask;
    }
}

/* Whether two neighbouring runs are to be one: both free, beyond, or leased to the same client. */
static bool runs_are_alike(const struct pages *pages, uint32_t page, uint32_t other)
{
    const uint64_t kind = pages_word(pages, page) & UINT32_MAX; /* state and owner */
    return kind == (pages_word(pages, other) & UINT32_MAX) &&
           (PAGE_WORD_STATE(kind) == PAGE_FREE || PAGE_WORD_STATE(kind) == PAGE_LEASED ||
            PAGE_WORD_STATE(kind) == PAGE_BEYOND);
}

/*
 * Makes a run one with the run before it, if they are alike; neither may be on a bin's list.
 * Return: where the run begins now.
 */
static uint32_t run_join_left(struct pages *pages, uint32_t page)
{
    struct state *state = pages->state;
    const uint32_t left = pages->left[page];
    if (page == 0 || !runs_are_alike(pages, left, page)) {
        return page;
    }
    const uint64_t word = pages_word(pages, left);
    const uint32_t length = PAGE_WORD_PAGES(word) + run_pages(pages, page);
    if (run_is(pages, page, PAGE_LEASED)) {
        leased_remove(pages, page);
    }
    /* Before: neighbouring runs. After: one. */
    state_commit(state, &state->page_words[left],
                 PAGE_WORD(PAGE_WORD_STATE(word), PAGE_WORD_OWNER(word), length));
    run_starts_remove(&pages->starts, page);
    left_set(pages, left);
    return left;
}

static int pages_index(struct pages *pages)
{
    const uint32_t n_pages = pages->state->n_pages;
    for (uint32_t page = 0; page < n_pages;) {
        const uint32_t length = run_pages(pages, page);
        const bool is_free = run_is_free(pages, page);
        if (!run_is_sound(pages, page)) {
            return PAGES_E_CORRUPT;
        }
        left_set(pages, page);
        run_starts_add(&pages->starts, page);
        if (is_free && run_is_free(pages, pages->left[page])) {
            bin_remove(pages, pages->left[page]);
        }
        if (run_is(pages, page, PAGE_LEASED)) {
            leased_insert(pages, page, 0);
        }
        /* Somebody was killed before joining two runs, if there is anything to join. */
        const uint32_t first = run_join_left(pages, page);
        if (is_free) {
            bin_insert(pages, first);
            dirty_add(pages, page, length);
        }
        if (run_is(pages, page, PAGE_SCRUB)) {
            pages->scrub_page = page;
        }
        if (run_is(pages, page, PAGE_BEYOND) && page < pages->n_pages) {
            pages->n_pages = page;
        }
        pages->n_free_pages += is_free || run_is(pages, page, PAGE_SCRUB) ? length : 0;
        page += length;
    }
    return 0;
}

int pages_init(struct pages *pages, struct state *state)
{
    *pages = (struct pages){.state = state, .n_pages = state->n_pages};
    pages->next = calloc(state->n_pages, sizeof(*pages->next));
    pages->prev = calloc(state->n_pages, sizeof(*pages->prev));
    pages->left = calloc(state->n_pages, sizeof(*pages->left));
    int r = run_starts_init(&pages->starts, state->n_pages);
    r = r ? r : run_starts_init(&pages->free_starts, state->n_pages);
    r = r ? r : run_starts_init(&pages->lengths, state->n_pages);
    pages->bin_first = calloc(state->n_pages, sizeof(*pages->bin_first));
    pages->dirty = calloc(state->n_pages / 64 + 1, sizeof(*pages->dirty));
    const bool has_all =
        pages->next && pages->prev && pages->left && pages->bin_first && pages->dirty;
    if (r == 0 && has_all) {
        run_starts_add(&pages->lengths, 0);
    }
    r = r == 0 && has_all ? pages_index(pages) : -ENOMEM;
    if (r) {
        pages_fini(pages);
    }
    return r;
}

void pages_fini(struct pages *pages)
{
    free(pages->next);
    free(pages->prev);
    free(pages->left);
    run_starts_fini(&pages->starts);
    run_starts_fini(&pages->free_starts);
    run_starts_fini(&pages->lengths);
    free(pages->bin_first);
    free(pages->dirty);
    *pages = (struct pages){.state = NULL};
}

int pages_find(const struct pages *pages, uint32_t n_pages, uint32_t *ret_page)
{
    KMEM_ASSERT(n_pages >= 1);
    if (n_pages > pages->n_free_pages) {
        return PAGES_E_FULL;
    }
    /* What is being cleared counts as free, so there may be no free run although a page is. */
    const uint32_t length = run_starts_next(&pages->lengths, n_pages);
    if (length == 0) {
        return PAGES_E_FULL;
    }
    *ret_page = n_pages == 1 ? run_starts_first(&pages->free_starts) : pages->bin_first[length];
    return 0;
}

void pages_take(struct pages *pages, uint32_t page, uint32_t n_pages, enum page_state page_state,
                uint32_t owner)
{
    struct state *state = pages->state;
    const uint32_t length = run_pages(pages, page);
    KMEM_ASSERT(run_is_free(pages, page));
    KMEM_ASSERT(length >= n_pages);
    bin_remove(pages, page);
    dirty_remove(pages, page, n_pages);
    if (page_state != PAGE_LEASED) {
        pages_note_maybe_dirty(pages, page, n_pages);
    }
    if (length > n_pages) {
        /* Before and after: a page inside a free run. */
        const uint32_t rest = page + n_pages;
        state_commit(state, &state->page_words[rest], PAGE_WORD(PAGE_FREE, 0, length - n_pages));
    }
    /* Before: all of the run is free. After: the owner has n_pages, the rest is a free run. */
    state_commit(state, &state->page_words[page], PAGE_WORD(page_state, owner, n_pages));
    left_set(pages, page);
    if (length > n_pages) {
        run_starts_add(&pages->starts, page + n_pages);
        left_set(pages, page + n_pages);
        bin_insert(pages, page + n_pages);
    }
    if (page_state == PAGE_LEASED) {
        leased_insert(pages, page, 0);
    }
    pages->n_free_pages -= n_pages;
}

void pages_give(struct pages *pages, uint32_t page)
{
    struct state *state = pages->state;
    const uint32_t length = run_pages(pages, page);
    KMEM_ASSERT(!run_is_free(pages, page));
    KMEM_ASSERT(page != 0);
    pages->n_free_pages += length;
    dirty_add(pages, page, length);
    if (run_is(pages, page, PAGE_LEASED)) {
        leased_remove(pages, page);
    }
    /* Before: the owner has the run. After: it is free; the neighbours are not yet joined. */
    state_commit(state, &state->page_words[page], PAGE_WORD(PAGE_FREE, 0, length));
    const uint32_t behind = page + length;
    if (behind < state->n_pages && run_is_free(pages, behind)) {
        bin_remove(pages, behind);
        (void)run_join_left(pages, behind); /* to this one */
    }
    if (run_is_free(pages, pages->left[page])) {
        bin_remove(pages, pages->left[page]);
    }
    bin_insert(pages, run_join_left(pages, page));
}

/* Makes of pages inside one free run a run of their own, of another kind that is nobody's. */
static void free_carve(struct pages *pages, uint32_t page, uint32_t n_pages,
                       enum page_state page_state)
{
    struct state *state = pages->state;
    const uint32_t first = pages_run_of(pages, page);
    const uint32_t end = first + run_pages(pages, first);
    const uint32_t behind = page + n_pages;
    KMEM_ASSERT(run_is_free(pages, first));
    KMEM_ASSERT(n_pages >= 1 && behind <= end);
    bin_remove(pages, first);
    dirty_remove(pages, page, n_pages);
    if (behind < end) {
        /* Before and after: a page inside a free run. */
        state_commit(state, &state->page_words[behind], PAGE_WORD(PAGE_FREE, 0, end - behind));
    }
    /* Before: a page inside a free run, or the first of one. After: likewise, or nobody's. */
    state_commit(state, &state->page_words[page], PAGE_WORD(page_state, 0, n_pages));
    if (first < page) {
        /* Before: all of the run is free. After: n_pages of it are nobody's. */
        state_commit(state, &state->page_words[first], PAGE_WORD(PAGE_FREE, 0, page - first));
        run_starts_add(&pages->starts, page);
        left_set(pages, first);
        bin_insert(pages, first);
    }
    left_set(pages, page);
    if (behind < end) {
        run_starts_add(&pages->starts, behind);
        left_set(pages, behind);
        bin_insert(pages, behind);
    }
}

void pages_scrub_begin(struct pages *pages, uint32_t page, uint32_t n_pages)
{
    KMEM_ASSERT(pages->scrub_page == 0);
    free_carve(pages, page, n_pages, PAGE_SCRUB);
    pages->scrub_page = page;
    pages->scrub_hangs = false;
}

void pages_scrub_end(struct pages *pages, bool is_zero)
{
    const uint32_t page = pages->scrub_page;
    const uint32_t n_pages = run_pages(pages, page);
    KMEM_ASSERT(page != 0);
    if (is_zero) {
        pages_note_zero(pages, page, n_pages);
    }
    pages->scrub_page = 0;
    pages->scrub_hangs = false;
    pages->scrub_events++;
    pages->n_free_pages -= n_pages; /* as which they have counted */
    pages_give(pages, page);
}

void pages_scrub_hang(struct pages *pages)
{
    pages->scrub_hangs = true;
    pages->scrub_events++;
}

bool pages_await_scrub(const struct pages *pages)
{
    return pages->scrub_page != 0 && !pages->scrub_hangs;
}

void pages_join(struct pages *pages, uint32_t page)
{
    const uint32_t behind = page + run_pages(pages, page);
    KMEM_ASSERT(!run_is_free(pages, page));
    if (behind < pages->state->n_pages) {
        (void)run_join_left(pages, behind); /* to this one */
    }
    (void)run_join_left(pages, page); /* where it begins is of no interest */
}

/* Makes two runs of one, of the same owner; the second begins at `page`. */
static void run_split(struct pages *pages, uint32_t page)
{
    struct state *state = pages->state;
    const uint32_t first = pages_run_of(pages, page);
    const uint64_t word = pages_word(pages, first);
    const uint32_t n_before = page - first;
    const uint32_t n_behind = PAGE_WORD_PAGES(word) - n_before;
    KMEM_ASSERT(PAGE_WORD_STATE(word) != PAGE_FREE);
    if (n_before == 0) {
        return;
    }
    /* Before and after: a page inside a run. */
    state_commit(state, &state->page_words[page],
                 PAGE_WORD(PAGE_WORD_STATE(word), PAGE_WORD_OWNER(word), n_behind));
    /* Before: one run. After: two, of the same owner. */
    state_commit(state, &state->page_words[first],
                 PAGE_WORD(PAGE_WORD_STATE(word), PAGE_WORD_OWNER(word), n_before));
    run_starts_add(&pages->starts, page);
    left_set(pages, first);
    left_set(pages, page);
    if (PAGE_WORD_STATE(word) == PAGE_LEASED) {
        leased_insert(pages, page, first);
    }
}

/* Makes of pages inside one run a run of their own. */
static void run_split_off(struct pages *pages, uint32_t page, uint32_t n_pages)
{
    const uint32_t first = pages_run_of(pages, page);
    const uint32_t end = first + run_pages(pages, first);
    KMEM_ASSERT(page + n_pages <= end);
    if (page + n_pages < end) {
        run_split(pages, page + n_pages);
    }
    run_split(pages, page);
}

void pages_give_part(struct pages *pages, uint32_t page, uint32_t n_pages)
{
    run_split_off(pages, page, n_pages);
    pages_give(pages, page);
}

void pages_turn_part(struct pages *pages, uint32_t page, uint32_t n_pages)
{
    run_split_off(pages, page, n_pages);
    KMEM_ASSERT(run_is(pages, page, PAGE_LEASED));
    pages_note_maybe_dirty(pages, page, n_pages); /* as they are, unless nobody was granted them */
    leased_remove(pages, page);
    /* Before: the lease's owner has them. After: they are the daemon's own, to carve. */
    state_commit(pages->state, &pages->state->page_words[page], PAGE_WORD(PAGE_DIRECT, 0, n_pages));
}

void pages_grow(struct pages *pages, uint32_t n_pages)
{
    const uint32_t page = pages->n_pages;
    KMEM_ASSERT(n_pages > page && n_pages <= pages->state->n_pages);
    pages->n_pages = n_pages;
    pages->scrub_events++; /* it is looked again by who waits for what comes back */
    pages_give_part(pages, page, n_pages - page);
}

uint32_t pages_tail(const struct pages *pages)
{
    const uint32_t last = pages_run_of(pages, pages->n_pages - 1);
    return run_is_free(pages, last) ? last : pages->n_pages;
}

void pages_shrink(struct pages *pages, uint32_t n_pages)
{
    const uint32_t end = pages->n_pages;
    KMEM_ASSERT(n_pages > 1 && n_pages < end);
    KMEM_ASSERT(pages_tail(pages) <= n_pages);
    free_carve(pages, n_pages, end - n_pages, PAGE_BEYOND);
    pages->n_free_pages -= end - n_pages;
    pages->n_pages = n_pages;
    if (end < pages->state->n_pages) {
        (void)run_join_left(pages, end); /* it begins at n_pages, as is known */
    }
}

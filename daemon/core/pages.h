/* SPDX-License-Identifier: MIT */
/*
 * pages.h - which pages of the segment are free, and finding a run of them
 *
 * The page words in the state file are the truth; what stands here is derived from them and can be
 * thrown away. The segment is a chain of runs: the word of a run's first page says how long it is,
 * and the next run begins behind it.
 *
 *      n_free_pages == sum of the lengths of PAGE_FREE and PAGE_SCRUB runs
 *      there is at most one PAGE_SCRUB run, and it begins at scrub_page
 *      sum of the lengths of all runs == state->n_pages
 *      n_pages == the same without PAGE_BEYOND, of which there is one run at most, the last
 *      no two PAGE_FREE runs are neighbours, nor two PAGE_LEASED runs of one owner
 *      `starts` are the first pages of the runs, `free_starts` those of PAGE_FREE runs
 *      the set bits of `dirty` are those of state->maybe_dirty whose pages are free
 *      n_dirty == the set bits of `dirty`
 *      every PAGE_FREE run is on the list of its length, every PAGE_LEASED run on its owner's, and
 *      no other run is on a list                                               : pages_check()
 */
#ifndef DAEMON_CORE_PAGES_H
#define DAEMON_CORE_PAGES_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/core/run_starts.h"
#include "daemon/core/state.h"
#include "proto/attributes.h"

struct pages {
    struct state *state;
    /* By a run's first page: its neighbours on the list of its length, or of its owner; 0 is none
       (page 0 is never on one). */
    uint32_t *next;
    uint32_t *prev;
    /* By any run's first page: where the run before it begins. */
    uint32_t *left;
    struct run_starts starts;      /* the pages that begin a run */
    struct run_starts free_starts; /* those that begin a PAGE_FREE run */
    /* A bit for every free page that is to be cleared: see state->maybe_dirty. */
    uint64_t *dirty;
    uint32_t n_dirty;          /* of those bits */
    uint32_t *bin_first;       /* by length: the first of the PAGE_FREE runs that have it */
    struct run_starts lengths; /* those that one has, and 0 */
    uint32_t leased_first[CLIENTS_MAX]; /* by owner: its leased runs */
    uint32_t n_owners;                  /* those below this have had some */
    uint32_t n_pages;                   /* the segment's present size */
    uint64_t n_free_pages;
    uint32_t scrub_page;   /* where the run begins that is being made 0; 0: none is */
    bool scrub_hangs;      /* its end is not to be waited for */
    uint64_t scrub_events; /* how often such a run came back, or was found to hang */
};

enum {
    PAGES_OK,
    PAGES_E_FULL,    /* no free run is long enough */
    PAGES_E_CORRUPT, /* the words do not add up */
};

/**
 * pages_init() - derive the index from the page words
 * Return: 0, PAGES_E_CORRUPT, or -ENOMEM.
 */
KMEM_MUST_USE int pages_init(struct pages *pages, struct state *state);

void pages_fini(struct pages *pages);

/**
 * pages_find() - a free run of at least n_pages; nothing changes yet
 *
 * One of the shortest that are long enough; for a single page, the first of all. It takes the same
 * time however many runs there are.
 * Return: 0 or PAGES_E_FULL.
 */
KMEM_MUST_USE int pages_find(const struct pages *pages, uint32_t n_pages, uint32_t *ret_page);

/**
 * pages_take() - give the first n_pages of the free run that begins at `page` to an owner
 *
 * One store makes it true, whatever n_pages is.
 */
void pages_take(struct pages *pages, uint32_t page, uint32_t n_pages, enum page_state page_state,
                uint32_t owner);

/**
 * pages_zero_stretch() - how many pages from `page` on, at most n_pages, are alike in one thing
 * @ret_zero:  whether every byte of them is 0: nobody has had them, or they were cleared since
 */
uint32_t pages_zero_stretch(const struct pages *pages, uint32_t page, uint32_t n_pages,
                            bool *ret_zero);

/**
 * pages_note_maybe_dirty() - the pages, which are not free, are not known to be 0 any more
 *
 * pages_take() does that itself, but for PAGE_LEASED: a lease is told which of its pages are 0, and
 * this is noted before: whoever restarts must not take a page for 0 that somebody could write to.
 */
void pages_note_maybe_dirty(struct pages *pages, uint32_t page, uint32_t n_pages);

/** pages_count_dirty() - how many of these free pages came back and are not known to be 0 */
uint32_t pages_count_dirty(const struct pages *pages, uint32_t from, uint32_t n_pages);

/**
 * pages_next_dirty() - free pages from `from` on that came back and are not known to be 0
 * @max_pages:  how many are wanted at most
 * Return: how many follow one another from *ret_page on; 0: there are none.
 */
uint32_t pages_next_dirty(const struct pages *pages, uint32_t from, uint32_t max_pages,
                          uint32_t *ret_page);

/**
 * pages_scrub_begin() - take n_pages from `page` on, which are free, for being made 0
 *
 * Nobody is given them until pages_scrub_end(), not by the next server either: only then nothing
 * is written to them any more. They count as free.
 */
void pages_scrub_begin(struct pages *pages, uint32_t page, uint32_t n_pages);

/** pages_scrub_end() - they can be given out; is_zero: every byte is 0, and a restart knows it */
void pages_scrub_end(struct pages *pages, bool is_zero);

/** pages_scrub_hang() - until pages_scrub_end(), a request does not wait for these pages */
void pages_scrub_hang(struct pages *pages);

/** pages_await_scrub() - whether pages are being made 0 that will be there in a moment */
bool pages_await_scrub(const struct pages *pages);

/** pages_give() - free the run that begins at `page`, and join it with free neighbours */
void pages_give(struct pages *pages, uint32_t page);

/**
 * pages_give_part() - free n_pages from `page` on, which lie inside one run that is not free
 *
 * What is left of the run on either side stays its owner's.
 */
void pages_give_part(struct pages *pages, uint32_t page, uint32_t n_pages);

/**
 * pages_turn_part() - make n_pages from `page` on, which lie inside one leased run, a direct run
 *
 * One store makes it true; what is left of the lease on either side stays its owner's.
 */
void pages_turn_part(struct pages *pages, uint32_t page, uint32_t n_pages);

/**
 * pages_join() - make a leased run one with the leases of the same owner beside it
 *
 * Whoever walks goes from run to run: however many leases were granted, there are as few runs as
 * there can be.
 */
void pages_join(struct pages *pages, uint32_t page);

/**
 * pages_grow() - the segment has n_pages from now on, more than before; the new ones are free
 *
 * One store makes it true. Their memory is there, and whoever could write there is gone or did not:
 * what of them may be dirty says state->maybe_dirty, as of any free page.
 */
void pages_grow(struct pages *pages, uint32_t n_pages);

/** pages_tail() - where what is free at the segment's end begins; n_pages: nothing is free there */
uint32_t pages_tail(const struct pages *pages);

/** pages_shrink() - the segment has n_pages from now on: pages_tail() or more, fewer than before */
void pages_shrink(struct pages *pages, uint32_t n_pages);

/** pages_note_zero() - every byte of these pages, which are nobody's, is 0 */
void pages_note_zero(struct pages *pages, uint32_t page, uint32_t n_pages);

/** pages_word() - the word of the run that begins at `page` */
uint64_t pages_word(const struct pages *pages, uint32_t page);

/** pages_run_of() - the first page of the run that a page belongs to, however long it is */
uint32_t pages_run_of(const struct pages *pages, uint32_t page);

/** pages_leased_first() - a leased run of an owner: its first page; 0: it has none */
uint32_t pages_leased_first(const struct pages *pages, uint32_t owner);

/**
 * pages_leased_next() - the owner's next leased run, in no order that means anything
 *
 * What becomes of a run while it is visited changes nothing for the next one: its pieces stand
 * before that.
 */
uint32_t pages_leased_next(const struct pages *pages, uint32_t page);

/** pages_largest_free_extent() - the length of the longest free run, in pages */
uint32_t pages_largest_free_extent(const struct pages *pages);

/** pages_largest_extent() - likewise, with those that are being made 0: a request waits for them */
uint32_t pages_largest_extent(const struct pages *pages);

/** pages_check() - walk the runs and recount everything. Return: 0 or PAGES_E_CORRUPT. */
KMEM_MUST_USE int pages_check(const struct pages *pages);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * run_starts.h - a set of pages that begin a run: the first of all, the last up to a page, the next
 *
 * Or of the lengths that runs have: pages.h.
 *
 * A bitmap with bitmaps over it: a bit of level k + 1 says whether a word of level k is other than
 * 0. The last start at or before a page is found by going up until a word has a bit before the
 * place, and down again: at most two words a level, however far away it is. The next one likewise.
 *
 *      bit w of level k + 1 is set  <=>  word w of level k is not 0          : run_starts_check()
 */
#ifndef DAEMON_CORE_RUN_STARTS_H
#define DAEMON_CORE_RUN_STARTS_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/attributes.h"

/* 64 to the power of 5 is more than the 2^26 pages that a segment has at most. */
#define STARTS_LEVELS 5

struct run_starts {
    uint64_t *levels[STARTS_LEVELS]; /* one allocation, the first level's */
    uint32_t n_pages;
};

/** run_starts_init() - the empty set of pages below n_pages. Return: 0 or -ENOMEM. */
KMEM_MUST_USE int run_starts_init(struct run_starts *starts, uint32_t n_pages);

void run_starts_fini(struct run_starts *starts);

void run_starts_add(struct run_starts *starts, uint32_t page);
void run_starts_remove(struct run_starts *starts, uint32_t page);

/**
 * run_starts_last() - the last page of the set that is not behind `page`; there is one
 * @ret_n_words:  how many words were read; NULL: not of interest
 */
uint32_t run_starts_last(const struct run_starts *starts, uint32_t page, uint32_t *ret_n_words);

/** run_starts_first() - the first page of the set; 0: it is empty, or page 0 is in it */
uint32_t run_starts_first(const struct run_starts *starts);

/** run_starts_next() - the first page of the set from `page` on; 0: none, or page 0 is asked for */
uint32_t run_starts_next(const struct run_starts *starts, uint32_t page);

/** run_starts_check() - compare the levels. Return: whether they agree. */
KMEM_MUST_USE bool run_starts_check(const struct run_starts *starts);

#endif

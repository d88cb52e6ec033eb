/* SPDX-License-Identifier: MIT */
/*
 * fake_lender.h - a segment, a client's ledger and someone who grants leases, without a daemon
 *
 * The files are what the daemon makes: memfds of the real layout. Granting and revoking go through
 * proto/lease.h, as in the daemon; the table of pages is an array.
 */
#ifndef TESTS_UNIT_FAKE_LENDER_H
#define TESTS_UNIT_FAKE_LENDER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "client/heap/allocator.h"
#include "proto/ledger.h"

struct fake_lender {
    unsigned char *base;
    uint32_t n_pages;
    void *ledger_at;
    struct ledger ledger;
    _Atomic uint32_t clock[CLOCK_PAGES + 1];
    pthread_mutex_t lock;
    bool *is_granted; /* by page */
    uint32_t n_granted;
    uint32_t n_asked; /* calls of lend */
    bool is_refusing;
    bool is_dirty; /* grants pages that are not known to be zero: for ever after a revocation */
    struct allocator *allocator;
    struct guard guard; /* all zero: everything is open */
};

/** fake_lender_new() - a segment of n_pages, and an allocator in it, or the end of the test */
struct fake_lender *fake_lender_new(uint32_t n_pages);

/** fake_lender_free() - the allocator ends and the files are unmapped */
void fake_lender_free(struct fake_lender *lender);

/** fake_lender_revoke() - take back up to n_pages that are unused. Return: how many. */
uint32_t fake_lender_revoke(struct fake_lender *lender, uint32_t n_pages);

/** fake_lender_seize() - take every slab without a live block. Return: how many pages. */
uint32_t fake_lender_seize(struct fake_lender *lender);

/** fake_lender_count_used() - pages in use */
uint32_t fake_lender_count_used(const struct fake_lender *lender);

/** fake_lender_count_live() - entries with a word, in the whole ledger */
uint64_t fake_lender_count_live(const struct fake_lender *lender);

#endif

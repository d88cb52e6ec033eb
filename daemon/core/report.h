/* SPDX-License-Identifier: MIT */
/*
 * report.h - answers to questions
 *
 * Each function fills a reply from what the core knows and leaves the core as it was. What does not
 * fit one response, or would take too long, is left for the next question: `more` says so.
 */
#ifndef DAEMON_CORE_REPORT_H
#define DAEMON_CORE_REPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/core/block_filter.h"
#include "daemon/core/core.h"
#include "daemon/core/reply.h"
#include "daemon/core/scan.h"
#include "proto/attributes.h"

void report_usage(const struct core *core, const struct scan *scan, uint64_t now_ms,
                  struct reply *reply);
void report_ledger(const struct core *core, const struct scan *scan, uint32_t first_row,
                   uint64_t now_ms, struct reply *reply);

/** report_block() - a row that says what a live block is, whose reason has been read */
Kmem__Block *report_block(const struct core *core, const struct block *block, const char *reason,
                          size_t n_reason_bytes, uint32_t now, struct reply *reply);

/** report_blocks() - @filter: NULL: all are wanted */
void report_blocks(const struct core *core, struct seg_off from, struct block_filter *filter,
                   uint64_t now_ms, struct reply *reply);
void report_clients(const struct core *core, const struct scan *scan, uint32_t from_slot,
                    uint64_t now_ms, struct reply *reply);
void report_obituaries(const struct core *core, uint64_t from_number, uint64_t now_ms,
                       struct reply *reply);

void report_refusals(const struct core *core, uint64_t from_number, uint64_t now_ms,
                     struct reply *reply);

/**
 * report_history() - points of one ring
 * @asked:  what was asked; its pattern is one, and its step there is
 */
void report_history(const struct core *core, const Kmem__History *asked, uint64_t now_ms,
                    struct reply *reply);

void report_lifetimes(const struct core *core, const struct scan *scan, uint32_t first_row,
                      uint64_t now_ms, struct reply *reply);

void report_limits(const struct core *core, struct reply *reply);

/* What all clients hold: blocks as asked for, those of leases as their clients tell. */
struct held {
    uint64_t n_blocks;
    uint64_t direct_bytes;
    uint64_t leased_bytes;
    bool is_all; /* false: there may be more in leases */
};

/* 2,000,000 entries: 30 ms, which a server that ends has. A ledger that lies can cost years. */
#define HELD_BUDGET (500 * SCAN_BUDGET)

/** report_held() - look at the leased blocks at once, as far as HELD_BUDGET goes */
struct held report_held(const struct core *core);

/** report_quota() - an error that says what was asked, what bars it, and what would help */
void report_quota(const struct core *core, const struct client *client, const struct bar *bar,
                  uint64_t num_bytes, struct reply *reply);

/** report_reserved() - the same: what there is, is reserved for others than this client */
void report_reserved(const struct core *core, const struct client *client, uint64_t num_bytes,
                     struct reply *reply);

/** report_budget() - the same: a budget would be exceeded */
void report_budget(const struct core *core, uint32_t budget, uint64_t num_bytes,
                   struct reply *reply);

/**
 * report_no_room() - an error that says what was asked, what there is, who has it, what would help
 * @holders:         the reasons with the most; NULL: they are not known, processes are named
 * @holders_age_ms:  how old that is; 0: of this moment
 *
 * All else is of this moment. It looks at each client, at no block and at no run.
 */
void report_no_room(const struct core *core, const struct scan_holders *holders,
                    uint64_t holders_age_ms, uint64_t num_bytes, struct reply *reply);

/**
 * report_join_refused() - an error that says why a process may not join
 * @why:  an answer of core_join() or core_resume()
 */
void report_join_refused(const struct core *core, int why, uint32_t uid, struct reply *reply);

#endif

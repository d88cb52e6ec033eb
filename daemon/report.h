/* SPDX-License-Identifier: MIT */
/*
 * report.h - answers to questions
 *
 * Each function fills a reply from what the core knows and leaves the core as it was. What does not
 * fit one response, or would take too long, is left for the next question: `more` says so.
 */
#ifndef DAEMON_REPORT_H
#define DAEMON_REPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/core.h"
#include "daemon/reply.h"
#include "daemon/tally.h"
#include "proto/attributes.h"

/* 20,000 entries and pages: 0.1 to 0.3 ms, which is how long anybody may have to wait. */
#define SCAN_BUDGET 20000

enum scan_for { SCAN_FOR_LEDGER, SCAN_FOR_REFUSAL, SCAN_FOR_USAGE, SCAN_FOR_CLIENTS };

/* A look at all blocks that is made step by step, and read page by page. */
struct scan {
    struct scan **place; /* the pointer that holds it: cleared if it is dropped */
    enum scan_for what;
    struct tally *tally;
    struct counted counted; /* for the usage: by clients, when it began */
    uint64_t n_leased_blocks;
    uint64_t leased_bytes; /* in those, as asked for */
    struct seg_off from;
    uint64_t began_us;
    uint64_t took_us;
    bool done;
    bool failed; /* no memory */
};

enum {
    SCAN_OK,
    SCAN_E_BUSY, /* no memory, or as many as there may be are being made */
};

/** scan_begin() - begin to look, and keep what is found in *place, which holds nothing */
KMEM_MUST_USE int scan_begin(struct core *core, enum scan_for what, enum tally_by by,
                             uint64_t now_us, struct scan **place);

/** scan_end() - free the roll-up in *place, if there is one, and clear it */
void scan_end(struct core *core, struct scan **place);

/** scan_step() - go on for SCAN_BUDGET; scan->done says whether that was the end */
void scan_step(struct scan *scan, const struct core *core, uint64_t now_us);

void report_usage(const struct core *core, const struct scan *scan, uint64_t now_ms,
                  struct reply *reply);
void report_ledger(const struct core *core, const struct scan *scan, uint32_t first_row,
                   uint64_t now_ms, struct reply *reply);
void report_blocks(const struct core *core, struct seg_off from, uint64_t now_ms,
                   struct reply *reply);
void report_clients(const struct core *core, const struct scan *scan, uint32_t from_slot,
                    uint64_t now_ms, struct reply *reply);
void report_obituaries(const struct core *core, uint64_t from_number, uint64_t now_ms,
                       struct reply *reply);

/* What all clients hold: blocks as asked for, those of leases as their clients tell. */
struct held {
    uint64_t n_blocks;
    uint64_t direct_bytes;
    uint64_t leased_bytes;
};

/** report_held() - look at every block there is, at once */
struct held report_held(const struct core *core);

/** report_quota() - an error that says what was asked, what the client has, what it may have */
void report_quota(const struct core *core, const struct client *client, uint64_t num_bytes,
                  struct reply *reply);

/**
 * report_no_room() - an error that says what was asked, what there is, who has it
 * @scan:  a roll-up by reason; NULL: none could be made, and nobody is named
 */
void report_no_room(const struct core *core, const struct scan *scan, uint64_t num_bytes,
                    struct reply *reply);

/**
 * report_join_refused() - an error that says why a process may not join
 * @why:  an answer of core_join() or core_resume()
 */
void report_join_refused(const struct core *core, int why, uint32_t uid, struct reply *reply);

#endif

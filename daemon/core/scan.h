/* SPDX-License-Identifier: MIT */
/*
 * scan.h - looks at all blocks, made step by step, shared by all who ask for the same
 *
 * There are seven kinds of looks, and at most one of each kind is under way. A reader asks; the
 * next look of its kind that begins is its own, and everybody's who has asked by then: what is
 * answered is of a time after the question. Steps go round the kinds, whoever asks how often.
 *
 *      asks -> waits -> reads (the look is under way, then complete) -> leaves
 *                                                                    -> keeps it, page by page
 *
 * Complete looks are kept for those who read them page by page. There are SCANS_KEPT at most. When
 * another is wanted, readers are dropped, and begin again: those of the user, and of the process,
 * that keeps the most; who keeps one alone only when it has not read for a second, or has read for
 * five. So the daemon's memory is bounded, nobody is refused, and nobody waits for a reader that
 * does not come back.
 */
#ifndef DAEMON_CORE_SCAN_H
#define DAEMON_CORE_SCAN_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/core/scans.h"
#include "proto/attributes.h"

struct core;

/* 4,000 entries and pages: 0.1 to 0.8 ms, which is how long anybody may have to wait. An entry of
   a ledger in the processor's caches takes 30 ns, one in memory that others use up to 200. */
#define SCAN_BUDGET 4000
/* 1,000: some 20 us, no more than a request takes. Of a look that only refusals wait for. */
#define SCAN_BACKGROUND_BUDGET 1000

enum {
    SCAN_READY,   /* reader->scan is complete */
    SCAN_PENDING, /* call scan_poll() again */
    SCAN_FAILED,  /* no memory; the reader has left */
};

/** scan_ask() - wait for the next look of a kind; whatever the reader had, it has left */
void scan_ask(struct core *core, struct scan_reader *reader, enum scan_kind kind);

/** scan_ask_any() - one that is under way is as good */
void scan_ask_any(struct core *core, struct scan_reader *reader, enum scan_kind kind);

/** scan_poll() - make a step, of any kind, unless the reader's look is complete */
KMEM_MUST_USE int scan_poll(struct core *core, struct scan_reader *reader, uint64_t now_us);

/** scan_keep() - the reader has read a part of its complete look, and will read on */
void scan_keep(struct core *core, struct scan_reader *reader, uint64_t now_us);

/** scan_holders_are_present() - whether nothing has changed since scans.holders was made */
bool scan_holders_are_present(const struct core *core);

#endif

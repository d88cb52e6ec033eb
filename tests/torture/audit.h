/* SPDX-License-Identifier: MIT */
/*
 * audit.h - whether the daemon's ledger, the bytes of the segment and the oracles say the same
 */
#ifndef TESTS_TORTURE_AUDIT_H
#define TESTS_TORTURE_AUDIT_H

#include <stdint.h>

#include "tests/torture/crew.h"

/* What the audits of a campaign have seen. */
struct audit {
    const unsigned char *segment; /* mapped for reading, by the driver alone */
    uint64_t segment_bytes;
    uint64_t n_audits;
    uint64_t n_blocks; /* that were compared */
    uint64_t num_bytes;
    uint64_t n_obituaries; /* of them */
    uint64_t longest_ms;   /* until the ledger was right: the dead have to be buried first */
};

/** audit_init() - maps the segment of the daemon that serves */
void audit_init(struct audit *audit);
void audit_fini(struct audit *audit);

/**
 * audit_run() - want everything to be as the oracles say; nobody may work meanwhile
 *
 * The ledger holds exactly what the workers hold: offset, size, reason, owner of each block; the
 * figures are its sum and add up to the segment; the bytes of each block are as they were written.
 * The daemon's clients are the living workers that have joined, by pid: nothing of the dead is
 * left, and their obituaries say what they held.
 */
void audit_run(struct audit *audit, struct crew *crew);

#endif

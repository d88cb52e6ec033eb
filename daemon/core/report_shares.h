/* SPDX-License-Identifier: MIT */
/*
 * report_shares.h - answers to questions about shared blocks: who keeps them, what they are named
 */
#ifndef DAEMON_CORE_REPORT_SHARES_H
#define DAEMON_CORE_REPORT_SHARES_H

#include <stdint.h>

#include "daemon/core/core.h"
#include "daemon/core/reply.h"

/* Where a report on holders begins; all 0: at the beginning. */
struct holders_page {
    uint32_t share;
    uint32_t holder;       /* of that share: what the answer before said */
    struct seg_off offset; /* of one block only; 0: of all */
};

/** report_holders() - owner, names and holders of shared blocks, each with a row of its own */
void report_holders(const struct core *core, const struct holders_page *from, uint64_t now_ms,
                    struct reply *reply);

/** report_names() - the names from a record on */
void report_names(const struct core *core, uint32_t from_name, struct reply *reply);

#endif

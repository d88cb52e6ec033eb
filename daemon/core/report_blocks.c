/* SPDX-License-Identifier: MIT */
/*
 * report_blocks.c - the blocks, one by one: those that a filter takes
 *
 * A page looks at a scan's step of entries, whatever of those is wanted: where nothing is, the
 * answer has no rows and says "more", and others are served before the next one.
 */
#include "daemon/core/report.h"

#include <string.h>

#include "daemon/core/block_iter.h"
#include "daemon/core/tick.h"

static void block_row_share(const struct shares *shares, struct seg_off off, Kmem__Block *row)
{
    const uint32_t share = shares->n_shares > 0 ? shares_at(shares, off) : 0;
    row->shared = share != 0;
    if (share != 0) {
        row->n_holders = shares_n_holders(shares, share);
        row->n_names = shares_n_names(shares, share);
    }
}

Kmem__Block *report_block(const struct core *core, const struct block *block, const char *reason,
                          size_t n_reason_bytes, uint32_t now, struct reply *reply)
{
    const struct client_identity *holder = &clients_get(&core->clients, block->slot)->identity;
    Kmem__Block *row = reply_take(reply, sizeof(*row));
    kmem__block__init(row);
    row->offset = block->off.bytes;
    row->num_bytes = block->num_bytes;
    row->reason = reply_string(reply, reason, n_reason_bytes);
    row->pid = holder->pid;
    row->uid = holder->uid;
    row->command = reply_string(reply, holder->command, strlen(holder->command));
    row->age_ms = tick_age_ms(block->born, now);
    row->leased = block->leased;
    block_row_share(&core->shares, block->off, row);
    return row;
}

/* Return: whether there was room for it. */
static bool block_row_add(const struct core *core, const struct block *block,
                          struct ledger_reasons_read *read, uint32_t now, struct reply *reply)
{
    Kmem__BlocksReport *report = &reply->body.blocks;
    const struct client_identity *holder = &clients_get(&core->clients, block->slot)->identity;
    char reason[REASON_MAX_BYTES];
    const size_t n_reason_bytes = block_reason_of_many(core, block, read, reason);
    if (report->n_blocks == REPLY_ROWS_MAX ||
        !reply_row_fits(reply, n_reason_bytes + strlen(holder->command))) {
        return false;
    }
    report->blocks[report->n_blocks++] =
        report_block(core, block, reason, n_reason_bytes, now, reply);
    return true;
}

static bool is_wanted(struct block_filter *filter, const struct core *core,
                      const struct block *block, uint32_t now, uint32_t *spent)
{
    return !filter || block_filter_takes(filter, core, block, now, spent);
}

void report_blocks(const struct core *core, struct seg_off from, struct block_filter *filter,
                   uint64_t now_ms, struct reply *reply)
{
    const uint32_t now = core_tick(core, now_ms);
    struct block_iter iter;
    struct block block;
    struct ledger_reasons_read read;
    Kmem__BlocksReport *report = &reply->body.blocks;
    kmem__blocks_report__init(report);
    report->blocks = reply_take(reply, REPLY_ROWS_MAX * sizeof(Kmem__Block *));
    report->filtered = filter != NULL;
    block_iter_init(&iter, core, BLOCKS_ALL, from, SCAN_BUDGET);
    client_ledger_reasons_init(&read);
    /* However dear a block is to compare, each page looks at one. */
    while (block_iter_next(&iter, &block)) {
        if (is_wanted(filter, core, &block, now, &iter.spent) &&
            !block_row_add(core, &block, &read, now, reply)) {
            block_iter_put_back(&iter);
            break;
        }
        if (filter && iter.spent >= SCAN_BUDGET) {
            break;
        }
    }
    const struct seg_off next = block_iter_position(&iter);
    report->more = next.bytes != 0;
    report->next_offset = next.bytes;
    reply->response.body_case = KMEM__RESPONSE__BODY_BLOCKS;
    reply->response.blocks = report;
}

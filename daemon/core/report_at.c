/* SPDX-License-Identifier: MIT */
/*
 * report_at.c - what one byte of the segment is, and what lies beside it
 *
 * Three stretches are looked at, each at most a slab's entries and some reads of a ledger.
 */
#include "daemon/core/report_pages.h"

#include "daemon/core/block_iter.h"
#include "daemon/core/report.h"

static bool block_of(const struct stretch *stretch, uint32_t index, struct block *ret_block)
{
    return stretch->state == STRETCH_DIRECT ? direct_block(&stretch->slab, index, ret_block)
                                            : client_ledger_block(&stretch->slab, index, ret_block);
}

/* The live block before, or behind, a place of a slab. Return: whether there is one. */
static bool block_before(const struct stretch *stretch, uint32_t index, struct block *ret_block)
{
    index = index < stretch->slab.n_blocks ? index : stretch->slab.n_blocks;
    while (index > 0 && !block_of(stretch, index - 1, ret_block)) {
        index--;
    }
    return index > 0;
}

static bool block_from(const struct stretch *stretch, uint32_t index, struct block *ret_block)
{
    while (index < stretch->slab.n_blocks && !block_of(stretch, index, ret_block)) {
        index++;
    }
    return index < stretch->slab.n_blocks;
}

/* An answer that is being made. */
struct at {
    const struct core *core;
    struct reply *reply;
    Kmem__AtReport *report;
    uint64_t offset;
    uint32_t now; /* tick */
};

static Kmem__Block *at_block(const struct at *at, const struct block *block)
{
    char reason[REASON_MAX_BYTES];
    const size_t n_reason_bytes = block_reason(at->core, block, reason);
    return report_block(at->core, block, reason, n_reason_bytes, at->now, at->reply);
}

static void at_slab(const struct at *at, const struct stretch *stretch)
{
    const struct slab *slab = &stretch->slab;
    Kmem__AtReport *report = at->report;
    const uint64_t slab_offset = (uint64_t)slab->page << PAGE_SHIFT;
    const uint64_t within_bytes = at->offset - slab_offset;
    const uint64_t n_places = ((uint64_t)slab->span_pages << PAGE_SHIFT) / slab->block_bytes;
    const uint32_t index = (uint32_t)(within_bytes / slab->block_bytes);
    struct block block;
    if (block_before(stretch, index, &block)) {
        report->before = at_block(at, &block);
    }
    if (block_from(stretch, index + 1, &block)) {
        report->after = at_block(at, &block);
    }
    if (index >= n_places) {
        report->kind = KMEM__BYTE_KIND__BYTE_REST;
        return;
    }
    report->kind = KMEM__BYTE_KIND__BYTE_PLACE;
    report->place_offset = slab_offset + index * slab->block_bytes;
    report->place_bytes = slab->block_bytes;
    if (index < slab->n_blocks && block_of(stretch, index, &block)) {
        report->kind = at->offset - block.off.bytes < block.num_bytes
                           ? KMEM__BYTE_KIND__BYTE_BLOCK
                           : KMEM__BYTE_KIND__BYTE_ROUNDING;
        report->block = at_block(at, &block);
    }
}

static void at_stretch(const struct at *at, const struct stretch *stretch)
{
    at->report->pages = report_pages_row(at->core, stretch, at->now, at->reply);
    if (stretch->slab.n_blocks > 0) {
        at_slab(at, stretch);
    } else if (stretch->state == STRETCH_LEASED) {
        at->report->kind = KMEM__BYTE_KIND__BYTE_UNKNOWN;
    } else if (stretch->state == STRETCH_IDLE) {
        at->report->kind = KMEM__BYTE_KIND__BYTE_IDLE;
    } else {
        at->report->kind = KMEM__BYTE_KIND__BYTE_FREE;
    }
}

static void at_before(const struct at *at, uint32_t page)
{
    struct stretch stretch;
    struct block block;
    uint32_t spent = 0;
    stretch_find(at->core, page, 0, &spent, &stretch);
    at->report->pages_before = report_pages_row(at->core, &stretch, at->now, at->reply);
    if (!at->report->before && block_before(&stretch, UINT32_MAX, &block)) {
        at->report->before = at_block(at, &block);
    }
}

static void at_after(const struct at *at, uint32_t page)
{
    struct stretch stretch;
    struct block block;
    uint32_t spent = 0;
    stretch_find(at->core, page, page, &spent, &stretch);
    at->report->pages_after = report_pages_row(at->core, &stretch, at->now, at->reply);
    if (!at->report->after && block_from(&stretch, 0, &block)) {
        at->report->after = at_block(at, &block);
    }
}

void report_at(const struct core *core, uint64_t offset, uint64_t now_ms, struct reply *reply)
{
    const struct at at = {core, reply, &reply->body.at, offset, core_tick(core, now_ms)};
    kmem__at_report__init(at.report);
    at.report->segment_bytes = core_segment_bytes(core);
    at.report->kind = KMEM__BYTE_KIND__BYTE_BEYOND;
    if (offset < core_segment_bytes(core)) {
        struct stretch stretch;
        uint32_t spent = 0;
        stretch_find(core, (uint32_t)(offset >> PAGE_SHIFT), 0, &spent, &stretch);
        const uint32_t page = stretch.page;
        const uint32_t end = page + stretch.n_pages;
        at_stretch(&at, &stretch); /* before another slab is read */
        if (page > 0) {
            at_before(&at, page - 1);
        }
        if (end < core->pages.n_pages) {
            at_after(&at, end);
        }
    }
    reply->response.body_case = KMEM__RESPONSE__BODY_AT;
    reply->response.at = at.report;
}

/* SPDX-License-Identifier: MIT */
#include "daemon/core/scan.h"

#include <stdio.h>
#include <stdlib.h>

#include "daemon/core/block_iter.h"
#include "daemon/core/released.h"

/* A place in a heap takes less than half of what an entry of a ledger takes. */
#define SORT_BUDGET(scan_budget) (2 * (scan_budget))

void scan_ask(struct core *core, struct scan_reader *reader, enum scan_kind kind)
{
    scans_leave(&core->scans, reader);
    reader->kind = kind;
    reader->waits = true;
    scan_reader_link(&core->scans.waiting[kind], reader);
}

static void reader_join(struct scan *scan, struct scan_reader *reader)
{
    reader->waits = false;
    reader->scan = scan;
    scan_reader_link(&scan->readers, reader);
}

void scan_ask_any(struct core *core, struct scan_reader *reader, enum scan_kind kind)
{
    struct scan *scan = core->scans.under_way[kind];
    if (!scan) {
        scan_ask(core, reader, kind);
        return;
    }
    scans_leave(&core->scans, reader);
    reader->kind = kind;
    /* It may have been the last to leave that one. */
    scan = core->scans.under_way[kind];
    if (scan) {
        reader_join(scan, reader);
    } else {
        scan_ask(core, reader, kind);
    }
}

/* ---------------------------------------------------------------------------------- keepers -- */

/* What speaks for dropping a reader: the more its user, then its process, keeps, and the longer it
   has not read. */
struct claim {
    uint32_t of_uid;
    uint32_t of_pid;
    uint64_t idle_ms;
};

/* Of equals the one that is asked about is worse: the oldest look comes last. */
static bool claim_is_worse(const struct claim *a, const struct claim *b)
{
    if (a->of_uid != b->of_uid) {
        return a->of_uid > b->of_uid;
    }
    return a->of_pid != b->of_pid ? a->of_pid > b->of_pid : a->idle_ms >= b->idle_ms;
}

/* Collects who keeps a complete look, SCAN_KEEPERS at most. */
static uint32_t keepers_collect(const struct scans *scans, struct scan_reader **ret_keepers)
{
    uint32_t n_keepers = 0;
    for (struct scan *scan = scans->complete; scan; scan = scan->next_complete) {
        for (struct scan_reader *reader = scan->readers; reader; reader = reader->next) {
            if (reader->keeps) {
                KMEM_ASSERT(n_keepers < SCAN_KEEPERS);
                ret_keepers[n_keepers++] = reader;
            }
        }
    }
    return n_keepers;
}

static struct claim keeper_claim(struct scan_reader *const *keepers, uint32_t n_keepers,
                                 const struct scan_reader *keeper, uint64_t now_ms)
{
    struct claim claim = {.idle_ms = now_ms - keeper->read_ms};
    for (uint32_t i = 0; i < n_keepers; i++) {
        const bool same_user = keepers[i]->uid == keeper->uid;
        claim.of_uid += same_user;
        claim.of_pid += same_user && keepers[i]->pid == keeper->pid;
    }
    return claim;
}

/* Who keeps one alone may read it for a while. */
static bool keeper_may_be_dropped(const struct scan_reader *keeper, const struct claim *claim,
                                  uint64_t now_ms)
{
    return claim->of_pid > 1 || claim->idle_ms >= SCAN_IDLE_MS ||
           now_ms - keeper->kept_ms >= SCAN_KEEP_MS;
}

/* Drops the reader that is to be dropped first. Return: whether there is one. */
static bool keeper_drop(struct core *core, uint64_t now_ms)
{
    struct scan_reader *keepers[SCAN_KEEPERS];
    struct scan_reader *worst = NULL;
    struct claim worst_claim = {.of_uid = 0};
    const uint32_t n_keepers = keepers_collect(&core->scans, keepers);
    for (uint32_t i = 0; i < n_keepers; i++) {
        const struct claim claim = keeper_claim(keepers, n_keepers, keepers[i], now_ms);
        if (keeper_may_be_dropped(keepers[i], &claim, now_ms) &&
            (!worst || claim_is_worse(&claim, &worst_claim))) {
            worst = keepers[i];
            worst_claim = claim;
        }
    }
    if (worst) {
        scans_leave(&core->scans, worst);
    }
    return worst != NULL;
}

void scan_keep(struct core *core, struct scan_reader *reader, uint64_t now_us)
{
    KMEM_ASSERT(reader->scan && reader->scan->done);
    const uint64_t now_ms = now_us / 1000;
    struct scan_reader *keepers[SCAN_KEEPERS];
    if (!reader->keeps && keepers_collect(&core->scans, keepers) == SCAN_KEEPERS &&
        !keeper_drop(core, now_ms)) {
        scans_leave(&core->scans, reader); /* all of them are reading; it begins again */
        return;
    }
    reader->kept_ms = reader->keeps ? reader->kept_ms : now_ms;
    reader->read_ms = now_ms;
    reader->keeps = true;
}

/* ------------------------------------------------------------------------------------- looks -- */

static enum rollup_by kind_by(enum scan_kind kind)
{
    static const enum rollup_by by[] = {
        [SCAN_LEASED] = ROLLUP_BY_CLIENT,    [SCAN_BY_REASON] = ROLLUP_BY_REASON,
        [SCAN_BY_CLIENT] = ROLLUP_BY_CLIENT, [SCAN_BY_UID] = ROLLUP_BY_UID,
        [SCAN_BY_UNIT] = ROLLUP_BY_UNIT,     [SCAN_BY_SIZE] = ROLLUP_BY_SIZE,
        [SCAN_BY_AGE] = ROLLUP_BY_AGE,       [SCAN_BY_LIFETIME] = ROLLUP_BY_REASON,
    };
    return by[kind];
}

static uint64_t direct_n_changes(const struct core *core)
{
    return core->state.counters->allocations + core->state.counters->releases;
}

bool scan_holders_are_present(const struct core *core)
{
    const struct scan_holders *holders = &core->scans.holders;
    return holders->known && core->leases.n_pages == 0 &&
           holders->n_changes == direct_n_changes(core);
}

static struct scan *scan_new(const struct core *core, enum scan_kind kind, uint64_t now_us)
{
    const struct rollup_tables tables = core_tables(core);
    struct scan *scan = calloc(1, sizeof(*scan));
    if (!scan) {
        return NULL;
    }
    *scan = (struct scan){.kind = kind, .began_us = now_us, .n_changes = direct_n_changes(core)};
    if (kind == SCAN_LEASED) {
        scan->counted = obituaries_counted_all(&core->obituaries, &core->clients);
        scan->failed = waste_init(&scan->waste, &core->pages, &core->clients, &core->reclaim) != 0;
    }
    scan->rollup = rollup_new(kind_by(kind), &tables, NULL);
    scan->by_reason =
        kind == SCAN_LEASED && scan->rollup ? rollup_new(ROLLUP_BY_REASON, &tables, NULL) : NULL;
    if (kind == SCAN_BY_LIFETIME && scan->rollup) {
        scan->failed = rollup_keep_ages(scan->rollup) != 0;
    }
    if (scan->failed || !scan->rollup || (kind == SCAN_LEASED && !scan->by_reason)) {
        scan_free(scan);
        return NULL;
    }
    rollup_age_from(scan->rollup, core_tick(core, now_us / 1000));
    return scan;
}

/* What a step of a look may cost: little, while only refusals want it. */
static uint32_t scan_budget(const struct core *core, const struct scan *scan)
{
    return scan->is_patient && !core->scans.waiting[scan->kind] ? SCAN_BACKGROUND_BUDGET
                                                                : SCAN_BUDGET;
}

/* Begins the look that a reader waits for, with all who wait for it. Return: whether it could. */
static int scan_begin(struct core *core, enum scan_kind kind, uint64_t now_us)
{
    struct scans *scans = &core->scans;
    while (scans->n_complete >= SCANS_KEPT) {
        if (!keeper_drop(core, now_us / 1000)) {
            return SCAN_PENDING; /* those who are to be answered will be, the others become idle */
        }
    }
    struct scan *scan = scan_new(core, kind, now_us);
    if (!scan) {
        return SCAN_FAILED;
    }
    scan->is_patient = true;
    while (scans->waiting[kind]) {
        struct scan_reader *reader = scans->waiting[kind];
        scan->is_patient = scan->is_patient && reader->is_patient;
        scan_reader_unlink(reader);
        reader_join(scan, reader);
    }
    scans->under_way[kind] = scan;
    scans->n_begun++;
    return SCAN_READY;
}

static uint64_t scan_spent(const struct scan *scan)
{
    return rollup_spent(scan->rollup) + (scan->by_reason ? rollup_spent(scan->by_reason) : 0);
}

static void scan_block(struct scan *scan, const struct slab *slab, const struct block *block)
{
    scan->failed = rollup_add(scan->rollup, block) != 0 ||
                   (scan->by_reason && rollup_add(scan->by_reason, block) != 0);
    scan->look.n_blocks++;
    scan->look.num_bytes += block->num_bytes;
    if (block->leased) {
        scan->n_leased_blocks++;
        scan->leased_bytes += block->num_bytes;
    }
    if (scan->kind == SCAN_LEASED) {
        waste_note(&scan->waste, slab, block);
    }
}

static void scan_blocks(struct scan *scan, const struct core *core)
{
    const bool leased = scan->kind == SCAN_LEASED;
    const uint64_t spent_at = scan_spent(scan);
    struct block_iter iter;
    struct block block;
    block_iter_init(&iter, core, leased ? BLOCKS_LEASED : BLOCKS_ALL, scan->from, scan->budget);
    /* However dear blocks are to add, each step adds one. */
    while (scan_spent(scan) - spent_at < scan->budget && !scan->failed &&
           block_iter_next(&iter, &block)) {
        scan_block(scan, &iter.slab, &block);
    }
    scan->from = block_iter_position(&iter);
    if (scan->from.bytes == 0 && !scan->failed) {
        scan->phase = leased                           ? SCAN_PAGES
                      : scan->kind == SCAN_BY_LIFETIME ? SCAN_RELEASED
                                                       : SCAN_SORT;
        if (scan->kind == SCAN_BY_REASON) {
            scan->look.at_ms = scan->began_us / 1000;
            history_pick(&core->history, scan->rollup, &scan->look);
        }
    }
}

static void scan_pages(struct scan *scan)
{
    if (waste_step(&scan->waste, SCAN_BUDGET)) {
        scan->phase = SCAN_REASONS;
    }
}

/* What the reasons of direct blocks add; their blocks need not be looked at. */
static void scan_reasons(struct scan *scan, const struct core *core)
{
    const uint64_t spent_at = rollup_spent(scan->by_reason);
    const uint32_t until = scan->at + SCAN_BUDGET;
    while (scan->at < core->reasons.n_ids && scan->at < until && !scan->failed &&
           rollup_spent(scan->by_reason) - spent_at < SCAN_BUDGET) {
        const struct reason_totals totals = reasons_totals(&core->reasons, scan->at);
        scan->failed =
            totals.n_blocks > 0 && rollup_add_reason(scan->by_reason, scan->at, &totals) != 0;
        scan->at++;
    }
    if (scan->at >= core->reasons.n_ids && !scan->failed) {
        scan->n_reasons = rollup_n_groups(scan->by_reason);
        scan->n_other_reasons = rollup_n_other(scan->by_reason);
        scan->by_reason = rollup_free(scan->by_reason);
        scan->done = true;
    }
}

/* What one client has noted. Return: what that cost, in entries. */
static uint32_t scan_released_of(const struct scan *scan, const struct core *core, uint32_t slot)
{
    struct ledger_lifetimes records[LIFETIMES_MAX];
    char reason[REASON_MAX_BYTES + 1];
    const uint32_t n_records = client_ledger_lifetimes(&core->client_ledger, slot, records);
    for (uint32_t i = 0; i < n_records; i++) {
        const size_t n_bytes = released_reason(core, slot, records[i].reason - 1, reason);
        reason[lifetimes_key(reason, n_bytes)] = '\0';
        rollup_add_released(scan->rollup, reason, (const uint32_t *)(const void *)records[i].n);
    }
    return (1 + n_records) * CLIENT_LEDGER_READ_COST;
}

static void scan_released(struct scan *scan, const struct core *core)
{
    struct client *client = clients_next(&core->clients, scan->at);
    for (uint64_t spent = 0; client && spent < scan->budget;) {
        spent += scan_released_of(scan, core, client->slot);
        scan->at = client->slot + 1;
        client = clients_next(&core->clients, scan->at);
    }
    if (!client) {
        scan->phase = SCAN_SORT;
    }
}

static void scan_sort(struct scan *scan)
{
    const int r = rollup_sort_step(scan->rollup, SIZE_MAX, SORT_BUDGET(scan->budget));
    scan->failed = r < 0;
    scan->done = r == 0;
}

static void holders_note(struct scan_holders *holders, const struct scan *scan)
{
    const size_t n_groups = rollup_n_groups(scan->rollup);
    *holders = (struct scan_holders){
        .known = true,
        .at_us = scan->began_us,
        .n_steps = scan->n_steps,
        .n_changes = scan->n_changes,
        .is_cheap = scan->n_steps == 1 && scan->budget == SCAN_BACKGROUND_BUDGET,
    };
    for (; holders->n_holders < SCAN_HOLDERS && holders->n_holders < n_groups;
         holders->n_holders++) {
        const struct rollup_group *group = rollup_group(scan->rollup, holders->n_holders);
        const uint32_t i = holders->n_holders;
        (void)snprintf(holders->holders[i].reason, sizeof(holders->holders[i].reason), "%s",
                       group->key); /* fits */
        holders->holders[i].n_blocks = group->n_blocks;
        holders->holders[i].num_bytes = group->num_bytes;
    }
}

/* A step of the phase that the look is in; the next one begins with it: most looks are one step. */
static void scan_phases(struct scan *scan, const struct core *core)
{
    if (scan->phase == SCAN_BLOCKS) {
        scan_blocks(scan, core);
    }
    if (scan->phase == SCAN_PAGES) {
        scan_pages(scan);
    }
    if (scan->phase == SCAN_REASONS) {
        scan_reasons(scan, core);
    }
    if (scan->phase == SCAN_RELEASED) {
        scan_released(scan, core);
    }
    if (scan->phase == SCAN_SORT) {
        scan_sort(scan);
    }
}

static void scan_step(struct core *core, struct scan *scan)
{
    struct scans *scans = &core->scans;
    scan->n_steps++;
    scan->budget = scan_budget(core, scan);
    scan_phases(scan, core);
    scan->done = scan->done || scan->failed;
    if (!scan->done) {
        return;
    }
    scans->under_way[scan->kind] = NULL;
    scan->next_complete = scans->complete;
    scans->complete = scan;
    scans->n_complete++;
    if (scan->kind == SCAN_BY_REASON && !scan->failed) {
        holders_note(&scans->holders, scan);
    }
}

/* The next step, of the kind whose turn it is. */
static void scans_step(struct core *core)
{
    struct scans *scans = &core->scans;
    for (uint32_t i = 0; i < N_SCAN_KINDS; i++) {
        const uint32_t kind = scans->next_kind;
        scans->next_kind = (kind + 1) % N_SCAN_KINDS;
        if (scans->under_way[kind]) {
            scan_step(core, scans->under_way[kind]);
            return;
        }
    }
}

int scan_poll(struct core *core, struct scan_reader *reader, uint64_t now_us)
{
    const bool begins = reader->waits && !core->scans.under_way[reader->kind];
    const int r = begins ? scan_begin(core, reader->kind, now_us) : SCAN_READY;
    if (begins && r == SCAN_READY) {
        scan_step(core, reader->scan); /* the first step is often all there is to do */
    } else if (!reader->scan || !reader->scan->done) {
        scans_step(core);
    }
    if (r == SCAN_FAILED || (reader->scan && reader->scan->failed)) {
        scans_leave(&core->scans, reader);
        return SCAN_FAILED;
    }
    return reader->scan && reader->scan->done ? SCAN_READY : SCAN_PENDING;
}

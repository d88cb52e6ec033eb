/* SPDX-License-Identifier: MIT */
/*
 * report.c - from the core's structs to responses
 *
 * Rows are put into the response until reply_row_fits() says no; where to go on is in the answer,
 * so that a reader is no state of the daemon's, with one exception: a roll-up has to look at every
 * block before its first row is known, and is kept for those who read it: scan.h.
 */
#include "daemon/core/report.h"

#include <stdio.h>
#include <string.h>

#include "daemon/core/block_iter.h"
#include "daemon/core/tick.h"
#include "proto/clear.h"

/* ------------------------------------------------------------------------------------- usage -- */

static void statistic_add(struct reply *reply, const char *name, Kmem__StatisticKind kind,
                          Kmem__StatisticUnit unit, uint64_t value, const char *text)
{
    Kmem__UsageReport *report = &reply->body.usage;
    Kmem__Statistic *row = reply_take(reply, sizeof(*row));
    kmem__statistic__init(row);
    row->name = reply_string(reply, name, strlen(name));
    row->kind = kind;
    row->unit = unit;
    row->value = value;
    row->text = reply_string(reply, text, strlen(text));
    report->statistics[report->n_statistics++] = row;
}

/*
 * The leases at one moment: clients take and give up pages while the figures are made.
 *
 *      used_bytes + rounding_bytes + slab_bytes + idle_bytes == the leased pages
 */
struct leased_figures {
    uint64_t unused_bytes;   /* pages that are in no use */
    uint64_t idle_bytes;     /* those, and slabs without a live block */
    uint64_t used_bytes;     /* live blocks, as asked for */
    uint64_t rounding_bytes; /* the sizes of those blocks, without what was asked for */
    uint64_t slab_bytes;     /* the rest: what is free in slabs with a live block */
};

/*
 * What there was of leased blocks: releases are counted by clients, and what was allocated is that
 * and what is live. The releases are those at the beginning of the scan: a block that is released
 * while the others are looked at is missing then, and not there twice, and once nothing moves both
 * are exact. A client that is not there any more takes nothing with it.
 */
static void leased_note(const struct core *core, const struct scan *scan)
{
    struct state_counters *counters = core->state.counters;
    const uint64_t n_releases = scan->counted.n_releases;
    state_raise(&counters->leased_releases, n_releases);
    state_raise(&counters->leased_allocations, n_releases + scan->n_leased_blocks);
}

static uint64_t at_most(uint64_t number, uint64_t limit)
{
    return number < limit ? number : limit;
}

/*
 * They were counted in steps: some pages may have come back since, and clients whose ledgers were
 * read may have ended. A client may tell more than its pages hold. So each figure takes at most
 * what the ones before it have left.
 */
static struct leased_figures leased_figures(const struct core *core, const struct scan *scan)
{
    const struct waste *waste = &scan->waste;
    const uint64_t leased_bytes = core->leases.n_pages << PAGE_SHIFT;
    struct leased_figures is = {.unused_bytes =
                                    at_most(waste->n_unused_pages << PAGE_SHIFT, leased_bytes)};
    is.idle_bytes = at_most(is.unused_bytes + (waste->n_idle_pages << PAGE_SHIFT), leased_bytes);
    const uint64_t carved_bytes = leased_bytes - is.idle_bytes;
    is.used_bytes = at_most(scan->leased_bytes, carved_bytes);
    is.rounding_bytes = at_most(waste->rounding_bytes, carved_bytes - is.used_bytes);
    is.slab_bytes = carved_bytes - is.used_bytes - is.rounding_bytes;
    return is;
}

/* What is free now may be longer than what the look saw. */
static uint64_t report_largest_hole_bytes(const struct core *core, const struct scan *scan)
{
    const uint64_t now_bytes = core_largest_extent_bytes(core);
    const uint64_t seen_bytes = scan->waste.largest_pages << PAGE_SHIFT;
    return seen_bytes > now_bytes ? seen_bytes : now_bytes;
}

/* Room for the sentence around a plan. */
#define CLEARING_TEXT_BYTES (CLEAR_PLAN_TEXT_BYTES + 160)

/* What is said of how clients clear memory. Return: text. */
static const char *report_clearing(uint32_t plan, char *text, size_t text_bytes)
{
    if (plan == 0) {
        (void)snprintf(text, text_bytes, "0: which loop clears memory fastest was not measured");
    } else {
        char planned[CLEAR_PLAN_TEXT_BYTES];
        (void)snprintf(text, text_bytes,
                       "what the first of these loops clears in a cache, as measured when the "
                       "segment began: %s; memset beyond, and in no cache",
                       clear_plan_format(plan, planned, sizeof(planned)));
    }
    return text;
}

void report_usage(const struct core *core, const struct scan *scan, uint64_t now_ms,
                  struct reply *reply)
{
    const char *name = core->config.segment_name;
    const struct leased_figures leased = leased_figures(core, scan);
    const struct state_counters *counters = core->state.counters;
    char text[CLEARING_TEXT_BYTES];
    const char *clearing = report_clearing(core->config.clear_plan, text, sizeof(text));
    leased_note(core, scan);
    state_raise(&core->state.counters->peak_used_bytes,
                core->direct.used_bytes + leased.used_bytes);
    kmem__usage_report__init(&reply->body.usage);
    reply->body.usage.segment_name = reply_string(reply, name, strlen(name));
    reply->body.usage.daemon_version = reply_string(reply, KMEM_VERSION, strlen(KMEM_VERSION));
    reply->body.usage.daemon_pid = core->config.pid;
    reply->body.usage.instance = core->state.header->instance;
    reply->body.usage.statistics =
        reply_take(reply, REPLY_ROWS_MAX * sizeof(*reply->body.usage.statistics));
#define STAT(name, kind, unit, value, text)                                                        \
    statistic_add(reply, #name, KMEM__STATISTIC_KIND__STATISTIC_##kind,                            \
                  KMEM__STATISTIC_UNIT__UNIT_##unit, (value), (text));
#include "daemon/core/stats.def"
#undef STAT
    reply->response.body_case = KMEM__RESPONSE__BODY_USAGE;
    reply->response.usage = &reply->body.usage;
}

/* ------------------------------------------------------------------------------------ ledger -- */

void report_ledger(const struct core *core, const struct scan *scan, uint32_t first_row,
                   uint64_t now_ms, struct reply *reply)
{
    const size_t n_groups = rollup_n_groups(scan->rollup);
    const uint32_t now = core_tick(core, now_ms);
    Kmem__LedgerReport *report = &reply->body.ledger;
    kmem__ledger_report__init(report);
    report->rows = reply_take(reply, REPLY_ROWS_MAX * sizeof(Kmem__LedgerRow *));
    size_t index = first_row;
    for (; index < n_groups && report->n_rows < REPLY_ROWS_MAX; index++) {
        const struct rollup_group *group = rollup_group(scan->rollup, index);
        const size_t n_key_bytes = strlen(group->key);
        if (!reply_row_fits(reply, n_key_bytes)) {
            break;
        }
        Kmem__LedgerRow *row = reply_take(reply, sizeof(*row));
        kmem__ledger_row__init(row);
        row->key = reply_string(reply, group->key, n_key_bytes);
        row->n_blocks = group->n_blocks;
        row->num_bytes = group->num_bytes;
        row->oldest_ms = tick_age_ms(group->oldest, now);
        row->pid = group->pid;
        row->uid = group->uid;
        report->rows[report->n_rows++] = row;
    }
    report->more = index < n_groups;
    reply->response.body_case = KMEM__RESPONSE__BODY_LEDGER;
    reply->response.ledger = report;
}

/* ----------------------------------------------------------------------------------- clients -- */

static Kmem__Client *client_row(const struct core *core, struct client *client,
                                const struct scan *scan, uint32_t n_unused_pages, uint32_t now,
                                struct reply *reply)
{
    const struct rollup_group *leased = rollup_group_of(scan->rollup, client);
    const struct client_identity *identity = &client->identity;
    Kmem__Client *row = reply_take(reply, sizeof(*row));
    kmem__client__init(row);
    row->slot = client->slot;
    row->pid = identity->pid;
    row->uid = identity->uid;
    row->gid = identity->gid;
    row->command = reply_string(reply, identity->command, strlen(identity->command));
    row->connected = client->connected;
    row->n_blocks = client->n_blocks + (leased ? leased->n_blocks : 0);
    row->num_bytes = client->num_bytes + (leased ? leased->num_bytes : 0);
    row->unit = reply_string(reply, client->unit, strlen(client->unit));
    row->leased_bytes = client->leased_pages << PAGE_SHIFT;
    row->unused_bytes = (uint64_t)n_unused_pages << PAGE_SHIFT;
    row->idle_bytes =
        at_most(row->unused_bytes + (waste_idle_pages(&scan->waste, client) << PAGE_SHIFT),
                row->leased_bytes);
    row->peak_bytes = client->stored->peak_bytes;
    row->peak_used_bytes = client->stored->peak_used_bytes;
    row->age_ms = tick_age_ms(client->born, now);
    row->reader = identity->is_reader;
    row->walled = identity->is_reader && readers_are_walled(&core->clients, identity->uid);
    return row;
}

/* What the client tells of its blocks, within what it was given, and what it has counted itself. */
static void client_note_unverified(struct client *client, const struct rollup_group *leased)
{
    const uint64_t leased_bytes = client->leased_pages << PAGE_SHIFT;
    const uint64_t unverified_bytes = leased ? leased->num_bytes : 0;
    client_note_used(client, client->num_bytes + (unverified_bytes < leased_bytes ? unverified_bytes
                                                                                  : leased_bytes));
    client_note_used(client, counted_peak_bytes(client));
}

void report_clients(const struct core *core, const struct scan *scan, uint32_t from_slot,
                    uint64_t now_ms, struct reply *reply)
{
    Kmem__ClientsReport *report = &reply->body.clients;
    uint32_t n_unused[CLIENTS_MAX];
    leases_count_unused(&core->leases, n_unused);
    kmem__clients_report__init(report);
    report->clients = reply_take(reply, REPLY_ROWS_MAX * sizeof(Kmem__Client *));
    struct client *client = clients_next(&core->clients, from_slot);
    while (client && report->n_clients < REPLY_ROWS_MAX &&
           reply_row_fits(reply, strlen(client->identity.command) + strlen(client->unit))) {
        if (client->client_state == CLIENT_LIVE) {
            client_note_unverified(client, rollup_group_of(scan->rollup, client));
            report->clients[report->n_clients++] = client_row(
                core, client, scan, n_unused[client->slot], core_tick(core, now_ms), reply);
        }
        client = clients_next(&core->clients, client->slot + 1);
    }
    report->more = client != NULL;
    report->next_slot = client ? client->slot : 0;
    reply->response.body_case = KMEM__RESPONSE__BODY_CLIENTS;
    reply->response.clients = report;
}

/* -------------------------------------------------------------------------------- obituaries -- */

/* A block is as old as it was when its owner ended. */
static void obituary_reasons(const struct obituary *obituary, struct reply *reply,
                             Kmem__Obituary *row)
{
    row->rows = reply_take(reply, OBITUARY_ROWS * sizeof(*row->rows));
    for (uint32_t i = 0; i < obituary->n_rows; i++) {
        const struct obituary_row *from = &obituary->rows[i];
        Kmem__LedgerRow *reason = reply_take(reply, sizeof(*reason));
        kmem__ledger_row__init(reason);
        reason->key = reply_string(reply, from->reason, strlen(from->reason));
        reason->n_blocks = from->n_blocks;
        reason->num_bytes = from->num_bytes;
        reason->oldest_ms = tick_age_ms(from->oldest, obituary->ended);
        row->rows[row->n_rows++] = reason;
    }
}

/* Who holds the largest block that lives on; figures only if there is one. */
static void obituary_kept(const struct obituary_kept *kept, struct reply *reply,
                          Kmem__Obituary *row)
{
    static const Kmem__HolderKind kinds[] = {
        [KEPT_BY_PROCESS] = KMEM__HOLDER_KIND__HOLDER_HOLDS,
        [KEPT_BY_NAME] = KMEM__HOLDER_KIND__HOLDER_NAME,
        [KEPT_BY_OFFER] = KMEM__HOLDER_KIND__HOLDER_OFFER,
    };
    if (kept->n_blocks > 0) {
        row->n_kept = kept->n_blocks;
        row->kept_bytes = kept->num_bytes;
        row->largest_kept_bytes = kept->largest_bytes;
        row->kept_by_kind = kinds[kept->kept_by];
        row->kept_by_pid = kept->pid;
        row->kept_by = reply_string(reply, kept->text, strlen(kept->text));
    }
}

static size_t obituary_text_bytes(const struct obituary *obituary)
{
    size_t n_bytes = strlen(obituary->identity.command);
    n_bytes += obituary->kept.n_blocks > 0 ? strlen(obituary->kept.text) + REPLY_ROW_BYTES : 0;
    for (uint32_t i = 0; i < obituary->n_rows; i++) {
        n_bytes += strlen(obituary->rows[i].reason) + REPLY_ROW_BYTES;
    }
    return n_bytes;
}

static Kmem__Obituary *obituary_row(const struct obituary *obituary, uint32_t now,
                                    struct reply *reply)
{
    const struct client_identity *identity = &obituary->identity;
    Kmem__Obituary *row = reply_take(reply, sizeof(*row));
    kmem__obituary__init(row);
    row->number = obituary->number;
    row->pid = identity->pid;
    row->uid = identity->uid;
    row->command = reply_string(reply, identity->command, strlen(identity->command));
    row->left = obituary->left;
    row->lived_ms = tick_age_ms(obituary->born, obituary->ended);
    row->ended_ms_ago = tick_age_ms(obituary->ended, now);
    row->n_blocks = obituary->n_blocks;
    row->num_bytes = obituary->num_bytes;
    row->peak_bytes = obituary->peak_bytes;
    row->peak_used_bytes = obituary->peak_used_bytes;
    row->n_reasons = obituary->n_reasons;
    obituary_reasons(obituary, reply, row);
    obituary_kept(&obituary->kept, reply, row);
    return row;
}

void report_obituaries(const struct core *core, uint64_t from_number, uint64_t now_ms,
                       struct reply *reply)
{
    const uint32_t now = core_tick(core, now_ms);
    Kmem__ObituariesReport *report = &reply->body.obituaries;
    kmem__obituaries_report__init(report);
    report->obituaries = reply_take(reply, REPLY_ROWS_MAX * sizeof(Kmem__Obituary *));
    const struct obituary *obituary = obituaries_next(&core->obituaries, from_number);
    while (obituary && report->n_obituaries < REPLY_ROWS_MAX &&
           reply_row_fits(reply, obituary_text_bytes(obituary))) {
        report->obituaries[report->n_obituaries++] = obituary_row(obituary, now, reply);
        obituary = obituaries_next(&core->obituaries, obituary->number + 1);
    }
    report->more = obituary != NULL;
    report->next_number = obituary ? obituary->number : 0;
    reply->response.body_case = KMEM__RESPONSE__BODY_OBITUARIES;
    reply->response.obituaries = report;
}

/* -------------------------------------------------------------------------------------- held -- */

struct held report_held(const struct core *core)
{
    struct held held = {
        .n_blocks = core->direct.n_blocks,
        .direct_bytes = core->direct.used_bytes,
    };
    struct block_iter iter;
    struct block block;
    block_iter_init(&iter, core, BLOCKS_LEASED, (struct seg_off){0}, HELD_BUDGET);
    while (block_iter_next(&iter, &block)) {
        held.n_blocks++;
        held.leased_bytes += block.num_bytes;
    }
    held.is_all = block_iter_position(&iter).bytes == 0;
    return held;
}

/* ----------------------------------------------------------------------------------- joining -- */

/* With the user's number, and the segment's name. */
static const char *role_refusal(int why)
{
    switch (why) {
    case CLIENTS_E_NO_READERS:
        return "user %u can not join segment \"%s\" for reading: kmemd was started with "
               "--readers=none; join as a member";
    case CLIENTS_E_NO_ROLE:
        return "user %u has no role in segment \"%s\" any more, and this process is no client that "
               "comes back; --group, members, reader-users and observers name those that have one";
    case CLIENTS_E_ONLY_READS:
        return "user %u may join segment \"%s\" for reading only, by --reader-group or "
               "reader-users; set KMEM_ROLE=reader, or call kmem_join_as_reader() first; --group "
               "and members name those that may allocate";
    case CLIENTS_E_ONLY_OBSERVES:
        return "user %u is an observer of segment \"%s\", which asks, as kmemctl does, and has no "
               "memory of it; --reader-group and reader-users name those that may attach blocks "
               "for reading, --group and members those that may allocate";
    case CLIENTS_E_UNWALLED:
        return "a reader of user %u has no wall in segment \"%s\": that user is root, or "
               "kmemd's, or a member's, and kmemd was started with --readers=walled; run the "
               "reader as another user";
    default:
        return "user %u has a reader in segment \"%s\" whose wall a member of the same user would "
               "break, and kmemd was started with --readers=walled; run the member as another "
               "user, or end the reader";
    }
}

void report_join_refused(const struct core *core, int why, uint32_t uid, struct reply *reply)
{
    switch (why) {
    case CLIENTS_E_ENDING:
        reply_error(reply, KMEM__ERROR_CODE__ERROR_BUSY,
                    "what this process held before is being taken back; try again");
        break;
    case CLIENTS_E_TWICE:
        reply_error(reply, KMEM__ERROR_CODE__ERROR_BUSY,
                    "this process is a client over another connection, which is open; two copies "
                    "of the library in one process, or a forked child with its parent's socket?");
        break;
    case CLIENTS_E_COPIES:
        reply_error(reply, KMEM__ERROR_CODE__ERROR_LIMIT,
                    "%d copies of the library in this process are clients already", COPIES_MAX);
        break;
    case CLIENTS_E_GONE:
        reply_error(reply, KMEM__ERROR_CODE__ERROR_GONE,
                    "this process is no client of segment \"%s\" any more",
                    core->config.segment_name);
        break;
    case CLIENTS_E_LOST:
        reply_error(reply, KMEM__ERROR_CODE__ERROR_GONE,
                    "the ledger of this process was lost with the keeper of segment \"%s\": it "
                    "keeps what it has until it ends, and can have no more",
                    core->config.segment_name);
        break;
    case CLIENTS_E_DENIED:
        reply_error(reply, KMEM__ERROR_CODE__ERROR_DENIED,
                    "the client that this process is has another nonce, or another role");
        break;
    case CLIENTS_E_USER:
        reply_error(
            reply, KMEM__ERROR_CODE__ERROR_LIMIT,
            "user %u has its %u clients in segment \"%s\" already; more are possible with a "
            "larger --clients-per-uid for kmemd",
            uid, core->config.clients_per_uid, core->config.segment_name);
        break;
    case CLIENTS_E_NO_READERS:
    case CLIENTS_E_NO_ROLE:
    case CLIENTS_E_ONLY_READS:
    case CLIENTS_E_ONLY_OBSERVES:
    case CLIENTS_E_UNWALLED:
    case CLIENTS_E_WALL:
        reply_error(reply, KMEM__ERROR_CODE__ERROR_DENIED, role_refusal(why), uid,
                    core->config.segment_name);
        break;
    default:
        reply_error(reply, KMEM__ERROR_CODE__ERROR_LIMIT,
                    "segment \"%s\" has its %u clients already; more are possible with a larger "
                    "RLIMIT_NOFILE for kmemd, up to %u",
                    core->config.segment_name, core->config.clients_limit, CLIENTS_MAX);
        break;
    }
}

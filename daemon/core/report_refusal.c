/* SPDX-License-Identifier: MIT */
/*
 * report_refusal.c - the sentence of a refusal: what there is, who has it, and what would help
 *
 * A refusal costs what an answer costs. So every figure here is one that the server keeps, or adds
 * up over its clients; no block and no run is looked at. They are of this moment. Of another moment
 * may be the holders by reason, which a look at all blocks has found: then their age is told.
 *
 *      free, largest extent   the page table
 *      idle                 sum over clients of (leased - live by the client's own count)
 *      holders by process   what is charged to each: direct blocks, and leased pages
 *      kept by names alone  the blocks that names mean, and no process holds: a look at some names
 *      handed over          what else is charged to `kept`: offers that outlived their senders
 *
 * Advice is given only if it would help: to release, if something is held; to ask for less, if
 * there is something to be had; a larger --size, if a segment can be larger.
 */
#include "daemon/core/report.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "daemon/core/counted.h"
#include "proto/text.h"

/* A reason of control characters, escaped, with its quotes, size and count. */
#define HOLDER_BYTES (4 * REASON_MAX_BYTES + 64)
/* All that is said beside the holders. */
#define PART_BYTES 256

/* A part of the sentence; what is too long is cut. */
struct part {
    char text[SCAN_HOLDERS * HOLDER_BYTES];
    size_t n_bytes;
};

KMEM_PRINTF(2, 3)
static void part_add(struct part *part, const char *format, ...)
{
    char *at = part->text + part->n_bytes;
    va_list arguments;
    va_start(arguments, format);
    const int n = vsnprintf(at, sizeof(part->text) - part->n_bytes, format, arguments);
    va_end(arguments);
    KMEM_ASSERT(n >= 0);
    part->n_bytes += strlen(at);
}

/* "process 4711 (worker)", for a terminal. */
static void part_add_process(struct part *part, const struct client_identity *identity)
{
    char pid[PID_TEXT_BYTES];
    char command[4 * COMMAND_BYTES];
    (void)text_escape(identity->command, strlen(identity->command), command,
                      sizeof(command)); /* its buffer */
    part_add(part, "process %s (%s)", client_pid_text(identity->pid, pid), command);
}

/* ---------------------------------------------------------------------------------- holders -- */

static void holders_by_reason(const struct scan_holders *holders, uint64_t age_ms,
                              struct part *part)
{
    if (age_ms >= 1000) {
        part_add(part, " as of %llu.%llu s ago", (unsigned long long)(age_ms / 1000),
                 (unsigned long long)(age_ms % 1000 / 100));
    } else if (age_ms > 0) {
        part_add(part, " as of %llu ms ago", (unsigned long long)age_ms);
    }
    part_add(part, ":");
    for (uint32_t i = 0; i < holders->n_holders; i++) {
        const char *text = holders->holders[i].reason;
        const uint64_t n_blocks = holders->holders[i].n_blocks;
        char reason[4 * REASON_MAX_BYTES + 1];
        char size[TEXT_BYTES_MAX];
        (void)text_escape(text, strlen(text), reason, sizeof(reason)); /* its buffer */
        part_add(part, "%s \"%s\" %s in %llu block%s", i == 0 ? "" : ",", reason,
                 text_format_bytes(holders->holders[i].num_bytes, size, sizeof(size)),
                 (unsigned long long)n_blocks, n_blocks == 1 ? "" : "s");
    }
}

struct by_process {
    const struct client *clients[SCAN_HOLDERS];
    uint32_t n_clients;
};

/* Puts a client among those with the most bytes, if it is one of them. */
static void by_process_add(struct by_process *most, const struct client *client)
{
    const uint64_t num_bytes = client_charged_bytes(client);
    uint32_t at = most->n_clients;
    while (at > 0 && client_charged_bytes(most->clients[at - 1]) < num_bytes) {
        at--;
    }
    if (num_bytes == 0 || at == SCAN_HOLDERS) {
        return;
    }
    most->n_clients += most->n_clients < SCAN_HOLDERS;
    memmove(&most->clients[at + 1], &most->clients[at],
            (most->n_clients - 1 - at) * sizeof(most->clients[0]));
    most->clients[at] = client;
}

static void holders_by_process(const struct core *core, struct part *part)
{
    struct by_process most = {.n_clients = 0};
    const struct client *client = clients_next(&core->clients, 0);
    for (; client; client = clients_next(&core->clients, client->slot + 1)) {
        by_process_add(&most, client);
    }
    part_add(part, most.n_clients > 0 ? "; largest holders, by process:" : "");
    for (uint32_t i = 0; i < most.n_clients; i++) {
        char size[TEXT_BYTES_MAX];
        part_add(part, "%s ", i == 0 ? "" : ",");
        part_add_process(part, &most.clients[i]->identity);
        part_add(part, " %s",
                 text_format_bytes(client_charged_bytes(most.clients[i]), size, sizeof(size)));
    }
}

/* ------------------------------------------------------------------------------------- kept -- */

/* 256: some 5 us. With many more a refusal were longer than two round trips; with fewer, "at least"
   were said of a dozen cameras. */
#define KEPT_NAMES_MAX 256

/* Shared blocks that no process holds. */
struct kept {
    bool is_all; /* else there may be more under other names, and offers are not told from them */
    uint64_t by_names_bytes;  /* direct and leased ones */
    uint64_t published_bytes; /* direct ones of those, that are charged to who published them */
    uint64_t offered_bytes;
    uint32_t name; /* that keeps the largest of them; NAME_NONE: none does */
};

static bool is_kept_by_names_alone(const struct shares *shares, uint32_t share)
{
    return ((shares_word(shares, share) & SHARE_OFFERED) | shares_n_holders(shares, share)) == 0;
}

static struct kept kept_count(const struct core *core)
{
    const struct names *names = &core->names;
    struct kept kept = {.name = NAME_NONE};
    if (core->clients.kept->n_blocks == 0 && names->n_names == 0) {
        return kept;
    }
    uint64_t seen[SHARES_MAX / 64 + 1]; /* a bit for each share: several names may mean one */
    uint64_t ended_bytes = 0;
    uint64_t most_bytes = 0;
    uint32_t n_looked = 0;
    uint32_t name = names_next(names, 0);
    memset(seen, 0, name != NAME_NONE ? sizeof(seen) : 0);
    for (; name != NAME_NONE && n_looked < KEPT_NAMES_MAX; name = names_next(names, name + 1)) {
        n_looked++;
        const uint32_t share = names_share(names, name);
        const uint64_t bit = UINT64_C(1) << share % 64;
        if ((seen[share / 64] & bit) != 0 || !is_kept_by_names_alone(&core->shares, share)) {
            continue;
        }
        const uint64_t num_bytes = shares_record(&core->shares, share)->num_bytes;
        seen[share / 64] |= bit;
        kept.by_names_bytes += num_bytes;
        if ((shares_word(&core->shares, share) & SHARE_LEASED) == 0) {
            *(names_publisher(names, share) != SLOT_NONE ? &kept.published_bytes : &ended_bytes) +=
                num_bytes;
        }
        if (num_bytes > most_bytes) {
            most_bytes = num_bytes;
            kept.name = name;
        }
    }
    const uint64_t charged_bytes = core->clients.kept->num_bytes;
    kept.is_all = name == NAME_NONE;
    kept.offered_bytes =
        kept.is_all && charged_bytes > ended_bytes ? charged_bytes - ended_bytes : 0;
    return kept;
}

static void kept_add(const struct core *core, const struct kept *kept, struct part *part)
{
    char size[TEXT_BYTES_MAX];
    if (kept->name != NAME_NONE) {
        const struct state_name *record = names_record(&core->names, kept->name);
        const uint32_t share = names_share(&core->names, kept->name);
        char name[4 * SHARE_NAME_MAX_BYTES + 1];
        (void)text_escape(record->bytes, record->n_bytes, name, sizeof(name)); /* its buffer */
        part_add(part, "; %s%s are kept by names alone", kept->is_all ? "" : "at least ",
                 text_format_bytes(kept->by_names_bytes, size, sizeof(size)));
        part_add(
            part, ", the largest block (%s) by \"%s\"",
            text_format_bytes(shares_record(&core->shares, share)->num_bytes, size, sizeof(size)),
            name);
    }
    if (kept->offered_bytes > 0) {
        part_add(part,
                 "; %s were handed over by processes that have ended, and no process has "
                 "attached them",
                 text_format_bytes(kept->offered_bytes, size, sizeof(size)));
    }
}

/* ------------------------------------------------------------------------------------- idle -- */

/* Memory in which no block is live, by the account of the clients that have leased it. */
struct idle {
    uint64_t num_bytes;
    const struct client *most; /* the client with the most of it; NULL: there is none */
    uint64_t most_bytes;
};

/* What the client has by lease beside its live blocks: rounding, and what slabs have left. */
static uint64_t client_idle_bytes(const struct client *client)
{
    const uint64_t leased_bytes = client->leased_pages << PAGE_SHIFT;
    const uint64_t live_bytes = counted_live_bytes(client);
    const uint64_t leased_live_bytes =
        live_bytes > client->num_bytes ? live_bytes - client->num_bytes : 0;
    return leased_bytes > leased_live_bytes ? leased_bytes - leased_live_bytes : 0;
}

static struct idle idle_count(const struct core *core)
{
    struct idle idle = {0};
    const struct client *client = clients_next(&core->clients, 0);
    for (; client; client = clients_next(&core->clients, client->slot + 1)) {
        const uint64_t num_bytes = client->counts || client->lost ? client_idle_bytes(client) : 0;
        idle.num_bytes += num_bytes;
        if (num_bytes > idle.most_bytes) {
            idle.most = client;
            idle.most_bytes = num_bytes;
        }
    }
    return idle;
}

/* Why nothing that is in a client's slabs can be taken from it; NULL: it can. */
static const char *idle_is_out_of_reach(const struct core *core, const struct client *client)
{
    if (!client->states) {
        return "its ledger was lost";
    }
    return reclaim_reaches(&core->reclaim, client) ? NULL : "the system denies it membarrier()";
}

/* Return: the process that keeps what can not be had; NULL: there is none. */
static const struct client *idle_add(const struct core *core, struct part *part)
{
    const struct idle idle = idle_count(core);
    char size[TEXT_BYTES_MAX];
    if (idle.num_bytes == 0) {
        return NULL;
    }
    part_add(part, ", %s leased without a live byte",
             text_format_bytes(idle.num_bytes, size, sizeof(size)));
    const char *why = idle.most_bytes >= PAGE_BYTES ? idle_is_out_of_reach(core, idle.most) : NULL;
    if (!why) {
        return NULL;
    }
    part_add(part, " (");
    part_add_process(part, &idle.most->identity);
    part_add(part, " keeps %s of it: %s)", text_format_bytes(idle.most_bytes, size, sizeof(size)),
             why);
    return idle.most;
}

/* ----------------------------------------------------------------------------------- advice -- */

#define ADVICE_MAX 5
struct advice {
    char items[ADVICE_MAX][PART_BYTES];
    uint32_t n_items;
};

KMEM_PRINTF(2, 3)
static void advice_add(struct advice *advice, const char *format, ...)
{
    va_list arguments;
    KMEM_ASSERT(advice->n_items < ADVICE_MAX);
    va_start(arguments, format);
    (void)vsnprintf(advice->items[advice->n_items++], PART_BYTES, format, arguments); /* or cut */
    va_end(arguments);
}

/* "a", "a, or b", "a, b, or c". */
static void advice_write(const struct advice *advice, struct part *part)
{
    for (uint32_t i = 0; i < advice->n_items; i++) {
        const bool is_last = i + 1 == advice->n_items;
        part_add(part, "%s%s", i == 0 ? "" : is_last ? ", or " : ", ", advice->items[i]);
    }
}

/*
 * A size that may be asked for: never more than there is, as rounding to the nearest tenth would
 * make of half of all sizes.
 */
static const char *format_at_most(uint64_t num_bytes, char *buffer, size_t buffer_bytes)
{
    uint64_t unit_bytes = 1;
    uint64_t told_bytes = 0;
    while (num_bytes / unit_bytes >= 1024) {
        unit_bytes *= 1024;
    }
    (void)text_format_bytes(num_bytes, buffer, buffer_bytes); /* its buffer */
    const int r = text_parse_bytes(buffer, &told_bytes);
    KMEM_ASSERT(r == 0);
    return told_bytes > num_bytes
               ? text_format_bytes(num_bytes - unit_bytes / 20, buffer, buffer_bytes)
               : buffer;
}

static void advice_of_size(const struct core *core, struct advice *advice)
{
    if (core_segment_bytes(core) < core_most_bytes(core)) {
        char most[TEXT_BYTES_MAX];
        advice_add(advice, "let the segment grow, up to %s: kmemctl resize",
                   text_format_bytes(core_most_bytes(core), most, sizeof(most)));
    } else if (core_segment_bytes(core) < SEGMENT_MAX_BYTES) {
        advice_add(advice, "start kmemd with a larger --size");
    }
}

/* Whether a process has something, which it could release. */
static bool is_held(const struct core *core, const struct kept *kept)
{
    return core->direct.used_bytes > core->clients.kept->num_bytes + kept->published_bytes ||
           core->leases.n_pages > 0;
}

/* What would make room for num_bytes. */
static void advise(const struct core *core, uint64_t num_bytes, const struct client *keeper,
                   const struct kept *kept, struct part *part)
{
    struct advice advice = {.n_items = 0};
    char size[TEXT_BYTES_MAX];
    const uint64_t most_bytes = core_segment_bytes(core) - PAGE_BYTES;
    const uint64_t extent_bytes = core_largest_extent_bytes(core);
    if (num_bytes > most_bytes) {
        part_add(part, "; no more than %s can be had in a segment of this size",
                 format_at_most(most_bytes, size, sizeof(size)));
        advice_of_size(core, &advice);
        part_add(part, advice.n_items > 0 ? ": " : "");
        advice_write(&advice, part);
        return;
    }
    const bool is_scattered = core_free_bytes(core) >= num_bytes;
    part_add(part, "; %s", is_scattered ? "enough is free, but not in one piece: " : "");
    if (is_scattered && extent_bytes > 0) {
        advice_add(&advice, "ask for %s at most", format_at_most(extent_bytes, size, sizeof(size)));
    }
    if (is_held(core, kept)) {
        advice_add(&advice, is_scattered ? "release what lies between" : "release some of it");
    }
    if (kept->by_names_bytes > 0) {
        advice_add(&advice, "unpublish names");
    }
    if (keeper) {
        char pid[PID_TEXT_BYTES];
        advice_add(&advice, "end process %s", client_pid_text(keeper->identity.pid, pid));
    }
    advice_of_size(core, &advice);
    advice_write(&advice, part);
}

/* -------------------------------------------------------------------------------- sentences -- */

void report_no_room(const struct core *core, const struct scan_holders *holders,
                    uint64_t holders_age_ms, uint64_t num_bytes, struct reply *reply)
{
    char asked[TEXT_BYTES_MAX];
    char free_text[TEXT_BYTES_MAX];
    char extent[TEXT_BYTES_MAX];
    char all[TEXT_BYTES_MAX];
    struct part idle = {.n_bytes = 0};
    struct part names = {.n_bytes = 0};
    struct part advice = {.n_bytes = 0};
    struct part shared = {.n_bytes = 0};
    const struct kept kept = kept_count(core);
    kept_add(core, &kept, &shared);
    const struct client *keeper = idle_add(core, &idle);
    advise(core, num_bytes, keeper, &kept, &advice);
    if (holders && holders->n_holders > 0) {
        part_add(&names, "; largest holders");
        holders_by_reason(holders, holders_age_ms, &names);
    } else if (!holders) {
        holders_by_process(core, &names);
    }
    reply_error(reply, KMEM__ERROR_CODE__ERROR_NO_MEMORY,
                "no room for %s in segment \"%s\": %s of %s free, largest extent %s%s%s%s%s",
                text_format_bytes(num_bytes, asked, sizeof(asked)), core->config.segment_name,
                text_format_bytes(core_free_bytes(core), free_text, sizeof(free_text)),
                text_format_bytes(core_segment_bytes(core), all, sizeof(all)),
                text_format_bytes(core_largest_extent_bytes(core), extent, sizeof(extent)),
                idle.text, names.text, shared.text, advice.text);
}

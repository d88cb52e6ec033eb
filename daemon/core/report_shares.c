/* SPDX-License-Identifier: MIT */
/*
 * report_shares.c - from records of shares, holds and names to responses
 *
 * What keeps a block has a row: its owner, who offers it, each name, each holder. Between two pages
 * of an answer holds come and go, and a block may have thousands. So the place in it where the next
 * page begins is no place on a chain, but a number that a holder has as long as it is one:
 *
 *      0: the owner · 1 + record of a name · NAMES_END + slot of a holder
 *
 * Names and holders are told in the order of that number. Whoever keeps a block while all pages are
 * asked for is told once, and nobody twice.
 */
#include "daemon/core/report_shares.h"

#include <string.h>

#include "daemon/core/tick.h"
#include "proto/limits.h"

#define NAMES_END (1 + SHARE_NAMES_MAX)
#define HOLDERS_END (NAMES_END + CLIENTS_MAX)

/* Names by the shares that they lead to, for one report: 72 KiB. */
#define SHARE_BUCKETS 4096
static_assert(SHARE_NAMES_MAX < UINT16_MAX, "1 + a record fits");

struct names_of {
    uint16_t first[SHARE_BUCKETS];  /* 1 + a record; 0: none. In their order */
    uint16_t next[SHARE_NAMES_MAX]; /* likewise */
};

static void names_collect(struct names_of *of, const struct names *names)
{
    memset(of->first, 0, sizeof(of->first));
    for (uint32_t name = names->n_records; name-- > 0;) {
        if (names_next(names, name) == name) {
            uint16_t *first = &of->first[names_share(names, name) % SHARE_BUCKETS];
            of->next[name] = *first;
            *first = (uint16_t)(1 + name);
        }
    }
}

/* -------------------------------------------------------------------------------------- rows -- */

/* A report that is being made. */
struct holders_report {
    const struct core *core;
    struct reply *reply;
    uint32_t now; /* tick */
    struct names_of names;
    uint32_t share;     /* the one whose rows are made */
    const char *reason; /* its block's */
    size_t n_reason_bytes;
};

/* What is different in each row. */
struct row {
    Kmem__HolderKind kind;
    uint32_t slot; /* SLOT_NONE: of nobody that lives */
    uint32_t uid;  /* of that, or of the process that was it */
    const char *reason;
    size_t n_reason_bytes;
    uint32_t born;
    bool write;
};

static const struct client_identity *identity_of(const struct core *core, uint32_t slot)
{
    static const struct client_identity nobody = {.pid = 0};
    return slot == SLOT_NONE ? &nobody : &clients_get(&core->clients, slot)->identity;
}

/* Return: whether there was room. */
static bool row_add(struct holders_report *report, const struct row *from)
{
    struct reply *reply = report->reply;
    Kmem__HoldersReport *body = &reply->body.holders;
    const struct client_identity *who = identity_of(report->core, from->slot);
    const size_t n_command_bytes = strlen(who->command);
    if (body->n_holders == REPLY_ROWS_MAX ||
        !reply_row_fits(reply, n_command_bytes + from->n_reason_bytes + report->n_reason_bytes)) {
        return false;
    }
    const struct state_share *record = shares_record(&report->core->shares, report->share);
    Kmem__Holder *row = reply_take(reply, sizeof(*row));
    kmem__holder__init(row);
    row->offset = record->offset;
    row->num_bytes = record->num_bytes;
    row->generation = record->generation;
    row->block_reason = reply_string(reply, report->reason, report->n_reason_bytes);
    row->pid = who->pid;
    row->uid = from->uid;
    row->command = reply_string(reply, who->command, n_command_bytes);
    row->reason = reply_string(reply, from->reason, from->n_reason_bytes);
    row->age_ms = tick_age_ms(from->born, report->now);
    row->write = from->write;
    row->kind = from->kind;
    body->holders[body->n_holders++] = row;
    return true;
}

/* Who offers a share: its owner, or a client that was handed it before, and has GIVEN it. */
static uint32_t offerer_of(const struct shares *shares, uint32_t share)
{
    const uint32_t hold = shares_holds_first(shares, share);
    return hold != 0 ? HOLD_SLOT(shares_hold_word(shares, hold))
                     : SHARE_OWNER(shares_word(shares, share));
}

static bool owner_add(struct holders_report *report)
{
    const struct shares *shares = &report->core->shares;
    const uint64_t word = shares_word(shares, report->share);
    if ((word & (SHARE_OWNER_HOLDS | SHARE_OFFERED)) == 0) {
        return true;
    }
    const uint32_t slot =
        (word & SHARE_OFFERED) != 0 ? offerer_of(shares, report->share) : SHARE_OWNER(word);
    const struct row row = {
        .kind = (word & SHARE_OFFERED) != 0 ? KMEM__HOLDER_KIND__HOLDER_OFFER
                                            : KMEM__HOLDER_KIND__HOLDER_OWNER,
        .slot = slot,
        .uid = identity_of(report->core, slot)->uid,
        .reason = report->reason,
        .n_reason_bytes = report->n_reason_bytes,
        .born = shares_record(shares, report->share)->born,
        .write = true,
    };
    return row_add(report, &row);
}

/* Return: where it stopped for want of room; NAMES_END: all that there are. */
static uint32_t names_add(struct holders_report *report, uint32_t from)
{
    const struct names *names = &report->core->names;
    uint32_t at = report->names.first[report->share % SHARE_BUCKETS];
    for (; at != 0; at = report->names.next[at - 1]) {
        const uint32_t name = at - 1;
        if (at < from || names_share(names, name) != report->share) {
            continue;
        }
        const struct state_name *record = names_record(names, name);
        const struct row row = {
            .kind = KMEM__HOLDER_KIND__HOLDER_NAME,
            .slot = names_owner(names, name),
            .uid = names_uid(names, name),
            .reason = record->bytes,
            .n_reason_bytes = record->n_bytes,
            .born = report->now,
        };
        if (!row_add(report, &row)) {
            return at;
        }
    }
    return NAMES_END;
}

/* Return: where it stopped for want of room; HOLDERS_END: all that there are. */
static uint32_t holds_add(struct holders_report *report, uint32_t from_slot)
{
    const struct shares *shares = &report->core->shares;
    uint32_t by_slot[CLIENTS_MAX]; /* a client holds a block once */
    uint32_t end = 0;
    if (shares_n_holds(shares, report->share) == 0) {
        return HOLDERS_END; /* of many on their way home none has a row, and this is 16 KiB */
    }
    memset(by_slot, 0, sizeof(by_slot));
    for (uint32_t hold = shares_holds_first(shares, report->share); hold != 0;
         hold = shares_holds_next(shares, hold)) {
        const uint64_t word = shares_hold_word(shares, hold);
        const uint32_t slot = HOLD_SLOT(word);
        by_slot[slot] = (word & HOLD_GIVEN) != 0 ? 0 : hold; /* that is an offer */
        end = slot >= end ? slot + 1 : end;
    }
    for (uint32_t slot = from_slot; slot < end; slot++) {
        const uint32_t hold = by_slot[slot];
        if (hold == 0) {
            continue;
        }
        const struct state_hold *record = shares_hold_record(shares, hold);
        const uint64_t word = shares_hold_word(shares, hold);
        struct row row = {
            .kind = KMEM__HOLDER_KIND__HOLDER_HOLDS,
            .slot = slot,
            .uid = identity_of(report->core, slot)->uid,
            .born = record->born,
            .write = (word & HOLD_WRITE) != 0,
        };
        row.reason = reasons_text(&report->core->reasons, record->reason, &row.n_reason_bytes);
        if (!row_add(report, &row)) {
            return NAMES_END + slot;
        }
    }
    return HOLDERS_END;
}

/* The rows of one share, from a place in it on. Return: where it stopped; HOLDERS_END: all. */
static uint32_t share_add(struct holders_report *report, uint32_t share, uint32_t from)
{
    const struct state_share *record = shares_record(&report->core->shares, share);
    report->share = share;
    report->reason = reasons_text(&report->core->reasons, record->reason, &report->n_reason_bytes);
    if (from == 0 && !owner_add(report)) {
        return 0;
    }
    if (from < NAMES_END) {
        const uint32_t at = names_add(report, from);
        if (at < NAMES_END) {
            return at;
        }
    }
    return holds_add(report, from > NAMES_END ? from - NAMES_END : 0);
}

/* The share from which a report goes on; 0: there is none. */
static uint32_t share_from(const struct core *core, const struct holders_page *from)
{
    const struct shares *shares = &core->shares;
    if (from->offset.bytes == 0) {
        return from->share < shares->n_share_records ? shares_next(shares, from->share) : 0;
    }
    const uint32_t share = shares_at(shares, from->offset);
    return from->share <= share ? share : 0;
}

void report_holders(const struct core *core, const struct holders_page *from, uint64_t now_ms,
                    struct reply *reply)
{
    struct holders_report report = {
        .core = core,
        .reply = reply,
        .now = core_tick(core, now_ms),
    };
    Kmem__HoldersReport *body = &reply->body.holders;
    kmem__holders_report__init(body);
    body->holders = reply_take(reply, REPLY_ROWS_MAX * sizeof(Kmem__Holder *));
    names_collect(&report.names, &core->names);
    uint32_t share = share_from(core, from);
    uint32_t at = share == from->share ? from->holder : 0;
    while (share != 0 && !body->more) {
        at = share_add(&report, share, at);
        if (at < HOLDERS_END) {
            body->more = true;
            body->next_share = share;
            body->next_holder = at;
        } else {
            at = 0;
            share = from->offset.bytes == 0 ? shares_next(&core->shares, share + 1) : 0;
        }
    }
    reply->response.body_case = KMEM__RESPONSE__BODY_HOLDERS;
    reply->response.holders = body;
}

/* ------------------------------------------------------------------------------------- names -- */

/* Return: whether there was room. */
static bool name_add(const struct core *core, uint32_t name, struct reply *reply)
{
    Kmem__NamesReport *body = &reply->body.names;
    const struct state_name *record = names_record(&core->names, name);
    const uint32_t share = names_share(&core->names, name);
    const struct state_share *block = shares_record(&core->shares, share);
    const struct client_identity *who = identity_of(core, names_owner(&core->names, name));
    const size_t n_command_bytes = strlen(who->command);
    size_t n_reason_bytes;
    const char *reason = reasons_text(&core->reasons, block->reason, &n_reason_bytes);
    if (body->n_names == REPLY_ROWS_MAX ||
        !reply_row_fits(reply, record->n_bytes + n_command_bytes + n_reason_bytes)) {
        return false;
    }
    Kmem__Name *row = reply_take(reply, sizeof(*row));
    kmem__name__init(row);
    row->name = reply_string(reply, record->bytes, record->n_bytes);
    row->version = names_version_of(&core->names, name);
    row->offset = block->offset;
    row->num_bytes = block->num_bytes;
    row->block_reason = reply_string(reply, reason, n_reason_bytes);
    row->pid = who->pid;
    row->uid = names_uid(&core->names, name);
    row->command = reply_string(reply, who->command, n_command_bytes);
    row->keep = names_keep(&core->names, name);
    row->n_holders = shares_n_holders(&core->shares, share);
    body->names[body->n_names++] = row;
    return true;
}

void report_names(const struct core *core, uint32_t from_name, struct reply *reply)
{
    Kmem__NamesReport *body = &reply->body.names;
    kmem__names_report__init(body);
    body->names = reply_take(reply, REPLY_ROWS_MAX * sizeof(Kmem__Name *));
    uint32_t name = names_next(&core->names, from_name);
    while (name != NAME_NONE && name_add(core, name, reply)) {
        name = names_next(&core->names, name + 1);
    }
    body->more = name != NAME_NONE;
    body->next_name = body->more ? name : 0;
    reply->response.body_case = KMEM__RESPONSE__BODY_NAMES;
    reply->response.names = body;
}

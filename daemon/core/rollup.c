/* SPDX-License-Identifier: MIT */
/*
 * rollup.c - two steps from a block to its row
 *
 * A table of links finds the row of nearly every block by its ids: a million blocks seldom have
 * more than some hundred reasons. The first block of an id goes through the index, a table by text,
 * where reasons that differ in their detail alone, and clients of one user, meet in one row.
 *
 * The tables begin small and double, for a thousand obituaries may be in the making at once, which
 * share a purse. To double the largest moves 100,000 links: the longest step of all.
 */
#include "daemon/core/rollup.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/core/ranking.h"
#include "daemon/core/rollup_ranges.h"
#include "daemon/core/rollup_rows.h"
#include "daemon/core/tick.h"

#define OTHER_CLIENTS "<other clients>"
#define OTHER_USERS "<other users>"
#define OTHER_UNITS "<other units>"
/* Twice the clients there can be at once: they come and go while they are counted. */
#define CLIENT_GROUPS (2 * (uint32_t)CLIENTS_MAX)
/* Entries of a table that is new. */
#define TABLE_FIRST 32
/* A new row is a copy, two searches and, now and then, a chunk: some 50 ns. */
#define ROW_COST 4

/* key: an id with its generation; see link_key(). */
struct link {
    uint64_t key;
    struct rollup_row *row; /* NULL: the place is free */
};

/* Slots of clients, and behind them one for the daemon's own table. */
#define KEY_SLOT_BITS 13
#define KEY_ID_BITS 17
static_assert(CLIENTS_MAX < 1 << KEY_SLOT_BITS, "a slot, or CLIENTS_MAX for the daemon's own");
static_assert(REASONS_MAX <= 1 << KEY_ID_BITS, "an id of the daemon's own table");
static_assert(LEDGER_REASONS_MAX < 1 << KEY_ID_BITS, "an id of a client's table, or beyond it");

/* What one client's reasons have taken. */
struct share {
    uint32_t n_groups;
    uint32_t n_links;
};

struct rollup {
    enum rollup_by by;
    uint32_t now; /* by age */
    struct rollup_tables tables;
    struct rollup_purse *purse;
    struct rollup_purse own;
    struct rollup_purse taken; /* out of the purse */
    struct share all;          /* taken by all but those of `shares` */
    struct share *shares;      /* by slot; NULL: the purse is shared, or no client told anything */
    struct rollup_rows rows;
    struct link *links; /* at most three quarters full */
    uint32_t links_max;
    uint32_t n_links;
    struct rollup_row *other;
    struct ranking ranking; /* of the rows, once it is sorted */
    bool is_sorting;
    bool is_sorted;
    uint64_t spent;
    uint64_t n_bytes;
    struct rollup_ages *ages; /* one for each row, by its number; NULL: they are not kept */
};

void rollup_purse_init(struct rollup_purse *purse)
{
    *purse = (struct rollup_purse){
        .n_groups = ROLLUP_GROUPS,
        .n_unverified_groups = ROLLUP_UNVERIFIED_GROUPS,
        .n_links = ROLLUP_LINKS,
    };
}

struct rollup *rollup_new(enum rollup_by by, const struct rollup_tables *tables,
                          struct rollup_purse *purse)
{
    struct rollup *rollup = calloc(1, sizeof(*rollup));
    if (!rollup) {
        return NULL;
    }
    *rollup = (struct rollup){.by = by, .tables = *tables, .n_bytes = sizeof(*rollup)};
    rollup_rows_init(&rollup->rows, tables->reasons->state->header->instance);
    rollup_purse_init(&rollup->own);
    if (by == ROLLUP_BY_CLIENT || by == ROLLUP_BY_UID || by == ROLLUP_BY_UNIT) {
        rollup->own = (struct rollup_purse){.n_groups = CLIENT_GROUPS, .n_links = CLIENT_GROUPS};
    }
    rollup->purse = purse ? purse : &rollup->own;
    return rollup;
}

void rollup_age_from(struct rollup *rollup, uint32_t now)
{
    rollup->now = now;
}

int rollup_keep_ages(struct rollup *rollup)
{
    KMEM_ASSERT(rollup->by == ROLLUP_BY_REASON);
    rollup->ages = calloc(2 * ROLLUP_AGED_GROUPS + 1, sizeof(*rollup->ages));
    rollup->own.n_groups = ROLLUP_AGED_GROUPS;
    rollup->own.n_unverified_groups = ROLLUP_AGED_GROUPS;
    return rollup->ages ? 0 : -ENOMEM;
}

static void tables_free(struct rollup *rollup)
{
    rollup->n_bytes -= rollup->links_max * sizeof(*rollup->links);
    rollup->links_max = 0;
    free(rollup->links);
    rollup->links = NULL;
    rollup_rows_freeze(&rollup->rows);
}

struct rollup *rollup_free(struct rollup *rollup)
{
    if (!rollup) {
        return NULL;
    }
    rollup->purse->n_groups += rollup->taken.n_groups;
    rollup->purse->n_unverified_groups += rollup->taken.n_unverified_groups;
    rollup->purse->n_links += rollup->taken.n_links;
    tables_free(rollup);
    rollup_rows_fini(&rollup->rows);
    ranking_fini(&rollup->ranking);
    free(rollup->ages);
    free(rollup->shares);
    free(rollup);
    return NULL;
}

/* An array of zeros that counts. */
static void *array_new(struct rollup *rollup, size_t n, size_t n_bytes)
{
    void *array = calloc(n, n_bytes);
    rollup->n_bytes += array ? n * n_bytes : 0;
    return array;
}

/* ------------------------------------------------------------------------------------ names -- */

/* Whether the block's reason is out of its client's own table. */
static bool is_unverified(const struct rollup *rollup, const struct block *block)
{
    return rollup->by == ROLLUP_BY_REASON && block->leased && block->reason > REASON_OTHER;
}

/* A reason's group: its words up to '#'. */
static void name_by_reason(struct rollup *rollup, const struct block *block,
                           struct rollup_name *name)
{
    size_t n_bytes;
    char unverified[REASON_MAX_BYTES];
    const char *text = unverified;
    if (is_unverified(rollup, block)) {
        n_bytes = client_ledger_reason(rollup->tables.client_ledger, block->slot, block->reason,
                                       unverified);
        rollup->spent += CLIENT_LEDGER_READ_COST;
    } else {
        text = reasons_text(rollup->tables.reasons, block->reason, &n_bytes);
    }
    const char *detail = memchr(text, '#', n_bytes);
    if (detail && detail > text) {
        n_bytes = (size_t)(detail - text);
    }
    name->n_bytes = n_bytes;
    memcpy(name->text, text, n_bytes);
}

static void name_by_client(const struct client *client, struct rollup_name *name)
{
    name->uid = client->identity.uid;
    name->pid = client->identity.pid;
    name->n_bytes = strlen(client->identity.command);
    memcpy(name->text, client->identity.command, name->n_bytes);
}

static void name_by_uid(const struct client *client, struct rollup_name *name)
{
    name->uid = client->identity.uid;
    (void)snprintf(name->text, sizeof(name->text), "%u", name->uid); /* fits */
    name->n_bytes = strlen(name->text);
}

static void name_by_unit(const struct client *client, struct rollup_name *name)
{
    static_assert(UNIT_NAME_BYTES <= sizeof(name->text), "it fits");
    const char *unit = client->unit[0] != '\0' ? client->unit : "?";
    name->n_bytes = strlen(unit);
    memcpy(name->text, unit, name->n_bytes);
}

static bool is_by_range(const struct rollup *rollup)
{
    return rollup->by == ROLLUP_BY_SIZE || rollup->by == ROLLUP_BY_AGE;
}

static uint32_t range_of(const struct rollup *rollup, const struct block *block)
{
    return rollup->by == ROLLUP_BY_SIZE
               ? rollup_range_of_size(block->num_bytes)
               : rollup_range_of_age(tick_age_ms(block->born, rollup->now));
}

static void name_by_range(const struct rollup *rollup, uint32_t range, struct rollup_name *name)
{
    const uint64_t limit =
        rollup->by == ROLLUP_BY_SIZE ? rollup_size_most(range) : rollup_age_least(range);
    (void)snprintf(name->text, sizeof(name->text), "%llu", (unsigned long long)limit); /* fits */
    name->n_bytes = strlen(name->text);
}

static void name_of(struct rollup *rollup, const struct block *block, struct rollup_name *name)
{
    *name = (struct rollup_name){.pid = 0};
    if (rollup->by == ROLLUP_BY_REASON) {
        name_by_reason(rollup, block, name);
        return;
    }
    if (is_by_range(rollup)) {
        name_by_range(rollup, range_of(rollup, block), name);
        return;
    }
    const struct client *client = clients_get(rollup->tables.clients, block->slot);
    if (rollup->by == ROLLUP_BY_CLIENT) {
        name_by_client(client, name);
    } else if (rollup->by == ROLLUP_BY_UNIT) {
        name_by_unit(client, name);
    } else {
        name_by_uid(client, name);
    }
}

static void name_other(const struct rollup *rollup, struct rollup_name *name)
{
    static const char *const texts[] = {
        [ROLLUP_BY_REASON] = OTHER_REASONS,
        [ROLLUP_BY_CLIENT] = OTHER_CLIENTS,
        [ROLLUP_BY_UID] = OTHER_USERS,
        [ROLLUP_BY_UNIT] = OTHER_UNITS,
        [ROLLUP_BY_SIZE] = "", /* there are fewer ranges than groups */
        [ROLLUP_BY_AGE] = "",
    };
    *name = (struct rollup_name){.n_bytes = strlen(texts[rollup->by])};
    memcpy(name->text, texts[rollup->by], name->n_bytes);
}

/* ------------------------------------------------------------------------------------- rows -- */

static struct rollup_row *row_add(struct rollup *rollup, const struct rollup_name *name)
{
    const uint64_t n_moved = rollup->rows.n_moved;
    struct rollup_row *row = rollup_rows_add(&rollup->rows, name);
    rollup->spent += ROW_COST + rollup->rows.n_moved - n_moved;
    if (row && rollup->ages) {
        KMEM_ASSERT(rollup->rows.n_rows <= 2 * ROLLUP_AGED_GROUPS + 1);
        row->group.ages = &rollup->ages[rollup->rows.n_rows - 1];
    }
    return row;
}

/* Two clients may have the same name; all else is told apart by it. */
static struct rollup_row *row_find(const struct rollup *rollup, const struct rollup_name *name)
{
    const bool is_client = rollup->by == ROLLUP_BY_CLIENT && name->pid != 0;
    return is_client ? NULL : rollup_rows_find(&rollup->rows, name->text, name->n_bytes);
}

static struct rollup_row *row_other(struct rollup *rollup)
{
    struct rollup_name name;
    if (!rollup->other) {
        name_other(rollup, &name);
        rollup->other = row_find(rollup, &name);
        rollup->other = rollup->other ? rollup->other : row_add(rollup, &name);
    }
    return rollup->other;
}

/* -------------------------------------------------------------------------------- the purse -- */

/*
 * What a block's client has taken of a purse, or this roll-up of one that several share. A block of
 * the daemon's own table takes what is left: that table is bounded, and all of it has room.
 */
static struct share *share_of(struct rollup *rollup, const struct block *block)
{
    if (rollup->purse != &rollup->own || !is_unverified(rollup, block)) {
        return &rollup->all;
    }
    if (!rollup->shares) {
        rollup->shares = array_new(rollup, CLIENTS_MAX, sizeof(*rollup->shares));
    }
    return rollup->shares ? &rollup->shares[block->slot] : &rollup->all;
}

/* Whether one may be taken: there is one, and as many are left as were taken. */
static bool may_take(const struct rollup *rollup, const struct block *block, uint32_t n_taken,
                     uint32_t n_left)
{
    const bool leaves = rollup->purse != &rollup->own || is_unverified(rollup, block);
    return n_left > 0 && (!leaves || n_taken < n_left);
}

static bool may_group(struct rollup *rollup, const struct block *block)
{
    const struct rollup_purse *purse = rollup->purse;
    return may_take(rollup, block, share_of(rollup, block)->n_groups,
                    is_unverified(rollup, block) ? purse->n_unverified_groups : purse->n_groups);
}

static bool may_link(struct rollup *rollup, const struct block *block)
{
    return may_take(rollup, block, share_of(rollup, block)->n_links, rollup->purse->n_links);
}

static void take_group(struct rollup *rollup, const struct block *block)
{
    const bool unverified = is_unverified(rollup, block);
    --*(unverified ? &rollup->purse->n_unverified_groups : &rollup->purse->n_groups);
    ++*(unverified ? &rollup->taken.n_unverified_groups : &rollup->taken.n_groups);
    share_of(rollup, block)->n_groups++;
}

static void take_link(struct rollup *rollup, const struct block *block)
{
    rollup->purse->n_links--;
    rollup->taken.n_links++;
    share_of(rollup, block)->n_links++;
}

/* ------------------------------------------------------------------------------------ links -- */

static uint64_t link_key(const struct rollup *rollup, const struct block *block)
{
    uint64_t slot = block->slot;
    uint64_t id = 0;
    uint32_t generation;
    if (is_by_range(rollup)) {
        slot = CLIENTS_MAX;
        id = range_of(rollup, block);
        generation = 0;
    } else if (rollup->by == ROLLUP_BY_REASON && !is_unverified(rollup, block)) {
        slot = CLIENTS_MAX;
        id = block->reason;
        generation = reasons_generation(rollup->tables.reasons, block->reason);
    } else {
        /* Reasons in a client's table are never replaced while it lives. */
        generation = clients_get(rollup->tables.clients, block->slot)->generation;
    }
    if (is_unverified(rollup, block)) {
        id = block->reason < LEDGER_REASONS_MAX ? block->reason : LEDGER_REASONS_MAX;
    }
    return (uint64_t)generation << (KEY_SLOT_BITS + KEY_ID_BITS) | id << KEY_SLOT_BITS | slot;
}

static struct link *link_at(const struct rollup *rollup, uint64_t key)
{
    /* Fibonacci hashing: the upper bits of the product depend on all bits of the key. */
    uint32_t at = (uint32_t)(key * UINT64_C(0x9e3779b97f4a7c15) >> 32);
    while (true) {
        struct link *link = &rollup->links[at & (rollup->links_max - 1)];
        if (!link->row || link->key == key) {
            return link;
        }
        at++;
    }
}

static int links_reserve(struct rollup *rollup)
{
    if (4 * (rollup->n_links + 1) <= 3 * rollup->links_max) {
        return 0;
    }
    struct link *old = rollup->links;
    const uint32_t old_max = rollup->links_max;
    const uint32_t links_max = old_max == 0 ? 2 * TABLE_FIRST : 2 * old_max;
    struct link *links = array_new(rollup, links_max, sizeof(*links));
    if (!links) {
        return -ENOMEM;
    }
    rollup->links = links;
    rollup->links_max = links_max;
    for (uint32_t i = 0; i < old_max; i++) {
        if (old[i].row) {
            *link_at(rollup, old[i].key) = old[i];
        }
    }
    rollup->n_bytes -= old_max * sizeof(*old);
    rollup->spent += old_max;
    free(old);
    return 0;
}

/* The row of a block whose id was not met before. */
static struct rollup_row *row_find_or_add(struct rollup *rollup, const struct block *block)
{
    struct rollup_name name;
    name_of(rollup, block, &name);
    struct rollup_row *row = row_find(rollup, &name);
    if (row) {
        return row;
    }
    if (!may_group(rollup, block)) {
        return row_other(rollup);
    }
    row = row_add(rollup, &name);
    if (row) {
        take_group(rollup, block);
    }
    return row;
}

static struct rollup_row *row_of(struct rollup *rollup, const struct block *block)
{
    const uint64_t key = link_key(rollup, block);
    if (links_reserve(rollup)) {
        return NULL;
    }
    struct link *link = link_at(rollup, key);
    if (link->row) {
        return link->row;
    }
    if (!may_link(rollup, block)) {
        return row_other(rollup);
    }
    struct rollup_row *row = row_find_or_add(rollup, block);
    if (row) {
        *link = (struct link){key, row};
        rollup->n_links++;
        take_link(rollup, block);
    }
    return row;
}

int rollup_add(struct rollup *rollup, const struct block *block)
{
    KMEM_ASSERT(!rollup->is_sorting);
    struct rollup_row *row = row_of(rollup, block);
    rollup->spent++;
    if (!row) {
        return -ENOMEM;
    }
    struct rollup_group *group = &row->group;
    group->n_blocks++;
    group->num_bytes += block->num_bytes;
    group->oldest = block->born < group->oldest ? block->born : group->oldest;
    if (group->ages) {
        const uint32_t range = rollup_range_of_age(tick_age_ms(block->born, rollup->now));
        group->ages->n_blocks[range]++;
        group->ages->num_bytes[range] += block->num_bytes;
    }
    return 0;
}

int rollup_add_reason(struct rollup *rollup, uint32_t reason, const struct reason_totals *totals)
{
    const struct block block = {.reason = reason};
    KMEM_ASSERT(rollup->by == ROLLUP_BY_REASON);
    struct rollup_row *row = row_of(rollup, &block);
    if (!row) {
        return -ENOMEM;
    }
    row->group.n_blocks += totals->n_blocks;
    row->group.num_bytes += totals->num_bytes;
    return 0;
}

uint64_t rollup_n_other(const struct rollup *rollup)
{
    struct rollup_name name;
    name_other(rollup, &name);
    const struct rollup_row *row = row_find(rollup, &name);
    return row ? row->group.n_blocks : 0;
}

uint64_t rollup_spent(const struct rollup *rollup)
{
    return rollup->spent;
}

uint64_t rollup_bytes(const struct rollup *rollup)
{
    return rollup->n_bytes + rollup->rows.n_bytes;
}

const struct rollup_group *rollup_group_of(const struct rollup *rollup, const struct client *client)
{
    KMEM_ASSERT(rollup->by == ROLLUP_BY_CLIENT);
    KMEM_ASSERT(!rollup->is_sorting);
    const struct block block = {.slot = client->slot};
    const struct link *link =
        rollup->links_max == 0 ? NULL : link_at(rollup, link_key(rollup, &block));
    return link && link->row ? &link->row->group : NULL;
}

const struct rollup_group *rollup_find(const struct rollup *rollup, const char *reason)
{
    KMEM_ASSERT(rollup->by == ROLLUP_BY_REASON);
    KMEM_ASSERT(!rollup->is_sorting);
    const struct rollup_row *row = rollup_rows_find(&rollup->rows, reason, strlen(reason));
    return row ? &row->group : NULL;
}

void rollup_add_released(struct rollup *rollup, const char *reason, const uint32_t *n_by_range)
{
    const struct rollup_row *row = rollup_rows_find(&rollup->rows, reason, strlen(reason));
    KMEM_ASSERT(rollup->ages != NULL); /* so each row has its own */
    for (uint32_t range = 0; row && range < LIFETIME_RANGES; range++) {
        row->group.ages->n_released[range] += n_by_range[range];
    }
}

/* ------------------------------------------------------------------------------------- sort -- */

static bool row_is_before(const void *row, const void *other)
{
    const struct rollup_row *a = row;
    const struct rollup_row *b = other;
    const int by_text = strcmp(a->text, b->text);
    return by_text != 0 ? by_text < 0 : a->group.pid < b->group.pid;
}

static int sort_begin(struct rollup *rollup)
{
    if (ranking_init(&rollup->ranking, rollup->rows.n_rows, row_is_before)) {
        return -ENOMEM;
    }
    rollup->n_bytes += rollup->rows.n_rows * sizeof(struct ranked);
    tables_free(rollup); /* nothing is added any more: what is kept is its rows */
    rollup->is_sorting = true;
    return 0;
}

/* Return: what that cost; 0: the n_first are in their places. */
static uint32_t sort_one(struct rollup *rollup, size_t n_first)
{
    if (rollup->ranking.n_things < rollup->rows.n_rows) {
        const struct rollup_row *row = rollup->rows.rows[rollup->ranking.n_things];
        ranking_add(&rollup->ranking, row->group.num_bytes, row);
        return 1;
    }
    return ranking_step(&rollup->ranking, n_first);
}

int rollup_sort_step(struct rollup *rollup, size_t n_first, uint32_t budget)
{
    if (!rollup->is_sorting) {
        const int r = sort_begin(rollup);
        if (r) {
            return r;
        }
    }
    for (uint64_t spent = 0; spent < budget;) {
        const uint32_t cost = sort_one(rollup, n_first);
        if (cost == 0) {
            rollup->is_sorted = true;
            return 0;
        }
        spent += cost;
    }
    return ROLLUP_E_MORE;
}

bool rollup_is_sorted(const struct rollup *rollup)
{
    return rollup->is_sorted;
}

int rollup_sort(struct rollup *rollup)
{
    int r = ROLLUP_E_MORE;
    while (r == ROLLUP_E_MORE) {
        r = rollup_sort_step(rollup, SIZE_MAX, UINT32_MAX);
    }
    return r;
}

size_t rollup_n_groups(const struct rollup *rollup)
{
    return rollup->rows.n_rows;
}

const struct rollup_group *rollup_group(const struct rollup *rollup, size_t index)
{
    const struct rollup_row *row = ranking_at(&rollup->ranking, index);
    return &row->group;
}

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
#include "daemon/core/rollup_rows.h"

#define OTHER_CLIENTS "<other clients>"
#define OTHER_USERS "<other users>"
/* Twice the clients there can be at once: they come and go while they are counted. */
#define CLIENT_GROUPS (2 * (uint32_t)CLIENTS_MAX)
/* Entries of a table that is new. */
#define TABLE_FIRST 32
/* A new row is a copy, two searches and, now and then, a chunk: some 50 ns. */
#define ROW_COST 4

/* key: an id with its generation; see link_key(). */
struct link {
    uint64_t key;
    struct tally_row *row; /* NULL: the place is free */
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

struct tally {
    enum tally_by by;
    struct tally_tables tables;
    struct tally_purse *purse;
    struct tally_purse own;
    struct tally_purse taken; /* out of the purse */
    struct share all;         /* taken by all but those of `shares` */
    struct share *shares;     /* by slot; NULL: the purse is shared, or no client told anything */
    struct tally_rows rows;
    struct link *links; /* at most three quarters full */
    uint32_t links_max;
    uint32_t n_links;
    struct tally_row *other;
    struct ranking ranking; /* of the rows, once it is sorted */
    bool is_sorting;
    bool is_sorted;
    uint64_t spent;
    uint64_t n_bytes;
};

void tally_purse_init(struct tally_purse *purse)
{
    *purse = (struct tally_purse){
        .n_groups = TALLY_GROUPS,
        .n_told_groups = TALLY_TOLD_GROUPS,
        .n_links = TALLY_LINKS,
    };
}

struct tally *tally_new(enum tally_by by, const struct tally_tables *tables,
                        struct tally_purse *purse)
{
    struct tally *tally = calloc(1, sizeof(*tally));
    if (!tally) {
        return NULL;
    }
    *tally = (struct tally){.by = by, .tables = *tables, .n_bytes = sizeof(*tally)};
    tally_rows_init(&tally->rows, tables->reasons->state->header->instance);
    tally_purse_init(&tally->own);
    if (by != TALLY_BY_REASON) {
        tally->own = (struct tally_purse){.n_groups = CLIENT_GROUPS, .n_links = CLIENT_GROUPS};
    }
    tally->purse = purse ? purse : &tally->own;
    return tally;
}

static void tables_free(struct tally *tally)
{
    tally->n_bytes -= tally->links_max * sizeof(*tally->links);
    tally->links_max = 0;
    free(tally->links);
    tally->links = NULL;
    tally_rows_freeze(&tally->rows);
}

struct tally *tally_free(struct tally *tally)
{
    if (!tally) {
        return NULL;
    }
    tally->purse->n_groups += tally->taken.n_groups;
    tally->purse->n_told_groups += tally->taken.n_told_groups;
    tally->purse->n_links += tally->taken.n_links;
    tables_free(tally);
    tally_rows_fini(&tally->rows);
    ranking_fini(&tally->ranking);
    free(tally->shares);
    free(tally);
    return NULL;
}

/* An array of zeros that counts. */
static void *array_new(struct tally *tally, size_t n, size_t n_bytes)
{
    void *array = calloc(n, n_bytes);
    tally->n_bytes += array ? n * n_bytes : 0;
    return array;
}

/* ------------------------------------------------------------------------------------ names -- */

/* Whether the block's reason is out of its client's own table. */
static bool is_told(const struct tally *tally, const struct direct_block *block)
{
    return tally->by == TALLY_BY_REASON && block->leased && block->reason > REASON_OTHER;
}

/* A reason's group: its words up to '#'. */
static void name_by_reason(struct tally *tally, const struct direct_block *block,
                           struct tally_name *name)
{
    size_t n_bytes;
    char told[REASON_MAX_BYTES];
    const char *text = told;
    if (is_told(tally, block)) {
        n_bytes =
            client_ledger_reason(tally->tables.client_ledger, block->slot, block->reason, told);
        tally->spent += CLIENT_LEDGER_READ_COST;
    } else {
        text = reasons_text(tally->tables.reasons, block->reason, &n_bytes);
    }
    const char *detail = memchr(text, '#', n_bytes);
    if (detail && detail > text) {
        n_bytes = (size_t)(detail - text);
    }
    name->n_bytes = n_bytes;
    memcpy(name->text, text, n_bytes);
}

static void name_by_client(const struct client *client, struct tally_name *name)
{
    name->uid = client->identity.uid;
    name->pid = client->identity.pid;
    name->n_bytes = strlen(client->identity.command);
    memcpy(name->text, client->identity.command, name->n_bytes);
}

static void name_by_uid(const struct client *client, struct tally_name *name)
{
    name->uid = client->identity.uid;
    (void)snprintf(name->text, sizeof(name->text), "%u", name->uid); /* fits */
    name->n_bytes = strlen(name->text);
}

static void name_of(struct tally *tally, const struct direct_block *block, struct tally_name *name)
{
    *name = (struct tally_name){.pid = 0};
    if (tally->by == TALLY_BY_REASON) {
        name_by_reason(tally, block, name);
        return;
    }
    const struct client *client = clients_get(tally->tables.clients, block->slot);
    if (tally->by == TALLY_BY_CLIENT) {
        name_by_client(client, name);
    } else {
        name_by_uid(client, name);
    }
}

static void name_other(const struct tally *tally, struct tally_name *name)
{
    static const char *const texts[] = {
        [TALLY_BY_REASON] = OTHER_REASONS,
        [TALLY_BY_CLIENT] = OTHER_CLIENTS,
        [TALLY_BY_UID] = OTHER_USERS,
    };
    *name = (struct tally_name){.n_bytes = strlen(texts[tally->by])};
    memcpy(name->text, texts[tally->by], name->n_bytes);
}

/* ------------------------------------------------------------------------------------- rows -- */

static struct tally_row *row_add(struct tally *tally, const struct tally_name *name)
{
    const uint64_t n_moved = tally->rows.n_moved;
    struct tally_row *row = tally_rows_add(&tally->rows, name);
    tally->spent += ROW_COST + tally->rows.n_moved - n_moved;
    return row;
}

/* Two clients may have the same name; all else is told apart by it. */
static struct tally_row *row_find(const struct tally *tally, const struct tally_name *name)
{
    const bool is_client = tally->by == TALLY_BY_CLIENT && name->pid != 0;
    return is_client ? NULL : tally_rows_find(&tally->rows, name->text, name->n_bytes);
}

static struct tally_row *row_other(struct tally *tally)
{
    struct tally_name name;
    if (!tally->other) {
        name_other(tally, &name);
        tally->other = row_find(tally, &name);
        tally->other = tally->other ? tally->other : row_add(tally, &name);
    }
    return tally->other;
}

/* -------------------------------------------------------------------------------- the purse -- */

/*
 * What a block's client has taken of a purse, or this tally of one that several share. A block of
 * the daemon's own table takes what is left: that table is bounded, and all of it has room.
 */
static struct share *share_of(struct tally *tally, const struct direct_block *block)
{
    if (tally->purse != &tally->own || !is_told(tally, block)) {
        return &tally->all;
    }
    if (!tally->shares) {
        tally->shares = array_new(tally, CLIENTS_MAX, sizeof(*tally->shares));
    }
    return tally->shares ? &tally->shares[block->slot] : &tally->all;
}

/* Whether one may be taken: there is one, and as many are left as were taken. */
static bool may_take(const struct tally *tally, const struct direct_block *block, uint32_t n_taken,
                     uint32_t n_left)
{
    const bool leaves = tally->purse != &tally->own || is_told(tally, block);
    return n_left > 0 && (!leaves || n_taken < n_left);
}

static bool may_group(struct tally *tally, const struct direct_block *block)
{
    const struct tally_purse *purse = tally->purse;
    return may_take(tally, block, share_of(tally, block)->n_groups,
                    is_told(tally, block) ? purse->n_told_groups : purse->n_groups);
}

static bool may_link(struct tally *tally, const struct direct_block *block)
{
    return may_take(tally, block, share_of(tally, block)->n_links, tally->purse->n_links);
}

static void take_group(struct tally *tally, const struct direct_block *block)
{
    const bool told = is_told(tally, block);
    --*(told ? &tally->purse->n_told_groups : &tally->purse->n_groups);
    ++*(told ? &tally->taken.n_told_groups : &tally->taken.n_groups);
    share_of(tally, block)->n_groups++;
}

static void take_link(struct tally *tally, const struct direct_block *block)
{
    tally->purse->n_links--;
    tally->taken.n_links++;
    share_of(tally, block)->n_links++;
}

/* ------------------------------------------------------------------------------------ links -- */

static uint64_t link_key(const struct tally *tally, const struct direct_block *block)
{
    uint64_t slot = block->slot;
    uint64_t id = 0;
    uint32_t generation;
    if (tally->by == TALLY_BY_REASON && !is_told(tally, block)) {
        slot = CLIENTS_MAX;
        id = block->reason;
        generation = reasons_generation(tally->tables.reasons, block->reason);
    } else {
        /* Reasons in a client's table are never replaced while it lives. */
        generation = clients_get(tally->tables.clients, block->slot)->generation;
    }
    if (is_told(tally, block)) {
        id = block->reason < LEDGER_REASONS_MAX ? block->reason : LEDGER_REASONS_MAX;
    }
    return (uint64_t)generation << (KEY_SLOT_BITS + KEY_ID_BITS) | id << KEY_SLOT_BITS | slot;
}

static struct link *link_at(const struct tally *tally, uint64_t key)
{
    /* Fibonacci hashing: the upper bits of the product depend on all bits of the key. */
    uint32_t at = (uint32_t)(key * UINT64_C(0x9e3779b97f4a7c15) >> 32);
    while (true) {
        struct link *link = &tally->links[at & (tally->links_max - 1)];
        if (!link->row || link->key == key) {
            return link;
        }
        at++;
    }
}

static int links_reserve(struct tally *tally)
{
    if (4 * (tally->n_links + 1) <= 3 * tally->links_max) {
        return 0;
    }
    struct link *old = tally->links;
    const uint32_t old_max = tally->links_max;
    const uint32_t links_max = old_max == 0 ? 2 * TABLE_FIRST : 2 * old_max;
    struct link *links = array_new(tally, links_max, sizeof(*links));
    if (!links) {
        return -ENOMEM;
    }
    tally->links = links;
    tally->links_max = links_max;
    for (uint32_t i = 0; i < old_max; i++) {
        if (old[i].row) {
            *link_at(tally, old[i].key) = old[i];
        }
    }
    tally->n_bytes -= old_max * sizeof(*old);
    tally->spent += old_max;
    free(old);
    return 0;
}

/* The row of a block whose id was not met before. */
static struct tally_row *row_find_or_add(struct tally *tally, const struct direct_block *block)
{
    struct tally_name name;
    name_of(tally, block, &name);
    struct tally_row *row = row_find(tally, &name);
    if (row) {
        return row;
    }
    if (!may_group(tally, block)) {
        return row_other(tally);
    }
    row = row_add(tally, &name);
    if (row) {
        take_group(tally, block);
    }
    return row;
}

static struct tally_row *row_of(struct tally *tally, const struct direct_block *block)
{
    const uint64_t key = link_key(tally, block);
    if (links_reserve(tally)) {
        return NULL;
    }
    struct link *link = link_at(tally, key);
    if (link->row) {
        return link->row;
    }
    if (!may_link(tally, block)) {
        return row_other(tally);
    }
    struct tally_row *row = row_find_or_add(tally, block);
    if (row) {
        *link = (struct link){key, row};
        tally->n_links++;
        take_link(tally, block);
    }
    return row;
}

int tally_add(struct tally *tally, const struct direct_block *block)
{
    KMEM_ASSERT(!tally->is_sorting);
    struct tally_row *row = row_of(tally, block);
    tally->spent++;
    if (!row) {
        return -ENOMEM;
    }
    struct tally_group *group = &row->group;
    group->n_blocks++;
    group->num_bytes += block->num_bytes;
    group->oldest = block->born < group->oldest ? block->born : group->oldest;
    return 0;
}

int tally_add_reason(struct tally *tally, uint32_t reason, const struct reason_totals *totals)
{
    const struct direct_block block = {.reason = reason};
    KMEM_ASSERT(tally->by == TALLY_BY_REASON);
    struct tally_row *row = row_of(tally, &block);
    if (!row) {
        return -ENOMEM;
    }
    row->group.n_blocks += totals->n_blocks;
    row->group.num_bytes += totals->num_bytes;
    return 0;
}

uint64_t tally_n_other(const struct tally *tally)
{
    struct tally_name name;
    name_other(tally, &name);
    const struct tally_row *row = row_find(tally, &name);
    return row ? row->group.n_blocks : 0;
}

uint64_t tally_spent(const struct tally *tally)
{
    return tally->spent;
}

uint64_t tally_bytes(const struct tally *tally)
{
    return tally->n_bytes + tally->rows.n_bytes;
}

const struct tally_group *tally_group_of(const struct tally *tally, const struct client *client)
{
    KMEM_ASSERT(tally->by == TALLY_BY_CLIENT);
    KMEM_ASSERT(!tally->is_sorting);
    const struct direct_block block = {.slot = client->slot};
    const struct link *link =
        tally->links_max == 0 ? NULL : link_at(tally, link_key(tally, &block));
    return link && link->row ? &link->row->group : NULL;
}

/* ------------------------------------------------------------------------------------- sort -- */

static bool row_is_before(const void *row, const void *other)
{
    const struct tally_row *a = row;
    const struct tally_row *b = other;
    const int by_text = strcmp(a->text, b->text);
    return by_text != 0 ? by_text < 0 : a->group.pid < b->group.pid;
}

static int sort_begin(struct tally *tally)
{
    if (ranking_init(&tally->ranking, tally->rows.n_rows, row_is_before)) {
        return -ENOMEM;
    }
    tally->n_bytes += tally->rows.n_rows * sizeof(struct ranked);
    tables_free(tally); /* nothing is added any more: what is kept is its rows */
    tally->is_sorting = true;
    return 0;
}

/* Return: what that cost; 0: the n_first are in their places. */
static uint32_t sort_one(struct tally *tally, size_t n_first)
{
    if (tally->ranking.n_things < tally->rows.n_rows) {
        const struct tally_row *row = tally->rows.rows[tally->ranking.n_things];
        ranking_add(&tally->ranking, row->group.num_bytes, row);
        return 1;
    }
    return ranking_step(&tally->ranking, n_first);
}

int tally_sort_step(struct tally *tally, size_t n_first, uint32_t budget)
{
    if (!tally->is_sorting) {
        const int r = sort_begin(tally);
        if (r) {
            return r;
        }
    }
    for (uint64_t spent = 0; spent < budget;) {
        const uint32_t cost = sort_one(tally, n_first);
        if (cost == 0) {
            tally->is_sorted = true;
            return 0;
        }
        spent += cost;
    }
    return TALLY_E_MORE;
}

bool tally_is_sorted(const struct tally *tally)
{
    return tally->is_sorted;
}

int tally_sort(struct tally *tally)
{
    int r = TALLY_E_MORE;
    while (r == TALLY_E_MORE) {
        r = tally_sort_step(tally, SIZE_MAX, UINT32_MAX);
    }
    return r;
}

size_t tally_n_groups(const struct tally *tally)
{
    return tally->rows.n_rows;
}

const struct tally_group *tally_group(const struct tally *tally, size_t index)
{
    const struct tally_row *row = ranking_at(&tally->ranking, index);
    return &row->group;
}

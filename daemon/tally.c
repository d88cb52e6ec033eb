/* SPDX-License-Identifier: MIT */
/*
 * tally.c - two steps from a block to its row
 *
 * An array by id finds the row of nearly every block with one load: a million blocks seldom have
 * more than some hundred reasons. The first block of an id goes through the hash table, where
 * reasons that differ in their detail alone, and clients of one user, meet in one row. So does
 * every block of an id that is newer than the tally: the array is as long as there are ids when it
 * is made. Were it as long as there can ever be, a thousand obituaries in the making would take a
 * gigabyte.
 */
#include "daemon/tally.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#include "daemon/hash.h"

struct tally_row {
    struct tally_group group;
    UT_hash_handle hh;
    char text[]; /* what the hash table compares, then what is shown, terminated */
};

/* What a row is called, before there is a row. */
struct tally_name {
    uint32_t pid;
    uint32_t uid;
    size_t n_key_bytes;
    char key[REASON_MAX_BYTES];
    char shown[REASON_MAX_BYTES + 1];
};

struct tally_link {
    struct tally_row *row;
    uint32_t generation;
};

/* An id of a client's own table: reasons there are never replaced while the client lives. */
struct tally_told {
    struct tally_row *row;
    uint32_t slot;
    uint32_t generation;
    uint32_t id;
};

/* 4,096: some hundred clients with some dozen reasons each, in 96 KiB. */
#define TOLD_LINKS 4096

struct tally {
    enum tally_by by;
    struct tally_tables tables;
    struct tally_link *links; /* by reason's id or by slot, of those that exist at the beginning */
    uint32_t n_links;
    struct tally_told *told; /* by reason, for ids of clients' own tables */
    struct tally_row *rows;  /* hash */
    struct tally_row **sorted;
};

struct tally *tally_new(enum tally_by by, const struct tally_tables *tables)
{
    struct tally *tally = calloc(1, sizeof(*tally));
    if (!tally) {
        return NULL;
    }
    *tally = (struct tally){.by = by, .tables = *tables};
    /* + 1: there may be no client yet, and calloc() of nothing may be NULL. */
    tally->n_links = by == TALLY_BY_REASON ? tables->reasons->n_ids : tables->clients->n_slots + 1;
    tally->links = calloc(tally->n_links, sizeof(*tally->links));
    tally->told = calloc(TOLD_LINKS, sizeof(*tally->told));
    return tally->links && tally->told ? tally : tally_free(tally);
}

struct tally *tally_free(struct tally *tally)
{
    if (!tally) {
        return NULL;
    }
    struct tally_row *row;
    struct tally_row *next;
    HASH_ITER(hh, tally->rows, row, next)
    {
        HASH_DEL(tally->rows, row);
        free(row);
    }
    free(tally->sorted);
    free(tally->told);
    free(tally->links);
    free(tally);
    return NULL;
}

/* A reason's group: its words up to '#'. */
static void name_by_reason(const struct tally *tally, const struct direct_block *block,
                           struct tally_name *name)
{
    size_t n_bytes;
    char told[REASON_MAX_BYTES];
    const char *text = told;
    if (block->leased && block->reason > REASON_OTHER) {
        n_bytes = told_reason(tally->tables.told, block->slot, block->reason, told);
    } else {
        text = reasons_text(tally->tables.reasons, block->reason, &n_bytes);
    }
    const char *detail = memchr(text, '#', n_bytes);
    if (detail && detail > text) {
        n_bytes = (size_t)(detail - text);
    }
    name->n_key_bytes = n_bytes;
    memcpy(name->key, text, n_bytes);
    memcpy(name->shown, text, n_bytes);
    name->shown[n_bytes] = '\0';
}

static void name_by_client(const struct client *client, struct tally_name *name)
{
    const uint32_t key[] = {client->slot, client->generation};
    name->uid = client->identity.uid;
    name->pid = client->identity.pid;
    name->n_key_bytes = sizeof(key);
    memcpy(name->key, key, sizeof(key));
    memcpy(name->shown, client->identity.command, sizeof(client->identity.command));
}

static void name_by_uid(const struct client *client, struct tally_name *name)
{
    name->uid = client->identity.uid;
    name->n_key_bytes = sizeof(name->uid);
    memcpy(name->key, &name->uid, sizeof(name->uid));
    (void)snprintf(name->shown, sizeof(name->shown), "%u", name->uid); /* fits */
}

static void name_of(const struct tally *tally, const struct direct_block *block,
                    struct tally_name *name)
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

static uint32_t name_hash(const struct tally *tally, const struct tally_name *name)
{
    const uint64_t instance = tally->tables.reasons->state->header->instance;
    return hash_words(instance, name->key, name->n_key_bytes);
}

static struct tally_row *row_add(struct tally *tally, const struct tally_name *name)
{
    const size_t n_shown_bytes = strlen(name->shown) + 1;
    struct tally_row *row = calloc(1, sizeof(*row) + name->n_key_bytes + n_shown_bytes);
    if (!row) {
        return NULL;
    }
    memcpy(row->text, name->key, name->n_key_bytes);
    memcpy(row->text + name->n_key_bytes, name->shown, n_shown_bytes);
    row->group = (struct tally_group){
        .key = row->text + name->n_key_bytes,
        .oldest = UINT32_MAX,
        .pid = name->pid,
        .uid = name->uid,
    };
    HASH_ADD_KEYPTR_BYHASHVALUE(hh, tally->rows, row->text, name->n_key_bytes,
                                name_hash(tally, name), row);
    if (row->hh.tbl == NULL) {
        free(row);
        return NULL;
    }
    return row;
}

/* The row of a block whose id was not met before. */
static struct tally_row *row_find_or_add(struct tally *tally, const struct direct_block *block)
{
    struct tally_name name;
    struct tally_row *row = NULL;
    name_of(tally, block, &name);
    HASH_FIND_BYHASHVALUE(hh, tally->rows, name.key, name.n_key_bytes, name_hash(tally, &name),
                          row);
    return row ? row : row_add(tally, &name);
}

/* The row of a direct block by its reason's id, or of any block by its client. */
static struct tally_row *row_by_link(struct tally *tally, const struct direct_block *block)
{
    const bool by_reason = tally->by == TALLY_BY_REASON;
    const uint32_t id = by_reason ? block->reason : block->slot;
    const uint32_t generation = by_reason ? reasons_generation(tally->tables.reasons, id)
                                          : clients_get(tally->tables.clients, id)->generation;
    if (id >= tally->n_links) {
        return row_find_or_add(tally, block);
    }
    struct tally_link *link = &tally->links[id];
    if (!link->row || link->generation != generation) {
        *link = (struct tally_link){row_find_or_add(tally, block), generation};
    }
    return link->row;
}

/* The row of a leased block by its reason's id in its client's table. */
static struct tally_row *row_by_told(struct tally *tally, const struct direct_block *block)
{
    const uint32_t generation = clients_get(tally->tables.clients, block->slot)->generation;
    const uint32_t hash = (block->reason + block->slot * UINT32_C(2654435761)) % TOLD_LINKS;
    struct tally_told *told = &tally->told[hash];
    if (!told->row || told->slot != block->slot || told->generation != generation ||
        told->id != block->reason) {
        *told = (struct tally_told){
            .row = row_find_or_add(tally, block),
            .slot = block->slot,
            .generation = generation,
            .id = block->reason,
        };
    }
    return told->row;
}

int tally_add(struct tally *tally, const struct direct_block *block)
{
    KMEM_ASSERT(tally->sorted == NULL);
    const bool told = tally->by == TALLY_BY_REASON && block->leased && block->reason > REASON_OTHER;
    struct tally_row *row = told ? row_by_told(tally, block) : row_by_link(tally, block);
    if (!row) {
        return -ENOMEM;
    }
    struct tally_group *group = &row->group;
    group->n_blocks++;
    group->num_bytes += block->num_bytes;
    group->oldest = block->born < group->oldest ? block->born : group->oldest;
    return 0;
}

const struct tally_group *tally_group_of(const struct tally *tally, const struct client *client)
{
    KMEM_ASSERT(tally->by == TALLY_BY_CLIENT);
    KMEM_ASSERT(tally->links != NULL);
    if (client->slot >= tally->n_links) {
        return NULL; /* it joined after the tally was begun */
    }
    const struct tally_link *link = &tally->links[client->slot];
    return link->row && link->generation == client->generation ? &link->row->group : NULL;
}

static int row_compare(const void *left, const void *right)
{
    const struct tally_row *a = *(struct tally_row *const *)left;
    const struct tally_row *b = *(struct tally_row *const *)right;
    if (a->group.num_bytes != b->group.num_bytes) {
        return a->group.num_bytes > b->group.num_bytes ? -1 : 1;
    }
    const int by_text = strcmp(a->group.key, b->group.key);
    return by_text != 0 ? by_text : (a->group.pid > b->group.pid) - (a->group.pid < b->group.pid);
}

int tally_sort(struct tally *tally)
{
    KMEM_ASSERT(tally->sorted == NULL);
    const size_t n_groups = tally_n_groups(tally);
    struct tally_row **sorted = calloc(n_groups + 1, sizeof(struct tally_row *));
    if (!sorted) {
        return -ENOMEM;
    }
    size_t n_sorted = 0;
    for (struct tally_row *row = tally->rows; row; row = row->hh.next) {
        sorted[n_sorted++] = row;
    }
    qsort(sorted, n_groups, sizeof(struct tally_row *), row_compare);
    tally->sorted = sorted;
    free(tally->links); /* nothing is added to a sorted tally: what is kept is its rows */
    tally->links = NULL;
    free(tally->told);
    tally->told = NULL;
    return 0;
}

size_t tally_n_groups(const struct tally *tally)
{
    return HASH_COUNT(tally->rows);
}

const struct tally_group *tally_group(const struct tally *tally, size_t index)
{
    KMEM_ASSERT(tally->sorted != NULL);
    KMEM_ASSERT(index < tally_n_groups(tally));
    return &tally->sorted[index]->group;
}

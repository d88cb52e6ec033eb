/* SPDX-License-Identifier: MIT */
#include "client/ctl/keys.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/ctl/digits.h"
#include "client/ctl/format.h"

/* ----------------------------------------------------------------------------------- sizes ---- */

/* From here on a group is a doubling, of which there may be none yet: kmem/query.h. */
#define DOUBLINGS_FROM UINT64_C(65536)

static int add_bound(const struct kmem_ledger_row *row, void *user)
{
    struct keys *keys = user;
    uint64_t *bounds = realloc(keys->bounds, (keys->n_bounds + 1) * sizeof(*bounds));
    if (!bounds) {
        return -ENOMEM;
    }
    keys->bounds = bounds;
    keys->bounds[keys->n_bounds++] = strtoull(row->key, NULL, 10);
    return 0;
}

static int compare_bounds(const void *left, const void *right)
{
    const uint64_t a = *(const uint64_t *)left;
    const uint64_t b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

/* A block of a size that no group had a moment before is of a group by itself. */
static uint64_t bound_of(const struct keys *keys, uint64_t num_bytes)
{
    uint64_t bound = DOUBLINGS_FROM;
    if (num_bytes > DOUBLINGS_FROM) {
        while (bound < num_bytes && bound < UINT64_MAX / 2) {
            bound *= 2;
        }
        return bound;
    }
    for (size_t i = 0; i < keys->n_bounds; i++) {
        if (keys->bounds[i] >= num_bytes) {
            return keys->bounds[i];
        }
    }
    return num_bytes;
}

/* ------------------------------------------------------------------------------------ ages ---- */

static uint64_t age_of(uint64_t age_ms)
{
    static const uint64_t from[] = {0,      1000,    10000,    60000, /* kmem/query.h */
                                    600000, 3600000, 86400000, 604800000};
    size_t i = sizeof(from) / sizeof(from[0]) - 1;
    while (from[i] > age_ms) {
        i--;
    }
    return from[i];
}

/* ----------------------------------------------------------------------------------- units ---- */

static int add_unit(const struct kmem_client *client, void *user)
{
    struct keys *keys = user;
    struct process_unit *units = realloc(keys->units, (keys->n_units + 1) * sizeof(*units));
    if (!units) {
        return -ENOMEM;
    }
    keys->units = units;
    units[keys->n_units].pid = client->pid;
    units[keys->n_units].unit = strdup(client->unit && *client->unit ? client->unit : "?");
    return units[keys->n_units++].unit ? 0 : -ENOMEM;
}

static int compare_units(const void *left, const void *right)
{
    const struct process_unit *a = left;
    const struct process_unit *b = right;
    return (a->pid > b->pid) - (a->pid < b->pid);
}

static const char *unit_of(const struct keys *keys, uint32_t pid)
{
    const struct process_unit wanted = {.pid = pid};
    const struct process_unit *found = NULL;
    if (keys->n_units > 0 && pid != 0) {
        found = bsearch(&wanted, keys->units, keys->n_units, sizeof(wanted), compare_units);
    }
    return found ? found->unit : "?";
}

/* ------------------------------------------------------------------------------------- all ---- */

int keys_init(struct keys *keys, enum kmem_group_by by, struct kmem_query *query)
{
    int r = 0;
    *keys = (struct keys){.by = by};
    if (by == KMEM_BY_SIZE) {
        r = kmem_query_ledger(query, KMEM_BY_SIZE, add_bound, keys);
    } else if (by == KMEM_BY_UNIT) {
        r = kmem_query_clients(query, add_unit, keys);
    }
    if (keys->n_bounds > 0) {
        qsort(keys->bounds, keys->n_bounds, sizeof(*keys->bounds), compare_bounds);
    }
    if (keys->n_units > 0) {
        qsort(keys->units, keys->n_units, sizeof(*keys->units), compare_units);
    }
    return r;
}

void keys_fini(struct keys *keys)
{
    for (size_t i = 0; i < keys->n_units; i++) {
        free(keys->units[i].unit);
    }
    free(keys->units);
    free(keys->bounds);
    *keys = (struct keys){0};
}

const char *keys_of(const struct keys *keys, const struct kmem_block *block, char *buffer)
{
    if (keys->by == KMEM_BY_UNIT) {
        return unit_of(keys, block->pid);
    }
    if (keys->by != KMEM_BY_SIZE && keys->by != KMEM_BY_AGE) {
        return NULL;
    }
    (void)digits_write(keys->by == KMEM_BY_SIZE ? bound_of(keys, block->num_bytes)
                                                : age_of(block->age_ms),
                       buffer);
    return buffer;
}

/* SPDX-License-Identifier: MIT */
#include "client/ctl/growth.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int64_t growth_between(uint64_t before, uint64_t after)
{
    if (after >= before) {
        return after - before > INT64_MAX ? INT64_MAX : (int64_t)(after - before);
    }
    return before - after > INT64_MAX ? -INT64_MAX : -(int64_t)(before - after);
}

static int compare_keys(const void *left, const void *right)
{
    return strcmp(((const struct group *)left)->key, ((const struct group *)right)->key);
}

static int compare_growths(const void *left, const void *right)
{
    const struct growth *a = left;
    const struct growth *b = right;
    if (a->grown_bytes != b->grown_bytes) {
        return a->grown_bytes < b->grown_bytes ? 1 : -1;
    }
    if (a->grown_blocks != b->grown_blocks) {
        return a->grown_blocks < b->grown_blocks ? 1 : -1;
    }
    return strcmp(a->key, b->key);
}

static struct growth growth_of(const char *key, const struct group *before,
                               const struct group *after)
{
    struct growth growth = {.key = key};
    if (before) {
        growth.before_bytes = before->num_bytes;
        growth.before_blocks = before->n_blocks;
    }
    if (after) {
        growth.after_bytes = after->num_bytes;
        growth.after_blocks = after->n_blocks;
    }
    growth.grown_bytes = growth_between(growth.before_bytes, growth.after_bytes);
    growth.grown_blocks = growth_between(growth.before_blocks, growth.after_blocks);
    return growth;
}

static void groups_by_key(struct groups *groups)
{
    if (groups->n_groups > 0) {
        qsort(groups->groups, groups->n_groups, sizeof(struct group), compare_keys);
    }
}

/* Walks both, which are in one order, side by side. */
static void merge(struct growths *growths, const struct groups *before, const struct groups *after)
{
    size_t i = 0;
    size_t j = 0;
    while (i < before->n_groups || j < after->n_groups) {
        const struct group *a = i < before->n_groups ? &before->groups[i] : NULL;
        const struct group *b = j < after->n_groups ? &after->groups[j] : NULL;
        const int order = !a ? 1 : !b ? -1 : strcmp(a->key, b->key);
        const struct growth growth =
            growth_of(order <= 0 ? a->key : b->key, order <= 0 ? a : NULL, order >= 0 ? b : NULL);
        if (growth.grown_bytes != 0 || growth.grown_blocks != 0) {
            growths->rows[growths->n_rows++] = growth;
        }
        i += order <= 0;
        j += order >= 0;
    }
}

int growths_init(struct growths *growths, struct groups *before, struct groups *after)
{
    const struct group total_before = groups_total(before);
    const struct group total_after = groups_total(after);
    *growths = (struct growths){.total = growth_of("", &total_before, &total_after)};
    growths->rows = calloc(before->n_groups + after->n_groups + 1, sizeof(struct growth));
    if (!growths->rows) {
        return -ENOMEM;
    }
    groups_by_key(before);
    groups_by_key(after);
    merge(growths, before, after);
    qsort(growths->rows, growths->n_rows, sizeof(struct growth), compare_growths);
    return 0;
}

void growths_fini(struct growths *growths)
{
    free(growths->rows);
    *growths = (struct growths){0};
}

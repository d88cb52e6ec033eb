/* SPDX-License-Identifier: MIT */
#include "client/ctl/groups.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void groups_fini(struct groups *groups)
{
    for (size_t i = 0; i < groups->n_groups; i++) {
        free(groups->groups[i].key);
    }
    free(groups->groups);
    *groups = (struct groups){0};
}

static int groups_reserve(struct groups *groups)
{
    size_t capacity = groups->capacity ? groups->capacity * 2 : 64;
    if (groups->n_groups < groups->capacity) {
        return 0;
    }
    struct group *grown = realloc(groups->groups, capacity * sizeof(*grown));
    if (!grown) {
        return -ENOMEM;
    }
    groups->groups = grown;
    groups->capacity = capacity;
    return 0;
}

int groups_add(const struct kmem_ledger_row *row, void *user)
{
    struct groups *groups = user;
    int r = groups_reserve(groups);
    if (r < 0) {
        return r;
    }
    char *key = strdup(row->key);
    if (!key) {
        return -ENOMEM;
    }
    groups->groups[groups->n_groups++] = (struct group){
        .key = key,
        .n_blocks = row->n_blocks,
        .num_bytes = row->num_bytes,
        .oldest_ms = row->oldest_ms,
        .pid = row->pid,
        .uid = row->uid,
    };
    return 0;
}

/* ----------------------------------------------------------------------- sorting, joining ---- */

static int compare_keys(const void *left, const void *right)
{
    return strcmp(((const struct group *)left)->key, ((const struct group *)right)->key);
}

static int compare_bytes(const void *left, const void *right)
{
    uint64_t left_bytes = ((const struct group *)left)->num_bytes;
    uint64_t right_bytes = ((const struct group *)right)->num_bytes;
    if (left_bytes != right_bytes) {
        return left_bytes > right_bytes ? -1 : 1;
    }
    return compare_keys(left, right);
}

void groups_sort(struct groups *groups)
{
    if (groups->n_groups > 0) {
        qsort(groups->groups, groups->n_groups, sizeof(struct group), compare_bytes);
    }
}

/* Takes the other group's key. */
static void group_join(struct group *group, struct group *other)
{
    group->n_blocks += other->n_blocks;
    group->num_bytes += other->num_bytes;
    if (other->oldest_ms > group->oldest_ms) {
        group->oldest_ms = other->oldest_ms;
    }
    free(other->key);
}

void groups_join(struct groups *groups)
{
    size_t n_kept = 0;
    if (groups->n_groups == 0) {
        return;
    }
    qsort(groups->groups, groups->n_groups, sizeof(struct group), compare_keys);
    for (size_t i = 1; i < groups->n_groups; i++) {
        struct group *kept = &groups->groups[n_kept];
        if (strcmp(kept->key, groups->groups[i].key) == 0) {
            group_join(kept, &groups->groups[i]);
        } else {
            groups->groups[++n_kept] = groups->groups[i];
        }
    }
    groups->n_groups = n_kept + 1;
    groups_sort(groups);
}

/* A '/' at the beginning begins no second level. */
static void cut_levels(char *key, unsigned n_levels)
{
    for (char *slash = *key ? strchr(key + 1, '/') : NULL; slash; slash = strchr(slash + 1, '/')) {
        if (--n_levels == 0) {
            *slash = '\0';
            return;
        }
    }
}

void groups_fold(struct groups *groups, unsigned n_levels)
{
    for (size_t i = 0; i < groups->n_groups; i++) {
        cut_levels(groups->groups[i].key, n_levels);
    }
    groups_join(groups);
}

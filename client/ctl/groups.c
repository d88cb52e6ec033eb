/* SPDX-License-Identifier: MIT */
#include "client/ctl/groups.h"
#include "client/ctl/measure.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
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

int groups_ask(struct groups *groups, struct kmem_query *query, enum kmem_group_by by)
{
    int r = -ECONNRESET;
    bool is_cut = true;
    for (int n_tries = 0; is_cut && n_tries < ANSWER_TRIES_MAX; n_tries++) {
        groups_fini(groups);
        r = kmem_query_ledger(query, by, groups_add, groups);
        is_cut = r == -ECONNRESET && groups->n_groups > 0;
    }
    return r;
}

/* ----------------------------------------------------------------------- sorting, joining ---- */

/* Two processes of one name are two groups; by reason and by user these numbers say no more. */
static int compare_keys(const void *left, const void *right)
{
    const struct group *a = left;
    const struct group *b = right;
    const int order = strcmp(a->key, b->key);
    if (order != 0 || a->pid != b->pid) {
        return order != 0 ? order : (a->pid > b->pid) - (a->pid < b->pid);
    }
    return (a->uid > b->uid) - (a->uid < b->uid);
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

uint64_t group_number(const void *group)
{
    return strtoull(((const struct group *)group)->key, NULL, 10);
}

static int compare_numbers(const void *left, const void *right)
{
    const uint64_t left_number = group_number(left);
    const uint64_t right_number = group_number(right);
    return (left_number > right_number) - (left_number < right_number);
}

void groups_sort_by_number(struct groups *groups)
{
    if (groups->n_groups > 0) {
        qsort(groups->groups, groups->n_groups, sizeof(struct group), compare_numbers);
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
        if (compare_keys(kept, &groups->groups[i]) == 0) {
            group_join(kept, &groups->groups[i]);
        } else {
            groups->groups[++n_kept] = groups->groups[i];
        }
    }
    groups->n_groups = n_kept + 1;
    groups->n_joined = groups->n_groups;
    groups_sort(groups);
}

/* 4,096: sorting that many takes a millisecond, and they are 300 KiB. */
#define WAITING_MIN 4096

/* What follows '#' in a reason is a detail, as the daemon has it. */
static const char *key_of(const struct kmem_block *block, enum kmem_group_by by, char *buffer,
                          size_t buffer_bytes)
{
    if (by == KMEM_BY_CLIENT) {
        return block->command;
    }
    if (by == KMEM_BY_UID) {
        (void)snprintf(buffer, buffer_bytes, "%" PRIu32, block->uid);
    } else {
        (void)snprintf(buffer, buffer_bytes, "%.*s", (int)strcspn(block->reason, "#"),
                       block->reason);
    }
    return buffer;
}

int groups_add_block(struct groups *groups, enum kmem_group_by by, const char *key,
                     const struct kmem_block *block)
{
    char buffer[KMEM_REASON_MAX_BYTES + 32];
    const struct kmem_ledger_row row = {
        .key = key ? key : key_of(block, by, buffer, sizeof(buffer)),
        .n_blocks = 1,
        .num_bytes = block->num_bytes,
        .oldest_ms = block->age_ms,
        .pid = by == KMEM_BY_CLIENT ? block->pid : 0,
        .uid = by == KMEM_BY_CLIENT || by == KMEM_BY_UID ? block->uid : 0,
    };
    if (groups->n_groups >= WAITING_MIN && groups->n_groups / 2 >= groups->n_joined) {
        groups_join(groups);
    }
    return groups_add(&row, groups);
}

struct group groups_total(const struct groups *groups)
{
    static char no_key[] = "";
    struct group total = {.key = no_key, .share_permille = 1000};
    for (size_t i = 0; i < groups->n_groups; i++) {
        const struct group *group = &groups->groups[i];
        total.n_blocks += group->n_blocks;
        total.num_bytes += group->num_bytes;
        total.oldest_ms = group->oldest_ms > total.oldest_ms ? group->oldest_ms : total.oldest_ms;
    }
    return total;
}

void groups_share(struct groups *groups)
{
    const double total = (double)groups_total(groups).num_bytes;
    for (size_t i = 0; i < groups->n_groups; i++) {
        const double part = (double)groups->groups[i].num_bytes;
        groups->groups[i].share_permille = measure_permille(part, total);
    }
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

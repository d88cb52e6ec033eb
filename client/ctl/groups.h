/* SPDX-License-Identifier: MIT */
/*
 * groups.h - the ledger's groups, kept so that they can be folded into fewer
 *
 * '/' makes a hierarchy of reasons. Folded to one level, "video/capture" and "video/index" are both
 * "video"; so is a block whose reason is just "video".
 */
#ifndef CTL_GROUPS_H
#define CTL_GROUPS_H

#include <stddef.h>
#include <stdint.h>

#include <kmem/query.h>

/* How often an answer is asked for that servers take with them: 4, as libkmem asks for a page. */
#define ANSWER_TRIES_MAX 4

struct group {
    char *key;
    uint64_t n_blocks;
    uint64_t num_bytes;
    uint64_t oldest_ms;
    uint32_t pid;
    uint32_t uid;
    uint64_t share_permille; /* groups_share() */
};

struct groups {
    struct group *groups;
    size_t n_groups;
    size_t capacity;
    size_t n_joined; /* those that groups_add_block() has joined */
};

/** groups_fini() - free them all; an empty structure is all zero */
void groups_fini(struct groups *groups);

/** groups_add() - a kmem_ledger_fn that keeps a copy of each row; user is the struct groups */
int groups_add(const struct kmem_ledger_row *row, void *user);

/**
 * groups_ask() - ask for the ledger, and keep a copy of each row
 *
 * A server that ends in the midst of it takes its order with it: the next one is asked for all.
 * Return: as kmem_query_ledger() has it.
 */
KMEM_MUST_USE int groups_ask(struct groups *groups, struct kmem_query *query,
                             enum kmem_group_by by);

/**
 * groups_add_block() - count a block as one of its group
 * @key:  of the group; NULL: as the block itself says it, by reason, client or uid
 *
 * For a ledger of some blocks only. Groups are joined when twice as many rows wait as there are
 * groups, so a million blocks are never kept; groups_join() joins the last ones.
 * Return: 0 or -ENOMEM.
 */
KMEM_MUST_USE int groups_add_block(struct groups *groups, enum kmem_group_by by, const char *key,
                                   const struct kmem_block *block);

/** groups_total() - all groups in one, that has the key "" */
struct group groups_total(const struct groups *groups);

/** groups_share() - note which share of all bytes each group has */
void groups_share(struct groups *groups);

/** groups_fold() - keep n_levels levels of each key, join what is the same then, sort again */
void groups_fold(struct groups *groups, unsigned n_levels);

/** groups_sort() - most bytes first; equals by key */
void groups_sort(struct groups *groups);

/** groups_sort_by_number() - by the number that the key is, the least first */
void groups_sort_by_number(struct groups *groups);

/** group_number() - the number that the key of a struct group is: a size, an age */
uint64_t group_number(const void *group);

/** groups_join() - join the groups of one key, and sort again */
void groups_join(struct groups *groups);

#endif

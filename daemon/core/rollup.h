/* SPDX-License-Identifier: MIT */
/*
 * rollup.h - live blocks added up by reason, by client or by user
 *
 * Built block by block while others allocate and release, so an id may change its meaning between
 * two blocks: ids lead to a row only together with the generation they had.
 *
 * A tally is bounded, whatever clients write into their ledgers while it is made: a text is read
 * once for each id, and what finds no room among the groups is counted in one more, OTHER_REASONS.
 * So the totals are exact, always.
 *
 *      groups of told reasons  <= TALLY_TOLD_GROUPS, of the others <= TALLY_GROUPS
 *      ids that are remembered <= TALLY_LINKS
 *      bytes                   <= TALLY_MAX_BYTES                           : test_tally
 */
#ifndef DAEMON_CORE_ROLLUP_H
#define DAEMON_CORE_ROLLUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/core/clients.h"
#include "daemon/core/direct.h"
#include "daemon/core/reasons.h"
#include "daemon/core/client_ledger.h"
#include "proto/attributes.h"
#include "proto/limits.h"

enum tally_by { TALLY_BY_REASON, TALLY_BY_CLIENT, TALLY_BY_UID };

/* As many as the daemon's own table has reasons: each of them has its group. */
#define TALLY_GROUPS UINT32_C(65536)
/* 32,768 reasons out of clients' tables: more than anybody reads, 6 MiB. No client takes more than
   are left to the others: one alone has half of them. */
#define TALLY_TOLD_GROUPS UINT32_C(32768)
/* All ids of the daemon's table, and twice those of one client's, which may use half of these. */
#define TALLY_LINKS UINT32_C(196608)
/* Rows of the longest texts, and the tables that lead to them; 5 MiB less once it is sorted. */
#define TALLY_MAX_BYTES (UINT64_C(26) << 20)

/* One group, as others see it. */
struct tally_group {
    const char *key; /* terminated; what is shown */
    uint64_t n_blocks;
    uint64_t num_bytes;
    uint32_t oldest; /* tick */
    uint32_t pid;
    uint32_t uid;
};

struct tally;

/* Whose tables the ids in blocks are looked up in. */
struct tally_tables {
    const struct reasons *reasons;
    const struct clients *clients;
    const struct client_ledger *client_ledger;
};

/* What a tally, or several of them together, may still add. */
struct tally_purse {
    uint32_t n_groups;
    uint32_t n_told_groups;
    uint32_t n_links;
};

/** tally_purse_init() - for one tally's worth of groups */
void tally_purse_init(struct tally_purse *purse);

/**
 * tally_new() - an empty tally
 * @purse:  shared with other tallies, each of which leaves as much as it takes; NULL: its own
 * Return: the tally, NULL without memory.
 */
KMEM_MUST_USE struct tally *tally_new(enum tally_by by, const struct tally_tables *tables,
                                      struct tally_purse *purse);

/** tally_free() - some hundred calls of free() at most. Return: NULL. */
struct tally *tally_free(struct tally *tally);

/** tally_add() - count a block in. Return: 0 or -ENOMEM; then the tally is as it was. */
KMEM_MUST_USE int tally_add(struct tally *tally, const struct direct_block *block);

/** tally_add_reason() - count in what is known of all direct blocks of a reason; by reason only */
KMEM_MUST_USE int tally_add_reason(struct tally *tally, uint32_t reason,
                                   const struct reason_totals *totals);

/** tally_n_other() - how many blocks are in the group of those that have none of their own */
uint64_t tally_n_other(const struct tally *tally);

/**
 * tally_spent() - what tally_add() has cost so far
 *
 * In entries looked at, as budgets have it: a block is one, a read of a reason CLIENT_LEDGER_READ_COST.
 */
uint64_t tally_spent(const struct tally *tally);

/** tally_bytes() - what is allocated for it */
uint64_t tally_bytes(const struct tally *tally);

enum {
    TALLY_OK,
    TALLY_E_MORE, /* tally_sort_step(): the budget is spent, go on */
};

/**
 * tally_sort_step() - put the n_first groups with the most bytes first; nothing is added any more
 * @budget:  how much to do, in entries looked at, about
 * Return: 0, TALLY_E_MORE, or -ENOMEM.
 */
KMEM_MUST_USE int tally_sort_step(struct tally *tally, size_t n_first, uint32_t budget);

/** tally_is_sorted() - whether tally_sort_step() returned 0 */
bool tally_is_sorted(const struct tally *tally);

/** tally_sort() - all of it at once: for few groups. Return: 0 or -ENOMEM. */
KMEM_MUST_USE int tally_sort(struct tally *tally);

/**
 * tally_group_of() - what is counted for a client so far, before it is sorted; by client only
 * Return: its group, NULL if no block of it was counted.
 */
const struct tally_group *tally_group_of(const struct tally *tally, const struct client *client);

/** tally_n_groups() - how many groups there are */
size_t tally_n_groups(const struct tally *tally);

/** tally_group() - the group at an index below n_first, after it is sorted */
const struct tally_group *tally_group(const struct tally *tally, size_t index);

#endif

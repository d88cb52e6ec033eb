/* SPDX-License-Identifier: MIT */
/*
 * rollup.h - live blocks added up by reason, by client, user or unit, by size or age
 *
 * Built block by block while others allocate and release, so an id may change its meaning between
 * two blocks: ids lead to a row only together with the generation they had.
 *
 * A roll-up is bounded, whatever clients write into their ledgers while it is made: a text is read
 * once for each id, and what finds no room among the groups is counted in one more, OTHER_REASONS.
 * So the totals are exact, always.
 *
 *      groups of unverified reasons  <= ROLLUP_UNVERIFIED_GROUPS, of the others <= ROLLUP_GROUPS
 *      ids that are remembered <= ROLLUP_LINKS
 *      bytes                   <= ROLLUP_MAX_BYTES                           : test_rollup
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
#include "daemon/core/rollup_rows.h"
#include "proto/attributes.h"
#include "proto/limits.h"

enum rollup_by {
    ROLLUP_BY_REASON,
    ROLLUP_BY_CLIENT,
    ROLLUP_BY_UID,
    ROLLUP_BY_UNIT,
    ROLLUP_BY_SIZE, /* keys: the most bytes that a block of the group has, in digits */
    ROLLUP_BY_AGE,  /* the least age in milliseconds, in digits: see rollup_age_from() */
};

/* As many as the daemon's own table has reasons: each of them has its group. */
#define ROLLUP_GROUPS UINT32_C(65536)
/* 32,768 reasons out of clients' tables: more than anybody reads, 6 MiB. No client takes more than
   are left to the others: one alone has half of them. */
#define ROLLUP_UNVERIFIED_GROUPS UINT32_C(32768)
/* All ids of the daemon's table, and twice those of one client's, which may use half of these. */
#define ROLLUP_LINKS UINT32_C(196608)
/* Rows of the longest texts, and the tables that lead to them; 5 MiB less once it is sorted. */
#define ROLLUP_MAX_BYTES (UINT64_C(26) << 20)

struct rollup;

/* Whose tables the ids in blocks are looked up in. */
struct rollup_tables {
    const struct reasons *reasons;
    const struct clients *clients;
    const struct client_ledger *client_ledger;
};

/* What a roll-up, or several of them together, may still add. */
struct rollup_purse {
    uint32_t n_groups;
    uint32_t n_unverified_groups;
    uint32_t n_links;
};

/** rollup_purse_init() - for one roll-up's worth of groups */
void rollup_purse_init(struct rollup_purse *purse);

/**
 * rollup_new() - an empty roll-up
 * @purse:  shared with other roll-ups, each of which leaves as much as it takes; NULL: its own
 * Return: the roll-up, NULL without memory.
 */
KMEM_MUST_USE struct rollup *rollup_new(enum rollup_by by, const struct rollup_tables *tables,
                                        struct rollup_purse *purse);

/** rollup_age_from() - the tick that ages are counted from; before a block is added */
void rollup_age_from(struct rollup *rollup, uint32_t now);

/* 1,026: 512 of the daemon's own table, as many of clients', and OTHER_REASONS; 200 KiB. */
#define ROLLUP_AGED_GROUPS UINT32_C(512)

/**
 * rollup_keep_ages() - count live blocks by age, too, of as many reasons; before a block is added
 * Return: 0 or -ENOMEM.
 */
KMEM_MUST_USE int rollup_keep_ages(struct rollup *rollup);

/** rollup_add_released() - so many of a reason were released; of reasons without a block nothing */
void rollup_add_released(struct rollup *rollup, const char *reason, const uint32_t *n_by_range);

/** rollup_free() - some hundred calls of free() at most. Return: NULL. */
struct rollup *rollup_free(struct rollup *rollup);

/** rollup_add() - count a block in. Return: 0 or -ENOMEM; then the roll-up is as it was. */
KMEM_MUST_USE int rollup_add(struct rollup *rollup, const struct block *block);

/** rollup_add_reason() - count in what is known of all direct blocks of a reason; by reason only */
KMEM_MUST_USE int rollup_add_reason(struct rollup *rollup, uint32_t reason,
                                    const struct reason_totals *totals);

/** rollup_n_other() - how many blocks are in the group of those that have none of their own */
uint64_t rollup_n_other(const struct rollup *rollup);

/**
 * rollup_spent() - what rollup_add() has cost so far
 *
 * In entries looked at, as budgets have it: a block is one, a read of a reason
 * CLIENT_LEDGER_READ_COST.
 */
uint64_t rollup_spent(const struct rollup *rollup);

/** rollup_bytes() - what is allocated for it */
uint64_t rollup_bytes(const struct rollup *rollup);

enum {
    ROLLUP_OK,
    ROLLUP_E_MORE, /* rollup_sort_step(): the budget is spent, go on */
};

/**
 * rollup_sort_step() - put the n_first groups with the most bytes first; nothing is added any more
 * @budget:  how much to do, in entries looked at, about
 * Return: 0, ROLLUP_E_MORE, or -ENOMEM.
 */
KMEM_MUST_USE int rollup_sort_step(struct rollup *rollup, size_t n_first, uint32_t budget);

/** rollup_is_sorted() - whether rollup_sort_step() returned 0 */
bool rollup_is_sorted(const struct rollup *rollup);

/** rollup_sort() - all of it at once: for few groups. Return: 0 or -ENOMEM. */
KMEM_MUST_USE int rollup_sort(struct rollup *rollup);

/**
 * rollup_group_of() - what is counted for a client so far, before it is sorted; by client only
 * Return: its group, NULL if no block of it was counted.
 */
const struct rollup_group *rollup_group_of(const struct rollup *rollup,
                                           const struct client *client);

/**
 * rollup_find() - the group of a reason, before it is sorted; by reason only
 * Return: the group, which stays where it is; NULL: no block of it was counted.
 */
const struct rollup_group *rollup_find(const struct rollup *rollup, const char *reason);

/** rollup_n_groups() - how many groups there are */
size_t rollup_n_groups(const struct rollup *rollup);

/** rollup_group() - the group at an index below n_first, after it is sorted */
const struct rollup_group *rollup_group(const struct rollup *rollup, size_t index);

#endif

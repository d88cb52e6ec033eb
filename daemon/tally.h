/* SPDX-License-Identifier: MIT */
/*
 * tally.h - live blocks added up by reason, by client or by user
 *
 * Built block by block while others allocate and release, so an id may change its meaning between
 * two blocks: ids lead to a row only together with the generation they had.
 */
#ifndef DAEMON_TALLY_H
#define DAEMON_TALLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/clients.h"
#include "daemon/direct.h"
#include "daemon/reasons.h"
#include "daemon/told.h"
#include "proto/attributes.h"
#include "proto/limits.h"

enum tally_by { TALLY_BY_REASON, TALLY_BY_CLIENT, TALLY_BY_UID };

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
    const struct told *told;
};

/** tally_new() - an empty tally. Return: the tally, NULL without memory. */
KMEM_MUST_USE struct tally *tally_new(enum tally_by by, const struct tally_tables *tables);

/** tally_free() - Return: NULL. */
struct tally *tally_free(struct tally *tally);

/** tally_add() - count a block in. Return: 0 or -ENOMEM; then the tally is as it was. */
KMEM_MUST_USE int tally_add(struct tally *tally, const struct direct_block *block);

/** tally_sort() - put the groups with the most bytes first, once. Return: 0 or -ENOMEM. */
KMEM_MUST_USE int tally_sort(struct tally *tally);

/**
 * tally_group_of() - what is counted for a client so far, before tally_sort(); by client only
 * Return: its group, NULL if no block of it was counted.
 */
const struct tally_group *tally_group_of(const struct tally *tally, const struct client *client);

/** tally_n_groups() - how many groups there are */
size_t tally_n_groups(const struct tally *tally);

/** tally_group() - the group at an index below tally_n_groups(), after tally_sort() */
const struct tally_group *tally_group(const struct tally *tally, size_t index);

#endif

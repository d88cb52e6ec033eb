/* SPDX-License-Identifier: MIT */
/*
 * keys.h - the group that a block belongs to
 *
 * A daemon that rolls up all blocks says its groups itself. If kmemctl rolls up some of them, it
 * puts each where the daemon would: what a block does not say itself, the bounds of sizes and the
 * units of processes, is asked for once.
 */
#ifndef CTL_KEYS_H
#define CTL_KEYS_H

#include <stddef.h>
#include <stdint.h>

#include <kmem/query.h>

struct process_unit {
    uint32_t pid;
    char *unit;
};

struct keys {
    enum kmem_group_by by;
    uint64_t *bounds; /* by size: the most bytes that a block of each group has, the least first */
    size_t n_bounds;
    struct process_unit *units; /* by unit, the least pid first */
    size_t n_units;
};

/**
 * keys_init() - ask for what the groups are
 * Return: 0, or a negative errno as kmem_query_ledger() has it; keys_fini() is due either way.
 */
KMEM_MUST_USE int keys_init(struct keys *keys, enum kmem_group_by by, struct kmem_query *query);

void keys_fini(struct keys *keys);

/* Any number, and the NUL; a unit is not copied. */
#define KEY_BYTES 32

/** keys_of() - the key of the block's group; NULL: it says it itself, by reason, client and uid */
const char *keys_of(const struct keys *keys, const struct kmem_block *block, char *buffer);

#endif

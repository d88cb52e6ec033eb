/* SPDX-License-Identifier: MIT */
/*
 * growth.h - what has grown, group by group, from one ledger to another
 */
#ifndef CTL_GROWTH_H
#define CTL_GROWTH_H

#include <stddef.h>
#include <stdint.h>

#include <kmem/kmem.h>

#include "client/ctl/groups.h"

struct growth {
    const char *key; /* borrowed from the groups */
    int64_t grown_bytes;
    int64_t grown_blocks;
    uint64_t before_bytes;
    uint64_t after_bytes;
    uint64_t before_blocks;
    uint64_t after_blocks;
};

struct growths {
    struct growth *rows; /* what has grown most comes first; what is as it was is not there */
    size_t n_rows;
    struct growth total; /* of all groups; its key is "" */
};

/** growth_between() - after less before, as far as a signed number goes */
int64_t growth_between(uint64_t before, uint64_t after);

/**
 * growths_init() - compare two ledgers of one kind
 * @before, @after:  are sorted anew, and live as long as the rows
 * Return: 0 or -ENOMEM; growths_fini() is due either way.
 */
KMEM_MUST_USE int growths_init(struct growths *growths, struct groups *before,
                               struct groups *after);

void growths_fini(struct growths *growths);

#endif

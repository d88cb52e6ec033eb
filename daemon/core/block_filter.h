/* SPDX-License-Identifier: MIT */
/*
 * block_filter.h - which blocks an asker wants, and what it costs to find out
 *
 * What is looked at first costs least. A reason is read, and compared with the pattern, once for
 * each id as long as a page's answer is made: see BLOCK_FILTER_VERDICTS.
 */
#ifndef DAEMON_CORE_BLOCK_FILTER_H
#define DAEMON_CORE_BLOCK_FILTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/core/core.h"
#include "proto/attributes.h"
#include "proto/kmem.pb-c.h"

/* 128: more reasons than a page of blocks has, mostly; 2 KiB on the stack. */
#define BLOCK_FILTER_VERDICTS 128
/* A comparison of characters takes less than an eighth of what an entry of a ledger takes. */
#define BLOCK_FILTER_STEPS_A_COST 8

enum block_filter_verdict { VERDICT_NONE, VERDICT_TAKEN, VERDICT_LEFT };

struct block_filter {
    Kmem__BlockFilter asked; /* its reason is the request's, and must live as long */
    bool compares_detail;    /* what follows '#' in a reason is compared as well */
    struct {
        uint32_t owner; /* whose table the id is of: a slot; SLOT_NONE: the daemon's */
        uint32_t reason;
        enum block_filter_verdict verdict;
    } verdicts[BLOCK_FILTER_VERDICTS];
};

enum {
    BLOCK_FILTER_OK,
    BLOCK_FILTER_E_REASON, /* the pattern is no text, or too long */
    BLOCK_FILTER_E_KIND,   /* there is no such kind */
};

/** block_filter_init() - Return: 0 or BLOCK_FILTER_E_x. */
KMEM_MUST_USE int block_filter_init(struct block_filter *filter, const Kmem__BlockFilter *asked);

/**
 * block_filter_takes() - whether a block is wanted
 * @spent:  what that cost is added, in entries looked at, as budgets have it
 */
KMEM_MUST_USE bool block_filter_takes(struct block_filter *filter, const struct core *core,
                                      const struct block *block, uint32_t now, uint32_t *spent);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * ledger_fixture.h - a file of zeros, and the ledger that begins in it
 */
#ifndef TESTS_UNIT_LEDGER_FIXTURE_H
#define TESTS_UNIT_LEDGER_FIXTURE_H

#include <stdlib.h>

#include "proto/ledger.h"
#include "tests/unit/unit.h"

#define N_PAGES 64
#define REASON 7

static void *file;
static struct ledger ledger;

static inline int ledger_setup(void **state)
{
    struct ledger_layout layout;
    ledger_layout_init(&layout, N_PAGES);
    file = calloc(1, layout.total_bytes);
    assert_non_null(file);
    ledger_format(&ledger, file, N_PAGES);
    return 0;
}

static inline int ledger_teardown(void **state)
{
    free(file);
    return 0;
}

static inline void give(struct seg_off off)
{
    struct ledger_block block;
    assert_int_equal(ledger_find(&ledger, off, &block), 0);
    ledger_give(&ledger, &block);
}

#endif

/* SPDX-License-Identifier: MIT */
/*
 * pages_fixture.h - the pages of a segment, and their file
 */
#ifndef TESTS_UNIT_PAGES_FIXTURE_H
#define TESTS_UNIT_PAGES_FIXTURE_H

#include <stdlib.h>

#include "daemon/core/pages.h"
#include "tests/unit/unit.h"

/* A test may define another number before. */
#ifndef N_PAGES
#define N_PAGES 512
#endif
#define OWNER 9

static void *file;
static struct state segment;
static struct pages pages;

static inline int pages_setup(void **state)
{
    file = calloc(1, state_bytes(N_PAGES));
    assert_non_null(file);
    state_format(&segment, file, N_PAGES, N_PAGES, 1, 0);
    assert_int_equal(pages_init(&pages, &segment), 0);
    return 0;
}

static inline int pages_teardown(void **state)
{
    pages_fini(&pages);
    free(file);
    return 0;
}

/* A run of n_pages that begins at `page`, which is the beginning of a free one. */
static inline void take(uint32_t page, uint32_t n_pages)
{
    pages_take(&pages, page, n_pages, PAGE_DIRECT, OWNER);
    assert_int_equal(pages_check(&pages), 0);
}

static inline void give(uint32_t page)
{
    pages_give(&pages, page);
    assert_int_equal(pages_check(&pages), 0);
}

#endif

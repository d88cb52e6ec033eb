/* SPDX-License-Identifier: MIT */
/*
 * test_resize.c - the segment's size, asked of the core itself; and who is told to be in the way
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/core/resize.h"
#include "tests/unit/core_fixture.h"
#include "tests/unit/unit.h"

#define N_PAGES 512
#define HALF (N_PAGES / 2)

static struct client *alice;
static struct client *bob;
static char text[2000];

static int resize_setup(void **state)
{
    fixture_init(&fixture, N_PAGES, 10);
    alice = fixture_join(&fixture, 1);
    bob = fixture_join(&fixture, 2);
    return 0;
}

static int step(struct resize_request *request, uint32_t to_pages)
{
    const struct now now = {.ms = fixture.now_ms, .us = fixture.now_ms * 1000};
    const int r = resize_step(core, request, to_pages, now);
    assert_int_equal(core_check(core), 0);
    return r;
}

/* Blocks of a page each, of so many reasons in turn. */
static void hold_pages(struct client *client, uint32_t n_blocks, uint32_t n_reasons)
{
    char reason[32];
    for (uint32_t i = 0; i < n_blocks; i++) {
        (void)snprintf(reason, sizeof(reason), "reason %u", i % n_reasons);
        (void)fixture_allocate(&fixture, client, PAGE_BYTES, reason);
    }
}

static const char *holders(uint32_t from_page)
{
    resize_holders(core, from_page, text, sizeof(text));
    return text;
}

static uint32_t count(const char *words)
{
    uint32_t n = 0;
    for (const char *at = text; (at = strstr(at, words)); at += strlen(words)) {
        n++;
    }
    return n;
}

static void test_resize_holders_says_that_there_is_no_block(void **state)
{
    assert_string_equal(holders(HALF), "pages there are in use by a client, and no block");
}

static void test_resize_holders_tells_the_four_largest(void **state)
{
    hold_pages(alice, 20, 5);
    (void)fixture_allocate(&fixture, bob, 10 * PAGE_BYTES, "reason 0");
    hold_pages(alice, 1, 5);
    (void)holders(1);
    assert_non_null(strstr(text, "22 blocks ("));
    assert_non_null(strstr(text, ") lie there; 1 of process 2 (worker-2), \"reason 0\": "));
    assert_non_null(strstr(text, "; 5 of process 1 (worker-1), \"reason 0\": "));
    assert_int_equal(count(" of process "), 4);
}

static void test_resize_holders_of_more_than_are_told_apart_counts_them(void **state)
{
    hold_pages(alice, 100, 100);
    (void)holders(1);
    assert_non_null(strstr(text, "100 blocks ("));
    assert_int_equal(count(" of process "), 4);
}

static void test_resize_holders_tells_leased_blocks_apart(void **state)
{
    (void)fixture_ledger(&fixture, alice);
    const uint32_t page = fixture_lease(&fixture, alice, 8);
    fixture_carve_large(&fixture, alice, page, 3, 3 * PAGE_BYTES);
    (void)fixture_allocate(&fixture, alice, PAGE_BYTES, "no reason given");
    (void)holders(1);
    assert_non_null(strstr(text, "2 blocks ("));
    assert_int_equal(count("; 1 of process 1 (worker-1)"), 2);
}

static void test_resize_holders_is_cut_where_the_buffer_ends(void **state)
{
    hold_pages(alice, 4, 4);
    const uint32_t n_bytes = (uint32_t)strlen(holders(1));
    for (uint32_t n = 1; n <= n_bytes + 1; n++) {
        char cut[sizeof(text)];
        memset(cut, 'x', sizeof(cut));
        resize_holders(core, 1, cut, n);
        assert_int_equal(strlen(cut), n - 1);
        assert_memory_equal(cut, text, n - 1);
        assert_int_equal(cut[n], 'x');
    }
}

/* A slab reaches over the end: of its blocks those count that do. */
static void test_resize_holders_are_those_behind_the_end(void **state)
{
    const uint32_t size_class = fixture_class_of(3);
    const uint32_t n_blocks = size_classes[size_class].n_blocks;
    uint64_t first = UINT64_MAX;
    for (uint32_t i = 0; i < n_blocks; i++) {
        const struct seg_off off =
            fixture_allocate(&fixture, alice, size_classes[size_class].block_bytes, "slab");
        first = off.bytes < first ? off.bytes : first;
    }
    assert_int_equal(first % PAGE_BYTES, 0);
    (void)holders((uint32_t)(first >> PAGE_SHIFT) + 2);
    assert_null(strstr(text, "at least"));
    assert_true(strtoul(text, NULL, 10) < n_blocks);
}

static void test_resize_holders_of_more_than_are_looked_at_are_at_least_so_many(void **state)
{
    fixture_hold(&fixture, alice, 6000, 16);
    (void)holders(1);
    assert_ptr_equal(strstr(text, "at least "), text);
}

/* -------------------------------------------------------------------------------- stepping ---- */

static bool take_at_once(uint64_t at, uint64_t num_bytes, char *ret_why, size_t why_bytes,
                         void *user)
{
    resize_taken(core, NULL);
    return true;
}

static void test_resize_grows_at_once_when_the_memory_is_there(void **state)
{
    struct resize_request request = {.grows = false};
    assert_int_equal(step(&request, HALF), RESIZE_OK);
    core->config.take_memory = take_at_once;
    assert_int_equal(step(&request, N_PAGES), RESIZE_OK);
    assert_int_equal(core->pages.n_pages, N_PAGES);
}

static void test_resize_waits_for_the_blocks_of_the_dead(void **state)
{
    struct resize_request request = {.grows = false};
    (void)fixture_allocate(&fixture, alice, (N_PAGES - 8) * PAGE_BYTES, "all there is");
    core_end(core, alice, false, fixture.now_ms);
    assert_int_equal(step(&request, HALF), RESIZE_E_WAIT);
    while (core_has_dead(core)) {
        fixture_reap(&fixture, UINT32_MAX);
    }
    assert_int_equal(step(&request, HALF), RESIZE_OK);
}

static void test_resize_waits_for_pages_that_are_being_made_0(void **state)
{
    struct resize_request request = {.grows = false};
    pages_scrub_begin(&core->pages, N_PAGES - 4, 4);
    assert_int_equal(step(&request, HALF), RESIZE_E_WAIT);
    pages_scrub_end(&core->pages, true);
    assert_int_equal(step(&request, HALF), RESIZE_OK);
}

static void test_resize_does_not_wait_for_pages_that_stay(void **state)
{
    struct resize_request request = {.grows = false};
    uint32_t page;
    (void)fixture_allocate(&fixture, alice, (N_PAGES - 8) * PAGE_BYTES, "all there is");
    assert_int_equal(pages_find(&core->pages, 1, &page), 0);
    pages_scrub_begin(&core->pages, page, 1);
    (void)fixture_allocate(&fixture, bob, PAGE_BYTES, "in the way");
    assert_int_equal(step(&request, page + 1), RESIZE_E_HELD);
    pages_scrub_end(&core->pages, true);
}

#define RESIZE_TEST(test) cmocka_unit_test_setup_teardown(test, resize_setup, core_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RESIZE_TEST(test_resize_holders_says_that_there_is_no_block),
        RESIZE_TEST(test_resize_holders_tells_the_four_largest),
        RESIZE_TEST(test_resize_holders_of_more_than_are_told_apart_counts_them),
        RESIZE_TEST(test_resize_holders_tells_leased_blocks_apart),
        RESIZE_TEST(test_resize_holders_is_cut_where_the_buffer_ends),
        RESIZE_TEST(test_resize_holders_are_those_behind_the_end),
        RESIZE_TEST(test_resize_holders_of_more_than_are_looked_at_are_at_least_so_many),
        RESIZE_TEST(test_resize_grows_at_once_when_the_memory_is_there),
        RESIZE_TEST(test_resize_waits_for_the_blocks_of_the_dead),
        RESIZE_TEST(test_resize_waits_for_pages_that_are_being_made_0),
        RESIZE_TEST(test_resize_does_not_wait_for_pages_that_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

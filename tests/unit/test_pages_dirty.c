/* SPDX-License-Identifier: MIT */
/*
 * test_pages_dirty.c - which pages are known to be zero, and which are to be made so
 */
#include <stdlib.h>
#include <string.h>

#include "tests/unit/pages_fixture.h"
#include "tests/unit/unit.h"

/* What is free and dirty from a page on. */
static void assert_next_dirty(uint32_t from, uint32_t page, uint32_t n_pages)
{
    uint32_t found = 0;
    assert_int_equal(pages_next_dirty(&pages, from, N_PAGES, &found), n_pages);
    assert_int_equal(found, n_pages > 0 ? page : 0);
    assert_int_equal(pages_check(&pages), 0);
}

static void test_pages_next_dirty_finds_what_came_back(void **state)
{
    uint32_t page;
    assert_next_dirty(0, 0, 0); /* nobody has had any */
    take(1, 70);
    take(71, 5);
    assert_next_dirty(0, 0, 0); /* they are somebody's */
    give(1);
    assert_int_equal(pages.n_dirty, 70);
    assert_next_dirty(0, 1, 70);
    assert_next_dirty(60, 60, 11);
    assert_next_dirty(71, 0, 0);
    assert_int_equal(pages_next_dirty(&pages, 0, 16, &page), 16);
    assert_int_equal(page, 1);
    give(71);
    assert_next_dirty(0, 1, 75); /* one free run with what was never given */
}

static void test_pages_next_dirty_knows_nothing_of_what_is_somebodys_again(void **state)
{
    take(1, 10);
    give(1);
    take(1, 4);
    assert_int_equal(pages.n_dirty, 6);
    assert_next_dirty(0, 5, 6);
    give(1);
    assert_next_dirty(0, 1, 10);
}

static void test_pages_scrub_end_makes_them_as_new(void **state)
{
    bool zero;
    take(1, 200);
    give(1);
    pages_scrub_begin(&pages, 1, 100);
    assert_int_equal(pages_check(&pages), 0);
    pages_scrub_end(&pages, true);
    assert_int_equal(pages.n_dirty, 100);
    assert_next_dirty(0, 101, 100);
    assert_int_equal(pages_zero_stretch(&pages, 1, 200, &zero), 100);
    assert_true(zero);
    pages_scrub_begin(&pages, 101, 100);
    pages_scrub_end(&pages, true);
    assert_int_equal(pages.n_dirty, 0);
    assert_next_dirty(0, 0, 0);
    take(1, 3); /* a direct run: its owner writes what it likes */
    assert_int_equal(pages_zero_stretch(&pages, 1, 200, &zero), 3);
    assert_false(zero);
}

/* How many pages from `page` on, at most n_pages, are as the first: given or never given. */
static uint32_t zero_stretch(uint32_t page, uint32_t n_pages, bool is_zero)
{
    bool zero;
    const uint32_t n_alike = pages_zero_stretch(&pages, page, n_pages, &zero);
    assert_int_equal(zero, is_zero);
    return n_alike;
}

/* Whoever begins with what another left knows which pages to clear, and which are 0. */
static void test_pages_init_knows_who_was_given_what(void **state)
{
    take(1, 10);
    take(11, 100);
    give(11);
    pages_scrub_begin(&pages, 51, 10);
    pages_scrub_end(&pages, true);

    pages_fini(&pages);
    assert_int_equal(pages_init(&pages, &segment), 0);

    assert_int_equal(pages_check(&pages), 0);
    assert_int_equal(pages.n_dirty, 90);
    assert_next_dirty(0, 11, 40);
    assert_next_dirty(51, 61, 50);
    assert_int_equal(zero_stretch(1, N_PAGES - 1, false), 50);
    assert_int_equal(zero_stretch(51, N_PAGES - 51, true), 10);
    assert_int_equal(zero_stretch(111, N_PAGES - 111, true), N_PAGES - 111);
    give(1);
    assert_next_dirty(0, 1, 50);
}

static void test_pages_note_given_of_any_range(void **state)
{
    for (uint32_t page = 0; page < N_PAGES; page += 7) {
        for (uint32_t n_pages = 1; page + n_pages <= N_PAGES; n_pages += 9) {
            memset((void *)segment.maybe_dirty, 0,
                   STATE_MAYBE_DIRTY_WORDS(N_PAGES) * sizeof(uint64_t));
            assert_int_equal(zero_stretch(0, N_PAGES, true), N_PAGES);
            pages_note_maybe_dirty(&pages, page, n_pages);
            assert_int_equal(zero_stretch(page, N_PAGES - page, false), n_pages);
            assert_int_equal(zero_stretch(page, 1, false), 1);
            if (page > 0) {
                assert_int_equal(zero_stretch(0, N_PAGES, true), page);
            }
            if (page + n_pages < N_PAGES) {
                const uint32_t n_behind = N_PAGES - page - n_pages;
                assert_int_equal(zero_stretch(page + n_pages, n_behind, true), n_behind);
            }
        }
    }
}

static void test_pages_take_notes_what_it_gives_but_for_leases(void **state)
{
    pages_take(&pages, 1, 3, PAGE_LEASED, OWNER);
    assert_int_equal(zero_stretch(1, 3, true), 3); /* whoever leases it says so next */
    pages_give(&pages, 1);
    assert_int_equal(pages.n_dirty, 0); /* or was killed before: nobody could write to it */
    take(1, 2);
    give(1);

    assert_int_equal(zero_stretch(1, 5, false), 2);
}

static void test_pages_check_finds_what_is_not_dirty_as_it_should_be(void **state)
{
    take(1, 10);
    take(11, 10);
    give(11);

    pages.n_dirty++;
    assert_int_equal(pages_check(&pages), PAGES_E_CORRUPT);
    pages.n_dirty--;
    pages.dirty[0] ^= UINT64_C(1) << 5; /* somebody's */
    assert_int_equal(pages_check(&pages), PAGES_E_CORRUPT);
    pages.dirty[0] ^= UINT64_C(1) << 5 | UINT64_C(1) << 15; /* free, and not zero */
    assert_int_equal(pages_check(&pages), PAGES_E_CORRUPT);
    pages.dirty[0] ^= UINT64_C(1) << 15;
    assert_int_equal(pages_check(&pages), 0);
}

static void test_pages_next_dirty_ends_with_the_segment(void **state)
{
    take(1, N_PAGES - 1);
    give(1);
    assert_next_dirty(N_PAGES - 5, N_PAGES - 5, 5);
}

#define GIVEN_TEST(test) cmocka_unit_test_setup_teardown(test, pages_setup, pages_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        GIVEN_TEST(test_pages_next_dirty_finds_what_came_back),
        GIVEN_TEST(test_pages_next_dirty_knows_nothing_of_what_is_somebodys_again),
        GIVEN_TEST(test_pages_scrub_end_makes_them_as_new),
        GIVEN_TEST(test_pages_init_knows_who_was_given_what),
        GIVEN_TEST(test_pages_note_given_of_any_range),
        GIVEN_TEST(test_pages_take_notes_what_it_gives_but_for_leases),
        GIVEN_TEST(test_pages_check_finds_what_is_not_dirty_as_it_should_be),
        GIVEN_TEST(test_pages_next_dirty_ends_with_the_segment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * test_pages_scrub.c - pages that are nobody's while they are made 0
 */
#include <stdlib.h>
#include <string.h>

#define N_PAGES 300
#include "tests/unit/pages_fixture.h"
#include "tests/unit/unit.h"

/* More stores than an operation makes. */
#define N_IMAGES 32

/* What the file said of pages before each store. */
static struct image {
    uint64_t words[N_PAGES];
    uint64_t maybe_dirty[N_PAGES / 64 + 1];
} images[N_IMAGES];
static unsigned n_images;
static void *next_file; /* another's that begins with one of them */
static bool records;

void __real_state_commit(struct state *state, _Atomic uint64_t *where, uint64_t value);
void __wrap_state_commit(struct state *state, _Atomic uint64_t *where, uint64_t value);
void __wrap_state_commit(struct state *state, _Atomic uint64_t *where, uint64_t value)
{
    if (records) {
        assert_true(n_images < N_IMAGES);
        memcpy(images[n_images].words, (void *)segment.page_words, sizeof(images->words));
        memcpy(images[n_images++].maybe_dirty, (void *)segment.maybe_dirty,
               sizeof(images->maybe_dirty));
    }
    __real_state_commit(state, where, value);
}

static int scrub_setup(void **state)
{
    next_file = calloc(1, state_bytes(N_PAGES));
    assert_non_null(next_file);
    records = false;
    n_images = 0;
    return pages_setup(state);
}

static int scrub_teardown(void **state)
{
    free(next_file);
    return pages_teardown(state);
}

/* [11, 111) came back; before it and behind it are other owners. */
static void come_back(void)
{
    pages_take(&pages, 1, 10, PAGE_DIRECT, OWNER);
    pages_take(&pages, 11, 100, PAGE_DIRECT, OWNER);
    pages_take(&pages, 111, 10, PAGE_DIRECT, OWNER);
    pages_give(&pages, 11);
    assert_int_equal(pages_check(&pages), 0);
}

static bool is_zero(const struct pages *of, uint32_t page)
{
    bool zero;
    (void)pages_zero_stretch(of, page, 1, &zero); /* at least this one */
    return zero;
}

/* Whoever is killed before one of the stores: the next one finds nothing lost. */
static void check_images(uint32_t page, uint32_t n_pages)
{
    for (unsigned i = 0; i < n_images; i++) {
        struct state state;
        struct pages next;
        state_format(&state, next_file, N_PAGES, N_PAGES, 1, 0);
        memcpy((void *)state.page_words, images[i].words, sizeof(images->words));
        memcpy((void *)state.maybe_dirty, images[i].maybe_dirty, sizeof(images->maybe_dirty));
        assert_int_equal(pages_init(&next, &state), 0);
        assert_int_equal(pages_check(&next), 0);
        assert_int_equal(next.n_free_pages, N_PAGES - 21);
        assert_true(next.scrub_page == 0 || next.scrub_page == page);
        if (next.scrub_page != 0) {
            assert_int_equal(PAGE_WORD_PAGES(pages_word(&next, page)), n_pages);
            pages_scrub_end(&next, false);
        }
        assert_int_equal(pages_check(&next), 0);
        assert_int_equal(PAGE_WORD_PAGES(pages_word(&next, 11)), 100);
        pages_fini(&next);
    }
    n_images = 0;
}

static void scrub(uint32_t page, uint32_t n_pages, bool zero)
{
    records = true;
    pages_scrub_begin(&pages, page, n_pages);
    assert_int_equal(pages_check(&pages), 0);
    assert_int_equal(pages.scrub_page, page);
    assert_int_equal(pages.n_free_pages, N_PAGES - 21);
    check_images(page, n_pages);
    pages_scrub_end(&pages, zero);
    records = false;
    assert_int_equal(pages_check(&pages), 0);
    assert_int_equal(pages.scrub_page, 0);
    assert_int_equal(pages.n_free_pages, N_PAGES - 21);
    check_images(page, n_pages);
}

static void test_pages_scrub_begin_of_any_part(void **state)
{
    come_back();
    for (uint32_t page = 11; page < 111; page += 9) {
        for (uint32_t n_pages = 1; page + n_pages <= 111; n_pages++) {
            scrub(page, n_pages, false);
            assert_int_equal(pages.n_dirty, 100);
        }
    }
}

static void test_pages_scrub_end_remembers_what_is_zero(void **state)
{
    come_back();
    scrub(11, 40, true);
    assert_int_equal(pages.n_dirty, 60);
    scrub(90, 21, true);
    assert_int_equal(pages.n_dirty, 39);
    scrub(51, 39, false);
    assert_int_equal(pages.n_dirty, 39);
    for (uint32_t page = 11; page < 111; page++) {
        assert_int_equal(is_zero(&pages, page), page < 51 || page >= 90);
    }
}

static void test_pages_find_leaves_out_what_is_scrubbed(void **state)
{
    uint32_t page;
    come_back();
    pages_take(&pages, 121, N_PAGES - 121, PAGE_DIRECT, OWNER);
    pages_scrub_begin(&pages, 41, 20);
    assert_int_equal(pages_find(&pages, 51, &page), PAGES_E_FULL);
    assert_int_equal(pages_find(&pages, 50, &page), 0);
    assert_int_equal(page, 61);
    pages_scrub_end(&pages, true);
    assert_int_equal(pages_find(&pages, 100, &page), 0);
    assert_int_equal(page, 11);
}

/* It counts as free; a single page, too, can not be had of it. */
static void test_pages_find_of_one_page_is_FULL_while_all_that_is_free_is_scrubbed(void **state)
{
    uint32_t page;
    come_back();
    pages_take(&pages, 121, N_PAGES - 121, PAGE_DIRECT, OWNER);
    pages_scrub_begin(&pages, 11, 100);
    assert_int_equal(pages_find(&pages, 1, &page), PAGES_E_FULL);
    assert_int_equal(pages_find(&pages, 100, &page), PAGES_E_FULL);
    pages_scrub_end(&pages, true);
    assert_int_equal(pages_find(&pages, 1, &page), 0);
    assert_int_equal(page, 11);
}

/* Neighbours may come and go meanwhile. */
static void test_pages_give_beside_what_is_scrubbed(void **state)
{
    come_back();
    pages_scrub_begin(&pages, 11, 100);
    pages_give(&pages, 1);
    pages_give(&pages, 111);
    assert_int_equal(pages_check(&pages), 0);
    pages_scrub_end(&pages, true);
    assert_int_equal(pages_check(&pages), 0);
    assert_int_equal(PAGE_WORD_PAGES(pages_word(&pages, 1)), N_PAGES - 1);
}

static void test_pages_await_scrub_until_it_hangs(void **state)
{
    come_back();
    assert_false(pages_await_scrub(&pages));
    pages_scrub_begin(&pages, 11, 10);
    assert_true(pages_await_scrub(&pages));
    const uint64_t events = pages.scrub_events;
    pages_scrub_hang(&pages);
    assert_false(pages_await_scrub(&pages));
    assert_int_equal(pages.scrub_events, events + 1);
    pages_scrub_end(&pages, false);
    assert_int_equal(pages.scrub_events, events + 2);
    pages_scrub_begin(&pages, 11, 10);
    assert_true(pages_await_scrub(&pages));
    pages_scrub_end(&pages, false);
}

/* One order at a time: two such runs are nobody's work. */
static void test_pages_init_refuses_two_that_are_scrubbed(void **state)
{
    struct pages other;
    come_back();
    pages_scrub_begin(&pages, 11, 10);
    assert_int_equal(pages_init(&other, &segment), 0);
    assert_int_equal(pages_check(&other), 0);
    pages_fini(&other);
    atomic_store(&segment.page_words[111], PAGE_WORD(PAGE_SCRUB, 0, 10));
    assert_int_equal(pages_init(&other, &segment), PAGES_E_CORRUPT);
    atomic_store(&segment.page_words[111], PAGE_WORD(PAGE_DIRECT, OWNER, 10));
    pages.scrub_page = 0;
    assert_int_equal(pages_check(&pages), PAGES_E_CORRUPT);
    pages.scrub_page = 11;
    assert_int_equal(pages_check(&pages), 0);
}

static void test_pages_largest_extent_has_what_is_scrubbed_in_it(void **state)
{
    come_back();
    pages_take(&pages, 121, N_PAGES - 121, PAGE_DIRECT, OWNER);
    assert_int_equal(pages_largest_extent(&pages), 100);
    pages_scrub_begin(&pages, 41, 20); /* in the middle */
    assert_int_equal(pages_largest_free_extent(&pages), 50);
    assert_int_equal(pages_largest_extent(&pages), 100);
    pages_scrub_hang(&pages);
    assert_int_equal(pages_largest_extent(&pages), 50);
    pages_scrub_end(&pages, true);
    pages_scrub_begin(&pages, 11, 100); /* all of it */
    assert_int_equal(pages_largest_free_extent(&pages), 0);
    assert_int_equal(pages_largest_extent(&pages), 100);
    pages_scrub_end(&pages, true);
    pages_give(&pages, 121);
    pages_scrub_begin(&pages, N_PAGES - 10, 10); /* up to the end */
    assert_int_equal(pages_largest_extent(&pages), N_PAGES - 121);
    pages_scrub_end(&pages, true);
}

#define SCRUB_TEST(test) cmocka_unit_test_setup_teardown(test, scrub_setup, scrub_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCRUB_TEST(test_pages_scrub_begin_of_any_part),
        SCRUB_TEST(test_pages_scrub_end_remembers_what_is_zero),
        SCRUB_TEST(test_pages_find_leaves_out_what_is_scrubbed),
        SCRUB_TEST(test_pages_find_of_one_page_is_FULL_while_all_that_is_free_is_scrubbed),
        SCRUB_TEST(test_pages_give_beside_what_is_scrubbed),
        SCRUB_TEST(test_pages_await_scrub_until_it_hangs),
        SCRUB_TEST(test_pages_largest_extent_has_what_is_scrubbed_in_it),
        SCRUB_TEST(test_pages_init_refuses_two_that_are_scrubbed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

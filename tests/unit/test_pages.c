/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/broken.h"
#include "tests/unit/fail.h"

#include "tests/unit/pages_fixture.h"
#include "tests/unit/unit.h"

static void word_set(uint32_t page, uint64_t word)
{
    atomic_store(&segment.page_words[page], word);
}

static void assert_run(uint32_t page, enum page_state page_state, uint32_t n_pages)
{
    const uint64_t word = pages_word(&pages, page);
    assert_int_equal(PAGE_WORD_STATE(word), page_state);
    assert_int_equal(PAGE_WORD_PAGES(word), n_pages);
    for (uint32_t i = 0; i < n_pages; i++) {
        assert_int_equal(pages_run_of(&pages, page + i), page);
    }
}

static int init_again(void)
{
    pages_fini(&pages);
    return pages_init(&pages, &segment);
}

/* ------------------------------------------------------------------------------------ init ---- */

static void test_pages_init_of_a_new_segment_has_one_free_run(void **state)
{
    assert_int_equal(pages.n_free_pages, N_PAGES - 1);
    assert_int_equal(pages_largest_free_extent(&pages), N_PAGES - 1);
    assert_run(0, PAGE_RESERVED, 1);
    assert_run(1, PAGE_FREE, N_PAGES - 1);
    assert_int_equal(pages_check(&pages), 0);
}

static void test_pages_init_finds_the_runs_that_words_tell_of(void **state)
{
    word_set(1, PAGE_WORD(PAGE_LEASED, 3, 10));
    word_set(11, PAGE_WORD(PAGE_FREE, 0, 2));
    word_set(13, PAGE_WORD(PAGE_DIRECT, 0, N_PAGES - 13));
    word_set(14, UINT64_MAX); /* inside a run: means nothing */

    assert_int_equal(init_again(), 0);

    assert_int_equal(pages_check(&pages), 0);
    assert_int_equal(pages.n_free_pages, 2);
    assert_run(1, PAGE_LEASED, 10);
    assert_int_equal(PAGE_WORD_OWNER(pages_word(&pages, 1)), 3);
    assert_run(11, PAGE_FREE, 2);
    assert_run(13, PAGE_DIRECT, N_PAGES - 13);
}

static void test_pages_init_joins_free_neighbours(void **state)
{
    word_set(1, PAGE_WORD(PAGE_FREE, 0, 3));
    word_set(4, PAGE_WORD(PAGE_FREE, 0, 4));
    word_set(8, PAGE_WORD(PAGE_DIRECT, 0, 2));
    word_set(10, PAGE_WORD(PAGE_FREE, 0, 100));
    word_set(110, PAGE_WORD(PAGE_FREE, 0, 1));
    word_set(111, PAGE_WORD(PAGE_FREE, 0, N_PAGES - 111));

    assert_int_equal(init_again(), 0);

    assert_int_equal(pages_check(&pages), 0);
    assert_run(1, PAGE_FREE, 7);
    assert_run(8, PAGE_DIRECT, 2);
    assert_run(10, PAGE_FREE, N_PAGES - 10);
    assert_int_equal(pages.n_free_pages, N_PAGES - 3);
    give(8);
    assert_run(1, PAGE_FREE, N_PAGES - 1);
}

static void test_pages_init_joins_the_leases_of_one_owner(void **state)
{
    word_set(1, PAGE_WORD(PAGE_LEASED, 3, 3));
    word_set(4, PAGE_WORD(PAGE_LEASED, 3, 4));
    word_set(8, PAGE_WORD(PAGE_LEASED, 4, N_PAGES - 8));

    assert_int_equal(init_again(), 0);

    assert_run(1, PAGE_LEASED, 7);
    assert_run(8, PAGE_LEASED, N_PAGES - 8);
    assert_int_equal(pages_check(&pages), 0);
}

static void assert_init_refuses(uint32_t page, uint64_t word)
{
    const uint64_t was = pages_word(&pages, page);
    word_set(page, word);
    struct pages other;
    assert_int_equal(pages_init(&other, &segment), PAGES_E_CORRUPT);
    word_set(page, was);
}

static void test_pages_init_refuses_every_corrupt_word(void **state)
{
    take(1, 20);
    take(21, 20);

    for (uint32_t kind = PAGE_SCRUB + 1; kind <= 15; kind++) {
        assert_init_refuses(21, PAGE_WORD(kind, 0, 20)); /* no such state */
    }
    assert_init_refuses(21, 0);
    assert_init_refuses(21, PAGE_WORD(PAGE_STALE, 0, 20));
    assert_init_refuses(21, PAGE_WORD(PAGE_RESERVED, 0, 20));         /* page 0 alone is */
    assert_init_refuses(21, PAGE_WORD(PAGE_LEASED, CLIENTS_MAX, 20)); /* to nobody */
    assert_init_refuses(21, PAGE_WORD(PAGE_DIRECT, 0, 0));
    assert_init_refuses(21, PAGE_WORD(PAGE_DIRECT, 0, N_PAGES - 20)); /* a page too many */
    assert_init_refuses(21, PAGE_WORD(PAGE_DIRECT, 0, UINT32_MAX));
    assert_init_refuses(21, PAGE_WORD(PAGE_DIRECT, 0, 19)); /* the next begins inside a run */
    assert_init_refuses(0, PAGE_WORD(PAGE_FREE, 0, 1));
    assert_init_refuses(0, PAGE_WORD(PAGE_DIRECT, 0, 1));
    assert_init_refuses(0, PAGE_WORD(PAGE_RESERVED, 0, 21)); /* pages that nobody would have */
    assert_init_refuses(0, 0);
    assert_int_equal(init_again(), 0);
}

static void test_pages_init_without_memory_fails_cleanly(void **state)
{
    struct pages other;

    for (unsigned nth = 1; fail_again("memory", nth, ENOMEM); nth++) {
        const int r = pages_init(&other, &segment);
        if (fail_end()) {
            assert_int_equal(r, -ENOMEM);
        } else {
            assert_int_equal(r, 0);
            assert_int_equal(nth, 9);
        }
    }
    pages_fini(&other);
}

/* Only the pages themselves: the rest of the state would not fit this address space. */
static void test_pages_init_of_the_largest_segment(void **state)
{
    const uint32_t n_pages = SEGMENT_MAX_BYTES / PAGE_BYTES;
    _Atomic uint64_t *words = calloc(n_pages + (size_t)1, sizeof(*words));
    assert_non_null(words);
    _Atomic uint64_t *maybe_dirty = calloc(STATE_MAYBE_DIRTY_WORDS(n_pages), sizeof(*maybe_dirty));
    assert_non_null(maybe_dirty);
    struct state largest = {.header = (void *)words,
                            .page_words = words + 1,
                            .maybe_dirty = maybe_dirty,
                            .n_pages = n_pages};
    atomic_store(&words[1], PAGE_WORD(PAGE_RESERVED, 0, 1));
    atomic_store(&words[2], PAGE_WORD(PAGE_FREE, 0, n_pages - 1));
    struct pages all;
    uint32_t page;

    assert_int_equal(pages_init(&all, &largest), 0);

    assert_int_equal(pages_find(&all, n_pages, &page), PAGES_E_FULL);
    assert_int_equal(pages_find(&all, n_pages - 1, &page), 0);
    assert_int_equal(page, 1);
    pages_take(&all, page, n_pages - 2, PAGE_DIRECT, 0);
    assert_int_equal(pages_check(&all), 0);
    assert_int_equal(pages_find(&all, 1, &page), 0);
    assert_int_equal(page, n_pages - 1);
    assert_int_equal(pages_run_of(&all, n_pages - 2), 1);
    pages_give(&all, 1);
    assert_int_equal(pages_check(&all), 0);
    assert_int_equal(pages_largest_free_extent(&all), n_pages - 1);
    pages_fini(&all);
    free(maybe_dirty);
    free(words);
}

/* --------------------------------------------------------------------------- take and give ---- */

static void test_pages_take_splits_a_run(void **state)
{
    pages_take(&pages, 1, 5, PAGE_LEASED, 77);

    assert_int_equal(pages_check(&pages), 0);
    assert_run(1, PAGE_LEASED, 5);
    assert_int_equal(PAGE_WORD_OWNER(pages_word(&pages, 1)), 77);
    assert_run(6, PAGE_FREE, N_PAGES - 6);
    assert_int_equal(pages.n_free_pages, N_PAGES - 6);
}

static void test_pages_take_of_a_whole_run_leaves_nothing(void **state)
{
    take(1, N_PAGES - 1);

    assert_int_equal(pages.n_free_pages, 0);
    assert_int_equal(pages_largest_free_extent(&pages), 0);
    uint32_t page;
    assert_int_equal(pages_find(&pages, 1, &page), PAGES_E_FULL);
}

/* Three runs of 10 pages at 1, 11 and 21, and behind them a free one. */
static void take_three(void)
{
    take(1, 10);
    take(11, 10);
    take(21, 10);
}

static void test_pages_give_between_owned_runs_joins_nothing(void **state)
{
    take_three();

    give(11);

    assert_run(1, PAGE_DIRECT, 10);
    assert_run(11, PAGE_FREE, 10);
    assert_run(21, PAGE_DIRECT, 10);
}

static void test_pages_give_joins_the_left_neighbour(void **state)
{
    take_three();
    give(1);

    give(11);

    assert_run(1, PAGE_FREE, 20);
    assert_run(21, PAGE_DIRECT, 10);
}

static void test_pages_give_joins_the_right_neighbour(void **state)
{
    take_three();

    give(21);

    assert_run(11, PAGE_DIRECT, 10);
    assert_run(21, PAGE_FREE, N_PAGES - 21);
}

static void test_pages_give_joins_both_neighbours(void **state)
{
    take_three();
    give(1);
    give(21);

    give(11);

    assert_run(1, PAGE_FREE, N_PAGES - 1);
    assert_int_equal(pages.n_free_pages, N_PAGES - 1);
}

static void test_pages_give_at_the_end_of_the_segment(void **state)
{
    take(1, N_PAGES - 2);
    take(N_PAGES - 1, 1);

    give(N_PAGES - 1);

    assert_run(N_PAGES - 1, PAGE_FREE, 1);
}

static void test_pages_misuse_is_a_bug(void **state)
{
    take(1, 10);
    uint32_t page;

    assert_broken(pages_give(&pages, 0));
    assert_broken(pages_give(&pages, 11)); /* free already */
    assert_broken(pages_take(&pages, 1, 1, PAGE_DIRECT, 0));
    assert_broken(pages_take(&pages, 11, N_PAGES, PAGE_DIRECT, 0));
    assert_broken(assert_int_equal(pages_find(&pages, 0, &page), 0));
    assert_broken((void)pages_run_of(&pages, N_PAGES));
    assert_int_equal(pages_check(&pages), 0);
}

/* ------------------------------------------------------------------------------------ find ---- */

static void test_pages_find_takes_the_shortest_of_three_that_are_nearly_alike(void **state)
{
    uint32_t page;
    /* Free: 67 at 1, 65 at 69, 64 at 135. */
    take(1, 67);
    take(68, 1);
    take(69, 65);
    take(134, 1);
    take(135, 64);
    take(199, N_PAGES - 199);
    give(1);
    give(69);
    give(135);

    assert_int_equal(pages_find(&pages, 65, &page), 0);
    assert_int_equal(page, 69);
    assert_int_equal(pages_find(&pages, 66, &page), 0);
    assert_int_equal(page, 1);
    assert_int_equal(pages_find(&pages, 67, &page), 0);
    assert_int_equal(page, 1);
    assert_int_equal(pages_find(&pages, 68, &page), PAGES_E_FULL);
    assert_int_equal(pages_largest_free_extent(&pages), 67);
}

/* However many runs there are, and however they lie: a list without an end is not read. */
static void test_pages_find_and_the_largest_extent_follow_no_list(void **state)
{
    uint32_t page;
    take(1, 32);
    take(33, 1);
    take(34, 32);
    take(66, N_PAGES - 66);
    give(1);
    give(34);
    pages.next[34] = 34;

    assert_int_equal(pages_find(&pages, 33, &page), PAGES_E_FULL);
    assert_int_equal(pages_find(&pages, 31, &page), 0);
    assert_int_equal(page, 34);
    assert_int_equal(pages_largest_free_extent(&pages), 32);
    pages.next[34] = 1;
    assert_int_equal(pages_check(&pages), 0);
}

static void test_pages_find_prefers_the_shortest_that_fits(void **state)
{
    uint32_t page;
    take(1, 3);
    take(4, 1);
    take(5, 8);
    take(13, 1);
    give(1);
    give(5);

    assert_int_equal(pages_find(&pages, 3, &page), 0);
    assert_int_equal(page, 1);
    assert_int_equal(pages_find(&pages, 4, &page), 0);
    assert_int_equal(page, 5);
    assert_int_equal(pages_find(&pages, 9, &page), 0);
    assert_int_equal(page, 14);
}

static void test_pages_find_takes_the_first_of_single_pages(void **state)
{
    (void)state;
    uint32_t page;
    take(1, N_PAGES - 1);
    assert_int_equal(pages_find(&pages, 1, &page), PAGES_E_FULL);
    pages_give_part(&pages, 300, 1); /* an exact fit, behind runs that are longer */
    pages_give_part(&pages, 200, 2);
    pages_give_part(&pages, 100, 70);

    assert_int_equal(pages_find(&pages, 1, &page), 0);
    assert_int_equal(page, 100);
    take(100, 70);
    assert_int_equal(pages_find(&pages, 1, &page), 0);
    assert_int_equal(page, 200);
    assert_int_equal(pages_find(&pages, 2, &page), 0);
    assert_int_equal(page, 200);
    take(200, 1);
    assert_int_equal(pages_find(&pages, 1, &page), 0);
    assert_int_equal(page, 201);
}

/* 64 to 67 pages share a bin, and 68 to 71; the list of a bin begins with what came back last. */
static void test_pages_find_takes_the_shortest_that_is_long_enough(void **state)
{
    static const uint32_t lengths[] = {66, 65, 71, 69, 70, 64};
    uint32_t begin[sizeof(lengths) / sizeof(lengths[0])];
    uint32_t at = 1;
    uint32_t page;
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        begin[i] = at;
        take(at, lengths[i]);
        take(at + lengths[i], 1);
        at += lengths[i] + 1;
    }
    take(at, N_PAGES - at);
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        give(begin[i]);
    }

    assert_int_equal(pages_find(&pages, 66, &page), 0);
    assert_int_equal(page, begin[0]);
    assert_int_equal(pages_find(&pages, 65, &page), 0);
    assert_int_equal(page, begin[1]);
    assert_int_equal(pages_find(&pages, 67, &page), 0); /* of the next bin the shortest */
    assert_int_equal(page, begin[3]);
    assert_int_equal(pages_find(&pages, 70, &page), 0);
    assert_int_equal(page, begin[4]);
    assert_int_equal(pages_find(&pages, 71, &page), 0);
    assert_int_equal(page, begin[2]);
}

/* The one that is long enough stands behind a dozen that are not. */
static void test_pages_find_looks_past_runs_that_are_too_short(void **state)
{
    uint32_t page;
    uint32_t at = 1;
    /* 32 and 33 pages share a bin. On its list: 12 of 32, and behind them one of 33. */
    take(at, 33);
    take(at + 33, 1);
    at += 34;
    for (int i = 0; i < 12; i++) {
        take(at, 32);
        take(at + 32, 1);
        at += 33;
    }
    take(at, N_PAGES - at);
    give(1);
    for (uint32_t i = 0; i < 12; i++) {
        give(35 + i * 33);
    }
    assert_int_equal(pages_find(&pages, 33, &page), 0); /* the 13th */
    assert_int_equal(page, 1);
    assert_int_equal(pages_find(&pages, 34, &page), PAGES_E_FULL);
}

/* ----------------------------------------------------------------------------------- check ---- */

/* Runs: 10 owned, 10 free, 10 owned, the rest free. */
static void prepare_to_spoil(void)
{
    take_three();
    give(11);
}

static void test_pages_check_finds_wrong_words(void **state)
{
    prepare_to_spoil();
    const uint64_t wrong[] = {
        PAGE_WORD(PAGE_DIRECT, 0, 0),  PAGE_WORD(PAGE_DIRECT, 0, 9),
        PAGE_WORD(PAGE_DIRECT, 0, 11), PAGE_WORD(PAGE_DIRECT, 0, N_PAGES),
        PAGE_WORD(PAGE_FREE, 0, 10),   PAGE_WORD(PAGE_STALE, 0, 10),
        PAGE_WORD(15, 0, 10),          PAGE_WORD(PAGE_RESERVED, 0, 10),
    };

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        word_set(21, wrong[i]);
        assert_int_equal(pages_check(&pages), PAGES_E_CORRUPT);
    }
    word_set(21, PAGE_WORD(PAGE_DIRECT, 0, 10));
    assert_int_equal(pages_check(&pages), 0);
}

static void test_pages_check_finds_a_wrong_index(void **state)
{
    prepare_to_spoil();

    pages.n_free_pages--;
    assert_int_equal(pages_check(&pages), PAGES_E_CORRUPT);
    pages.n_free_pages++;
    pages.left[21] = 12;
    assert_int_equal(pages_check(&pages), PAGES_E_CORRUPT);
    pages.left[21] = 11;
    pages.starts.levels[0][0] ^= UINT64_C(1) << 21; /* a run without its bit */
    assert_int_equal(pages_check(&pages), PAGES_E_CORRUPT);
    pages.starts.levels[0][0] ^= UINT64_C(1) << 21;
    pages.starts.levels[0][0] ^= UINT64_C(1) << 25; /* a bit without a run */
    assert_int_equal(pages_check(&pages), PAGES_E_CORRUPT);
    pages.starts.levels[0][0] ^= UINT64_C(1) << 25;
    pages.starts.levels[1][0] ^= UINT64_C(1) << 5; /* a word that has none is said to have one */
    assert_int_equal(pages_check(&pages), PAGES_E_CORRUPT);
    pages.starts.levels[1][0] ^= UINT64_C(1) << 5;
    run_starts_remove(&pages.free_starts, 11); /* a free run without its bit */
    assert_int_equal(pages_check(&pages), PAGES_E_CORRUPT);
    run_starts_add(&pages.free_starts, 11);
    run_starts_add(&pages.free_starts, 12); /* a bit inside one */
    assert_int_equal(pages_check(&pages), PAGES_E_CORRUPT);
    run_starts_remove(&pages.free_starts, 12);
    assert_int_equal(pages_check(&pages), 0);
}

static void test_pages_check_finds_wrong_lists(void **state)
{
    prepare_to_spoil();

    pages.bin_first[10] = 0; /* a free run on no list */
    assert_int_equal(pages_check(&pages), PAGES_E_CORRUPT);
    run_starts_remove(&pages.lengths, 10); /* likewise, and the set agrees */
    assert_int_equal(pages_check(&pages), PAGES_E_CORRUPT);
    pages.bin_first[11] = 11; /* on another list */
    run_starts_add(&pages.lengths, 11);
    assert_int_equal(pages_check(&pages), PAGES_E_CORRUPT);
    pages.bin_first[11] = 0;
    run_starts_remove(&pages.lengths, 11);
    pages.bin_first[10] = 1; /* an owned run */
    run_starts_add(&pages.lengths, 10);
    assert_int_equal(pages_check(&pages), PAGES_E_CORRUPT);
    pages.bin_first[10] = 11;
    pages.next[11] = 11; /* a cycle */
    assert_int_equal(pages_check(&pages), PAGES_E_CORRUPT);
    pages.next[11] = 0;
    pages.prev[11] = 1;
    assert_int_equal(pages_check(&pages), PAGES_E_CORRUPT);
    pages.prev[11] = 0;
    assert_int_equal(pages_check(&pages), 0);
}

#define PAGES_TEST(test) cmocka_unit_test_setup_teardown(test, pages_setup, pages_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PAGES_TEST(test_pages_init_of_a_new_segment_has_one_free_run),
        PAGES_TEST(test_pages_init_finds_the_runs_that_words_tell_of),
        PAGES_TEST(test_pages_init_joins_free_neighbours),
        PAGES_TEST(test_pages_init_joins_the_leases_of_one_owner),
        PAGES_TEST(test_pages_init_refuses_every_corrupt_word),
        PAGES_TEST(test_pages_init_without_memory_fails_cleanly),
        PAGES_TEST(test_pages_init_of_the_largest_segment),
        PAGES_TEST(test_pages_take_splits_a_run),
        PAGES_TEST(test_pages_take_of_a_whole_run_leaves_nothing),
        PAGES_TEST(test_pages_give_between_owned_runs_joins_nothing),
        PAGES_TEST(test_pages_give_joins_the_left_neighbour),
        PAGES_TEST(test_pages_give_joins_the_right_neighbour),
        PAGES_TEST(test_pages_give_joins_both_neighbours),
        PAGES_TEST(test_pages_give_at_the_end_of_the_segment),
        PAGES_TEST(test_pages_misuse_is_a_bug),
        PAGES_TEST(test_pages_find_takes_the_shortest_of_three_that_are_nearly_alike),
        PAGES_TEST(test_pages_find_and_the_largest_extent_follow_no_list),
        PAGES_TEST(test_pages_find_prefers_the_shortest_that_fits),
        PAGES_TEST(test_pages_find_takes_the_first_of_single_pages),
        PAGES_TEST(test_pages_find_takes_the_shortest_that_is_long_enough),
        PAGES_TEST(test_pages_find_looks_past_runs_that_are_too_short),
        PAGES_TEST(test_pages_check_finds_wrong_words),
        PAGES_TEST(test_pages_check_finds_a_wrong_index),
        PAGES_TEST(test_pages_check_finds_wrong_lists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

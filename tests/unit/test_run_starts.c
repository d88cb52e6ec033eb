/* SPDX-License-Identifier: MIT */
/*
 * test_run_starts.c - the last start up to a page, however far away, by a few words
 */
#include <errno.h>

#include "daemon/core/run_starts.h"
#include "proto/limits.h"
#include "tests/unit/broken.h"
#include "tests/unit/fail.h"
#include "tests/unit/unit.h"
#include "tests/support/seeded.h"

#define SEGMENT_MAX_PAGES ((uint32_t)(SEGMENT_MAX_BYTES >> PAGE_SHIFT))
/* Up a level at a time, and down again. */
#define WORDS_MAX (2 * STARTS_LEVELS - 1)

static void test_run_starts_are_the_nearest_the_next_and_the_first(void **state)
{
    static bool naive[5000];
    struct seeded seeded = {4711};
    struct run_starts starts;
    print_message("seed %llu\n", (unsigned long long)seeded.state);
    assert_int_equal(run_starts_init(&starts, 5000), 0);
    run_starts_add(&starts, 0);
    naive[0] = true;

    for (uint32_t step = 0; step < 20000; step++) {
        /* Seldom and often in turn: long gaps, and hardly any. */
        const uint32_t page = 1 + seeded_below(&seeded, 4999);
        const bool add = seeded_below(&seeded, 8) < (step / 2000 % 2 == 0 ? 1U : 7U);
        naive[page] = add;
        (add ? run_starts_add : run_starts_remove)(&starts, page);
        const uint32_t from = seeded_below(&seeded, 5000);
        uint32_t expected = from;
        while (!naive[expected]) {
            expected--;
        }
        assert_int_equal(run_starts_last(&starts, from, NULL), expected);
        expected = from;
        while (expected < 5000 && !naive[expected]) {
            expected++;
        }
        assert_int_equal(run_starts_next(&starts, from), expected % 5000);
    }
    assert_true(run_starts_check(&starts));
    for (uint32_t page = 0; page < 5000; page++) {
        if (naive[page]) {
            assert_int_equal(run_starts_first(&starts), page);
            run_starts_remove(&starts, page);
        }
    }
    assert_int_equal(run_starts_first(&starts), 0); /* empty */
    assert_true(run_starts_check(&starts));
    run_starts_fini(&starts);
}

static void test_run_starts_last_reads_some_words_however_far_away_it_is(void **state)
{
    static const uint32_t sizes[] = {64, 65, 4096, 10000000, SEGMENT_MAX_PAGES};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct run_starts starts;
        uint32_t n_words;
        assert_int_equal(run_starts_init(&starts, sizes[i]), 0);
        run_starts_add(&starts, 0);
        for (uint32_t page = sizes[i] - 1; page > 0; page /= 2) {
            assert_int_equal(run_starts_last(&starts, page, &n_words), 0);
            assert_in_range(n_words, 1, WORDS_MAX);
        }
        run_starts_add(&starts, sizes[i] / 2 + 1);
        assert_int_equal(run_starts_last(&starts, sizes[i] - 1, &n_words), sizes[i] / 2 + 1);
        assert_in_range(n_words, 1, WORDS_MAX);
        assert_int_equal(run_starts_last(&starts, sizes[i] / 2, &n_words), 0);
        assert_in_range(n_words, 1, WORDS_MAX);
        assert_true(run_starts_check(&starts));
        run_starts_fini(&starts);
    }
}

static void test_run_starts_last_of_an_empty_set_is_a_bug(void **state)
{
    struct run_starts starts;
    assert_int_equal(run_starts_init(&starts, 1000), 0);

    assert_broken((void)run_starts_last(&starts, 999, NULL));
    assert_broken((void)run_starts_next(&starts, 1000));
    assert_broken(run_starts_add(&starts, 1000));

    run_starts_fini(&starts);
}

static void test_run_starts_check_finds_levels_that_differ(void **state)
{
    struct run_starts starts;
    assert_int_equal(run_starts_init(&starts, 1000), 0);
    run_starts_add(&starts, 700);

    starts.levels[1][0] = 0;
    assert_false(run_starts_check(&starts));
    starts.levels[1][0] = UINT64_C(1) << 700 / 64;
    assert_true(run_starts_check(&starts));
    starts.levels[2][0] = 0;
    assert_false(run_starts_check(&starts));

    run_starts_fini(&starts);
}

static void test_run_starts_init_without_memory_is_ENOMEM(void **state)
{
    struct run_starts starts;

    assert_true(fail_again("memory", 1, ENOMEM));
    assert_int_equal(run_starts_init(&starts, 1000), -ENOMEM);
    assert_true(fail_end());

    run_starts_fini(&starts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_run_starts_are_the_nearest_the_next_and_the_first),
        cmocka_unit_test(test_run_starts_last_reads_some_words_however_far_away_it_is),
        cmocka_unit_test(test_run_starts_last_of_an_empty_set_is_a_bug),
        cmocka_unit_test(test_run_starts_check_finds_levels_that_differ),
        cmocka_unit_test(test_run_starts_init_without_memory_is_ENOMEM),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>

#include "daemon/core/ranking.h"
#include "tests/unit/broken.h"
#include "tests/unit/fail.h"
#include "tests/unit/unit.h"
#include "tests/support/seeded.h"

#define N_MAX 3000

/* The weights that were added; a thing is the place of its own. */
static uint64_t weights[N_MAX];

static bool is_before(const void *thing, const void *other)
{
    return (const uint64_t *)thing < (const uint64_t *)other;
}

static int compare(const void *a, const void *b)
{
    const uint64_t *left = *(const uint64_t *const *)a;
    const uint64_t *right = *(const uint64_t *const *)b;
    if (*left != *right) {
        return *left > *right ? -1 : 1;
    }
    return (left > right) - (left < right);
}

static void test_ranking_step_puts_each_in_its_place(void **state)
{
    static const uint32_t counts[] = {0, 1, 2, 3, 10, 1000, N_MAX};
    struct seeded seeded = {4712};
    static const uint64_t *sorted[N_MAX];
    print_message("seed %llu\n", (unsigned long long)seeded.state);

    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        const uint32_t n = counts[i];
        struct ranking ranking;
        assert_int_equal(ranking_init(&ranking, n, is_before), 0);
        for (uint32_t k = 0; k < n; k++) {
            weights[k] = seeded_below(&seeded, n / 2 + 1); /* some are equal */
            ranking_add(&ranking, weights[k], &weights[k]);
            sorted[k] = &weights[k];
        }
        qsort(sorted, n, sizeof(sorted[0]), compare);
        while (ranking_step(&ranking, SIZE_MAX) != 0) {
        }
        for (uint32_t k = 0; k < n; k++) {
            assert_ptr_equal(ranking_at(&ranking, k), sorted[k]);
        }
        ranking_fini(&ranking);
    }
}

static void test_ranking_step_to_the_first_ones_costs_little_more_than_a_look(void **state)
{
    struct seeded seeded = {4713};
    struct ranking ranking;
    uint64_t spent = 0;
    uint64_t largest = 0;
    assert_int_equal(ranking_init(&ranking, N_MAX, is_before), 0);
    for (uint32_t k = 0; k < N_MAX; k++) {
        weights[k] = seeded_next(&seeded);
        largest = weights[k] > largest ? weights[k] : largest;
        ranking_add(&ranking, weights[k], &weights[k]);
    }

    for (uint32_t cost = 1; cost != 0; spent += cost) {
        cost = ranking_step(&ranking, 8);
        assert_in_range(cost, 0, 13); /* the height of the heap, and 1 */
    }

    assert_in_range(spent, 8, 2 * N_MAX);
    assert_int_equal(*(const uint64_t *)ranking_at(&ranking, 0), largest);
    assert_broken((void)ranking_at(&ranking, 8));
    ranking_fini(&ranking);
}

static void test_ranking_add_after_a_step_is_a_bug(void **state)
{
    struct ranking ranking;
    assert_int_equal(ranking_init(&ranking, 2, is_before), 0);
    ranking_add(&ranking, 1, &weights[0]);
    assert_int_equal(ranking_step(&ranking, 0), 0);

    assert_broken(ranking_add(&ranking, 1, &weights[1]));
    ranking_fini(&ranking);
}

static void test_ranking_init_without_memory_is_ENOMEM(void **state)
{
    struct ranking ranking;

    fail_nth("memory", 1, ENOMEM);
    assert_int_equal(ranking_init(&ranking, 2, is_before), -ENOMEM);
    assert_true(fail_end());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ranking_step_puts_each_in_its_place),
        cmocka_unit_test(test_ranking_step_to_the_first_ones_costs_little_more_than_a_look),
        cmocka_unit_test(test_ranking_add_after_a_step_is_a_bug),
        cmocka_unit_test(test_ranking_init_without_memory_is_ENOMEM),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

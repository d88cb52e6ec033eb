/* SPDX-License-Identifier: MIT */
#include "daemon/core/rollup_ranges.h"
#include "proto/size_class.h"
#include "tests/unit/unit.h"

/* In the range of a size there is room for it, and in none of the ranges before. */
static void assert_range(uint64_t num_bytes)
{
    const uint32_t range = rollup_range_of_size(num_bytes);
    assert_true(rollup_size_most(range) >= num_bytes);
    assert_true(range == 0 || rollup_size_most(range - 1) < num_bytes);
}

static void test_ranges_of_small_sizes_are_the_size_classes(void **state)
{
    for (uint32_t num_bytes = 1; num_bytes <= SMALL_MAX_BYTES; num_bytes++) {
        const uint32_t range = rollup_range_of_size(num_bytes);
        assert_int_equal(range, size_class_of(num_bytes));
        assert_int_equal(rollup_size_most(range), size_classes[range].block_bytes);
        assert_range(num_bytes);
    }
}

static void test_ranges_of_large_sizes_are_doublings(void **state)
{
    assert_int_equal(rollup_range_of_size(SMALL_MAX_BYTES + 1), N_SIZE_CLASSES);
    assert_int_equal(rollup_size_most(N_SIZE_CLASSES), 131072);
    for (uint32_t bits = 17; bits <= 62; bits++) {
        const uint64_t most = UINT64_C(1) << bits;
        assert_int_equal(rollup_size_most(rollup_range_of_size(most)), most);
        assert_range(most);
        assert_range(most - 1);
        assert_range(most / 2 + 1);
    }
}

/* What a client's ledger says may be anything. */
static void test_ranges_of_sizes_that_can_not_be_are_the_last(void **state)
{
    const uint32_t last = rollup_range_of_size(UINT64_C(1) << 62);
    assert_int_equal(rollup_range_of_size(UINT64_MAX), last);
    assert_int_equal(rollup_range_of_size((UINT64_C(1) << 62) + 1), last);
    assert_int_equal(rollup_range_of_size(0), 0);
    assert_true(last < 100);
}

static void test_ranges_of_ages_begin_where_they_say(void **state)
{
    static const uint64_t least[] = {0, 1000, 10000, 60000, 600000, 3600000, 86400000, 604800000};
    for (uint32_t i = 0; i < sizeof(least) / sizeof(least[0]); i++) {
        assert_int_equal(rollup_range_of_age(least[i]), i);
        assert_int_equal(rollup_age_least(i), least[i]);
        if (i > 0) {
            assert_int_equal(rollup_range_of_age(least[i] - 1), i - 1);
        }
    }
    assert_int_equal(rollup_range_of_age(UINT64_MAX), 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ranges_of_small_sizes_are_the_size_classes),
        cmocka_unit_test(test_ranges_of_large_sizes_are_doublings),
        cmocka_unit_test(test_ranges_of_sizes_that_can_not_be_are_the_last),
        cmocka_unit_test(test_ranges_of_ages_begin_where_they_say),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

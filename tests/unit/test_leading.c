/* SPDX-License-Identifier: MIT */
/*
 * test_leading.c - what most bytes are of, beside an exact count
 */
#include "daemon/core/leading.h"
#include "tests/support/seeded.h"
#include "tests/unit/unit.h"

static void test_leading_of_one_key_is_it_and_sole(void **state)
{
    struct leading leading;
    uint64_t num_bytes;
    leading_init(&leading);
    leading_note(&leading, 7, 100);
    leading_note(&leading, 7, 11);

    assert_true(leading_first(&leading, &num_bytes) == 7);
    assert_true(num_bytes == 111);
    assert_true(leading_is_sole(&leading));
}

static void test_leading_of_as_many_keys_as_counters_is_exact(void **state)
{
    struct leading leading;
    uint64_t num_bytes;
    leading_init(&leading);
    for (uint64_t key = 0; key < LEADING_KEYS; key++) {
        leading_note(&leading, key, 10 * (1 + key % 5));
    }

    assert_true(leading_first(&leading, &num_bytes) == 4);
    assert_true(num_bytes == 50);
    assert_false(leading_is_sole(&leading));
}

/* A thousand keys, one of them with a fifth of the bytes, in any order. */
static void test_leading_finds_what_has_more_than_its_share_among_many(void **state)
{
    struct seeded seeded = {99};
    for (uint32_t round = 0; round < 100; round++) {
        struct leading leading;
        uint64_t num_bytes;
        uint64_t sum = 0;
        leading_init(&leading);
        for (uint32_t i = 0; i < 5000; i++) {
            const uint64_t key =
                seeded_below(&seeded, 5) == 0 ? 1000000 : seeded_next(&seeded) % 1000;
            leading_note(&leading, key, 64);
            sum += 64;
        }
        assert_true(leading_first(&leading, &num_bytes) == 1000000);
        assert_true(num_bytes <= sum);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_leading_of_one_key_is_it_and_sole),
        cmocka_unit_test(test_leading_of_as_many_keys_as_counters_is_exact),
        cmocka_unit_test(test_leading_finds_what_has_more_than_its_share_among_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

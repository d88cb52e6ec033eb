/* SPDX-License-Identifier: MIT */
/*
 * test_ctl_measure.c - sizes and ages, as they are typed and as kmemctl prints them
 */
#include "client/ctl/measure.h"
#include "tests/unit/unit.h"

static void assert_bytes(const char *text, uint64_t wanted)
{
    uint64_t num_bytes = 0;
    assert_true(measure_bytes(text, &num_bytes));
    assert_int_equal(num_bytes, wanted);
}

static void assert_age(const char *text, uint64_t wanted_ms)
{
    uint64_t age_ms = 0;
    assert_true(measure_age(text, &age_ms));
    assert_int_equal(age_ms, wanted_ms);
}

static void test_measure_bytes_takes_what_people_write(void **state)
{
    assert_bytes("0", 0);
    assert_bytes("4096", 4096);
    assert_bytes("1,536", 1536);
    assert_bytes("64KiB", 65536);
    assert_bytes("64k", 65536);
    assert_bytes("1.5M", 1572864);
    assert_bytes("1.5 MiB", 1572864);
    assert_bytes("2G", UINT64_C(2) << 30);
    assert_bytes("1TiB", UINT64_C(1) << 40);
    assert_bytes("44 B", 44);
}

static void test_measure_age_takes_what_people_write(void **state)
{
    assert_age("90", 90000);
    assert_age("500ms", 500);
    assert_age("4.2 s", 4200);
    assert_age("5m", 300000);
    assert_age("2h30m", 9000000);
    assert_age("3 m 07 s", 187000);
    assert_age("9 d 03 h", UINT64_C(788400000));
    assert_age("1w", UINT64_C(604800000));
}

static void test_measure_refuses_what_is_none(void **state)
{
    static const char *const wrong[] = {
        "",
        " ",
        "x",
        "-1",
        "1x",
        "1.2.3",
        ".",
        "K",
        "1KiB2",
        "0x1",
        "1e3kib",
        "1 K B",
        "infinity",
        "nan",
        "+1",
        "99999999999999999999",
        "9999999999999TiB",
        "1111111111111111111111111111111111111111111111111",
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        uint64_t number = 0;
        assert_false(measure_bytes(wrong[i], &number));
        assert_false(measure_age(wrong[i], &number));
    }
}

static void test_measure_permille_rounds_and_ends(void **state)
{
    assert_int_equal(measure_permille(1, 3), 333);
    assert_int_equal(measure_permille(2, 3), 667);
    assert_int_equal(measure_permille(7, 7), 1000);
    assert_int_equal(measure_permille(1, 0), 0);
    assert_true(measure_permille(18446744073709551615.0, 1) == UINT64_C(1000000000000000000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_measure_bytes_takes_what_people_write),
        cmocka_unit_test(test_measure_age_takes_what_people_write),
        cmocka_unit_test(test_measure_refuses_what_is_none),
        cmocka_unit_test(test_measure_permille_rounds_and_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

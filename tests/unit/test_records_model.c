/* SPDX-License-Identifier: MIT */
/*
 * test_records_model.c - random operations on the records, beside a model that is too simple to err
 *
 * After each, the checkers recount everything, and another server makes its tables of a copy of the
 * state: it must say the same, and store nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/records.h"

#define N_STEPS 50000

static void assert_recovers(const struct records *records, const struct records_model *model,
                            struct records *other)
{
    const char *why;
    records_abandon(other);
    records_copy(other, records);
    assert_int_equal(records_recover(other, &why), 0);
    assert_null(why);
    assert_int_equal(records_check(other), 0);
    assert_true(records_are(other, model));
    assert_false(records_differ(other, records));
}

static void test_records_like_the_model(void **state)
{
    (void)state;
    struct seeded seeded = {20261129};
    print_message("seed %llu\n", (unsigned long long)seeded.state);
    static struct records records;
    static struct records other;
    static struct records_model model;
    uint32_t n_done[RECORDS_OPS] = {0};
    records_open(&records);
    records_open(&other);

    for (uint32_t step = 0; step < N_STEPS; step++) {
        const bool grows = step / 1000 % 2 == 0;
        const enum records_op_kind kind = seeded_below(&seeded, RECORDS_OPS);
        const bool is_end = kind == RECORDS_REMOVE || kind == RECORDS_LET_GO ||
                            kind == RECORDS_UNPUBLISH || kind == RECORDS_RETURN;
        const bool is_begin = kind == RECORDS_HOLD || kind == RECORDS_PUBLISH;
        struct records_op op;
        if (((grows ? is_end : is_begin) && seeded_below(&seeded, 6) != 0) ||
            !records_op_choose(&seeded, &model, kind, &op)) {
            continue;
        }
        records_op_do(&records, &op);
        records_op_note(&model, &op);
        n_done[kind]++;
        assert_int_equal(records_check(&records), 0);
        assert_true(records_are(&records, &model));
        assert_recovers(&records, &model, &other);
    }

    for (uint32_t kind = 0; kind < RECORDS_OPS; kind++) {
        print_message("operation %u was done %u times\n", kind, n_done[kind]);
        assert_true(n_done[kind] >= 50);
    }
    records_end(&records);
    records_end(&other);
    records_close(&records);
    records_close(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_records_like_the_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

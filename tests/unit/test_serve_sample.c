/* SPDX-License-Identifier: MIT */
/*
 * test_serve_sample.c - a sample is bounded, and valid, whatever clients write
 */
#include <errno.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>

#include "client/serve/sample.h"
#include "tests/unit/fail.h"
#include "tests/unit/unit.h"

FAIL_WRAP_AS("memory", char *, strdup, (const char *text), (text), NULL)
FAIL_WRAP_AS("memory", void *, reallocarray, (void *bytes, size_t n, size_t n_bytes),
             (bytes, n, n_bytes), NULL)

/* What the daemon would say. */
static const struct kmem_ledger_row *rows;
static size_t n_rows;
static int limits_error;

int kmem_query_usage(struct kmem_query *query, kmem_statistic_fn each, void *user)
{
    const struct kmem_daemon daemon = {.segment_name = "video", .version = "1.2", .pid = 42};
    const struct kmem_statistic statistic = {"used_bytes", "gauge", "bytes", "live", 90};
    (void)query;
    return each(&daemon, &statistic, user);
}

int kmem_query_limits(struct kmem_query *query, kmem_limit_fn each, void *user)
{
    const struct kmem_limit limit = {"clients", "count", "how many", 3, 64};
    (void)query;
    return limits_error ? limits_error : each(&limit, user);
}

int kmem_query_refusal_counts(struct kmem_query *query, kmem_refusal_count_fn each, void *user)
{
    const struct kmem_refusal_count row = {"block", "no_room", "there was none", 5};
    (void)query;
    return each(&row, user);
}

int kmem_query_ledger(struct kmem_query *query, enum kmem_group_by by, kmem_ledger_fn each,
                      void *user)
{
    int r = 0;
    (void)query;
    assert_int_equal(by, KMEM_BY_REASON);
    for (size_t i = 0; r == 0 && i < n_rows; i++) {
        r = each(&rows[i], user);
    }
    return r;
}

static struct sample sample_of(const struct kmem_ledger_row *of_rows, size_t n, size_t n_reasons)
{
    struct sample sample;
    rows = of_rows;
    n_rows = n;
    assert_int_equal(sample_init(&sample, NULL, n_reasons), 0);
    return sample;
}

static void test_sample_init_keeps_the_largest_and_adds_up_the_others(void **state)
{
    const struct kmem_ledger_row four[] = {
        {"a", 1, 50, 9, 0, 0}, {"b", 1, 30, 5, 0, 0}, {"c", 2, 8, 70, 0, 0}, {"d", 3, 2, 1, 0, 0}};
    struct sample sample = sample_of(four, 4, 2);
    assert_int_equal(sample.reasons.n_groups, 3);
    assert_string_equal(sample.reasons.groups[0].key, "a");
    assert_string_equal(sample.reasons.groups[2].key, SAMPLE_OTHER);
    assert_int_equal(sample.reasons.groups[2].num_bytes, 10);
    assert_int_equal(sample.reasons.groups[2].n_blocks, 5);
    assert_int_equal(sample.reasons.groups[2].oldest_ms, 70);
    assert_int_equal(groups_total(&sample.reasons).num_bytes, 90);
    sample_fini(&sample);
}

static void test_sample_init_counts_a_reason_called_other_as_such(void **state)
{
    const struct kmem_ledger_row three[] = {
        {"other", 1, 50, 9, 0, 0}, {"b", 1, 30, 5, 0, 0}, {"c", 2, 8, 7, 0, 0}};
    struct sample sample = sample_of(three, 3, 2);
    assert_int_equal(sample.reasons.n_groups, 2);
    assert_string_equal(sample.reasons.groups[0].key, SAMPLE_OTHER);
    assert_int_equal(sample.reasons.groups[0].num_bytes, 58);
    sample_fini(&sample);
}

static void test_sample_init_joins_what_is_one_label_once_it_is_valid(void **state)
{
    const struct kmem_ledger_row hostile[] = {
        {"a\xFE", 1, 50, 9, 0, 0}, {"a\xFF", 1, 30, 5, 0, 0}, {"\xED\xA0\x80", 1, 1, 1, 0, 0}};
    struct sample sample = sample_of(hostile, 3, 9);
    assert_int_equal(sample.reasons.n_groups, 2);
    assert_string_equal(sample.reasons.groups[0].key, "a\xEF\xBF\xBD");
    assert_int_equal(sample.reasons.groups[0].num_bytes, 80);
    assert_string_equal(sample.reasons.groups[1].key, "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");
    sample_fini(&sample);
}

static void test_sample_init_of_an_older_daemon_lacks_what_it_does_not_know(void **state)
{
    limits_error = -EPROTONOSUPPORT;
    struct sample sample = sample_of(NULL, 0, 9);
    limits_error = 0;
    assert_int_equal(sample.n_limits, 0);
    assert_int_equal(sample.n_refusals, 1);
    assert_int_equal(sample.reasons.n_groups, 0);
    sample_fini(&sample);
}

static void test_sample_init_passes_a_fault_on(void **state)
{
    struct sample sample;
    limits_error = -ECONNRESET;
    assert_int_equal(sample_init(&sample, NULL, 9), -ECONNRESET);
    limits_error = 0;
    sample_fini(&sample);
}

/* Whichever allocation fails, it is said, and nothing is lost: a sanitizer looks. */
static void test_sample_init_says_that_there_is_no_memory(void **state)
{
    const struct kmem_ledger_row three[] = {
        {"a", 1, 50, 9, 0, 0}, {"b", 1, 30, 5, 0, 0}, {"c", 2, 8, 7, 0, 0}};
    rows = three;
    n_rows = 3;
    unsigned nth;
    for (nth = 1; fail_again("memory", nth, ENOMEM); nth++) {
        struct sample sample;
        const int r = sample_init(&sample, NULL, 1);
        if (fail_end()) {
            assert_int_equal(r, -ENOMEM);
        } else {
            assert_int_equal(r, 0);
            assert_int_equal(sample.reasons.n_groups, 2);
        }
        sample_fini(&sample);
    }
    assert_true(nth > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sample_init_keeps_the_largest_and_adds_up_the_others),
        cmocka_unit_test(test_sample_init_counts_a_reason_called_other_as_such),
        cmocka_unit_test(test_sample_init_joins_what_is_one_label_once_it_is_valid),
        cmocka_unit_test(test_sample_init_of_an_older_daemon_lacks_what_it_does_not_know),
        cmocka_unit_test(test_sample_init_passes_a_fault_on),
        cmocka_unit_test(test_sample_init_says_that_there_is_no_memory),
    };
    (void)setlocale(LC_CTYPE, "C.UTF-8");
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * test_ctl_hostile.c - what kmemctl shows of a daemon that is not kmemd, and says what it likes
 */
#include <stdlib.h>
#include <string.h>

#include "client/ctl/command.h"
#include "tests/unit/fake_segment.h"
#include "tests/unit/shown.h"
#include "tests/unit/unit.h"

static void test_usage_show_of_a_name_that_is_no_text_is_valid_json(void **state)
{
    const struct kmem_statistic statistic = {
        .name = "a\xE5", .kind = "gauge", .unit = "1", .text = "b\xE5", .value = 1};
    struct kmem_query query = fake_segment();
    query.statistics = &statistic;
    query.n_statistics = 1;
    const struct shown shown = show(usage_show, query, (struct options){.format = FORMAT_JSON});

    assert_non_null(strstr(shown.text, "\"a\xEF\xBF\xBD\": 1"));
    free(shown.text);
}

static void test_reasons_show_of_a_reason_deeper_than_any_ends(void **state)
{
    char deep[4 * KMEM_REASON_MAX_BYTES + 1];
    const struct kmem_ledger_row row = {deep, 1, 1, 1, 0, 0};
    struct kmem_query query = fake_segment_empty();
    (void)memset(deep, '/', sizeof(deep) - 1);
    deep[sizeof(deep) - 1] = '\0';
    query.ledgers[KMEM_BY_REASON] = &row;
    query.n_ledgers[KMEM_BY_REASON] = 1;
    const struct shown shown = show(reasons_show, query, (struct options){.depth = 0});

    assert_int_equal(shown.status, 0);
    free(shown.text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_usage_show_of_a_name_that_is_no_text_is_valid_json),
        cmocka_unit_test(test_reasons_show_of_a_reason_deeper_than_any_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

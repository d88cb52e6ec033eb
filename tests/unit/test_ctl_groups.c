/* SPDX-License-Identifier: MIT */
/*
 * test_ctl_groups.c - the ledger's groups: kept, folded, joined, sorted
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/ctl/groups.h"
#include "tests/unit/fake_query.h"
#include "tests/unit/unit.h"

static void add(struct groups *groups, const char *key, uint64_t n_blocks, uint64_t num_bytes,
                uint64_t oldest_ms)
{
    const struct kmem_ledger_row row = {
        .key = key, .n_blocks = n_blocks, .num_bytes = num_bytes, .oldest_ms = oldest_ms};

    assert_int_equal(groups_add(&row, groups), 0);
}

static void assert_group(const struct groups *groups, size_t at, const char *key, uint64_t n_blocks,
                         uint64_t num_bytes, uint64_t oldest_ms)
{
    assert_true(at < groups->n_groups);
    assert_string_equal(groups->groups[at].key, key);
    assert_int_equal(groups->groups[at].n_blocks, n_blocks);
    assert_int_equal(groups->groups[at].num_bytes, num_bytes);
    assert_int_equal(groups->groups[at].oldest_ms, oldest_ms);
}

static void add_video(struct groups *groups)
{
    add(groups, "video/capture/scratch", 1, 100, 7);
    add(groups, "audio", 1, 60, 1);
    add(groups, "video/index", 2, 30, 9);
    add(groups, "video", 4, 5, 2);
    add(groups, "videotape", 1, 4, 3);
}

static void test_groups_fold_to_one_level_joins_the_family(void **state)
{
    struct groups groups = {0};

    add_video(&groups);
    groups_fold(&groups, 1);
    assert_int_equal(groups.n_groups, 3);
    assert_group(&groups, 0, "video", 7, 135, 9);
    assert_group(&groups, 1, "audio", 1, 60, 1);
    assert_group(&groups, 2, "videotape", 1, 4, 3);
    groups_fini(&groups);
}

static void test_groups_fold_to_two_levels(void **state)
{
    struct groups groups = {0};

    add_video(&groups);
    groups_fold(&groups, 2);
    assert_int_equal(groups.n_groups, 5);
    assert_group(&groups, 0, "video/capture", 1, 100, 7);
    assert_group(&groups, 2, "video/index", 2, 30, 9);
    groups_fini(&groups);
}

static void test_groups_fold_keeps_a_leading_slash(void **state)
{
    struct groups groups = {0};

    add(&groups, "/etc/passwd", 1, 2, 0);
    add(&groups, "/", 1, 1, 0);
    add(&groups, "", 1, 0, 0);
    groups_fold(&groups, 1);
    assert_int_equal(groups.n_groups, 3);
    assert_group(&groups, 0, "/etc", 1, 2, 0);
    assert_group(&groups, 1, "/", 1, 1, 0);
    assert_group(&groups, 2, "", 1, 0, 0);
    groups_fini(&groups);
}

static void test_groups_sort_puts_equals_in_order_of_their_keys(void **state)
{
    struct groups groups = {0};

    add(&groups, "b", 1, 8, 0);
    add(&groups, "c", 1, 9, 0);
    add(&groups, "a", 1, 8, 0);
    groups_sort(&groups);
    assert_group(&groups, 0, "c", 1, 9, 0);
    assert_group(&groups, 1, "a", 1, 8, 0);
    assert_group(&groups, 2, "b", 1, 8, 0);
    groups_fini(&groups);
}

static void test_groups_of_nothing_fold_to_nothing(void **state)
{
    struct groups groups = {0};

    groups_fold(&groups, 1);
    groups_sort(&groups);
    assert_int_equal(groups.n_groups, 0);
    groups_fini(&groups);
}

/* The sums of a naive model: whatever is folded, no block and no byte is lost. */
static void test_groups_fold_loses_nothing(void **state)
{
    struct groups groups = {0};
    uint64_t n_blocks = 0;
    uint64_t num_bytes = 0;
    char key[32];

    for (unsigned i = 0; i < 5000; i++) {
        (void)snprintf(key, sizeof(key), "%u/%u/%u", i % 7, i % 11, i % 13);
        add(&groups, key, i, UINT64_C(3) * i, i);
    }
    groups_fold(&groups, 2);
    assert_int_equal(groups.n_groups, 77);
    for (size_t i = 0; i < groups.n_groups; i++) {
        n_blocks += groups.groups[i].n_blocks;
        num_bytes += groups.groups[i].num_bytes;
    }
    assert_int_equal(n_blocks, 4999 * 5000 / 2);
    assert_int_equal(num_bytes, 3 * 4999 * 5000 / 2);
    groups_fini(&groups);
}

static void end_once(struct kmem_query *query)
{
    query->error = query->n_questions == 1 ? -ECONNRESET : 0;
}

static void end_always(struct kmem_query *query)
{
    query->error = -ECONNRESET;
}

/* What the server that has ended told is forgotten. */
static void test_groups_ask_asks_the_next_server_for_all(void **state)
{
    const struct kmem_ledger_row rows[] = {{.key = "a", .num_bytes = 2},
                                           {.key = "b", .num_bytes = 1}};
    struct kmem_query query = {.ledgers = {rows}, .n_ledgers = {2}, .before_answer = end_once};
    struct groups groups = {.groups = NULL};
    assert_int_equal(groups_ask(&groups, &query, KMEM_BY_REASON), 0);
    assert_int_equal(query.n_questions, 2);
    assert_int_equal(groups.n_groups, 2);
    query.before_answer = end_always;
    assert_int_equal(groups_ask(&groups, &query, KMEM_BY_REASON), -ECONNRESET);
    assert_int_equal(query.n_questions, 2 + 4);
    groups_fini(&groups);
}

/* The library has waited for one already. */
static void test_groups_ask_without_a_row_does_not_ask_again(void **state)
{
    struct kmem_query query = {.before_answer = end_always};
    struct groups groups = {.groups = NULL};
    assert_int_equal(groups_ask(&groups, &query, KMEM_BY_REASON), -ECONNRESET);
    assert_int_equal(query.n_questions, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_groups_fold_to_one_level_joins_the_family),
        cmocka_unit_test(test_groups_fold_to_two_levels),
        cmocka_unit_test(test_groups_fold_keeps_a_leading_slash),
        cmocka_unit_test(test_groups_sort_puts_equals_in_order_of_their_keys),
        cmocka_unit_test(test_groups_of_nothing_fold_to_nothing),
        cmocka_unit_test(test_groups_fold_loses_nothing),
        cmocka_unit_test(test_groups_ask_asks_the_next_server_for_all),
        cmocka_unit_test(test_groups_ask_without_a_row_does_not_ask_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

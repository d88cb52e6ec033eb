/* SPDX-License-Identifier: MIT */

#include "daemon/core/fair.h"
#include "tests/unit/unit.h"

#define N_LEAVES 6

/* Two users; the first has two processes. Leaves 0 to 3 are process 0's, 4 is 1's, 5 is 2's. */
static struct {
    struct fair line;
    struct fair users[2];
    struct fair processes[3];
    struct fair leaves[N_LEAVES];
} tree;

static int tree_setup(void **state)
{
    fair_init(&tree.line, NULL);
    fair_init(&tree.users[0], &tree.line);
    fair_init(&tree.users[1], &tree.line);
    fair_init(&tree.processes[0], &tree.users[0]);
    fair_init(&tree.processes[1], &tree.users[0]);
    fair_init(&tree.processes[2], &tree.users[1]);
    for (size_t i = 0; i < N_LEAVES; i++) {
        fair_init(&tree.leaves[i], &tree.processes[i < 4 ? 0 : i - 3]);
    }
    return 0;
}

static void add_all(void)
{
    for (size_t i = 0; i < N_LEAVES; i++) {
        fair_add(&tree.leaves[i]);
    }
}

/* Return: which leaf was taken; N_LEAVES: none. */
static size_t take(void)
{
    const struct fair *first = fair_first(&tree.line);
    const struct fair *leaf = fair_take(&tree.line);
    assert_ptr_equal(leaf, first);
    return leaf ? (size_t)(leaf - tree.leaves) : N_LEAVES;
}

static void test_fair_take_of_an_empty_line_is_NULL(void **state)
{
    assert_null(fair_first(&tree.line));
    assert_null(fair_take(&tree.line));
}

static void test_fair_take_goes_round_among_users_processes_and_connections(void **state)
{
    static const size_t order[] = {0, 5, 4, 1, 2, 3};
    add_all();

    for (size_t i = 0; i < N_LEAVES; i++) {
        assert_int_equal(take(), order[i]);
    }
    assert_int_equal(take(), N_LEAVES);
}

static void test_fair_take_gives_each_user_half_however_many_wait_there(void **state)
{
    add_all();

    for (unsigned n = 0; n < 50; n++) {
        const size_t of_the_first = take();
        assert_in_range(of_the_first, 0, 4);
        fair_add(&tree.leaves[of_the_first]);
        assert_int_equal(take(), 5);
        fair_add(&tree.leaves[5]);
    }
}

static void test_fair_take_gives_each_process_half_however_many_wait_there(void **state)
{
    add_all();
    fair_remove(&tree.leaves[5]);

    for (unsigned n = 0; n < 50; n++) {
        assert_int_equal(take(), n % 4);
        fair_add(&tree.leaves[n % 4]);
        assert_int_equal(take(), 4);
        fair_add(&tree.leaves[4]);
    }
}

static void test_fair_add_twice_waits_once(void **state)
{
    fair_add(&tree.leaves[2]);
    fair_add(&tree.leaves[2]);

    assert_int_equal(take(), 2);
    assert_int_equal(take(), N_LEAVES);
}

static void test_fair_remove_from_any_place(void **state)
{
    for (size_t removed = 0; removed < N_LEAVES; removed++) {
        add_all();
        fair_remove(&tree.leaves[removed]);
        fair_remove(&tree.leaves[removed]);
        for (size_t n = 1; n < N_LEAVES; n++) {
            const size_t taken = take();
            assert_true(taken < N_LEAVES);
            assert_int_not_equal(taken, removed);
        }
        assert_int_equal(take(), N_LEAVES);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_fair_take_of_an_empty_line_is_NULL, tree_setup),
        cmocka_unit_test_setup(test_fair_take_goes_round_among_users_processes_and_connections,
                               tree_setup),
        cmocka_unit_test_setup(test_fair_take_gives_each_user_half_however_many_wait_there,
                               tree_setup),
        cmocka_unit_test_setup(test_fair_take_gives_each_process_half_however_many_wait_there,
                               tree_setup),
        cmocka_unit_test_setup(test_fair_add_twice_waits_once, tree_setup),
        cmocka_unit_test_setup(test_fair_remove_from_any_place, tree_setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

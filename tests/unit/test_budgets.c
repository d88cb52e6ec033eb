/* SPDX-License-Identifier: MIT */
/*
 * test_budgets.c - what falls under which budget, and what is left of it
 */
#include "daemon/core/budgets.h"

#include "tests/unit/core_fixture.h"

#define MAX_BYTES UINT64_C(1000)

static struct rules rules;
static struct budgets *const budgets = &core->budgets;
static struct client *client;
static struct seg_off off;

static int budgets_setup(void **state)
{
    fixture_init(&fixture, 65, 8);
    client = fixture_join(&fixture, 1);
    rules = (struct rules){
        .n_budgets = 2,
        .budgets = {{.pattern = "s/*", .max_bytes = MAX_BYTES, .denies = true},
                    {.pattern = "t/*", .max_bytes = MAX_BYTES, .denies = true}},
    };
    core_set_rules(core, &rules);
    off = fixture_allocate(&fixture, client, 100, "s/one");
    return 0;
}

static int budgets_end(void **state)
{
    core_set_rules(core, NULL);
    return core_teardown(state);
}

static void test_budgets_set_rules_tells_one_that_denies_from_one_that_warns(void **state)
{
    const uint32_t generation = budgets->generation;
    rules.budgets[1].denies = false;
    core_set_rules(core, &rules);
    assert_int_not_equal(budgets->generation, generation);
    rules.budgets[0].denies = false;
    core_set_rules(core, &rules);
    assert_int_equal(budgets->generation, 0);
}

static void test_budgets_charge_of_a_second_block_falls_under_the_same(void **state)
{
    const struct seg_off other = fixture_allocate(&fixture, client, 200, "s/one");
    assert_int_equal(budgets->used_bytes[0], 300);
    fixture_release(&fixture, client, other);
    assert_int_equal(budgets->used_bytes[0], 100);
}

static void test_budgets_exceeded_of_more_than_can_be_added_is_that_budget(void **state)
{
    assert_int_equal(budgets_exceeded(budgets, 1, MAX_BYTES - 100), RULES_BUDGETS_MAX);
    assert_int_equal(budgets_exceeded(budgets, 1, MAX_BYTES - 99), 0);
    assert_int_equal(budgets_exceeded(budgets, 1, UINT64_MAX), 0);
}

static void test_budgets_check_finds_what_does_not_add_up(void **state)
{
    const uint32_t reason = core->reasons.n_ids - 1;
    budgets->used_bytes[0]++;
    assert_int_equal(budgets_check(budgets), BUDGETS_E_CORRUPT);
    budgets->used_bytes[0]--;
    budgets->budgets_of[reason] ^= 2;
    assert_int_equal(budgets_check(budgets), BUDGETS_E_CORRUPT);
    budgets->budgets_of[reason] ^= 2;
    assert_int_equal(budgets_check(budgets), 0);
}

int main(void)
{
#define BUDGETS_TEST(test) cmocka_unit_test_setup_teardown(test, budgets_setup, budgets_end)
    const struct CMUnitTest tests[] = {
        BUDGETS_TEST(test_budgets_set_rules_tells_one_that_denies_from_one_that_warns),
        BUDGETS_TEST(test_budgets_charge_of_a_second_block_falls_under_the_same),
        BUDGETS_TEST(test_budgets_exceeded_of_more_than_can_be_added_is_that_budget),
        BUDGETS_TEST(test_budgets_check_finds_what_does_not_add_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

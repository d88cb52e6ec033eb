/* SPDX-License-Identifier: MIT */
/*
 * test_accounts.c - what users and units have, and which rule is whose
 *
 * Processes 1 and 4 are of one user, 2 of another: fixture_identity().
 */
#include "daemon/core/accounts.h"

#include <stdio.h>

#include "tests/unit/core_fixture.h"

#define N_PAGES 65
#define USUAL UINT64_C(1000)

static struct rules rules;
static struct accounts *const accounts = &core->accounts;
static struct client *first;
static struct client *second;

static void name_unit(struct client *client, const char *unit)
{
    accounts_leave(accounts, client);
    (void)snprintf(client->unit, sizeof(client->unit), "%s", unit);
    accounts_join(accounts, client);
}

static int accounts_setup(void **state)
{
    fixture_init(&fixture, N_PAGES, 8);
    first = fixture_join(&fixture, 1);
    second = fixture_join(&fixture, 2);
    rules = (struct rules){
        .n_users = 1,
        .users = {{.uid = first->identity.uid}},
        .n_units = 1,
        .units = {{.name = "web.service"}},
    };
    name_unit(first, "web.service");
    core_set_rules(core, &rules);
    return 0;
}

static int accounts_end(void **state)
{
    core_set_rules(core, NULL);
    return core_teardown(state);
}

/* ----------------------------------------------------------------------------------- tables -- */

/* ACCOUNTS_MAX users have left something; then there is one more, whom nothing limits. */
static void test_accounts_keep_beyond_the_table_is_charged_to_the_others(void **state)
{
    struct accounts own;
    rules.quota_per_uid_bytes = USUAL;
    assert_int_equal(accounts_init(&own, &rules, 0), 0);
    for (uint32_t uid = 1; uid <= ACCOUNTS_MAX; uid++) {
        accounts_keep(&own, uid, 1);
    }
    accounts_keep(&own, ACCOUNTS_MAX + 1, 5);
    assert_int_equal(own.others.kept_bytes, 5);
    assert_int_equal(accounts_quota_of_user(&own, &own.others), 0);
    assert_int_equal(accounts_quota_of_user(&own, &own.users[0]), USUAL);

    accounts_unkeep(&own, 1, 1); /* there is a place now, but what is kept is the others' */
    accounts_unkeep(&own, ACCOUNTS_MAX + 1, 5);
    assert_int_equal(own.others.kept_bytes, 0);
    accounts_fini(&own);
}

static void test_accounts_join_takes_the_first_free_place_of_units(void **state)
{
    struct client *third = fixture_join(&fixture, 3);
    name_unit(second, "b.service");
    name_unit(third, "c.service");
    const struct account *place = first->unit_account;
    name_unit(first, "");
    name_unit(second, "");
    name_unit(third, "d.service");
    assert_ptr_equal(third->unit_account, place);
    assert_int_equal(accounts->n_units, 3);
}

static void test_accounts_join_of_a_unit_that_is_not_known_is_of_none(void **state)
{
    name_unit(first, "?");
    assert_null(first->unit_account);
}

static void test_accounts_set_rules_counts_what_units_have_already(void **state)
{
    struct seg_off off = fixture_allocate(&fixture, first, 100, "a");
    name_unit(second, "other.service");
    core_set_rules(core, &rules);
    assert_int_equal(accounts->unit_rule_bytes[0], first->unit_account->charged_bytes);
    assert_int_equal(core_check(core), 0);
    fixture_release(&fixture, first, off);
}

/* ----------------------------------------------------------------------------------- quotas -- */

static void test_accounts_quota_of_client_is_the_smaller_of_two_rules(void **state)
{
    uint64_t *of_user = &rules.users[0].client_quota_bytes;
    uint64_t *of_unit = &rules.units[0].client_quota_bytes;

    assert_int_equal(accounts_quota_of_client(accounts, first, USUAL), USUAL);
    *of_user = 300;
    assert_int_equal(accounts_quota_of_client(accounts, first, USUAL), 300);
    *of_unit = 400;
    assert_int_equal(accounts_quota_of_client(accounts, first, USUAL), 300);
    *of_unit = 200;
    assert_int_equal(accounts_quota_of_client(accounts, first, USUAL), 200);
    *of_user = 0;
    assert_int_equal(accounts_quota_of_client(accounts, first, USUAL), 200);
}

static void test_accounts_quota_of_unit_is_the_usual_one_where_its_rule_says_none(void **state)
{
    rules.quota_per_unit_bytes = USUAL;
    assert_int_equal(accounts_quota_of_unit(accounts, first->unit_account), USUAL);
    rules.units[0].quota_bytes = 300;
    assert_int_equal(accounts_quota_of_unit(accounts, first->unit_account), 300);
}

/* A client between two tables: its own quota alone holds. */
static void test_accounts_of_a_client_in_no_table_have_its_own_quota_alone(void **state)
{
    rules.quota_per_uid_bytes = 1;
    accounts_leave(accounts, second);
    assert_int_equal(accounts_quota_of_client(accounts, second, USUAL), USUAL);
    assert_int_equal(accounts_bar(accounts, second, USUAL, USUAL).kind, BAR_NONE);
    assert_int_equal(accounts_bar(accounts, second, USUAL, USUAL + 1).kind, BAR_CLIENT);
    assert_false(accounts_is_tight(accounts, second, USUAL));
    assert_int_equal(accounts_reserved(accounts, second), 0);
    accounts_join(accounts, second);
}

static void test_accounts_bars_nobody_where_nothing_bars(void **state)
{
    assert_false(accounts_bars(BAR_NONE, first, first));
    assert_true(accounts_bars(BAR_CLIENT, first, first));
    assert_false(accounts_bars(BAR_CLIENT, first, second));
}

/* --------------------------------------------------------------------- reserves, priorities -- */

static void test_accounts_own_reserve_is_the_larger_of_user_and_unit(void **state)
{
    assert_int_equal(accounts_own_reserve(accounts, first), 0);
    rules.users[0].reserve_bytes = 100;
    assert_int_equal(accounts_own_reserve(accounts, first), 100);
    rules.units[0].reserve_bytes = 200;
    assert_int_equal(accounts_own_reserve(accounts, first), 200);
    assert_int_equal(accounts_own_reserve(accounts, second), 0);
}

static void test_accounts_promised_is_what_others_may_have_reserved(void **state)
{
    assert_int_equal(accounts_promised(accounts, second), 0);
    rules.users[0].reserve_bytes = 100;
    rules.units[0].reserve_bytes = 200;
    core_set_rules(core, &rules);
    assert_int_equal(accounts_promised(accounts, first), 0);
    assert_int_equal(accounts_promised(accounts, second), 300);
    assert_int_equal(accounts_reserved(accounts, first), 0);
    assert_int_equal(accounts_reserved(accounts, second), 300);
}

static void test_accounts_priority_is_the_higher_of_user_and_unit(void **state)
{
    rules.users[0].priority = 5;
    rules.units[0].priority = -5;
    assert_int_equal(accounts_priority(accounts, first), 5);
    rules.units[0].priority = 50;
    assert_int_equal(accounts_priority(accounts, first), 50);
    assert_int_equal(accounts_priority(accounts, second), 0);
    name_unit(second, "web.service");
    assert_int_equal(accounts_priority(accounts, second), 50);
    name_unit(first, "");
    assert_int_equal(accounts_priority(accounts, first), 5);
}

/* --------------------------------------------------------------------------------- checking -- */

static void spoil(uint64_t *where)
{
    (*where)++;
    assert_int_equal(accounts_check(accounts, &core->clients, 0), ACCOUNTS_E_CORRUPT);
    (*where)--;
    assert_int_equal(core_check(core), 0);
}

static void test_accounts_check_finds_what_does_not_add_up(void **state)
{
    spoil(&accounts->users[0].charged_bytes);
    spoil(&accounts->units[0].charged_bytes);
    spoil(&accounts->others.charged_bytes);
    spoil(&accounts->others.kept_bytes);
    spoil(&accounts->user_rule_bytes[0]);
    spoil(&accounts->unit_rule_bytes[0]);
    accounts->users[0].n_clients++;
    assert_int_equal(accounts_check(accounts, &core->clients, 0), ACCOUNTS_E_CORRUPT);
    accounts->users[0].n_clients--;
}

/* Whoever can end all of it is not limited by it. */
static void test_accounts_quota_of_user_is_none_for_the_superuser_and_the_owner(void **state)
{
    struct accounts own;
    rules.quota_per_uid_bytes = USUAL;
    assert_int_equal(accounts_init(&own, &rules, 7), 0);
    for (uint32_t uid = 0; uid < 10; uid++) {
        const struct account user = {.uid = uid, .rule = RULES_NONE};
        const uint64_t wanted = uid == 0 || uid == 7 ? 0 : USUAL;
        assert_int_equal(accounts_quota_of_user(&own, &user), wanted);
    }
    accounts_fini(&own);
}

int main(void)
{
#define ACCOUNTS_TEST(test) cmocka_unit_test_setup_teardown(test, accounts_setup, accounts_end)
    const struct CMUnitTest tests[] = {
        ACCOUNTS_TEST(test_accounts_keep_beyond_the_table_is_charged_to_the_others),
        ACCOUNTS_TEST(test_accounts_join_takes_the_first_free_place_of_units),
        ACCOUNTS_TEST(test_accounts_join_of_a_unit_that_is_not_known_is_of_none),
        ACCOUNTS_TEST(test_accounts_set_rules_counts_what_units_have_already),
        ACCOUNTS_TEST(test_accounts_quota_of_client_is_the_smaller_of_two_rules),
        ACCOUNTS_TEST(test_accounts_quota_of_unit_is_the_usual_one_where_its_rule_says_none),
        ACCOUNTS_TEST(test_accounts_of_a_client_in_no_table_have_its_own_quota_alone),
        ACCOUNTS_TEST(test_accounts_bars_nobody_where_nothing_bars),
        ACCOUNTS_TEST(test_accounts_own_reserve_is_the_larger_of_user_and_unit),
        ACCOUNTS_TEST(test_accounts_promised_is_what_others_may_have_reserved),
        ACCOUNTS_TEST(test_accounts_priority_is_the_higher_of_user_and_unit),
        ACCOUNTS_TEST(test_accounts_check_finds_what_does_not_add_up),
        ACCOUNTS_TEST(test_accounts_quota_of_user_is_none_for_the_superuser_and_the_owner),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

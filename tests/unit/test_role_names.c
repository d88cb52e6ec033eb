/* SPDX-License-Identifier: MIT */
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>

#include "daemon/role_names.h"
#include "tests/unit/unit.h"

static struct option_principals list;
static char why[ROLE_NAME_WHY_BYTES];

static int names_setup(void **state)
{
    list.n = 0;
    why[0] = '\0';
    return 0;
}

static void assert_named(const char *text, bool is_group, uint32_t id)
{
    const uint32_t n = list.n;
    assert_int_equal(role_names_add(&list, text, why), 0);
    assert_int_equal(list.n, n + 1);
    assert_int_equal(list.list[n].is_group, is_group);
    assert_int_equal(list.list[n].id, id);
}

static void assert_unknown(const char *text, const char *words)
{
    assert_int_equal(role_names_add(&list, text, why), ROLE_NAMES_E_UNKNOWN);
    assert_non_null(strstr(why, words));
    assert_int_equal(list.n, 0);
}

static void test_role_names_are_of_users_and_with_an_at_of_groups(void **state)
{
    const struct passwd *user = getpwnam("daemon");
    assert_non_null(user);
    assert_named("daemon", false, user->pw_uid);
    const struct group *group = getgrnam("daemon");
    assert_non_null(group);
    assert_named("@daemon", true, group->gr_gid);
    assert_named("root", false, 0);
}

static void test_role_names_may_be_numbers_without_a_name(void **state)
{
    assert_named("54321", false, 54321);
    assert_named("@54322", true, 54322);
}

static void test_role_names_of_nobody_that_there_is_are_refused(void **state)
{
    assert_unknown("nosuchuser", "there is no user \"nosuchuser\"");
    assert_unknown("@nosuchgroup", "there is no group \"nosuchgroup\"");
    assert_unknown("", "there is no user \"\"");
    assert_unknown("@", "there is no group \"\"");
    assert_unknown("12x", "there is no user \"12x\"");
    assert_unknown("-1", "there is no user \"-1\"");
    assert_unknown("4294967295", "there is no user");
    assert_unknown("@99999999999999999999", "there is no group");
}

/* Each user of other namespaces would be that one. */
static void test_role_names_of_the_overflow_user_and_group_are_refused(void **state)
{
    assert_unknown("65534", "stands for every user that has no number here");
    assert_unknown("@65534", "stands for every group that has no number here");
}

static void test_role_names_beyond_the_list_are_refused(void **state)
{
    for (uint32_t i = 0; i < OPTION_PRINCIPALS_MAX; i++) {
        char text[16];
        (void)snprintf(text, sizeof(text), "%u", 10000 + i);
        assert_named(text, false, 10000 + i);
    }
    assert_int_equal(role_names_add(&list, "root", why), ROLE_NAMES_E_FULL);
    assert_non_null(strstr(why, "more than 64"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_role_names_are_of_users_and_with_an_at_of_groups, names_setup),
        cmocka_unit_test_setup(test_role_names_may_be_numbers_without_a_name, names_setup),
        cmocka_unit_test_setup(test_role_names_of_nobody_that_there_is_are_refused, names_setup),
        cmocka_unit_test_setup(test_role_names_of_the_overflow_user_and_group_are_refused,
                               names_setup),
        cmocka_unit_test_setup(test_role_names_beyond_the_list_are_refused, names_setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

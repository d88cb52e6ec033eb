/* SPDX-License-Identifier: MIT */
/*
 * test_setting_rules.c - sections of users, units and budgets: what is kept of them, and which are
 *                        refused with which words
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/changed.h"
#include "daemon/config_text.h"
#include "daemon/settings.h"
#include "tests/unit/unit.h"

#define TOLD_BYTES 8192
#define MIB (UINT64_C(1) << 20)

static char told[TOLD_BYTES];

static void tell(const char *sentence, void *user)
{
    const size_t n_told = strlen(told);
    (void)snprintf(told + n_told, sizeof(told) - n_told, "%s\n", sentence); /* or it is cut */
}

static struct options read_text(const char *text)
{
    struct options options;
    struct complaints complaints = {.say = tell};
    options_set_default(&options);
    told[0] = '\0';
    config_text_apply(settings_table(), "a.conf", text, &options, NULL, &complaints);
    return options;
}

static struct options read_well(const char *text)
{
    const struct options options = read_text(text);
    assert_string_equal(told, "");
    return options;
}

static void assert_told(const char *text, const char *complaints)
{
    (void)read_text(text);
    assert_string_equal(told, complaints);
}

/* ------------------------------------------------------------------------- users and units ---- */

static void test_sections_set_what_they_say(void **state)
{
    const struct options options =
        read_well("user root { quota = 2MiB client-quota = 1MiB reserve = none priority = -7 }\n"
                  "user 4242 { priority = 100 }\n"
                  "unit \"web@*\" { quota = 3MiB }\n"
                  "unit db { reserve = 1MiB }\n"
                  "budget \"scratch/**\" { max = 1MiB action = warn }\n"
                  "budget cache { max = 2MiB }\n");
    const struct rules *rules = &options.rules;

    assert_int_equal(rules->n_users, 2);
    assert_int_equal(rules->users[0].uid, 0);
    assert_int_equal(rules->users[0].quota_bytes, 2 * MIB);
    assert_int_equal(rules->users[0].client_quota_bytes, MIB);
    assert_int_equal(rules->users[0].priority, -7);
    assert_int_equal(rules->users[1].uid, 4242);
    assert_int_equal(rules->users[1].priority, 100);
    assert_int_equal(rules->n_units, 2);
    assert_string_equal(rules->units[0].name, "web@*");
    assert_int_equal(rules->units[1].reserve_bytes, MIB);
    assert_int_equal(rules->n_budgets, 2);
    assert_false(rules->budgets[0].denies);
    assert_true(rules->budgets[1].denies); /* if nothing is said */
}

/* Of a user by any of its names; a later file changes what it names. */
static void test_sections_of_the_same_are_one(void **state)
{
    struct options options = read_well("user root { quota = 2MiB }\nunit db { quota = 1MiB }\n"
                                       "unit web { quota = 1MiB }\n"
                                       "budget b { max = 1MiB }\nbudget c { max = 1MiB }\n");
    struct complaints complaints = {.say = tell};
    config_text_apply(settings_table(), "b.conf",
                      "user 0 { reserve = 1MiB }\nunit web { priority = 3 }\n"
                      "budget c { action = warn }\n",
                      &options, NULL, &complaints);

    assert_string_equal(told, "");
    assert_int_equal(options.rules.n_users, 1);
    assert_int_equal(options.rules.users[0].quota_bytes, 2 * MIB);
    assert_int_equal(options.rules.users[0].reserve_bytes, MIB);
    assert_int_equal(options.rules.n_units, 2);
    assert_int_equal(options.rules.units[1].quota_bytes, MIB);
    assert_int_equal(options.rules.units[1].priority, 3);
    assert_int_equal(options.rules.n_budgets, 2);
    assert_int_equal(options.rules.budgets[1].max_bytes, MIB);
    assert_false(options.rules.budgets[1].denies);
}

static void test_sections_whose_title_is_none_are_refused(void **state)
{
    static char text[512];
    char long_name[301];
    memset(long_name, 'x', sizeof(long_name) - 1);
    long_name[sizeof(long_name) - 1] = '\0';

    assert_told("user \"@root\" { quota = 1MiB }",
                "a.conf:1: user \"@root\": it is a group's name: name a user\n");
    assert_told("user no-such-user { quota = 1MiB }",
                "a.conf:1: user \"no-such-user\": there is no user \"no-such-user\"\n");
    assert_told("unit \"\" { quota = 1MiB }", "a.conf:1: unit \"\": its name has 1 to 95 bytes\n");
    (void)snprintf(text, sizeof(text), "unit %s { quota = 1MiB }", long_name);
    (void)read_text(text);
    assert_non_null(strstr(told, "its name has 1 to 95 bytes\n"));
    (void)snprintf(text, sizeof(text), "budget %s { max = 1MiB }", long_name);
    (void)read_text(text);
    assert_non_null(strstr(told, "its pattern has 1 to 254 bytes of UTF-8\n"));
    assert_told("budget \"\" { max = 1MiB }",
                "a.conf:1: budget \"\": its pattern has 1 to 254 bytes of UTF-8\n");
    (void)read_text("budget \"\xff\" { max = 1MiB }");
    assert_non_null(strstr(told, "its pattern has 1 to 254 bytes of UTF-8\n"));
}

static void test_sections_whose_values_are_none_are_refused(void **state)
{
    const char *const priorities[] = {"high", "7x", "101", "-101"};
    for (size_t i = 0; i < sizeof(priorities) / sizeof(priorities[0]); i++) {
        char text[128];
        char wanted[256];
        (void)snprintf(text, sizeof(text), "unit db { priority = %s }", priorities[i]);
        (void)snprintf(wanted, sizeof(wanted),
                       "a.conf:1: unit \"db\" priority: \"%s\" is no priority: write a number "
                       "from -100 to 100\n",
                       priorities[i]);
        assert_told(text, wanted);
    }
    assert_told("budget b { max = none }", "a.conf:1: budget \"b\" max: \"none\" is no size: "
                                           "write 4096, 256MiB, 2G or 1.5GiB\n");
    assert_told("budget b { action = ask }", "a.conf:1: budget \"b\" action: \"ask\" is not "
                                             "known: write deny or warn\n");
}

/* Each of a name of its own. Return: the caller's. */
static char *many(const char *format, unsigned n)
{
    char *text = calloc(n, 64);
    assert_non_null(text);
    for (unsigned i = 0; i < n; i++) {
        (void)sprintf(text + strlen(text), format, i); /* fits */
    }
    return text;
}

static void test_sections_beyond_what_there_can_be_are_refused(void **state)
{
    const struct {
        const char *format;
        unsigned n_max;
        const char *words;
    } rows[] = {{"unit u%u { quota = 1M }\n", RULES_PARTIES_MAX, "there can be 64 sections unit\n"},
                {"user %u { quota = 1M }\n", RULES_PARTIES_MAX, "there can be 64 sections user\n"},
                {"budget b%u { max = 1M }\n", RULES_BUDGETS_MAX, "there can be 32 budgets\n"}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char *all = many(rows[i].format, rows[i].n_max);
        (void)read_well(all);
        free(all);
        all = many(rows[i].format, rows[i].n_max + 1);
        (void)read_text(all);
        assert_non_null(strstr(told, rows[i].words));
        free(all);
    }
}

/* -------------------------------------------------------------------------------- reserves ---- */

static void assert_rules_are_wrong(const char *text, const char *words)
{
    const struct options options = read_well(text);
    char why[512] = "";
    const int r = rules_check(&options.rules, 16 * MIB, why, sizeof(why));
    assert_int_equal(r, words ? RULES_E_WRONG : 0);
    assert_true(words == NULL || strstr(why, words) != NULL);
}

static void test_rules_check_refuses_a_reserve_that_nobody_could_use(void **state)
{
    assert_rules_are_wrong("user 1 { reserve = 8M quota = 8M }\nunit u { reserve = 7M }", NULL);
    assert_rules_are_wrong("user 1 { reserve = 8M quota = 7M }\nuser 2 { quota = 1M }\nunit u { }",
                           "user \"1\": reserve = 8.0 MiB is more than the 7.0 MiB");
    assert_rules_are_wrong("unit u { reserve = 2M quota = 1M }\nunit v { quota = 1M }",
                           "unit \"u\": reserve = 2.0 MiB is more than the 1.0 MiB");
    assert_rules_are_wrong("quota-per-uid = 1M\nuser 1 { reserve = 2M }",
                           "user \"1\": reserve = 2.0 MiB is more than the 1.0 MiB");
    assert_rules_are_wrong("user 1 { reserve = 8M }\nunit u { reserve = 9M }",
                           "all reserves together are 17.0 MiB");
}

/* Two that together are more than can be counted. */
static void test_rules_check_refuses_a_sum_that_is_no_number(void **state)
{
    struct rules rules = {.n_units = 2};
    char why[512] = "";
    rules.units[0].reserve_bytes = UINT64_MAX;
    rules.units[1].reserve_bytes = UINT64_MAX;
    assert_int_equal(rules_check(&rules, 16 * MIB, why, sizeof(why)), RULES_E_WRONG);
}

static bool have_reserves(const char *text)
{
    const struct options options = read_well(text);
    return rules_have_reserves(&options.rules);
}

static void test_rules_have_reserves_of_users_or_of_units(void **state)
{
    assert_false(have_reserves("user 1 { quota = 1M }\nunit u { }"));
    assert_true(have_reserves("user 1 { reserve = 1M }"));
    assert_true(have_reserves("unit t { }\nunit u { reserve = 1M }"));
}

/* ---------------------------------------------------------------------------- what differs ---- */

static void note_changed(const struct changed *changed, void *user)
{
    char line[512];
    (void)snprintf(line, sizeof(line), "%s: %s, was %s", changed->key, changed->now, changed->old);
    tell(line, user);
}

static void assert_changed(const char *old_text, const char *now_text, const char *lines)
{
    const struct options old = read_well(old_text);
    const struct options now = read_well(now_text);
    const uint32_t n = changed_settings(&old, &now, note_changed, NULL);
    assert_string_equal(told, lines);
    for (const char *at = lines; *at != '\0'; at++) {
        assert_true(*at != '\n' || n > 0);
    }
}

/* By their titles, wherever they stand. */
static void test_changed_settings_compares_sections_that_stay_come_and_go(void **state)
{
    assert_changed("unit a { quota = 1M }\nunit b { quota = 2M }",
                   "unit b { quota = 2M }\nunit a { quota = 1M }", "");
    assert_changed("unit a { quota = 1M }\nunit b { quota = 2M }",
                   "unit b { quota = 2M }\nunit a { quota = 3M }",
                   "unit \"a\" quota: 3MiB, was 1MiB\n");
    assert_changed("budget b { max = 1M }", "names = 7\nbudget c { max = 1M }",
                   "names: 7, was 4096\n"
                   "budget \"c\" max: 1MiB, was none\nbudget \"c\" action: deny, was none\n"
                   "budget \"b\" max: none, was 1MiB\nbudget \"b\" action: none, was deny\n");
}

/* ---------------------------------------------------------------------- lists and the rest ---- */

static void test_settings_of_lists_are_printed_by_name_or_number(void **state)
{
    const struct options options = read_well("admins = {root, \"@root\", 4242, \"@4243\"}\n"
                                             "members = {}\nnuma = \"node 3\"\n");
    const struct setting *settings = settings_table()->settings;
    char text[SETTING_TEXT_BYTES];

    assert_string_equal(settings_value(settings_find(settings, "admins"), &options, text, 256),
                        "root, @root, 4242, @4243");
    assert_string_equal(settings_value(settings_find(settings, "admins"), &options, text, 8),
                        "root, @"); /* cut */
    assert_string_equal(settings_value(settings_find(settings, "members"), &options, text, 256),
                        "");
    assert_string_equal(settings_value(settings_find(settings, "numa"), &options, text, 256),
                        "node 3");
    assert_null(settings_find(settings, "no-such-setting"));
}

static void test_settings_of_a_queue_take_one_answer_at_least(void **state)
{
    assert_int_equal(read_well("queued-per-uid = 1MiB").queued_per_uid, MIB);
    assert_int_equal(read_well("queued-per-uid = half").queued_per_uid, 0);
    (void)read_text("queued-per-uid = 1K");
    assert_non_null(strstr(told, "1K is less than one answer may be, 64.0 KiB\n"));
    (void)read_text("queued-per-uid = much");
    assert_non_null(strstr(told, "\"much\" is no size"));
}

static void test_settings_of_nodes_and_times_refuse_what_follows_a_number(void **state)
{
    assert_told("numa = \"node 1x\"", "a.conf:1: numa: \"node 1x\" is not known: write local, "
                                      "interleave or \"node 0\"\n");
    assert_told("numa = \"node 4294967295\"",
                "a.conf:1: numa: \"node 4294967295\" is not known: write local, interleave or "
                "\"node 0\"\n");
    assert_told("watchdog = 5s", "a.conf:1: watchdog: \"5s\" is no time: write seconds, from 0 "
                                 "(never) to 3600\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sections_set_what_they_say),
        cmocka_unit_test(test_sections_of_the_same_are_one),
        cmocka_unit_test(test_sections_whose_title_is_none_are_refused),
        cmocka_unit_test(test_sections_whose_values_are_none_are_refused),
        cmocka_unit_test(test_sections_beyond_what_there_can_be_are_refused),
        cmocka_unit_test(test_rules_check_refuses_a_reserve_that_nobody_could_use),
        cmocka_unit_test(test_rules_check_refuses_a_sum_that_is_no_number),
        cmocka_unit_test(test_rules_have_reserves_of_users_or_of_units),
        cmocka_unit_test(test_changed_settings_compares_sections_that_stay_come_and_go),
        cmocka_unit_test(test_settings_of_lists_are_printed_by_name_or_number),
        cmocka_unit_test(test_settings_of_a_queue_take_one_answer_at_least),
        cmocka_unit_test(test_settings_of_nodes_and_times_refuse_what_follows_a_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * test_serve_api.c - what the parameters of a request mean, and which are refused
 */
#include <errno.h>
#include <string.h>

#include "client/serve/api.h"
#include "tests/unit/unit.h"

static struct complaint complaint;

/* Asks for a topic with one parameter; question_fini() is due. Return: that of api_check(). */
static int ask(struct question *question, const char *topic, const char *key, const char *value)
{
    assert_non_null(api_topic(topic));
    api_begin(api_topic(topic), question);
    const int r = api_set(question, key, value, &complaint);
    return r ? r : api_check(question, &complaint);
}

static void expect_refused(const char *topic, const char *key, const char *value, const char *why)
{
    struct question question;
    assert_int_equal(ask(&question, topic, key, value), -EINVAL);
    assert_non_null(strstr(complaint.text, why));
    question_fini(&question);
}

static void test_api_topic_knows_lists_and_nothing_else(void **state)
{
    assert_non_null(api_topic("usage"));
    assert_non_null(api_topic("blocks"));
    assert_null(api_topic("run"));
    assert_null(api_topic("sample"));
    assert_null(api_topic(""));
    assert_null(api_topic("blocks/"));
}

static void test_api_set_takes_the_options_of_kmemctl(void **state)
{
    struct question question;
    assert_int_equal(ask(&question, "blocks", "top", "50"), 0);
    assert_int_equal(question.options.top, 50);
    assert_int_equal(api_set(&question, "reason", "video/*", &complaint), 0);
    assert_string_equal(question.options.filter.reason, "video/*");
    assert_int_equal(api_set(&question, "reason", "audio", &complaint), 0);
    assert_string_equal(question.options.filter.reason, "audio");
    assert_int_equal(api_set(&question, "larger-than", "64KiB", &complaint), 0);
    assert_int_equal(question.options.filter.larger_than_bytes, 65536);
    assert_int_equal(api_set(&question, "older-than", "5m", &complaint), 0);
    assert_int_equal(question.options.filter.older_than_ms, 300000);
    assert_int_equal(api_set(&question, "after", "0x4000", &complaint), 0);
    assert_int_equal(question.options.filter.after, 0x4000);
    assert_int_equal(api_set(&question, "sort", "bytes:asc", &complaint), 0);
    assert_int_equal(api_check(&question, &complaint), 0);
    question_fini(&question);
    assert_int_equal(ask(&question, "ledger", "by", "client"), 0);
    assert_int_equal(question.options.by, KMEM_BY_CLIENT);
    question_fini(&question);
}

static void test_api_set_refuses_what_can_not_be_meant(void **state)
{
    expect_refused("blocks", "top", "0", "top: takes a number");
    expect_refused("blocks", "top", "10001", "top: takes a number");
    expect_refused("blocks", "top", "-1", "top: takes a number");
    expect_refused("blocks", "top", "", "top: takes a number");
    expect_refused("blocks", "pid", "1x", "pid:");
    expect_refused("blocks", "older-than", "soon", "older-than:");
    expect_refused("blocks", "larger-than", "large", "larger-than:");
    expect_refused("blocks", "after", "x", "after:");
    expect_refused("blocks", "user", "no such user", "user:");
    expect_refused("ledger", "by", "moon", "by: takes");
    expect_refused("history", "since", "8d", "since: takes an age");
    expect_refused("history", "steps", "1001", "steps: takes a number");
    expect_refused("history", "ste", "1", "no parameter");
    expect_refused("refusals", "counts", "2", "counts: takes");
    expect_refused("usage", "all", "yes", "all: takes");
    expect_refused("usage", "top", "1", "usage: has no parameter \"top\"");
    expect_refused("clients", "by", "uid", "clients: has no parameter \"by\"");
    expect_refused("clients", "", "", "clients: has no parameter \"\"");
}

static void test_api_check_names_the_parameter_that_is_wrong(void **state)
{
    expect_refused("clients", "sort", "weight", "sort: there is no column \"weight\" here");
    expect_refused("clients", "columns", "pid,weight", "columns: there is no column \"weight\"");
    expect_refused("names", "older-than", "5m", "older-than means nothing here");
}

static void test_question_is_same_looks_at_all_of_it(void **state)
{
    struct question left;
    struct question right;
    assert_int_equal(ask(&left, "blocks", "after", "1"), 0);
    assert_int_equal(question_dup(&left, &right), 0);
    assert_true(question_is_same(&left, &right));
    assert_int_equal(api_set(&right, "after", "2", &complaint), 0);
    assert_false(question_is_same(&left, &right));
    question_fini(&right);
    assert_int_equal(question_dup(&left, &right), 0);
    assert_int_equal(api_set(&right, "reason", "x", &complaint), 0);
    assert_false(question_is_same(&left, &right));
    assert_int_equal(api_set(&left, "reason", "x", &complaint), 0);
    assert_true(question_is_same(&left, &right));
    question_fini(&left);
    question_fini(&right);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_api_topic_knows_lists_and_nothing_else),
        cmocka_unit_test(test_api_set_takes_the_options_of_kmemctl),
        cmocka_unit_test(test_api_set_refuses_what_can_not_be_meant),
        cmocka_unit_test(test_api_check_names_the_parameter_that_is_wrong),
        cmocka_unit_test(test_question_is_same_looks_at_all_of_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

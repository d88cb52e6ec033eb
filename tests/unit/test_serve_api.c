/* SPDX-License-Identifier: MIT */
/*
 * test_serve_api.c - what the parameters of a request mean, and which are refused
 */
#include <errno.h>
#include <string.h>

#include "client/serve/api.h"
#include "tests/unit/fail.h"
#include "tests/unit/unit.h"

FAIL_WRAP_AS("memory", char *, strdup, (const char *text), (text), NULL)

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
    expect_refused("history", "since", "0s", "since: takes an age");
    expect_refused("history", "since", "long", "since: takes an age");
    expect_refused("history", "steps", "0", "steps: takes a number");
    expect_refused("history", "ste", "1", "no parameter");
    expect_refused("history", "teps", "1", "no parameter");
    expect_refused("blocks", "top", "1x", "top: takes a number");
    expect_refused("blocks", "after", "99999999999999999999", "after:");
    expect_refused("refusals", "counts", "", "counts: takes");
    expect_refused("refusals", "counts", "10", "counts: takes");
    expect_refused("usage", "all", "", "all: takes");
    expect_refused("usage", "all", "00", "all: takes");
    expect_refused("refusals", "counts", "2", "counts: takes");
    expect_refused("usage", "all", "yes", "all: takes");
    expect_refused("usage", "top", "1", "usage: has no parameter \"top\"");
    expect_refused("clients", "by", "uid", "clients: has no parameter \"by\"");
    expect_refused("clients", "", "", "clients: has no parameter \"\"");
}

static void test_api_set_refuses_a_text_longer_than_any(void **state)
{
    char text[256];
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    expect_refused("blocks", "reason", text, "reason: is too long");
    expect_refused("blocks", "sort", text, "sort: is too long");
    expect_refused("blocks", "columns", text, "columns: is too long");
}

static void test_api_set_takes_what_one_topic_has(void **state)
{
    struct question question;
    assert_int_equal(ask(&question, "history", "since", "1h"), 0);
    assert_int_equal(question.options.since_ms, 3600000);
    assert_int_equal(api_set(&question, "steps", "60", &complaint), 0);
    assert_int_equal(question.options.steps, 60);
    question_fini(&question);
    assert_int_equal(ask(&question, "refusals", "counts", "1"), 0);
    assert_true(question.options.counts);
    question_fini(&question);
    assert_int_equal(ask(&question, "usage", "all", "0"), 0);
    assert_false(question.options.all);
    question_fini(&question);
    assert_int_equal(ask(&question, "blocks", "pid", "42"), 0);
    assert_int_equal(question.options.filter.pid, 42);
    assert_int_equal(api_set(&question, "user", "7", &complaint), 0);
    assert_int_equal(question.options.filter.uid, 7);
    question_fini(&question);
}

static void test_api_without_memory_says_so_or_takes_it(void **state)
{
    for (unsigned nth = 1; fail_again("memory", nth, ENOMEM); nth++) {
        struct question question;
        struct question copy;
        api_begin(api_topic("blocks"), &question);
        int r = api_set(&question, "reason", "video/*", &complaint);
        r = r ? r : api_set(&question, "sort", "bytes", &complaint);
        r = r ? r : api_check(&question, &complaint);
        r = r ? r : question_dup(&question, &copy);
        if (fail_end()) {
            assert_int_equal(r, -ENOMEM);
        } else {
            assert_int_equal(r, 0);
            assert_true(question_is_same(&question, &copy));
            question_fini(&copy);
        }
        question_fini(&question);
    }
}

static void test_api_check_names_the_parameter_that_is_wrong(void **state)
{
    expect_refused("clients", "sort", "weight", "sort: there is no column \"weight\" here");
    expect_refused("clients", "columns", "pid,weight", "columns: there is no column \"weight\"");
    expect_refused("names", "older-than", "5m", "older-than means nothing here");
}

/* One parameter more, or another one, is another question. */
static void expect_another(const char *topic, const char *key, const char *value)
{
    struct question plain;
    struct question other;
    api_begin(api_topic(topic), &plain);
    assert_int_equal(ask(&other, topic, key, value), 0);
    assert_false(question_is_same(&plain, &other));
    assert_false(question_is_same(&other, &plain));
    question_fini(&other);
}

static void test_question_is_same_looks_at_each_parameter(void **state)
{
    expect_another("blocks", "top", "5");
    expect_another("blocks", "reason", "x");
    expect_another("blocks", "sort", "bytes");
    expect_another("blocks", "columns", "bytes");
    expect_another("blocks", "pid", "0");
    expect_another("blocks", "pid", "1");
    expect_another("blocks", "user", "0");
    expect_another("blocks", "user", "1");
    expect_another("blocks", "older-than", "0s");
    expect_another("blocks", "older-than", "1s");
    expect_another("blocks", "larger-than", "0");
    expect_another("blocks", "larger-than", "1");
    expect_another("blocks", "after", "1");
    expect_another("ledger", "by", "uid");
    expect_another("usage", "all", "1");
    expect_another("refusals", "counts", "1");
    expect_another("history", "since", "1m");
    expect_another("history", "steps", "7");
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
        cmocka_unit_test(test_api_set_refuses_a_text_longer_than_any),
        cmocka_unit_test(test_api_set_takes_what_one_topic_has),
        cmocka_unit_test(test_api_without_memory_says_so_or_takes_it),
        cmocka_unit_test(test_api_check_names_the_parameter_that_is_wrong),
        cmocka_unit_test(test_question_is_same_looks_at_each_parameter),
        cmocka_unit_test(test_question_is_same_looks_at_all_of_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

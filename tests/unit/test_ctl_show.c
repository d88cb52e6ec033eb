/* SPDX-License-Identifier: MIT */
/*
 * test_ctl_show.c - what every query command prints, compared with golden files
 *
 * The segment of fake_segment.h holds a reason that would colour a terminal, a command with a line
 * feed and a byte that is no UTF-8, so each golden file is also the proof that such things are
 * escaped in text and valid in JSON. With KMEM_GOLDEN_WRITE set in the environment the files are
 * written instead of compared; then `git diff` shows what has changed.
 */
#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <json-c/json.h>

#include "client/ctl/command.h"
#include "client/ctl/status.h"
#include "tests/unit/fake_segment.h"
#include "tests/unit/shown.h"
#include "tests/unit/unit.h"

#define N_ELEMENTS(array) (sizeof(array) / sizeof((array)[0]))

/* --------------------------------------------------------------------- failing allocations ---- */

/* The allocation that fails, counted from 1; 0: none does. */
static unsigned failing_allocation;
static unsigned n_allocations;

static int allocation_fails(void)
{
    return failing_allocation != 0 && ++n_allocations == failing_allocation;
}

void *__real_calloc(size_t n, size_t n_bytes);
void *__wrap_calloc(size_t n, size_t n_bytes);
void *__wrap_calloc(size_t n, size_t n_bytes)
{
    return allocation_fails() ? NULL : __real_calloc(n, n_bytes);
}

void *__real_malloc(size_t n_bytes);
void *__wrap_malloc(size_t n_bytes);
void *__wrap_malloc(size_t n_bytes)
{
    return allocation_fails() ? NULL : __real_malloc(n_bytes);
}

void *__real_realloc(void *bytes, size_t n_bytes);
void *__wrap_realloc(void *bytes, size_t n_bytes);
void *__wrap_realloc(void *bytes, size_t n_bytes)
{
    return allocation_fails() ? NULL : __real_realloc(bytes, n_bytes);
}

char *__real_strdup(const char *text);
char *__wrap_strdup(const char *text);
char *__wrap_strdup(const char *text)
{
    return allocation_fails() ? NULL : __real_strdup(text);
}

/* --------------------------------------------------------------------------------- showing ---- */

static const struct options plainly = {0};

static void test_usage_show_is_golden(void **state)
{
    assert_golden("usage.txt", show(usage_show, fake_segment(), plainly));
    assert_golden("usage-all.txt", show(usage_show, fake_segment(), (struct options){.all = true}));
    assert_golden("usage-bytes.txt",
                  show(usage_show, fake_segment(), (struct options){.exact_bytes = true}));
    assert_golden("usage-empty.txt", show(usage_show, fake_segment_empty(), plainly));
}

static int status_of_usage(double fail_above_percent)
{
    struct shown shown = show(usage_show, fake_segment(),
                              (struct options){.fail_above_percent = fail_above_percent});
    free(shown.text);
    return shown.status;
}

/* 53 of 64 MiB are free, so 17.19 % are not. */
static void test_usage_show_tells_that_the_threshold_is_reached(void **state)
{
    assert_int_equal(status_of_usage(0), STATUS_OK);
    assert_int_equal(status_of_usage(17.1), STATUS_THRESHOLD);
    assert_int_equal(status_of_usage(17.2), STATUS_OK);
    assert_int_equal(status_of_usage(100), STATUS_OK);
}

static void test_ledger_show_is_golden(void **state)
{
    assert_golden("ledger.txt", show(ledger_show, fake_segment(), plainly));
    assert_golden("ledger-client.txt",
                  show(ledger_show, fake_segment(), (struct options){.by = KMEM_BY_CLIENT}));
    assert_golden("ledger-uid.txt",
                  show(ledger_show, fake_segment(), (struct options){.by = KMEM_BY_UID}));
    assert_golden("ledger-depth.txt",
                  show(ledger_show, fake_segment(), (struct options){.depth = 1}));
}

static void test_ledger_show_by_ranges_and_units_is_golden(void **state)
{
    assert_golden("ledger-size.txt",
                  show(ledger_show, fake_segment(), (struct options){.by = KMEM_BY_SIZE}));
    assert_golden("ledger-age.txt",
                  show(ledger_show, fake_segment(), (struct options){.by = KMEM_BY_AGE}));
    assert_golden("ledger-unit.txt",
                  show(ledger_show, fake_segment(), (struct options){.by = KMEM_BY_UNIT}));
}

static void test_reasons_show_is_golden(void **state)
{
    assert_golden("reasons.txt", show(reasons_show, fake_segment(), plainly));
    assert_golden("reasons-depth.txt",
                  show(reasons_show, fake_segment(), (struct options){.depth = 1}));
    assert_golden("reasons-sorted.txt",
                  show(reasons_show, fake_segment(), (struct options){.sort = "bytes:asc"}));
    assert_golden("reasons-28.txt", show_at(28, reasons_show, fake_segment(), plainly));
    assert_golden("reasons-pid.txt",
                  show(reasons_show, fake_segment(),
                       (struct options){.filter = {.has_pid = true, .pid = 4242}}));
}

static void test_limits_show_is_golden(void **state)
{
    assert_golden("limits.txt", show(limits_show, fake_segment(), plainly));
    assert_golden("limits-60.txt", show_at(60, limits_show, fake_segment(), plainly));
}

static int status_of_limits(double fail_above_percent, size_t first, size_t n_limits)
{
    struct kmem_query query = fake_segment();
    query.limits += first;
    query.n_limits = n_limits;
    struct shown shown =
        show(limits_show, query, (struct options){.fail_above_percent = fail_above_percent});
    free(shown.text);
    return shown.status;
}

/* What rotates is full, and no limit of anything. */
static void test_limits_show_tells_that_the_threshold_is_reached(void **state)
{
    assert_int_equal(status_of_limits(0, 0, 6), STATUS_OK);
    assert_int_equal(status_of_limits(99, 0, 6), STATUS_THRESHOLD);
    assert_int_equal(status_of_limits(85, 3, 3), STATUS_THRESHOLD);
    assert_int_equal(status_of_limits(86, 3, 3), STATUS_OK);
    assert_int_equal(status_of_limits(1, 4, 2), STATUS_OK);
}

/* A server that is none says what it likes. */
static void test_limits_show_bounds_the_share_of_a_limit(void **state)
{
    const struct kmem_limit limit = {
        .name = "clients", .unit = "count", .used = UINT64_MAX, .limit = 1, .text = ""};
    struct kmem_query query = fake_segment();
    query.limits = &limit;
    query.n_limits = 1;
    struct shown shown = show(limits_show, query, (struct options){.format = FORMAT_CSV});
    assert_non_null(strstr(shown.text, "18446744073709551615"));
    free(shown.text);
}

static void test_refusals_show_is_golden(void **state)
{
    assert_golden("refusals.txt", show(refusals_show, fake_segment(), plainly));
    assert_golden("refusals-60.txt", show_at(60, refusals_show, fake_segment(), plainly));
    assert_golden("refusals-counts.txt",
                  show(refusals_show, fake_segment(), (struct options){.counts = true}));
}

static void test_blocks_show_is_golden(void **state)
{
    assert_golden("blocks.txt", show(blocks_show, fake_segment(), plainly));
    assert_golden("blocks-pid.txt",
                  show(blocks_show, fake_segment(),
                       (struct options){.filter = {.has_pid = true, .pid = 4243}}));
    assert_golden("blocks-reason.txt", show(blocks_show, fake_segment(),
                                            (struct options){.filter = {.reason = "video/c"}}));
}

static void test_blocks_show_of_shared_ones_is_golden(void **state)
{
    assert_golden("blocks-shared.txt",
                  show(blocks_show, fake_segment(), (struct options){.shared = true}));
}

static void test_names_show_is_golden(void **state)
{
    assert_golden("names.txt", show(names_show, fake_segment(), plainly));
}

static void test_holders_show_is_golden(void **state)
{
    assert_golden("holders.txt", show(holders_show, fake_segment(), plainly));
}

static void test_clients_show_is_golden(void **state)
{
    assert_golden("clients.txt", show(clients_show, fake_segment(), plainly));
}

static void test_history_show_is_golden(void **state)
{
    const struct options by_reason = {.steps = 6, .filter = {.reason = "log"}};
    assert_golden("history.txt", show(history_show, fake_segment(), (struct options){.steps = 10}));
    assert_golden("history-reason.txt", show(history_show, fake_segment(), by_reason));
}

static void test_history_show_tells_that_nothing_has_grown(void **state)
{
    const struct options by_reason = {.steps = 1, .filter = {.reason = "video"}};
    struct shown shown = show(history_show, fake_segment(), by_reason);
    assert_non_null(
        strstr(shown.text, "\nno reason of that kind has grown in the last 1 h 00 m\n"));
    free(shown.text);
    assert_shows(history_show, fake_segment_empty(), plainly,
                 "nothing was looked at in that time\n");
}

/* Seven seconds: in steps of an hour it would be all in one, which can not grow. */
static void test_history_show_looks_as_far_back_as_is_known(void **state)
{
    struct kmem_history_row seconds[14];
    for (size_t i = 0; i < 7; i++) {
        struct kmem_history_row row = {.number = i,
                                       .ms_ago = 1000 * (6 - i),
                                       .span_ms = 1000,
                                       .num_bytes = (i + 1) << 20,
                                       .peak_bytes = (i + 1) << 20,
                                       .n_blocks = i + 1,
                                       .n_looks = 1};
        seconds[2 * i] = row;
        row.reason = "log";
        seconds[2 * i + 1] = row;
    }
    struct kmem_query query = fake_segment();
    query.history = seconds;
    query.n_history = 14;
    struct shown shown = show(history_show, query, plainly);
    assert_non_null(strstr(shown.text, "log grew all the time that is known, 6.0 s: "
                                       "from 1.0 MiB to 7.0 MiB\n"));
    free(shown.text);
}

static void test_leaks_show_is_golden(void **state)
{
    assert_golden("leaks.txt", show(leaks_show, fake_segment(), plainly));
    assert_golden("leaks.json",
                  show(leaks_show, fake_segment(), (struct options){.format = FORMAT_JSON}));
    assert_shows(leaks_show, fake_segment_empty(), plainly,
                 "no reason has blocks that live far longer than its blocks usually do\n");
}

static int status_of_leaks(const char *reason)
{
    const struct options options = {.fail_on_leak = true, .filter = {.reason = reason}};
    struct shown shown = show(leaks_show, fake_segment(), options);
    free(shown.text);
    return shown.status;
}

static void test_leaks_show_tells_that_one_is_suspected(void **state)
{
    assert_int_equal(status_of_leaks(NULL), STATUS_THRESHOLD);
    assert_int_equal(status_of_leaks("log"), STATUS_THRESHOLD);
    assert_int_equal(status_of_leaks("cache"), STATUS_OK); /* it can not be told */
    assert_int_equal(status_of_leaks("video"), STATUS_OK);
}

static void test_obituaries_show_is_golden(void **state)
{
    assert_golden("obituaries.txt", show(obituaries_show, fake_segment(), plainly));
}

static void test_reconcile_show_is_golden(void **state)
{
    assert_golden("reconcile.txt", show(reconcile_show, fake_segment(), plainly));
}

static void test_show_says_in_words_that_there_is_nothing(void **state)
{
    const struct options picky = {.filter = {.has_pid = true, .pid = 1}};

    assert_shows(ledger_show, fake_segment_empty(), plainly, "no live blocks\n");
    assert_shows(blocks_show, fake_segment_empty(), plainly, "no live blocks\n");
    assert_shows(blocks_show, fake_segment(), picky, "no live blocks of that kind\n");
    assert_shows(blocks_show, fake_segment_empty(), (struct options){.shared = true},
                 "no shared blocks\n");
    assert_shows(blocks_show, fake_segment(),
                 (struct options){.shared = true, .filter = {.has_pid = true}},
                 "no shared blocks of that kind\n");
    assert_shows(names_show, fake_segment_empty(), plainly, "no names\n");
    assert_shows(holders_show, fake_segment_empty(), plainly, "no shared blocks\n");
    assert_shows(clients_show, fake_segment_empty(), plainly, "no clients\n");
    assert_shows(obituaries_show, fake_segment_empty(), plainly, "nobody has ended\n");
    assert_shows(reasons_show, fake_segment_empty(), plainly, "no live blocks\n");
    assert_shows(reasons_show, fake_segment(), picky, "no live blocks of that kind\n");
    assert_shows(refusals_show, fake_segment_empty(), plainly, "nothing was refused\n");
    assert_shows(refusals_show, fake_segment(), picky, "nothing of that kind was refused\n");
    assert_shows(refusals_show, fake_segment_empty(), (struct options){.counts = true},
                 "nothing was refused\n");
}

/* -------------------------------------------------------------------- holders of one block ---- */

static int n_lines(const char *text)
{
    int n = 0;
    for (; *text; text++) {
        n += *text == '\n';
    }
    return n;
}

/* --------------------------------------------------------------------- holders of one block --- */
static int holders_shown(const char *argument)
{
    struct shown table =
        show(holders_show, fake_segment(), (struct options){.arguments = {argument}});
    struct shown json = show(holders_show, fake_segment(),
                             (struct options){.format = FORMAT_JSON, .arguments = {argument}});
    const int n = n_lines(table.text) - 1;
    assert_int_equal(table.status, n > 0 ? STATUS_OK : STATUS_ERROR);
    assert_int_equal(json.status, table.status);
    if (n == 0) {
        assert_string_equal(table.text, "no shared block of that name or place\n");
        assert_string_equal(json.text, "{ \"holders\": [] }\n");
    } else {
        assert_int_equal(n_lines(json.text), n + 2);
    }
    free(table.text);
    free(json.text);
    return n;
}

static void test_holders_show_of_a_name_is_of_its_block(void **state)
{
    assert_int_equal(holders_shown("camera0/latest"), 4);
    assert_int_equal(holders_shown("a\nb"), 2);
    assert_int_equal(holders_shown("camera0/lates"), 0);
    assert_int_equal(holders_shown("camera0/latest "), 0);
}

static void test_holders_show_of_an_offset_is_of_the_block_there(void **state)
{
    assert_int_equal(holders_shown("0x4000"), 4);
    assert_int_equal(holders_shown("16384"), 4);
    assert_int_equal(holders_shown("0xa08000"), 1);
    assert_int_equal(holders_shown("0x4001"), 0);
    assert_int_equal(holders_shown("0"), 0); /* not all of them */
    assert_int_equal(holders_shown("18446744073709551616"), 0);
    assert_int_equal(holders_shown("16384x"), 0);
    assert_int_equal(holders_shown("-1"), 0);
}

static void test_holders_show_of_a_name_that_is_a_number_is_of_the_name(void **state)
{
    static const struct kmem_name number = {.name = "0x4000", .offset = 0xa08000, .command = ""};
    struct kmem_query query = fake_segment();
    query.names = &number;
    query.n_names = 1;
    struct shown shown = show(holders_show, query, (struct options){.arguments = {"0x4000"}});
    assert_int_equal(n_lines(shown.text), 2);
    assert_non_null(strstr(shown.text, "0xa08000"));
    free(shown.text);
}

static void test_holders_show_of_a_handle_is_of_that_generation(void **state)
{
    assert_int_equal(holders_shown("kmem://host/video/0x4000+8388608@18446744073709551614/1f"), 4);
    assert_int_equal(holders_shown("kmem://host/video/16384+8388608@0xfffffffffffffffe/1f"), 4);
    assert_int_equal(holders_shown("kmem://host/video/0x4000+8388608@7/1f"), 0);
}

static void test_holders_show_of_what_is_no_handle_is_a_misuse(void **state)
{
    static const char *const wrong[] = {
        "kmem://",
        "kmem://host",
        "kmem://host/video",
        "kmem://host/video/",
        "kmem://host/video/0x4000",
        "kmem://host/video/0x4000+1",
        "kmem://host/video/0x4000+1@2",
        "kmem://host/video/0x4000+1@2/",
        "kmem://host/video/0x+1@2/3",
        "kmem://host/video/+1@2/3",
        "kmem://host/video/0x4000+@2/3",
        "kmem://host/video/0x10000000000000000+1@2/3",
        "kmem://host/video/0x4000+1@two/3",
    };
    for (size_t i = 0; i < N_ELEMENTS(wrong); i++) {
        struct shown shown =
            show(holders_show, fake_segment(), (struct options){.arguments = {wrong[i]}});
        assert_int_equal(shown.status, STATUS_USAGE);
        assert_string_equal(shown.text, "");
        free(shown.text);
    }
}

/* ------------------------------------------------------------------------------------ JSON ---- */

static const struct options as_json = {.format = FORMAT_JSON};

static const struct {
    const char *golden;
    command_show_fn show;
    struct options options;
} documents[] = {
    {"usage.json", usage_show, {.format = FORMAT_JSON}},
    {"usage-all.json", usage_show, {.format = FORMAT_JSON, .all = true}},
    {"ledger.json", ledger_show, {.format = FORMAT_JSON}},
    {"ledger-size.json", ledger_show, {.format = FORMAT_JSON, .by = KMEM_BY_SIZE}},
    {"ledger-age.json", ledger_show, {.format = FORMAT_JSON, .by = KMEM_BY_AGE}},
    {"ledger-unit.json", ledger_show, {.format = FORMAT_JSON, .by = KMEM_BY_UNIT}},
    {"reasons.json", reasons_show, {.format = FORMAT_JSON}},
    {"limits.json", limits_show, {.format = FORMAT_JSON}},
    {"reload.json", reload_show, {.format = FORMAT_JSON}},
    {"refusals.json", refusals_show, {.format = FORMAT_JSON}},
    {"refusals-counts.json", refusals_show, {.format = FORMAT_JSON, .counts = true}},
    {"ledger-client.json", ledger_show, {.format = FORMAT_JSON, .by = KMEM_BY_CLIENT}},
    {"ledger-uid.json", ledger_show, {.format = FORMAT_JSON, .by = KMEM_BY_UID}},
    {"blocks.json", blocks_show, {.format = FORMAT_JSON}},
    {"blocks-shared.json", blocks_show, {.format = FORMAT_JSON, .shared = true}},
    {"names.json", names_show, {.format = FORMAT_JSON}},
    {"holders.json", holders_show, {.format = FORMAT_JSON}},
    {"clients.json", clients_show, {.format = FORMAT_JSON}},
    {"obituaries.json", obituaries_show, {.format = FORMAT_JSON}},
    {"history.json", history_show, {.format = FORMAT_JSON, .steps = 3}},
    {"reconcile.json", reconcile_show, {.format = FORMAT_JSON}},
};

static void test_show_json_is_golden(void **state)
{
    for (size_t i = 0; i < N_ELEMENTS(documents); i++) {
        assert_golden(documents[i].golden,
                      show(documents[i].show, fake_segment(), documents[i].options));
    }
}

static void assert_valid_json(const char *text)
{
    struct json_tokener *tokener = json_tokener_new();

    json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
    struct json_object *object = json_tokener_parse_ex(tokener, text, (int)strlen(text));
    assert_int_equal(json_tokener_get_error(tokener), json_tokener_success);
    assert_non_null(object);
    json_object_put(object);
    json_tokener_free(tokener);
}

static void test_show_json_is_valid_utf8_whatever_the_reason(void **state)
{
    static const char *const reasons[] = {"\xFF\xFE\xC0\x80",
                                          "\"\\/\b\f\n\r\t",
                                          "\x01\x1F\x7F",
                                          "\xED\xA0\x80",
                                          "\xF0\x9F\x98\x80",
                                          "cut \xE6\x98",
                                          "\xC2\x9B\x33\x31m",
                                          "",
                                          "\xF4\x90\x80\x80",
                                          "\xF8\x88\x80\x80\x80",
                                          "\xFC\x84\x80\x80\x80\x80"};

    for (size_t i = 0; i < N_ELEMENTS(reasons); i++) {
        struct kmem_query query = fake_segment();
        struct kmem_block block = query.blocks[0];

        block.reason = reasons[i];
        query.blocks = &block;
        query.n_blocks = 1;
        struct shown shown = show(blocks_show, query, as_json);
        assert_valid_json(shown.text);
        free(shown.text);
    }
}

static void test_show_json_of_nothing_is_an_empty_list(void **state)
{
    assert_shows(ledger_show, fake_segment_empty(), as_json, "{ \"ledger\": [] }\n");
    assert_shows(blocks_show, fake_segment_empty(), as_json, "{ \"blocks\": [] }\n");
    assert_shows(names_show, fake_segment_empty(), as_json, "{ \"names\": [] }\n");
    assert_shows(holders_show, fake_segment_empty(), as_json, "{ \"holders\": [] }\n");
    assert_shows(clients_show, fake_segment_empty(), as_json, "{ \"clients\": [] }\n");
    assert_shows(obituaries_show, fake_segment_empty(), as_json, "{ \"obituaries\": [] }\n");
}

/* -------------------------------------------------------------------------------- failures ---- */

static const command_show_fn commands[] = {
    usage_show,   ledger_show,     blocks_show,  names_show, holders_show,
    clients_show, obituaries_show, history_show, leaks_show, reconcile_show,
};

static void test_show_forwards_what_the_query_failed_with(void **state)
{
    for (size_t i = 0; i < N_ELEMENTS(commands); i++) {
        struct kmem_query query = fake_segment();

        query.error = -ECONNRESET;
        struct shown shown = show(commands[i], query, plainly);
        assert_int_equal(shown.status, -ECONNRESET);
        assert_string_equal(shown.text, "");
        free(shown.text);
    }
}

static void test_show_of_a_daemon_without_figures_is_EPROTO(void **state)
{
    struct kmem_query query = fake_segment();

    query.n_statistics = 0;
    struct shown shown = show(usage_show, query, plainly);
    assert_int_equal(shown.status, -EPROTO);
    free(shown.text);
}

/* One after the other. It says ENOMEM, or all the same: there is a slower way to sort. */
static void assert_survives_failures(command_show_fn command, struct options options)
{
    struct shown whole = show(command, fake_segment(), options);
    bool was_reached = true;
    assert_int_equal(whole.status, STATUS_OK);
    for (unsigned n = 1; was_reached; n++) {
        n_allocations = 0;
        failing_allocation = n;
        struct shown shown = show(command, fake_segment(), options);
        was_reached = n_allocations >= n;
        failing_allocation = 0;
        assert_true(was_reached || n > 1);
        assert_int_equal(shown.status, was_reached && shown.status ? -ENOMEM : STATUS_OK);
        assert_true(shown.status != STATUS_OK || strcmp(shown.text, whole.text) == 0);
        free(shown.text);
    }
    free(whole.text);
}

static void test_show_survives_every_failing_allocation(void **state)
{
    for (size_t i = 0; i < N_ELEMENTS(commands); i++) {
        assert_survives_failures(commands[i], plainly);
    }
    for (size_t i = 0; i < N_ELEMENTS(documents); i++) {
        assert_survives_failures(documents[i].show, documents[i].options);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_usage_show_is_golden),
        cmocka_unit_test(test_usage_show_tells_that_the_threshold_is_reached),
        cmocka_unit_test(test_ledger_show_is_golden),
        cmocka_unit_test(test_ledger_show_by_ranges_and_units_is_golden),
        cmocka_unit_test(test_reasons_show_is_golden),
        cmocka_unit_test(test_limits_show_is_golden),
        cmocka_unit_test(test_limits_show_tells_that_the_threshold_is_reached),
        cmocka_unit_test(test_limits_show_bounds_the_share_of_a_limit),
        cmocka_unit_test(test_refusals_show_is_golden),
        cmocka_unit_test(test_blocks_show_is_golden),
        cmocka_unit_test(test_blocks_show_of_shared_ones_is_golden),
        cmocka_unit_test(test_names_show_is_golden),
        cmocka_unit_test(test_holders_show_is_golden),
        cmocka_unit_test(test_clients_show_is_golden),
        cmocka_unit_test(test_leaks_show_is_golden),
        cmocka_unit_test(test_leaks_show_tells_that_one_is_suspected),
        cmocka_unit_test(test_history_show_is_golden),
        cmocka_unit_test(test_history_show_tells_that_nothing_has_grown),
        cmocka_unit_test(test_history_show_looks_as_far_back_as_is_known),
        cmocka_unit_test(test_obituaries_show_is_golden),
        cmocka_unit_test(test_reconcile_show_is_golden),
        cmocka_unit_test(test_show_says_in_words_that_there_is_nothing),
        cmocka_unit_test(test_holders_show_of_a_name_is_of_its_block),
        cmocka_unit_test(test_holders_show_of_an_offset_is_of_the_block_there),
        cmocka_unit_test(test_holders_show_of_a_name_that_is_a_number_is_of_the_name),
        cmocka_unit_test(test_holders_show_of_a_handle_is_of_that_generation),
        cmocka_unit_test(test_holders_show_of_what_is_no_handle_is_a_misuse),
        cmocka_unit_test(test_show_json_is_golden),
        cmocka_unit_test(test_show_json_is_valid_utf8_whatever_the_reason),
        cmocka_unit_test(test_show_json_of_nothing_is_an_empty_list),
        cmocka_unit_test(test_show_forwards_what_the_query_failed_with),
        cmocka_unit_test(test_show_of_a_daemon_without_figures_is_EPROTO),
        cmocka_unit_test(test_show_survives_every_failing_allocation),
    };

    (void)setlocale(LC_CTYPE, "C.UTF-8");
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * test_ctl_listing.c - one declaration of columns, and every way to write, choose and sort rows
 */
#include <errno.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>

#include "client/ctl/blocks.h"
#include "client/ctl/listing.h"
#include "client/ctl/status.h"
#include "client/ctl/width.h"
#include "tests/unit/fake_segment.h"
#include "tests/unit/shown.h"
#include "tests/unit/unit.h"

#define N_ELEMENTS(array) (sizeof(array) / sizeof((array)[0]))

static const struct {
    const char *name;
    command_show_fn show;
    command_shape_fn shape;
} listings[] = {
    {"ledger", ledger_show, ledger_shape},       {"blocks", blocks_show, blocks_shape},
    {"names", names_show, names_shape},          {"holders", holders_show, holders_shape},
    {"clients", clients_show, clients_shape},    {"obituaries", obituaries_show, obituaries_shape},
    {"reasons", reasons_show, reasons_shape},    {"limits", limits_show, limits_shape},
    {"refusals", refusals_show, refusals_shape}, {"history", history_show, history_shape},
    {"reload", reload_show, reload_shape},
};

/* ------------------------------------------------------------------------------- formats ---- */

static void assert_format(enum format format, const char *suffix)
{
    for (size_t i = 0; i < N_ELEMENTS(listings); i++) {
        char name[64];
        (void)stpcpy(stpcpy(name, listings[i].name), suffix);
        assert_golden(name,
                      show(listings[i].show, fake_segment(), (struct options){.format = format}));
    }
}

static void test_wide_tables_are_golden(void **state)
{
    assert_format(FORMAT_WIDE, "-wide.txt");
}

static void test_csv_is_golden(void **state)
{
    assert_format(FORMAT_CSV, ".csv");
    assert_golden("usage.csv",
                  show(usage_show, fake_segment(), (struct options){.format = FORMAT_CSV}));
}

static void test_json_lines_are_golden(void **state)
{
    assert_format(FORMAT_JSONL, ".jsonl");
}

static void test_csv_quotes_what_holds_a_comma_or_a_quote(void **state)
{
    struct kmem_query query = fake_segment();
    struct kmem_name name = query.names[0];
    name.name = "a,\"b\"\n=c";
    query.names = &name;
    query.n_names = 1;
    assert_shows(names_show, query,
                 (struct options){.format = FORMAT_CSV, .columns = "name,num_bytes"},
                 "name,num_bytes\n\"a,\"\"b\"\"\\x0a=c\",8388608\n");
}

/* ------------------------------------------------------------------------------- columns ---- */

static void test_columns_are_those_that_are_asked_for(void **state)
{
    const char *const columns = "reason,BYTES,peak";
    assert_int_equal(listing_check(blocks_shape(&(struct options){.top = 0}),
                                   &(struct options){.columns = columns}, "blocks"),
                     STATUS_USAGE);
    assert_shows(
        blocks_show, fake_segment(),
        (struct options){.columns = "Reason,num_bytes,n_holders", .top = 1, .no_headers = true},
        "video/capture  8.0 MiB  3\n");
    assert_shows(clients_show, fake_segment(),
                 (struct options){.columns = "pid,peak_used,peak-held,role", .top = 1},
                 " PID  PEAK USED  PEAK HELD  ROLE\n4242   12.0 MiB   16.0 MiB  member\n");
    assert_shows(clients_show, fake_segment(),
                 (struct options){.format = FORMAT_JSONL, .columns = "pid,role,state", .top = 1},
                 "{ \"pid\": 4242, \"role\": \"member\", \"state\": \"connected\" }\n");
}

static int check(const char *columns, const char *sort, enum format format)
{
    const struct options options = {.columns = columns, .sort = sort, .format = format};
    return listing_check(obituaries_shape(&options), &options, "obituaries");
}

static void test_columns_that_are_none_are_a_misuse(void **state)
{
    assert_int_equal(check("pid", "pid", FORMAT_TABLE), STATUS_OK);
    assert_int_equal(check("", NULL, FORMAT_TABLE), STATUS_USAGE);
    assert_int_equal(check("pid,", NULL, FORMAT_TABLE), STATUS_USAGE);
    assert_int_equal(check("pi", NULL, FORMAT_TABLE), STATUS_USAGE);
    assert_int_equal(check("pid pid", NULL, FORMAT_TABLE), STATUS_USAGE);
    assert_int_equal(check("pid,pid,pid,pid,pid,pid,pid,pid,pid,pid,pid,pid,pid,pid,pid,pid,pid,"
                           "pid,pid,pid,pid,pid,pid,pid,pid",
                           NULL, FORMAT_TABLE),
                     STATUS_USAGE);
    assert_int_equal(check("left", NULL, FORMAT_TABLE), STATUS_USAGE);
    assert_int_equal(check("left", NULL, FORMAT_JSON), STATUS_OK);
    assert_int_equal(check("reasons", NULL, FORMAT_CSV), STATUS_OK);
    assert_int_equal(check("largest_kept", NULL, FORMAT_CSV), STATUS_USAGE);
    assert_int_equal(check("largest_kept", NULL, FORMAT_JSONL), STATUS_OK);
    assert_int_equal(check("reason", NULL, FORMAT_JSON), STATUS_USAGE);
    assert_int_equal(check(NULL, "largest_kept", FORMAT_JSON), STATUS_USAGE);
    assert_int_equal(check(NULL, "pid:up", FORMAT_JSON), STATUS_USAGE);
    assert_int_equal(check(NULL, ":asc", FORMAT_JSON), STATUS_USAGE);
    assert_int_equal(check(NULL, "", FORMAT_JSON), STATUS_USAGE);
}

static void test_an_option_that_looks_at_nothing_is_a_misuse(void **state)
{
    const struct options options = {.filter = {.has_age = true}};
    assert_int_equal(listing_check(names_shape(&options), &options, "names"), STATUS_USAGE);
    assert_int_equal(listing_check(clients_shape(&options), &options, "clients"), STATUS_OK);
    assert_int_equal(listing_check(ledger_shape(&options), &options, "ledger"), STATUS_OK);
}

/* Every column of every listing can be shown, and sorted by, wherever it is. */
static void test_every_column_can_be_asked_for(void **state)
{
    static const enum format formats[] = {FORMAT_TABLE, FORMAT_JSONL, FORMAT_CSV};
    for (size_t i = 0; i < N_ELEMENTS(listings); i++) {
        const struct options none = {.top = 0};
        const struct listing_shape *shape = listings[i].shape(&none);
        for (size_t j = 0; j < shape->n_columns * N_ELEMENTS(formats); j++) {
            const struct column *column = &shape->columns[j / N_ELEMENTS(formats)];
            const enum format format = formats[j % N_ELEMENTS(formats)];
            const char *name = format == FORMAT_TABLE ? column->title : column->key;
            const bool is_nested = column->kind == COLUMN_NESTED;
            if (!name || (is_nested && format == FORMAT_CSV)) {
                continue;
            }
            struct options options = {
                .format = format, .columns = name, .sort = is_nested ? NULL : name};
            assert_int_equal(listing_check(shape, &options, listings[i].name), STATUS_OK);
            struct shown shown = show(listings[i].show, fake_segment(), options);
            assert_int_equal(shown.status, STATUS_OK);
            assert_true(strlen(shown.text) > 0);
            free(shown.text);
        }
    }
}

/* ---------------------------------------------------------------------------------- order ---- */

static void assert_sorted(const char *sort, uint32_t top, const char *wanted)
{
    assert_shows(
        blocks_show, fake_segment(),
        (struct options){.sort = sort, .top = top, .columns = "offset", .no_headers = true},
        wanted);
}

static void test_sort_puts_the_largest_figure_first_and_the_first_text(void **state)
{
    assert_sorted("bytes", 2, "  0x4000\n0x804000\n");
    assert_sorted("bytes:asc", 2, "0xa08030\n0xa08000\n");
    assert_sorted("age:asc", 1, "0xa08030\n");
    assert_sorted("offset:desc", 1, "0xa08030\n");
    assert_sorted("pid", 1, "0x4000\n");
    assert_sorted("reason", 2, "0xa08000\n0xa08030\n");
    assert_sorted("user", 2, "  0x4000\n0x804000\n");
}

static void test_sort_leaves_equals_in_their_order(void **state)
{
    assert_sorted("command", 0, "  0x4000\n0x804000\n0xa04000\n0xa08000\n0xa08030\n");
    assert_sorted("command:desc", 0, "0xa08000\n0xa08030\n  0x4000\n0x804000\n0xa04000\n");
}

static void test_sort_of_obituaries_takes_their_reasons_along(void **state)
{
    assert_golden("obituaries-sorted.txt",
                  show(obituaries_show, fake_segment(), (struct options){.sort = "unreleased"}));
    assert_golden("obituaries-sorted.json",
                  show(obituaries_show, fake_segment(),
                       (struct options){.sort = "no:desc", .format = FORMAT_JSON}));
}

static void test_top_counts_all_and_shows_the_first(void **state)
{
    assert_shows(blocks_show, fake_segment(), (struct options){.top = 1, .columns = "bytes"},
                 "  BYTES\n8.0 MiB\n\n1 of 5 blocks, 10.0 MiB\n");
    assert_golden("ledger-top.txt",
                  show(ledger_show, fake_segment(), (struct options){.top = 1, .sort = "oldest"}));
}

/* 100,000 rows, and no more than some 2,000 are kept. */
static void test_top_of_many_sorted_rows_keeps_a_few(void **state)
{
    struct rows rows = {.shape = blocks_shape(&(struct options){.top = 0}), .n_wanted = 3};
    struct kmem_block block = {.reason = "r", .command = "c"};
    rows.by = &rows.shape->columns[1];
    rows.is_descending = true;
    for (uint64_t i = 0; i < 100000; i++) {
        block.num_bytes = (i * 7919) % 100003;
        assert_int_equal(rows_add(&rows, &block), 0);
        assert_true(rows.n_rows <= 1024 + 1);
    }
    rows_sort(&rows);
    assert_int_equal(rows.n_rows, 3);
    const struct kmem_block *first = rows.rows[0].row;
    const struct kmem_block *third = rows.rows[2].row;
    assert_true(first->num_bytes > third->num_bytes);
    assert_true(third->num_bytes >= 99990);
    assert_string_equal(third->reason, "r");
    rows_fini(&rows);
}

static void test_no_headers_prints_rows_and_nothing_else(void **state)
{
    const struct options options = {.no_headers = true, .columns = "bytes"};
    assert_shows(ledger_show, fake_segment(), options, "8.0 MiB\n2.0 MiB\n   40 B\n    4 B\n");
    assert_shows(ledger_show, fake_segment_empty(), options, "");
    assert_shows(blocks_show, fake_segment_empty(), options, "");
    assert_shows(names_show, fake_segment(),
                 (struct options){.format = FORMAT_CSV, .no_headers = true, .columns = "version"},
                 "1234567\n1\n2\n");
}

/* -------------------------------------------------------------------------------- filters ---- */

static void test_ledger_of_some_blocks_is_that_of_the_daemon(void **state)
{
    const struct filter all = {.reason = "*"};
    for (int by = KMEM_BY_REASON; by <= KMEM_BY_UNIT; by++) {
        struct shown wanted =
            show(ledger_show, fake_segment(), (struct options){.by = (enum kmem_group_by)by});
        assert_shows(ledger_show, fake_segment(),
                     (struct options){.by = (enum kmem_group_by)by, .filter = all}, wanted.text);
        free(wanted.text);
    }
}

static void test_ledger_of_some_blocks_counts_those_alone(void **state)
{
    assert_shows(ledger_show, fake_segment(),
                 (struct options){.filter = {.has_pid = true, .pid = 4243},
                                  .columns = "bytes,blocks,reason"},
                 "BYTES  BLOCKS  REASON\n 40 B       1  \\x1b[31mred\n  4 B       1  caf\\xe9\n"
                 "──────────────────────────\n 44 B       2  total\n");
    assert_shows(ledger_show, fake_segment(),
                 (struct options){.filter = {.has_bytes = true, .larger_than_bytes = 1 << 30}},
                 "no live blocks of that kind\n");
}

/* Each option alone, and what the daemon would let through of it. */
static void test_blocks_are_selected_by_the_daemon_if_it_can(void **state)
{
    static const struct filter filters[] = {
        {.has_pid = true, .pid = 4243},
        {.has_uid = true, .uid = 1000},
        {.reason = "video"},
        {.reason = "*[ci]?p*"},
        {.has_age = true},
        {.has_age = true, .older_than_ms = 60000},
        {.has_bytes = true, .larger_than_bytes = 40},
    };
    for (size_t i = 0; i < N_ELEMENTS(filters); i++) {
        const struct options options = {.filter = filters[i], .format = FORMAT_CSV};
        struct kmem_query query = fake_segment();
        struct kmem_query older = fake_segment();
        older.selects_nothing = true;
        struct shown wanted = show(blocks_show, older, options);
        assert_shows(blocks_show, query, options, wanted.text);
        free(wanted.text);
        wanted = show(ledger_show, older, options);
        assert_shows(ledger_show, query, options, wanted.text);
        free(wanted.text);
    }
}

static int count_block(const struct kmem_block *block, void *user)
{
    unsigned *n_blocks = user;
    (void)block;
    ++*n_blocks;
    return 0;
}

static void test_blocks_ask_selects_when_something_is_asked_for(void **state)
{
    struct kmem_query query = fake_segment();
    const struct filter none = {.has_pid = false};
    const struct filter one = {.has_pid = true, .pid = 1};
    unsigned n_blocks = 0;
    assert_int_equal(blocks_ask(&query, &none, false, count_block, &n_blocks), 0);
    assert_int_equal(query.n_selections, 0);
    assert_int_equal(n_blocks, 5);
    assert_int_equal(blocks_ask(&query, &none, true, count_block, &n_blocks), 0);
    assert_int_equal(query.n_selections, 1);
    assert_true(n_blocks < 10);
    assert_int_equal(blocks_ask(&query, &one, false, count_block, &n_blocks), 0);
    assert_int_equal(query.n_selections, 2);
}

static void test_filters_are_of_every_listing_that_has_such_a_column(void **state)
{
    const struct filter root = {.has_uid = true, .uid = 0};
    assert_shows(clients_show, fake_segment(),
                 (struct options){.filter = root, .columns = "pid", .no_headers = true}, "4243\n");
    assert_shows(obituaries_show, fake_segment(),
                 (struct options){.filter = root, .columns = "pid", .no_headers = true}, "4241\n");
    assert_shows(names_show, fake_segment(), (struct options){.filter = root},
                 "no names of that kind\n");
    assert_shows(holders_show, fake_segment(),
                 (struct options){.filter = {.reason = "*/latest"}, .columns = "kind,reason"},
                 "KIND  REASON\nname  camera0/latest\n");
}

/* ---------------------------------------------------------------------------------- width ---- */

/* Return: the lines before the note, none of them wider than that. */
static size_t lines_at(unsigned n_columns, command_show_fn command, struct options options)
{
    struct shown shown = show_at(n_columns, command, fake_segment(), options);
    size_t n_lines = 0;
    bool is_note = false;
    for (char *line = strtok(shown.text, "\n"); line; line = strtok(NULL, "\n")) {
        assert_true(n_columns == 0 || width_of(line) <= n_columns);
        is_note = is_note || strncmp(line, "kmemctl: ", 9) == 0;
        n_lines += !is_note;
    }
    free(shown.text);
    return n_lines;
}

/* A row is a line: no narrow table has more of them than a wide one. */
static void assert_fits(unsigned n_columns, command_show_fn command, struct options options)
{
    const size_t n_lines = lines_at(0, command, options);
    assert_true(n_lines > 1);
    assert_true(lines_at(n_columns, command, options) <= n_lines);
}

static void test_tables_fit_every_width(void **state)
{
    for (unsigned n_columns = 28; n_columns < 200; n_columns++) {
        for (size_t i = 0; i < N_ELEMENTS(listings); i++) {
            /* Around its table it draws a line and tells sentences, which may take several. */
            const bool tells = listings[i].show == history_show;
            assert_fits(n_columns, listings[i].show, (struct options){.no_headers = tells});
            assert_fits(n_columns, listings[i].show,
                        (struct options){.no_headers = tells, .exact_bytes = true});
            (void)lines_at(n_columns, listings[i].show, (struct options){.top = 0});
            (void)lines_at(n_columns, listings[i].show, (struct options){.format = FORMAT_WIDE});
        }
    }
}

static void test_that_there_is_nothing_fits_every_width(void **state)
{
    for (unsigned n_columns = 28; n_columns < 100; n_columns++) {
        for (size_t i = 0; i < N_ELEMENTS(listings); i++) {
            struct shown shown = show_at(n_columns, listings[i].show, fake_segment_empty(),
                                         (struct options){.top = 0});
            for (char *line = strtok(shown.text, "\n"); line; line = strtok(NULL, "\n")) {
                assert_true(width_of(line) <= n_columns);
            }
            free(shown.text);
        }
    }
}

static void test_narrow_tables_are_golden(void **state)
{
    const struct options plainly = {.top = 0};
    assert_golden("clients-80.txt", show_at(80, clients_show, fake_segment(), plainly));
    assert_golden("clients-60.txt", show_at(60, clients_show, fake_segment(), plainly));
    assert_golden("blocks-60.txt", show_at(60, blocks_show, fake_segment(), plainly));
    assert_golden("holders-60.txt", show_at(60, holders_show, fake_segment(), plainly));
    assert_golden("obituaries-60.txt", show_at(60, obituaries_show, fake_segment(), plainly));
    assert_golden("ledger-28.txt", show_at(28, ledger_show, fake_segment(), plainly));
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
static void test_leaks_show_asks_the_next_server_for_all(void **state)
{
    const struct options options = {0};
    struct kmem_query query = fake_segment();
    const struct shown whole = show(leaks_show, query, options);
    query.before_answer = end_once;
    assert_shows(leaks_show, query, options, whole.text);
    query.before_answer = end_always;
    const struct shown ended = show(leaks_show, query, options);
    assert_int_equal(ended.status, -ECONNRESET);
    free(ended.text);
    free(whole.text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wide_tables_are_golden),
        cmocka_unit_test(test_csv_is_golden),
        cmocka_unit_test(test_json_lines_are_golden),
        cmocka_unit_test(test_csv_quotes_what_holds_a_comma_or_a_quote),
        cmocka_unit_test(test_columns_are_those_that_are_asked_for),
        cmocka_unit_test(test_columns_that_are_none_are_a_misuse),
        cmocka_unit_test(test_an_option_that_looks_at_nothing_is_a_misuse),
        cmocka_unit_test(test_every_column_can_be_asked_for),
        cmocka_unit_test(test_sort_puts_the_largest_figure_first_and_the_first_text),
        cmocka_unit_test(test_sort_leaves_equals_in_their_order),
        cmocka_unit_test(test_sort_of_obituaries_takes_their_reasons_along),
        cmocka_unit_test(test_top_counts_all_and_shows_the_first),
        cmocka_unit_test(test_top_of_many_sorted_rows_keeps_a_few),
        cmocka_unit_test(test_no_headers_prints_rows_and_nothing_else),
        cmocka_unit_test(test_ledger_of_some_blocks_is_that_of_the_daemon),
        cmocka_unit_test(test_ledger_of_some_blocks_counts_those_alone),
        cmocka_unit_test(test_blocks_are_selected_by_the_daemon_if_it_can),
        cmocka_unit_test(test_blocks_ask_selects_when_something_is_asked_for),
        cmocka_unit_test(test_filters_are_of_every_listing_that_has_such_a_column),
        cmocka_unit_test(test_tables_fit_every_width),
        cmocka_unit_test(test_that_there_is_nothing_fits_every_width),
        cmocka_unit_test(test_narrow_tables_are_golden),
        cmocka_unit_test(test_leaks_show_asks_the_next_server_for_all),
    };

    (void)setlocale(LC_CTYPE, "C.UTF-8");
    return cmocka_run_group_tests(tests, NULL, NULL);
}

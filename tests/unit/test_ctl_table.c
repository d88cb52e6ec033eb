/* SPDX-License-Identifier: MIT */
/*
 * test_ctl_table.c - widths, cells, rules and folds of kmemctl's column printer
 */
#include <locale.h>
#include <stdlib.h>
#include <string.h>

#include "client/ctl/table.h"
#include "client/ctl/width.h"
#include "tests/unit/unit.h"

static const struct table_column columns[] = {
    {"BYTES", .align = TABLE_RIGHT, .stream_columns = 7},
    {"COMMAND", .align = TABLE_LEFT},
    {"REASON", .align = TABLE_LEFT, .may_flow = true},
};

static struct table *table_of(const char *const (*rows)[3], size_t n_rows)
{
    struct table *table = table_new(columns, 3);

    assert_non_null(table);
    for (size_t i = 0; i < n_rows; i++) {
        assert_int_equal(table_add(table, rows[i]), 0);
    }
    return table;
}

/* What a screen of that kind shows; frees the table. */
static void assert_prints(struct table *table, struct screen screen, const char *wanted)
{
    char *printed = NULL;
    size_t n_bytes = 0;

    screen.file = open_memstream(&printed, &n_bytes);
    table_print(table, &screen);
    (void)fclose(screen.file);
    assert_string_equal(printed, wanted);
    free(printed);
    table_free(table);
}

static const struct screen pipe_screen = {.unicode = true};

static void test_width_of_counts_columns_not_bytes(void **state)
{
    assert_int_equal(width_of(""), 0);
    assert_int_equal(width_of("abc"), 3);
    assert_int_equal(width_of("für"), 3);
    assert_int_equal(width_of("映像"), 4);
    assert_int_equal(width_of("e\xCC\x81"), 1); /* a combining accent takes none */
    assert_int_equal(width_of("a\xFF\xC3"
                              "b"),
                     4); /* bytes that are no character take one */
}

static void test_width_prefix_never_splits_a_character(void **state)
{
    size_t n_bytes;

    assert_int_equal(width_prefix("映像", 3, &n_bytes), 2);
    assert_int_equal(n_bytes, 3);
    assert_int_equal(width_prefix("映像", 4, &n_bytes), 4);
    assert_int_equal(n_bytes, 6);
    assert_int_equal(width_prefix("ab", 9, &n_bytes), 2);
    assert_int_equal(n_bytes, 2);
}

static void test_table_aligns_by_columns_of_the_screen(void **state)
{
    static const char *const rows[][3] = {
        {"1", "映像", "a"},
        {"1,000,000", "für", "b"},
        {"22", "long command", "c"},
    };

    assert_prints(table_of(rows, 3), pipe_screen,
                  "    BYTES  COMMAND       REASON\n"
                  "        1  映像          a\n"
                  "1,000,000  für           b\n"
                  "       22  long command  c\n");
}

static void test_table_lines_never_end_in_blanks(void **state)
{
    static const char *const rows[][3] = {{"1", "a", ""}, {"2", "", NULL}, {"", "", ""}};

    assert_prints(table_of(rows, 3), pipe_screen,
                  "BYTES  COMMAND  REASON\n"
                  "    1  a\n"
                  "    2\n"
                  "\n");
}

static void test_table_rule_separates_the_total(void **state)
{
    static const char *const rows[][3] = {{"1", "a", "b"}};
    static const char *const total[3] = {"1", "", "total"};
    struct table *table = table_of(rows, 1);

    table_rule(table);
    assert_int_equal(table_add(table, total), 0);
    assert_int_equal(table_row_count(table), 2);
    assert_prints(table, (struct screen){.unicode = false},
                  "BYTES  COMMAND  REASON\n"
                  "    1  a        b\n"
                  "----------------------\n"
                  "    1           total\n");
}

static void test_width_flow_ends_lines_between_words(void **state)
{
    static const struct {
        const char *text;
        size_t n_columns;
        size_t n_bytes;
        size_t next;
    } cases[] = {
        {"all of it", 20, 9, 9},
        {"all of it", 9, 9, 9},
        {"all of it", 8, 6, 7},
        {"all of it", 7, 6, 7},
        {"all  of it", 4, 3, 5},
        {"video/capture/frame", 18, 14, 14},
        {"video/capture/frame", 14, 14, 14},
        {"video/capture/frame", 13, 6, 6},
        {"video/capture", 4, 4, 4}, /* a word that is wider than the column */
        {"映像", 1, 3, 3},          /* and a character that is */
        {"", 4, 0, 0},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t n_bytes = 77;

        assert_int_equal(width_flow(cases[i].text, cases[i].n_columns, &n_bytes), cases[i].next);
        assert_int_equal(n_bytes, cases[i].n_bytes);
    }
}

static void test_width_of_words_is_that_of_the_widest(void **state)
{
    assert_int_equal(width_of_words(""), 0);
    assert_int_equal(width_of_words("video/capture/frame"), 8);
    assert_int_equal(width_of_words("a long  word"), 4);
    assert_int_equal(width_of_words("映像 a"), 4);
}

/* "undistorted" has room in a line of its own, but not behind the other columns. */
static void test_table_folds_rather_than_split_a_word(void **state)
{
    static const char *const rows[][3] = {{"1", "worker", "a reason/undistorted_and_long"}};

    assert_prints(table_of(rows, 1), (struct screen){.unicode = true, .n_columns = 36},
                  "BYTES  COMMAND  REASON\n"
                  "    1  worker   a reason/\n"
                  "                undistorted_and_long\n");
    assert_prints(table_of(rows, 1), (struct screen){.unicode = true, .n_columns = 35},
                  "BYTES  COMMAND\n"
                  "    REASON\n"
                  "    1  worker\n"
                  "    a reason/undistorted_and_long\n");
}

static void test_table_lets_the_last_column_flow(void **state)
{
    static const char *const rows[][3] = {
        {"1", "worker", "video/capture/frame of a camera"},
        {"22", "worker", "audio"},
    };

    assert_prints(table_of(rows, 2), (struct screen){.unicode = true, .n_columns = 36},
                  "BYTES  COMMAND  REASON\n"
                  "    1  worker   video/capture/frame\n"
                  "                of a camera\n"
                  "   22  worker   audio\n");
}

static void test_table_folds_what_has_no_room(void **state)
{
    static const char *const rows[][3] = {
        {"1", "worker", "video/capture/frame of a camera"},
        {"", "", "audio"},
        {"22", "worker", ""},
    };

    assert_prints(table_of(rows, 3), (struct screen){.unicode = true, .n_columns = 30},
                  "BYTES  COMMAND\n"
                  "    REASON\n"
                  "    1  worker\n"
                  "    video/capture/frame of a\n"
                  "    camera\n"
                  "    audio\n"
                  "   22  worker\n");
}

/* Any width, any row: no line is wider than the terminal, and no word is split that has room. */
static void test_table_fits_every_terminal_and_splits_no_word(void **state)
{
    static const char *const rows[][3] = {
        {"1,000,000", "a long command", "video/capture/frame, seen by nobody but the camera"},
        {"1", "x", "映像/映像/映像"},
    };
    static const char *const words[] = {"1,000,000", "command", "video/", "capture/",
                                        "frame,",    "camera",  "nobody", "映像/"};

    for (unsigned n_columns = 28; n_columns <= 100; n_columns++) {
        struct table *table = table_of(rows, 2);
        char *printed = NULL;
        size_t n_bytes = 0;
        struct screen screen = {.n_columns = n_columns, .file = open_memstream(&printed, &n_bytes)};

        table_print(table, &screen);
        (void)fclose(screen.file);
        table_free(table);
        for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
            assert_non_null(strstr(printed, words[i]));
        }
        for (char *line = strtok(printed, "\n"); line; line = strtok(NULL, "\n")) {
            assert_in_range(width_of(line), 1, n_columns);
        }
        free(printed);
    }
}

static void test_table_is_complete_where_there_is_no_terminal(void **state)
{
    static const char *const rows[][3] = {{"1", "worker", "a reason of some length"}};

    assert_prints(table_of(rows, 1), pipe_screen,
                  "BYTES  COMMAND  REASON\n"
                  "    1  worker   a reason of some length\n");
}

static void test_table_without_titles_prints_none(void **state)
{
    static const struct table_column untitled[] = {{.align = TABLE_LEFT}, {.align = TABLE_RIGHT}};
    struct table *table = table_new(untitled, 2);

    assert_non_null(table);
    assert_int_equal(table_add(table, (const char *const[]){"blocks", "1"}), 0);
    assert_int_equal(table_add(table, (const char *const[]){"clients", "20"}), 0);
    assert_prints(table, pipe_screen, "blocks    1\nclients  20\n");
}

static void test_table_holds_more_rows_than_its_first_buffer(void **state)
{
    static const char *const row[3] = {"1", "0123456789", "0123456789"};
    struct table *table = table_new(columns, 3);
    char *printed = NULL;
    size_t n_bytes = 0;

    for (size_t i = 0; i < 10000; i++) {
        assert_int_equal(table_add(table, row), 0);
    }
    struct screen screen = {.file = open_memstream(&printed, &n_bytes)};
    table_print(table, &screen);
    (void)fclose(screen.file);
    assert_int_equal(n_bytes, 10001 * strlen("    1  0123456789  0123456789\n") -
                                  strlen("0123456789") + strlen("REASON"));
    free(printed);
    table_free(table);
}

/* --------------------------------------------------------------------------------- streams ---- */

struct stream {
    struct table *table;
    struct screen screen;
    char *printed;
    size_t n_bytes;
};

static void stream_begin(struct stream *stream, unsigned n_columns)
{
    static const unsigned char drops[] = {0, 2, 1};
    *stream = (struct stream){.screen = {.n_columns = n_columns}};
    stream->screen.file = open_memstream(&stream->printed, &stream->n_bytes);
    stream->table = table_new(columns, 3);
    assert_non_null(stream->table);
    table_fit(stream->table, drops);
    table_stream(stream->table, &stream->screen);
}

static void stream_add(struct stream *stream, size_t n_rows, const char *bytes, const char *reason)
{
    for (size_t i = 0; i < n_rows; i++) {
        assert_int_equal(table_add(stream->table, (const char *[]){bytes, "worker", reason}), 0);
    }
}

static void stream_end(struct stream *stream)
{
    table_print(stream->table, &stream->screen);
    (void)fclose(stream->screen.file);
    stream->table = table_free(stream->table);
}

static void test_table_that_streams_prints_what_it_has_when_more_comes(void **state)
{
    struct stream stream;
    stream_begin(&stream, 0);
    stream_add(&stream, TABLE_STREAM_ROWS, "1", "a");
    assert_int_equal(stream.n_bytes, 0);
    stream_add(&stream, 1, "2", "longer than those before");
    (void)fflush(stream.screen.file);
    assert_memory_equal(stream.printed, "  BYTES  COMMAND  REASON\n      1  worker   a\n", 45);
    assert_null(strstr(stream.printed, "longer"));
    assert_int_equal(table_row_count(stream.table), TABLE_STREAM_ROWS + 1);
    stream_end(&stream);
    assert_string_equal(strstr(stream.printed, "      2"),
                        "      2  worker   longer than those before\n");
    free(stream.printed);
}

static void test_table_that_streams_never_cuts_a_figure(void **state)
{
    struct stream stream;
    stream_begin(&stream, 40);
    stream_add(&stream, 1000, "1", "a reason of some length, and more of it");
    stream_add(&stream, 1, "123,456,789", "a reason of some length, and more of it");
    stream_end(&stream);
    assert_non_null(strstr(stream.printed, "\n123,456,789  worker"));
    size_t n_titles = 0;
    for (char *line = strtok(stream.printed, "\n"); line; line = strtok(NULL, "\n")) {
        n_titles += strstr(line, "COMMAND") != NULL;
        assert_in_range(width_of(line), 1, 40);
    }
    assert_int_equal(n_titles, 1);
    free(stream.printed);
}

/* What is printed has other columns than what follows. */
static void test_table_that_streams_says_anew_which_columns_it_has(void **state)
{
    struct stream stream;
    stream_begin(&stream, 28);
    stream_add(&stream, TABLE_STREAM_ROWS, "1", "a");
    stream_add(&stream, 1, "123,456,789,123,456,789,1", "a");
    stream_end(&stream);
    assert_non_null(strstr(stream.printed, "\n                    BYTES\n"
                                           "123,456,789,123,456,789,1\n"));
    free(stream.printed);
}

static void test_table_that_streams_draws_its_rule_where_it_belongs(void **state)
{
    struct stream stream;
    stream_begin(&stream, 0);
    stream_add(&stream, TABLE_STREAM_ROWS, "1", "a");
    table_rule(stream.table);
    stream_add(&stream, 1, "128", "total");
    stream_end(&stream);
    assert_string_equal(strstr(stream.printed, "---"), "------------------------\n"
                                                       "    128  worker   total\n");
    free(stream.printed);
}

static void test_table_colours_titles_only_with_colour(void **state)
{
    static const char *const rows[][3] = {{"1", "a", "b"}};

    assert_prints(table_of(rows, 1), (struct screen){.colour = true},
                  "\033[1mBYTES  COMMAND  REASON\033[0m\n"
                  "    1  a        b\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_width_of_counts_columns_not_bytes),
        cmocka_unit_test(test_width_prefix_never_splits_a_character),
        cmocka_unit_test(test_table_aligns_by_columns_of_the_screen),
        cmocka_unit_test(test_table_lines_never_end_in_blanks),
        cmocka_unit_test(test_table_rule_separates_the_total),
        cmocka_unit_test(test_width_flow_ends_lines_between_words),
        cmocka_unit_test(test_width_of_words_is_that_of_the_widest),
        cmocka_unit_test(test_table_folds_rather_than_split_a_word),
        cmocka_unit_test(test_table_lets_the_last_column_flow),
        cmocka_unit_test(test_table_folds_what_has_no_room),
        cmocka_unit_test(test_table_fits_every_terminal_and_splits_no_word),
        cmocka_unit_test(test_table_is_complete_where_there_is_no_terminal),
        cmocka_unit_test(test_table_without_titles_prints_none),
        cmocka_unit_test(test_table_holds_more_rows_than_its_first_buffer),
        cmocka_unit_test(test_table_that_streams_prints_what_it_has_when_more_comes),
        cmocka_unit_test(test_table_that_streams_never_cuts_a_figure),
        cmocka_unit_test(test_table_that_streams_says_anew_which_columns_it_has),
        cmocka_unit_test(test_table_that_streams_draws_its_rule_where_it_belongs),
        cmocka_unit_test(test_table_colours_titles_only_with_colour),
    };

    (void)setlocale(LC_CTYPE, "C.UTF-8");
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * test_ctl_table.c - widths, cells, rules and cuts of kmemctl's column printer
 */
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client/ctl/table.h"
#include "client/ctl/width.h"

static const struct table_column columns[] = {
    {"BYTES", TABLE_RIGHT, false},
    {"COMMAND", TABLE_LEFT, false},
    {"REASON", TABLE_LEFT, true},
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
    (void)state;
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
    (void)state;
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
    (void)state;
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
    (void)state;
    static const char *const rows[][3] = {{"1", "a", ""}, {"2", "", NULL}, {"", "", ""}};

    assert_prints(table_of(rows, 3), pipe_screen,
                  "BYTES  COMMAND  REASON\n"
                  "    1  a\n"
                  "    2\n"
                  "\n");
}

static void test_table_rule_separates_the_total(void **state)
{
    (void)state;
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

static void test_table_cuts_the_column_that_may_be_cut(void **state)
{
    (void)state;
    static const char *const rows[][3] = {{"1", "worker", "映像映像映像映像映像"}};

    assert_prints(table_of(rows, 1), (struct screen){.unicode = true, .n_columns = 30},
                  "BYTES  COMMAND  REASON\n"
                  "    1  worker   映像映像映像…\n");
    assert_prints(table_of(rows, 1), (struct screen){.unicode = false, .n_columns = 29},
                  "BYTES  COMMAND  REASON\n"
                  "    1  worker   映像映像映...\n");
}

static void test_table_is_complete_where_there_is_no_terminal(void **state)
{
    (void)state;
    static const char *const rows[][3] = {{"1", "worker", "a reason of some length"}};

    assert_prints(table_of(rows, 1), pipe_screen,
                  "BYTES  COMMAND  REASON\n"
                  "    1  worker   a reason of some length\n");
}

static void test_table_too_narrow_to_cut_is_left_to_wrap(void **state)
{
    (void)state;
    static const char *const rows[][3] = {{"1", "worker", "0123456789"}};

    assert_prints(table_of(rows, 1), (struct screen){.unicode = true, .n_columns = 20},
                  "BYTES  COMMAND  REASON\n"
                  "    1  worker   0123456789\n");
}

static void test_table_without_titles_prints_none(void **state)
{
    (void)state;
    static const struct table_column untitled[] = {{.align = TABLE_LEFT}, {.align = TABLE_RIGHT}};
    struct table *table = table_new(untitled, 2);

    assert_non_null(table);
    assert_int_equal(table_add(table, (const char *const[]){"blocks", "1"}), 0);
    assert_int_equal(table_add(table, (const char *const[]){"clients", "20"}), 0);
    assert_prints(table, pipe_screen, "blocks    1\nclients  20\n");
}

static void test_table_holds_more_rows_than_its_first_buffer(void **state)
{
    (void)state;
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

static void test_table_colours_titles_only_with_colour(void **state)
{
    (void)state;
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
        cmocka_unit_test(test_table_cuts_the_column_that_may_be_cut),
        cmocka_unit_test(test_table_is_complete_where_there_is_no_terminal),
        cmocka_unit_test(test_table_too_narrow_to_cut_is_left_to_wrap),
        cmocka_unit_test(test_table_without_titles_prints_none),
        cmocka_unit_test(test_table_holds_more_rows_than_its_first_buffer),
        cmocka_unit_test(test_table_colours_titles_only_with_colour),
    };

    (void)setlocale(LC_CTYPE, "C.UTF-8");
    return cmocka_run_group_tests(tests, NULL, NULL);
}

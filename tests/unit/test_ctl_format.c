/* SPDX-License-Identifier: MIT */
/*
 * test_ctl_format.c - numbers, ages, bars, boxes, suggestions: what kmemctl makes of its figures
 */
#include <locale.h>
#include <stdlib.h>
#include <string.h>

#include "client/ctl/bar.h"
#include "client/ctl/box.h"
#include "client/ctl/format.h"
#include "client/ctl/suggest.h"
#include "tests/unit/unit.h"

/* --------------------------------------------------------------------------------- numbers ---- */

static void test_format_count_separates_thousands(void **state)
{
    assert_string_equal(format_count(0).text, "0");
    assert_string_equal(format_count(999).text, "999");
    assert_string_equal(format_count(1000).text, "1,000");
    assert_string_equal(format_count(12345678).text, "12,345,678");
    assert_string_equal(format_count(UINT64_MAX).text, "18,446,744,073,709,551,615");
}

static void test_format_bytes_is_human_or_exact(void **state)
{
    assert_string_equal(format_bytes(101, false).text, "101 B");
    assert_string_equal(format_bytes(1536, false).text, "1.5 KiB");
    assert_string_equal(format_bytes(1536, true).text, "1,536");
}

static void test_format_age_has_two_units_at_most(void **state)
{
    assert_string_equal(format_age(0).text, "0 ms");
    assert_string_equal(format_age(999).text, "999 ms");
    assert_string_equal(format_age(1000).text, "1.0 s");
    assert_string_equal(format_age(1949).text, "1.9 s");
    assert_string_equal(format_age(1950).text, "2.0 s");
    assert_string_equal(format_age(59949).text, "59.9 s");
    assert_string_equal(format_age(59950).text, "1 m 00 s");
    assert_string_equal(format_age(59999).text, "1 m 00 s");
    assert_string_equal(format_age(60000).text, "1 m 00 s");
    assert_string_equal(format_age(3599499).text, "59 m 59 s");
    assert_string_equal(format_age(3599500).text, "1 h 00 m");
    assert_string_equal(format_age(3600000).text, "1 h 00 m");
    assert_string_equal(format_age(86369999).text, "23 h 59 m");
    assert_string_equal(format_age(86370000).text, "1 d 00 h");
    assert_string_equal(format_age(86400000).text, "1 d 00 h");
    assert_string_equal(format_age(UINT64_MAX).text, "213503982334 d 14 h");
}

static void test_format_share_of_nothing_is_no_number(void **state)
{
    assert_string_equal(format_share(1, 4).text, "25.0 %");
    assert_string_equal(format_share(0, 0).text, "-");
}

static void test_format_offset_and_id(void **state)
{
    assert_string_equal(format_offset(0x4000).text, "0x4000");
    assert_string_equal(format_id(UINT32_MAX).text, "4294967295");
}

static void test_format_escaped_lets_no_escape_through(void **state)
{
    assert_string_equal(format_escaped("a\033[31mb\n").text, "a\\x1b[31mb\\x0a");
}

/* --------------------------------------------------------------------------------- the bar ---- */

static void test_bar_split_fills_all_cells(void **state)
{
    const struct bar_part parts[] = {{.amount = 1}, {.amount = 1}, {.amount = 1}};
    size_t cells[3];

    bar_split(parts, 3, 64, cells);
    assert_int_equal(cells[0] + cells[1] + cells[2], 64);
    assert_in_range(cells[0], 21, 22);
}

static void test_bar_split_shows_what_is_tiny(void **state)
{
    const struct bar_part parts[] = {{.amount = 1}, {.amount = 1}, {.amount = UINT64_C(1) << 40}};
    size_t cells[3];

    bar_split(parts, 3, 64, cells);
    assert_int_equal(cells[0], 1);
    assert_int_equal(cells[1], 1);
    assert_int_equal(cells[2], 62);
}

static void test_bar_split_gives_nothing_to_what_is_not_there(void **state)
{
    const struct bar_part parts[] = {{.amount = 0}, {.amount = 0}, {.amount = 7}};
    const struct bar_part none[] = {{.amount = 0}, {.amount = 0}};
    size_t cells[3];

    bar_split(parts, 3, 10, cells);
    assert_int_equal(cells[0], 0);
    assert_int_equal(cells[1], 0);
    assert_int_equal(cells[2], 10);
    bar_split(none, 2, 10, cells);
    assert_int_equal(cells[0], 0);
    assert_int_equal(cells[1], 0);
}

/* --------------------------------------------------------------------------------- the box ---- */

static void assert_box_prints(const struct box *box, struct screen screen, const char *wanted)
{
    char *printed = NULL;
    size_t n_bytes = 0;

    screen.file = open_memstream(&printed, &n_bytes);
    box_print(box, &screen);
    (void)fclose(screen.file);
    assert_string_equal(printed, wanted);
    free(printed);
}

static void test_box_is_framed_on_a_terminal(void **state)
{
    struct box box = {.title = "kmem"};

    box_add(&box, STYLE_PLAIN, "映像 %d", 1);
    box_add(&box, STYLE_PLAIN, "%s", "");
    assert_box_prints(&box, (struct screen){.unicode = true, .n_columns = 80},
                      "╭─ kmem ───────────────────────────────────────╮\n"
                      "│ 映像 1                                       │\n"
                      "│                                              │\n"
                      "╰──────────────────────────────────────────────╯\n");
    assert_box_prints(&box, (struct screen){.unicode = false, .n_columns = 80},
                      "+- kmem ---------------------------------------+\n"
                      "| 映像 1                                       |\n"
                      "|                                              |\n"
                      "+----------------------------------------------+\n");
}

static void test_box_has_the_width_of_a_narrow_terminal(void **state)
{
    struct box box = {.title = "kmem"};

    box_add(&box, STYLE_BAD, "0123456789 0123456789");
    assert_box_prints(&box, (struct screen){.unicode = true, .colour = true, .n_columns = 20},
                      "\033[2m╭─\033[0m \033[1mkmem\033[0m \033[2m───────────╮\033[0m\n"
                      "\033[2m│\033[0m \033[31m0123456789\033[0m       \033[2m│\033[0m\n"
                      "\033[2m│\033[0m \033[31m0123456789\033[0m       \033[2m│\033[0m\n"
                      "\033[2m╰──────────────────╯\033[0m\n");
}

static void test_box_is_plain_lines_elsewhere(void **state)
{
    struct box box = {.title = "kmem"};

    box_add(&box, STYLE_BAD, "peak 1 B");
    box_add(&box, STYLE_PLAIN, "%s", "");
    box_add(&box, STYLE_PLAIN, "blocks 1");
    assert_box_prints(&box, (struct screen){.unicode = true}, "kmem: peak 1 B\nkmem: blocks 1\n");
}

static void test_box_drops_one_line_too_many(void **state)
{
    struct box box = {.title = "kmem"};

    for (size_t i = 0; i <= BOX_MAX_LINES; i++) {
        box_add(&box, STYLE_PLAIN, "line");
    }
    assert_int_equal(box.n_lines, BOX_MAX_LINES);
}

/* ----------------------------------------------------------------------------------- typos ---- */

static void test_suggest_distance_counts_typing_mistakes(void **state)
{
    assert_int_equal(suggest_distance("ledger", "ledger"), 0);
    assert_int_equal(suggest_distance("leger", "ledger"), 1);   /* too few */
    assert_int_equal(suggest_distance("ledgger", "ledger"), 1); /* too many */
    assert_int_equal(suggest_distance("lebger", "ledger"), 1);  /* wrong */
    assert_int_equal(suggest_distance("ldeger", "ledger"), 1);  /* changed over */
    assert_int_equal(suggest_distance("usgae", "usage"), 1);
    assert_int_equal(suggest_distance("", "run"), 3);
    assert_int_equal(suggest_distance("run", ""), 3);
    assert_int_equal(suggest_distance("top", "run"), 3);
}

static void test_suggest_distance_of_a_very_long_word_is_its_length(void **state)
{
    char word[100];

    memset(word, 'r', sizeof(word) - 1);
    word[sizeof(word) - 1] = '\0';
    assert_int_equal(suggest_distance(word, "run"), sizeof(word) - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_format_count_separates_thousands),
        cmocka_unit_test(test_format_bytes_is_human_or_exact),
        cmocka_unit_test(test_format_age_has_two_units_at_most),
        cmocka_unit_test(test_format_share_of_nothing_is_no_number),
        cmocka_unit_test(test_format_offset_and_id),
        cmocka_unit_test(test_format_escaped_lets_no_escape_through),
        cmocka_unit_test(test_bar_split_fills_all_cells),
        cmocka_unit_test(test_bar_split_shows_what_is_tiny),
        cmocka_unit_test(test_bar_split_gives_nothing_to_what_is_not_there),
        cmocka_unit_test(test_box_is_framed_on_a_terminal),
        cmocka_unit_test(test_box_has_the_width_of_a_narrow_terminal),
        cmocka_unit_test(test_box_is_plain_lines_elsewhere),
        cmocka_unit_test(test_box_drops_one_line_too_many),
        cmocka_unit_test(test_suggest_distance_counts_typing_mistakes),
        cmocka_unit_test(test_suggest_distance_of_a_very_long_word_is_its_length),
    };

    (void)setlocale(LC_CTYPE, "C.UTF-8");
    return cmocka_run_group_tests(tests, NULL, NULL);
}

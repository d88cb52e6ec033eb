/* SPDX-License-Identifier: MIT */
/*
 * test_ctl_top_view.c - whole screens of top, as text
 *
 * With KMEM_GOLDEN_WRITE set in the environment the files are written instead of compared.
 */
#include <errno.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>

#include "client/ctl/width.h"
#include "tests/unit/fake_segment.h"
#include "tests/unit/shown.h"
#include "tests/unit/top_fixture.h"
#include "tests/unit/unit.h"

#define N_ELEMENTS(array) (sizeof(array) / sizeof((array)[0]))

static struct kmem_ledger_row rows[] = {
    {"video/capture", 2, 8 * TOP_MIB + 1536, 65000, 0, 0},
    {"video/映像", 1, 2 * TOP_MIB, 3000, 0, 0},
    {"index/a thumbnail that has a reason which no narrow terminal has room for", 12345,
     9 * TOP_MIB, 36000000, 0, 0},
    {"\033[31mred", 1, 40, 500, 0, 0},
    {"caf\xE9", 1, 4, 20, 0, 0},
};

static int setup(void **state)
{
    struct model *model = malloc(sizeof(*model));
    (void)setlocale(LC_CTYPE, "C.UTF-8");
    model_init(model);
    model->unicode = true;
    *state = model;
    return 0;
}

static int teardown(void **state)
{
    model_fini(*state);
    free(*state);
    return 0;
}

/* Three answers, a second apart, in which one reason grows and one shrinks. */
static void answer_thrice(struct model *model)
{
    for (unsigned i = 0; i < 3; i++) {
        struct kmem_ledger_row changed[N_ELEMENTS(rows)];
        memcpy(changed, rows, sizeof(rows));
        changed[2].num_bytes += TOP_KIB * 512 * i;
        changed[1].num_bytes -= TOP_KIB * 256 * i;
        top_answer(model, top_segment(changed, N_ELEMENTS(rows)), 1000 + 1000 * i);
    }
}

static void assert_screen(const char *golden, struct model *model, size_t n_columns, size_t n_lines)
{
    char *text = top_screen(model, n_columns, n_lines);
    size_t n_seen = 0;
    for (char *line = text; *line; line += strcspn(line, "\n") + 1) {
        char *copy = strndup(line, strcspn(line, "\n"));
        assert_true(n_columns == 0 || width_of(copy) <= n_columns);
        free(copy);
        n_seen++;
    }
    assert_true(n_lines == 0 || n_seen == n_lines);
    assert_null(strchr(text, '\033'));
    assert_golden(golden, (struct shown){.text = text});
}

static void test_reasons_at_three_widths_are_golden(void **state)
{
    struct model *model = *state;
    answer_thrice(model);
    top_keys(model, "*");
    assert_screen("top-60.txt", model, 60, 20);
    assert_screen("top-80.txt", model, 80, 20);
    assert_screen("top-200.txt", model, 200, 20);
}

static void test_ascii_is_golden(void **state)
{
    struct model *model = *state;
    model->unicode = false;
    answer_thrice(model);
    (void)top_press(model, KEY_IS_RIGHT);
    assert_screen("top-ascii.txt", model, 80, 20);
}

static void test_exact_numbers_are_golden(void **state)
{
    struct model *model = *state;
    model->exactly = true;
    answer_thrice(model);
    assert_screen("top-bytes.txt", model, 80, 20);
}

static void test_batch_is_golden(void **state)
{
    struct model *model = *state;
    answer_thrice(model);
    top_keys(model, "*");
    assert_screen("top-batch.txt", model, 0, 0);
}

static void test_clients_and_obituaries_are_golden(void **state)
{
    struct model *model = *state;
    (void)top_press(model, '2');
    top_answer(model, fake_segment(), 1000);
    assert_screen("top-clients.txt", model, 80, 16);
    (void)top_press(model, '4');
    top_answer(model, fake_segment(), 2000);
    assert_screen("top-obituaries.txt", model, 80, 16);
}

static void test_help_is_golden(void **state)
{
    struct model *model = *state;
    answer_thrice(model);
    top_keys(model, "h");
    assert_screen("top-help.txt", model, 60, 24);
}

static void test_what_is_typed_is_seen(void **state)
{
    struct model *model = *state;
    answer_thrice(model);
    top_keys(model, "/thumb");
    assert_screen("top-filter.txt", model, 60, 16);
    top_keys(model, "zzz");
    assert_screen("top-no-match.txt", model, 60, 16);
}

/* The daemon has ended: what was known stays, and the last line says so. */
static void test_trouble_is_said_below_what_was_known(void **state)
{
    struct model *model = *state;
    struct sample failed = {0};
    answer_thrice(model);
    sample_fail(&failed, -ECONNREFUSED, "no daemon\n listens here");
    model_fail(model, &failed, 10000);
    model_fail(model, &failed, 12000); /* since the first time */
    sample_fini(&failed);
    model->now_ms = 17000;
    assert_screen("top-trouble.txt", model, 80, 16);
    answer_thrice(model);
    model->waiting_ms = 5000;
    assert_screen("top-waiting.txt", model, 80, 16);
}

/* Down to a terminal that has no room for anything, no line is wider or missing. */
static void test_any_size_is_filled_and_no_line_is_wider(void **state)
{
    struct model *model = *state;
    answer_thrice(model);
    top_keys(model, "*");
    for (size_t n_columns = 1; n_columns < 130; n_columns++) {
        for (size_t n_lines = 4; n_lines < 26; n_lines += 3) {
            char *text = top_screen(model, n_columns, n_lines);
            size_t n_seen = 0;
            for (char *line = text; *line; line += strcspn(line, "\n") + 1) {
                char *copy = strndup(line, strcspn(line, "\n"));
                assert_true(width_of(copy) <= n_columns);
                free(copy);
                n_seen++;
            }
            assert_int_equal(n_seen, n_lines);
            free(text);
        }
    }
}

static void test_before_the_first_answer_it_says_that_it_asks(void **state)
{
    struct model *model = *state;
    assert_screen("top-asking.txt", model, 80, 10);
    top_answer(model, fake_segment_empty(), 1000);
    assert_screen("top-empty.txt", model, 80, 16);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_reasons_at_three_widths_are_golden),
        TEST(test_ascii_is_golden),
        TEST(test_exact_numbers_are_golden),
        TEST(test_batch_is_golden),
        TEST(test_clients_and_obituaries_are_golden),
        TEST(test_help_is_golden),
        TEST(test_what_is_typed_is_seen),
        TEST(test_trouble_is_said_below_what_was_known),
        TEST(test_any_size_is_filled_and_no_line_is_wider),
        TEST(test_before_the_first_answer_it_says_that_it_asks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

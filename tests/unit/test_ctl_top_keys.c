/* SPDX-License-Identifier: MIT */
/*
 * test_ctl_top_keys.c - every key on every page, with answers and without, and without memory
 */
#include <errno.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/fail.h"
#include "tests/unit/fake_segment.h"
#include "tests/unit/top_fixture.h"
#include "tests/unit/unit.h"

static const struct kmem_ledger_row ledger[] = {
    {"video/capture/left", 2, 8 * TOP_MIB, 65000, 0, 0},
    {"audio", 4, 2 * TOP_MIB, 9000, 0, 0},
    {"video/index", 1, TOP_MIB, 3000, 0, 0},
};

/* Those that quit or lead to another page are not among them. */
static const uint32_t keys[] = {
    KEY_IS_UP,
    'k',
    KEY_IS_DOWN,
    'j',
    KEY_IS_PAGE_UP,
    KEY_IS_PAGE_DOWN,
    KEY_IS_HOME,
    'g',
    KEY_IS_END,
    'G',
    KEY_IS_RIGHT,
    'l',
    KEY_IS_LEFT,
    KEY_IS_ENTER,
    ' ',
    '+',
    '*',
    '-',
    't',
    '<',
    '>',
    'r',
    '0',
    'b',
    'p',
    'h',
    '?',
    'x',
    KEY_IS_ESCAPE,
    KEY_IS_NOTHING,
};

static int setup(void **state)
{
    struct model *model = malloc(sizeof(*model));
    (void)setlocale(LC_CTYPE, "C.UTF-8");
    model_init(model);
    *state = model;
    return 0;
}

static int teardown(void **state)
{
    model_fini(*state);
    free(*state);
    return 0;
}

static void press_all(struct model *model, size_t n_seen)
{
    for (size_t i = 0; i < N_ELEMENTS(keys); i++) {
        for (unsigned n = 0; n < 2; n++) {
            (void)model_key(model, keys[i], n_seen);
            assert_int_equal(model_arrange(model), 0);
            model_scroll(model, n_seen);
            const struct page_view *view = model_view(model);
            assert_true(model->n_lines == 0 || view->selected_at < model->n_lines);
        }
    }
}

static void test_keys_before_there_is_an_answer_select_nothing(void **state)
{
    struct model *model = *state;
    for (uint32_t page = 0; page < N_PAGES; page++) {
        model->page = (enum page_id)page;
        press_all(model, 20);
        assert_int_equal(model->n_lines, 0);
    }
}

static void test_keys_of_every_page_keep_the_selection_among_its_lines(void **state)
{
    struct model *model = *state;
    const size_t seen[] = {20, 1, 0};
    for (uint32_t page = 0; page < N_PAGES; page++) {
        model->page = (enum page_id)page;
        for (size_t i = 0; i < N_ELEMENTS(seen); i++) {
            top_answer(model, SEGMENT(ledger), 1000 * (i + 1));
            press_all(model, seen[i]);
        }
    }
}

static void test_keys_while_a_pattern_is_typed_are_of_the_pattern(void **state)
{
    struct model *model = *state;
    top_answer(model, SEGMENT(ledger), 1000);
    (void)top_press(model, '/');
    assert_true(model->is_typing);
    (void)top_press(model, 'u');
    (void)top_press(model, KEY_IS_UP); /* no character */
    assert_string_equal(model_view(model)->pattern, "u");
    (void)top_press(model, KEY_IS_ERASE);
    assert_string_equal(model_view(model)->pattern, "");
    (void)top_press(model, KEY_IS_ESCAPE);
    assert_false(model->is_typing);
}

static void test_sort_takes_columns_that_there_are_and_both_ways(void **state)
{
    struct model *model = *state;
    assert_true(model_sort(model, PAGE_REASONS, "bytes"));
    assert_true(model_view(model)->is_descending);
    assert_true(model_sort(model, PAGE_REASONS, "bytes:asc"));
    assert_false(model_view(model)->is_descending);
    assert_true(model_sort(model, PAGE_REASONS, "bytes:desc"));
    assert_true(model_view(model)->is_descending);
    assert_false(model_sort(model, PAGE_REASONS, "bytes:up"));
    assert_false(model_sort(model, PAGE_REASONS, "colour"));
}

static void test_answer_without_memory_is_ENOMEM_and_the_next_is_shown(void **state)
{
    unsigned n_failures = 0;
    for (uint32_t page = 0; page < N_PAGES; page++) {
        for (unsigned nth = 1; nth < 200; nth++) {
            struct model model;
            struct sample sample;
            struct kmem_query segment = SEGMENT(ledger);
            model_init(&model);
            model.page = (enum page_id)page;
            sample_take(&sample, &segment, model.page, &model.filter, 1000);
            fail_nth("memory", nth, ENOMEM);
            const int r = model_take(&model, &sample);
            const bool has_failed = fail_end();
            n_failures += has_failed;
            assert_int_equal(r, has_failed ? -ENOMEM : 0);
            sample_fini(&sample);
            top_answer(&model, SEGMENT(ledger), 2000);
            model_fini(&model);
            if (!has_failed) {
                break;
            }
        }
    }
    assert_true(n_failures >= N_PAGES); /* the lines of each, at least */
}

#define KEYS_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        KEYS_TEST(test_keys_before_there_is_an_answer_select_nothing),
        KEYS_TEST(test_keys_of_every_page_keep_the_selection_among_its_lines),
        KEYS_TEST(test_keys_while_a_pattern_is_typed_are_of_the_pattern),
        KEYS_TEST(test_sort_takes_columns_that_there_are_and_both_ways),
        KEYS_TEST(test_answer_without_memory_is_ENOMEM_and_the_next_is_shown),
    };
    return cmocka_run_group_tests_name("ctl_top_keys", tests, NULL, NULL);
}

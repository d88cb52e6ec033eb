/* SPDX-License-Identifier: MIT */
/*
 * test_ctl_top_model.c - what top knows of a segment over time, and what keys do
 */
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/fake_segment.h"
#include "tests/unit/top_fixture.h"
#include "tests/unit/unit.h"

static const struct kmem_ledger_row first[] = {
    {"video/capture/left", 2, 8 * TOP_MIB, 65000, 0, 0},
    {"audio", 4, 2 * TOP_MIB, 9000, 0, 0},
    {"video/index", 1, TOP_MIB, 3000, 0, 0},
    {"video", 1, 100, 3000, 0, 0},
};

/* Two seconds later: the index has grown, audio has gone, text has come. */
static const struct kmem_ledger_row second[] = {
    {"video/capture/left", 2, 8 * TOP_MIB, 67000, 0, 0},
    {"video/index", 3, 11 * TOP_MIB, 5000, 0, 0},
    {"text", 1, 4 * TOP_MIB, 1000, 0, 0},
    {"video", 1, 100, 5000, 0, 0},
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

static const struct node *node_at(const struct model *model, size_t line)
{
    assert_true(line < model->n_lines);
    return model->lines[line];
}

static const char *cell_of(const void *row, enum page_id page, const char *title)
{
    static struct escaped cell;
    const struct column *column = page_column(page_get(page), title, strlen(title));
    (void)snprintf(cell.text, sizeof(cell.text), "%s",
                   column_cell(column, row, false, &(struct escaped){0}));
    return cell.text;
}

static const char *rate_at(const struct model *model, size_t line)
{
    return cell_of(node_at(model, line), PAGE_REASONS, "BYTES/S");
}

static const char *grown_at(const struct model *model, size_t line)
{
    return cell_of(node_at(model, line), PAGE_REASONS, "GROWN");
}

/* ------------------------------------------------------------------------------- the tree ---- */

static void test_tree_begins_closed_with_sums_of_all_below(void **state)
{
    struct model *model = *state;
    top_answer(model, SEGMENT(first), 1000);
    assert_int_equal(model->n_lines, 2);
    assert_string_equal(top_line(model, 0), "▸ video");
    assert_string_equal(top_line(model, 1), "  audio");
    assert_int_equal(node_at(model, 0)->row.num_bytes, 9 * TOP_MIB + 100);
    assert_int_equal(node_at(model, 0)->row.n_blocks, 4);
    assert_int_equal(node_at(model, 0)->row.oldest_ms, 65000);
    assert_int_equal(model->n_rows, 4);
}

static void test_tree_opens_level_by_level_and_closes(void **state)
{
    struct model *model = *state;
    top_answer(model, SEGMENT(first), 1000);
    (void)top_press(model, KEY_IS_RIGHT);
    assert_int_equal(model->n_lines, 5);
    assert_string_equal(top_line(model, 0), "▾ video");
    assert_string_equal(top_line(model, 1), "  ▸ capture");
    assert_string_equal(top_line(model, 2), "    index");
    assert_string_equal(top_line(model, 3), "    (itself)");
    assert_int_equal(node_at(model, 3)->row.num_bytes, 100);
    (void)top_press(model, KEY_IS_DOWN);
    (void)top_press(model, KEY_IS_ENTER);
    assert_string_equal(top_line(model, 2), "      left");
    (void)top_press(model, KEY_IS_LEFT); /* closes capture */
    assert_string_equal(top_line(model, 2), "    index");
    (void)top_press(model, KEY_IS_LEFT); /* and what it is in */
    assert_int_equal(model->n_lines, 2);
    assert_string_equal(model_view(model)->selected, "video");
}

static void test_tree_opens_and_closes_all(void **state)
{
    struct model *model = *state;
    top_answer(model, SEGMENT(first), 1000);
    top_keys(model, "*");
    assert_int_equal(model->n_lines, 6);
    top_keys(model, "-");
    assert_int_equal(model->n_lines, 2);
}

static void test_tree_as_a_list_has_the_ledger_rows(void **state)
{
    struct model *model = *state;
    top_answer(model, SEGMENT(first), 1000);
    top_keys(model, "t");
    assert_int_equal(model->n_lines, 4);
    assert_string_equal(top_line(model, 0), "video/capture/left");
    assert_string_equal(top_line(model, 3), "video");
}

/* A reason that gets children becomes one of them, and has grown no more than it has. */
static void test_tree_makes_room_for_children(void **state)
{
    static const struct kmem_ledger_row alone[] = {{"video", 1, 100, 3000, 0, 0}};
    struct model *model = *state;
    top_answer(model, SEGMENT(alone), 1000);
    top_answer(model, SEGMENT(second), 2000);
    top_keys(model, "*");
    (void)top_press(model, KEY_IS_DOWN);
    assert_string_equal(top_line(model, 4), "    (itself)");
    assert_string_equal(grown_at(model, 4), "0 B");
    assert_string_equal(grown_at(model, 0), "+19.0 MiB");
    for (unsigned i = 0; i < 3; i++) {
        (void)top_press(model, KEY_IS_DOWN);
    }
    assert_int_equal(model_view(model)->selected_at, 4);
    assert_int_equal(model_arrange(model), 0);
    assert_int_equal(model_view(model)->selected_at, 4); /* and not its parent, which is named so */
}

static void test_tree_keeps_reasons_with_odd_slashes_apart(void **state)
{
    static const struct kmem_ledger_row odd[] = {
        {"/a", 1, 8, 0, 0, 0}, {"a", 1, 7, 0, 0, 0}, {"a/", 1, 6, 0, 0, 0}, {"a//", 1, 5, 0, 0, 0},
        {"", 1, 4, 0, 0, 0},   {"/", 1, 3, 0, 0, 0}, {"//", 1, 2, 0, 0, 0}, {"a-b", 1, 1, 0, 0, 0}};
    struct model *model = *state;
    top_answer(model, SEGMENT(odd), 1000);
    top_keys(model, "t");
    assert_int_equal(model->n_lines, N_ELEMENTS(odd));
    assert_int_equal(model->tree.root.row.num_bytes, 36);
}

/* The sums of a naive model, over rounds in which reasons come, change and go. */
static void test_tree_of_many_rounds_adds_up(void **state)
{
    static char keys[600][32];
    static struct kmem_ledger_row rows[600];
    struct model *model = *state;
    uint64_t random = 1; /* a fixed seed */
    for (unsigned round = 0; round < 300; round++) {
        uint64_t num_bytes = 0;
        size_t n = 0;
        for (unsigned i = 0; i < N_ELEMENTS(rows); i++) {
            random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
            if (random >> 62 != 0) {
                continue; /* one in four is there */
            }
            (void)snprintf(keys[n], sizeof(keys[n]), "%u/%u/%u", i % 5, i % 7, i);
            rows[n] = (struct kmem_ledger_row){keys[n], 1, (random >> 40) % 1000, 0, 0, 0};
            num_bytes += rows[n++].num_bytes;
        }
        top_answer(model, top_segment(rows, n), 1000 + round);
        assert_int_equal(model->tree.root.row.num_bytes, num_bytes);
        assert_int_equal(model->n_rows, n);
    }
}

/* What is gone for long is forgotten, and what it was in as well. */
static void test_tree_forgets_what_is_gone(void **state)
{
    struct model *model = *state;
    top_answer(model, SEGMENT(first), 1000);
    for (unsigned round = 1; round < 200; round++) {
        top_answer(model, top_segment(first + 1, 1), 1000 + round);
    }
    assert_int_equal(model->tree.root.n_children, 1);
    assert_string_equal(model->tree.root.children[0]->row.path, "audio");
}

/* ----------------------------------------------------------------------- deltas and rates ---- */

static void test_rates_are_of_the_last_two_answers(void **state)
{
    struct model *model = *state;
    top_answer(model, SEGMENT(first), 1000);
    assert_string_equal(rate_at(model, 0), "-");
    top_keys(model, "*");
    top_answer(model, SEGMENT(second), 3000);
    assert_string_equal(top_line(model, 0), "▾ video");
    assert_string_equal(rate_at(model, 0), "+5.0 MiB");
    assert_string_equal(grown_at(model, 0), "+10.0 MiB");
    assert_string_equal(top_line(model, 1), "    index");
    assert_string_equal(rate_at(model, 1), "+5.0 MiB");
    assert_string_equal(rate_at(model, 2), "0 B");
    top_answer(model, SEGMENT(second), 4000);
    assert_string_equal(rate_at(model, 1), "0 B");
    assert_string_equal(grown_at(model, 1), "+10.0 MiB");
}

static void test_what_is_new_has_grown_from_nothing(void **state)
{
    struct model *model = *state;
    top_answer(model, SEGMENT(first), 1000);
    top_answer(model, SEGMENT(second), 3000);
    assert_string_equal(top_line(model, 1), "  text");
    assert_string_equal(rate_at(model, 1), "+2.0 MiB");
    assert_string_equal(grown_at(model, 1), "+4.0 MiB");
}

static void test_what_has_gone_comes_back_with_what_it_has_lost(void **state)
{
    struct model *model = *state;
    top_answer(model, SEGMENT(first), 1000);
    top_answer(model, SEGMENT(second), 2000);
    top_answer(model, top_segment(first + 1, 1), 3000);
    assert_string_equal(top_line(model, 0), "  audio");
    assert_string_equal(rate_at(model, 0), "+2.0 MiB");
    assert_string_equal(grown_at(model, 0), "0 B");
}

static void test_reset_counts_from_now_on(void **state)
{
    struct model *model = *state;
    top_answer(model, SEGMENT(first), 1000);
    top_answer(model, SEGMENT(second), 2000);
    top_keys(model, "0");
    assert_string_equal(grown_at(model, 0), "0 B");
    top_answer(model, SEGMENT(first), 3000);
    assert_string_equal(grown_at(model, 0), "-10.0 MiB");
}

static void test_answers_of_one_moment_make_no_rate(void **state)
{
    struct model *model = *state;
    top_answer(model, SEGMENT(first), 1000);
    top_answer(model, SEGMENT(second), 1000);
    assert_string_equal(rate_at(model, 0), "-");
}

static void test_clients_have_rates_while_they_are_the_same_process(void **state)
{
    struct kmem_query segment = fake_segment();
    struct kmem_client clients[3];
    struct model *model = *state;
    memcpy(clients, segment.clients, sizeof(clients));
    segment.clients = clients;
    assert_int_equal(top_press(model, '2'), MODEL_ASKS);
    top_answer(model, segment, 1000);
    clients[0].num_bytes += 3 * TOP_MIB;
    clients[2].pid = 9999; /* another process in its slot */
    clients[2].num_bytes += TOP_MIB;
    top_answer(model, segment, 2000);
    const struct client_row *capture = model->lines[0];
    const struct client_row *other = model->lines[1];
    assert_int_equal(capture->client.pid, 4242);
    assert_string_equal(cell_of(capture, PAGE_CLIENTS, "BYTES/S"), "+3.0 MiB");
    assert_int_equal(other->client.pid, 9999);
    assert_string_equal(cell_of(other, PAGE_CLIENTS, "BYTES/S"), "-");
}

/* One series of points that are a second and 1 MiB apart; the first one is of the sum alone. */
static void answer_with_a_past(struct model *model, uint64_t newest_ms_ago)
{
    struct kmem_query segment = SEGMENT(first);
    struct sample sample;
    sample_take(&sample, &segment, PAGE_REASONS, &model->filter, 100000);
    for (uint64_t i = 0; i < 5; i++) {
        const struct kmem_history_row all = {
            .number = 7 + i, .ms_ago = newest_ms_ago + 1000 * (4 - i), .num_bytes = TOP_MIB * i};
        struct kmem_history_row one = all;
        one.reason = "video/index";
        assert_int_equal(past_add(&all, &sample.past), 0);
        assert_int_equal(i == 0 ? 0 : past_add(&one, &sample.past), 0);
        one.reason = "<other reasons>";
        assert_int_equal(past_add(&one, &sample.past), 0);
    }
    assert_int_equal(model_take(model, &sample), 0);
    sample_fini(&sample);
}

static void test_the_first_answer_goes_on_from_what_the_daemon_remembers(void **state)
{
    struct model *model = *state;
    answer_with_a_past(model, 1000);
    top_keys(model, "t/index");
    assert_int_equal(model->n_lines, 1);
    /* From 4 MiB, a second ago, to 1; of which 1 MiB was the first that is known. */
    assert_string_equal(rate_at(model, 0), "-3.0 MiB");
    assert_string_equal(grown_at(model, 0), "0 B");
    assert_string_equal(node_at(model, 0)->row.trend, "   ▂▄▆█▂");
    assert_true(model->used.has_rate);
    assert_int_equal(model->used.n_points, 6);
    (void)top_press(model, KEY_IS_ESCAPE);
    assert_string_equal(top_line(model, 1), "audio");
    assert_string_equal(rate_at(model, 1), "-"); /* had no series */
}

/* A rate over a few milliseconds would say nothing. */
static void test_a_look_just_before_the_first_answer_makes_no_rate(void **state)
{
    struct model *model = *state;
    answer_with_a_past(model, 10);
    top_keys(model, "t/index");
    assert_string_equal(rate_at(model, 0), "-2.0 MiB"); /* from 3 MiB, 1,010 ms ago */
    assert_string_equal(node_at(model, 0)->row.trend, "    ▃▅█▃");
}

/* --------------------------------------------------------------------- filter, sort, pages ---- */

static void test_filter_follows_each_key(void **state)
{
    struct model *model = *state;
    top_answer(model, SEGMENT(first), 1000);
    top_keys(model, "/LEf");             /* the case does not matter */
    assert_int_equal(model->n_lines, 3); /* with what it is in, which opens */
    assert_string_equal(top_line(model, 2), "      left");
    assert_int_equal(model->n_found, 1);
    top_keys(model, "x");
    assert_int_equal(model->n_lines, 0);
    (void)top_press(model, KEY_IS_ERASE);
    assert_int_equal(model->n_lines, 3);
    (void)top_press(model, KEY_IS_ENTER);
    assert_false(model->is_typing);
    top_keys(model, "q"); /* is a key again */
    (void)top_press(model, KEY_IS_ESCAPE);
    assert_int_equal(model->n_lines, 2);
}

static void test_filter_takes_a_pattern_and_foreign_characters(void **state)
{
    static const struct kmem_ledger_row rows[] = {
        {"video/映像", 1, 2, 0, 0, 0}, {"video/x", 1, 1, 0, 0, 0}, {"a", 1, 1, 0, 0, 0}};
    struct model *model = *state;
    top_answer(model, SEGMENT(rows), 1000);
    top_keys(model, "t/");
    (void)top_press(model, 0x6620);
    assert_int_equal(model->n_lines, 1);
    (void)top_press(model, KEY_IS_ERASE);
    assert_string_equal(model_view(model)->pattern, "");
    top_keys(model, "v*x");
    assert_int_equal(model->n_lines, 1);
    assert_string_equal(top_line(model, 0), "video/x");
    for (unsigned i = 0; i < 3 * PATTERN_MAX_BYTES; i++) {
        (void)top_press(model, 0x1f600);
    }
    assert_true(strlen(model_view(model)->pattern) < PATTERN_MAX_BYTES);
}

static void test_filter_of_clients_looks_at_what_they_show(void **state)
{
    struct model *model = *state;
    (void)top_press(model, '2');
    top_answer(model, fake_segment(), 1000);
    assert_int_equal(model->n_lines, 3);
    top_keys(model, "/capt");
    assert_int_equal(model->n_lines, 1);
    (void)top_press(model, KEY_IS_ESCAPE);
    top_keys(model, "/4243");
    assert_int_equal(model->n_lines, 1);
}

static void test_sort_moves_from_column_to_column_and_turns(void **state)
{
    struct model *model = *state;
    top_answer(model, SEGMENT(first), 1000);
    top_keys(model, "t>");
    assert_string_equal(model_view(model)->by->title, "SHARE");
    top_keys(model, "<<");
    assert_string_equal(model_view(model)->by->title, "REASON"); /* a trend has no order */
    assert_string_equal(top_line(model, 0), "audio");
    top_keys(model, "r");
    assert_string_equal(top_line(model, 0), "video/index");
}

static void test_sort_by_a_change_puts_what_shrinks_last(void **state)
{
    struct model *model = *state;
    top_keys(model, "t");
    top_answer(model, SEGMENT(second), 1000);
    top_answer(model, SEGMENT(first), 2000);
    assert_true(model_sort(model, PAGE_REASONS, "bytes/s"));
    assert_int_equal(model_arrange(model), 0);
    assert_string_equal(top_line(model, 0), "audio");
    assert_string_equal(top_line(model, 3), "video/index");
    assert_false(model_sort(model, PAGE_REASONS, "bytes:up"));
    assert_false(model_sort(model, PAGE_REASONS, "colour"));
}

static void test_pages_keep_what_was_chosen_of_them(void **state)
{
    struct model *model = *state;
    top_answer(model, SEGMENT(first), 1000);
    top_keys(model, "/aud");
    (void)top_press(model, KEY_IS_ENTER);
    assert_int_equal(top_press(model, KEY_IS_TAB), MODEL_ASKS);
    assert_int_equal(model->page, PAGE_CLIENTS);
    assert_int_equal(model->n_lines, 0); /* until they are answered */
    top_answer(model, fake_segment(), 2000);
    assert_int_equal(model->n_lines, 3);
    assert_int_equal(top_press(model, KEY_IS_BACK_TAB), MODEL_ASKS);
    top_answer(model, SEGMENT(first), 3000);
    assert_int_equal(model->n_lines, 1);
    assert_int_equal(top_press(model, '1'), MODEL_GOES_ON);
}

/* An answer that was on its way when the page was left. */
static void test_an_answer_of_another_page_is_not_shown_as_this_one(void **state)
{
    struct model *model = *state;
    struct kmem_query segment = fake_segment();
    struct sample sample;
    top_answer(model, SEGMENT(first), 1000);
    (void)top_press(model, '2');
    sample_take(&sample, &segment, PAGE_REASONS, &model->filter, 2000);
    assert_int_equal(model_take(model, &sample), 0);
    sample_fini(&sample);
    assert_int_equal(model->n_lines, 0);
    top_keys(model, "*0/x");
}

/* ------------------------------------------------------------------------------ selection ---- */

static void test_selection_stays_with_its_reason(void **state)
{
    struct model *model = *state;
    top_answer(model, SEGMENT(second), 1000);
    (void)top_press(model, KEY_IS_DOWN);
    assert_string_equal(model_view(model)->selected, "text");
    top_keys(model, "*"); /* what is above it opens */
    assert_int_equal(model_view(model)->selected_at, 5);
    top_keys(model, "-r"); /* it goes up */
    assert_int_equal(model_view(model)->selected_at, 0);
}

static void test_selection_falls_to_the_next_when_its_row_goes(void **state)
{
    struct model *model = *state;
    top_keys(model, "t");
    top_answer(model, SEGMENT(first), 1000);
    (void)top_press(model, KEY_IS_END);
    assert_string_equal(top_line(model, model_view(model)->selected_at), "video");
    top_answer(model, top_segment(first, 2), 2000);
    assert_int_equal(model_view(model)->selected_at, 1);
    top_answer(model, top_segment(first, 0), 3000);
    assert_int_equal(model_view(model)->selected_at, 0);
    (void)top_press(model, KEY_IS_DOWN);
    (void)top_press(model, KEY_IS_RIGHT);
    assert_int_equal(model->n_lines, 0);
}

static void test_scrolling_keeps_the_selected_line_on_the_screen(void **state)
{
    static char keys[100][8];
    static struct kmem_ledger_row rows[100];
    struct model *model = *state;
    for (unsigned i = 0; i < N_ELEMENTS(rows); i++) {
        (void)snprintf(keys[i], sizeof(keys[i]), "r%02u", i);
        rows[i] = (struct kmem_ledger_row){keys[i], 1, 1000 - i, 0, 0, 0};
    }
    top_answer(model, SEGMENT(rows), 1000);
    (void)top_press(model, KEY_IS_PAGE_DOWN);
    model_scroll(model, 20);
    assert_int_equal(model_view(model)->selected_at, 19);
    assert_int_equal(model_view(model)->first_at, 0);
    (void)top_press(model, KEY_IS_END);
    model_scroll(model, 20);
    assert_int_equal(model_view(model)->first_at, 80);
    model_scroll(model, 50); /* the screen has grown */
    assert_int_equal(model_view(model)->first_at, 50);
    (void)top_press(model, KEY_IS_HOME);
    model_scroll(model, 5);
    assert_int_equal(model_view(model)->first_at, 0);
    model_scroll(model, 0); /* a screen without room */
}

/* ------------------------------------------------------------------------------- the rest ---- */

static void test_keys_quit_pause_and_explain(void **state)
{
    struct model *model = *state;
    top_answer(model, SEGMENT(first), 1000);
    top_keys(model, "p");
    assert_true(model->is_paused);
    top_keys(model, "h");
    assert_int_equal(top_press(model, KEY_IS_NOTHING), MODEL_GOES_ON);
    assert_true(model->shows_help);
    assert_int_equal(top_press(model, 'q'), MODEL_GOES_ON); /* leaves the help */
    assert_false(model->shows_help);
    top_keys(model, "/");
    assert_int_equal(top_press(model, 'q'), MODEL_GOES_ON); /* is typed */
    (void)top_press(model, KEY_IS_ESCAPE);
    assert_int_equal(top_press(model, 'q'), MODEL_QUITS);
}

static void test_flow_curve_shows_the_last_minute(void **state)
{
    struct flow flow = {0};
    for (uint64_t i = 0; i < 100; i++) {
        flow_add(&flow, i < 60 ? 0 : i == 99 ? 800 : 400, 1000 * i);
    }
    assert_string_equal(flow_curve(&flow, 0, 6, true).text, "  ▄▄▄█");
    assert_string_equal(flow_curve(&flow, 1600, 6, true).text, "  ▂▂▂▄");
    assert_string_equal(flow_curve(&flow, 0, 6, false).text, "  ---#");
    assert_string_equal(flow_curve(&(struct flow){0}, 0, 3, true).text, "   ");
    flow_add(&flow, UINT64_MAX, 200000);
    assert_true(flow_rate(&flow) > 0);
    flow_add(&flow, 1, 200001);
    assert_string_equal(flow_curve(&flow, UINT64_MAX, 3, true).text, "▁▁█");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_tree_begins_closed_with_sums_of_all_below),
        TEST(test_tree_opens_level_by_level_and_closes),
        TEST(test_tree_opens_and_closes_all),
        TEST(test_tree_as_a_list_has_the_ledger_rows),
        TEST(test_tree_makes_room_for_children),
        TEST(test_tree_keeps_reasons_with_odd_slashes_apart),
        TEST(test_tree_of_many_rounds_adds_up),
        TEST(test_tree_forgets_what_is_gone),
        TEST(test_rates_are_of_the_last_two_answers),
        TEST(test_what_is_new_has_grown_from_nothing),
        TEST(test_what_has_gone_comes_back_with_what_it_has_lost),
        TEST(test_reset_counts_from_now_on),
        TEST(test_answers_of_one_moment_make_no_rate),
        TEST(test_clients_have_rates_while_they_are_the_same_process),
        TEST(test_the_first_answer_goes_on_from_what_the_daemon_remembers),
        TEST(test_a_look_just_before_the_first_answer_makes_no_rate),
        TEST(test_filter_follows_each_key),
        TEST(test_filter_takes_a_pattern_and_foreign_characters),
        TEST(test_filter_of_clients_looks_at_what_they_show),
        TEST(test_sort_moves_from_column_to_column_and_turns),
        TEST(test_sort_by_a_change_puts_what_shrinks_last),
        TEST(test_pages_keep_what_was_chosen_of_them),
        TEST(test_an_answer_of_another_page_is_not_shown_as_this_one),
        TEST(test_selection_stays_with_its_reason),
        TEST(test_selection_falls_to_the_next_when_its_row_goes),
        TEST(test_scrolling_keeps_the_selected_line_on_the_screen),
        TEST(test_keys_quit_pause_and_explain),
        TEST(test_flow_curve_shows_the_last_minute),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

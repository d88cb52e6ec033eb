/* SPDX-License-Identifier: MIT */
/*
 * test_ctl_map.c - `kmemctl map`, `why` and `watch` of a segment that answers from a table
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/ctl/status.h"
#include "tests/unit/shown.h"
#include "tests/unit/unit.h"

#define PAGE (UINT64_C(16) << 10)

/* Eight pages: the first, a camera's block, free, a tracker's, free, and a leased one in no use. */
static const struct kmem_pages pages[] = {
    {.offset = 0, .num_bytes = PAGE, .state = KMEM_PAGES_FIRST, .command = "", .reason = ""},
    {.offset = PAGE,
     .num_bytes = PAGE,
     .state = KMEM_PAGES_DIRECT,
     .command = "camera",
     .pid = 7,
     .reason = "frame#1",
     .n_blocks = 1,
     .live_bytes = PAGE,
     .one_owner = 1,
     .one_reason = 1,
     .oldest_ms = 5000},
    {.offset = 2 * PAGE,
     .num_bytes = 2 * PAGE,
     .state = KMEM_PAGES_FREE,
     .free_bytes = 2 * PAGE,
     .command = "",
     .reason = ""},
    {.offset = 4 * PAGE,
     .num_bytes = PAGE,
     .state = KMEM_PAGES_DIRECT,
     .command = "<b>\033&",
     .pid = 8,
     .reason = "track",
     .n_blocks = 2,
     .live_bytes = 100,
     .one_owner = 1,
     .one_reason = 1,
     .oldest_ms = 4000000},
    {.offset = 5 * PAGE,
     .num_bytes = 2 * PAGE,
     .state = KMEM_PAGES_FREE,
     .free_bytes = 2 * PAGE,
     .command = "",
     .reason = ""},
    {.offset = 7 * PAGE,
     .num_bytes = PAGE,
     .state = KMEM_PAGES_IDLE,
     .idle_bytes = PAGE,
     .command = "camera",
     .pid = 7,
     .reason = ""},
};

static const struct kmem_block block = {.offset = PAGE,
                                        .num_bytes = 1024,
                                        .reason = "frame#1",
                                        .pid = 7,
                                        .command = "camera",
                                        .age_ms = 5000};

static const struct kmem_byte bytes[] = {
    {.offset = 0, .segment_bytes = 8 * PAGE, .kind = KMEM_BYTE_FREE, .pages = &pages[0]},
    {.offset = PAGE + 17,
     .segment_bytes = 8 * PAGE,
     .kind = KMEM_BYTE_BLOCK,
     .block = &block,
     .pages = &pages[1],
     .place_offset = PAGE,
     .place_bytes = 1024,
     .before = &pages[0],
     .after = &pages[2]},
    {.offset = PAGE + 1030,
     .segment_bytes = 8 * PAGE,
     .kind = KMEM_BYTE_ROUNDING,
     .block = &block,
     .pages = &pages[1],
     .place_offset = PAGE,
     .place_bytes = 1152},
    {.offset = 9 * PAGE, .segment_bytes = 8 * PAGE, .kind = KMEM_BYTE_BEYOND},
};

static struct kmem_query segment(void)
{
    return (struct kmem_query){
        .pages = pages,
        .n_pages = sizeof(pages) / sizeof(pages[0]),
        .bytes = bytes,
        .n_bytes = sizeof(bytes) / sizeof(bytes[0]),
    };
}

static void assert_in(const struct shown *shown, const char *text)
{
    if (!strstr(shown->text, text)) {
        fail_msg("no \"%s\" in:\n%s", text, shown->text);
    }
}

static void test_map_draws_each_cell_and_says_what_splits_the_free_space(void **state)
{
    struct shown shown = show_at(200, map_show, segment(), (struct options){.watch_ms = 0});

    assert_int_equal(shown.status, STATUS_OK);
    assert_in(&shown, "-B");
    assert_in(&shown, "If what is at 0x10000 went (16.0 KiB, \"track\", of process 8), the "
                      "largest extent would grow from 48.0 KiB to 96.0 KiB.");
    assert_in(&shown, "Blocks that split the free space, of 1:");
    assert_in(&shown, "<b>\\x1b&");
    assert_null(strchr(shown.text, '\033'));
    free(shown.text);
}

static void test_map_by_reason_drops_the_detail(void **state)
{
    struct shown shown =
        show_at(80, map_show, segment(), (struct options){.map_by = MAP_BY_REASON});

    assert_in(&shown, "frame\n");
    assert_null(strstr(shown.text, "frame#1"));
    free(shown.text);
}

static void test_map_by_age_has_ages_for_letters(void **state)
{
    struct shown shown = show_at(80, map_show, segment(), (struct options){.map_by = MAP_BY_AGE});

    assert_in(&shown, "-2");
    assert_in(&shown, "1 s to 10 s");
    assert_in(&shown, "1 h to 1 d");
    free(shown.text);
}

static void test_map_as_svg_escapes_what_is_foreign_and_needs_nothing_else(void **state)
{
    struct shown shown = show(map_show, segment(), (struct options){.svg_path = "-"});

    assert_in(&shown, "<svg xmlns=");
    assert_in(&shown, "&lt;b&gt;\\x1b&amp;");
    assert_in(&shown, "prefers-color-scheme: dark");
    assert_in(&shown, "role=\"img\"");
    assert_in(&shown, "<title>0x4000, 16.0 KiB: 100 % in use; 7 camera");
    assert_in(&shown, "</svg>\n");
    assert_null(strstr(shown.text, "<b>"));
    assert_null(strstr(shown.text, "href"));
    free(shown.text);
}

static void test_map_as_json_has_cells_splits_and_parties(void **state)
{
    struct shown shown = show(map_show, segment(), (struct options){.format = FORMAT_JSON});

    assert_in(&shown, "\"largest_extent_bytes\": 49152");
    assert_in(&shown, "\"extent_if_gone_bytes\": 98304");
    assert_in(&shown, "\"state\": \"idle\"");
    free(shown.text);
}

static void test_map_as_csv_is_a_misuse(void **state)
{
    struct shown shown = show(map_show, segment(), (struct options){.format = FORMAT_CSV});

    assert_int_equal(shown.status, STATUS_USAGE);
    free(shown.text);
}

static struct shown why(const char *what, enum format format)
{
    return show(why_show, segment(), (struct options){.arguments = {what}, .format = format});
}

static void test_why_of_an_interior_byte_says_which_of_which_block(void **state)
{
    struct shown shown = why("0x4011", FORMAT_TABLE);

    assert_int_equal(shown.status, STATUS_OK);
    assert_in(&shown, "byte 17 of a block of 1,024\n");
    assert_in(&shown, "\"frame#1\", of process 7 (camera, user 0), 5.0 s old");
    assert_in(&shown, "Before that");
    free(shown.text);
    shown = why("0x4011", FORMAT_JSON);
    assert_in(&shown, "\"kind\": \"block\"");
    assert_in(&shown, "\"byte_of_block\": 17");
    free(shown.text);
}

/* What was made of it till then is freed, which LeakSanitizer sees. */
static void test_why_that_fails_in_the_middle_writes_nothing(void **state)
{
    struct kmem_query query = segment();

    query.error = -EPROTO;
    struct shown shown =
        show(why_show, query, (struct options){.arguments = {"0x4011"}, .format = FORMAT_JSON});
    assert_int_equal(shown.status, -EPROTO);
    assert_string_equal(shown.text, "");
    free(shown.text);
}

static void test_why_of_a_byte_behind_a_block_says_so(void **state)
{
    struct shown shown = why("17414", FORMAT_TABLE);

    assert_in(&shown, "6 bytes behind the end of a block of 1,024");
    free(shown.text);
    shown = why("147456", FORMAT_TABLE);
    assert_in(&shown, "behind the segment's end, which is at 0x20000");
    free(shown.text);
}

static void test_why_of_nothing_is_a_misuse(void **state)
{
    struct shown shown = why("what", FORMAT_TABLE);
    assert_int_equal(shown.status, STATUS_USAGE);
    free(shown.text);
}

/* What the stream would ask anew with, if it had to. */
int kmem_query_open(const char *socket_path, struct kmem_query **ret_query)
{
    (void)socket_path;
    (void)ret_query;
    return -ENOENT;
}

struct kmem_query *kmem_query_close(struct kmem_query *query)
{
    (void)query;
    return NULL;
}

const char *kmem_query_error(const struct kmem_query *query)
{
    (void)query;
    return "that was all";
}

const char *kmem_last_error(void)
{
    return "there is no daemon";
}

static const struct kmem_change changes[] = {
    {.number = 1,
     .kind = "allocated",
     .pid = 7,
     .command = "camera",
     .offset = PAGE,
     .num_bytes = 1000,
     .reason = "frame#1",
     .name = "",
     .why = ""},
    {.number = 2,
     .kind = "refused",
     .pid = 8,
     .command = "tr\033",
     .num_bytes = 5000,
     .reason = "track",
     .name = "",
     .why = "block no_room"},
};

/* Both changes, and then it ends. */
static struct shown watch(struct options options)
{
    struct kmem_query query = {.changes = changes, .n_changes = 2, .error = -EPROTO};
    return show(follow_show, query, options);
}

static void test_watch_tells_changes_in_lines(void **state)
{
    struct shown shown = watch((struct options){.watch_ms = 0});

    assert_in(&shown, "allocated          7 camera");
    assert_in(&shown, "1000 B at 0x4000 frame#1\n");
    assert_in(&shown, "block no_room track\n");
    assert_null(strchr(shown.text, '\033'));
    free(shown.text);
}

static void test_watch_tells_what_is_asked_for_only(void **state)
{
    struct shown shown =
        watch((struct options){.filter = {.has_pid = true, .pid = 8}, .format = FORMAT_JSONL});

    assert_in(&shown, "\"kind\": \"refused\"");
    assert_null(strstr(shown.text, "allocated"));
    free(shown.text);
}

static void test_watch_with_what_means_nothing_is_a_misuse(void **state)
{
    struct shown shown = watch((struct options){.watch_ms = 1000});
    assert_int_equal(shown.status, STATUS_USAGE);
    free(shown.text);
    shown = watch((struct options){.sort = "pid"});
    assert_int_equal(shown.status, STATUS_USAGE);
    free(shown.text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_map_draws_each_cell_and_says_what_splits_the_free_space),
        cmocka_unit_test(test_map_by_reason_drops_the_detail),
        cmocka_unit_test(test_map_by_age_has_ages_for_letters),
        cmocka_unit_test(test_map_as_svg_escapes_what_is_foreign_and_needs_nothing_else),
        cmocka_unit_test(test_map_as_json_has_cells_splits_and_parties),
        cmocka_unit_test(test_map_as_csv_is_a_misuse),
        cmocka_unit_test(test_why_of_an_interior_byte_says_which_of_which_block),
        cmocka_unit_test(test_why_that_fails_in_the_middle_writes_nothing),
        cmocka_unit_test(test_why_of_a_byte_behind_a_block_says_so),
        cmocka_unit_test(test_why_of_nothing_is_a_misuse),
        cmocka_unit_test(test_watch_tells_changes_in_lines),
        cmocka_unit_test(test_watch_tells_what_is_asked_for_only),
        cmocka_unit_test(test_watch_with_what_means_nothing_is_a_misuse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

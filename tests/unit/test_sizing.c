/* SPDX-License-Identifier: MIT */
/*
 * test_sizing.c - the size that the options ask for: what is said, taken, given back and noted
 *
 * The core is a true one; the scrubber, the machine's memory and clients' files are this test's.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "daemon/core/resize.h"
#include "daemon/memfd.h"
#include "daemon/server/loop.h"
#include "daemon/server/sizing.h"
#include "tests/unit/captured.h"
#include "tests/unit/core_fixture.h"
#include "tests/unit/unit.h"

#define N_PAGES 512
#define HALF (N_PAGES / 2)
#define BYTES_OF(pages) ((uint64_t)(pages) << PAGE_SHIFT)
#define WHY_BYTES 512

static struct sizing sizing;
static struct free_memory machine;
static char why[WHY_BYTES];

/* What the scrubber and the files were told last. */
static struct {
    uint64_t take_at;
    uint64_t take_bytes;
    uint64_t trim_at;
    uint64_t trim_end;
    bool trims_pages;
    uint64_t collapse_bytes;
    uint32_t n_pages;
} seen;

void scrub_take(struct scrub *scrub, uint64_t at, uint64_t n_bytes)
{
    seen.take_at = at;
    seen.take_bytes = n_bytes;
}

void scrub_trim(struct scrub *scrub, uint64_t at, uint64_t end, bool is_pages)
{
    seen.trim_at = at;
    seen.trim_end = end;
    seen.trims_pages = is_pages;
}

void scrub_collapse(struct scrub *scrub, uint64_t n_bytes)
{
    seen.collapse_bytes = n_bytes;
}

void client_files_set_pages(struct client_files *ledgers, uint32_t n_pages)
{
    seen.n_pages = n_pages;
}

void free_memory_read(struct free_memory *ret_room)
{
    *ret_room = machine;
}

struct now loop_now(void)
{
    return (struct now){.ms = fixture.now_ms, .us = fixture.now_ms * 1000};
}

static int sizing_setup(void **state)
{
    fixture_init(&fixture, N_PAGES, 10);
    machine = (struct free_memory){.available_bytes = UINT64_MAX, .cgroup_bytes = UINT64_MAX};
    memset(&seen, 0, sizeof(seen));
    sizing = (struct sizing){.core = core, .segment_fd = memfd_create("segment", MFD_CLOEXEC)};
    assert_true(sizing.segment_fd >= 0);
    assert_int_equal(ftruncate(sizing.segment_fd, BYTES_OF(N_PAGES)), 0);
    sizing_configure(&sizing, &core->config);
    return 0;
}

static int sizing_teardown(void **state)
{
    core->config.take_memory = NULL; /* the test is over */
    assert_int_equal(close(sizing.segment_fd), 0);
    return core_teardown(state);
}

static const char *ask(uint32_t n_pages)
{
    sizing_ask(&sizing, BYTES_OF(n_pages), why, sizeof(why));
    return why;
}

static uint64_t applied(void)
{
    return state_load(&core->state.header->asked_pages);
}

static void expect_said(const char *words)
{
    const char *said = capture_end();
    if (!strstr(said, words)) {
        fail_msg("\"%s\" does not say \"%s\"", said, words);
    }
}

/* --------------------------------------------------------------------------------- growing ---- */

static void test_sizing_ask_grows_when_the_memory_was_taken(void **state)
{
    assert_string_equal(ask(HALF), "");
    assert_int_equal(core->pages.n_pages, HALF);
    assert_int_equal(applied(), HALF);

    assert_string_equal(ask(N_PAGES), "");
    assert_int_equal(seen.take_at, BYTES_OF(HALF));
    assert_int_equal(seen.take_bytes, BYTES_OF(N_PAGES - HALF));
    assert_int_equal(core->pages.n_pages, HALF); /* not yet */
    assert_int_equal(applied(), HALF);
    capture_begin();
    sizing_taken(0, &sizing);
    expect_said("the segment has 8.0 MiB now, and had 4.0 MiB");
    assert_int_equal(core->pages.n_pages, N_PAGES);
    assert_int_equal(applied(), N_PAGES);
    assert_int_equal(seen.n_pages, N_PAGES);
}

static void test_sizing_taken_without_memory_keeps_the_size_and_says_why(void **state)
{
    const struct {
        int error;
        const char *words;
    } rows[] = {{-ENOMEM, "can not grow: the system has no memory for that; what was taken is "
                          "given back; --size is not applied"},
                {-ENOSPC, "can not grow: the system has no memory for that"},
                {-EIO, "can not grow: Input/output error; --size is not applied"}};
    (void)ask(HALF);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_string_equal(ask(N_PAGES), "");
        capture_begin();
        sizing_taken(rows[i].error, &sizing);
        expect_said(rows[i].words);
        assert_int_equal(core->pages.n_pages, HALF);
        assert_int_equal(applied(), HALF);
    }
}

/* By kmemctl: its caller is told by the answer, the log says it too. */
static void test_sizing_taken_for_another_than_the_options_says_nothing_of_them(void **state)
{
    struct resize_request request = {.n_ended = 0};
    (void)ask(HALF);
    assert_int_equal(resize_step(core, &request, N_PAGES, loop_now()), RESIZE_E_WAIT);
    capture_begin();
    sizing_taken(-EIO, &sizing);
    assert_string_equal(capture_end(), "kmemd: warning: the segment can not grow: Input/output "
                                       "error\n");
    resize_leave(core, &request);
}

static void test_sizing_ask_without_memory_says_where_it_is_short(void **state)
{
    (void)ask(HALF);
    machine.cgroup_bytes = 1 << 20;
    assert_string_equal(ask(N_PAGES),
                        "that is 4.0 MiB more, and the memory cgroup has room for 1.0 MiB");
    machine.cgroup_bytes = UINT64_MAX;
    machine.available_bytes = 2 << 20;
    assert_string_equal(ask(N_PAGES),
                        "that is 4.0 MiB more, and the machine has 2.0 MiB available");
    assert_int_equal(seen.take_bytes, 0);
    assert_int_equal(core->pages.n_pages, HALF);
}

/* What is taken when it is used may be more than there is; it is said. */
static void test_sizing_ask_of_a_lazy_segment_grows_without_memory(void **state)
{
    (void)ask(HALF);
    sizing.is_lazy = true;
    machine.available_bytes = 2 << 20;
    capture_begin();
    assert_string_equal(ask(N_PAGES), "");
    expect_said("the segment grows, and that is 4.0 MiB more, and the machine has 2.0 MiB "
                "available: clients get SIGBUS");
    assert_int_equal(seen.take_bytes, BYTES_OF(N_PAGES - HALF));
    sizing_taken(0, &sizing);
    assert_int_equal(core->pages.n_pages, N_PAGES);
}

static void test_sizing_ask_of_more_than_there_may_be_is_refused(void **state)
{
    assert_string_equal(ask(N_PAGES + 1), "the segment may have 8.0 MiB: more takes a start of "
                                          "kmemd when no client lives in it");
    assert_int_equal(sizing.asked_pages, 0);
}

static void test_sizing_ask_while_another_size_is_made_is_refused(void **state)
{
    (void)ask(HALF);
    assert_string_equal(ask(N_PAGES), "");
    assert_string_equal(ask(N_PAGES - 1), "the segment is being resized; see kmemctl resize");
    sizing_taken(0, &sizing);
    assert_int_equal(applied(), HALF); /* it is not what is asked for by now */
}

/* ------------------------------------------------------------------------------- shrinking ---- */

static void test_sizing_ask_shrinks_and_gives_the_memory_back(void **state)
{
    sizing.collapses = true;
    assert_string_equal(ask(HALF), "");
    assert_int_equal(seen.trim_at, BYTES_OF(HALF));
    assert_int_equal(seen.trim_end, BYTES_OF(N_PAGES));
    assert_true(seen.trims_pages);
    assert_int_equal(seen.collapse_bytes, BYTES_OF(HALF));
    assert_int_equal(seen.n_pages, HALF);
}

static void test_sizing_ask_of_less_than_is_held_names_the_holder(void **state)
{
    struct client *alice = fixture_join(&fixture, 1);
    (void)fixture_allocate(&fixture, alice, BYTES_OF(HALF + 1), "in the way");
    assert_non_null(strstr(ask(HALF), "of process 1 (worker-1), \"in the way\""));
    assert_non_null(strstr(why, "; kmemctl resize 4.0 MiB, when they are gone, or a restart "
                                "without clients"));
    assert_int_equal(core->pages.n_pages, N_PAGES);
}

/* --------------------------------------------------------------------------------- at once ---- */

static void test_sizing_apply_applies_a_size_once(void **state)
{
    sizing_apply(&sizing, BYTES_OF(N_PAGES)); /* it has that */
    assert_int_equal(applied(), N_PAGES);
    assert_int_equal(sizing.asked_pages, 0);

    struct resize_request request = {.n_ended = 0};
    assert_int_equal(resize_step(core, &request, HALF, loop_now()), RESIZE_OK); /* by kmemctl */
    sizing_apply(&sizing, BYTES_OF(N_PAGES));
    assert_int_equal(core->pages.n_pages, HALF); /* was applied before */

    capture_begin();
    sizing_apply(&sizing, BYTES_OF(2 * N_PAGES));
    expect_said("--size 16.0 MiB is not applied: the segment may have 8.0 MiB");
}

static void test_sizing_begin_gives_back_what_lies_beyond_the_segment(void **state)
{
    (void)ask(HALF);
    memset(&seen, 0, sizeof(seen));
    sizing_begin(&sizing);
    assert_int_equal(seen.trim_end, 0); /* there is nothing */
    assert_int_equal(seen.n_pages, HALF);
    assert_int_equal(state_load(&core->state.header->now_pages), HALF);

    assert_int_equal(posix_fallocate(sizing.segment_fd, 0, BYTES_OF(HALF + 1)), 0);
    sizing_begin(&sizing);
    assert_int_equal(seen.trim_at, BYTES_OF(HALF));
    assert_int_equal(seen.trim_end, BYTES_OF(N_PAGES));
    assert_false(seen.trims_pages); /* they are none of the segment's */
}

/* What it has is not known: nothing is trimmed for it. */
static void test_sizing_begin_of_a_file_that_can_not_be_looked_at_trims_nothing(void **state)
{
    const int fd = sizing.segment_fd;
    (void)ask(HALF);
    memset(&seen, 0, sizeof(seen));
    sizing.segment_fd = -1;
    sizing_begin(&sizing);
    assert_int_equal(seen.trim_end, 0);
    sizing.segment_fd = fd;
}

#define SIZING_TEST(function)                                                                      \
    cmocka_unit_test_setup_teardown(function, sizing_setup, sizing_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SIZING_TEST(test_sizing_ask_grows_when_the_memory_was_taken),
        SIZING_TEST(test_sizing_taken_without_memory_keeps_the_size_and_says_why),
        SIZING_TEST(test_sizing_taken_for_another_than_the_options_says_nothing_of_them),
        SIZING_TEST(test_sizing_ask_without_memory_says_where_it_is_short),
        SIZING_TEST(test_sizing_ask_of_a_lazy_segment_grows_without_memory),
        SIZING_TEST(test_sizing_ask_of_more_than_there_may_be_is_refused),
        SIZING_TEST(test_sizing_ask_while_another_size_is_made_is_refused),
        SIZING_TEST(test_sizing_ask_shrinks_and_gives_the_memory_back),
        SIZING_TEST(test_sizing_ask_of_less_than_is_held_names_the_holder),
        SIZING_TEST(test_sizing_apply_applies_a_size_once),
        SIZING_TEST(test_sizing_begin_gives_back_what_lies_beyond_the_segment),
        SIZING_TEST(test_sizing_begin_of_a_file_that_can_not_be_looked_at_trims_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

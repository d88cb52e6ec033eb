/* SPDX-License-Identifier: MIT */
/*
 * test_scrub.c - what is cleared, by a scrubber of flesh and blood; and what becomes of the pages
 * that it has in hand when it hangs or ends
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/server/loop.h"
#include "daemon/server/scrub.h"
#include "tests/unit/captured.h"
#include "tests/unit/fail.h"
#include "tests/unit/unit.h"

#define N_PAGES 1024

FAIL_WRAP(pid_t, fork, (void), (), -1)
FAIL_WRAP(int, socketpair, (int domain, int type, int protocol, int ends[2]),
          (domain, type, protocol, ends), -1)
FAIL_WRAP(int, uv_poll_init, (uv_loop_t * loop, uv_poll_t *poll, int fd), (loop, poll, fd),
          UV_ENOMEM)
FAIL_WRAP(int, uv_poll_start, (uv_poll_t * poll, int events, uv_poll_cb called),
          (poll, events, called), UV_EBADF)

static void *file;
static struct state segment;
static struct pages pages;
static struct scrub scrub;
static uv_loop_t loop;
static int segment_fd;
static int state_fd;
static unsigned char *bytes;
static uint64_t granule_bytes;
static uint64_t made_bytes;
static uint32_t n_done;

static void done(void *user)
{
    assert_ptr_equal(user, &n_done);
    n_done++;
}

static void open_scrub(bool gives_back, uint64_t huge_bytes)
{
    const struct scrub_config config = {
        .loop = &loop,
        .pages = &pages,
        .segment_fd = segment_fd,
        .state_fd = state_fd,
        .gives_back = gives_back,
        .clears = true,
        .huge_bytes = huge_bytes,
        .granule_bytes = &granule_bytes,
        .made_bytes = &made_bytes,
        .done = done,
        .user = &n_done,
    };
    granule_bytes = 2 << 20;
    n_done = 0;
    scrub_open(&scrub, &config);
}

/* Turns of the loop until done() was called so often. */
static void await_done(uint32_t n_times)
{
    while (n_done < n_times) {
        (void)uv_run(&loop, UV_RUN_ONCE);
    }
}

static void open_ready(bool gives_back)
{
    open_scrub(gives_back, 0);
    await_done(1);
    assert_int_equal(scrub.phase, SCRUB_IDLE);
}

static int scrub_setup(void **state)
{
    log_set_level(LOG_LEVEL_INFO);
    file = calloc(1, state_bytes(N_PAGES));
    assert_non_null(file);
    state_format(&segment, file, N_PAGES, N_PAGES, 1, 0);
    assert_int_equal(pages_init(&pages, &segment), 0);
    segment_fd = memfd_create("segment", MFD_CLOEXEC);
    state_fd = memfd_create("state", MFD_CLOEXEC);
    assert_int_equal(ftruncate(segment_fd, N_PAGES * PAGE_BYTES), 0);
    bytes = mmap(NULL, N_PAGES * PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, segment_fd, 0);
    assert_true(bytes != MAP_FAILED);
    memset(bytes, 0xa5, N_PAGES * PAGE_BYTES);
    return loop_init(&loop);
}

static int scrub_teardown(void **state)
{
    scrub_close(&scrub);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    while (waitpid(-1, NULL, 0) > 0) {
    }
    pages_fini(&pages);
    free(file);
    (void)munmap(bytes, N_PAGES * PAGE_BYTES);
    (void)close(segment_fd);
    (void)close(state_fd);
    return 0;
}

/* Somebody has had n_pages from `page` on, which is the beginning of a free run. */
static void come_back(uint32_t page, uint32_t n_pages)
{
    pages_take(&pages, page, n_pages, PAGE_DIRECT, 1);
    pages_give(&pages, page);
}

static void assert_all(uint32_t page, uint32_t n_pages, unsigned char byte)
{
    for (uint64_t at = 0; at < n_pages * PAGE_BYTES; at++) {
        assert_int_equal(bytes[page * PAGE_BYTES + at], byte);
    }
}

static void scrub_one(void)
{
    const uint32_t before = n_done;
    assert_true(scrub_step(&scrub));
    assert_int_equal(scrub.phase, SCRUB_BUSY);
    assert_int_equal(pages_check(&pages), 0);
    await_done(before + 1);
    assert_int_equal(pages_check(&pages), 0);
}

static void scrub_all(void)
{
    while (pages.n_dirty > 0) {
        scrub_one();
    }
    assert_false(scrub_step(&scrub));
}

static void assert_known_zero(uint32_t page, uint32_t n_pages, bool is_zero)
{
    bool zero;
    assert_int_equal(pages_zero_stretch(&pages, page, n_pages, &zero), n_pages);
    assert_int_equal(zero, is_zero);
}

static void test_scrub_is_wanted_for_a_megabyte_and_more(void **state)
{
    open_ready(false);
    assert_false(scrub_is_wanted(&scrub));
    come_back(1, SCRUB_MIN_PAGES - 1);
    assert_false(scrub_is_wanted(&scrub));
    come_back(1, SCRUB_MIN_PAGES);
    assert_true(scrub_is_wanted(&scrub));
}

static void test_scrub_step_clears_what_came_back_and_nothing_else(void **state)
{
    open_ready(false);
    pages_take(&pages, 1, 10, PAGE_DIRECT, 1); /* stays */
    come_back(11, 200);
    scrub_all();
    assert_all(1, 10, 0xa5);
    assert_all(11, 200, 0);
    assert_all(211, N_PAGES - 211, 0xa5);
    assert_known_zero(11, N_PAGES - 11, true);
}

/* Cleared through a mapping, it takes one entry where pages are huge. */
static void test_scrub_step_ends_where_a_huge_page_may_end(void **state)
{
    const uint32_t huge_page_pages = (2 << 20) / PAGE_BYTES;
    uint32_t n_steps = 0;
    open_ready(false);
    come_back(1, 999);
    while (pages.n_dirty > 0) {
        assert_true(scrub_step(&scrub));
        const uint32_t first = pages.scrub_page;
        const uint32_t last = first + PAGE_WORD_PAGES(pages_word(&pages, first)) - 1;
        assert_int_equal(first / huge_page_pages, last / huge_page_pages);
        await_done(++n_steps + 1);
    }
    assert_int_equal(n_steps, 16);
    assert_all(1, 999, 0);
}

static void test_scrub_step_meets_what_came_back_behind_it(void **state)
{
    open_ready(false);
    come_back(1, 400);
    scrub_one();
    scrub_one();
    come_back(1, 5); /* once more: before the place where the next step looks */
    scrub_all();
    assert_all(1, 400, 0);
}

static void test_scrub_step_leaves_alone_what_is_taken_meanwhile(void **state)
{
    open_ready(false);
    come_back(1, 400);
    scrub_one();
    pages_take(&pages, 1, 350, PAGE_LEASED, 1);
    memset(bytes + PAGE_BYTES, 0x5a, 350 * PAGE_BYTES);
    scrub_all();
    assert_all(1, 350, 0x5a);
    assert_all(351, 50, 0);
}

/* What the scrubber has in hand counts as free, but nobody gets it. */
static void test_scrub_step_gives_its_pages_to_nobody(void **state)
{
    uint32_t page;
    open_ready(false);
    come_back(1, 400);
    assert_true(scrub_step(&scrub));
    assert_int_equal(pages.n_free_pages, N_PAGES - 1);
    assert_int_equal(pages.scrub_page, 1);
    assert_true(pages_await_scrub(&pages));
    assert_int_equal(pages_find(&pages, N_PAGES - 1, &page), PAGES_E_FULL);
    assert_int_equal(pages_find(&pages, N_PAGES - 64, &page), 0);
    assert_int_equal(page, 64);
    await_done(2);
    assert_int_equal(pages_find(&pages, N_PAGES - 1, &page), 0);
}

static void test_scrub_step_of_a_lazy_segment_gives_the_memory_back(void **state)
{
    struct stat before;
    struct stat after;
    open_ready(true);
    come_back(1, 600);
    assert_int_equal(fstat(segment_fd, &before), 0);
    scrub_all();
    assert_int_equal(fstat(segment_fd, &after), 0);
    assert_int_equal((before.st_blocks - after.st_blocks) * 512, 600 * PAGE_BYTES);
    assert_all(1, 600, 0);
    assert_all(601, 10, 0xa5);
}

/* It can not write: the file is sealed against that, which is no member's to do. */
static void test_scrub_step_that_fails_says_so_once_and_claims_nothing(void **state)
{
    (void)munmap(bytes, N_PAGES * PAGE_BYTES);
    bytes = NULL;
    (void)close(segment_fd);
    segment_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    open_ready(false);
    come_back(1, 200);
    capture_begin();
    scrub_one();
    const char *said = capture_end();
    assert_non_null(strstr(said, "can not be cleared: Bad file descriptor"));
    assert_non_null(strstr(said, "whoever gets it next clears it"));
    assert_false(scrub_is_wanted(&scrub));
    assert_false(scrub_step(&scrub));
    assert_known_zero(1, 200, false);
}

/* No request waits for it for long, and nobody gets what it may still write to. */
static void test_scrub_that_hangs_is_not_waited_for(void **state)
{
    uint32_t page;
    open_ready(false);
    come_back(1, 400);
    assert_int_equal(kill(scrub.scrubber.pid, SIGSTOP), 0);
    assert_true(scrub_step(&scrub));
    const uint64_t events = pages.scrub_events;
    while (pages_await_scrub(&pages)) {
        (void)uv_run(&loop, UV_RUN_ONCE);
    }
    assert_true(pages.scrub_events > events);
    assert_int_equal(pages_find(&pages, N_PAGES - 1, &page), PAGES_E_FULL);
    assert_true(scrub_step(&scrub)); /* it still has it in hand */
    assert_int_equal(pages.scrub_page, 1);

    assert_int_equal(kill(scrub.scrubber.pid, SIGCONT), 0);
    await_done(2);
    assert_int_equal(pages_find(&pages, N_PAGES - 1, &page), 0);
    assert_all(1, 63, 0);
    assert_known_zero(1, 63, true);
}

/* Then it writes no more, and its pages come back as they are; a second later there is another. */
static void test_scrub_that_is_killed_is_replaced(void **state)
{
    open_ready(false);
    come_back(1, 400);
    assert_int_equal(kill(scrub.scrubber.pid, SIGSTOP), 0);
    assert_true(scrub_step(&scrub));
    assert_int_equal(kill(scrub.scrubber.pid, SIGKILL), 0);
    capture_begin();
    await_done(2);
    assert_non_null(strstr(capture_end(), "has ended; another one is started"));
    assert_int_equal(pages.scrub_page, 0);
    assert_int_equal(pages.n_dirty, 400);
    assert_known_zero(1, 400, false);
    assert_false(scrub_is_wanted(&scrub));
    await_done(3);
    scrub_all();
    assert_all(1, 400, 0);
}

/* A server goes on with what another has left: the pages stay nobody's while its scrubber lives. */
static void test_scrub_open_awaits_the_end_of_the_last_scrubber(void **state)
{
    struct scrubber former;
    assert_int_equal(scrubber_start(segment_fd, state_fd, &former), 0);
    struct flock lock = {.l_type = F_UNLCK};
    while (lock.l_type == F_UNLCK) { /* until it has the lock */
        lock = (struct flock){
            .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = STATE_LOCK_SCRUBBER, .l_len = 1};
        assert_int_equal(fcntl(state_fd, F_GETLK, &lock), 0);
    }
    assert_int_equal(kill(former.pid, SIGSTOP), 0);
    come_back(1, 400);
    pages_scrub_begin(&pages, 1, 64);
    pages_fini(&pages);
    assert_int_equal(pages_init(&pages, &segment), 0);
    assert_int_equal(pages.scrub_page, 1);
    assert_int_equal(pages.n_free_pages, N_PAGES - 1);

    open_scrub(false, 0);
    while (pages_await_scrub(&pages)) {
        (void)uv_run(&loop, UV_RUN_ONCE);
    }
    assert_int_equal(scrub.phase, SCRUB_STARTING);
    assert_int_equal(pages.scrub_page, 1);
    assert_int_equal(n_done, 0);

    assert_int_equal(kill(former.pid, SIGKILL), 0);
    await_done(1);
    assert_int_equal(close(former.fd), 0);
    assert_int_equal(pages.scrub_page, 0);
    scrub_all();
    assert_all(1, 400, 0);
}

static void test_scrub_says_what_pages_the_segment_is_made_of(void **state)
{
    made_bytes = UINT64_MAX;
    capture_begin();
    open_scrub(false, N_PAGES * PAGE_BYTES);
    while (!scrub.collapsed) {
        (void)uv_run(&loop, UV_RUN_ONCE);
    }
    assert_non_null(strstr(capture_end(), "of 16.0 MiB are made of 2 MiB pages"));
    assert_true(made_bytes <= N_PAGES * PAGE_BYTES);
}

/* Without one everything else goes on; it is tried again. */
static void assert_run_starts_later(const char *call, int error)
{
    capture_begin();
    fail_nth(call, 1, error);
    open_scrub(false, 0);
    assert_true(fail_end());
    assert_non_null(strstr(capture_end(), "trying again"));
    assert_int_equal(scrub.phase, SCRUB_ABSENT);
    assert_int_equal(granule_bytes, PAGE_BYTES);
    assert_false(scrub_is_wanted(&scrub));
    await_done(1);
    assert_int_equal(scrub.phase, SCRUB_IDLE);
}

static void test_scrub_open_without_a_process_tries_again(void **state)
{
    assert_run_starts_later("fork", EAGAIN);
}

static void test_scrub_open_without_descriptors_tries_again(void **state)
{
    assert_run_starts_later("socketpair", EMFILE);
}

static void test_scrub_open_that_can_not_listen_tries_again(void **state)
{
    assert_run_starts_later("uv_poll_init", ENOMEM);
}

#define SCRUB_TEST(test) cmocka_unit_test_setup_teardown(test, scrub_setup, scrub_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCRUB_TEST(test_scrub_is_wanted_for_a_megabyte_and_more),
        SCRUB_TEST(test_scrub_step_clears_what_came_back_and_nothing_else),
        SCRUB_TEST(test_scrub_step_ends_where_a_huge_page_may_end),
        SCRUB_TEST(test_scrub_step_meets_what_came_back_behind_it),
        SCRUB_TEST(test_scrub_step_leaves_alone_what_is_taken_meanwhile),
        SCRUB_TEST(test_scrub_step_gives_its_pages_to_nobody),
        SCRUB_TEST(test_scrub_step_of_a_lazy_segment_gives_the_memory_back),
        SCRUB_TEST(test_scrub_step_that_fails_says_so_once_and_claims_nothing),
        SCRUB_TEST(test_scrub_that_hangs_is_not_waited_for),
        SCRUB_TEST(test_scrub_that_is_killed_is_replaced),
        SCRUB_TEST(test_scrub_open_awaits_the_end_of_the_last_scrubber),
        SCRUB_TEST(test_scrub_says_what_pages_the_segment_is_made_of),
        SCRUB_TEST(test_scrub_open_without_a_process_tries_again),
        SCRUB_TEST(test_scrub_open_without_descriptors_tries_again),
        SCRUB_TEST(test_scrub_open_that_can_not_listen_tries_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

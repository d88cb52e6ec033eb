/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/log.h"
#include "daemon/scrub.h"
#include "tests/unit/captured.h"
#include "tests/unit/fail.h"

#define N_PAGES 1024

FAIL_WRAP(ssize_t, pwrite, (int fd, const void *bytes, size_t n_bytes, off_t at),
          (fd, bytes, n_bytes, at), -1)
FAIL_WRAP(int, fallocate, (int fd, int mode, off_t at, off_t n_bytes), (fd, mode, at, n_bytes), -1)

static void *file;
static struct state segment;
static struct pages pages;
static struct scrub scrub;
static int fd;
static unsigned char *bytes;

static int scrub_setup(void **state)
{
    (void)state;
    log_set_level(LOG_LEVEL_INFO);
    file = calloc(1, state_bytes(N_PAGES));
    assert_non_null(file);
    state_format(&segment, file, N_PAGES, 1, 0);
    assert_int_equal(pages_init(&pages, &segment), 0);
    fd = memfd_create("segment", MFD_CLOEXEC);
    assert_int_equal(ftruncate(fd, N_PAGES * PAGE_BYTES), 0);
    bytes = mmap(NULL, N_PAGES * PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_true(bytes != MAP_FAILED);
    memset(bytes, 0xa5, N_PAGES * PAGE_BYTES);
    scrub_init(&scrub, fd, false);
    return 0;
}

static int scrub_teardown(void **state)
{
    (void)state;
    pages_fini(&pages);
    free(file);
    (void)munmap(bytes, N_PAGES * PAGE_BYTES);
    (void)close(fd);
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

static void scrub_all(void)
{
    uint32_t n_steps = 0;
    while (scrub_step(&scrub, &pages)) {
        assert_true(++n_steps < N_PAGES);
    }
    assert_int_equal(pages_check(&pages), 0);
}

static void test_scrub_is_wanted_for_a_megabyte_and_more(void **state)
{
    (void)state;
    assert_false(scrub_is_wanted(&scrub, &pages));
    come_back(1, SCRUB_MIN_PAGES - 1);
    assert_false(scrub_is_wanted(&scrub, &pages));
    come_back(1, SCRUB_MIN_PAGES);
    assert_true(scrub_is_wanted(&scrub, &pages));
}

static void test_scrub_step_clears_what_came_back_and_nothing_else(void **state)
{
    (void)state;
    pages_take(&pages, 1, 10, PAGE_DIRECT, 1); /* stays */
    come_back(11, 100);
    scrub_all();
    assert_all(1, 10, 0xa5);
    assert_all(11, 100, 0);
    assert_all(111, N_PAGES - 111, 0xa5);
    assert_int_equal(pages.n_soiled, 0);
    bool zero;
    assert_int_equal(pages_zero_stretch(&pages, 11, N_PAGES - 11, &zero), N_PAGES - 11);
    assert_true(zero);
}

static void test_scrub_step_meets_what_came_back_behind_it(void **state)
{
    (void)state;
    come_back(1, 200);
    assert_true(scrub_step(&scrub, &pages));
    assert_true(scrub_step(&scrub, &pages));
    come_back(1, 5); /* once more: before the place where the next step looks */
    scrub_all();
    assert_all(1, 200, 0);
    assert_int_equal(pages.n_soiled, 0);
}

static void test_scrub_step_leaves_alone_what_is_taken_meanwhile(void **state)
{
    (void)state;
    come_back(1, 200);
    assert_true(scrub_step(&scrub, &pages));
    pages_take(&pages, 1, 150, PAGE_LEASED, 1);
    memset(bytes + PAGE_BYTES, 0x5a, 150 * PAGE_BYTES);
    scrub_all();
    assert_all(1, 150, 0x5a);
    assert_all(151, 50, 0);
}

static void test_scrub_step_of_a_lazy_segment_gives_the_memory_back(void **state)
{
    (void)state;
    struct stat before;
    struct stat after;
    scrub_init(&scrub, fd, true);
    come_back(1, 600);
    assert_int_equal(fstat(fd, &before), 0);
    scrub_all();
    assert_int_equal(fstat(fd, &after), 0);
    assert_int_equal((before.st_blocks - after.st_blocks) * 512, 600 * PAGE_BYTES);
    assert_all(1, 600, 0);
    assert_all(601, 10, 0xa5);
}

static void assert_gives_up(const char *call, const char *sentence)
{
    capture_begin();
    fail_nth(call, 1, ENOSPC);
    assert_false(scrub_step(&scrub, &pages));
    assert_true(fail_end());
    assert_non_null(strstr(capture_end(), sentence));
    assert_false(scrub_is_wanted(&scrub, &pages));
    assert_false(scrub_step(&scrub, &pages));
    assert_all(1, 200, 0xa5);
    bool zero;
    assert_int_equal(pages_zero_stretch(&pages, 1, 200, &zero), 200);
    assert_false(zero);
}

static void test_scrub_step_that_fails_says_so_once_and_claims_nothing(void **state)
{
    (void)state;
    come_back(1, 200);
    assert_gives_up("pwrite", "can not be cleared: No space left on device");
    scrub_init(&scrub, fd, true);
    assert_gives_up("fallocate", "whoever gets it next clears it");
}

static void test_scrub_step_is_not_ended_by_a_signal(void **state)
{
    (void)state;
    come_back(1, 100);
    fail_nth("pwrite", 1, EINTR);
    scrub_all();
    assert_true(fail_end());
    assert_all(1, 100, 0);
}

#define SCRUB_TEST(test) cmocka_unit_test_setup_teardown(test, scrub_setup, scrub_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCRUB_TEST(test_scrub_is_wanted_for_a_megabyte_and_more),
        SCRUB_TEST(test_scrub_step_clears_what_came_back_and_nothing_else),
        SCRUB_TEST(test_scrub_step_meets_what_came_back_behind_it),
        SCRUB_TEST(test_scrub_step_leaves_alone_what_is_taken_meanwhile),
        SCRUB_TEST(test_scrub_step_of_a_lazy_segment_gives_the_memory_back),
        SCRUB_TEST(test_scrub_step_that_fails_says_so_once_and_claims_nothing),
        SCRUB_TEST(test_scrub_step_is_not_ended_by_a_signal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

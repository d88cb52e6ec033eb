/* SPDX-License-Identifier: MIT */
/* What a process can touch of the segment, and what it cannot, for granules of both sizes. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/map/guard.h"
#include "proto/lease.h"
#include "proto/limits.h"
#include "tests/unit/unit.h"

#define N_PAGES 1000 /* not a whole number of 2 MiB granules */
#define NUM_BYTES (N_PAGES * PAGE_BYTES)
#define HUGE (UINT64_C(2) << 20)

static struct guard guard;
static unsigned char *base;
static _Atomic uint64_t states[N_PAGES / LEASE_PAGES_PER_WORD];

static void begin(uint64_t granule_bytes)
{
    base = mmap(NULL, NUM_BYTES, PROT_NONE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(base != MAP_FAILED);
    assert_int_equal(kmem__guard_init(&guard, base, NUM_BYTES, granule_bytes, false), 0);
}

static int begin_pages(void **state)
{
    begin(PAGE_BYTES);
    return 0;
}

static int begin_huge(void **state)
{
    begin(HUGE);
    return 0;
}

static int end(void **state)
{
    kmem__guard_fini(&guard);
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
        atomic_store(&states[i], 0);
    }
    return munmap(base, NUM_BYTES);
}

static struct seg_off at(uint64_t bytes)
{
    return (struct seg_off){bytes};
}

/* Whether a write there succeeds: asked of the kernel, which copies out of a pipe into it. */
static bool can_touch(uint64_t offset_bytes)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "x", 1), 1);
    const ssize_t n = read(ends[0], base + offset_bytes, 1);
    assert_true(n == 1 || errno == EFAULT);
    assert_int_equal(close(ends[0]), 0);
    assert_int_equal(close(ends[1]), 0);
    return n == 1;
}

static void test_init_closes_everything(void **state)
{
    assert_false(can_touch(0));
    assert_false(can_touch(PAGE_BYTES));
    assert_false(can_touch(NUM_BYTES - 1));
    assert_false(kmem__guard_is_open(&guard, at(PAGE_BYTES)));
}

static void test_open_opens_the_pages_and_no_other(void **state)
{
    kmem__guard_open(&guard, kmem__page_offset(5), 2 * PAGE_BYTES);
    assert_false(can_touch(5 * PAGE_BYTES - 1));
    assert_true(can_touch(5 * PAGE_BYTES));
    assert_true(can_touch(7 * PAGE_BYTES - 1));
    assert_false(can_touch(7 * PAGE_BYTES));
    assert_true(kmem__guard_is_open(&guard, at(6 * PAGE_BYTES)));
}

static void test_open_opens_whole_granules(void **state)
{
    kmem__guard_open(&guard, at(2 * HUGE - 1), 2);
    assert_false(can_touch(HUGE - 1));
    assert_true(can_touch(HUGE));
    assert_true(can_touch(3 * HUGE - 1));
    assert_false(can_touch(3 * HUGE));
}

static void test_next_open_finds_pages_that_may_be_open(void **state)
{
    kmem__guard_open(&guard, kmem__page_offset(5), 2 * PAGE_BYTES);
    assert_int_equal(kmem__guard_next_open(&guard, 6), 6);
    assert_true(kmem__guard_next_open(&guard, 0) <= 5);
    assert_true(kmem__guard_next_open(&guard, 300) >= N_PAGES);
    kmem__guard_hold(&guard);
    kmem__guard_let_go(&guard);
    kmem__guard_open(&guard, kmem__page_offset(N_PAGES - 1), PAGE_BYTES);
    const uint32_t last = kmem__guard_next_open(&guard, 300);
    assert_true(last > 300);
    assert_true(last < N_PAGES);
}

static void test_open_the_last_granule_which_is_cut_off(void **state)
{
    kmem__guard_open(&guard, at(NUM_BYTES - 1), 1);
    assert_true(can_touch(NUM_BYTES - 1));
    assert_true(can_touch(NUM_BYTES / HUGE * HUGE));
    assert_false(can_touch(NUM_BYTES / HUGE * HUGE - 1));
}

static void test_sweep_closes_what_was_revoked(void **state)
{
    bool is_zero;
    uint32_t page = 10;
    lease_grant(states, 10, 4, false);
    assert_true(lease_take(states, 12, 1, &is_zero));
    kmem__guard_open(&guard, kmem__page_offset(10), 4 * PAGE_BYTES);
    kmem__guard_sweep(&guard, states);
    assert_true(can_touch(10 * PAGE_BYTES)); /* unused, but leased */
    assert_int_equal(lease_revoke(states, &page, 12), 2);
    kmem__guard_sweep(&guard, states);
    assert_false(can_touch(10 * PAGE_BYTES));
    assert_false(can_touch(11 * PAGE_BYTES));
    assert_true(can_touch(12 * PAGE_BYTES)); /* in use */
    assert_true(can_touch(13 * PAGE_BYTES)); /* not revoked */
    lease_forget(states, 10, 2);
    lease_grant(states, 10, 2, false);
    kmem__guard_open(&guard, kmem__page_offset(10), 2 * PAGE_BYTES);
    assert_true(can_touch(10 * PAGE_BYTES));
}

static void test_sweep_leaves_a_granule_with_one_page_of_ours(void **state)
{
    uint32_t page = 0;
    lease_grant(states, 100, 40, false); /* both sides of the first border */
    kmem__guard_open(&guard, kmem__page_offset(100), 40 * PAGE_BYTES);
    for (page = 100; lease_revoke(states, &page, 128) > 0; page = 100) {
    }
    kmem__guard_sweep(&guard, states);
    assert_false(can_touch(127 * PAGE_BYTES));
    assert_true(can_touch(128 * PAGE_BYTES));
}

static void test_direct_block_stays_open_until_it_is_dropped(void **state)
{
    kmem__guard_add_direct(&guard, at(3 * PAGE_BYTES + 64), 100);
    kmem__guard_add_direct(&guard, at(4 * PAGE_BYTES - 64), 128); /* in two pages */
    kmem__guard_sweep(&guard, states);
    assert_true(can_touch(3 * PAGE_BYTES));
    assert_true(can_touch(4 * PAGE_BYTES));
    kmem__guard_drop_direct(&guard, at(4 * PAGE_BYTES - 64), 128);
    kmem__guard_sweep(&guard, states);
    assert_true(can_touch(3 * PAGE_BYTES)); /* the other one's */
    assert_false(can_touch(4 * PAGE_BYTES));
    kmem__guard_drop_direct(&guard, at(3 * PAGE_BYTES + 64), 0); /* the daemon did not say */
    kmem__guard_sweep(&guard, states);
    assert_true(can_touch(3 * PAGE_BYTES));
}

static void test_keep_leaves_open_what_the_parent_had(void **state)
{
    kmem__guard_open(&guard, kmem__page_offset(20), PAGE_BYTES);
    kmem__guard_keep(&guard);
    kmem__guard_sweep(&guard, states);
    assert_true(can_touch(20 * PAGE_BYTES));
    assert_false(can_touch(21 * PAGE_BYTES));
}

/* Whether cores have the bytes there: what the kernel says of the mapping that they are in. */
static bool is_dumped(uint64_t offset_bytes)
{
    const uintptr_t wanted = (uintptr_t)base + offset_bytes;
    char line[512];
    bool is_inside = false;
    FILE *smaps = fopen("/proc/self/smaps", "re");
    assert_non_null(smaps);
    while (fgets(line, sizeof(line), smaps) != NULL) {
        char *behind;
        const unsigned long from = strtoul(line, &behind, 16);
        if (behind > line && *behind == '-') {
            is_inside = wanted >= from && wanted < strtoul(behind + 1, NULL, 16);
        } else if (is_inside && strncmp(line, "VmFlags:", 8) == 0) {
            break;
        }
    }
    (void)fclose(smaps);
    assert_true(is_inside);
    return strstr(line, " dd") == NULL;
}

static void test_cores_have_what_is_open_and_no_more(void **state)
{
    assert_int_equal(madvise(base, NUM_BYTES, MADV_DONTDUMP), 0);
    guard.dumps_open = true;
    kmem__guard_open(&guard, at(16 * PAGE_BYTES), 4 * PAGE_BYTES);
    assert_true(is_dumped(16 * PAGE_BYTES) && is_dumped(20 * PAGE_BYTES - 1));
    assert_false(is_dumped(16 * PAGE_BYTES - 1) || is_dumped(20 * PAGE_BYTES));
    kmem__guard_sweep(&guard, states);
    assert_false(is_dumped(16 * PAGE_BYTES));
    kmem__guard_open(&guard, at(16 * PAGE_BYTES), PAGE_BYTES);
    assert_true(is_dumped(16 * PAGE_BYTES));
}

static void test_wild_write_hits_the_culprit(void **state)
{
    kmem__guard_open(&guard, kmem__page_offset(5), PAGE_BYTES);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)signal(SIGSEGV, SIG_DFL); /* a sanitizer's handler would exit */
        *(volatile unsigned char *)(base + 6 * PAGE_BYTES) = 1;
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGSEGV);
}

static void test_open_where_all_is_open_does_nothing(void **state)
{
    struct guard none = {.base = NULL};
    kmem__guard_open(&none, at(0), PAGE_BYTES);
    kmem__guard_add_direct(&none, at(0), 1);
    kmem__guard_drop_direct(&none, at(0), 1);
    kmem__guard_sweep(&none, states);
    kmem__guard_keep(&none);
    assert_true(kmem__guard_is_open(&none, at(12345)));
}

/* ------------------------------------------------------------------------------ reading only -- */

static bool can_read(uint64_t offset)
{
    char byte;
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    const bool can = write(fds[1], base + offset, 1) == 1 && read(fds[0], &byte, 1) == 1;
    (void)close(fds[0]);
    (void)close(fds[1]);
    return can;
}

static int begin_reader(void **state)
{
    base = mmap(NULL, NUM_BYTES, PROT_NONE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(base != MAP_FAILED);
    return kmem__guard_init(&guard, base, NUM_BYTES, PAGE_BYTES, true);
}

/* More stretches than it closes again: what is opened then is opened for reading. */
static void test_guard_of_a_reader_never_lets_it_write(void **state)
{
    for (uint32_t page = 1; page < 2 * (GUARD_STRETCHES_MAX + 20); page += 2) {
        (void)kmem__guard_add_reader(&guard, kmem__page_offset(page), 100, states);
    }
    for (uint32_t page = 1; page < 2 * (GUARD_STRETCHES_MAX + 20); page += 2) {
        assert_true(can_read(page * PAGE_BYTES));
        assert_false(can_touch(page * PAGE_BYTES));
    }
    assert_true(kmem__guard_is_open(&guard, kmem__page_offset(2 * GUARD_STRETCHES_MAX + 3)));
    kmem__guard_open(&guard, kmem__page_offset(700), PAGE_BYTES);
    assert_true(can_read(700 * PAGE_BYTES));
    assert_false(can_touch(700 * PAGE_BYTES));
    assert_true(kmem__guard_check(&guard));
}

/* The kernel writes where this process may. */
static bool can_write(uint64_t offset)
{
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(write(fds[1], "", 1), 1);
    const bool can = read(fds[0], base + offset, 1) == 1;
    (void)close(fds[0]);
    (void)close(fds[1]);
    return can;
}

static void test_a_reader_can_read_and_not_write_until_a_sweep(void **state)
{
    const struct seg_off at = {HUGE + 5 * PAGE_BYTES};
    assert_true(kmem__guard_add_reader(&guard, at, 100, states));
    assert_true(kmem__guard_add_reader(&guard, at, 100, states));
    assert_true(can_read(at.bytes) && !can_write(at.bytes));
    kmem__guard_drop_reader(&guard, at, 100);
    kmem__guard_sweep(&guard, states);
    assert_true(can_read(at.bytes));
    kmem__guard_drop_reader(&guard, at, 100);
    assert_true(can_read(at.bytes));
    kmem__guard_sweep(&guard, states);
    assert_false(can_read(at.bytes));
    assert_true(kmem__guard_check(&guard));
}

static void test_a_reader_of_what_is_also_written_can_write(void **state)
{
    const struct seg_off at = {HUGE};
    kmem__guard_add_direct(&guard, at, 100);
    assert_false(kmem__guard_add_reader(&guard, at, 100, states));
    assert_true(can_write(at.bytes));
    kmem__guard_drop_direct(&guard, at, 100);
    kmem__guard_sweep(&guard, states); /* it is read still, and stays as it is */
    assert_true(can_read(at.bytes));
    kmem__guard_drop_reader(&guard, at, 100);
    assert_true(kmem__guard_add_reader(&guard, at, 100, states)); /* nothing is written there now */
    assert_false(can_write(at.bytes));
    kmem__guard_add_direct(&guard, at, 100);
    assert_true(can_write(at.bytes));
    assert_true(kmem__guard_check(&guard));
}

static void test_more_readers_than_stretches_are_opened(void **state)
{
    for (uint32_t i = 0; i < N_PAGES / 2; i++) {
        const struct seg_off at = kmem__page_offset(2 * i);
        const bool is_readable = kmem__guard_add_reader(&guard, at, 100, states);
        assert_int_equal(is_readable, i < GUARD_STRETCHES_MAX);
        assert_true(can_read(at.bytes));
        assert_true(kmem__guard_check(&guard));
    }
    for (uint32_t i = 0; i < N_PAGES / 2; i++) {
        kmem__guard_drop_reader(&guard, kmem__page_offset(2 * i), 100);
    }
    assert_true(kmem__guard_wants_sweep(&guard));
    for (uint32_t i = 0; i < N_PAGES; i++) {
        kmem__guard_sweep(&guard, states);
    }
    for (uint32_t i = 0; i < N_PAGES; i++) {
        assert_false(can_read(i * PAGE_BYTES));
    }
    assert_true(kmem__guard_check(&guard));
}

/* A consumer: one block at a time, each somewhere else, and no lease of its own. */
static void test_one_reader_after_the_other_can_never_write(void **state)
{
    for (uint32_t i = 0; i < 2 * GUARD_STRETCHES_MAX; i++) {
        const struct seg_off at = kmem__page_offset(2 * i % N_PAGES);
        if (kmem__guard_wants_sweep(&guard)) {
            kmem__guard_sweep(&guard, states);
        }
        assert_true(kmem__guard_add_reader(&guard, at, 100, states));
        kmem__guard_drop_reader(&guard, at, 100);
        assert_true(kmem__guard_check(&guard));
    }
}

int main(void)
{
#define PAGES(name) cmocka_unit_test_setup_teardown(name, begin_pages, end)
#define GRANULES(name) cmocka_unit_test_setup_teardown(name, begin_huge, end)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_guard_of_a_reader_never_lets_it_write, begin_reader,
                                        end),
        PAGES(test_init_closes_everything),
        GRANULES(test_init_closes_everything),
        PAGES(test_open_opens_the_pages_and_no_other),
        GRANULES(test_open_opens_whole_granules),
        GRANULES(test_open_the_last_granule_which_is_cut_off),
        PAGES(test_next_open_finds_pages_that_may_be_open),
        GRANULES(test_next_open_finds_pages_that_may_be_open),
        PAGES(test_sweep_closes_what_was_revoked),
        GRANULES(test_sweep_leaves_a_granule_with_one_page_of_ours),
        PAGES(test_direct_block_stays_open_until_it_is_dropped),
        PAGES(test_keep_leaves_open_what_the_parent_had),
        PAGES(test_cores_have_what_is_open_and_no_more),
        PAGES(test_wild_write_hits_the_culprit),
        PAGES(test_a_reader_can_read_and_not_write_until_a_sweep),
        GRANULES(test_a_reader_can_read_and_not_write_until_a_sweep),
        PAGES(test_a_reader_of_what_is_also_written_can_write),
        GRANULES(test_a_reader_of_what_is_also_written_can_write),
        PAGES(test_more_readers_than_stretches_are_opened),
        PAGES(test_one_reader_after_the_other_can_never_write),
        cmocka_unit_test(test_open_where_all_is_open_does_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

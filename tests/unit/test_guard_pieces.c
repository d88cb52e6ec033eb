/* SPDX-License-Identifier: MIT */
/*
 * What the guard costs the process when pages lie scattered: calls of the kernel, counted by a
 * wrapper, and mappings, counted in /proc/self/maps.
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "client/map/guard.h"
#include "proto/lease.h"
#include "proto/limits.h"
#include "tests/unit/fail.h"
#include "tests/unit/unit.h"
#include "tests/support/seeded.h"

#define HUGE (UINT64_C(2) << 20)
#define N_PAGES 70000 /* more than a sweep looks at */
#define N_HUGE 4000
#define N_SCATTERED 8000

#define MAPPINGS_MAX (2 * GUARD_PIECES_MAX + 1)
#define CALLS_MAX (GUARD_SWEEP_CALLS_MAX + 2)

static struct guard guard;
static unsigned char *base;
static uint64_t num_bytes;
static uint64_t granule_bytes;
static _Atomic uint64_t *states;
static _Atomic uint32_t n_calls;

int __real_mprotect(void *address, size_t length, int protection);
int __wrap_mprotect(void *address, size_t length, int protection);
int __wrap_mprotect(void *address, size_t length, int protection)
{
    n_calls++;
    return fail_now("mprotect") ? -1 : __real_mprotect(address, length, protection);
}

static int begin(uint64_t bytes, uint64_t bytes_of_a_granule)
{
    num_bytes = bytes;
    granule_bytes = bytes_of_a_granule;
    base = mmap(NULL, num_bytes, PROT_NONE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_true(base != MAP_FAILED);
    states = calloc((num_bytes >> PAGE_SHIFT) / LEASE_PAGES_PER_WORD, sizeof(*states));
    assert_non_null(states);
    assert_int_equal(kmem__guard_init(&guard, base, num_bytes, granule_bytes, false), 0);
    n_calls = 0;
    return 0;
}

static int begin_pages(void **state)
{
    return begin(N_PAGES * PAGE_BYTES, PAGE_BYTES);
}

static int begin_huge(void **state)
{
    return begin(N_HUGE * HUGE, HUGE);
}

static int end(void **state)
{
    kmem__guard_fini(&guard);
    free((void *)states);
    return munmap(base, num_bytes);
}

/* Mappings of the segment; all of them are in there. */
static uint32_t count_mappings(void)
{
    char line[512];
    uint32_t n_mappings = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    assert_non_null(maps);
    while (fgets(line, sizeof(line), maps) != NULL) {
        const uintptr_t from = (uintptr_t)strtoull(line, NULL, 16);
        n_mappings += from >= (uintptr_t)base && from < (uintptr_t)base + num_bytes;
    }
    assert_int_equal(fclose(maps), 0);
    return n_mappings;
}

/* Whether a write there succeeds: asked of the kernel, which copies out of a pipe into it. */
static bool can_touch(uint64_t granule)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "x", 1), 1);
    const ssize_t n = read(ends[0], base + granule * granule_bytes, 1);
    assert_true(n == 1 || errno == EFAULT);
    assert_int_equal(close(ends[0]), 0);
    assert_int_equal(close(ends[1]), 0);
    return n == 1;
}

static void *do_nothing(void *argument)
{
    return argument;
}

static void expect_a_thread_can_start(void)
{
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, do_nothing, NULL), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
}

static void open_granule(uint32_t granule)
{
    kmem__guard_open(&guard, (struct seg_off){granule * granule_bytes}, 1);
    assert_true(kmem__guard_check(&guard));
}

/* A lease of one page, as context.c takes it. Return: how many calls that took. */
static uint32_t lease_page(uint32_t page)
{
    const uint32_t n_before = n_calls;
    kmem__guard_sweep(&guard, states);
    assert_true(kmem__guard_check(&guard));
    lease_grant(states, page, 1, false);
    kmem__guard_open(&guard, kmem__page_offset(page), PAGE_BYTES);
    assert_true(kmem__guard_check(&guard));
    return n_calls - n_before;
}

static void revoke_page(uint32_t page)
{
    uint32_t at = page;
    assert_int_equal(lease_revoke(states, &at, page + 1), 1);
    lease_forget(states, page, 1);
}

/* Once over the whole segment. */
static void sweep_all(void)
{
    do {
        kmem__guard_sweep(&guard, states);
        assert_true(kmem__guard_check(&guard));
    } while (guard.swept < guard.n_granules);
}

/* -------------------------------------------------------------------------------- bounds ------ */

static void test_open_of_scattered_granules_takes_two_calls_and_bounded_mappings(void **state)
{
    for (uint32_t granule = 1; granule < guard.n_granules; granule += 2) {
        const uint32_t n_before = n_calls;
        open_granule(granule);
        assert_in_range(n_calls - n_before, 1, 2);
        assert_true(guard.n_pieces <= GUARD_PIECES_MAX);
    }
    assert_in_range(count_mappings(), GUARD_PIECES_MAX, MAPPINGS_MAX);
    assert_true(can_touch(guard.n_granules - 1));
    assert_false(can_touch(0)); /* in no gap */
    expect_a_thread_can_start();
}

static void test_direct_blocks_one_by_one_take_bounded_mappings(void **state)
{
    for (uint32_t granule = 1; granule < guard.n_granules; granule += 3) {
        kmem__guard_add_direct(&guard, (struct seg_off){granule * granule_bytes + 64}, 64);
    }
    assert_true(n_calls <= 2 * (guard.n_granules / 3 + 1));
    assert_true(count_mappings() <= MAPPINGS_MAX);
}

static void test_leases_of_scattered_pages_take_bounded_calls(void **state)
{
    uint32_t most = 0;
    for (uint32_t page = 1; page < N_SCATTERED; page += 2) {
        const uint32_t n = lease_page(page);
        most = n > most ? n : most;
    }
    assert_true(most <= 2); /* nothing is revoked */
    assert_true(count_mappings() <= MAPPINGS_MAX);
    for (uint32_t page = 1; page < N_SCATTERED; page += 2) {
        revoke_page(page); /* everything at once */
    }
    for (uint32_t i = 0; i < 4 * N_SCATTERED / GUARD_SWEEP_CALLS_MAX; i++) {
        const uint32_t n_before = n_calls;
        kmem__guard_sweep(&guard, states);
        assert_true(n_calls - n_before <= GUARD_SWEEP_CALLS_MAX);
        assert_true(kmem__guard_check(&guard));
    }
    assert_int_equal(guard.n_pieces, 0);
    assert_int_equal(count_mappings(), 1);
}

static void test_leases_and_revocations_at_random_take_calls_in_proportion(void **state)
{
    static bool is_leased[N_SCATTERED];
    struct seeded seeded = {20240917};
    print_message("seed %" PRIu64 "\n", seeded.state);
    uint32_t n_leases = 0;
    uint32_t n_revoked = 0;
    uint32_t most = 0;
    for (uint32_t i = 0; i < 10000; i++) {
        const uint32_t page = 1 + seeded_below(&seeded, N_SCATTERED - 1);
        if (is_leased[page]) {
            revoke_page(page);
            n_revoked++;
        } else {
            const uint32_t n = lease_page(page);
            most = n > most ? n : most;
            n_leases++;
        }
        is_leased[page] = !is_leased[page];
    }
    assert_true(most <= CALLS_MAX);
    assert_true(n_calls <= 3 * n_leases + n_revoked);
    assert_true(count_mappings() <= MAPPINGS_MAX);
    for (uint32_t page = 1; page < N_SCATTERED; page++) {
        if (is_leased[page]) {
            assert_true(can_touch(page));
        }
    }
}

static void test_sweep_closes_a_bounded_number_and_goes_on(void **state)
{
    for (uint32_t granule = 1; granule < 2 * 2 * GUARD_SWEEP_CALLS_MAX; granule += 2) {
        open_granule(granule);
    }
    n_calls = 0;
    kmem__guard_sweep(&guard, states);
    assert_int_equal(n_calls, GUARD_SWEEP_CALLS_MAX);
    assert_false(can_touch(1));
    assert_true(can_touch(1 + 2 * GUARD_SWEEP_CALLS_MAX));
    kmem__guard_sweep(&guard, states);
    assert_int_equal(n_calls, 2 * GUARD_SWEEP_CALLS_MAX);
    assert_int_equal(guard.n_pieces, 0);
}

static void test_sweep_looks_at_a_bounded_number_and_goes_on(void **state)
{
    open_granule(GUARD_SWEEP_PAGES + 1);
    kmem__guard_sweep(&guard, states);
    assert_true(can_touch(GUARD_SWEEP_PAGES + 1));
    kmem__guard_sweep(&guard, states);
    assert_false(can_touch(GUARD_SWEEP_PAGES + 1));
    open_granule(1);
    kmem__guard_sweep(&guard, states); /* and from the beginning */
    assert_false(can_touch(1));
}

/* ------------------------------------------------------------------------------ coarsening ---- */

/* As many pieces as may be, four closed granules between any two, three before the last. */
static void open_all_pieces(void)
{
    for (uint32_t i = 0; i < GUARD_PIECES_MAX; i++) {
        open_granule(5 * i + 1 - (i == GUARD_PIECES_MAX - 1));
    }
    assert_int_equal(guard.n_pieces, GUARD_PIECES_MAX);
}

#define LAST (5 * (GUARD_PIECES_MAX - 1))

static void test_open_beyond_the_bound_opens_the_narrowest_gap_and_no_other(void **state)
{
    open_all_pieces();
    open_granule(LAST + 100);
    assert_int_equal(guard.n_pieces, GUARD_PIECES_MAX);
    for (uint32_t granule = LAST - 4; granule <= LAST; granule++) {
        assert_true(can_touch(granule));
    }
    assert_true(can_touch(LAST + 100));
    for (uint32_t granule = 0; granule < LAST - 4; granule++) {
        assert_int_equal(can_touch(granule), granule % 5 == 1);
    }
    assert_false(can_touch(LAST + 1));
    assert_false(can_touch(LAST + 99));
}

static void test_open_beside_a_piece_gives_nothing_up(void **state)
{
    open_all_pieces();
    open_granule(LAST + 1);
    open_granule(2);
    assert_false(can_touch(LAST - 1));
    assert_false(can_touch(0));
    assert_false(can_touch(3));
}

static void test_sweep_closes_a_gap_again_when_a_piece_has_gone(void **state)
{
    for (uint32_t i = 0; i <= GUARD_PIECES_MAX; i++) {
        (void)lease_page(3 * i + 1);
    }
    sweep_all();
    assert_true(can_touch(2)); /* the first gap of many that are equal, and there is no room */
    revoke_page(3 * 10 + 1);
    sweep_all(); /* closes the page */
    sweep_all(); /* and the gap before it */
    assert_false(can_touch(3 * 10 + 1));
    assert_false(can_touch(2));
    assert_true(can_touch(1));
    assert_true(can_touch(4));
    assert_int_equal(guard.n_pieces, GUARD_PIECES_MAX);
}

/* --------------------------------------------------------------------- no mapping is left ----- */

static void test_open_that_the_kernel_refuses_opens_everything(void **state)
{
    open_granule(1);
    fail_nth("mprotect", 1, ENOMEM);
    open_granule(5);
    assert_true(fail_end());
    assert_int_equal(count_mappings(), 1);
    assert_true(can_touch(5));
    assert_true(can_touch(guard.n_granules - 1));
    assert_int_equal(guard.max_pieces, GUARD_PIECES_MAX / 2);
}

static void test_sweep_that_the_kernel_refuses_opens_everything_and_ends(void **state)
{
    open_granule(1);
    open_granule(3);
    fail_nth("mprotect", 1, ENOMEM);
    n_calls = 0;
    kmem__guard_sweep(&guard, states);
    assert_true(fail_end());
    assert_int_equal(n_calls, 2);
    assert_true(kmem__guard_check(&guard));
    assert_int_equal(count_mappings(), 1);
    assert_true(can_touch(2));
}

static void test_guard_that_has_given_way_closes_less(void **state)
{
    for (uint32_t page = 1; page < N_SCATTERED; page += 2) {
        fail_nth("mprotect", 1, ENOMEM);
        (void)lease_page(page);
        (void)fail_end();
    }
    assert_int_equal(guard.max_pieces, 1);
    sweep_all();
    sweep_all();
    assert_int_equal(guard.n_pieces, 1);
    assert_false(can_touch(0));
    assert_true(can_touch(1));
    assert_true(can_touch(2));
}

/* -------------------------------------------------------------------------------- threads ----- */

#define N_THREADS 4
#define N_TURNS 1000

static pthread_mutex_t connection = PTHREAD_MUTEX_INITIALIZER;

/* Leases pages of its own, far from one another, writes to each and loses it again. */
static void *lease_touch_and_lose(void *of_first_page)
{
    const uint32_t first = *(const uint32_t *)of_first_page;
    for (uint32_t i = 0; i < N_TURNS; i++) {
        const uint32_t page = first + i * 2 * N_THREADS;
        (void)pthread_mutex_lock(&connection);
        kmem__guard_sweep(&guard, states);
        lease_grant(states, page, 1, false);
        (void)pthread_mutex_unlock(&connection);
        kmem__guard_open(&guard, kmem__page_offset(page), PAGE_BYTES);
        *(volatile unsigned char *)(base + page * PAGE_BYTES) = 1;
        if (i % 8 != 0) {
            (void)pthread_mutex_lock(&connection);
            revoke_page(page);
            (void)pthread_mutex_unlock(&connection);
        }
    }
    return NULL;
}

static void test_threads_touch_what_they_lease_while_others_sweep(void **state)
{
    pthread_t threads[N_THREADS];
    uint32_t first_pages[N_THREADS];
    for (uint32_t i = 0; i < N_THREADS; i++) {
        first_pages[i] = 1 + 2 * i;
        assert_int_equal(pthread_create(&threads[i], NULL, lease_touch_and_lose, &first_pages[i]),
                         0);
    }
    for (uint32_t i = 0; i < N_THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_true(kmem__guard_check(&guard));
    for (uint32_t i = 0; i < N_TURNS; i += 8) {
        assert_true(can_touch(1 + i * 2 * N_THREADS));
    }
}

/* --------------------------------------------------------------------------- forked child ----- */

static void test_keep_frees_a_lock_that_a_thread_of_the_parent_had(void **state)
{
    open_granule(1);
    open_granule(3);
    (void)pthread_mutex_lock(&guard.lock);
    guard.n_pieces = 77; /* in the middle of a change */
    kmem__guard_keep(&guard);
    assert_true(kmem__guard_check(&guard));
    open_granule(5);
    kmem__guard_sweep(&guard, states);
    assert_true(can_touch(3));
    assert_false(can_touch(5));
    assert_true(kmem__guard_check(&guard));
}

static void test_init_without_memory_fails_cleanly(void **state)
{
    for (unsigned nth = 1; fail_again("memory", nth, ENOMEM); nth++) {
        struct guard another = {.base = NULL};
        const int r = kmem__guard_init(&another, base, num_bytes, granule_bytes, false);
        assert_int_equal(r, fail_end() ? -ENOMEM : 0);
        assert_int_equal(another.open == NULL, r != 0);
        kmem__guard_fini(&another);
    }
}

int main(void)
{
#define PAGES(name) cmocka_unit_test_setup_teardown(name, begin_pages, end)
#define GRANULES(name) cmocka_unit_test_setup_teardown(name, begin_huge, end)
    const struct CMUnitTest tests[] = {
        PAGES(test_open_of_scattered_granules_takes_two_calls_and_bounded_mappings),
        GRANULES(test_open_of_scattered_granules_takes_two_calls_and_bounded_mappings),
        PAGES(test_direct_blocks_one_by_one_take_bounded_mappings),
        GRANULES(test_direct_blocks_one_by_one_take_bounded_mappings),
        PAGES(test_leases_of_scattered_pages_take_bounded_calls),
        PAGES(test_leases_and_revocations_at_random_take_calls_in_proportion),
        PAGES(test_sweep_closes_a_bounded_number_and_goes_on),
        PAGES(test_sweep_looks_at_a_bounded_number_and_goes_on),
        PAGES(test_open_beyond_the_bound_opens_the_narrowest_gap_and_no_other),
        GRANULES(test_open_beyond_the_bound_opens_the_narrowest_gap_and_no_other),
        PAGES(test_open_beside_a_piece_gives_nothing_up),
        PAGES(test_sweep_closes_a_gap_again_when_a_piece_has_gone),
        PAGES(test_open_that_the_kernel_refuses_opens_everything),
        GRANULES(test_open_that_the_kernel_refuses_opens_everything),
        PAGES(test_sweep_that_the_kernel_refuses_opens_everything_and_ends),
        PAGES(test_guard_that_has_given_way_closes_less),
        PAGES(test_init_without_memory_fails_cleanly),
        PAGES(test_threads_touch_what_they_lease_while_others_sweep),
        PAGES(test_keep_frees_a_lock_that_a_thread_of_the_parent_had),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

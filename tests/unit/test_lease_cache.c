/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "client/heap/lease_cache.h"
#include "proto/lease.h"
#include "tests/unit/fake_lender.h"
#include "tests/unit/unit.h"

static struct fake_lender *lender;
static struct lease_cache *cache;
static struct recent kept; /* the thread's */

static int set_up(void **state)
{
    lender = fake_lender_new(4096);
    cache = &lender->allocator->cache;
    kept = (struct recent){0};
    return 0;
}

static int tear_down(void **state)
{
    fake_lender_free(lender);
    return 0;
}

static struct taken take(uint32_t n_pages)
{
    struct taken taken = {.page = 0};
    assert_int_equal(kmem__lease_cache_take(cache, n_pages, &taken), 0);
    return taken;
}

static void test_take_leases_16_pages_then_twice_as_many(void **state)
{
    (void)take(1);
    assert_int_equal(lender->n_granted, 16);
    (void)take(15);
    assert_int_equal(lender->n_asked, 1);
    (void)take(1);
    assert_int_equal(lender->n_asked, 2);
    assert_int_equal(lender->n_granted, 16 + 32);
}

/* Takes pages one by one until a lease has been asked for. Return: how many pages it has. */
static uint32_t next_lease(void)
{
    const uint32_t n_asked = lender->n_asked;
    const uint32_t n_granted = lender->n_granted;
    while (lender->n_asked == n_asked) {
        (void)take(1);
    }
    return lender->n_granted - n_granted;
}

/* What is not used before the daemon gives it back was too much. */
static void test_take_leases_half_as_many_when_the_last_lease_has_lasted(void **state)
{
    assert_int_equal(next_lease(), 16);
    assert_int_equal(next_lease(), 32);
    atomic_store(&lender->clock[0], 4);
    assert_int_equal(next_lease(), 64);
    atomic_store(&lender->clock[0], 9);
    assert_int_equal(next_lease(), 128);
    assert_int_equal(next_lease(), 64);
    for (uint32_t tick = 19; tick < 60; tick += 10) {
        atomic_store(&lender->clock[0], tick);
        (void)next_lease();
    }
    atomic_store(&lender->clock[0], 69);
    assert_int_equal(next_lease(), 16);
    assert_int_equal(next_lease(), 16);
    assert_int_equal(next_lease(), 32);
}

static void test_take_leases_no_more_than_a_sixteenth_of_what_the_segment_has(void **state)
{
    atomic_store(&lender->clock[CLOCK_PAGES], 1024);
    uint32_t most = 0;
    for (uint32_t n = 0; n < 8; n++) {
        const uint32_t n_pages = next_lease();
        most = n_pages > most ? n_pages : most;
    }
    assert_int_equal(most, 64);
}

/* Whatever the segment has: the system may have to clear it while the caller waits. */
static void test_take_leases_no_more_than_64_mib_unasked(void **state)
{
    fake_lender_free(lender);
    lender = fake_lender_new(1 << 17);
    cache = &lender->allocator->cache;
    uint32_t most = 0;
    for (uint32_t n = 0; n < 14; n++) {
        const uint32_t n_pages = next_lease();
        most = n_pages > most ? n_pages : most;
    }
    assert_int_equal(most, 4096);
}

static void test_take_more_than_the_next_lease_leases_what_is_needed(void **state)
{
    (void)take(100);
    assert_int_equal(lender->n_granted, 100);
}

static void test_take_knows_zero_pages_until_they_are_used(void **state)
{
    const struct taken first = take(4);
    assert_true(first.is_zero);
    kmem__lease_cache_give(cache, first.page, 4, 0);
    const struct taken again = take(4);
    assert_int_equal(again.page, first.page);
    assert_false(again.is_zero);
    assert_true(again.is_warm);
}

static void test_take_prefers_the_run_that_was_given_last(void **state)
{
    const struct taken a = take(3);
    const struct taken b = take(3);
    kmem__lease_cache_give(cache, a.page, 3, 0);
    kmem__lease_cache_give(cache, b.page, 3, 0);
    assert_int_equal(take(3).page, b.page);
    assert_int_equal(take(3).page, a.page);
}

static void test_take_joins_runs_that_lie_together(void **state)
{
    struct taken taken[16];
    for (int i = 0; i < 16; i++) {
        taken[i] = take(1);
    }
    for (int i = 0; i < 16; i++) {
        kmem__lease_cache_give(cache, taken[i].page, 1, 0);
    }
    (void)take(16);
    assert_int_equal(lender->n_asked, 1);
}

static void test_take_asks_again_when_pages_were_revoked(void **state)
{
    const struct taken taken = take(8);
    kmem__lease_cache_give(cache, taken.page, 8, 0);
    assert_int_equal(fake_lender_revoke(lender, 4096), 16);
    (void)take(8);
    assert_int_equal(lender->n_asked, 2);
    assert_true(kmem__lease_cache_check(cache));
}

static void test_take_pauses_longer_after_each_refusal(void **state)
{
    struct taken taken;
    lender->is_refusing = true;
    uint32_t n_asked = 0;
    for (uint32_t tick = 0; tick < 1000; tick++) {
        atomic_store(&lender->clock[0], tick);
        for (int i = 0; i < 10; i++) {
            assert_int_equal(kmem__lease_cache_take(cache, 1, &taken), CACHE_E_NONE);
        }
    }
    n_asked = lender->n_asked;
    assert_in_range(n_asked, 7, 24); /* 1, 2, 4 ... 64 ticks, then every 64 */
    lender->is_refusing = false;
    atomic_store(&lender->clock[0], 2000);
    (void)take(1);
    assert_int_equal(lender->n_asked, n_asked + 1);
}

static void test_take_of_more_than_a_lease_can_have_asks_nobody(void **state)
{
    struct taken taken;

    assert_int_equal(kmem__lease_cache_take(cache, LEASE_MAX_PAGES + 1, &taken), CACHE_E_NONE);

    assert_int_equal(lender->n_asked, 0);
}

static void test_take_asks_for_less_than_was_refused_at_once(void **state)
{
    struct taken taken;
    lender->is_refusing = true;
    assert_int_equal(kmem__lease_cache_take(cache, 100, &taken), CACHE_E_NONE);
    assert_int_equal(kmem__lease_cache_take(cache, 100, &taken), CACHE_E_NONE);
    assert_int_equal(lender->n_asked, 1); /* not that again */
    assert_int_equal(kmem__lease_cache_take(cache, 10, &taken), CACHE_E_NONE);
    assert_int_equal(kmem__lease_cache_take(cache, 10, &taken), CACHE_E_NONE);
    assert_int_equal(kmem__lease_cache_take(cache, 50, &taken), CACHE_E_NONE);
    assert_int_equal(lender->n_asked, 2);
    lender->is_refusing = false;
    (void)take(9);
    assert_int_equal(lender->n_asked, 3);
    (void)take(100); /* there is some again */
    assert_int_equal(lender->n_asked, 4);
}

/* Two pages that are left over are too short for runs of three: these are not looked for there. */
static void test_take_finds_each_length_where_it_may_be(void **state)
{
    const struct taken hole = take(2);
    const struct taken behind = take(1);
    kmem__lease_cache_give(cache, hole.page, 1, 0);
    kmem__lease_cache_give(cache, hole.page + 1, 1, 0); /* singly: it is no run of two lately */
    struct taken last = take(3);
    for (uint32_t n = 0; n < 200; n++) {
        last = take(3);
    }
    assert_true(last.page >= behind.page + 600);
    assert_int_equal(cache->n_extents, 1);
    assert_int_equal(cache->extents[0].first[3], last.page + 3);
    assert_int_equal(take(2).page, hole.page);
    assert_true(take(2).page > behind.page);

    kmem__lease_cache_give(cache, behind.page, 1, 0);
    kmem__lease_cache_give(cache, hole.page, 1, 0);
    kmem__lease_cache_give(cache, hole.page + 1, 1, 0); /* the last of three in a row */
    assert_int_equal(take(3).page, hole.page);
}

static struct taken take_kept(uint32_t n_pages)
{
    struct taken taken = {.page = 0};
    assert_int_equal(kmem__lease_cache_take_kept(cache, &kept, n_pages, &taken), 0);
    return taken;
}

static void keep(struct taken taken, uint32_t n_pages)
{
    kmem__lease_cache_keep(cache, &kept, taken.page, n_pages, n_pages);
}

/* As the thread would: another one holds the lock, and this one goes on. */
static void test_run_that_a_thread_keeps_is_its_next_without_the_lock(void **state)
{
    const struct taken first = take_kept(20);
    const struct taken second = take_kept(20);
    assert_int_equal(pthread_mutex_lock(&cache->lock), 0);
    keep(first, 20);
    keep(second, 20);
    const struct taken again = take_kept(20);
    assert_int_equal(again.page, second.page);
    assert_true(again.is_warm);
    assert_int_equal(again.n_own, 20);
    assert_int_equal(take_kept(20).page, first.page);
    assert_int_equal(pthread_mutex_unlock(&cache->lock), 0);
    assert_int_equal(kept.n_runs, 0);
    assert_int_equal(kept.n_untold, 0);
}

static void test_run_that_a_thread_keeps_is_revoked_like_any_other(void **state)
{
    keep(take_kept(20), 20);
    assert_int_equal(fake_lender_count_used(lender), 0);
    assert_int_equal(fake_lender_revoke(lender, 4096), 20);
    const uint32_t n_asked = lender->n_asked;
    (void)take_kept(20);
    assert_int_equal(lender->n_asked, n_asked + 1);
}

/* First fit goes by all that the thread has given back. */
static void test_kept_runs_are_found_as_one_by_the_thread(void **state)
{
    const struct taken first = take_kept(20);
    const struct taken second = take_kept(20);
    assert_int_equal(second.page, first.page + 20);
    keep(first, 20);
    keep(second, 20);
    assert_int_equal(take_kept(40).page, first.page);
}

/* A thread that finds no others takes them, before it asks for a lease. */
static void test_kept_run_is_found_by_a_search_that_fails(void **state)
{
    const struct taken first = take_kept(64);
    keep(first, 64);
    const uint32_t n_asked = lender->n_asked;
    assert_int_equal(take(50).page, first.page);
    assert_int_equal(take(14).page, first.page + 50);
    assert_int_equal(lender->n_asked, n_asked);
    assert_int_not_equal(take_kept(64).page, first.page); /* what it kept in mind is gone */
}

static void test_all_kept_runs_are_told_of(void **state)
{
    struct taken taken[3 * RECENT_MAX];
    for (uint32_t i = 0; i < 3 * RECENT_MAX; i++) {
        taken[i] = take_kept(17);
    }
    for (uint32_t i = 0; i < 3 * RECENT_MAX; i++) {
        keep(taken[i], 17);
    }
    assert_int_equal(kept.n_runs, RECENT_MAX);
    kmem__lease_cache_tell(cache, &kept);
    assert_int_equal(kept.n_runs, 0);
    assert_true(kmem__lease_cache_check(cache));
    const uint32_t n_asked = lender->n_asked;
    atomic_store(&cache->has_untold, false);
    for (uint32_t i = 0; i < 3 * RECENT_MAX; i++) {
        (void)take(17);
    }
    assert_int_equal(lender->n_asked, n_asked);
}

/* Random takes, gives and revocations: no page is in two runs, none that is taken is revoked. */
static void test_lease_cache_against_a_naive_model(void **state)
{
    static uint32_t owner[4096];
    static struct run runs[256];
    uint64_t seed = 20261122;
    print_message("seed %llu\n", (unsigned long long)seed);
    for (uint32_t step = 1; step <= 200000; step++) {
        seed = seed * UINT64_C(6364136223846793005) + 1;
        const uint32_t random = (uint32_t)(seed >> 33);
        struct run *run = &runs[random % 256];
        struct taken taken;
        if (run->n_pages != 0) {
            for (uint32_t i = 0; i < run->n_pages; i++) {
                assert_int_equal(owner[run->page + i], run - runs + 1);
                owner[run->page + i] = 0;
            }
            if (random >> 30 == 0) {
                kmem__lease_cache_give(cache, run->page, run->n_pages, 0);
            } else {
                kmem__lease_cache_keep(cache, &kept, run->page, run->n_pages, 0);
            }
            run->n_pages = 0;
        } else {
            const uint32_t n_pages = 1 + (random >> 8) % ((random >> 24) % 4 == 0 ? 64 : 4);
            const int r = random >> 31 == 0
                              ? kmem__lease_cache_take(cache, n_pages, &taken)
                              : kmem__lease_cache_take_kept(cache, &kept, n_pages, &taken);
            if (r != 0) {
                atomic_fetch_add(&lender->clock[0], 1);
                continue;
            }
            *run = (struct run){taken.page, n_pages};
            for (uint32_t i = 0; i < n_pages; i++) {
                assert_int_equal(owner[taken.page + i], 0);
                assert_true(lender->is_granted[taken.page + i]);
                owner[taken.page + i] = (uint32_t)(run - runs + 1);
            }
        }
        if (step % 64 == 0) {
            (void)fake_lender_revoke(lender, (random >> 10) % 512);
            assert_true(kmem__lease_cache_check(cache));
        }
    }
    uint32_t n_used = 0;
    for (uint32_t page = 0; page < 4096; page++) {
        n_used += owner[page] != 0;
    }
    assert_int_equal(fake_lender_count_used(lender), n_used);
}

/* What it has given back was placed when there was plenty: the next block is not to lie there. */
static void test_short_memory_is_short_whatever_was_given_back(void **state)
{
    const struct taken taken = take(100);
    atomic_store(&lender->clock[CLOCK_SPARE], CLOCK_SPARE_NONE);
    assert_true(kmem__lease_cache_is_short(cache, 1));
    kmem__lease_cache_give(cache, taken.page, 100, 0);
    assert_true(kmem__lease_cache_is_short(cache, 1));
}

static void test_memory_is_short_when_what_there_was_to_spare_is_used(void **state)
{
    atomic_store(&lender->clock[CLOCK_SPARE], CLOCK_SPARE_NONE + 10);
    assert_false(kmem__lease_cache_is_short(cache, 10));
    assert_true(kmem__lease_cache_is_short(cache, 11));
    (void)take(4);
    assert_false(kmem__lease_cache_is_short(cache, 6));
    assert_true(kmem__lease_cache_is_short(cache, 7));
    /* The daemon has seen the four pages, and says so. */
    atomic_store(&lender->clock[CLOCK_SPARE], CLOCK_SPARE_NONE + 6);
    assert_false(kmem__lease_cache_is_short(cache, 6));
    assert_true(kmem__lease_cache_is_short(cache, 7));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_take_leases_16_pages_then_twice_as_many),
        TEST(test_take_leases_half_as_many_when_the_last_lease_has_lasted),
        TEST(test_take_leases_no_more_than_a_sixteenth_of_what_the_segment_has),
        TEST(test_take_leases_no_more_than_64_mib_unasked),
        TEST(test_take_more_than_the_next_lease_leases_what_is_needed),
        TEST(test_take_knows_zero_pages_until_they_are_used),
        TEST(test_take_prefers_the_run_that_was_given_last),
        TEST(test_take_finds_each_length_where_it_may_be),
        TEST(test_take_joins_runs_that_lie_together),
        TEST(test_take_asks_again_when_pages_were_revoked),
        TEST(test_take_pauses_longer_after_each_refusal),
        TEST(test_take_of_more_than_a_lease_can_have_asks_nobody),
        TEST(test_take_asks_for_less_than_was_refused_at_once),
        TEST(test_short_memory_is_short_whatever_was_given_back),
        TEST(test_memory_is_short_when_what_there_was_to_spare_is_used),
        TEST(test_run_that_a_thread_keeps_is_its_next_without_the_lock),
        TEST(test_run_that_a_thread_keeps_is_revoked_like_any_other),
        TEST(test_kept_runs_are_found_as_one_by_the_thread),
        TEST(test_kept_run_is_found_by_a_search_that_fails),
        TEST(test_all_kept_runs_are_told_of),
        TEST(test_lease_cache_against_a_naive_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

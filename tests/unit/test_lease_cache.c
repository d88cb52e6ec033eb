/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "client/heap/lease_cache.h"
#include "proto/lease.h"
#include "tests/unit/fake_lender.h"
#include "tests/unit/unit.h"

static struct fake_lender *lender;
static struct lease_cache *cache;

static int set_up(void **state)
{
    lender = fake_lender_new(4096);
    cache = &lender->allocator->cache;
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
            kmem__lease_cache_give(cache, run->page, run->n_pages, 0);
            run->n_pages = 0;
        } else {
            const uint32_t n_pages = 1 + (random >> 8) % ((random >> 24) % 4 == 0 ? 64 : 4);
            if (kmem__lease_cache_take(cache, n_pages, &taken) != 0) {
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
        TEST(test_take_more_than_the_next_lease_leases_what_is_needed),
        TEST(test_take_knows_zero_pages_until_they_are_used),
        TEST(test_take_prefers_the_run_that_was_given_last),
        TEST(test_take_joins_runs_that_lie_together),
        TEST(test_take_asks_again_when_pages_were_revoked),
        TEST(test_take_pauses_longer_after_each_refusal),
        TEST(test_take_of_more_than_a_lease_can_have_asks_nobody),
        TEST(test_take_asks_for_less_than_was_refused_at_once),
        TEST(test_short_memory_is_short_whatever_was_given_back),
        TEST(test_memory_is_short_when_what_there_was_to_spare_is_used),
        TEST(test_lease_cache_against_a_naive_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

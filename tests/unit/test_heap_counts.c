/* SPDX-License-Identifier: MIT */
/*
 * test_heap_counts.c - what a process counts of its leased blocks: proto/counts.h
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/heap_fixture.h"
#include "tests/unit/unit.h"

/* Two bins: the last blocks that went out may not have been seen. */
#define UNSEEN_MAX MAGAZINE_MAX

static struct ledger_counts *counts;

static int set_up_counts(void **state)
{
    (void)set_up(state);
    counts = allocator->ledger.counts;
    return 0;
}

static void *allocate(size_t num_bytes)
{
    void *block = allocate_hot(num_bytes, "counted");
    assert_non_null(block);
    return block;
}

static void release(void *block)
{
    assert_int_equal(release_hot(block), HEAP_OK);
}

/* As the server adds them up. */
static uint64_t n_releases(void)
{
    uint64_t sum = atomic_load(&counts->n_releases);
    for (uint32_t i = 0; i < COUNTS_THREADS; i++) {
        sum += counts->threads[i].n_releases;
    }
    return sum;
}

static void test_every_release_is_counted_once(void **state)
{
    static void *blocks[1000];
    for (uint32_t i = 0; i < 100000; i++) {
        release(allocate(64));
    }
    assert_int_equal(n_releases(), 100000);
    for (uint32_t i = 0; i < 1000; i++) {
        blocks[i] = allocate(i < 990 ? 1 + i * 97 % 3000 : i * 100);
    }
    assert_int_equal(n_releases(), 100000);
    for (uint32_t i = 0; i < 1000; i++) {
        release(blocks[i]);
    }
    assert_int_equal(n_releases(), 101000);
    assert_true(kmem__heap_check(allocator));
}

/* The histogram of a reason, by its text; all zero: there is none. */
static uint64_t noted(const char *reason, uint32_t range)
{
    const struct ledger *ledger = &allocator->ledger;
    for (uint32_t i = 0; i < LIFETIMES_MAX && ledger->lifetimes[i].reason != 0; i++) {
        const struct ledger_reason *is = &ledger->reasons[ledger->lifetimes[i].reason - 1];
        if (is->n_bytes == strlen(reason) && memcmp(is->bytes, reason, is->n_bytes) == 0) {
            return ledger->lifetimes[i].n[range];
        }
    }
    return 0;
}

static void test_lifetimes_stand_for_all_releases(void **state)
{
    for (uint32_t i = 0; i < 100000; i++) {
        release(allocate(64));
    }
    assert_in_range(noted("counted", 0), 100000 - 2 * LIFETIMES_SAMPLED, 100000);
    assert_int_equal(noted("counted", 1), 0);
}

/* Two in turns, one of which has a detail of its own each time: each is noted half of the time. */
static void test_lifetimes_of_reasons_that_are_released_in_turns(void **state)
{
    char detailed[32];
    for (uint32_t i = 0; i < 100000; i++) {
        (void)snprintf(detailed, sizeof(detailed), "detailed#%u", i % 1000);
        void *one = allocate_hot(64, detailed);
        void *other = allocate_hot(64, "other");
        release(one);
        release(other);
    }
    assert_in_range(noted("detailed", 0), 60000, 140000);
    assert_in_range(noted("other", 0), 60000, 140000);
}

static void test_a_release_that_is_refused_is_not_counted(void **state)
{
    struct found found;
    unsigned char *block = allocate(100);
    const struct seg_off off = {(uint64_t)(block - allocator->base)};
    assert_int_equal(kmem__heap_release(allocator, (struct seg_off){off.bytes + 1}, &found),
                     HEAP_E_INTERIOR);
    assert_int_equal(n_releases(), 0);
    release(block);
    assert_int_equal(kmem__heap_release(allocator, off, &found), HEAP_E_RELEASED);
    assert_int_equal(n_releases(), 1);
}

static void *release_from_here(void *block)
{
    release(block); /* this thread has no heap */
    return NULL;
}

static void *allocate_and_release(void *unused)
{
    (void)unused;
    for (uint32_t i = 0; i < 1000; i++) {
        release(allocate(100));
    }
    return NULL;
}

static void run_thread(void *(*run)(void *argument), void *argument)
{
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, run, argument), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
}

static void test_releases_of_every_thread_are_counted(void **state)
{
    void *small = allocate(100);
    void *large = allocate(100000);
    run_thread(release_from_here, small);
    run_thread(release_from_here, large);
    assert_int_equal(n_releases(), 2);
    for (uint32_t i = 0; i < 3; i++) {
        run_thread(allocate_and_release, NULL); /* the heap of the one before it */
    }
    assert_int_equal(n_releases(), 3002);
}

/* More threads at a time than there are places. */
static void *hold_then_release(void *of_barrier)
{
    pthread_barrier_t *barrier = of_barrier;
    void *block = allocate(100);
    (void)pthread_barrier_wait(barrier);
    release(block);
    return NULL;
}

#define MANY_THREADS (COUNTS_THREADS + 10)

static void test_threads_without_a_place_are_counted_when_they_end(void **state)
{
    static pthread_t threads[MANY_THREADS];
    pthread_barrier_t barrier;
    void *hot = allocate(100);
    assert_int_equal(pthread_barrier_init(&barrier, NULL, MANY_THREADS), 0);
    for (uint32_t i = 0; i < MANY_THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, hold_then_release, &barrier), 0);
    }
    for (uint32_t i = 0; i < MANY_THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    (void)pthread_barrier_destroy(&barrier);
    assert_int_equal(n_releases(), MANY_THREADS);
    release(hot);
    assert_true(kmem__heap_check(allocator));
}

static uint64_t live_bytes(void)
{
    return atomic_load(&counts->live_bytes);
}

static uint64_t peak_bytes(void)
{
    return atomic_load(&counts->peak_bytes);
}

static void test_peak_of_one_block_again_and_again_is_one_block(void **state)
{
    for (uint32_t i = 0; i < 100000; i++) {
        release(allocate(100));
    }
    assert_true(peak_bytes() <= 100);
}

/* Blocks of two sizes in one class, which is 448 bytes: how large they are is not rounded. */
static void test_peak_is_what_was_asked_for_but_for_the_last_blocks(void **state)
{
    static void *blocks[2000];
    const uint64_t all_bytes = UINT64_C(1000) * 400 + UINT64_C(1000) * 440;
    for (uint32_t i = 0; i < 2000; i++) {
        blocks[i] = allocate(i < 1000 ? 400 : 440);
    }
    assert_in_range(live_bytes(), all_bytes - UNSEEN_MAX * UINT64_C(440), all_bytes);
    assert_in_range(peak_bytes(), all_bytes - UNSEEN_MAX * UINT64_C(440), all_bytes);
    const uint64_t peak = peak_bytes();
    for (uint32_t i = 0; i < 2000; i++) {
        release(blocks[i]);
    }
    assert_int_equal(peak_bytes(), peak);
    kmem__heap_flush(allocator);
    assert_int_equal(live_bytes(), 0);
}

static void test_peak_of_large_blocks_is_exact(void **state)
{
    void *first = allocate(100000);
    void *second = allocate(200001);
    assert_int_equal(live_bytes(), 300001);
    release(first);
    assert_int_equal(live_bytes(), 200001);
    release(second);
    assert_int_equal(live_bytes(), 0);
    assert_int_equal(peak_bytes(), 300001);
}

static void *keep_a_thousand(void *of_blocks)
{
    void **blocks = of_blocks;
    for (uint32_t i = 0; i < 1000; i++) {
        blocks[i] = allocate(100);
    }
    return NULL;
}

/* What a thread leaves behind stays live, also when another one adopts it. */
static void test_live_bytes_of_an_ended_thread_are_kept(void **state)
{
    static void *blocks[1000];
    run_thread(keep_a_thousand, blocks);
    assert_int_equal(live_bytes(), 100000);
    for (uint32_t i = 0; i < 1000; i++) {
        release(blocks[i]);
    }
    release(allocate(100));
    kmem__heap_flush(allocator);
    assert_int_equal(live_bytes(), 0);
    assert_true(kmem__heap_check(allocator));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up_counts, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_every_release_is_counted_once),
        TEST(test_lifetimes_stand_for_all_releases),
        TEST(test_lifetimes_of_reasons_that_are_released_in_turns),
        TEST(test_a_release_that_is_refused_is_not_counted),
        TEST(test_releases_of_every_thread_are_counted),
        TEST(test_threads_without_a_place_are_counted_when_they_end),
        TEST(test_peak_of_one_block_again_and_again_is_one_block),
        TEST(test_peak_is_what_was_asked_for_but_for_the_last_blocks),
        TEST(test_peak_of_large_blocks_is_exact),
        TEST(test_live_bytes_of_an_ended_thread_are_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * test_heap_idle.c - what a thread finds when its idle slabs were taken
 *
 * One thread at a time works; the daemon that takes is the lender's. Threads that work while slabs
 * are taken from them are in test_heap.c.
 */
#include <pthread.h>

#include "proto/lease.h"
#include "tests/unit/heap_fixture.h"
#include "tests/unit/unit.h"

#define N_BLOCKS 3000

static void *handed[N_BLOCKS];

static unsigned char *allocate(size_t num_bytes)
{
    void *block = allocate_hot(num_bytes, "idle");
    KMEM_ASSERT(block != NULL);
    return block;
}

static void *allocate_blocks(void *unused)
{
    (void)unused;
    for (size_t i = 0; i < N_BLOCKS; i++) {
        handed[i] = allocate(48 + i % 500);
    }
    return NULL;
}

static void *release_blocks(void *unused)
{
    (void)unused;
    for (size_t i = 0; i < N_BLOCKS; i++) {
        KMEM_ASSERT(release_hot(handed[i]) == HEAP_OK);
    }
    return NULL;
}

static void run_thread(void *(*body)(void *))
{
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, body, NULL), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
}

static void assert_nothing_left(void)
{
    assert_true(kmem__heap_check(allocator));
    kmem__heap_flush(allocator);
    assert_int_equal(fake_lender_count_used(lender), 0);
    assert_int_equal(fake_lender_count_live(lender), 0);
    assert_false(lease_has_stale(lender->ledger.states, 1, lender->n_pages - 1));
}

/* What a thread keeps ready, or another has released, is had while the thread sleeps. */
static void test_idle_slab_is_taken_from_a_thread_that_sleeps(void **state)
{
    void *mine = allocate(100);
    assert_int_equal(release_hot(mine), HEAP_OK);
    (void)allocate_blocks(NULL);
    run_thread(release_blocks);
    assert_true(fake_lender_count_used(lender) > 1);
    (void)fake_lender_seize(lender);
    assert_int_equal(fake_lender_count_used(lender), 0);
    /* The thread wakes up: it forgets what it had, and gets memory that is its own. */
    const uint32_t n_refused = lender->n_asked;
    unsigned char *block = allocate(100);
    assert_non_null(block);
    assert_true(lender->n_asked >= n_refused);
    assert_int_equal(block[0], 0);
    assert_true(kmem__heap_check(allocator));
    (void)allocate_blocks(NULL);
    (void)release_blocks(NULL);
    assert_int_equal(release_hot(block), HEAP_OK);
    assert_nothing_left();
}

static void test_slab_with_a_live_block_is_not_taken(void **state)
{
    unsigned char *block = allocate(100);
    block[99] = 42;
    (void)fake_lender_seize(lender);
    assert_int_equal(block[99], 42);
    assert_int_equal(release_hot(block), HEAP_OK);
    assert_true(fake_lender_seize(lender) > 0);
    kmem__heap_flush(allocator);
    assert_nothing_left();
}

/* The slabs of a thread that has ended are taken; who has its heap next, or adopts, finds out. */
static void test_slabs_of_a_thread_that_has_ended_are_taken(void **state)
{
    assert_int_equal(release_hot(allocate(16)), HEAP_OK); /* this thread has a heap of its own */
    run_thread(allocate_blocks);
    (void)release_blocks(NULL);
    assert_true(fake_lender_seize(lender) > 0);
    assert_int_equal(fake_lender_count_used(lender), 0);
    run_thread(allocate_blocks);
    assert_int_equal(fake_lender_count_live(lender), N_BLOCKS);
    (void)release_blocks(NULL);
    (void)allocate_blocks(NULL);
    (void)release_blocks(NULL);
    assert_int_equal(fake_lender_count_live(lender), 0);
    assert_true(kmem__heap_check(allocator));
}

/* One thread's lost slabs make the others look, who keep theirs; and all are silent afterwards. */
static void test_others_keep_their_slabs_while_one_has_lost_some(void **state)
{
    unsigned char *block = allocate(100);
    block[0] = 1;
    run_thread(allocate_blocks);
    (void)release_blocks(NULL);
    assert_true(fake_lender_seize(lender) > 0);
    assert_true(lease_is_announced(lender->ledger.asked));
    unsigned char *more[20];
    for (size_t i = 0; i < 20; i++) {
        more[i] = allocate(100);
        assert_int_equal(more[i][0], 0);
        more[i][0] = 2;
    }
    assert_int_equal(block[0], 1);
    for (size_t i = 0; i < 20; i++) {
        assert_int_equal(release_hot(more[i]), HEAP_OK);
    }
    assert_int_equal(release_hot(block), HEAP_OK);
    assert_true(kmem__heap_check(allocator));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_idle_slab_is_taken_from_a_thread_that_sleeps),
        TEST(test_slab_with_a_live_block_is_not_taken),
        TEST(test_slabs_of_a_thread_that_has_ended_are_taken),
        TEST(test_others_keep_their_slabs_while_one_has_lost_some),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

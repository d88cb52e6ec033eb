/* SPDX-License-Identifier: MIT */
/*
 * test_heap_remote.c - what becomes of a block that another thread releases
 *
 * Two threads, one of which allocates and the other releases, and each waits while the other one
 * works: so it is known where every block is. Threads that do not wait: test_heap_ring.c.
 */
#include <pthread.h>
#include <sched.h>
#include <string.h>

#include "client/heap/remote.h"
#include "client/heap/shared.h"
#include "proto/lease.h"
#include "tests/unit/heap_fixture.h"
#include "tests/unit/unit.h"

#define N_BLOCKS 3000
#define NUM_BYTES 100

static unsigned char *handed[N_BLOCKS];

/* The other thread: it does what it is told, and has a heap until it is told to end. */
static struct {
    pthread_t thread;
    pthread_barrier_t turn;
    void (*task)(void);
} other;

static void *do_tasks(void *unused)
{
    (void)unused;
    for (;;) {
        (void)pthread_barrier_wait(&other.turn);
        if (other.task == NULL) {
            return NULL;
        }
        other.task();
        (void)pthread_barrier_wait(&other.turn);
    }
}

static void tell_other(void (*task)(void))
{
    other.task = task;
    (void)pthread_barrier_wait(&other.turn);
    (void)pthread_barrier_wait(&other.turn);
}

static void start_other(void)
{
    assert_int_equal(pthread_barrier_init(&other.turn, NULL, 2), 0);
    assert_int_equal(pthread_create(&other.thread, NULL, do_tasks, NULL), 0);
}

static void end_other(void)
{
    other.task = NULL;
    (void)pthread_barrier_wait(&other.turn);
    assert_int_equal(pthread_join(other.thread, NULL), 0);
    assert_int_equal(pthread_barrier_destroy(&other.turn), 0);
}

/* cmocka's assertions are for the thread that runs the test; these abort. */
static void allocate_all(void)
{
    for (size_t i = 0; i < N_BLOCKS; i++) {
        handed[i] = allocate_hot(NUM_BYTES, "handed over");
        KMEM_ASSERT(handed[i] != NULL && handed[i][NUM_BYTES - 1] == 0);
        handed[i][NUM_BYTES - 1] = 1;
    }
}

static int release_remote(void *block)
{
    struct found found;
    return kmem__heap_give_remote(block) ? HEAP_OK
                                         : kmem__heap_release(allocator, offset_of(block), &found);
}

static void release_all(void)
{
    for (size_t i = 0; i < N_BLOCKS; i++) {
        KMEM_ASSERT(release_remote(handed[i]) == HEAP_OK);
    }
}

static void release_first(void)
{
    KMEM_ASSERT(release_remote(handed[0]) == HEAP_OK);
}

static void release_first_wrongly(void)
{
    struct found found;
    KMEM_ASSERT(release_remote(handed[0]) == HEAP_E_RELEASED);
    KMEM_ASSERT(release_remote(handed[1] + 16) == HEAP_E_INTERIOR);
    KMEM_ASSERT(kmem__heap_release(allocator, offset_of(handed[1] + 1), &found) == HEAP_E_INTERIOR);
    KMEM_ASSERT(found.offset.bytes == offset_of(handed[1]).bytes);
}

static void assert_nothing_left(void)
{
    assert_true(kmem__heap_check(allocator));
    (void)kmem__heap_flush(allocator);
    assert_int_equal(fake_lender_count_used(lender), 0);
    assert_int_equal(fake_lender_count_live(lender), 0);
    assert_false(lease_has_stale(lender->ledger.states, 1, lender->n_pages - 1));
}

static void have_a_heap(void)
{
    KMEM_ASSERT(kmem__heap_get(allocator) != NULL);
}

static void allocate_first_again(void)
{
    unsigned char *block = allocate_hot(NUM_BYTES, "again");
    KMEM_ASSERT(block == handed[0]);
    KMEM_ASSERT(block[NUM_BYTES - 1] == 0);
}

/* It goes out again where it was released, with no way there and back. */
static void test_thread_uses_what_it_has_released(void **state)
{
    allocate_all();
    start_other();
    tell_other(have_a_heap);
    tell_other(release_first);
    tell_other(allocate_first_again);
    assert_true(kmem__heap_check(allocator));
    assert_int_equal(release_hot(handed[0]), HEAP_OK); /* by its owner, which did not allocate it */
    for (size_t i = 1; i < N_BLOCKS; i++) {
        assert_int_equal(release_hot(handed[i]), HEAP_OK);
    }
    end_other();
    assert_nothing_left();
}

/* A thread that only releases keeps a magazine of them, and gives its owner all else. */
static void test_thread_that_releases_keeps_a_magazine(void **state)
{
    allocate_all();
    const uint32_t n_used = fake_lender_count_used(lender);
    start_other();
    for (int round = 0; round < 5; round++) {
        tell_other(release_all);
        assert_int_equal(fake_lender_count_live(lender), 0);
        assert_true(kmem__heap_check(allocator));
        allocate_all();
        assert_true(fake_lender_count_used(lender) <= n_used + 1);
        assert_true(kmem__heap_check(allocator));
    }
    tell_other(release_all);
    end_other();
    assert_nothing_left();
}

/* Its own blocks, in bursts: what it has too many of goes back by the same call. */
static void test_own_blocks_that_are_too_many_go_back_at_once(void **state)
{
    for (int round = 0; round < 3; round++) {
        uint32_t n_full = 0;
        allocate_all();
        for (size_t i = 0; i < N_BLOCKS; i++) {
            const bool is_usual = kmem__heap_give(handed[i]);
            n_full += !is_usual;
            assert_true(is_usual || kmem__heap_give_remote(handed[i]));
            assert_false(kmem__heap_give(handed[i]) || kmem__heap_give_remote(handed[i]));
        }
        assert_in_range(n_full, 1, N_BLOCKS / (MAGAZINE_MAX / 2));
        assert_true(kmem__heap_check(allocator));
    }
    assert_nothing_left();
}

static void release_some(void)
{
    KMEM_ASSERT(kmem__heap_mine->id == 0);
    for (size_t i = 0; i < LOOSE_MAX; i++) {
        KMEM_ASSERT(kmem__heap_mine->id == 0);
        KMEM_ASSERT(release_remote(handed[i]) == HEAP_OK);
    }
    KMEM_ASSERT(kmem__heap_mine->id == 0);
}

static void release_the_others(void)
{
    for (size_t i = LOOSE_MAX; i < N_BLOCKS; i++) {
        KMEM_ASSERT(release_remote(handed[i]) == HEAP_OK);
        KMEM_ASSERT(kmem__heap_mine->id != 0);
    }
}

/* One that releases a few blocks, when it has ended all but say, gets no heap to leave behind. */
static void test_thread_that_releases_a_few_has_no_heap(void **state)
{
    allocate_all();
    const uint32_t first = (uint32_t)(offset_of(handed[0]).bytes >> PAGE_SHIFT);
    start_other();
    tell_other(release_some);
    assert_int_equal(allocator->heaps.n_ids, 1);
    assert_int_equal(fake_lender_count_live(lender), N_BLOCKS - LOOSE_MAX);
    assert_true(REMOTE_COUNT(atomic_load(&lender->ledger.heads[first].remote)) > 0);
    assert_true(kmem__heap_check(allocator));
    tell_other(release_the_others);
    assert_int_equal(allocator->heaps.n_ids, 2);
    end_other();
    assert_nothing_left();
}

/* Of one that releases and one that shares a block at the same time the first has it. */
static void test_block_that_is_being_shared_is_not_retired(void **state)
{
    struct found found;
    bool was;
    unsigned char *block = allocate_hot(NUM_BYTES, "shared meanwhile");
    assert_int_equal(kmem__heap_find(allocator, offset_of(block), &found), HEAP_OK);
    const uint64_t word = atomic_load(&found.block.entry->word); /* as who releases has seen it */
    assert_int_equal(kmem__shared_mark(allocator, offset_of(block), &found, &was), HEAP_OK);
    assert_false(kmem__remote_retire(found.block.entry, word));
    assert_int_equal(fake_lender_count_live(lender), 1);
    kmem__shared_unmark(&found);
    assert_true(kmem__remote_retire(found.block.entry, word));
    assert_false(kmem__remote_retire(found.block.entry, word));
    atomic_store(&found.block.entry->word, word);
    assert_int_equal(release_hot(block), HEAP_OK);
    assert_nothing_left();
}

static void test_release_twice_by_another_thread_is_RELEASED(void **state)
{
    allocate_all();
    start_other();
    tell_other(release_first);
    tell_other(release_first_wrongly);
    assert_int_equal(release_hot(handed[0]), HEAP_E_RELEASED);
    end_other(); /* it has left its ready blocks to their owner */
    assert_int_equal(release_hot(handed[0]), HEAP_E_RELEASED);
    assert_true(kmem__heap_check(allocator));
    for (size_t i = 1; i < N_BLOCKS; i++) {
        assert_int_equal(release_hot(handed[i]), HEAP_OK);
    }
    assert_nothing_left();
}

static void flush_other(void)
{
    KMEM_ASSERT(kmem__heap_flush(allocator));
    KMEM_ASSERT(!kmem__heap_flush(allocator));
}

static void test_flush_gives_others_blocks_to_their_owner(void **state)
{
    allocate_all();
    start_other();
    tell_other(release_all);
    tell_other(flush_other);
    assert_nothing_left(); /* while the other thread goes on */
    end_other();
}

static void allocate_one_and_release(void)
{
    unsigned char *block = allocate_hot(NUM_BYTES, "its own");
    KMEM_ASSERT(block != NULL);
    KMEM_ASSERT(block[0] == 0 && block[NUM_BYTES - 1] == 0);
    KMEM_ASSERT(release_hot(block) == HEAP_OK);
}

/* The daemon may take a slab of which a thread that sleeps has blocks, and all find out. */
static void test_slab_with_blocks_abroad_is_taken(void **state)
{
    allocate_all();
    const uint32_t first = (uint32_t)(offset_of(handed[0]).bytes >> PAGE_SHIFT);
    start_other();
    tell_other(release_all);
    /* What makes the daemon look, whatever is used by its owner's count. */
    assert_true(REMOTE_COUNT(atomic_load(&lender->ledger.heads[first].remote)) > 0);
    assert_true(fake_lender_seize(lender) > 0);
    assert_int_equal(fake_lender_count_used(lender), 0);
    tell_other(allocate_one_and_release); /* wakes up: nothing that it has ready is its own */
    allocate_all();
    assert_true(kmem__heap_check(allocator));
    tell_other(release_all);
    tell_other(flush_other);
    assert_nothing_left();
    end_other();
}

/* The same, and the owner finds out first, while the other thread still has blocks of the slab. */
static void test_slab_with_blocks_abroad_is_forgotten_by_its_owner(void **state)
{
    allocate_all();
    start_other();
    tell_other(release_all);
    assert_true(fake_lender_seize(lender) > 0);
    allocate_all();
    assert_true(kmem__heap_check(allocator));
    for (size_t i = 0; i < N_BLOCKS; i++) {
        assert_int_equal(release_hot(handed[i]), HEAP_OK);
    }
    end_other();
    assert_nothing_left();
}

static void look_for_first(void)
{
    KMEM_ASSERT(!kmem__heap_give_remote(handed[0]));
}

/*
 * Where a slab was that the daemon has taken the process may get a block of the daemon's. A thread
 * that has not found out, and takes a block that was there, must not make it look like a leased
 * one.
 */
static void test_new_block_in_a_taken_slab_is_never_the_slabs(void **state)
{
    struct found found;
    allocate_all();
    assert_int_equal(kmem__heap_find(allocator, offset_of(handed[0]), &found), HEAP_OK);
    const uint64_t word = atomic_load(&found.block.entry->word);
    start_other();
    tell_other(have_a_heap);
    tell_other(release_all);
    assert_true(fake_lender_seize(lender) > 0);
    kmem__heap_leave_page(allocator, offset_of(handed[0])); /* the daemon's block is there */
    atomic_store(&found.block.entry->word, word);           /* the thread is about to find out */
    assert_int_equal(kmem__heap_sizeof(handed[0]), 0);
    assert_false(kmem__heap_give(handed[0]));
    tell_other(look_for_first);
    assert_int_equal(release_hot(handed[0]), HEAP_E_DIRECT);
    assert_int_equal(atomic_load(&found.block.entry->word), word);
    atomic_store(&found.block.entry->word, 0); /* it has */
    allocate_all();
    tell_other(release_all);
    tell_other(flush_other);
    assert_nothing_left();
    end_other();
}

#define LARGE_BYTES (5 * PAGE_BYTES)

static void *otherwise(size_t num_bytes, const char *reason, struct kmem_site *site)
{
    (void)reason;
    (void)site;
    return (void *)(uintptr_t)num_bytes; /* no block: it tells that it was called */
}

/* Of every class, with a reason or without: a thread without a heap points at zeros. */
static void take_without_a_heap(void)
{
    KMEM_ASSERT(kmem__heap_mine->id == 0);
    for (uint32_t c = 0; c < N_SIZE_CLASSES; c++) {
        struct kmem_site site = {0};
        const size_t num_bytes = size_classes[c].block_bytes;
        void *const answer = (void *)(uintptr_t)num_bytes;
        KMEM_ASSERT(kmem__heap_take(num_bytes, NULL, otherwise) == answer);
        KMEM_ASSERT(kmem__heap_take(num_bytes, "a reason", otherwise) == answer);
        KMEM_ASSERT(kmem__heap_take_at(num_bytes, NULL, &site, otherwise) == answer);
        KMEM_ASSERT(kmem__heap_take_at(num_bytes, "a reason", &site, otherwise) == answer);
    }
}

static void test_thread_without_a_heap_takes_no_block(void **state)
{
    start_other();
    tell_other(take_without_a_heap);
    end_other();
    assert_nothing_left();
}

static unsigned char *large;

static void release_large(void)
{
    KMEM_ASSERT(release_remote(large) == HEAP_OK);
}

/* Whichever thread allocated it: in one call, once, and by its beginning. */
static void test_large_block_is_released_where_others_blocks_are(void **state)
{
    unsigned char *block = allocate_hot(LARGE_BYTES, "large");
    assert_non_null(block);
    assert_false(kmem__heap_give_remote(block + PAGE_BYTES));
    assert_false(kmem__heap_give_remote(block + 64));
    assert_true(kmem__heap_give_remote(block));
    assert_false(kmem__heap_give_remote(block));
    assert_int_equal(release_hot(block), HEAP_E_RELEASED);
    large = allocate_hot(LARGE_BYTES, "large");
    assert_ptr_equal(large, block);
    start_other();
    tell_other(have_a_heap);
    tell_other(release_large);
    end_other();
    assert_int_equal(release_hot(large), HEAP_E_RELEASED);
    assert_nothing_left();
}

static void test_large_block_of_a_segment_that_has_ended_is_not_released(void **state)
{
    unsigned char *block = allocate_hot(LARGE_BYTES, "large");
    atomic_store(&lender->clock[0], TICK_STOPPED);
    assert_false(kmem__heap_give_remote(block));
    atomic_store(&lender->clock[0], 1);
    assert_true(kmem__heap_give_remote(block));
    assert_nothing_left();
}

static void test_large_block_that_is_shared_is_not_released_as_usual(void **state)
{
    struct found found;
    bool was;
    unsigned char *block = allocate_hot(LARGE_BYTES, "large");
    assert_int_equal(kmem__shared_mark(allocator, offset_of(block), &found, &was), HEAP_OK);
    assert_false(kmem__heap_give_remote(block));
    assert_true(kmem__shared_set(allocator, offset_of(block), SHARED_AWAY));
    assert_true(kmem__heap_come_home(allocator, offset_of(block), true));
    assert_nothing_left();
}

/* Pages of five blocks, which another thread released, are there for one that is as long. */
static void test_large_blocks_of_a_thread_that_has_ended_are_found_as_one(void **state)
{
    unsigned char *blocks[5];
    const unsigned char *lowest = NULL;
    for (uint32_t i = 0; i < 5; i++) {
        blocks[i] = allocate_hot(LARGE_BYTES, "large");
        lowest = i == 0 || blocks[i] < lowest ? blocks[i] : lowest;
    }
    start_other();
    tell_other(have_a_heap);
    for (uint32_t i = 0; i < 5; i++) {
        large = blocks[i];
        tell_other(release_large);
    }
    end_other();
    atomic_store(&allocator->cache.has_untold, false); /* the thread has told, at its end */
    const uint32_t n_asked = lender->n_asked;
    for (uint32_t i = 0; i < 5; i++) {
        assert_ptr_equal(allocate_hot(LARGE_BYTES, "large"), lowest + (size_t)i * LARGE_BYTES);
    }
    assert_int_equal(lender->n_asked, n_asked);
    for (uint32_t i = 0; i < 5; i++) {
        assert_int_equal(release_hot(blocks[i]), HEAP_OK);
    }
    assert_nothing_left();
}

#define N_ROUNDS 2000

static unsigned char *contested;
static _Atomic uint32_t n_released;
static pthread_barrier_t start;

static void *release_contested(void *unused)
{
    (void)unused;
    KMEM_ASSERT(release_hot(allocate_hot(16, "has a heap")) == HEAP_OK);
    for (int i = 0; i < N_ROUNDS; i++) {
        (void)pthread_barrier_wait(&start);
        const int r = release_remote(contested);
        KMEM_ASSERT(r == HEAP_OK || r == HEAP_E_RELEASED);
        n_released += r == HEAP_OK;
        (void)pthread_barrier_wait(&start);
    }
    return NULL;
}

static void test_of_two_threads_that_release_a_block_one_does(void **state)
{
    pthread_t threads[2];
    atomic_store(&n_released, 0);
    assert_int_equal(pthread_barrier_init(&start, NULL, 3), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, release_contested, NULL), 0);
    }
    for (uint32_t i = 0; i < N_ROUNDS; i++) {
        contested = allocate_hot(NUM_BYTES, "contested");
        KMEM_ASSERT(contested != NULL);
        (void)pthread_barrier_wait(&start);
        (void)pthread_barrier_wait(&start);
        assert_int_equal(atomic_load(&n_released), i + 1);
    }
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(pthread_barrier_destroy(&start), 0);
    assert_nothing_left();
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_thread_uses_what_it_has_released),
        TEST(test_thread_that_releases_keeps_a_magazine),
        TEST(test_own_blocks_that_are_too_many_go_back_at_once),
        TEST(test_thread_that_releases_a_few_has_no_heap),
        TEST(test_thread_without_a_heap_takes_no_block),
        TEST(test_block_that_is_being_shared_is_not_retired),
        TEST(test_release_twice_by_another_thread_is_RELEASED),
        TEST(test_flush_gives_others_blocks_to_their_owner),
        TEST(test_slab_with_blocks_abroad_is_taken),
        TEST(test_slab_with_blocks_abroad_is_forgotten_by_its_owner),
        TEST(test_new_block_in_a_taken_slab_is_never_the_slabs),
        TEST(test_large_block_is_released_where_others_blocks_are),
        TEST(test_large_block_of_a_segment_that_has_ended_is_not_released),
        TEST(test_large_block_that_is_shared_is_not_released_as_usual),
        TEST(test_large_blocks_of_a_thread_that_has_ended_are_found_as_one),
        TEST(test_of_two_threads_that_release_a_block_one_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

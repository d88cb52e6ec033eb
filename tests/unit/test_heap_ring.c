/* SPDX-License-Identifier: MIT */
/*
 * test_heap_ring.c - threads that do not wait for each other release what others allocated
 */
#include <pthread.h>
#include <sched.h>
#include <string.h>

#include "proto/lease.h"
#include "tests/unit/heap_fixture.h"
#include "tests/unit/unit.h"

static int release_remote(void *block)
{
    struct found found;
    return kmem__heap_give_remote(block) ? HEAP_OK
                                         : kmem__heap_release(allocator, offset_of(block), &found);
}

static void assert_nothing_left(void)
{
    assert_true(kmem__heap_check(allocator));
    (void)kmem__heap_flush(allocator);
    assert_int_equal(fake_lender_count_used(lender), 0);
    assert_int_equal(fake_lender_count_live(lender), 0);
    assert_false(lease_has_stale(lender->ledger.states, 1, lender->n_pages - 1));
}

#define N_IN_RING 4
#define N_PASSED 1500
#define N_GENERATIONS 2
#define N_KEPT 40
#define N_ON_THE_WAY 64
#define RING_MAX_BYTES 1500

/* What is on its way to a thread: from the one before it, which alone puts, to it, which takes. */
static struct way {
    _Atomic uint32_t n_put;
    _Atomic uint32_t n_taken;
    unsigned char *blocks[N_ON_THE_WAY];
} ways[N_IN_RING];

static pthread_barrier_t ring_turn;
static _Atomic uint32_t n_ended;

struct passer {
    uint64_t random;
    unsigned char *kept[N_KEPT];
};

static uint32_t passer_random(struct passer *passer, uint32_t below)
{
    passer->random = passer->random * UINT64_C(6364136223846793005) + 1;
    return (uint32_t)(passer->random >> 33) % below;
}

static uint32_t ring_size(const unsigned char *block)
{
    uint32_t num_bytes;
    memcpy(&num_bytes, block, sizeof(num_bytes));
    KMEM_ASSERT(num_bytes >= 16 && num_bytes <= RING_MAX_BYTES);
    return num_bytes;
}

/* What a block is filled with, which is another for each size and place. */
static unsigned char ring_byte(const unsigned char *block, uint32_t num_bytes)
{
    return (unsigned char)(1 + (num_bytes + (uintptr_t)block / 16) % 255);
}

static unsigned char *ring_allocate(struct passer *passer)
{
    const uint32_t num_bytes = 16 + passer_random(passer, RING_MAX_BYTES - 15);
    unsigned char *block = allocate_hot(num_bytes, "in the ring");
    KMEM_ASSERT(block != NULL);
    for (uint32_t i = 0; i < num_bytes; i++) {
        KMEM_ASSERT(block[i] == 0);
    }
    memset(block, ring_byte(block, num_bytes), num_bytes);
    memcpy(block, &num_bytes, sizeof(num_bytes));
    return block;
}

static void ring_release(unsigned char *block)
{
    const uint32_t num_bytes = ring_size(block);
    for (uint32_t i = sizeof(num_bytes); i < num_bytes; i++) {
        KMEM_ASSERT(block[i] == ring_byte(block, num_bytes));
    }
    KMEM_ASSERT(kmem__heap_give(block) || release_remote(block) == HEAP_OK);
}

static bool way_put(struct way *way, unsigned char *block)
{
    const uint32_t n_put = atomic_load(&way->n_put);
    if (n_put - atomic_load(&way->n_taken) == N_ON_THE_WAY) {
        return false;
    }
    way->blocks[n_put % N_ON_THE_WAY] = block;
    atomic_store(&way->n_put, n_put + 1);
    return true;
}

static bool way_take(struct way *way, unsigned char **ret_block)
{
    const uint32_t n_taken = atomic_load(&way->n_taken);
    if (n_taken == atomic_load(&way->n_put)) {
        return false;
    }
    *ret_block = way->blocks[n_taken % N_ON_THE_WAY];
    atomic_store(&way->n_taken, n_taken + 1);
    return true;
}

/* Takes what has come, keeps it for a while and releases what it has kept for one. */
static void ring_receive(struct passer *passer, struct way *way)
{
    unsigned char *block;
    if (!way_take(way, &block)) {
        (void)sched_yield();
        return;
    }
    unsigned char **kept = &passer->kept[passer_random(passer, N_KEPT)];
    if (*kept != NULL) {
        ring_release(*kept);
    }
    *kept = block;
}

static void ring_pass(struct passer *passer, uint32_t number)
{
    for (uint32_t i = 0; i < N_PASSED; i++) {
        unsigned char *block = ring_allocate(passer);
        while (!way_put(&ways[(number + 1) % N_IN_RING], block)) {
            ring_receive(passer, &ways[number]);
        }
        if (i % 2 == 0) {
            ring_receive(passer, &ways[number]);
        }
    }
    while (atomic_load(&ways[number].n_taken) != N_PASSED) {
        ring_receive(passer, &ways[number]);
    }
    for (size_t i = 0; i < N_KEPT; i++) {
        if (passer->kept[i] != NULL) {
            ring_release(passer->kept[i]);
        }
    }
}

static void *be_in_ring(void *number)
{
    struct passer passer = {.random = (uintptr_t)number + 1};
    ring_pass(&passer, (uint32_t)(uintptr_t)number);
    (void)pthread_barrier_wait(&ring_turn);
    (void)kmem__heap_flush(allocator); /* others' blocks go home */
    (void)pthread_barrier_wait(&ring_turn);
    (void)kmem__heap_flush(allocator); /* its own have come home */
    (void)pthread_barrier_wait(&ring_turn);
    (void)atomic_fetch_add(&n_ended, 1);
    return NULL;
}

/* Threads come and go, each has others' blocks, and the daemon takes what is idle meanwhile. */
static void test_threads_pass_blocks_on_in_a_ring(void **state)
{
    assert_int_equal(pthread_barrier_init(&ring_turn, NULL, N_IN_RING), 0);
    for (int generation = 0; generation < N_GENERATIONS; generation++) {
        pthread_t threads[N_IN_RING];
        memset(ways, 0, sizeof(ways));
        atomic_store(&n_ended, 0);
        for (uintptr_t i = 0; i < N_IN_RING; i++) {
            assert_int_equal(pthread_create(&threads[i], NULL, be_in_ring, (void *)i), 0);
        }
        while (atomic_load(&n_ended) != N_IN_RING) {
            (void)fake_lender_seize(lender);
            (void)sched_yield();
        }
        for (int i = 0; i < N_IN_RING; i++) {
            assert_int_equal(pthread_join(threads[i], NULL), 0);
        }
        assert_nothing_left();
    }
    assert_int_equal(pthread_barrier_destroy(&ring_turn), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_threads_pass_blocks_on_in_a_ring, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

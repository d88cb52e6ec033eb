/* SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/heap/large.h"
#include "proto/lease.h"
#include "tests/unit/heap_fixture.h"
#include "tests/unit/unit.h"

static void *allocate_at(size_t num_bytes, const char *reason, struct kmem_site *site)
{
    void *block = NULL;
    for (int i = 0; i <= HOT_AFTER && block == NULL; i++) {
        block = kmem__heap_take_at(num_bytes, reason, site, allocate_slow);
    }
    return block;
}

static int find(const void *block, struct found *ret_found)
{
    return kmem__heap_find(allocator, offset_of(block), ret_found);
}

/* Every slab of the ledger adds up, none is open, no page is in use, no entry is live. */
static void assert_nothing_left(void)
{
    kmem__heap_flush(allocator);
    for (uint32_t page = 1; page < lender->n_pages; page++) {
        const uint32_t kind = atomic_load(&lender->ledger.heads[page].kind);
        assert_int_not_equal(kind, HEAD_SLAB);
        assert_int_not_equal(kind, HEAD_LARGE);
    }
    assert_int_equal(fake_lender_count_used(lender), 0);
    assert_int_equal(fake_lender_count_live(lender), 0);
}

static void assert_slabs_add_up(void)
{
    assert_true(kmem__heap_check(allocator));
    kmem__heap_flush(allocator);
    for (uint32_t page = 1; page < lender->n_pages; page++) {
        const uint32_t kind = atomic_load(&lender->ledger.heads[page].kind);
        if (kind == HEAD_SLAB || kind == HEAD_LARGE) {
            assert_int_equal(ledger_slab_check(&lender->ledger, page), 0);
        }
    }
}

static void test_allocate_cold_class_is_direct(void **state)
{
    for (int i = 0; i < HOT_AFTER; i++) {
        assert_null(allocate_slow(100, "cold", NULL));
    }
    assert_int_equal(lender->n_asked, 0);
    assert_non_null(allocate_slow(100, "hot", NULL));
    assert_null(allocate_slow(1000, "another class is cold", NULL));
}

static void test_allocate_of_other_sizes_of_a_class_is_leased_from_the_third_on(void **state)
{
    assert_int_equal(size_class_of(110), size_class_of(120));
    assert_null(allocate_slow(110, "first", NULL));
    assert_null(allocate_slow(120, "another size of the class", NULL));
    assert_int_equal(lender->n_asked, 0);
    assert_non_null(allocate_slow(100, "the third", NULL));
    assert_null(allocate_slow(70000, "first", NULL));
    assert_null(allocate_slow(80000, "second", NULL));
    assert_non_null(allocate_slow(90000, "the third", NULL));
}

static void test_allocate_of_a_size_again_is_direct_while_memory_is_short(void **state)
{
    atomic_store(&lender->clock[CLOCK_SPARE], CLOCK_SPARE_NONE);
    for (int i = 0; i < 40; i++) {
        assert_null(allocate_slow(100, "small", NULL));
        assert_null(allocate_slow(100000, "large", NULL));
    }
    assert_int_equal(lender->n_asked, 0);
    atomic_store(&lender->clock[CLOCK_SPARE], CLOCK_SPARE_NONE + 100);
    assert_non_null(allocate_slow(100, "small", NULL));
    assert_non_null(allocate_slow(100000, "large", NULL));
}

static void test_allocate_of_more_than_a_64th_of_the_segment_is_direct(void **state)
{
    assert_int_equal((uint64_t)lender->n_pages << PAGE_SHIFT, UINT64_C(64) << 20);
    assert_null(allocate_hot((1 << 20) + 1, "more"));
    assert_int_equal(lender->n_asked, 0);
    assert_non_null(allocate_hot(1 << 20, "not more"));
    assert_int_equal(lender->n_asked, 1);
}

static void test_allocate_enters_size_reason_and_tick(void **state)
{
    struct found found;
    atomic_store(&lender->clock[0], 77);
    void *block = allocate_hot(101, "why");
    assert_int_equal(find(block, &found), HEAP_OK);
    assert_int_equal(found.num_bytes, 101);
    assert_int_equal(kmem__heap_sizeof(block), 101);
    assert_memory_equal(allocator->ledger.reasons[found.reason].bytes, "why", 3);
    assert_int_equal(atomic_load(&found.block.entry->born), 77);
    assert_int_equal(release_hot(block), HEAP_OK);
    assert_nothing_left();
}

static void *allocate_nothing(size_t num_bytes, const char *reason, struct kmem_site *site)
{
    (void)num_bytes;
    (void)reason;
    (void)site;
    return NULL;
}

/* The inline way sees it when the block is entered: it takes the entry back, and is as before. */
static void test_allocate_while_the_clock_stands_still(void **state)
{
    static const size_t sizes[] = {16, 100, 2048, 2049, 60000};
    static const char reason[] = "stopped";
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct found found;
        void *ready = allocate_hot(sizes[i], reason);
        assert_int_equal(release_hot(ready), HEAP_OK);
        atomic_store(&lender->clock[0], TICK_STOPPED);
        assert_null(kmem__heap_take(sizes[i], reason, allocate_nothing));
        assert_int_equal(fake_lender_count_live(lender), 0);
        assert_true(kmem__heap_check(allocator));
        atomic_store(&lender->clock[0], 78);
        assert_ptr_equal(kmem__heap_take(sizes[i], reason, allocate_nothing), ready);
        assert_int_equal(find(ready, &found), HEAP_OK);
        assert_int_equal(atomic_load(&found.block.entry->born), 78);
        assert_int_equal(release_hot(ready), HEAP_OK);
    }
    assert_nothing_left();
}

static void test_allocate_without_reason(void **state)
{
    struct found found;
    for (int i = 0; i < 3; i++) {
        void *block = allocate_hot(10, NULL);
        assert_int_equal(find(block, &found), HEAP_OK);
        assert_int_equal(found.reason, REASON_NONE);
    }
}

static void test_allocate_every_size_is_zero_and_aligned(void **state)
{
    lender->is_dirty = true;
    memset(allocator->base, 0xff, lender->n_pages * PAGE_BYTES);
    for (size_t num_bytes = 1; num_bytes <= 200000;
         num_bytes += num_bytes < 3000 ? 1 : num_bytes / 64) {
        unsigned char *block[2];
        for (int i = 0; i < 2; i++) {
            block[i] = allocate_hot(num_bytes, "zero");
            assert_non_null(block[i]);
            assert_int_equal((uintptr_t)block[i] % (num_bytes >= 64 ? 64 : 16), 0);
            assert_int_equal(block[i][0], 0);
            assert_memory_equal(block[i], block[i] + 1, num_bytes - 1);
            memset(block[i], 0xff, num_bytes);
        }
        assert_int_equal(release_hot(block[1]), HEAP_OK);
        assert_int_equal(release_hot(block[0]), HEAP_OK);
    }
    assert_nothing_left();
}

static void test_release_twice_is_RELEASED(void **state)
{
    static const size_t sizes[] = {16, 100, 5000, 60000, 1 << 20};
    for (int i = 0; i < 5; i++) {
        void *keep = allocate_hot(sizes[i], "keep");
        void *block = allocate_hot(sizes[i], "twice");
        assert_int_equal(release_hot(block), HEAP_OK);
        assert_int_equal(release_hot(block), HEAP_E_RELEASED);
        kmem__heap_flush(allocator);
        assert_int_equal(release_hot(block), HEAP_E_RELEASED);
        assert_int_equal(release_hot(keep), HEAP_OK);
        kmem__heap_flush(allocator);
        assert_int_equal(release_hot(keep), HEAP_E_RELEASED);
    }
    assert_nothing_left();
}

static void test_release_interior_is_INTERIOR(void **state)
{
    static const size_t sizes[] = {32, 100, 5000, 60000, 1 << 20};
    struct found found;
    for (int i = 0; i < 5; i++) {
        unsigned char *block = allocate_hot(sizes[i], "interior");
        for (size_t within = 1; within < sizes[i]; within += within < 64 ? 1 : within) {
            assert_false(kmem__heap_give(block + within));
            assert_int_equal(kmem__heap_release(allocator, offset_of(block + within), &found),
                             HEAP_E_INTERIOR);
            assert_int_equal(found.offset.bytes, offset_of(block).bytes);
            assert_int_equal(found.num_bytes, sizes[i]);
        }
        assert_int_equal(release_hot(block), HEAP_OK);
    }
    assert_nothing_left();
}

static void test_release_wild_and_direct(void **state)
{
    unsigned char *block = allocate_hot(320, "the last in its page");
    struct found found;
    const uint64_t page = offset_of(block).bytes >> PAGE_SHIFT;
    unsigned char *behind = allocator->base + ((page + 1) << PAGE_SHIFT) - 64;
    assert_int_equal(release_hot(behind), HEAP_E_WILD); /* the rest of the page, no block */
    assert_int_equal(release_hot(block + (size_t)320 * 40), HEAP_E_WILD); /* never handed out */
    assert_int_equal(kmem__heap_release(allocator, (struct seg_off){4000 * PAGE_BYTES}, &found),
                     HEAP_E_DIRECT);
    assert_int_equal(kmem__heap_sizeof(allocator->base + 4000 * PAGE_BYTES), 0);
    /* Revoked: whatever is there now is not of this process's leases. */
    const uint32_t revoked = 4001;
    lease_grant(allocator->ledger.states, revoked, 1, false);
    uint32_t at = revoked;
    assert_int_equal(lease_revoke(allocator->ledger.states, &at, revoked + 1), 1);
    assert_int_equal(kmem__heap_release(allocator, (struct seg_off){revoked * PAGE_BYTES}, &found),
                     HEAP_E_DIRECT);
    lease_forget(allocator->ledger.states, revoked, 1);
    int on_stack = 0;
    assert_false(kmem__heap_give(&on_stack));
    assert_false(kmem__heap_give(NULL));
    assert_int_equal(release_hot(block), HEAP_OK);
    assert_nothing_left();
}

#define MODEL_SLOTS 2000

static size_t random_bytes(uint32_t random)
{
    switch (random % 16) {
    case 0:
        return 1 + (random >> 8) % 200000;
    case 1:
    case 2:
        return 1 + (random >> 8) % 65536;
    case 3:
    case 4:
    case 5:
        return 1 + (random >> 8) % 8192;
    default:
        return 1 + (random >> 8) % 600;
    }
}

/* Each block is filled with its slot's number: an overlap, or a byte not cleared, is seen. */
static void test_heap_against_a_naive_model(void **state)
{
    static unsigned char *block[MODEL_SLOTS];
    static size_t num_bytes[MODEL_SLOTS];
    uint64_t seed = 20261122;
    uint64_t n_live = 0;
    uint32_t n_seized = 0;
    memset(block, 0, sizeof(block));
    print_message("seed %llu\n", (unsigned long long)seed);
    for (uint32_t step = 1; step <= 100000; step++) {
        seed = seed * UINT64_C(6364136223846793005) + 1;
        const uint32_t random = (uint32_t)(seed >> 32);
        const uint32_t slot = (uint32_t)(seed >> 20) % MODEL_SLOTS;
        unsigned char *at = block[slot];
        if (at != NULL) {
            assert_int_equal(at[0], (unsigned char)(slot | 1));
            assert_memory_equal(at, at + 1, num_bytes[slot] - 1);
            assert_int_equal(release_hot(at), HEAP_OK);
            assert_int_not_equal(release_hot(at), HEAP_OK);
            block[slot] = NULL;
            n_live--;
            continue;
        }
        at = allocate_hot(random_bytes(random), "model");
        if (at == NULL) {
            atomic_fetch_add(&lender->clock[0], 1);
            continue;
        }
        block[slot] = at;
        num_bytes[slot] = random_bytes(random);
        n_live++;
        assert_int_equal(at[0], 0);
        assert_memory_equal(at, at + 1, num_bytes[slot] - 1);
        memset(at, (unsigned char)(slot | 1), num_bytes[slot]);
        if (step % 1000 == 0) {
            (void)fake_lender_revoke(lender, random % 1024);
            n_seized += random % 3 == 0 ? fake_lender_seize(lender) : 0;
            assert_true(kmem__heap_check(allocator));
            assert_true(kmem__lease_cache_check(&allocator->cache));
        }
        if (step % 20000 == 0) {
            (void)kmem__heap_flush(allocator);
            assert_int_equal(fake_lender_count_live(lender), n_live);
            assert_slabs_add_up();
        }
    }
    for (uint32_t slot = 0; slot < MODEL_SLOTS; slot++) {
        if (block[slot] != NULL) {
            assert_int_equal(release_hot(block[slot]), HEAP_OK);
        }
    }
    assert_true(n_seized > 100);
    assert_nothing_left();
}

/* ---------------------------------------------------------------------------------- threads -- */

#define N_BLOCKS 3000
static void *handed[N_BLOCKS];

/* cmocka's assertions are for the thread that runs the test; these abort. */
static void *allocate_blocks(void *unused)
{
    (void)unused;
    for (int i = 0; i < N_BLOCKS; i++) {
        handed[i] = allocate_hot(48 + (size_t)i % 500, "of another thread");
        KMEM_ASSERT(handed[i] != NULL);
    }
    return NULL;
}

static void *release_blocks(void *unused)
{
    (void)unused;
    for (int i = 0; i < N_BLOCKS; i++) {
        KMEM_ASSERT(release_hot(handed[i]) == HEAP_OK);
        KMEM_ASSERT(release_hot(handed[i]) == HEAP_E_RELEASED);
    }
    return NULL;
}

static void run_thread(void *(*body)(void *))
{
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, body, NULL), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
}

static void test_release_by_another_thread(void **state)
{
    (void)allocate_blocks(NULL);
    run_thread(release_blocks);
    assert_int_equal(fake_lender_count_live(lender), 0);
    assert_nothing_left();
}

static void test_thread_that_ends_leaves_its_slabs(void **state)
{
    run_thread(allocate_blocks);
    assert_int_equal(fake_lender_count_live(lender), N_BLOCKS);
    const uint32_t n_used = fake_lender_count_used(lender);
    const void *first = handed[0];
    /* The slabs of this class have room: this thread adopts one before it takes pages. */
    const void *block = allocate_hot(48, "adopts");
    assert_int_equal(offset_of(block).bytes >> PAGE_SHIFT, offset_of(first).bytes >> PAGE_SHIFT);
    assert_int_equal(fake_lender_count_used(lender), n_used);
    (void)release_blocks(NULL);
    assert_int_equal(release_hot((void *)(uintptr_t)block), HEAP_OK);
    run_thread(allocate_blocks); /* the next thread has the heap, and finds what was released */
    (void)release_blocks(NULL);
    run_thread(allocate_blocks);
    run_thread(release_blocks);
    assert_int_equal(fake_lender_count_live(lender), 0);
}

/* A ring of blocks between threads that allocate, hand on and release, and end at any time. */
#define N_PEERS 8
#define RING 512
static _Atomic(void *) ring[RING];

static void *exchange_blocks(void *of_thread)
{
    uint64_t seed = (uintptr_t)of_thread * 77777 + 1;
    for (int step = 0; step < 5000; step++) {
        seed = seed * UINT64_C(6364136223846793005) + 1;
        const uint32_t random = (uint32_t)(seed >> 33);
        const size_t num_bytes = random % 64 == 0 ? random % 200000 + 1 : random % 2000 + 1;
        unsigned char *block = allocate_hot(num_bytes, "exchanged");
        if (block != NULL) {
            KMEM_ASSERT(block[0] == 0);
            KMEM_ASSERT(block[num_bytes - 1] == 0);
            block[0] = 1;
            block[num_bytes - 1] = 1;
        }
        unsigned char *other = atomic_exchange(&ring[(random >> 12) % RING], block);
        if (other != NULL) {
            KMEM_ASSERT(other[0] == 1); /* the daemon took no page of a live block */
            KMEM_ASSERT(release_hot(other) == HEAP_OK);
        }
    }
    return NULL;
}

static _Atomic bool is_over;
static _Atomic uint32_t n_taken;

static void *take_idle_slabs(void *unused)
{
    (void)unused;
    while (!atomic_load(&is_over)) {
        n_taken += fake_lender_seize(lender);
        (void)fake_lender_revoke(lender, lender->n_pages);
        (void)usleep(100);
    }
    return NULL;
}

static void exchange_among_threads(void)
{
    for (int round = 0; round < 3; round++) {
        pthread_t threads[N_PEERS];
        for (uintptr_t i = 0; i < N_PEERS; i++) {
            assert_int_equal(pthread_create(&threads[i], NULL, exchange_blocks,
                                            (void *)(i + (uintptr_t)round * N_PEERS)),
                             0);
        }
        for (int i = 0; i < N_PEERS; i++) {
            assert_int_equal(pthread_join(threads[i], NULL), 0);
        }
    }
    for (int i = 0; i < RING; i++) {
        void *block = atomic_exchange(&ring[i], NULL);
        if (block != NULL) {
            assert_int_equal(release_hot(block), HEAP_OK);
        }
    }
    assert_int_equal(fake_lender_count_live(lender), 0);
}

static void test_threads_release_each_others_blocks(void **state)
{
    exchange_among_threads();
    /* What was released to heaps that are nobody's is found by who needs a slab of the class. */
    for (int i = 0; i < 2 * N_PEERS; i++) {
        void *block = allocate_hot(100, "collects");
        assert_int_equal(release_hot(block), HEAP_OK);
        kmem__heap_flush(allocator);
    }
    assert_true(kmem__heap_check(allocator));
}

static void test_threads_whose_idle_slabs_are_taken(void **state)
{
    pthread_t taker;
    atomic_store(&is_over, false);
    atomic_store(&n_taken, 0);
    assert_int_equal(pthread_create(&taker, NULL, take_idle_slabs, NULL), 0);
    exchange_among_threads();
    while (atomic_load(&n_taken) == 0) {
        (void)release_hot(allocate_hot(100, "until one was taken"));
    }
    atomic_store(&is_over, true);
    assert_int_equal(pthread_join(taker, NULL), 0);
    print_message("%u pages taken\n", atomic_load(&n_taken));
    assert_true(kmem__heap_check(allocator));
}

/* -------------------------------------------------------------------------------- shortcuts -- */

/* What kmem__heap_spot() finds is right for every byte of every slab. */
static void test_spot_is_exact_for_every_class(void **state)
{
    for (uint32_t c = 0; c < N_SIZE_CLASSES; c++) {
        const uint32_t block_bytes = size_classes[c].block_bytes;
        unsigned char *block = allocate_hot(block_bytes, "one of each");
        struct found found;
        assert_int_equal(find(block, &found), HEAP_OK);
        const unsigned char *slab = allocator->base + ((uint64_t)found.block.page << PAGE_SHIFT);
        const struct ledger_entry *entries = ledger_entries(&allocator->ledger, found.block.page);
        for (uint32_t at = 0; at < size_classes[c].span_pages * PAGE_BYTES; at++) {
            struct spot spot;
            const bool is_start = at % block_bytes == 0;
            if (is_start != kmem__heap_spot(kmem__heap_mine, slab + at, &spot) ||
                (is_start && (spot.entry != entries + at / block_bytes ||
                              spot.bin != &kmem__heap_mine->bins[c]))) {
                fail_msg("byte %u of a slab of %u bytes", at, block_bytes);
            }
            /* Of the slab, one block is live. */
            if (kmem__heap_sizeof(slab + at) != (slab + at == block ? block_bytes : 0)) {
                fail_msg("size of byte %u of a slab of %u bytes", at, block_bytes);
            }
        }
        assert_int_equal(release_hot(block), HEAP_OK);
    }
    assert_nothing_left();
}

static void assert_reason(const void *block, const char *reason)
{
    struct found found;
    assert_int_equal(find(block, &found), HEAP_OK);
    const struct ledger_reason *entered = &allocator->ledger.reasons[found.reason];
    assert_int_equal(entered->n_bytes, strlen(reason));
    assert_memory_equal(entered->bytes, reason, entered->n_bytes);
}

static void test_site_is_the_first_reasons(void **state)
{
    static const char *const reasons[] = {"first", "second", "first", "second"};
    struct kmem_site site = {NULL, 0};
    void *blocks[4];
    for (uint32_t i = 0; i < 4; i++) {
        blocks[i] = allocate_at(64, reasons[i], &site);
        assert_reason(blocks[i], reasons[i]);
    }
    assert_ptr_equal(site.reason, reasons[0]);
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(release_hot(blocks[i]), HEAP_OK);
    }
    assert_nothing_left();
}

/* Numbers of another ledger mean other texts: a site that has one learns anew. */
static void test_site_of_an_earlier_membership_learns_anew(void **state)
{
    static const char *const reason = "text of the site";
    struct kmem_site site = {NULL, 0};
    void *block = allocate_at(64, reason, &site);
    const uint64_t earlier = site.word;
    assert_int_equal(release_hot(block), HEAP_OK);
    assert_int_equal(tear_down(state), 0);
    assert_int_equal(set_up(state), 0);
    void *other = allocate_hot(64, "another text gets the number first");
    block = allocate_at(64, reason, &site);
    assert_int_not_equal(site.word, earlier);
    assert_reason(block, reason);
    assert_int_equal(release_hot(block), HEAP_OK);
    assert_int_equal(release_hot(other), HEAP_OK);
    assert_nothing_left();
}

/* ---------------------------------------------------------------------- other processes -- */

static void test_fork_child_has_no_heap(void **state)
{
    unsigned char *block = allocate_hot(100, "of the parent");
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        /* Not one access to the parent's ledger, which need not be mapped here. */
        const bool took = kmem__heap_give(block) || kmem__heap_sizeof(block) != 0;
        _exit(took || kmem__heap_mine->id != 0);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(kmem__heap_sizeof(block), 100);
    assert_int_equal(release_hot(block), HEAP_OK);
    assert_nothing_left();
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_allocate_of_other_sizes_of_a_class_is_leased_from_the_third_on),
        TEST(test_allocate_of_a_size_again_is_direct_while_memory_is_short),
        TEST(test_allocate_cold_class_is_direct),
        TEST(test_allocate_of_more_than_a_64th_of_the_segment_is_direct),
        TEST(test_allocate_enters_size_reason_and_tick),
        TEST(test_allocate_while_the_clock_stands_still),
        TEST(test_allocate_without_reason),
        TEST(test_allocate_every_size_is_zero_and_aligned),
        TEST(test_release_twice_is_RELEASED),
        TEST(test_release_interior_is_INTERIOR),
        TEST(test_release_wild_and_direct),
        TEST(test_heap_against_a_naive_model),
        TEST(test_release_by_another_thread),
        TEST(test_thread_that_ends_leaves_its_slabs),
        TEST(test_threads_release_each_others_blocks),
        TEST(test_threads_whose_idle_slabs_are_taken),
        TEST(test_spot_is_exact_for_every_class),
        TEST(test_site_is_the_first_reasons),
        TEST(test_site_of_an_earlier_membership_learns_anew),
        TEST(test_fork_child_has_no_heap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

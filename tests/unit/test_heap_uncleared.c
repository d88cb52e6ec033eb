/* SPDX-License-Identifier: MIT */
/*
 * test_heap_uncleared.c - what a block that is not cleared may have in it: this process's own bytes
 */
#include <string.h>

#include "client/heap/shared.h"
#include "tests/unit/heap_fixture.h"

/* Not a whole number of pages: the last has bytes that are no block's. */
#define BLOCK_PAGES 9
#define BLOCK_BYTES ((size_t)BLOCK_PAGES * PAGE_BYTES + 1000)
#define OWN_BYTES ((size_t)BLOCK_PAGES * PAGE_BYTES)

static unsigned char *uncleared(size_t num_bytes)
{
    unsigned char *block = NULL;
    for (int i = 0; i <= HOT_AFTER && block == NULL; i++) {
        block = kmem__heap_allocate_uncleared(allocator, num_bytes, "uncleared");
    }
    assert_non_null(block);
    return block;
}

/* How many bytes at the beginning are `fill`; those behind them must be 0. */
static size_t count_left(const unsigned char *block, size_t num_bytes, unsigned char fill)
{
    size_t n_left = 0;
    while (n_left < num_bytes && block[n_left] == fill) {
        n_left++;
    }
    for (size_t i = n_left; i < num_bytes; i++) {
        assert_int_equal(block[i], 0);
    }
    return n_left;
}

/* A block of `fill` that was had, and released. */
static void leave(size_t num_bytes, int fill)
{
    unsigned char *block = uncleared(num_bytes);
    memset(block, fill, num_bytes);
    assert_int_equal(release_hot(block), HEAP_OK);
}

static void test_what_this_process_left_is_not_cleared_but_for_the_last_page(void **state)
{
    leave(BLOCK_BYTES, 'a');
    const unsigned char *block = uncleared(BLOCK_BYTES);
    assert_int_equal(count_left(block, BLOCK_BYTES, 'a'), OWN_BYTES);
}

static void test_whole_pages_are_left_as_they_are(void **state)
{
    leave(OWN_BYTES, 'a');
    assert_int_equal(count_left(uncleared(OWN_BYTES), OWN_BYTES, 'a'), OWN_BYTES);
}

static void test_another_call_clears_all_of_it(void **state)
{
    leave(BLOCK_BYTES, 'a');
    const unsigned char *block = allocate_hot(BLOCK_BYTES, "cleared");
    assert_int_equal(count_left(block, BLOCK_BYTES, 'a'), 0);
}

static void test_what_was_cleared_is_own_as_well(void **state)
{
    unsigned char *block = allocate_hot(BLOCK_BYTES, "cleared");
    memset(block, 'b', BLOCK_BYTES);
    assert_int_equal(release_hot(block), HEAP_OK);
    assert_int_equal(count_left(uncleared(BLOCK_BYTES), BLOCK_BYTES, 'b'), OWN_BYTES);
}

/* The daemon has revoked the pages, and leases them again: others may have had them meanwhile. */
static void test_pages_that_were_away_are_cleared(void **state)
{
    lender->is_dirty = true;
    leave(BLOCK_BYTES, 'a');
    assert_true(fake_lender_revoke(lender, lender->n_granted) > 0);
    assert_int_equal(count_left(uncleared(BLOCK_BYTES), BLOCK_BYTES, 'a'), 0);
}

static void test_of_a_longer_block_only_the_part_that_is_own_is_left(void **state)
{
    unsigned char *first = uncleared(OWN_BYTES);
    unsigned char *second = uncleared(OWN_BYTES);
    assert_ptr_equal(second, first + OWN_BYTES);
    memset(first, 'a', OWN_BYTES);
    memset(second, 's', OWN_BYTES);
    struct found found;
    bool was;
    assert_int_equal(kmem__shared_mark(allocator, offset_of(second), &found, &was), HEAP_OK);
    assert_true(kmem__shared_set(allocator, offset_of(second), SHARED_AWAY));
    assert_true(kmem__heap_come_home(allocator, offset_of(second), true));
    assert_int_equal(release_hot(first), HEAP_OK);
    unsigned char *both = uncleared(2 * OWN_BYTES);
    assert_ptr_equal(both, first);
    assert_int_equal(count_left(both, 2 * OWN_BYTES, 'a'), OWN_BYTES);
}

/* A block that comes home by the returns, as the server says that it does. */
static size_t left_after_return(uint64_t flags)
{
    unsigned char *block = uncleared(OWN_BYTES);
    struct ledger_returns *returns = allocator->ledger.returns;
    struct found found;
    bool was;
    memset(block, 's', OWN_BYTES);
    assert_int_equal(kmem__shared_mark(allocator, offset_of(block), &found, &was), HEAP_OK);
    assert_true(kmem__shared_set(allocator, offset_of(block), SHARED_AWAY));
    const uint64_t n_put = atomic_load(&returns->n_put);
    atomic_store(&returns->offsets[n_put % RETURNS_MAX], offset_of(block).bytes | flags);
    atomic_store(&returns->n_put, n_put + 1);
    unsigned char *again = uncleared(OWN_BYTES);
    assert_ptr_equal(again, block);
    const size_t n_left = count_left(again, OWN_BYTES, 's');
    assert_int_equal(release_hot(again), HEAP_OK);
    return n_left;
}

static void test_what_came_home_is_left_as_it_is_if_no_other_wrote_it(void **state)
{
    assert_int_equal(left_after_return(0), OWN_BYTES);
    assert_int_equal(left_after_return(RETURNS_WRITTEN), 0);
    assert_int_equal(left_after_return(0), OWN_BYTES);
}

/* Of a slab's pages some may be no block's yet, and have another's bytes. */
static void test_pages_of_a_slab_are_not_own(void **state)
{
    lender->is_dirty = true;
    void *blocks[200];
    for (uint32_t i = 0; i < 200; i++) {
        blocks[i] = allocate_hot(5000, "small");
        memset(blocks[i], 'a', 5000);
    }
    for (uint32_t i = 0; i < 200; i++) {
        assert_int_equal(release_hot(blocks[i]), HEAP_OK);
    }
    (void)kmem__heap_flush(allocator);
    for (uint32_t i = 0; i < 10; i++) {
        assert_int_equal(count_left(uncleared(OWN_BYTES), OWN_BYTES, 'a'), 0);
    }
}

#define SMALL_BYTES 200

static unsigned char *uncleared_small(void)
{
    unsigned char *block = NULL;
    for (int i = 0; i <= HOT_AFTER && block == NULL; i++) {
        block = kmem__heap_allocate_uncleared(allocator, SMALL_BYTES, "small");
    }
    assert_non_null(block);
    return block;
}

static void test_a_small_block_has_what_this_process_left_in_it(void **state)
{
    unsigned char *block = uncleared_small();
    assert_int_equal(count_left(block, SMALL_BYTES, 'a'), 0);
    memset(block, 'a', SMALL_BYTES);
    assert_int_equal(release_hot(block), HEAP_OK);
    assert_ptr_equal(uncleared_small(), block);
    assert_int_equal(count_left(block, SMALL_BYTES, 'a'), SMALL_BYTES);
}

static void test_a_small_block_of_another_call_is_cleared(void **state)
{
    unsigned char *block = uncleared_small();
    memset(block, 'a', SMALL_BYTES);
    assert_int_equal(release_hot(block), HEAP_OK);
    assert_ptr_equal(allocate_hot(SMALL_BYTES, "cleared"), block);
    assert_int_equal(count_left(block, SMALL_BYTES, 'a'), 0);
}

/* Every byte that is not taken from the lender's pages yet is another process's. */
static void make_foreign(void)
{
    memset(lender->base, 'f', (size_t)lender->n_pages << PAGE_SHIFT);
    lender->is_dirty = true;
}

static void test_small_blocks_have_no_other_process_s_byte(void **state)
{
    make_foreign();
    for (uint32_t i = 0; i < 500; i++) {
        assert_int_equal(count_left(uncleared_small(), SMALL_BYTES, 'f'), 0);
    }
}

/* A slab that is open when the first such block is asked for has whatever it has. */
static void test_a_slab_that_was_there_before_is_cleared_block_by_block(void **state)
{
    make_foreign();
    assert_non_null(allocate_hot(SMALL_BYTES, "cleared"));
    for (uint32_t i = 0; i < 500; i++) {
        unsigned char *block = uncleared_small();
        assert_int_equal(count_left(block, SMALL_BYTES, 'f'), 0);
    }
}

static void test_a_small_block_that_another_wrote_comes_home_cleared(void **state)
{
    unsigned char *block = uncleared_small();
    struct found found;
    bool was;
    memset(block, 'f', SMALL_BYTES);
    assert_int_equal(kmem__shared_mark(allocator, offset_of(block), &found, &was), HEAP_OK);
    assert_true(kmem__shared_set(allocator, offset_of(block), SHARED_AWAY));
    assert_true(kmem__heap_come_home(allocator, offset_of(block), true));
    assert_ptr_equal(uncleared_small(), block);
    assert_int_equal(count_left(block, SMALL_BYTES, 'f'), 0);
}

/* A slab without another's byte is given back as such: a large block there is not cleared. */
static void test_pages_of_an_own_slab_stay_own(void **state)
{
    make_foreign();
    unsigned char *block = uncleared_small();
    memset(block, 'a', SMALL_BYTES);
    assert_int_equal(release_hot(block), HEAP_OK);
    assert_true(kmem__heap_flush(allocator));
    const uint32_t page = (uint32_t)(offset_of(block).bytes >> PAGE_SHIFT);
    assert_int_equal(lease_flags_of(allocator->ledger.states, page),
                     (uint32_t)LEASE_FREE | (uint32_t)LEASE_OWN);
    assert_ptr_equal(uncleared_small(), block);
    assert_int_equal(count_left(block, SMALL_BYTES, 'a'), SMALL_BYTES);
}

/* What is added to a block in its place is not cleared either. */
static void test_resize_in_place_is_on_the_ledger(void **state)
{
    struct found found;
    void *block = allocate_hot(300, "grows");
    struct heap *heap = kmem__heap_mine;
    assert_true(kmem__heap_resize(heap, block, 320));
    assert_int_equal(kmem__heap_sizeof(block), 320);
    assert_int_equal(kmem__heap_find(allocator, offset_of(block), &found), HEAP_OK);
    assert_memory_equal(allocator->ledger.reasons[found.reason].bytes, "grows", 5);
    assert_false(kmem__heap_resize(heap, block, 321));
    assert_true(kmem__heap_resize(heap, block, 1));
    assert_int_equal(kmem__heap_sizeof(block), 1);
    assert_false(kmem__heap_resize(heap, (char *)block + 16, 10));
    assert_int_equal(release_hot(block), HEAP_OK);
    assert_false(kmem__heap_resize(heap, block, 10));
    assert_int_equal(fake_lender_count_live(lender), 0);
}

/* Less than half of it is worth a copy into a smaller one. */
static void test_resize_of_a_large_block_to_little_is_refused(void **state)
{
    void *block = allocate_hot(4000, "shrinks");
    assert_true(kmem__heap_resize(kmem__heap_mine, block, 2049));
    assert_false(kmem__heap_resize(kmem__heap_mine, block, 2048));
    assert_int_equal(release_hot(block), HEAP_OK);
}

#define UNCLEARED_TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNCLEARED_TEST(test_what_this_process_left_is_not_cleared_but_for_the_last_page),
        UNCLEARED_TEST(test_whole_pages_are_left_as_they_are),
        UNCLEARED_TEST(test_another_call_clears_all_of_it),
        UNCLEARED_TEST(test_what_was_cleared_is_own_as_well),
        UNCLEARED_TEST(test_pages_that_were_away_are_cleared),
        UNCLEARED_TEST(test_of_a_longer_block_only_the_part_that_is_own_is_left),
        UNCLEARED_TEST(test_what_came_home_is_left_as_it_is_if_no_other_wrote_it),
        UNCLEARED_TEST(test_pages_of_a_slab_are_not_own),
        UNCLEARED_TEST(test_a_small_block_has_what_this_process_left_in_it),
        UNCLEARED_TEST(test_a_small_block_of_another_call_is_cleared),
        UNCLEARED_TEST(test_small_blocks_have_no_other_process_s_byte),
        UNCLEARED_TEST(test_a_slab_that_was_there_before_is_cleared_block_by_block),
        UNCLEARED_TEST(test_a_small_block_that_another_wrote_comes_home_cleared),
        UNCLEARED_TEST(test_pages_of_an_own_slab_stay_own),
        UNCLEARED_TEST(test_resize_in_place_is_on_the_ledger),
        UNCLEARED_TEST(test_resize_of_a_large_block_to_little_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

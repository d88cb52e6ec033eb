/* SPDX-License-Identifier: MIT */
/* Blocks of a lease that are shared: marked, lent, and come home by the ring in the ledger. */
#include "client/heap/large.h"
#include "client/heap/shared.h"
#include "tests/unit/heap_fixture.h"

static void *new_block(size_t num_bytes)
{
    void *block = allocate_hot(num_bytes, "shared");
    assert_non_null(block);
    return block;
}

static struct found mark(const void *block)
{
    struct found found;
    bool was;
    assert_int_equal(kmem__shared_mark(allocator, offset_of(block), &found, &was), HEAP_OK);
    assert_false(was);
    return found;
}

/* As the server does. */
static void put(uint64_t offset)
{
    struct ledger_returns *returns = allocator->ledger.returns;
    atomic_store(&returns->offsets[returns->n_put % RETURNS_MAX], offset);
    atomic_fetch_add(&returns->n_put, 1);
}

static bool is_live(const void *block)
{
    struct found found;
    return kmem__heap_find(allocator, offset_of(block), &found) == HEAP_OK;
}

static const size_t sizes[] = {100, 5000, 200000};
#define N_SIZES (sizeof(sizes) / sizeof(sizes[0]))

static void test_release_of_a_shared_block_is_SHARED_until_it_is_unmarked(void **state)
{
    for (size_t i = 0; i < N_SIZES; i++) {
        void *block = new_block(sizes[i]);
        const struct found found = mark(block);
        assert_int_equal(release_hot(block), HEAP_E_SHARED);
        assert_int_equal(release_hot(block), HEAP_E_SHARED);
        assert_true(is_live(block));
        kmem__shared_unmark(&found);
        assert_int_equal(release_hot(block), HEAP_OK);
        assert_true(kmem__heap_check(allocator));
    }
}

/* A thread that has found it private a moment ago, and another shares it meanwhile. */
static void test_large_block_that_is_being_shared_is_not_retired(void **state)
{
    void *block = new_block(200000);
    const uint32_t page = (uint32_t)(offset_of(block).bytes >> PAGE_SHIFT);
    const struct found found = mark(block);
    assert_false(kmem__large_give(allocator, NULL, page, true));
    assert_true(is_live(block));
    kmem__shared_unmark(&found);
    assert_true(kmem__large_give(allocator, NULL, page, true));
    assert_false(kmem__large_give(allocator, NULL, page, true));
    assert_false(is_live(block));
    assert_true(kmem__heap_check(allocator));
}

static void test_take_returns_releases_what_was_lent(void **state)
{
    for (size_t i = 0; i < N_SIZES; i++) {
        void *block = new_block(sizes[i]);
        (void)mark(block);
        assert_true(kmem__shared_set(allocator, offset_of(block), SHARED_AWAY));
        assert_false(kmem__heap_take_returns(allocator));
        put(offset_of(block).bytes);
        assert_true(kmem__heap_take_returns(allocator));
        assert_false(is_live(block));
        assert_false(kmem__heap_take_returns(allocator));
        assert_true(kmem__heap_check(allocator));
    }
}

static void test_take_returns_leaves_alone_what_is_here_or_not_shared_or_no_block(void **state)
{
    void *mine = new_block(100);
    void *shared = new_block(100);
    (void)mark(shared);
    const uint64_t offsets[] = {offset_of(mine).bytes,
                                offset_of(shared).bytes,
                                offset_of(shared).bytes + 16,
                                0,
                                16,
                                UINT64_MAX,
                                allocator->num_bytes};
    for (size_t i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
        put(offsets[i]);
    }
    assert_false(kmem__heap_take_returns(allocator));
    assert_int_equal(allocator->ledger.returns->n_taken, allocator->ledger.returns->n_put);
    assert_true(is_live(mine) && is_live(shared));
    assert_true(kmem__shared_set(allocator, offset_of(shared), SHARED_AWAY));
    put(offset_of(shared).bytes);
    put(offset_of(shared).bytes); /* twice */
    assert_true(kmem__heap_take_returns(allocator));
    assert_int_equal(release_hot(mine), HEAP_OK);
    assert_true(kmem__heap_check(allocator));
}

static void test_take_returns_of_more_than_the_ring_holds_takes_none(void **state)
{
    void *shared = new_block(100);
    (void)mark(shared);
    assert_true(kmem__shared_set(allocator, offset_of(shared), SHARED_AWAY));
    put(offset_of(shared).bytes);
    atomic_fetch_add(&allocator->ledger.returns->n_put, RETURNS_MAX);
    assert_false(kmem__heap_take_returns(allocator));
    assert_true(is_live(shared));
    assert_int_equal(allocator->ledger.returns->n_taken, allocator->ledger.returns->n_put);
}

static void test_an_allocation_takes_what_has_come_home(void **state)
{
    void *blocks[1000];
    for (size_t i = 0; i < 1000; i++) {
        blocks[i] = new_block(5000);
        (void)mark(blocks[i]);
        assert_true(kmem__shared_set(allocator, offset_of(blocks[i]), SHARED_AWAY));
        put(offset_of(blocks[i]).bytes);
    }
    uint32_t n_places = 0;
    for (size_t i = 0; i < 1000; i++) {
        size_t first = 0;
        while (blocks[first] != blocks[i]) {
            first++;
        }
        n_places += first == i;
    }
    assert_in_range(n_places, 1, 100); /* of which they have come home, and gone out again */
    assert_true(kmem__heap_check(allocator));
}

static void test_come_home_of_what_is_not_away_does_nothing(void **state)
{
    void *block = new_block(100);
    assert_false(kmem__heap_come_home(allocator, offset_of(block), false));
    (void)mark(block);
    assert_false(kmem__heap_come_home(allocator, offset_of(block), false));
    assert_true(is_live(block));
    assert_true(kmem__shared_set(allocator, offset_of(block), SHARED_AWAY));
    assert_true(kmem__heap_come_home(allocator, offset_of(block), false));
    assert_false(is_live(block));
    assert_false(kmem__shared_set(allocator, offset_of(block), SHARED_AWAY));
}

static lend_function lend;
static struct seg_off lent;

/* Asked for a lease, the library settles first what is in doubt: a block comes home by that. */
static int settle_and_lend(void *user, uint32_t n_pages, uint32_t want_pages, struct run *ret_run)
{
    (void)kmem__heap_come_home(allocator, lent, false);
    return lend(user, n_pages, want_pages, ret_run);
}

static void test_come_home_while_a_slab_of_its_size_is_opened(void **state)
{
    void *shared = new_block(100);
    (void)mark(shared);
    assert_true(kmem__shared_set(allocator, offset_of(shared), SHARED_AWAY));
    lent = offset_of(shared);
    lend = allocator->cache.lend;
    allocator->cache.lend = settle_and_lend;
    const uint32_t n_asked = lender->n_asked;
    while (lender->n_asked == n_asked) {
        (void)new_block(100);
    }
    assert_true(kmem__heap_check(allocator));
}

#define HEAP_TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        HEAP_TEST(test_release_of_a_shared_block_is_SHARED_until_it_is_unmarked),
        HEAP_TEST(test_large_block_that_is_being_shared_is_not_retired),
        HEAP_TEST(test_take_returns_releases_what_was_lent),
        HEAP_TEST(test_take_returns_leaves_alone_what_is_here_or_not_shared_or_no_block),
        HEAP_TEST(test_take_returns_of_more_than_the_ring_holds_takes_none),
        HEAP_TEST(test_an_allocation_takes_what_has_come_home),
        HEAP_TEST(test_come_home_of_what_is_not_away_does_nothing),
        HEAP_TEST(test_come_home_while_a_slab_of_its_size_is_opened),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * test_unreadable.c - a client's ledger can not be read any more: what it says is not told, and
 * nothing is taken from it
 *
 * Its lease is 16 pages, with a slab that has a shared block and one that has none.
 */
#include "daemon/core/block_iter.h"
#include "daemon/core/stretch.h"
#include "tests/unit/sharing_talk.h"
#include "tests/unit/unit.h"

static struct seg_off shared;
static client_ledger_read_fn read_well;
static uint32_t n_reads_left;

static bool read_some(void *user, uint32_t slot, uint64_t at, void *buffer, size_t n_bytes)
{
    if (n_reads_left == 0) {
        return false;
    }
    n_reads_left--;
    return read_well(user, slot, at, buffer, n_bytes);
}

/* From now on n_reads succeed, and no more. */
static void read_fails_after(uint32_t n_reads)
{
    n_reads_left = n_reads;
    core->client_ledger.read = read_some;
}

static int unreadable_setup(void **state)
{
    (void)sharing_setup(state);
    read_well = core->client_ledger.read;
    shared = leased_block();
    return 0;
}

static int unreadable_teardown(void **state)
{
    core->client_ledger.read = read_well;
    return sharing_teardown(state);
}

static uint32_t n_blocks_found(void)
{
    struct block_iter iter;
    struct block block;
    uint32_t n_blocks = 0;
    block_iter_init(&iter, core, BLOCKS_LEASED, (struct seg_off){0}, UINT32_MAX);
    while (block_iter_next(&iter, &block)) {
        n_blocks++;
    }
    return n_blocks;
}

static void test_blocks_of_a_ledger_that_can_not_be_read_are_not_told(void **state)
{
    assert_int_equal(n_blocks_found(), 2);
    read_fails_after(0);
    assert_int_equal(n_blocks_found(), 0);
    read_fails_after(1); /* heads, and no entry */
    assert_int_equal(n_blocks_found(), 0);
}

static void test_pages_of_a_ledger_that_can_not_be_read_are_in_use_for_something(void **state)
{
    struct stretch stretch;
    uint32_t spent = 0;
    read_fails_after(0);
    stretch_find(core, lease, lease, &spent, &stretch);
    assert_int_equal(stretch.state, STRETCH_LEASED);
    assert_int_equal(stretch.n_pages, 1);
    assert_int_equal(stretch.n_blocks, 0);
}

static void test_slabs_of_a_ledger_that_can_not_be_read_are_not_taken(void **state)
{
    const uint64_t n_free = core->pages.n_free_pages;
    read_fails_after(0);
    for (uint32_t i = 0; i < 8; i++) {
        (void)reclaim_step(&core->reclaim);
    }
    assert_int_equal(core->pages.n_free_pages, n_free);
}

/* Its shared block lives on; what else it left there is not known. */
static void test_a_slab_is_adopted_without_what_its_ledger_can_not_say(void **state)
{
    const struct share_handle handle = share(alice, shared);
    (void)attach(bob, &handle);
    read_fails_after(0);
    die(alice);
    assert_int_equal(payer_of(shared), bob->slot);
    assert_int_equal(core_check(core), 0);
}

int main(void)
{
#define UNREADABLE_TEST(test)                                                                      \
    cmocka_unit_test_setup_teardown(test, unreadable_setup, unreadable_teardown)
    const struct CMUnitTest tests[] = {
        UNREADABLE_TEST(test_blocks_of_a_ledger_that_can_not_be_read_are_not_told),
        UNREADABLE_TEST(test_pages_of_a_ledger_that_can_not_be_read_are_in_use_for_something),
        UNREADABLE_TEST(test_slabs_of_a_ledger_that_can_not_be_read_are_not_taken),
        UNREADABLE_TEST(test_a_slab_is_adopted_without_what_its_ledger_can_not_say),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * test_returns.c - blocks of a lease come home exactly once, when there is room
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemon/core/sharing.h"
#include "tests/unit/fail.h"
#include "tests/unit/fixture.h"

#define N_PAGES 256
#define BLOCK_BYTES 16
/* Blocks of one slab that are shared at a time. */
#define N_LENT 100

static struct fixture fixture;
static struct core *const core = &fixture.core;
static struct client *owner;
static struct client *holder;
static struct ledger_returns *ring;
static uint32_t slab;

static int returns_setup(void **state)
{
    (void)state;
    fixture_init(&fixture, N_PAGES, 4);
    owner = fixture_join(&fixture, 1);
    holder = fixture_join(&fixture, 2);
    ring = fixture_ledger(&fixture, owner)->returns;
    slab = fixture_lease(&fixture, owner, 1);
    fixture_carve(&fixture, owner, slab, 0);
    return 0;
}

static int returns_teardown(void **state)
{
    (void)state;
    fixture_fini(&fixture);
    return 0;
}

static void restart(void)
{
    char why[FIXTURE_WHY_BYTES];
    assert_int_equal(fixture_restart(&fixture, why), 0);
    owner = clients_get(&core->clients, 0);
    holder = clients_get(&core->clients, 1);
}

static struct seg_off block_at(uint32_t index)
{
    return (struct seg_off){((uint64_t)slab << PAGE_SHIFT) + (uint64_t)index * BLOCK_BYTES};
}

/* The owner lends a block, and the holder lets go of it. */
static void lend_and_let_go_as(struct seg_off off, bool write)
{
    struct sharing of = fixture_sharing(&fixture, owner);
    struct share_handle handle;
    struct attached attached;
    struct block block;
    enum let_go let_go;
    assert_int_equal(sharing_share(&of, off, false, &handle, &block), 0);
    of.client = holder;
    assert_int_equal(sharing_attach(&of, &handle, write, (struct sharing_reason){"", 0}, &attached),
                     0);
    of.client = owner;
    assert_int_equal(sharing_release(&of, off, &let_go, &block), 0);
    assert_int_equal(let_go, LET_GO_KEPT);
    of.client = holder;
    assert_int_equal(sharing_release(&of, off, &let_go, &block), 0);
    assert_int_equal(let_go, LET_GO_FREED);
}

static void lend_and_let_go(struct seg_off off)
{
    lend_and_let_go_as(off, false);
}

/* Carves n_blocks, and lends them all. */
static void lend(uint32_t n_blocks)
{
    for (uint32_t i = 0; i < n_blocks; i++) {
        (void)fixture_take(&fixture, owner, slab, BLOCK_BYTES);
        lend_and_let_go(block_at(i));
    }
    assert_int_equal(core_check(core), 0);
}

/* Takes what is there, as the client does. Return: how many blocks; each is counted. */
static uint32_t take(uint8_t n_came[N_LENT])
{
    uint64_t n_taken = atomic_load(&ring->n_taken);
    const uint64_t n_put = atomic_load(&ring->n_put);
    const uint32_t n_new = (uint32_t)(n_put - n_taken);
    assert_true(n_put - n_taken <= RETURNS_MAX);
    for (; n_taken != n_put; n_taken++) {
        const uint64_t offset = atomic_load(&ring->offsets[n_taken % RETURNS_MAX]);
        const uint64_t index = (offset - block_at(0).bytes) / BLOCK_BYTES;
        assert_true(index < N_LENT);
        n_came[index]++;
    }
    atomic_store(&ring->n_taken, n_taken);
    return n_new;
}

static void expect_each_once(const uint8_t n_came[N_LENT])
{
    for (uint32_t i = 0; i < N_LENT; i++) {
        assert_int_equal(n_came[i], 1);
    }
    assert_int_equal(core->shares.n_shares, 0);
    assert_int_equal(core_check(core), 0);
}

static void test_returns_come_in_order_while_there_is_room(void **state)
{
    (void)state;
    lend(N_LENT);
    assert_int_equal(atomic_load(&ring->n_put), N_LENT);
    for (uint32_t i = 0; i < N_LENT; i++) {
        assert_int_equal(atomic_load(&ring->offsets[i]), block_at(i).bytes);
    }
}

/* The owner is told that another held the block for writing, whenever it hears that it is home. */
static void test_returns_say_what_was_held_for_writing(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 4; i++) {
        (void)fixture_take(&fixture, owner, slab, BLOCK_BYTES);
        if (i == 2) {
            restart();
            ring = fixture_ledger(&fixture, owner)->returns;
            atomic_store(&ring->n_put, atomic_load(&ring->n_taken) + RETURNS_MAX);
        }
        lend_and_let_go_as(block_at(i), i % 2 == 0);
    }
    assert_int_equal(core->shares.n_shares, 2); /* for want of room */
    restart();
    ring = fixture_ledger(&fixture, owner)->returns;
    const uint64_t n_put = atomic_load(&ring->n_put);
    assert_int_equal(atomic_load(&ring->offsets[0]), block_at(0).bytes | RETURNS_WRITTEN);
    assert_int_equal(atomic_load(&ring->offsets[1]), block_at(1).bytes);
    atomic_store(&ring->n_taken, n_put);
    sharing_deliver(core, owner);
    uint64_t said[4] = {0};
    for (uint64_t n = n_put; n < n_put + 2; n++) {
        const uint64_t word = atomic_load(&ring->offsets[n % RETURNS_MAX]);
        said[((word & ~RETURNS_WRITTEN) - block_at(0).bytes) / BLOCK_BYTES] = word;
    }
    assert_int_equal(said[2], block_at(2).bytes | RETURNS_WRITTEN);
    assert_int_equal(said[3], block_at(3).bytes);
}

/* At 1,025 the share waits, its pages stay pinned, and it comes when some were taken. */
static void test_returns_wait_for_room(void **state)
{
    (void)state;
    uint8_t n_came[N_LENT] = {0};
    atomic_store(&ring->n_put, RETURNS_MAX - 10);
    lend(N_LENT);
    assert_int_equal(atomic_load(&ring->n_put), RETURNS_MAX);
    assert_int_equal(core->shares.n_shares, N_LENT - 10);
    assert_true(shares_is_pinned(&core->shares, slab, 1));
    sharing_deliver(core, owner);
    assert_int_equal(core->shares.n_shares, N_LENT - 10);
    atomic_store(&ring->n_taken, RETURNS_MAX - 10); /* those before are no blocks of this test */
    assert_int_equal(take(n_came), 10);
    sharing_deliver(core, owner);
    assert_int_equal(take(n_came), N_LENT - 10);
    expect_each_once(n_came);
}

/* It has no ledger: they wait, and over a restart, too, until it has one. */
static void test_returns_wait_for_a_ledger(void **state)
{
    (void)state;
    uint8_t n_came[N_LENT] = {0};
    owner->returns = NULL;
    lend(N_LENT);
    assert_int_equal(core->shares.n_shares, N_LENT);
    restart();
    owner->returns = NULL;
    sharing_deliver(core, owner);
    assert_int_equal(core->shares.n_shares, N_LENT);
    owner->returns = ring;
    sharing_deliver(core, owner);
    assert_int_equal(take(n_came), N_LENT);
    expect_each_once(n_came);
}

/* The numbers are compared in 32 bits. */
static void test_returns_over_the_end_of_the_numbers(void **state)
{
    (void)state;
    uint8_t n_came[N_LENT] = {0};
    atomic_store(&ring->n_put, UINT32_MAX - N_LENT / 2);
    atomic_store(&ring->n_taken, UINT32_MAX - N_LENT / 2);
    lend(N_LENT);
    assert_int_equal(take(n_came), N_LENT);
    expect_each_once(n_came);
}

/* Numbers that no honest client leaves: the server goes on, and nobody else is harmed. */
static void test_returns_to_a_client_that_spoils_its_numbers(void **state)
{
    (void)state;
    const uint64_t numbers[] = {0, 1, RETURNS_MAX, UINT32_MAX, UINT64_MAX, UINT64_C(1) << 63};
    for (size_t i = 0; i < 36; i++) {
        atomic_store(&ring->n_put, numbers[i % 6]);
        atomic_store(&ring->n_taken, numbers[i / 6]);
        (void)fixture_take(&fixture, owner, slab, BLOCK_BYTES);
        lend_and_let_go(block_at((uint32_t)i));
        assert_int_equal(core_check(core), 0);
        if (i % 5 == 0) {
            restart();
        }
    }
    atomic_store(&ring->n_put, 7);
    atomic_store(&ring->n_taken, 7);
    sharing_deliver(core, owner);
    assert_int_equal(core->shares.n_shares, 0);
}

static void test_returns_init_that_fails_leaves_nothing(void **state)
{
    (void)state;
    struct returns returns;
    for (unsigned nth = 1; fail_again("memory", nth, ENOMEM); nth++) {
        const int r = returns_init(&returns, &core->shares);
        assert_int_equal(r, fail_end() ? -ENOMEM : 0);
        if (r == 0) {
            returns_fini(&returns);
        }
    }
}

static void test_returns_check_finds_what_nobody_waits_for(void **state)
{
    (void)state;
    owner->returns = NULL;
    lend(3);
    const uint32_t first = core->returns.first[owner->slot];
    core->returns.first[owner->slot] = core->returns.next[first];
    assert_int_equal(returns_check(&core->returns, &core->clients), RETURNS_E_CORRUPT);
    core->returns.first[owner->slot] = first;
    assert_int_equal(returns_check(&core->returns, &core->clients), 0);
    core->returns.next[first] = first;
    assert_int_equal(returns_check(&core->returns, &core->clients), RETURNS_E_CORRUPT);
    returns_forget(&core->returns, owner->slot);
    restart();
}

/* As a server leaves it that was killed between the number and the ring: it goes home first, though
   others were told of before. */
static void test_recover_delivers_the_numbered_one_before_those_that_wait(void **state)
{
    (void)state;
    uint8_t n_came[N_LENT] = {0};
    owner->returns = NULL; /* it can be told nothing */
    lend(3);
    const uint32_t share = shares_at(&core->shares, block_at(0));
    assert_true(share < shares_at(&core->shares, block_at(1)));
    const uint64_t word = shares_word(&core->shares, share);
    core->state.shares[share].word =
        word | SHARE_NUMBERED | (atomic_load(&ring->n_put) + 1) << SHARE_RETURN_SHIFT;
    restart();
    sharing_deliver(core, owner);
    assert_int_equal(atomic_load(&ring->offsets[0]), block_at(0).bytes);
    assert_int_equal(take(n_came), 3);
    assert_int_equal(core->shares.n_shares, 0);
}

#define RETURNS_TEST(test) cmocka_unit_test_setup_teardown(test, returns_setup, returns_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RETURNS_TEST(test_returns_come_in_order_while_there_is_room),
        RETURNS_TEST(test_returns_say_what_was_held_for_writing),
        RETURNS_TEST(test_returns_wait_for_room),
        RETURNS_TEST(test_returns_wait_for_a_ledger),
        RETURNS_TEST(test_returns_over_the_end_of_the_numbers),
        RETURNS_TEST(test_returns_to_a_client_that_spoils_its_numbers),
        RETURNS_TEST(test_returns_init_that_fails_leaves_nothing),
        RETURNS_TEST(test_returns_check_finds_what_nobody_waits_for),
        RETURNS_TEST(test_recover_delivers_the_numbered_one_before_those_that_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * test_adopt.c - slabs of shared blocks outlive who carved them; and pinned pages are nobody's to
 * take while it lives, whatever its ledger says
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/core/settle.h"
#include "daemon/core/sharing.h"
#include "proto/lease.h"
#include "tests/unit/broken.h"
#include "tests/unit/fixture.h"

#define N_PAGES 256

static struct fixture fixture;
static struct core *const core = &fixture.core;
static struct client *owner;
static struct client *holder;
static struct ledger *ledger; /* the owner's */
static uint32_t lease;        /* its first page; 40 of them */

static bool barrier(void)
{
    return true;
}

static int adopt_setup(void **state)
{
    (void)state;
    fixture_init(&fixture, N_PAGES, 4);
    core->reclaim.barrier = barrier;
    owner = fixture_join(&fixture, 1);
    holder = fixture_join(&fixture, 2);
    ledger = fixture_ledger(&fixture, owner);
    atomic_store(&ledger->header->is_fenced, 1);
    lease = fixture_lease(&fixture, owner, 40);
    return 0;
}

static int adopt_teardown(void **state)
{
    (void)state;
    fixture_fini(&fixture);
    return 0;
}

static struct share_handle lend(struct seg_off off)
{
    struct sharing of = fixture_sharing(&fixture, owner);
    struct share_handle handle;
    struct attached attached;
    struct block block;
    assert_int_equal(sharing_share(&of, off, false, &handle, &block), 0);
    of.client = holder;
    assert_int_equal(sharing_attach(&of, &handle, false, (struct sharing_reason){"", 0}, &attached),
                     0);
    assert_int_equal(core_check(core), 0);
    return handle;
}

static void release(struct client *client, struct seg_off off)
{
    const struct sharing of = fixture_sharing(&fixture, client);
    enum let_go let_go;
    struct block block;
    assert_int_equal(sharing_release(&of, off, &let_go, &block), 0);
    assert_int_equal(core_check(core), 0);
}

static void owner_ends(void)
{
    core_end(core, owner, false, fixture.now_ms);
    while (core_has_dead(core)) {
        fixture_reap(&fixture, 1);
        assert_int_equal(core_check(core), 0);
    }
    assert_int_equal(core->leases.n_pages, 0);
}

static struct block block_at(struct seg_off off)
{
    struct block block;
    const int r = direct_find(&core->direct, core->clients.kept, off, &block);
    assert_true(r == 0 || r == DIRECT_E_FOREIGN);
    return block;
}

/* ----------------------------------------------------------------------------------- adopt ---- */

/* Of each size class the first and the last block; what is not shared is room for others. */
static void test_adopt_of_each_size_class(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < N_SIZE_CLASSES; i++) {
        const struct size_class *of = &size_classes[i];
        const uint32_t reason = fixture_tell(&fixture, owner, "picture");
        struct seg_off offs[2];
        if (of->n_blocks == 1) {
            continue; /* as a large block */
        }
        fixture_carve(&fixture, owner, lease, i);
        for (uint32_t index = 0; index < of->n_blocks; index++) {
            (void)ledger_take(ledger, lease, of->block_bytes, reason, 5, 0);
        }
        offs[0] = ledger_offset(ledger, lease, 0);
        offs[1] = ledger_offset(ledger, lease, of->n_blocks - 1);
        (void)lend(offs[0]);
        (void)lend(offs[1]);

        owner_ends();

        assert_int_equal(fixture.last.n_blocks, of->n_blocks - 2);
        assert_int_equal(core->direct.n_blocks, 2);
        assert_int_equal(core->direct.slab_bytes, (uint64_t)of->span_pages << PAGE_SHIFT);
        for (size_t j = 0; j < 2; j++) {
            const struct block block = block_at(offs[j]);
            size_t n_bytes;
            assert_int_equal(block.num_bytes, of->block_bytes);
            assert_int_equal(block.born, 0); /* when it was shared */
            assert_int_equal(block.slot, holder->slot);
            assert_memory_equal(reasons_text(&core->reasons, block.reason, &n_bytes), "picture", 7);
        }
        const struct seg_off other = fixture_allocate(&fixture, holder, of->block_bytes, "other");
        assert_true(of->n_blocks == 2 || other.bytes >> PAGE_SHIFT < lease + of->span_pages);
        fixture_release(&fixture, holder, other);
        release(holder, offs[0]);
        release(holder, offs[1]);
        (void)adopt_teardown(NULL);
        (void)adopt_setup(NULL);
    }
}

/* Large ones with pages of the lease before and behind them, that are free afterwards. */
static void test_adopt_of_large_blocks(void **state)
{
    (void)state;
    const uint32_t pages[] = {lease + 1, lease + 12, lease + 33};
    const uint32_t lengths[] = {9, 21, 7};
    for (size_t i = 0; i < 3; i++) {
        fixture_carve_large(&fixture, owner, pages[i], lengths[i],
                            ((uint64_t)lengths[i] << PAGE_SHIFT) - 100);
        (void)lend((struct seg_off){(uint64_t)pages[i] << PAGE_SHIFT});
    }

    owner_ends();

    assert_int_equal(core->direct.n_blocks, 3);
    assert_int_equal(core_free_bytes(core), (uint64_t)(N_PAGES - 1 - 37) << PAGE_SHIFT);
    assert_int_equal(holder->n_blocks, 3);
    for (size_t i = 0; i < 3; i++) {
        const struct seg_off off = {(uint64_t)pages[i] << PAGE_SHIFT};
        assert_int_equal(block_at(off).num_bytes, ((uint64_t)lengths[i] << PAGE_SHIFT) - 100);
        release(holder, off);
    }
    assert_int_equal(core->direct.n_blocks, 0);
}

/* The dead client's ledger is not needed: it says nonsense, and then it is gone. */
static void test_adopt_believes_nothing_of_the_dead(void **state)
{
    (void)state;
    fixture_carve(&fixture, owner, lease, 0);
    const struct seg_off off = fixture_take(&fixture, owner, lease, 16);
    (void)lend(off);
    memset((void *)ledger->heads, 0xff, sizeof(struct ledger_head) * N_PAGES);
    memset((void *)ledger->planes[3], 0xff, (sizeof(struct ledger_entry) * N_PAGES) << 10);
    memset((void *)ledger->states, 0x01, N_PAGES);

    owner_ends();

    assert_int_equal(block_at(off).num_bytes, 16);
    assert_int_equal(core->direct.n_blocks, 1);
}

static void test_adopt_what_a_living_client_has_is_a_bug(void **state)
{
    (void)state;
    fixture_carve(&fixture, owner, lease, 0);
    const struct seg_off off = fixture_take(&fixture, owner, lease, 16);
    (void)lend(off);
    assert_broken(leases_reap(&core->leases, owner, lease));
}

/* ------------------------------------------------------------------------------------ pins ---- */

/* One page is pinned; all of the lease is what a client may write into its states. */
static void expect_pinned_whatever(uint8_t flags)
{
    fixture_carve(&fixture, owner, lease + 20, 0);
    lease_open_slab(owner->states, lease + 20, 1);
    const struct seg_off off = fixture_take(&fixture, owner, lease + 20, 16);
    (void)lend(off);
    memset((unsigned char *)owner->states + lease, flags, 40);
    atomic_store(&ledger_entries(ledger, lease + 20)[0].word, 0); /* idle, it says */
    (void)atomic_fetch_add(&ledger->counts->n_releases, 1);
    (void)atomic_fetch_add(owner->states - LEASE_GIVEN_BEFORE_BYTES / sizeof(uint64_t), 1);

    (void)leases_return(&core->leases, owner, lease + 20, lease + 21);
    assert_int_equal(leases_make_room(&core->leases, N_PAGES), LEASES_E_FULL);
    leases_return_some(&core->leases, owner, 40);
    leases_return_all(&core->leases);
    for (int i = 0; i < 10; i++) {
        (void)reclaim_step(&core->reclaim);
    }

    const uint64_t word = pages_word(&core->pages, pages_run_of(&core->pages, lease + 20));
    assert_int_equal(PAGE_WORD_STATE(word), PAGE_LEASED);
    assert_int_equal(PAGE_WORD_OWNER(word), owner->slot);
    assert_int_equal(core_check(core), 0);
}

static void test_pinned_page_stays_whatever_its_states_say(void **state)
{
    (void)state;
    char why[FIXTURE_WHY_BYTES];
    for (uint32_t flags = 0; flags < 256; flags++) {
        expect_pinned_whatever((uint8_t)flags);
        assert_int_equal(fixture_restart(&fixture, why), 0);
        const uint64_t word = pages_word(&core->pages, pages_run_of(&core->pages, lease + 20));
        assert_int_equal(PAGE_WORD_STATE(word), PAGE_LEASED);
        (void)adopt_teardown(NULL);
        (void)adopt_setup(NULL);
    }
}

/* Unused ones around it are taken, and are all that is counted as unused. */
static void test_pages_beside_a_pinned_one_are_taken(void **state)
{
    (void)state;
    expect_pinned_whatever(LEASE_FREE);
    assert_int_equal(owner->leased_pages, 1);
    assert_int_equal(leases_n_unused(&core->leases), 0);
}

static void test_page_is_pinned_until_its_last_share_has_ended(void **state)
{
    (void)state;
    fixture_carve(&fixture, owner, lease, 0);
    const struct seg_off offs[] = {fixture_take(&fixture, owner, lease, 16),
                                   fixture_take(&fixture, owner, lease, 16)};
    (void)lend(offs[0]);
    (void)lend(offs[1]);
    for (size_t i = 0; i < 2; i++) {
        assert_true(shares_is_pinned(&core->shares, lease, 1));
        release(holder, offs[i]);
        release(owner, offs[i]);
    }
    assert_false(shares_is_pinned(&core->shares, lease, 1));
}

#define ADOPT_TEST(test) cmocka_unit_test_setup_teardown(test, adopt_setup, adopt_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ADOPT_TEST(test_adopt_of_each_size_class),
        ADOPT_TEST(test_adopt_of_large_blocks),
        ADOPT_TEST(test_adopt_believes_nothing_of_the_dead),
        ADOPT_TEST(test_adopt_what_a_living_client_has_is_a_bug),
        ADOPT_TEST(test_pinned_page_stays_whatever_its_states_say),
        ADOPT_TEST(test_pages_beside_a_pinned_one_are_taken),
        ADOPT_TEST(test_page_is_pinned_until_its_last_share_has_ended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

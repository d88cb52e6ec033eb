/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/core/reap.h"
#include "daemon/core/core.h"
#include "proto/lease.h"
#include "tests/unit/broken.h"
#include "tests/unit/fail.h"
#include "tests/unit/core_fixture.h"
#include "tests/unit/unit.h"

#define N_PAGES 256
#define LIMIT 20

static int reap_setup(void **state)
{
    fixture_init(&fixture, N_PAGES, LIMIT);
    return 0;
}

static void end(struct client *client)
{
    core_end(core, client, false, fixture.now_ms);
}

static void test_reap_takes_back_what_the_dead_held_and_nothing_else(void **state)
{
    struct client *dead = fixture_join(&fixture, 1);
    struct client *alive = fixture_join(&fixture, 2);
    for (uint32_t i = 0; i < 300; i++) {
        fixture_hold(&fixture, i % 3 ? dead : alive, 1, 700);
    }
    fixture_hold(&fixture, dead, 2, 10 * PAGE_BYTES);

    end(dead);
    assert_true(core_has_dead(core));
    assert_true(fixture_reap_all(&fixture) > 3);

    assert_int_equal(core->direct.n_blocks, 100);
    assert_int_equal(alive->n_blocks, 100);
    assert_int_equal(fixture.n_buried, 1);
    assert_int_equal(fixture.last.n_blocks, 202);
    assert_int_equal(core->clients.n_live, 1);
}

/* What a step of taking back costs is bounded, however many end at once. */
static void test_reap_writes_some_obituaries_in_a_step(void **state)
{
    uint32_t n_steps = 0;
    for (uint32_t i = 0; i < LIMIT; i++) {
        struct client *client = fixture_join(&fixture, 100 + i);
        fixture_hold(&fixture, client, i % 3, 700);
        end(client);
    }

    for (; core_has_dead(core); n_steps++) {
        const uint64_t n_before = core->obituaries.n_written;
        fixture_reap(&fixture, 2 * REAP_OBITUARY_COST);
        assert_in_range(core->obituaries.n_written - n_before, 0, 4);
        assert_int_equal(core_check(core), 0);
    }

    assert_in_range(n_steps, 2, LIMIT);
    assert_int_equal(core->obituaries.n_written, LIMIT);
}

static void test_reap_of_one_that_holds_nothing_needs_no_walk(void **state)
{
    fixture_hold(&fixture, fixture_join(&fixture, 2), 2000, 700);
    end(fixture_join(&fixture, 1));

    assert_int_equal(fixture_reap_all(&fixture), 1);

    assert_int_equal(fixture.n_buried, 1);
}

static void test_reap_when_no_client_is_dead_does_nothing(void **state)
{
    fixture_hold(&fixture, fixture_join(&fixture, 2), 20, 700);

    fixture_reap(&fixture, UINT32_MAX);

    assert_int_equal(fixture.n_buried, 0);
    assert_int_equal(core->direct.n_blocks, 20);
}

static void test_reap_takes_one_that_dies_behind_the_walk(void **state)
{
    struct client *low = fixture_join(&fixture, 1);
    struct client *high = fixture_join(&fixture, 2);
    fixture_hold(&fixture, low, 16, 1024);       /* the first slab */
    fixture_hold(&fixture, high, 16 * 10, 1024); /* ten more */
    end(high);
    for (uint32_t i = 0; i < 5; i++) {
        fixture_reap(&fixture, 1);
    }
    assert_true(core->reap.from_page > 2);

    end(low); /* its slab has been passed */
    (void)fixture_reap_all(&fixture);

    assert_int_equal(fixture.n_buried, 2);
    assert_int_equal(core->direct.n_blocks, 0);
    assert_int_equal(core_free_bytes(core), core_segment_bytes(core) - PAGE_BYTES);
}

static void test_reap_of_many_at_once_writes_each_obituary_once(void **state)
{
    for (uint32_t i = 0; i < LIMIT; i++) {
        fixture_hold(&fixture, fixture_join(&fixture, 100 + i), 1 + i, 600);
    }

    for (uint32_t slot = 0; slot < LIMIT; slot++) {
        end(clients_get(&core->clients, slot));
        fixture_reap(&fixture, 1);
        assert_int_equal(core_check(core), 0);
    }
    (void)fixture_reap_all(&fixture);

    assert_int_equal(fixture.n_buried, LIMIT);
    assert_int_equal(core->obituaries.n_written, LIMIT);
    assert_int_equal(core->clients.n_live, 0);
}

static void test_reap_goes_on_while_others_allocate_and_release(void **state)
{
    struct client *dead = fixture_join(&fixture, 1);
    struct client *alive = fixture_join(&fixture, 2);
    struct seg_off offs[60];
    for (uint32_t i = 0; i < 60; i++) {
        fixture_hold(&fixture, dead, 8, 1024);
        offs[i] = fixture_allocate(&fixture, alive, 1024, "alive");
    }

    end(dead);
    for (uint32_t i = 0; i < 60; i++) {
        fixture_reap(&fixture, 1);
        fixture_release(&fixture, alive, offs[i]);
        fixture_hold(&fixture, alive, 1, 1 + 997 * (uint64_t)i);
        assert_int_equal(core_check(core), 0);
    }
    (void)fixture_reap_all(&fixture);

    assert_int_equal(fixture.last.n_blocks, 60 * 8);
    assert_int_equal(core->direct.n_blocks, 60);
    assert_int_equal(alive->n_blocks, 60);
}

static void test_reap_from_a_page_that_is_inside_a_run_by_now(void **state)
{
    struct client *dead = fixture_join(&fixture, 1);
    struct client *alive = fixture_join(&fixture, 2);
    struct seg_off offs[32];
    for (uint32_t i = 0; i < 32; i++) {
        offs[i] = fixture_allocate(&fixture, alive, PAGE_BYTES, "a slab of one block");
    }
    fixture_hold(&fixture, dead, 3, PAGE_BYTES);
    end(dead);
    for (uint32_t i = 0; i < 10; i++) {
        fixture_reap(&fixture, 1);
    }
    const uint32_t paused_at = core->reap.from_page;
    assert_in_range(paused_at, 2, 31);

    for (uint32_t i = 0; i < 32; i++) {
        fixture_release(&fixture, alive, offs[i]);
    }
    fixture_hold(&fixture, alive, 1,
                 30 * PAGE_BYTES); /* one large block over the place of the pause */
    (void)fixture_reap_all(&fixture);

    assert_int_equal(fixture.n_buried, 1);
    assert_int_equal(core->direct.n_blocks, 1);
}

static void test_reap_frees_the_slot_for_the_next(void **state)
{
    struct client *first = fixture_join(&fixture, 1);
    fixture_hold(&fixture, first, 5, 100);
    const uint32_t slot = first->slot;

    fixture_end(&fixture, first, true);

    assert_true(fixture.last.left);
    assert_int_equal(fixture_join(&fixture, 2)->slot, slot);
}

/* 50 slabs of the smallest blocks, 51,200 entries: no step reads all of it, and no block twice. */
static void test_reap_reads_a_lease_in_steps(void **state)
{
    struct client *client = fixture_join(&fixture, 77);
    struct ledger *ledger = fixture_ledger(&fixture, client);
    const uint32_t page = fixture_lease(&fixture, client, 50);
    for (uint32_t i = 0; i < 50; i++) {
        fixture_carve(&fixture, client, page + i, 0);
        for (uint32_t k = 0; k < 1000; k++) {
            (void)ledger_take(ledger, page + i, 16, REASON_NONE, 0, 0);
        }
    }
    core_end(&fixture.core, client, false, fixture.now_ms);
    uint32_t n_steps = 0;
    while (fixture.n_buried == 0) {
        fixture_reap(&fixture, 5000);
        assert_int_equal(core_check(&fixture.core), 0);
        n_steps++;
        assert_true(n_steps < 50);
    }
    assert_true(n_steps >= 51200 / 5000);
    assert_int_equal(fixture.last.n_blocks, 50000);
    assert_int_equal(fixture.last.num_bytes, 50000 * 16);
}

#define MANY_PAGES 100001

/* How often anything has looked at a run of pages. */
static uint64_t n_looks;

uint64_t __real_pages_word(const struct pages *pages, uint32_t page);
uint64_t __wrap_pages_word(const struct pages *pages, uint32_t page);
uint64_t __wrap_pages_word(const struct pages *pages, uint32_t page)
{
    n_looks++;
    return __real_pages_word(pages, page);
}

/* Page by page is the worst way to lease: a look at all of them for each is 10,000,000,000. */
static void test_reap_of_100000_leases_of_a_page_is_no_more_than_of_one(void **state)
{
    fixture_fini(&fixture);
    fixture_init(&fixture, MANY_PAGES, LIMIT);
    struct client *client = fixture_join(&fixture, 77);
    (void)fixture_ledger(&fixture, client);
    bool zero;
    for (uint32_t i = 1; i < MANY_PAGES; i++) {
        const uint32_t page = fixture_lease(&fixture, client, 1);
        assert_true(lease_take(client->states, page, 1, &zero));
    }
    end(client);

    n_looks = 0;
    /* Each page, and a read for sixteen heads; a walk for each lease is thousands of steps. */
    const uint32_t work = MANY_PAGES + MANY_PAGES / 16 * CLIENT_LEDGER_READ_COST;
    uint32_t n_steps = 0;
    while (fixture.n_buried == 0) {
        fixture_reap(&fixture, 5000);
        n_steps++;
    }

    assert_in_range(n_steps, MANY_PAGES / 5000, 2 * work / 5000);
    assert_in_range(n_looks, 1, UINT64_C(10) * MANY_PAGES);
    assert_int_equal(core_check(core), 0);
    fixture_fini(&fixture);
    fixture_init(&fixture, N_PAGES, LIMIT);
}

/* Pages that have been reaped become a lease of another client, in one run with what it has. */
static void test_reap_reads_a_lease_that_grew_behind_the_walk(void **state)
{
    struct client *first = fixture_join(&fixture, 1);
    struct client *second = fixture_join(&fixture, 2);
    (void)fixture_ledger(&fixture, first);
    struct ledger *ledger = fixture_ledger(&fixture, second);
    const uint32_t page = fixture_lease(&fixture, first, 4);
    assert_int_equal(fixture_lease(&fixture, second, N_PAGES - 1 - 4), page + 4);
    bool zero;
    assert_true(lease_take(first->states, page, 4, &zero));
    core_end(core, first, false, fixture.now_ms);
    fixture_reap(&fixture, 2); /* page 0 and the first lease, and no more */
    assert_int_equal(first->leased_pages, 0);

    assert_int_equal(fixture_lease(&fixture, second, 4), page);
    fixture_carve(&fixture, second, page, 0);
    (void)ledger_take(ledger, page, 5, REASON_NONE, 0, 0);
    fixture_end(&fixture, second, false);

    assert_int_equal(fixture.last.n_blocks, 1);
}

/* A slot is free once what its client left unused was revoked: its next client has the same one. */
static void test_reap_reads_all_of_the_next_client_of_a_slot(void **state)
{
    struct client *first = fixture_join(&fixture, 1);
    struct client *dead = fixture_join(&fixture, 2);
    struct client *alive = fixture_join(&fixture, 3);
    (void)fixture_ledger(&fixture, first);
    const uint32_t slot = first->slot;
    const uint32_t page = fixture_lease(&fixture, first, 200);
    fixture_hold(&fixture, dead, 1, PAGE_BYTES); /* behind it: the walk goes on */
    end(first);
    end(dead);
    fixture_reap(&fixture, 1);
    fixture_reap(&fixture, 1);
    assert_true(core->reap.at.bytes > (page + 10) * PAGE_BYTES); /* in the lease */

    leases_return_all(&core->leases);
    fixture_hold(&fixture, alive, 1, PAGE_BYTES); /* where the lease began */
    fixture_reap(&fixture, 1);
    assert_int_equal(fixture.n_buried, 1);
    struct client *second = fixture_join(&fixture, 4);
    assert_int_equal(second->slot, slot);
    struct ledger *ledger = fixture_ledger(&fixture, second);
    assert_int_equal(fixture_lease(&fixture, second, 150), page + 1);
    fixture_carve(&fixture, second, page + 1, 0);
    (void)ledger_take(ledger, page + 1, 5, REASON_NONE, 0, 0);
    end(second);
    while (fixture.n_buried < 2) {
        fixture_reap(&fixture, 1);
    }

    assert_int_equal(fixture.last.n_blocks, 1);
}

/* Between two steps unused pages of a lease, read already, become another's, and that ends, too. */
static void test_reap_reads_no_block_twice_though_another_leases_before_it(void **state)
{
    struct client *first = fixture_join(&fixture, 1);
    struct client *second = fixture_join(&fixture, 2);
    struct ledger *firsts = fixture_ledger(&fixture, first);
    struct ledger *seconds = fixture_ledger(&fixture, second);
    const uint32_t page = fixture_lease(&fixture, first, 200);
    fixture_carve(&fixture, first, page + 20, 0);
    (void)ledger_take(firsts, page + 20, 5, REASON_NONE, 0, 0);
    end(first);
    fixture_reap(&fixture, 1);
    fixture_reap(&fixture, 1);
    assert_true(core->reap.at.bytes > (page + 20) * PAGE_BYTES);

    leases_return_all(&core->leases);
    assert_int_equal(fixture_lease(&fixture, second, 10), page);
    fixture_carve(&fixture, second, page, 0);
    (void)ledger_take(seconds, page, 5, REASON_NONE, 0, 0);
    end(second);
    for (uint32_t n_buried = 1; n_buried <= 2; n_buried++) {
        while (fixture.n_buried < n_buried) {
            fixture_reap(&fixture, 1);
        }
        assert_int_equal(fixture.last.n_blocks, 1);
    }

    assert_int_equal(core->state.counters->leased_taken_back, 2);
}

#define REAP_TEST(test) cmocka_unit_test_setup_teardown(test, reap_setup, core_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        REAP_TEST(test_reap_takes_back_what_the_dead_held_and_nothing_else),
        REAP_TEST(test_reap_writes_some_obituaries_in_a_step),
        REAP_TEST(test_reap_of_one_that_holds_nothing_needs_no_walk),
        REAP_TEST(test_reap_when_no_client_is_dead_does_nothing),
        REAP_TEST(test_reap_takes_one_that_dies_behind_the_walk),
        REAP_TEST(test_reap_of_many_at_once_writes_each_obituary_once),
        REAP_TEST(test_reap_goes_on_while_others_allocate_and_release),
        REAP_TEST(test_reap_from_a_page_that_is_inside_a_run_by_now),
        REAP_TEST(test_reap_frees_the_slot_for_the_next),
        REAP_TEST(test_reap_reads_a_lease_in_steps),
        REAP_TEST(test_reap_reads_a_lease_that_grew_behind_the_walk),
        REAP_TEST(test_reap_reads_all_of_the_next_client_of_a_slot),
        REAP_TEST(test_reap_reads_no_block_twice_though_another_leases_before_it),
        REAP_TEST(test_reap_of_100000_leases_of_a_page_is_no_more_than_of_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

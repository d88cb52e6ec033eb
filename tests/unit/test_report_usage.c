/* SPDX-License-Identifier: MIT */
/*
 * test_report_usage.c - where every byte of a segment is, by the statistics
 *
 * The clients are ledgers in memory, so what is in them is known to a byte; the last ones lie.
 */
#include <errno.h>
#include <string.h>

#include "proto/clear.h"
#include "proto/lease.h"
#include "tests/unit/fail.h"
#include "tests/unit/report_fixture.h"
#include "tests/unit/unit.h"

#define N_PAGES 1024

static struct client *owner;
static struct ledger *ledger;

static bool barrier(void)
{
    return true;
}

static int waste_setup(void **state)
{
    report_begin(N_PAGES, 8);
    core->reclaim.barrier = barrier;
    owner = fixture_join(&fixture, 1);
    ledger = fixture_ledger(&fixture, owner);
    atomic_store(&ledger->header->is_fenced, 1);
    return 0;
}

static void assert_adds_up(void)
{
    assert_int_equal(statistic("used_bytes") + statistic("overhead_bytes") +
                         statistic("free_bytes"),
                     core_segment_bytes(core));
    assert_int_equal(statistic("rounding_bytes") + statistic("slab_bytes") +
                         statistic("first_page_bytes"),
                     statistic("overhead_bytes"));
    assert_int_equal(statistic("idle_bytes") + statistic("largest_extent_bytes") +
                         statistic("scattered_bytes"),
                     statistic("free_bytes"));
    assert_true(statistic("unused_bytes") <= statistic("idle_bytes"));
    assert_true(statistic("idle_bytes") <= statistic("leased_bytes"));
    /* None of the six is a difference that has gone below 0. */
    assert_true(statistic("rounding_bytes") <= core_segment_bytes(core));
    assert_true(statistic("slab_bytes") <= core_segment_bytes(core));
    assert_true(statistic("scattered_bytes") <= core_segment_bytes(core));
}

static void report(const struct scan *scan)
{
    reply_reset(reply, 1);
    report_usage(core, scan, fixture.now_ms, reply);
    assert_true(reply->response.usage->instance == core->state.header->instance);
    assert_adds_up();
}

static void take_figures(void)
{
    struct scan_reader reader = {.waits = false};
    report(fixture_scan(&fixture, &reader, SCAN_LEASED));
    scans_leave(&core->scans, &reader);
}

static Kmem__Client *client_row(const struct client *client)
{
    struct scan_reader reader = {.waits = false};
    const struct scan *scan = fixture_scan(&fixture, &reader, SCAN_LEASED);
    reply_reset(reply, 1);
    report_clients(core, scan, client->slot, fixture.now_ms, reply);
    scans_leave(&core->scans, &reader);
    return reply->response.clients->clients[0];
}

/* ---------------------------------------------------------------------------------- direct ---- */

static void test_direct_blocks_round_and_leave_free_blocks(void **state)
{
    const struct size_class *of = &size_classes[size_class_of(100)];
    (void)fixture_allocate(&fixture, owner, 100, "small");
    (void)fixture_allocate(&fixture, owner, 5 * PAGE_BYTES + 1, "large");
    take_figures();
    assert_int_equal(statistic("used_bytes"), 100 + 5 * PAGE_BYTES + 1);
    assert_int_equal(statistic("rounding_bytes"), of->block_bytes - 100 + PAGE_BYTES - 1);
    assert_int_equal(statistic("slab_bytes"), of->span_pages * PAGE_BYTES - of->block_bytes);
    assert_int_equal(statistic("first_page_bytes"), PAGE_BYTES);
    assert_int_equal(statistic("idle_bytes"), 0);
    assert_int_equal(statistic("scattered_bytes"), 0);
}

static void test_every_other_block_given_back_is_scattered(void **state)
{
    struct seg_off offs[8];
    for (int i = 0; i < 8; i++) {
        offs[i] = fixture_allocate(&fixture, owner, 10 * PAGE_BYTES, "frame");
    }
    const uint64_t rest_bytes = core_largest_free_bytes(core);
    for (int i = 1; i < 8; i += 2) {
        fixture_release(&fixture, owner, offs[i]);
    }
    take_figures();
    /* One of the four lies beside the rest, at one end or the other. */
    const uint64_t extent_bytes = statistic("largest_extent_bytes");
    assert_true(extent_bytes == rest_bytes || extent_bytes == rest_bytes + 10 * PAGE_BYTES);
    assert_int_equal(statistic("scattered_bytes"), core_free_bytes(core) - extent_bytes);
    assert_in_range(statistic("scattered_bytes"), 30 * PAGE_BYTES, 40 * PAGE_BYTES);
}

/* Pages that are being cleared are free, and a request waits for them, unless that takes long. */
static void test_what_is_being_cleared_is_of_the_extent_around_it(void **state)
{
    const struct seg_off off = fixture_allocate(&fixture, owner, 10 * PAGE_BYTES, "first");
    take_figures();
    const uint64_t free_bytes = statistic("free_bytes");
    const bool at_the_end = off.bytes > core_segment_bytes(core) / 2;
    pages_scrub_begin(&core->pages, at_the_end ? 100 : 500, 7);
    take_figures();
    assert_int_equal(statistic("free_bytes"), free_bytes);
    assert_int_equal(statistic("scattered_bytes"), 0);
    assert_int_equal(statistic("largest_extent_bytes"), free_bytes);
    assert_int_equal(statistic("largest_hole_bytes"), free_bytes);
    pages_scrub_hang(&core->pages);
    take_figures();
    assert_int_equal(statistic("free_bytes"), free_bytes);
    assert_true(statistic("scattered_bytes") > 7 * PAGE_BYTES);
    pages_scrub_end(&core->pages, false);
}

/* ---------------------------------------------------------------------------------- leased ---- */

static void open_slab(uint32_t page, uint32_t size_class)
{
    fixture_carve(&fixture, owner, page, size_class);
    lease_open_slab(owner->states, page, size_classes[size_class].span_pages);
}

/* Gives out a block of the slab, of this many bytes. */
static void take(uint32_t page, uint64_t num_bytes)
{
    (void)ledger_take(ledger, page, num_bytes, REASON_NONE, 0, owner->slot);
}

static void release(uint32_t page, uint32_t index)
{
    struct ledger_block block = {.page = page, .index = index};
    block.entry = &ledger_entries(ledger, page)[index];
    ledger_give(ledger, &block);
}

/* 60 pages: a slab of three pages with two blocks, one that is idle, a large block, 49 unused. */
static uint32_t lease_with_everything(void)
{
    const uint32_t first = fixture_lease(&fixture, owner, 60);
    const uint32_t size_class = fixture_class_of(3);
    open_slab(first, size_class);
    take(first, size_classes[size_class].block_bytes);
    take(first, size_classes[size_class].block_bytes - 7);
    open_slab(first + 3, size_class);
    take(first + 3, 1);
    release(first + 3, 0);
    fixture_carve_large(&fixture, owner, first + 6, 5, 5 * PAGE_BYTES - 11);
    return first;
}

static void test_leases_are_told_apart(void **state)
{
    const struct size_class *of = &size_classes[fixture_class_of(3)];
    (void)lease_with_everything();
    take_figures();
    assert_int_equal(statistic("leased_bytes"), 60 * PAGE_BYTES);
    assert_int_equal(statistic("used_bytes"), 2 * of->block_bytes - 7 + 5 * PAGE_BYTES - 11);
    assert_int_equal(statistic("rounding_bytes"), 7 + 11);
    assert_int_equal(statistic("slab_bytes"), 3 * PAGE_BYTES - UINT64_C(2) * of->block_bytes);
    assert_int_equal(statistic("unused_bytes"), 49 * PAGE_BYTES);
    assert_int_equal(statistic("idle_bytes"), 52 * PAGE_BYTES);
    assert_int_equal(client_row(owner)->unused_bytes, 49 * PAGE_BYTES);
    assert_int_equal(client_row(owner)->idle_bytes, 52 * PAGE_BYTES);
    assert_int_equal(client_row(owner)->leased_bytes, 60 * PAGE_BYTES);
}

/* What is said to be idle is what reclaim takes, then or later. */
static void test_idle_is_what_another_can_have(void **state)
{
    uint64_t until;
    const uint32_t first = lease_with_everything();
    assert_true(lease_ask(owner->states, first + 3, 3)); /* asked for, and not answered yet */
    take_figures();
    assert_int_equal(statistic("idle_bytes"), 52 * PAGE_BYTES);
    lease_unask(owner->states, first + 3, 3);
    const uint64_t hole_bytes = statistic("largest_hole_bytes");

    assert_true(reclaim_begin(&core->reclaim, 0, &until));
    assert_int_equal(reclaim_step(&core->reclaim), 3);
    leases_return_all(&core->leases);
    assert_int_equal(core_largest_free_bytes(core), hole_bytes);
    take_figures();
    assert_int_equal(statistic("revoked_bytes"), 52 * PAGE_BYTES);
    assert_int_equal(statistic("reclaimed_bytes"), 3 * PAGE_BYTES);
    assert_int_equal(statistic("idle_bytes"), 0);
    assert_int_equal(statistic("leased_bytes"), 8 * PAGE_BYTES);
}

static void test_hole_goes_through_free_unused_and_idle_pages(void **state)
{
    const uint32_t first = fixture_lease(&fixture, owner, N_PAGES - 1);
    open_slab(first + 10, 0);
    open_slab(first + 20, 0);
    take(first + 20, 1);
    open_slab(first + 30, 0);
    take_figures();
    assert_int_equal(statistic("largest_hole_bytes"), (N_PAGES - 1 - 21) * PAGE_BYTES);
    assert_int_equal(statistic("largest_extent_bytes"), 0);
    assert_int_equal(statistic("free_bytes"), (N_PAGES - 2) * PAGE_BYTES);
}

static void test_blocks_on_their_way_home_are_not_live(void **state)
{
    const uint32_t first = fixture_lease(&fixture, owner, 2);
    open_slab(first, 0);
    take(first, 5);
    atomic_store(&ledger_entries(ledger, first)[0].word, ENTRY_PUSHED);
    take_figures();
    assert_int_equal(statistic("idle_bytes"), 2 * PAGE_BYTES);
    assert_int_equal(statistic("used_bytes"), 0);
}

/* Slabs that can not be taken are nobody's to have. */
static void assert_idle_slab_counts_as_slab(void)
{
    take_figures();
    assert_int_equal(statistic("idle_bytes"), 49 * PAGE_BYTES);
    assert_int_equal(statistic("slab_bytes"),
                     6 * PAGE_BYTES - UINT64_C(2) * size_classes[fixture_class_of(3)].block_bytes);
}

static void test_slab_that_can_not_be_taken_is_not_idle(void **state)
{
    const uint32_t first = lease_with_everything();
    core->reclaim.barrier = NULL;
    assert_idle_slab_counts_as_slab();
    core->reclaim.barrier = barrier;
    atomic_store(&ledger->header->is_fenced, 0);
    assert_idle_slab_counts_as_slab();
    atomic_store(&ledger->header->is_fenced, 1);
    (void)lease_close_slab(owner->states, first + 3, 3);
    take_figures();
    assert_int_equal(statistic("unused_bytes"), 52 * PAGE_BYTES);
    assert_int_equal(statistic("idle_bytes"), 52 * PAGE_BYTES);
}

static void test_clients_are_told_apart_and_a_former_one_is_forgotten(void **state)
{
    struct scan_reader reader = {.waits = false};
    struct client *other = fixture_join(&fixture, 2);
    (void)fixture_ledger(&fixture, other);
    (void)lease_with_everything();
    (void)fixture_lease(&fixture, other, 6);
    assert_int_equal(client_row(other)->idle_bytes, 6 * PAGE_BYTES);
    assert_int_equal(client_row(owner)->idle_bytes, 52 * PAGE_BYTES);

    const struct scan *scan = fixture_scan(&fixture, &reader, SCAN_LEASED);
    fixture_end(&fixture, owner, false);
    report(scan); /* of a time when there was more */
    assert_int_equal(statistic("leased_bytes"), 6 * PAGE_BYTES);
    owner = fixture_join(&fixture, 3);
    assert_int_equal(waste_idle_pages(&scan->waste, owner), 0);
    scans_leave(&core->scans, &reader);
}

/* -------------------------------------------------------------------------------- in steps ---- */

static void test_small_steps_see_what_one_sees(void **state)
{
    struct waste at_once;
    struct waste in_steps;
    const uint32_t first = fixture_lease(&fixture, owner, 200);
    for (uint32_t i = 0; i < 180; i += 9) {
        open_slab(first + i, fixture_class_of(1 + i / 9 % 3));
        if (i % 18 == 0) {
            take(first + i, 1);
        }
    }
    (void)fixture_allocate(&fixture, owner, 3 * PAGE_BYTES, "between");
    assert_int_equal(waste_init(&at_once, &core->pages, &core->clients, &core->reclaim), 0);
    assert_int_equal(waste_init(&in_steps, &core->pages, &core->clients, &core->reclaim), 0);
    for (uint32_t i = 0; i < 180; i += 18) {
        const struct block block = {.num_bytes = 1};
        const struct slab slab = {
            .page = first + i,
            .block_bytes = 16,
            .span_pages = 1 + i / 9 % 3,
        };
        waste_note(&at_once, &slab, &block);
        waste_note(&in_steps, &slab, &block);
    }

    assert_true(waste_step(&at_once, UINT32_MAX / 2));
    uint32_t n_steps = 1;
    while (!waste_step(&in_steps, 3)) {
        n_steps++;
    }
    assert_true(n_steps >= 20);
    assert_true(at_once.n_idle_pages > 10);
    assert_int_equal(in_steps.n_idle_pages, at_once.n_idle_pages);
    assert_int_equal(in_steps.n_unused_pages, at_once.n_unused_pages);
    assert_int_equal(in_steps.largest_pages, at_once.largest_pages);
    waste_fini(&at_once);
    waste_fini(&in_steps);
}

static void test_waste_init_without_memory_is_ENOMEM(void **state)
{
    struct waste waste;
    for (unsigned n = 1; n <= 2; n++) {
        fail_nth("memory", n, ENOMEM);
        assert_int_equal(waste_init(&waste, &core->pages, &core->clients, &core->reclaim), -ENOMEM);
        assert_true(fail_end());
        assert_null(waste.live);
        assert_null(waste.by_slot);
    }
}

/* ------------------------------------------------------------------------------------ lies ---- */

/* Blocks that fill their slabs to the last byte, over and over: more than the pages hold. */
static void test_more_told_than_there_is_is_cut(void **state)
{
    const uint32_t first = fixture_lease(&fixture, owner, 8);
    for (uint32_t page = first; page < first + 8; page++) {
        open_slab(page, 0);
        ledger->heads[page].n_carved = UINT16_MAX;
        ledger->heads[page].n_used = UINT16_MAX;
        memset(ledger_entries(ledger, page), 0x01,
               size_classes[0].n_blocks * sizeof(struct ledger_entry));
    }
    take_figures();
    assert_true(statistic("used_bytes") <= 8 * PAGE_BYTES);
    assert_true(statistic("overhead_bytes") <= 9 * PAGE_BYTES);
}

/* A ledger of random bytes, states and all: only its own client's leases are misplaced. */
static void test_random_ledgers_add_up(void **state)
{
    uint64_t seed = 20261129;
    struct client *honest = fixture_join(&fixture, 2);
    struct ledger *honest_ledger = fixture_ledger(&fixture, honest);
    atomic_store(&honest_ledger->header->is_fenced, 1);
    const uint32_t first = fixture_lease(&fixture, owner, 100);
    (void)fixture_lease(&fixture, honest, 50);
    for (int round = 0; round < 200; round++) {
        for (uint32_t page = first; page < first + 100; page++) {
            seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            ((_Atomic uint8_t *)(void *)owner->states)[page] = (uint8_t)(seed >> 33);
            memset(&ledger->heads[page], (int)(seed >> 41), sizeof(ledger->heads[page]));
            atomic_store(&ledger->heads[page].kind, (uint32_t)(seed >> 50) % 7);
            ledger->heads[page].span_pages = (uint32_t)(seed >> 55) % 5;
            ledger->heads[page].size_class = (uint16_t)(seed >> 47) % 64;
            memset(ledger->planes[3] + ((uint64_t)page << PLANE_SHIFT(3)), (int)(seed >> 36) & 1,
                   sizeof(struct ledger_entry) << PLANE_SHIFT(3));
        }
        take_figures();
        assert_true(statistic("idle_bytes") >= 50 * PAGE_BYTES);
        assert_int_equal(statistic("largest_extent_bytes") + statistic("scattered_bytes"),
                         core_free_bytes(core));
        assert_int_equal(client_row(honest)->idle_bytes, 50 * PAGE_BYTES);
    }
}

static void test_usage_says_how_clients_clear_memory(void **state)
{
    struct scan_reader reader = {.waits = false};
    const uint32_t plans[] = {0, clear_plan_of(CLEAR_REP)};
    const char *const words[] = {"was not measured", "memset beyond, and in no cache"};
    for (size_t i = 0; i < 2; i++) {
        bool is_said = false;
        core->config.clear_plan = plans[i];
        report(fixture_scan(&fixture, &reader, SCAN_LEASED));
        for (size_t j = 0; j < reply->response.usage->n_statistics; j++) {
            is_said = is_said || strstr(reply->response.usage->statistics[j]->text, words[i]);
        }
        assert_true(is_said);
    }
    scans_leave(&core->scans, &reader);
    core->config.clear_plan = 0;
}

/* Nothing can be taken from one that has ended: it comes back by itself. */
static void test_slabs_of_who_has_ended_are_not_idle(void **state)
{
    struct scan_reader reader = {.waits = false};
    const uint32_t page = fixture_lease(&fixture, owner, 1);
    open_slab(page, 0);
    core_end(core, owner, false, fixture.now_ms);
    const struct scan *scan = fixture_scan(&fixture, &reader, SCAN_LEASED);
    assert_int_equal(waste_idle_pages(&scan->waste, owner), 0);
    assert_int_equal(scan->waste.n_idle_pages, 0);
    scans_leave(&core->scans, &reader);
}

/* Between two steps a slot is another client's. */
static void test_small_steps_tell_a_client_from_the_next_one_of_its_slot(void **state)
{
    struct waste waste;
    const uint32_t slot = owner->slot;
    const uint32_t first = fixture_lease(&fixture, owner, 100);
    open_slab(first, 0);
    assert_int_equal(waste_init(&waste, &core->pages, &core->clients, &core->reclaim), 0);
    assert_false(waste_step(&waste, 30));
    assert_true(waste.page > first && waste.page < first + 64);
    assert_int_equal(waste_idle_pages(&waste, owner), 1);
    fixture_end(&fixture, owner, false);
    owner = fixture_join(&fixture, 1);
    assert_int_equal(owner->slot, slot);
    ledger = fixture_ledger(&fixture, owner);
    atomic_store(&ledger->header->is_fenced, 1);
    assert_int_equal(fixture_lease(&fixture, owner, 100), first);
    open_slab(first + 70, 0);
    open_slab(first + 71, 0);

    while (!waste_step(&waste, 30)) {
    }

    assert_int_equal(waste_idle_pages(&waste, owner), 2);
    waste_fini(&waste);
}

#define WASTE_TEST(test) cmocka_unit_test_setup_teardown(test, waste_setup, report_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WASTE_TEST(test_direct_blocks_round_and_leave_free_blocks),
        WASTE_TEST(test_every_other_block_given_back_is_scattered),
        WASTE_TEST(test_what_is_being_cleared_is_of_the_extent_around_it),
        WASTE_TEST(test_leases_are_told_apart),
        WASTE_TEST(test_idle_is_what_another_can_have),
        WASTE_TEST(test_hole_goes_through_free_unused_and_idle_pages),
        WASTE_TEST(test_blocks_on_their_way_home_are_not_live),
        WASTE_TEST(test_slab_that_can_not_be_taken_is_not_idle),
        WASTE_TEST(test_clients_are_told_apart_and_a_former_one_is_forgotten),
        WASTE_TEST(test_small_steps_see_what_one_sees),
        WASTE_TEST(test_waste_init_without_memory_is_ENOMEM),
        WASTE_TEST(test_more_told_than_there_is_is_cut),
        WASTE_TEST(test_random_ledgers_add_up),
        WASTE_TEST(test_usage_says_how_clients_clear_memory),
        WASTE_TEST(test_slabs_of_who_has_ended_are_not_idle),
        WASTE_TEST(test_small_steps_tell_a_client_from_the_next_one_of_its_slot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

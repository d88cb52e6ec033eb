/* SPDX-License-Identifier: MIT */
/*
 * test_block_iter.c - every live block once, in order, in steps of any length, whoever carved it
 */
#include <stdio.h>
#include <string.h>

#include "daemon/core/block_iter.h"
#include "proto/lease.h"
#include "tests/unit/fixture.h"
#include "tests/unit/unit.h"
#include "tests/support/seeded.h"

#define N_PAGES 512

static struct fixture fixture;
static struct core *core;
static struct client *alice;
static struct client *bob;
/* How many blocks there are, by block_iter_which. */
static uint32_t n_all;
static uint32_t n_leased;

static int iter_setup(void **state)
{
    fixture_init(&fixture, N_PAGES, 10);
    core = &fixture.core;
    alice = fixture_join(&fixture, 1);
    bob = fixture_join(&fixture, 2);
    (void)fixture_ledger(&fixture, alice);
    (void)fixture_ledger(&fixture, bob);
    return 0;
}

static int iter_teardown(void **state)
{
    assert_int_equal(core_check(core), 0);
    fixture_fini(&fixture);
    return 0;
}

struct visits {
    uint64_t offsets[4000];
    uint32_t n_visits;
    uint32_t stop_at; /* that many were visited */
};

/* One step. Return: where to go on. */
static struct seg_off visit(struct seg_off from, uint32_t budget, enum block_iter_which which,
                            struct visits *visits)
{
    struct block_iter iter;
    struct block block;
    block_iter_init(&iter, core, which, from, budget);
    while (block_iter_next(&iter, &block)) {
        if (visits->n_visits == visits->stop_at) {
            block_iter_put_back(&iter);
            break;
        }
        assert_true(visits->n_visits < 4000);
        visits->offsets[visits->n_visits++] = block.off.bytes;
    }
    return block_iter_position(&iter);
}

static void assert_visits(const struct visits *visits, uint32_t n_visits)
{
    assert_int_equal(visits->n_visits, n_visits);
    for (uint32_t i = 1; i < visits->n_visits; i++) {
        assert_true(visits->offsets[i] > visits->offsets[i - 1]);
    }
}

/* A lease of three pages a class, and more: slabs, large blocks, pages that nobody uses. */
static void carve_many(struct client *client)
{
    struct ledger *ledger = fixture_ledger(&fixture, client);
    const uint32_t page = fixture_lease(&fixture, client, 100);
    uint32_t at = page + 3;
    for (uint32_t size_class = 0; size_class < N_SIZE_CLASSES; size_class += 3) {
        const uint32_t span_pages = size_classes[size_class].span_pages;
        if (at + span_pages > page + 70) {
            break;
        }
        fixture_carve(&fixture, client, at, size_class);
        for (uint32_t i = 0; i < 20 && i < size_classes[size_class].n_blocks; i++) {
            (void)ledger_take(ledger, at, 1 + i % 16, REASON_NONE, 0, 0);
            n_leased++;
        }
        at += span_pages + 1;
    }
    fixture_carve_large(&fixture, client, page + 71, 25, 100000);
    fixture_carve_large(&fixture, client, page + 96, 2, 20000);
    n_leased += 2;
}

/* Runs of both kinds in turn. */
static void allocate_many(void)
{
    n_leased = 0;
    for (uint32_t i = 0; i < 400; i++) {
        (void)fixture_allocate(&fixture, i % 2 ? alice : bob, 1 + (uint64_t)i * i % 3000, "many");
    }
    carve_many(alice);
    (void)fixture_allocate(&fixture, alice, 100000, "many");
    carve_many(bob);
    (void)fixture_allocate(&fixture, bob, 100000, "many");
    n_all = n_leased + (uint32_t)core->direct.n_blocks;
}

/* Visits all in steps of a budget. Return: how many steps. */
static uint32_t visit_in_steps(uint32_t budget, enum block_iter_which which, struct visits *visits)
{
    struct seg_off from = {0};
    uint32_t n_steps = 0;
    do {
        const struct seg_off next = visit(from, budget, which, visits);
        assert_true(next.bytes == 0 || next.bytes > from.bytes); /* or it would never end */
        from = next;
        n_steps++;
    } while (from.bytes != 0);
    return n_steps;
}

static void test_block_iter_returns_each_block_once_in_order(void **state)
{
    struct visits visits = {.stop_at = UINT32_MAX};
    allocate_many();

    assert_int_equal(visit_in_steps(UINT32_MAX, BLOCKS_ALL, &visits), 1);

    assert_true(n_leased > 100);
    assert_visits(&visits, n_all);
}

static void test_block_iter_of_leases_leaves_out_the_direct_blocks(void **state)
{
    struct visits visits = {.stop_at = UINT32_MAX};
    allocate_many();

    (void)visit_in_steps(UINT32_MAX, BLOCKS_LEASED, &visits);

    assert_visits(&visits, n_leased);
}

static void test_block_iter_goes_on_where_its_budget_ended(void **state)
{
    static const uint32_t budgets[] = {1, 2, 3, 7, 8, 9, 50, 64, 65, 300, 1000, 20000};
    allocate_many();

    for (size_t i = 0; i < sizeof(budgets) / sizeof(budgets[0]); i++) {
        struct visits all = {.stop_at = UINT32_MAX};
        struct visits leased = {.stop_at = UINT32_MAX};
        const uint32_t n_steps = visit_in_steps(budgets[i], BLOCKS_ALL, &all);
        (void)visit_in_steps(budgets[i], BLOCKS_LEASED, &leased);
        assert_true(n_steps > 10 || budgets[i] > 50);
        assert_visits(&all, n_all);
        assert_visits(&leased, n_leased);
    }
}

static void test_block_iter_goes_on_with_the_block_that_was_put_back(void **state)
{
    allocate_many();

    for (uint32_t at_once = 1; at_once < 60; at_once += 7) {
        struct visits visits = {.stop_at = 0};
        struct seg_off next = {0};
        do {
            visits.stop_at += at_once;
            next = visit(next, UINT32_MAX, BLOCKS_ALL, &visits);
        } while (next.bytes != 0);
        assert_visits(&visits, n_all);
    }
}

/* The budget is what anybody may have to wait for: a full lease is not looked at in one go. */
static void test_block_iter_of_a_full_lease_keeps_to_its_budget(void **state)
{
    struct ledger *ledger = fixture_ledger(&fixture, alice);
    const uint32_t page = fixture_lease(&fixture, alice, 500);
    for (uint32_t i = 0; i < 500; i++) {
        fixture_carve(&fixture, alice, page + i, 0);
        ledger->heads[page + i].n_carved = 1024;
        atomic_store(&ledger->planes[3][(size_t)(page + i) * 1024].word, ENTRY_WORD(16, 0));
    }
    struct visits visits = {.stop_at = UINT32_MAX};

    const uint32_t n_steps = visit_in_steps(20000, BLOCKS_ALL, &visits);

    assert_visits(&visits, 500);
    /* 25 times the budget, less the page each step ends with, more the eight it begins with. */
    assert_in_range(n_steps, 24, 50);
}

static void test_block_iter_from_beyond_the_segment_is_at_its_end(void **state)
{
    struct visits visits = {.stop_at = UINT32_MAX};
    allocate_many();
    const struct seg_off beyond = {N_PAGES * PAGE_BYTES};
    const struct seg_off far_beyond = {UINT64_MAX};

    assert_int_equal(visit(beyond, 1, BLOCKS_ALL, &visits).bytes, 0);
    assert_int_equal(visit(far_beyond, 1, BLOCKS_ALL, &visits).bytes, 0);

    assert_visits(&visits, 0);
}

/* Where a walk goes on may be somebody else's by then, or free. */
static void test_block_iter_goes_on_after_the_lease_it_paused_in_is_gone(void **state)
{
    struct visits visits = {.stop_at = 20};
    (void)fixture_allocate(&fixture, bob, 100000, "stays");
    carve_many(alice);
    (void)fixture_allocate(&fixture, bob, 100000, "stays");

    const struct seg_off next = visit((struct seg_off){0}, UINT32_MAX, BLOCKS_ALL, &visits);
    assert_int_not_equal(next.bytes, 0);
    fixture_end(&fixture, alice, false);
    visits.stop_at = UINT32_MAX;

    assert_int_equal(visit(next, UINT32_MAX, BLOCKS_ALL, &visits).bytes, 0);
    assert_visits(&visits, 21);
}

/* A client does not see where one of its leases ends and its next begins. */
static void test_block_iter_returns_a_slab_that_lies_in_two_leases_once(void **state)
{
    const uint32_t first = fixture_lease(&fixture, alice, 4);
    assert_int_equal(fixture_lease(&fixture, alice, 4), first + 4);
    fixture_carve_large(&fixture, alice, first + 2, 5, 70000);
    fixture_carve_large(&fixture, alice, first + 7, 1, 5);
    (void)fixture_allocate(&fixture, bob, 100000, "behind");
    static const uint32_t budgets[] = {1, 2, 5, 1000};

    for (size_t i = 0; i < sizeof(budgets) / sizeof(budgets[0]); i++) {
        struct visits visits = {.stop_at = UINT32_MAX};
        (void)visit_in_steps(budgets[i], BLOCKS_ALL, &visits);
        assert_visits(&visits, 3);
    }
    fixture_end(&fixture, alice, false);
    assert_int_equal(fixture.last.n_blocks, 2);
    assert_int_equal(fixture.last.num_bytes, 70005);
}

/* --------------------------------------------------------------------- ledgers that lie ------ */

/*
 * Heads that stand inside of what other heads say, at random: what an iterator sees depends on
 * where it begins. All pages are in use, so that nothing is left out for that.
 */
static void tell_nonsense(struct seeded *seeded, uint32_t page, uint32_t n_pages)
{
    struct ledger *ledger = fixture_ledger(&fixture, alice);
    for (uint32_t i = 0; i < n_pages; i++) {
        struct ledger_head *head = &ledger->heads[page + i];
        const uint32_t size_class = seeded_below(seeded, N_SIZE_CLASSES);
        const bool large = seeded_below(seeded, 3) == 0;
        atomic_store(&head->kind, large ? HEAD_LARGE : HEAD_SLAB);
        head->size_class = (uint16_t)size_class;
        head->span_pages =
            large ? 1 + seeded_below(seeded, 40) : size_classes[size_class].span_pages;
        head->n_carved = (uint16_t)seeded_below(seeded, 20);
        for (uint32_t plane = 0; plane < N_PLANES; plane++) {
            for (uint32_t entry = 0; entry < 16; entry++) {
                const uint64_t at = ((uint64_t)(page + i) << PLANE_SHIFT(plane)) + entry;
                atomic_store(&ledger->planes[plane][at].word,
                             UINT64_C(16) * seeded_below(seeded, 3));
            }
        }
    }
}

static uint32_t lease_all(void)
{
    bool zero;
    const uint32_t page = fixture_lease(&fixture, alice, 400);
    assert_true(lease_take(alice->states, page, 400, &zero));
    return page;
}

static void test_block_iter_in_a_ledger_that_lies_is_the_same_in_steps_of_any_length(void **state)
{
    struct seeded seeded = {20261130};
    print_message("seed %llu\n", (unsigned long long)seeded.state);
    const uint32_t page = lease_all();
    for (uint32_t round = 0; round < 50; round++) {
        struct visits whole = {.stop_at = UINT32_MAX};
        tell_nonsense(&seeded, page, 400);
        (void)visit_in_steps(UINT32_MAX, BLOCKS_ALL, &whole);
        assert_true(whole.n_visits > 50);
        for (uint32_t budget = 1; budget < 2000; budget += 1 + seeded_below(&seeded, 300)) {
            struct visits parts = {.stop_at = UINT32_MAX};
            (void)visit_in_steps(budget, BLOCKS_ALL, &parts);
            assert_int_equal(parts.n_visits, whole.n_visits);
            assert_memory_equal(parts.offsets, whole.offsets, whole.n_visits * sizeof(uint64_t));
        }
    }
}

/* One step, in which each block begins at *end or later. Return: where to go on. */
static struct seg_off follow(struct seg_off from, uint32_t budget, uint64_t *end)
{
    struct block_iter iter;
    struct block block;
    block_iter_init(&iter, core, BLOCKS_ALL, from, budget);
    while (block_iter_next(&iter, &block)) {
        assert_true(block.off.bytes >= *end);
        *end = block.off.bytes + block.num_bytes;
        if (*end % 7 == 0) { /* now and then, stop before a block: it was not seen then */
            block_iter_put_back(&iter);
            break;
        }
    }
    return block_iter_position(&iter);
}

static void test_block_iter_of_a_ledger_that_changes_never_goes_back(void **state)
{
    struct seeded seeded = {20261201};
    print_message("seed %llu\n", (unsigned long long)seeded.state);
    const uint32_t page = lease_all();
    for (uint32_t round = 0; round < 30; round++) {
        struct seg_off from = {0};
        uint64_t end = 0;
        do {
            tell_nonsense(&seeded, page, 400);
            from = follow(from, 1 + seeded_below(&seeded, 500), &end);
            end = from.bytes != 0 && from.bytes < end ? from.bytes / 16 * 16 : end;
        } while (from.bytes != 0);
    }
}

/* ------------------------------------------------------------------------------------ find ---- */

static void assert_finds(uint64_t offset, uint64_t begin, uint64_t num_bytes)
{
    struct block block;
    struct slab slab;
    assert_true(block_find_leased(core, (struct seg_off){offset}, &block, &slab));
    assert_int_equal(block.off.bytes, begin);
    assert_int_equal(block.num_bytes, num_bytes);
    assert_true(block.leased);
}

static void assert_finds_nothing(uint64_t offset)
{
    struct block block;
    struct slab slab;
    assert_false(block_find_leased(core, (struct seg_off){offset}, &block, &slab));
}

static void test_block_find_leased_finds_the_leased_block_around_an_offset(void **state)
{
    const uint32_t page = fixture_lease(&fixture, alice, 20);
    struct ledger *ledger = fixture_ledger(&fixture, alice);
    uint32_t spanning = 0; /* a class whose slab has the most pages */
    for (uint32_t i = 0; i < N_SIZE_CLASSES; i++) {
        spanning = size_classes[i].span_pages > size_classes[spanning].span_pages ? i : spanning;
    }
    fixture_carve(&fixture, alice, page, spanning);
    const uint32_t n_blocks = size_classes[spanning].n_blocks;
    for (uint32_t i = 0; i < n_blocks; i++) {
        (void)ledger_take(ledger, page, 100 + i, REASON_NONE, 0, 0);
    }
    fixture_carve_large(&fixture, alice, page + 10, 3, 40000);

    for (uint32_t i = 0; i < n_blocks; i++) {
        const uint64_t begin = ledger_offset(ledger, page, i).bytes;
        assert_finds(begin, begin, 100 + i);
        assert_finds(begin + 99 + i, begin, 100 + i);
        assert_finds_nothing(begin + 100 + i);
    }
    assert_finds((page + 12) * PAGE_BYTES, (page + 10) * PAGE_BYTES, 40000);
    assert_finds_nothing((page + 14) * PAGE_BYTES);
}

/* A large block is longer than any slab; what is behind it, or between, is not taken for it. */
static void test_block_find_leased_finds_the_large_block_around_an_offset(void **state)
{
    const uint32_t page = fixture_lease(&fixture, alice, 400);
    fixture_carve_large(&fixture, alice, page, 300, 300 * PAGE_BYTES - 7);
    fixture_carve_large(&fixture, alice, page + 301, 50, 50 * PAGE_BYTES);

    assert_finds((page + 299) * PAGE_BYTES, page * PAGE_BYTES, 300 * PAGE_BYTES - 7);
    assert_finds((page + 150) * PAGE_BYTES + 5, page * PAGE_BYTES, 300 * PAGE_BYTES - 7);
    assert_finds_nothing((page + 300) * PAGE_BYTES - 7);
    assert_finds_nothing((page + 300) * PAGE_BYTES);
    assert_finds((page + 340) * PAGE_BYTES, (page + 301) * PAGE_BYTES, 50 * PAGE_BYTES);
    assert_finds_nothing((page + 351) * PAGE_BYTES);
    assert_finds_nothing((page + 390) * PAGE_BYTES);
}

static void test_block_find_leased_of_what_is_not_leased_finds_nothing(void **state)
{
    const struct seg_off direct = fixture_allocate(&fixture, alice, 100, "direct");

    assert_finds_nothing(direct.bytes);
    assert_finds_nothing(0);
    assert_finds_nothing((N_PAGES - 1) * PAGE_BYTES);
    assert_finds_nothing(N_PAGES * PAGE_BYTES);
    assert_finds_nothing(UINT64_MAX);
}

/* ---------------------------------------------------------------------------------- reason ---- */

static void assert_last_reason(const char *words)
{
    struct block last = {.num_bytes = 0};
    char text[REASON_MAX_BYTES];
    struct block_iter iter;
    block_iter_init(&iter, core, BLOCKS_ALL, (struct seg_off){0}, UINT32_MAX);
    while (block_iter_next(&iter, &last)) {
    }
    assert_true(last.num_bytes > 0);
    assert_int_equal(block_reason(core, &last, text), strlen(words));
    assert_memory_equal(text, words, strlen(words));
}

static void test_block_reason_is_out_of_the_table_that_the_block_names(void **state)
{
    (void)fixture_allocate(&fixture, bob, 10, "direct");
    assert_last_reason("direct");
    (void)fixture_allocate(&fixture, alice, 100000, "");
    assert_last_reason(NO_REASON);

    struct ledger *ledger = fixture_ledger(&fixture, alice);
    const uint32_t page = fixture_lease(&fixture, alice, 10);
    fixture_carve(&fixture, alice, page, 0);
    (void)ledger_take(ledger, page, 1, REASON_OTHER, 0, 0);
    assert_last_reason(OTHER_REASONS);
    (void)ledger_take(ledger, page, 1, fixture_tell(&fixture, alice, "leased"), 0, 0);
    assert_last_reason("leased");
    (void)ledger_take(ledger, page, 1, 1000, 0, 0);
    assert_last_reason("<unverified>");
    (void)ledger_take(ledger, page, 1, REASON_NONE, 0, 0);
    assert_last_reason(NO_REASON);
}

#define ITER_TEST(test) cmocka_unit_test_setup_teardown(test, iter_setup, iter_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ITER_TEST(test_block_iter_returns_each_block_once_in_order),
        ITER_TEST(test_block_iter_of_leases_leaves_out_the_direct_blocks),
        ITER_TEST(test_block_iter_goes_on_where_its_budget_ended),
        ITER_TEST(test_block_iter_goes_on_with_the_block_that_was_put_back),
        ITER_TEST(test_block_iter_of_a_full_lease_keeps_to_its_budget),
        ITER_TEST(test_block_iter_from_beyond_the_segment_is_at_its_end),
        ITER_TEST(test_block_iter_goes_on_after_the_lease_it_paused_in_is_gone),
        ITER_TEST(test_block_iter_returns_a_slab_that_lies_in_two_leases_once),
        ITER_TEST(test_block_iter_in_a_ledger_that_lies_is_the_same_in_steps_of_any_length),
        ITER_TEST(test_block_iter_of_a_ledger_that_changes_never_goes_back),
        ITER_TEST(test_block_find_leased_finds_the_leased_block_around_an_offset),
        ITER_TEST(test_block_find_leased_finds_the_large_block_around_an_offset),
        ITER_TEST(test_block_find_leased_of_what_is_not_leased_finds_nothing),
        ITER_TEST(test_block_reason_is_out_of_the_table_that_the_block_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

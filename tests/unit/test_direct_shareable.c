/* SPDX-License-Identifier: MIT */
/*
 * test_direct_shareable.c - small blocks that are to be shared lie among others of that kind alone
 */
#include <string.h>

#include "tests/support/seeded.h"
#include "tests/unit/core_fixture.h"
#include "tests/unit/unit.h"

#define N_PAGES 128

static struct direct *direct;
static struct client *alice;
static struct client *bob;

static int set_up(void **state)
{
    fixture_init(&fixture, N_PAGES, 10);
    direct = &fixture.core.direct;
    alice = fixture_join(&fixture, 1);
    bob = fixture_join(&fixture, 2);
    return 0;
}

static int tear_down(void **state)
{
    assert_int_equal(core_check(&fixture.core), 0);
    fixture_fini(&fixture);
    return 0;
}

/* Return: 0 or DIRECT_E_FULL. */
static int carve(struct client *client, uint64_t num_bytes, bool shareable, uint64_t *ret_offset)
{
    struct direct_carved carved;
    const struct direct_request request = {
        .num_bytes = num_bytes, .reason = "test", .n_reason_bytes = 4, .shareable = shareable};
    const int r = direct_allocate(direct, client, &request, &carved);
    *ret_offset = r == 0 ? carved.off.bytes : 0;
    return r;
}

static uint64_t must_carve(struct client *client, uint64_t num_bytes, bool shareable)
{
    uint64_t offset;
    assert_int_equal(carve(client, num_bytes, shareable, &offset), 0);
    return offset;
}

static void restart(void)
{
    char why[FIXTURE_WHY_BYTES];
    assert_int_equal(fixture_restart(&fixture, why), 0);
    alice = clients_get(&fixture.core.clients, 0);
    bob = clients_get(&fixture.core.clients, 1);
}

/* Which kind of block lies in each page; no page has both. */
static unsigned char kind_of_page[N_PAGES];

static void expect_alone(uint64_t offset, uint64_t num_bytes, bool shareable)
{
    const unsigned char kind = shareable ? 's' : 'o';
    for (uint64_t page = offset >> PAGE_SHIFT; page <= (offset + num_bytes - 1) >> PAGE_SHIFT;
         page++) {
        assert_true(kind_of_page[page] == 0 || kind_of_page[page] == kind);
        kind_of_page[page] = kind;
    }
}

static void test_shareable_blocks_of_all_clients_lie_together_and_others_elsewhere(void **state)
{
    memset(kind_of_page, 0, sizeof(kind_of_page));
    struct seeded seeded = {5};
    for (uint32_t i = 0; i < 300; i++) {
        const bool shareable = i % 3 == 0;
        const uint64_t num_bytes = 1 + seeded_below(&seeded, 6000);
        const uint64_t offset = must_carve(i % 2 ? alice : bob, num_bytes, shareable);
        expect_alone(offset, num_bytes, shareable);
        if (i == 150) {
            restart();
        }
    }
}

static void test_a_shareable_slab_is_one_after_a_restart(void **state)
{
    const uint64_t first = must_carve(alice, 100, true);
    restart();
    assert_int_equal(must_carve(bob, 100, true) >> PAGE_SHIFT, first >> PAGE_SHIFT);
    assert_int_not_equal(must_carve(bob, 100, false) >> PAGE_SHIFT, first >> PAGE_SHIFT);
}

static void test_a_slab_that_was_closed_may_be_of_the_other_kind(void **state)
{
    for (uint32_t i = 0; i < 4; i++) {
        const uint64_t offset = must_carve(alice, 100, i % 2 == 0);
        assert_int_equal(offset >> PAGE_SHIFT, 1);
        fixture_release(&fixture, alice, (struct seg_off){offset});
        assert_int_equal(direct_check(direct), 0);
    }
}

/* When there is no room for a slab: a larger shareable block, pages of its own, or none at all. */
static void test_a_shareable_block_never_goes_among_others(void **state)
{
    uint64_t offset;
    const uint64_t larger = must_carve(alice, 2048, true);
    (void)must_carve(alice, 100, false); /* a slab that has room */
    while (carve(alice, SMALL_MAX_BYTES + 1, false, &offset) == 0 ||
           carve(alice, PAGE_BYTES, false, &offset) == 0) {
    }
    assert_int_equal(carve(bob, 100, true, &offset), 0);
    assert_int_equal(offset >> PAGE_SHIFT, larger >> PAGE_SHIFT);
    while (carve(bob, 100, true, &offset) == 0) {
        assert_int_equal(offset >> PAGE_SHIFT, larger >> PAGE_SHIFT);
    }
    assert_int_equal(carve(bob, 100, false, &offset), 0);
}

static void test_a_large_shareable_block_has_pages_of_its_own(void **state)
{
    const uint64_t large = must_carve(alice, SMALL_MAX_BYTES + 1, true);
    const uint64_t small = must_carve(alice, 100, true);
    assert_true(small >> PAGE_SHIFT > (large + SMALL_MAX_BYTES) >> PAGE_SHIFT);
}

#define SHAREABLE_TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SHAREABLE_TEST(test_shareable_blocks_of_all_clients_lie_together_and_others_elsewhere),
        SHAREABLE_TEST(test_a_shareable_slab_is_one_after_a_restart),
        SHAREABLE_TEST(test_a_slab_that_was_closed_may_be_of_the_other_kind),
        SHAREABLE_TEST(test_a_shareable_block_never_goes_among_others),
        SHAREABLE_TEST(test_a_large_shareable_block_has_pages_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

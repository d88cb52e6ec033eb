/* SPDX-License-Identifier: MIT */
/*
 * test_placement.c - who asks for the pages that are just being cleared waits for them, but not
 * for long
 */

#include "daemon/core/placement.h"
#include "tests/unit/core_fixture.h"
#include "tests/unit/unit.h"

#define N_PAGES 256
#define ALL_PAGES (N_PAGES - 1)

static struct client *client;
static struct placement_request room;
static struct placement found;

static int placement_setup(void **state)
{
    fixture_init(&fixture, N_PAGES, 4);
    client = fixture_join(&fixture, 1);
    (void)fixture_ledger(&fixture, client);
    /* Somebody has had all of it. */
    fixture_release(&fixture, client,
                    fixture_allocate(&fixture, client, ALL_PAGES * PAGE_BYTES, "had"));
    pages_scrub_begin(&core->pages, 100, 64);
    placement_init_block(&room, ALL_PAGES * PAGE_BYTES, "all", 3);
    return 0;
}

static int placement_teardown(void **state)
{
    fixture_end(&fixture, client, true);
    fixture_fini(&fixture);
    return 0;
}

static int find(void)
{
    const struct now now = {fixture.now_ms, fixture.now_ms * 1000};
    return placement_find(core, client, &room, now, &found);
}

static void test_placement_find_waits_for_what_is_being_cleared(void **state)
{
    assert_int_equal(find(), PLACEMENT_E_WAIT);
    assert_int_equal(find(), PLACEMENT_E_WAIT);
    pages_scrub_end(&core->pages, true);
    assert_int_equal(find(), 0);
    assert_int_equal(found.off.bytes, PAGE_BYTES);
    assert_int_equal(core_free_bytes(core), 0);
}

static void test_placement_find_does_not_wait_for_a_scrubber_that_hangs(void **state)
{
    assert_int_equal(find(), PLACEMENT_E_WAIT);
    pages_scrub_hang(&core->pages);
    assert_int_equal(find(), PLACEMENT_E_FULL);
    assert_int_equal(find(), PLACEMENT_E_FULL);
    pages_scrub_end(&core->pages, false);
    assert_int_equal(find(), 0);
}

static void test_placement_find_of_a_lease_waits_as_well(void **state)
{
    placement_init_lease(&room, ALL_PAGES, ALL_PAGES);
    assert_int_equal(find(), PLACEMENT_E_WAIT);
    pages_scrub_end(&core->pages, true);
    assert_int_equal(find(), 0);
    assert_int_equal(found.n_pages, ALL_PAGES);
}

static void test_placement_find_takes_what_is_elsewhere_at_once(void **state)
{
    placement_init_block(&room, 90 * PAGE_BYTES, "elsewhere", 9);
    assert_int_equal(find(), 0);
    pages_scrub_end(&core->pages, true);
}

/* Somebody is killed meanwhile: the next one knows the pages, and gives them to nobody either. */
static void test_placement_find_waits_for_what_another_server_had_cleared(void **state)
{
    char why[FIXTURE_WHY_BYTES];
    assert_int_equal(fixture_restart(&fixture, why), 0);
    client = clients_get(&core->clients, 0);
    assert_int_equal(core->pages.scrub_page, 100);
    assert_int_equal(core_free_bytes(core), ALL_PAGES * PAGE_BYTES);
    assert_int_equal(find(), PLACEMENT_E_WAIT);
    pages_scrub_end(&core->pages, false);
    assert_int_equal(find(), 0);
}

/* Nor for so much that what is being cleared is not enough. */
static void test_placement_find_does_not_wait_for_what_would_not_do(void **state)
{
    const struct seg_off off = fixture_allocate(&fixture, client, PAGE_BYTES, "in the way");
    assert_int_equal(find(), PLACEMENT_E_FULL);
    pages_scrub_end(&core->pages, true);
    fixture_release(&fixture, client, off);
}

#define ROOM_TEST(test) cmocka_unit_test_setup_teardown(test, placement_setup, placement_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROOM_TEST(test_placement_find_waits_for_what_is_being_cleared),
        ROOM_TEST(test_placement_find_does_not_wait_for_a_scrubber_that_hangs),
        ROOM_TEST(test_placement_find_of_a_lease_waits_as_well),
        ROOM_TEST(test_placement_find_takes_what_is_elsewhere_at_once),
        ROOM_TEST(test_placement_find_waits_for_what_another_server_had_cleared),
        ROOM_TEST(test_placement_find_does_not_wait_for_what_would_not_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

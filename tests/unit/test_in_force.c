/* SPDX-License-Identifier: MIT */
/*
 * test_in_force.c - what the options come to: half of what there is, if nothing else is said
 */
#include <string.h>

#include "daemon/server/in_force.h"
#include "tests/unit/unit.h"

#define MANY 100000

static struct options options;

static int in_force_setup(void **state)
{
    options_set_default(&options);
    return 0;
}

static struct core_config begin(void)
{
    struct core_config config = {.clients_limit = 101};
    in_force_begin(&options, &config);
    return config;
}

static void test_in_force_begin_gives_each_user_half(void **state)
{
    const struct core_config config = begin();
    assert_int_equal(config.clients_per_uid, 51);
    assert_int_equal(config.readers, READERS_ANY);
    assert_int_equal(config.caps[CAP_SHARES], SHARES_MAX / 2);
    assert_int_equal(config.caps[CAP_NAMES], SHARE_NAMES_USUAL / 2);
}

static void test_in_force_begin_gives_each_user_what_is_said(void **state)
{
    options.clients_per_uid = 3;
    options.shares_per_uid = 4;
    options.holds_per_uid = 5;
    options.names_per_uid = 6;
    options.reasons_per_uid = 7;
    options.walled_readers = true;
    const struct core_config config = begin();
    assert_int_equal(config.clients_per_uid, 3);
    assert_int_equal(config.caps[CAP_SHARES], 4);
    assert_int_equal(config.caps[CAP_HOLDS], 5);
    assert_int_equal(config.caps[CAP_NAMES], 6);
    assert_int_equal(config.caps[CAP_REASONS], 7);
    assert_int_equal(config.readers, READERS_WALLED);
    options.walled_readers = false;
    options.no_readers = true;
    assert_int_equal(begin().readers, READERS_NONE);
}

/* Each has a place, however few descriptors there are; and no user can have all. */
static void test_in_force_connections_leaves_places_to_others(void **state)
{
    const struct users_limits none = in_force_connections(&options, 0);
    assert_int_equal(none.n_pending, 1);
    assert_int_equal(none.n_pending_of_user, 1);

    const struct users_limits few = in_force_connections(&options, 80 * CLIENT_DESCRIPTORS);
    assert_int_equal(few.n_connections, 40);
    assert_int_equal(few.n_pending, 40);
    assert_int_equal(few.n_pending_of_user, 20);

    const struct users_limits many = in_force_connections(&options, MANY * CLIENT_DESCRIPTORS);
    assert_int_equal(many.n_connections, 1024);
    assert_int_equal(many.n_pending_of_user, 512);
    assert_int_equal(many.queued_bytes_of_user, many.queued_bytes / 2);
}

static void test_in_force_connections_gives_each_user_what_is_said(void **state)
{
    options.connections_per_uid = 7;
    options.handshakes_per_uid = 3;
    options.queued_per_uid = 1 << 20;
    const struct users_limits limits = in_force_connections(&options, MANY);
    assert_int_equal(limits.n_connections, 7);
    assert_int_equal(limits.n_pending_of_user, 3);
    assert_int_equal(limits.queued_bytes_of_user, 1 << 20);
}

/* A client's guard opens what can not be split: pages that are or will be huge. */
static void test_in_force_begin_has_granules_of_the_pages_that_there_are(void **state)
{
    assert_int_equal(begin().granule_bytes, 2 << 20);
    options.lazy = true;
    assert_int_equal(begin().granule_bytes, PAGE_BYTES);
    assert_true(begin().gives_back);
    options.lazy = false;
    options.lock = true;
    assert_int_equal(begin().granule_bytes, PAGE_BYTES);
    options.hugepages = HUGEPAGES_NO;
    options.lock = false;
    assert_int_equal(begin().granule_bytes, PAGE_BYTES);
    assert_int_equal(begin().huge_bytes, 0);
    options.hugepages = HUGEPAGES_1G;
    assert_int_equal(begin().granule_bytes, 1 << 30);
    assert_int_equal(begin().huge_bytes, options.segment_bytes);
}

/* Reserved pages can not be written but through a mapping: clients clear what they get. */
static void test_in_force_clears_what_can_be_cleared_from_outside(void **state)
{
    assert_true(in_force_clears(&options));
    options.hugepages = HUGEPAGES_2M;
    assert_false(in_force_clears(&options));
    options.hugepages = HUGEPAGES_TRY;
    options.no_scrub = true;
    assert_false(in_force_clears(&options));
    options.lazy = true; /* it gives memory back */
    assert_true(in_force_clears(&options));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_in_force_begin_gives_each_user_half, in_force_setup),
        cmocka_unit_test_setup(test_in_force_begin_gives_each_user_what_is_said, in_force_setup),
        cmocka_unit_test_setup(test_in_force_connections_leaves_places_to_others, in_force_setup),
        cmocka_unit_test_setup(test_in_force_connections_gives_each_user_what_is_said,
                               in_force_setup),
        cmocka_unit_test_setup(test_in_force_begin_has_granules_of_the_pages_that_there_are,
                               in_force_setup),
        cmocka_unit_test_setup(test_in_force_clears_what_can_be_cleared_from_outside,
                               in_force_setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * test_caps.c - what each user has of the tables, beside how much it may have
 */
#include <errno.h>

#include "daemon/core/caps.h"
#include "daemon/core/reason_users.h"
#include "proto/ledger.h"
#include "tests/support/seeded.h"
#include "tests/unit/broken.h"
#include "tests/unit/fail.h"
#include "tests/unit/unit.h"

#define OWNER 500
#define GREEDY 1000
#define MODEST 1001

static const uint32_t limits[N_CAPS] = {3, 4, 0, 2};
static struct caps caps;
static struct reason_users users;

static int caps_setup(void **state)
{
    assert_int_equal(caps_init(&caps, limits, OWNER), 0);
    assert_int_equal(reason_users_init(&users, &caps), 0);
    return 0;
}

static int caps_teardown(void **state)
{
    reason_users_fini(&users);
    caps_fini(&caps);
    return 0;
}

static void test_caps_of_a_greedy_user_leave_a_modest_one_its_own(void **state)
{
    for (uint32_t i = 0; i < 3; i++) {
        assert_true(caps_may_have(&caps, CAP_SHARES, GREEDY));
        caps_add(&caps, CAP_SHARES, GREEDY);
    }
    assert_false(caps_may_have(&caps, CAP_SHARES, GREEDY));
    assert_true(caps_may_have(&caps, CAP_SHARES, MODEST));
    assert_true(caps_may_have(&caps, CAP_HOLDS, GREEDY));
    assert_int_equal(caps_room(&caps, CAP_SHARES, MODEST), 3);
    assert_int_equal(caps_count(&caps, CAP_SHARES, GREEDY), 3);
    assert_int_equal(caps_count(&caps, CAP_SHARES, MODEST), 0);
    caps_remove(&caps, CAP_SHARES, GREEDY);
    assert_int_equal(caps_room(&caps, CAP_SHARES, GREEDY), 1);
}

static void test_caps_do_not_limit_root_and_the_daemons_user(void **state)
{
    for (uint32_t i = 0; i < 10; i++) {
        caps_add(&caps, CAP_HOLDS, 0);
        caps_add(&caps, CAP_HOLDS, OWNER);
    }
    assert_true(caps_may_have(&caps, CAP_HOLDS, 0));
    assert_true(caps_may_have(&caps, CAP_HOLDS, OWNER));
    assert_int_equal(caps_most(&caps, CAP_HOLDS), 0); /* of those that are limited */
    caps_add(&caps, CAP_HOLDS, MODEST);
    assert_int_equal(caps_most(&caps, CAP_HOLDS), 1);
}

static void test_caps_of_0_are_none(void **state)
{
    for (uint32_t i = 0; i < 10; i++) {
        caps_add(&caps, CAP_NAMES, GREEDY);
    }
    assert_int_equal(caps_room(&caps, CAP_NAMES, GREEDY), UINT32_MAX);
}

/* What is there stays; nothing comes to it. */
static void test_caps_set_lower_than_what_is_there_allows_no_more(void **state)
{
    static const uint32_t fewer[N_CAPS] = {1, 1, 1, 1};
    caps_add(&caps, CAP_SHARES, GREEDY);
    caps_add(&caps, CAP_SHARES, GREEDY);
    caps_set(&caps, fewer);
    assert_int_equal(caps_room(&caps, CAP_SHARES, GREEDY), 0);
    assert_int_equal(caps_count(&caps, CAP_SHARES, GREEDY), 2);
    caps_remove(&caps, CAP_SHARES, GREEDY);
    caps_remove(&caps, CAP_SHARES, GREEDY);
    assert_true(caps_may_have(&caps, CAP_SHARES, GREEDY));
}

static void test_caps_remove_of_what_a_user_does_not_have_is_a_bug(void **state)
{
    assert_broken(caps_remove(&caps, CAP_NAMES, GREEDY));
    caps_add(&caps, CAP_NAMES, GREEDY);
    assert_broken(caps_remove(&caps, CAP_HOLDS, GREEDY));
}

/* Users come and go: there is no more of the table than there are at a time. */
static void test_caps_forget_users_that_have_nothing(void **state)
{
    for (uint32_t uid = 1; uid < 100000; uid++) {
        caps_add(&caps, CAP_NAMES, uid);
        caps_remove(&caps, CAP_NAMES, uid);
    }
    assert_int_equal(caps.n_users, 0);
    assert_int_equal(caps.n_records, 2);
}

static void test_caps_count_like_the_model(void **state)
{
    static uint32_t model[64][N_CAPS];
    struct caps other;
    struct seeded seed = {.state = 7};
    for (uint32_t i = 0; i < 20000; i++) {
        const uint32_t uid = seeded_below(&seed, 64);
        const enum cap cap = (enum cap)seeded_below(&seed, N_CAPS);
        if (seeded_below(&seed, 2) == 0) {
            caps_add(&caps, cap, uid);
            model[uid][cap]++;
        } else if (model[uid][cap] > 0) {
            caps_remove(&caps, cap, uid);
            model[uid][cap]--;
        }
        assert_int_equal(caps_count(&caps, cap, uid), model[uid][cap]);
    }
    assert_int_equal(caps_init(&other, limits, OWNER), 0);
    for (uint32_t uid = 64; uid-- > 0;) {
        for (uint32_t cap = 0; cap < N_CAPS; cap++) {
            for (uint32_t n = 0; n < model[uid][cap]; n++) {
                caps_add(&other, (enum cap)cap, uid);
            }
        }
    }
    assert_true(caps_same(&caps, &other));
    caps_add(&other, CAP_NAMES, 1000);
    assert_false(caps_same(&caps, &other));
    caps_fini(&other);
}

static void test_caps_init_without_memory_fails_cleanly(void **state)
{
    struct caps other;
    for (unsigned nth = 1; fail_again("memory", nth, ENOMEM); nth++) {
        const int r = caps_init(&other, limits, OWNER);
        assert_int_equal(r, fail_end() ? -ENOMEM : 0);
    }
    caps_fini(&other);
}

/* -------------------------------------------------------------------------- users of reasons -- */

static void test_reason_users_count_each_users_reasons_by_themselves(void **state)
{
    assert_true(reason_users_may(&users, 0, GREEDY));
    reason_users_add(&users, 10, GREEDY);
    reason_users_add(&users, 10, GREEDY);
    reason_users_add(&users, 11, GREEDY);
    assert_int_equal(caps_count(&caps, CAP_REASONS, GREEDY), 2);
    assert_false(reason_users_may(&users, 0, GREEDY));
    assert_false(reason_users_may(&users, 12, GREEDY)); /* one that another has */
    assert_true(reason_users_may(&users, 11, GREEDY));
    assert_true(reason_users_may(&users, 11, MODEST));
    reason_users_add(&users, 10, MODEST);
    assert_int_equal(caps_count(&caps, CAP_REASONS, MODEST), 1);

    reason_users_remove(&users, 10, GREEDY);
    assert_int_equal(reason_users_count(&users, 10, GREEDY), 1);
    reason_users_remove(&users, 10, GREEDY);
    assert_int_equal(caps_count(&caps, CAP_REASONS, GREEDY), 1); /* though another has it still */
    assert_true(reason_users_may(&users, 0, GREEDY));
}

static void test_reason_users_of_those_that_are_for_ever_are_not_counted(void **state)
{
    reason_users_add(&users, REASON_NONE, GREEDY);
    reason_users_add(&users, REASON_OTHER, GREEDY);
    assert_int_equal(users.n_pairs, 0);
    reason_users_remove(&users, REASON_OTHER, GREEDY);
    assert_int_equal(caps.n_users, 0);
}

static void test_reason_users_remove_of_what_is_not_there_is_a_bug(void **state)
{
    assert_broken(reason_users_remove(&users, 10, GREEDY));
}

/* New pairs end at half of the table, others find no place at its end, and are not missed later. */
static void test_reason_users_that_find_no_place_are_not_counted(void **state)
{
    for (uint32_t i = 0; i < REASON_USERS_MAX; i++) {
        assert_int_equal(reason_users_may(&users, 0, MODEST), i < REASON_USERS_MAX / 2);
        reason_users_add(&users, REASONS_RESERVED + i, 0);
    }
    assert_false(users.is_short);
    reason_users_add(&users, REASONS_RESERVED, MODEST);
    assert_true(users.is_short);
    assert_int_equal(caps_count(&caps, CAP_REASONS, MODEST), 0);
    reason_users_remove(&users, REASONS_RESERVED, MODEST);
    reason_users_remove(&users, REASONS_RESERVED + 1, 0);
    assert_int_equal(users.n_pairs, REASON_USERS_MAX - 1);
}

static void test_reason_users_init_without_memory_fails_cleanly(void **state)
{
    struct reason_users other;
    for (unsigned nth = 1; fail_again("memory", nth, ENOMEM); nth++) {
        const int r = reason_users_init(&other, &caps);
        assert_int_equal(r, fail_end() ? -ENOMEM : 0);
    }
    reason_users_fini(&other);
}

/* More users than buckets: some follow one another. The first to come goes first. */
static void test_caps_of_users_in_one_bucket_are_told_apart(void **state)
{
    for (uint32_t uid = 1; uid <= 2 * CAPS_BUCKETS; uid++) {
        caps_add(&caps, CAP_NAMES, uid);
    }
    for (uint32_t uid = 1; uid <= 2 * CAPS_BUCKETS; uid++) {
        assert_int_equal(caps_count(&caps, CAP_NAMES, uid), 1);
        caps_remove(&caps, CAP_NAMES, uid);
        assert_int_equal(caps_count(&caps, CAP_NAMES, uid), 0);
    }
    assert_int_equal(caps.n_users, 0);
}

static void test_caps_same_finds_other_counts_and_other_numbers_of_users(void **state)
{
    struct caps other;
    assert_int_equal(caps_init(&other, limits, OWNER), 0);
    caps_add(&caps, CAP_NAMES, GREEDY);
    assert_false(caps_same(&caps, &other));
    caps_add(&other, CAP_NAMES, GREEDY);
    assert_true(caps_same(&caps, &other));
    caps_add(&other, CAP_NAMES, MODEST);
    assert_false(caps_same(&caps, &other));
    caps_remove(&other, CAP_NAMES, MODEST);
    caps_add(&caps, CAP_NAMES, MODEST);
    caps_remove(&caps, CAP_NAMES, MODEST); /* its record is free */
    assert_true(caps_same(&caps, &other));
    caps.n_users++;
    assert_false(caps_same(&caps, &other));
    caps.n_users--;
    caps_fini(&other);
}

/* A table that is short counts nobody, and refuses nobody what there is already. */
static void test_reason_users_of_a_table_that_is_short(void **state)
{
    struct reason_users few;
    assert_int_equal(reason_users_init_for(&few, &caps, 1), 0);
    reason_users_add(&few, REASONS_RESERVED, GREEDY);
    reason_users_add(&few, REASONS_RESERVED, MODEST);
    reason_users_add(&few, REASONS_RESERVED + 1, MODEST);
    assert_true(few.is_short);
    assert_true(reason_users_may(&few, REASONS_RESERVED, MODEST));
    reason_users_remove(&few, REASONS_RESERVED, MODEST);
    reason_users_remove(&few, REASONS_RESERVED, GREEDY);
    reason_users_fini(&few);
}

#define CAPS_TEST(test) cmocka_unit_test_setup_teardown(test, caps_setup, caps_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CAPS_TEST(test_caps_of_a_greedy_user_leave_a_modest_one_its_own),
        CAPS_TEST(test_caps_do_not_limit_root_and_the_daemons_user),
        CAPS_TEST(test_caps_of_0_are_none),
        CAPS_TEST(test_caps_set_lower_than_what_is_there_allows_no_more),
        CAPS_TEST(test_caps_remove_of_what_a_user_does_not_have_is_a_bug),
        CAPS_TEST(test_caps_forget_users_that_have_nothing),
        CAPS_TEST(test_caps_count_like_the_model),
        CAPS_TEST(test_caps_init_without_memory_fails_cleanly),
        CAPS_TEST(test_reason_users_count_each_users_reasons_by_themselves),
        CAPS_TEST(test_reason_users_of_those_that_are_for_ever_are_not_counted),
        CAPS_TEST(test_reason_users_remove_of_what_is_not_there_is_a_bug),
        CAPS_TEST(test_reason_users_that_find_no_place_are_not_counted),
        CAPS_TEST(test_reason_users_init_without_memory_fails_cleanly),
        CAPS_TEST(test_caps_of_users_in_one_bucket_are_told_apart),
        CAPS_TEST(test_caps_same_finds_other_counts_and_other_numbers_of_users),
        CAPS_TEST(test_reason_users_of_a_table_that_is_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

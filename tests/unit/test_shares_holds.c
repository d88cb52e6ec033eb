/* SPDX-License-Identifier: MIT */
#include "daemon/core/hash.h"
#include "tests/unit/shares_fixture.h"

/* Lets everything meet in one bucket on demand. */
static bool all_meet;

uint32_t __real_hash_words(uint64_t seed, const void *bytes, size_t n_bytes);
uint32_t __wrap_hash_words(uint64_t seed, const void *bytes, size_t n_bytes);
uint32_t __wrap_hash_words(uint64_t seed, const void *bytes, size_t n_bytes)
{
    return all_meet ? 1 : __real_hash_words(seed, bytes, n_bytes);
}

static int holds_setup(void **state)
{
    all_meet = false;
    return shares_setup(state);
}

/* ----------------------------------------------------------------------------------- holds ---- */

static void test_shares_hold_says_who_holds_it(void **state)
{
    (void)state;
    const uint32_t share = add(fresh_at(0));
    const struct hold_new fresh = {
        .slot = 6, .owner = true, .reason = "detector", .n_reason_bytes = 8, .now = 99};
    uint32_t held;

    assert_int_equal(shares_hold(shares, share, &fresh, &held), 0);

    const struct state_hold *record = shares_hold_record(shares, held);
    const uint64_t word = atomic_load(&record->word);
    assert_int_equal(HOLD_SHARE(word), share);
    assert_int_equal(HOLD_SLOT(word), 6);
    assert_int_equal(word & (HOLD_WRITE | HOLD_OWNER), HOLD_OWNER);
    assert_int_equal(record->born, 99);
    assert_text(record->reason, "detector");
    assert_int_equal(shares_hold_of(shares, share, 6), held);
    assert_int_equal(shares_hold_of(shares, share, 5), 0);
    assert_int_equal(shares_holds_first(shares, share), held);
    assert_int_equal(shares_held_first(shares, 6), held);
    assert_int_equal(shares_n_holds(shares, share), 1);
    shares_hold_write(shares, held);
    assert_sound();
    assert_int_equal(atomic_load(&record->word), word | HOLD_WRITE);
    restart();
    assert_int_equal(atomic_load(&record->word), word | HOLD_WRITE);
}

static void test_shares_hold_twice_by_one_client_is_a_bug(void **state)
{
    (void)state;
    const uint32_t share = add(fresh_at(0));
    (void)hold(share, 1);

    assert_broken((void)hold(share, 1));
}

static void test_shares_hold_of_what_is_gone_or_going_is_a_bug(void **state)
{
    (void)state;
    const uint32_t share = add(fresh_in(4, 0));
    assert_broken((void)hold(share + 1, 1));
    assert_broken((void)hold(0, 1));

    shares_set(shares, share, SHARE_RETURNING | SHARE_LEASED | UINT64_C(3) << SHARE_OWNER_SHIFT);
    assert_broken((void)hold(share, 1));
}

static void test_shares_let_go_leaves_the_others(void **state)
{
    (void)state;
    const uint32_t share = add(fresh_at(0));
    const uint32_t other = add(fresh_at(1));
    uint32_t held[RECORDS_CLIENTS];
    for (uint32_t slot = 0; slot < RECORDS_CLIENTS; slot++) {
        held[slot] = hold(share, slot);
    }
    const uint32_t of_other = hold(other, 4);
    static const uint32_t order[] = {4, 0, 7, 3, 1, 2, 6, 5}; /* of the middle, and both ends */

    for (uint32_t i = 0; i < RECORDS_CLIENTS; i++) {
        let_go(held[order[i]]);
        assert_int_equal(shares_hold_of(shares, share, order[i]), 0);
        assert_int_equal(shares_n_holds(shares, share), RECORDS_CLIENTS - 1 - i);
    }

    assert_int_equal(shares_held_first(shares, 4), of_other);
    assert_int_equal(shares_held_next(shares, of_other), 0);
    assert_int_equal(shares_holds_next(shares, of_other), 0);
    assert_broken(shares_let_go(shares, held[0]));
}

static void test_shares_hold_beyond_the_table_is_full(void **state)
{
    (void)state;
    uint32_t share = 0;
    uint32_t held = 0;
    for (uint32_t i = 1; i < HOLDS_MAX; i++) {
        share = i % RECORDS_CLIENTS == 1 ? add(fresh_at(i)) : share;
        assert_int_equal(hold(share, i % RECORDS_CLIENTS), i);
    }
    share = add(fresh_at(0));
    const struct hold_new fresh = {.slot = 2, .reason = "late", .n_reason_bytes = 4};

    assert_int_equal(shares_hold(shares, share, &fresh, &held), SHARES_E_FULL);

    assert_sound();
    assert_int_equal(shares_n_holds(shares, share), 0);
    let_go(11);
    assert_int_equal(hold(share, 2), 11);
}

static void test_shares_that_meet_in_one_bucket_are_told_apart(void **state)
{
    (void)state;
    all_meet = true;
    for (uint32_t i = 1; i <= 7; i++) {
        const uint32_t share = add(fresh_at(i));
        (void)hold(share, 1);
        (void)hold(share, 2);
    }

    let_go(shares_hold_of(shares, 4, 1));
    let_go(shares_hold_of(shares, 4, 2));
    remove_share(4);

    assert_int_equal(shares_at(shares, fresh_at(3).off), 3);
    assert_int_equal(shares_at(shares, fresh_at(4).off), 0);
    assert_int_equal(
        HOLD_SLOT(atomic_load(&shares_hold_record(shares, shares_hold_of(shares, 3, 2))->word)), 2);
    restart();
    assert_int_equal(shares_at(shares, fresh_at(7).off), 7);
}

#define HOLDS_TEST(test) cmocka_unit_test_setup_teardown(test, holds_setup, shares_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS_TEST(test_shares_hold_says_who_holds_it),
        HOLDS_TEST(test_shares_hold_twice_by_one_client_is_a_bug),
        HOLDS_TEST(test_shares_hold_of_what_is_gone_or_going_is_a_bug),
        HOLDS_TEST(test_shares_let_go_leaves_the_others),
        HOLDS_TEST(test_shares_hold_beyond_the_table_is_full),
        HOLDS_TEST(test_shares_that_meet_in_one_bucket_are_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/core/hash.h"
#include "tests/unit/broken.h"
#include "tests/unit/records.h"

/* Lets everything meet in one bucket on demand. */
static bool all_meet;

uint32_t __real_hash_words(uint64_t seed, const void *bytes, size_t n_bytes);
uint32_t __wrap_hash_words(uint64_t seed, const void *bytes, size_t n_bytes);
uint32_t __wrap_hash_words(uint64_t seed, const void *bytes, size_t n_bytes)
{
    return all_meet ? 1 : __real_hash_words(seed, bytes, n_bytes);
}

static struct records records;
static struct shares *const shares = &records.shares;

static int shares_setup(void **state)
{
    (void)state;
    all_meet = false;
    records_open(&records);
    return 0;
}

static int shares_teardown(void **state)
{
    (void)state;
    records_close(&records);
    return 0;
}

static void assert_sound(void)
{
    assert_int_equal(records_check(&records), 0);
}

/* Of a block of 100 bytes at a number of KiB, in the second half of the segment. */
static struct share_new fresh_at(uint32_t kib)
{
    return (struct share_new){
        .off = {(UINT64_C(1) << 20) + kib * UINT64_C(1024)},
        .num_bytes = 100,
        .owner = 3,
        .tag = UINT64_C(0xfeedfacecafebeef) + kib,
        .reason = "camera",
        .n_reason_bytes = 6,
        .now = 77,
    };
}

/* Of a block in a slab of four pages. */
static struct share_new fresh_in(uint32_t slab_page, uint32_t index)
{
    struct share_new fresh = fresh_at(0);
    fresh.off.bytes = ((uint64_t)slab_page << PAGE_SHIFT) + index * UINT64_C(128);
    fresh.place = (struct share_place){slab_page, 4, index, 5};
    return fresh;
}

static uint32_t add(struct share_new fresh)
{
    uint32_t share;
    assert_int_equal(shares_add(shares, &fresh, &share), 0);
    assert_sound();
    return share;
}

static uint32_t hold(uint32_t share, uint32_t slot)
{
    const struct hold_new fresh = {.slot = slot, .reason = "track", .n_reason_bytes = 5, .now = 78};
    uint32_t added;
    assert_int_equal(shares_hold(shares, share, &fresh, &added), 0);
    assert_sound();
    return added;
}

static void let_go(uint32_t held)
{
    shares_let_go(shares, held);
    assert_sound();
}

static void remove_share(uint32_t share)
{
    shares_remove(shares, share);
    assert_sound();
}

static void restart(void)
{
    const char *why;
    records_abandon(&records);
    assert_int_equal(records_recover(&records, &why), 0);
    assert_null(why);
    assert_sound();
}

static void assert_text(uint32_t reason, const char *wanted)
{
    size_t n_bytes;
    const char *text = reasons_text(&records.reasons, reason, &n_bytes);
    assert_int_equal(n_bytes, strlen(wanted));
    assert_memory_equal(text, wanted, n_bytes);
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

#define HOLDS_TEST(test) cmocka_unit_test_setup_teardown(test, shares_setup, shares_teardown)

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

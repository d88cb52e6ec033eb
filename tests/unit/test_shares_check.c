/* SPDX-License-Identifier: MIT */
/*
 * test_shares_check.c - what does not add up, in the file and in what is derived of it
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/records.h"

#define SLAB 4
#define SLAB_CLASS 21 /* of two pages */

static struct records records;
static struct shares *const shares = &records.shares;

/* Of the two first, which are in one slab; of the third, which is direct. */
enum { LEASED = 1, ALSO_LEASED = 2, DIRECT = 3, RETURNING = 4 };

static void share_block(uint64_t offset, struct share_place place)
{
    const struct share_new fresh = {.off = {offset},
                                    .num_bytes = 100,
                                    .place = place,
                                    .owner = 2,
                                    .tag = 5,
                                    .reason = "camera",
                                    .n_reason_bytes = 6};
    uint32_t share;
    assert_int_equal(shares_add(shares, &fresh, &share), 0);
}

static void hold(uint32_t share, uint32_t slot)
{
    const struct hold_new fresh = {.slot = slot, .reason = "track", .n_reason_bytes = 5};
    uint32_t held;
    assert_int_equal(shares_hold(shares, share, &fresh, &held), 0);
}

/* Holds 1 and 2 are on the direct share, 3 is on a leased one; 4 is free, as is share 5. */
static int shares_setup(void **state)
{
    (void)state;
    const uint64_t block_bytes = size_classes[SLAB_CLASS].block_bytes;
    const struct share_place slab = {SLAB, 2, 1, SLAB_CLASS};
    const struct share_place also = {SLAB, 2, 2, SLAB_CLASS};
    const struct share_place large = {SLAB + 4, 3, 0, N_SIZE_CLASSES};
    records_open(&records);
    share_block(SLAB * PAGE_BYTES + block_bytes, slab);
    share_block(SLAB * PAGE_BYTES + 2 * block_bytes, also);
    share_block(100 * PAGE_BYTES, (struct share_place){0});
    share_block((SLAB + 4) * PAGE_BYTES, large);
    share_block(101 * PAGE_BYTES, (struct share_place){0});
    hold(DIRECT, 1);
    hold(DIRECT, 3);
    hold(LEASED, 1);
    hold(DIRECT, 4);
    shares_let_go(shares, 4);
    shares_remove(shares, 5);
    shares_set(shares, RETURNING,
               SHARE_RETURNING | SHARE_LEASED | UINT64_C(2) << SHARE_OWNER_SHIFT);
    assert_int_equal(records_check(&records), 0);
    return 0;
}

static int shares_teardown(void **state)
{
    (void)state;
    records_close(&records);
    return 0;
}

/* Another server starts with what is in the file now. Return: why it refuses; NULL: it does not. */
static const char *refused(void)
{
    static struct records other;
    const char *why;
    records_open(&other);
    records_abandon(&other);
    records_copy(&other, &records);
    const int r = records_recover(&other, &why);
    assert_int_equal(r, why ? SHARES_E_CORRUPT : 0);
    records_close(&other);
    return why;
}

static void assert_refused_word(_Atomic uint64_t *where, uint64_t word, const char *wanted)
{
    const uint64_t was = atomic_load(where);
    atomic_store(where, word);
    const char *why = refused();
    assert_non_null(why);
    assert_string_equal(why, wanted);
    atomic_store(where, was);
}

static void assert_refused_number(uint64_t *where, uint64_t number, const char *wanted)
{
    assert_refused_word((_Atomic uint64_t *)where, number, wanted);
}

static void assert_refused_u32(uint32_t *where, uint32_t number, const char *wanted)
{
    const uint32_t was = *where;
    *where = number;
    const char *why = refused();
    assert_non_null(why);
    assert_string_equal(why, wanted);
    *where = was;
}

static void test_shares_recover_refuses_a_share_that_no_server_leaves_behind(void **state)
{
    (void)state;
    struct state_share *record = &records.state.shares[DIRECT];
    const uint64_t word = atomic_load(&record->word);
    const char *not_given = "a share has a generation that was not given";
    const char *outside = "a share is not in the segment";
    const char *no_owner = "a share is owned by a client that is not there";
    const char *no_state = "a share is in no state that there is";

    assert_refused_word(&records.state.header->n_shares, SHARES_MAX + 1,
                        "there are more shares than there can be");
    assert_refused_number(&record->generation, record->generation + 1, not_given);
    assert_refused_number(&record->generation,
                          (uint64_t)(STATE_NUMBERS_AHEAD + 1) << SHARE_INDEX_BITS | DIRECT,
                          not_given);
    assert_refused_number(&record->offset, PAGE_BYTES - 1, outside);
    assert_refused_number(&record->offset, RECORDS_PAGES * PAGE_BYTES - 99, outside);
    assert_refused_number(&record->offset, UINT64_MAX - 50, outside);
    assert_refused_number(&record->num_bytes, 0, outside);
    assert_refused_number(&record->num_bytes, UINT64_MAX, outside);
    assert_refused_number(&record->offset, records.state.shares[LEASED].offset,
                          "a block is shared twice");
    assert_refused_word(&record->word, SHARE_LIVE | (uint64_t)RECORDS_CLIENTS << SHARE_OWNER_SHIFT,
                        no_owner);
    assert_refused_word(&record->word, SHARE_LIVE | (uint64_t)SLOT_KEPT << SHARE_OWNER_SHIFT,
                        no_owner);
    assert_refused_word(&records.state.clients[2].pid, 0, no_owner);
    assert_refused_word(&record->word, (word & ~UINT64_C(3)) | SHARE_RETURNING, no_state);
    assert_refused_word(&record->word, word | 3, no_state);
    assert_refused_word(&record->word, word | SHARE_FEED, no_state);
    assert_refused_word(&record->word, word | SHARE_NUMBERED, no_state);
    assert_refused_word(&record->word, word | UINT64_C(1) << SHARE_RETURN_SHIFT, no_state);
    assert_refused_word(&record->word, word | (uint64_t)SLOT_NONE << SHARE_OWNER_SHIFT, no_owner);
    assert_refused_number(&record->generation, DIRECT, not_given);
    assert_refused_word(&records.state.header->generations,
                        (UINT64_C(1) << STATE_NUMBER_BITS) - STATE_NUMBERS_AHEAD,
                        "there are more shares than there can be");
    _Atomic uint64_t *going_home = &records.state.shares[RETURNING].word;
    assert_refused_word(going_home, atomic_load(going_home) | SHARE_OFFERED | SHARE_KEEP, no_state);
    assert_refused_u32(&record->reason, REASONS_MAX, "a share has a reason without words");
    assert_refused_u32(&record->reason, REASONS_MAX - 1, "a share has a reason without words");
    assert_null(refused());
}

static void test_shares_recover_refuses_a_place_that_can_not_be(void **state)
{
    (void)state;
    struct state_share *record = &records.state.shares[ALSO_LEASED];
    const char *nowhere = "a shared block is not where its slab is";
    const uint64_t word = atomic_load(&record->word);

    assert_refused_u32(&record->slab_page, 0, nowhere);
    assert_refused_u32(&record->slab_page, RECORDS_PAGES, nowhere);
    assert_refused_u32(&record->slab_page, SLAB + 1, nowhere);
    assert_refused_u32(&record->slab_page, SLAB - 1, nowhere);
    assert_refused_u32(&record->span_pages, 0, nowhere);
    assert_refused_u32(&record->span_pages, 3, nowhere); /* another has it with two */
    assert_refused_u32(&record->span_pages, RECORDS_PAGES - SLAB + 1, nowhere);
    assert_refused_number(&record->num_bytes, 2 * PAGE_BYTES, nowhere);
    assert_refused_word(&record->word,
                        (word & ~SHARE_OWNER_HOLDS) | (uint64_t)SLOT_NONE << SHARE_OWNER_SHIFT,
                        nowhere);
    record->size_class = N_SIZE_CLASSES + 1;
    assert_string_equal(refused(), nowhere);
    record->size_class = 6;
    assert_string_equal(refused(), nowhere);
    record->size_class = SLAB_CLASS;
    record->index = 1;
    assert_string_equal(refused(), nowhere);
    record->index = (uint16_t)size_classes[SLAB_CLASS].n_blocks;
    assert_string_equal(refused(), nowhere);
    record->index = 2;
    assert_refused_number(&record->offset, record->offset + 16, nowhere);
    assert_refused_number(&record->num_bytes, size_classes[SLAB_CLASS].block_bytes + 1, nowhere);
    assert_null(refused());
    record = &records.state.shares[RETURNING]; /* a large one */
    assert_refused_number(&record->num_bytes, 3 * PAGE_BYTES + 1, nowhere);
    assert_refused_number(&record->offset, record->offset + PAGE_BYTES, nowhere);
    record->index = 1;
    assert_string_equal(refused(), nowhere);
    record->index = 0;
    assert_null(refused());
}

static void test_shares_recover_refuses_a_hold_that_no_server_leaves_behind(void **state)
{
    (void)state;
    struct state_hold *record = &records.state.holds[1];
    const uint64_t word = atomic_load(&record->word);
    const uint64_t of_slot_1 = HOLD_LIVE | UINT64_C(1) << HOLD_SLOT_SHIFT;
    const char *no_share = "a hold is on no share";

    assert_refused_word(&records.state.header->n_holds, HOLDS_MAX + 1,
                        "there are more holds than there can be");
    assert_refused_word(&record->word, word & ~HOLD_LIVE, no_share);
    assert_refused_word(&record->word, of_slot_1, no_share);
    assert_refused_word(&record->word, of_slot_1 | 5, no_share);
    assert_refused_word(&record->word, of_slot_1 | RETURNING, no_share);
    assert_refused_word(&record->word, of_slot_1 | SHARES_MAX, no_share);
    assert_refused_word(&record->word,
                        HOLD_LIVE | DIRECT | (uint64_t)RECORDS_CLIENTS << HOLD_SLOT_SHIFT,
                        "a hold is of a client that is not there");
    assert_refused_word(&record->word, of_slot_1 | LEASED, "a client holds a share twice");
    assert_refused_word(&record->word, word | UINT64_C(1) << 40,
                        "a hold is of no kind that there is");
    assert_refused_word(&records.state.holds[3].word, of_slot_1 | LEASED | HOLD_WRITE,
                        "a block is held for writing, and does not say so");
    assert_refused_u32(&record->reason, REASONS_MAX - 1, "a hold has a reason without words");
    assert_null(refused());
}

static void assert_wrong(uint32_t *where, uint32_t number)
{
    const uint32_t was = *where;
    *where = number;
    assert_int_equal(shares_check(shares), SHARES_E_CORRUPT);
    *where = was;
    assert_int_equal(shares_check(shares), 0);
}

static void test_shares_check_finds_a_wrong_count(void **state)
{
    (void)state;

    assert_wrong(&shares->n_shares, 3);
    assert_wrong(&shares->n_holds, 4);
    assert_wrong(&shares->n_leased, 2);
    assert_wrong(&shares->n_share_records, 7);
    assert_wrong(&shares->n_hold_records, 6);
    assert_wrong(&shares->links[DIRECT].n_holds, 1);
    assert_wrong(&shares->links[RETURNING].n_names, 1);
}

static void test_shares_check_finds_a_wrong_link(void **state)
{
    (void)state;

    assert_wrong(&shares->free_share, DIRECT);
    assert_wrong(&shares->free_share, 0);
    assert_wrong(&shares->free_hold, 1);
    assert_wrong(&shares->free_hold, 0);
    assert_wrong(&shares->links[DIRECT].first_hold, 1);
    assert_wrong(&shares->links[DIRECT].first_hold, 3);
    assert_wrong(&shares->links[DIRECT].first_hold, 4);
    assert_wrong(&shares->hold_links[2].prev_on_share, 1);
    assert_wrong(&shares->hold_links[2].next_on_share, 0);
    assert_wrong(&shares->hold_links[3].next_of_client, 0);
    assert_wrong(&shares->hold_links[1].prev_of_client, 0);
    assert_wrong(&shares->holds_of_client[3], 1);
    assert_wrong(&shares->holds_of_client[5], 2);
    assert_wrong(&shares->shares_of_owner[2], DIRECT);
    assert_wrong(&shares->shares_of_owner[1], DIRECT);
    assert_wrong(&shares->links[LEASED].prev_of_owner, 0);
    assert_wrong(&shares->links[LEASED].prev_in_slab, 0);
    assert_wrong(&shares->links[ALSO_LEASED].next_in_slab, 0);
    assert_wrong(&shares->shares_of_slab[SLAB], 0);
    assert_wrong(&shares->shares_of_slab[SLAB + 1], DIRECT);
    assert_wrong(&shares->shares_of_slab[SLAB + 1], ALSO_LEASED);
}

static void test_shares_check_finds_a_wrong_pin(void **state)
{
    (void)state;

    for (uint32_t page = 0; page < RECORDS_PAGES; page++) {
        shares->pinned[page / 64] ^= UINT64_C(1) << page % 64;
        assert_int_equal(shares_check(shares), SHARES_E_CORRUPT);
        shares->pinned[page / 64] ^= UINT64_C(1) << page % 64;
    }
    assert_int_equal(shares_check(shares), 0);
}

static void test_shares_check_finds_a_wrong_record(void **state)
{
    (void)state;
    struct state_share *record = &records.state.shares[DIRECT];
    _Atomic uint64_t *words[] = {(_Atomic uint64_t *)&record->offset,
                                 (_Atomic uint64_t *)&record->generation,
                                 &record->word,
                                 &records.state.holds[1].word,
                                 &records.state.holds[3].word,
                                 &records.state.shares[RETURNING].word,
                                 &records.state.shares[LEASED].word};
    const uint64_t bits[] = {16,
                             1,
                             2,
                             1,
                             UINT64_C(1) << HOLD_SLOT_SHIFT,
                             SHARE_LEASED,
                             UINT64_C(1) << SHARE_OWNER_SHIFT};

    for (uint32_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        atomic_fetch_xor(words[i], bits[i]);
        assert_int_equal(shares_check(shares), SHARES_E_CORRUPT);
        atomic_fetch_xor(words[i], bits[i]);
        assert_int_equal(shares_check(shares), 0);
    }
    shares->generations.last = 2;
    assert_int_equal(shares_check(shares), SHARES_E_CORRUPT);
    shares->generations.last = STATE_NUMBERS_AHEAD + 1;
    assert_int_equal(shares_check(shares), SHARES_E_CORRUPT);
}

/* Each could be so by itself; but a slab is not a large block as well. */
static void test_shares_recover_refuses_places_that_do_not_go_together(void **state)
{
    (void)state;
    struct state_share *record = &records.state.shares[ALSO_LEASED];
    record->offset = SLAB * PAGE_BYTES;
    record->size_class = N_SIZE_CLASSES;
    record->index = 0;
    assert_string_equal(refused(), "a shared block is not where its slab is");
    record->offset += UINT64_C(2) * size_classes[SLAB_CLASS].block_bytes;
    record->size_class = SLAB_CLASS;
    record->index = 2;
    assert_null(refused());
}

#define SHARES_TEST(test) cmocka_unit_test_setup_teardown(test, shares_setup, shares_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SHARES_TEST(test_shares_recover_refuses_a_share_that_no_server_leaves_behind),
        SHARES_TEST(test_shares_recover_refuses_a_place_that_can_not_be),
        SHARES_TEST(test_shares_recover_refuses_a_hold_that_no_server_leaves_behind),
        SHARES_TEST(test_shares_check_finds_a_wrong_count),
        SHARES_TEST(test_shares_check_finds_a_wrong_link),
        SHARES_TEST(test_shares_check_finds_a_wrong_pin),
        SHARES_TEST(test_shares_check_finds_a_wrong_record),
        SHARES_TEST(test_shares_recover_refuses_places_that_do_not_go_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

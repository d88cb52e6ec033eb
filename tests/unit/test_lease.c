/* SPDX-License-Identifier: MIT */
/*
 * test_lease.c - the states of leased pages, one operation at a time, beside an array of bytes
 */
#include <string.h>

#include "proto/lease.h"
#include "tests/support/seeded.h"
#include "tests/unit/unit.h"

/* Not a multiple of eight: the last word is used in part. */
#define N_PAGES 91
#define N_WORDS ((N_PAGES + 7) / 8)

#define N_BEFORE (LEASE_GIVEN_BEFORE_BYTES / sizeof(uint64_t))

static _Atomic uint64_t before_and_words[N_BEFORE + N_WORDS + 1]; /* the last is nobody's */
static _Atomic uint64_t *const words = before_and_words + N_BEFORE;
static _Atomic uint64_t *const asked =
    before_and_words + N_BEFORE - LEASE_ASKED_BEFORE_BYTES / sizeof(uint64_t);
static uint8_t model[N_PAGES];

static int lease_setup(void **state)
{
    memset((void *)before_and_words, 0, sizeof(before_and_words));
    memset(model, 0, sizeof(model));
    return 0;
}

static void assert_as_model(void)
{
    for (uint32_t page = 0; page < N_PAGES; page++) {
        assert_int_equal(lease_state_of(words, page), model[page]);
    }
    for (uint32_t page = N_PAGES; page < (N_WORDS + 1) * LEASE_PAGES_PER_WORD; page++) {
        assert_int_equal(lease_state_of(words, page), LEASE_NONE);
    }
}

static void model_set(uint32_t page, uint32_t n_pages, uint32_t page_state)
{
    memset(model + page, (int)page_state, n_pages);
}

/* Whether all pages of a range are in a state, ZERO set aside. */
static bool model_is(uint32_t page, uint32_t n_pages, uint32_t page_state)
{
    for (uint32_t i = page; i < page + n_pages; i++) {
        if ((model[i] & LEASE_STATE_MASK) != page_state) {
            return false;
        }
    }
    return true;
}

static bool model_is_zero(uint32_t page, uint32_t n_pages)
{
    for (uint32_t i = page; i < page + n_pages; i++) {
        if (!(model[i] & LEASE_ZERO)) {
            return false;
        }
    }
    return true;
}

/* ------------------------------------------------------------------------------ one by one ---- */

static void test_lease_grant_makes_every_range_free(void **state)
{
    for (uint32_t page = 0; page < 20; page++) {
        for (uint32_t n_pages = 1; n_pages < 30; n_pages++) {
            lease_setup(NULL);
            lease_grant(words, page, n_pages, false);
            model_set(page, n_pages, LEASE_FREE);
            assert_as_model();
            assert_int_equal(lease_count_free(words, 0, N_PAGES), n_pages);
        }
    }
}

static void test_lease_take_is_all_or_none(void **state)
{
    bool zero;
    lease_grant(words, 3, 40, false);
    model_set(3, 40, LEASE_FREE);

    assert_false(lease_take(words, 2, 10, &zero));
    assert_false(lease_take(words, 30, 14, &zero)); /* the last one is not there */
    assert_false(lease_take(words, 43, 1, &zero));
    assert_as_model();
    assert_true(lease_take(words, 3, 40, &zero));
    model_set(3, 40, LEASE_USED);
    assert_as_model();
    assert_false(lease_take(words, 10, 1, &zero));
}

static void test_lease_take_says_whether_every_byte_is_zero(void **state)
{
    bool zero = false;
    lease_grant(words, 0, 20, true);
    lease_grant(words, 20, 10, false);

    assert_true(lease_take(words, 0, 20, &zero));
    assert_true(zero);
    lease_give(words, 0, 20);
    assert_true(lease_take(words, 5, 1, &zero)); /* it was used: nobody knows any more */
    assert_false(zero);
    lease_give(words, 5, 1);
    lease_grant(words, 6, 14, true);
    assert_true(lease_take(words, 6, 15, &zero)); /* one page of fifteen is not known to be */
    assert_false(zero);
}

/* What was zero and was taken for a moment, and given back, is not known to be zero any more. */
static void test_lease_take_in_vain_leaves_no_page_that_claims_to_be_zero(void **state)
{
    bool zero = true;
    lease_grant(words, 0, 12, true);
    lease_grant(words, 12, 1, false);

    assert_false(lease_take(words, 0, 14, &zero));

    assert_int_equal(lease_count_free(words, 0, 14), 13);
    assert_true(lease_take(words, 8, 4, &zero));
    assert_true(zero); /* the word that failed was never taken */
}

static void test_lease_give_makes_pages_free_again(void **state)
{
    bool zero;
    lease_grant(words, 1, 50, false);
    assert_true(lease_take(words, 1, 50, &zero));

    lease_give(words, 7, 18);

    model_set(1, 50, LEASE_USED);
    model_set(7, 18, LEASE_FREE);
    assert_as_model();
}

static void test_lease_revoke_takes_a_stretch_within_a_word(void **state)
{
    uint32_t page = 0;
    lease_grant(words, 5, 20, false);

    assert_int_equal(lease_revoke(words, &page, N_PAGES), 3);
    assert_int_equal(page, 5);
    page += 3;
    assert_int_equal(lease_revoke(words, &page, N_PAGES), 8);
    assert_int_equal(page, 8);
    page = 20;
    assert_int_equal(lease_revoke(words, &page, 22), 2);
    assert_int_equal(page, 20);
    page = 0;
    assert_int_equal(lease_revoke(words, &page, 16), 0);

    model_set(5, 20, LEASE_FREE);
    model_set(5, 11, LEASE_REVOKED);
    model_set(20, 2, LEASE_REVOKED);
    assert_as_model();
}

static void test_lease_revoke_finds_each_free_page_of_every_word(void **state)
{
    for (uint32_t bits = 0; bits < 256; bits++) {
        lease_setup(NULL);
        for (uint32_t page = 0; page < 8; page++) {
            if (bits >> page & 1) {
                lease_grant(words, page, 1, page % 2);
                model[page] = LEASE_REVOKED;
            }
        }
        uint32_t n_pages = 0;
        uint32_t page = 0;
        for (uint32_t n = lease_revoke(words, &page, 8); n != 0;
             n = lease_revoke(words, &page, 8)) {
            n_pages += n;
            page += n;
        }
        assert_int_equal(n_pages, __builtin_popcount(bits));
        assert_as_model();
    }
}

static void test_lease_forget_leaves_nothing(void **state)
{
    uint32_t page = 0;
    lease_grant(words, 0, 24, true);
    assert_int_equal(lease_revoke(words, &page, N_PAGES), 8);

    lease_forget(words, 0, 8);

    model_set(8, 16, LEASE_FREE | LEASE_ZERO);
    assert_as_model();
}

static void test_lease_find_finds_the_first_run_that_is_long_enough(void **state)
{
    uint32_t page = 0;
    lease_grant(words, 2, 3, false);
    lease_grant(words, 6, 9, false);
    lease_grant(words, 16, 40, false);

    assert_true(lease_find(words, 0, N_PAGES, 3, &page));
    assert_int_equal(page, 2);
    assert_true(lease_find(words, 0, N_PAGES, 4, &page));
    assert_int_equal(page, 6);
    assert_true(lease_find(words, 0, N_PAGES, 10, &page));
    assert_int_equal(page, 16);
    assert_true(lease_find(words, 20, N_PAGES, 36, &page));
    assert_int_equal(page, 20);
    assert_false(lease_find(words, 20, N_PAGES, 37, &page));
    assert_false(lease_find(words, 16, 50, 35, &page));
    assert_false(lease_find(words, 0, 2, 1, &page));
    assert_false(lease_find(words, 60, N_PAGES, 1, &page));
}

static void test_lease_has_any_of_what_is_free_or_used(void **state)
{
    uint32_t page = 17;
    bool zero;
    assert_false(lease_has_any(words, 0, N_PAGES));
    lease_grant(words, 17, 2, true);

    assert_true(lease_has_any(words, 0, N_PAGES));
    assert_true(lease_has_any(words, 17, 1));
    assert_false(lease_has_any(words, 0, 17));
    assert_false(lease_has_any(words, 19, N_PAGES - 19));
    assert_true(lease_take(words, 17, 1, &zero));
    assert_int_equal(lease_revoke(words, &page, N_PAGES), 1);
    assert_true(lease_has_any(words, 17, 1));
    assert_false(lease_has_any(words, 18, 1));
}

static void test_lease_mask_has_a_bit_for_each_page_that_is_free_or_used(void **state)
{
    uint32_t page = 17;
    bool zero;
    lease_grant(words, 17, 3, true); /* 17, 18, 19 */
    assert_true(lease_take(words, 18, 1, &zero));
    assert_int_equal(lease_revoke(words, &page, 18), 1);
    assert_int_equal(lease_mask(words, 16, 8), 0xc);
    assert_int_equal(lease_mask(words, 0, 64), 0xc << 16);
    assert_int_equal(lease_mask(words, 24, 40), 0);
}

/* ---------------------------------------------------------------------------- idle slabs ---- */

static void assert_flags(uint32_t page, uint32_t n_pages, uint32_t flags)
{
    for (uint32_t i = page; i < page + n_pages; i++) {
        assert_int_equal(lease_flags_of(words, i), flags);
    }
}

/* The pages behind the first are INTERIOR. */
static void assert_slab(uint32_t page, uint32_t n_pages, uint32_t flags)
{
    assert_flags(page, 1, flags);
    assert_flags(page + 1, n_pages - 1, flags | LEASE_INTERIOR);
}

static void open_slab(uint32_t page, uint32_t n_pages)
{
    bool zero;
    lease_grant(words, page, n_pages, false);
    assert_true(lease_take(words, page, n_pages, &zero));
    lease_open_slab(words, page, n_pages);
}

static void test_lease_seize_takes_what_was_asked_for(void **state)
{
    open_slab(5, 6);
    assert_int_equal(lease_seize(words, 5, 6), 0); /* it was not asked for */
    assert_true(lease_ask(words, 5, 6));
    assert_true(lease_ask(words, 5, 6)); /* again */
    assert_slab(5, 6, LEASE_OPEN | LEASE_ASKED);
    assert_int_equal(lease_seize(words, 5, 6), 6);
    assert_flags(5, 6, LEASE_REVOKED | LEASE_STALE);
    assert_flags(4, 1, LEASE_NONE);
    assert_flags(11, 1, LEASE_NONE);
    assert_false(lease_keep(words, 5, 6));
}

/* The server is killed between two pages of one slab, and before the next slab. */
static void test_lease_settle_ends_what_was_begun(void **state)
{
    open_slab(5, 4);
    open_slab(9, 1);
    open_slab(10, 2);
    assert_true(lease_ask(words, 5, 4));
    assert_true(lease_ask(words, 9, 1));
    assert_true(lease_ask(words, 10, 2));
    assert_int_equal(lease_seize(words, 5, 2), 2);
    lease_settle(words, 0, N_PAGES);
    assert_flags(5, 4, LEASE_TAKEN);
    assert_slab(9, 1, LEASE_OPEN);
    assert_slab(10, 2, LEASE_OPEN);
    lease_settle(words, 0, N_PAGES);
    assert_slab(10, 2, LEASE_OPEN);
    assert_false(lease_keep(words, 5, 4));
    assert_true(lease_keep(words, 9, 1));
}

/* Its client has closed the slab up to there meanwhile: it closes the rest. */
static void test_lease_settle_leaves_a_slab_that_is_being_closed(void **state)
{
    open_slab(5, 2);
    assert_true(lease_ask(words, 5, 2));
    assert_int_equal(lease_seize(words, 5, 1), 1);
    (void)lease_close_slab(words, 5, 1);
    lease_settle(words, 0, N_PAGES);
    assert_flags(5, 1, LEASE_REVOKED);
    assert_flags(6, 1, LEASE_OPEN | LEASE_INTERIOR);
}

static void test_lease_ask_of_what_is_no_slab_changes_nothing(void **state)
{
    open_slab(5, 3);
    assert_false(lease_ask(words, 5, 4));
    assert_slab(5, 3, LEASE_OPEN);
    assert_false(lease_ask(words, 6, 2)); /* in the middle of one */
    assert_slab(5, 3, LEASE_OPEN);
    lease_grant(words, 20, 1, false);
    assert_false(lease_ask(words, 20, 1));
    assert_flags(20, 1, LEASE_FREE);
}

static void test_lease_keep_is_decided_by_the_first_page(void **state)
{
    open_slab(5, 6);
    assert_true(lease_ask(words, 5, 6));
    assert_true(lease_keep(words, 5, 6));
    assert_slab(5, 6, LEASE_OPEN);
    assert_int_equal(lease_seize(words, 5, 6), 0);
    assert_true(lease_keep(words, 5, 6)); /* not asked */
}

/* STALE goes with the pages wherever they go, and a page with it is not taken. */
static void test_lease_stale_page_is_not_taken(void **state)
{
    bool zero;
    uint32_t page = 8;
    open_slab(8, 2);
    assert_true(lease_ask(words, 8, 2));
    assert_int_equal(lease_seize(words, 8, 2), 2);
    lease_forget(words, 8, 2);
    assert_flags(8, 2, LEASE_NONE | LEASE_STALE);
    assert_true(lease_has_stale(words, 0, 16));
    lease_grant(words, 8, 2, false);
    assert_flags(8, 2, LEASE_FREE | LEASE_STALE);
    assert_false(lease_take(words, 8, 2, &zero));
    assert_false(lease_find(words, 0, N_PAGES, 1, &page));
    assert_int_equal(lease_revoke(words, &page, 9), 1); /* the daemon may */
    assert_flags(8, 1, LEASE_REVOKED | LEASE_STALE);
    assert_false(lease_close_slab(words, 8, 2));
    assert_flags(8, 1, LEASE_REVOKED);
    assert_flags(9, 1, LEASE_FREE);
    assert_true(lease_take(words, 9, 1, &zero));
}

static void test_lease_close_slab_gives_its_pages(void **state)
{
    open_slab(7, 4);
    assert_true(lease_ask(words, 7, 4));
    assert_true(lease_close_slab(words, 7, 4));
    assert_flags(7, 4, LEASE_FREE);
    assert_int_equal(lease_seize(words, 7, 4), 0);
}

static void test_lease_hush_ends_the_looking_when_no_page_is_asked_for(void **state)
{
    open_slab(90, 1);
    assert_true(lease_hush(words, N_PAGES));
    assert_true(lease_ask(words, 90, 1));
    lease_announce(words);
    assert_int_equal(lease_mark(asked), LEASE_MARK);
    assert_false(lease_hush(words, N_PAGES));
    assert_int_equal(lease_seize(words, 90, 1), 1);
    assert_false(lease_hush(words, N_PAGES));
    (void)lease_close_slab(words, 90, 1);
    assert_true(lease_hush(words, N_PAGES));
    assert_int_equal(lease_mark(asked), 0);
    lease_announce(words);
    lease_announce(words);
    assert_int_equal(lease_mark(asked), LEASE_MARK);
}

/* ------------------------------------------------------------------------ beside the model ---- */

static struct seeded seeded;

static uint32_t below(uint32_t limit)
{
    return seeded_below(&seeded, limit);
}

static void step_grant(uint32_t page, uint32_t n_pages)
{
    if (model_is(page, n_pages, LEASE_NONE)) {
        const bool zero = below(2) == 0;
        lease_grant(words, page, n_pages, zero);
        model_set(page, n_pages, zero ? LEASE_FREE | LEASE_ZERO : LEASE_FREE);
    }
}

static void step_take(uint32_t page, uint32_t n_pages)
{
    bool zero = false;
    const bool can = model_is(page, n_pages, LEASE_FREE);
    assert_int_equal(lease_take(words, page, n_pages, &zero), can);
    if (can) {
        assert_int_equal(zero, model_is_zero(page, n_pages));
        model_set(page, n_pages, LEASE_USED);
        return;
    }
    /* Whole words that were taken and given back may have lost their ZERO; they gain nothing. */
    for (uint32_t i = page; i < page + n_pages; i++) {
        assert_true(lease_state_of(words, i) == model[i] ||
                    lease_state_of(words, i) == (model[i] & LEASE_STATE_MASK));
        model[i] = (uint8_t)lease_state_of(words, i);
    }
}

static void step_give(uint32_t page, uint32_t n_pages)
{
    if (model_is(page, n_pages, LEASE_USED)) {
        lease_give(words, page, n_pages);
        model_set(page, n_pages, LEASE_FREE);
    }
}

static void step_revoke(uint32_t page, uint32_t n_pages)
{
    uint32_t at = page;
    const uint32_t n_back = lease_revoke(words, &at, page + n_pages);
    if (n_back == 0) {
        for (uint32_t i = page; i < page + n_pages; i++) {
            assert_false(model_is(i, 1, LEASE_FREE));
        }
        return;
    }
    for (uint32_t i = page; i < at; i++) {
        assert_false(model_is(i, 1, LEASE_FREE));
    }
    assert_true(at + n_back <= page + n_pages);
    assert_true(model_is(at, n_back, LEASE_FREE));
    model_set(at, n_back, LEASE_REVOKED);
}

static void step_forget(uint32_t page, uint32_t n_pages)
{
    if (model_is(page, n_pages, LEASE_REVOKED)) {
        lease_forget(words, page, n_pages);
        model_set(page, n_pages, LEASE_NONE);
    }
}

static void step_find(uint32_t page, uint32_t n_pages)
{
    uint32_t wanted = 1 + below(n_pages);
    uint32_t expected = page;
    while (expected + wanted <= page + n_pages && !model_is(expected, wanted, LEASE_FREE)) {
        expected++;
    }
    uint32_t found = 0;
    const bool is_there = expected + wanted <= page + n_pages;
    assert_int_equal(lease_find(words, page, page + n_pages, wanted, &found), is_there);
    assert_true(!is_there || found == expected);
}

static void test_lease_like_the_model(void **state)
{
    static void (*const steps[])(uint32_t page, uint32_t n_pages) = {
        step_grant, step_take, step_give, step_revoke, step_forget, step_find};
    seeded.state = 20261122;
    print_message("seed %llu\n", (unsigned long long)seeded.state);

    for (uint32_t step = 0; step < 300000; step++) {
        const uint32_t page = below(N_PAGES);
        const uint32_t most = below(4) ? 6 : N_PAGES;
        const uint32_t room = N_PAGES - page < most ? N_PAGES - page : most;
        steps[below(6)](page, 1 + below(room));
        if (step % 16 == 0) {
            assert_as_model();
        }
    }
    assert_as_model();
}

#define LEASE_TEST(test) cmocka_unit_test_setup(test, lease_setup)

/* Compared with each page's state alone. */
static void test_lease_stretch_and_all_used_say_what_each_page_says(void **state)
{
    static const uint64_t bytes[] = {LEASE_NONE, LEASE_FREE, LEASE_USED, LEASE_REVOKED,
                                     LEASE_FREE | LEASE_ZERO};
    _Atomic uint64_t told[16];
    uint64_t random = 12345;
    for (uint32_t round = 0; round < 300; round++) {
        for (uint32_t i = 0; i < 16; i++) {
            uint64_t word = 0;
            for (uint32_t k = 0; k < 8; k++) {
                random = random * UINT64_C(6364136223846793005) + 1;
                /* Long stretches in most of the rounds. */
                word = word << 8 | bytes[round % 3 == 0 ? (random >> 33) % 5 : 1 + round % 2];
            }
            atomic_store(&told[i], word);
        }
        if (round % 3 == 1) {
            atomic_store(&told[random % 16], UINT64_C(0));
        }
        for (uint32_t page = 0; page < 128; page++) {
            bool unused;
            uint32_t n_alike = 1;
            uint32_t n_used = 0;
            const bool first = (lease_state_of(told, page) & LEASE_STATE_MASK) == LEASE_FREE;
            while (page + n_alike < 128 && ((lease_state_of(told, page + n_alike) &
                                             LEASE_STATE_MASK) == LEASE_FREE) == first) {
                n_alike++;
            }
            while (page + n_used < 128 && lease_state_of(told, page + n_used) == LEASE_USED) {
                n_used++;
            }
            assert_int_equal(lease_stretch(told, page, 128 - page, &unused), n_alike);
            assert_int_equal(unused, first);
            assert_true(lease_all_used(told, page, n_used));
            assert_true(page + n_used == 128 || !lease_all_used(told, page, n_used + 1));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LEASE_TEST(test_lease_grant_makes_every_range_free),
        LEASE_TEST(test_lease_take_is_all_or_none),
        LEASE_TEST(test_lease_take_says_whether_every_byte_is_zero),
        LEASE_TEST(test_lease_take_in_vain_leaves_no_page_that_claims_to_be_zero),
        LEASE_TEST(test_lease_give_makes_pages_free_again),
        LEASE_TEST(test_lease_revoke_takes_a_stretch_within_a_word),
        LEASE_TEST(test_lease_revoke_finds_each_free_page_of_every_word),
        LEASE_TEST(test_lease_forget_leaves_nothing),
        LEASE_TEST(test_lease_find_finds_the_first_run_that_is_long_enough),
        LEASE_TEST(test_lease_has_any_of_what_is_free_or_used),
        LEASE_TEST(test_lease_mask_has_a_bit_for_each_page_that_is_free_or_used),
        LEASE_TEST(test_lease_like_the_model),
        cmocka_unit_test(test_lease_stretch_and_all_used_say_what_each_page_says),
        LEASE_TEST(test_lease_seize_takes_what_was_asked_for),
        LEASE_TEST(test_lease_settle_ends_what_was_begun),
        LEASE_TEST(test_lease_settle_leaves_a_slab_that_is_being_closed),
        LEASE_TEST(test_lease_ask_of_what_is_no_slab_changes_nothing),
        LEASE_TEST(test_lease_keep_is_decided_by_the_first_page),
        LEASE_TEST(test_lease_stale_page_is_not_taken),
        LEASE_TEST(test_lease_close_slab_gives_its_pages),
        LEASE_TEST(test_lease_hush_ends_the_looking_when_no_page_is_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

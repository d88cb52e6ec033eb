/* SPDX-License-Identifier: MIT */
/*
 * test_lease_own.c - which pages have nothing but what their client left in them
 */
#include <string.h>

#include "proto/lease.h"
#include "tests/unit/unit.h"

#define N_PAGES 64
#define N_BEFORE (LEASE_GIVEN_BEFORE_BYTES / sizeof(uint64_t))

static _Atomic uint64_t before_and_words[N_BEFORE + N_PAGES / LEASE_PAGES_PER_WORD];
static _Atomic uint64_t *const words = before_and_words + N_BEFORE;

static int set_up(void **state)
{
    memset((void *)before_and_words, 0, sizeof(before_and_words));
    return 0;
}

/* How many pages of a range a client may leave as they are, when it takes them. */
static uint32_t take_own(uint32_t page, uint32_t n_pages)
{
    bool zero;
    uint32_t n_own = 99;
    assert_true(lease_take_own(words, page, n_pages, &zero, &n_own));
    return n_own;
}

static void test_lease_take_own_counts_what_the_client_itself_left(void **state)
{
    lease_grant(words, 3, 40, false);
    assert_int_equal(take_own(3, 40), 0);
    lease_give_own(words, 3, 40, 40);
    assert_int_equal(take_own(3, 40), 40); /* over several words */
    lease_give_own(words, 3, 40, 27);
    assert_int_equal(take_own(3, 40), 27);
    lease_give_own(words, 3, 40, 5);
    assert_int_equal(take_own(3, 5), 5);
    assert_int_equal(take_own(8, 35), 0);
    lease_give_own(words, 3, 40, 40);
    assert_int_equal(take_own(10, 1), 1);
    lease_give(words, 10, 1);
    assert_int_equal(take_own(3, 40), 7); /* up to the first that is not */
}

/* Whoever had them meanwhile, and whichever thread finds them first. */
static void test_lease_take_own_of_pages_that_were_granted_anew_is_none(void **state)
{
    lease_grant(words, 0, 20, false);
    assert_int_equal(take_own(0, 20), 0);
    lease_give_own(words, 0, 20, 20);
    uint32_t page = 8;
    assert_int_equal(lease_revoke(words, &page, 10), 2);
    lease_forget(words, 8, 2);
    lease_grant(words, 8, 2, false);
    assert_int_equal(take_own(0, 20), 8);
}

static void test_lease_take_in_vain_leaves_no_page_that_claims_to_be_own(void **state)
{
    bool zero;
    uint32_t n_own;
    lease_grant(words, 0, 12, false);
    assert_int_equal(take_own(0, 12), 0);
    lease_give_own(words, 0, 12, 12);
    assert_false(lease_take_own(words, 0, 14, &zero, &n_own));
    assert_int_equal(take_own(0, 8), 0);
    assert_int_equal(take_own(8, 4), 4); /* the word that failed was never taken */
}

/* What others see of a page is what it was without OWN. */
static void test_lease_own_is_no_state(void **state)
{
    lease_grant(words, 0, 16, false);
    assert_int_equal(take_own(0, 16), 0);
    lease_give_own(words, 0, 16, 16);
    uint32_t page = 99;
    bool is_unused = false;
    assert_int_equal(lease_count_free(words, 0, 16), 16);
    assert_int_equal(lease_stretch(words, 0, 16, &is_unused), 16);
    assert_true(is_unused);
    assert_int_equal(lease_mask(words, 0, 16), 0xffff);
    assert_true(lease_find(words, 0, 16, 16, &page));
    assert_int_equal(page, 0);
    assert_false(lease_all_used(words, 0, 16));
    assert_false(lease_has_stale(words, 0, 16));
}

#define OWN_TEST(test) cmocka_unit_test_setup(test, set_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        OWN_TEST(test_lease_take_own_counts_what_the_client_itself_left),
        OWN_TEST(test_lease_take_own_of_pages_that_were_granted_anew_is_none),
        OWN_TEST(test_lease_take_in_vain_leaves_no_page_that_claims_to_be_own),
        OWN_TEST(test_lease_own_is_no_state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * test_ledger_check.c - the checker of a slab finds what a test has spoilt
 */
#include <stdlib.h>

#include "tests/unit/ledger_fixture.h"
#include "tests/unit/unit.h"

/* A slab of sixteen 1 KiB blocks: 0 to 9 carved, 4 and then 7 given back. */
static struct ledger_head *slab_to_spoil(struct ledger_entry **ret_entries)
{
    const uint32_t page = 50;
    ledger_slab_open(&ledger, page, size_class_of(1024));
    for (uint32_t i = 0; i < 10; i++) {
        (void)ledger_take(&ledger, page, 1024, REASON, 0, 0);
    }
    give(ledger_offset(&ledger, page, 4));
    give(ledger_offset(&ledger, page, 7));
    assert_int_equal(ledger_slab_check(&ledger, page), 0);
    *ret_entries = ledger_entries(&ledger, page);
    return &ledger.heads[page];
}

static void test_ledger_slab_check_finds_wrong_counts(void **state)
{
    struct ledger_entry *entries;
    struct ledger_head *head = slab_to_spoil(&entries);

    head->n_used++;
    assert_int_equal(ledger_slab_check(&ledger, 50), LEDGER_E_CORRUPT);
    head->n_used -= 2;
    assert_int_equal(ledger_slab_check(&ledger, 50), LEDGER_E_CORRUPT);
    head->n_used++;
    head->n_carved++;
    assert_int_equal(ledger_slab_check(&ledger, 50), LEDGER_E_CORRUPT);
    head->n_carved -= 2; /* block 9 is live and was never handed out */
    assert_int_equal(ledger_slab_check(&ledger, 50), LEDGER_E_CORRUPT);
    head->n_carved++;
    assert_int_equal(ledger_slab_check(&ledger, 50), 0);
}

static void test_ledger_slab_check_finds_wrong_lists(void **state)
{
    struct ledger_entry *entries;
    struct ledger_head *head = slab_to_spoil(&entries);

    atomic_store(&entries[4].born, 8); /* 7 -> 4 -> 7 ... */
    assert_int_equal(ledger_slab_check(&ledger, 50), LEDGER_E_CORRUPT);
    atomic_store(&entries[4].born, 3); /* a live block */
    assert_int_equal(ledger_slab_check(&ledger, 50), LEDGER_E_CORRUPT);
    atomic_store(&entries[4].born, 11); /* never handed out */
    assert_int_equal(ledger_slab_check(&ledger, 50), LEDGER_E_CORRUPT);
    atomic_store(&entries[4].born, UINT32_MAX);
    assert_int_equal(ledger_slab_check(&ledger, 50), LEDGER_E_CORRUPT);
    atomic_store(&entries[4].born, 0);
    head->free = 5; /* 7 is lost */
    assert_int_equal(ledger_slab_check(&ledger, 50), LEDGER_E_CORRUPT);
    head->free = 0xFFFF;
    assert_int_equal(ledger_slab_check(&ledger, 50), LEDGER_E_CORRUPT);
    head->free = 8;
    assert_int_equal(ledger_slab_check(&ledger, 50), 0);
}

static void test_ledger_slab_check_finds_wrong_words(void **state)
{
    struct ledger_entry *entries;
    (void)slab_to_spoil(&entries);

    atomic_store(&entries[0].word, ENTRY_WORD(1025, REASON)); /* larger than its block */
    assert_int_equal(ledger_slab_check(&ledger, 50), LEDGER_E_CORRUPT);
    atomic_store(&entries[0].word, ENTRY_WORD(0, REASON)); /* live, of no size */
    assert_int_equal(ledger_slab_check(&ledger, 50), LEDGER_E_CORRUPT);
    atomic_store(&entries[0].word, 0); /* free, on no list */
    assert_int_equal(ledger_slab_check(&ledger, 50), LEDGER_E_CORRUPT);
    atomic_store(&entries[0].word, ENTRY_WORD(1, 0));
    assert_int_equal(ledger_slab_check(&ledger, 50), 0);
    atomic_store(&entries[15].word, ENTRY_WORD(1, 0)); /* never handed out */
    assert_int_equal(ledger_slab_check(&ledger, 50), LEDGER_E_CORRUPT);
    atomic_store(&entries[15].word, 0);
    atomic_store(&entries[4].word, ENTRY_WORD(1, 0)); /* on the list */
    assert_int_equal(ledger_slab_check(&ledger, 50), LEDGER_E_CORRUPT);
}

#define LEDGER_TEST(test) cmocka_unit_test_setup_teardown(test, ledger_setup, ledger_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LEDGER_TEST(test_ledger_slab_check_finds_wrong_counts),
        LEDGER_TEST(test_ledger_slab_check_finds_wrong_lists),
        LEDGER_TEST(test_ledger_slab_check_finds_wrong_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

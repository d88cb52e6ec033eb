/* SPDX-License-Identifier: MIT */
/*
 * test_rollup_other.c - groups of what has no name of its own, and names that look alike
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/core/hash.h"
#include "daemon/core/rollup.h"
#include "tests/unit/core_fixture.h"
#include "tests/unit/fail.h"
#include "tests/unit/unit.h"

/* Every name has the same hash. */
static bool is_alike;

uint32_t __real_hash_words(uint64_t seed, const void *bytes, size_t n_bytes);
uint32_t __wrap_hash_words(uint64_t seed, const void *bytes, size_t n_bytes);
uint32_t __wrap_hash_words(uint64_t seed, const void *bytes, size_t n_bytes)
{
    return is_alike ? 1 : __real_hash_words(seed, bytes, n_bytes);
}

static struct client *alice;

static int rollup_setup(void **state)
{
    fixture_init(&fixture, 1024, 10);
    alice = fixture_join(&fixture, 3);
    (void)fixture_ledger(&fixture, alice);
    is_alike = false;
    return 0;
}

static struct rollup *new_rollup(enum rollup_by by, struct rollup_purse *purse)
{
    const struct rollup_tables tables = core_tables(core);
    struct rollup *rollup = rollup_new(by, &tables, purse);
    assert_non_null(rollup);
    return rollup;
}

static int add(struct rollup *rollup, const struct client *client, uint32_t reason, bool leased)
{
    const struct block block = {
        .num_bytes = 100, .reason = reason, .slot = client->slot, .leased = leased};
    return rollup_add(rollup, &block);
}

static uint32_t reason_of(struct seg_off off)
{
    struct block block;
    assert_int_equal(direct_find(&core->direct, alice, off, &block), 0);
    return block.reason;
}

static void test_rollup_by_reason_tells_names_of_one_hash_apart(void **state)
{
    struct rollup *rollup = new_rollup(ROLLUP_BY_REASON, NULL);
    const struct seg_off offs[] = {fixture_allocate(&fixture, alice, 100, "one"),
                                   fixture_allocate(&fixture, alice, 100, "two")};
    is_alike = true;
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal(add(rollup, alice, reason_of(offs[i]), false), 0);
    }
    assert_int_equal(rollup_n_groups(rollup), 2);
    assert_int_equal(rollup_find(rollup, "two")->n_blocks, 1);
    is_alike = false;
    (void)rollup_free(rollup);
}

/* The one group that is left is already there, by the reason of what has none of its own. */
static void test_rollup_counts_what_finds_no_room_with_other_reasons(void **state)
{
    struct rollup_purse purse = {.n_groups = 2, .n_unverified_groups = 2, .n_links = 100};
    struct rollup *rollup = new_rollup(ROLLUP_BY_REASON, &purse);
    const struct seg_off off = fixture_allocate(&fixture, alice, 100, "one too many");
    assert_int_equal(add(rollup, alice, REASON_OTHER, false), 0);
    assert_int_equal(add(rollup, alice, reason_of(off), false), 0);
    assert_int_equal(rollup_sort(rollup), 0);
    assert_int_equal(rollup_n_groups(rollup), 1);
    assert_string_equal(rollup_group(rollup, 0)->key, OTHER_REASONS);
    assert_int_equal(rollup_group(rollup, 0)->n_blocks, 2);
    (void)rollup_free(rollup);
}

/* Of another namespace: they have no numbers here, and are told apart by their names alone. */
static void test_rollup_by_client_adds_up_processes_without_numbers(void **state)
{
    struct rollup *rollup = new_rollup(ROLLUP_BY_CLIENT, NULL);
    struct client *client;
    for (uint32_t i = 1; i <= 2; i++) {
        struct client_identity identity = fixture_identity(0);
        identity.inode = i;
        assert_int_equal(core_join(core, &identity, i, fixture.now_ms, &client), 0);
        assert_int_equal(add(rollup, client, REASON_NONE, false), 0);
    }
    assert_int_equal(rollup_sort(rollup), 0);
    assert_int_equal(rollup_n_groups(rollup), 1);
    assert_int_equal(rollup_group(rollup, 0)->n_blocks, 2);
    (void)rollup_free(rollup);
}

static void test_rollup_of_a_reason_that_no_ledger_has_is_unverified(void **state)
{
    struct rollup *rollup = new_rollup(ROLLUP_BY_REASON, NULL);
    assert_int_equal(add(rollup, alice, LEDGER_REASONS_MAX, true), 0);
    assert_int_equal(add(rollup, alice, ENTRY_REASONS_MAX - 1, true), 0);
    assert_int_equal(rollup_sort(rollup), 0);
    assert_int_equal(rollup_n_groups(rollup), 1);
    assert_string_equal(rollup_group(rollup, 0)->key, "<unverified>");
    (void)rollup_free(rollup);
}

static void test_rollup_add_of_a_leased_block_without_memory_leaves_it_as_it_was(void **state)
{
    const struct rollup_tables tables = core_tables(core);
    const uint32_t id = fixture_tell(&fixture, alice, "told");
    unsigned n_failures = 0;
    for (unsigned nth = 1; fail_again("memory", nth, ENOMEM); nth++) {
        struct rollup *rollup = rollup_new(ROLLUP_BY_REASON, &tables, NULL);
        const int r = rollup ? add(rollup, alice, id, true) : -ENOMEM;
        const bool failed = fail_end();
        assert_true(r == 0 || (failed && r == -ENOMEM));
        assert_true(!rollup || rollup_n_groups(rollup) == (r == 0));
        n_failures += failed;
        (void)rollup_free(rollup);
    }
    assert_true(n_failures > 3);
}

#define ROLLUP_TEST(test) cmocka_unit_test_setup_teardown(test, rollup_setup, core_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROLLUP_TEST(test_rollup_by_reason_tells_names_of_one_hash_apart),
        ROLLUP_TEST(test_rollup_counts_what_finds_no_room_with_other_reasons),
        ROLLUP_TEST(test_rollup_by_client_adds_up_processes_without_numbers),
        ROLLUP_TEST(test_rollup_of_a_reason_that_no_ledger_has_is_unverified),
        ROLLUP_TEST(test_rollup_add_of_a_leased_block_without_memory_leaves_it_as_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

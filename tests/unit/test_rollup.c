/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/core/hash.h"
#include "daemon/core/rollup.h"
#include "daemon/core/block_iter.h"
#include "tests/unit/broken.h"
#include "tests/unit/fail.h"
#include "tests/unit/core_fixture.h"
#include "tests/unit/unit.h"

/* Watches what keys are hashed with. */
static uint64_t seed_seen;

uint32_t __real_hash_words(uint64_t seed, const void *bytes, size_t n_bytes);
uint32_t __wrap_hash_words(uint64_t seed, const void *bytes, size_t n_bytes);
uint32_t __wrap_hash_words(uint64_t seed, const void *bytes, size_t n_bytes)
{
    seed_seen = seed;
    return __real_hash_words(seed, bytes, n_bytes);
}

static struct client *alice; /* pid 3, user 1000 */
static struct client *bob;   /* pid 6, user 1000 */
static struct client *carol; /* pid 7, user 1001 */

static int rollup_setup(void **state)
{
    fixture_init(&fixture, 1024, 10);
    alice = fixture_join(&fixture, 3);
    bob = fixture_join(&fixture, 6);
    carol = fixture_join(&fixture, 7);
    return 0;
}

static struct rollup *new_rollup(enum rollup_by by)
{
    const struct rollup_tables tables = core_tables(&fixture.core);
    struct rollup *rollup = rollup_new(by, &tables, NULL);
    assert_non_null(rollup);
    return rollup;
}

/* Adds every live block, and sorts. */
static void add_all(struct rollup *rollup)
{
    struct block_iter iter;
    struct block block;
    block_iter_init(&iter, &fixture.core, BLOCKS_ALL, (struct seg_off){0}, UINT32_MAX);
    while (block_iter_next(&iter, &block)) {
        assert_int_equal(rollup_add(rollup, &block), 0);
    }
    assert_int_equal(rollup_sort(rollup), 0);
}

static void assert_group(const struct rollup *rollup, size_t index, const char *key,
                         uint64_t n_blocks, uint64_t num_bytes)
{
    const struct rollup_group *group = rollup_group(rollup, index);
    assert_string_equal(group->key, key);
    assert_int_equal(group->n_blocks, n_blocks);
    assert_int_equal(group->num_bytes, num_bytes);
}

static void test_rollup_by_size_has_a_group_for_each_class_and_doubling(void **state)
{
    (void)fixture_allocate(&fixture, alice, 1, "a");
    (void)fixture_allocate(&fixture, bob, 16, "b");
    (void)fixture_allocate(&fixture, bob, 17, "b");
    (void)fixture_allocate(&fixture, carol, 65536, "c");
    (void)fixture_allocate(&fixture, carol, 65537, "c");
    (void)fixture_allocate(&fixture, carol, 131072, "d");
    struct rollup *rollup = new_rollup(ROLLUP_BY_SIZE);

    add_all(rollup);

    assert_int_equal(rollup_n_groups(rollup), 4);
    assert_group(rollup, 0, "131072", 2, 65537 + 131072);
    assert_group(rollup, 1, "65536", 1, 65536);
    /* These have the same bytes: the order is that of their keys. */
    assert_group(rollup, 2, "16", 2, 17);
    assert_group(rollup, 3, "32", 1, 17);
    (void)rollup_free(rollup);
}

static void test_rollup_by_age_counts_from_the_moment_that_it_is_told(void **state)
{
    (void)fixture_allocate(&fixture, alice, 1000, "old");
    fixture.now_ms += 60000;
    (void)fixture_allocate(&fixture, bob, 100, "young");
    fixture.now_ms += 999;
    struct rollup *rollup = new_rollup(ROLLUP_BY_AGE);
    rollup_age_from(rollup, core_tick(&fixture.core, fixture.now_ms));
    fixture.now_ms += 10000000; /* it goes on to look, and ages stay */
    (void)fixture_allocate(&fixture, alice, 10, "of later");

    add_all(rollup);

    assert_int_equal(rollup_n_groups(rollup), 2);
    assert_group(rollup, 0, "60000", 1, 1000);
    assert_group(rollup, 1, "0", 2, 110);
    (void)rollup_free(rollup);
}

static void test_rollup_by_reason_drops_the_detail(void **state)
{
    (void)fixture_allocate(&fixture, alice, 100, "video/frame#17");
    (void)fixture_allocate(&fixture, bob, 30, "video/frame#18");
    (void)fixture_allocate(&fixture, bob, 20, "video/frame");
    (void)fixture_allocate(&fixture, alice, 1, "video");
    (void)fixture_allocate(&fixture, alice, 2, "#only a detail");
    (void)fixture_allocate(&fixture, alice, 3, "");
    struct rollup *rollup = new_rollup(ROLLUP_BY_REASON);

    add_all(rollup);

    assert_int_equal(rollup_n_groups(rollup), 4);
    assert_group(rollup, 0, "video/frame", 3, 150);
    assert_group(rollup, 1, NO_REASON, 1, 3);
    assert_group(rollup, 2, "#only a detail", 1, 2);
    assert_group(rollup, 3, "video", 1, 1);
    assert_null(rollup_free(rollup));
}

static void test_rollup_by_client_tells_processes_apart(void **state)
{
    (void)fixture_allocate(&fixture, alice, 100, "one");
    (void)fixture_allocate(&fixture, bob, 30, "one");
    (void)fixture_allocate(&fixture, bob, 20, "two");
    struct rollup *rollup = new_rollup(ROLLUP_BY_CLIENT);

    add_all(rollup);

    assert_int_equal(rollup_n_groups(rollup), 2);
    assert_group(rollup, 0, "worker-3", 1, 100);
    assert_group(rollup, 1, "worker-6", 2, 50);
    assert_int_equal(rollup_group(rollup, 1)->pid, 6);
    assert_int_equal(rollup_group(rollup, 1)->uid, 1000);
    assert_null(rollup_free(rollup));
}

static void test_rollup_by_uid_adds_up_a_users_processes(void **state)
{
    (void)fixture_allocate(&fixture, alice, 100, "one");
    (void)fixture_allocate(&fixture, bob, 30, "one");
    (void)fixture_allocate(&fixture, carol, 500, "two");
    struct rollup *rollup = new_rollup(ROLLUP_BY_UID);

    add_all(rollup);

    assert_int_equal(rollup_n_groups(rollup), 2);
    assert_group(rollup, 0, "1001", 1, 500);
    assert_group(rollup, 1, "1000", 2, 130);
    assert_int_equal(rollup_group(rollup, 1)->uid, 1000);
    assert_int_equal(rollup_group(rollup, 1)->pid, 0);
    assert_null(rollup_free(rollup));
}

static void test_rollup_group_knows_its_oldest_block(void **state)
{
    fixture.now_ms += 1000;
    (void)fixture_allocate(&fixture, alice, 1, "same");
    fixture.now_ms += 1000;
    (void)fixture_allocate(&fixture, alice, 1, "same");
    struct rollup *rollup = new_rollup(ROLLUP_BY_REASON);

    add_all(rollup);

    assert_int_equal(rollup_group(rollup, 0)->oldest, 10);
    assert_null(rollup_free(rollup));
}

static void test_rollup_sort_of_equal_sizes_is_by_key(void **state)
{
    (void)fixture_allocate(&fixture, alice, 10, "b");
    (void)fixture_allocate(&fixture, alice, 10, "c");
    (void)fixture_allocate(&fixture, alice, 10, "a");
    struct rollup *rollup = new_rollup(ROLLUP_BY_REASON);

    add_all(rollup);

    assert_group(rollup, 0, "a", 1, 10);
    assert_group(rollup, 1, "b", 1, 10);
    assert_group(rollup, 2, "c", 1, 10);
    assert_null(rollup_free(rollup));
}

static void test_rollup_of_nothing_has_no_groups(void **state)
{
    struct rollup *rollup = new_rollup(ROLLUP_BY_CLIENT);

    add_all(rollup);

    assert_int_equal(rollup_n_groups(rollup), 0);
    assert_broken((void)rollup_group(rollup, 0));
    assert_null(rollup_free(rollup));
    assert_null(rollup_free(NULL));
}

static struct block block_at(struct client *client, struct seg_off off)
{
    struct block block;
    assert_int_equal(direct_find(&fixture.core.direct, client, off, &block), 0);
    return block;
}

static void test_rollup_add_does_not_mistake_an_ids_next_allocator(void **state)
{
    const struct seg_off first = fixture_allocate(&fixture, alice, 10, "first reason");
    struct rollup *rollup = new_rollup(ROLLUP_BY_REASON);
    const struct block first_block = block_at(alice, first);
    assert_int_equal(rollup_add(rollup, &first_block), 0);
    fixture_release(&fixture, alice, first);

    const struct seg_off second = fixture_allocate(&fixture, alice, 20, "second reason");
    const struct block second_block = block_at(alice, second);
    assert_int_equal(second_block.reason, first_block.reason);
    assert_int_equal(rollup_add(rollup, &second_block), 0);

    assert_int_equal(rollup_sort(rollup), 0);
    assert_int_equal(rollup_n_groups(rollup), 2);
    assert_group(rollup, 0, "second reason", 1, 20);
    assert_group(rollup, 1, "first reason", 1, 10);
    assert_null(rollup_free(rollup));
}

static void test_rollup_add_does_not_mistake_a_slots_next_allocator(void **state)
{
    struct rollup *rollup = new_rollup(ROLLUP_BY_CLIENT);
    const struct block first = block_at(carol, fixture_allocate(&fixture, carol, 10, "same"));
    assert_int_equal(rollup_add(rollup, &first), 0);
    fixture_end(&fixture, carol, false);

    struct client *dave = fixture_join(&fixture, 8);
    const struct block second = block_at(dave, fixture_allocate(&fixture, dave, 20, "same"));
    assert_int_equal(second.slot, first.slot);
    assert_int_equal(rollup_add(rollup, &second), 0);

    assert_int_equal(rollup_sort(rollup), 0);
    assert_int_equal(rollup_n_groups(rollup), 2);
    assert_group(rollup, 0, "worker-8", 1, 20);
    assert_group(rollup, 1, "worker-7", 1, 10);
    assert_null(rollup_free(rollup));
}

static void test_rollup_add_of_ids_that_are_newer_than_it(void **state)
{
    struct rollup *rollup = new_rollup(ROLLUP_BY_REASON);
    struct rollup *by_client = new_rollup(ROLLUP_BY_CLIENT);
    struct client *dave = fixture_join(&fixture, 8);

    for (uint32_t i = 0; i < 20; i++) {
        char reason[16];
        (void)snprintf(reason, sizeof(reason), "new/%u", i % 10);
        const struct block block =
            block_at(dave, fixture_allocate(&fixture, dave, 1 + i % 10, reason));
        assert_int_equal(rollup_add(rollup, &block), 0);
        assert_int_equal(rollup_add(by_client, &block), 0);
    }

    assert_int_equal(rollup_sort(rollup), 0);
    assert_int_equal(rollup_sort(by_client), 0);
    assert_int_equal(rollup_n_groups(rollup), 10);
    assert_group(rollup, 0, "new/9", 2, 20);
    assert_int_equal(rollup_n_groups(by_client), 1);
    assert_group(by_client, 0, "worker-8", 20, 110);
    assert_null(rollup_free(rollup));
    assert_null(rollup_free(by_client));
}

static void test_rollup_add_after_sort_is_a_bug(void **state)
{
    const struct block block = block_at(alice, fixture_allocate(&fixture, alice, 1, "x"));
    struct rollup *rollup = new_rollup(ROLLUP_BY_REASON);
    add_all(rollup);

    assert_broken(assert_int_equal(rollup_add(rollup, &block), 0));
    assert_null(rollup_free(rollup));
}

static void test_rollup_hashes_with_the_segments_instance(void **state)
{
    (void)fixture_allocate(&fixture, alice, 10, "words");
    struct rollup *rollup = new_rollup(ROLLUP_BY_REASON);
    seed_seen = 0;

    add_all(rollup);

    assert_int_equal(seed_seen, fixture.core.config.instance);
    assert_null(rollup_free(rollup));
}

/* Ids of clients' own tables mean what each client says they mean. */
static void test_rollup_by_reason_adds_up_what_clients_tell(void **state)
{
    struct client *const clients[] = {alice, bob};
    for (uint32_t i = 0; i < 2; i++) {
        struct ledger *ledger = fixture_ledger(&fixture, clients[i]);
        const uint32_t page = fixture_lease(&fixture, clients[i], 1);
        const uint32_t own = fixture_tell(&fixture, clients[i], i == 0 ? "alices" : "bobs");
        const uint32_t both = fixture_tell(&fixture, clients[i], i == 0 ? "both#1" : "both#2");
        fixture_carve(&fixture, clients[i], page, 0);
        (void)ledger_take(ledger, page, 10 + i, own, 0, 0);
        (void)ledger_take(ledger, page, 2, both, 0, 0);
        (void)ledger_take(ledger, page, 1, REASON_NONE, 0, 0);
    }
    (void)fixture_allocate(&fixture, carol, 100, "both");
    struct rollup *rollup = new_rollup(ROLLUP_BY_REASON);

    add_all(rollup);

    assert_int_equal(rollup_n_groups(rollup), 4);
    assert_group(rollup, 0, "both", 3, 104);
    assert_group(rollup, 1, "bobs", 1, 11);
    assert_group(rollup, 2, "alices", 1, 10);
    assert_group(rollup, 3, NO_REASON, 2, 2);
    assert_null(rollup_free(rollup));
}

static void test_rollup_new_without_memory_is_null(void **state)
{
    const struct rollup_tables tables = core_tables(&fixture.core);
    struct rollup *rollup = NULL;

    for (unsigned nth = 1; fail_again("memory", nth, ENOMEM); nth++) {
        rollup = rollup_new(ROLLUP_BY_REASON, &tables, NULL);
        assert_int_equal(fail_end(), rollup == NULL);
    }
    assert_null(rollup_free(rollup));
}

/* Enough groups to make the hash table grow. */
static void test_rollup_add_without_memory_leaves_it_as_it_was(void **state)
{
    const struct rollup_tables tables = core_tables(&fixture.core);
    struct block blocks[400];
    for (uint32_t i = 0; i < 400; i++) {
        char reason[16];
        (void)snprintf(reason, sizeof(reason), "group/%u", i);
        blocks[i] = block_at(alice, fixture_allocate(&fixture, alice, 1 + i, reason));
    }

    for (unsigned nth = 1; fail_again("memory", nth, ENOMEM); nth++) {
        struct rollup *rollup = rollup_new(ROLLUP_BY_REASON, &tables, NULL);
        uint32_t n_failed = 0;
        for (uint32_t i = 0; rollup && i < 400; i++) {
            const size_t n_groups = rollup_n_groups(rollup);
            if (rollup_add(rollup, &blocks[i])) {
                n_failed++;
                assert_int_equal(rollup_n_groups(rollup), n_groups);
                assert_int_equal(rollup_add(rollup, &blocks[i]), 0); /* it works the second time */
            }
        }
        assert_int_equal(fail_end(), n_failed == 1 || rollup == NULL);
        if (rollup) {
            assert_int_equal(rollup_n_groups(rollup), 400);
            assert_int_equal(rollup_sort(rollup), 0);
            assert_group(rollup, 399, "group/0", 1, 1);
        }
        assert_null(rollup_free(rollup));
    }
}

static void test_rollup_sort_without_memory_can_be_tried_again(void **state)
{
    const struct block block = block_at(alice, fixture_allocate(&fixture, alice, 1, "x"));
    struct rollup *rollup = new_rollup(ROLLUP_BY_REASON);
    assert_int_equal(rollup_add(rollup, &block), 0);

    fail_nth("memory", 1, ENOMEM);
    assert_int_equal(rollup_sort(rollup), -ENOMEM);
    assert_true(fail_end());

    assert_int_equal(rollup_sort(rollup), 0);
    assert_group(rollup, 0, "x", 1, 1);
    assert_null(rollup_free(rollup));
}

/* ------------------------------------------------------------------------------------ bounds -- */

/* A table of reasons that exists only while it is read: its text, or another one each time. */
static uint64_t n_reads;
static bool rewrites;

static bool read_invented(void *user, uint32_t slot, uint64_t at, void *buffer, size_t n_bytes)
{
    (void)user;
    struct ledger_reason reason;
    const uint64_t id = (at - fixture.ledger_layout.reasons_at) / sizeof(reason);
    if (at >= fixture.ledger_layout.lifetimes_at) {
        return false; /* it has noted nothing */
    }
    assert_int_equal(n_bytes, sizeof(reason));
    n_reads++;
    memset(&reason, 'x', sizeof(reason));
    const int n =
        snprintf(reason.bytes, sizeof(reason.bytes), "%llu/%u/%llu",
                 (unsigned long long)(rewrites ? n_reads : 0), slot, (unsigned long long)id);
    reason.bytes[n] = 'x';
    reason.n_bytes = REASON_MAX_BYTES; /* the longest there can be */
    memcpy(buffer, &reason, sizeof(reason));
    return true;
}

static struct block leased_block(const struct client *client, uint32_t reason)
{
    return (struct block){.num_bytes = 100, .reason = reason, .slot = client->slot, .leased = true};
}

/* A million blocks of clients that have as many reasons as there can be. */
static void add_told(struct rollup *rollup, struct client *const *clients, uint32_t n_clients,
                     uint32_t n_blocks)
{
    for (uint32_t i = 0; i < n_blocks; i++) {
        const uint32_t id = REASONS_RESERVED + i % (LEDGER_REASONS_MAX - REASONS_RESERVED);
        const struct block block = leased_block(clients[i % n_clients], id);
        assert_int_equal(rollup_add(rollup, &block), 0);
        assert_true(rollup_bytes(rollup) <= ROLLUP_MAX_BYTES);
    }
}

static void assert_totals(const struct rollup *rollup, uint64_t n_blocks)
{
    uint64_t n_found = 0;
    uint64_t num_bytes = 0;
    for (size_t i = 0; i < rollup_n_groups(rollup); i++) {
        n_found += rollup_group(rollup, i)->n_blocks;
        num_bytes += rollup_group(rollup, i)->num_bytes;
    }
    assert_int_equal(n_found, n_blocks);
    assert_int_equal(num_bytes, n_blocks * 100);
}

static const struct rollup_group *group_named(const struct rollup *rollup, const char *key)
{
    for (size_t i = 0; i < rollup_n_groups(rollup); i++) {
        if (strcmp(rollup_group(rollup, i)->key, key) == 0) {
            return rollup_group(rollup, i);
        }
    }
    fail_msg("no group %s", key);
    return NULL;
}

static void test_rollup_reads_each_reason_of_a_client_once(void **state)
{
    fixture.core.client_ledger.read = read_invented;
    n_reads = 0;
    rewrites = false;
    struct rollup *rollup = new_rollup(ROLLUP_BY_REASON);

    add_told(rollup, &alice, 1, 1000000);

    assert_int_equal(n_reads, LEDGER_REASONS_MAX - REASONS_RESERVED);
    assert_true(rollup_spent(rollup) >= n_reads * CLIENT_LEDGER_READ_COST);
    assert_int_equal(rollup_sort(rollup), 0);
    assert_totals(rollup, 1000000);
    /* One client has half of the groups, the rest is counted. */
    assert_int_equal(rollup_n_groups(rollup), ROLLUP_UNVERIFIED_GROUPS / 2 + 1);
    assert_true(group_named(rollup, OTHER_REASONS)->n_blocks > 400000);
    assert_null(rollup_free(rollup));
}

static void test_rollup_of_reasons_that_are_rewritten_stays_bounded(void **state)
{
    struct client *const clients[] = {alice, bob, carol};
    fixture.core.client_ledger.read = read_invented;
    n_reads = 0;
    rewrites = true;
    struct rollup *rollup = new_rollup(ROLLUP_BY_REASON);

    add_told(rollup, clients, 3, 1000000);

    assert_in_range(n_reads, 1, ROLLUP_LINKS);
    assert_int_equal(rollup_sort(rollup), 0);
    assert_in_range(rollup_n_groups(rollup), 2, ROLLUP_UNVERIFIED_GROUPS + 1);
    assert_totals(rollup, 1000000);
    assert_null(rollup_free(rollup));
}

/* Whoever comes after one that has taken all it could has room left. */
static void test_rollup_leaves_room_to_other_clients(void **state)
{
    fixture.core.client_ledger.read = read_invented;
    rewrites = false;
    struct rollup *rollup = new_rollup(ROLLUP_BY_REASON);
    add_told(rollup, &alice, 1, 200000);
    const size_t n_groups = rollup_n_groups(rollup);

    for (uint32_t id = REASONS_RESERVED; id < 1000; id++) {
        const struct block block = leased_block(bob, id);
        assert_int_equal(rollup_add(rollup, &block), 0);
    }

    assert_int_equal(rollup_n_groups(rollup), n_groups + 1000 - REASONS_RESERVED);
    assert_null(rollup_free(rollup));
}

static void test_tallies_of_one_purse_share_it(void **state)
{
    const struct rollup_tables tables = core_tables(&fixture.core);
    struct rollup_purse purse;
    struct rollup *rollups[20];
    uint64_t n_bytes = 0;
    size_t n_groups = 0;
    fixture.core.client_ledger.read = read_invented;
    rewrites = false;
    rollup_purse_init(&purse);

    for (uint32_t i = 0; i < 20; i++) {
        rollups[i] = rollup_new(ROLLUP_BY_REASON, &tables, &purse);
        assert_non_null(rollups[i]);
        add_told(rollups[i], &alice, 1, 70000);
        n_groups += rollup_n_groups(rollups[i]);
        n_bytes += rollup_bytes(rollups[i]);
        assert_true(rollup_n_groups(rollups[i]) > 1 ||
                    i > 14); /* each leaves as much as it takes */
    }

    assert_true(n_groups <= ROLLUP_UNVERIFIED_GROUPS + 20);
    assert_true(n_bytes <= ROLLUP_MAX_BYTES);
    for (uint32_t i = 0; i < 20; i++) {
        assert_null(rollup_free(rollups[i]));
    }
    struct rollup_purse full;
    rollup_purse_init(&full);
    assert_memory_equal(&purse, &full, sizeof(full));
}

static void test_rollup_sort_step_keeps_to_its_budget_and_has_the_first_ones_first(void **state)
{
    fixture.core.client_ledger.read = read_invented;
    rewrites = false;
    struct rollup *rollup = new_rollup(ROLLUP_BY_REASON);
    add_told(rollup, &alice, 1, 16000);
    for (uint32_t i = 0; i < 8; i++) {
        for (uint32_t n = 0; n <= i; n++) {
            const struct block block = leased_block(alice, 5000 + i);
            assert_int_equal(rollup_add(rollup, &block), 0);
        }
    }

    uint32_t n_steps = 1;
    while (rollup_sort_step(rollup, 8, 1000) == ROLLUP_E_MORE) {
        n_steps++;
    }

    assert_in_range(n_steps, 16, 100); /* each group is looked at, and few of them are ordered */
    for (uint32_t i = 0; i < 8; i++) {
        assert_int_equal(rollup_group(rollup, i)->n_blocks, 9 - i);
    }
    assert_broken((void)rollup_group(rollup, 8));
    assert_null(rollup_free(rollup));
}

#define ROLLUP_TEST(test) cmocka_unit_test_setup_teardown(test, rollup_setup, core_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROLLUP_TEST(test_rollup_by_size_has_a_group_for_each_class_and_doubling),
        ROLLUP_TEST(test_rollup_by_age_counts_from_the_moment_that_it_is_told),
        ROLLUP_TEST(test_rollup_by_reason_drops_the_detail),
        ROLLUP_TEST(test_rollup_by_client_tells_processes_apart),
        ROLLUP_TEST(test_rollup_by_uid_adds_up_a_users_processes),
        ROLLUP_TEST(test_rollup_group_knows_its_oldest_block),
        ROLLUP_TEST(test_rollup_sort_of_equal_sizes_is_by_key),
        ROLLUP_TEST(test_rollup_of_nothing_has_no_groups),
        ROLLUP_TEST(test_rollup_add_does_not_mistake_an_ids_next_allocator),
        ROLLUP_TEST(test_rollup_add_does_not_mistake_a_slots_next_allocator),
        ROLLUP_TEST(test_rollup_add_of_ids_that_are_newer_than_it),
        ROLLUP_TEST(test_rollup_add_after_sort_is_a_bug),
        ROLLUP_TEST(test_rollup_hashes_with_the_segments_instance),
        ROLLUP_TEST(test_rollup_by_reason_adds_up_what_clients_tell),
        ROLLUP_TEST(test_rollup_new_without_memory_is_null),
        ROLLUP_TEST(test_rollup_add_without_memory_leaves_it_as_it_was),
        ROLLUP_TEST(test_rollup_sort_without_memory_can_be_tried_again),
        ROLLUP_TEST(test_rollup_reads_each_reason_of_a_client_once),
        ROLLUP_TEST(test_rollup_of_reasons_that_are_rewritten_stays_bounded),
        ROLLUP_TEST(test_rollup_leaves_room_to_other_clients),
        ROLLUP_TEST(test_tallies_of_one_purse_share_it),
        ROLLUP_TEST(test_rollup_sort_step_keeps_to_its_budget_and_has_the_first_ones_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "tests/unit/broken.h"
#include "tests/unit/core_fixture.h"
#include "tests/unit/unit.h"

#define N_PAGES 128

static struct direct *direct;
static struct client *alice;
static struct client *bob;

static int direct_setup(void **state)
{
    fixture_init(&fixture, N_PAGES, 10);
    direct = &fixture.core.direct;
    alice = fixture_join(&fixture, 1);
    bob = fixture_join(&fixture, 2);
    return 0;
}

static int direct_teardown(void **state)
{
    assert_int_equal(direct_check(direct), 0);
    fixture_fini(&fixture);
    return 0;
}

static struct seg_off allocate(struct client *client, uint64_t num_bytes)
{
    return fixture_allocate(&fixture, client, num_bytes, "test/direct");
}

static void release(struct client *client, struct seg_off off)
{
    fixture_release(&fixture, client, off);
}

static int try_allocate(struct client *client, uint64_t num_bytes)
{
    struct direct_carved carved;
    const struct direct_request request = {.num_bytes = num_bytes, .reason = ""};
    return direct_allocate(direct, client, &request, &carved);
}

static int find(const struct client *client, uint64_t offset)
{
    struct block block;
    return direct_find(direct, client, (struct seg_off){offset}, &block);
}

/* Fills the segment with blocks of this size. Return: the offset of the last. */
static struct seg_off fill(struct client *client, uint64_t num_bytes)
{
    struct direct_carved carved = {.is_zero = false};
    const struct direct_request request = {
        .num_bytes = num_bytes,
        .reason = "fill",
        .n_reason_bytes = 4,
    };
    while (direct_allocate(direct, client, &request, &carved) == 0) {
    }
    assert_int_equal(direct_check(direct), 0);
    return carved.off;
}

/* ----------------------------------------------------------------------- allocate, release ---- */

static void test_direct_allocate_enters_the_block(void **state)
{
    fixture.now_ms += 700;

    const struct seg_off off = fixture_allocate(&fixture, alice, 101, "camera/frame");

    struct block block;
    size_t n_bytes;
    assert_int_equal(direct_find(direct, alice, off, &block), 0);
    assert_int_equal(block.off.bytes, off.bytes);
    assert_int_equal(block.num_bytes, 101);
    assert_int_equal(block.born, 7);
    assert_int_equal(block.slot, alice->slot);
    assert_memory_equal(reasons_text(&fixture.core.reasons, block.reason, &n_bytes), "camera/frame",
                        12);
    assert_int_equal(n_bytes, 12);
}

static void test_direct_allocate_counts_everywhere(void **state)
{
    const struct seg_off small = allocate(alice, 100);
    (void)allocate(bob, PAGE_BYTES * 5 + 1);

    assert_int_equal(direct->n_blocks, 2);
    assert_int_equal(direct->used_bytes, 100 + PAGE_BYTES * 5 + 1);
    assert_int_equal(direct->block_bytes, 128 + PAGE_BYTES * 6);
    assert_int_equal(direct->slab_bytes, PAGE_BYTES * 7);
    assert_int_equal(alice->n_blocks, 1);
    assert_int_equal(bob->num_bytes, PAGE_BYTES * 5 + 1);
    release(alice, small);
    assert_int_equal(direct->slab_bytes, PAGE_BYTES * 6);
    assert_int_equal(direct->pages->state->counters->allocations, 2);
    assert_int_equal(direct->pages->state->counters->releases, 1);
    assert_int_equal(alice->n_blocks, 0);
}

static void test_direct_allocate_packs_all_clients_into_one_slab(void **state)
{
    for (uint32_t i = 0; i < 64; i++) {
        (void)allocate(i % 2 ? alice : bob, 256);
    }

    assert_int_equal(direct->slab_bytes, PAGE_BYTES);
}

static void test_direct_allocate_aligns_every_size(void **state)
{
    for (uint64_t num_bytes = 1; num_bytes < 20 * PAGE_BYTES; num_bytes += 1 + num_bytes / 50) {
        const struct seg_off off = allocate(alice, num_bytes);
        assert_true(off.bytes >= PAGE_BYTES);
        assert_int_equal(off.bytes % (num_bytes >= 64 ? 64 : 16), 0);
        release(alice, off);
    }
}

static void test_direct_allocate_of_nothing_or_of_too_much_is_a_bug(void **state)
{
    assert_broken(assert_int_equal(try_allocate(alice, 0), 0));
    assert_broken(assert_int_equal(try_allocate(alice, UINT64_MAX), 0));
}

static void test_direct_allocate_of_more_than_the_segment_is_full(void **state)
{
    assert_int_equal(try_allocate(alice, N_PAGES * PAGE_BYTES), DIRECT_E_FULL);
    assert_int_equal(try_allocate(alice, SEGMENT_MAX_BYTES), DIRECT_E_FULL);
    assert_int_equal(try_allocate(alice, (N_PAGES - 1) * PAGE_BYTES), DIRECT_OK);
    assert_int_equal(try_allocate(alice, 1), DIRECT_E_FULL);
}

static void test_direct_allocate_that_fails_changes_nothing(void **state)
{
    (void)fill(alice, PAGE_BYTES);
    const struct direct before = *direct;
    const uint32_t n_live_reasons = fixture.core.reasons.n_live;
    struct direct_carved carved = {.off = {77}};
    const struct direct_request request = {
        .num_bytes = 1,
        .reason = "never entered",
        .n_reason_bytes = 13,
    };

    assert_int_equal(direct_allocate(direct, bob, &request, &carved), DIRECT_E_FULL);

    assert_int_equal(carved.off.bytes, 77);
    assert_memory_equal(&before, direct, sizeof(before));
    assert_int_equal(fixture.core.reasons.n_live, n_live_reasons);
    assert_int_equal(bob->n_blocks, 0);
}

static void test_direct_release_closes_an_empty_slab_at_once(void **state)
{
    const uint64_t free_bytes = core_free_bytes(&fixture.core);
    struct seg_off offs[20];

    for (uint32_t i = 0; i < 20; i++) {
        offs[i] = allocate(alice, 1000);
    }
    assert_int_equal(direct->slab_bytes, 2 * PAGE_BYTES);
    for (uint32_t i = 0; i < 20; i++) {
        release(alice, offs[i]);
        assert_int_equal(direct_check(direct), 0);
    }

    assert_int_equal(direct->slab_bytes, 0);
    assert_int_equal(core_free_bytes(&fixture.core), free_bytes);
}

static void test_direct_release_makes_room_in_a_full_slab(void **state)
{
    struct seg_off offs[16];
    for (uint32_t i = 0; i < 16; i++) {
        offs[i] = allocate(alice, 1024);
    }

    release(alice, offs[5]);

    assert_int_equal(allocate(bob, 1000).bytes, offs[5].bytes);
    assert_int_equal(direct->slab_bytes, PAGE_BYTES);
}

/* -------------------------------------------------------------------- when memory is short ---- */

static void test_direct_allocate_takes_a_larger_block_before_it_says_full(void **state)
{
    struct seg_off last = fill(alice, 2048);

    release(alice, last); /* the only free bytes are in a slab of 2,048 */

    assert_int_equal(allocate(bob, 100).bytes, last.bytes);
    assert_int_equal(direct_check(direct), 0);
    assert_int_equal(try_allocate(bob, 16), DIRECT_E_FULL);
    struct block block;
    assert_int_equal(direct_find(direct, bob, last, &block), 0);
    assert_int_equal(block.num_bytes, 100);
}

static void test_direct_allocate_takes_a_hole_shorter_than_a_slab(void **state)
{
    struct seg_off last = fill(alice, 4 * PAGE_BYTES + 1); /* large blocks of five pages each */
    const uint64_t rest_bytes = core_free_bytes(&fixture.core);
    assert_int_equal(rest_bytes, 2 * PAGE_BYTES);
    (void)allocate(alice, 2 * PAGE_BYTES);
    release(alice, last); /* a hole of five pages: a slab of 57,344 bytes would have seven */

    const struct seg_off off = allocate(bob, 50000);

    assert_int_equal(off.bytes, last.bytes);
    assert_int_equal(direct_check(direct), 0);
    assert_int_equal(find(bob, off.bytes + 49999), DIRECT_E_INTERIOR);
    assert_int_equal(core_free_bytes(&fixture.core), PAGE_BYTES);
    assert_int_equal(try_allocate(bob, 3584), DIRECT_OK); /* two pages would be a slab */
    assert_int_equal(core_free_bytes(&fixture.core), 0);
    assert_int_equal(direct_check(direct), 0);
    release(bob, off);
    assert_int_equal(core_free_bytes(&fixture.core), 4 * PAGE_BYTES);
}

/* ------------------------------------------------------------------------------------ find ---- */

static void test_direct_find_names_each_misuse(void **state)
{
    const uint64_t mine = allocate(alice, 300).bytes;
    const uint64_t foreign = allocate(bob, 300).bytes;
    const uint64_t gone = allocate(alice, 300).bytes;
    release(alice, (struct seg_off){gone});

    assert_int_equal(find(alice, mine), DIRECT_OK);
    assert_int_equal(find(alice, mine + 1), DIRECT_E_INTERIOR);
    assert_int_equal(find(alice, foreign), DIRECT_E_FOREIGN);
    assert_int_equal(find(alice, foreign + 1), DIRECT_E_INTERIOR);
    assert_int_equal(find(alice, gone), DIRECT_E_RELEASED);
    assert_int_equal(find(alice, gone + 1), DIRECT_E_WILD);
    assert_int_equal(find(alice, 0), DIRECT_E_WILD);
    assert_int_equal(find(alice, UINT64_MAX), DIRECT_E_WILD);
    assert_int_equal(find(alice, N_PAGES * PAGE_BYTES), DIRECT_E_WILD);
}

static void test_direct_release_of_what_is_not_the_callers_changes_nothing(void **state)
{
    const uint64_t mine = allocate(alice, 300).bytes;
    const uint64_t foreign = allocate(bob, 300).bytes;
    const uint64_t offsets[] = {mine + 16, foreign, foreign + 1, 0, 5, UINT64_MAX};
    const struct direct before = *direct;
    struct block block;

    for (size_t i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
        const struct seg_off off = {offsets[i]};
        assert_int_not_equal(direct_release(direct, alice, off, 0, &block), 0);
        assert_memory_equal(&before, direct, sizeof(before));
    }
}

static void test_direct_find_describes_a_foreign_block_and_an_interior_one(void **state)
{
    const struct seg_off off = allocate(bob, 300);
    struct block block;

    assert_int_equal(direct_find(direct, alice, off, &block), DIRECT_E_FOREIGN);
    assert_int_equal(block.slot, bob->slot);
    assert_int_equal(block.num_bytes, 300);
    const struct seg_off inside = {off.bytes + 299};
    block = (struct block){.slot = 99};
    assert_int_equal(direct_find(direct, alice, inside, &block), DIRECT_E_INTERIOR);
    assert_int_equal(block.off.bytes, off.bytes);
    assert_int_equal(block.slot, bob->slot);
}

static void test_direct_charge_of_the_same_client_charges_nothing(void **state)
{
    const struct seg_off off = allocate(bob, 300);
    const uint64_t num_bytes = client_charged_bytes(bob);
    direct_charge(direct, off, bob->slot);
    assert_int_equal(client_charged_bytes(bob), num_bytes);
    direct_charge(direct, off, alice->slot);
    assert_int_equal(client_charged_bytes(bob), num_bytes - 300);
    direct_charge(direct, off, bob->slot);
    release(bob, off);
}

static void test_direct_release_twice_is_released_even_after_the_slab_is_gone(void **state)
{
    const struct seg_off off = allocate(alice, 300);
    release(alice, off);
    struct block block;

    assert_int_equal(direct_release(direct, alice, off, 0, &block), DIRECT_E_RELEASED);
    assert_int_equal(direct_release(direct, bob, off, 0, &block), DIRECT_E_RELEASED);
}

/* ---------------------------------------------------------------------------------- blocks ---- */

/* Blocks of many sizes, some of them released. Return: how many live. */
static uint32_t allocate_many(void)
{
    static struct seg_off offs[400];
    for (uint32_t i = 0; i < 400; i++) {
        offs[i] = allocate(i % 2 ? alice : bob, 1 + (uint64_t)i * i % 3000);
    }
    for (uint32_t i = 0; i < 400; i += 3) {
        release(i % 2 ? alice : bob, offs[i]);
    }
    (void)allocate(alice, 100000);
    return (uint32_t)direct->n_blocks;
}

static void test_direct_block_is_each_live_block_once_in_order(void **state)
{
    const uint32_t n_blocks = allocate_many();
    uint32_t n_seen = 0;
    uint64_t end = 0;

    for (uint32_t page = 0; page < N_PAGES;) {
        const uint64_t word = pages_word(direct->pages, page);
        const bool is_slab = PAGE_WORD_STATE(word) == PAGE_DIRECT;
        const struct slab slab = is_slab ? direct_slab(direct, page) : (struct slab){.page = page};
        for (uint32_t index = 0; index < slab.n_blocks; index++) {
            struct block block;
            if (direct_block(&slab, index, &block)) {
                assert_true(block.off.bytes >= end);
                end = block.off.bytes + block.num_bytes;
                n_seen++;
            }
        }
        page += PAGE_WORD_PAGES(word);
    }

    assert_int_equal(n_seen, n_blocks);
}

static void test_direct_new_pages_of_what_is_to_be_shared_are_beside_those_of_others(void **state)
{
    const uint32_t n_pages = size_classes[size_class_of(100)].span_pages;
    const struct seg_off off = allocate(alice, 100);

    assert_int_equal(direct_new_pages(direct, 100, false), 0);
    assert_int_equal(direct_new_pages(direct, 100, true), n_pages);
    assert_int_equal(direct_new_pages(direct, 5 * PAGE_BYTES - 1, true), 5);
    release(alice, off);
    assert_int_equal(direct_new_pages(direct, 100, false), n_pages);
}

#define DIRECT_TEST(test) cmocka_unit_test_setup_teardown(test, direct_setup, direct_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        DIRECT_TEST(test_direct_allocate_enters_the_block),
        DIRECT_TEST(test_direct_allocate_counts_everywhere),
        DIRECT_TEST(test_direct_allocate_packs_all_clients_into_one_slab),
        DIRECT_TEST(test_direct_allocate_aligns_every_size),
        DIRECT_TEST(test_direct_allocate_of_nothing_or_of_too_much_is_a_bug),
        DIRECT_TEST(test_direct_allocate_of_more_than_the_segment_is_full),
        DIRECT_TEST(test_direct_allocate_that_fails_changes_nothing),
        DIRECT_TEST(test_direct_release_closes_an_empty_slab_at_once),
        DIRECT_TEST(test_direct_release_makes_room_in_a_full_slab),
        DIRECT_TEST(test_direct_allocate_takes_a_larger_block_before_it_says_full),
        DIRECT_TEST(test_direct_allocate_takes_a_hole_shorter_than_a_slab),
        DIRECT_TEST(test_direct_find_names_each_misuse),
        DIRECT_TEST(test_direct_release_of_what_is_not_the_callers_changes_nothing),
        DIRECT_TEST(test_direct_find_describes_a_foreign_block_and_an_interior_one),
        DIRECT_TEST(test_direct_charge_of_the_same_client_charges_nothing),
        DIRECT_TEST(test_direct_release_twice_is_released_even_after_the_slab_is_gone),
        DIRECT_TEST(test_direct_block_is_each_live_block_once_in_order),
        DIRECT_TEST(test_direct_new_pages_of_what_is_to_be_shared_are_beside_those_of_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "proto/lease.h"
#include "tests/unit/ledger_fixture.h"
#include "tests/unit/broken.h"
#include "tests/unit/unit.h"
#include "tests/support/seeded.h"

#define BORN 11
#define HOLDER 13

static struct seg_off at(uint64_t page, uint64_t within_bytes)
{
    return (struct seg_off){(page << PAGE_SHIFT) + within_bytes};
}

static int find(struct seg_off off)
{
    struct ledger_block block;
    return ledger_find(&ledger, off, &block);
}

static uint32_t take(uint32_t page, uint64_t num_bytes)
{
    return ledger_take(&ledger, page, num_bytes, REASON, BORN, HOLDER);
}

/* A slab of a class of which the first n blocks were taken, and all were given back. */
static void open_use_and_close(uint32_t page, uint32_t size_class, uint32_t n_blocks)
{
    ledger_slab_open(&ledger, page, size_class);
    for (uint32_t i = 0; i < n_blocks; i++) {
        (void)take(page, 1);
    }
    for (uint32_t i = 0; i < n_blocks; i++) {
        give(ledger_offset(&ledger, page, i));
    }
    assert_int_equal(ledger_slab_check(&ledger, page), 0);
    ledger_slab_close(&ledger, page);
}

static uint32_t class_of_span(uint32_t span_pages)
{
    for (uint32_t i = 0; i < N_SIZE_CLASSES; i++) {
        if (size_classes[i].span_pages == span_pages) {
            return i;
        }
    }
    fail_msg("no class spans %u pages", span_pages);
    return 0;
}

/* -------------------------------------------------------------------------- layout, attach ---- */

static void test_ledger_layout_regions_do_not_overlap(void **state)
{
    const uint32_t segments[] = {1, 64, 65, 1000, 16384, UINT32_C(1) << 26};

    for (size_t i = 0; i < sizeof(segments) / sizeof(segments[0]); i++) {
        const uint64_t n_pages = segments[i];
        struct ledger_layout layout;
        ledger_layout_init(&layout, segments[i]);
        uint64_t end = sizeof(struct ledger_header);
        assert_true(layout.counts_at >= end);
        end = layout.counts_at + sizeof(struct ledger_counts);
        assert_true(layout.returns_at >= end);
        end = layout.returns_at + sizeof(struct ledger_returns);
        assert_true(layout.states_at >= end + LEASE_GIVEN_BEFORE_BYTES);
        end = layout.states_at + n_pages;
        assert_true(layout.heads_at >= end);
        end = layout.heads_at + n_pages * sizeof(struct ledger_head);
        for (uint32_t plane = 0; plane < N_PLANES; plane++) {
            assert_true(layout.plane_at[plane] >= end);
            assert_int_equal(layout.plane_at[plane] % sizeof(struct ledger_entry), 0);
            end = layout.plane_at[plane] +
                  (n_pages << PLANE_SHIFT(plane)) * sizeof(struct ledger_entry);
        }
        assert_true(layout.total_bytes >= end);
    }
}

static void test_ledger_layout_has_an_entry_for_every_block(void **state)
{
    for (uint32_t i = 0; i < N_SIZE_CLASSES; i++) {
        const uint32_t last_page = N_PAGES - size_classes[i].span_pages;
        ledger_slab_open(&ledger, last_page, i);
        const uint32_t plane = size_classes[i].plane;
        const struct ledger_entry *end =
            ledger.planes[plane] + ((uint64_t)N_PAGES << PLANE_SHIFT(plane));
        assert_true(ledger_entries(&ledger, last_page) + size_classes[i].n_blocks <= end);
        ledger_slab_close(&ledger, last_page);
    }
}

static void test_ledger_attach_sees_what_another_wrote(void **state)
{
    struct ledger other;
    ledger_slab_open(&ledger, 3, size_class_of(1000));
    const struct seg_off off = ledger_offset(&ledger, 3, take(3, 1000));

    assert_int_equal(ledger_attach(&other, file, N_PAGES), 0);

    struct ledger_block block;
    assert_int_equal(ledger_find(&other, off, &block), 0);
    assert_int_equal(block.page, 3);
    assert_int_equal(ledger_slab_check(&other, 3), 0);
}

static void test_ledger_attach_refuses_each_changed_bit_of_what_is_constant(void **state)
{
    unsigned char *bytes = file;
    struct ledger other;

    for (size_t bit = 0; bit < 8 * offsetof(struct ledger_header, n_reasons); bit++) {
        bytes[bit / 8] ^= (unsigned char)(1U << (bit % 8));
        assert_int_equal(ledger_attach(&other, file, N_PAGES), LEDGER_E_FOREIGN);
        bytes[bit / 8] ^= (unsigned char)(1U << (bit % 8));
    }
    assert_int_equal(ledger_attach(&other, file, N_PAGES), 0);
    assert_int_equal(ledger_attach(&other, file, N_PAGES - 1), LEDGER_E_FOREIGN);
    assert_int_equal(ledger_attach(&other, file, N_PAGES + 1), LEDGER_E_FOREIGN);
}

/* ------------------------------------------------------------------------------ take, give ---- */

static void test_ledger_take_enters_what_it_was_told(void **state)
{
    ledger_slab_open(&ledger, 5, size_class_of(100));

    const uint32_t index = ledger_take(&ledger, 5, 100, ENTRY_REASONS_MAX - 1, BORN, HOLDER);

    const struct ledger_entry *entry = &ledger_entries(&ledger, 5)[index];
    const uint64_t word = atomic_load(&entry->word);
    assert_int_equal(ENTRY_NUM_BYTES(word), 100);
    assert_int_equal(ENTRY_REASON(word), ENTRY_REASONS_MAX - 1);
    assert_int_equal(atomic_load(&entry->born), BORN);
    assert_int_equal(atomic_load(&entry->holder), HOLDER);
    assert_int_equal(ledger_slab_check(&ledger, 5), 0);
}

static void test_entry_is_shared_pushed_private_or_free(void **state)
{
    (void)state;
    const uint64_t word = ENTRY_WORD(100, ENTRY_REASONS_MAX - 1);
    const uint64_t words[] = {word, word | ENTRY_SHARED, ENTRY_PUSHED, ENTRY_PUSHED_BY(7), 0};
    const bool is_live[] = {true, true, false, false, false};
    const bool is_shared[] = {false, true, false, false, false};
    const bool is_private[] = {true, false, false, false, false};

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        assert_int_equal(entry_is_live(words[i]), is_live[i]);
        assert_int_equal(entry_is_shared(words[i]), is_shared[i]);
        assert_int_equal(entry_is_private(words[i]), is_private[i]);
    }
    assert_int_equal(ENTRY_NUM_BYTES(word | ENTRY_SHARED), 100);
    assert_int_equal(ENTRY_REASON(word | ENTRY_SHARED), ENTRY_REASONS_MAX - 1);
}

/* Its slab is not idle, and may not be taken. */
static void test_ledger_entries_with_a_shared_block_are_not_idle(void **state)
{
    (void)state;
    ledger_slab_open(&ledger, 5, size_class_of(100));
    struct ledger_entry *entry = &ledger_entries(&ledger, 5)[ledger_take(&ledger, 5, 100, 2, 0, 0)];

    atomic_fetch_or(&entry->word, ENTRY_SHARED);

    assert_false(ledger_entries_are_idle(ledger_entries(&ledger, 5), 8));
    give(ledger_offset(&ledger, 5, 0));
    assert_true(ledger_entries_are_idle(ledger_entries(&ledger, 5), 8));
}

static void test_ledger_take_fills_every_class_without_overlap(void **state)
{
    for (uint32_t i = 0; i < N_SIZE_CLASSES; i++) {
        const struct size_class *size_class = &size_classes[i];
        ledger_slab_open(&ledger, 1, i);
        for (uint32_t n = 0; n < size_class->n_blocks; n++) {
            assert_false(ledger_slab_is_full(&ledger.heads[1]));
            const struct seg_off off = ledger_offset(&ledger, 1, take(1, size_class->block_bytes));
            assert_int_equal(off.bytes, PAGE_BYTES + (uint64_t)n * size_class->block_bytes);
        }
        assert_true(ledger_slab_is_full(&ledger.heads[1]));
        assert_int_equal(ledger_slab_check(&ledger, 1), 0);
        for (uint32_t n = 0; n < size_class->n_blocks; n++) {
            give(ledger_offset(&ledger, 1, n));
        }
        assert_int_equal(ledger_slab_check(&ledger, 1), 0);
        ledger_slab_close(&ledger, 1);
    }
}

static void test_ledger_take_from_a_full_slab_is_a_bug(void **state)
{
    ledger_large_open(&ledger, 1, 5);
    (void)take(1, 5 * PAGE_BYTES);

    assert_broken((void)take(1, 1));
}

static void test_ledger_give_makes_the_block_the_next_to_go_out(void **state)
{
    ledger_slab_open(&ledger, 1, size_class_of(16));
    for (uint32_t i = 0; i < 10; i++) {
        (void)take(1, 16);
    }

    give(ledger_offset(&ledger, 1, 3));
    give(ledger_offset(&ledger, 1, 8));

    assert_int_equal(take(1, 16), 8);
    assert_int_equal(take(1, 16), 3);
    assert_int_equal(take(1, 16), 10);
    assert_int_equal(ledger_slab_check(&ledger, 1), 0);
}

static void test_ledger_slab_close_with_a_live_block_is_a_bug(void **state)
{
    ledger_slab_open(&ledger, 1, size_class_of(16));
    (void)take(1, 16);

    assert_broken(ledger_slab_close(&ledger, 1));
}

static void test_ledger_open_beyond_the_segment_is_a_bug(void **state)
{
    assert_broken(ledger_large_open(&ledger, N_PAGES - 4, 5));
    assert_broken(ledger_large_open(&ledger, 2, UINT32_MAX));
    assert_broken(ledger_slab_open(&ledger, N_PAGES - 1, class_of_span(7)));
    assert_broken(ledger_slab_open(&ledger, 1, N_SIZE_CLASSES));
}

/* ------------------------------------------------------------------------------------ find ---- */

static void test_ledger_find_outside_every_slab_is_wild(void **state)
{
    ledger_slab_open(&ledger, 10, size_class_of(64));
    (void)take(10, 64);

    assert_int_equal(find(at(0, 0)), LEDGER_E_WILD);
    assert_int_equal(find(at(0, 64)), LEDGER_E_WILD);
    assert_int_equal(find(at(9, PAGE_BYTES - 1)), LEDGER_E_WILD);
    assert_int_equal(find(at(11, 0)), LEDGER_E_WILD);
    assert_int_equal(find(at(N_PAGES - 1, PAGE_BYTES - 1)), LEDGER_E_WILD);
    assert_int_equal(find(at(N_PAGES, 0)), LEDGER_E_WILD);
    assert_int_equal(find((struct seg_off){UINT64_MAX}), LEDGER_E_WILD);
    /* A page number that is a valid one in its low 32 bits. */
    assert_int_equal(find(at((UINT64_C(1) << 32) + 10, 0)), LEDGER_E_WILD);
}

static void test_ledger_find_tells_every_byte_of_a_slab(void **state)
{
    const uint64_t sizes[] = {16, 640, 3584, 14336, 57344};

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        const uint32_t size_class = size_class_of((uint32_t)sizes[i]);
        const uint64_t slab_bytes = size_classes[size_class].span_pages * PAGE_BYTES;
        const uint32_t n_blocks = size_classes[size_class].n_blocks;
        ledger_slab_open(&ledger, 2, size_class);
        for (uint32_t n = 0; n < n_blocks; n++) {
            (void)take(2, sizes[i]);
        }
        for (uint64_t within = 0; within < slab_bytes; within++) {
            struct ledger_block block = {0};
            const int r = ledger_find(&ledger, at(2, within), &block);
            const int wanted = within >= n_blocks * sizes[i] ? LEDGER_E_WILD
                               : within % sizes[i] == 0      ? LEDGER_OK
                                                             : LEDGER_E_INTERIOR;
            if (r != wanted || (r != LEDGER_E_WILD && block.index != within / sizes[i])) {
                fail_msg("byte %llu of blocks of %llu: %d", (unsigned long long)within,
                         (unsigned long long)sizes[i], r);
            }
        }
        for (uint32_t n = 0; n < n_blocks; n++) {
            give(ledger_offset(&ledger, 2, n));
        }
        assert_int_equal(ledger_slab_check(&ledger, 2), 0);
        ledger_slab_close(&ledger, 2);
    }
}

static void test_ledger_find_a_block_given_back_is_released(void **state)
{
    ledger_slab_open(&ledger, 2, size_class_of(1000));
    (void)take(2, 1000);
    (void)take(2, 1000);

    give(at(2, 1024));

    assert_int_equal(find(at(2, 0)), LEDGER_OK);
    assert_int_equal(find(at(2, 1024)), LEDGER_E_RELEASED);
    assert_int_equal(find(at(2, 1025)), LEDGER_E_WILD);
    assert_int_equal(find(at(2, 2048)), LEDGER_E_WILD); /* never handed out */
}

static void test_ledger_find_every_page_of_a_large_block_is_interior(void **state)
{
    ledger_large_open(&ledger, 4, 9);
    (void)take(4, 9 * PAGE_BYTES - 5);

    assert_int_equal(find(at(4, 0)), LEDGER_OK);
    assert_int_equal(find(at(4, 1)), LEDGER_E_INTERIOR);
    for (uint32_t page = 5; page < 13; page++) {
        struct ledger_block block;
        assert_int_equal(ledger_find(&ledger, at(page, 0), &block), LEDGER_E_INTERIOR);
        assert_int_equal(block.page, 4);
        assert_int_equal(find(at(page, PAGE_BYTES - 1)), LEDGER_E_INTERIOR);
    }
    assert_int_equal(find(at(13, 0)), LEDGER_E_WILD);
    assert_int_equal(ledger_slab_check(&ledger, 4), 0);
}

static void test_ledger_find_a_closed_slab_remembers_its_blocks(void **state)
{
    const uint32_t size_class = class_of_span(4);
    const uint64_t block_bytes = size_classes[size_class].block_bytes;

    open_use_and_close(20, size_class, 5);

    assert_true(4 * block_bytes >= PAGE_BYTES); /* the fifth is on a further page */
    assert_int_equal(find(at(20, 0)), LEDGER_E_RELEASED);
    assert_int_equal(find(at(20, 4 * block_bytes)), LEDGER_E_RELEASED);
    assert_int_equal(find(at(20, 4 * block_bytes + 1)), LEDGER_E_WILD);
    assert_int_equal(find(at(20, 5 * block_bytes)), LEDGER_E_WILD); /* never handed out */
}

static void test_ledger_find_a_closed_large_block_is_released_at_its_start(void **state)
{
    ledger_large_open(&ledger, 6, 8);
    (void)take(6, 8 * PAGE_BYTES);
    give(at(6, 0));

    ledger_slab_close(&ledger, 6);

    assert_int_equal(find(at(6, 0)), LEDGER_E_RELEASED);
    assert_int_equal(find(at(6, 16)), LEDGER_E_WILD);
    assert_int_equal(find(at(7, 0)), LEDGER_E_WILD);
}

static void test_ledger_find_after_reuse_tells_the_new_allocator(void **state)
{
    open_use_and_close(8, size_class_of(1024), 16);

    ledger_slab_open(&ledger, 8, size_class_of(48));
    (void)take(8, 48);

    assert_int_equal(find(at(8, 0)), LEDGER_OK);
    assert_int_equal(find(at(8, 1024)), LEDGER_E_WILD); /* a block's start in the old slab only */
    assert_int_equal(ledger_slab_check(&ledger, 8), 0);
}

static void test_ledger_find_does_not_follow_what_an_older_slab_left(void **state)
{
    open_use_and_close(30, class_of_span(7), 1); /* heads of 31 to 36 lead to 30 */

    ledger_slab_open(&ledger, 30, size_class_of(16));
    (void)take(30, 16);
    ledger_large_open(&ledger, 32, 3);
    (void)take(32, 3 * PAGE_BYTES);

    struct ledger_block block;
    assert_int_equal(find(at(31, 0)), LEDGER_E_WILD);
    assert_int_equal(find(at(32, 0)), LEDGER_OK);
    assert_int_equal(ledger_find(&ledger, at(33, 0), &block), LEDGER_E_INTERIOR);
    assert_int_equal(block.page, 32);
    assert_int_equal(ledger_find(&ledger, at(34, 5), &block), LEDGER_E_INTERIOR);
    assert_int_equal(block.page, 32);
    assert_int_equal(find(at(35, 0)), LEDGER_E_WILD);
    assert_int_equal(find(at(36, 0)), LEDGER_E_WILD);
}

static void test_ledger_find_inside_a_large_block_over_closed_slabs(void **state)
{
    open_use_and_close(41, size_class_of(1024), 3);
    open_use_and_close(42, class_of_span(3), 2);

    ledger_large_open(&ledger, 40, 6);
    (void)take(40, 6 * PAGE_BYTES);

    for (uint32_t page = 41; page < 46; page++) {
        struct ledger_block block;
        assert_int_equal(ledger_find(&ledger, at(page, 0), &block), LEDGER_E_INTERIOR);
        assert_int_equal(block.page, 40);
    }
}

static void test_ledger_find_a_page_of_a_slab_that_began_inside_another(void **state)
{
    open_use_and_close(10, class_of_span(4), 1); /* heads of 11 to 13 lead to 10 */
    open_use_and_close(8, class_of_span(3), 1);  /* that of 10 leads to 8 now */

    assert_int_equal(find(at(12, 0)), LEDGER_E_WILD);
    assert_int_equal(find(at(10, 0)), LEDGER_E_WILD);
    assert_int_equal(find(at(8, 0)), LEDGER_E_RELEASED);
}

/* --------------------------------------------------------------------------------- rebuild ---- */

static void take_and_give_at_random(uint32_t page, struct seeded *seeded)
{
    const uint32_t n_blocks = ledger_n_blocks(&ledger, page);
    for (uint32_t step = 0; step < 4 * n_blocks; step++) {
        const struct seg_off off = ledger_offset(&ledger, page, seeded_below(seeded, n_blocks));
        if (find(off) == 0) {
            give(off);
        } else if (!ledger_slab_is_full(&ledger.heads[page])) {
            (void)take(page, 1 + seeded_below(seeded, (uint32_t)ledger_block_bytes(&ledger, page)));
        }
    }
}

static void forget_what_is_derived(struct ledger_head *head)
{
    head->free = 0xBEEF;
    head->n_carved = 0xBEEF;
    head->n_used = 0xBEEF;
}

static void test_ledger_slab_rebuild_finds_what_was_used_and_what_was_free(void **state)
{
    struct seeded seeded = {20240229};
    print_message("seed %llu\n", (unsigned long long)seeded.state);

    for (uint32_t i = 0; i < N_SIZE_CLASSES; i++) {
        ledger_slab_open(&ledger, 1, i);
        take_and_give_at_random(1, &seeded);
        const uint32_t n_blocks = ledger_n_blocks(&ledger, 1);
        const uint32_t n_used = ledger.heads[1].n_used;
        static bool was_live[1024];
        for (uint32_t n = 0; n < n_blocks; n++) {
            was_live[n] = find(ledger_offset(&ledger, 1, n)) == 0;
        }

        forget_what_is_derived(&ledger.heads[1]);
        ledger_slab_rebuild(&ledger, 1);

        assert_int_equal(ledger_slab_check(&ledger, 1), 0);
        assert_int_equal(ledger.heads[1].n_used, n_used);
        for (uint32_t n = 0; n < n_blocks; n++) {
            assert_int_equal(find(ledger_offset(&ledger, 1, n)) == 0, was_live[n]);
        }
        for (uint32_t n = n_used; n < n_blocks; n++) {
            assert_false(was_live[take(1, 1)]);
        }
        assert_true(ledger_slab_is_full(&ledger.heads[1]));
        for (uint32_t n = 0; n < n_blocks; n++) {
            give(ledger_offset(&ledger, 1, n));
        }
        ledger_slab_close(&ledger, 1);
    }
}

static void test_ledger_slab_rebuild_of_a_large_block_keeps_it(void **state)
{
    ledger_large_open(&ledger, 1, 20);
    (void)take(1, 20 * PAGE_BYTES);

    forget_what_is_derived(&ledger.heads[1]);
    ledger_slab_rebuild(&ledger, 1);

    assert_int_equal(ledger_slab_check(&ledger, 1), 0);
    assert_int_equal(ledger.heads[1].n_used, 1);
    assert_int_equal(find(at(1, 0)), LEDGER_OK);
}

#define LEDGER_TEST(test) cmocka_unit_test_setup_teardown(test, ledger_setup, ledger_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LEDGER_TEST(test_ledger_layout_regions_do_not_overlap),
        LEDGER_TEST(test_ledger_layout_has_an_entry_for_every_block),
        LEDGER_TEST(test_ledger_attach_sees_what_another_wrote),
        LEDGER_TEST(test_ledger_attach_refuses_each_changed_bit_of_what_is_constant),
        LEDGER_TEST(test_ledger_take_enters_what_it_was_told),
        LEDGER_TEST(test_entry_is_shared_pushed_private_or_free),
        LEDGER_TEST(test_ledger_entries_with_a_shared_block_are_not_idle),
        LEDGER_TEST(test_ledger_take_fills_every_class_without_overlap),
        LEDGER_TEST(test_ledger_take_from_a_full_slab_is_a_bug),
        LEDGER_TEST(test_ledger_give_makes_the_block_the_next_to_go_out),
        LEDGER_TEST(test_ledger_slab_close_with_a_live_block_is_a_bug),
        LEDGER_TEST(test_ledger_open_beyond_the_segment_is_a_bug),
        LEDGER_TEST(test_ledger_find_outside_every_slab_is_wild),
        LEDGER_TEST(test_ledger_find_tells_every_byte_of_a_slab),
        LEDGER_TEST(test_ledger_find_a_block_given_back_is_released),
        LEDGER_TEST(test_ledger_find_every_page_of_a_large_block_is_interior),
        LEDGER_TEST(test_ledger_find_a_closed_slab_remembers_its_blocks),
        LEDGER_TEST(test_ledger_find_a_closed_large_block_is_released_at_its_start),
        LEDGER_TEST(test_ledger_find_after_reuse_tells_the_new_allocator),
        LEDGER_TEST(test_ledger_find_does_not_follow_what_an_older_slab_left),
        LEDGER_TEST(test_ledger_find_inside_a_large_block_over_closed_slabs),
        LEDGER_TEST(test_ledger_find_a_page_of_a_slab_that_began_inside_another),
        LEDGER_TEST(test_ledger_slab_rebuild_finds_what_was_used_and_what_was_free),
        LEDGER_TEST(test_ledger_slab_rebuild_of_a_large_block_keeps_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * test_report_pages.c - the pages in order, as stretches and as cells, and what one byte is
 */
#include <string.h>

#include "daemon/core/report_pages.h"
#include "proto/lease.h"
#include "proto/limits.h"
#include "tests/unit/report_fixture.h"

#define N_PAGES 256
#define PAGES(n) ((uint64_t)(n) << PAGE_SHIFT)

static struct client *alice;
static struct client *bob;

static int pages_setup(void **state)
{
    report_begin(N_PAGES, 8);
    alice = fixture_join(&fixture, 1);
    bob = fixture_join(&fixture, 2);
    return 0;
}

static const Kmem__PagesReport *ask(uint64_t from, uint64_t stretch, uint64_t cell_bytes)
{
    Kmem__Pages pages = KMEM__PAGES__INIT;
    pages.from_offset = from;
    pages.stretch_offset = stretch;
    pages.cell_bytes = cell_bytes;
    reply_reset(reply, 1);
    report_pages(core, &pages, fixture.now_ms, reply);
    assert_encodes();
    return reply->response.pages;
}

static const Kmem__AtReport *ask_at(uint64_t offset)
{
    reply_reset(reply, 1);
    report_at(core, offset, fixture.now_ms, reply);
    assert_encodes();
    return reply->response.at;
}

/* All pages are in a row, each once, page of an answer by page. Return: how many rows. */
static uint32_t assert_covered(uint64_t cell_bytes)
{
    const Kmem__PagesReport *report = ask(0, 0, cell_bytes);
    uint64_t at = 0;
    uint32_t n_rows = 0;
    for (;;) {
        assert_true(report->n_rows > 0); /* it moves on */
        for (size_t i = 0; i < report->n_rows; i++) {
            assert_true(report->rows[i]->offset == at);
            assert_true(report->rows[i]->num_bytes > 0);
            at += report->rows[i]->num_bytes;
            n_rows++;
        }
        if (!report->more) {
            break;
        }
        assert_true(report->next_offset == at);
        report = ask(report->next_offset, report->next_stretch, cell_bytes);
    }
    assert_true(at == core_segment_bytes(core));
    return n_rows;
}

static const Kmem__PageRow *row_at(const Kmem__PagesReport *report, uint64_t offset)
{
    for (size_t i = 0; i < report->n_rows; i++) {
        if (report->rows[i]->offset == offset) {
            return report->rows[i];
        }
    }
    fail_msg("no row begins at %llu", (unsigned long long)offset);
    return NULL;
}

static void test_pages_of_an_empty_segment_are_the_first_and_a_free_extent(void **state)
{
    const Kmem__PagesReport *report = ask(0, 0, 0);

    assert_int_equal(report->n_rows, 2);
    assert_false(report->more);
    assert_int_equal(report->rows[0]->state, KMEM__PAGE_STATE__PAGES_FIRST);
    assert_int_equal(report->rows[1]->state, KMEM__PAGE_STATE__PAGES_FREE);
    assert_true(report->rows[1]->num_bytes == PAGES(N_PAGES - 1));
    assert_true(report->rows[1]->free_bytes == PAGES(N_PAGES - 1));
    assert_true(report->rows[1]->dirty_bytes == 0);
    assert_string_equal(report->rows[1]->command, "");
    assert_string_equal(report->rows[1]->reason, "");
}

static void test_pages_of_a_large_direct_block_say_whose_and_why(void **state)
{
    const struct seg_off off = fixture_allocate(&fixture, alice, PAGES(3) - 100, "frame#7");
    fixture.now_ms += 5000;

    const Kmem__PageRow *row = row_at(ask(0, 0, 0), off.bytes);

    assert_int_equal(row->state, KMEM__PAGE_STATE__PAGES_DIRECT);
    assert_true(row->num_bytes == PAGES(3));
    assert_true(row->live_bytes == PAGES(3) - 100);
    assert_true(row->n_blocks == 1);
    assert_int_equal(row->pid, 1);
    assert_string_equal(row->command, "worker-1");
    assert_string_equal(row->reason, "frame#7");
    assert_true(row->one_owner && row->one_reason);
    assert_true(row->oldest_ms == 5000 && row->newest_ms == 5000);
    fixture_release(&fixture, alice, off);
}

static void test_pages_of_a_mixed_slab_tell_who_has_most_and_that_others_are_there(void **state)
{
    const struct seg_off one = fixture_allocate(&fixture, alice, 1000, "small");
    const struct seg_off two = fixture_allocate(&fixture, bob, 1024, "large");

    const Kmem__PageRow *row = row_at(ask(0, 0, 0), one.bytes & ~(PAGE_BYTES - 1));

    assert_true(row->n_blocks == 2 && row->live_bytes == 2024);
    assert_int_equal(row->pid, 2);
    assert_string_equal(row->reason, "large");
    assert_false(row->one_owner);
    assert_false(row->one_reason);
    fixture_release(&fixture, alice, one);
    fixture_release(&fixture, bob, two);
}

static void test_pages_that_came_back_are_free_and_dirty(void **state)
{
    fixture_release(&fixture, alice, fixture_allocate(&fixture, alice, PAGES(4), "was here"));

    const Kmem__PagesReport *report = ask(0, 0, 0);

    assert_int_equal(report->n_rows, 2);
    assert_true(report->rows[1]->dirty_bytes == PAGES(4));
}

static void test_pages_of_a_lease_are_idle_or_in_use(void **state)
{
    (void)fixture_ledger(&fixture, alice);
    const uint32_t page = fixture_lease(&fixture, alice, 16);
    fixture_carve_large(&fixture, alice, page + 4, 5, PAGES(5));

    const Kmem__PagesReport *report = ask(0, 0, 0);

    const Kmem__PageRow *row = row_at(report, PAGES(page + 4));
    assert_int_equal(row->state, KMEM__PAGE_STATE__PAGES_LEASED);
    assert_true(row->num_bytes == PAGES(5) && row->live_bytes == PAGES(5));
    assert_int_equal(row->pid, 1);
    row = row_at(report, PAGES(page));
    assert_int_equal(row->state, KMEM__PAGE_STATE__PAGES_IDLE);
    assert_true(row->num_bytes == PAGES(4) && row->idle_bytes == PAGES(4));
    assert_int_equal(row->pid, 1);
    assert_true(row_at(report, PAGES(page + 9))->num_bytes == PAGES(7));
    assert_covered(0);
}

static void test_pages_of_an_open_slab_without_a_live_block_are_idle(void **state)
{
    (void)fixture_ledger(&fixture, alice);
    const uint32_t page = fixture_lease(&fixture, alice, 8);
    fixture_carve(&fixture, alice, page, fixture_class_of(1));
    lease_open_slab(alice->states, page, 1);
    const struct seg_off off =
        fixture_take(&fixture, alice, page, size_classes[fixture_class_of(1)].block_bytes);
    assert_int_equal(row_at(ask(0, 0, 0), PAGES(page))->state, KMEM__PAGE_STATE__PAGES_LEASED);

    struct ledger_block block;
    assert_int_equal(ledger_find(&fixture.ledgers[alice->slot], off, &block), 0);
    entry_give(&fixture.ledgers[alice->slot].heads[block.page],
               ledger_entries(&fixture.ledgers[alice->slot], block.page), block.index);

    assert_int_equal(row_at(ask(0, 0, 0), PAGES(page))->state, KMEM__PAGE_STATE__PAGES_IDLE);
}

static void test_pages_of_an_ended_client_are_returning(void **state)
{
    (void)fixture_ledger(&fixture, alice);
    const uint32_t page = fixture_lease(&fixture, alice, 8);
    core_end(core, alice, false, fixture.now_ms);

    const Kmem__PageRow *row = row_at(ask(0, 0, 0), PAGES(page));

    assert_int_equal(row->state, KMEM__PAGE_STATE__PAGES_RETURNING);
    assert_int_equal(row->pid, 1);
    fixture_reap(&fixture, UINT32_MAX);
}

static void test_cells_add_up_to_what_the_stretches_are(void **state)
{
    const struct seg_off one = fixture_allocate(&fixture, alice, PAGES(21), "large");
    const struct seg_off two = fixture_allocate(&fixture, bob, 64, "small");

    const Kmem__PagesReport *report = ask(0, 0, PAGES(16));

    uint64_t free_bytes = 0;
    uint64_t live_bytes = 0;
    uint64_t n_blocks = 0;
    assert_int_equal(report->n_rows, N_PAGES / 16);
    for (size_t i = 0; i < report->n_rows; i++) {
        assert_true(report->rows[i]->num_bytes == PAGES(16));
        free_bytes += report->rows[i]->free_bytes;
        live_bytes += report->rows[i]->live_bytes;
        n_blocks += report->rows[i]->n_blocks;
    }
    assert_true(free_bytes == core_free_bytes(core));
    assert_true(live_bytes == PAGES(21) + 64);
    assert_true(n_blocks == 2);
    assert_string_equal(report->rows[0]->reason, "large");
    fixture_release(&fixture, alice, one);
    fixture_release(&fixture, bob, two);
}

static void test_cells_of_a_page_and_of_any_size_cover_the_segment(void **state)
{
    (void)fixture_ledger(&fixture, alice);
    const uint32_t page = fixture_lease(&fixture, alice, 64);
    fixture_carve_large(&fixture, alice, page + 3, 41, PAGES(41));
    const struct seg_off off = fixture_allocate(&fixture, bob, PAGES(21), "large");

    assert_int_equal(assert_covered(PAGES(1)), N_PAGES);
    assert_int_equal(assert_covered(PAGES(7)), (N_PAGES + 6) / 7);
    assert_int_equal(assert_covered(UINT64_C(1) << 60), 1);
    fixture_release(&fixture, bob, off);
}

/* 32 GiB, most of it one free extent: each answer finds it again, and goes on behind its part. */
static int large_setup(void **state)
{
    report_begin(UINT32_C(1) << 21, 8);
    bob = fixture_join(&fixture, 2);
    return 0;
}

static void test_cells_of_a_large_free_extent_cover_the_segment(void **state)
{
    const struct seg_off off = fixture_allocate(&fixture, bob, PAGES(21), "large");
    const struct seg_off given = fixture_allocate(&fixture, bob, PAGES(100), "large");
    fixture_release(&fixture, bob, given);

    assert_true(assert_covered(0) >= 3);
    assert_int_equal(assert_covered(PAGES(1 << 11)), 1 << 10);
    assert_true(ask(given.bytes, 0, PAGES(1))->rows[0]->dirty_bytes == PAGES(1));
    assert_true(ask(PAGES(1 << 20), given.bytes, PAGES(1))->rows[0]->dirty_bytes == 0);
    fixture_release(&fixture, bob, off);
}

static void test_pages_asked_for_behind_the_end_are_none(void **state)
{
    assert_int_equal(ask(PAGES(N_PAGES), 0, 0)->n_rows, 0);
    assert_int_equal(ask(UINT64_MAX, UINT64_MAX, PAGES(1))->n_rows, 0);
    assert_false(reply->response.pages->more);
}

static void test_pages_that_go_on_inside_of_a_stretch_know_it(void **state)
{
    (void)fixture_ledger(&fixture, alice);
    const uint32_t page = fixture_lease(&fixture, alice, 64);
    fixture_carve_large(&fixture, alice, page, 50, PAGES(50));

    const Kmem__PagesReport *report = ask(PAGES(page + 17), PAGES(page), PAGES(1));

    assert_true(report->rows[0]->live_bytes == PAGES(1));
    assert_true(report->rows[0]->n_blocks == 0); /* it began before */
    assert_int_equal(report->rows[0]->state, KMEM__PAGE_STATE__PAGES_LEASED);
}

/* What it says of where the stretch began may be anything. */
static void test_pages_with_a_stretch_that_is_none_are_told_all_the_same(void **state)
{
    const struct seg_off off = fixture_allocate(&fixture, bob, PAGES(21), "large");
    const uint64_t wrong[] = {1, PAGES(2), PAGES(200), UINT64_MAX, off.bytes + 5};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        const Kmem__PagesReport *report = ask(off.bytes + PAGES(3), wrong[i], 0);
        assert_true(report->rows[0]->offset == off.bytes + PAGES(3));
        assert_true(report->rows[0]->num_bytes == PAGES(18));
        assert_string_equal(report->rows[0]->reason, "large");
    }
    fixture_release(&fixture, bob, off);
}

/* A ledger and states full of anything: each page is told once, in bounded steps. */
static void test_pages_of_a_ledger_of_nonsense_are_told_once(void **state)
{
    struct ledger *ledger = fixture_ledger(&fixture, alice);
    const uint32_t page = fixture_lease(&fixture, alice, 128);
    struct seeded seeded = {4711};
    for (uint32_t round = 0; round < 200; round++) {
        for (uint32_t at = page; at < page + 128; at++) {
            struct ledger_head *head = &ledger->heads[at];
            ((_Atomic uint8_t *)(void *)alice->states)[at] = (uint8_t)seeded_below(&seeded, 256);
            head->kind = (uint32_t)seeded_below(&seeded, 9);
            head->span_pages = (uint32_t)seeded_below(&seeded, 300);
            head->size_class = (uint16_t)seeded_below(&seeded, 60);
            head->back = (uint16_t)seeded_below(&seeded, 200);
            head->n_carved = (uint16_t)seeded_below(&seeded, 65536);
            ledger->planes[0][(uint64_t)at << PLANE_SHIFT(0)].word =
                seeded_below(&seeded, 2) * (UINT64_C(0x7123450000000000) + UINT64_C(77) * at);
        }
        assert_covered(0);
        assert_covered(PAGES(5));
        for (uint32_t at = page; at < page + 128; at++) {
            const Kmem__AtReport *report = ask_at(PAGES(at) + 11);
            assert_true(report->pages->offset <= PAGES(at) + 11);
            assert_true(report->pages->num_bytes > PAGES(at) + 11 - report->pages->offset);
        }
    }
    memset((void *)(uintptr_t) & ((_Atomic uint8_t *)(void *)alice->states)[page], LEASE_FREE, 128);
}

/* -------------------------------------------------------------------------------- one byte -- */

static void test_at_a_byte_of_a_block_its_story_is_told(void **state)
{
    const struct seg_off off = fixture_allocate(&fixture, alice, 1000, "one");
    const struct seg_off next = fixture_allocate(&fixture, bob, 1000, "two");

    const Kmem__AtReport *report = ask_at(off.bytes + 999);

    assert_int_equal(report->kind, KMEM__BYTE_KIND__BYTE_BLOCK);
    assert_true(report->block->offset == off.bytes && report->block->num_bytes == 1000);
    assert_string_equal(report->block->reason, "one");
    assert_int_equal(report->block->pid, 1);
    assert_true(report->place_offset == off.bytes && report->place_bytes == 1024);
    assert_null(report->before);
    assert_true(report->after->offset == next.bytes);
    assert_int_equal(report->pages->state, KMEM__PAGE_STATE__PAGES_DIRECT);
    assert_int_equal(report->pages_before->state, KMEM__PAGE_STATE__PAGES_FIRST);
    assert_int_equal(report->pages_after->state, KMEM__PAGE_STATE__PAGES_FREE);
    assert_int_equal(ask_at(off.bytes + 1000)->kind, KMEM__BYTE_KIND__BYTE_ROUNDING);
    assert_int_equal(ask_at(next.bytes + 1024)->kind, KMEM__BYTE_KIND__BYTE_PLACE);
    assert_true(reply->response.at->before->offset == next.bytes);
    fixture_release(&fixture, alice, off);
    fixture_release(&fixture, bob, next);
}

static void test_at_a_byte_inside_a_large_leased_block_it_is_found(void **state)
{
    (void)fixture_ledger(&fixture, alice);
    const uint32_t page = fixture_lease(&fixture, alice, 64);
    fixture_carve_large(&fixture, alice, page + 2, 37, PAGES(37) - 9);

    const Kmem__AtReport *report = ask_at(PAGES(page + 30) + 5);

    assert_int_equal(report->kind, KMEM__BYTE_KIND__BYTE_BLOCK);
    assert_true(report->block->offset == PAGES(page + 2));
    assert_true(report->block->leased);
    assert_true(report->pages->num_bytes == PAGES(37));
    assert_int_equal(report->pages_before->state, KMEM__PAGE_STATE__PAGES_IDLE);
    assert_true(report->pages_before->num_bytes == PAGES(2));
    assert_int_equal(ask_at(PAGES(page + 39) - 1)->kind, KMEM__BYTE_KIND__BYTE_ROUNDING);
    assert_int_equal(ask_at(PAGES(page + 39))->kind, KMEM__BYTE_KIND__BYTE_IDLE);
    assert_true(reply->response.at->before->offset == PAGES(page + 2));
}

static void test_at_the_rest_of_a_slab_nothing_fits(void **state)
{
    const struct seg_off off = fixture_allocate(&fixture, alice, 48, "x");
    const uint64_t slab = off.bytes & ~(PAGE_BYTES - 1);
    const uint64_t rest_bytes = PAGE_BYTES % 48;

    assert_true(rest_bytes > 0);
    assert_int_equal(ask_at(slab + PAGE_BYTES - 1)->kind, KMEM__BYTE_KIND__BYTE_REST);
    fixture_release(&fixture, alice, off);
}

static void test_at_free_pages_and_behind_the_end_it_is_said(void **state)
{
    const Kmem__AtReport *report = ask_at(PAGES(100));
    assert_int_equal(report->kind, KMEM__BYTE_KIND__BYTE_FREE);
    assert_true(report->pages->num_bytes == PAGES(N_PAGES - 1));
    assert_null(report->pages_after);
    assert_int_equal(ask_at(0)->kind, KMEM__BYTE_KIND__BYTE_FREE);
    assert_null(reply->response.at->pages_before);

    report = ask_at(PAGES(N_PAGES));
    assert_int_equal(report->kind, KMEM__BYTE_KIND__BYTE_BEYOND);
    assert_null(report->pages);
    assert_int_equal(ask_at(UINT64_MAX)->kind, KMEM__BYTE_KIND__BYTE_BEYOND);
}

/* The place of the first is the second's meanwhile, which is younger. */
static void test_pages_of_a_slab_tell_its_oldest_and_its_newest_wherever_they_are(void **state)
{
    const struct seg_off first = fixture_allocate(&fixture, alice, 1000, "first");
    fixture.now_ms += 5000;
    const struct seg_off second = fixture_allocate(&fixture, alice, 1000, "second");
    const Kmem__PageRow *row = row_at(ask(0, 0, 0), first.bytes);
    assert_true(row->oldest_ms == 5000 && row->newest_ms == 0);
    fixture_release(&fixture, alice, first);
    fixture.now_ms += 5000;
    const struct seg_off third = fixture_allocate(&fixture, alice, 1000, "third");
    assert_true(third.bytes == first.bytes);
    row = row_at(ask(0, 0, 0), first.bytes);
    assert_true(row->oldest_ms == 5000 && row->newest_ms == 0);
    fixture_release(&fixture, alice, second);
    fixture_release(&fixture, alice, third);
}

/* Large blocks, one behind the other, the middle one replaced: of two owners and three reasons. */
static void test_a_cell_of_several_blocks_tells_ages_owners_and_the_main_reason(void **state)
{
    struct seg_off offs[4];
    offs[0] = fixture_allocate(&fixture, alice, PAGES(2), "one");
    offs[1] = fixture_allocate(&fixture, bob, PAGES(3), "two");
    fixture.now_ms += 5000;
    offs[2] = fixture_allocate(&fixture, alice, PAGES(2), "three");
    fixture_release(&fixture, alice, offs[0]);
    offs[0] = fixture_allocate(&fixture, alice, PAGES(2), "four");
    offs[3] = fixture_allocate(&fixture, bob, PAGES(2), "two");
    const Kmem__PageRow *row = row_at(ask(0, 0, PAGES(16)), 0);
    assert_false(row->one_owner);
    assert_false(row->one_reason);
    assert_true(row->oldest_ms == 5000 && row->newest_ms == 0);
    assert_string_equal(row->reason, "two");
    for (size_t i = 0; i < 4; i++) {
        fixture_release(&fixture, i % 2 == 0 ? alice : bob, offs[i]);
    }
}

/* A slab of two owners and reasons, and a large block of one: the cell is of several still. */
static void test_a_cell_that_begins_with_a_mixed_slab_is_of_several(void **state)
{
    struct seg_off offs[3];
    offs[0] = fixture_allocate(&fixture, alice, 100, "one");
    offs[1] = fixture_allocate(&fixture, bob, 100, "two");
    offs[2] = fixture_allocate(&fixture, alice, PAGES(2), "three");
    const Kmem__PageRow *row = row_at(ask(0, 0, PAGES(16)), 0);
    assert_false(row->one_owner);
    assert_false(row->one_reason);
    for (size_t i = 0; i < 3; i++) {
        fixture_release(&fixture, i == 1 ? bob : alice, offs[i]);
    }
}

static void test_pages_that_are_being_cleared_are_free_soon(void **state)
{
    pages_scrub_begin(&core->pages, 100, 16);
    const Kmem__PageRow *row = row_at(ask(0, 0, PAGES(N_PAGES)), 0);
    assert_true(row->free_bytes == PAGES(N_PAGES - 1));
    assert_int_equal(row_at(ask(0, 0, 0), PAGES(100))->state, KMEM__PAGE_STATE__PAGES_CLEARING);
    pages_scrub_end(&core->pages, true);
}

static void test_pages_that_go_on_behind_their_stretch_begin_another(void **state)
{
    const struct seg_off off = fixture_allocate(&fixture, alice, PAGES(2), "one");
    const uint64_t behind = off.bytes + PAGES(2);
    assert_true(ask(behind, off.bytes, 0)->rows[0]->offset == behind);
    assert_int_equal(ask(PAGES(N_PAGES), PAGES(1), 0)->n_rows, 0);
    fixture_release(&fixture, alice, off);
}

static void test_at_a_place_between_blocks_that_are_gone_both_neighbours_are_found(void **state)
{
    struct seg_off offs[5];
    for (size_t i = 0; i < 5; i++) {
        offs[i] = fixture_allocate(&fixture, alice, 1000, "row");
    }
    for (size_t i = 1; i < 4; i++) {
        fixture_release(&fixture, alice, offs[i]);
    }
    const Kmem__AtReport *report = ask_at(offs[2].bytes);
    assert_int_equal(report->kind, KMEM__BYTE_KIND__BYTE_PLACE);
    assert_true(report->before->offset == offs[0].bytes);
    assert_true(report->after->offset == offs[4].bytes);
    fixture_release(&fixture, alice, offs[0]);
    fixture_release(&fixture, alice, offs[4]);
}

static void test_a_cell_tells_the_newest_wherever_it_is(void **state)
{
    const struct seg_off older = fixture_allocate(&fixture, bob, PAGES(2), "older");
    fixture.now_ms += 5000;
    const struct seg_off newer = fixture_allocate(&fixture, bob, PAGES(2), "newer");

    const Kmem__PageRow *row = ask(0, 0, PAGES(64))->rows[0];

    assert_int_equal(row->oldest_ms, 5000);
    assert_int_equal(row->newest_ms, 0);
    fixture_release(&fixture, bob, older);
    fixture_release(&fixture, bob, newer);
}

/* Its client has not said yet that it is a slab's. */
static void test_pages_of_a_slab_that_is_not_open_are_in_use(void **state)
{
    struct ledger *ledger = fixture_ledger(&fixture, alice);
    const uint32_t page = fixture_lease(&fixture, alice, 8);
    fixture_carve(&fixture, alice, page, 0);
    struct ledger_block block;
    const struct seg_off off = fixture_take(&fixture, alice, page, 16);
    assert_int_equal(ledger_find(ledger, off, &block), 0);
    entry_give(&ledger->heads[page], ledger_entries(ledger, page), block.index);
    assert_int_equal(row_at(ask(0, 0, 0), PAGES(page))->state, KMEM__PAGE_STATE__PAGES_LEASED);
}

/* All is being given back: what is alike is told up to a limit, to either side. */
static void test_a_stretch_of_a_lease_has_no_more_pages_than_it_may(void **state)
{
    struct stretch stretch;
    uint32_t spent = 0;
    alice = fixture_join(&fixture, 1);
    (void)fixture_ledger(&fixture, alice);
    const uint32_t page = fixture_lease(&fixture, alice, 3 * STRETCH_PAGES_MAX);
    const uint32_t middle = page + 2 * STRETCH_PAGES_MAX - 1;
    memset((void *)((unsigned char *)alice->states + page), LEASE_NONE,
           (size_t)3 * STRETCH_PAGES_MAX);

    stretch_find(core, middle, page, &spent, &stretch);
    assert_int_equal(stretch.page, middle - STRETCH_PAGES_MAX);
    assert_int_equal(stretch.n_pages, 2 * STRETCH_PAGES_MAX);
    assert_int_equal(stretch.state, STRETCH_RETURNING);
}

#define PAGES_TEST(test) cmocka_unit_test_setup_teardown(test, pages_setup, report_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PAGES_TEST(test_pages_of_an_empty_segment_are_the_first_and_a_free_extent),
        PAGES_TEST(test_pages_of_a_large_direct_block_say_whose_and_why),
        PAGES_TEST(test_pages_of_a_mixed_slab_tell_who_has_most_and_that_others_are_there),
        PAGES_TEST(test_pages_that_came_back_are_free_and_dirty),
        PAGES_TEST(test_pages_of_a_lease_are_idle_or_in_use),
        PAGES_TEST(test_pages_of_an_open_slab_without_a_live_block_are_idle),
        PAGES_TEST(test_pages_of_an_ended_client_are_returning),
        PAGES_TEST(test_cells_add_up_to_what_the_stretches_are),
        PAGES_TEST(test_cells_of_a_page_and_of_any_size_cover_the_segment),
        PAGES_TEST(test_pages_asked_for_behind_the_end_are_none),
        PAGES_TEST(test_pages_that_go_on_inside_of_a_stretch_know_it),
        PAGES_TEST(test_pages_with_a_stretch_that_is_none_are_told_all_the_same),
        PAGES_TEST(test_pages_of_a_ledger_of_nonsense_are_told_once),
        PAGES_TEST(test_at_a_byte_of_a_block_its_story_is_told),
        PAGES_TEST(test_at_a_byte_inside_a_large_leased_block_it_is_found),
        PAGES_TEST(test_at_the_rest_of_a_slab_nothing_fits),
        PAGES_TEST(test_at_free_pages_and_behind_the_end_it_is_said),
        cmocka_unit_test_setup_teardown(test_cells_of_a_large_free_extent_cover_the_segment,
                                        large_setup, report_teardown),
        PAGES_TEST(test_pages_of_a_slab_tell_its_oldest_and_its_newest_wherever_they_are),
        PAGES_TEST(test_a_cell_of_several_blocks_tells_ages_owners_and_the_main_reason),
        PAGES_TEST(test_a_cell_that_begins_with_a_mixed_slab_is_of_several),
        PAGES_TEST(test_pages_that_are_being_cleared_are_free_soon),
        PAGES_TEST(test_pages_that_go_on_behind_their_stretch_begin_another),
        PAGES_TEST(test_at_a_place_between_blocks_that_are_gone_both_neighbours_are_found),
        PAGES_TEST(test_a_cell_tells_the_newest_wherever_it_is),
        PAGES_TEST(test_pages_of_a_slab_that_is_not_open_are_in_use),
        cmocka_unit_test_setup_teardown(test_a_stretch_of_a_lease_has_no_more_pages_than_it_may,
                                        large_setup, report_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

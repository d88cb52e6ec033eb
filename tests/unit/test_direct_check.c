/* SPDX-License-Identifier: MIT */
/*
 * test_direct_check.c - the checkers of direct blocks and of the core find what a test has spoilt
 */

#include "tests/unit/core_fixture.h"
#include "tests/unit/unit.h"

#define N_PAGES 128

static struct direct *direct;
static struct client *client;
static uint32_t slab_page;  /* of a slab of seven pages with two blocks */
static uint32_t large_page; /* of a large block of five pages */

static uint32_t page_of(struct seg_off off)
{
    return (uint32_t)(off.bytes >> PAGE_SHIFT);
}

static int spoil_setup(void **state)
{
    fixture_init(&fixture, N_PAGES, 10);
    direct = &fixture.core.direct;
    client = fixture_join(&fixture, 1);
    slab_page = page_of(fixture_allocate(&fixture, client, 14336, "a slab"));
    (void)fixture_allocate(&fixture, client, 14336, "a slab");
    large_page = page_of(fixture_allocate(&fixture, client, 5 * PAGE_BYTES, "a large block"));
    return 0;
}

static void assert_corrupt(void)
{
    assert_int_equal(direct_check(direct), DIRECT_E_CORRUPT);
    assert_int_equal(core_check(&fixture.core), CORE_E_CORRUPT);
}

static void assert_sound(void)
{
    assert_int_equal(direct_check(direct), 0);
    assert_int_equal(core_check(&fixture.core), 0);
}

static void assert_number_is_checked(uint64_t *number)
{
    ++*number;
    assert_corrupt();
    --*number;
    assert_sound();
}

static void test_direct_check_finds_wrong_totals(void **state)
{
    assert_number_is_checked(&direct->n_blocks);
    assert_number_is_checked(&direct->used_bytes);
    assert_number_is_checked(&direct->block_bytes);
    assert_number_is_checked(&direct->slab_bytes);
    assert_number_is_checked(&client->n_blocks);
    assert_number_is_checked(&client->num_bytes);
}

static void entry_spoil(struct ledger_entry *entry, uint64_t word, uint32_t holder)
{
    const uint64_t was_word = atomic_load(&entry->word);
    const uint32_t was_holder = atomic_load(&entry->holder);
    atomic_store(&entry->word, word);
    atomic_store(&entry->holder, holder);
    assert_corrupt();
    atomic_store(&entry->word, was_word);
    atomic_store(&entry->holder, was_holder);
    assert_sound();
}

static void test_direct_check_finds_wrong_entries(void **state)
{
    struct ledger_entry *entry = ledger_entries(direct->ledger, slab_page);
    const uint64_t word = atomic_load(&entry->word);
    const uint32_t reason = ENTRY_REASON(word);

    entry_spoil(entry, ENTRY_WORD(14335, reason), 0);
    entry_spoil(entry, ENTRY_WORD(14337, reason), 0);
    entry_spoil(entry, ENTRY_WORD(14336, reason + 1), 0);
    entry_spoil(entry, ENTRY_WORD(14336, ENTRY_REASONS_MAX - 1), 0);
    entry_spoil(entry, 0, 0);
    entry_spoil(entry, word, 1);
    entry_spoil(entry, word, UINT32_MAX);
}

static void head_spoil(uint32_t page, uint32_t kind)
{
    struct ledger_head *head = &direct->ledger->heads[page];
    const uint32_t was = atomic_load(&head->kind);
    atomic_store(&head->kind, kind);
    assert_corrupt();
    atomic_store(&head->kind, was);
    assert_sound();
}

static void test_direct_check_finds_wrong_heads(void **state)
{
    head_spoil(slab_page, HEAD_NONE);
    head_spoil(slab_page, HEAD_CLOSED);
    head_spoil(slab_page + 3, HEAD_CLOSED); /* does not lead to its slab */
    head_spoil(slab_page + 3, HEAD_SLAB);   /* a slab in a slab */
    head_spoil(large_page, HEAD_CLOSED_LARGE);
    struct ledger_head *inside = &direct->ledger->heads[slab_page + 3];
    inside->back = 2;
    assert_corrupt();
    inside->back = 3;
    direct->ledger->heads[large_page].span_pages++;
    assert_corrupt();
    direct->ledger->heads[large_page].span_pages--;
    assert_sound();
}

/* It is written anew before its page is a slab's. Until then an offset there leads to nothing. */
static void test_direct_check_lets_a_head_of_no_slab_say_anything(void **state)
{
    const uint32_t pages[] = {large_page + 4, large_page + 5, N_PAGES - 1};
    struct block block;
    for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
        struct ledger_head *head = &direct->ledger->heads[pages[i]];
        const struct seg_off off = {(uint64_t)pages[i] << PAGE_SHIFT};
        const int wanted = i == 0 ? DIRECT_E_INTERIOR : DIRECT_E_WILD;
        head->back = UINT16_MAX;
        head->size_class = UINT16_MAX;
        head->span_pages = UINT32_MAX;
        for (uint32_t kind = HEAD_NONE; kind <= HEAD_WITHIN; kind++) {
            atomic_store(&head->kind, kind);
            const int r = direct_find(direct, client, off, &block);
            assert_int_equal(r, i > 0 && kind == HEAD_CLOSED_LARGE ? DIRECT_E_RELEASED : wanted);
            assert_sound();
        }
    }
}

static void test_direct_check_finds_wrong_lists_of_room(void **state)
{
    struct ledger_head *head = &direct->ledger->heads[slab_page];
    uint32_t *first = &direct->partial_slabs[head->size_class];

    *first = 0; /* a slab with room on no list */
    assert_corrupt();
    direct->partial_slabs[3] = slab_page; /* on the wrong one */
    assert_corrupt();
    direct->partial_slabs[3] = 0;
    *first = large_page;
    assert_corrupt();
    *first = slab_page;
    head->prev = 9;
    assert_corrupt();
    head->prev = 0;
    head->next = slab_page; /* a cycle */
    assert_corrupt();
    head->next = 0;
    head->flags = HEAD_SHAREABLE; /* a slab of one kind on the list of the other */
    assert_corrupt();
    head->flags = 0;
    direct->shareable_slabs[head->size_class] = slab_page; /* on both */
    assert_corrupt();
    direct->shareable_slabs[head->size_class] = 0;
    assert_sound();
}

static void test_core_check_finds_what_its_parts_find(void **state)
{
    core->pages.n_free_pages++;
    assert_int_equal(core_check(core), CORE_E_CORRUPT);
    core->pages.n_free_pages--;
    core->reasons.n_live++;
    assert_int_equal(core_check(core), CORE_E_CORRUPT);
    core->reasons.n_live--;
    core->clients.n_ended++;
    assert_int_equal(core_check(core), CORE_E_CORRUPT);
    core->clients.n_ended--;
    assert_sound();
}

#define SPOIL_TEST(test) cmocka_unit_test_setup_teardown(test, spoil_setup, core_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SPOIL_TEST(test_direct_check_finds_wrong_totals),
        SPOIL_TEST(test_direct_check_finds_wrong_entries),
        SPOIL_TEST(test_direct_check_finds_wrong_heads),
        SPOIL_TEST(test_direct_check_lets_a_head_of_no_slab_say_anything),
        SPOIL_TEST(test_direct_check_finds_wrong_lists_of_room),
        SPOIL_TEST(test_core_check_finds_what_its_parts_find),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

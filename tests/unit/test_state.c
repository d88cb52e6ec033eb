/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "daemon/core/state.h"
#include "tests/unit/unit.h"

#define N_PAGES 100
#define INSTANCE 0x1122334455667788
#define NOW_MS 5000

static void *file;
static struct state segment;

static int state_setup(void **state)
{
    file = calloc(1, state_bytes(N_PAGES));
    assert_non_null(file);
    state_format(&segment, file, N_PAGES, N_PAGES, INSTANCE, NOW_MS);
    return 0;
}

static int state_teardown(void **state)
{
    free(file);
    return 0;
}

static void test_state_format_makes_one_free_run_behind_the_first_page(void **state)
{
    assert_int_equal(atomic_load(&segment.page_words[0]), PAGE_WORD(PAGE_RESERVED, 0, 1));
    assert_int_equal(atomic_load(&segment.page_words[1]), PAGE_WORD(PAGE_FREE, 0, N_PAGES - 1));
    assert_int_equal(segment.header->instance, INSTANCE);
    assert_int_equal(segment.header->born_ms, NOW_MS);
    assert_int_equal(atomic_load(&segment.clients[CLIENTS_MAX - 1].pid), 0);
    assert_int_equal(segment.ledger.n_pages, N_PAGES);
}

static void test_state_parts_do_not_overlap(void **state)
{
    const unsigned char *base = file;
    struct ledger_layout layout;
    ledger_layout_init(&layout, N_PAGES);
    const unsigned char *ledger = (const unsigned char *)segment.ledger.heads - layout.heads_at;

    assert_true((const unsigned char *)segment.page_words >= base + sizeof(struct state_header));
    assert_true((void *)segment.clients >= (void *)(segment.page_words + N_PAGES));
    assert_true((void *)segment.reasons >= (void *)(segment.clients + CLIENTS_MAX));
    assert_true((void *)segment.obituaries >= (void *)(segment.reasons + REASONS_MAX));
    assert_true((void *)segment.shares >= (void *)(segment.obituaries + OBITUARIES_PLACES));
    assert_true((void *)segment.holds >= (void *)(segment.shares + SHARES_MAX));
    assert_true((void *)segment.names >= (void *)(segment.holds + HOLDS_MAX));
    assert_true((void *)segment.series >= (void *)(segment.names + SHARE_NAMES_MAX));
    assert_true((void *)segment.seconds >= (void *)(segment.series + HISTORY_SERIES));
    assert_true((void *)segment.minutes >= (void *)(segment.seconds + HISTORY_SECONDS));
    assert_true((void *)segment.refusals >= (void *)(segment.minutes + HISTORY_MINUTES));
    assert_true(ledger >= (const unsigned char *)(segment.refusals + 1));
    assert_true(ledger + layout.total_bytes <= base + state_bytes(N_PAGES));
    assert_int_equal((ledger - base) % 4096, 0);
}

static void test_state_bytes_of_the_largest_segment_do_not_overflow(void **state)
{
    const uint32_t n_pages = SEGMENT_MAX_BYTES / PAGE_BYTES;

    /* Planes of 16 + 64 + 256 + 1024 entries a page are most of it. */
    assert_true(state_bytes(n_pages) > (uint64_t)n_pages * 1360 * 16);
    assert_true(state_bytes(n_pages) < (uint64_t)n_pages * 1400 * 16);
}

static void test_page_word_keeps_each_part(void **state)
{
    const uint64_t word = PAGE_WORD(PAGE_LEASED, (UINT32_C(1) << 28) - 1, UINT32_MAX);

    assert_int_equal(PAGE_WORD_STATE(word), PAGE_LEASED);
    assert_int_equal(PAGE_WORD_OWNER(word), (UINT32_C(1) << 28) - 1);
    assert_int_equal(PAGE_WORD_PAGES(word), UINT32_MAX);
    assert_int_equal(PAGE_WORD_OWNER(PAGE_WORD(15, 0, UINT32_MAX)), 0);
}

static void test_state_attach_sees_what_another_wrote(void **state)
{
    struct state other;
    state_commit(&segment, &segment.page_words[7], PAGE_WORD(PAGE_LEASED, 3, 4));
    segment.clients[5].uid = 1000;
    segment.reasons[9].n_bytes = 3;

    assert_int_equal(state_attach(&other, file, N_PAGES), 0);

    assert_int_equal(atomic_load(&other.page_words[7]), PAGE_WORD(PAGE_LEASED, 3, 4));
    assert_int_equal(other.clients[5].uid, 1000);
    assert_int_equal(other.reasons[9].n_bytes, 3);
    assert_int_equal(other.header->instance, INSTANCE);
    assert_int_equal(other.n_pages, N_PAGES);
    assert_ptr_equal(other.ledger.heads, segment.ledger.heads);
}

static void test_state_attach_refuses_each_changed_bit_of_the_header(void **state)
{
    unsigned char *bytes = file;
    struct state other;

    for (size_t bit = 0; bit < 8 * offsetof(struct state_header, instance); bit++) {
        bytes[bit / 8] ^= (unsigned char)(1U << (bit % 8));
        assert_int_equal(state_attach(&other, file, N_PAGES), STATE_E_FOREIGN);
        bytes[bit / 8] ^= (unsigned char)(1U << (bit % 8));
    }
    assert_int_equal(state_attach(&other, file, N_PAGES), 0);
    assert_int_equal(state_attach(&other, file, N_PAGES - 1), STATE_E_FOREIGN);
    assert_int_equal(state_attach(&other, file, N_PAGES + 1), STATE_E_FOREIGN);
}

/* Those of a server that was built with one less of them, or an older layout: CMakeLists.txt. */
void state_format_CLIENTS_MAX(struct state *state, void *base, uint32_t n_pages,
                              uint32_t begin_pages, uint64_t instance, uint64_t now_ms);
__typeof__(state_format_CLIENTS_MAX) state_format_REASONS_MAX;
__typeof__(state_format_CLIENTS_MAX) state_format_SHARES_MAX;
__typeof__(state_format_CLIENTS_MAX) state_format_HOLDS_MAX;
__typeof__(state_format_CLIENTS_MAX) state_format_SHARE_NAMES_MAX;
__typeof__(state_format_CLIENTS_MAX) state_format_HISTORY_SECONDS;
__typeof__(state_format_CLIENTS_MAX) state_format_HISTORY_MINUTES;
__typeof__(state_format_CLIENTS_MAX) state_format_REFUSALS_KEPT;
__typeof__(state_format_CLIENTS_MAX) state_format_STATE_LAYOUT_VERSION;

static void test_state_attach_refuses_each_other_maximum(void **state)
{
    (void)state;
    __typeof__(&state_format_CLIENTS_MAX) const formats[] = {
        state_format_CLIENTS_MAX,          state_format_REASONS_MAX,
        state_format_SHARES_MAX,           state_format_HOLDS_MAX,
        state_format_SHARE_NAMES_MAX,      state_format_HISTORY_SECONDS,
        state_format_HISTORY_MINUTES,      state_format_REFUSALS_KEPT,
        state_format_STATE_LAYOUT_VERSION,
    };

    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
        struct state other;
        void *others = calloc(1, state_bytes(N_PAGES));
        assert_non_null(others);
        formats[i](&other, others, N_PAGES, N_PAGES, INSTANCE, NOW_MS);
        assert_int_equal(state_attach(&other, others, N_PAGES), STATE_E_FOREIGN);
        free(others);
    }
}

static void test_state_numbers_go_on_behind_what_was_reserved(void **state)
{
    (void)state;
    _Atomic uint64_t *reserved = &segment.header->versions;
    struct state_numbers numbers = state_numbers(reserved);

    for (uint64_t number = 1; number <= STATE_NUMBERS_AHEAD; number++) {
        assert_int_equal(state_number(&segment, &numbers), number);
        assert_int_equal(atomic_load(reserved), STATE_NUMBERS_AHEAD);
    }
    assert_int_equal(state_number(&segment, &numbers), STATE_NUMBERS_AHEAD + 1);
    assert_int_equal(atomic_load(reserved), 2 * STATE_NUMBERS_AHEAD);
    struct state_numbers after = state_numbers(reserved);
    assert_int_equal(state_number(&segment, &after), 2 * STATE_NUMBERS_AHEAD + 1);
}

/* Each part as large as it gets. */
static void test_words_of_sharing_keep_each_part(void **state)
{
    (void)state;
    const uint32_t share = (UINT32_C(1) << SHARE_INDEX_BITS) - 1;
    const uint64_t name = NAME_WORD(share, 1, (UINT64_C(1) << STATE_NUMBER_BITS) - 1);
    const uint64_t hold = HOLD_LIVE | HOLD_OWNER | (uint64_t)SLOT_KEPT << HOLD_SLOT_SHIFT | share;
    const uint64_t offered = SHARE_LIVE | SHARE_OFFERED | (uint64_t)SLOT_NONE << SHARE_OWNER_SHIFT |
                             (uint64_t)UINT32_MAX << SHARE_RETURN_SHIFT;

    assert_int_equal(NAME_SHARE(name), share);
    assert_int_equal(NAME_WHICH(name), 1);
    assert_int_equal(NAME_VERSION(name), (UINT64_C(1) << STATE_NUMBER_BITS) - 1);
    assert_int_equal(NAME_WHICH(NAME_WORD(share, 0, UINT64_MAX)), 0);
    assert_int_equal(NAME_WHO_OWNER(NAME_WHO(SLOT_NONE, true)), SLOT_NONE);
    assert_true(NAME_WHO_KEEP(NAME_WHO(7, true)));
    assert_false(NAME_WHO_KEEP(NAME_WHO(SLOT_NONE, false)));
    assert_int_equal(HOLD_SHARE(hold), share);
    assert_int_equal(HOLD_SLOT(hold), SLOT_KEPT);
    assert_int_equal(hold & HOLD_WRITE, 0);
    assert_int_equal(SHARE_OWNER(offered), SLOT_NONE);
    assert_int_equal(SHARE_RETURN(offered), UINT32_MAX);
    assert_int_equal(offered & (SHARE_OWNER_HOLDS | SHARE_LEASED | SHARE_READ_ONLY | SHARE_KEEP),
                     0);
}

static void test_state_attach_refuses_a_foreign_ledger(void **state)
{
    struct state other;
    struct ledger_layout layout;
    ledger_layout_init(&layout, N_PAGES);
    struct ledger_header *header =
        (void *)((unsigned char *)segment.ledger.heads - layout.heads_at);

    header->magic++;
    assert_int_equal(state_attach(&other, file, N_PAGES), STATE_E_FOREIGN);
    header->magic--;
    header->layout ^= 1;
    assert_int_equal(state_attach(&other, file, N_PAGES), STATE_E_FOREIGN);
    header->layout ^= 1;
    header->n_pages--;
    assert_int_equal(state_attach(&other, file, N_PAGES), STATE_E_FOREIGN);
}

static void test_state_sizes_of_another_layout_are_not_known(void **state)
{
    struct state_sizes sizes;
    assert_true(state_sizes_of(segment.header, &sizes));
    segment.header->layout++;
    assert_false(state_sizes_of(segment.header, &sizes));
}

static void test_state_sizes_of_another_file_are_not_known(void **state)
{
    struct state_sizes sizes;
    atomic_fetch_add(&segment.header->magic, 1);
    assert_false(state_sizes_of(segment.header, &sizes));
}

#define STATE_TEST(test) cmocka_unit_test_setup_teardown(test, state_setup, state_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STATE_TEST(test_state_format_makes_one_free_run_behind_the_first_page),
        STATE_TEST(test_state_parts_do_not_overlap),
        STATE_TEST(test_state_bytes_of_the_largest_segment_do_not_overflow),
        STATE_TEST(test_page_word_keeps_each_part),
        STATE_TEST(test_state_attach_sees_what_another_wrote),
        STATE_TEST(test_state_attach_refuses_each_changed_bit_of_the_header),
        STATE_TEST(test_state_attach_refuses_each_other_maximum),
        STATE_TEST(test_state_numbers_go_on_behind_what_was_reserved),
        STATE_TEST(test_words_of_sharing_keep_each_part),
        STATE_TEST(test_state_attach_refuses_a_foreign_ledger),
        STATE_TEST(test_state_sizes_of_another_layout_are_not_known),
        STATE_TEST(test_state_sizes_of_another_file_are_not_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

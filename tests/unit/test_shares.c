/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "tests/unit/fail.h"
#include "tests/unit/shares_fixture.h"

static int find(struct share_handle handle, uint32_t *ret_share)
{
    *ret_share = 0;
    return shares_find(shares, &handle, ret_share);
}

/* ---------------------------------------------------------------------------------- shares ---- */

static void test_shares_add_says_what_is_shared(void **state)
{
    (void)state;
    struct share_new fresh = fresh_at(0);

    const uint32_t share = add(fresh);

    const struct state_share *record = shares_record(shares, share);
    const uint64_t word = shares_word(shares, share);
    assert_int_equal(word, SHARE_LIVE | SHARE_OWNER_HOLDS | UINT64_C(3) << SHARE_OWNER_SHIFT);
    assert_int_equal(SHARE_OWNER(word), 3);
    assert_int_equal(record->offset, fresh.off.bytes);
    assert_int_equal(record->num_bytes, 100);
    assert_int_equal(record->tag, fresh.tag);
    assert_int_equal(record->born, 77);
    assert_text(record->reason, "camera");
    assert_int_equal(shares_n_holds(shares, share), 0);
    assert_int_equal(shares_n_names(shares, share), 0);
    assert_int_equal(shares_first_of(shares, 3), share);
    assert_int_equal(shares->n_shares, 1);
    assert_false(shares_is_pinned(shares, 0, RECORDS_PAGES));
}

static void test_shares_of_two_blocks_are_two(void **state)
{
    (void)state;

    const uint32_t first = add(fresh_at(0));
    const uint32_t second = add(fresh_at(1));

    assert_int_not_equal(first, second);
    assert_int_equal(shares_at(shares, fresh_at(0).off), first);
    assert_int_equal(shares_at(shares, fresh_at(1).off), second);
    assert_int_equal(shares_at(shares, fresh_at(2).off), 0);
    assert_int_equal(shares_next(shares, 0), first);
    assert_int_equal(shares_next(shares, first + 1), second);
    assert_int_equal(shares_next(shares, second + 1), 0);
}

static void test_shares_add_of_what_is_shared_is_a_bug(void **state)
{
    (void)state;
    const struct share_new fresh = fresh_at(0);
    uint32_t share = add(fresh);

    assert_broken(assert_int_equal(shares_add(shares, &fresh, &share), 0));
}

static void test_shares_add_beyond_the_table_is_full(void **state)
{
    (void)state;
    uint32_t share = 0;
    for (uint32_t i = 1; i < SHARES_MAX; i++) {
        assert_int_equal(add(fresh_at(i)), i);
    }
    const struct share_new more = fresh_at(0);
    const uint32_t n_reasons = records.reasons.n_ids;

    assert_int_equal(shares_add(shares, &more, &share), SHARES_E_FULL);

    assert_sound();
    assert_int_equal(records.reasons.n_ids, n_reasons);
    const uint64_t generation = shares_handle(shares, 7).generation;
    remove_share(7);
    assert_int_equal(add(more), 7);
    assert_true(shares_handle(shares, 7).generation > generation);
}

static void test_shares_remove_frees_record_and_reason(void **state)
{
    (void)state;
    const uint32_t share = add(fresh_at(0));

    remove_share(share);

    assert_int_equal(shares_at(shares, fresh_at(0).off), 0);
    assert_int_equal(shares_first_of(shares, 3), 0);
    assert_int_equal(shares_next(shares, 0), 0);
    assert_int_equal(records.reasons.n_free_ids, 1);
    assert_broken(shares_remove(shares, share));
    assert_int_equal(add(fresh_at(0)), share);
}

static void test_shares_remove_of_what_is_held_or_named_is_a_bug(void **state)
{
    (void)state;
    const uint32_t share = add(fresh_at(0));

    const uint32_t held = hold(share, 1);
    assert_broken(shares_remove(shares, share));
    let_go(held);
    shares_note_name(shares, share, 1);
    assert_broken(shares_remove(shares, share));
    shares_note_name(shares, share, -1);
    assert_broken(shares_note_name(shares, share, -1));
    remove_share(share);
}

static void test_shares_set_moves_it_to_another_owner(void **state)
{
    (void)state;
    const uint32_t share = add(fresh_at(0));
    const uint32_t other = add(fresh_at(1));
    const uint64_t owner_of_5 = UINT64_C(5) << SHARE_OWNER_SHIFT;

    shares_set(shares, share, SHARE_LIVE | SHARE_OFFERED | SHARE_KEEP | owner_of_5);
    assert_sound();
    assert_int_equal(shares_first_of(shares, 5), share);
    assert_int_equal(shares_first_of(shares, 3), other);
    restart();
    assert_int_equal(shares_first_of(shares, 5), share);

    shares_set(shares, share, SHARE_LIVE | (uint64_t)SLOT_NONE << SHARE_OWNER_SHIFT);
    assert_sound();
    assert_int_equal(shares_first_of(shares, 5), 0);
    assert_broken(shares_set(shares, share, SHARE_NONE));
    assert_broken(shares_set(shares, share, SHARE_LIVE | SHARE_LEASED));
}

static void test_shares_of_an_owner_are_all_on_its_chain(void **state)
{
    (void)state;
    bool seen[SHARES_MAX] = {false};
    for (uint32_t i = 1; i <= 10; i++) {
        (void)add(fresh_at(i));
    }
    remove_share(4);
    remove_share(10);
    remove_share(1);

    uint32_t n_seen = 0;
    for (uint32_t share; (share = shares_first_of(shares, 3)) != 0; n_seen++) {
        assert_false(seen[share]);
        seen[share] = true;
        remove_share(share);
    }
    assert_int_equal(n_seen, 7);
}

/* --------------------------------------------------------------------------------- handles ---- */

static void test_shares_find_by_what_leads_to_it(void **state)
{
    (void)state;
    const uint32_t share = add(fresh_at(0));
    const struct share_handle handle = shares_handle(shares, share);
    uint32_t found;

    assert_int_equal(handle.instance, RECORDS_INSTANCE);
    assert_int_equal(handle.offset, fresh_at(0).off.bytes);
    assert_int_equal(handle.num_bytes, 100);
    assert_int_equal(find(handle, &found), 0);
    assert_int_equal(found, share);
    restart();
    assert_int_equal(find(handle, &found), 0);
    assert_int_equal(found, share);
}

static void test_shares_find_with_another_tag_is_denied(void **state)
{
    (void)state;
    struct share_handle handle = shares_handle(shares, add(fresh_at(0)));
    uint32_t found;

    handle.tag++;

    assert_int_equal(find(handle, &found), SHARES_E_DENIED);
    assert_int_equal(found, 0);
}

static void test_shares_find_of_what_is_gone_is_stale(void **state)
{
    (void)state;
    const uint32_t share = add(fresh_at(0));
    const struct share_handle handle = shares_handle(shares, share);
    uint32_t found;

    remove_share(share);
    assert_int_equal(find(handle, &found), SHARES_E_STALE);
    assert_int_equal(add(fresh_at(0)), share); /* the same block, with the same tag, once more */
    assert_int_equal(find(handle, &found), SHARES_E_STALE);
    restart();
    assert_int_equal(find(handle, &found), SHARES_E_STALE);
}

static void test_shares_find_of_what_is_on_its_way_home_is_stale(void **state)
{
    (void)state;
    const uint32_t share = add(fresh_in(4, 2));
    const struct share_handle handle = shares_handle(shares, share);
    uint32_t found;

    shares_set(shares, share,
               SHARE_RETURNING | SHARE_LEASED | UINT64_C(3) << SHARE_OWNER_SHIFT |
                   UINT64_C(0xffffffff) << SHARE_RETURN_SHIFT);

    assert_sound();
    assert_int_equal(find(handle, &found), SHARES_E_STALE);
    assert_int_equal(SHARE_RETURN(shares_word(shares, share)), UINT32_MAX);
    assert_int_equal(shares_at(shares, fresh_in(4, 2).off), share);
    assert_true(shares_is_pinned(shares, 7, 1));
}

static void test_shares_find_refuses_each_changed_bit(void **state)
{
    (void)state;
    const struct share_handle handle = shares_handle(shares, add(fresh_at(0)));
    for (uint32_t i = 1; i < SHARES_MAX - 1; i++) {
        (void)add(fresh_at(i)); /* so that a changed number leads to something */
    }
    uint32_t found;

    for (uint32_t bit = 0; bit < 8 * sizeof(handle); bit++) {
        struct share_handle changed = handle;
        ((unsigned char *)&changed)[bit / 8] ^= (unsigned char)(1U << bit % 8);
        const int r = find(changed, &found);
        assert_true(r == SHARES_E_STALE || r == SHARES_E_DENIED);
        assert_int_equal(found, 0);
    }
    assert_int_equal(find(handle, &found), 0);
}

/* As random as they get, and as near to those that there are. */
static struct share_handle guess(struct seeded *seeded, const struct share_handle *real,
                                 const struct share_handle *former)
{
    const struct share_handle random = {seeded_next(seeded), seeded_log(seeded, 40),
                                        seeded_next(seeded), seeded_log(seeded, 21),
                                        seeded_log(seeded, 8)};
    const uint32_t from = seeded_below(seeded, 64);
    return (struct share_handle){
        .instance = from & 1 ? random.instance : real->instance,
        .generation = from & 2   ? random.generation
                      : from & 4 ? real->generation ^ UINT64_C(1) << seeded_below(seeded, 64)
                                 : former->generation,
        .tag = from & 8 ? random.tag : former->tag,
        .offset = from & 16 ? random.offset : real->offset,
        .num_bytes = from & 32 ? random.num_bytes : real->num_bytes,
    };
}

static void test_shares_find_accepts_none_of_a_million_guesses(void **state)
{
    (void)state;
    struct seeded seeded = {4711};
    print_message("seed %llu\n", (unsigned long long)seeded.state);
    struct share_handle real[SHARES_MAX];
    struct share_handle former[SHARES_MAX];
    static struct records before;
    for (uint32_t i = 1; i < SHARES_MAX; i++) {
        former[i] = shares_handle(shares, add(fresh_at(i)));
        remove_share(i);
        assert_int_equal(add(fresh_at(i)), i);
        real[i] = shares_handle(shares, i);
    }
    records_open(&before);
    records_copy(&before, &records);

    for (uint32_t i = 0; i < 1000000; i++) {
        const uint32_t which = 1 + seeded_below(&seeded, SHARES_MAX - 1);
        uint32_t found;
        assert_int_not_equal(find(guess(&seeded, &real[which], &former[which]), &found), 0);
        assert_int_equal(found, 0);
    }

    assert_false(records_differ(&before, &records));
    records_close(&before);
    assert_sound();
}

static void test_shares_generations_never_repeat(void **state)
{
    (void)state;
    uint64_t last = 0;

    for (uint32_t i = 0; i < 3; i++) {
        for (uint32_t j = 0; j < STATE_NUMBERS_AHEAD / 2 + 10; j++) {
            uint32_t share;
            const struct share_new fresh = fresh_at(0);
            assert_int_equal(shares_add(shares, &fresh, &share), 0);
            const uint64_t generation = shares_handle(shares, share).generation;
            assert_true(generation > last);
            last = generation;
            shares_remove(shares, share);
        }
        restart();
    }
    records.shares.generations.last = (UINT64_C(1) << STATE_NUMBER_BITS) - 1;
    assert_broken((void)add(fresh_at(0)));
}

/* ---------------------------------------------------------------------------- pinned pages ---- */

static void test_shares_pin_the_slab_until_the_last_of_it_is_gone(void **state)
{
    (void)state;
    bool pinned;

    const uint32_t first = add(fresh_in(4, 1));
    const uint32_t second = add(fresh_in(4, 2));
    assert_int_equal(shares_pinned_stretch(shares, 0, RECORDS_PAGES, &pinned), 4);
    assert_false(pinned);
    assert_int_equal(shares_pinned_stretch(shares, 5, 100, &pinned), 3);
    assert_true(pinned);
    assert_int_equal(shares_pinned_stretch(shares, 8, 100, &pinned), 100);
    assert_false(pinned);
    assert_true(shares_is_pinned(shares, 0, 5));
    assert_false(shares_is_pinned(shares, 0, 4));
    assert_false(shares_is_pinned(shares, 8, RECORDS_PAGES - 8));
    assert_int_equal(shares_first_in_slab(shares, 4), second);
    assert_int_equal(shares_next_in_slab(shares, second), first);
    assert_int_equal(shares_next_in_slab(shares, first), 0);
    assert_int_equal(shares_first_in_slab(shares, 5), 0);

    remove_share(first);
    assert_true(shares_is_pinned(shares, 4, 1));
    remove_share(second);
    assert_false(shares_is_pinned(shares, 0, RECORDS_PAGES));
}

static void test_shares_set_to_direct_unpins(void **state)
{
    (void)state;
    const uint32_t share = add(fresh_in(60, 0)); /* across a word of the bits */
    assert_true(shares_is_pinned(shares, 63, 1));

    shares_set(shares, share, SHARE_LIVE | (uint64_t)SLOT_NONE << SHARE_OWNER_SHIFT);

    assert_sound();
    assert_false(shares_is_pinned(shares, 0, RECORDS_PAGES));
    assert_broken((void)shares_next_in_slab(shares, share));
    restart();
    assert_false(shares_is_pinned(shares, 0, RECORDS_PAGES));
}

static void test_shares_fits_what_goes_with_what_is_pinned(void **state)
{
    (void)state;
    const struct share_place same = {8, 4, 8, IN_SLAB_CLASS};
    const struct share_place others[] = {
        {8, 3, 8, IN_SLAB_CLASS},  /* shorter */
        {8, 5, 8, IN_SLAB_CLASS},  /* longer */
        {8, 4, 8, 6},              /* of another class */
        {8, 4, 0, N_SIZE_CLASSES}, /* large */
        {7, 2, 0, IN_SLAB_CLASS},  /* begins before */
        {11, 1, 0, IN_SLAB_CLASS}, /* begins within */
        {1, 40, 0, N_SIZE_CLASSES},
    };
    assert_true(shares_fits(shares, &same));
    (void)add(fresh_in(8, 1));

    assert_true(shares_fits(shares, &same));
    assert_true(shares_fits(shares, &(struct share_place){12, 4, 0, 6}));
    assert_true(shares_fits(shares, &(struct share_place){7, 1, 0, N_SIZE_CLASSES}));
    assert_true(shares_fits(shares, &(struct share_place){0, 0, 0, 0})); /* direct */
    for (uint32_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        struct share_new fresh = fresh_in(8, 2);
        uint32_t share;
        fresh.place = others[i];
        assert_false(shares_fits(shares, &others[i]));
        assert_broken(assert_int_equal(shares_add(shares, &fresh, &share), 0));
    }
}

static void test_shares_fits_no_large_block_twice(void **state)
{
    (void)state;
    struct share_new fresh = fresh_in(8, 0);
    fresh.place.size_class = N_SIZE_CLASSES;
    (void)add(fresh);

    assert_false(shares_fits(shares, &fresh.place));
}

/* -------------------------------------------------------------------------- without memory ---- */

static void test_shares_init_without_memory_fails_cleanly(void **state)
{
    (void)state;
    struct shares other;

    for (unsigned nth = 1; fail_again("memory", nth, ENOMEM); nth++) {
        const int r = shares_init(&other, &records.state, &records.reasons);
        assert_int_equal(r, fail_end() ? -ENOMEM : 0);
    }
    shares_fini(&other);
}

static void test_shares_recover_without_memory_says_so(void **state)
{
    (void)state;
    (void)hold(add(fresh_at(0)), 1);
    const char *why;
    unsigned n_failures = 0;

    for (unsigned nth = 1; fail_again("memory", nth, ENOMEM); nth++) {
        struct shares other;
        struct reasons reasons;
        int r = reasons_init(&reasons, &records.state, &records.caps);
        r = r ? r : shares_init(&other, &records.state, &reasons);
        const int recovered = r ? r : shares_recover(&other, &why);
        assert_int_equal(recovered, fail_end() ? -ENOMEM : 0);
        n_failures += recovered != 0;
        if (r == 0) {
            shares_fini(&other);
        }
        if (reasons.table) {
            reasons_fini(&reasons);
        }
    }
    assert_true(n_failures > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SHARES_TEST(test_shares_add_says_what_is_shared),
        SHARES_TEST(test_shares_of_two_blocks_are_two),
        SHARES_TEST(test_shares_add_of_what_is_shared_is_a_bug),
        SHARES_TEST(test_shares_add_beyond_the_table_is_full),
        SHARES_TEST(test_shares_remove_frees_record_and_reason),
        SHARES_TEST(test_shares_remove_of_what_is_held_or_named_is_a_bug),
        SHARES_TEST(test_shares_set_moves_it_to_another_owner),
        SHARES_TEST(test_shares_of_an_owner_are_all_on_its_chain),
        SHARES_TEST(test_shares_find_by_what_leads_to_it),
        SHARES_TEST(test_shares_find_with_another_tag_is_denied),
        SHARES_TEST(test_shares_find_of_what_is_gone_is_stale),
        SHARES_TEST(test_shares_find_of_what_is_on_its_way_home_is_stale),
        SHARES_TEST(test_shares_find_refuses_each_changed_bit),
        SHARES_TEST(test_shares_find_accepts_none_of_a_million_guesses),
        SHARES_TEST(test_shares_generations_never_repeat),
        SHARES_TEST(test_shares_pin_the_slab_until_the_last_of_it_is_gone),
        SHARES_TEST(test_shares_set_to_direct_unpins),
        SHARES_TEST(test_shares_fits_what_goes_with_what_is_pinned),
        SHARES_TEST(test_shares_fits_no_large_block_twice),
        SHARES_TEST(test_shares_init_without_memory_fails_cleanly),
        SHARES_TEST(test_shares_recover_without_memory_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

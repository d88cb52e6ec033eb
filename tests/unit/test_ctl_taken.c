/* SPDX-License-Identifier: MIT */
/*
 * test_ctl_taken.c - what is taken while a record is gone through, beside a table of pages
 */
#include <string.h>

#include "client/ctl/taken.h"
#include "tests/support/seeded.h"
#include "tests/unit/unit.h"

#define N_PAGES 64
#define PAGE UINT64_C(16384)

static struct taken taken;
static int64_t n_pieces;
static uint64_t n_bytes;

static int comes(struct piece *piece, void *user)
{
    (void)user;
    piece->place = piece->offset;
    n_pieces++;
    n_bytes += piece->num_bytes;
    return 0;
}

static int goes(const struct piece *piece, void *user)
{
    (void)user;
    n_pieces--;
    n_bytes -= piece->num_bytes;
    return 0;
}

static int taken_setup(void **state)
{
    n_pieces = 0;
    n_bytes = 0;
    assert_int_equal(taken_init(&taken), 0);
    taken.comes = comes;
    taken.goes = goes;
    return 0;
}

static int taken_teardown(void **state)
{
    taken_fini(&taken);
    return 0;
}

static void apply(enum event_kind kind, uint32_t pid, uint64_t page, uint64_t n)
{
    const struct event event = {
        .kind = kind, .pid = pid, .offset = page * PAGE, .num_bytes = n * PAGE, .reason = NULL};
    assert_int_equal(taken_apply(&taken, &event), 0);
}

static void test_taken_of_a_lease_that_comes_back_in_part_leaves_two_pieces(void **state)
{
    apply(EVENT_TAKE, 1, 10, 8);
    apply(EVENT_GIVE, 1, 12, 3);

    assert_int_equal(taken.n, 2);
    assert_true(taken.pieces[0].offset == 10 * PAGE && taken.pieces[0].num_bytes == 2 * PAGE);
    assert_true(taken.pieces[1].offset == 15 * PAGE && taken.pieces[1].num_bytes == 3 * PAGE);
    assert_int_equal(n_pieces, 2);
    assert_true(taken.num_bytes == 5 * PAGE && n_bytes == 5 * PAGE);
}

static void test_taken_of_a_process_that_ends_is_given_back(void **state)
{
    apply(EVENT_TAKE, 1, 1, 2);
    apply(EVENT_TAKE, 2, 3, 2);
    apply(EVENT_TAKE, 1, 9, 1);
    apply(EVENT_END, 1, 0, 0);

    assert_int_equal(taken.n, 1);
    assert_int_equal(taken.pieces[0].pid, 2);
    assert_true(taken.num_bytes == 2 * PAGE);
}

static void test_taken_again_is_taken_once(void **state)
{
    apply(EVENT_TAKE, 1, 1, 4);
    apply(EVENT_TAKE, 2, 2, 1);

    assert_int_equal(taken.n, 3);
    assert_true(taken.num_bytes == 4 * PAGE);
    apply(EVENT_GIVE, 2, 40, 4); /* what nobody has */
    assert_true(taken.num_bytes == 4 * PAGE);
}

static void test_taken_is_what_a_table_of_pages_says(void **state)
{
    struct seeded seeded = {77};
    unsigned char owner[N_PAGES] = {0};
    for (uint32_t step = 0; step < 20000; step++) {
        const uint32_t page = seeded_below(&seeded, N_PAGES);
        const uint32_t n = 1 + seeded_below(&seeded, N_PAGES - page);
        const uint32_t pid = 1 + seeded_below(&seeded, 5);
        const uint32_t kind = seeded_below(&seeded, 20);
        uint64_t n_taken = 0;
        if (kind == 0) {
            apply(EVENT_END, pid, 0, 0);
            for (uint32_t i = 0; i < N_PAGES; i++) {
                owner[i] = owner[i] == pid ? 0 : owner[i];
            }
        } else {
            apply(kind < 10 ? EVENT_TAKE : EVENT_GIVE, pid, page, n);
            memset(owner + page, kind < 10 ? (int)pid : 0, n);
        }
        for (uint32_t i = 0; i < N_PAGES; i++) {
            n_taken += owner[i] != 0;
        }
        assert_true(taken.num_bytes == n_taken * PAGE);
        assert_true(n_bytes == taken.num_bytes && n_pieces == (int64_t)taken.n);
    }
}

#define TAKEN_TEST(test) cmocka_unit_test_setup_teardown(test, taken_setup, taken_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TAKEN_TEST(test_taken_of_a_lease_that_comes_back_in_part_leaves_two_pieces),
        TAKEN_TEST(test_taken_of_a_process_that_ends_is_given_back),
        TAKEN_TEST(test_taken_again_is_taken_once),
        TAKEN_TEST(test_taken_is_what_a_table_of_pages_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

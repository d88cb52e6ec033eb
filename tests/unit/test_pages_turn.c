/* SPDX-License-Identifier: MIT */
/*
 * test_pages_turn.c - a part of a lease becomes the daemon's own, or has not, wherever it is killed
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/core/pages.h"
#include "tests/unit/broken.h"

#define N_PAGES 300
#define OWNER 9
#define BEGIN 11
#define LENGTH 100
/* More stores than an operation makes. */
#define N_IMAGES 8

static void *file;
static struct state segment;
static struct pages pages;
static uint64_t images[N_IMAGES][N_PAGES]; /* the page words before each store */
static unsigned n_images;
static bool records;

void __real_state_commit(struct state *state, _Atomic uint64_t *where, uint64_t value);
void __wrap_state_commit(struct state *state, _Atomic uint64_t *where, uint64_t value);
void __wrap_state_commit(struct state *state, _Atomic uint64_t *where, uint64_t value)
{
    if (records) {
        assert_true(n_images < N_IMAGES);
        memcpy(images[n_images++], (void *)segment.page_words, sizeof(images[0]));
    }
    __real_state_commit(state, where, value);
}

/* A lease of OWNER's between two of another. */
static int pages_setup(void **state)
{
    (void)state;
    file = calloc(1, state_bytes(N_PAGES));
    assert_non_null(file);
    state_format(&segment, file, N_PAGES, N_PAGES, 1, 0);
    assert_int_equal(pages_init(&pages, &segment), 0);
    pages_take(&pages, 1, 10, PAGE_LEASED, OWNER + 1);
    pages_take(&pages, BEGIN, LENGTH, PAGE_LEASED, OWNER);
    pages_take(&pages, BEGIN + LENGTH, 10, PAGE_LEASED, OWNER + 1);
    n_images = 0;
    records = false;
    return 0;
}

static int pages_teardown(void **state)
{
    (void)state;
    pages_fini(&pages);
    free(file);
    return 0;
}

static void assert_run(const struct pages *of, uint32_t page, enum page_state page_state,
                       uint32_t n_pages)
{
    if (n_pages > 0) {
        assert_int_equal(pages_run_of(of, page), page);
        assert_int_equal(PAGE_WORD_STATE(pages_word(of, page)), page_state);
        assert_int_equal(PAGE_WORD_PAGES(pages_word(of, page)), n_pages);
    }
}

/* Whoever is killed before a store: all of the lease is there, or what is left beside the part. */
static void check_image(unsigned i)
{
    struct state other;
    struct pages next;
    void *next_file = calloc(1, state_bytes(N_PAGES));
    assert_non_null(next_file);
    state_format(&other, next_file, N_PAGES, N_PAGES, 1, 0);
    memcpy((void *)other.page_words, images[i], sizeof(images[0]));
    assert_int_equal(pages_init(&next, &other), 0);
    assert_int_equal(pages_check(&next), 0);
    assert_run(&next, BEGIN, PAGE_LEASED, LENGTH);
    assert_int_equal(pages_leased_first(&next, OWNER), BEGIN);
    pages_fini(&next);
    free(next_file);
}

static void turn(uint32_t page, uint32_t n_pages)
{
    const uint64_t n_free_pages = pages.n_free_pages;
    records = true;
    pages_turn_part(&pages, page, n_pages);
    records = false;
    assert_int_equal(pages_check(&pages), 0);
    assert_int_equal(pages.n_free_pages, n_free_pages);
    assert_run(&pages, BEGIN, PAGE_LEASED, page - BEGIN);
    assert_run(&pages, page, PAGE_DIRECT, n_pages);
    assert_run(&pages, page + n_pages, PAGE_LEASED, BEGIN + LENGTH - page - n_pages);
    for (unsigned i = 0; i < n_images; i++) {
        check_image(i);
    }
    n_images = 0;
}

static void test_pages_turn_part_anywhere_in_a_lease(void **state)
{
    (void)state;
    for (uint32_t page = BEGIN; page < BEGIN + LENGTH; page += 33) {
        for (uint32_t n_pages = 1; page + n_pages <= BEGIN + LENGTH; n_pages++) {
            turn(page, n_pages);
            (void)pages_teardown(NULL);
            (void)pages_setup(NULL);
        }
    }
}

/* At most four stores for the pieces beside it, and one that counts. */
static void test_pages_turn_part_of_a_whole_lease_is_one_store(void **state)
{
    (void)state;
    records = true;
    pages_turn_part(&pages, BEGIN, LENGTH);
    assert_int_equal(n_images, 1);
    assert_int_equal(pages_leased_first(&pages, OWNER), 0);
    assert_int_equal(pages_check(&pages), 0);
}

/* They may be other than 0 from then on, whoever had them. */
static void test_pages_turn_part_notes_what_may_be_dirty(void **state)
{
    (void)state;
    bool is_zero;
    assert_int_equal(pages_zero_stretch(&pages, BEGIN, 40, &is_zero), 40);
    assert_true(is_zero);

    pages_turn_part(&pages, BEGIN + 10, 5);

    assert_int_equal(pages_zero_stretch(&pages, BEGIN + 10, 5, &is_zero), 5);
    assert_false(is_zero);
    pages_give(&pages, BEGIN + 10);
    assert_int_equal(pages_check(&pages), 0);
    assert_int_equal(pages.n_dirty, 5);
}

static void test_pages_turn_part_of_what_is_not_leased_is_a_bug(void **state)
{
    (void)state;
    pages_turn_part(&pages, BEGIN, 5);
    assert_broken(pages_turn_part(&pages, BEGIN, 5));
    assert_broken(pages_turn_part(&pages, BEGIN + 5, LENGTH));
}

#define TURN_TEST(test) cmocka_unit_test_setup_teardown(test, pages_setup, pages_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TURN_TEST(test_pages_turn_part_anywhere_in_a_lease),
        TURN_TEST(test_pages_turn_part_of_a_whole_lease_is_one_store),
        TURN_TEST(test_pages_turn_part_notes_what_may_be_dirty),
        TURN_TEST(test_pages_turn_part_of_what_is_not_leased_is_a_bug),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

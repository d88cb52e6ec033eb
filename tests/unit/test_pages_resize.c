/* SPDX-License-Identifier: MIT */
/*
 * test_pages_resize.c - pages that the segment may have, and those that it has
 */
#include <stdlib.h>
#include <string.h>

#define N_PAGES 300
#include "tests/unit/pages_fixture.h"
#include "tests/unit/unit.h"

/* More stores than a change of size makes. */
#define N_IMAGES 16

static struct image {
    uint64_t words[N_PAGES];
    uint64_t maybe_dirty[N_PAGES / 64 + 1];
} images[N_IMAGES];
static unsigned n_images;
static void *next_file; /* another's that begins with one of them */
static bool records;

static void image_take(void)
{
    assert_true(n_images < N_IMAGES);
    memcpy(images[n_images].words, (void *)segment.page_words, sizeof(images->words));
    memcpy(images[n_images++].maybe_dirty, (void *)segment.maybe_dirty,
           sizeof(images->maybe_dirty));
}

void __real_state_commit(struct state *state, _Atomic uint64_t *where, uint64_t value);
void __wrap_state_commit(struct state *state, _Atomic uint64_t *where, uint64_t value);
void __wrap_state_commit(struct state *state, _Atomic uint64_t *where, uint64_t value)
{
    if (records) {
        image_take();
    }
    __real_state_commit(state, where, value);
}

static int resize_setup(void **state)
{
    next_file = calloc(1, state_bytes(N_PAGES));
    assert_non_null(next_file);
    records = false;
    n_images = 0;
    return pages_setup(state);
}

static int resize_teardown(void **state)
{
    free(next_file);
    return pages_teardown(state);
}

/* Whoever is killed before one of the stores: the next one finds the one size or the other. */
static void check_images(uint32_t before, uint32_t after, uint32_t n_used)
{
    for (unsigned i = 0; i < n_images; i++) {
        struct state state;
        struct pages next;
        state_format(&state, next_file, N_PAGES, N_PAGES, 1, 0);
        memcpy((void *)state.page_words, images[i].words, sizeof(images->words));
        memcpy((void *)state.maybe_dirty, images[i].maybe_dirty, sizeof(images->maybe_dirty));
        assert_int_equal(pages_init(&next, &state), 0);
        assert_int_equal(pages_check(&next), 0);
        assert_true(next.n_pages == before || next.n_pages == after);
        assert_int_equal(next.n_free_pages, next.n_pages - n_used);
        pages_fini(&next);
    }
    n_images = 0;
}

static void resize(uint32_t n_pages, uint32_t n_used)
{
    const uint32_t before = pages.n_pages;
    records = true;
    if (n_pages > before) {
        pages_grow(&pages, n_pages);
    } else {
        pages_shrink(&pages, n_pages);
    }
    records = false;
    image_take();
    assert_int_equal(pages_check(&pages), 0);
    assert_int_equal(pages.n_pages, n_pages);
    assert_int_equal(pages.n_free_pages, n_pages - n_used);
    check_images(before, n_pages, n_used);
}

static void test_pages_grow_and_shrink_to_any_size(void **state)
{
    static const uint32_t sizes[] = {299, 300, 2, 300, 150, 149, 3, 200, 201, 2, 299, 300};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        resize(sizes[i], 1);
    }
}

static void test_pages_grow_behind_what_is_used(void **state)
{
    uint32_t page;
    resize(11, 1);
    take(1, 10);
    assert_int_equal(pages_find(&pages, 1, &page), PAGES_E_FULL);
    resize(21, 11);
    assert_int_equal(pages_find(&pages, 10, &page), 0);
    assert_int_equal(page, 11);
    take(11, 10);
    resize(300, 21);
    assert_int_equal(pages_tail(&pages), 21);
}

static void test_pages_tail_is_where_what_is_free_at_the_end_begins(void **state)
{
    assert_int_equal(pages_tail(&pages), 1);
    take(1, 299);
    assert_int_equal(pages_tail(&pages), 300);
    pages_give_part(&pages, 290, 10);
    assert_int_equal(pages_tail(&pages), 290);
    resize(295, 290);
    assert_int_equal(pages_tail(&pages), 290);
    resize(290, 290);
    assert_int_equal(pages_tail(&pages), 290);
    give(1);
    assert_int_equal(pages_tail(&pages), 1);
}

/* What has been in the segment is as dirty as it was when it is in it again. */
static void test_pages_grow_knows_what_is_dirty(void **state)
{
    take(1, 299);
    give(1);
    assert_int_equal(pages.n_dirty, 299);
    resize(100, 1);
    assert_int_equal(pages.n_dirty, 99);
    pages_note_zero(&pages, 200, 100);
    resize(300, 1);
    assert_int_equal(pages.n_dirty, 199);
}

static void test_pages_init_refuses_pages_behind_what_is_beyond(void **state)
{
    struct pages next;
    resize(100, 1);
    segment.page_words[100] = PAGE_WORD(PAGE_BEYOND, 0, 100);
    segment.page_words[200] = PAGE_WORD(PAGE_FREE, 0, 100);
    assert_int_equal(pages_init(&next, &segment), PAGES_E_CORRUPT);
    segment.page_words[200] = PAGE_WORD(PAGE_SCRUB, 0, 100);
    assert_int_equal(pages_init(&next, &segment), PAGES_E_CORRUPT);
    segment.page_words[1] = PAGE_WORD(PAGE_BEYOND, 0, 299);
    assert_int_equal(pages_init(&next, &segment), PAGES_E_CORRUPT);
}

static void test_state_format_leaves_what_it_may_grow_by_beyond(void **state)
{
    struct state other;
    struct pages next;
    state_format(&other, next_file, N_PAGES, 64, 1, 0);
    assert_int_equal(pages_init(&next, &other), 0);
    assert_int_equal(pages_check(&next), 0);
    assert_int_equal(next.n_pages, 64);
    assert_int_equal(next.n_free_pages, 63);
    pages_fini(&next);
}

#define RESIZE_TEST(test) cmocka_unit_test_setup_teardown(test, resize_setup, resize_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RESIZE_TEST(test_pages_grow_and_shrink_to_any_size),
        RESIZE_TEST(test_pages_grow_behind_what_is_used),
        RESIZE_TEST(test_pages_tail_is_where_what_is_free_at_the_end_begins),
        RESIZE_TEST(test_pages_grow_knows_what_is_dirty),
        RESIZE_TEST(test_pages_init_refuses_pages_behind_what_is_beyond),
        RESIZE_TEST(test_state_format_leaves_what_it_may_grow_by_beyond),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

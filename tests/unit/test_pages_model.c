/* SPDX-License-Identifier: MIT */
/*
 * test_pages_model.c - random taking and giving of runs, beside a model with one byte a page
 *
 * The model finds holes by looking at every page, so it knows when "full" is true. Every now and
 * then the daemon "dies" after any of its stores: what pages_init() makes of the words must be the
 * model before or after the step.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/support/seeded.h"

#define N_PAGES 700
#include "tests/unit/pages_fixture.h"
#include "tests/unit/unit.h"

#define N_STEPS 60000

/* By page: whose run it is; 0 is free, 255 the segment's own. */
static uint8_t owners[N_PAGES];

static unsigned stores_until_death; /* 0: lives on */
static jmp_buf death;

void __real_state_commit(struct state *state, _Atomic uint64_t *where, uint64_t value);
void __wrap_state_commit(struct state *state, _Atomic uint64_t *where, uint64_t value);
void __wrap_state_commit(struct state *state, _Atomic uint64_t *where, uint64_t value)
{
    __real_state_commit(state, where, value);
    if (stores_until_death > 0 && --stores_until_death == 0) {
        longjmp(death, 1);
    }
}

static int model_setup(void **state)
{
    memset(owners, 0, sizeof(owners));
    owners[0] = 255;
    return pages_setup(state);
}

static uint32_t naive_run_end(uint32_t page)
{
    uint32_t end = page + 1;
    while (end < N_PAGES && owners[end] == owners[page]) {
        end++;
    }
    return end;
}

static uint32_t naive_largest_free_extent(void)
{
    uint32_t largest = 0;
    for (uint32_t page = 0; page < N_PAGES; page = naive_run_end(page)) {
        const uint32_t n_pages = naive_run_end(page) - page;
        largest = owners[page] == 0 && n_pages > largest ? n_pages : largest;
    }
    return largest;
}

/* An owner none of whose neighbours at [page, page + n_pages) is the same: runs stay apart. */
static uint8_t naive_owner_for(uint32_t page, uint32_t n_pages, struct seeded *seeded)
{
    uint8_t owner;
    do {
        owner = (uint8_t)(1 + seeded_below(seeded, 200));
    } while (owner == owners[page - 1] ||
             (page + n_pages < N_PAGES && owner == owners[page + n_pages]));
    return owner;
}

/* What the words say, page by page. */
static void words_read(const struct pages *from, uint8_t *ret_owners)
{
    for (uint32_t page = 0; page < N_PAGES;) {
        const uint64_t word = pages_word(from, page);
        const uint8_t owner = PAGE_WORD_STATE(word) == PAGE_FREE ? 0
                              : page == 0                        ? 255
                                                                 : (uint8_t)PAGE_WORD_OWNER(word);
        memset(ret_owners + page, owner, PAGE_WORD_PAGES(word));
        page += PAGE_WORD_PAGES(word);
    }
}

static void assert_words_are(const struct pages *from, const uint8_t *wanted)
{
    uint8_t said[N_PAGES];
    words_read(from, said);
    assert_memory_equal(said, wanted, N_PAGES);
}

static void step_take(struct seeded *seeded)
{
    const uint32_t n_pages = (uint32_t)seeded_log(seeded, 9);
    uint32_t page;
    const int r = pages_find(&pages, n_pages, &page);
    assert_int_equal(r == 0, naive_largest_free_extent() >= n_pages);
    if (r) {
        return;
    }
    const uint8_t owner = naive_owner_for(page, n_pages, seeded);
    pages_take(&pages, page, n_pages, PAGE_DIRECT, owner);
    for (uint32_t i = 0; i < n_pages; i++) {
        assert_int_equal(owners[page + i], 0);
        owners[page + i] = owner;
    }
}

static void step_give(struct seeded *seeded)
{
    const uint32_t page = pages_run_of(&pages, seeded_below(seeded, N_PAGES));
    if (owners[page] == 0 || owners[page] == 255) {
        return;
    }
    const uint32_t end = naive_run_end(page);
    pages_give(&pages, page);
    memset(owners + page, 0, end - page);
}

static void assert_pages_are_the_model(void)
{
    uint64_t n_free_pages = 0;
    for (uint32_t page = 0; page < N_PAGES; page++) {
        n_free_pages += owners[page] == 0;
    }
    assert_int_equal(pages_check(&pages), 0);
    assert_int_equal(pages.n_free_pages, n_free_pages);
    assert_int_equal(pages_largest_free_extent(&pages), naive_largest_free_extent());
    assert_words_are(&pages, owners);
}

static void step(struct seeded *seeded)
{
    if (seeded_below(seeded, 2) == 0) {
        step_take(seeded);
    } else {
        step_give(seeded);
    }
}

static void test_pages_take_and_give_like_the_model(void **state)
{
    struct seeded seeded = {20260101};
    print_message("seed %llu\n", (unsigned long long)seeded.state);

    for (uint32_t n = 0; n < N_STEPS; n++) {
        step(&seeded);
        assert_pages_are_the_model();
    }
}

static void index_make_again(void)
{
    pages_fini(&pages);
    assert_int_equal(pages_init(&pages, &segment), 0);
}

/*
 * Recovery of the words as a death in the middle of the next step leaves them. The step is done
 * twice, from the same index: once to die in it, once to see what it would have led to.
 */
static void die_and_recover(const struct seeded *seeded, unsigned n_stores)
{
    static uint64_t words[N_PAGES];
    static uint8_t before[N_PAGES];
    static uint8_t recovered[N_PAGES];
    const size_t words_bytes = N_PAGES * sizeof(words[0]);
    struct seeded replay = *seeded;
    struct pages after_death;
    memcpy(words, (void *)segment.page_words, words_bytes);
    memcpy(before, owners, sizeof(before));
    index_make_again();
    stores_until_death = n_stores;
    if (setjmp(death) == 0) {
        step(&replay);
    }
    stores_until_death = 0;
    assert_int_equal(pages_init(&after_death, &segment), 0);
    assert_int_equal(pages_check(&after_death), 0);
    words_read(&after_death, recovered);
    pages_fini(&after_death);
    memcpy(owners, before, sizeof(before));
    memcpy((void *)segment.page_words, words, words_bytes);
    index_make_again();
    replay = *seeded;
    step(&replay);
    assert_true(memcmp(recovered, before, sizeof(before)) == 0 ||
                memcmp(recovered, owners, sizeof(before)) == 0);
}

static void test_pages_init_after_death_at_any_store_is_before_or_after(void **state)
{
    struct seeded seeded = {20260102};
    print_message("seed %llu\n", (unsigned long long)seeded.state);

    for (uint32_t n = 0; n < N_STEPS / 10; n++) {
        die_and_recover(&seeded, 1 + n % 3);
        assert_pages_are_the_model();
        (void)seeded_next(&seeded);
    }
}

#define PAGES_TEST(test) cmocka_unit_test_setup_teardown(test, model_setup, pages_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PAGES_TEST(test_pages_take_and_give_like_the_model),
        PAGES_TEST(test_pages_init_after_death_at_any_store_is_before_or_after),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

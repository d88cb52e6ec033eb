/* SPDX-License-Identifier: MIT */
/*
 * test_ctl_extents.c - what splits the free space, beside a naive count
 */
#include <stdio.h>
#include <string.h>

#include "client/ctl/extents.h"
#include "tests/support/seeded.h"
#include "tests/unit/unit.h"

#define PAGE (UINT64_C(16) << 10)
#define N_MAX 400
#define N_PROCESSES 5

static struct extents extents;

static int extents_setup(void **state)
{
    return extents_init(&extents);
}

static int extents_teardown(void **state)
{
    extents_fini(&extents);
    return 0;
}

static uint64_t at;

static void add(enum kmem_page_state state, uint64_t n_pages, uint32_t pid, int one_owner,
                const char *reason)
{
    const struct kmem_pages pages = {
        .offset = at,
        .num_bytes = n_pages * PAGE,
        .state = state,
        .pid = pid,
        .command = pid > 0 ? "worker" : "",
        .reason = reason,
        .n_blocks = pid > 0,
        .one_owner = one_owner,
        .one_reason = one_owner,
    };
    assert_int_equal(extents_add(&extents, &pages), 0);
    at += pages.num_bytes;
}

static const struct party *party_of(const struct parties *parties, const char *name, uint32_t pid)
{
    for (size_t i = 0; i < parties->n; i++) {
        if (parties->table[i].pid == pid && strcmp(parties->table[i].name, name) == 0) {
            return &parties->table[i];
        }
    }
    fail_msg("no party %u %s", pid, name);
    return NULL;
}

static void test_extents_of_one_block_in_the_middle_name_it(void **state)
{
    at = 0;
    add(KMEM_PAGES_FIRST, 1, 0, 0, "");
    add(KMEM_PAGES_FREE, 10, 0, 0, "");
    add(KMEM_PAGES_DIRECT, 2, 7, 1, "camera#3");
    add(KMEM_PAGES_IDLE, 5, 8, 1, "");
    add(KMEM_PAGES_FREE, 3, 0, 0, "");
    extents_end(&extents);

    assert_true(extents.free_bytes == 18 * PAGE);
    assert_true(extents.n_extents == 2);
    assert_true(extents.largest_bytes == 10 * PAGE);
    assert_int_equal(extents.n_splits, 1);
    assert_true(extents.splits[0].offset == 11 * PAGE);
    assert_true(extents.splits[0].before_bytes == 10 * PAGE);
    assert_true(extents.splits[0].after_bytes == 8 * PAGE);
    assert_true(split_joined_bytes(&extents.splits[0]) == 20 * PAGE);
    assert_true(extents.best.offset == 11 * PAGE);
    assert_true(party_of(&extents.processes, "worker", 7)->extent_bytes == 20 * PAGE);
    assert_true(party_of(&extents.reasons, "camera", 0)->extent_bytes == 20 * PAGE);
}

static void test_extents_of_a_full_or_an_empty_segment_have_no_split(void **state)
{
    at = 0;
    add(KMEM_PAGES_FIRST, 1, 0, 0, "");
    add(KMEM_PAGES_DIRECT, 9, 7, 1, "all");
    extents_end(&extents);

    assert_true(extents.n_extents == 0 && extents.largest_bytes == 0);
    assert_int_equal(extents.n_splits, 0);
    assert_true(split_joined_bytes(&extents.best) == 0);
}

static void test_extents_rank_what_joins_the_most_first(void **state)
{
    at = 0;
    add(KMEM_PAGES_FREE, 4, 0, 0, "");
    add(KMEM_PAGES_DIRECT, 1, 1, 1, "little");
    add(KMEM_PAGES_FREE, 4, 0, 0, "");
    add(KMEM_PAGES_DIRECT, 100, 2, 1, "large");
    add(KMEM_PAGES_FREE, 50, 0, 0, "");
    add(KMEM_PAGES_DIRECT, 1, 3, 1, "much");
    add(KMEM_PAGES_FREE, 40, 0, 0, "");
    extents_end(&extents);

    assert_int_equal(extents.n_splits, 3);
    assert_string_equal(extents.splits[0].reason, "much");
    assert_string_equal(extents.splits[1].reason, "little");
    assert_string_equal(extents.splits[2].reason, "large");
    assert_string_equal(extents.best.reason, "much");
}

/* A page: 0 is free, else of a process; above N_PROCESSES of several. */
static uint64_t naive_extent(const unsigned char *pages, size_t n_pages, unsigned gone)
{
    uint64_t best = 0;
    uint64_t length = 0;
    for (size_t i = 0; i < n_pages; i++) {
        length = pages[i] == 0 || pages[i] == gone ? length + 1 : 0;
        best = length > best ? length : best;
    }
    return best;
}

static void test_extents_if_a_process_went_are_what_a_naive_count_finds(void **state)
{
    struct seeded seeded = {2026};
    for (uint32_t round = 0; round < 300; round++) {
        unsigned char pages[N_MAX];
        const size_t n_pages = 1 + seeded_below(&seeded, N_MAX);
        extents_fini(&extents);
        assert_int_equal(extents_init(&extents), 0);
        at = 0;
        for (size_t i = 0; i < n_pages; i++) {
            const uint32_t kind = seeded_below(&seeded, 12);
            pages[i] = (unsigned char)(kind > N_PROCESSES + 1 ? 0 : kind);
            if (pages[i] == 0) {
                add(KMEM_PAGES_FREE, 1, 0, 0, "");
            } else {
                add(KMEM_PAGES_DIRECT, 1, pages[i], pages[i] <= N_PROCESSES, "x");
            }
        }
        extents_end(&extents);
        assert_true(extents.largest_bytes == naive_extent(pages, n_pages, 255) * PAGE);
        for (unsigned pid = 1; pid <= N_PROCESSES; pid++) {
            if (memchr(pages, (int)pid, n_pages)) {
                assert_true(party_of(&extents.processes, "worker", pid)->extent_bytes ==
                            naive_extent(pages, n_pages, pid) * PAGE);
            }
        }
    }
}

static void test_extents_of_many_processes_are_all_known(void **state)
{
    at = 0;
    for (uint32_t pid = 1; pid <= 5000; pid++) {
        add(KMEM_PAGES_LEASED, pid % 3 + 1, pid, 1, "");
    }
    extents_end(&extents);

    assert_int_equal(extents.processes.n, 5000);
    assert_int_equal(extents.reasons.n, 1);
    assert_true(party_of(&extents.processes, "worker", 4711)->num_bytes == (4711 % 3 + 1) * PAGE);
}

/* Of a daemon that is not kmemd. */
static void test_extents_between_more_than_there_can_be_are_ranked(void **state)
{
    const struct kmem_pages most = {.offset = PAGE,
                                    .num_bytes = (UINT64_C(1) << 63) + PAGE,
                                    .state = KMEM_PAGES_DIRECT,
                                    .command = "x",
                                    .reason = "y"};
    at = 0;
    add(KMEM_PAGES_FREE, 1, 0, 0, "");
    assert_int_equal(extents_add(&extents, &most), 0);
    add(KMEM_PAGES_FREE, 1, 0, 0, "");
    extents_end(&extents);

    assert_int_equal(extents.n_splits, 1);
    assert_true(split_joined_bytes(&extents.best) == 0);
}

#define EXTENTS_TEST(test) cmocka_unit_test_setup_teardown(test, extents_setup, extents_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EXTENTS_TEST(test_extents_of_one_block_in_the_middle_name_it),
        EXTENTS_TEST(test_extents_of_a_full_or_an_empty_segment_have_no_split),
        EXTENTS_TEST(test_extents_rank_what_joins_the_most_first),
        EXTENTS_TEST(test_extents_if_a_process_went_are_what_a_naive_count_finds),
        EXTENTS_TEST(test_extents_of_many_processes_are_all_known),
        EXTENTS_TEST(test_extents_between_more_than_there_can_be_are_ranked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * test_clear.c - each loop clears what is asked and nothing else; which of them is chosen, and used
 */
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>

#include "client/heap/clear.h"
#include "tests/unit/unit.h"

#define CPU_PAGE_BYTES ((size_t)4096)
#define ARENA_BYTES (CLEAR_WARM_MAX_BYTES + 2 * CPU_PAGE_BYTES)
#define FILL 0xa5

static unsigned char *arena; /* between two pages that can not be touched */

static int arena_setup(void **state)
{
    unsigned char *at =
        mmap(NULL, ARENA_BYTES + 2 * CPU_PAGE_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(at, MAP_FAILED);
    arena = at + CPU_PAGE_BYTES;
    return mprotect(arena, ARENA_BYTES, PROT_READ | PROT_WRITE);
}

static int arena_teardown(void **state)
{
    return munmap(arena - CPU_PAGE_BYTES, ARENA_BYTES + 2 * CPU_PAGE_BYTES);
}

static size_t up_to_128(size_t num_bytes)
{
    return (num_bytes + 127) / 128 * 128;
}

static bool is_all(const unsigned char *from, const unsigned char *to, unsigned char value)
{
    while (from < to && *from == value) {
        from++;
    }
    return from >= to;
}

/* A block in the midst of bytes that are another's: those up to `to` may be cleared, not more. */
static void expect_cleared(unsigned char *block, size_t num_bytes, size_t to)
{
    assert_true(is_all(block - 256, block, FILL));
    assert_true(is_all(block, block + num_bytes, 0));
    assert_true(is_all(block + to, block + to + 256, FILL));
}

/* ------------------------------------------------------------------------------- the loops ---- */

static void test_each_loop_clears_what_is_asked_and_no_line_behind_it(void **state)
{
    static const size_t sizes[] = {1,    63,   64,   65,   127,  128,  129,   2049,  2176,
                                   2177, 4095, 4096, 4097, 8191, 8192, 16385, 65536, 131071};
    for (enum clear_loop loop = CLEAR_MEMSET; loop < N_CLEAR_LOOPS; loop++) {
        const clear_function clear = clear_loop_function(loop);
        for (size_t i = 0; clear != NULL && i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            unsigned char *block = arena + 256 + 64 * (i % 2);
            memset(arena, FILL, ARENA_BYTES);
            assert_ptr_equal(clear(block, sizes[i]), block);
            expect_cleared(block, sizes[i], up_to_128(sizes[i]));
        }
    }
}

static void test_each_loop_ends_where_the_memory_does(void **state)
{
    for (enum clear_loop loop = CLEAR_MEMSET; loop < N_CLEAR_LOOPS; loop++) {
        const clear_function clear = clear_loop_function(loop);
        for (size_t num_bytes = 128; clear != NULL && num_bytes <= ARENA_BYTES; num_bytes *= 2) {
            unsigned char *block = arena + ARENA_BYTES - num_bytes;
            memset(arena, FILL, ARENA_BYTES);
            (void)clear(block, num_bytes); /* or SIGSEGV */
            assert_true(is_all(arena, block, FILL));
            assert_true(is_all(block, arena + ARENA_BYTES, 0));
        }
        if (clear != NULL) {
            (void)clear(arena, ARENA_BYTES);
            assert_true(is_all(arena, arena + ARENA_BYTES, 0));
        }
    }
}

static void test_memset_is_always_there(void **state)
{
    assert_non_null(clear_loop_function(CLEAR_MEMSET));
    assert_null(clear_loop_function(CLEAR_UNSAID));
    assert_null(clear_loop_function(N_CLEAR_LOOPS));
}

static void test_names_lead_back_to_their_loops(void **state)
{
    for (enum clear_loop loop = CLEAR_MEMSET; loop < N_CLEAR_LOOPS; loop++) {
        assert_int_equal(clear_loop_find(clear_loop_name(loop)), loop);
    }
    assert_int_equal(clear_loop_find("loop"), CLEAR_UNSAID);
    assert_int_equal(clear_loop_find(""), CLEAR_UNSAID);
    assert_string_equal(clear_loop_name(CLEAR_UNSAID), "memset");
    assert_string_equal(clear_loop_name(N_CLEAR_LOOPS), "memset");
}

/* ------------------------------------------------------------------------------- the choice --- */

/* All loops take as long in each band. */
static struct clear_times even(uint32_t cost)
{
    struct clear_times times;
    for (unsigned int band = 0; band < CLEAR_BANDS; band++) {
        for (enum clear_loop loop = CLEAR_UNSAID; loop < N_CLEAR_LOOPS; loop++) {
            times.cost[band][loop] = loop == CLEAR_UNSAID ? 0 : cost;
        }
    }
    return times;
}

static void expect_plan(const struct clear_times *times, const char *text)
{
    char planned[CLEAR_PLAN_TEXT_BYTES];
    assert_string_equal(clear_plan_format(clear_choose(times), planned, sizeof(planned)), text);
}

static void test_band_of_a_size(void **state)
{
    assert_int_equal(clear_band(CLEAR_BAND_MIN_BYTES), 0);
    for (unsigned int band = 0; band < CLEAR_BANDS; band++) {
        assert_int_equal(clear_band(CLEAR_BAND_BYTES(band)), band);
        assert_int_equal(clear_band(CLEAR_BAND_BYTES(band) / 2 + 1), band);
    }
    assert_int_equal(CLEAR_WARM_MAX_BYTES, 512 * 1024);
}

static void test_nothing_measured_is_memset(void **state)
{
    const struct clear_times times = {0};
    assert_int_equal(clear_choose(&times), clear_plan_of(CLEAR_MEMSET));
    expect_plan(&times, "memset up to 512.0 KiB");
}

static void test_equals_are_memset(void **state)
{
    const struct clear_times times = even(1000);
    expect_plan(&times, "memset up to 512.0 KiB");
}

static void test_less_than_a_16th_is_chance(void **state)
{
    struct clear_times times = even(1600);
    times.cost[0][CLEAR_LOOP64] = 1500; /* just a 16th */
    expect_plan(&times, "memset up to 512.0 KiB");
    times.cost[0][CLEAR_LOOP64] = 1499;
    /* A band goes on with that of the one before, as far as all of it surely is in a cache. */
    expect_plan(&times, "loop64 up to 16.0 KiB, memset up to 512.0 KiB");
}

static void test_loop_for_what_a_first_level_cache_may_not_hold_gains_a_16th_there(void **state)
{
    struct clear_times times = even(1600);
    times.cost[0][CLEAR_LOOP64] = 1000;
    times.cost[3][CLEAR_LOOP64] = 1500;
    expect_plan(&times, "loop64 up to 16.0 KiB, memset up to 512.0 KiB");
    times.cost[3][CLEAR_LOOP64] = 1499;
    expect_plan(&times, "loop64 up to 512.0 KiB");
}

static void test_fastest_of_several_wins(void **state)
{
    struct clear_times times = even(1600);
    times.cost[0][CLEAR_LOOP32] = 1400;
    times.cost[0][CLEAR_LOOP64] = 1390;
    times.cost[0][CLEAR_REP] = 1380;
    expect_plan(&times, "rep up to 16.0 KiB, memset up to 512.0 KiB");
}

static void test_each_band_has_its_own(void **state)
{
    struct clear_times times = even(1600);
    times.cost[0][CLEAR_LOOP64] = 1000;
    times.cost[1][CLEAR_LOOP64] = 1000;
    times.cost[2][CLEAR_LOOP64] = 1000;
    times.cost[3][CLEAR_REP] = 1000;
    times.cost[4][CLEAR_REP] = 1000;
    times.cost[5][CLEAR_LOOP32] = 1000;
    times.cost[7][CLEAR_MEMSET] = 1000;
    const uint32_t plan = clear_choose(&times);
    expect_plan(&times,
                "loop64 up to 16.0 KiB, rep up to 64.0 KiB, loop32 up to 256.0 KiB, memset up "
                "to 512.0 KiB");
    assert_int_equal(clear_plan_loop(plan, 0), CLEAR_LOOP64);
    assert_int_equal(clear_plan_loop(plan, 4), CLEAR_REP);
    assert_int_equal(clear_plan_loop(plan, 7), CLEAR_MEMSET);
    assert_int_equal(clear_plan_first_bytes(plan), 16 * 1024);
}

static void test_what_the_processor_does_not_have_is_not_chosen(void **state)
{
    struct clear_times times = even(1600);
    for (unsigned int band = 0; band < CLEAR_BANDS; band++) {
        times.cost[band][CLEAR_LOOP64] = 0; /* as is left of what can not be measured */
        times.cost[band][CLEAR_LOOP32] = 800;
    }
    expect_plan(&times, "loop32 up to 512.0 KiB");
    times = even(0);
    times.cost[2][CLEAR_REP] = 7;
    expect_plan(&times, "memset up to 8.0 KiB, rep up to 512.0 KiB");
}

static void test_costs_of_any_size_are_compared(void **state)
{
    struct clear_times times = even(UINT32_MAX);
    times.cost[0][CLEAR_LOOP32] = UINT32_MAX / 2;
    expect_plan(&times, "loop32 up to 16.0 KiB, memset up to 512.0 KiB");
}

static void test_each_plan_has_room_for_its_text(void **state)
{
    char text[CLEAR_PLAN_TEXT_BYTES];
    (void)clear_plan_format(UINT32_C(0x23232323), text, sizeof(text));
    assert_non_null(
        strstr(text, "memset up to 512.0 KiB") ? text : strstr(text, "loop32 up to 512.0 KiB"));
    assert_int_equal(clear_plan_first_bytes(0), 0);
}

static void test_plan_of_another_version_is_not_used(void **state)
{
    assert_false(clear_plan_is_usable(0));
    assert_false(clear_plan_is_usable(clear_plan_of(N_CLEAR_LOOPS)));
    assert_false(clear_plan_is_usable(UINT32_MAX));
    assert_true(clear_plan_is_usable(clear_plan_of(CLEAR_MEMSET)));
    assert_false(clear_plan_is_usable(clear_plan_of(CLEAR_MEMSET) & ~UINT32_C(0xf)));
}

/* ---------------------------------------------------------------------------------- the use --- */

/* How many bytes behind num_bytes kmem__clear() clears: 0 for memset and rep, more for a loop. */
static size_t cleared_behind(size_t num_bytes, bool is_warm)
{
    unsigned char *block = arena + 256;
    memset(arena, FILL, num_bytes + 1024);
    assert_ptr_equal(kmem__clear(block, num_bytes, is_warm), block);
    expect_cleared(block, num_bytes, up_to_128(num_bytes));
    size_t n = 0;
    while (block[num_bytes + n] == 0) {
        n++;
    }
    return n;
}

static void test_forced_loop_clears_warm_and_cold(void **state)
{
    for (enum clear_loop loop = CLEAR_MEMSET; loop < N_CLEAR_LOOPS; loop++) {
        const size_t behind = loop == CLEAR_LOOP32 || loop == CLEAR_LOOP64 ? 127 : 0;
        if (clear_loop_function(loop) == NULL) {
            continue;
        }
        kmem__clear_choose(loop, clear_plan_of(CLEAR_MEMSET));
        for (size_t num_bytes = 2177; num_bytes <= CLEAR_WARM_MAX_BYTES;
             num_bytes = num_bytes * 2 - 1) {
            assert_int_equal(cleared_behind(num_bytes, true), behind);
            assert_int_equal(cleared_behind(num_bytes, false), behind);
        }
        assert_int_equal(cleared_behind(CLEAR_WARM_MAX_BYTES + 1, true), behind);
    }
}

static void test_plan_is_for_what_is_warm(void **state)
{
    const bool has_32 = clear_loop_function(CLEAR_LOOP32) != NULL;
    const enum clear_loop loop = has_32 ? CLEAR_LOOP32 : CLEAR_MEMSET;
    /* The second band alone: blocks of more than 4 KiB, up to 8 KiB. */
    const uint32_t plan = (clear_plan_of(CLEAR_MEMSET) & ~UINT32_C(0xf0)) | (uint32_t)loop << 4;
    kmem__clear_choose(CLEAR_UNSAID, plan);
    assert_int_equal(cleared_behind(4097, true), has_32 ? 127 : 0);
    assert_int_equal(cleared_behind(8065, true), has_32 ? 127 : 0);
    assert_int_equal(cleared_behind(4097, false), 0);
    assert_int_equal(cleared_behind(3969, true), 0);
    assert_int_equal(cleared_behind(8193, true), 0);
    assert_int_equal(cleared_behind(CLEAR_WARM_MAX_BYTES + 1, true), 0);
}

static void test_no_plan_is_a_loop_of_32_bytes_if_there_is_one(void **state)
{
    const bool has_32 = clear_loop_function(CLEAR_LOOP32) != NULL;
    kmem__clear_choose(CLEAR_UNSAID, 0);
    assert_int_equal(cleared_behind(4097, true), has_32 ? 127 : 0);
    kmem__clear_choose(CLEAR_UNSAID, clear_plan_of(N_CLEAR_LOOPS)); /* of another version */
    assert_int_equal(cleared_behind(4097, true), has_32 ? 127 : 0);
    assert_int_equal(cleared_behind(4097, false), 0);
}

/* ---------------------------------------------------------------------------------- by turns -- */

static sigjmp_buf stopped;

static void on_fault(int number)
{
    (void)number;
    siglongjmp(stopped, 1);
}

/* Clears a warm block until it comes to the page at `wall`. Return: whether it did come there. */
static bool clears_up_to(unsigned char *block, size_t num_bytes, unsigned char *wall)
{
    const struct sigaction catching = {.sa_handler = on_fault};
    struct sigaction before;
    volatile bool came = false;
    assert_int_equal(sigaction(SIGSEGV, &catching, &before), 0);
    assert_int_equal(mprotect(wall, CPU_PAGE_BYTES, PROT_NONE), 0);
    if (sigsetjmp(stopped, 1) == 0) {
        (void)kmem__clear(block, num_bytes, true);
    } else {
        came = true;
    }
    assert_int_equal(mprotect(wall, CPU_PAGE_BYTES, PROT_READ | PROT_WRITE), 0);
    assert_int_equal(sigaction(SIGSEGV, &before, NULL), 0);
    return came;
}

static void test_large_block_is_cleared_from_front_and_from_end_by_turns(void **state)
{
    const size_t num_bytes = 16 * CPU_PAGE_BYTES;
    bool was_front = false;
    kmem__clear_choose(CLEAR_UNSAID, clear_plan_of(CLEAR_MEMSET));
    for (uint32_t turn = 0; turn < 4; turn++) {
        memset(arena, FILL, num_bytes);
        assert_true(clears_up_to(arena, num_bytes, arena + num_bytes / 2));
        const bool is_front = arena[num_bytes / 4] == 0;
        assert_int_equal(arena[num_bytes / 4 * 3], is_front ? FILL : 0);
        assert_true(turn == 0 || is_front != was_front);
        was_front = is_front;
    }
}

static void test_turns_clear_what_is_asked(void **state)
{
    static const size_t sizes[] = {32769, 36000, 49152, 65535, 65536, 131072, 262145, 524288};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        for (uint32_t turn = 0; turn < 3; turn++) {
            (void)cleared_behind(sizes[i], true);
        }
    }
}

static void test_cold_and_small_blocks_are_cleared_from_the_front(void **state)
{
    unsigned char *end = arena + 8 * CPU_PAGE_BYTES;
    for (uint32_t turn = 0; turn < 4; turn++) {
        memset(arena, FILL, 8 * CPU_PAGE_BYTES);
        assert_true(clears_up_to(arena, 8 * CPU_PAGE_BYTES, end - CPU_PAGE_BYTES));
        assert_true(is_all(arena, end - 2 * CPU_PAGE_BYTES, 0));
    }
    assert_int_equal(cleared_behind(CLEAR_WARM_MAX_BYTES, false), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_loop_clears_what_is_asked_and_no_line_behind_it),
        cmocka_unit_test(test_each_loop_ends_where_the_memory_does),
        cmocka_unit_test(test_memset_is_always_there),
        cmocka_unit_test(test_names_lead_back_to_their_loops),
        cmocka_unit_test(test_band_of_a_size),
        cmocka_unit_test(test_nothing_measured_is_memset),
        cmocka_unit_test(test_equals_are_memset),
        cmocka_unit_test(test_less_than_a_16th_is_chance),
        cmocka_unit_test(test_loop_for_what_a_first_level_cache_may_not_hold_gains_a_16th_there),
        cmocka_unit_test(test_fastest_of_several_wins),
        cmocka_unit_test(test_each_band_has_its_own),
        cmocka_unit_test(test_what_the_processor_does_not_have_is_not_chosen),
        cmocka_unit_test(test_costs_of_any_size_are_compared),
        cmocka_unit_test(test_each_plan_has_room_for_its_text),
        cmocka_unit_test(test_plan_of_another_version_is_not_used),
        cmocka_unit_test(test_forced_loop_clears_warm_and_cold),
        cmocka_unit_test(test_plan_is_for_what_is_warm),
        cmocka_unit_test(test_no_plan_is_a_loop_of_32_bytes_if_there_is_one),
        cmocka_unit_test(test_large_block_is_cleared_from_front_and_from_end_by_turns),
        cmocka_unit_test(test_turns_clear_what_is_asked),
        cmocka_unit_test(test_cold_and_small_blocks_are_cleared_from_the_front),
    };
    return cmocka_run_group_tests(tests, arena_setup, arena_teardown);
}

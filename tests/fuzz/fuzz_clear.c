/* SPDX-License-Identifier: MIT */
/*
 * fuzz_clear.c - any word as the plan that a client finds in the notice file, and any measurement
 *
 * Whatever the plan says, a block of any size that has a loop is cleared, and nothing behind the
 * next multiple of 128 bytes; it can be put into words. What follows from any measurement of loops
 * that the processor has is a plan that it can use.
 */
#include <string.h>

#include "client/heap/clear.h"
#include "proto/clear.h"
#include "tests/fuzz/fuzz.h"

/* What a loop may write behind a block. */
#define UNIT_BYTES ((size_t)128)
/* 1 MiB: twice what is ever warm. */
#define BLOCK_MAX_BYTES (2 * CLEAR_WARM_MAX_BYTES)

static _Alignas(UNIT_BYTES) unsigned char block[BLOCK_MAX_BYTES + 2 * UNIT_BYTES];

static void check_words(uint32_t plan)
{
    char text[CLEAR_PLAN_TEXT_BYTES];
    memset(text, 'x', sizeof(text));
    EXPECT(clear_plan_format(plan, text, sizeof(text)) == text);
    EXPECT(memchr(text, '\0', sizeof(text)) != NULL);
    EXPECT(strlen(text) < sizeof(text) - 1); /* nothing is cut */
    EXPECT(fuzz_is_safe(text, strlen(text)));
    EXPECT(clear_plan_first_bytes(plan) <= CLEAR_WARM_MAX_BYTES);
}

/* The last bytes of a block, and those behind it, are enough to see where a loop has ended. */
static void check_cleared(size_t num_bytes, bool is_warm)
{
    const size_t end = (num_bytes + UNIT_BYTES - 1) / UNIT_BYTES * UNIT_BYTES;
    const size_t n_looked = 4 * UNIT_BYTES;
    memset(block, 0xa5, n_looked);
    memset(block + num_bytes - n_looked, 0xa5, n_looked + UNIT_BYTES);
    EXPECT(kmem__clear(block, num_bytes, is_warm) == block);
    for (size_t i = 0; i < n_looked; i++) {
        EXPECT(block[i] == 0);
        EXPECT(block[num_bytes - 1 - i] == 0);
    }
    for (size_t at = end; at < num_bytes + UNIT_BYTES; at++) {
        EXPECT(block[at] == 0xa5);
    }
}

static void choose_times(struct choices *choices, struct clear_times *times)
{
    for (unsigned int band = 0; band < CLEAR_BANDS; band++) {
        for (enum clear_loop loop = CLEAR_MEMSET; loop < N_CLEAR_LOOPS; loop++) {
            const uint32_t cost = (uint32_t)choose_number(choices);
            times->cost[band][loop] = clear_loop_function(loop) ? cost : 0;
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    struct choices choices = choices_of(bytes, n_bytes);
    struct clear_times times = {.cost = {{0}}};
    uint32_t plan = (uint32_t)choose_raw(&choices, 4);
    if (choose_whether(&choices)) {
        choose_times(&choices, &times);
        plan = clear_choose(&times);
        EXPECT(clear_plan_is_usable(plan));
    }
    check_words(plan);
    /* locate.c refuses one that the processor does not have. */
    const enum clear_loop forced = (enum clear_loop)choose_below(&choices, N_CLEAR_LOOPS);
    kmem__clear_choose(clear_loop_function(forced) ? forced : CLEAR_UNSAID, plan);
    for (uint32_t n = 0; n < 4; n++) {
        const bool is_warm = choose_whether(&choices);
        const size_t most_bytes = BLOCK_MAX_BYTES - CLEAR_LOOP_MIN_BYTES + 1;
        check_cleared(CLEAR_LOOP_MIN_BYTES + choose_number(&choices) % most_bytes, is_warm);
    }
    return 0;
}

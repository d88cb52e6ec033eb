/* SPDX-License-Identifier: MIT */
/*
 * test_refused.c - refusals in a segment that several processes use: what they say, and a storm
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <kmem/kmem.h>

#include "proto/text.h"
#include "tests/system/client.h"
#include "tests/system/daemon.h"
#include "tests/system/harness.h"
#include "tests/system/usage.h"

#define MIB ((size_t)1024 * 1024)
#define N_SMALL 2000
#define SMALL_BYTES 1000

static void *pick_up(size_t num_bytes, const char *reason)
{
    void *block = kmem_try_allocate(num_bytes, reason);
    expect_call(block != NULL);
    return block;
}

/* Holds 3 MiB directly, 100 small blocks by lease, and has released 1,900 of these. */
static void hold_some(const void *argument)
{
    static void *blocks[N_SMALL];
    (void)argument;
    (void)pick_up(3 * MIB, "refused/direct");
    for (size_t i = 0; i < N_SMALL; i++) {
        blocks[i] = pick_up(SMALL_BYTES, "refused/leased");
    }
    for (size_t i = 100; i < N_SMALL; i++) {
        expect_equal(kmem_try_release(&blocks[i]), 0);
    }
    client_pause();
}

/* What stands in the sentence: what is free and the largest extent are what the daemon has. */
static void expect_says_what_there_is(const char *sentence)
{
    char pattern[256];
    char free_text[TEXT_BYTES_MAX];
    char extent_text[TEXT_BYTES_MAX];
    const struct usage usage = usage_take();
    (void)snprintf(
        pattern, sizeof(pattern), ": %s of 16.0 MiB free, largest extent %s[,;]",
        text_format_bytes(usage.free_bytes - usage.idle_bytes, free_text, sizeof(free_text)),
        text_format_bytes(usage.largest_extent_bytes, extent_text, sizeof(extent_text)));
    harness_note("\"%s\"", sentence);
    expect_match(sentence, pattern);
}

static bool is_refused_by_reason(void)
{
    expect_true(kmem_try_allocate(14 * MIB, "refused/too much") == NULL);
    return harness_matches(kmem_last_error(), "largest holders.*\"refused/direct\"");
}

static void test_figures_of_a_refusal_are_those_of_the_moment(void)
{
    daemon_start("--scrub=off", NULL); /* what is being cleared is not free for a moment */
    struct client other = client_begin(hold_some, NULL);

    expect_true(kmem_try_allocate(14 * MIB, "refused/too much") == NULL);
    expect_equal(errno, ENOMEM);
    expect_says_what_there_is(kmem_last_error());
    expect_match(kmem_last_error(),
                 "for \"refused/too much\": no room for 14.0 MiB in segment \"test\"");
    /* The holders by reason are known when a look is complete, which no refusal waits for. */
    expect_soon(is_refused_by_reason(), 5000);
    const char *sentence = kmem_last_error();
    harness_note("\"%s\"", sentence);
    expect_match(sentence,
                 "largest holders( as of .* ago)?: \"refused/direct\" 3.0 MiB in 1 block, "
                 "\"refused/leased\" 97.7 KiB in 100 blocks; ");
    expect_match(sentence,
                 "; release some of it, or let the segment grow, up to 256.0 MiB: kmemctl resize$");
    /* What was released is back. */
    expect_call(kmem_try_allocate(usage_take().largest_hole_bytes, "refused/the rest") != NULL);
    client_finish(&other);
    expect_equal(kmem_close(), 0);
    daemon_stop_balanced();
}

static void test_scattered_memory_is_told_from_memory_in_use(void)
{
    void *blocks[15];
    daemon_start("--scrub=off", NULL); /* what is being cleared is not free for a moment */
    for (size_t i = 0; i < 15; i++) {
        blocks[i] = pick_up(MIB, "refused/comb");
    }
    for (size_t i = 0; i < 15; i += 2) {
        expect_equal(kmem_try_release(&blocks[i]), 0);
    }

    expect_true(kmem_try_allocate(4 * MIB, "refused/in one piece") == NULL);

    const char *sentence = kmem_last_error();
    expect_says_what_there_is(sentence);
    expect_match(sentence, "; enough is free, but not in one piece: ask for [0-9.]* [KM]iB at "
                           "most, release what lies between, or let the segment grow, up to 256.0 "
                           "MiB: kmemctl resize$");
    expect_equal(kmem_close(), 0);
    daemon_stop_balanced();
}

static void test_segment_that_is_too_small_is_told(void)
{
    daemon_start(NULL, NULL);

    expect_true(kmem_try_allocate(16 * MIB, "refused/all of it") == NULL);

    expect_equal(errno, ENOMEM);
    harness_note("\"%s\"", kmem_last_error());
    expect_match(kmem_last_error(), "; no more than 15.9 MiB can be had in a segment of this size: "
                                    "let the segment grow, up to 256.0 MiB: kmemctl resize$");
    expect_true(!harness_matches(kmem_last_error(), "release"));
    expect_equal(kmem_close(), 0);
    daemon_stop();
}

/* ----------------------------------------------------------------------------------- storm ---- */

#define N_CACHES 3
#define CACHE_BLOCKS 512
#define N_ROUNDS 3000

/* Lives by being refused: refused, evict, try again. Says how often it was. */
static void be_a_cache(const void *argument)
{
    static void *blocks[CACHE_BLOCKS];
    const unsigned int number = *(const unsigned int *)argument;
    unsigned int random = number + 1;
    uint64_t n_refused = 0;
    for (uint64_t round = 0; round < harness_scaled(N_ROUNDS); round++) {
        random = random * 1664525 + 1013904223;
        const size_t num_bytes = (size_t)1 << (4 + (random >> 16) % 15);
        const size_t at = (random >> 8) % CACHE_BLOCKS;
        if (blocks[at] != NULL) {
            expect_equal(kmem_try_release(&blocks[at]), 0);
        }
        blocks[at] = kmem_try_allocate(num_bytes, "refused/cache");
        for (size_t i = 0; blocks[at] == NULL && i < CACHE_BLOCKS; i++) {
            expect_equal(errno, ENOMEM);
            expect_match(kmem_last_error(), "no room for .* free, largest extent ");
            n_refused++;
            const size_t victim = (at + 1 + i) % CACHE_BLOCKS;
            if (blocks[victim] != NULL) {
                expect_equal(kmem_try_release(&blocks[victim]), 0);
            }
            blocks[at] = kmem_try_allocate(num_bytes, "refused/cache");
        }
    }
    client_say(n_refused);
}

/* Looks at all blocks again and again, until it is told to end. */
static void look_on(const void *argument)
{
    (void)argument;
    client_say(1);
    for (uint64_t i = 0; i < harness_scaled(300); i++) {
        (void)ledger_rows(KMEM__GROUP_BY__GROUP_BY_REASON, NULL, 0);
    }
}

static void test_caches_that_evict_and_try_again_go_on_beside_looks(void)
{
    struct client caches[N_CACHES];
    daemon_start("--size", "4MiB", NULL);
    struct client onlooker = client_begin(look_on, NULL);
    for (unsigned int i = 0; i < N_CACHES; i++) {
        caches[i] = client_start(be_a_cache, &i);
    }
    uint64_t n_refused = 0;
    for (unsigned int i = 0; i < N_CACHES; i++) {
        n_refused += client_hear(&caches[i]);
        client_end(&caches[i]);
    }
    client_end(&onlooker);
    harness_note("%llu refusals", (unsigned long long)n_refused);
    expect_true(n_refused > 0);
    daemon_stop_balanced();
}

static const struct system_test tests[] = {
    SYSTEM_TEST(test_figures_of_a_refusal_are_those_of_the_moment, 20),
    SYSTEM_TEST(test_scattered_memory_is_told_from_memory_in_use, 20),
    SYSTEM_TEST(test_segment_that_is_too_small_is_told, 20),
    SYSTEM_TEST(test_caches_that_evict_and_try_again_go_on_beside_looks, 120),
};

int main(int argc, char **argv)
{
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}

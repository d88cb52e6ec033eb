/* SPDX-License-Identifier: MIT */
/*
 * test_full.c - a segment without room: who is told what, and who goes on
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include <kmem/kmem.h>

#include "tests/system/client.h"
#include "tests/system/daemon.h"
#include "tests/system/harness.h"
#include "tests/system/usage.h"
#include "tests/wire/wire.h"

#define N_HOGS 6
#define MIB ((size_t)1024 * 1024)

/* Holds (number + 1) x 512 KiB: together 10.5 MiB of 16. */
static void hog(const void *argument)
{
    const unsigned int number = *(const unsigned int *)argument;
    char reason[32];
    (void)snprintf(reason, sizeof(reason), "hog/number %u", number);
    expect_call(kmem_try_allocate((number + 1) * MIB / 2, reason) != NULL);
    client_pause();
}

static void ask_for_too_much(const void *argument)
{
    (void)argument;
    expect_true(kmem_try_allocate(8 * MIB, "the last straw") == NULL);
    expect_equal(errno, ENOMEM);
    const char *const sentence = kmem_last_error();
    harness_note("\"%s\"", sentence);
    expect_match(sentence, "^kmem_try_allocate: ");
    expect_match(sentence, "8(\\.0)? MiB");               /* what was asked */
    expect_match(sentence, "hog/number 5.*3(\\.0)? MiB"); /* the largest holders, in order */
    expect_match(sentence, "number 5.*number 4.*number 3.*number 2.*number 1");
    expect_true(!harness_matches(sentence, "number 0")); /* five are enough */
    void *small = kmem_try_allocate(44, "small things still fit");
    expect_call(small != NULL);
    expect_equal(kmem_try_release(&small), 0);
    client_pause();
    expect_call(kmem_try_allocate(8 * MIB, "now there is room") != NULL);
}

static void test_full_segment_names_the_largest_holders_and_goes_on(void)
{
    struct client hogs[N_HOGS];
    daemon_start(NULL, NULL);
    for (unsigned int number = 0; number < N_HOGS; number++) {
        hogs[number] = client_begin(hog, &number);
    }
    struct client asker = client_begin(ask_for_too_much, NULL);
    expect_equal(usage_take().refusals, 1);
    expect_equal(usage_take().clients, N_HOGS + 1);
    for (unsigned int number = 0; number < N_HOGS; number++) {
        client_finish(&hogs[number]);
    }
    expect_soon(usage_take().blocks == 0, 2000);
    client_finish(&asker);
    daemon_stop_balanced();
}

/* Return: how many blocks of a size fit. They are all released again. */
static size_t fill_up(size_t num_bytes)
{
    size_t n_blocks = 0;
    const size_t capacity = 16 * MIB / (num_bytes < 16 ? 16 : num_bytes) + 1;
    void **const blocks = calloc(capacity, sizeof(void *));
    expect_true(blocks != NULL);
    while ((blocks[n_blocks] = kmem_try_allocate(num_bytes, "fill")) != NULL) {
        n_blocks++;
        expect_true(n_blocks < capacity);
    }
    expect_equal(errno, ENOMEM);
    for (size_t i = n_blocks; i > 0; i--) {
        expect_equal(kmem_try_release(&blocks[i - 1]), 0);
    }
    free(blocks);
    return n_blocks;
}

/* Whether as much fits as ever. Not exactly: when the client is told that memory is short depends
   on the moment. */
static bool fits_again(size_t num_bytes, size_t *n_most)
{
    const size_t n_blocks = fill_up(num_bytes);
    const bool is_as_before =
        n_blocks >= *n_most - *n_most / 100 && n_blocks <= *n_most + *n_most / 100;
    *n_most = n_blocks > *n_most ? n_blocks : *n_most;
    return is_as_before;
}

static void fill_up_twice(const void *argument)
{
    const size_t num_bytes = *(const size_t *)argument;
    size_t n_most = fill_up(num_bytes);
    /* Soon: a piece of what has come back is not free while it is cleared, and large blocks are
       placed around it. */
    expect_soon(fits_again(num_bytes, &n_most), 5000);
    harness_note("%zu blocks of %zu bytes", n_most, num_bytes);
    /* Rounding is at most a quarter; a slab wastes less than a sixteenth of itself at its end. */
    expect_at_least(n_most * num_bytes, 16 * MIB / 4 * 3 / 16 * 15);
}

static void test_as_much_fits_after_a_full_segment_as_before(void)
{
    const size_t sizes[] = {500, 3000, 16384, 33000, 65536, 1048576};
    daemon_start(NULL, NULL);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        client_run(fill_up_twice, &sizes[i]);
        expect_balanced();
    }
    daemon_stop();
}

static void make_holes(const void *argument)
{
    (void)argument;
    static void *blocks[256];
    size_t n_blocks = 0;
    while ((blocks[n_blocks] = kmem_try_allocate(65536, "comb")) != NULL) {
        n_blocks++;
        expect_true(n_blocks < 256);
    }
    for (size_t i = 0; i < n_blocks; i += 2) {
        expect_equal(kmem_try_release(&blocks[i]), 0);
    }
    expect_true(kmem_try_allocate(131072, "wider than any hole") == NULL);
    expect_equal(errno, ENOMEM);
    harness_note("\"%s\"", kmem_last_error());
    expect_match(kmem_last_error(),
                 "largest extent.*(64(\\.0)?|80(\\.0)?|96(\\.0)?|112(\\.0)?) KiB");
    for (size_t i = 0; i < n_blocks; i += 2) {
        /* One of the holes may be in hand to be cleared: a request waits half a second for it. */
        expect_soon((blocks[i] = kmem_try_allocate(65536, "comb")) != NULL, 5000);
    }
}

static void test_fragmented_segment_names_the_largest_hole(void)
{
    daemon_start(NULL, NULL);
    client_run(make_holes, NULL);
    daemon_stop_balanced();
}

#define PIECE_BYTES 131072 /* whole pages: what comes back is not kept for blocks of its size */

/* Fills the segment; releases one piece whenever it is told to. */
static void fill_and_release_one_by_one(const void *argument)
{
    static void *pieces[129];
    size_t n_pieces = 0;
    (void)argument;
    while ((pieces[n_pieces] = kmem_try_allocate(PIECE_BYTES, "full")) != NULL) {
        n_pieces++;
        expect_true(n_pieces < 129);
    }
    expect_equal(errno, ENOMEM);
    client_say(n_pieces);
    while (client_await() != 0) {
        expect_equal(kmem_try_release(&pieces[--n_pieces]), 0);
        client_say(1);
    }
}

/* Nobody waits for room: a refusal comes at once, and whoever asks again is served. */
static void ask_whenever_told(const void *argument)
{
    (void)argument;
    client_say(1);
    while (client_await() != 0) {
        const bool is_served = kmem_try_allocate(PIECE_BYTES, "waiter") != NULL;
        expect_true(is_served || errno == ENOMEM); /* had it waited, it would be ETIMEDOUT */
        client_say(is_served);
    }
}

static uint64_t tell_and_hear(const struct client *client)
{
    client_tell(client, 1);
    return client_hear(client);
}

static void test_one_release_in_a_full_segment_serves_the_next_who_asks(void)
{
    daemon_start(NULL, NULL);
    struct client filler = client_start(fill_and_release_one_by_one, NULL);
    struct client waiter = client_start(ask_whenever_told, NULL);
    expect_at_least(client_hear(&filler), 100);
    client_hear(&waiter);
    for (unsigned int i = 0; i < 50; i++) {
        expect_equal(tell_and_hear(&waiter), false);
        expect_equal(tell_and_hear(&filler), 1);
        /* Soon: a request waits half a second for what is being cleared. */
        expect_soon(tell_and_hear(&waiter), 5000);
    }
    expect_equal(tell_and_hear(&waiter), false);
    client_tell(&waiter, 0);
    client_tell(&filler, 0);
    client_end(&waiter);
    client_end(&filler);
    daemon_stop_balanced();
}

static void die_of_no_memory(const void *argument)
{
    (void)argument;
    (void)kmem_allocate(100 << 20, "more than there is");
    fail("kmem_allocate returned");
}

static void test_original_call_ends_the_asker_and_nobody_else(void)
{
    const unsigned int number = 0;
    daemon_start(NULL, NULL);
    struct client other = client_begin(hog, &number);
    struct client asker = client_start(die_of_no_memory, NULL);
    client_end_by(&asker, SIGABRT);
    expect_soon(usage_take().clients == 1, 2000);
    expect_usage(MIB / 2, 1);
    client_finish(&other);
    daemon_stop_balanced();
}

static const struct system_test tests[] = {
    SYSTEM_TEST(test_full_segment_names_the_largest_holders_and_goes_on, 20),
    SYSTEM_TEST(test_one_release_in_a_full_segment_serves_the_next_who_asks, 20),
    SYSTEM_TEST(test_original_call_ends_the_asker_and_nobody_else, 10),
    SYSTEM_TEST(test_fragmented_segment_names_the_largest_hole, 20),
    SYSTEM_TEST(test_as_much_fits_after_a_full_segment_as_before, 60),
};

int main(int argc, char **argv)
{
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}

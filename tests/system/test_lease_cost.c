/* SPDX-License-Identifier: MIT */
/*
 * test_lease_cost.c - what leases cost beside the bytes that were asked for
 *
 * Three figures are promised: for blocks of 1 KiB and more the ledger takes at most 2 % of the
 * memory that they lie in; inside a block at most 25 % is waste; over all sizes from 1 KiB to 1 MiB
 * it is 12.5 % on average. And a quota is for blocks, not for slabs with hardly one in them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <kmem/kmem.h>

#include "tests/system/client.h"
#include "tests/system/ctl.h"
#include "tests/system/daemon.h"
#include "tests/system/harness.h"
#include "tests/system/usage.h"

#define KIB ((size_t)1024)
#define MIB ((size_t)1024 * 1024)

/* ----------------------------------------------------------------------------- the ledger ---- */

static void fill_64_mib(const void *argument)
{
    const size_t num_bytes = *(const size_t *)argument;
    const size_t n_blocks = 64 * MIB / num_bytes;
    for (size_t i = 0; i < n_blocks; i++) {
        expect_call(kmem_try_allocate(num_bytes, "filled") != NULL);
    }
    client_say(n_blocks);
    client_await();
}

static void test_ledger_takes_at_most_2_percent_from_1_kib_on(void)
{
    const size_t sizes[] = {1024, 1025, 2000, 4096, 10000, 65536, 65537, 1048576};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        daemon_start("--size", "256MiB", NULL); /* memory is not short: all is leased */
        struct client client = client_start(fill_64_mib, &sizes[i]);
        const uint64_t asked_bytes = client_hear(&client) * sizes[i];
        const uint64_t ledger_bytes = daemon_ledger_bytes();
        const struct usage usage = usage_take();
        const uint64_t num_bytes = usage.leased_bytes - usage.unused_bytes;
        expect_at_least(num_bytes, asked_bytes / 10 * 9);
        harness_note("blocks of %zu bytes: the ledger takes %.2f %% of their pages, %.2f %% of "
                     "what was asked for",
                     sizes[i], (double)ledger_bytes * 100 / (double)num_bytes,
                     (double)ledger_bytes * 100 / (double)asked_bytes);
        expect_at_least(ledger_bytes, 4096);
        expect_at_most(ledger_bytes, num_bytes / 50);
        client_kill(&client);
        expect_soon(daemon_ledger_bytes() == 0, 2000);
        daemon_stop();
    }
}

/* ----------------------------------------------------------------------------- the blocks ---- */

static int compare_offsets(const void *a, const void *b)
{
    const uint64_t left = *(const uint64_t *)a;
    const uint64_t right = *(const uint64_t *)b;
    return left < right ? -1 : left > right;
}

/* What a block of the size takes: how close the nearest two of some come. */
static uint64_t bytes_taken_by(size_t num_bytes)
{
    enum { N_BLOCKS = 40 };
    void *blocks[N_BLOCKS];
    uint64_t offsets[N_BLOCKS];
    uint64_t nearest = UINT64_MAX;
    for (size_t i = 0; i < N_BLOCKS; i++) {
        blocks[i] = kmem_try_allocate(num_bytes, "one of some");
        expect_call(blocks[i] != NULL);
        offsets[i] = kmem_offset_of(blocks[i]);
    }
    qsort(offsets, N_BLOCKS, sizeof(offsets[0]), compare_offsets);
    for (size_t i = 1; i < N_BLOCKS; i++) {
        const uint64_t apart = offsets[i] - offsets[i - 1];
        nearest = apart < nearest ? apart : nearest;
    }
    for (size_t i = 0; i < N_BLOCKS; i++) {
        expect_equal(kmem_try_release(&blocks[i]), 0);
    }
    return nearest;
}

/* The worst is one byte more than fits a class, so each doubling is walked in steps of a 16th. */
static void measure_waste(const void *argument)
{
    (void)argument;
    double sum_percent = 0;
    double most_percent = 0;
    unsigned int n_sizes = 0;
    for (size_t from = KIB; from < MIB; from *= 2) {
        for (size_t step = 0; step < 16; step++, n_sizes++) {
            const size_t num_bytes = from + from * step / 16 + 1;
            const uint64_t taken = bytes_taken_by(num_bytes);
            const double percent = (double)(taken - num_bytes) * 100 / (double)num_bytes;
            expect_at_least(taken, num_bytes);
            expect_at_most((taken - num_bytes) * 4, num_bytes);
            sum_percent += percent;
            most_percent = percent > most_percent ? percent : most_percent;
        }
    }
    harness_note("%u sizes from 1 KiB to 1 MiB: waste %.1f %% on average, at most %.1f %%", n_sizes,
                 sum_percent / n_sizes, most_percent);
    expect_at_most((long long)(sum_percent * 10), 125 * (long long)n_sizes);
}

static void test_waste_in_blocks_is_at_most_25_percent_and_12_5_on_average(void)
{
    daemon_start("--size", "256MiB", NULL);
    client_run(measure_waste, NULL);
    daemon_stop_balanced();
}

/* ---------------------------------------------------------------------------- the figures ---- */

static void hold_a_mixture(const void *argument)
{
    (void)argument;
    for (size_t i = 0; i < 2000; i++) {
        void *block = kmem_try_allocate(1 + i * 37 % 100000, "mixture");
        expect_call(block != NULL);
        if (i % 3 == 0) {
            expect_equal(kmem_try_release(&block), 0);
        }
    }
    client_pause();
}

static unsigned long long figure(const char *json, const char *name)
{
    char key[64];
    (void)snprintf(key, sizeof(key), "\"%s\": ", name);
    const char *const at = strstr(json, key);
    if (at == NULL) {
        fail("no %s in %s", name, json);
    }
    return strtoull(at + strlen(key), NULL, 10);
}

static void test_used_overhead_and_free_are_the_segment(void)
{
    daemon_start("--size", "256MiB", NULL);
    struct client client = client_begin(hold_a_mixture, NULL);
    const char *const json = ctl("usage", "--json")->out;
    const unsigned long long used_bytes = figure(json, "used_bytes");
    const unsigned long long overhead_bytes = figure(json, "overhead_bytes");
    const unsigned long long free_bytes = figure(json, "free_bytes");
    const unsigned long long unused_bytes = figure(json, "unused_bytes");
    const unsigned long long leased_bytes = figure(json, "leased_bytes");
    expect_equal(used_bytes + overhead_bytes + free_bytes, 256 * MIB);
    expect_equal(used_bytes, usage_take().used_bytes);
    expect_at_least(leased_bytes, used_bytes / 2);
    expect_at_most(unused_bytes, leased_bytes);
    expect_at_most(unused_bytes, free_bytes);
    expect_ledger_sound();
    client_finish(&client);
    daemon_stop_balanced();
}

/* ------------------------------------------------------------------------------ the quota ---- */

/* Three blocks of each of forty sizes, from 16 bytes to 3 KiB: 98 KiB. */
static void hold_forty_sizes(const void *argument)
{
    (void)argument;
    size_t num_bytes = 16;
    for (unsigned i = 0; i < 40; i++) {
        for (unsigned n = 0; n < 3; n++) {
            if (kmem_try_allocate(num_bytes, "sizes") == NULL) {
                fail("%zu bytes, of the size %u of 40: %s", num_bytes, i + 1, kmem_last_error());
            }
        }
        num_bytes += (num_bytes / 11 + 15) / 16 * 16;
    }
    client_pause();
}

static void test_forty_sizes_fit_into_a_quota_of_256_kib(void)
{
    daemon_start("--size", "64MiB", "--quota", "256KiB", NULL);
    struct client client = client_begin(hold_forty_sizes, NULL);
    const struct usage usage = usage_take();
    expect_equal(usage.blocks, 120);
    expect_at_least(usage.leased_bytes, 32 * KIB); /* as long as there was plenty */
    expect_at_most(usage.leased_bytes, 192 * KIB);
    client_finish(&client);
    daemon_stop_balanced();
}

static const struct system_test tests[] = {
    SYSTEM_TEST(test_used_overhead_and_free_are_the_segment, 10),
    SYSTEM_TEST(test_forty_sizes_fit_into_a_quota_of_256_kib, 10),
    SYSTEM_TEST(test_ledger_takes_at_most_2_percent_from_1_kib_on, 30),
    SYSTEM_TEST(test_waste_in_blocks_is_at_most_25_percent_and_12_5_on_average, 30),
};

int main(int argc, char **argv)
{
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}

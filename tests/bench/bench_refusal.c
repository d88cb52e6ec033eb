/* SPDX-License-Identifier: MIT */
/*
 * bench_refusal.c - what a refusal costs above a bare round trip, among 0 to 10,000,000 live blocks
 *
 * "Refused, evict, try again" is how a cache lives. A round trip is the size of a direct block,
 * asked for: the server looks one entry up and changes nothing. Both are measured in turns. In the
 * second row of each pair a block is released before every refusal, so that there may be idle
 * slabs, and taken again after it. Before that, all that is free lies in extents of one length, and
 * a page more is refused.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <kmem/kmem.h>

#include "proto/limits.h"
#include "tests/bench/bench.h"

#define N_SAMPLES 20000
#define N_BLOCKS_MAX 10000000
#define BLOCK_BYTES 16
#define SEGMENT "1GiB"
#define TOO_MUCH ((size_t)1000 << 20)
#define BAR 2.0
#define EXTENT_PAGES 32

static void **blocks;
static size_t n_blocks;

static void fill(size_t n_wanted)
{
    for (; n_blocks < n_wanted; n_blocks++) {
        blocks[n_blocks] = kmem_try_allocate(BLOCK_BYTES, "bench/live");
        if (blocks[n_blocks] == NULL) {
            bench_fail("block %zu: %s", n_blocks, kmem_last_error());
        }
    }
}

static double refuse(size_t num_bytes)
{
    const uint64_t began_ns = bench_now_ns();
    const void *block = kmem_try_allocate(num_bytes, "bench/too much");
    const double took_ns = (double)(bench_now_ns() - began_ns);
    if (block != NULL || errno != ENOMEM) {
        bench_fail("it was not refused");
    }
    return took_ns;
}

static double ask(void *direct)
{
    const uint64_t began_ns = bench_now_ns();
    size_t num_bytes;
    if (kmem_try_sizeof(direct, &num_bytes) != 0) {
        bench_fail("%s", kmem_last_error());
    }
    return (double)(bench_now_ns() - began_ns);
}

static void evict(size_t i)
{
    if (kmem_try_release(&blocks[i]) != 0) {
        bench_fail("%s", kmem_last_error());
    }
}

static void measure(void *direct, size_t num_bytes, const char *among, bool evicts)
{
    struct samples refusals;
    struct samples round_trips;
    samples_init(&refusals, N_SAMPLES);
    samples_init(&round_trips, N_SAMPLES);
    for (size_t i = 0; i < N_SAMPLES; i++) {
        const size_t victim = n_blocks > 0 ? i * 7919 % n_blocks : 0;
        if (evicts) {
            evict(victim);
        }
        samples_add(&refusals, refuse(num_bytes));
        if (evicts) {
            blocks[victim] = kmem_try_allocate(BLOCK_BYTES, "bench/live");
        }
        samples_add(&round_trips, ask(direct));
    }
    const double ratio = samples_quantile(&refusals, 0.50) / samples_quantile(&round_trips, 0.50);
    (void)printf("%s %8zu %s%s: refused %5.1f us (p99 %6.1f), round trip %5.1f us "
                 "(p99 %6.1f), ratio %.2f, bar %.0f\n",
                 ratio <= BAR ? "PASS" : "MISS", n_blocks, among,
                 evicts ? ", one evicted before each" : "", samples_quantile(&refusals, 0.50) / 1e3,
                 samples_quantile(&refusals, 0.99) / 1e3,
                 samples_quantile(&round_trips, 0.50) / 1e3,
                 samples_quantile(&round_trips, 0.99) / 1e3, ratio, BAR);
    samples_fini(&refusals);
    samples_fini(&round_trips);
}

/* As many blocks of so many pages as there is room for, at most. Return: how many. */
static size_t take_all(void **taken, size_t n_most, size_t n_pages)
{
    size_t n = 0;
    while (n < n_most && (taken[n] = kmem_try_allocate(n_pages * PAGE_BYTES, "bench/fill"))) {
        n++;
    }
    return n;
}

static void give_all(void **taken, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (taken[i] != NULL && kmem_try_release(&taken[i]) != 0) {
            bench_fail("%s", kmem_last_error());
        }
    }
}

static int compare_places(const void *left, const void *right)
{
    const char *a = *(const char *const *)left;
    const char *b = *(const char *const *)right;
    return a < b ? -1 : a > b;
}

/* What is free is as many extents, each between two blocks of the same size. */
static void measure_extents(void *direct)
{
    void **rest = calloc(N_BLOCKS_MAX, sizeof(*rest));
    if (rest == NULL) {
        bench_fail("no memory");
    }
    const size_t n_taken = take_all(blocks, N_BLOCKS_MAX, EXTENT_PAGES);
    const size_t n_rest = take_all(rest, N_BLOCKS_MAX, 1);
    qsort(blocks, n_taken, sizeof(*blocks), compare_places);
    for (size_t i = 1; i + 1 < n_taken; i += 2) {
        evict(i);
        n_blocks++;
    }
    measure(direct, (EXTENT_PAGES + 1) * PAGE_BYTES, "free extents", false);
    give_all(blocks, n_taken);
    give_all(rest, n_rest);
    n_blocks = 0;
    free(rest);
}

int main(void)
{
    static const size_t steps[] = {0, 100000, N_BLOCKS_MAX};
    char kmemd[4096];
    char socket_path[4096];
    (void)snprintf(kmemd, sizeof(kmemd), "%s/kmemd", bench_bin());
    (void)snprintf(socket_path, sizeof(socket_path), "%s/kmemd.sock", bench_directory());
    bench_start_server((const char *const[]){kmemd, "--name", "bench", "--size", SEGMENT,
                                             "--commit", "lazy", "--socket", socket_path, NULL});
    (void)setenv("KMEM_SOCKET", socket_path, 1);
    bench_print_machine(stdout, "");
    blocks = calloc(N_BLOCKS_MAX, sizeof(*blocks));
    void *direct = kmem_try_allocate((size_t)64 << 20, "bench/direct");
    if (blocks == NULL || direct == NULL) {
        bench_fail("no memory");
    }
    measure_extents(direct);
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        fill(steps[i]);
        measure(direct, TOO_MUCH, "live blocks", false);
        if (n_blocks > 0) {
            measure(direct, TOO_MUCH, "live blocks", true);
        }
    }
    free(blocks);
    return 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * bench_refusal.c - what a refusal costs above a bare round trip, among 0 to 10,000,000 live blocks
 *
 * "Refused, evict, try again" is how a cache lives. A round trip is the size of a direct block,
 * asked for: the server looks one entry up and changes nothing. Both are measured in turns. In the
 * second row of each pair a block is released before every refusal, so that there may be idle
 * slabs, and taken again after it.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <kmem/kmem.h>

#include "tests/bench/bench.h"

#define N_SAMPLES 20000
#define N_BLOCKS_MAX 10000000
#define BLOCK_BYTES 16
#define SEGMENT "1GiB"
#define TOO_MUCH ((size_t)1000 << 20)
#define BAR 2.0

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

static double refuse(void)
{
    const uint64_t began_ns = bench_now_ns();
    const void *block = kmem_try_allocate(TOO_MUCH, "bench/too much");
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

static void measure(void *direct, bool evicts)
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
        samples_add(&refusals, refuse());
        if (evicts) {
            blocks[victim] = kmem_try_allocate(BLOCK_BYTES, "bench/live");
        }
        samples_add(&round_trips, ask(direct));
    }
    const double ratio = samples_quantile(&refusals, 0.50) / samples_quantile(&round_trips, 0.50);
    (void)printf("%s %8zu live blocks%s: refused %5.1f us (p99 %6.1f), round trip %5.1f us "
                 "(p99 %6.1f), ratio %.2f, bar %.0f\n",
                 ratio <= BAR ? "PASS" : "MISS", n_blocks,
                 evicts ? ", one evicted before each" : "", samples_quantile(&refusals, 0.50) / 1e3,
                 samples_quantile(&refusals, 0.99) / 1e3,
                 samples_quantile(&round_trips, 0.50) / 1e3,
                 samples_quantile(&round_trips, 0.99) / 1e3, ratio, BAR);
    samples_fini(&refusals);
    samples_fini(&round_trips);
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
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        fill(steps[i]);
        measure(direct, false);
        if (n_blocks > 0) {
            measure(direct, true);
        }
    }
    free(blocks);
    return 0;
}

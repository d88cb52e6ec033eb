/* SPDX-License-Identifier: MIT */
/*
 * bench_cold.c - how long a new process takes until it is fast: forty sizes that it has not used
 *
 * A process joins, and then takes 16 blocks of each of forty sizes, one size after the other. Timed
 * is all of that; the server counts what it was asked for. Then as many pairs of the same sizes,
 * none of which is a round trip any more. The middle one of the processes counts.
 *
 * The promise is in round trips: at most one for each size, and a dozen for leases.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <kmem/kmem.h>

#include "proto/size_class.h"
#include "tests/bench/bench.h"
#include "tests/bench/daemon.h"

#define N_SIZES (N_SIZE_CLASSES + 1)
#define N_EACH 16
#define N_PROCESSES 21
#define REQUESTS_LIMIT (N_SIZES + 12)

struct outcome {
    double cold_us; /* for all blocks */
    double warm_us; /* for as many pairs */
};

static size_t size_at(unsigned i)
{
    return i < N_SIZE_CLASSES ? size_classes[i].block_bytes : 2 * SMALL_MAX_BYTES;
}

static void *take(size_t num_bytes)
{
    void *block = kmem_try_allocate(num_bytes, "bench/cold");
    if (block == NULL) {
        bench_fail("%s", kmem_last_error());
    }
    return block;
}

static void give(void *block)
{
    if (kmem_try_release(&block) != 0) {
        bench_fail("%s", kmem_last_error());
    }
}

static void play(int out_fd, int go_fd)
{
    static void *blocks[N_SIZES * N_EACH];
    struct outcome outcome;
    char go;
    give(take((size_t)300 << 10)); /* it has joined */
    if (write(out_fd, "j", 1) != 1 || read(go_fd, &go, 1) != 1) {
        bench_fail("the line is broken");
    }
    const uint64_t begin_ns = bench_now_ns();
    for (unsigned i = 0; i < N_SIZES * N_EACH; i++) {
        blocks[i] = take(size_at(i / N_EACH));
    }
    const uint64_t cold_ns = bench_now_ns();
    for (unsigned i = 0; i < N_SIZES * N_EACH; i++) {
        const unsigned size = i / N_EACH; /* its last: the first is the server's to take back */
        give(blocks[size * N_EACH + N_EACH - 1]);
        blocks[size * N_EACH + N_EACH - 1] = take(size_at(size));
    }
    outcome.warm_us = (double)(bench_now_ns() - cold_ns) / 1e3;
    outcome.cold_us = (double)(cold_ns - begin_ns) / 1e3;
    if (write(out_fd, &outcome, sizeof(outcome)) != sizeof(outcome)) {
        bench_fail("the line is broken");
    }
}

/* Return: how many requests the server had for it. */
static uint64_t run(struct outcome *ret_outcome)
{
    int out[2];
    int go[2];
    char joined;
    if (pipe(out) != 0 || pipe(go) != 0) {
        bench_fail("no pipe");
    }
    const pid_t pid = fork();
    if (pid == 0) {
        bench_forget();
        play(out[1], go[0]);
        _exit(0);
    }
    if (pid < 0 || read(out[0], &joined, 1) != 1) {
        bench_fail("no process");
    }
    const uint64_t before = daemon_requests();
    const bool is_told = write(go[1], "g", 1) == 1;
    if (!is_told || read(out[0], ret_outcome, sizeof(*ret_outcome)) != sizeof(*ret_outcome)) {
        bench_fail("a process has failed");
    }
    const uint64_t n_requests = daemon_requests() - before;
    int status;
    if (waitpid(pid, &status, 0) != pid || status != 0) {
        bench_fail("a process has failed");
    }
    for (unsigned i = 0; i < 2; i++) {
        (void)close(out[i]); /* nothing is buffered */
        (void)close(go[i]);
    }
    return n_requests;
}

int main(void)
{
    struct samples cold;
    struct samples warm;
    uint64_t n_most = 0;
    bench_print_machine(stdout, "");
    daemon_start("256MiB");
    samples_init(&cold, N_PROCESSES);
    samples_init(&warm, N_PROCESSES);
    for (unsigned i = 0; i < N_PROCESSES; i++) {
        struct outcome outcome;
        const uint64_t n_requests = run(&outcome);
        n_most = n_requests > n_most ? n_requests : n_most;
        samples_add(&cold, outcome.cold_us);
        samples_add(&warm, outcome.warm_us);
    }
    (void)printf("%d sizes, %d blocks of each, in a new process: median %.0f us (p99 %.0f), then "
                 "%.0f us for as many pairs\n",
                 N_SIZES, N_EACH, samples_quantile(&cold, 0.5), samples_quantile(&cold, 0.99),
                 samples_quantile(&warm, 0.5));
    (void)printf("%s %d sizes in a new process: %llu round trips at most, at most %d are asked\n",
                 n_most <= REQUESTS_LIMIT ? "PASS" : "MISS", N_SIZES, (unsigned long long)n_most,
                 REQUESTS_LIMIT);
    samples_fini(&cold);
    samples_fini(&warm);
    return 0;
}

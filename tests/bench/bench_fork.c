/* SPDX-License-Identifier: MIT */
/*
 * bench_fork.c - what a fork costs a program whose malloc() is served, beside glibc's
 *
 * A child gets copies of its parent's blocks before fork() returns; with glibc the kernel copies
 * each page that one of the two writes afterwards. So there are two figures: the fork alone, and
 * with it that the parent writes to each page of its heap while the child lives. No bar is set: the
 * copy is what it is, and the manual says what it costs.
 *
 * The program plays itself, once as it is and once under `kmemctl run --malloc`:
 *
 *      bench_fork --play BLOCK_BYTES N_BLOCKS
 *
 * With --smoke the smallest heap alone.
 */
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/bench/bench.h"

#define N_SAMPLES 15
#define CPU_PAGE_BYTES 4096

struct heap {
    unsigned char **blocks;
    size_t n_blocks;
    size_t block_bytes;
};

/* In microseconds: the median, and the worst. */
struct figures {
    double fork_us;
    double fork_worst_us;
    double writes_us;
    double writes_worst_us;
};

/* --------------------------------------------------------------------------------- the player */

static void heap_fill(struct heap *heap)
{
    heap->blocks = malloc(heap->n_blocks * sizeof(*heap->blocks));
    for (size_t i = 0; heap->blocks != NULL && i < heap->n_blocks; i++) {
        heap->blocks[i] = malloc(heap->block_bytes);
        if (heap->blocks[i] == NULL) {
            bench_fail("no memory");
        }
        memset(heap->blocks[i], 1, heap->block_bytes);
    }
}

static void heap_write(struct heap *heap)
{
    for (size_t i = 0; i < heap->n_blocks; i++) {
        for (size_t at = 0; at < heap->block_bytes; at += CPU_PAGE_BYTES) {
            *(volatile unsigned char *)&heap->blocks[i][at] = 2;
        }
    }
}

/* Forks a child that lives until the parent has written. */
static void fork_once(struct heap *heap, struct samples *forks, struct samples *writes)
{
    const uint64_t began_ns = bench_now_ns();
    const pid_t pid = fork();
    if (pid == 0) {
        for (;;) {
            (void)pause();
        }
    }
    const uint64_t forked_ns = bench_now_ns();
    if (pid < 0) {
        bench_fail("fork: no child");
    }
    heap_write(heap);
    samples_add(forks, (double)(forked_ns - began_ns) / 1e3);
    samples_add(writes, (double)(bench_now_ns() - began_ns) / 1e3);
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
}

static void play(struct heap *heap)
{
    struct samples forks;
    struct samples writes;
    heap_fill(heap);
    samples_init(&forks, N_SAMPLES);
    samples_init(&writes, N_SAMPLES);
    for (size_t i = 0; i < N_SAMPLES; i++) {
        fork_once(heap, &forks, &writes);
    }
    (void)printf("%f %f %f %f\n", samples_quantile(&forks, 0.5), samples_quantile(&forks, 1),
                 samples_quantile(&writes, 0.5), samples_quantile(&writes, 1));
    samples_fini(&forks);
    samples_fini(&writes);
}

/* ------------------------------------------------------------------------------- the contest */

/* Plays once; `under` is put before the command. */
static struct figures ask(const char *under, const struct heap *heap)
{
    char command[5000];
    char self[4000] = "";
    struct figures figures;
    if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0) {
        bench_fail("no /proc");
    }
    (void)snprintf(command, sizeof(command), "%s '%s' --play %zu %zu 2>/dev/null", under, self,
                   heap->block_bytes, heap->n_blocks);
    char line[200] = "";
    FILE *said = popen(command, "r"); /* NOLINT(cert-env33-c): its own path, quoted */
    const bool has_played = said != NULL && fgets(line, sizeof(line), said) != NULL;
    if (!has_played || pclose(said) != 0) {
        bench_fail("it did not play: %s", command);
    }
    char *at = line;
    figures.fork_us = strtod(at, &at);
    figures.fork_worst_us = strtod(at, &at);
    figures.writes_us = strtod(at, &at);
    figures.writes_worst_us = strtod(at, &at);
    return figures;
}

static void print_line(const char *name, const struct figures *figures)
{
    (void)printf("     %-8s fork %8.2f ms (at most %8.2f), and all pages written %8.2f ms "
                 "(at most %8.2f)\n",
                 name, figures->fork_us / 1e3, figures->fork_worst_us / 1e3,
                 figures->writes_us / 1e3, figures->writes_worst_us / 1e3);
}

static void contest(const struct heap *heap)
{
    char served[4200];
    (void)snprintf(served, sizeof(served), "'%s/kmemctl' run --malloc --", bench_bin());
    const struct figures kmem = ask(served, heap);
    const struct figures glibc = ask("", heap);
    (void)printf("%zu blocks of %zu bytes, %.1f MiB\n", heap->n_blocks, heap->block_bytes,
                 (double)(heap->n_blocks * heap->block_bytes) / (1 << 20));
    print_line("kmem", &kmem);
    print_line("glibc", &glibc);
    (void)fflush(stdout);
}

int main(int argc, char **argv)
{
    static const struct heap heaps[] = {
        {.block_bytes = 100, .n_blocks = 1000},
        {.block_bytes = 100, .n_blocks = 671088},
        {.block_bytes = 20000, .n_blocks = 3355},
        {.block_bytes = 4 << 20, .n_blocks = 16},
    };
    if (argc == 4 && strcmp(argv[1], "--play") == 0) {
        struct heap heap = {.block_bytes = strtoul(argv[2], NULL, 10),
                            .n_blocks = strtoul(argv[3], NULL, 10)};
        play(&heap);
        return 0;
    }
    bench_print_machine(stdout, "");
    const bool is_smoke = argc == 2 && strcmp(argv[1], "--smoke") == 0;
    const size_t n_heaps = is_smoke ? 1 : sizeof(heaps) / sizeof(heaps[0]);
    for (size_t i = 0; i < n_heaps; i++) {
        contest(&heaps[i]);
    }
    return 0;
}

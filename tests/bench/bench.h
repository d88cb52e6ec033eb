/* SPDX-License-Identifier: MIT */
/*
 * bench.h - what every benchmark needs: servers to measure, samples, and who measured where
 */
#ifndef TESTS_BENCH_BENCH_H
#define TESTS_BENCH_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "proto/attributes.h"

#if defined(NDEBUG) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define BENCH_IS_RELEASE 1
#else
#define BENCH_IS_RELEASE 0
#endif

/** bench_print_machine() - processor, kernel, compiler, commit, date; a line each, after before */
void bench_print_machine(FILE *to, const char *before);

/** bench_bin() - where kmemd is: $KMEM_BIN, or where it was built */
const char *bench_bin(void);

/** bench_programs() - where the benchmarks' own programs are: $KMEM_TEST_BIN, or as above */
const char *bench_programs(void);

/**
 * bench_place() - keep this process on one processor and the servers on another, or on the same
 *
 * Return: false, and nothing is changed, if this process may not use both.
 */
bool bench_place(size_t own_processor, size_t servers_processor);

/** bench_now_ns() - the monotonic clock */
uint64_t bench_now_ns(void);

/** bench_fail() - say why nothing was measured, and exit with 1 */
KMEM_NORETURN void bench_fail(const char *format, ...) KMEM_PRINTF(1, 2);

/** bench_directory() - a private directory, made by the first call and removed at exit */
const char *bench_directory(void);

/* In the private directory: what servers say on stderr. */
#define BENCH_LOG "log"

/**
 * bench_start_server() - run a server until this process ends
 * @arguments:  the program's path first; ends with NULL
 *
 * Returns when the server has written its first line, which says that it is ready. What it says
 * on stderr is appended to BENCH_LOG.
 */
void bench_start_server(const char *const *arguments);

/** bench_forget() - in a forked child: the servers and the directory are its parent's to end */
void bench_forget(void);

/* Durations, all kept, so that any percentile can be asked for. */
struct samples {
    double *ns;
    size_t n;
    size_t capacity;
};

void samples_init(struct samples *samples, size_t capacity);
void samples_fini(struct samples *samples);
void samples_add(struct samples *samples, double ns);

/** samples_quantile() - sorts them; 0.5 is the median */
double samples_quantile(struct samples *samples, double quantile);

#endif

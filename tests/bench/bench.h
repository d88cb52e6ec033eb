/* SPDX-License-Identifier: MIT */
/*
 * bench.h - what every benchmark needs: servers to measure, samples, and who measured where
 */
#ifndef TESTS_BENCH_BENCH_H
#define TESTS_BENCH_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "proto/attributes.h"

#if defined(NDEBUG) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define BENCH_IS_RELEASE 1
#else
#define BENCH_IS_RELEASE 0
#endif

/** bench_print_machine() - processor, kernel, compiler and commit, one line */
void bench_print_machine(void);

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

/**
 * bench_start_server() - run a server until this process ends
 * @arguments:  the program's path first; ends with NULL
 *
 * Returns when the server has written its first line, which says that it is ready.
 */
void bench_start_server(const char *const *arguments);

/* Durations, all kept, so that any percentile can be asked for. */
struct samples {
    uint64_t *ns;
    size_t n;
    size_t capacity;
};

void samples_init(struct samples *samples, size_t capacity);
void samples_fini(struct samples *samples);
void samples_add(struct samples *samples, uint64_t ns);

/** samples_percentile() - sorts them; 50 is the median */
uint64_t samples_percentile(struct samples *samples, unsigned int percent);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * forks.h - a heap of blocks of all kinds that are known again, and what tests of forks need
 */
#ifndef TESTS_EXAMPLES_MALLOC_FORKS_H
#define TESTS_EXAMPLES_MALLOC_FORKS_H

#include <malloc.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define assert_true(condition)                                                                     \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            (void)fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition);        \
            _exit(EXIT_FAILURE);                                                                   \
        }                                                                                          \
    } while (0)

/* ---------------------------------------------------------------------------------- the heap -- */

/* Slabs of all planes, direct blocks, large ones, and one that is longer than a huge page. */
static const size_t small_sizes[] = {1, 16, 24, 100, 1000, 5000, 20000};
static const size_t large_sizes[] = {65536, 70001, 300000};
#define N_SMALL_SIZES (sizeof(small_sizes) / sizeof(small_sizes[0]))
#define N_LARGE_SIZES (sizeof(large_sizes) / sizeof(large_sizes[0]))
#define N_SMALL (24 * N_SMALL_SIZES)
#define N_LARGE (6 * N_LARGE_SIZES)
#define N_BLOCKS (N_SMALL + N_LARGE + 1)

struct heap {
    unsigned char *blocks[N_BLOCKS];
};

static inline size_t size_of(size_t i)
{
    return i < N_SMALL             ? small_sizes[i % N_SMALL_SIZES]
           : i < N_SMALL + N_LARGE ? large_sizes[i % N_LARGE_SIZES]
                                   : 2200000;
}

static inline void heap_fill(struct heap *heap, unsigned char mark)
{
    for (size_t i = 0; i < N_BLOCKS; i++) {
        memset(heap->blocks[i], (int)(mark + i) & 0xff, size_of(i));
    }
}

static inline bool heap_has_bytes(const struct heap *heap, unsigned char mark)
{
    for (size_t i = 0; i < N_BLOCKS; i++) {
        const unsigned char wanted = (unsigned char)(mark + i);
        if (heap->blocks[i][0] != wanted || heap->blocks[i][size_of(i) - 1] != wanted ||
            heap->blocks[i][size_of(i) / 2] != wanted) {
            return false;
        }
    }
    return true;
}

/* The sizes as well. */
static inline bool heap_has(const struct heap *heap, unsigned char mark)
{
    for (size_t i = 0; i < N_BLOCKS; i++) {
        if (malloc_usable_size(heap->blocks[i]) != size_of(i)) {
            return false;
        }
    }
    return heap_has_bytes(heap, mark);
}

static inline struct heap *heap_new(unsigned char mark)
{
    struct heap *heap = malloc(sizeof(*heap));
    for (size_t i = 0; i < N_BLOCKS; i++) {
        heap->blocks[i] = malloc(size_of(i));
        assert_true(heap->blocks[i] != NULL);
    }
    heap_fill(heap, mark);
    return heap;
}

static inline void heap_free(struct heap *heap)
{
    for (size_t i = 0; i < N_BLOCKS; i++) {
        free(heap->blocks[i]);
    }
    free(heap);
}

/* --------------------------------------------------------------------------------- processes -- */

static inline void expect_success(pid_t pid)
{
    int status = -1;
    assert_true(pid > 0);
    assert_true(waitpid(pid, &status, 0) == pid);
    assert_true(status == 0);
}

/* -------------------------------------------------------------------------------- the tests -- */

struct test {
    const char *name;
    void (*run)(void);
};

#define TEST(function)                                                                             \
    {                                                                                              \
#function, function                                                                        \
    }

static inline bool run_test(const struct test *tests, size_t n_tests, const char *name)
{
    (void)unsetenv("LD_PRELOAD"); /* what is started is not served, and no client */
    (void)alarm(600);             /* a test that hangs is a failure, not a hanging test */
    for (size_t i = 0; i < n_tests; i++) {
        if (strcmp(tests[i].name, name) == 0) {
            tests[i].run();
            return true;
        }
    }
    return false;
}

/* What a main() returns whose only argument is a test's name. */
static inline int run_tests(const struct test *tests, size_t n_tests, int argc, char **argv)
{
    if (argc == 2 && run_test(tests, n_tests, argv[1])) {
        return EXIT_SUCCESS;
    }
    (void)fprintf(stderr, "usage: %s TEST\n", argv[0]);
    return EXIT_FAILURE;
}

#endif

/* SPDX-License-Identifier: MIT */
/*
 * interprocess.h - a managed_shared_memory of Boost.Interprocess, for C
 */
#ifndef TESTS_BENCH_INTERPROCESS_H
#define TESTS_BENCH_INTERPROCESS_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/** interprocess_join() - open or create the shared memory. Return: 0, or -1: it can not be had */
int interprocess_join(const char *name, size_t num_bytes);

/** interprocess_take() - a zeroed block, or NULL */
void *interprocess_take(size_t num_bytes);

void interprocess_give(void *block);

/** interprocess_measure() - how large a block of interprocess_take() is, rounding included */
size_t interprocess_measure(const void *block);

#ifdef __cplusplus
}
#endif

#endif

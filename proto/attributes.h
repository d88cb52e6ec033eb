/* SPDX-License-Identifier: MIT */
/*
 * attributes.h - what every function says about itself: results that count, cleanups, assertions
 */
#ifndef PROTO_ATTRIBUTES_H
#define PROTO_ATTRIBUTES_H

#include <stdbool.h>
#include <stddef.h>

#ifndef KMEM_MUST_USE
#define KMEM_MUST_USE __attribute__((warn_unused_result))
#endif
#define KMEM_PRINTF(format_at, first_at) __attribute__((format(printf, format_at, first_at)))
#define KMEM_NORETURN __attribute__((noreturn))
/*
 * A function that begins where a line of 64 bytes does. What is short and runs often then takes as
 * few lines as it can, and always the same: a loop of 28 bytes over two of them clears 4 KiB in
 * 30 ns and not in 28, and which it is would change with any line of code before it.
 */
#define KMEM_LINE __attribute__((aligned(64)))

#define KMEM_LIKELY(x) __builtin_expect(!!(x), 1)
#define KMEM_UNLIKELY(x) __builtin_expect(!!(x), 0)

/* A broken invariant of our own: prints where, and aborts. Never reachable from a peer's bytes. */
#define KMEM_ASSERT(condition)                                                                     \
    (KMEM_LIKELY(condition) ? (void)0 : invariant_broken(#condition, __FILE__, __LINE__))

/* The same where it would cost too much in a release build. */
#ifdef NDEBUG
#define KMEM_CHECK(condition) ((void)sizeof(!!(condition)))
#else
#define KMEM_CHECK(condition) KMEM_ASSERT(condition)
#endif

KMEM_NORETURN void invariant_broken(const char *condition, const char *file, int line);

/* Arithmetic on numbers that a peer chose. Return: false, and nothing written, on overflow. */
#define checked_add(a, b, ret_sum) (!__builtin_add_overflow((a), (b), (ret_sum)))
#define checked_mul(a, b, ret_product) (!__builtin_mul_overflow((a), (b), (ret_product)))

#endif

/* SPDX-License-Identifier: MIT */
/*
 * fuzz.h - what all fuzzers share: how bytes become choices, and what is wanted of the result
 *
 * A target is one file, fuzz_NAME.c, with one function: LLVMFuzzerTestOneInput(). libFuzzer calls
 * it in the preset `fuzz`; in every other build replay.c calls it once for each file of
 * tests/fuzz/corpus/NAME, as the test fuzz.NAME. A target states what holds for every input with
 * EXPECT(): that nothing crashes is the least of it.
 *
 * Choices come from the bytes through the functions below. Bytes that are used up read as 0, so
 * every input means something, and a shorter one means the same with less behind it.
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/attributes.h"

#define EXPECT(condition)                                                                          \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fuzz_fail(__FILE__, __LINE__, #condition);                                             \
        }                                                                                          \
    } while (0)

/* NOLINTNEXTLINE(readability-identifier-naming): libFuzzer's name */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

/** fuzz_fail() - say what is not true, and abort */
KMEM_NORETURN void fuzz_fail(const char *file, int line, const char *condition);

/** fuzz_taken_bytes() - of the heap, at present; 0 if no sanitizer counts them */
size_t fuzz_taken_bytes(void);

/* What is left of an input. */
struct choices {
    const uint8_t *at;
    const uint8_t *end;
};

static inline struct choices choices_of(const uint8_t *bytes, size_t n_bytes)
{
    return (struct choices){bytes, bytes + n_bytes};
}

static inline bool has_choices(const struct choices *choices)
{
    return choices->at < choices->end;
}

static inline uint8_t choose_byte(struct choices *choices)
{
    return choices->at < choices->end ? *choices->at++ : 0;
}

/** choose_below() - one of n, which is 256 at most */
static inline uint32_t choose_below(struct choices *choices, uint32_t n)
{
    return choose_byte(choices) % n;
}

static inline bool choose_whether(struct choices *choices)
{
    return (choose_byte(choices) & 1) != 0;
}

/** choose_raw() - n_bytes of them as they are, little-endian; 8 at most */
uint64_t choose_raw(struct choices *choices, unsigned n_bytes);

/**
 * choose_number() - one that is small, or stands at a border: 2^k, one less, one more; or any
 *
 * One byte says which, so that a fuzzer needs no luck to find a border.
 */
uint64_t choose_number(struct choices *choices);

/** choose_bytes() - a length of at most `most`, and as many bytes as are left. Return: how many. */
size_t choose_bytes(struct choices *choices, void *ret_bytes, size_t most);

/** fuzz_is_safe() - whether text of n_bytes is UTF-8 with nothing that a terminal would obey */
bool fuzz_is_safe(const char *text, size_t n_bytes);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * pattern.h - what a block is filled with: words made of its owner, its offset and their place
 *
 * A byte that is another block's, the same block's of an earlier time, or in the wrong place is
 * seen; so is one that has become 0.
 */
#ifndef TESTS_SUPPORT_PATTERN_H
#define TESTS_SUPPORT_PATTERN_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* Odd, with bits all over: words of neighbours and of neighbouring blocks have little in common. */
#define PATTERN_BY_OFFSET UINT64_C(0x9e3779b97f4a7c15)
#define PATTERN_BY_PLACE UINT64_C(0xd1b54a32d192ed03)

static inline uint64_t pattern_word(uint64_t key, uint64_t offset, uint64_t place)
{
    return (key ^ (offset * PATTERN_BY_OFFSET)) + (place + 1) * PATTERN_BY_PLACE;
}

static inline void pattern_fill(void *block, uint64_t num_bytes, uint64_t key, uint64_t offset)
{
    unsigned char *bytes = block;
    for (uint64_t at = 0; at < num_bytes; at += sizeof(uint64_t)) {
        const uint64_t word = pattern_word(key, offset, at);
        const uint64_t n = num_bytes - at < sizeof(word) ? num_bytes - at : sizeof(word);
        memcpy(bytes + at, &word, n);
    }
}

/** pattern_differs_at() - Return: the first byte that is wrong; num_bytes: none is */
static inline uint64_t pattern_differs_at(const void *block, uint64_t num_bytes, uint64_t key,
                                          uint64_t offset)
{
    const unsigned char *bytes = block;
    for (uint64_t at = 0; at < num_bytes; at += sizeof(uint64_t)) {
        const uint64_t word = pattern_word(key, offset, at);
        const uint64_t n = num_bytes - at < sizeof(word) ? num_bytes - at : sizeof(word);
        if (memcmp(bytes + at, &word, n) != 0) {
            return at;
        }
    }
    return num_bytes;
}

/** pattern_first_set() - Return: about where the first byte is that is not 0; num_bytes: nowhere */
static inline uint64_t pattern_first_set(const void *block, uint64_t num_bytes)
{
    static const unsigned char zeros[64];
    const unsigned char *bytes = block;
    for (uint64_t at = 0; at < num_bytes; at += sizeof(zeros)) {
        const uint64_t n = num_bytes - at < sizeof(zeros) ? num_bytes - at : sizeof(zeros);
        if (memcmp(bytes + at, zeros, n) != 0) {
            return at;
        }
    }
    return num_bytes;
}

#endif

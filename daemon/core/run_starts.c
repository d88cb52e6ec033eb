/* SPDX-License-Identifier: MIT */
#include "daemon/core/run_starts.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

static uint32_t level_words(uint32_t n_pages, uint32_t level)
{
    uint32_t n_words = n_pages / 64 + 1;
    for (uint32_t i = 0; i < level; i++) {
        n_words = n_words / 64 + 1;
    }
    return n_words;
}

int run_starts_init(struct run_starts *starts, uint32_t n_pages)
{
    size_t n_words = 0;
    for (uint32_t level = 0; level < STARTS_LEVELS; level++) {
        n_words += level_words(n_pages, level);
    }
    uint64_t *words = calloc(n_words, sizeof(*words));
    *starts = (struct run_starts){.n_pages = n_pages};
    if (!words) {
        return -ENOMEM;
    }
    for (uint32_t level = 0; level < STARTS_LEVELS; level++) {
        starts->levels[level] = words;
        words += level_words(n_pages, level);
    }
    return 0;
}

void run_starts_fini(struct run_starts *starts)
{
    free(starts->levels[0]);
    *starts = (struct run_starts){.n_pages = 0};
}

void run_starts_add(struct run_starts *starts, uint32_t page)
{
    KMEM_ASSERT(page < starts->n_pages);
    uint32_t bit = page;
    for (uint32_t level = 0; level < STARTS_LEVELS; level++) {
        uint64_t *word = &starts->levels[level][bit / 64];
        const bool was_empty = *word == 0;
        *word |= UINT64_C(1) << bit % 64;
        if (!was_empty) {
            return;
        }
        bit /= 64;
    }
}

void run_starts_remove(struct run_starts *starts, uint32_t page)
{
    KMEM_ASSERT(page < starts->n_pages);
    uint32_t bit = page;
    for (uint32_t level = 0; level < STARTS_LEVELS; level++) {
        uint64_t *word = &starts->levels[level][bit / 64];
        *word &= ~(UINT64_C(1) << bit % 64);
        if (*word != 0) {
            return;
        }
        bit /= 64;
    }
}

/* The bits of a word up to and including one of them. */
static uint64_t bits_up_to(uint32_t bit)
{
    return ~UINT64_C(0) >> (63 - bit);
}

static uint32_t last_bit(uint64_t word)
{
    return 63 - (uint32_t)__builtin_clzll(word);
}

uint32_t run_starts_last(const struct run_starts *starts, uint32_t page, uint32_t *ret_n_words)
{
    KMEM_ASSERT(page < starts->n_pages);
    uint32_t level = 0;
    uint32_t at = page / 64;
    uint32_t n_words = 1;
    uint64_t word = starts->levels[0][at] & bits_up_to(page % 64);
    while (word == 0) {
        /* Of the words before this one, which are the bits before its own in the next level. */
        const uint32_t bit = at % 64;
        at /= 64;
        level++;
        KMEM_ASSERT(level < STARTS_LEVELS); /* there is a start at or before the page */
        word = bit == 0 ? 0 : starts->levels[level][at] & bits_up_to(bit - 1);
        n_words++;
    }
    uint32_t found = at * 64 + last_bit(word);
    for (; level > 0; level--) {
        found = found * 64 + last_bit(starts->levels[level - 1][found]);
        n_words++;
    }
    if (ret_n_words) {
        *ret_n_words = n_words;
    }
    return found;
}

uint32_t run_starts_first(const struct run_starts *starts)
{
    uint32_t found = 0;
    for (uint32_t level = STARTS_LEVELS; level-- > 0;) {
        const uint64_t word = starts->levels[level][found];
        if (word == 0) { /* of the highest level: there is none */
            return 0;
        }
        found = found * 64 + (uint32_t)__builtin_ctzll(word);
    }
    return found;
}

/* The bits of a word from one of them on, which may be the one behind the last. */
static uint64_t bits_from(uint32_t bit)
{
    return bit == 64 ? 0 : ~UINT64_C(0) << bit;
}

uint32_t run_starts_next(const struct run_starts *starts, uint32_t page)
{
    KMEM_ASSERT(page < starts->n_pages);
    uint32_t level = 0;
    uint32_t at = page / 64;
    uint64_t word = starts->levels[0][at] & bits_from(page % 64);
    while (word == 0) {
        const uint32_t bit = at % 64;
        at /= 64;
        level++;
        if (level == STARTS_LEVELS) {
            return 0;
        }
        word = starts->levels[level][at] & bits_from(bit + 1);
    }
    uint32_t found = at * 64 + (uint32_t)__builtin_ctzll(word);
    for (; level > 0; level--) {
        found = found * 64 + (uint32_t)__builtin_ctzll(starts->levels[level - 1][found]);
    }
    return found;
}

bool run_starts_check(const struct run_starts *starts)
{
    bool agree = true;
    for (uint32_t level = 0; level + 1 < STARTS_LEVELS; level++) {
        for (uint32_t at = 0; at < level_words(starts->n_pages, level); at++) {
            const uint64_t above = starts->levels[level + 1][at / 64];
            agree = agree && (above >> at % 64 & 1) == (starts->levels[level][at] != 0);
        }
    }
    return agree;
}

/* SPDX-License-Identifier: MIT */
/*
 * leading.h - what most bytes are of, found in one pass with a few counters
 *
 * Space-saving counters: a key without one takes over the smallest, with what that had counted. A
 * key with more than 1 / LEADING_KEYS of the bytes always has a counter, and what is said of it is
 * at most so much too large. While there are no more keys than counters, all is exact.
 */
#ifndef DAEMON_CORE_LEADING_H
#define DAEMON_CORE_LEADING_H

#include <stdbool.h>
#include <stdint.h>

/* 8: a slab has blocks of one or two reasons mostly; with more a note would cost more than reading
   an entry does. */
#define LEADING_KEYS 8

struct leading {
    uint32_t n_keys;
    struct {
        uint64_t key;
        uint64_t num_bytes;
    } counters[LEADING_KEYS];
};

static inline void leading_init(struct leading *leading)
{
    leading->n_keys = 0;
}

/** leading_note() - num_bytes are of that key */
void leading_note(struct leading *leading, uint64_t key, uint64_t num_bytes);

/** leading_first() - the key with the most; there is one. *ret_num_bytes: how many, about */
uint64_t leading_first(const struct leading *leading, uint64_t *ret_num_bytes);

/** leading_is_sole() - whether all that was noted is of one key */
static inline bool leading_is_sole(const struct leading *leading)
{
    return leading->n_keys == 1; /* one that was ousted leaves more */
}

#endif

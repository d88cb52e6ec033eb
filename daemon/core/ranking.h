/* SPDX-License-Identifier: MIT */
/*
 * ranking.h - things in the order of their weight, step by step, the heaviest first
 *
 * A heap sort: it needs no more memory than its array, pauses between any two things, and has the
 * first ones long before the last.
 */
#ifndef DAEMON_CORE_RANKING_H
#define DAEMON_CORE_RANKING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/attributes.h"

struct ranked {
    uint64_t weight;
    const void *thing;
};

/** ranked_fn - whether one thing comes before another of the same weight */
typedef bool (*ranked_fn)(const void *thing, const void *other);

struct ranking {
    struct ranked *things; /* a heap, and behind it those that are in their places, last to first */
    uint32_t n_things;
    uint32_t max_things;
    uint32_t n_loose; /* the first so many are not yet above those below them */
    uint32_t n_first; /* so many are in their places */
    bool is_begun;
    ranked_fn is_before;
};

/** ranking_init() - room for max_things. Return: 0 or -ENOMEM. */
KMEM_MUST_USE int ranking_init(struct ranking *ranking, uint32_t max_things, ranked_fn is_before);

void ranking_fini(struct ranking *ranking);

/** ranking_add() - before the first step */
void ranking_add(struct ranking *ranking, uint64_t weight, const void *thing);

/**
 * ranking_step() - a small step towards the first n_first things
 * Return: what it cost, in things that were compared; 0: they are in their places.
 */
uint32_t ranking_step(struct ranking *ranking, size_t n_first);

/** ranking_at() - the thing of that rank, counted from 0, which is in its place */
const void *ranking_at(const struct ranking *ranking, size_t rank);

#endif

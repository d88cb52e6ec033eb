/* SPDX-License-Identifier: MIT */
#include "daemon/core/ranking.h"

#include <errno.h>
#include <stdlib.h>

int ranking_init(struct ranking *ranking, uint32_t max_things, ranked_fn is_before)
{
    *ranking = (struct ranking){.max_things = max_things, .is_before = is_before};
    ranking->things = calloc((size_t)max_things + 1, sizeof(*ranking->things)); /* not of nothing */
    return ranking->things ? 0 : -ENOMEM;
}

void ranking_fini(struct ranking *ranking)
{
    free(ranking->things);
    *ranking = (struct ranking){.things = NULL};
}

void ranking_add(struct ranking *ranking, uint64_t weight, const void *thing)
{
    KMEM_ASSERT(!ranking->is_begun);
    KMEM_ASSERT(ranking->n_things < ranking->max_things);
    ranking->things[ranking->n_things++] = (struct ranked){weight, thing};
}

static bool is_first(const struct ranking *ranking, const struct ranked *a, const struct ranked *b)
{
    return a->weight != b->weight ? a->weight > b->weight : ranking->is_before(a->thing, b->thing);
}

/* Lets the thing at a place of a heap go down to where it belongs. Return: how far, and 1. */
static uint32_t sift(const struct ranking *ranking, uint32_t at, uint32_t n_heap)
{
    struct ranked *things = ranking->things;
    const struct ranked moved = things[at];
    uint32_t n_steps = 1;
    while (2 * at + 1 < n_heap) {
        uint32_t child = 2 * at + 1;
        child += child + 1 < n_heap && is_first(ranking, &things[child + 1], &things[child]);
        if (!is_first(ranking, &things[child], &moved)) {
            break;
        }
        things[at] = things[child];
        at = child;
        n_steps++;
    }
    things[at] = moved;
    return n_steps;
}

uint32_t ranking_step(struct ranking *ranking, size_t n_first)
{
    if (!ranking->is_begun) {
        ranking->is_begun = true;
        ranking->n_loose = ranking->n_things / 2;
    }
    if (ranking->n_loose > 0) {
        return sift(ranking, --ranking->n_loose, ranking->n_things);
    }
    if (ranking->n_first >= n_first || ranking->n_first >= ranking->n_things) {
        return 0;
    }
    /* The first of those that are left goes behind them. */
    const uint32_t last = ranking->n_things - ++ranking->n_first;
    const struct ranked first = ranking->things[0];
    ranking->things[0] = ranking->things[last];
    ranking->things[last] = first;
    return sift(ranking, 0, last);
}

const void *ranking_at(const struct ranking *ranking, size_t rank)
{
    KMEM_ASSERT(rank < ranking->n_first);
    return ranking->things[ranking->n_things - 1 - rank].thing;
}

/* SPDX-License-Identifier: MIT */
/*
 * core_model.h - what the steps of test_core_model.c share: one run of one seed
 */
#ifndef TESTS_UNIT_CORE_MODEL_H
#define TESTS_UNIT_CORE_MODEL_H

#include <stdlib.h>

#include "tests/unit/fixture.h"
#include "tests/unit/unit.h"
#include "tests/support/model.h"
#include "tests/support/seeded.h"

#define N_REASONS 40

struct model_run {
    struct fixture fixture;
    struct core *core; /* the fixture's */
    struct model model;
    struct seeded seeded;
    uint64_t seed;
    uint32_t step;
    /* What was seen, so that a test which tests nothing shows. */
    uint32_t n_allocated;
    uint32_t n_refused;
    uint32_t n_over_quota;
    uint32_t n_released;
    uint32_t n_buried;
    uint32_t n_walks;
    uint32_t most_blocks;
    uint32_t n_leased;
    uint32_t n_carved;
    uint32_t n_made_room;
};

extern struct model_run run;

#define EXPECT(condition)                                                                          \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fail_msg("seed %llu, step %u, %s:%d: %s", (unsigned long long)run.seed, run.step,      \
                     __FILE__, __LINE__, #condition);                                              \
            abort(); /* not reached: it tells readers and analysers that nothing goes on */        \
        }                                                                                          \
    } while (0)

static inline uint32_t below(uint32_t limit)
{
    return seeded_below(&run.seeded, limit);
}

/** reason_given() - the words of a reason as a client gives them */
const char *reason_given(uint32_t number);

/** random_living() - a client that has not ended; NULL now and then, always if there is none */
struct model_client *random_living(void);

/** may_have() - whether the quota allows it; the core must say the same */
bool may_have(const struct model_client *client, uint64_t num_bytes);

#endif

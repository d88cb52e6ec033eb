/* SPDX-License-Identifier: MIT */
/*
 * crew.h - who competes, and the processes that play for them
 */
#ifndef TESTS_BENCH_CREW_H
#define TESTS_BENCH_CREW_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/bench/job.h"

enum contestant {
    CONTESTANT_KMEM,
    CONTESTANT_UNGUARDED, /* kmem with KMEM_GUARD=off: beside it, what the guard costs */
    CONTESTANT_GLIBC,
    CONTESTANT_JEMALLOC,
    CONTESTANT_MIMALLOC,
    CONTESTANT_TCMALLOC,
    CONTESTANT_BOOST,
    CONTESTANT_MEMSET,
    N_CONTESTANTS,
};

/* Sets of contestants, a bit each. */
#define CREW_KMEM (1U << CONTESTANT_KMEM)
#define CREW_UNGUARDED (1U << CONTESTANT_UNGUARDED)
#define CREW_MALLOCS                                                                               \
    (1U << CONTESTANT_GLIBC | 1U << CONTESTANT_JEMALLOC | 1U << CONTESTANT_MIMALLOC |              \
     1U << CONTESTANT_TCMALLOC)
#define CREW_BOOST (1U << CONTESTANT_BOOST)
#define CREW_MEMSET (1U << CONTESTANT_MEMSET)

#define CREW_PLAYERS_MAX 8

/** crew_name() - "jemalloc" */
const char *crew_name(enum contestant contestant);

/** crew_missing() - the Debian package without which a contestant did not play; NULL if it did */
const char *crew_missing(enum contestant contestant);

/** crew_open() - start players for each contestant of a set; who is not installed is left out */
void crew_open(unsigned int set, uint32_t n_players);

/** crew_has() - whether there are players for a contestant in the open crew */
bool crew_has(enum contestant contestant);

/**
 * crew_play() - let a contestant's first players play at the same time
 * @ret_outcomes:  of each of the n_players
 */
void crew_play(enum contestant contestant, uint32_t n_players, const struct job *job,
               struct outcome *ret_outcomes);

/** crew_close() - the players end, and Boost's shared memory with them */
void crew_close(void);

#endif

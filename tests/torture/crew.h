/* SPDX-License-Identifier: MIT */
/*
 * crew.h - the workers: always as many, a dead one's place is taken at once
 *
 * A worker that ends without having been killed by crew_kill() fails the campaign: nobody is
 * restarted because of what happens to a server.
 */
#ifndef TESTS_TORTURE_CREW_H
#define TESTS_TORTURE_CREW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "tests/system/client.h"
#include "tests/torture/oracle.h"
#include "tests/torture/worker.h"
#include "tests/support/seeded.h"

/* 512: more than are killed between two audits. */
#define CREW_DEAD_MAX 512

/* A worker that was killed, until the audit has asked for its obituary. */
struct crew_dead {
    pid_t pid;
    uint64_t n_server_ends; /* of the crew, when it died */
    struct oracle_estate estate;
};

struct crew {
    struct world *world;
    struct seeded seeded; /* of the plan */
    struct worker workers[ORACLE_WORKERS];
    struct client clients[ORACLE_WORKERS];
    struct crew_dead *dead; /* CREW_DEAD_MAX */
    size_t n_dead;
    uint64_t n_server_ends; /* what the killer did to servers so far */
    uint64_t n_started;
    uint64_t n_killed;
    uint64_t n_steps; /* of those that are dead */
    uint64_t n_leavings;
};

/** crew_init() - as many as there are places begin to work */
void crew_init(struct crew *crew, uint64_t seed);

/** crew_fini() - of what crew_end() has left */
void crew_fini(struct crew *crew);

/** crew_kill() - SIGKILL to one; it is reaped, and another takes its place */
void crew_kill(struct crew *crew, uint32_t number);

/** crew_check() - want nobody to have ended of itself */
void crew_check(struct crew *crew);

/** crew_pause() - wait until every thread of every worker stands between two steps */
void crew_pause(struct crew *crew);
void crew_continue(struct crew *crew);

/** crew_end() - every worker ends of itself, some with blocks that they still have */
void crew_end(struct crew *crew);

/** crew_steps() - that were ever done */
uint64_t crew_steps(const struct crew *crew);

#endif

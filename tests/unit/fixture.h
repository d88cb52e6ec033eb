/* SPDX-License-Identifier: MIT */
/*
 * fixture.h - a core in memory, and processes that exist for it only
 */
#ifndef TESTS_UNIT_FIXTURE_H
#define TESTS_UNIT_FIXTURE_H

#include <stdint.h>

#include "daemon/core.h"

/* The name of its segment. */
#define FIXTURE_NAME "fixture"
#define FIXTURE_BORN_MS UINT64_C(1000000)

struct fixture {
    struct core core;
    void *state_base;
    uint64_t state_bytes;
    uint64_t now_ms; /* what the functions below take for the present */
    uint32_t n_buried;
    struct obituary last; /* buried */
};

void fixture_init(struct fixture *fixture, uint32_t n_pages, uint32_t clients_limit);

/** fixture_fini() - end everybody, and assert that the segment is as it was at the beginning */
void fixture_fini(struct fixture *fixture);

/** fixture_identity() - the process `pid`: user 1000 + pid % 3, command "worker-PID" */
struct client_identity fixture_identity(uint32_t pid);

struct client *fixture_join(struct fixture *fixture, uint32_t pid);

/** fixture_allocate() - which must succeed */
struct seg_off fixture_allocate(struct fixture *fixture, struct client *client, uint64_t num_bytes,
                                const char *reason);

void fixture_release(struct fixture *fixture, struct client *client, struct seg_off off);

/** fixture_end() - end a client, and reap until it is buried */
void fixture_end(struct fixture *fixture, struct client *client, bool left);

/** fixture_reap() - one core_reap(); obituaries end up in the fixture */
void fixture_reap(struct fixture *fixture, uint32_t budget);

#endif

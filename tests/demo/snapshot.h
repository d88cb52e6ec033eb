/* SPDX-License-Identifier: MIT */
/*
 * snapshot.h - what the daemon answers, kept for one frame of the screen
 */
#ifndef DEMO_SNAPSHOT_H
#define DEMO_SNAPSHOT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <kmem/query.h>

/* More groups than the tallest terminal shows; the others are summed up. */
#define SNAPSHOT_ROWS_MAX 64

struct snapshot_row {
    char reason[64]; /* escaped, cut */
    uint64_t n_blocks;
    uint64_t num_bytes;
};

struct snapshot {
    uint64_t segment_bytes;
    uint64_t used_bytes;
    uint64_t free_bytes;
    uint64_t overhead_bytes;
    uint64_t peak_bytes;
    uint64_t n_blocks;
    uint64_t n_clients;
    uint64_t n_allocations;
    uint64_t n_releases;
    struct snapshot_row rows[SNAPSHOT_ROWS_MAX]; /* most bytes first */
    size_t n_rows;
    size_t n_groups; /* n_rows and those that have no room */
};

/** snapshot_take() - ask for usage and ledger. Ends the process if the daemon does not answer. */
void snapshot_take(struct kmem_query *query, struct snapshot *ret_snapshot);

/** snapshot_row_before() - the row with the same reason in an earlier snapshot, or NULL */
const struct snapshot_row *snapshot_row_before(const struct snapshot *earlier, const char *reason);

/* An obituary, and how long the daemon took to write it. */
struct farewell {
    uint64_t n_blocks;
    uint64_t num_bytes;
    uint64_t took_us;
    char reason[64]; /* what most of it was for */
};

/**
 * farewell_wait() - wait for the obituary of a process that was killed at killed_us
 * Return: 0; -1 if there is none within a second.
 */
int farewell_wait(struct kmem_query *query, pid_t pid, uint64_t killed_us,
                  struct farewell *ret_farewell);

/** count_deaths() - how many processes have ended without leaving the segment first */
size_t count_deaths(struct kmem_query *query);

/** blocks_of() - how many live blocks a process owns */
size_t blocks_of(struct kmem_query *query, pid_t pid);

/** now_us() - microseconds on a clock that only goes forward */
uint64_t now_us(void);

#endif

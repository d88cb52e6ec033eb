/* SPDX-License-Identifier: MIT */
/*
 * usage.h - ask the daemon what its segment is used for
 *
 * Each question is a new connection of an observer, so the figures are what any other process would
 * be told at that moment.
 */
#ifndef TESTS_SYSTEM_USAGE_H
#define TESTS_SYSTEM_USAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "proto/kmem.pb-c.h"

struct usage {
    uint64_t segment_bytes;
    uint64_t most_bytes; /* that it may have, for which layouts are */
    uint64_t used_bytes;
    uint64_t free_bytes;
    uint64_t overhead_bytes;
    uint64_t blocks;
    uint64_t clients;
    uint64_t largest_hole_bytes;
    uint64_t allocations;
    uint64_t releases;
    uint64_t refusals;
    uint64_t requests;
    uint64_t protocol_errors;
    uint64_t clients_seen;
    uint64_t clients_ended;
    uint64_t reasons;
    uint64_t leased_bytes;
    uint64_t unused_bytes; /* of them */
    uint64_t idle_bytes;
    uint64_t rounding_bytes;
    uint64_t slab_bytes;
    uint64_t first_page_bytes;
    uint64_t largest_extent_bytes;
    uint64_t scattered_bytes;
    uint64_t revoked_bytes;
    uint64_t reclaimed_bytes;
    uint64_t leases;
    uint64_t waiting_bytes;
    uint64_t resident_bytes;
};

/** usage_take() - the figures of this moment; wants what must add up to add up */
struct usage usage_take(void);

/** usage_ask() - the same, on an observer's connection that is there already */
struct usage usage_ask(int fd);

/** usage_clearing_bytes() - how far the first loop goes that clears, as clear_loop_bytes says */
uint64_t usage_clearing_bytes(void);

/** expect_usage() - want exactly this to be live */
#define expect_usage(used_bytes, n_blocks) usage_expect(__FILE__, __LINE__, used_bytes, n_blocks)
void usage_expect(const char *file, int line, uint64_t used_bytes, uint64_t n_blocks);

/**
 * expect_balanced() - want everything to be as it was when the daemon had started, within 2 s
 *
 * No client, no block, no byte used, as much free as then, as many descriptors, and no more memory
 * of its own than a bounded amount above what it had.
 */
#define expect_balanced() usage_expect_balanced(__FILE__, __LINE__)
void usage_expect_balanced(const char *file, int line);

/** daemon_stop_balanced() - want that, and stop the daemon: how most tests end */
#define daemon_stop_balanced()                                                                     \
    do {                                                                                           \
        expect_balanced();                                                                         \
        daemon_stop();                                                                             \
    } while (0)

/* One row of the ledger. */
struct ledger_row {
    char key[128];
    uint64_t n_blocks;
    uint64_t num_bytes;
    pid_t pid;
    uid_t uid;
};

/** ledger_rows() - roll up the live blocks. Return: the number of rows, of which capacity fit. */
size_t ledger_rows(Kmem__GroupBy by, struct ledger_row *rows, size_t capacity);

/** expect_ledger_row() - want a reason to have this many blocks and bytes */
#define expect_ledger_row(key, n_blocks, num_bytes)                                                \
    ledger_expect_row(__FILE__, __LINE__, key, n_blocks, num_bytes)
void ledger_expect_row(const char *file, int line, const char *key, uint64_t n_blocks,
                       uint64_t num_bytes);

/**
 * expect_ledger_sound() - want every block inside the segment, none overlapping another, and their
 * sum to be what the usage and each of the three roll-ups say. Nobody may allocate meanwhile.
 */
#define expect_ledger_sound() ledger_expect_sound(__FILE__, __LINE__)
void ledger_expect_sound(const char *file, int line);

/* One live block. */
struct block_row {
    uint64_t offset;
    uint64_t num_bytes;
    uint64_t age_ms;
    bool leased;
    char reason[128];
};

/** ledger_blocks_of() - the blocks of a process, by offset. Return: how many there are. */
size_t ledger_blocks_of(pid_t pid, struct block_row *rows, size_t capacity);

/* One row of the table of clients. */
struct client_row {
    bool found;
    bool connected;
    uid_t uid;
    uint64_t n_blocks;
    uint64_t num_bytes;
    uint64_t peak_bytes;
    uint64_t peak_used_bytes;
    uint64_t leased_bytes;
    uint64_t unused_bytes;
    uint64_t idle_bytes;
    uint64_t age_ms;
    char command[32];
};

/** client_row_of() - what the daemon knows of a process */
struct client_row client_row_of(pid_t pid);

#define OBITUARY_ROWS 8

struct obituary {
    bool found;
    bool left;
    uint64_t n_blocks;
    uint64_t num_bytes;
    uint64_t peak_bytes;
    uint64_t peak_used_bytes;
    uint64_t lived_ms;
    uint64_t n_reasons;
    size_t n_rows;
    struct ledger_row rows[OBITUARY_ROWS]; /* the largest reasons */
};

/** obituary_of() - what the daemon remembers of a process that has ended */
struct obituary obituary_of(pid_t pid);

#endif

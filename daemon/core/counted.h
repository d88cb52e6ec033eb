/* SPDX-License-Identifier: MIT */
/*
 * counted.h - what clients count of their own blocks: proto/counts.h
 *
 * A client writes these numbers at will, and perhaps to deceive. They are added up and shown;
 * nothing is decided from them.
 */
#ifndef DAEMON_CORE_COUNTED_H
#define DAEMON_CORE_COUNTED_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/core/clients.h"
#include "proto/attributes.h"

struct counted {
    uint64_t n_releases; /* of leased blocks */
    uint64_t n_misuses;
    uint64_t n_too_large;
    uint64_t n_invalid;
};

/** counted_read() - what a client has counted; all zero if it has no ledger */
struct counted counted_read(const struct client *client);

/** counted_releases() - n_releases alone. Return: false: it does not count all; or no ledger. */
KMEM_MUST_USE bool counted_releases(const struct client *client, uint64_t *ret_n_releases);

/** counted_live_bytes() - what it says of its live blocks, direct ones too; not more than it has */
uint64_t counted_live_bytes(const struct client *client);

/** counted_peak_bytes() - the most that was, by its own account; not more than it ever had */
uint64_t counted_peak_bytes(const struct client *client);

/** counted_add() - what two have counted */
void counted_add(struct counted *sum, const struct counted *counted);

/** counted_note_peak() - look what a client's live blocks came to at most, by its own account */
void counted_note_peak(struct client *client, struct state_counters *counters);

/**
 * counted_note_peaks() - likewise of all clients, and what they come to together now
 *
 * Some ten times a second: what is given out and taken back between two looks is not seen.
 * Return: what they come to.
 */
uint64_t counted_note_peaks(struct clients *clients, struct state_counters *counters);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * counted.h - what clients count of their own blocks: proto/counts.h
 *
 * A client writes these numbers at will, and perhaps to deceive. They are added up and shown;
 * nothing is decided from them.
 */
#ifndef DAEMON_COUNTED_H
#define DAEMON_COUNTED_H

#include <stdint.h>

#include "daemon/clients.h"

struct counted {
    uint64_t n_releases; /* of leased blocks */
    uint64_t n_misuses;
    uint64_t n_too_large;
    uint64_t n_invalid;
    uint64_t live_bytes; /* direct blocks, too */
    uint64_t peak_bytes;
};

/** counted_read() - what a client has counted; all zero if it has no ledger */
struct counted counted_read(const struct client *client);

/** counted_add() - what two have counted; live bytes and peaks are no sums, and left alone */
void counted_add(struct counted *sum, const struct counted *counted);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * segments.h - which segments there are
 */
#ifndef CTL_SEGMENTS_H
#define CTL_SEGMENTS_H

#include <stdint.h>

#include <kmem/query.h>

#include "client/ctl/figures.h"
#include "client/ctl/options.h"

/* One of them, as far as its daemon says how it is. */
struct segment_row {
    const char *name;
    const char *socket;
    const char *version;
    int error; /* of asking it; 0: it has answered */
    uint32_t pid;
    uint64_t segment_bytes;
    uint64_t used_bytes;
    uint64_t free_bytes;
    uint64_t clients;
};

/** segments_fill() - take what a daemon has said; the version is borrowed */
void segments_fill(struct segment_row *segment, const struct figures *figures);

typedef int (*segments_found_fn)(const char *name, const char *socket, void *user);

/**
 * segments_find() - look which sockets of daemons there are, and ask none of them
 * @found:  what it returns ends the look if it is negative; the strings are borrowed
 * Return: 0, or a negative errno.
 */
KMEM_MUST_USE int segments_find(segments_found_fn found, void *user);

/**
 * segments_open() - connect to the daemon that the options name, or say why not, on stderr
 *
 * And which segments do answer this user, if that may be what was meant.
 * Ownership: the caller's until kmem_query_close(). Return: STATUS_OK or an exit status.
 */
KMEM_MUST_USE int segments_open(const struct options *options, struct kmem_query **ret_query);

#endif

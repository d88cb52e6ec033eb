/* SPDX-License-Identifier: MIT */
/*
 * snapshot.h - what a segment is used for at one time, kept in a file
 *
 * A JSON document with the version of its form, which segment it is of (its name, and its instance,
 * by which it differs from one of that name that there was before), when it was taken, every figure
 * of the daemon and the ledger by reason. Members may be added; a reader takes what it knows.
 */
#ifndef CTL_SNAPSHOT_H
#define CTL_SNAPSHOT_H

#include <stddef.h>
#include <stdint.h>

#include <kmem/query.h>

#include "client/ctl/figures.h"
#include "client/ctl/groups.h"

#define SNAPSHOT_VERSION 1

struct snapshot {
    char *segment_name;
    uint64_t instance;      /* 0: unknown */
    uint64_t taken_ms;      /* since 1970, UTC */
    struct figures figures; /* of one that was taken, not of one that was read */
    struct groups groups;   /* by reason */
};

/** snapshot_take() - ask for it. Return: 0 or a negative errno; snapshot_fini() is due anyway. */
KMEM_MUST_USE int snapshot_take(struct snapshot *snapshot, struct kmem_query *query);

/**
 * snapshot_write() - write it to a file, all or nothing; "-" is the standard output
 * Return: 0 or a negative errno.
 */
KMEM_MUST_USE int snapshot_write(const struct snapshot *snapshot, const char *path);

/**
 * snapshot_read() - read one; snapshot_fini() is due anyway
 * @ret_why:  what is wrong, a sentence; written if anything is
 * Return: 0; -EINVAL: the file is no snapshot; a negative errno.
 */
#define SNAPSHOT_WHY_BYTES 256
KMEM_MUST_USE int snapshot_read(struct snapshot *snapshot, const char *path, char *ret_why);

void snapshot_fini(struct snapshot *snapshot);

#endif

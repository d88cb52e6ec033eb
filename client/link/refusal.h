/* SPDX-License-Identifier: MIT */
/*
 * refusal.h - the daemon's Error as an errno and a sentence
 */
#ifndef CLIENT_LINK_REFUSAL_H
#define CLIENT_LINK_REFUSAL_H

#include <stdint.h>

#include "client/failure.h"
#include "proto/kmem.pb-c.h"
#include "proto/ledger.h"

/* A block, for people. */
struct leased_block {
    struct seg_off offset;
    uint64_t num_bytes;
    char reason[REASON_MAX_BYTES + 1];
};

/** kmem__refusal_of_block() - about a release or a size, of what is at offset. Return: -errno. */
int kmem__refusal_of_block(const Kmem__Error *error, struct seg_off offset,
                           struct failure *failure);

/**
 * kmem__refusal_of_leased() - the same, in the same words, about a block that this process carved
 * @code:   WILD, INTERIOR or RELEASED
 * @block:  for INTERIOR: where the block begins, how large it is, and why it was wanted
 */
int kmem__refusal_of_leased(Kmem__ErrorCode code, struct seg_off offset,
                            const struct leased_block *block, struct failure *failure);

/** kmem__refusal_of_room() - about an allocation of num_bytes for reason. Return: -errno. */
int kmem__refusal_of_room(const Kmem__Error *error, uint64_t num_bytes, const char *reason,
                          struct failure *failure);

/** kmem__refusal_of_handle() - about a handle or a name, in the daemon's words. Return: -errno. */
int kmem__refusal_of_handle(const Kmem__Error *error, struct failure *failure);

/** kmem__refusal_of_lease() - in the daemon's words alone. Return: -errno. */
int kmem__refusal_of_lease(const Kmem__Error *error, struct failure *failure);

/** kmem__refusal_of_hello() - about joining, at the socket path. Return: -errno. */
int kmem__refusal_of_hello(const Kmem__Error *error, const char *path, struct failure *failure);

/** kmem__refusal_of_query() - about a question. Return: -errno. */
int kmem__refusal_of_query(const Kmem__Error *error, struct failure *failure);

#endif

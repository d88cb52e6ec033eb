/* SPDX-License-Identifier: MIT */
/*
 * refusal.h - the daemon's Error as an errno and a sentence
 */
#ifndef CLIENT_REFUSAL_H
#define CLIENT_REFUSAL_H

#include <stdint.h>

#include "client/failure.h"
#include "proto/kmem.pb-c.h"
#include "proto/ledger.h"

/** kmem__refusal_of_block() - about a release or a size, of what is at offset. Return: -errno. */
int kmem__refusal_of_block(const Kmem__Error *error, struct seg_off offset,
                           struct failure *failure);

/** kmem__refusal_of_room() - about an allocation of num_bytes for reason. Return: -errno. */
int kmem__refusal_of_room(const Kmem__Error *error, uint64_t num_bytes, const char *reason,
                          struct failure *failure);

/** kmem__refusal_of_hello() - about joining, at the socket path. Return: -errno. */
int kmem__refusal_of_hello(const Kmem__Error *error, const char *path, struct failure *failure);

/** kmem__refusal_of_query() - about a question. Return: -errno. */
int kmem__refusal_of_query(const Kmem__Error *error, struct failure *failure);

#endif

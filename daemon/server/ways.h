/* SPDX-License-Identifier: MIT */
/*
 * ways.h - by which clients come back: a pair of sockets for each, as long as the client lives
 *
 * One end is the client's, the other the server's, and the keeper's for the next server. Whoever
 * says Hello there with the client's nonce is given a connection through it: no path, no rights in
 * the file system and no /proc are needed for that.
 */
#ifndef DAEMON_SERVER_WAYS_H
#define DAEMON_SERVER_WAYS_H

#include <stddef.h>
#include <stdint.h>

#include <uv.h>

#include "proto/attributes.h"

/* The last whole frame of what a client has said on its way back, without the length. */
typedef void (*ways_fn)(uint32_t slot, const unsigned char *payload, size_t payload_bytes,
                        void *user);

struct way;

struct ways {
    uv_loop_t *loop;
    struct way **ways; /* by slot */
    ways_fn heard;
    void *user;
};

/** ways_init() - no way yet. Return: 0 or -ENOMEM. */
KMEM_MUST_USE int ways_init(struct ways *ways, uv_loop_t *loop, ways_fn heard, void *user);

/** ways_fini() - asserts that there is none */
void ways_fini(struct ways *ways);

/** ways_pair() - make one: [0] is the server's end, [1] the client's. Return: 0 or -errno. */
KMEM_MUST_USE int ways_pair(int ret_fds[2]);

/**
 * ways_open() - listen to a slot's way, in place of the one that it has
 * @fd:  the ways' own from now on, also on error
 * Return: 0 or a negative errno, and the slot has none.
 */
KMEM_MUST_USE int ways_open(struct ways *ways, uint32_t slot, int fd);

/** ways_answer() - send a frame, and a descriptor unless it is -1. Return: 0 or -errno. */
KMEM_MUST_USE int ways_answer(const struct ways *ways, uint32_t slot, const unsigned char *frame,
                              size_t frame_bytes, int fd);

/** ways_close() - the slot is free; nothing if it has no way */
void ways_close(struct ways *ways, uint32_t slot);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * keeper_link.h - the server's end of the control socket: what ties it to its keeper
 */
#ifndef DAEMON_SERVER_KEEPER_LINK_H
#define DAEMON_SERVER_KEEPER_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "daemon/control.h"
#include "daemon/log.h"
#include "proto/attributes.h"
#include "proto/limits.h"

/* A message that is not about the loop itself; its descriptors are the receiver's. */
typedef void (*keeper_link_fn)(const struct control_message *message, void *user);

struct keeper_link {
    uv_poll_t poll;
    int fd;
    uint32_t n_faults; /* of reading, one after the other */
    keeper_link_fn told;
    void *user;
    struct log_limit drops_limit;
    bool not_reading; /* the keeper has let a message wait for too long, and has taken none since */
    uint32_t n_to_drop; /* slots in to_drop */
    /* Of which the keeper could not be told yet that their files are needed no more. */
    uint64_t to_drop[(CLIENTS_MAX + 63) / 64];
};

/**
 * keeper_link_open() - listen to the keeper; if it ends, so does this process, at once
 * @fd:  the control socket; the keeper link's from now on, also on error
 * Return: 0 or a negative errno.
 */
KMEM_MUST_USE int keeper_link_open(struct keeper_link *keeper_link, uv_loop_t *loop, int fd,
                                   keeper_link_fn told, void *user);

/** keeper_link_close() - the process is about to end */
void keeper_link_close(struct keeper_link *keeper_link);

/** keeper_link_ready() - tell the keeper that clients are served. Return: 0 or a negative errno. */
KMEM_MUST_USE int keeper_link_ready(const struct keeper_link *keeper_link);

/** keeper_link_alive() - a heartbeat, unasked: for a server that starts */
void keeper_link_alive(const struct keeper_link *keeper_link);

/**
 * keeper_link_keep() - hand a client's files over; they stay the server's as well
 * @way_fd:  the server's end of its way back; -1: it has none
 *
 * When it returns they are where they outlive this process. Return: 0 or a negative errno; -EAGAIN:
 * the keeper does not listen. It is given a tenth of a second, once, until it listens again.
 */
KMEM_MUST_USE int keeper_link_keep(struct keeper_link *keeper_link, uint32_t slot, int ledger_fd,
                                   int pidfd, int way_fd);

/** keeper_link_config() - the next server starts with this: config_kept.h
 * Return: 0 or a negative errno: -EAGAIN if the keeper does not listen. */
KMEM_MUST_USE int keeper_link_config(const struct keeper_link *keeper_link, int fd);

/** keeper_link_drop() - a slot's files are needed no more; the keeper is told when it listens */
void keeper_link_drop(struct keeper_link *keeper_link, uint32_t slot);

#endif

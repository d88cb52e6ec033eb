/* SPDX-License-Identifier: MIT */
/*
 * control.h - what keeper and server say to each other
 *
 * Over a pair of sequenced-packet sockets. A packet that was sent is in the other's queue, with its
 * descriptors, whatever becomes of the sender: so the server hands a client's files over before it
 * answers the client, and waits for no answer; the keeper reads all that a dead server has left
 * behind before it starts the next.
 */
#ifndef DAEMON_CONTROL_H
#define DAEMON_CONTROL_H

#include <stddef.h>
#include <stdint.h>

#include "proto/attributes.h"

enum control_kind {
    /* from the server */
    CONTROL_READY = 1, /* clients are served */
    CONTROL_KEEP,      /* a client's ledger and pidfd, and its way back if it has one, by slot */
    CONTROL_DROP,      /* they are needed no more */
    CONTROL_ALIVE,     /* a heartbeat: an answer to a ping, or a step of the start */
    CONTROL_FITS,      /* of a program that looked at the state: it can go on with it, and speaks
                          this version of the protocol, in place of a slot */
    CONTROL_CONFIG,    /* the configuration that is in force from now on: config_kept.h */
    /* from the keeper */
    CONTROL_PING = 100, /* does the loop turn? */
    CONTROL_END,        /* take everything back and end */
    CONTROL_LEAVE,      /* end, and leave everything to the next */
    CONTROL_LISTENER,   /* another listening socket, in place of the first */
};

#define CONTROL_FDS_MAX 3
/* Changes when one of two neighbouring versions would misunderstand the other. */
#define CONTROL_VERSION 2

struct control_message {
    uint32_t version;
    uint32_t kind;
    uint32_t slot;
    uint32_t n_fds;           /* that came with it; on receipt */
    int fds[CONTROL_FDS_MAX]; /* -1: there is none */
};

/** control_pair() - two ends, close-on-exec. Return: 0 or a negative errno. */
KMEM_MUST_USE int control_pair(int ret_fds[2]);

/**
 * control_send() - send a message; the descriptors stay the sender's
 * @patience_ms:  how long to wait while the other's queue is full; 0: not at all
 * Return: 0 or a negative errno: -EAGAIN if it is still full.
 */
KMEM_MUST_USE int control_send(int fd, enum control_kind kind, uint32_t slot, const int *fds,
                               size_t n_fds, int patience_ms);

/**
 * control_receive() - take the next message, if there is one
 *
 * Ownership: its descriptors are the receiver's. Return: 0; -EAGAIN: there is none; -EPIPE: the
 * other end is closed, and everything was read; or another negative errno.
 */
KMEM_MUST_USE int control_receive(int fd, struct control_message *ret_message);

/** control_close_fds() - close the descriptors of a message that nobody wants */
void control_close_fds(const struct control_message *message);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * ask.h - requests that are repeated until they are answered, or their time is over
 */
#ifndef CLIENT_LINK_ASK_H
#define CLIENT_LINK_ASK_H

#include <stdbool.h>
#include <stdint.h>

#include "client/failure.h"
#include "client/link/conn.h"
#include "proto/attributes.h"

/** kmem__ask_sequence() - of the next change of this client; 0 if it can not come back to repeat it
 */
uint64_t kmem__ask_sequence(const struct conn *conn);

/**
 * kmem__ask_insist() - ask, over as many connections as it takes
 *
 * A request that changes something has the same sequence number each time: the daemon does it once.
 * Return: as kmem__conn_ask().
 */
KMEM_MUST_USE int kmem__ask_insist(struct conn *conn, Kmem__Request *request,
                                   Kmem__Response__BodyCase expected,
                                   const Kmem__Response **ret_response, struct failure *failure);

/**
 * kmem__ask() - the same, count the change, and tell what a lost connection means for a program
 * Return: as kmem__conn_ask().
 */
KMEM_MUST_USE int kmem__ask(struct conn *conn, Kmem__Request *request,
                            Kmem__Response__BodyCase expected, const Kmem__Response **ret_response,
                            struct failure *failure);

/** kmem__ask_can_repeat() - whether another connection would do in place of the one that is lost */
bool kmem__ask_can_repeat(const struct conn *conn);

/**
 * kmem__ask_is_in_doubt() - whether a call that failed so has left its request with a daemon that
 *                           will know it again
 */
bool kmem__ask_is_in_doubt(const struct conn *conn, int r);

#endif

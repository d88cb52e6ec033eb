/* SPDX-License-Identifier: MIT */
/*
 * share_calls.h - what the daemon is asked about shared blocks: one round trip each
 */
#ifndef CLIENT_LINK_SHARE_CALLS_H
#define CLIENT_LINK_SHARE_CALLS_H

#include "client/failure.h"
#include "client/link/conn.h"
#include "client/map/segment.h"
#include "proto/attributes.h"

/**
 * kmem__share_calls_ask() - ask, when nothing is in doubt any more: kmem__calls_settle()
 * @request:       of kind SHARE_x
 * @ret_response:  lives until the next request; written for CONN_OK and CONN_E_REFUSED
 * @failure:       receives the sentence of a fault
 *
 * A request whose answer does not come in time stays in doubt, and is asked for again before the
 * next change: ticket.follow says then what is to be done about it.
 *
 * Return: CONN_OK: the response adds up, and its blocks are in the segment; CONN_E_REFUSED; or a
 * fault.
 */
KMEM_MUST_USE int kmem__share_calls_ask(struct conn *conn, const struct segment *segment,
                                        const struct share_request *request,
                                        const Kmem__Response **ret_response,
                                        struct failure *failure);

/** kmem__share_calls_is_doubtful() - whether what was asked last may happen yet */
bool kmem__share_calls_is_doubtful(const struct conn *conn);

#endif

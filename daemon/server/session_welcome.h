/* SPDX-License-Identifier: MIT */
/*
 * session_welcome.h - the one response with which descriptors go
 */
#ifndef DAEMON_SERVER_SESSION_WELCOME_H
#define DAEMON_SERVER_SESSION_WELCOME_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "daemon/server/session.h"

/** session_n_descriptors() - how many of them there are for a client */
uint32_t session_n_descriptors(const struct session *session);

/** session_send_welcome() - send a frame, with them. Return: the bytes sent, or a negative errno. */
ssize_t session_send_welcome(struct session *session, const unsigned char *bytes, size_t n_bytes);

#endif

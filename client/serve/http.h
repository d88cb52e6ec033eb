/* SPDX-License-Identifier: MIT */
/*
 * http.h - paths in, replies out
 *
 * GET and HEAD alone, one request a connection, 128 connections at most. A handler waits a second
 * for the daemons that it asks, and answers with what there is then.
 */
#ifndef SERVE_HTTP_H
#define SERVE_HTTP_H

#include <kmem/kmem.h>

#include "client/serve/sources.h"

struct http;

/**
 * http_start() - serve requests
 * @fd:     listens; becomes the server's
 * @names:  names of this server that a request may be for, NULL at the end; borrowed
 * Return: 0 or a negative errno; fd is closed then.
 */
KMEM_MUST_USE int http_start(int fd, struct sources *sources, const char *const *names,
                             struct http **ret_http);

/** http_expire() - end connections that have lived for too long; once a second or so */
void http_expire(struct http *http);

/** http_stop() - take no more requests, and wait for those that are answered. Return: NULL. */
struct http *http_stop(struct http *http);

#endif

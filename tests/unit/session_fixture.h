/* SPDX-License-Identifier: MIT */
/*
 * session_fixture.h - a server in this thread, and connections to it from this thread
 *
 * The server is put together by hand around the real sessions, core and pidfd watch; its loop turns
 * while somebody listens for an answer.
 */
#ifndef TESTS_UNIT_SESSION_FIXTURE_H
#define TESTS_UNIT_SESSION_FIXTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/server/server.h"
#include "tests/wire/frames.h"
#include "tests/wire/request.h"

#define SESSION_PAGES 256
#define SESSION_CLIENTS 4
#define SESSION_DESCRIPTORS 60 /* for clients and connections */

/* The server, and what admission_accept() returned last. */
extern struct server session_server;
extern int session_accepted;

int session_setup(void **state);

/** session_teardown() - asserts that no descriptor, session or block is left */
int session_teardown(void **state);

/** session_listen_again() - after admission_accept() has failed */
void session_listen_again(void);

/** turn() - let the loop do what there is to do */
void turn(void);

/** connection_open() - connect; the server has not accepted yet */
int connection_open(void);

/** connection_close() - and let the server see it */
void connection_close(int fd);

/** say_bytes() - send bytes, which the socket must take */
void say_bytes(int fd, const void *bytes, size_t n_bytes);

/** say() - send a request as a frame */
void say(int fd, const Kmem__Request *request);

/** hear() - Return: the next response, valid until the next call; NULL: the connection is closed */
const Kmem__Response *hear(int fd);

/** hear_with_descriptors() - likewise, with what came along */
const Kmem__Response *hear_with_descriptors(int fd, struct wire_descriptors *ret_descriptors);

/** hear_nothing() - whether the server sends nothing and keeps the connection, some turns long */
bool hear_nothing(int fd);

/** say_hello() - as the client that this process is, if it is one */
void say_hello(int fd, Kmem__Role role);

/** connection_open_member() - connect and join; the descriptors that came are closed */
int connection_open_member(void);

int connection_open_observer(void);

#endif

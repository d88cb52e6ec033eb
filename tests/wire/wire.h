/* SPDX-License-Identifier: MIT */
/*
 * wire.h - speak to the daemon's socket without the library: rightly, and wrongly
 *
 * A client of the daemon is a process. A test that says Hello as a member over two connections is
 * one client, and it is a client until it ends or says Goodbye; so conversations of members run in
 * a process of their own, with client_run().
 */
#ifndef TESTS_WIRE_WIRE_H
#define TESTS_WIRE_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/kmem.pb-c.h"
#include "proto/limits.h"
#include "tests/wire/frames.h"
#include "tests/wire/request.h"

/** wire_want_ways() - from now on members say that they want a way back, too */
void wire_want_ways(void);

/** wire_connect() - a connection on which nothing was said yet */
int wire_connect(void);

/** wire_try_connect() - the same. Return: the descriptor, or a negative errno. */
int wire_try_connect(void);

/** wire_observer() - a connection that said Hello as an observer and was welcomed */
int wire_observer(void);

/** wire_member() - as a member; the descriptors that come are checked and closed */
int wire_member(void);

/* What comes with a Welcome for a member; the last only if it wants one. */
enum { WIRE_SEGMENT, WIRE_LEDGER, WIRE_CLOCK, WIRE_WAY };

/** wire_member_with() - as a member that keeps what comes; wire_close_descriptors() */
int wire_member_with(struct wire_descriptors *ret_descriptors);

/* What a Welcome says to a member. */
struct wire_welcome {
    uint64_t nonce;
    uint64_t instance;
    uint32_t slot;
    bool resumed;
};

/** wire_welcome() - what the last one of this process said */
const struct wire_welcome *wire_welcome(void);

/** wire_member_again() - as the member that this process was welcomed as last */
int wire_member_again(void);

void wire_close_descriptors(struct wire_descriptors *descriptors);

/** wire_hello() - send Hello. Return: the answer; what came with it is the caller's to close. */
Kmem__Response *wire_hello(int fd, uint32_t version, Kmem__Role role,
                           struct wire_descriptors *ret_descriptors);

/** wire_hello_again() - the same, with the nonce that an earlier Welcome gave */
Kmem__Response *wire_hello_again(int fd, uint32_t version, Kmem__Role role, uint64_t nonce,
                                 struct wire_descriptors *ret_descriptors);

/** wire_send_bytes() - send bytes as they are; a peer that closes is no failure */
void wire_send_bytes(int fd, const void *bytes, size_t n_bytes);

/** wire_send() - send a request as a frame */
void wire_send(int fd, const Kmem__Request *request);

/** wire_receive() - want an answer within 5 s; wire_free() it */
Kmem__Response *wire_receive(int fd);

/** wire_try_receive() - an answer, or NULL if the daemon closes instead */
Kmem__Response *wire_try_receive(int fd);

Kmem__Response *wire_ask(int fd, const Kmem__Request *request);

/** wire_ask_for() - want an answer of this kind */
Kmem__Response *wire_ask_for(int fd, const Kmem__Request *request,
                             Kmem__Response__BodyCase body_case);

void wire_free(Kmem__Response *response);

/** wire_sequence() - of the changes that are asked for from now on; 0: they have none */
void wire_sequence(uint64_t number);

/** wire_lease() - want exactly n_pages. Return: the first */
uint32_t wire_lease(int fd, uint32_t n_pages);

/* Requests by name. Return: the offset, or 0 and the error's code in *ret_error. */
uint64_t wire_try_allocate(int fd, uint64_t num_bytes, const void *reason, size_t reason_bytes,
                           Kmem__ErrorCode *ret_error);
uint64_t wire_allocate(int fd, uint64_t num_bytes, const char *reason);

/* Return: KMEM__ERROR_CODE__ERROR_UNSPECIFIED (0) if it was released. */
Kmem__ErrorCode wire_release(int fd, uint64_t offset);
Kmem__ErrorCode wire_size_of(int fd, uint64_t offset, uint64_t *ret_num_bytes);
void wire_goodbye(int fd);

/* A run of pages. */
struct wire_run {
    uint32_t page;
    uint32_t n_pages;
};

/** wire_try_lease() - ask for a lease. Return: n_pages 0 and *ret_error if it is refused. */
struct wire_run wire_try_lease(int fd, uint32_t n_pages, uint32_t want_pages,
                               Kmem__ErrorCode *ret_error);

/**
 * wire_fill() - allocate n_blocks of one size, with n_reasons reasons ("fill/0", "fill/1", …)
 *
 * Requests are sent many at a time, so a million take seconds.
 */
void wire_fill(int fd, uint64_t n_blocks, uint64_t num_bytes, unsigned int n_reasons);

/** wire_expect_error() - want the answer to be an error with this code and a sentence */
void wire_expect_error(const char *file, int line, int fd, Kmem__ErrorCode code);
#define expect_error(fd, code) wire_expect_error(__FILE__, __LINE__, fd, code)

/** wire_expect_closed() - want the daemon to close within limit_ms, after whatever it still says */
void wire_expect_closed(const char *file, int line, int fd, unsigned int limit_ms);
#define expect_closed(fd, limit_ms) wire_expect_closed(__FILE__, __LINE__, fd, limit_ms)

#endif

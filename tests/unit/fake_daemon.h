/* SPDX-License-Identifier: MIT */
/*
 * fake_daemon.h - a daemon in the test's own process, honest unless a test makes it lie
 *
 * It listens on a socket in a private directory that $KMEM_SOCKET is set to, and answers each
 * connection in a thread of its own: Hello with a sealed segment, a ledger and a clock, Allocate
 * with the next free bytes, Release and SizeOf by a list. It has no pages to lend until a test
 * wants it to, so that every block is a direct one. A hook sees every request first and may answer
 * in its place, rightly or wrongly.
 *
 * A forked child reaches it as any other process would; only the parent may call what is here.
 */
#ifndef TESTS_UNIT_FAKE_DAEMON_H
#define TESTS_UNIT_FAKE_DAEMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/frame.h"
#include "proto/kmem.pb-c.h"
#include "proto/limits.h"

/* What fake_daemon_start() makes. */
#define FAKE_SEGMENT_BYTES (UINT64_C(4) << 20)

struct fake_peer {
    int fd;
    unsigned int number; /* of the connection, from 0 */
    unsigned int n_requests;
};

/* Return: true if the request is answered, or was not meant to be. */
typedef bool (*fake_hook)(struct fake_peer *peer, const Kmem__Request *request);

/** fake_daemon_start() - listen, and set $KMEM_SOCKET; honest */
void fake_daemon_start(void);

/** fake_daemon_hook() - from now on let hook see every request first; NULL: be honest again */
void fake_daemon_hook(fake_hook hook);

/** fake_daemon_lend() - whether requests for a lease are granted; at the start they are refused */
void fake_daemon_lend(bool is_lending);

/** fake_daemon_stop() - close everything, wait for the threads, remove the directory */
void fake_daemon_stop(void);

/** fake_daemon_end() - as a daemon that is killed: every connection is reset, nobody listens */
void fake_daemon_end(void);

/** fake_daemon_replace_segment() - be another daemon from the next Hello on: another instance */
void fake_daemon_replace_segment(void);

/** fake_daemon_path() - of the socket */
const char *fake_daemon_path(void);

/** fake_daemon_directory() - private to this test */
const char *fake_daemon_directory(void);

/** fake_daemon_memory() - the segment's bytes as the daemon would see them */
unsigned char *fake_daemon_memory(void);

/** fake_daemon_n_live() - blocks that are not released */
size_t fake_daemon_n_live(void);

/** fake_daemon_n_peers() - connections so far; fake_daemon_n_open() of them have not ended */
unsigned int fake_daemon_n_peers(void);
unsigned int fake_daemon_n_open(void);

/** fake_daemon_segment_fd() - the first of what an honest Welcome hands over */
int fake_daemon_segment_fd(void);

/** fake_descriptors() - all that it hands over to a peer; fds[1], the ledger's, is the caller's */
void fake_descriptors(const struct fake_peer *peer, int fds[WELCOME_DESCRIPTORS]);

/** fake_welcome() - an honest Welcome for a member, to be spoilt */
Kmem__Welcome fake_welcome(void);

/** fake_send() - send a response with the request's id, whatever it says, and n_fds descriptors */
void fake_send(struct fake_peer *peer, const Kmem__Request *request, Kmem__Response *response,
               const int *fds, size_t n_fds);

/** fake_send_welcome() - send a Welcome, spoilt or not */
void fake_send_welcome(struct fake_peer *peer, const Kmem__Request *request, Kmem__Welcome *welcome,
                       const int *fds, size_t n_fds);

/** fake_send_error() - refuse */
void fake_send_error(struct fake_peer *peer, const Kmem__Request *request, Kmem__ErrorCode code,
                     const char *message);

/** fake_send_bytes() - send what need not be a frame */
void fake_send_bytes(struct fake_peer *peer, const void *bytes, size_t n_bytes);

/** fake_memfd() - a file of num_bytes, sealed with seals */
int fake_memfd(uint64_t num_bytes, unsigned int seals);

/** fake_count_fds() - the open descriptors of this process */
unsigned int fake_count_fds(void);

#endif

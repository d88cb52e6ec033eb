/* SPDX-License-Identifier: MIT */
/*
 * peer.h - speak to a daemon without the library: as a good neighbour, and as a bad one
 *
 * Frames that can not be made or read are a fault of the benchmark: bench_fail().
 */
#ifndef TESTS_BENCH_PEER_H
#define TESTS_BENCH_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/kmem.pb-c.h"
#include "tests/wire/request.h"

/** peer_connect() - a connection to $KMEM_SOCKET. Return: -1 if it can not be had just now. */
int peer_connect(void);

/** peer_join() - one that said Hello and was welcomed. Return: -1 likewise, or if it is refused. */
int peer_join(Kmem__Role role);

/** peer_encode() - a request as a frame. Return: its bytes. */
size_t peer_encode(const Kmem__Request *request, unsigned char *frame, size_t capacity_bytes);

/** peer_send() - all bytes. Return: false if the daemon has closed. */
bool peer_send(int fd, const void *bytes, size_t n_bytes);

/** peer_receive() - an answer, dropped. Return: its body; NOT_SET if the daemon has closed. */
Kmem__Response__BodyCase peer_receive(int fd, Kmem__Allocated *ret_allocated);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * loop.h - the loop, without what libuv aborts the process for
 */
#ifndef DAEMON_SERVER_LOOP_H
#define DAEMON_SERVER_LOOP_H

#include <uv.h>

#include "daemon/core/core.h"
#include "proto/attributes.h"

/* A power of two, as libuv rounds: four for each client, and 4,096 for everything else. */
#define LOOP_DESCRIPTORS 32768

/**
 * loop_init() - uv_loop_init() of the one loop of this process
 *
 * Its table of descriptors suffices for all that a daemon of CLIENTS_MAX clients has.
 * Return: 0 or a negative errno; then there is no loop.
 */
KMEM_MUST_USE int loop_init(uv_loop_t *loop);

/**
 * loop_reserve() - have the kernel watch a descriptor, before libuv asks it to
 *
 * After uv_poll_start(), which undoes it; libuv undoes it with the handle. Return: 0 or a negative
 * errno.
 */
KMEM_MUST_USE int loop_reserve(const uv_loop_t *loop, int fd);

/** loop_now() - the time, for the core */
struct now loop_now(void);

#endif

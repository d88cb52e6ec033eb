/* SPDX-License-Identifier: MIT */
/*
 * backoff.h - how long to wait before the next server is started, and when to give up
 *
 * Pure: times are parameters. All zero is "nothing has happened yet".
 */
#ifndef DAEMON_KEEPER_BACKOFF_H
#define DAEMON_KEEPER_BACKOFF_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/attributes.h"

/*
 * 10: a fault that one request in ten thousand meets is passed by; a server that crashes eleven
 * times within a minute crashes at every start, or whenever a client asks again, and does more harm
 * than none.
 */
#define BACKOFF_CRASHES_MAX 10

/* 1 s: short enough for clients, which wait 30, and little work for the system. */
#define BACKOFF_LAST_MS 1000

struct backoff {
    uint64_t crash_ms;                        /* what follows the next crash */
    uint64_t crashes_ms[BACKOFF_CRASHES_MAX]; /* when, as a ring */
    uint32_t n_crashes;
    uint32_t n_early;  /* killed by others before they were ready, since the last that was */
    uint64_t early_ms; /* what followed the last of them, once they are slowed */
};

enum {
    BACKOFF_OK,
    BACKOFF_E_CRASHES, /* that was one too many within a minute */
};

/** backoff_ready() - a server has got ready */
void backoff_ready(struct backoff *backoff);

/** backoff_killed() - a server was killed by others. Return: the milliseconds to wait. */
KMEM_MUST_USE uint64_t backoff_killed(struct backoff *backoff, bool was_ready);

/**
 * backoff_crashed() - a server has died of itself
 * @lived_ms:       since it was started
 * @ret_pause_ms:   to wait; written in either case
 * Return: 0 or BACKOFF_E_CRASHES.
 */
KMEM_MUST_USE int backoff_crashed(struct backoff *backoff, uint64_t now_ms, uint64_t lived_ms,
                                  uint64_t *ret_pause_ms);

/** backoff_forget() - it is another program from now on; crashes go on being counted */
void backoff_forget(struct backoff *backoff);

#endif

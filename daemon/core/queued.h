/* SPDX-License-Identifier: MIT */
/*
 * queued.h - the list of requests that wait for memory: see queue.h
 */
#ifndef DAEMON_CORE_QUEUED_H
#define DAEMON_CORE_QUEUED_H

#include <stdbool.h>
#include <stdint.h>

/* 1,024: a waiting request costs a look at all of them; more wait in vain in any case. */
#define QUEUE_MAX 1024
/* 16: a client does not fill it. */
#define QUEUE_OF_CLIENT_MAX 16
/* 500 ms: five times as long as a client lets pass before it asks again. */
#define QUEUE_SILENT_MS 500
/* 60 s: it has given up, or has ended. */
#define QUEUE_FORGET_MS 60000

struct queued {
    uint64_t ticket;
    uint32_t slot;
    uint32_t generation; /* the client's */
    uint32_t budgets;
    bool is_barred; /* by its quota or budget, when it asked last */
    uint64_t num_bytes;
    uint64_t asked_ms;
};

struct queue {
    struct queued list[QUEUE_MAX]; /* the first to come first */
    uint32_t n;
    uint64_t seen; /* what there was to be had, when the bell was rung last */
};

#endif

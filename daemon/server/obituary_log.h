/* SPDX-License-Identifier: MIT */
/*
 * obituary_log.h - clients that have ended, in the log: each in a line, or many in one
 *
 * A process that joins and ends in a loop, or a thousand that end at once, must not fill the log.
 * The first ones of a second have a line each, the others one together, a second later. All of
 * them can be asked for: `kmemctl obituaries`.
 */
#ifndef DAEMON_SERVER_OBITUARY_LOG_H
#define DAEMON_SERVER_OBITUARY_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "daemon/core/core.h"
#include "daemon/core/obituary.h"

/* 20: a program with all its workers; a daemon on which that happens each second writes 200 MB a
   day at most. */
#define OBITUARIES_LOGGED 20

struct obituary_log {
    uv_timer_t second;  /* runs while the second of the first line lasts */
    uint32_t n_written; /* in this second */
    uint32_t n_more;
    uint64_t n_blocks; /* that they had not released */
    uint64_t num_bytes;
    bool outlived; /* it is the segment that ends: those who follow live on */
};

void obituary_log_init(struct obituary_log *log, uv_loop_t *loop);

void obituary_log_add(struct obituary_log *log, const struct obituary *obituary);

/** obituary_log_outlive() - says what clients hold; those added from now on outlive the segment */
void obituary_log_outlive(struct obituary_log *log, const struct core *core);

/** obituary_log_close() - writes what is left to say */
void obituary_log_close(struct obituary_log *log);

#endif

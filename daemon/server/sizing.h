/* SPDX-License-Identifier: MIT */
/*
 * sizing.h - the shell's part of resize.h: memory from the system, and to it
 *
 * The scrubber takes the memory, a piece at a time, and gives it back (scrub.h): a server that did
 * it would wait for the lock of the segment's inode, and be the one that a memory cgroup kills.
 *
 * The options' size is applied once: when it is another than the state says was applied last. So a
 * segment that was resized while it was served keeps that size over restarts and upgrades, until
 * the option changes.
 */
#ifndef DAEMON_SERVER_SIZING_H
#define DAEMON_SERVER_SIZING_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/core/core.h"
#include "daemon/server/client_files.h"
#include "daemon/server/scrub.h"

struct sizing {
    struct core *core;
    struct scrub *scrub;
    struct client_files *ledgers;
    int segment_fd;       /* borrowed */
    bool is_lazy;         /* memory is taken when it is used */
    bool collapses;       /* small pages are to become huge ones */
    uint32_t asked_pages; /* by the options; 0: they have been applied */
};

/** sizing_configure() - core_config's hooks */
void sizing_configure(struct sizing *sizing, struct core_config *config);

/** sizing_taken() - scrub_config.taken, of a struct sizing */
void sizing_taken(int error, void *user);

/** sizing_begin() - the core and the scrubber are there: clients and files are told the size */
void sizing_begin(struct sizing *sizing);

/**
 * sizing_ask() - the options ask for another size
 * @ret_why:  why the segment keeps the one that it has; "": it has that now, or takes memory for it
 */
void sizing_ask(struct sizing *sizing, uint64_t asked_bytes, char *ret_why, size_t why_bytes);

/** sizing_apply() - a server begins: likewise, unless that size was applied before */
void sizing_apply(struct sizing *sizing, uint64_t asked_bytes);

#endif

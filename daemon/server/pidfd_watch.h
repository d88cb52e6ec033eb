/* SPDX-License-Identifier: MIT */
/*
 * pidfd_watch.h - learns of the end of clients from the kernel
 *
 * By pidfd, not by connection: a connection can close while its process lives (exec), and can stay
 * open when it is dead (a forked child has it too).
 */
#ifndef DAEMON_SERVER_PIDFD_WATCH_H
#define DAEMON_SERVER_PIDFD_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "proto/attributes.h"

typedef void (*reaper_fn)(uint32_t slot, void *user);

struct reaper_watch;

struct reaper {
    uv_loop_t *loop;
    struct reaper_watch **watches; /* by slot */
    reaper_fn died;
    void *user;
};

/** reaper_init() - nobody is watched. Return: 0 or -ENOMEM. */
KMEM_MUST_USE int reaper_init(struct reaper *reaper, uv_loop_t *loop, reaper_fn died, void *user);

/** reaper_fini() - asserts that nobody is watched */
void reaper_fini(struct reaper *reaper);

/**
 * reaper_watch() - call died(slot) once, when the process behind a pidfd has ended
 *
 * Ownership: the pidfd is the reaper's, also after an error. Return: 0 or a negative errno.
 */
KMEM_MUST_USE int reaper_watch(struct reaper *reaper, uint32_t slot, int pidfd);

/** reaper_watches() - whether a slot's process is watched */
bool reaper_watches(const struct reaper *reaper, uint32_t slot);

/** reaper_pidfd() - of a slot's process, the reaper's own; -1: it is not watched */
int reaper_pidfd(const struct reaper *reaper, uint32_t slot);

/** reaper_look() - call died(slot) now if its process has ended, before the loop finds out */
void reaper_look(struct reaper *reaper, uint32_t slot);

/** reaper_forget() - the slot is free; nothing if it is not watched */
void reaper_forget(struct reaper *reaper, uint32_t slot);

#endif

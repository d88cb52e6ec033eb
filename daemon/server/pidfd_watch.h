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

typedef void (*pidfd_watch_fn)(uint32_t slot, void *user);

struct watched_pidfd;

struct pidfd_watch {
    uv_loop_t *loop;
    struct watched_pidfd **watches; /* by slot */
    pidfd_watch_fn died;
    void *user;
};

/** pidfd_watch_init() - nobody is watched. Return: 0 or -ENOMEM. */
KMEM_MUST_USE int pidfd_watch_init(struct pidfd_watch *pidfds, uv_loop_t *loop, pidfd_watch_fn died,
                                   void *user);

/** pidfd_watch_fini() - asserts that nobody is watched */
void pidfd_watch_fini(struct pidfd_watch *pidfds);

/**
 * pidfd_watch_watch() - call died(slot) once, when the process behind a pidfd has ended
 *
 * Ownership: the pidfd is the pidfd watch's, also after an error. Return: 0 or a negative errno.
 */
KMEM_MUST_USE int pidfd_watch_watch(struct pidfd_watch *pidfds, uint32_t slot, int pidfd);

/** pidfd_watch_watches() - whether a slot's process is watched */
bool pidfd_watch_watches(const struct pidfd_watch *pidfds, uint32_t slot);

/** pidfd_watch_pidfd() - of a slot's process, the pidfd watch's own; -1: it is not watched */
int pidfd_watch_pidfd(const struct pidfd_watch *pidfds, uint32_t slot);

/** pidfd_watch_look() - call died(slot) now if its process has ended, before the loop finds out */
void pidfd_watch_look(struct pidfd_watch *pidfds, uint32_t slot);

/** pidfd_watch_forget() - the slot is free; nothing if it is not watched */
void pidfd_watch_forget(struct pidfd_watch *pidfds, uint32_t slot);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * private.h - a daemon that serves one `kmemctl run` and no other
 *
 * Its socket lies in a directory of its own that only this user can enter. It ends, and the
 * directory is removed, with private_close(). If kmemctl is killed before that, the kernel sends
 * the daemon SIGTERM.
 */
#ifndef CTL_PRIVATE_H
#define CTL_PRIVATE_H

#include <stdbool.h>
#include <sys/types.h>

#include <kmem/kmem.h>

#include "client/ctl/signals.h"

struct private_options {
    const char *size;   /* as kmemd's --size takes it */
    const char *commit; /* as kmemd's --commit takes it */
    bool verbose;       /* let it log what it does */
};

struct private_daemon;

enum {
    PRIVATE_E_NOT_FOUND = 1, /* there is no kmemd */
    PRIVATE_E_USAGE,         /* it refused its options, and said so on stderr */
    PRIVATE_E_ENDED,         /* it ended before it was ready, and said why on stderr */
    PRIVATE_E_SIGNAL,        /* a signal asked us to end while it started */
};

/**
 * private_open() - start a daemon and wait until it serves
 * @ret_signal:  with PRIVATE_E_SIGNAL, which one
 *
 * Says on stderr what went wrong.
 * Return: 0; PRIVATE_E_X; or a negative errno. Whatever it is but 0, nothing is left behind.
 */
KMEM_MUST_USE int private_open(const struct private_options *options, const struct signals *signals,
                               struct private_daemon **ret_private, int *ret_signal);

/** private_close() - end the daemon, remove its directory, free. May be NULL. Return: NULL. */
struct private_daemon *private_close(struct private_daemon *private);

/** private_socket() - the path of its socket; borrowed */
const char *private_socket(const struct private_daemon *private);

/** private_check() - a child has ended, and was waited for. Return: whether it was the daemon. */
bool private_check(struct private_daemon *private, pid_t ended);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * signals.h - the signals that `kmemctl run` waits for instead of dying of them
 *
 * Blocked and read from a descriptor, so that nothing happens between two steps: whatever comes
 * while the daemon is started is found when the program is waited for.
 */
#ifndef CTL_SIGNALS_H
#define CTL_SIGNALS_H

#include <signal.h>
#include <stdbool.h>

#include <kmem/kmem.h>

struct signals {
    int fd;                       /* a signalfd; -1 if closed */
    sigset_t mask_before;         /* what a child gets back */
    struct sigaction pipe_before; /* SIGPIPE, ignored meanwhile: a closed stderr must not end us */
};

/* One that has arrived. */
struct signal_received {
    int number;           /* SIGCHLD, SIGINT, ...; 0 if none has */
    bool is_terminal_key; /* the terminal sent it to the whole foreground group: not to forward */
};

/** signals_open() - hold all that would end or inform us back. Return: 0 or a negative errno. */
KMEM_MUST_USE int signals_open(struct signals *signals);

/** signals_close() - let them through again */
void signals_close(struct signals *signals);

/** signals_restore() - in a child: be as the caller of kmemctl wanted its programs to be */
void signals_restore(const struct signals *signals);

/** signals_clear() - in a child that must hear of everything: block and ignore nothing */
void signals_clear(void);

/** signals_take() - the next signal; waits for one if it may */
struct signal_received signals_take(const struct signals *signals, bool may_wait);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * inherited_fds.h - the descriptors that outlive a server, by name
 *
 * They are passed from program to program as service managers do it (sd_listen_fds(3)): from 3 on,
 * as many as $LISTEN_FDS says, named in $LISTEN_FDNAMES, meant for process $LISTEN_PID.
 *
 *      segment, state, clock    memfds: the segment, state.h, the page that shows the time
 *      listener                 the socket in the file system, bound and listening
 *      any other name           if it listens: the socket that a socket unit has made
 *      ledger-SLOT, pidfd-SLOT  of a client
 *      way-SLOT                 the server's end of its way back: ways.h
 *      control                  a server's end of the socket to its keeper: control.h
 *      check                    the same, of a program that is only to look at the state
 *      config                   the configuration that is in force: config_kept.h
 */
#ifndef DAEMON_INHERITED_FDS_H
#define DAEMON_INHERITED_FDS_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/attributes.h"

/* -1 stands for a descriptor that is not there. Everything is the files' own. */
struct inherited_fds {
    int segment_fd;
    int state_fd;
    int clock_fd;
    int listener_fd;
    int control_fd;
    int check_fd;
    int config_fd;
    int activated_fd; /* from a socket unit; never passed on: a server knows the listener alone */
    int *ledger_fds;  /* by slot, CLIENTS_MAX; NULL: no client's */
    int *pidfds;      /* likewise */
    int *way_fds;     /* likewise */
};

/** inherited_fds_init() - none yet. Return: 0 or -ENOMEM. */
KMEM_MUST_USE int inherited_fds_init(struct inherited_fds *files);

/** inherited_fds_fini() - close them all */
void inherited_fds_fini(struct inherited_fds *files);

/**
 * inherited_fds_take() - take what this process was started with, and forget that it was
 * Return: how many there were; -EPROTO if the variables make no sense; or what the system refused.
 */
KMEM_MUST_USE int inherited_fds_take(struct inherited_fds *files);

/**
 * inherited_fds_keep() - a client's ledger, pidfd, and way or -1; what the slot had before is
 * closed
 */
void inherited_fds_keep(struct inherited_fds *files, uint32_t slot, const int fds[3]);

/** inherited_fds_has() - whether there is anything of a slot's client */
bool inherited_fds_has(const struct inherited_fds *files, uint32_t slot);

/** inherited_fds_drop() - close a client's; nothing if it has none */
void inherited_fds_drop(struct inherited_fds *files, uint32_t slot);

/** inherited_fds_has_leftovers() - whether there is what belongs to a segment, but no segment */
bool inherited_fds_has_leftovers(const struct inherited_fds *files);

/** inherited_fds_has_living() - whether the process of a client lives, as its pidfd tells */
bool inherited_fds_has_living(const struct inherited_fds *files);

/** inherited_fds_drop_segment() - close it and all that belongs to it; the listener stays */
void inherited_fds_drop_segment(struct inherited_fds *files);

/** inherited_fds_drop_leftovers() - close it; a listener is of use without it */
void inherited_fds_drop_leftovers(struct inherited_fds *files);

/** inherited_fds_name() - "ledger-7". Return: buffer, INHERITED_FDS_NAME_BYTES. */
const char *inherited_fds_name(const char *kind, uint32_t slot, char *buffer);
#define INHERITED_FDS_NAME_BYTES 24

/**
 * inherited_fds_exec() - become another program that takes them
 * @exe_fd:  the program
 * @argv:    its arguments, NULL at the end
 *
 * For a process that has nothing else to do: its other descriptors may be replaced.
 * Return: a negative errno; it only returns if that failed.
 */
int inherited_fds_exec(struct inherited_fds *files, int exe_fd, char **argv);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * inherited_fds.h - the descriptors that outlive a server, by name
 *
 * They are passed from program to program as service managers do it (sd_listen_fds(3)): from 3 on,
 * as many as $LISTEN_FDS says, named in $LISTEN_FDNAMES, meant for process $LISTEN_PID.
 *
 *      segment, state, clock    memfds: the segment, state.h, the page that shows the time
 *      listener                 the socket in the file system, bound and listening
 *      ledger-SLOT, pidfd-SLOT  of a client
 *      way-SLOT                 the server's end of its way back: ways.h
 *      control                  a server's end of the socket to its keeper: control.h
 *      check                    the same, of a program that is only to look at the state
 */
#ifndef DAEMON_INHERITED_FDS_H
#define DAEMON_INHERITED_FDS_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/attributes.h"

/* -1 stands for a descriptor that is not there. Everything is the files' own. */
struct files {
    int segment_fd;
    int state_fd;
    int clock_fd;
    int listener_fd;
    int control_fd;
    int check_fd;
    int *ledger_fds; /* by slot, CLIENTS_MAX; NULL: no client's */
    int *pidfds;     /* likewise */
    int *way_fds;    /* likewise */
};

/** files_init() - none yet. Return: 0 or -ENOMEM. */
KMEM_MUST_USE int files_init(struct files *files);

/** files_fini() - close them all */
void files_fini(struct files *files);

/**
 * files_take() - take what this process was started with, and forget that it was
 * Return: how many there were; -EPROTO if the variables make no sense; or what the system refused.
 */
KMEM_MUST_USE int files_take(struct files *files);

/** files_keep() - a client's ledger, pidfd, and way or -1; what the slot had before is closed */
void files_keep(struct files *files, uint32_t slot, const int fds[3]);

/** files_has() - whether there is anything of a slot's client */
bool files_has(const struct files *files, uint32_t slot);

/** files_drop() - close a client's; nothing if it has none */
void files_drop(struct files *files, uint32_t slot);

/** files_has_leftovers() - whether there is what belongs to a segment, but no segment */
bool files_has_leftovers(const struct files *files);

/** files_has_living() - whether the process of a client lives, as its pidfd tells */
bool files_has_living(const struct files *files);

/** files_drop_segment() - close it and all that belongs to it; the listener stays */
void files_drop_segment(struct files *files);

/** files_drop_leftovers() - close it; a listener is of use without it */
void files_drop_leftovers(struct files *files);

/** files_name() - "ledger-7". Return: buffer, FILES_NAME_BYTES. */
const char *files_name(const char *kind, uint32_t slot, char *buffer);
#define FILES_NAME_BYTES 24

/**
 * files_exec() - become another program that takes them
 * @exe_fd:  the program
 * @argv:    its arguments, NULL at the end
 *
 * For a process that has nothing else to do: its other descriptors may be replaced.
 * Return: a negative errno; it only returns if that failed.
 */
int files_exec(struct files *files, int exe_fd, char **argv);

#endif

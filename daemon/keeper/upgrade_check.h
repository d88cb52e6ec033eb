/* SPDX-License-Identifier: MIT */
/*
 * upgrade_check.h - the program that is to take over: whether it can, before anything is changed for it
 *
 * It is run on the state with nothing to do but to look, and to say that it fits.
 */
#ifndef DAEMON_KEEPER_UPGRADE_CHECK_H
#define DAEMON_KEEPER_UPGRADE_CHECK_H

#include <stdbool.h>
#include <stddef.h>

#include "daemon/keeper/child.h"
#include "daemon/inherited_fds.h"
#include "proto/attributes.h"

struct candidate {
    struct child child; /* pid 0: there is no candidate */
    int fd;             /* the program's, O_PATH */
    bool fits;          /* it said so */
};

#define CANDIDATE_NONE ((struct candidate){.child = CHILD_NONE, .fd = -1})

/**
 * candidate_self() - the program that this is, and where an upgrade will look for the next one
 * Return: the descriptor, or a negative errno.
 */
KMEM_MUST_USE int candidate_self(char *ret_path, size_t path_bytes);

/**
 * candidate_start() - begin to look at the program at a path; says in the log if that is not to be
 * Return: whether there is a candidate: candidate_end() when its child has ended.
 */
KMEM_MUST_USE bool candidate_start(struct candidate *candidate, const char *exe_path, char **argv,
                                   const struct inherited_fds *files);

/**
 * candidate_end() - take what it said; its child has ended
 * @is_wanted:  false: it came too late
 *
 * Ownership: the descriptor is the caller's.
 * Return: the program; -1 if it can not take over, which is said in the log.
 */
KMEM_MUST_USE int candidate_end(struct candidate *candidate, const char *exe_path, bool is_wanted);

/** candidate_drop() - end it, if there is one, and forget it */
void candidate_drop(struct candidate *candidate);

#endif

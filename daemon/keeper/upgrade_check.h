/* SPDX-License-Identifier: MIT */
/*
 * upgrade_check.h - whether the program on disk can take over, before the keeper changes anything
 *
 * The keeper runs that program on the state. The program only looks, and says that it fits.
 */
#ifndef DAEMON_KEEPER_UPGRADE_CHECK_H
#define DAEMON_KEEPER_UPGRADE_CHECK_H

#include <stdbool.h>
#include <stddef.h>

#include "daemon/keeper/child.h"
#include "daemon/inherited_fds.h"
#include "proto/attributes.h"

struct upgrade_check {
    struct child child; /* pid 0: there is none */
    int fd;             /* the program's, O_PATH */
    bool fits;          /* it said so */
};

#define UPGRADE_CHECK_NONE ((struct upgrade_check){.child = CHILD_NONE, .fd = -1})

/**
 * upgrade_check_self() - the program that runs now, and the path at which an upgrade finds the next
 * Return: the descriptor, or a negative errno.
 */
KMEM_MUST_USE int upgrade_check_self(char *ret_path, size_t path_bytes);

/**
 * upgrade_check_start() - run the program at a path on the state; a failure is logged
 * @config_fd:  what it is to start with: config_kept.h
 * Return: whether it runs: upgrade_check_end() when its child has ended.
 */
KMEM_MUST_USE bool upgrade_check_start(struct upgrade_check *check, const char *exe_path,
                                       char **argv, const struct inherited_fds *files,
                                       int config_fd);

/**
 * upgrade_check_end() - take what the program said; its child has ended
 * @is_wanted:  false: it came too late
 *
 * Ownership: the descriptor is the caller's.
 * Return: the program; -1 if it can not take over, which is logged.
 */
KMEM_MUST_USE int upgrade_check_end(struct upgrade_check *check, const char *exe_path,
                                    bool is_wanted);

/** upgrade_check_drop() - kill the program, if there is one, and forget it */
void upgrade_check_drop(struct upgrade_check *check);

#endif

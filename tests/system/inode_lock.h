/* SPDX-License-Identifier: MIT */
/*
 * inode_lock.h - a member that holds the lock of the segment's inode for as long as it likes
 *
 * It writes to the file, as every member may, from a page whose contents userfaultfd is to deliver:
 * the kernel takes the inode's lock and then waits for the page. Where this user may not have such
 * pages, the scrubber is stopped instead, which looks the same to the server, but for that a
 * SIGKILL ends it.
 */
#ifndef TESTS_SYSTEM_INODE_LOCK_H
#define TESTS_SYSTEM_INODE_LOCK_H

#include <stdbool.h>
#include <sys/types.h>

#include "tests/system/client.h"

struct inode_lock {
    struct client client;
    pid_t stopped; /* the scrubber, if that is how */
};

/** inode_lock_take() - from now on whoever needs the lock waits */
struct inode_lock inode_lock_take(void);

/** inode_lock_await() - until the daemon's scrubber waits for it. Return: the scrubber. */
pid_t inode_lock_await(const struct inode_lock *lock);

/** inode_lock_ended() - whether that scrubber writes nothing any more */
bool inode_lock_ended(pid_t scrubber);

void inode_lock_drop(struct inode_lock *lock);

#endif

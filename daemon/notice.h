/* SPDX-License-Identifier: MIT */
/*
 * notice.h - telling clients of an end: proto/notice.h
 *
 * The page is written through its descriptor: the keeper maps nothing.
 */
#ifndef DAEMON_NOTICE_H
#define DAEMON_NOTICE_H

#include "proto/attributes.h"
#include "proto/notice.h"

/**
 * notice_hold() - let clients see that the segment is somebody's
 * @clock_fd:  the daemon's descriptor; all its duplicates hold the lock from now on
 * Return: 0 or a negative errno.
 */
KMEM_MUST_USE int notice_hold(int clock_fd);

/**
 * notice_write() - say how the segment goes on; NOTICE_SERVED leaves the tick to the server
 *
 * A fault is logged: then clients are told by their next request only.
 */
void notice_write(int clock_fd, enum notice_end end);

#endif

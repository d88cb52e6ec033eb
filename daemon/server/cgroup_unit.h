/* SPDX-License-Identifier: MIT */
/*
 * cgroup_unit.h - the systemd unit that a process belongs to, out of its /proc/PID/cgroup
 *
 * The last service or scope on the path of its control group. Where there is none, as in a
 * container without systemd, the path itself; of a long one the end.
 */
#ifndef DAEMON_SERVER_CGROUP_UNIT_H
#define DAEMON_SERVER_CGROUP_UNIT_H

#include "proto/limits.h"

/**
 * cgroup_unit() - find it
 * @cgroup:    what the file says
 * @ret_unit:  UNIT_NAME_BYTES; "?" if it says nothing
 */
void cgroup_unit(const char *cgroup, char *ret_unit);

#endif

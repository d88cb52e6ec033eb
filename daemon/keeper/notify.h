/* SPDX-License-Identifier: MIT */
/*
 * notify.h - telling a service manager how we are: sd_notify(3)
 *
 * Does nothing if nobody asked ($NOTIFY_SOCKET), or if kmemd was built without libsystemd.
 */
#ifndef DAEMON_KEEPER_NOTIFY_H
#define DAEMON_KEEPER_NOTIFY_H

#include <stdbool.h>

#include "proto/attributes.h"

/** notify_is_asked() - whether there is a service manager to tell, which may keep descriptors */
bool notify_is_asked(void);

/** notify_keeps() - whether it says that it keeps descriptors; systemd does so from 254 on */
bool notify_keeps(void);

/** notify_ready() - clients are served from now on; the status is one line for a person */
KMEM_PRINTF(1, 2) void notify_ready(const char *status_format, ...);

/** notify_stopping() - no longer */
void notify_stopping(void);

/** notify_store() - ask the service manager to hold a copy of a descriptor: FDSTORE=1 */
void notify_store(const char *name, int fd);

/** notify_unstore() - and to close it again */
void notify_unstore(const char *name);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * notify.h - telling a service manager how the daemon is: sd_notify(3)
 *
 * Does nothing without $NOTIFY_SOCKET, or if kmemd was built without libsystemd.
 */
#ifndef DAEMON_KEEPER_NOTIFY_H
#define DAEMON_KEEPER_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/attributes.h"

/** notify_is_asked() - whether there is a service manager to tell, which may have an fd store */
bool notify_is_asked(void);

/** notify_has_fd_store() - whether it says that it has an fd store; systemd says so from 254 on */
bool notify_has_fd_store(void);

/** notify_ready() - clients are served from now on; the status is one line for a person */
KMEM_PRINTF(1, 2) void notify_ready(const char *status_format, ...);

/** notify_stopping() - no longer */
void notify_stopping(void);

/** notify_alive_ms() - how often the manager's watchdog is to be told; 0: there is none */
KMEM_MUST_USE uint64_t notify_alive_ms(void);

/** notify_alive() - the keeper goes round: WATCHDOG=1 */
void notify_alive(void);

/** notify_fd_store_put() - put a copy of a descriptor into the fd store: FDSTORE=1 */
void notify_fd_store_put(const char *name, int fd);

/** notify_fd_store_remove() - remove it again: FDSTOREREMOVE=1 */
void notify_fd_store_remove(const char *name);

#endif

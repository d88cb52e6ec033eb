/* SPDX-License-Identifier: MIT */
/*
 * fd_store.h - copies of the files in the service manager's fd store: sd_pid_notify_with_fds(3)
 *
 * If the keeper is killed, the service manager starts another keeper with them. Without a service
 * manager these functions do nothing.
 */
#ifndef DAEMON_KEEPER_FD_STORE_H
#define DAEMON_KEEPER_FD_STORE_H

#include <stdint.h>

#include "daemon/inherited_fds.h"

/** fd_store_put_segment() - what lives as long as the segment */
void fd_store_put_segment(const struct inherited_fds *files);

/** fd_store_replace_listener() - there is another socket now */
void fd_store_replace_listener(const struct inherited_fds *files);

void fd_store_put_client(const struct inherited_fds *files, uint32_t slot);
void fd_store_remove_client(uint32_t slot);

/** fd_store_empty() - an orderly end: the next daemon begins anew */
void fd_store_empty(const struct inherited_fds *files);

#endif

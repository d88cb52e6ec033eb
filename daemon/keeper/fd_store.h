/* SPDX-License-Identifier: MIT */
/*
 * fd_store.h - copies of the files with the service manager: sd_pid_notify_with_fds(3)
 *
 * If the keeper is killed, it starts another one with them. Nothing happens where there is no
 * service manager.
 */
#ifndef DAEMON_KEEPER_FD_STORE_H
#define DAEMON_KEEPER_FD_STORE_H

#include <stdint.h>

#include "daemon/inherited_fds.h"

/** depot_put_segment() - what lives as long as the segment */
void depot_put_segment(const struct inherited_fds *files);

/** depot_replace_listener() - there is another socket now */
void depot_replace_listener(const struct inherited_fds *files);

void depot_put_client(const struct inherited_fds *files, uint32_t slot);
void depot_remove_client(uint32_t slot);

/** depot_empty() - an orderly end: the next daemon begins anew */
void depot_empty(const struct inherited_fds *files);

#endif

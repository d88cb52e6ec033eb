/* SPDX-License-Identifier: MIT */
/*
 * readers.h - clients that read, and the wall behind which they do
 *
 * A reader is a client whose descriptor of the segment is open for reading only. It attaches, finds
 * and waits; it allocates, shares and names nothing, and owns no block. That keeps it from writing
 * by the ways that the kernel bars for such a descriptor (mmap, mprotect, write, fallocate). A
 * process of the daemon's user may open the file anew through /proc, root may do anything, and
 * a process of a member's user may take that member's descriptor or write into its memory. So:
 *
 *      a reader is walled  <=>  its user is neither root, nor the daemon's, nor any member's
 *
 * Users are what the kernel said when a process connected. With READERS_WALLED whoever would break
 * that is not let in: a reader without a wall, and a member of a living reader's user. That can
 * keep nobody out but the reader's own user. Who had joined before it was asked for stays, and is
 * shown as what it is.
 */
#ifndef DAEMON_CORE_READERS_H
#define DAEMON_CORE_READERS_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/core/clients.h"
#include "proto/attributes.h"

enum readers {
    READERS_ANY, /* all who may join, or are in --reader-group */
    READERS_NONE,
    READERS_WALLED,
};

/** readers_are_walled() - whether readers of a user are, or would be */
bool readers_are_walled(const struct clients *clients, uint32_t uid);

/**
 * readers_admit() - whether a process may join in its role, as far as readers are concerned
 *
 * Return: 0; CLIENTS_E_NO_READERS, CLIENTS_E_UNWALLED: it is a reader; CLIENTS_E_WALL: it is
 * none, and a reader of its user is walled.
 */
KMEM_MUST_USE int readers_admit(const struct clients *clients, enum readers readers,
                                const struct client_identity *identity);

#endif

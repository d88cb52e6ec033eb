/* SPDX-License-Identifier: MIT */
/*
 * descriptors.h - how many clients and connections RLIMIT_NOFILE suffices for
 */
#ifndef DAEMON_SERVER_DESCRIPTORS_H
#define DAEMON_SERVER_DESCRIPTORS_H

#include <stdint.h>
#include <sys/resource.h>

#include "proto/attributes.h"

/*
 * 64: some 25 are in use (the standard ones, the segment's files, the listening and the control
 * socket, the loop's own, and for a moment those of /proc), and the rest is for libraries.
 */
#define DESCRIPTORS_FIXED 64
/* 64: as many connections ask, or are about to say Hello, when there are as many clients as can
   be. Beyond CLIENTS_MAX clients all that is left is for them. */
#define DESCRIPTORS_RESERVED (DESCRIPTORS_FIXED + 64)

struct descriptors {
    uint32_t n_clients; /* how many clients there may be; 0: the limit is too low for any */
    uint32_t n_free;    /* what clients and connections may have together; see users.h */
};

/** descriptors_of() - what so many descriptors suffice for */
struct descriptors descriptors_of(rlim_t n_descriptors);

/** descriptors_raise() - raise the limit of this process as far as it goes */
struct descriptors descriptors_raise(void);

#endif

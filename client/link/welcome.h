/* SPDX-License-Identifier: MIT */
/*
 * welcome.h - what the daemon says of its segment, and the descriptors that come with it
 */
#ifndef CLIENT_LINK_WELCOME_H
#define CLIENT_LINK_WELCOME_H

#include <stdbool.h>
#include <stdint.h>

#include "client/link/conn.h"
#include "client/failure.h"
#include "proto/attributes.h"
#include "proto/kmem.pb-c.h"
#include "proto/limits.h"

/* What the daemon says of its segment, checked. */
struct welcome {
    char segment_name[NAME_MAX_BYTES + 1];
    uint64_t segment_bytes;
    uint64_t granule_bytes; /* of the guard */
    uint64_t instance;      /* another number for every segment that ever was */
    uint32_t slot;          /* these three: of a member or reader; see struct ticket */
    uint64_t nonce;
    bool is_resumed;
    bool is_reader; /* whom all of these are opened for reading only for; */
    bool dumps;     /* cores are to have the segment's bytes, unless $KMEM_CORE objects */
    bool is_walled; /* and there is a wall: proto/kmem.proto */
    int segment_fd; /* these four: the caller's; -1 for an observer */
    int ledger_fd;  /* this process's own ledger */
    int clock_fd;
    int way_fd; /* a way back; on one, the connection. -1: there is none */
};

/**
 * kmem__welcome_check() - whether what was said and sent fits together
 * @descriptors:  the welcome's for 0, else the caller's
 * @ret_welcome:  written on success
 *
 * Return: 0 or a fault.
 */
KMEM_MUST_USE int kmem__welcome_check(const struct conn *conn, const Kmem__Welcome *said,
                                      Kmem__Role role, const struct descriptors *descriptors,
                                      struct welcome *ret_welcome, struct failure *failure);

/** kmem__welcome_close() - close the descriptors that it brought; they are -1 then */
void kmem__welcome_close(struct welcome *welcome);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * request.h - requests in one line each, for whatever sends them
 *
 *      wire_send(fd, request_lease(NEW_REQUEST, 1, 8));
 *
 * Frames are written with plain protobuf-c rather than with proto/frame.h, as frames.c reads them:
 * a mistake that both sides of the product share would otherwise go unseen.
 *
 * A request lives as long as the block in which NEW_REQUEST stands; a reason must live as long.
 */
#ifndef TESTS_WIRE_REQUEST_H
#define TESTS_WIRE_REQUEST_H

#include <stddef.h>
#include <stdint.h>

#include "proto/kmem.pb-c.h"

/* A request and the body that it points to. */
struct request {
    Kmem__Request base;
    union {
        ProtobufCMessage body;
        Kmem__Hello hello;
        Kmem__Allocate allocate;
        Kmem__Release release;
        Kmem__SizeOf size_of;
        Kmem__Lease lease;
        Kmem__Usage usage;
        Kmem__Ledger ledger;
        Kmem__Blocks blocks;
        Kmem__Clients clients;
        Kmem__Obituaries obituaries;
        Kmem__Goodbye goodbye;
        Kmem__Share share;
        Kmem__Attach attach;
        Kmem__ReleaseMany release_many;
        Kmem__Transfer transfer;
        Kmem__Publish publish;
        Kmem__Unpublish unpublish;
        Kmem__Next next;
        Kmem__Holders holders;
        Kmem__Names names;
        Kmem__Pages pages;
        Kmem__At at;
        Kmem__Changes changes;
    };
};

#define NEW_REQUEST (&(struct request){.base.id = 0})

/** request_plain() - of this kind, with an empty body and the next id. Return: request->base */
Kmem__Request *request_plain(struct request *request, Kmem__Request__BodyCase body_case);

/* Likewise, with what the kind is about; what is not named here is to be set in the body. */
Kmem__Request *request_hello(struct request *request, Kmem__Role role, uint64_t resume_nonce);
Kmem__Request *request_allocate(struct request *request, uint64_t num_bytes, const void *reason,
                                size_t n_reason_bytes);
Kmem__Request *request_release(struct request *request, uint64_t offset);
Kmem__Request *request_size_of(struct request *request, uint64_t offset);
Kmem__Request *request_lease(struct request *request, uint32_t n_pages, uint32_t want_pages);
Kmem__Request *request_ledger(struct request *request, Kmem__GroupBy by, uint32_t first_row);
Kmem__Request *request_blocks(struct request *request, uint64_t from_offset);
Kmem__Request *request_holders(struct request *request, uint64_t offset);
Kmem__Request *request_clients(struct request *request, uint32_t from_slot);
Kmem__Request *request_obituaries(struct request *request, uint64_t from_number);

/** request_pack() - as a frame. Return: its bytes; 0: it does not fit. */
size_t request_pack(const Kmem__Request *request, unsigned char *frame, size_t capacity);

#define request_usage(request) request_plain(request, KMEM__REQUEST__BODY_USAGE)
#define request_goodbye(request) request_plain(request, KMEM__REQUEST__BODY_GOODBYE)

#endif

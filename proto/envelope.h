/* SPDX-License-Identifier: MIT */
/*
 * envelope.h - what is around the body of a Request and of a Response
 *
 * For frame.c alone: the bytes are those that protobuf-c would write, and what protobuf-c would
 * read of them, in a third of the instructions.
 */
#ifndef PROTO_ENVELOPE_H
#define PROTO_ENVELOPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

#include "proto/attributes.h"

/* The fields of a Request or a Response that are there. */
struct envelope {
    uint64_t id;
    uint64_t sequence;                    /* of a Request */
    const ProtobufCFieldDescriptor *body; /* which of the bodies it is */
    size_t body_bytes;
    bool is_flat; /* of one that is to be packed: flat.h does it */
};

/**
 * envelope_of() - what a message consists of
 * Return: false: it is no Request or Response with a body and nothing unknown; nothing is written.
 */
KMEM_MUST_USE bool envelope_of(const ProtobufCMessage *message, struct envelope *ret_envelope);

/** envelope_bytes() - how long it is when it is packed */
size_t envelope_bytes(const struct envelope *envelope);

/** envelope_pack() - write it. Return: envelope_bytes(). */
size_t envelope_pack(const struct envelope *envelope, const ProtobufCMessage *message,
                     unsigned char *to);

/**
 * envelope_scan() - find the parts of a packed Request or Response
 * @ret_body:  where its body begins, of body_bytes
 * Return: false: it has other parts, or parts twice, or none: protobuf-c may make something of it.
 */
KMEM_MUST_USE bool envelope_scan(const ProtobufCMessageDescriptor *descriptor,
                                 const unsigned char *payload, size_t payload_bytes,
                                 struct envelope *ret_envelope, const unsigned char **ret_body);

/** envelope_unpack() - decode what was found. Return: NULL: it is no message, or a large one. */
KMEM_MUST_USE ProtobufCMessage *envelope_unpack(const ProtobufCMessageDescriptor *descriptor,
                                                const struct envelope *envelope,
                                                const unsigned char *body,
                                                ProtobufCAllocator *allocator);

#endif

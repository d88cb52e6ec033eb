/* SPDX-License-Identifier: MIT */
/*
 * frame.h - requests and responses as bytes on the socket
 *
 * A frame is a 4-byte little-endian length and that many bytes of a protobuf message. Decoding
 * takes its memory from a fixed arena and fails when that is used up: a peer decides neither how
 * much is allocated nor how often. A decoded message lives in the arena until arena_reset().
 */
#ifndef PROTO_FRAME_H
#define PROTO_FRAME_H

#include <stddef.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

#include "proto/attributes.h"

struct arena {
    ProtobufCAllocator allocator; /* what protobuf-c is given; points back here */
    unsigned char *bytes;
    size_t capacity_bytes;
    size_t used_bytes;
};

/*
 * Memory for one decoded request: 4 KiB of fields become at most this. A 4 KiB request of nothing
 * but empty submessages would need more and is refused.
 */
#define REQUEST_ARENA_BYTES 16384
/* Memory for one decoded response: 64 KiB of rows with a pointer and a struct each. */
#define RESPONSE_ARENA_BYTES (1024 * 1024)

/** arena_init() - hand out capacity_bytes at bytes, which the caller owns and has aligned to 16 */
void arena_init(struct arena *arena, void *bytes, size_t capacity_bytes);

/** arena_reset() - forget all that was decoded */
void arena_reset(struct arena *arena);

/** frame_length() - the length that a frame's first FRAME_HEADER_BYTES bytes announce */
uint32_t frame_length(const unsigned char *header);

/**
 * frame_encode() - write a message as a frame
 * Return: the bytes written, 0 if capacity_bytes is too small (nothing was written).
 */
KMEM_MUST_USE size_t frame_encode(const ProtobufCMessage *message, unsigned char *buffer,
                                  size_t capacity_bytes);

/**
 * frame_decode() - read a message from a frame's payload
 * Return: the message, in the arena; NULL if the bytes are none, or one that needs too much memory.
 */
KMEM_MUST_USE ProtobufCMessage *frame_decode(struct arena *arena,
                                             const ProtobufCMessageDescriptor *descriptor,
                                             const unsigned char *payload, size_t payload_bytes);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * A frame is a length and a message:
 *
 *      0        4                       4 + length
 *      +--------+-----------------------+
 *      | length | protobuf message      |       length: uint32, little-endian
 *      +--------+-----------------------+
 *
 * The length stands before the message so that a reader can refuse one that is too long before it
 * has read any of it, and so that it can tell where the next begins without decoding this one.
 *
 * protobuf-c takes memory per field: 64 KiB of empty submessages make it allocate 4 MiB in 32,781
 * pieces. It is therefore given an arena, a bump allocator on memory that exists already. Giving
 * back single pieces is not needed, because one message is used and forgotten at a time; running
 * out ends the decoding, which is the bound that we want. Limits per kind of field are rejected:
 * they would have to follow every change of kmem.proto.
 */
#include "proto/frame.h"

#include "proto/envelope.h"
#include "proto/limits.h"

/* 16: what malloc promises, and the most that any member of a decoded message needs. */
#define ARENA_ALIGN_BYTES ((size_t)16)

static void *arena_take(void *data, size_t num_bytes)
{
    struct arena *arena = data;
    size_t rounded_bytes;
    if (!checked_add(num_bytes, ARENA_ALIGN_BYTES - 1, &rounded_bytes)) {
        return NULL;
    }
    rounded_bytes &= ~(ARENA_ALIGN_BYTES - 1);
    if (rounded_bytes > arena->capacity_bytes - arena->used_bytes) {
        return NULL;
    }
    void *taken = arena->bytes + arena->used_bytes;
    arena->used_bytes += rounded_bytes;
    return taken;
}

static void arena_give(void *data, void *pointer)
{
    /* Nothing: arena_reset() gives back the lot. */
    (void)data;
    (void)pointer;
}

void arena_init(struct arena *arena, void *bytes, size_t capacity_bytes)
{
    KMEM_ASSERT((uintptr_t)bytes % ARENA_ALIGN_BYTES == 0);
    *arena = (struct arena){
        .allocator = {.alloc = arena_take, .free = arena_give, .allocator_data = arena},
        .bytes = bytes,
        .capacity_bytes = capacity_bytes,
    };
}

void arena_reset(struct arena *arena)
{
    arena->used_bytes = 0;
}

uint32_t frame_length(const unsigned char *header)
{
    return (uint32_t)header[0] | (uint32_t)header[1] << 8 | (uint32_t)header[2] << 16 |
           (uint32_t)header[3] << 24;
}

static void frame_write_length(unsigned char *header, uint32_t length)
{
    for (unsigned int i = 0; i < FRAME_HEADER_BYTES; i++) {
        header[i] = (unsigned char)(length >> (8 * i));
    }
}

size_t frame_encode(const ProtobufCMessage *message, unsigned char *buffer, size_t capacity_bytes)
{
    struct envelope envelope;
    if (capacity_bytes < FRAME_HEADER_BYTES) {
        return 0;
    }
    const bool is_plain = envelope_of(message, &envelope);
    const size_t payload_bytes =
        is_plain ? envelope_bytes(&envelope) : protobuf_c_message_get_packed_size(message);
    if (payload_bytes > capacity_bytes - FRAME_HEADER_BYTES || payload_bytes > UINT32_MAX) {
        return 0;
    }
    unsigned char *payload = buffer + FRAME_HEADER_BYTES;
    frame_write_length(buffer, (uint32_t)payload_bytes);
    const size_t packed_bytes = is_plain ? envelope_pack(&envelope, message, payload)
                                         : protobuf_c_message_pack(message, payload);
    KMEM_ASSERT(packed_bytes == payload_bytes);
    return FRAME_HEADER_BYTES + packed_bytes;
}

ProtobufCMessage *frame_decode(struct arena *arena, const ProtobufCMessageDescriptor *descriptor,
                               const unsigned char *payload, size_t payload_bytes)
{
    struct envelope envelope;
    const unsigned char *body;
    return envelope_scan(descriptor, payload, payload_bytes, &envelope, &body)
               ? envelope_unpack(descriptor, &envelope, body, &arena->allocator)
               : protobuf_c_message_unpack(descriptor, &arena->allocator, payload_bytes, payload);
}

/* SPDX-License-Identifier: MIT */
/*
 * fuzz_envelope.c - what envelope.c and flat.c read and write, beside protobuf-c alone
 *
 * The first byte says whether it is a Request or a Response, and what the rest is: its bytes as
 * they are, or choices of which a message is made, whose bytes protobuf-c writes. Of any bytes both
 * make the same message, or none; and of that message both write the same bytes.
 */
#include <string.h>

#include "proto/frame.h"
#include "proto/kmem.pb-c.h"
#include "proto/limits.h"
#include "tests/fuzz/message.h"

/* 2 KiB: what 1 KiB of choices can say is shorter, and what it is decoded into fits the arenas. */
#define PAYLOAD_MAX_BYTES 2048

static _Alignas(16) unsigned char memory[RESPONSE_ARENA_BYTES];
static _Alignas(16) unsigned char memory_alone[RESPONSE_ARENA_BYTES];
static unsigned char made[FRAME_HEADER_BYTES + RESPONSE_MAX_BYTES];
static unsigned char written[FRAME_HEADER_BYTES + RESPONSE_MAX_BYTES];
static unsigned char written_alone[RESPONSE_MAX_BYTES];

/* What is written of a message is what protobuf-c writes. */
static void check_written(const ProtobufCMessage *message, size_t n_wanted)
{
    EXPECT(frame_encode(message, written, sizeof(written)) == FRAME_HEADER_BYTES + n_wanted);
    EXPECT(frame_length(written) == n_wanted);
    EXPECT(memcmp(written + FRAME_HEADER_BYTES, written_alone, n_wanted) == 0);
    EXPECT(frame_encode(message, written, FRAME_HEADER_BYTES + n_wanted - 1) == 0);
}

static void check_read(const ProtobufCMessageDescriptor *descriptor, const uint8_t *payload,
                       size_t n_bytes)
{
    struct arena arena;
    struct arena alone;
    arena_init(&arena, memory, sizeof(memory));
    arena_init(&alone, memory_alone, sizeof(memory_alone));
    const ProtobufCMessage *one = frame_decode(&arena, descriptor, payload, n_bytes);
    const ProtobufCMessage *other =
        protobuf_c_message_unpack(descriptor, &alone.allocator, n_bytes, payload);
    EXPECT((one != NULL) == (other != NULL));
    if (one && n_bytes > 0) {
        const size_t n_written = protobuf_c_message_pack(other, written_alone);
        EXPECT(protobuf_c_message_check(one));
        check_written(one, n_written);
        check_written(other, n_written);
        EXPECT(protobuf_c_message_pack(one, written) == n_written);
        EXPECT(memcmp(written, written_alone, n_written) == 0);
    }
}

/* Return: the bytes of a message by choice; 0: there is none, or it is a long one. */
static size_t make(struct choices *choices, const ProtobufCMessageDescriptor *descriptor)
{
    struct arena arena;
    arena_init(&arena, memory, sizeof(memory));
    const ProtobufCMessage *message = message_choose(choices, &arena, descriptor);
    const size_t n_bytes = message ? protobuf_c_message_get_packed_size(message) : 0;
    if (n_bytes == 0 || n_bytes > PAYLOAD_MAX_BYTES) {
        return 0;
    }
    EXPECT(protobuf_c_message_pack(message, written_alone) == n_bytes);
    check_written(message, n_bytes);
    memcpy(made, written_alone, n_bytes);
    return n_bytes;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    struct choices choices = choices_of(bytes, n_bytes);
    const uint8_t what = choose_byte(&choices);
    const ProtobufCMessageDescriptor *descriptor =
        what & 1 ? &kmem__response__descriptor : &kmem__request__descriptor;
    if (what & 2) {
        const size_t n_made = make(&choices, descriptor);
        check_read(descriptor, made, n_made);
    } else {
        const size_t n_left = (size_t)(choices.end - choices.at);
        check_read(descriptor, choices.at, n_left < PAYLOAD_MAX_BYTES ? n_left : PAYLOAD_MAX_BYTES);
    }
    return 0;
}

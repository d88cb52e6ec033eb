/* SPDX-License-Identifier: MIT */
/*
 * fuzz_frame.c - bytes of a peer as frames: what the daemon decodes, and what the library does
 *
 * The first byte says which of the two reads; the rest is a stream of frames, cut at the lengths
 * that stand in it. A frame that is decoded is written and decoded again: from then on it is the
 * same for ever, so nothing that was read is beyond what can be said.
 */
#include <string.h>

#include "proto/frame.h"
#include "proto/kmem.pb-c.h"
#include "proto/limits.h"
#include "tests/fuzz/fuzz.h"

/* Who reads: what it decodes, and within which limits. */
struct reader {
    const ProtobufCMessageDescriptor *descriptor;
    size_t max_bytes;
    size_t arena_bytes;
};

static _Alignas(16) unsigned char memory[RESPONSE_ARENA_BYTES];
static _Alignas(16) unsigned char memory_again[2 * RESPONSE_ARENA_BYTES];
static unsigned char written[FRAME_HEADER_BYTES + RESPONSE_MAX_BYTES];
static unsigned char written_again[FRAME_HEADER_BYTES + RESPONSE_MAX_BYTES];

static void forget_unknown(ProtobufCMessage *message);

static void forget_in_field(ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    unsigned char *const bytes = (unsigned char *)message;
    const uint32_t quantifier = *(const uint32_t *)(const void *)(bytes + field->quantifier_offset);
    const bool is_list = field->label == PROTOBUF_C_LABEL_REPEATED;
    const bool is_other = (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) && quantifier != field->id;
    if (field->type != PROTOBUF_C_TYPE_MESSAGE || is_other) {
        return;
    }
    void *const member = bytes + field->offset;
    const size_t n =
        is_list ? *(const size_t *)(const void *)(bytes + field->quantifier_offset) : 1;
    ProtobufCMessage **const first = is_list ? *(ProtobufCMessage ***)member : member;
    for (size_t i = 0; i < n; i++) {
        if (first[i]) {
            forget_unknown(first[i]);
        }
    }
}

/*
 * What the peers do not know, they do not look at. protobuf-c reads a field of number 0 if the
 * number is written in two bytes, and writes it in one, which it does not read.
 */
static void forget_unknown(ProtobufCMessage *message)
{
    message->n_unknown_fields = 0;
    for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
        forget_in_field(message, &message->descriptor->fields[i]);
    }
}

/* What is decoded says the same when it was written and read. */
static void write_again(const struct reader *reader, const ProtobufCMessage *message)
{
    struct arena arena;
    const size_t n_written = frame_encode(message, written, sizeof(written));
    EXPECT(n_written >= FRAME_HEADER_BYTES); /* packed is never longer than what was read */
    EXPECT(frame_length(written) == n_written - FRAME_HEADER_BYTES);
    arena_init(&arena, memory_again, sizeof(memory_again));
    const ProtobufCMessage *again = frame_decode(
        &arena, reader->descriptor, written + FRAME_HEADER_BYTES, n_written - FRAME_HEADER_BYTES);
    EXPECT(again);
    EXPECT(frame_encode(again, written_again, sizeof(written_again)) == n_written);
    EXPECT(memcmp(written, written_again, n_written) == 0);
    EXPECT(frame_encode(message, written_again, n_written - 1) == 0);
}

static void read_payload(const struct reader *reader, const uint8_t *payload, size_t n_bytes)
{
    struct arena arena;
    arena_init(&arena, memory, reader->arena_bytes);
    ProtobufCMessage *message = frame_decode(&arena, reader->descriptor, payload, n_bytes);
    EXPECT(arena.used_bytes <= arena.capacity_bytes);
    if (message) {
        EXPECT(message->descriptor == reader->descriptor);
        EXPECT(protobuf_c_message_check(message));
        forget_unknown(message);
        write_again(reader, message);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    static const struct reader readers[] = {
        {&kmem__request__descriptor, REQUEST_MAX_BYTES, REQUEST_ARENA_BYTES},
        {&kmem__response__descriptor, RESPONSE_MAX_BYTES, sizeof(memory)},
    };
    if (n_bytes == 0) {
        return 0;
    }
    const struct reader *reader = &readers[bytes[0] & 1];
    size_t at = 1;
    while (n_bytes - at >= FRAME_HEADER_BYTES) {
        const uint32_t length = frame_length(bytes + at);
        if (length > reader->max_bytes) {
            return 0; /* the connection ends */
        }
        at += FRAME_HEADER_BYTES;
        const size_t n_left = n_bytes - at;
        /* The last one is read as far as it goes: a fuzzer need not find its length. */
        const size_t n_payload = length < n_left ? length : n_left;
        read_payload(reader, bytes + at, n_payload);
        at += n_payload;
    }
    return 0;
}

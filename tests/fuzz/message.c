/* SPDX-License-Identifier: MIT */
#include "tests/fuzz/message.h"

#include <string.h>

/* 4: a list of more rows is read as one of these is. */
#define ROWS_MAX 4
#define TEXT_BYTES 40

static void *take(struct arena *arena, size_t n_bytes)
{
    void *taken = arena->allocator.alloc(arena->allocator.allocator_data, n_bytes);
    if (taken) {
        memset(taken, 0, n_bytes);
    }
    return taken;
}

/* Terminated; of a hostile kind, or any. NULL: no room. */
static char *choose_text(struct choices *choices, struct arena *arena, size_t *ret_length)
{
    static const char *const usual[] = {
        "video/a",
        "",
        "\033[31mred\033[0m",
        "a\nb\tc",
        "\xff\xfe",
        "\xc2\x9b",
        "\xe2\x80\xae",
        "\xf4\x90\x80\x80",
        "<b>&\"'",
        "=1+2,\"x\"",
        "/",
        "a//b;c",
    };
    const size_t n_usual = sizeof(usual) / sizeof(usual[0]);
    const uint8_t which = choose_byte(choices);
    char *text = take(arena, TEXT_BYTES + 1);
    if (text && which < 200) {
        *ret_length = strlen(usual[which % n_usual]);
        memcpy(text, usual[which % n_usual], *ret_length + 1);
    } else if (text) {
        *ret_length = choose_bytes(choices, text, TEXT_BYTES);
    }
    return text;
}

static bool choose_scalar(struct choices *choices, struct arena *arena,
                          const ProtobufCFieldDescriptor *field, void *member)
{
    size_t length = 0;
    switch ((int)field->type) {
    case PROTOBUF_C_TYPE_BOOL:
        *(protobuf_c_boolean *)member = 1;
        return true;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_ENUM:
        *(uint32_t *)member = (uint32_t)choose_number(choices);
        return true;
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
        *(uint64_t *)member = choose_number(choices);
        return true;
    case PROTOBUF_C_TYPE_STRING:
        *(char **)member = choose_text(choices, arena, &length);
        return *(char **)member != NULL;
    case PROTOBUF_C_TYPE_BYTES: {
        ProtobufCBinaryData *bytes = member;
        bytes->data = (uint8_t *)choose_text(choices, arena, &bytes->len);
        return bytes->data != NULL;
    }
    case PROTOBUF_C_TYPE_MESSAGE:
        *(ProtobufCMessage **)member = message_choose(choices, arena, field->descriptor);
        return *(ProtobufCMessage **)member != NULL;
    default:
        fuzz_fail(__FILE__, __LINE__, "a field of a kind that messages have");
    }
}

static size_t size_of(const ProtobufCFieldDescriptor *field)
{
    switch ((int)field->type) {
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    case PROTOBUF_C_TYPE_BOOL:
        return sizeof(protobuf_c_boolean);
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_ENUM:
        return sizeof(uint32_t);
    default:
        return sizeof(uint64_t); /* a pointer, too */
    }
}

static bool choose_list(struct choices *choices, struct arena *arena,
                        const ProtobufCFieldDescriptor *field, void *member, size_t *ret_n)
{
    const size_t n = 1 + choose_below(choices, ROWS_MAX);
    unsigned char *const list = take(arena, n * size_of(field));
    if (!list) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (!choose_scalar(choices, arena, field, list + i * size_of(field))) {
            return false;
        }
    }
    *(void **)member = list;
    *ret_n = n;
    return true;
}

static bool choose_field(struct choices *choices, struct arena *arena,
                         const ProtobufCFieldDescriptor *field, unsigned char *message)
{
    void *const member = message + field->offset;
    void *const quantifier = message + field->quantifier_offset;
    if (field->label == PROTOBUF_C_LABEL_REPEATED) {
        return choose_list(choices, arena, field, member, quantifier);
    }
    if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) {
        *(uint32_t *)quantifier = field->id;
    }
    return choose_scalar(choices, arena, field, member);
}

/* The fields that have a value, a bit for each of eight; of those of which one can be, which. */
ProtobufCMessage *message_choose(struct choices *choices, struct arena *arena,
                                 const ProtobufCMessageDescriptor *descriptor)
{
    ProtobufCMessage *message = take(arena, descriptor->sizeof_message);
    if (!message) {
        return NULL;
    }
    protobuf_c_message_init(descriptor, message);
    const ProtobufCFieldDescriptor *one = NULL;
    if (descriptor->n_fields > 8 && descriptor->fields[2].flags & PROTOBUF_C_FIELD_FLAG_ONEOF) {
        one = &descriptor->fields[choose_below(choices, descriptor->n_fields)];
    }
    uint8_t chosen = 0;
    for (unsigned i = 0; i < descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &descriptor->fields[i];
        chosen = i % 8 == 0 && !one ? choose_byte(choices) : chosen;
        const bool is_chosen = one ? field == one : (chosen >> i % 8 & 1) != 0;
        if (is_chosen && !choose_field(choices, arena, field, (unsigned char *)message)) {
            return NULL;
        }
    }
    return message;
}

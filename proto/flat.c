/* SPDX-License-Identifier: MIT */
/*
 * What protobuf-c does with a message, for those without lists, messages, strings and presence: one
 * loop over some fields, where it has tables, two passes and a function for each. That is a third
 * of its instructions, in each of which a direct block is allocated or released eight times.
 *
 * The bytes are the same, and so is what is read. What is not flat, or not written as protobuf-c
 * would, is left to protobuf-c.
 */
#include "proto/flat.h"

#include <string.h>

#include "proto/varint.h"

static const void *member_of(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    return (const unsigned char *)message + field->offset;
}

/* A field of these types is not written where it is 0, and is no part of anything. */
static bool is_plain(const ProtobufCFieldDescriptor *field)
{
    return field->label == PROTOBUF_C_LABEL_NONE && field->flags == 0;
}

/* Whether it is a number or a flag; then *ret_value is. */
static bool number_of(const void *member, ProtobufCType type, uint64_t *ret_value)
{
    switch ((int)type) {
    case PROTOBUF_C_TYPE_UINT64:
        *ret_value = *(const uint64_t *)member;
        return true;
    case PROTOBUF_C_TYPE_UINT32:
        *ret_value = *(const uint32_t *)member;
        return true;
    case PROTOBUF_C_TYPE_BOOL:
        *ret_value = *(const protobuf_c_boolean *)member != 0;
        return true;
    default:
        return false;
    }
}

/* -------------------------------------------------------------------------------- packing ----- */

/* Adds what a field takes. Return: false: it is not flat. */
static bool field_add_bytes(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field,
                            size_t *n_bytes)
{
    const void *member = member_of(message, field);
    uint64_t value;
    if (!is_plain(field)) {
        return false;
    }
    if (number_of(member, field->type, &value)) {
        *n_bytes +=
            value == 0 ? 0 : varint_bytes((uint64_t)field->id << WIRE_BITS) + varint_bytes(value);
    } else if (field->type == PROTOBUF_C_TYPE_BYTES) {
        const size_t len = ((const ProtobufCBinaryData *)member)->len;
        *n_bytes +=
            len == 0 ? 0 : varint_bytes((uint64_t)field->id << WIRE_BITS) + varint_bytes(len) + len;
    } else if (field->type == PROTOBUF_C_TYPE_FIXED64) {
        memcpy(&value, member, sizeof(value));
        *n_bytes += value == 0 ? 0 : varint_bytes((uint64_t)field->id << WIRE_BITS) + sizeof(value);
    } else {
        return false;
    }
    return true;
}

bool flat_bytes(const ProtobufCMessage *message, size_t *ret_n_bytes)
{
    const ProtobufCMessageDescriptor *descriptor = message->descriptor;
    size_t n_bytes = 0;
    for (unsigned i = 0; i < descriptor->n_fields; i++) {
        if (!field_add_bytes(message, &descriptor->fields[i], &n_bytes)) {
            return false;
        }
    }
    if (message->n_unknown_fields > 0) {
        return false;
    }
    *ret_n_bytes = n_bytes;
    return true;
}

static unsigned char *field_put(unsigned char *to, const ProtobufCMessage *message,
                                const ProtobufCFieldDescriptor *field)
{
    const void *member = member_of(message, field);
    uint64_t value;
    if (number_of(member, field->type, &value)) {
        return value == 0 ? to : varint_put(varint_put(to, TAG(field->id, WIRE_VARINT)), value);
    }
    if (field->type == PROTOBUF_C_TYPE_BYTES) {
        const ProtobufCBinaryData *bytes = member;
        if (bytes->len > 0) {
            to = varint_put(varint_put(to, TAG(field->id, WIRE_LENGTH)), bytes->len);
            memcpy(to, bytes->data, bytes->len);
        }
        return to + bytes->len;
    }
    memcpy(&value, member, sizeof(value));
    if (value != 0) {
        to = varint_put(to, TAG(field->id, WIRE_FIXED64));
        for (unsigned i = 0; i < sizeof(value); i++) {
            *to++ = (unsigned char)(value >> (8 * i));
        }
    }
    return to;
}

size_t flat_pack(const ProtobufCMessage *message, unsigned char *to)
{
    const ProtobufCMessageDescriptor *descriptor = message->descriptor;
    unsigned char *at = to;
    for (unsigned i = 0; i < descriptor->n_fields; i++) {
        at = field_put(at, message, &descriptor->fields[i]);
    }
    return (size_t)(at - to);
}

/* ------------------------------------------------------------------------------ unpacking ----- */

static bool number_set(void *member, ProtobufCType type, uint64_t value)
{
    switch ((int)type) {
    case PROTOBUF_C_TYPE_UINT64:
        *(uint64_t *)member = value;
        return true;
    case PROTOBUF_C_TYPE_UINT32:
        *(uint32_t *)member = (uint32_t)value;
        return value <= UINT32_MAX;
    case PROTOBUF_C_TYPE_BOOL:
        *(protobuf_c_boolean *)member = value != 0;
        return true;
    default:
        return false;
    }
}

static size_t bytes_get(const unsigned char *from, size_t n_bytes, ProtobufCAllocator *allocator,
                        ProtobufCBinaryData *ret_bytes)
{
    uint64_t len;
    const size_t n_len = varint_get_short(from, n_bytes, &len);
    if (n_len == 0 || len == 0 || len > n_bytes - n_len) {
        return 0;
    }
    ret_bytes->len = (size_t)len;
    ret_bytes->data = allocator->alloc(allocator->allocator_data, ret_bytes->len);
    if (!ret_bytes->data) {
        return 0;
    }
    memcpy(ret_bytes->data, from + n_len, ret_bytes->len);
    return n_len + ret_bytes->len;
}

static size_t fixed64_get(const unsigned char *from, size_t n_bytes, uint64_t *ret_value)
{
    if (n_bytes < sizeof(*ret_value)) {
        return 0;
    }
    *ret_value = 0;
    for (unsigned i = 0; i < sizeof(*ret_value); i++) {
        *ret_value |= (uint64_t)from[i] << (8 * i);
    }
    return sizeof(*ret_value);
}

/* What follows a tag. Return: how many bytes; 0: it is left to protobuf-c. */
static size_t field_get(const ProtobufCFieldDescriptor *field, unsigned wire,
                        const unsigned char *from, size_t n_bytes, ProtobufCAllocator *allocator,
                        void *member)
{
    if (wire == WIRE_VARINT) {
        uint64_t value;
        const size_t n_value = varint_get(from, n_bytes, &value);
        return n_value > 0 && number_set(member, field->type, value) ? n_value : 0;
    }
    if (wire == WIRE_LENGTH && field->type == PROTOBUF_C_TYPE_BYTES) {
        return bytes_get(from, n_bytes, allocator, member);
    }
    return wire == WIRE_FIXED64 && field->type == PROTOBUF_C_TYPE_FIXED64
               ? fixed64_get(from, n_bytes, member)
               : 0;
}

bool flat_unpack(const ProtobufCMessageDescriptor *descriptor, const unsigned char *from,
                 size_t n_bytes, ProtobufCAllocator *allocator, ProtobufCMessage *ret_message)
{
    protobuf_c_message_init(descriptor, ret_message);
    size_t at = 0;
    while (at < n_bytes) {
        /* Of one byte: numbers to 15, and such messages have no gaps among theirs. */
        const unsigned tag = from[at++];
        const unsigned number = (unsigned)TAG_NUMBER(tag);
        if (tag >= 0x80 || number == 0 || number > descriptor->n_fields) {
            return false;
        }
        const ProtobufCFieldDescriptor *field = &descriptor->fields[number - 1];
        if (field->id != number || !is_plain(field)) {
            return false;
        }
        const size_t n_field = field_get(field, (unsigned)TAG_WIRE(tag), from + at, n_bytes - at,
                                         allocator, (unsigned char *)ret_message + field->offset);
        if (n_field == 0) {
            return false;
        }
        at += n_field;
    }
    return true;
}

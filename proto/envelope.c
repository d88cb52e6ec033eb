/* SPDX-License-Identifier: MIT */
/*
 * A Request and a Response are an id, one body of some thirty, and a Request's sequence number.
 * protobuf-c walks over all their fields: to count the bytes, to write them, and after it has read
 * them, a thousand instructions each time, on both sides of the socket. They are most of what a
 * round trip costs above a bare one. Here the one body that is there is found by its number, and
 * protobuf-c is given that alone.
 *
 * What is written is the same to the byte, so no peer can tell. What is read is what every peer
 * writes: each part at most once, in any order. Anything else, fields that a later version has say,
 * is left to protobuf-c, so that there is one truth of what it means.
 */
#include "proto/envelope.h"

#include "proto/flat.h"
#include "proto/kmem.pb-c.h"
#include "proto/varint.h"

#define ID_NUMBER 1
#define SEQUENCE_NUMBER 15

/* --------------------------------------------------------------------------------- fields ----- */

static bool is_request(const ProtobufCMessageDescriptor *descriptor)
{
    return descriptor == &kmem__request__descriptor;
}

/* The field that has a number: the first ones, which are used most, stand in its place. */
static const ProtobufCFieldDescriptor *field_of(const ProtobufCMessageDescriptor *descriptor,
                                                uint64_t number)
{
    if (number == 0 || number > INT32_MAX) {
        return NULL;
    }
    return number <= descriptor->n_fields && descriptor->fields[number - 1].id == number
               ? &descriptor->fields[number - 1]
               : protobuf_c_message_descriptor_get_field(descriptor, (unsigned)number);
}

/* The body that has a number; NULL if none has. */
static const ProtobufCFieldDescriptor *body_of(const ProtobufCMessageDescriptor *descriptor,
                                               uint64_t number)
{
    const ProtobufCFieldDescriptor *field = field_of(descriptor, number);
    return field && field->type == PROTOBUF_C_TYPE_MESSAGE &&
                   (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0
               ? field
               : NULL;
}

static const ProtobufCMessage *body_get(const ProtobufCMessage *message,
                                        const ProtobufCFieldDescriptor *field)
{
    const void *at = (const unsigned char *)message + field->offset;
    return *(const ProtobufCMessage *const *)at;
}

bool envelope_of(const ProtobufCMessage *message, struct envelope *ret_envelope)
{
    const ProtobufCMessageDescriptor *descriptor = message->descriptor;
    const Kmem__Request *request = (const Kmem__Request *)message;
    const Kmem__Response *response = (const Kmem__Response *)message;
    struct envelope envelope = {.id = 0};
    if (message->n_unknown_fields > 0) {
        return false;
    }
    if (is_request(descriptor)) {
        envelope.id = request->id;
        envelope.sequence = request->sequence;
        envelope.body = body_of(descriptor, (uint64_t)request->body_case);
    } else if (descriptor == &kmem__response__descriptor) {
        envelope.id = response->id;
        envelope.body = body_of(descriptor, (uint64_t)response->body_case);
    }
    const ProtobufCMessage *body = envelope.body ? body_get(message, envelope.body) : NULL;
    if (!body) {
        return false;
    }
    envelope.is_flat = flat_bytes(body, &envelope.body_bytes);
    if (!envelope.is_flat) {
        envelope.body_bytes = protobuf_c_message_get_packed_size(body);
    }
    *ret_envelope = envelope;
    return true;
}

/* -------------------------------------------------------------------------------- packing ----- */

static size_t number_bytes(uint32_t number, uint64_t value)
{
    return value == 0 ? 0 : varint_bytes(TAG(number, WIRE_VARINT)) + varint_bytes(value);
}

/* A number that is 0 is not written. */
static unsigned char *number_put(unsigned char *to, uint32_t number, uint64_t value)
{
    return value == 0 ? to : varint_put(varint_put(to, TAG(number, WIRE_VARINT)), value);
}

size_t envelope_bytes(const struct envelope *envelope)
{
    return number_bytes(ID_NUMBER, envelope->id) +
           varint_bytes(TAG(envelope->body->id, WIRE_LENGTH)) + varint_bytes(envelope->body_bytes) +
           envelope->body_bytes + number_bytes(SEQUENCE_NUMBER, envelope->sequence);
}

static unsigned char *body_put(unsigned char *to, const struct envelope *envelope,
                               const ProtobufCMessage *message)
{
    to = varint_put(to, TAG(envelope->body->id, WIRE_LENGTH));
    to = varint_put(to, envelope->body_bytes);
    const ProtobufCMessage *body = body_get(message, envelope->body);
    const size_t n_packed =
        envelope->is_flat ? flat_pack(body, to) : protobuf_c_message_pack(body, to);
    KMEM_ASSERT(n_packed == envelope->body_bytes);
    return to + n_packed;
}

size_t envelope_pack(const struct envelope *envelope, const ProtobufCMessage *message,
                     unsigned char *to)
{
    /* By number, as protobuf-c does. */
    const bool is_body_first = envelope->body->id < SEQUENCE_NUMBER;
    unsigned char *at = number_put(to, ID_NUMBER, envelope->id);
    at = is_body_first ? body_put(at, envelope, message) : at;
    at = number_put(at, SEQUENCE_NUMBER, envelope->sequence);
    at = is_body_first ? at : body_put(at, envelope, message);
    return (size_t)(at - to);
}

/* ------------------------------------------------------------------------------ unpacking ----- */

/* One more part, whose tag has been read. Return: how long it is; 0: it is left to protobuf-c. */
static size_t part_scan(const ProtobufCMessageDescriptor *descriptor, uint64_t tag,
                        const unsigned char *from, size_t n_bytes, struct envelope *envelope,
                        const unsigned char **body)
{
    uint64_t value;
    const size_t n_value = varint_get(from, n_bytes, &value);
    if (n_value == 0) {
        return 0;
    }
    if (tag == TAG(ID_NUMBER, WIRE_VARINT)) {
        envelope->id = value;
        return n_value;
    }
    if (tag == TAG(SEQUENCE_NUMBER, WIRE_VARINT) && is_request(descriptor)) {
        envelope->sequence = value;
        return n_value;
    }
    if (TAG_WIRE(tag) != WIRE_LENGTH || envelope->body || n_value > VARINT_SHORT_BYTES ||
        value > n_bytes - n_value) {
        return 0;
    }
    envelope->body = body_of(descriptor, TAG_NUMBER(tag));
    envelope->body_bytes = (size_t)value;
    *body = from + n_value;
    return envelope->body ? n_value + (size_t)value : 0;
}

bool envelope_scan(const ProtobufCMessageDescriptor *descriptor, const unsigned char *payload,
                   size_t payload_bytes, struct envelope *ret_envelope,
                   const unsigned char **ret_body)
{
    *ret_envelope = (struct envelope){.id = 0};
    size_t at = 0;
    if (!is_request(descriptor) && descriptor != &kmem__response__descriptor) {
        return false;
    }
    while (at < payload_bytes) {
        uint64_t tag;
        const size_t n_tag = varint_get_short(payload + at, payload_bytes - at, &tag);
        at += n_tag;
        const size_t n_part = n_tag == 0 ? 0
                                         : part_scan(descriptor, tag, payload + at,
                                                     payload_bytes - at, ret_envelope, ret_body);
        if (n_part == 0) {
            return false;
        }
        at += n_part;
    }
    return ret_envelope->body != NULL;
}

/* NULL: it is no message, or a large one. */
static ProtobufCMessage *body_unpack(const struct envelope *envelope, const unsigned char *body,
                                     ProtobufCAllocator *allocator)
{
    const ProtobufCMessageDescriptor *descriptor = envelope->body->descriptor;
    ProtobufCMessage *message =
        allocator->alloc(allocator->allocator_data, descriptor->sizeof_message);
    if (!message) {
        return NULL;
    }
    return flat_unpack(descriptor, body, envelope->body_bytes, allocator, message)
               ? message
               : protobuf_c_message_unpack(descriptor, allocator, envelope->body_bytes, body);
}

ProtobufCMessage *envelope_unpack(const ProtobufCMessageDescriptor *descriptor,
                                  const struct envelope *envelope, const unsigned char *body,
                                  ProtobufCAllocator *allocator)
{
    ProtobufCMessage *message =
        allocator->alloc(allocator->allocator_data, descriptor->sizeof_message);
    ProtobufCMessage *inner = message ? body_unpack(envelope, body, allocator) : NULL;
    if (!inner) {
        return NULL;
    }
    protobuf_c_message_init(descriptor, message);
    if (is_request(descriptor)) {
        Kmem__Request *request = (Kmem__Request *)message;
        request->id = envelope->id;
        request->sequence = envelope->sequence;
        request->body_case = (Kmem__Request__BodyCase)envelope->body->id;
    } else {
        Kmem__Response *response = (Kmem__Response *)message;
        response->id = envelope->id;
        response->body_case = (Kmem__Response__BodyCase)envelope->body->id;
    }
    void *at = (unsigned char *)message + envelope->body->offset;
    *(ProtobufCMessage **)at = inner;
    return message;
}

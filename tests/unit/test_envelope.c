/* SPDX-License-Identifier: MIT */
/*
 * What envelope.c writes and reads beside what protobuf-c alone does: the same, for every request
 * and response there is, and for bytes that are nearly one.
 */
#include <stdlib.h>
#include <string.h>

#include "proto/frame.h"
#include "proto/kmem.pb-c.h"
#include "proto/limits.h"
#include "tests/unit/unit.h"

#define PACKED_MAX 4096

static _Alignas(16) unsigned char memory[REQUEST_ARENA_BYTES];
static _Alignas(16) unsigned char memory_alone[REQUEST_ARENA_BYTES];
static _Alignas(16) unsigned char body[sizeof(Kmem__UsageReport) + 4096];

/* A Request or a Response, and its bytes as protobuf-c alone packs them. */
struct sample {
    union {
        ProtobufCMessage base;
        Kmem__Request request;
        Kmem__Response response;
    } message;
    unsigned char packed[PACKED_MAX];
    size_t n_packed;
};

static bool is_body(const ProtobufCFieldDescriptor *field)
{
    return (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0;
}

/* Numbers of all lengths, so that tags, lengths and ids have one byte and more. */
static uint64_t some_number(void)
{
    const uint64_t number = (uint64_t)rand() << 33 ^ (uint64_t)rand() << 8 ^ (uint64_t)rand();
    return number >> rand() % 64;
}

/* What a byte string may be: of no bytes, now and then. */
static ProtobufCBinaryData some_bytes(void)
{
    static uint8_t bytes[64] = "some bytes";
    return (ProtobufCBinaryData){(size_t)(rand() % 3) * (size_t)(rand() % 20), bytes};
}

/* A body with something in each of its fields that is a number or a byte string. */
static void *body_make(const ProtobufCMessageDescriptor *descriptor)
{
    assert_true(descriptor->sizeof_message <= sizeof(body));
    protobuf_c_message_init(descriptor, body);
    for (unsigned i = 0; i < descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &descriptor->fields[i];
        const bool is_plain = field->label == PROTOBUF_C_LABEL_NONE && field->flags == 0;
        if (is_plain &&
            (field->type == PROTOBUF_C_TYPE_UINT64 || field->type == PROTOBUF_C_TYPE_FIXED64)) {
            const uint64_t number = some_number();
            memcpy(body + field->offset, &number, sizeof(number));
        } else if (is_plain && field->type == PROTOBUF_C_TYPE_BYTES) {
            const ProtobufCBinaryData bytes = some_bytes();
            memcpy(body + field->offset, &bytes, sizeof(bytes));
        }
    }
    return body;
}

static void sample_make(struct sample *sample, const ProtobufCMessageDescriptor *descriptor,
                        const ProtobufCFieldDescriptor *field)
{
    void *inner = body_make(field->descriptor);
    unsigned char *bytes = (unsigned char *)&sample->message;
    protobuf_c_message_init(descriptor, &sample->message);
    memcpy(bytes + field->offset, &inner, sizeof(inner));
    memcpy(bytes + field->quantifier_offset, &field->id, sizeof(field->id));
    if (descriptor == &kmem__request__descriptor) {
        sample->message.request.id = some_number();
        sample->message.request.sequence = some_number();
    } else {
        sample->message.response.id = some_number();
    }
    assert_true(protobuf_c_message_get_packed_size(&sample->message.base) <= PACKED_MAX);
    sample->n_packed = protobuf_c_message_pack(&sample->message.base, sample->packed);
}

static size_t pack_alone(const ProtobufCMessage *message, unsigned char *to)
{
    assert_true(protobuf_c_message_get_packed_size(message) <= PACKED_MAX);
    return protobuf_c_message_pack(message, to);
}

/* Both make the same of it, or nothing. */
static void assert_decodes_alike(const ProtobufCMessageDescriptor *descriptor,
                                 const unsigned char *payload, size_t n_bytes)
{
    static unsigned char packed[PACKED_MAX];
    static unsigned char packed_alone[PACKED_MAX];
    struct arena arena;
    struct arena alone;
    arena_init(&arena, memory, sizeof(memory));
    arena_init(&alone, memory_alone, sizeof(memory_alone));
    const ProtobufCMessage *one = frame_decode(&arena, descriptor, payload, n_bytes);
    const ProtobufCMessage *other =
        protobuf_c_message_unpack(descriptor, &alone.allocator, n_bytes, payload);
    assert_true((one != NULL) == (other != NULL));
    if (one) {
        const size_t n_packed = pack_alone(one, packed);
        assert_int_equal(n_packed, pack_alone(other, packed_alone));
        assert_memory_equal(packed, packed_alone, n_packed);
    }
}

typedef void (*check_function)(const ProtobufCMessageDescriptor *, const struct sample *);

static void each_body(const ProtobufCMessageDescriptor *descriptor, check_function check)
{
    static struct sample sample;
    for (unsigned i = 0; i < descriptor->n_fields; i++) {
        if (is_body(&descriptor->fields[i])) {
            sample_make(&sample, descriptor, &descriptor->fields[i]);
            check(descriptor, &sample);
        }
    }
}

/* Each kind of body there is, with other numbers in each round. */
static void each_sample(check_function check)
{
    const unsigned int seed = 20240229;
    srand(seed);
    print_message("seed %u\n", seed);
    for (unsigned round = 0; round < 200; round++) {
        each_body(&kmem__request__descriptor, check);
        each_body(&kmem__response__descriptor, check);
    }
}

static void check_encoding(const ProtobufCMessageDescriptor *descriptor,
                           const struct sample *sample)
{
    unsigned char frame[FRAME_HEADER_BYTES + PACKED_MAX];
    (void)descriptor;
    const size_t n_bytes = frame_encode(&sample->message.base, frame, sizeof(frame));
    assert_int_equal(n_bytes, FRAME_HEADER_BYTES + sample->n_packed);
    assert_memory_equal(frame + FRAME_HEADER_BYTES, sample->packed, sample->n_packed);
}

static void test_every_body_is_written_as_protobuf_c_does(void **state)
{
    each_sample(check_encoding);
}

static void check_decoding(const ProtobufCMessageDescriptor *descriptor,
                           const struct sample *sample)
{
    assert_decodes_alike(descriptor, sample->packed, sample->n_packed);
    for (size_t n_bytes = 0; n_bytes < sample->n_packed && n_bytes < 24; n_bytes++) {
        assert_decodes_alike(descriptor, sample->packed, n_bytes);
    }
}

static void test_every_body_is_read_as_protobuf_c_does(void **state)
{
    each_sample(check_decoding);
}

/* A byte or two changed, near the beginning, where the tags and lengths are. */
static void check_spoiled(const ProtobufCMessageDescriptor *descriptor, const struct sample *sample)
{
    static unsigned char spoiled[PACKED_MAX];
    memcpy(spoiled, sample->packed, sample->n_packed);
    for (unsigned i = 0; i < 1 + (unsigned)rand() % 2 && sample->n_packed > 0; i++) {
        const size_t n_near = sample->n_packed < 16 ? sample->n_packed : 16;
        spoiled[(size_t)rand() % n_near] = (unsigned char)(rand() % (rand() % 2 ? 256 : 32));
    }
    assert_decodes_alike(descriptor, spoiled, sample->n_packed);
}

static void test_spoiled_bytes_are_read_as_protobuf_c_does(void **state)
{
    each_sample(check_spoiled);
}

static void test_parts_in_another_order_or_twice_are_read_as_protobuf_c_does(void **state)
{
    /* sequence 3, release of 9, id 7; two releases; two ids; none; a number of ten bytes; a tag, a
       body's length and a reason's length of six bytes, and of five */
    static const struct {
        size_t n_bytes;
        unsigned char bytes[16];
    } odd[] = {
        {8, {0x78, 3, 0x22, 2, 8, 9, 8, 7}},
        {8, {0x22, 2, 8, 9, 0x22, 2, 8, 10}},
        {8, {8, 1, 8, 2, 0x22, 2, 8, 9}},
        {2, {8, 7}},
        {0, {0}},
        {15, {8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0x22, 2, 8, 9}},
        {5, {0x88, 0, 7, 0x22, 0}},
        {8, {8, 7, 0x22, 0, 0x7d, 1, 2, 3}},
        {9, {0x88, 0x80, 0x80, 0x80, 0x80, 0, 7, 0x22, 0}},
        {9, {0x22, 0x82, 0x80, 0x80, 0x80, 0x80, 0, 8, 9}},
        {11, {0x1a, 9, 0x12, 0x82, 0x80, 0x80, 0x80, 0x80, 0, 'a', 'b'}},
        {8, {0x88, 0x80, 0x80, 0x80, 0, 7, 0x22, 0}},
        {8, {0x22, 0x82, 0x80, 0x80, 0x80, 0, 8, 9}},
        {10, {0x1a, 8, 0x12, 0x82, 0x80, 0x80, 0x80, 0, 'a', 'b'}},
        {4, {0x1a, 2, 0x12, 0}},
        {6, {0x1a, 4, 0x12, 9, 'a', 'b'}},
    };
    for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
        assert_decodes_alike(&kmem__request__descriptor, odd[i].bytes, odd[i].n_bytes);
        assert_decodes_alike(&kmem__response__descriptor, odd[i].bytes, odd[i].n_bytes);
    }
}

static void test_unknown_fields_are_kept(void **state)
{
    const unsigned char bytes[] = {8, 7, 0x22, 2, 8, 9, 0xfa, 7, 1, 5};
    struct arena arena;
    arena_init(&arena, memory, sizeof(memory));

    const ProtobufCMessage *message =
        frame_decode(&arena, &kmem__request__descriptor, bytes, sizeof(bytes));

    assert_non_null(message);
    assert_int_equal(message->n_unknown_fields, 1);
    unsigned char frame[64];
    assert_int_equal(frame_encode(message, frame, sizeof(frame)),
                     FRAME_HEADER_BYTES + sizeof(bytes));
}

/* The smallest arena in which there is room for it, and all that are smaller. */
static void check_arenas(const ProtobufCMessageDescriptor *descriptor, const struct sample *sample)
{
    struct arena arena;
    bool is_read = false;
    for (size_t capacity_bytes = 0; !is_read && capacity_bytes < 1024; capacity_bytes += 16) {
        arena_init(&arena, memory, capacity_bytes);
        is_read = frame_decode(&arena, descriptor, sample->packed, sample->n_packed) != NULL;
        assert_true(!is_read || capacity_bytes > 0);
    }
    arena_init(&arena, memory, sizeof(memory));
    assert_non_null(frame_decode(&arena, descriptor, sample->packed, sample->n_packed));
}

static void test_every_body_in_too_little_memory_is_none(void **state)
{
    srand(20240301);
    each_body(&kmem__request__descriptor, check_arenas);
    each_body(&kmem__response__descriptor, check_arenas);
}

static void assert_encodes_alike(const ProtobufCMessage *message)
{
    static unsigned char packed[PACKED_MAX];
    static unsigned char frame[FRAME_HEADER_BYTES + PACKED_MAX];
    const size_t n_packed = pack_alone(message, packed);
    assert_int_equal(frame_encode(message, frame, sizeof(frame)), FRAME_HEADER_BYTES + n_packed);
    assert_memory_equal(frame + FRAME_HEADER_BYTES, packed, n_packed);
}

/* No envelope, one without a body, and a body with a field that nobody knows. */
static void test_what_is_not_plain_is_written_as_protobuf_c_does(void **state)
{
    Kmem__Release release = KMEM__RELEASE__INIT;
    Kmem__Request request = KMEM__REQUEST__INIT;
    uint8_t data[] = {5};
    ProtobufCMessageUnknownField unknown = {
        .tag = 100, .wire_type = PROTOBUF_C_WIRE_TYPE_VARINT, .len = 1, .data = data};
    release.offset = 9;
    assert_encodes_alike(&release.base);
    request.id = 7;
    assert_encodes_alike(&request.base);
    request.body_case = KMEM__REQUEST__BODY_RELEASE;
    assert_encodes_alike(&request.base);
    request.release = &release;
    assert_encodes_alike(&request.base);
    release.base.n_unknown_fields = 1;
    release.base.unknown_fields = &unknown;
    assert_encodes_alike(&request.base);
}

static void test_message_that_is_no_envelope_is_read_as_protobuf_c_does(void **state)
{
    const unsigned char bytes[] = {8, 9};
    assert_decodes_alike(&kmem__release__descriptor, bytes, sizeof(bytes));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_body_is_written_as_protobuf_c_does),
        cmocka_unit_test(test_every_body_is_read_as_protobuf_c_does),
        cmocka_unit_test(test_spoiled_bytes_are_read_as_protobuf_c_does),
        cmocka_unit_test(test_parts_in_another_order_or_twice_are_read_as_protobuf_c_does),
        cmocka_unit_test(test_unknown_fields_are_kept),
        cmocka_unit_test(test_every_body_in_too_little_memory_is_none),
        cmocka_unit_test(test_what_is_not_plain_is_written_as_protobuf_c_does),
        cmocka_unit_test(test_message_that_is_no_envelope_is_read_as_protobuf_c_does),
    };
    return cmocka_run_group_tests_name("envelope", tests, NULL, NULL);
}

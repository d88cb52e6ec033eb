/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "proto/frame.h"
#include "proto/kmem.pb-c.h"
#include "proto/limits.h"
#include "tests/unit/unit.h"

static _Alignas(16) unsigned char memory[RESPONSE_ARENA_BYTES];
static unsigned char frame[FRAME_HEADER_BYTES + RESPONSE_MAX_BYTES];

static Kmem__Request release_request(Kmem__Release *body, uint64_t offset)
{
    Kmem__Request request = KMEM__REQUEST__INIT;
    kmem__release__init(body);
    body->offset = offset;
    request.id = 7;
    request.body_case = KMEM__REQUEST__BODY_RELEASE;
    request.release = body;
    return request;
}

static void test_frame_length_is_little_endian(void **state)
{
    const unsigned char header[FRAME_HEADER_BYTES] = {0x78, 0x56, 0x34, 0xF2};

    assert_int_equal(frame_length(header), UINT32_C(0xF2345678));
}

static void test_frame_encode_then_decode_gives_the_message(void **state)
{
    Kmem__Release body;
    Kmem__Request request = release_request(&body, 0x123456789);
    struct arena arena;
    arena_init(&arena, memory, sizeof(memory));

    size_t num_bytes = frame_encode(&request.base, frame, sizeof(frame));
    assert_int_equal(frame_length(frame), num_bytes - FRAME_HEADER_BYTES);
    Kmem__Request *decoded =
        (Kmem__Request *)frame_decode(&arena, &kmem__request__descriptor,
                                      frame + FRAME_HEADER_BYTES, num_bytes - FRAME_HEADER_BYTES);

    assert_non_null(decoded);
    assert_int_equal(decoded->id, 7);
    assert_int_equal(decoded->body_case, KMEM__REQUEST__BODY_RELEASE);
    assert_int_equal(decoded->release->offset, 0x123456789);
}

static void test_frame_encode_into_too_little_writes_nothing(void **state)
{
    Kmem__Release body;
    Kmem__Request request = release_request(&body, 16384);
    size_t needed_bytes = frame_encode(&request.base, frame, sizeof(frame));

    for (size_t capacity_bytes = 0; capacity_bytes < needed_bytes; capacity_bytes++) {
        memset(frame, 0xAA, sizeof(frame));
        assert_int_equal(frame_encode(&request.base, frame, capacity_bytes), 0);
        assert_int_equal(frame[0], 0xAA);
    }
    assert_int_equal(frame_encode(&request.base, frame, needed_bytes), needed_bytes);
}

static void test_frame_decode_every_truncation_is_no_message_or_shorter(void **state)
{
    Kmem__Release body;
    Kmem__Request request = release_request(&body, 16384);
    size_t payload_bytes = frame_encode(&request.base, frame, sizeof(frame)) - FRAME_HEADER_BYTES;
    struct arena arena;

    for (size_t cut_bytes = 0; cut_bytes < payload_bytes; cut_bytes++) {
        /* A copy of its own size, so that AddressSanitizer sees a read beyond it. */
        unsigned char *cut = malloc(cut_bytes + 1);
        assert_non_null(cut);
        memcpy(cut, frame + FRAME_HEADER_BYTES, cut_bytes);
        arena_init(&arena, memory, sizeof(memory));
        Kmem__Request *decoded =
            (Kmem__Request *)frame_decode(&arena, &kmem__request__descriptor, cut, cut_bytes);
        assert_true(decoded == NULL || decoded->body_case == KMEM__REQUEST__BODY__NOT_SET);
        free(cut);
    }
}

static void test_frame_decode_bomb_of_empty_submessages_is_refused(void **state)
{
    static unsigned char bomb[RESPONSE_MAX_BYTES];
    static unsigned char rows[RESPONSE_MAX_BYTES];
    size_t n_bytes = RESPONSE_MAX_BYTES - 8;
    for (size_t at = 0; at + 1 < n_bytes; at += 2) {
        rows[at] = 0x0A; /* field 1, a submessage */
        rows[at + 1] = 0;
    }
    /* Field 8 (ledger) of a Response, its length as a three byte varint. */
    bomb[0] = 0x42;
    bomb[1] = (unsigned char)(0x80 | (n_bytes & 0x7F));
    bomb[2] = (unsigned char)(0x80 | ((n_bytes >> 7) & 0x7F));
    bomb[3] = (unsigned char)(n_bytes >> 14);
    memcpy(bomb + 4, rows, n_bytes);
    struct arena arena;
    arena_init(&arena, memory, sizeof(memory));

    assert_null(frame_decode(&arena, &kmem__response__descriptor, bomb, 4 + n_bytes));
    assert_true(arena.used_bytes <= sizeof(memory));
}

/* The shortest rows that the daemon can have: the most memory that an honest answer needs. */
static void test_frame_decode_densest_honest_answer_fits_the_arena(void **state)
{
    static Kmem__LedgerRow rows[RESPONSE_MAX_BYTES];
    static Kmem__LedgerRow *pointers[RESPONSE_MAX_BYTES];
    Kmem__LedgerReport report = KMEM__LEDGER_REPORT__INIT;
    Kmem__Response response = KMEM__RESPONSE__INIT;
    report.rows = pointers;
    response.body_case = KMEM__RESPONSE__BODY_LEDGER;
    response.ledger = &report;
    size_t payload_bytes = 0;
    for (size_t i = 0; payload_bytes + 16 < RESPONSE_MAX_BYTES; i++) {
        kmem__ledger_row__init(&rows[i]);
        rows[i].key = (char *)(uintptr_t) "a";
        rows[i].n_blocks = 1;
        rows[i].num_bytes = 1;
        pointers[i] = &rows[i];
        report.n_rows = i + 1;
        payload_bytes += 9;
    }
    struct arena arena;
    arena_init(&arena, memory, sizeof(memory));

    size_t frame_bytes = frame_encode(&response.base, frame, sizeof(frame));
    assert_true(frame_bytes > RESPONSE_MAX_BYTES - 64);
    Kmem__Response *decoded = (Kmem__Response *)frame_decode(&arena, &kmem__response__descriptor,
                                                             frame + FRAME_HEADER_BYTES,
                                                             frame_bytes - FRAME_HEADER_BYTES);

    assert_non_null(decoded);
    assert_int_equal(decoded->ledger->n_rows, report.n_rows);
}

static void test_frame_decode_random_bytes_stays_in_the_arena(void **state)
{
    static _Alignas(16) unsigned char small[REQUEST_ARENA_BYTES + 16];
    const unsigned int seed = 20240229;
    struct arena arena;
    srand(seed);
    print_message("seed %u\n", seed);

    for (unsigned int round = 0; round < 20000; round++) {
        unsigned char payload[256];
        size_t n_bytes = (size_t)rand() % sizeof(payload);
        for (size_t i = 0; i < n_bytes; i++) {
            /* Half of the bytes are small, so that tags and lengths are often plausible. */
            payload[i] = (unsigned char)(rand() % (rand() % 2 ? 256 : 32));
        }
        memset(small + REQUEST_ARENA_BYTES, 0xAA, 16);
        arena_init(&arena, small, REQUEST_ARENA_BYTES);
        ProtobufCMessage *decoded =
            frame_decode(&arena, &kmem__request__descriptor, payload, n_bytes);
        assert_true(decoded == NULL || decoded->descriptor == &kmem__request__descriptor);
        assert_true(arena.used_bytes <= REQUEST_ARENA_BYTES);
        assert_int_equal(small[REQUEST_ARENA_BYTES], 0xAA);
    }
}

static void test_arena_take_is_aligned_and_bounded(void **state)
{
    struct arena arena;
    arena_init(&arena, memory, 64);
    ProtobufCAllocator *allocator = &arena.allocator;

    assert_ptr_equal(allocator->alloc(allocator->allocator_data, 1), memory);
    assert_ptr_equal(allocator->alloc(allocator->allocator_data, 17), memory + 16);
    assert_null(allocator->alloc(allocator->allocator_data, 17));
    assert_ptr_equal(allocator->alloc(allocator->allocator_data, 16), memory + 48);
    assert_null(allocator->alloc(allocator->allocator_data, 1));
    assert_null(allocator->alloc(allocator->allocator_data, SIZE_MAX));
}

static void test_arena_reset_gives_all_of_it_back(void **state)
{
    struct arena arena;
    arena_init(&arena, memory, 32);
    ProtobufCAllocator *allocator = &arena.allocator;
    assert_non_null(allocator->alloc(allocator->allocator_data, 32));

    arena_reset(&arena);

    assert_ptr_equal(allocator->alloc(allocator->allocator_data, 32), memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frame_length_is_little_endian),
        cmocka_unit_test(test_frame_encode_then_decode_gives_the_message),
        cmocka_unit_test(test_frame_encode_into_too_little_writes_nothing),
        cmocka_unit_test(test_frame_decode_every_truncation_is_no_message_or_shorter),
        cmocka_unit_test(test_frame_decode_bomb_of_empty_submessages_is_refused),
        cmocka_unit_test(test_frame_decode_densest_honest_answer_fits_the_arena),
        cmocka_unit_test(test_frame_decode_random_bytes_stays_in_the_arena),
        cmocka_unit_test(test_arena_take_is_aligned_and_bounded),
        cmocka_unit_test(test_arena_reset_gives_all_of_it_back),
    };
    return cmocka_run_group_tests_name("frame", tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
#include "tests/wire/request.h"

#include <stdatomic.h>

#include "proto/limits.h"

Kmem__Request *request_plain(struct request *request, Kmem__Request__BodyCase body_case)
{
    static _Atomic uint64_t last_id;
    const ProtobufCFieldDescriptor *const field =
        protobuf_c_message_descriptor_get_field(&kmem__request__descriptor, body_case);
    protobuf_c_message_init(field->descriptor, &request->body);
    kmem__request__init(&request->base);
    request->base.id = atomic_fetch_add(&last_id, 1) + 1;
    request->base.body_case = body_case;
    request->base.hello = &request->hello; /* or another kind's: all bodies are at one place */
    return &request->base;
}

Kmem__Request *request_hello(struct request *request, Kmem__Role role, uint64_t resume_nonce)
{
    Kmem__Request *const base = request_plain(request, KMEM__REQUEST__BODY_HELLO);
    request->hello.version = PROTOCOL_VERSION;
    request->hello.role = role;
    request->hello.resume_nonce = resume_nonce;
    return base;
}

Kmem__Request *request_allocate(struct request *request, uint64_t num_bytes, const void *reason,
                                size_t n_reason_bytes)
{
    Kmem__Request *const base = request_plain(request, KMEM__REQUEST__BODY_ALLOCATE);
    request->allocate.num_bytes = num_bytes;
    request->allocate.reason.data = (uint8_t *)(uintptr_t)reason;
    request->allocate.reason.len = n_reason_bytes;
    return base;
}

Kmem__Request *request_release(struct request *request, uint64_t offset)
{
    Kmem__Request *const base = request_plain(request, KMEM__REQUEST__BODY_RELEASE);
    request->release.offset = offset;
    return base;
}

Kmem__Request *request_size_of(struct request *request, uint64_t offset)
{
    Kmem__Request *const base = request_plain(request, KMEM__REQUEST__BODY_SIZE_OF);
    request->size_of.offset = offset;
    return base;
}

Kmem__Request *request_lease(struct request *request, uint32_t n_pages, uint32_t want_pages)
{
    Kmem__Request *const base = request_plain(request, KMEM__REQUEST__BODY_LEASE);
    request->lease.n_pages = n_pages;
    request->lease.want_pages = want_pages;
    return base;
}

Kmem__Request *request_ledger(struct request *request, Kmem__GroupBy by, uint32_t first_row)
{
    Kmem__Request *const base = request_plain(request, KMEM__REQUEST__BODY_LEDGER);
    request->ledger.by = by;
    request->ledger.first_row = first_row;
    return base;
}

Kmem__Request *request_blocks(struct request *request, uint64_t from_offset)
{
    Kmem__Request *const base = request_plain(request, KMEM__REQUEST__BODY_BLOCKS);
    request->blocks.from_offset = from_offset;
    return base;
}

Kmem__Request *request_holders(struct request *request, uint64_t offset)
{
    Kmem__Request *const base = request_plain(request, KMEM__REQUEST__BODY_HOLDERS);
    request->holders.offset = offset;
    return base;
}

Kmem__Request *request_clients(struct request *request, uint32_t from_slot)
{
    Kmem__Request *const base = request_plain(request, KMEM__REQUEST__BODY_CLIENTS);
    request->clients.from_slot = from_slot;
    return base;
}

Kmem__Request *request_obituaries(struct request *request, uint64_t from_number)
{
    Kmem__Request *const base = request_plain(request, KMEM__REQUEST__BODY_OBITUARIES);
    request->obituaries.from_number = from_number;
    return base;
}

size_t request_pack(const Kmem__Request *request, unsigned char *frame, size_t capacity)
{
    const size_t n_bytes = kmem__request__get_packed_size(request);
    if (n_bytes + FRAME_HEADER_BYTES > capacity) {
        return 0;
    }
    for (size_t i = 0; i < FRAME_HEADER_BYTES; i++) {
        frame[i] = (unsigned char)(n_bytes >> (8 * i));
    }
    return FRAME_HEADER_BYTES + kmem__request__pack(request, frame + FRAME_HEADER_BYTES);
}

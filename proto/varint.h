/* SPDX-License-Identifier: MIT */
/*
 * varint.h - numbers as protobuf writes them, seven bits a byte, and the tags before fields
 */
#ifndef PROTO_VARINT_H
#define PROTO_VARINT_H

#include <stddef.h>
#include <stdint.h>

#include "proto/attributes.h"

enum wire { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_LENGTH = 2 };

#define WIRE_BITS 3
#define TAG(number, wire) ((uint64_t)(number) << WIRE_BITS | (wire))
#define TAG_WIRE(tag) ((tag) & ((1 << WIRE_BITS) - 1))
#define TAG_NUMBER(tag) ((tag) >> WIRE_BITS)

#define VARINT_BITS 7
/* 9 of them are 63 bits; a tenth is left to protobuf-c. */
#define VARINT_BYTES 9
/* 5: of a tag or a length, however small, protobuf-c reads no more. */
#define VARINT_SHORT_BYTES 5

static inline size_t varint_bytes(uint64_t value)
{
    return (63 - (size_t)__builtin_clzll(value | 1)) / VARINT_BITS + 1;
}

/** varint_put() - Return: where the next byte goes */
static inline unsigned char *varint_put(unsigned char *to, uint64_t value)
{
    for (; value >> VARINT_BITS != 0; value >>= VARINT_BITS) {
        *to++ = (unsigned char)(value | 0x80);
    }
    *to++ = (unsigned char)value;
    return to;
}

/** varint_get() - Return: how many bytes it has; 0: it does not end here, or is too long */
static inline size_t varint_get(const unsigned char *from, size_t n_bytes, uint64_t *ret_value)
{
    if (KMEM_LIKELY(n_bytes > 0 && from[0] < 0x80)) {
        *ret_value = from[0];
        return 1;
    }
    uint64_t value = 0;
    for (size_t i = 0; i < n_bytes && i < VARINT_BYTES; i++) {
        value |= (uint64_t)(from[i] & 0x7f) << (VARINT_BITS * i);
        if (from[i] < 0x80) {
            *ret_value = value;
            return i + 1;
        }
    }
    return 0;
}

/** varint_get_short() - the same of a tag or a length */
static inline size_t varint_get_short(const unsigned char *from, size_t n_bytes,
                                      uint64_t *ret_value)
{
    const size_t n_value = varint_get(from, n_bytes, ret_value);
    return n_value <= VARINT_SHORT_BYTES ? n_value : 0;
}

#endif

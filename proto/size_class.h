/* SPDX-License-Identifier: MIT */
/*
 * size_class.h - the sizes that slabs are carved into
 *
 * Classes are 16 bytes apart up to 64 bytes, 64 apart up to 512, and four to a doubling from there
 * to 64 KiB: every class from 64 bytes up is a multiple of 64, so that blocks keep the alignment
 * that kmem.h promises, and from 256 bytes up neighbours are at most 25 % apart. Larger blocks are
 * whole pages: at 64 KiB a page of 16 KiB is 25 % as well.
 *
 * A slab of a class spans the fewest pages, up to eight, of which at most 1/16 is left over behind
 * the last block.
 */
#ifndef PROTO_SIZE_CLASS_H
#define PROTO_SIZE_CLASS_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/limits.h"

#define N_SIZE_CLASSES 39
#define SMALL_MAX_BYTES UINT32_C(65536)

/* Entries per page in each plane of a ledger file (see ledger.h): 16, 64, 256, 1024. */
#define N_PLANES 4
#define PLANE_SHIFT(plane) (4 + 2 * (plane))

struct size_class {
    uint32_t block_bytes;
    uint16_t span_pages; /* of a slab */
    uint16_t n_blocks;   /* in a slab; n_blocks * block_bytes <= span_pages * PAGE_BYTES */
    uint16_t plane;      /* the smallest that has an entry for every block */
    uint32_t reciprocal; /* ceil(2^35 / block_bytes): see size_class_index() */
};

extern const struct size_class size_classes[N_SIZE_CLASSES];

/** size_class_of() - the class of blocks for num_bytes, which is 1 to SMALL_MAX_BYTES */
static inline uint32_t size_class_of(uint32_t num_bytes)
{
    if (num_bytes <= 64) {
        return (num_bytes - 1) >> 4;
    }
    if (num_bytes <= 512) {
        return 3 + ((num_bytes - 1) >> 6);
    }
    /* Four classes to a doubling: the two bits below the leading one pick the quarter. */
    const uint32_t last = num_bytes - 1;
    const uint32_t log2 = 31 - (uint32_t)__builtin_clz(last);
    return 11 + ((log2 - 9) << 2) + ((last >> (log2 - 2)) & 3);
}

/**
 * size_class_index() - which block of a slab the byte at within_bytes lies in
 *
 * Multiplication by the rounded-up reciprocal (Granlund and Montgomery, "Division by Invariant
 * Integers using Multiplication", 1994) is exact here: within_bytes < 2^17, block_bytes <= 2^16,
 * and the test divides every such pair.
 */
static inline uint32_t size_class_index(const struct size_class *size_class, uint32_t within_bytes)
{
    return (uint32_t)(((uint64_t)within_bytes * size_class->reciprocal) >> 35);
}

#endif

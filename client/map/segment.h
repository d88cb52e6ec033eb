/* SPDX-License-Identifier: MIT */
/*
 * segment.h - the mapping of the segment in this process, and its offsets and pointers
 */
#ifndef CLIENT_MAP_SEGMENT_H
#define CLIENT_MAP_SEGMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "client/failure.h"
#include "client/map/guard.h"
#include "proto/attributes.h"
#include "proto/ledger.h"
#include "proto/limits.h"

/* What is to be mapped: the file, and what the daemon says of it. */
struct segment_file {
    int fd;
    const char *name;
    uint64_t num_bytes;
    uint64_t granule_bytes; /* of the guard */
    uint64_t instance;
    bool is_guarded;
    bool reads_only; /* it was opened so */
    bool dumps;      /* cores have it, unless $KMEM_CORE objects */
};

/* Constant from kmem__segment_new() to kmem__segment_free(): any thread reads it without a lock. */
struct segment {
    unsigned char *base;
    uint64_t num_bytes;
    uint64_t instance;
    bool reads_only;
    struct guard *guard; /* its contents change; guard.h says which thread may do what */
    char name[NAME_MAX_BYTES + 1];
};

/**
 * kmem__segment_new() - map the segment that a daemon has handed over
 * @file:         its descriptor is compared with what the daemon says; it stays the caller's
 * @ret_segment:  the mapping
 * @failure:      receives the sentence
 *
 * Return: 0; -EPROTO if the descriptor is not what the daemon says; another negative errno if it
 * can not be mapped.
 */
KMEM_MUST_USE int kmem__segment_new(const struct segment_file *file, struct segment **ret_segment,
                                    struct failure *failure);

/** kmem__segment_inherit() - in a forked child that goes on with its parent's mapping */
void kmem__segment_inherit(struct segment *segment);

/** kmem__segment_free() - unmap it; segment may be NULL. Return: NULL. */
struct segment *kmem__segment_free(struct segment *segment);

/**
 * kmem__segment_populate() - have the kernel map pages of a lease that has arrived, in one call
 *
 * Otherwise each CPU page costs a fault of its own when it is first touched, which takes five times
 * as long. A failure costs that and nothing else.
 */
void kmem__segment_populate(const struct segment *segment, uint32_t page, uint32_t n_pages);

/** kmem__segment_pointer() - where a block is in this process; the offset is inside the segment */
void *kmem__segment_pointer(const struct segment *segment, struct seg_off offset);

/** kmem__segment_offset() - an address as an offset; 0 if it is not inside, or segment is NULL */
struct seg_off kmem__segment_offset(const struct segment *segment, const void *address);

/** kmem__segment_has_room_at() - whether a block of num_bytes can be there: inside, and aligned */
bool kmem__segment_has_room_at(const struct segment *segment, struct seg_off offset,
                               uint64_t num_bytes);

#endif

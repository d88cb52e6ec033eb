/* SPDX-License-Identifier: MIT */
/*
 * The whole segment is mapped once, shared, and writable but for readers:
 *
 *      base              base + offset                       base + num_bytes
 *      | header page |  ...  | block |  ...                  |
 *
 * base is aligned to 2 MiB, so that a segment that is made of huge pages can be mapped by them:
 * the kernel does that where address and file offset agree modulo their size. mmap() alone aligns
 * to 4 KiB; so an address range that is 2 MiB longer is reserved and its ends are given back.
 *
 * A daemon that could shrink the file could kill this process with SIGBUS at any time; that the
 * descriptor is sealed against it is therefore checked, not believed. A core dump does not contain
 * the segment: it holds other processes' bytes, and may be larger than the disk. dump.h says when
 * it has some of it.
 *
 * At first nothing of it can be touched; guard.h says what is opened when. A reader's descriptor is
 * open for reading only: the kernel makes no page of its mapping writable.
 *
 * A forked child inherits the mapping, and may go on reading and writing its parent's blocks.
 */
#include "client/map/segment.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "client/map/dump.h"
#include "client/map/map.h"

#define HUGE_PAGE_BYTES ((uint64_t)2 << 20)

KMEM_MUST_USE static int segment_check_file(const struct segment_file *file,
                                            struct failure *failure)
{
    struct map_file there;
    const int r = kmem__map_look(file->fd, &there, failure);
    if (r < 0) {
        return r;
    }
    if (there.num_bytes != file->num_bytes) {
        return kmem__failure_set(failure, EPROTO,
                                 "the daemon sent a descriptor that is not the segment it "
                                 "describes");
    }
    if ((there.seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)) != 0) {
        return kmem__failure_set(failure, EPROTO,
                                 "the daemon sent a segment that can not be written");
    }
    if ((there.seals & F_SEAL_SHRINK) == 0) {
        return kmem__failure_set(failure, EPROTO,
                                 "the daemon sent a segment that it could shrink under its "
                                 "clients");
    }
    return 0;
}

/* Return: num_bytes of address space, aligned, reserved and not accessible; NULL if none. */
static unsigned char *segment_reserve(uint64_t num_bytes, uint64_t align_bytes)
{
    uint64_t reserved_bytes = num_bytes + align_bytes;
    void *reserved = kmem__map_sparse(NULL, reserved_bytes, PROT_NONE,
                                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
    if (reserved == MAP_FAILED) {
        return NULL;
    }
    unsigned char *begin = reserved;
    uint64_t before_bytes = -(uintptr_t)begin % align_bytes;
    uint64_t behind_bytes = align_bytes - before_bytes;
    if (before_bytes > 0) {
        (void)munmap(begin, before_bytes);
    }
    (void)munmap(begin + before_bytes + num_bytes, behind_bytes);
    return begin + before_bytes;
}

/* What is in a core of this process. */
static enum dump segment_dumps(const struct segment_file *file)
{
    const enum dump without_daemon = kmem__dump_serves_malloc() ? DUMP_OWN : DUMP_NONE;
    return kmem__dump_wanted(file->dumps ? DUMP_BLOCKS : without_daemon);
}

KMEM_MUST_USE static int segment_map(struct segment *segment, const struct segment_file *file,
                                     struct failure *failure)
{
    const uint64_t align_bytes =
        file->granule_bytes > HUGE_PAGE_BYTES ? file->granule_bytes : HUGE_PAGE_BYTES;
    const int access = segment->reads_only ? PROT_READ : PROT_READ | PROT_WRITE;
    segment->base = segment_reserve(segment->num_bytes, align_bytes);
    if (segment->base == NULL ||
        kmem__map_sparse(segment->base, segment->num_bytes, file->is_guarded ? PROT_NONE : access,
                         MAP_SHARED | MAP_FIXED, file->fd) == MAP_FAILED) {
        return kmem__map_failed(failure, errno, "the segment", segment->num_bytes);
    }
    if (segment_dumps(file) != DUMP_BLOCKS) {
        kmem__dump_leave_out(segment->base, segment->num_bytes);
    }
    return 0;
}

struct segment *kmem__segment_free(struct segment *segment)
{
    if (segment != NULL) {
        if (segment->base != NULL) {
            (void)munmap(segment->base, segment->num_bytes);
        }
        if (segment->guard != NULL) {
            kmem__guard_fini(segment->guard);
            free(segment->guard);
        }
        free(segment);
    }
    return NULL;
}

/* Of a program's heap it is noted what is open, for its children. Return: 0 or -errno. */
KMEM_MUST_USE static int segment_guard(struct segment *segment, const struct segment_file *file,
                                       struct failure *failure)
{
    const bool notes = file->is_guarded || kmem__dump_serves_malloc();
    segment->guard = calloc(1, sizeof(*segment->guard));
    if (segment->guard == NULL ||
        (notes && kmem__guard_init(segment->guard, segment->base, segment->num_bytes,
                                   file->granule_bytes, segment->reads_only) < 0)) {
        return kmem__failure_set(failure, ENOMEM, "no memory for the mapping's guard");
    }
    segment->guard->is_off = !file->is_guarded;
    segment->guard->dumps_open = file->is_guarded && segment_dumps(file) == DUMP_OWN;
    return 0;
}

void kmem__segment_inherit(struct segment *segment)
{
    kmem__guard_keep(segment->guard);
}

int kmem__segment_new(const struct segment_file *file, struct segment **ret_segment,
                      struct failure *failure)
{
    int r = segment_check_file(file, failure);
    if (r < 0) {
        return r;
    }
    struct segment *segment = calloc(1, sizeof(*segment));
    if (segment == NULL) {
        return kmem__failure_set(failure, ENOMEM, "no memory for the mapping's description");
    }
    segment->num_bytes = file->num_bytes;
    segment->instance = file->instance;
    segment->reads_only = file->reads_only;
    (void)snprintf(segment->name, sizeof(segment->name), "%s", file->name);
    r = segment_map(segment, file, failure);
    r = r ? r : segment_guard(segment, file, failure);
    if (r < 0) {
        (void)kmem__segment_free(segment);
        return r;
    }
    *ret_segment = segment;
    return 0;
}

void kmem__segment_populate(const struct segment *segment, uint32_t page, uint32_t n_pages)
{
    unsigned char *begin = segment->base + ((uint64_t)page << PAGE_SHIFT);
    (void)madvise(begin, (size_t)n_pages << PAGE_SHIFT, MADV_POPULATE_WRITE);
}

void *kmem__segment_pointer(const struct segment *segment, struct seg_off offset)
{
    return segment->base + offset.bytes;
}

struct seg_off kmem__segment_offset(const struct segment *segment, const void *address)
{
    if (segment == NULL) {
        return (struct seg_off){0};
    }
    /* Below base the difference wraps around to a number beyond num_bytes. */
    uint64_t offset_bytes = (uintptr_t)address - (uintptr_t)segment->base;
    return (struct seg_off){offset_bytes < segment->num_bytes ? offset_bytes : 0};
}

bool kmem__segment_has_room_at(const struct segment *segment, struct seg_off offset,
                               uint64_t num_bytes)
{
    uint64_t align_bytes = num_bytes >= BLOCK_LINE_BYTES ? BLOCK_LINE_BYTES : BLOCK_ALIGN_BYTES;
    return offset.bytes >= PAGE_BYTES && offset.bytes % align_bytes == 0 &&
           num_bytes <= segment->num_bytes && offset.bytes <= segment->num_bytes - num_bytes;
}

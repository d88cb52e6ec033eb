/* SPDX-License-Identifier: MIT */
/*
 * madvise() on a program's blocks. A heap is private memory without a file elsewhere, and programs
 * rely on what the kernel does with that; here it is a shared mapping of a file:
 *
 *      advice                     a heap elsewhere            a shared file       so here
 *      MADV_DONTNEED, _LOCKED     zeros                       the old bytes       they are cleared
 *      MADV_FREE                  the old bytes, or zeros     EINVAL              nothing is done
 *      MADV_REMOVE                EINVAL                      a hole in the file  EINVAL
 *
 * The rest is the kernel's to answer; so is what lies outside of the segment, and posix_madvise(),
 * whose POSIX_MADV_DONTNEED glibc takes for a hint and leaves.
 *
 * Cleared is what is in blocks of this process and what no other process holds: the daemon is asked
 * for each block in the range, and the library whether it is this process's. A range that leads
 * into another's block does not reach its bytes. If it can not be found out, the call fails with
 * EAGAIN: a program that would read old bytes for zeros is told. The memory stays the process's, as
 * the lease is: it gets it back by free().
 *
 * What a forked child has inherited is private memory, and the kernel's to answer.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <kmem/kmem.h>
#include <kmem/observe.h>

#include "client/malloc/block.h"

#define EXPORT __attribute__((visibility("default")))

/* Since Linux 5.18; glibc 2.36 has it, older ones do not. */
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif

/* A page of the segment: what is no block ends there at the latest. */
#define SEGMENT_PAGE_BYTES UINT64_C(16384)

/* What of the segment is to be cleared, by offset. */
struct range {
    unsigned char *base; /* where offset 0 is */
    uint64_t at;
    uint64_t end;
    uint64_t given_end; /* as the program gave it, before it is rounded up to pages */
    bool is_own;        /* a block of this process was met */
};

static uint64_t smaller(uint64_t one, uint64_t other)
{
    return one < other ? one : other;
}

/* Whether a block is this process's alone; the size is asked for to that end. */
static bool is_own(const struct range *range, const struct kmem_block *block)
{
    size_t num_bytes;
    return !block->shared && kmem_try_sizeof(range->base + block->offset, &num_bytes) == 0;
}

/* Clears what the range has of the block, and goes on behind it. */
static void range_clear(struct range *range, const struct kmem_byte *byte)
{
    const struct kmem_block *block = byte->block;
    const uint64_t end = smaller(range->end, block->offset + block->num_bytes);
    if (is_own(range, block)) {
        memset(range->base + range->at, 0, end - range->at);
        range->is_own = true;
    }
    range->at = end;
}

static int range_visit(const struct kmem_byte *byte, void *user)
{
    struct range *range = user;
    const uint64_t page_end = range->at - range->at % SEGMENT_PAGE_BYTES + SEGMENT_PAGE_BYTES;
    if (byte->kind == KMEM_BYTE_BLOCK) {
        range_clear(range, byte);
    } else if (byte->place_bytes > 0) {
        range->at = byte->place_offset + byte->place_bytes;
    } else {
        range->at = page_end;
    }
    return 0;
}

/* Return: 0; or an errno. */
static int range_ask(struct range *range, struct kmem_query *query)
{
    /* What is behind the end that the program gave is its last block's, or not meant. */
    while (range->at < range->given_end) {
        const uint64_t before = range->at;
        if (kmem_query_at(query, range->at, range_visit, range) < 0 || range->at <= before) {
            return EAGAIN;
        }
    }
    return range->is_own ? 0 : EAGAIN;
}

/* Return: 0; or an errno. */
static int range_forget(struct range *range)
{
    struct kmem_query *query;
    int error = EAGAIN;
    const bool was_inside = block_enter(); /* in the range the query would be cleared, too */
    if (kmem_query_open(NULL, &query) == 0) {
        error = range_ask(range, query);
        (void)kmem_query_close(query);
    }
    block_leave(was_inside);
    return error;
}

/* Return: 0; or an errno. The address is in the segment. */
static int forget(void *addr, size_t num_bytes, int advice)
{
    const uint64_t offset = kmem_offset_of(addr);
    const size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    const size_t rounded_bytes = (num_bytes + page_bytes - 1) / page_bytes * page_bytes;
    if ((uintptr_t)addr % page_bytes != 0 || rounded_bytes < num_bytes || advice == MADV_REMOVE) {
        return EINVAL;
    }
    if (num_bytes == 0 || advice == MADV_FREE) {
        return 0;
    }
    struct range range = {.base = (unsigned char *)addr - offset,
                          .at = offset,
                          .end = offset + rounded_bytes,
                          .given_end = offset + num_bytes};
    return range_forget(&range);
}

static bool is_heaps(const void *addr, int advice)
{
    return (advice == MADV_DONTNEED || advice == MADV_DONTNEED_LOCKED || advice == MADV_FREE ||
            advice == MADV_REMOVE) &&
           kmem_offset_of(addr) != 0;
}

/* The parameters have the names that glibc's header gives them. */
EXPORT int madvise(void *addr, size_t len, int advice)
{
    if (!is_heaps(addr, advice)) {
        return (int)syscall(SYS_madvise, addr, len, advice);
    }
    const int saved_errno = errno;
    const int error = forget(addr, len, advice);
    errno = error != 0 ? error : saved_errno;
    return error != 0 ? -1 : 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * mremap() and munmap() on a program's blocks. A heap elsewhere is private memory; here a mapping
 * of a file is what would be moved, and what it grows by would be the blocks behind, others' too:
 *
 *      becomes shorter          stays where it is, with what it has
 *      grows in its place       ENOMEM
 *      moves                    private memory, with a copy, that is the program's to unmap; behind
 *                               it zeros. The block stays, and is released by free()
 *
 * What is unmapped is, as elsewhere; but what can not be read is copied in another way when the
 * program forks. A file that is mapped over a block is what the program sees from then on.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <kmem/kmem.h>

#include "client/inherit.h"

#define EXPORT __attribute__((visibility("default")))
#define KNOWN_FLAGS (MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP)

/* What is moved, and to where; to is NULL, but with MREMAP_FIXED. */
struct move {
    unsigned char *from;
    size_t from_bytes; /* these two: in whole pages */
    size_t to_bytes;
    unsigned char *to;
    int flags;
};

static bool overlaps(const struct move *move)
{
    return (uintptr_t)move->to < (uintptr_t)move->from + move->from_bytes &&
           (uintptr_t)move->from < (uintptr_t)move->to + move->to_bytes;
}

/* As the kernel sees it, of private memory. */
static bool is_valid(const struct move *move, size_t page_bytes)
{
    const bool may_move = (move->flags & MREMAP_MAYMOVE) != 0;
    const bool is_fixed = (move->flags & MREMAP_FIXED) != 0;
    const bool keeps = (move->flags & MREMAP_DONTUNMAP) != 0;
    return (uintptr_t)move->from % page_bytes == 0 && (move->flags & ~KNOWN_FLAGS) == 0 &&
           move->from_bytes != 0 && move->to_bytes != 0 && (may_move || !(is_fixed || keeps)) &&
           (!keeps || move->from_bytes == move->to_bytes) &&
           (!is_fixed || ((uintptr_t)move->to % page_bytes == 0 && !overlaps(move)));
}

/* Another block's pages are written to, and not mapped over. */
static void *find_place(const struct move *move)
{
    const bool is_fixed = (move->flags & MREMAP_FIXED) != 0;
    return is_fixed && kmem_offset_of(move->to) != 0
               ? move->to
               : mmap(move->to, move->to_bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | (is_fixed ? MAP_FIXED : 0), -1, 0);
}

static void *move_block(const struct move *move)
{
    const size_t common = move->from_bytes < move->to_bytes ? move->from_bytes : move->to_bytes;
    unsigned char *to = find_place(move);
    if (to == MAP_FAILED) {
        return MAP_FAILED;
    }
    memcpy(to, move->from, common);
    if (kmem_offset_of(to) != 0) {
        memset(to + common, 0, move->to_bytes - common);
    }
    if ((move->flags & MREMAP_DONTUNMAP) != 0) {
        memset(move->from, 0, move->from_bytes);
    }
    return to;
}

static void *resize(const struct move *move, size_t page_bytes)
{
    if (!is_valid(move, page_bytes)) {
        errno = EINVAL;
        return MAP_FAILED;
    }
    if (move->to_bytes <= move->from_bytes &&
        (move->flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) == 0) {
        return move->from;
    }
    if ((move->flags & MREMAP_MAYMOVE) == 0) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    return move_block(move);
}

static size_t in_pages(size_t num_bytes, size_t page_bytes)
{
    return (num_bytes + page_bytes - 1) / page_bytes * page_bytes; /* 0, if that is too much */
}

/* The parameters have the names that glibc's header gives them. */
EXPORT void *mremap(void *addr, size_t old_len, size_t new_len, int flags, ...)
{
    void *to = NULL;
    if ((flags & MREMAP_FIXED) != 0) {
        va_list rest;
        va_start(rest, flags);
        to = va_arg(rest, void *);
        va_end(rest);
    }
    if (kmem_offset_of(addr) == 0) {
        /* NOLINTNEXTLINE(performance-no-int-to-ptr): the kernel's */
        return (void *)syscall(SYS_mremap, addr, old_len, new_len, flags, to);
    }
    const size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    const struct move move = {.from = addr,
                              .from_bytes = in_pages(old_len, page_bytes),
                              .to_bytes = in_pages(new_len, page_bytes),
                              .to = to,
                              .flags = flags};
    return resize(&move, page_bytes);
}

EXPORT int munmap(void *addr, size_t len)
{
    if (kmem_offset_of(addr) != 0) {
        kmem__inherit_protected();
    }
    return (int)syscall(SYS_munmap, addr, len);
}

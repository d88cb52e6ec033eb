/* SPDX-License-Identifier: MIT */
/*
 * A block that is to have another size.
 *
 * A thread's own block that is to have another size within its class has it where it is,
 * and the ledger says so. One that outgrows its class is given a quarter more than it needs, so
 * that one that grows in small steps is copied a number of times that is logarithmic in its size.
 * Of other blocks the ledger has what was asked for at first; within that they stay where they are.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include <kmem/kmem.h>

#include "client/malloc/block.h"
#include "client/malloc/inherited.h"
#include "client/malloc/next.h"

/*
 * 1 KiB: below that a copy costs less than finding out whether it was needed; above, programs grow
 * buffers line by line.
 */
#define GROW_MIN_BYTES 1024

extern void *__libc_calloc(size_t count, size_t each_bytes);
extern void *__libc_realloc(void *block, size_t num_bytes);
extern void __libc_free(void *block);

/* libc's own; it does not export that under another name. */
size_t block_libc_num_bytes(void *block)
{
    static struct next next_usable = {.name = "malloc_usable_size"};
    return ((size_t(*)(void *))next_get(&next_usable))(block);
}

/* Copies as much as can be read. Return: how much; the pages behind a block may be inaccessible. */
static size_t copy_readable(void *to, const unsigned char *from, size_t max_bytes)
{
    const size_t cpu_page_bytes = 4096; /* the smallest that there is */
    size_t done = 0;
    while (done < max_bytes) {
        const size_t to_page_end = cpu_page_bytes - (uintptr_t)(from + done) % cpu_page_bytes;
        const size_t n_bytes = max_bytes - done < to_page_end ? max_bytes - done : to_page_end;
        const struct iovec local = {(unsigned char *)to + done, n_bytes};
        const struct iovec remote = {(void *)(uintptr_t)(from + done), n_bytes};
        if (process_vm_readv(getpid(), &local, 1, &remote, 1, 0) != (ssize_t)n_bytes) {
            break;
        }
        done += n_bytes;
    }
    return done;
}

/* A block whose size can not be asked for: a parent's, or the library is at work, or gone. */
static void *resize_unknown(void *block, size_t num_bytes)
{
    void *copy = __libc_calloc(1, num_bytes);
    if (copy == NULL || copy_readable(copy, block, num_bytes) == 0) {
        __libc_free(copy);
        errno = ENOMEM;
        return NULL;
    }
    block_free(block);
    return copy;
}

/* A block that becomes less than half as large is worth a copy. */
static bool fits(size_t num_bytes, size_t room_bytes)
{
    return num_bytes <= room_bytes && (room_bytes < GROW_MIN_BYTES || num_bytes > room_bytes / 2);
}

static void *new_for_resize(size_t num_bytes, size_t old_bytes, const void *caller)
{
    if (num_bytes > old_bytes && num_bytes >= GROW_MIN_BYTES && num_bytes < PTRDIFF_MAX / 2) {
        void *larger = block_new(num_bytes + num_bytes / 4, caller);
        if (larger != NULL) {
            return larger;
        }
    }
    return block_fast_new(num_bytes, caller);
}

static void *resize_moving(void *block, size_t old_bytes, size_t num_bytes, const void *caller)
{
    void *moved = new_for_resize(num_bytes, old_bytes, caller);
    if (moved == NULL) {
        return NULL;
    }
    memcpy(moved, block, old_bytes < num_bytes ? old_bytes : num_bytes);
    block_fast_free(block);
    return moved;
}

void *block_resize(void *block, size_t num_bytes, const void *caller)
{
    const size_t own_bytes = block_fast_num_bytes(block);
    if (own_bytes != 0) {
        return resize_moving(block, own_bytes, num_bytes, caller);
    }
    if (kmem_offset_of(block) == 0 && !inherited_has(block)) {
        return __libc_realloc(block, num_bytes);
    }
    const size_t old_bytes = block_num_bytes(block);
    if (old_bytes == 0) {
        return resize_unknown(block, num_bytes);
    }
    return fits(num_bytes, old_bytes) ? block : resize_moving(block, old_bytes, num_bytes, caller);
}

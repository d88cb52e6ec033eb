/* SPDX-License-Identifier: MIT */
#include "client/share_parts.h"

#include <errno.h>
#include <string.h>

#include "client/blocks.h"
#include "client/heap/shared.h"
#include "client/link/calls.h"
#include "client/link/notice.h"
#include "proto/text.h"

int kmem__share_record(int r, const struct failure *failure, const char *call, int saved_errno)
{
    if (r < 0) {
        kmem__failure_record(failure, call);
    }
    errno = saved_errno;
    return r;
}

/* --------------------------------------------------------------------------------- arguments -- */

int kmem__share_refuse(struct failure *failure, const char *what)
{
    kmem__blocks_count_misuse();
    return kmem__failure_set(failure, EINVAL, "%s", what);
}

int kmem__share_check_flags(int flags, int known, struct failure *failure)
{
    if ((flags & ~known) == 0) {
        return 0;
    }
    kmem__blocks_count_misuse();
    return kmem__failure_set(failure, EINVAL, "flags %#x: this call does not know %#x", flags,
                             flags & ~known);
}

int kmem__share_check_name(const char *name, struct failure *failure)
{
    const size_t n_bytes = name != NULL ? strnlen(name, SHARE_NAME_MAX_BYTES + 1) : 0;
    if (n_bytes >= 1 && n_bytes <= SHARE_NAME_MAX_BYTES &&
        text_is_utf8((const unsigned char *)name, n_bytes)) {
        return 0;
    }
    return kmem__share_refuse(failure, name == NULL   ? "NULL is no name"
                                       : n_bytes == 0 ? "the name is empty; 1 to 100 bytes are one"
                                       : n_bytes > SHARE_NAME_MAX_BYTES
                                           ? "the name is longer than 100 bytes"
                                           : "the name is not UTF-8");
}

void kmem__share_copy_reason(struct share_request *request, const char *reason)
{
    (void)text_clean(reason != NULL ? reason : "", request->reason, sizeof(request->reason));
}

int kmem__share_look(struct failure *failure)
{
    struct allocator *allocator = kmem__context_allocator();
    return allocator != NULL && kmem__notice_look(&allocator->notice, failure) < 0
               ? kmem__blocks_refuse_ended(0, NULL, failure)
               : 0;
}

/* Takes the connection, with nothing in doubt and room for n holds. Return: 0 or -errno. */
KMEM_MUST_USE static int share_prepare(struct conn_lock *lock, uint32_t n, struct failure *failure)
{
    int r = kmem__calls_settle(lock->conn, failure);
    if (r == 0 && kmem__holds_reserve(lock->holds, n) < 0) {
        r = kmem__failure_set(failure, ENOMEM, "no memory to note what this process holds");
    }
    return r;
}

int kmem__share_enter(struct conn_lock *lock, uint32_t n, struct failure *failure)
{
    int r = kmem__share_look(failure);
    r = r < 0 ? r : kmem__context_enter(lock, failure);
    if (r < 0) {
        return r;
    }
    r = share_prepare(lock, n, failure);
    if (r < 0) {
        kmem__context_leave(lock);
    }
    return r;
}

int kmem__share_enter_about(struct conn_lock *lock, const void *mem, struct seg_off *ret_offset,
                            struct failure *failure)
{
    if (mem == NULL) {
        return kmem__share_refuse(failure, "NULL is no block");
    }
    int r = kmem__share_look(failure);
    r = r < 0 ? r : kmem__blocks_enter_about(lock, mem, ret_offset, failure);
    if (r < 0) {
        return r;
    }
    r = kmem__context_refuse_reader(lock, "share, hand over or publish a block", failure);
    r = r < 0 ? r : share_prepare(lock, 1, failure);
    if (r < 0) {
        kmem__context_leave(lock);
    }
    return r;
}

/* ------------------------------------------------------ an own block that is about to be shared */

/* Notes that a block is held once, by this process, which owns it. */
static void about_enter(const struct conn_lock *lock, const struct about *about,
                        enum hold_access access, const Kmem__Handle *handle)
{
    const struct hold hold = {
        .offset = about->offset.bytes,
        .generation = handle != NULL ? handle->generation : 0,
        .tag = handle != NULL ? handle->tag : 0,
        .num_bytes = handle != NULL ? handle->num_bytes : about->found.num_bytes,
        .count = 1,
        .access = (uint8_t)access,
        .is_own = true,
        .is_writable = true,
    };
    kmem__holds_add(lock->holds, &hold);
}

int kmem__about_begin(const struct conn_lock *lock, struct seg_off offset, struct about *ret_about,
                      struct failure *failure)
{
    struct allocator *allocator = kmem__context_allocator();
    struct hold hold;
    bool was_marked;
    *ret_about = (struct about){.offset = offset};
    ret_about->is_held = kmem__holds_find(lock->holds, offset, &hold);
    if (ret_about->is_held) {
        return 0;
    }
    const int r = kmem__shared_mark(allocator, offset, &ret_about->found, &was_marked);
    if (r == HEAP_OK && !was_marked) {
        ret_about->is_fresh = true;
        about_enter(lock, ret_about, HOLD_OF_LEASE, NULL);
    }
    return r == HEAP_OK || r == HEAP_E_DIRECT
               ? 0
               : kmem__blocks_refuse_leased(allocator, r, offset, &ret_about->found, failure);
}

void kmem__about_undo(const struct conn_lock *lock, const struct about *about)
{
    if (about->is_fresh) {
        kmem__holds_end(lock->holds, about->offset, true);
        kmem__shared_unmark(&about->found);
    }
}

void kmem__about_shared(const struct conn_lock *lock, const struct about *about,
                        const Kmem__Handle *handle)
{
    struct hold hold;
    if (!kmem__holds_find(lock->holds, about->offset, &hold)) {
        about_enter(lock, about, HOLD_WRITES, handle); /* the guard counts it since it was made */
    } else if (handle != NULL) {
        hold.generation = handle->generation;
        hold.tag = handle->tag;
        hold.num_bytes = handle->num_bytes;
        hold.count = 0;
        kmem__holds_add(lock->holds, &hold);
    }
}

/* SPDX-License-Identifier: MIT */
#include "client/blocks.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "client/heap/counts.h"
#include "client/heap/heap.h"
#include "client/inherit.h"
#include "client/link/notice.h"
#include "client/link/refusal.h"
#include "proto/text.h"

/* Of a process that is no member: counted, and never asked for. */
static struct ledger_counts counts_of_nobody;

struct ledger_counts *kmem__blocks_counts(void)
{
    const struct allocator *allocator = kmem__context_allocator();
    return allocator != NULL ? allocator->ledger.counts : &counts_of_nobody;
}

void kmem__blocks_count_misuse(void)
{
    kmem__counts_note(&kmem__blocks_counts()->n_misuses);
}

int kmem__blocks_refuse_ended(size_t num_bytes, const char *reason, struct failure *failure)
{
    kmem__failure_add(failure, LOST_CONSEQUENCE);
    kmem__failure_about(failure, 0, num_bytes, reason);
    return -ECONNRESET;
}

/* Return: where direct blocks are noted; NULL: nowhere. */
static struct holds *directs_noted(void)
{
    struct allocator *allocator = kmem__inherit_is_wanted() ? kmem__context_allocator() : NULL;
    return allocator != NULL ? &allocator->directs : NULL;
}

int kmem__blocks_reserve_direct(struct failure *failure)
{
    struct holds *directs = directs_noted();
    if (directs != NULL && kmem__holds_reserve(directs, 1) < 0) {
        return kmem__failure_set(failure, ENOMEM, "no memory to note one more block");
    }
    return 0;
}

void kmem__blocks_note_direct(struct seg_off offset, uint64_t num_bytes)
{
    struct holds *directs = directs_noted();
    const struct allocator *allocator = kmem__context_allocator();
    if (allocator != NULL) {
        kmem__heap_leave_page(allocator, offset);
    }
    if (directs != NULL) {
        const struct hold hold = {.offset = offset.bytes, .num_bytes = num_bytes, .count = 1};
        kmem__holds_end(directs, offset, true); /* none is there, if all was noted */
        kmem__holds_add(directs, &hold);
    }
}

void kmem__blocks_drop_direct(struct seg_off offset)
{
    struct holds *directs = directs_noted();
    if (directs != NULL) {
        kmem__holds_end(directs, offset, true);
    }
}

int kmem__blocks_refuse_pointer(const struct segment *segment, const void *mem,
                                struct failure *failure)
{
    kmem__blocks_count_misuse();
    if (kmem__context_is_inherited(mem)) {
        return kmem__failure_set(failure, EPERM,
                                 "%p is in a segment that this process's parent joined, not "
                                 "itself; the child of a fork owns none of its parent's blocks",
                                 mem);
    }
    char size[TEXT_BYTES_MAX];
    int r = kmem__failure_set(failure, EINVAL, "%p is not in the segment \"", mem);
    kmem__failure_add_foreign(failure, segment->name);
    kmem__failure_add(
        failure,
        "\" (room for %s at %p); pass a pointer that an allocation of this process returned",
        text_format_bytes(segment->num_bytes, size, sizeof(size)), (const void *)segment->base);
    return r;
}

int kmem__blocks_enter_about(struct conn_lock *lock, const void *mem, struct seg_off *ret_offset,
                             struct failure *failure)
{
    int r = kmem__context_enter(lock, failure);
    if (r < 0) {
        return r;
    }
    struct seg_off offset = kmem__segment_offset(lock->segment, mem);
    if (offset.bytes == 0) {
        r = kmem__blocks_refuse_pointer(lock->segment, mem, failure);
        kmem__context_leave(lock);
        return r;
    }
    *ret_offset = offset;
    return 0;
}

int kmem__blocks_refuse_leased(struct allocator *allocator, int why, struct seg_off offset,
                               const struct found *found, struct failure *failure)
{
    struct leased_block block = {.num_bytes = 0};
    kmem__blocks_count_misuse();
    if (why == HEAP_E_INTERIOR) {
        const struct ledger_reason *reason = &allocator->ledger.reasons[found->reason];
        block.offset = found->offset;
        block.num_bytes = found->num_bytes;
        if (found->reason == REASON_NONE) {
            (void)snprintf(block.reason, sizeof(block.reason), "%s", NO_REASON);
        } else if (found->reason == REASON_OTHER) {
            (void)snprintf(block.reason, sizeof(block.reason), "%s", OTHER_REASONS);
        } else {
            memcpy(block.reason, reason->bytes, reason->n_bytes);
        }
    }
    const Kmem__ErrorCode code = why == HEAP_E_INTERIOR   ? KMEM__ERROR_CODE__ERROR_INTERIOR
                                 : why == HEAP_E_RELEASED ? KMEM__ERROR_CODE__ERROR_RELEASED
                                                          : KMEM__ERROR_CODE__ERROR_WILD;
    return kmem__refusal_of_leased(code, offset, &block, failure);
}

int kmem__blocks_leased(const void *mem, blocks_look look, struct found *ret_found,
                        struct failure *failure)
{
    struct allocator *allocator = kmem__context_allocator();
    const struct seg_off offset = kmem__segment_offset(kmem__context_segment(), mem);
    if (allocator == NULL || offset.bytes == 0) {
        return BLOCKS_E_ASK;
    }
    const int r = look(allocator, offset, ret_found);
    if (r == HEAP_OK || r == HEAP_E_DIRECT || r == HEAP_E_SHARED) {
        return r == HEAP_OK ? 0 : BLOCKS_E_ASK;
    }
    return kmem__blocks_refuse_leased(allocator, r, offset, ret_found, failure);
}

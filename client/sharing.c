/* SPDX-License-Identifier: MIT */
#include "client/sharing.h"

#include <errno.h>
#include <string.h>

#include "client/blocks.h"
#include "client/heap/counts.h"
#include "client/heap/shared.h"
#include "client/link/calls.h"
#include "client/link/refusal.h"
#include "client/link/share_calls.h"

/* Whether the block at an offset is in a lease of this process, if it is this process's. */
static bool is_leased(const struct allocator *allocator, struct seg_off offset)
{
    const uint32_t page = (uint32_t)(offset.bytes >> PAGE_SHIFT);
    return page < allocator->ledger.n_pages && lease_has_any(allocator->ledger.states, page, 1);
}

/* -------------------------------------------------------------------------------- letting go -- */

struct letting kmem__sharing_begin(const struct conn_lock *lock, struct seg_off offset)
{
    struct letting letting = {.how = LETTING_PLAIN, .offset = offset};
    const int r = kmem__holds_begin(lock->holds, offset, &letting.hold);
    if (r == HOLDS_DROPPED) {
        letting.how = LETTING_DROPPED;
    } else if (r == HOLDS_LAST) {
        letting.how = LETTING_LAST;
        letting.is_away = letting.hold.access == HOLD_OF_LEASE &&
                          kmem__shared_set(kmem__context_allocator(), offset, SHARED_AWAY);
    }
    return letting;
}

/* The guard does not count the block any more, nor do the counts. */
static void forget_access(const struct conn_lock *lock, const struct hold *hold)
{
    const struct seg_off offset = {hold->offset};
    if (hold->access == HOLD_READS) {
        kmem__guard_drop_reader(lock->segment->guard, offset, hold->num_bytes);
    } else if (hold->access == HOLD_WRITES) {
        kmem__guard_drop_direct(lock->segment->guard, offset, hold->num_bytes);
        if (hold->is_own) {
            kmem__blocks_drop_direct(offset);
            kmem__counts_shrink(kmem__blocks_counts(), hold->num_bytes);
        }
    }
}

void kmem__sharing_end(const struct conn_lock *lock, const struct letting *letting,
                       enum let_go let_go, uint64_t num_bytes)
{
    if (letting->how == LETTING_PLAIN && let_go != LET_STAYS) {
        kmem__guard_drop_direct(lock->segment->guard, letting->offset, num_bytes);
        kmem__blocks_drop_direct(letting->offset);
        kmem__counts_shrink(kmem__blocks_counts(), num_bytes);
    }
    if (letting->how != LETTING_LAST) {
        return;
    }
    struct allocator *allocator = kmem__context_allocator();
    if (let_go == LET_STAYS) {
        if (letting->is_away) {
            (void)kmem__shared_set(allocator, letting->offset, SHARED_HERE);
        }
        kmem__holds_end(lock->holds, letting->offset, false);
        return;
    }
    struct hold hold = letting->hold;
    hold.num_bytes = hold.num_bytes != 0 ? hold.num_bytes : num_bytes;
    forget_access(lock, &hold);
    kmem__holds_end(lock->holds, letting->offset, true);
    if (letting->is_away && let_go != LET_KEPT) {
        /* It is there: it was marked. */
        (void)kmem__heap_come_home(allocator, letting->offset, let_go != LET_UNWRITTEN);
    }
}

/* ----------------------------------------------------------------------- what was given up ---- */

/* Blocks of this process's leases that others do not hold: those of other blocks do nothing. */
static void follow_released(const Kmem__Released *released, uint64_t offset)
{
    if (released != NULL && !released->kept) {
        (void)kmem__heap_come_home(kmem__context_allocator(), (struct seg_off){offset},
                                   !released->unwritten);
    }
}

/* The server knows no share of a block of this process's leases: it is this process's alone. */
static bool is_not_shared(const Kmem__Error *error)
{
    return error->code == KMEM__ERROR_CODE__ERROR_WILD;
}

/* Each is to go, as its caller was told: what stands behind one that was refused is asked for. */
static bool follow_released_many(struct share_request *request, const Kmem__ReleasedMany *many)
{
    uint32_t n_done = 0;
    for (; n_done < many->n_released && n_done < request->n_handles; n_done++) {
        follow_released(many->released[n_done], request->handles[n_done].offset);
    }
    if (many->refused == NULL || n_done == request->n_handles) {
        return false;
    }
    if (is_not_shared(many->refused)) {
        (void)kmem__heap_come_home(kmem__context_allocator(),
                                   (struct seg_off){request->handles[n_done].offset}, true);
    }
    n_done++;
    request->n_handles -= n_done;
    memmove(request->handles, &request->handles[n_done],
            request->n_handles * sizeof(request->handles[0]));
    return request->n_handles > 0;
}

/* Of what was attached, what this process does not hold is to be released. */
static bool follow_attached(struct share_request *request, Kmem__AttachedBlock *const *blocks,
                            size_t n_blocks)
{
    struct hold hold;
    *request = (struct share_request){.kind = SHARE_RELEASE};
    for (size_t i = 0; i < n_blocks && i < SHARE_MANY_MAX; i++) {
        const struct seg_off offset = {blocks[i]->offset};
        if (!kmem__holds_find(kmem__context_holds(), offset, &hold)) {
            request->handles[request->n_handles++].offset = offset.bytes;
        }
    }
    return request->n_handles > 0;
}

/* It was to be let go of, as its caller was told. */
static bool follow_release(struct share_request *request)
{
    const uint64_t offset = request->offset;
    *request = (struct share_request){.kind = SHARE_RELEASE, .n_handles = 1};
    request->handles[0].offset = offset;
    return true;
}

/* Its caller has it still, so it is taken back. */
static bool follow_transferred(struct share_request *request, const Kmem__Handle *handle)
{
    *request = (struct share_request){.kind = SHARE_ATTACH, .write = true, .n_handles = 1};
    request->handles[0] = (struct share_handle){handle->instance, handle->generation, handle->tag,
                                                handle->offset, handle->num_bytes};
    return true;
}

static bool follow_refused(struct share_request *request, const Kmem__Error *error)
{
    if (request->kind == SHARE_NEXT) {
        follow_released(error->released, request->offset);
    }
    return request->kind == SHARE_PUBLISH && request->give && follow_release(request);
}

/* See share_follow. */
static bool sharing_follow(struct share_request *request, const Kmem__Response *response)
{
    if (response->body_case == KMEM__RESPONSE__BODY_ERROR) {
        return follow_refused(request, response->error);
    }
    switch (request->kind) {
    case SHARE_ATTACH:
        return follow_attached(request, response->attached->blocks, response->attached->n_blocks);
    case SHARE_RELEASE:
        return follow_released_many(request, response->released_many);
    case SHARE_TRANSFER:
        return response->shared->handle != NULL &&
               follow_transferred(request, response->shared->handle);
    case SHARE_PUBLISH:
        if (request->give && !response->published->kept) {
            (void)kmem__heap_come_home(kmem__context_allocator(), (struct seg_off){request->offset},
                                       true);
        }
        return false;
    case SHARE_NEXT:
        follow_released(response->nexted->released, request->offset);
        return follow_attached(request, &response->nexted->block,
                               response->nexted->block != NULL ? 1 : 0);
    case SHARE_SHARE:
    case SHARE_UNPUBLISH:
        break;
    }
    return false;
}

int kmem__sharing_ask(const struct conn_lock *lock, const struct share_request *request,
                      const Kmem__Response **ret_response, struct failure *failure)
{
    lock->conn->ticket.follow = sharing_follow;
    return kmem__share_calls_ask(lock->conn, lock->segment, request, ret_response, failure);
}

/* --------------------------------------------------------------------------------- releasing -- */

/* What is done without the server, unless the segment may have ended: the slow way finds out. */
static struct allocator *allocator_of_running(void)
{
    struct allocator *allocator = kmem__context_allocator();
    /* Relaxed: as in kmem__heap_give(). */
    return allocator != NULL &&
                   atomic_load_explicit(allocator->clock, memory_order_relaxed) != TICK_STOPPED
               ? allocator
               : NULL;
}

bool kmem__sharing_again(const struct share_handle *handles, size_t n, bool write, void **ret_mems)
{
    struct allocator *allocator = allocator_of_running();
    const struct segment *segment = kmem__context_segment();
    if (allocator == NULL) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (handles[i].instance != segment->instance) {
            return false;
        }
    }
    if (!kmem__holds_again(&allocator->holds, handles, n, write)) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        pointer_put(&ret_mems[i], allocator->base + handles[i].offset);
    }
    return true;
}

bool kmem__sharing_drop(const void *block)
{
    struct allocator *allocator = allocator_of_running();
    if (allocator == NULL) {
        return false;
    }
    const uint64_t offset = (uintptr_t)block - (uintptr_t)allocator->base;
    return offset < allocator->num_bytes &&
           kmem__holds_drop(&allocator->holds, (struct seg_off){offset});
}

bool kmem__sharing_sizeof(const void *block, uint64_t *ret_num_bytes)
{
    struct hold hold;
    struct holds *holds = kmem__context_holds();
    const bool is_known =
        holds != NULL &&
        kmem__holds_find(holds, kmem__segment_offset(kmem__context_segment(), block), &hold) &&
        hold.num_bytes != 0;
    if (is_known) {
        *ret_num_bytes = hold.num_bytes;
    }
    return is_known;
}

KMEM_MUST_USE static int release_last(const struct conn_lock *lock, const struct letting *letting,
                                      struct failure *failure)
{
    const Kmem__Response *response = NULL;
    struct share_request request = {.kind = SHARE_RELEASE, .n_handles = 1};
    request.handles[0].offset = letting->offset.bytes;
    const int r = kmem__sharing_ask(lock, &request, &response, failure);
    if (r < 0) {
        const bool will_be = kmem__share_calls_is_doubtful(lock->conn);
        kmem__sharing_end(lock, letting, will_be ? LET_KEPT : LET_STAYS, 0);
        return will_be ? 0 : r;
    }
    const Kmem__Error *error = r == CONN_E_REFUSED ? response->error
                               : response->released_many->n_released == 0
                                   ? response->released_many->refused
                                   : NULL;
    /* To share it was refused too late. One whose handle was said may be among the returns. */
    if (error != NULL && letting->is_away && letting->hold.generation == 0 &&
        is_not_shared(error)) {
        kmem__sharing_end(lock, letting, LET_FREED, 0);
        return 0;
    }
    if (error != NULL) {
        kmem__sharing_end(lock, letting, LET_KEPT, 0); /* the server does not know the hold */
        return kmem__refusal_of_block(error, letting->offset, failure);
    }
    if (response->released_many->n_released == 0) {
        kmem__sharing_end(lock, letting, LET_STAYS, 0);
        return kmem__conn_lose(lock->conn, failure, EPROTO, "released nothing and refused nothing");
    }
    const Kmem__Released *released = response->released_many->released[0];
    kmem__sharing_end(lock, letting, kmem__sharing_let_go(released), released->num_bytes);
    return 0;
}

int kmem__sharing_release(const struct conn_lock *lock, struct seg_off offset,
                          struct failure *failure)
{
    uint64_t num_bytes = 0;
    int r = kmem__calls_settle(lock->conn, failure);
    if (r < 0) {
        kmem__failure_about(failure, offset.bytes, 0, NULL);
        return r;
    }
    const struct letting letting = kmem__sharing_begin(lock, offset);
    if (letting.how == LETTING_DROPPED) {
        return 0;
    }
    struct found found;
    struct allocator *allocator = kmem__context_allocator();
    const int why = kmem__heap_find(allocator, offset, &found);
    /* A block of this process's leases may be shared though no hold says so: it is AWAY. */
    if (letting.how == LETTING_LAST || (why == HEAP_OK && found.is_shared)) {
        return release_last(lock, &letting, failure);
    }
    if (why == HEAP_E_RELEASED) { /* what was settled has brought it home */
        return kmem__blocks_refuse_leased(allocator, why, offset, &found, failure);
    }
    r = kmem__calls_release(lock->conn, lock->segment, offset, &num_bytes, failure);
    if (r == 0) {
        kmem__blocks_drop_direct(offset);
    }
    kmem__counts_shrink(kmem__blocks_counts(), num_bytes);
    return r;
}

/* --------------------------------------------------------------------------------- attaching -- */

/* What the guard is to count from now on; it opens the block. */
static void count_access(const struct conn_lock *lock, const struct hold *hold)
{
    struct guard *guard = lock->segment->guard;
    const struct allocator *allocator = kmem__context_allocator();
    const struct seg_off offset = {hold->offset};
    if (kmem__guard_wants_sweep(guard)) {
        kmem__guard_sweep(guard, allocator->ledger.states);
    }
    if (hold->access == HOLD_READS) {
        (void)kmem__guard_add_reader(guard, offset, hold->num_bytes, allocator->ledger.states);
    } else if (hold->access == HOLD_WRITES) {
        kmem__guard_add_direct(guard, offset, hold->num_bytes);
        if (hold->is_own) {
            kmem__counts_grow(kmem__blocks_counts(), hold->num_bytes);
        }
    }
}

void *kmem__sharing_attached(const struct conn_lock *lock, const Kmem__AttachedBlock *block)
{
    struct allocator *allocator = kmem__context_allocator();
    const struct seg_off offset = {block->offset};
    const bool is_of_lease = block->is_own && is_leased(allocator, offset);
    const bool writes = block->is_writable || block->is_own;
    struct hold hold = {
        .offset = block->offset,
        .generation = block->generation,
        .tag = block->tag,
        .num_bytes = block->num_bytes,
        .count = 1,
        .access = is_of_lease ? HOLD_OF_LEASE
                  : writes    ? HOLD_WRITES
                              : HOLD_READS,
        .is_own = block->is_own,
        .is_writable = writes,
    };
    struct hold before;
    const bool was_held = kmem__holds_find(lock->holds, offset, &before);
    if (is_of_lease) {
        (void)kmem__shared_set(allocator, offset, SHARED_HERE);
    } else if (allocator != NULL) {
        kmem__heap_leave_page(allocator, offset);
    }
    if (was_held && before.access >= hold.access) {
        hold.access = before.access; /* what was open stays open */
        hold.is_own = hold.is_own || before.is_own;
    } else {
        count_access(lock, &hold);
        if (was_held) {
            forget_access(lock, &before);
        }
    }
    kmem__holds_add(lock->holds, &hold);
    return kmem__segment_pointer(lock->segment, offset);
}

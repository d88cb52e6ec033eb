/* SPDX-License-Identifier: MIT */
#include "daemon/core/placement.h"

#include <string.h>

void placement_init_block(struct placement_request *request, uint64_t num_bytes, const void *reason,
                          size_t n_reason_bytes)
{
    KMEM_ASSERT(n_reason_bytes <= sizeof(request->reason));
    *request = (struct placement_request){.num_bytes = num_bytes, .n_reason_bytes = n_reason_bytes};
    if (n_reason_bytes > 0) {
        memcpy(request->reason, reason, n_reason_bytes);
    }
}

void placement_init_lease(struct placement_request *request, uint32_t n_pages, uint32_t want_pages)
{
    KMEM_ASSERT(n_pages >= 1);
    *request = (struct placement_request){
        .num_bytes = (uint64_t)n_pages << PAGE_SHIFT,
        .n_pages = n_pages,
        .want_pages = want_pages,
    };
}

static int block_carve(struct core *core, struct client *client,
                       const struct placement_request *request, uint64_t now_ms,
                       struct placement *ret_found)
{
    const struct direct_request block = {
        .num_bytes = request->num_bytes,
        .reason = request->reason,
        .n_reason_bytes = request->n_reason_bytes,
        .sequence = request->sequence,
        .now = core_tick(core, now_ms),
        .shareable = request->shareable,
    };
    struct direct_carved carved;
    const int r = direct_allocate(&core->direct, client, &block, &carved);
    if (r == 0) {
        ret_found->off = carved.off;
        ret_found->is_zero = carved.is_zero;
    }
    return r;
}

/* What a client leaves unused is charged to it, but no reason to refuse it: that is taken back. */
static bool may_have(struct core *core, struct client *client, uint64_t num_bytes)
{
    return client_may_have(client, core->config.quota_bytes, num_bytes) ||
           (leases_return(&core->leases, client, 0, core->state.n_pages) > 0 &&
            client_may_have(client, core->config.quota_bytes, num_bytes));
}

/* Return: 0, PLACEMENT_E_FULL, PLACEMENT_E_QUOTA or PLACEMENT_E_STALE. */
static int look(struct core *core, struct client *client, const struct placement_request *request,
                uint64_t now_ms, struct placement *ret_found)
{
    struct leases *leases = &core->leases;
    int r;
    if (!may_have(core, client, request->num_bytes)) {
        return PLACEMENT_E_QUOTA;
    }
    if (request->n_pages > 0) {
        r = leases_grant(leases, client, request->n_pages, request->want_pages, request->sequence,
                         &ret_found->page, &ret_found->n_pages);
        return r == LEASES_E_STALE ? PLACEMENT_E_STALE : r ? PLACEMENT_E_FULL : 0;
    }
    r = block_carve(core, client, request, now_ms, ret_found);
    if (r && leases_make_room(leases, direct_pages_for(request->num_bytes)) == 0) {
        r = block_carve(core, client, request, now_ms, ret_found);
    }
    return r ? PLACEMENT_E_FULL : 0;
}

/* What is asked for, in pages. */
static uint64_t room_pages(const struct placement_request *request)
{
    return request->n_pages > 0 ? request->n_pages : direct_pages_for(request->num_bytes);
}

/* Whether what is coming back anyway is waited for before a request is refused. What is being
   cleared counts as free. */
static bool waits_for_returns(const struct core *core, const struct placement_request *request)
{
    return core_has_dead(core) ||
           (pages_await_scrub(&core->pages) && core->pages.n_free_pages >= room_pages(request));
}

/* How often something that is waited for has come back, or was given up. */
static uint64_t returns_so_far(const struct core *core)
{
    return core->obituaries.n_written + core->pages.scrub_events;
}

/* Whether anything has come back since it was looked for last, which is now. */
static bool has_returned(const struct core *core, struct placement_request *request)
{
    const uint64_t n_returns = returns_so_far(core);
    const uint64_t n_reclaimed = core->reclaim.n_pages;
    const bool is_more = request->n_returns != n_returns || request->n_reclaimed != n_reclaimed;
    request->n_returns = n_returns;
    request->n_reclaimed = n_reclaimed;
    return is_more;
}

/* A piece of the pass over slabs without a live block; looks again if it, or another, brought
   anything. */
static int wait_for_idle(struct core *core, struct client *client,
                         struct placement_request *request, struct now now,
                         struct placement *ret_found)
{
    struct reclaim *reclaim = &core->reclaim;
    (void)reclaim_step(reclaim);
    const int r =
        has_returned(core, request) ? look(core, client, request, now.ms, ret_found) : request->why;
    request->why = r;
    request->reclaims =
        (r == PLACEMENT_E_FULL || r == PLACEMENT_E_QUOTA) && reclaim->n_looked < request->until;
    /* A client may have ended meanwhile, and what it had comes back. */
    request->waits =
        r == PLACEMENT_E_FULL && !request->reclaims && waits_for_returns(core, request);
    return request->reclaims || request->waits ? PLACEMENT_E_WAIT : r;
}

/* Whether it would do to have what may have become idle; that is known at once. */
static bool idle_may_do(const struct core *core, const struct client *client,
                        const struct placement_request *request)
{
    if (request->why == PLACEMENT_E_QUOTA) {
        const uint64_t own_bytes = reclaim_at_most_of(&core->reclaim, client) << PAGE_SHIFT;
        return own_bytes > 0 &&
               client_may_have(client, core->config.quota_bytes,
                               request->num_bytes > own_bytes ? request->num_bytes - own_bytes : 0);
    }
    const uint64_t n_idle = reclaim_at_most(&core->reclaim);
    return n_idle > 0 && core->pages.n_free_pages + n_idle >= room_pages(request);
}

int placement_find(struct core *core, struct client *client, struct placement_request *request,
                   struct now now, struct placement *ret_found)
{
    if (request->waits && request->n_returns == returns_so_far(core)) {
        return PLACEMENT_E_WAIT;
    }
    *ret_found = (struct placement){.page = 0};
    if (request->reclaims) {
        return wait_for_idle(core, client, request, now, ret_found);
    }
    (void)has_returned(core, request);
    const int r = look(core, client, request, now.ms, ret_found);
    request->why = r;
    request->waits = r == PLACEMENT_E_FULL && waits_for_returns(core, request);
    if (request->waits || (r != PLACEMENT_E_FULL && r != PLACEMENT_E_QUOTA)) {
        return request->waits ? PLACEMENT_E_WAIT : r;
    }
    request->reclaims = idle_may_do(core, client, request) &&
                        reclaim_begin(&core->reclaim, now.us, &request->until);
    return request->reclaims ? wait_for_idle(core, client, request, now, ret_found) : r;
}

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

/* Takes back what those leave unused that are charged to what bars a client. */
static uint32_t return_of_barred(struct core *core, const struct client *client, enum bar_kind kind)
{
    uint32_t n_back = 0;
    struct client *next = clients_next(&core->clients, 0);
    for (; next; next = clients_next(&core->clients, next->slot + 1)) {
        if (accounts_bars(kind, client, next)) {
            n_back += leases_return(&core->leases, next, 0, core->state.n_pages);
        }
    }
    return n_back;
}

/* What clients leave unused is charged to them, but no reason to refuse: that is taken back. */
static struct bar bar_of(struct core *core, struct client *client, uint64_t num_bytes)
{
    const uint64_t quota_bytes = core->config.quota_bytes;
    struct bar bar = accounts_bar(&core->accounts, client, quota_bytes, num_bytes);
    while (bar.kind != BAR_NONE && return_of_barred(core, client, bar.kind) > 0) {
        bar = accounts_bar(&core->accounts, client, quota_bytes, num_bytes);
    }
    return bar;
}

/* How many pages must be free for a request, beside those that its client may not have. */
static uint64_t free_pages_needed(const struct core *core, const struct client *client,
                                  uint64_t n_pages)
{
    const uint64_t reserved_bytes = accounts_reserved(&core->accounts, client);
    return n_pages + ((reserved_bytes + PAGE_BYTES - 1) >> PAGE_SHIFT);
}

/* Whether others' reserves stay free, if need be of what clients leave unused. */
static bool leaves_reserves(struct core *core, const struct client *client, uint64_t n_pages)
{
    return !core->accounts.has_reserves || n_pages == 0 ||
           leases_make_free(&core->leases, free_pages_needed(core, client, n_pages)) == 0;
}

/* How much longer than it must be a lease may be. */
static uint32_t want_pages(const struct core *core, const struct client *client,
                           const struct placement_request *request)
{
    const uint64_t reserved_pages = free_pages_needed(core, client, 0);
    const uint64_t n_free = core->pages.n_free_pages;
    const uint64_t left_pages = n_free > reserved_pages ? n_free - reserved_pages : 0;
    if (!accounts_may_have(&core->accounts, client, core->config.quota_bytes,
                           (uint64_t)request->want_pages << PAGE_SHIFT) ||
        left_pages < request->n_pages) {
        return request->n_pages;
    }
    return left_pages < request->want_pages ? (uint32_t)left_pages : request->want_pages;
}

static int look_for_lease(struct core *core, struct client *client,
                          struct placement_request *request, struct placement *ret_found)
{
    if (!leaves_reserves(core, client, request->n_pages)) {
        return PLACEMENT_E_RESERVED;
    }
    const int r =
        leases_grant(&core->leases, client, request->n_pages, want_pages(core, client, request),
                     request->sequence, &ret_found->page, &ret_found->n_pages);
    return r == LEASES_E_STALE ? PLACEMENT_E_STALE : r ? PLACEMENT_E_FULL : 0;
}

static int look_for_block(struct core *core, struct client *client,
                          struct placement_request *request, uint64_t now_ms,
                          struct placement *ret_found)
{
    request->budget = budgets_exceeded(&core->budgets, request->budgets, request->num_bytes);
    if (request->budget != RULES_BUDGETS_MAX) {
        return PLACEMENT_E_BUDGET;
    }
    if (!leaves_reserves(core, client,
                         direct_new_pages(&core->direct, request->num_bytes, request->shareable))) {
        return PLACEMENT_E_RESERVED;
    }
    int r = block_carve(core, client, request, now_ms, ret_found);
    if (r && leases_make_room(&core->leases, direct_pages_for(request->num_bytes)) == 0) {
        r = block_carve(core, client, request, now_ms, ret_found);
    }
    return r ? PLACEMENT_E_FULL : 0;
}

/* Return: as placement_find(), without waiting. */
static int look(struct core *core, struct client *client, struct placement_request *request,
                uint64_t now_ms, struct placement *ret_found)
{
    request->bar = bar_of(core, client, request->num_bytes);
    if (request->bar.kind != BAR_NONE) {
        return PLACEMENT_E_QUOTA;
    }
    return request->n_pages > 0 ? look_for_lease(core, client, request, ret_found)
                                : look_for_block(core, client, request, now_ms, ret_found);
}

/* Whether more free memory would do. */
static bool is_short(int why)
{
    return why == PLACEMENT_E_FULL || why == PLACEMENT_E_RESERVED;
}

/* What is asked for, in pages. */
static uint64_t room_pages(const struct placement_request *request)
{
    return request->n_pages > 0 ? request->n_pages : direct_pages_for(request->num_bytes);
}

/*
 * Whether what is coming back anyway is waited for before a request is refused. What is being
 * cleared counts as free. What the dead had is charged to their users and budgets until it is back.
 */
static bool waits_for_returns(const struct core *core, const struct placement_request *request)
{
    const int why = request->why;
    if (why == PLACEMENT_E_BUDGET ||
        (why == PLACEMENT_E_QUOTA && request->bar.kind != BAR_CLIENT)) {
        return core_has_dead(core);
    }
    return is_short(why) &&
           (core_has_dead(core) || (why == PLACEMENT_E_FULL && pages_await_scrub(&core->pages) &&
                                    core->pages.n_free_pages >= room_pages(request)));
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
    if (reclaim->n_passes < request->until) {
        (void)reclaim_step(reclaim); /* else another has ended the pass */
    }
    const int r =
        has_returned(core, request) ? look(core, client, request, now.ms, ret_found) : request->why;
    request->why = r;
    if ((!is_short(r) && r != PLACEMENT_E_QUOTA) || reclaim->n_passes >= request->until) {
        placement_leave(core, request);
    }
    /* A client may have ended meanwhile, and what it had comes back. */
    request->waits = !request->reclaims && waits_for_returns(core, request);
    return request->reclaims || request->waits ? PLACEMENT_E_WAIT : r;
}

/* How many pages of those may be idle that are charged to what bars a client. */
static uint64_t idle_of_barred(const struct core *core, const struct client *client,
                               enum bar_kind kind)
{
    uint64_t n_pages = 0;
    const struct client *next = clients_next(&core->clients, 0);
    for (; next; next = clients_next(&core->clients, next->slot + 1)) {
        n_pages += accounts_bars(kind, client, next) ? reclaim_at_most_of(&core->reclaim, next) : 0;
    }
    return n_pages;
}

/* Whether it would do to have what may have become idle; that is known at once. */
static bool idle_may_do(const struct core *core, const struct client *client,
                        const struct placement_request *request)
{
    if (request->why == PLACEMENT_E_QUOTA) {
        const struct bar *bar = &request->bar;
        const uint64_t idle_bytes = idle_of_barred(core, client, bar->kind) << PAGE_SHIFT;
        return idle_bytes > 0 && request->num_bytes <= bar->limit_bytes &&
               bar->used_bytes - (idle_bytes < bar->used_bytes ? idle_bytes : bar->used_bytes) <=
                   bar->limit_bytes - request->num_bytes;
    }
    const uint64_t n_idle = reclaim_at_most(&core->reclaim);
    return n_idle > 0 && core->pages.n_free_pages + n_idle >=
                             free_pages_needed(core, client, room_pages(request));
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
    request->waits = waits_for_returns(core, request);
    if (request->waits || (!is_short(r) && r != PLACEMENT_E_QUOTA)) {
        return request->waits ? PLACEMENT_E_WAIT : r;
    }
    if (!idle_may_do(core, client, request) ||
        !reclaim_begin(&core->reclaim, now.us, &request->until)) {
        return r;
    }
    reclaim_wait(&core->reclaim);
    request->reclaims = true;
    return wait_for_idle(core, client, request, now, ret_found);
}

void placement_leave(struct core *core, struct placement_request *request)
{
    if (request->reclaims) {
        reclaim_leave(&core->reclaim);
        request->reclaims = false;
    }
}

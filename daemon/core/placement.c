/* SPDX-License-Identifier: MIT */
#include "daemon/core/placement.h"

#include <string.h>

void room_init_block(struct room *room, uint64_t num_bytes, const void *reason,
                     size_t n_reason_bytes)
{
    KMEM_ASSERT(n_reason_bytes <= sizeof(room->reason));
    *room = (struct room){.num_bytes = num_bytes, .n_reason_bytes = n_reason_bytes};
    if (n_reason_bytes > 0) {
        memcpy(room->reason, reason, n_reason_bytes);
    }
}

void room_init_lease(struct room *room, uint32_t n_pages, uint32_t want_pages)
{
    KMEM_ASSERT(n_pages >= 1);
    *room = (struct room){
        .num_bytes = (uint64_t)n_pages << PAGE_SHIFT,
        .n_pages = n_pages,
        .want_pages = want_pages,
    };
}

static int block_carve(struct core *core, struct client *client, const struct room *room,
                       uint64_t now_ms, struct seg_off *ret_off)
{
    return direct_allocate(&core->direct, client, room->num_bytes, room->reason,
                           room->n_reason_bytes, core_tick(core, now_ms), ret_off);
}

/* What a client leaves unused is charged to it, but no reason to refuse it: that is taken back. */
static bool may_have(struct core *core, struct client *client, uint64_t num_bytes)
{
    return core_may_have(core, client, num_bytes) ||
           (leases_return(&core->leases, client, 0, core->state.n_pages) > 0 &&
            core_may_have(core, client, num_bytes));
}

/* Return: 0, ROOM_E_FULL, ROOM_E_QUOTA or ROOM_E_STALE. */
static int look(struct core *core, struct client *client, const struct room *room, uint64_t now_ms,
                struct room_found *ret_found)
{
    struct leases *leases = &core->leases;
    int r;
    if (!may_have(core, client, room->num_bytes)) {
        return ROOM_E_QUOTA;
    }
    if (room->n_pages > 0) {
        r = leases_grant(leases, client, room->n_pages, room->want_pages, &ret_found->page,
                         &ret_found->n_pages);
        return r == LEASES_E_STALE ? ROOM_E_STALE : r ? ROOM_E_FULL : 0;
    }
    r = block_carve(core, client, room, now_ms, &ret_found->off);
    if (r && leases_make_room(leases, direct_pages_for(room->num_bytes)) == 0) {
        r = block_carve(core, client, room, now_ms, &ret_found->off);
    }
    ret_found->is_zero = core->direct.is_zero;
    return r ? ROOM_E_FULL : 0;
}

/* What is asked for, in pages. */
static uint64_t room_pages(const struct room *room)
{
    return room->n_pages > 0 ? room->n_pages : direct_pages_for(room->num_bytes);
}

/* Whether what is coming back anyway is waited for before a request is refused. What is being
   cleared counts as free. */
static bool waits_for_returns(const struct core *core, const struct room *room)
{
    return core_has_dead(core) ||
           (pages_await_scrub(&core->pages) && core->pages.n_free_pages >= room_pages(room));
}

/* How often something that is waited for has come back, or was given up. */
static uint64_t returns_so_far(const struct core *core)
{
    return core->obituaries.n_written + core->pages.scrub_events;
}

/* Whether anything has come back since it was looked for last, which is now. */
static bool has_returned(const struct core *core, struct room *room)
{
    const uint64_t n_returns = returns_so_far(core);
    const uint64_t n_reclaimed = core->reclaim.n_pages;
    const bool is_more = room->n_returns != n_returns || room->n_reclaimed != n_reclaimed;
    room->n_returns = n_returns;
    room->n_reclaimed = n_reclaimed;
    return is_more;
}

/* A piece of the pass over slabs without a live block; looks again if it, or another, brought
   anything. */
static int wait_for_idle(struct core *core, struct client *client, struct room *room,
                         struct now now, struct room_found *ret_found)
{
    struct reclaim *reclaim = &core->reclaim;
    (void)reclaim_step(reclaim);
    const int r =
        has_returned(core, room) ? look(core, client, room, now.ms, ret_found) : room->why;
    room->why = r;
    room->reclaims = (r == ROOM_E_FULL || r == ROOM_E_QUOTA) && reclaim->n_looked < room->until;
    /* A client may have ended meanwhile, and what it had comes back. */
    room->waits = r == ROOM_E_FULL && !room->reclaims && waits_for_returns(core, room);
    return room->reclaims || room->waits ? ROOM_E_WAIT : r;
}

/* Whether it would do to have what may have become idle; that is known at once. */
static bool idle_may_do(const struct core *core, const struct client *client,
                        const struct room *room)
{
    if (room->why == ROOM_E_QUOTA) {
        const uint64_t own_bytes = reclaim_at_most_of(&core->reclaim, client) << PAGE_SHIFT;
        return own_bytes > 0 &&
               core_may_have(core, client,
                             room->num_bytes > own_bytes ? room->num_bytes - own_bytes : 0);
    }
    const uint64_t n_idle = reclaim_at_most(&core->reclaim);
    return n_idle > 0 && core->pages.n_free_pages + n_idle >= room_pages(room);
}

int room_find(struct core *core, struct client *client, struct room *room, struct now now,
              struct room_found *ret_found)
{
    if (room->waits && room->n_returns == returns_so_far(core)) {
        return ROOM_E_WAIT;
    }
    *ret_found = (struct room_found){.page = 0};
    if (room->reclaims) {
        return wait_for_idle(core, client, room, now, ret_found);
    }
    (void)has_returned(core, room);
    const int r = look(core, client, room, now.ms, ret_found);
    room->why = r;
    room->waits = r == ROOM_E_FULL && waits_for_returns(core, room);
    if (room->waits || (r != ROOM_E_FULL && r != ROOM_E_QUOTA)) {
        return room->waits ? ROOM_E_WAIT : r;
    }
    room->reclaims =
        idle_may_do(core, client, room) && reclaim_begin(&core->reclaim, now.us, &room->until);
    return room->reclaims ? wait_for_idle(core, client, room, now, ret_found) : r;
}

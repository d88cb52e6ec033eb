/* SPDX-License-Identifier: MIT */
#include "daemon/no_room.h"

#include "daemon/report.h"

/* Who has it is told as of this moment, or how long ago that was. */
static int no_room_answer(const struct core *core, struct peer *peer, bool known, struct now now,
                          struct reply *reply)
{
    const struct scan_holders *holders = &core->scans.holders;
    const bool older =
        known && holders->at_us < peer->refused_us && !scan_holders_are_present(core);
    const uint64_t age_ms = older ? (now.us - holders->at_us) / 1000 : 0;
    report_no_room(core, known ? holders : NULL, age_ms, peer->room.num_bytes, reply);
    peer->is_refused = false;
    return DISPATCH_OK;
}

int no_room_continue(struct core *core, struct peer *peer, struct now now, struct reply *reply)
{
    const int r = scan_poll(core, &peer->reader, now.us);
    if (r == SCAN_PENDING) {
        return DISPATCH_PENDING;
    }
    scan_leave(core, &peer->reader);
    return no_room_answer(core, peer, r == SCAN_READY, now, reply);
}

/* 1 s: in a full segment thousands are refused a second, and each would add up all there is. Where
   that is next to nothing, it is done. */
#define REFUSAL_FRESH_US 1000000

int no_room_begin(struct core *core, struct peer *peer, struct now now, struct reply *reply)
{
    const struct scan_holders *holders = &core->scans.holders;
    struct state_counters *counters = core->state.counters;
    const bool is_last = !peer->room.may_again; /* else it asks once more */
    counters->leases_refused += peer->room.n_pages > 0;
    counters->refusals_no_room += peer->room.n_pages == 0 && is_last;
    peer->refused_us = now.us;
    scan_leave(core, &peer->reader);
    if (!is_last) {
        return no_room_answer(core, peer, false, now, reply);
    }
    if (holders->known && now.us - holders->at_us < REFUSAL_FRESH_US &&
        (!holders->is_cheap || scan_holders_are_present(core))) {
        return no_room_answer(core, peer, true, now, reply);
    }
    peer->is_refused = true;
    scan_ask_any(core, &peer->reader, SCAN_BY_REASON);
    return no_room_continue(core, peer, now, reply);
}

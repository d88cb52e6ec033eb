/* SPDX-License-Identifier: MIT */
#include "daemon/core/no_room.h"

#include "daemon/core/refuse.h"
#include "daemon/core/scan.h"
#include "daemon/core/report.h"

/* 1 s: in a full segment thousands are refused a second; a sentence that is older misleads. */
#define FRESH_US 1000000
/* 10 s: after that the processes of this moment say more than the reasons of another. */
#define OLD_US 10000000
/* 200 us for each step of 25: looks take a ninth of the server at most, however many blocks. */
#define PAUSE_US_A_STEP 200

bool no_room_has_work(const struct core *core)
{
    KMEM_ASSERT(!core->lookout.waits); /* it has begun, or was given up */
    return core->lookout.scan != NULL;
}

void no_room_work(struct core *core, struct now now)
{
    const int r = scan_poll(core, &core->lookout, now.us);
    if (r == SCAN_PENDING && core->lookout.scan) {
        return;
    }
    /* Complete; or there is no memory for it, or none may begin now: later, then. */
    scans_leave(&core->scans, &core->lookout);
    const struct scan_holders *holders = &core->scans.holders;
    core->lookout_us =
        now.us + (r != SCAN_READY     ? FRESH_US
                  : holders->is_cheap ? 0
                                      : (uint64_t)holders->n_steps * PAUSE_US_A_STEP);
}

/* Whether what is known of the holders will do, or can not be had newer now. */
static bool is_known_well(const struct core *core, struct now now)
{
    const struct scan_holders *holders = &core->scans.holders;
    return no_room_has_work(core) || now.us < core->lookout_us || scan_holders_are_present(core) ||
           (holders->known && !holders->is_cheap && now.us - holders->at_us < FRESH_US);
}

void no_room_refuse(const struct call *call)
{
    struct core *core = call->core;
    const struct placement_request *request = &call->peer->placement;
    const struct scan_holders *holders = &core->scans.holders;
    struct state_counters *counters = core->state.counters;
    const bool is_last = !request->may_again; /* else it asks once more */
    counters->leases_refused += request->n_pages > 0;
    counters->refusals_no_room += request->n_pages == 0 && is_last;
    if (is_last) {
        refuse_note_placement(call, WHY_NO_ROOM);
    }
    if (is_last && !is_known_well(core, call->now)) {
        core->lookout.is_patient = true;
        scan_ask_any(core, &core->lookout, SCAN_BY_REASON);
        no_room_work(core, call->now); /* most segments are seen in one step */
    }
    const uint64_t age_us = scan_holders_are_present(core) ? 0 : call->now.us - holders->at_us;
    const bool is_told = holders->known && age_us < OLD_US;
    report_no_room(core, is_told ? holders : NULL, age_us / 1000, request->num_bytes, call->reply);
}

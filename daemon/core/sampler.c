/* SPDX-License-Identifier: MIT */
#include "daemon/core/sampler.h"

#include "daemon/core/budgets_seen.h"
#include "daemon/core/scan.h"

bool sampler_has_work(const struct core *core)
{
    return core->sampler.reader.waits || core->sampler.reader.scan;
}

static bool has_clients(const struct core *core)
{
    return core->clients.n_live > 0 || core_has_dead(core);
}

bool sampler_is_due(const struct core *core)
{
    return !core->sampler.is_done || has_clients(core);
}

void sampler_tick(struct core *core, struct now now)
{
    struct sampler *sampler = &core->sampler;
    if (has_clients(core)) {
        sampler->is_done = false;
    }
    if (sampler->is_done || sampler_has_work(core) || now.us < sampler->rests_until_us ||
        !history_wants(&core->history, now.ms)) {
        return;
    }
    sampler->sees_none = !has_clients(core);
    sampler->reader.is_patient = true;
    scan_ask_any(core, &sampler->reader, SCAN_BY_REASON);
}

uint32_t sampler_work(struct core *core, struct now now)
{
    struct sampler *sampler = &core->sampler;
    uint32_t exceeded = 0;
    const int r = scan_poll(core, &sampler->reader, now.us);
    if (r == SCAN_PENDING && sampler->reader.scan) {
        return 0;
    }
    if (r == SCAN_READY) {
        struct scan *scan = sampler->reader.scan;
        exceeded = budgets_see(&core->budgets, scan->rollup);
        const bool is_noted = history_note(&core->history, scan->rollup, &scan->look);
        sampler->is_done = is_noted && sampler->sees_none && !has_clients(core);
        if (sampler->is_done) {
            history_pause(&core->history);
        }
    } else {
        sampler->rests_until_us = now.us + SAMPLER_AGAIN_US; /* no memory, or none may begin now */
    }
    scans_leave(&core->scans, &sampler->reader);
    return exceeded;
}

void sampler_worked(struct core *core, uint64_t spent_us, struct now now)
{
    struct sampler *sampler = &core->sampler;
    sampler->spent_us += spent_us;
    if (sampler_has_work(core)) {
        return;
    }
    const uint64_t until_us = now.us + SAMPLER_REST * sampler->spent_us;
    sampler->rests_until_us =
        until_us > sampler->rests_until_us ? until_us : sampler->rests_until_us;
    sampler->spent_us = 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * core_check.c - the checker of core.h: those of all parts, and what they come to together
 */
#include "daemon/core/core.h"
#include "daemon/core/sharing.h"

int core_check(const struct core *core)
{
    if (pages_check(&core->pages) || reasons_check(&core->reasons) ||
        clients_check(&core->clients) || shares_check(&core->shares) || names_check(&core->names) ||
        direct_check(&core->direct) || leases_check(&core->leases) || sharing_check(core) ||
        obituaries_check(&core->obituaries) || history_check(&core->history) ||
        refusals_check(&core->refusals)) {
        return CORE_E_CORRUPT;
    }
    const uint64_t sum = core->direct.used_bytes + core_free_bytes(core) +
                         core_direct_overhead_bytes(core) + (core->leases.n_pages << PAGE_SHIFT);
    return sum == core_segment_bytes(core) ? 0 : CORE_E_CORRUPT;
}

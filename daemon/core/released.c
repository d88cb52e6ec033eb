/* SPDX-License-Identifier: MIT */
#include "daemon/core/released.h"

#include <string.h>

void released_note(struct core *core, const struct block *block, uint64_t now_ms)
{
    const uint32_t now = core_tick(core, now_ms);
    uint32_t n_by_range[LIFETIME_RANGES] = {0};
    size_t n_bytes;
    const char *text = reasons_text(&core->reasons, block->reason, &n_bytes);
    n_by_range[lifetime_range(now > block->born ? now - block->born : 0)] = 1;
    lifetimes_add(&core->lifetimes, text, n_bytes, n_by_range);
}

size_t released_reason(const struct core *core, uint32_t slot, uint32_t id, char *ret_text)
{
    if (id >= REASONS_RESERVED) {
        return client_ledger_reason(&core->client_ledger, slot, id, ret_text);
    }
    size_t n_bytes;
    const char *text = reasons_text(&core->reasons, id, &n_bytes);
    memcpy(ret_text, text, n_bytes);
    return n_bytes;
}

uint32_t released_keep(struct core *core, uint32_t slot)
{
    struct ledger_lifetimes records[LIFETIMES_MAX];
    char reason[REASON_MAX_BYTES];
    const uint32_t n_records = client_ledger_lifetimes(&core->client_ledger, slot, records);
    for (uint32_t i = 0; i < n_records; i++) {
        const size_t n_bytes = released_reason(core, slot, records[i].reason - 1, reason);
        lifetimes_add(&core->lifetimes, reason, n_bytes,
                      (const uint32_t *)(const void *)records[i].n);
    }
    return (1 + n_records) * CLIENT_LEDGER_READ_COST;
}

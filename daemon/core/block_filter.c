/* SPDX-License-Identifier: MIT */
#include "daemon/core/block_filter.h"

#include <string.h>

#include "daemon/core/block_iter.h"
#include "daemon/core/tick.h"
#include "proto/glob.h"
#include "proto/text.h"

int block_filter_init(struct block_filter *filter, const Kmem__BlockFilter *asked)
{
    const ProtobufCBinaryData reason = asked->reason;
    *filter = (struct block_filter){.asked = *asked};
    if (reason.len > GLOB_MAX_BYTES || !text_is_utf8(reason.data, reason.len)) {
        return BLOCK_FILTER_E_REASON;
    }
    filter->compares_detail = reason.len > 0 && memchr(reason.data, '#', reason.len);
    const bool is_kind = asked->kind <= KMEM__BLOCK_KIND__BLOCK_LEASED &&
                         asked->sharing <= KMEM__BLOCK_SHARING__SHARING_UNSHARED;
    return is_kind ? BLOCK_FILTER_OK : BLOCK_FILTER_E_KIND;
}

/* Its reason, without what the ledger drops too, unless the pattern speaks of that. */
static bool reason_matches(const struct block_filter *filter, const struct core *core,
                           const struct block *block, uint32_t *spent)
{
    const ProtobufCBinaryData glob = filter->asked.reason;
    char reason[REASON_MAX_BYTES];
    uint32_t n_steps;
    size_t n_bytes = block_reason(core, block, reason);
    const char *detail = filter->compares_detail ? NULL : memchr(reason, '#', n_bytes);
    if (detail && detail > reason) {
        n_bytes = (size_t)(detail - reason);
    }
    const bool matches = glob_matches((const char *)glob.data, glob.len, reason, n_bytes, &n_steps);
    *spent += 1 + n_steps / BLOCK_FILTER_STEPS_A_COST;
    *spent += block->leased ? CLIENT_LEDGER_READ_COST : 0;
    return matches;
}

static bool reason_is_wanted(struct block_filter *filter, const struct core *core,
                             const struct block *block, uint32_t *spent)
{
    const uint32_t owner = block->leased && block->reason > REASON_OTHER ? block->slot : SLOT_NONE;
    const uint32_t at = (owner * 31 + block->reason) % BLOCK_FILTER_VERDICTS;
    if (filter->verdicts[at].verdict == VERDICT_NONE || filter->verdicts[at].owner != owner ||
        filter->verdicts[at].reason != block->reason) {
        filter->verdicts[at].owner = owner;
        filter->verdicts[at].reason = block->reason;
        filter->verdicts[at].verdict =
            reason_matches(filter, core, block, spent) ? VERDICT_TAKEN : VERDICT_LEFT;
    }
    return filter->verdicts[at].verdict == VERDICT_TAKEN;
}

static bool owner_is_wanted(const Kmem__BlockFilter *asked, const struct core *core,
                            const struct block *block)
{
    const struct client_identity *owner = &clients_get(&core->clients, block->slot)->identity;
    return (!asked->by_pid || owner->pid == asked->pid) &&
           (!asked->by_uid || owner->uid == asked->uid);
}

static bool kind_is_wanted(const Kmem__BlockFilter *asked, const struct block *block)
{
    return asked->kind == KMEM__BLOCK_KIND__BLOCK_ANY ||
           block->leased == (asked->kind == KMEM__BLOCK_KIND__BLOCK_LEASED);
}

static bool sharing_is_wanted(const Kmem__BlockFilter *asked, const struct core *core,
                              const struct block *block, uint32_t *spent)
{
    if (asked->sharing == KMEM__BLOCK_SHARING__SHARING_ANY) {
        return true;
    }
    ++*spent;
    const bool is_shared = core->shares.n_shares > 0 && shares_at(&core->shares, block->off) != 0;
    return is_shared == (asked->sharing == KMEM__BLOCK_SHARING__SHARING_SHARED);
}

bool block_filter_takes(struct block_filter *filter, const struct core *core,
                        const struct block *block, uint32_t now, uint32_t *spent)
{
    const Kmem__BlockFilter *asked = &filter->asked;
    return (asked->larger_than == 0 || block->num_bytes > asked->larger_than) &&
           (asked->older_than_ms == 0 || tick_age_ms(block->born, now) > asked->older_than_ms) &&
           kind_is_wanted(asked, block) && owner_is_wanted(asked, core, block) &&
           sharing_is_wanted(asked, core, block, spent) &&
           (asked->reason.len == 0 || reason_is_wanted(filter, core, block, spent));
}

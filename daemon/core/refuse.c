/* SPDX-License-Identifier: MIT */
#include "daemon/core/refuse.h"

#include "daemon/core/dispatch_changes.h"
#include "daemon/core/sharing.h"

/* What is so now, whatever is asked for. */
static struct refusal_facts facts_now(const struct core *core, enum refusal_asked asked,
                                      enum refusal_why why)
{
    return (struct refusal_facts){
        .asked = asked,
        .why = why,
        .free_bytes = core_free_bytes(core),
        .largest_extent_bytes = core_largest_extent_bytes(core),
    };
}

static void note(const struct call *call, const struct refusal_facts *facts, const void *reason,
                 size_t n_reason_bytes)
{
    refusals_note(&call->core->refusals, &call->peer->identity, facts, reason, n_reason_bytes,
                  call->now.ms);
    note_refused(call, facts, reason, n_reason_bytes);
}

/* What stands against it, of what there may be; where no rule does, of what there is. */
static void facts_of_room(const struct call *call, struct refusal_facts *facts)
{
    const struct core *core = call->core;
    const struct placement_request *request = &call->peer->placement;
    facts->used = client_charged_bytes(call->peer->client);
    facts->limit = core_segment_bytes(core);
    if (facts->why == WHY_QUOTA || facts->why == WHY_QUOTA_OF_USER ||
        facts->why == WHY_QUOTA_OF_UNIT) {
        facts->used = request->bar.used_bytes;
        facts->limit = request->bar.limit_bytes;
    } else if (facts->why == WHY_BUDGET) {
        facts->used = core->budgets.used_bytes[request->budget];
        facts->limit = core->accounts.rules->budgets[request->budget].max_bytes;
    } else if (facts->why == WHY_RESERVED) {
        facts->used = accounts_reserved(&core->accounts, call->peer->client);
    }
}

void refuse_note_placement(const struct call *call, enum refusal_why why)
{
    const struct placement_request *request = &call->peer->placement;
    struct refusal_facts facts =
        facts_now(call->core, request->n_pages > 0 ? ASKED_LEASE : ASKED_BLOCK, why);
    facts.num_bytes = request->num_bytes;
    facts_of_room(call, &facts);
    note(call, &facts, request->reason, request->n_pages > 0 ? 0 : request->n_reason_bytes);
}

void refuse_note_request(const struct call *call, enum refusal_asked asked, enum refusal_why why,
                         uint64_t num_bytes)
{
    struct refusal_facts facts = facts_now(call->core, asked, why);
    facts.num_bytes = num_bytes;
    facts_of_room(call, &facts);
    note(call, &facts, NULL, 0);
}

static void facts_of_user(const struct call *call, enum cap cap, struct refusal_facts *facts)
{
    facts->used = caps_count(&call->core->caps, cap, call->peer->identity.uid);
    facts->limit = call->core->caps.limits[cap];
}

static void facts_of_table(const struct core *core, struct refusal_facts *facts)
{
    if (core->shares.n_holds >= HOLDS_MAX - 1) {
        facts->why = WHY_FULL_HOLDS;
        facts->used = core->shares.n_holds;
        facts->limit = HOLDS_MAX - 1;
    } else if (core->names.n_names >= core->names.limit) {
        facts->why = WHY_FULL_NAMES;
        facts->used = core->names.n_names;
        facts->limit = core->names.limit;
    } else {
        facts->used = core->shares.n_shares;
        facts->limit = SHARES_MAX - 1;
    }
}

void refuse_note_full(const struct call *call, int why)
{
    struct refusal_facts facts = facts_now(call->core, ASKED_SHARING, WHY_FULL_SHARES);
    if (why == SHARING_E_USER_SHARES) {
        facts.why = WHY_SHARES_OF_USER;
        facts_of_user(call, CAP_SHARES, &facts);
    } else if (why == SHARING_E_USER_HOLDS) {
        facts.why = WHY_HOLDS_OF_USER;
        facts_of_user(call, CAP_HOLDS, &facts);
    } else if (why == SHARING_E_USER_NAMES) {
        facts.why = WHY_NAMES_OF_USER;
        facts_of_user(call, CAP_NAMES, &facts);
    } else {
        facts_of_table(call->core, &facts);
    }
    note(call, &facts, NULL, 0);
}

void refuse_note_join(const struct call *call, int why)
{
    const struct core *core = call->core;
    const uint32_t uid = call->peer->identity.uid;
    struct refusal_facts facts = facts_now(core, ASKED_JOINING, WHY_CLIENTS);
    switch (why) {
    case CLIENTS_E_FULL:
        facts.used = core->clients.n_live + core->clients.n_ended;
        facts.limit = core->config.clients_limit;
        break;
    case CLIENTS_E_USER:
        facts.why = WHY_CLIENTS_OF_USER;
        facts.used = clients_count_of(&core->clients, uid);
        facts.limit = core->config.clients_per_uid;
        break;
    case CLIENTS_E_COPIES:
        facts.why = WHY_COPIES;
        facts.used = facts.limit = COPIES_MAX;
        break;
    case CLIENTS_E_NO_READERS:
    case CLIENTS_E_NO_ROLE:
    case CLIENTS_E_ONLY_READS:
    case CLIENTS_E_ONLY_OBSERVES:
    case CLIENTS_E_UNWALLED:
    case CLIENTS_E_WALL:
        facts.why = WHY_ROLE;
        break;
    default:
        return;
    }
    note(call, &facts, NULL, 0);
}

int refuse_administration(const struct call *call)
{
    reply_error(
        call->reply, KMEM__ERROR_CODE__ERROR_DENIED,
        "user %u is no admin of segment \"%s\": root, the daemon's own user, and those that "
        "admins names may change settings",
        call->peer->identity.uid, call->core->config.segment_name);
    return DISPATCH_OK;
}

/* SPDX-License-Identifier: MIT */
/*
 * sharing_names.c - blocks by name: what is published, found and followed
 *
 * A name comes to mean a block by one store; what it meant before is settled behind it, and is
 * found by a restart like any share that nothing keeps.
 */
#include "daemon/core/settle.h"
#include "daemon/core/sharing.h"
#include "proto/crash_point.h"
#include "proto/notice.h"

/* Whether a name can be had, before anything is shared for it. */
static int name_look(const struct sharing *of, const struct sharing_name *as, uint32_t name)
{
    const struct names *names = &of->core->names;
    const uint32_t uid = of->client->identity.uid;
    if (name == NAME_NONE && names->n_names >= names->limit) {
        return SHARING_E_FULL;
    }
    if (name != NAME_NONE && as->exclusive && names_owner(names, name) != of->client->slot) {
        return SHARING_E_EXISTS;
    }
    const bool has_it = name != NAME_NONE && names_uid(names, name) == uid;
    return has_it || caps_may_have(&of->core->caps, CAP_NAMES, uid) ? 0 : SHARING_E_USER_NAMES;
}

/* After name_look(). */
static void name_set(const struct sharing *of, uint32_t share, const struct sharing_name *as,
                     uint64_t version)
{
    struct core *core = of->core;
    uint32_t former;
    const int r = names_set(&core->names, as->text, as->n_bytes, share, version, of->client->slot,
                            as->keep, &former);
    KMEM_ASSERT(r == 0);
    KMEM_CRASH_POINT("server.name.set");
    if (former != 0 && former != share) {
        settle(core, former);
    }
    const uint32_t bell = notice_bell_of(as->text, as->n_bytes);
    if (core->config.ring) {
        core->config.ring(bell, core->config.ring_user);
    }
    core_wake(core, bell);
}

int sharing_publish(const struct sharing *of, struct seg_off off, const struct sharing_name *as,
                    uint64_t version, struct block *ret_block)
{
    const struct names *names = &of->core->names;
    const uint32_t name = names_find(names, as->text, as->n_bytes);
    uint32_t share;
    int r = name_look(of, as, name);
    r = r ? r : sharing_find_held(of, off, &share, ret_block);
    if (r == 0) {
        name_set(of, share, as, version);
    }
    return r;
}

int sharing_unpublish(const struct sharing *of, const char *text, size_t n_bytes)
{
    struct core *core = of->core;
    const uint32_t name = names_find(&core->names, text, n_bytes);
    if (name == NAME_NONE) {
        return SHARING_E_NONE;
    }
    const uint32_t uid = of->client->identity.uid;
    if (names_owner(&core->names, name) != of->client->slot &&
        names_uid(&core->names, name) != uid && !core_is_admin(core, uid)) {
        return SHARING_E_DENIED;
    }
    const uint32_t share = names_remove(&core->names, name);
    KMEM_CRASH_POINT("server.name.gone");
    settle(core, share);
    core_wake(core, notice_bell_of(text, n_bytes));
    return 0;
}

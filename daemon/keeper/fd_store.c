/* SPDX-License-Identifier: MIT */
/*
 * fd_store.c - the segment is given last, and taken back first
 *
 * A keeper may be killed between any two messages. The files are gone on with if the segment is
 * among them, so either all of the others are there as well, or the next keeper begins anew.
 */
#include "daemon/keeper/fd_store.h"

#include "daemon/keeper/notify.h"
#include "proto/crash_point.h"
#include "proto/limits.h"

void depot_replace_listener(const struct inherited_fds *files)
{
    notify_unstore("listener");
    notify_store("listener", files->listener_fd);
}

void depot_put_segment(const struct inherited_fds *files)
{
    notify_store("state", files->state_fd);
    KMEM_CRASH_POINT("keeper.storing");
    notify_store("clock", files->clock_fd);
    KMEM_CRASH_POINT("keeper.storing");
    depot_replace_listener(files); /* what was kept may have lost its path */
    KMEM_CRASH_POINT("keeper.storing");
    notify_store("segment", files->segment_fd);
}

void depot_put_client(const struct inherited_fds *files, uint32_t slot)
{
    char name[INHERITED_FDS_NAME_BYTES];
    notify_store(inherited_fds_name("pidfd", slot, name), files->pidfds[slot]);
    if (files->way_fds[slot] >= 0) {
        notify_store(inherited_fds_name("way", slot, name), files->way_fds[slot]);
    }
    KMEM_CRASH_POINT("keeper.keeping"); /* a ledger is never there without what is before it */
    notify_store(inherited_fds_name("ledger", slot, name), files->ledger_fds[slot]);
}

void depot_remove_client(uint32_t slot)
{
    char name[INHERITED_FDS_NAME_BYTES];
    notify_unstore(inherited_fds_name("ledger", slot, name));
    KMEM_CRASH_POINT("keeper.forgetting");
    notify_unstore(inherited_fds_name("way", slot, name));
    notify_unstore(inherited_fds_name("pidfd", slot, name));
}

void depot_empty(const struct inherited_fds *files)
{
    notify_unstore("segment");
    KMEM_CRASH_POINT("keeper.emptying");
    notify_unstore("state");
    KMEM_CRASH_POINT("keeper.emptying");
    notify_unstore("clock");
    KMEM_CRASH_POINT("keeper.emptying");
    notify_unstore("listener");
    for (uint32_t slot = 0; slot < CLIENTS_MAX; slot++) {
        if (inherited_fds_has(files, slot)) {
            depot_remove_client(slot);
        }
    }
}

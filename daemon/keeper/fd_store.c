/* SPDX-License-Identifier: MIT */
/*
 * fd_store.c - the segment is put last, and removed first
 *
 * A keeper may be killed between any two messages. The next keeper goes on with the files if the
 * segment is among them: then all of the others are there as well. Else it begins anew.
 */
#include "daemon/keeper/fd_store.h"

#include "daemon/keeper/notify.h"
#include "proto/crash_point.h"
#include "proto/limits.h"

void fd_store_replace_listener(const struct inherited_fds *files)
{
    notify_fd_store_remove("listener");
    notify_fd_store_put("listener", files->listener_fd);
}

void fd_store_put_segment(const struct inherited_fds *files)
{
    notify_fd_store_put("state", files->state_fd);
    KMEM_CRASH_POINT("keeper.storing");
    notify_fd_store_put("clock", files->clock_fd);
    KMEM_CRASH_POINT("keeper.storing");
    fd_store_replace_listener(files); /* what was kept may have lost its path */
    KMEM_CRASH_POINT("keeper.storing");
    notify_fd_store_put("segment", files->segment_fd);
}

void fd_store_put_client(const struct inherited_fds *files, uint32_t slot)
{
    char name[INHERITED_FDS_NAME_BYTES];
    notify_fd_store_put(inherited_fds_name("pidfd", slot, name), files->pidfds[slot]);
    if (files->way_fds[slot] >= 0) {
        notify_fd_store_put(inherited_fds_name("way", slot, name), files->way_fds[slot]);
    }
    KMEM_CRASH_POINT("keeper.keeping"); /* a ledger is never there without what is before it */
    notify_fd_store_put(inherited_fds_name("ledger", slot, name), files->ledger_fds[slot]);
}

void fd_store_remove_client(uint32_t slot)
{
    char name[INHERITED_FDS_NAME_BYTES];
    notify_fd_store_remove(inherited_fds_name("ledger", slot, name));
    KMEM_CRASH_POINT("keeper.forgetting");
    notify_fd_store_remove(inherited_fds_name("way", slot, name));
    notify_fd_store_remove(inherited_fds_name("pidfd", slot, name));
}

void fd_store_empty(const struct inherited_fds *files)
{
    notify_fd_store_remove("segment");
    KMEM_CRASH_POINT("keeper.emptying");
    notify_fd_store_remove("state");
    KMEM_CRASH_POINT("keeper.emptying");
    notify_fd_store_remove("clock");
    KMEM_CRASH_POINT("keeper.emptying");
    notify_fd_store_remove("listener");
    for (uint32_t slot = 0; slot < CLIENTS_MAX; slot++) {
        if (inherited_fds_has(files, slot)) {
            fd_store_remove_client(slot);
        }
    }
}

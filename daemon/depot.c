/* SPDX-License-Identifier: MIT */
#include "daemon/depot.h"

#include "daemon/notify.h"
#include "proto/limits.h"

void depot_put_segment(const struct files *files)
{
    notify_store("segment", files->segment_fd);
    notify_store("state", files->state_fd);
    notify_store("clock", files->clock_fd);
    notify_store("listener", files->listener_fd);
}

void depot_put_client(const struct files *files, uint32_t slot)
{
    char name[FILES_NAME_BYTES];
    notify_store(files_name("pidfd", slot, name), files->pidfds[slot]);
    notify_store(files_name("ledger", slot, name), files->ledger_fds[slot]);
}

void depot_remove_client(uint32_t slot)
{
    char name[FILES_NAME_BYTES];
    notify_unstore(files_name("ledger", slot, name));
    notify_unstore(files_name("pidfd", slot, name));
}

void depot_empty(const struct files *files)
{
    for (uint32_t slot = 0; slot < CLIENTS_MAX; slot++) {
        if (files_has(files, slot)) {
            depot_remove_client(slot);
        }
    }
    notify_unstore("segment");
    notify_unstore("state");
    notify_unstore("clock");
    notify_unstore("listener");
}

void depot_replace_listener(const struct files *files)
{
    notify_unstore("listener");
    notify_store("listener", files->listener_fd);
}

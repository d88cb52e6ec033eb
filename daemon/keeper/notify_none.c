/* SPDX-License-Identifier: MIT */
#include "daemon/keeper/notify.h"

bool notify_is_asked(void)
{
    return false;
}

bool notify_has_fd_store(void)
{
    return false;
}

void notify_ready(const char *status_format, ...)
{
    (void)status_format; /* built without libsystemd: no manager to tell */
}

void notify_stopping(void)
{
}

uint64_t notify_alive_ms(void)
{
    return 0;
}

void notify_alive(void)
{
}

void notify_fd_store_put(const char *name, int fd)
{
    (void)name;
    (void)fd;
}

void notify_fd_store_remove(const char *name)
{
    (void)name;
}

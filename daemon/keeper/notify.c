/* SPDX-License-Identifier: MIT */
#include "daemon/keeper/notify.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <systemd/sd-daemon.h>

#include "daemon/log.h"

/* 3: two that come late are not taken for the keeper's end; more would wake it more often. */
#define ALIVE_FRACTION 3

static void notify_send(const char *message)
{
    const int r = sd_notify(0, message);
    if (r < 0) {
        log_warning("the service manager can not be notified: %s", strerror(-r));
    }
}

bool notify_is_asked(void)
{
    const char *socket = getenv("NOTIFY_SOCKET");
    return socket && socket[0] != '\0';
}

bool notify_has_fd_store(void)
{
    const char *most = getenv("FDSTORE");
    return notify_is_asked() && most && most[0] != '\0' && strcmp(most, "0") != 0;
}

void notify_ready(const char *status_format, ...)
{
    char status[256];
    char message[320];
    va_list arguments;
    va_start(arguments, status_format);
    (void)vsnprintf(status, sizeof(status), status_format, arguments); /* too long: cut */
    va_end(arguments);
    (void)snprintf(message, sizeof(message), "READY=1\nSTATUS=%s", status); /* fits */
    notify_send(message);
}

void notify_stopping(void)
{
    notify_send("STOPPING=1\nSTATUS=Ending.");
}

uint64_t notify_alive_ms(void)
{
    uint64_t watchdog_us = 0;
    const bool is_wanted = sd_watchdog_enabled(0, &watchdog_us) > 0;
    return is_wanted ? watchdog_us / 1000 / ALIVE_FRACTION : 0;
}

void notify_alive(void)
{
    notify_send("WATCHDOG=1");
}

void notify_fd_store_put(const char *name, int fd)
{
    char message[128];
    /* Not polled: a pidfd whose process has ended is still what a next server asks. */
    (void)snprintf(message, sizeof(message), "FDSTORE=1\nFDNAME=%s\nFDPOLL=0", name); /* fits */
    const int r = sd_pid_notify_with_fds(0, 0, message, &fd, 1);
    if (r < 0) {
        log_warning("the service manager can not be given descriptor %s: %s", name, strerror(-r));
    }
}

void notify_fd_store_remove(const char *name)
{
    char message[128];
    (void)snprintf(message, sizeof(message), "FDSTOREREMOVE=1\nFDNAME=%s", name); /* fits */
    notify_send(message);
}

/* SPDX-License-Identifier: MIT */
#include "daemon/notify.h"

#include <stdarg.h>
#include <stdio.h>

#include <systemd/sd-daemon.h>

#include "daemon/log.h"

static void notify_send(const char *message)
{
    const int r = sd_notify(0, message);
    if (r < 0) {
        log_warning("the service manager can not be notified: error %d", -r);
    }
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

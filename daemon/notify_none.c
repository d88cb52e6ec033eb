/* SPDX-License-Identifier: MIT */
#include "daemon/notify.h"

void notify_ready(const char *status_format, ...)
{
    (void)status_format; /* built without libsystemd: nobody to tell */
}

void notify_stopping(void)
{
}

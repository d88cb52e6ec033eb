/* SPDX-License-Identifier: MIT */
/*
 * dispatch_resize.h - a request for another size of the segment, from the administrator
 */
#ifndef DAEMON_CORE_DISPATCH_RESIZE_H
#define DAEMON_CORE_DISPATCH_RESIZE_H

#include "daemon/core/call.h"

/* A handler. */
int dispatch_resize(const struct call *call);

#endif

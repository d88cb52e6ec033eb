/* SPDX-License-Identifier: MIT */
/*
 * dispatch_admin.h - what an admin alone may ask
 */
#ifndef DAEMON_CORE_DISPATCH_ADMIN_H
#define DAEMON_CORE_DISPATCH_ADMIN_H

#include "daemon/core/call.h"
#include "proto/attributes.h"

/** dispatch_reload() - read the configuration anew: core_config.reload. Return: DISPATCH_OK. */
KMEM_MUST_USE int dispatch_reload(const struct call *call);

#endif

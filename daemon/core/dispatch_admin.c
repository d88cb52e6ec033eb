/* SPDX-License-Identifier: MIT */
#include "daemon/core/dispatch_admin.h"

#include "daemon/core/reply.h"

int dispatch_reload(const struct call *call)
{
    const struct core_config *config = &call->core->config;
    if (!config->reload) {
        reply_error(call->reply, KMEM__ERROR_CODE__ERROR_INVALID,
                    "there is no configuration that could be read anew");
    } else {
        config->reload(call->reply, config->reload_user);
    }
    return DISPATCH_OK;
}

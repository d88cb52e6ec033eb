/* SPDX-License-Identifier: MIT */
/*
 * query_reload.c - have the daemon read its configuration anew
 */
#include "client/query_parts.h"

KMEM_MUST_USE static int reload_rows(struct kmem_query *query, kmem_setting_change_fn each,
                                     void *user)
{
    const Kmem__Response *response = NULL;
    Kmem__Request request = KMEM__REQUEST__INIT;
    Kmem__Reload reload = KMEM__RELOAD__INIT;
    request.body_case = KMEM__REQUEST__BODY_RELOAD;
    request.reload = &reload;
    int r = kmem__query_ask(query, &request, KMEM__RESPONSE__BODY_RELOADED, &response);
    for (size_t i = 0; r == 0 && i < response->reloaded->n_changes; i++) {
        const Kmem__SettingChange *said = response->reloaded->changes[i];
        const struct kmem_setting_change change = {
            .key = said->key,
            .was = said->was,
            .now = said->now,
            .waits = said->waits[0] != '\0' ? said->waits : NULL,
        };
        r = each(&change, user);
    }
    return r;
}

int kmem_query_reload(struct kmem_query *query, kmem_setting_change_fn each, void *user)
{
    int r = kmem__query_begin(query, "kmem_query_reload");
    return r < 0 ? r : kmem__query_end(query, reload_rows(query, each, user));
}

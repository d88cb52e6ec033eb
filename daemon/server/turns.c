/* SPDX-License-Identifier: MIT */
#include "daemon/server/turns.h"

#include "daemon/core/fair.h"
#include "daemon/server/loop.h"
#include "daemon/server/session.h"

/* 500 us, for all sessions together: then the loop looks at what else there is to do, and at what
   has arrived. Less would make more turns than work; more would be felt by those who connect. */
#define TURN_US 500

static struct session *turns_next(const struct session_host *host)
{
    const struct fair *leaf = fair_first(&host->users->line);
    return leaf ? ((const struct charge *)leaf)->session : NULL;
}

bool turns_wait(const struct session_host *host)
{
    return turns_next(host) != NULL;
}

void turns_serve(struct session_host *host)
{
    uint64_t end_us = 0;
    host->n_turns++;
    struct session *session = turns_next(host);
    while (session && session->n_turn != host->n_turns) {
        session->n_turn = host->n_turns;
        (void)fair_take(&host->users->line); /* the session */
        session_turn(session);
        session = turns_next(host);
        if (session) {
            const uint64_t now_us = loop_now().us;
            end_us = end_us > 0 ? end_us : now_us + TURN_US;
            session = now_us < end_us ? session : NULL;
        }
    }
}

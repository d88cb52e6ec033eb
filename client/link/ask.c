/* SPDX-License-Identifier: MIT */
#include "client/link/ask.h"

#include <errno.h>

#include "client/link/handshake.h"
#include "client/link/notice.h"

bool kmem__ask_can_repeat(const struct conn *conn)
{
    return conn->is_cut && conn->ticket.nonce != 0 && !conn->ticket.is_gone;
}

/* Makes what is left of the call's time the connection's limit. Return: 0 or -ETIMEDOUT. */
KMEM_MUST_USE static int ask_limit(struct conn *conn, struct failure *failure)
{
    const int64_t left_ms = conn->until_ms - kmem__monotonic_ms();
    if (left_ms <= 0) {
        return kmem__failure_set(failure, ETIMEDOUT, "the daemon at %s did not answer within %d ms",
                                 conn->path, conn->ticket.timeout_ms);
    }
    conn->timeout_ms = (int)left_ms;
    return 0;
}

int kmem__ask_insist(struct conn *conn, Kmem__Request *request, Kmem__Response__BodyCase expected,
                     const Kmem__Response **ret_response, struct failure *failure)
{
    int r = ask_limit(conn, failure);
    if (r < 0) {
        return r;
    }
    r = kmem__conn_ask(conn, request, expected, NULL, ret_response, failure);
    while (r < 0 && kmem__ask_can_repeat(conn) && kmem__monotonic_ms() < conn->until_ms) {
        r = kmem__handshake_again(conn, conn->until_ms, failure);
        if (r < 0) {
            return r;
        }
        r = ask_limit(conn, failure);
        if (r < 0) {
            /* Back too late: what went out before is in doubt, as it is without an answer. */
            kmem__conn_close(conn);
            conn->is_cut = true;
            return r;
        }
        r = kmem__conn_ask(conn, request, expected, NULL, ret_response, failure);
    }
    return r;
}

uint64_t kmem__ask_sequence(const struct conn *conn)
{
    return conn->ticket.nonce != 0 ? conn->ticket.sequence : 0;
}

/* An answer, a refusal too, is the end of that change; so is giving up. */
static void ask_count(struct conn *conn, const Kmem__Request *request)
{
    if (request->sequence != 0 && request->sequence == conn->ticket.sequence) {
        conn->ticket.sequence++;
    }
}

int kmem__ask(struct conn *conn, Kmem__Request *request, Kmem__Response__BodyCase expected,
              const Kmem__Response **ret_response, struct failure *failure)
{
    const int r = kmem__ask_insist(conn, request, expected, ret_response, failure);
    ask_count(conn, request);
    /* A process that was late, or could not come back just now, is a client still. */
    if (r == -ECONNRESET || (r < 0 && conn->fd < 0 && !kmem__ask_can_repeat(conn))) {
        kmem__failure_add(failure, LOST_CONSEQUENCE);
    }
    return r;
}

bool kmem__ask_is_in_doubt(const struct conn *conn, int r)
{
    return r < 0 && r != -ECONNRESET && kmem__ask_can_repeat(conn);
}

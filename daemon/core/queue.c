/* SPDX-License-Identifier: MIT */
#include "daemon/core/queue.h"

#include <string.h>

#include "proto/notice.h"

static void ring(struct core *core)
{
    if (core->queue.n > 0 && core->config.ring) {
        core->config.ring(NOTICE_MEMORY_BELL, core->config.ring_user);
    }
}

static bool is_of(const struct queued *queued, const struct client *client)
{
    return queued->slot == client->slot && queued->generation == client->generation;
}

static void drop(struct queue *queue, uint32_t at)
{
    queue->n--;
    memmove(&queue->list[at], &queue->list[at + 1], (queue->n - at) * sizeof(queue->list[0]));
}

/* Those that ask no more, and those of clients that have ended. */
static void forget(struct core *core, uint64_t now_ms)
{
    struct queue *queue = &core->queue;
    for (uint32_t at = queue->n; at-- > 0;) {
        const struct queued *queued = &queue->list[at];
        const struct client *client = clients_next(&core->clients, queued->slot);
        const bool lives = client && is_of(queued, client) && client->client_state == CLIENT_LIVE;
        if (!lives || now_ms - queued->asked_ms > QUEUE_FORGET_MS) {
            drop(queue, at);
        }
    }
}

static uint32_t find(const struct queue *queue, const struct client *client, uint64_t ticket)
{
    uint32_t at = 0;
    while (at < queue->n &&
           !(queue->list[at].ticket == ticket && is_of(&queue->list[at], client))) {
        at++;
    }
    return at;
}

static uint32_t count_of(const struct queue *queue, const struct client *client)
{
    uint32_t n = 0;
    for (uint32_t at = 0; at < queue->n; at++) {
        n += is_of(&queue->list[at], client);
    }
    return n;
}

/* Whether one that came earlier comes first. */
static bool stands_before(const struct core *core, const struct queued *earlier,
                          const struct queued *own, const struct client *client, uint64_t now_ms)
{
    if (now_ms - earlier->asked_ms > QUEUE_SILENT_MS) {
        return false;
    }
    if (is_of(earlier, client)) {
        return true;
    }
    if (earlier->is_barred) {
        return (earlier->budgets & own->budgets) != 0;
    }
    const struct client *other = clients_get(&core->clients, earlier->slot);
    return accounts_own_reserve(&core->accounts, client) < own->num_bytes ||
           accounts_own_reserve(&core->accounts, other) >= earlier->num_bytes;
}

int queue_ask(struct core *core, const struct client *client, uint64_t ticket, uint64_t num_bytes,
              uint32_t budgets, uint64_t now_ms)
{
    struct queue *queue = &core->queue;
    forget(core, now_ms);
    const uint32_t own = find(queue, client, ticket);
    if (own == queue->n) {
        if (queue->n == QUEUE_MAX || count_of(queue, client) == QUEUE_OF_CLIENT_MAX) {
            return QUEUE_E_FULL;
        }
        queue->list[queue->n++] = (struct queued){
            .ticket = ticket,
            .slot = client->slot,
            .generation = client->generation,
            .num_bytes = num_bytes,
            .budgets = budgets & core->budgets.denying,
        };
    }
    queue->list[own].asked_ms = now_ms;
    for (uint32_t at = 0; at < own; at++) {
        if (stands_before(core, &queue->list[at], &queue->list[own], client, now_ms)) {
            return QUEUE_E_BEHIND;
        }
    }
    return 0;
}

void queue_bar(struct core *core, const struct client *client, uint64_t ticket, bool is_barred)
{
    const uint32_t own = find(&core->queue, client, ticket);
    if (own < core->queue.n && core->queue.list[own].is_barred != is_barred) {
        core->queue.list[own].is_barred = is_barred;
        ring(core); /* others may pass */
    }
}

void queue_leave(struct core *core, const struct client *client, uint64_t ticket)
{
    const uint32_t own = find(&core->queue, client, ticket);
    if (own < core->queue.n) {
        drop(&core->queue, own);
        ring(core);
    }
}

void queue_look(struct core *core)
{
    struct queue *queue = &core->queue;
    if (queue->n == 0) {
        return;
    }
    const uint64_t now =
        core->state.counters->releases + core->pages.n_free_pages + core->obituaries.n_written;
    if (now != queue->seen) {
        queue->seen = now;
        ring(core);
    }
}

void queue_tick(struct core *core)
{
    ring(core);
}

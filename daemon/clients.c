/* SPDX-License-Identifier: MIT */
#include "daemon/clients.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int clients_init(struct clients *clients, struct state *state, uint32_t limit)
{
    KMEM_ASSERT(limit >= 1);
    KMEM_ASSERT(limit <= CLIENTS_MAX);
    *clients = (struct clients){.state = state, .limit = limit};
    clients->table = calloc(CLIENTS_MAX, sizeof(*clients->table));
    clients->free_slots = calloc(CLIENTS_MAX, sizeof(*clients->free_slots));
    if (!clients->table || !clients->free_slots) {
        clients_fini(clients);
        return -ENOMEM;
    }
    return 0;
}

void clients_fini(struct clients *clients)
{
    free(clients->table);
    free(clients->free_slots);
    *clients = (struct clients){.state = NULL};
}

static void client_write(struct clients *clients, const struct client *client)
{
    struct state_client *stored = &clients->state->clients[client->slot];
    stored->start_time = client->identity.start_time;
    stored->uid = client->identity.uid;
    stored->gid = client->identity.gid;
    stored->born = client->born;
    memcpy(stored->command, client->identity.command, COMMAND_BYTES);
    /* Before: the slot is unused. After: it is this process's. */
    state_commit(clients->state, &stored->pid, client->identity.pid);
}

int clients_add(struct clients *clients, const struct client_identity *identity, uint32_t now,
                struct client **ret_client)
{
    if (clients->n_live + clients->n_ended >= clients->limit) {
        return CLIENTS_E_FULL;
    }
    const uint32_t slot = clients->n_free_slots > 0 ? clients->free_slots[--clients->n_free_slots]
                                                    : clients->n_slots++;
    struct client *client = &clients->table[slot];
    KMEM_ASSERT(client->client_state == CLIENT_UNUSED);
    *client = (struct client){
        .client_state = CLIENT_LIVE,
        .connected = true,
        .slot = slot,
        .generation = client->generation + 1,
        .born = now,
        .identity = *identity,
    };
    client->identity.command[COMMAND_BYTES - 1] = '\0';
    clients->n_live++;
    client_write(clients, client);
    *ret_client = client;
    return 0;
}

void clients_end(struct clients *clients, struct client *client, bool left, uint32_t now)
{
    KMEM_ASSERT(client->client_state == CLIENT_LIVE);
    client->client_state = CLIENT_ENDED;
    client->left = left;
    client->ended = now;
    clients->n_live--;
    clients->n_ended++;
}

void clients_remove(struct clients *clients, struct client *client)
{
    KMEM_ASSERT(client->client_state == CLIENT_ENDED);
    KMEM_ASSERT(client->n_blocks == 0);
    KMEM_ASSERT(client->num_bytes == 0);
    KMEM_ASSERT(client->leased_pages == 0);
    client->states = NULL;
    /* Before: the slot is an ended process's that holds nothing. After: it is unused. */
    state_commit(clients->state, &clients->state->clients[client->slot].pid, 0);
    client->client_state = CLIENT_UNUSED;
    clients->n_ended--;
    clients->free_slots[clients->n_free_slots++] = client->slot;
}

struct client *clients_get(const struct clients *clients, uint32_t slot)
{
    KMEM_ASSERT(slot < clients->n_slots);
    struct client *client = &clients->table[slot];
    KMEM_ASSERT(client->client_state != CLIENT_UNUSED);
    return client;
}

struct client *clients_find(const struct clients *clients, const struct client_identity *identity)
{
    struct client *client = clients_next(clients, 0);
    while (client && (client->identity.pid != identity->pid ||
                      client->identity.start_time != identity->start_time)) {
        client = clients_next(clients, client->slot + 1);
    }
    return client;
}

struct client *clients_next(const struct clients *clients, uint32_t slot)
{
    for (; slot < clients->n_slots; slot++) {
        if (clients->table[slot].client_state != CLIENT_UNUSED) {
            return &clients->table[slot];
        }
    }
    return NULL;
}

/* Whether a slot says the same in the table and in the state file. */
static bool slot_is_sound(const struct clients *clients, uint32_t slot)
{
    const struct client *client = &clients->table[slot];
    const bool unused = client->client_state == CLIENT_UNUSED;
    /* Relaxed: the server alone writes and reads its state. */
    const uint64_t pid =
        atomic_load_explicit(&clients->state->clients[slot].pid, memory_order_relaxed);
    return pid == (unused ? 0 : client->identity.pid) && (unused || client->slot == slot);
}

int clients_check(const struct clients *clients)
{
    uint32_t n_live = 0;
    uint32_t n_ended = 0;
    for (uint32_t slot = 0; slot < clients->n_slots; slot++) {
        if (!slot_is_sound(clients, slot)) {
            return CLIENTS_E_CORRUPT;
        }
        n_live += clients->table[slot].client_state == CLIENT_LIVE;
        n_ended += clients->table[slot].client_state == CLIENT_ENDED;
    }
    for (uint32_t i = 0; i < clients->n_free_slots; i++) {
        const uint32_t slot = clients->free_slots[i];
        if (slot >= clients->n_slots || clients->table[slot].client_state != CLIENT_UNUSED) {
            return CLIENTS_E_CORRUPT;
        }
    }
    const bool adds_up = n_live == clients->n_live && n_ended == clients->n_ended &&
                         n_live + n_ended <= clients->limit &&
                         n_live + n_ended + clients->n_free_slots == clients->n_slots;
    return adds_up ? 0 : CLIENTS_E_CORRUPT;
}

uint64_t client_charged_bytes(const struct client *client)
{
    return client->num_bytes + (client->leased_pages << PAGE_SHIFT);
}

static void client_note_peak(struct client *client)
{
    const uint64_t charged = client_charged_bytes(client);
    client->peak_bytes = charged > client->peak_bytes ? charged : client->peak_bytes;
}

void client_charge(struct client *client, uint64_t num_bytes)
{
    client->n_blocks++;
    client->num_bytes += num_bytes;
    client_note_peak(client);
}

void client_discharge(struct client *client, uint64_t num_bytes)
{
    KMEM_ASSERT(client->n_blocks > 0);
    KMEM_ASSERT(client->num_bytes >= num_bytes);
    client->n_blocks--;
    client->num_bytes -= num_bytes;
}

void client_charge_pages(struct client *client, uint32_t n_pages)
{
    client->leased_pages += n_pages;
    client_note_peak(client);
}

void client_discharge_pages(struct client *client, uint32_t n_pages)
{
    KMEM_ASSERT(client->leased_pages >= n_pages);
    client->leased_pages -= n_pages;
}

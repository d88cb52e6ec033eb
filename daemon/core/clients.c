/* SPDX-License-Identifier: MIT */
/*
 * clients.c - slots
 *
 * A process that joins, and its end, are one store each:
 *
 *      join:    all of the slot, then its pid    before: unused; after: a client that holds nothing
 *      end:     ended                            before: it lives; after: it is being reaped
 *      remove:  pid = 0                          before: ended, holds nothing; after: unused
 *
 * The intent is written before what it tells of: offset or page, kind, and the sequence number
 * last. Killed in between, the slot has the sequence number of the change before, whose answer the
 * client has received, or it would not have asked for the next; so nobody asks for the intent that
 * does not go with it.
 */
#include "daemon/core/clients.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/store.h"

struct kept {
    struct client client;
    struct state_client stored; /* its peaks, which need not outlive the server */
};

static struct client *kept_new(uint32_t owner_uid)
{
    struct kept *kept = calloc(1, sizeof(*kept));
    if (!kept) {
        return NULL;
    }
    kept->client = (struct client){
        .client_state = CLIENT_LIVE,
        .slot = SLOT_KEPT,
        .identity = {.uid = owner_uid, .command = "kept"},
        .stored = &kept->stored,
    };
    return &kept->client;
}

int clients_init(struct clients *clients, struct state *state, uint32_t limit, uint32_t owner_uid)
{
    KMEM_ASSERT(limit >= 1);
    KMEM_ASSERT(limit <= CLIENTS_MAX);
    *clients = (struct clients){.state = state, .limit = limit};
    clients->table = calloc(CLIENTS_MAX, sizeof(*clients->table));
    clients->free_slots = calloc(CLIENTS_MAX, sizeof(*clients->free_slots));
    clients->kept = kept_new(owner_uid);
    if (!clients->table || !clients->free_slots || !clients->kept) {
        clients_fini(clients);
        return -ENOMEM;
    }
    return 0;
}

void clients_fini(struct clients *clients)
{
    free(clients->table);
    free(clients->free_slots);
    free(clients->kept);
    *clients = (struct clients){.state = NULL};
}

static void client_write(struct clients *clients, const struct client *client)
{
    struct state_client *stored = &clients->state->clients[client->slot];
    store_hook(); /* plain stores, as below */
    stored->start_time = client->identity.start_time;
    stored->uid = client->identity.uid;
    stored->gid = client->identity.gid;
    stored->is_reader = client->identity.is_reader;
    stored->born = client->born;
    store_prepare_bytes(stored->command, client->identity.command, COMMAND_BYTES);
    stored->nonce = client->nonce;
    stored->inode = client->identity.inode;
    stored->program = client->identity.program;
    stored->copy = client->identity.copy;
    store_prepare_u64(&stored->ended, 0);
    store_prepare_u64(&stored->obituary, 0);
    store_prepare_u64(&stored->sequence, 0);
    store_prepare_u64(&stored->intent, INTENT_WORD(INTENT_NONE, 0));
    stored->peak_bytes = 0;
    stored->peak_used_bytes = 0;
    /* Before: the slot is unused. After: it is this process's. */
    state_commit(clients->state, &stored->pid, PID_WORD(client->identity.pid));
}

static uint32_t slot_take(struct clients *clients)
{
    if (clients->n_free_slots > 0) {
        return clients->free_slots[--clients->n_free_slots];
    }
    const uint32_t slot = clients->n_slots++;
    /* Before and after: the slot is unused. */
    state_commit(clients->state, &clients->state->header->n_slots, clients->n_slots);
    return slot;
}

int clients_add(struct clients *clients, const struct client_identity *identity, uint64_t nonce,
                uint32_t now, struct client **ret_client)
{
    if (clients->n_live + clients->n_ended >= clients->limit) {
        return CLIENTS_E_FULL;
    }
    const uint32_t slot = slot_take(clients);
    struct client *client = &clients->table[slot];
    KMEM_ASSERT(client->client_state == CLIENT_UNUSED);
    *client = (struct client){
        .client_state = CLIENT_LIVE,
        .connected = true,
        .slot = slot,
        .generation = client->generation + 1,
        .born = now,
        .nonce = nonce,
        .identity = *identity,
        .stored = &clients->state->clients[slot],
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
    /* Before: it lives. After: what it holds is taken back, whoever does that. */
    state_commit(clients->state, &clients->state->clients[client->slot].ended,
                 ENDED_WORD(left, now));
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
    client->counts = NULL;
    client->returns = NULL;
    /* Before: the slot is an ended process's that holds nothing. After: it is unused. */
    state_commit(clients->state, &clients->state->clients[client->slot].pid, 0);
    client->client_state = CLIENT_UNUSED;
    clients->n_ended--;
    clients->free_slots[clients->n_free_slots++] = client->slot;
}

static void slot_recover(struct clients *clients, uint32_t slot)
{
    struct state_client *stored = &clients->state->clients[slot];
    const uint64_t ended = state_load(&stored->ended);
    struct client *client = &clients->table[slot];
    *client = (struct client){
        .client_state = ended ? CLIENT_ENDED : CLIENT_LIVE,
        .left = ended && ENDED_WORD_LEFT(ended),
        .slot = slot,
        .generation = 1,
        .born = stored->born,
        .ended = ENDED_WORD_TICK(ended),
        .nonce = stored->nonce,
        .sequence = state_load(&stored->sequence),
        .identity = {.pid = PID_WORD_PID(state_load(&stored->pid)),
                     .uid = stored->uid,
                     .gid = stored->gid,
                     .is_reader = stored->is_reader != 0,
                     .start_time = stored->start_time,
                     .inode = stored->inode,
                     .program = stored->program,
                     .copy = stored->copy},
        .stored = stored,
    };
    memcpy(client->identity.command, stored->command, COMMAND_BYTES);
    client->identity.command[COMMAND_BYTES - 1] = '\0';
    clients->n_live += ended == 0;
    clients->n_ended += ended != 0;
}

void clients_recover(struct clients *clients)
{
    KMEM_ASSERT(clients->n_slots == 0);
    const uint64_t n_slots = state_load(&clients->state->header->n_slots);
    for (uint32_t slot = 0; slot < n_slots; slot++) {
        if (state_load(&clients->state->clients[slot].pid) != 0) {
            slot_recover(clients, slot);
            clients->n_slots = slot + 1;
        }
    }
    for (uint32_t slot = clients->n_slots; slot-- > 0;) {
        if (clients->table[slot].client_state == CLIENT_UNUSED) {
            clients->free_slots[clients->n_free_slots++] = slot;
        }
    }
    /* Whoever was let in stays, though the descriptors suffice for fewer now. */
    const uint32_t n_clients = clients->n_live + clients->n_ended;
    clients->limit = clients->limit > n_clients ? clients->limit : n_clients;
}

void clients_intend(struct clients *clients, uint32_t slot, uint64_t sequence,
                    const struct intent *intent)
{
    struct state_client *stored = &clients->state->clients[slot];
    if (sequence == 0) {
        return;
    }
    store_prepare_u64(&stored->intent_at, intent->at);
    store_prepare_u64(&stored->intent, INTENT_WORD(intent->kind, intent->n_pages));
    /* Before: the request has not come. After: it has, and what became of it can be looked up. */
    state_commit(clients->state, &stored->sequence, sequence);
    clients_get(clients, slot)->sequence = sequence;
}

struct intent clients_intent(const struct clients *clients, uint32_t slot)
{
    const struct state_client *stored = &clients->state->clients[slot];
    const uint64_t word = state_load(&stored->intent);
    return (struct intent){
        .kind = INTENT_WORD_KIND(word),
        .n_pages = INTENT_WORD_PAGES(word),
        .at = state_load(&stored->intent_at),
    };
}

struct client *clients_get(const struct clients *clients, uint32_t slot)
{
    if (slot == SLOT_KEPT) {
        return clients->kept;
    }
    KMEM_ASSERT(slot < clients->n_slots);
    struct client *client = &clients->table[slot];
    KMEM_ASSERT(client->client_state != CLIENT_UNUSED);
    return client;
}

bool clients_has(const struct clients *clients, uint32_t slot)
{
    return slot == SLOT_KEPT ||
           (slot < clients->n_slots && clients->table[slot].client_state != CLIENT_UNUSED);
}

bool client_is_process(const struct client *client, const struct client_identity *identity)
{
    const struct client_identity *own = &client->identity;
    if (own->inode != 0 && identity->inode != 0) {
        return own->inode == identity->inode;
    }
    const bool same_start = own->start_time == identity->start_time || own->start_time == 0 ||
                            identity->start_time == 0;
    return own->pid != 0 && own->pid == identity->pid && own->uid == identity->uid && same_start;
}

struct client *clients_find(const struct clients *clients, const struct client_identity *identity)
{
    struct client *client = clients_next(clients, 0);
    while (client &&
           (client->identity.uid != identity->uid || !client_is_process(client, identity))) {
        client = clients_next(clients, client->slot + 1);
    }
    return client;
}

uint32_t clients_count_of(const struct clients *clients, uint32_t uid)
{
    uint32_t n_clients = 0;
    const struct client *client = clients_next(clients, 0);
    for (; client; client = clients_next(clients, client->slot + 1)) {
        n_clients += client->identity.uid == uid;
    }
    return n_clients;
}

struct client *clients_find_away(const struct clients *clients,
                                 const struct client_identity *identity)
{
    struct client *client = clients_next(clients, 0);
    while (client &&
           (client->connected || client->client_state != CLIENT_LIVE ||
            client->identity.uid != identity->uid || !client_is_process(client, identity))) {
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
    const struct state_client *stored = &clients->state->clients[slot];
    const uint64_t pid = state_load(&stored->pid);
    if (!unused && ((state_load(&stored->ended) != 0) != (client->client_state == CLIENT_ENDED) ||
                    state_load(&stored->sequence) != client->sequence)) {
        return false;
    }
    return pid == (unused ? 0 : PID_WORD(client->identity.pid)) && (unused || client->slot == slot);
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
                         n_live + n_ended + clients->n_free_slots == clients->n_slots &&
                         clients->kept->client_state == CLIENT_LIVE &&
                         clients->kept->slot == SLOT_KEPT && clients->kept->leased_pages == 0;
    return adds_up ? 0 : CLIENTS_E_CORRUPT;
}

const char *client_pid_text(uint32_t pid, char buffer[PID_TEXT_BYTES])
{
    (void)snprintf(buffer, PID_TEXT_BYTES, pid != 0 ? "%u" : "?", pid); /* fits */
    return buffer;
}

uint64_t client_charged_bytes(const struct client *client)
{
    return client->num_bytes + (client->leased_pages << PAGE_SHIFT);
}

void client_note_used(struct client *client, uint64_t num_bytes)
{
    state_raise(&client->stored->peak_used_bytes, num_bytes);
}

void client_charge(struct client *client, uint64_t num_bytes)
{
    client->n_blocks++;
    client->num_bytes += num_bytes;
    account_charge(client->user_account, num_bytes);
    account_charge(client->unit_account, num_bytes);
    state_raise(&client->stored->peak_bytes, client_charged_bytes(client));
    client_note_used(client, client->num_bytes);
}

void client_discharge(struct client *client, uint64_t num_bytes)
{
    KMEM_ASSERT(client->n_blocks > 0);
    KMEM_ASSERT(client->num_bytes >= num_bytes);
    client->n_blocks--;
    client->num_bytes -= num_bytes;
    account_discharge(client->user_account, num_bytes);
    account_discharge(client->unit_account, num_bytes);
}

void client_charge_pages(struct client *client, uint32_t n_pages)
{
    client->leased_pages += n_pages;
    account_charge(client->user_account, (uint64_t)n_pages << PAGE_SHIFT);
    account_charge(client->unit_account, (uint64_t)n_pages << PAGE_SHIFT);
    state_raise(&client->stored->peak_bytes, client_charged_bytes(client));
}

void client_discharge_pages(struct client *client, uint32_t n_pages)
{
    KMEM_ASSERT(client->leased_pages >= n_pages);
    client->leased_pages -= n_pages;
    account_discharge(client->user_account, (uint64_t)n_pages << PAGE_SHIFT);
    account_discharge(client->unit_account, (uint64_t)n_pages << PAGE_SHIFT);
}

/* SPDX-License-Identifier: MIT */
/*
 * The daemon's files are arrays here: an image of them is taken and put back with memcpy(). The
 * core is the real one, and requests go through the real dispatch.
 */
#include "tests/crash/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------------------ the killer ---- */

jmp_buf killed;
uint64_t kill_at = NEVER; /* the store before which it all ends */
uint64_t n_stores;

void store_hook(void)
{
    if (n_stores++ == kill_at) {
        kill_at = NEVER;
        longjmp(killed, 1);
    }
}
/* ------------------------------------------------------------------------------- the world ---- */

struct core core;
struct core_config config;
unsigned char *state_base;
struct ledger_layout layout;
_Atomic uint64_t states[SLOTS_SAVED][N_PAGES / LEASE_PAGES_PER_WORD + 1];
bool has_ledger[SLOTS_SAVED];
struct peer peers[N_CLIENTS];
struct reply *reply;
struct model model;
struct model model_before;
uint64_t leased_before[N_CLIENTS]; /* pages */
uint64_t obituaries_before;
struct image before;
struct image after_crash;
struct seeded seeded;
struct op op;
const char *phase = "";
uint64_t at_k;
uint64_t at_j;
uint64_t n_state;
uint64_t n_crashes;

void fail_here(const char *file, int line, const char *condition)
{
    (void)fprintf(stderr,
                  "%s:%d: not true: %s\n    state %llu, operation %d of client %u (%llu "
                  "bytes, %u pages), %s, stopped at store %llu, recovery at %llu\n",
                  file, line, condition, (unsigned long long)n_state, (int)op.kind, op.client,
                  (unsigned long long)op.num_bytes, op.n_pages, phase, (unsigned long long)at_k,
                  (unsigned long long)at_j);
    abort();
}

bool told_nothing(void *user, uint32_t slot, uint64_t at, void *buffer, size_t n_bytes)
{
    (void)user;
    (void)slot;
    (void)at;
    (void)buffer;
    (void)n_bytes;
    return false;
}

struct now now(void)
{
    return (struct now){.ms = NOW_MS, .us = NOW_MS * UINT64_C(1000)};
}

void ledger_open(struct client *client)
{
    EXPECT(client->slot < SLOTS_SAVED);
    if (!has_ledger[client->slot]) {
        memset((void *)states[client->slot], 0, sizeof(states[0]));
        has_ledger[client->slot] = true;
    }
    client->states = states[client->slot];
}

void buried(const struct obituary *obituary, uint32_t slot, void *user)
{
    (void)obituary;
    (void)user;
    has_ledger[slot] = false;
}

_Atomic uint64_t *states_of(uint32_t slot, void *user)
{
    (void)user;
    return slot < SLOTS_SAVED && has_ledger[slot] ? states[slot] : NULL;
}

/* ---------------------------------------------------------------------------------- images ---- */

void image_save(struct image *image)
{
    memcpy(&image->header, core.state.header, sizeof(image->header));
    memcpy(image->page_words, (void *)core.state.page_words, sizeof(image->page_words));
    memcpy(image->given, (void *)core.state.given, sizeof(image->given));
    memcpy(image->clients, core.state.clients, sizeof(image->clients));
    memcpy(image->reasons, core.state.reasons, sizeof(image->reasons));
    memcpy(image->ledger, core.state.ledger.header, layout.reasons_at);
    memcpy(image->states, (void *)states, sizeof(image->states));
    memcpy(image->has_ledger, has_ledger, sizeof(image->has_ledger));
}

void image_load(const struct image *image)
{
    memcpy(core.state.header, &image->header, sizeof(image->header));
    memcpy((void *)core.state.page_words, image->page_words, sizeof(image->page_words));
    memcpy((void *)core.state.given, image->given, sizeof(image->given));
    memcpy(core.state.clients, image->clients, sizeof(image->clients));
    memcpy(core.state.reasons, image->reasons, sizeof(image->reasons));
    memcpy(core.state.ledger.header, image->ledger, layout.reasons_at);
    memcpy((void *)states, image->states, sizeof(image->states));
    memcpy(has_ledger, image->has_ledger, sizeof(image->has_ledger));
}

/* A new core of what is in the files; nobody is connected. */
void core_make(void)
{
    char why[256] = "";
    const int r = recover(&core, &config, state_base, states_of, NULL, NOW_MS, why, sizeof(why));
    if (r) {
        (void)fprintf(stderr, "%s\n", why);
    }
    EXPECT(r == 0);
    EXPECT(core_check(&core) == 0);
    for (uint32_t i = 0; i < N_CLIENTS; i++) {
        peers[i] = (struct peer){.role = PEER_UNKNOWN};
    }
}

void reap(void)
{
    while (core_has_dead(&core)) {
        core_reap(&core, 8, buried, NULL);
    }
}

/* -------------------------------------------------------------------------------- requests ---- */

struct client_identity identity_of(uint32_t client)
{
    return (struct client_identity){.pid = 100 + client, .start_time = 1, .command = "crash"};
}

/* Return: the answer, when it is complete. */
const Kmem__Response *ask(uint32_t client, Kmem__Request *request)
{
    struct peer *peer = &peers[client];
    int outcome = dispatch(&core, peer, request, now(), reply);
    while (outcome == DISPATCH_PENDING) {
        outcome = dispatch_continue(&core, peer, now(), reply);
    }
    return &reply->response;
}

/* As a member that joins (nonce 0) or comes back. Return: the answer. */
const Kmem__Response *hello(uint32_t client, uint64_t nonce)
{
    const struct client_identity identity = identity_of(client);
    Kmem__Hello body = KMEM__HELLO__INIT;
    Kmem__Request request = KMEM__REQUEST__INIT;
    body.version = PROTOCOL_VERSION;
    body.role = KMEM__ROLE__ROLE_MEMBER;
    body.resume_nonce = nonce;
    request.body_case = KMEM__REQUEST__BODY_HELLO;
    request.hello = &body;
    peer_init(&peers[client], &identity, 1000 + client);
    return ask(client, &request);
}

/* Joins, as often as it is asked to come again. */
void join(uint32_t client)
{
    const Kmem__Response *response = hello(client, 0);
    while (response->body_case == KMEM__RESPONSE__BODY_ERROR) {
        EXPECT(response->error->code == KMEM__ERROR_CODE__ERROR_BUSY);
        reap();
        response = hello(client, 0);
    }
    EXPECT(response->body_case == KMEM__RESPONSE__BODY_WELCOME);
    ledger_open(peers[client].client);
}

/* All who were clients before; but one that may have ended only if it can not have. */
void come_back(bool ended)
{
    for (uint32_t i = 0; i < N_CLIENTS; i++) {
        if (model_before.is_joined[i] && !(ended && op.kind == OP_END && op.client == i)) {
            const Kmem__Response *response = hello(i, 1000 + i);
            EXPECT(response->body_case == KMEM__RESPONSE__BODY_WELCOME);
            EXPECT(response->welcome->resumed);
        }
    }
}

/* SPDX-License-Identifier: MIT */
/*
 * The core is the real one, and requests go through the real dispatch. What the shell does beside
 * it is done here: a client's ledger is made after it has joined, closed after it was buried, and
 * closed by the next server if its slot is nobody's.
 */
#include "daemon/core/reap.h"
#include "tests/crash/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* ------------------------------------------------------------------------------ the killer ---- */

jmp_buf killed;
uint64_t kill_at = NEVER;
uint64_t n_stores;
uint64_t n_asked[REQUESTS_MAX];

void store_hook(void)
{
    if (n_stores++ == kill_at) {
        kill_at = NEVER;
        longjmp(killed, 1);
    }
}

/* A plain copy may be cut anywhere; nobody may notice where. */
void store_prepare_bytes(void *where, const void *bytes, size_t n_bytes)
{
    const size_t half = n_bytes / 2;
    store_hook();
    memcpy(where, bytes, half);
    store_hook();
    memcpy((unsigned char *)where + half, (const unsigned char *)bytes + half, n_bytes - half);
}

/* ------------------------------------------------------------------------------- the world ---- */

struct core core;
struct core_config config;
_Atomic uint64_t states[SLOTS_SAVED][STATES_WORDS];
bool has_ledger[SLOTS_SAVED];
struct peer peers[N_CLIENTS];
struct model model;
struct model model_before;
struct answer answer;
struct seeded seeded;
struct op op;
bool is_told = true;
const char *phase = "";
uint64_t at_k;
uint64_t at_j;
uint64_t at_i;
uint64_t n_state;

static struct reply *reply;
static unsigned char *state_base;

void fail_here(const char *file, int line, const char *condition)
{
    (void)fprintf(stderr,
                  "%s:%d: not true: %s\n    state %llu, operation %d of client %u (%llu "
                  "bytes, %u pages), %s, stopped at store %llu, recovery at %llu, at %llu\n",
                  file, line, condition, (unsigned long long)n_state, (int)op.kind, op.client,
                  (unsigned long long)op.num_bytes, op.n_pages, phase, (unsigned long long)at_k,
                  (unsigned long long)at_j, (unsigned long long)at_i);
    abort();
}

_Atomic uint64_t *states_in(uint32_t slot)
{
    return states[slot] + LEASE_GIVEN_BEFORE_BYTES / sizeof(states[0][0]);
}

/* The first size class whose slabs span so many pages. */
static uint32_t class_of(uint32_t span_pages)
{
    uint32_t size_class = 0;
    while (size_classes[size_class].span_pages != span_pages) {
        size_class++;
    }
    return size_class;
}

struct model_client *model_of(uint32_t client)
{
    return model_client(&model, identity_of(client).pid);
}

/* Of lengths that take entries of all sizes, and few enough that ids are given out again. */
const char *model_reason(uint32_t number)
{
    static char text[32];
    (void)snprintf(text, sizeof(text), "reason %.*u", (int)number, number); /* fits */
    return number == 0 ? NO_REASON : text;
}

const char *reason_given(uint32_t number)
{
    return number == 0 ? "" : model_reason(number);
}

/* What a client's head says: of its slabs, all of which are idle, and of nothing else. */
static void head_tell(const struct model_client *client, uint32_t page,
                      struct ledger_head *ret_head)
{
    if (client->slabs >> page & 1) {
        ret_head->span_pages = 1 + (client->slabs_of_two >> page & 1);
        ret_head->size_class = (uint16_t)class_of(ret_head->span_pages);
        atomic_store(&ret_head->kind, HEAD_SLAB);
    } else if (client->idle >> page & 1) {
        ret_head->back = 1;
        atomic_store(&ret_head->kind, HEAD_INTERIOR);
    }
}

/* All clients receive the barrier, and have no block but those of the daemon's own ledger. */
static bool tell(void *user, uint32_t slot, uint64_t at, void *buffer, size_t n_bytes)
{
    struct ledger_layout layout;
    (void)user;
    ledger_layout_init(&layout, N_PAGES);
    memset(buffer, 0, n_bytes);
    if (at == offsetof(struct ledger_header, is_fenced)) {
        *(uint64_t *)buffer = 1;
    }
    for (uint32_t i = 0; i < model.n_clients; i++) {
        const uint64_t head_at = at - layout.heads_at;
        if (model.clients[i].slot == slot && at >= layout.heads_at &&
            head_at < N_PAGES * sizeof(struct ledger_head) &&
            n_bytes == sizeof(struct ledger_head)) {
            head_tell(&model.clients[i], (uint32_t)(head_at / sizeof(struct ledger_head)), buffer);
        }
    }
    return true;
}

uint64_t n_barriers;

static bool barrier(void)
{
    n_barriers++;
    return true;
}

void world_open(void)
{
    config = (struct core_config){
        .segment_name = "crash",
        .n_pages = N_PAGES,
        .clients_limit = SLOTS_SAVED,
        .instance = 1,
        .ledger_read = tell,
        .barrier = barrier,
    };
    state_base = mmap(NULL, state_bytes(N_PAGES), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    reply = reply_new();
    EXPECT(state_base != MAP_FAILED);
    EXPECT(reply != NULL);
}

void world_close(void)
{
    reply = reply_free(reply);
    (void)munmap(state_base, state_bytes(N_PAGES)); /* the process ends */
}

void world_clear(void)
{
    EXPECT(madvise(state_base, state_bytes(N_PAGES), MADV_DONTNEED) == 0);
    memset((void *)states, 0, sizeof(states));
    memset(has_ledger, 0, sizeof(has_ledger));
    memset(&model, 0, sizeof(model));
    model.n_pages = N_PAGES;
    memset(peers, 0, sizeof(peers));
}

static void ledger_open(struct client *client)
{
    EXPECT(client->slot < SLOTS_SAVED);
    store_hook();
    if (!has_ledger[client->slot]) {
        memset((void *)states[client->slot], 0, sizeof(states[0]));
        has_ledger[client->slot] = true;
    }
    client->states = states_in(client->slot);
}

void buried(const struct obituary *obituary, uint32_t slot, void *user)
{
    (void)user;
    EXPECT(obituary->identity.uid == uid_of(obituary->identity.pid - identity_of(0).pid));
    store_hook();
    has_ledger[slot] = false;
}

static _Atomic uint64_t *states_of(uint32_t slot, void *user)
{
    (void)user;
    return slot < SLOTS_SAVED && has_ledger[slot] ? states_in(slot) : NULL;
}

void core_make(void)
{
    char why[256] = "";
    const int r = recover(&core, &config, state_base, states_of, NULL, NOW_MS, why, sizeof(why));
    if (r) {
        (void)fprintf(stderr, "%s\n", why);
    }
    EXPECT(r == 0);
    EXPECT(core_check(&core) == 0);
    for (uint32_t slot = 0; slot < SLOTS_SAVED; slot++) {
        const struct client *client = clients_next(&core.clients, slot);
        has_ledger[slot] = has_ledger[slot] && client && client->slot == slot;
    }
    for (uint32_t i = 0; i < N_CLIENTS; i++) {
        peers[i] = (struct peer){.role = PEER_UNKNOWN};
    }
}

void first_start(void)
{
    if (state_is_new(state_base)) {
        EXPECT(core_init(&core, &config, state_base, 0) == 0);
    } else {
        core_make();
    }
}

void world_reap(void)
{
    while (core_has_dead(&core)) {
        reap(&core, 8, buried, NULL);
    }
}

/* -------------------------------------------------------------------------------- requests ---- */

uint32_t uid_of(uint32_t client)
{
    return 1000 + client % N_UIDS;
}

struct client_identity identity_of(uint32_t client)
{
    struct client_identity identity = {
        .pid = 100 + client, .uid = uid_of(client), .gid = 50, .start_time = 7 + client};
    (void)snprintf(identity.command, sizeof(identity.command), "crash %u", client);
    return identity;
}

static void answer_keep(const Kmem__Response *response)
{
    answer = (struct answer){.body_case = response->body_case};
    if (response->body_case == KMEM__RESPONSE__BODY_ALLOCATED) {
        answer.offset = response->allocated->offset;
    } else if (response->body_case == KMEM__RESPONSE__BODY_LEASED) {
        answer.page = response->leased->page;
        answer.n_pages = response->leased->n_pages;
    }
}

const Kmem__Response *ask(struct peer *peer, Kmem__Request *request)
{
    const struct now now = {.ms = NOW_MS, .us = NOW_MS * UINT64_C(1000)};
    EXPECT(request->body_case < REQUESTS_MAX);
    n_asked[request->body_case]++;
    int outcome = dispatch(&core, peer, request, now, reply);
    while (outcome == DISPATCH_PENDING) {
        if (peer->role == PEER_LEAVING) {
            reap(&core, 8, buried, NULL);
        }
        outcome = dispatch_continue(&core, peer, now, reply);
    }
    answer_keep(&reply->response);
    return &reply->response;
}

static uint64_t last_nonce = 1000;

const Kmem__Response *hello(uint32_t client, uint64_t nonce)
{
    const struct client_identity identity = identity_of(client);
    peer_init(&peers[client], &identity, ++last_nonce);
    peers[client].may_be = ROLES_ALL;
    return ask(&peers[client], request_hello(NEW_REQUEST, KMEM__ROLE__ROLE_MEMBER, nonce));
}

void join(uint32_t client)
{
    const Kmem__Response *response = hello(client, 0);
    while (response->body_case == KMEM__RESPONSE__BODY_ERROR) {
        EXPECT(response->error->code == KMEM__ERROR_CODE__ERROR_BUSY);
        world_reap();
        response = hello(client, 0);
    }
    EXPECT(response->body_case == KMEM__RESPONSE__BODY_WELCOME);
    EXPECT(!response->welcome->resumed);
    EXPECT(response->welcome->resume_nonce == last_nonce);
    EXPECT(peers[client].client->n_blocks == 0);
    EXPECT(peers[client].client->leased_pages == 0);
    EXPECT(peers[client].client->sequence == 0);
    struct model_client *const joined =
        model_client_add(&model, identity_of(client).pid, peers[client].client);
    joined->slot = response->welcome->slot;
    joined->nonce = last_nonce;
    ledger_open(peers[client].client);
}

/* What it knows already; one block more or less is what it asked for last and was not told. */
static void expect_known(uint32_t client, const Kmem__Welcome *welcome)
{
    struct model_client *const known = model_of(client);
    const struct client *const held = peers[client].client;
    const uint64_t slack = client == op.client && !is_told;
    known->client = peers[client].client;
    EXPECT(welcome->resumed);
    EXPECT(welcome->slot == known->slot);
    EXPECT(welcome->resume_nonce == known->nonce);
    EXPECT(welcome->instance == config.instance);
    EXPECT(held->sequence <= known->sequence + slack);
    EXPECT(held->n_blocks <= known->n_blocks + slack);
    EXPECT(held->n_blocks + slack >= known->n_blocks);
}

bool come_back(uint32_t client)
{
    const Kmem__Response *response = hello(client, model_of(client)->nonce);
    if (response->body_case == KMEM__RESPONSE__BODY_ERROR) {
        EXPECT(response->error->code == KMEM__ERROR_CODE__ERROR_GONE);
        return false;
    }
    EXPECT(response->body_case == KMEM__RESPONSE__BODY_WELCOME);
    expect_known(client, response->welcome);
    return true;
}

void say_goodbye(uint32_t client)
{
    const Kmem__Response *response = ask(&peers[client], request_goodbye(NEW_REQUEST));
    EXPECT(response->body_case == KMEM__RESPONSE__BODY_FAREWELL);
    EXPECT(peers[client].client == NULL);
}

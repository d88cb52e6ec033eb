/* SPDX-License-Identifier: MIT */
#include "tests/crash/operation.h"

#include <string.h>

/* --------------------------------------------------------------------- blocks and leases ---- */

static void model_add(uint64_t offset)
{
    const struct model_block block = {
        .offset = offset,
        .num_bytes = op.num_bytes,
        .pid = identity_of(op.client).pid,
        .reason = op.reason,
        .born = core_tick(&core, NOW_MS),
    };
    EXPECT(model.n_blocks < MODEL_BLOCKS_MAX);
    EXPECT(model_block_add(&model, &block, core_segment_bytes(&core)));
}

static const Kmem__Response *ask_change(Kmem__Request *request)
{
    request->sequence = ++model_of(op.client)->sequence;
    return ask(&peers[op.client], request);
}

static void do_allocate(void)
{
    const char *reason = reason_given(op.reason);
    const Kmem__Response *response =
        ask_change(request_allocate(NEW_REQUEST, op.num_bytes, reason, strlen(reason)));
    if (response->body_case == KMEM__RESPONSE__BODY_ALLOCATED) {
        model_add(response->allocated->offset);
    } else {
        EXPECT(response->error->code == KMEM__ERROR_CODE__ERROR_NO_MEMORY);
    }
}

static void do_release(void)
{
    const struct model_block block = model.blocks[op.block];
    const Kmem__Response *response = ask_change(request_release(NEW_REQUEST, block.offset));
    EXPECT(response->body_case == KMEM__RESPONSE__BODY_RELEASED);
    EXPECT(response->released->num_bytes == block.num_bytes ||
           (response->released->num_bytes == 0 && !is_told));
    model_block_remove(&model, &model.blocks[op.block]);
}

static void do_lease(void)
{
    const uint64_t leased_before = peers[op.client].client->leased_pages;
    const Kmem__Response *response =
        ask_change(request_lease(NEW_REQUEST, op.n_pages, op.n_pages + 2));
    if (response->body_case == KMEM__RESPONSE__BODY_LEASED) {
        const struct client *client = peers[op.client].client;
        const uint32_t n_pages = response->leased->n_pages;
        EXPECT(n_pages >= op.n_pages);
        EXPECT(lease_count_free(client->states, response->leased->page, n_pages) == n_pages);
        EXPECT(client->leased_pages <= leased_before + n_pages);
    } else {
        EXPECT(response->error->code == KMEM__ERROR_CODE__ERROR_NO_MEMORY ||
               (response->error->code == KMEM__ERROR_CODE__ERROR_BUSY &&
                model_of(op.client)->idle != 0));
    }
}

/* As the daemon does for a client that is over its quota. */
static void do_return(void)
{
    (void)leases_return(&core.leases, peers[op.client].client, op.n_pages, N_PAGES);
}

static uint64_t page_bits(uint32_t page, uint32_t n_pages)
{
    return ((UINT64_C(1) << n_pages) - 1) << page;
}

/* The client uses some of what it has leased, or gives some up. */
static void do_take(void)
{
    _Atomic uint64_t *own = peers[op.client].client->states;
    struct model_client *const taker = model_of(op.client);
    uint32_t page;
    bool zero;
    if (!op.gives) {
        const bool is_found = lease_find(own, 0, N_PAGES, op.n_pages, &page);
        EXPECT(!is_found || lease_take(own, page, op.n_pages, &zero));
        taker->used |= is_found ? page_bits(page, op.n_pages) : 0;
    } else if ((taker->used & ~taker->idle) != 0) {
        page = (uint32_t)__builtin_ctzll(taker->used & ~taker->idle);
        lease_give(own, page, 1);
        taker->used &= ~page_bits(page, 1);
    }
}

/* The client closes its first slab, and finds out whether it still has it. */
static void slab_close(_Atomic uint64_t *own, struct model_client *owner)
{
    const uint32_t page = (uint32_t)__builtin_ctzll(owner->slabs);
    const uint32_t span_pages = 1 + (owner->slabs_of_two >> page & 1);
    (void)lease_close_slab(own, page, span_pages);
    EXPECT(!lease_has_stale(own, page, span_pages));
    owner->slabs &= ~page_bits(page, 1);
    owner->slabs_of_two &= ~page_bits(page, 1);
    owner->idle &= ~page_bits(page, span_pages);
    owner->used &= ~page_bits(page, span_pages);
}

/* The client makes a slab, or gives one up. */
static void do_slab(void)
{
    struct model_client *const owner = model_of(op.client);
    _Atomic uint64_t *own = peers[op.client].client->states;
    const uint32_t span_pages = 1 + op.n_pages % 2;
    uint32_t page;
    bool zero;
    if (op.gives && owner->slabs != 0) {
        slab_close(own, owner);
    } else if (!op.gives && lease_find(own, 0, N_PAGES, span_pages, &page)) {
        EXPECT(lease_take(own, page, span_pages, &zero));
        lease_open_slab(own, page, span_pages);
        owner->used |= page_bits(page, span_pages);
        owner->idle |= page_bits(page, span_pages);
        owner->slabs |= page_bits(page, 1);
        owner->slabs_of_two |= span_pages == 2 ? page_bits(page, 1) : 0;
    }
}

/* ------------------------------------------------------------------------ coming and going ---- */

static void model_end(uint32_t client)
{
    struct model_client *const ended = model_of(client);
    for (uint32_t i = model.n_blocks; i-- > 0;) {
        if (model.blocks[i].pid == ended->pid) {
            model_block_remove(&model, &model.blocks[i]);
        }
    }
    model_client_remove(&model, ended);
}

/* Its connection is lost, and it comes over another. */
static void do_resume(void)
{
    peer_fini(&core, &peers[op.client]);
    EXPECT(come_back(op.client));
}

static void do_rejoin(void)
{
    peer_fini(&core, &peers[op.client]);
    model_end(op.client);
    join(op.client);
}

/* One that was killed with the server in the middle may hear that it is gone: that will do. */
static void do_goodbye(void)
{
    if (peers[op.client].role == PEER_MEMBER) {
        say_goodbye(op.client);
    }
    peers[op.client] = (struct peer){.role = PEER_UNKNOWN};
    model_end(op.client);
}

static void do_end(void)
{
    const struct client_identity identity = identity_of(op.client);
    struct client *client = clients_find(&core.clients, &identity);
    if (client && client->client_state == CLIENT_LIVE) {
        core_end(&core, client, false, NOW_MS);
    }
    world_reap();
    peers[op.client] = (struct peer){.role = PEER_UNKNOWN};
    model_end(op.client);
}

/* ----------------------------------------------------------------------------- all of them ---- */

/* The core may be another one than that of which the model was remembered. */
static void model_restore(void)
{
    model = model_before;
    for (uint32_t i = 0; i < N_CLIENTS; i++) {
        struct model_client *const client = model_of(i);
        if (client) {
            client->client = peers[i].client;
        }
    }
}

/* As a request for it is answered, in sizes that are less than a segment has at least. */
static void do_resize(void)
{
    const struct now now = {.ms = NOW_MS, .us = NOW_MS * UINT64_C(1000)};
    struct resize_request request = {.n_ended = 0};
    int r;
    n_asked[KMEM__REQUEST__BODY_RESIZE]++;
    world_reap();
    do {
        r = resize_step(&core, &request, op.n_pages, now);
    } while (r == RESIZE_E_WAIT);
    EXPECT(r == RESIZE_OK || r == RESIZE_E_HELD);
    EXPECT(r == RESIZE_OK || op.n_pages < model.n_pages);
    model.n_pages = r == RESIZE_OK ? op.n_pages : model.n_pages;
}

void op_perform(void)
{
    model_restore();
    answer = (struct answer){.body_case = KMEM__RESPONSE__BODY__NOT_SET};
    switch (op.kind) {
    case OP_ALLOCATE:
    case OP_ALLOCATE_LARGE:
        do_allocate();
        break;
    case OP_RELEASE:
        do_release();
        break;
    case OP_LEASE:
        do_lease();
        break;
    case OP_RETURN:
        do_return();
        break;
    case OP_TAKE:
        do_take();
        break;
    case OP_SLAB:
        do_slab();
        break;
    case OP_JOIN:
        join(op.client);
        break;
    case OP_RESUME:
        do_resume();
        break;
    case OP_REJOIN:
        do_rejoin();
        break;
    case OP_GOODBYE:
        do_goodbye();
        break;
    case OP_END:
        do_end();
        break;
    case OP_RESIZE:
        do_resize();
        break;
    case OP_KINDS:
    default:
        EXPECT(false);
    }
}

bool op_ends(void)
{
    return op.kind == OP_END || op.kind == OP_GOODBYE || op.kind == OP_REJOIN;
}

bool op_is_silent(void)
{
    return op.kind == OP_TAKE || op.kind == OP_SLAB;
}

static bool op_choose_client(bool joined)
{
    const uint32_t first = seeded_below(&seeded, N_CLIENTS);
    for (uint32_t i = 0; i < N_CLIENTS; i++) {
        op.client = (first + i) % N_CLIENTS;
        if ((model_of(op.client) != NULL) == joined) {
            return true;
        }
    }
    return false;
}

bool op_choose(enum op_kind kind)
{
    op = (struct op){.kind = kind, .gives = seeded_below(&seeded, 4) == 0};
    op.num_bytes = kind == OP_ALLOCATE ? seeded_log(&seeded, 13)
                                       : seeded_below(&seeded, 12 * (uint32_t)PAGE_BYTES) + 32769;
    op.reason = seeded_below(&seeded, N_REASONS);
    op.n_pages = 1 + seeded_below(&seeded, kind == OP_TAKE || kind == OP_SLAB ? 3 : 8);
    if (kind == OP_RESIZE) {
        op.n_pages = N_PAGES / 2 + seeded_below(&seeded, N_PAGES / 2 + 1);
        return true;
    }
    if (kind == OP_RELEASE) {
        if (model.n_blocks == 0) {
            return false;
        }
        op.block = seeded_below(&seeded, model.n_blocks);
        op.client = model.blocks[op.block].pid - identity_of(0).pid;
        return true;
    }
    return op_choose_client(kind != OP_JOIN) &&
           (kind != OP_ALLOCATE || model.n_blocks + 1 < MODEL_BLOCKS_MAX);
}

/* SPDX-License-Identifier: MIT */
/*
 * every_store.c - the daemon is killed before each of its stores
 *
 * Every store that outlives the daemon passes store_hook() (proto/store.h), which in this program
 * can stop whatever is under way. From a random state, an operation is done once as it should be;
 * then, for every k, again from the same state, and stopped before its k-th store. What is in
 * memory is thrown away, a new core is made of what is in the files, and must pass core_check().
 * The client comes back and asks again with the same serial; now everything must be exactly as if
 * nothing had happened. And all of that again for every j, with the recovery itself stopped before
 * its j-th store.
 *
 * Usage: crash_every_store [STATES [SEED]]. Prints the seed.
 */
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "tests/crash/world.h"

static void model_add(uint32_t client, uint64_t offset, uint64_t num_bytes)
{
    EXPECT(model.n_blocks < BLOCKS_MAX);
    model.blocks[model.n_blocks++] = (struct block){offset, num_bytes, client};
}

static void do_allocate(void)
{
    Kmem__Allocate body = KMEM__ALLOCATE__INIT;
    Kmem__Request request = KMEM__REQUEST__INIT;
    char reason[16];
    const int n =
        snprintf(reason, sizeof(reason), "reason %llu", (unsigned long long)(op.num_bytes % 20));
    body.num_bytes = op.num_bytes;
    body.reason = (ProtobufCBinaryData){(size_t)n, (uint8_t *)reason};
    request.body_case = KMEM__REQUEST__BODY_ALLOCATE;
    request.allocate = &body;
    request.serial = model_before.serial[op.client] + 1;
    const Kmem__Response *response = ask(op.client, &request);
    model.serial[op.client]++;
    if (response->body_case == KMEM__RESPONSE__BODY_ALLOCATED) {
        model_add(op.client, response->allocated->offset, op.num_bytes);
    } else {
        EXPECT(response->error->code == KMEM__ERROR_CODE__ERROR_NO_MEMORY);
    }
}

static void do_release(void)
{
    const struct block block = model_before.blocks[op.block];
    Kmem__Release body = KMEM__RELEASE__INIT;
    Kmem__Request request = KMEM__REQUEST__INIT;
    body.offset = block.offset;
    request.body_case = KMEM__REQUEST__BODY_RELEASE;
    request.release = &body;
    request.serial = model_before.serial[op.client] + 1;
    const Kmem__Response *response = ask(op.client, &request);
    EXPECT(response->body_case == KMEM__RESPONSE__BODY_RELEASED);
    model.serial[op.client]++;
    model.blocks[op.block] = model.blocks[--model.n_blocks];
}

static void do_lease(void)
{
    Kmem__Lease body = KMEM__LEASE__INIT;
    Kmem__Request request = KMEM__REQUEST__INIT;
    body.n_pages = op.n_pages;
    body.want_pages = op.n_pages + 2;
    request.body_case = KMEM__REQUEST__BODY_LEASE;
    request.lease = &body;
    request.serial = model_before.serial[op.client] + 1;
    const Kmem__Response *response = ask(op.client, &request);
    model.serial[op.client]++;
    if (response->body_case == KMEM__RESPONSE__BODY_LEASED) {
        const uint32_t page = response->leased->page;
        const uint32_t n_pages = response->leased->n_pages;
        EXPECT(n_pages >= op.n_pages);
        EXPECT(lease_count_free(peers[op.client].client->states, page, n_pages) == n_pages);
        EXPECT(peers[op.client].client->leased_pages <= leased_before[op.client] + n_pages);
    } else {
        EXPECT(response->error->code == KMEM__ERROR_CODE__ERROR_NO_MEMORY);
    }
}

static void do_return(void)
{
    Kmem__Return body = KMEM__RETURN__INIT;
    Kmem__Request request = KMEM__REQUEST__INIT;
    body.page = op.n_pages;
    body.n_pages = N_PAGES;
    request.body_case = KMEM__REQUEST__BODY_RETURN_PAGES;
    request.return_pages = &body;
    EXPECT(ask(op.client, &request)->body_case == KMEM__RESPONSE__BODY_RETURNED);
}

/* The client uses some of what it has leased, or gives it up. */
static void do_take(void)
{
    _Atomic uint64_t *own = peers[op.client].client->states;
    uint32_t page;
    bool zero;
    if (lease_find(own, 0, N_PAGES, 1, &page) && lease_take(own, page, 1, &zero)) {
        return;
    }
    for (page = 1; page < N_PAGES; page++) {
        if (lease_state_of(own, page) == LEASE_USED) {
            lease_give(own, page, 1);
            return;
        }
    }
}

static void do_end(void)
{
    const struct client_identity identity = identity_of(op.client);
    struct client *client = clients_find(&core.clients, &identity);
    if (client && client->client_state == CLIENT_LIVE) {
        core_end(&core, client, op.left, NOW_MS);
    }
    reap();
    peers[op.client] = (struct peer){.role = PEER_UNKNOWN};
    model.is_joined[op.client] = false;
    for (uint32_t i = model.n_blocks; i-- > 0;) {
        if (model.blocks[i].client == op.client) {
            model.blocks[i] = model.blocks[--model.n_blocks];
        }
    }
}

static void do_join(void)
{
    join(op.client);
    model.is_joined[op.client] = true;
    model.serial[op.client] = 0;
}

/* Does the operation; the model follows. Asked again, it must come to the same. */
static void perform(void)
{
    model = model_before;
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
    case OP_JOIN:
        do_join();
        break;
    case OP_END:
        do_end();
        break;
    case OP_KINDS:
    default:
        EXPECT(false);
    }
}

/* ---------------------------------------------------------------------------------- checks ---- */

/* Every block of the model is there, as it should be, and no other is. */
static void check_blocks(void)
{
    uint64_t num_bytes = 0;
    for (uint32_t i = 0; i < model.n_blocks; i++) {
        const struct block *block = &model.blocks[i];
        struct direct_block found;
        EXPECT(direct_find(&core.direct, peers[block->client].client,
                           (struct seg_off){block->offset}, &found) == 0);
        EXPECT(found.num_bytes == block->num_bytes);
        num_bytes += block->num_bytes;
    }
    EXPECT(core.direct.n_blocks == model.n_blocks);
    EXPECT(core.direct.used_bytes == num_bytes);
}

/* What a client uses is leased to it, and to nobody else. */
static void check_leases(void)
{
    for (uint32_t i = 0; i < N_CLIENTS; i++) {
        const struct client *client = model.is_joined[i] ? peers[i].client : NULL;
        for (uint32_t page = 1; client && page < N_PAGES; page++) {
            const uint64_t word = pages_word(&core.pages, pages_run_of(&core.pages, page));
            const bool is_mine =
                PAGE_WORD_STATE(word) == PAGE_LEASED && PAGE_WORD_OWNER(word) == client->slot;
            const uint32_t lease_state = lease_state_of(client->states, page) & LEASE_STATE_MASK;
            EXPECT(is_mine || (lease_state != LEASE_USED && lease_state != LEASE_FREE));
            EXPECT(!is_mine || lease_state == LEASE_USED || lease_state == LEASE_FREE);
        }
    }
}

/* Whoever ended has one obituary, however often it was begun; who was killed with the server while
   it joined may have one, too. */
static void check_obituaries(void)
{
    const uint64_t n_new = core.obituaries.n_written - obituaries_before;
    EXPECT(op.kind == OP_JOIN ? n_new <= 1 : n_new == (op.kind == OP_END));
}

static bool is_given(uint32_t page)
{
    return core.state.given[page / 64] >> page % 64 & 1;
}

/*
 * At every moment: a page that somebody may have written to is not taken for zero. Nothing is
 * cleared here, so a page that was given once stays so.
 */
static void check_given(void)
{
    for (uint32_t page = 0; page < N_PAGES; page++) {
        const bool was_given = before.given[page / 64] >> page % 64 & 1;
        EXPECT(is_given(page) || !was_given);
        for (uint32_t slot = 0; slot < SLOTS_SAVED; slot++) {
            EXPECT(is_given(page) || !has_ledger[slot] ||
                   (lease_state_of(states[slot], page) & LEASE_STATE_MASK) == LEASE_NONE);
        }
    }
    uint32_t end;
    for (uint32_t page = 0; page < N_PAGES; page = end) {
        const uint64_t word = core.state.page_words[page];
        end = page + PAGE_WORD_PAGES(word);
        for (uint32_t i = page; i < end && PAGE_WORD_STATE(word) == PAGE_DIRECT; i++) {
            EXPECT(is_given(i));
        }
    }
}

static void check(void)
{
    EXPECT(core_check(&core) == 0);
    check_given();
    check_blocks();
    check_leases();
    check_obituaries();
    EXPECT(core.clients.n_ended == 0);
}

/* ------------------------------------------------------------------------------ operations ---- */

static bool op_choose_client(bool joined)
{
    const uint32_t first = seeded_below(&seeded, N_CLIENTS);
    for (uint32_t i = 0; i < N_CLIENTS; i++) {
        op.client = (first + i) % N_CLIENTS;
        if (model.is_joined[op.client] == joined) {
            return true;
        }
    }
    return false;
}

/* Fills in an operation of a kind. Return: false if there is nothing that it could be done to. */
static bool op_choose(enum op_kind kind)
{
    op = (struct op){.kind = kind, .left = seeded_below(&seeded, 2) == 0};
    op.num_bytes = kind == OP_ALLOCATE ? seeded_log(&seeded, 13)
                                       : seeded_below(&seeded, 12 * (uint32_t)PAGE_BYTES) + 32769;
    op.n_pages = 1 + seeded_below(&seeded, 8);
    if (kind == OP_RELEASE) {
        if (model.n_blocks == 0) {
            return false;
        }
        op.block = seeded_below(&seeded, model.n_blocks);
        op.client = model.blocks[op.block].client;
        return true;
    }
    return op_choose_client(kind != OP_JOIN) &&
           (kind != OP_ALLOCATE || model.n_blocks + 1 < BLOCKS_MAX);
}

/* What is so before an operation. */
static void remember(void)
{
    model_before = model;
    obituaries_before = core.obituaries.n_written;
    for (uint32_t i = 0; i < N_CLIENTS; i++) {
        leased_before[i] = model.is_joined[i] ? peers[i].client->leased_pages : 0;
    }
}

static void do_random_steps(uint32_t n_steps)
{
    static const enum op_kind kinds[] = {
        OP_ALLOCATE, OP_ALLOCATE, OP_ALLOCATE, OP_ALLOCATE_LARGE, OP_RELEASE, OP_RELEASE, OP_LEASE,
        OP_LEASE,    OP_RETURN,   OP_TAKE,     OP_TAKE,           OP_JOIN,    OP_JOIN,    OP_END};
    for (uint32_t i = 0; i < n_steps; i++) {
        const uint32_t which = seeded_below(&seeded, sizeof(kinds) / sizeof(kinds[0]));
        remember();
        if (op_choose(kinds[which])) {
            perform();
        }
    }
}

/* --------------------------------------------------------------------------------- crashes ---- */

/* From the image of before, with the core that follows from it and everybody connected. */
static void start_again(void)
{
    phase = "starting";
    image_load(&before);
    core_make();
    come_back(false);
}

/* The client asks again, and everything must be as if nothing had happened. */
static void finish(void)
{
    phase = "asking again";
    reap();
    come_back(true);
    perform();
    check();
}

/* Recovers, stopped before the j-th store. Return: false if there was none. */
static bool recovery_is_stopped(uint64_t j)
{
    phase = "recovering";
    image_load(&after_crash);
    n_stores = 0;
    kill_at = j;
    if (setjmp(killed) == 0) {
        core_make();
        kill_at = NEVER;
        return false;
    }
    n_crashes++;
    check_given();
    core_abandon(&core);
    core_make();
    return true;
}

/* Performs the operation, killed before the k-th store. Return: false if that was the end of it. */
static bool operation_is_stopped(uint64_t k)
{
    phase = "working";
    n_stores = 0;
    kill_at = k;
    const bool stopped = setjmp(killed) != 0;
    if (!stopped) {
        perform();
        kill_at = NEVER; /* killed before the answer is sent */
    }
    n_crashes++;
    check_given();
    image_save(&after_crash);
    core_abandon(&core);
    return stopped;
}

static void crash_recovery(void)
{
    bool stopped = true;
    for (at_j = 0; stopped; at_j++) {
        stopped = recovery_is_stopped(at_j);
        finish();
        core_abandon(&core);
    }
}

static void crash_everywhere(void)
{
    image_save(&before);
    remember();
    bool stopped = true;
    for (at_k = 0; stopped; at_k++) {
        stopped = operation_is_stopped(at_k);
        crash_recovery();
        start_again();
    }
    phase = "working";
    perform();
    reap();
    check();
}

static void world_begin(void)
{
    static const struct image empty;
    static bool begun;
    if (begun) {
        core_abandon(&core);
        memset(core.state.ledger.header, 0, layout.reasons_at);
        memset(core.state.header, 0, sizeof(struct state_header));
        memset((void *)core.state.page_words, 0, sizeof(empty.page_words));
        memset((void *)core.state.given, 0, sizeof(empty.given));
        memset(core.state.clients, 0, sizeof(empty.clients));
    }
    begun = true;
    memset(has_ledger, 0, sizeof(has_ledger));
    memset(&model, 0, sizeof(model));
    memset(peers, 0, sizeof(peers));
    EXPECT(core_init(&core, &config, state_base, 0) == 0);
    model_before = model;
    op = (struct op){.kind = OP_JOIN, .client = 0};
    perform();
}

static void world_open(void)
{
    config = (struct core_config){
        .segment_name = "crash",
        .n_pages = N_PAGES,
        .clients_limit = SLOTS_SAVED,
        .instance = 1,
        .told_read = told_nothing,
    };
    ledger_layout_init(&layout, N_PAGES);
    state_base = mmap(NULL, state_bytes(N_PAGES), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    before.ledger = malloc(layout.reasons_at);
    after_crash.ledger = malloc(layout.reasons_at);
    reply = reply_new();
    EXPECT(state_base != MAP_FAILED);
    EXPECT(before.ledger != NULL && after_crash.ledger != NULL && reply != NULL);
}

static void world_close(void)
{
    core_abandon(&core);
    reply = reply_free(reply);
    free(before.ledger);
    free(after_crash.ledger);
    (void)munmap(state_base, state_bytes(N_PAGES)); /* the process ends */
}

int main(int argc, char **argv)
{
    const uint64_t n_states = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000;
    const uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 20261123;
    uint64_t n_of_kind[OP_KINDS] = {0};
    printf("%llu states, seed %llu\n", (unsigned long long)n_states, (unsigned long long)seed);
    seeded = (struct seeded){.state = seed};
    /* A core takes some MiB that it hardly touches, and here one is made every 200 us. */
    (void)mallopt(M_MMAP_THRESHOLD, 1 << 30); /* slower if it is refused */
    (void)mallopt(M_TRIM_THRESHOLD, 1 << 30); /* likewise */
    world_open();
    for (n_state = 0; n_state < n_states; n_state++) {
        world_begin();
        do_random_steps(seeded_below(&seeded, 80));
        for (uint32_t i = 0; i < OP_KINDS; i++) {
            const enum op_kind kind = (enum op_kind)i;
            if (op_choose(kind)) {
                crash_everywhere();
                n_of_kind[i]++;
            }
        }
    }
    world_close();
    printf("%llu times stopped:", (unsigned long long)n_crashes);
    for (uint32_t i = 0; i < OP_KINDS; i++) {
        printf(" %llu", (unsigned long long)n_of_kind[i]);
        if (n_states >= 100 && n_of_kind[i] == 0) {
            (void)fprintf(stderr, "operation %u was never done\n", i);
            return 1;
        }
    }
    printf("\n");
    return 0;
}

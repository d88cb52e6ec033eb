/* SPDX-License-Identifier: MIT */
#include "tests/fuzz/parley.h"

#include <string.h>

#include "daemon/core/counted.h"
#include "daemon/core/no_room.h"
#include "daemon/core/reap.h"
#include "daemon/core/sampler.h"
#include "daemon/core/shortage.h"
#include "proto/frame.h"
#include "proto/lease.h"

/*
 * 8 MiB: what the core may take of the heap beside what it had at the beginning. Its tables are
 * there by then; complete looks are the most of the rest, SCANS_KEPT of them.
 */
#define GROWTH_MAX_BYTES ((size_t)8 << 20)
/* 200: steps of an answer that no block more can make longer. */
#define STEPS_MAX 200

static struct core *core_of(struct parley *parley)
{
    return parley->conversation.core;
}

/* --------------------------------------------------------------------------- what is known --- */

static void note(struct parley *parley, uint64_t number)
{
    if (number > 1) {
        parley->known[parley->n_known++ % PARLEY_KNOWN] = number;
    }
}

static void note_handle(struct parley *parley, const Kmem__Handle *handle)
{
    parley->handles[parley->n_handles++ % PARLEY_KNOWN] = *handle;
    note(parley, handle->offset);
}

static void note_answer(struct parley *parley)
{
    const Kmem__Response *said = &parley->conversation.reply->response;
    switch ((int)said->body_case) {
    case KMEM__RESPONSE__BODY_WELCOME:
        note(parley, said->welcome->resume_nonce);
        break;
    case KMEM__RESPONSE__BODY_ALLOCATED:
        note(parley, said->allocated->offset);
        break;
    case KMEM__RESPONSE__BODY_LEASED:
        note(parley, (uint64_t)said->leased->page << PAGE_SHIFT);
        break;
    case KMEM__RESPONSE__BODY_SHARED:
        note_handle(parley, said->shared->handle);
        break;
    case KMEM__RESPONSE__BODY_PUBLISHED:
        note(parley, said->published->version);
        break;
    case KMEM__RESPONSE__BODY_NEXTED:
        note(parley, said->nexted->version);
        break;
    case KMEM__RESPONSE__BODY_BLOCKS:
        note(parley, said->blocks->next_offset);
        break;
    default:
        break;
    }
}

/* ------------------------------------------------------------------------------ connections --- */

static void close_peer(struct parley *parley, struct parley_peer *at)
{
    if (at->is_open) {
        peer_close(&parley->conversation, &at->peer);
        at->is_open = false;
    }
}

/* A Hello may have ended clients: their connections end, but for those that take their leave. */
static void close_ended(struct parley *parley)
{
    for (uint32_t i = 0; i < PARLEY_PEERS; i++) {
        struct parley_peer *at = &parley->peers[i];
        const struct client *client = at->is_open ? at->peer.client : NULL;
        if (client && client->client_state == CLIENT_ENDED && at->peer.role != PEER_LEAVING) {
            close_peer(parley, at);
        }
    }
}

static void joined(struct parley *parley, struct parley_peer *at)
{
    struct client *client = at->peer.client;
    for (uint32_t i = 0; i < PARLEY_PEERS; i++) {
        struct parley_peer *other = &parley->peers[i];
        if (other != at && other->is_open && other->peer.client == client) {
            other->peer.client = NULL; /* replaced */
            close_peer(parley, other);
        }
    }
    (void)fixture_ledger(&parley->conversation.fixture, client);
}

void parley_connect(struct parley *parley, uint32_t peer, uint32_t pid)
{
    struct parley_peer *at = &parley->peers[peer % PARLEY_PEERS];
    close_peer(parley, at);
    struct client_identity identity = fixture_identity(1 + pid % PARLEY_PIDS);
    identity.program = 1 + pid / PARLEY_PIDS % 2;
    identity.copy = 1;
    parley->last_nonce++;
    peer_init(&at->peer, &identity, FIXTURE_NONCE(parley->last_nonce));
    at->peer.may_be = pid < 128 ? ROLES_ALL : pid & ROLES_ALL;
    at->is_open = true;
    at->outcome = DISPATCH_OK;
}

static void said(struct parley *parley, struct parley_peer *at, int outcome)
{
    at->outcome = outcome;
    if (outcome == DISPATCH_JOINED) {
        joined(parley, at);
    }
    if (outcome != DISPATCH_PENDING && outcome != DISPATCH_WAITING) {
        note_answer(parley);
    }
    close_ended(parley);
    if (outcome == DISPATCH_CLOSE) {
        close_peer(parley, at);
    }
}

/* --------------------------------------------------------------------------------- requests --- */

static bool is_pending(const struct parley_peer *at)
{
    return at->is_open && at->peer.next_step != NULL;
}

void parley_go_on(struct parley *parley, uint32_t peer, uint32_t n_steps)
{
    struct parley_peer *at = &parley->peers[peer % PARLEY_PEERS];
    for (uint32_t i = 0; i < n_steps && is_pending(at); i++) {
        if (core_has_dead(core_of(parley))) { /* which the answer may wait for */
            fixture_reap(&parley->conversation.fixture, 64);
        }
        /* A wait that is on its list still: its time is up. */
        waits_remove(&core_of(parley)->waits, &at->peer.wait);
        said(parley, at, ask_continue(&parley->conversation, &at->peer));
    }
}

static bool ask(struct parley *parley, struct parley_peer *at, Kmem__Request *request)
{
    if (!at->is_open || is_pending(at)) {
        return false;
    }
    const int outcome = request ? ask_request(&parley->conversation, &at->peer, request)
                                : ask_nonsense(&parley->conversation, &at->peer);
    said(parley, at, outcome);
    return true;
}

bool parley_query(struct parley *parley, uint32_t peer, Kmem__Request *request)
{
    struct parley_peer *at = &parley->peers[peer % PARLEY_PEERS];
    const bool is_asked = ask(parley, at, request);
    for (uint32_t n = 0; is_pending(at) && at->outcome == DISPATCH_PENDING; n++) {
        EXPECT(n < STEPS_MAX);
        parley_go_on(parley, peer, 1);
    }
    return is_asked && !is_pending(at);
}

void parley_join(struct parley *parley, uint32_t peer, uint32_t pid, Kmem__Role role)
{
    parley_connect(parley, peer, pid);
    (void)ask(parley, &parley->peers[peer % PARLEY_PEERS], request_hello(NEW_REQUEST, role, 0));
}

void parley_say(struct parley *parley, uint32_t peer, const uint8_t *payload, size_t n_bytes)
{
    static _Alignas(16) unsigned char memory[REQUEST_ARENA_BYTES];
    struct arena arena;
    arena_init(&arena, memory, sizeof(memory));
    (void)ask(parley, &parley->peers[peer % PARLEY_PEERS],
              (Kmem__Request *)frame_decode(&arena, &kmem__request__descriptor, payload, n_bytes));
}

/* ---------------------------------------------------------------------- a request by choice --- */

/* What the fields of one request point to. */
struct made {
    struct parley *parley;
    struct choices *choices;
    Kmem__Handle handles[4];
    Kmem__Handle *handle_list[4];
    uint64_t numbers[8];
    char texts[4][128];
    uint32_t n_texts;
    _Alignas(16) unsigned char inner[256]; /* a message in the body */
};

static void choose_fields(struct made *made, ProtobufCMessage *body);

static uint64_t choose_known(struct made *made)
{
    const uint8_t which = choose_byte(made->choices);
    if (which >= 128) {
        return choose_number(made->choices);
    }
    const uint64_t known = made->parley->known[which % PARLEY_KNOWN];
    return which < 64 ? known : known + choose_number(made->choices);
}

static Kmem__Handle choose_handle(struct made *made)
{
    const uint8_t which = choose_byte(made->choices);
    Kmem__Handle handle = made->parley->handles[which % PARLEY_KNOWN];
    handle.base = (ProtobufCMessage){.descriptor = &kmem__handle__descriptor};
    if (which >= 192) { /* one that was tampered with */
        uint64_t *const parts[] = {&handle.instance, &handle.generation, &handle.tag,
                                   &handle.offset, &handle.num_bytes};
        *parts[which % 5] += choose_number(made->choices);
    }
    return handle;
}

static ProtobufCBinaryData choose_text(struct made *made)
{
    static const char *const usual[] = {"", "video", "video/a", "**", "a*?\\", "\xff", "x\n"};
    const size_t n_usual = sizeof(usual) / sizeof(usual[0]);
    const uint8_t which = choose_byte(made->choices);
    if (which < 224 || made->n_texts == 4) {
        const char *text = usual[which % n_usual];
        return (ProtobufCBinaryData){strlen(text), (uint8_t *)(uintptr_t)text};
    }
    char *text = made->texts[made->n_texts++];
    const size_t n_bytes = choose_bytes(made->choices, text, sizeof(made->texts[0]));
    return (ProtobufCBinaryData){n_bytes, (uint8_t *)text};
}

static void choose_list(struct made *made, const ProtobufCFieldDescriptor *field, void *member,
                        size_t *ret_n)
{
    if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
        *ret_n = choose_below(made->choices, 5);
        for (size_t i = 0; i < *ret_n; i++) {
            made->handles[i] = choose_handle(made);
            made->handle_list[i] = &made->handles[i];
        }
        *(Kmem__Handle ***)member = made->handle_list;
        return;
    }
    EXPECT(field->type == PROTOBUF_C_TYPE_UINT64);
    *ret_n = choose_below(made->choices, 9);
    for (size_t i = 0; i < *ret_n; i++) {
        made->numbers[i] = choose_known(made);
    }
    *(uint64_t **)member = made->numbers;
}

static void choose_field(struct made *made, const ProtobufCFieldDescriptor *field, void *member)
{
    switch ((int)field->type) {
    case PROTOBUF_C_TYPE_BOOL:
        *(protobuf_c_boolean *)member = 1; /* it is chosen; 0 is that it is not */
        break;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_ENUM:
        *(uint32_t *)member = (uint32_t)choose_number(made->choices);
        break;
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        *(uint64_t *)member = choose_known(made);
        break;
    case PROTOBUF_C_TYPE_BYTES:
        *(ProtobufCBinaryData *)member = choose_text(made);
        break;
    case PROTOBUF_C_TYPE_MESSAGE: {
        const ProtobufCMessageDescriptor *kind = field->descriptor;
        ProtobufCMessage *const inner = (void *)made->inner;
        EXPECT(kind->sizeof_message <= sizeof(made->inner));
        protobuf_c_message_init(kind, inner);
        choose_fields(made, inner);
        *(ProtobufCMessage **)member = inner;
        break;
    }
    default:
        fuzz_fail(__FILE__, __LINE__, "a field of a kind that requests have");
    }
}

/* A byte says which of eight fields have a value. */
static void choose_fields(struct made *made, ProtobufCMessage *body)
{
    unsigned char *const bytes = (unsigned char *)body;
    uint8_t chosen = 0;
    for (unsigned i = 0; i < body->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &body->descriptor->fields[i];
        chosen = i % 8 == 0 ? choose_byte(made->choices) : chosen;
        if ((chosen >> i % 8 & 1) == 0) {
            continue;
        }
        void *const member = bytes + field->offset;
        if (field->label == PROTOBUF_C_LABEL_REPEATED) {
            choose_list(made, field, member, (size_t *)(void *)(bytes + field->quantifier_offset));
        } else {
            choose_field(made, field, member);
        }
    }
}

/* Room for the body of any request. */
union body {
    ProtobufCMessage base;
    struct request any;
    unsigned char room[512];
};

void parley_ask(struct parley *parley, uint32_t peer, struct choices *choices)
{
    union body body;
    struct made made = {.parley = parley, .choices = choices};
    Kmem__Request request = KMEM__REQUEST__INIT;
    const ProtobufCMessageDescriptor *const all = &kmem__request__descriptor;
    const ProtobufCFieldDescriptor *field = &all->fields[choose_below(choices, all->n_fields)];
    const uint8_t sequence = choose_byte(choices);
    if (field->type == PROTOBUF_C_TYPE_MESSAGE) { /* the others are the id and the sequence */
        const ProtobufCMessageDescriptor *kind = field->descriptor;
        EXPECT(kind->sizeof_message <= sizeof(body));
        protobuf_c_message_init(kind, &body.base);
        choose_fields(&made, &body.base);
        request.body_case = (Kmem__Request__BodyCase)field->id;
        request.hello = (Kmem__Hello *)(void *)&body;
        if (request.body_case == KMEM__REQUEST__BODY_HELLO && sequence < 128) {
            request.hello->version = PROTOCOL_VERSION;
        }
    }
    parley->conversation.sequence = sequence < 128 ? 0 : sequence - 127;
    (void)ask(parley, &parley->peers[peer % PARLEY_PEERS], &request);
}

/* -------------------------------------------------------------------------- the world around -- */

void parley_die(struct parley *parley, uint32_t pid)
{
    struct core *core = core_of(parley);
    const uint32_t died = 1 + pid % PARLEY_PIDS;
    struct client *client = clients_next(&core->clients, 0);
    for (; client; client = clients_next(&core->clients, client->slot + 1)) {
        if (client->identity.pid == died && client->client_state == CLIENT_LIVE) {
            core_end(core, client, false, parley->conversation.fixture.now_ms);
        }
    }
    for (uint32_t i = 0; i < PARLEY_PEERS; i++) {
        struct parley_peer *at = &parley->peers[i];
        if (at->is_open && at->peer.identity.pid == died && at->peer.role != PEER_LEAVING) {
            close_peer(parley, at);
        }
    }
}

void parley_tick(struct parley *parley, uint64_t for_ms)
{
    struct core *core = core_of(parley);
    struct fixture *fixture = &parley->conversation.fixture;
    fixture->now_ms += for_ms;
    const struct now now = {.ms = fixture->now_ms, .us = fixture->now_ms * 1000};
    shortage_tick(&core->shortage);
    core_tick_changes(core, now.ms);
    history_note_peak(&core->history, counted_note_peaks(&core->clients, core->state.counters));
    sampler_tick(core, now);
    for (uint32_t i = 0; i < 4 && sampler_has_work(core); i++) {
        sampler_work(core, now);
        sampler_worked(core, 10, now);
    }
    if (no_room_has_work(core)) {
        no_room_work(core, now);
    }
    if (core_has_dead(core)) {
        fixture_reap(fixture, 64);
    }
}

void parley_restart(struct parley *parley)
{
    char why[FIXTURE_WHY_BYTES];
    for (uint32_t i = 0; i < PARLEY_PEERS; i++) {
        parley->peers[i] = (struct parley_peer){.is_open = false};
    }
    EXPECT(fixture_restart(&parley->conversation.fixture, why) == 0);
    for (uint32_t i = 0; i < PARLEY_PEERS; i++) {
        parley_connect(parley, i, i);
    }
}

static void carve(struct ledger *ledger, uint32_t page, struct choices *choices)
{
    const uint32_t size_class = choose_below(choices, N_SIZE_CLASSES);
    const uint32_t span = size_classes[size_class].span_pages;
    bool zero;
    if (page + span <= PARLEY_PAGES && lease_take(ledger->states, page, span, &zero)) {
        ledger_slab_open(ledger, page, size_class);
    }
}

static void carve_large(struct ledger *ledger, uint32_t page, struct choices *choices)
{
    const uint32_t n_pages = 1 + choose_below(choices, 4);
    bool zero;
    if (page + n_pages <= PARLEY_PAGES && lease_take(ledger->states, page, n_pages, &zero)) {
        ledger_large_open(ledger, page, n_pages);
    }
}

/* A block of the slab that is open at a page: it will be shared, or is private. */
static void take(struct parley *parley, struct ledger *ledger, uint32_t page, bool is_shared)
{
    const struct ledger_head *head = &ledger->heads[page];
    const uint32_t kind = atomic_load(&head->kind);
    if (kind != HEAD_LARGE && (kind != HEAD_SLAB || ledger_slab_is_full(head))) {
        return;
    }
    if (kind == HEAD_LARGE && head->n_used > 0) {
        return;
    }
    const uint32_t index = ledger_take(ledger, page, 16, REASON_NONE, 0, 0);
    if (is_shared) {
        (void)atomic_fetch_or(&ledger_entries(ledger, page)[index].word, ENTRY_SHARED);
    }
    note(parley, ledger_offset(ledger, page, index).bytes);
}

static void give(struct ledger *ledger, uint32_t page)
{
    struct ledger_block block;
    const struct seg_off at = {(uint64_t)page << PAGE_SHIFT};
    /* The library gives back no block of a slab that has none; a spoilt ledger may say so. */
    if (ledger_find(ledger, at, &block) == 0 && ledger->heads[block.page].n_used > 0 &&
        !entry_is_shared(atomic_load(&block.entry->word))) {
        ledger_give(ledger, &block);
    }
}

void parley_use_lease(struct parley *parley, uint32_t peer, struct choices *choices)
{
    const struct parley_peer *at = &parley->peers[peer % PARLEY_PEERS];
    struct client *client = at->is_open ? at->peer.client : NULL;
    if (!client || client->client_state != CLIENT_LIVE || at->peer.role != PEER_MEMBER) {
        return;
    }
    struct ledger *ledger = fixture_ledger(&parley->conversation.fixture, client);
    const uint32_t page = 1 + choose_below(choices, PARLEY_PAGES - 1);
    const uint32_t what = choose_below(choices, 6);
    if (what == 0) {
        carve(ledger, page, choices);
    } else if (what == 1) {
        carve_large(ledger, page, choices);
    } else if (what == 2) {
        give(ledger, page);
    } else if (what == 3) {
        atomic_store(&ledger->header->is_fenced, choose_byte(choices));
    } else {
        take(parley, ledger, page, what == 4);
    }
}

/* ------------------------------------------------------------------------- beginning and end -- */

static void woken(struct wait *wait, void *user)
{
    (void)wait; /* parley_go_on() goes on with any */
    (void)user;
}

static bool barrier(void)
{
    return true;
}

void parley_begin(struct parley *parley)
{
    *parley = (struct parley){.last_nonce = 100};
    parley->taken_bytes = fuzz_taken_bytes();
    conversation_init(&parley->conversation, PARLEY_PAGES, PARLEY_CLIENTS);
    struct core_config *const configs[] = {&parley->conversation.fixture.config,
                                           &core_of(parley)->config};
    for (size_t i = 0; i < 2; i++) {
        configs[i]->wake = woken;
        configs[i]->barrier = barrier;
        configs[i]->clients_per_uid = 3;
    }
    parley->begun_bytes = fuzz_taken_bytes();
    for (uint32_t i = 0; i < PARLEY_PEERS; i++) {
        parley_connect(parley, i, i);
    }
}

void parley_check(const struct parley *parley)
{
    EXPECT(core_check(parley->conversation.core) == 0);
    EXPECT(fuzz_taken_bytes() <= parley->begun_bytes + GROWTH_MAX_BYTES);
}

void parley_end(struct parley *parley)
{
    parley_check(parley);
    for (uint32_t i = 0; i < PARLEY_PEERS; i++) {
        close_peer(parley, &parley->peers[i]);
    }
    parley_check(parley);
    scans_leave(&core_of(parley)->scans, &core_of(parley)->sampler.reader);
    conversation_fini(&parley->conversation);
    EXPECT(fuzz_taken_bytes() == parley->taken_bytes);
}

/* SPDX-License-Identifier: MIT */
#include "tests/fuzz/image.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "daemon/core/reap.h"
#include "daemon/core/recover.h"
#include "daemon/core/sharing.h"
#include "tests/fuzz/parley.h"

#define N_PAGES PARLEY_PAGES
#define SCENES_MAX 12
#define PIECE_BYTES 4096
/* 8: more changes at once hide one another. */
#define CHANGES_MAX 8
#define SLOTS PARLEY_CLIENTS
/* The steps in which all clients of a core are taken back, at most. */
#define REAPS_MAX 10000

/* 1,024: a scene has some fifty. */
#define PIECES_MAX 1024

struct piece {
    uint64_t at;
    unsigned char bytes[PIECE_BYTES];
};

/* The pieces of a file that are not all zero. */
struct kept {
    uint32_t n_pieces;
    struct piece *pieces;
};

struct scene {
    struct kept state;
    struct kept ledgers[SLOTS];
    bool has_ledger[SLOTS];
};

static struct piece pieces[PIECES_MAX];
static uint32_t n_pieces;
static struct scene scenes[SCENES_MAX];
static uint32_t n_scenes;
static uint64_t now_ms;

static unsigned char *state_file;
static unsigned char *ledger_files[SLOTS];
static struct ledger_layout ledger_layout;
static struct core core;
static struct core_config config;
static const struct scene *played;

/* ------------------------------------------------------------------------------- the story --- */

static struct kept keep(const void *base, uint64_t n_bytes)
{
    static const unsigned char zeros[PIECE_BYTES];
    struct kept kept = {.pieces = &pieces[n_pieces]};
    const unsigned char *bytes = base;
    for (uint64_t at = 0; at < n_bytes; at += PIECE_BYTES) {
        const uint64_t n_left = n_bytes - at;
        const size_t n_piece = n_left < PIECE_BYTES ? (size_t)n_left : PIECE_BYTES;
        if (memcmp(bytes + at, zeros, n_piece) != 0) {
            EXPECT(n_pieces < PIECES_MAX);
            pieces[n_pieces].at = at;
            memcpy(pieces[n_pieces++].bytes, bytes + at, n_piece);
            kept.n_pieces++;
        }
    }
    return kept;
}

static void keep_scene(const struct fixture *fixture)
{
    EXPECT(n_scenes < SCENES_MAX);
    struct scene *scene = &scenes[n_scenes++];
    scene->state = keep(fixture->state_base, fixture->state_bytes);
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        const void *base = fixture->ledgers[slot].header;
        scene->has_ledger[slot] = base != NULL;
        if (base) {
            scene->ledgers[slot] = keep(base, fixture->ledger_layout.total_bytes);
        }
    }
    now_ms = fixture->now_ms;
}

static uint64_t allocate(struct parley *parley, uint32_t peer, uint64_t num_bytes,
                         const char *reason)
{
    (void)parley_query(parley, peer,
                       request_allocate(NEW_REQUEST, num_bytes, reason, strlen(reason)));
    const Kmem__Response *said = &parley->conversation.reply->response;
    return said->body_case == KMEM__RESPONSE__BODY_ALLOCATED ? said->allocated->offset : 0;
}

static Kmem__Handle *share(struct parley *parley, uint32_t peer, uint64_t offset)
{
    static Kmem__Handle handle;
    struct request request;
    (void)request_plain(&request, KMEM__REQUEST__BODY_SHARE);
    request.share.offset = offset;
    EXPECT(parley_query(parley, peer, &request.base));
    const Kmem__Response *said = &parley->conversation.reply->response;
    EXPECT(said->body_case == KMEM__RESPONSE__BODY_SHARED);
    handle = *said->shared->handle;
    return &handle;
}

static void attach(struct parley *parley, uint32_t peer, Kmem__Handle *handle)
{
    struct request request;
    (void)request_plain(&request, KMEM__REQUEST__BODY_ATTACH);
    request.attach.handles = &handle;
    request.attach.n_handles = 1;
    request.attach.write = 1;
    (void)parley_query(parley, peer, &request.base);
    EXPECT(parley->conversation.reply->response.body_case == KMEM__RESPONSE__BODY_ATTACHED);
}

static void publish(struct parley *parley, uint32_t peer, uint64_t offset, const char *name,
                    bool keep_it)
{
    struct request request;
    (void)request_plain(&request, KMEM__REQUEST__BODY_PUBLISH);
    request.publish.offset = offset;
    request.publish.name.data = (uint8_t *)(uintptr_t)name;
    request.publish.name.len = strlen(name);
    request.publish.keep = keep_it;
    (void)parley_query(parley, peer, &request.base);
    EXPECT(parley->conversation.reply->response.body_case == KMEM__RESPONSE__BODY_PUBLISHED);
}

static void transfer(struct parley *parley, uint32_t peer, uint64_t offset, bool keep_it)
{
    struct request request;
    (void)request_plain(&request, KMEM__REQUEST__BODY_TRANSFER);
    request.transfer.offset = offset;
    request.transfer.keep = keep_it;
    (void)parley_query(parley, peer, &request.base);
}

static void tell_of_blocks(struct parley *parley)
{
    for (uint32_t peer = 0; peer < 3; peer++) {
        parley_join(parley, peer, peer, KMEM__ROLE__ROLE_MEMBER);
        parley->conversation.sequence = 1;
        (void)allocate(parley, peer, 100, "video/a");
        parley->conversation.sequence = 2;
        (void)allocate(parley, peer, UINT64_C(3) * PAGE_BYTES - 50, "large");
        parley->conversation.sequence = 0;
        (void)allocate(parley, peer, 1000, "");
    }
    (void)parley_query(parley, 0, request_release(NEW_REQUEST, allocate(parley, 0, 16, "gone")));
    (void)allocate(parley, 1, UINT64_MAX, "too much");
}

static void tell_of_leases(struct parley *parley)
{
    struct fixture *fixture = &parley->conversation.fixture;
    struct client *client = parley->peers[0].peer.client;
    const uint32_t page = fixture_lease(fixture, client, 4);
    fixture_carve(fixture, client, page, 0);
    fixture_carve_large(fixture, client, page + 1, 2, PAGE_BYTES + 1);
    const struct seg_off off = fixture_take(fixture, client, page, 16);
    (void)parley_query(parley, 0, request_size_of(NEW_REQUEST, off.bytes));
    attach(parley, 1, share(parley, 0, off.bytes));
    (void)fixture_lease(fixture, parley->peers[1].peer.client, 2);
}

static void tell_of_shares(struct parley *parley)
{
    for (uint32_t peer = 0; peer < 2; peer++) {
        const uint64_t named = allocate(parley, peer, 5000, "shared/a");
        attach(parley, 2, share(parley, peer, named));
        publish(parley, peer, named, peer ? "kept" : "video", peer == 1);
        const uint64_t offered = allocate(parley, peer, 200, "shared/b");
        (void)share(parley, peer, offered);
        transfer(parley, peer, offered, peer == 1);
    }
}

static void tell_story(struct parley *parley)
{
    struct fixture *fixture = &parley->conversation.fixture;
    keep_scene(fixture);
    tell_of_blocks(parley);
    keep_scene(fixture);
    tell_of_leases(parley);
    keep_scene(fixture);
    tell_of_shares(parley);
    keep_scene(fixture);
    for (uint32_t i = 0; i < 4; i++) {
        parley_tick(parley, 1000);
    }
    keep_scene(fixture);
    parley_die(parley, 1);
    keep_scene(fixture);
    fixture_reap(fixture, 1);
    keep_scene(fixture);
    parley_die(parley, 0);
    while (core_has_dead(parley->conversation.core)) {
        fixture_reap(fixture, 64);
    }
    keep_scene(fixture);
}

/* ------------------------------------------------------------------------------- the files --- */

static void *file_of(uint64_t n_bytes)
{
    void *base = mmap(NULL, n_bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    EXPECT(base != MAP_FAILED);
    return base;
}

static void load(const struct kept *kept, unsigned char *base, uint64_t n_bytes)
{
    EXPECT(madvise(base, n_bytes, MADV_DONTNEED) == 0);
    for (uint32_t i = 0; i < kept->n_pieces; i++) {
        const uint64_t n_left = n_bytes - kept->pieces[i].at;
        memcpy(base + kept->pieces[i].at, kept->pieces[i].bytes,
               n_left < PIECE_BYTES ? (size_t)n_left : PIECE_BYTES);
    }
}

static bool read_ledger(void *user, uint32_t slot, uint64_t at, void *buffer, size_t n_bytes)
{
    (void)user;
    const uint64_t total_bytes = ledger_layout.total_bytes;
    if (slot >= SLOTS || !played->has_ledger[slot] || at > total_bytes ||
        n_bytes > total_bytes - at) {
        return false;
    }
    memcpy(buffer, ledger_files[slot] + at, n_bytes);
    return true;
}

static _Atomic uint64_t *states_of(uint32_t slot, void *user)
{
    (void)user;
    return slot < SLOTS && played->has_ledger[slot]
               ? (void *)(ledger_files[slot] + ledger_layout.states_at)
               : NULL;
}

static uint64_t any_number(void *user)
{
    (void)user;
    return 77;
}

static void images_open(void)
{
    static struct parley parley;
    parley_begin(&parley);
    tell_story(&parley);
    parley_end(&parley);
    ledger_layout_init(&ledger_layout, N_PAGES);
    state_file = file_of(state_bytes(N_PAGES));
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        ledger_files[slot] = file_of(ledger_layout.total_bytes);
    }
    config = (struct core_config){
        .segment_name = "image",
        .n_pages = N_PAGES,
        .clients_limit = PARLEY_CLIENTS,
        .ledger_read = read_ledger,
        .random = any_number,
    };
}

/* ----------------------------------------------------------------------------- the changes --- */

/* Where a record begins, and how many bytes it has. */
struct record {
    unsigned char *at;
    size_t n_bytes;
};

#define RECORD(array, index) ((struct record){(unsigned char *)&(array)[index], sizeof((array)[0])})

static struct record record_of_ledger(struct choices *choices, const struct ledger *ledger)
{
    const uint32_t plane = choose_below(choices, N_PLANES);
    const uint32_t page = choose_below(choices, N_PAGES);
    const uint32_t index = choose_below(choices, 16);
    return RECORD(ledger->planes[plane], ((uint64_t)page << PLANE_SHIFT(plane)) + index);
}

static struct record record_of_files(struct choices *choices)
{
    const uint32_t slot = choose_below(choices, SLOTS);
    const uint64_t part_at = choose_whether(choices) ? ledger_layout.states_at : 0;
    return (struct record){ledger_files[slot] + part_at, 256};
}

/* The first records are used, so most choices are among them. */
static struct record choose_record(struct choices *choices, const struct state *state,
                                   enum image_part part)
{
    if (part == IMAGE_ENTRIES) {
        return record_of_ledger(choices, &state->ledger);
    }
    if (part == IMAGE_LEDGERS) {
        return record_of_files(choices);
    }
    const uint32_t index = choose_byte(choices);
    const uint32_t low = index % 12;
    switch ((int)part) {
    case IMAGE_SHARES:
        return RECORD(state->shares, low);
    case IMAGE_HOLDS:
        return RECORD(state->holds, low);
    case IMAGE_NAMES:
        return RECORD(state->names, low);
    case IMAGE_PAGE_WORDS:
        return RECORD(state->page_words, index % N_PAGES);
    case IMAGE_MAYBE_DIRTY:
        return RECORD(state->maybe_dirty, index % STATE_MAYBE_DIRTY_WORDS(N_PAGES));
    case IMAGE_CLIENTS:
        return RECORD(state->clients, low);
    case IMAGE_REASONS:
        return RECORD(state->reasons, low);
    case IMAGE_OBITUARIES:
        return RECORD(state->obituaries, index % 4);
    case IMAGE_SERIES:
        return RECORD(state->series, index % HISTORY_SERIES);
    case IMAGE_POINTS:
        return index & 1 ? RECORD(state->seconds, index / 2 % HISTORY_SECONDS)
                         : RECORD(state->minutes, index / 2 % HISTORY_MINUTES);
    case IMAGE_REFUSALS:
        return RECORD(state->refusals->kept, index % REFUSALS_PLACES);
    case IMAGE_HEADS:
        return RECORD(state->ledger.heads, index % N_PAGES);
    default: {
        unsigned char *const first = (unsigned char *)&state->header->born_ms;
        return (struct record){first, sizeof(*state->header) -
                                          (size_t)(first - (unsigned char *)state->header)};
    }
    }
}

static uint64_t number_at(const unsigned char *at, size_t width)
{
    uint64_t number = 0;
    memcpy(&number, at, width);
    return number;
}

/* A field becomes any number, or one bit of it another, or what the same field of another has. */
static void change(struct choices *choices, const struct state *state, uint32_t n_parts)
{
    const enum image_part part = (enum image_part)choose_below(choices, n_parts);
    const struct record record = choose_record(choices, state, part);
    const uint8_t how = choose_byte(choices);
    const size_t width = (size_t)1 << how % 4;
    const size_t n_fields = record.n_bytes / width;
    unsigned char *const field = record.at + choose_raw(choices, 2) % n_fields * width;
    uint64_t number = choose_number(choices);
    if (how / 4 % 4 == 1) {
        number = number_at(field, width) ^ UINT64_C(1) << number % (8 * width);
    } else if (how / 4 % 4 == 2) {
        number = number_at(field, width) + number;
    } else if (how / 4 % 4 == 3) {
        const struct record other = choose_record(choices, state, part);
        number = number_at(other.at + (field - record.at), width);
    }
    if (getenv("KMEM_FUZZ_TELL")) { /* to look into a finding */
        (void)fprintf(stderr,
                      "part %d: %zu bytes at %zu of a record of %zu at %p: %#llx to %#llx\n",
                      (int)part, width, (size_t)(field - record.at), record.n_bytes,
                      (void *)(record.at - (uintptr_t)state_file),
                      (unsigned long long)number_at(field, width), (unsigned long long)number);
    }
    memcpy(field, &number, width);
}

/* ---------------------------------------------------------------------------- what is wanted -- */

static int recover_once(void)
{
    char why[256] = "";
    const int r = recover(&core, &config, state_file, states_of, NULL, now_ms, why, sizeof(why));
    EXPECT(r == 0 || r == RECOVER_E_REFUSED);
    if (r) {
        EXPECT(why[0] != '\0');
        EXPECT(strlen(why) < sizeof(why) - 1);
        EXPECT(fuzz_is_safe(why, strlen(why)));
        return r;
    }
    return 0;
}

/* What a core has come to. */
struct figures {
    uint64_t n_free_pages;
    uint64_t n_dirty;
    uint64_t n_leased_pages;
    uint64_t n_blocks;
    uint64_t used_bytes;
    uint64_t slab_bytes;
    uint64_t n_live;
    uint64_t n_ended;
    uint64_t n_shares;
    uint64_t n_holds;
    uint64_t n_names;
    uint64_t n_live_reasons;
};

static struct figures figures_of(const struct core *of)
{
    return (struct figures){
        .n_free_pages = of->pages.n_free_pages,
        .n_dirty = of->pages.n_dirty,
        .n_leased_pages = of->leases.n_pages,
        .n_blocks = of->direct.n_blocks,
        .used_bytes = of->direct.used_bytes,
        .slab_bytes = of->direct.slab_bytes,
        .n_live = of->clients.n_live,
        .n_ended = of->clients.n_ended,
        .n_shares = of->shares.n_shares,
        .n_holds = of->shares.n_holds,
        .n_names = of->names.n_names,
        .n_live_reasons = of->reasons.n_live,
    };
}

static void buried(const struct obituary *obituary, uint32_t slot, void *user)
{
    (void)obituary;
    (void)slot;
    (void)user;
}

/* Everybody ends, and nothing of anybody is left. */
static void end_all(void)
{
    struct client *client = clients_next(&core.clients, 0);
    for (; client; client = clients_next(&core.clients, client->slot + 1)) {
        if (client->client_state == CLIENT_LIVE) {
            core_end(&core, client, false, now_ms);
        }
    }
    for (uint32_t n = 0; core_has_dead(&core); n++) {
        EXPECT(n < REAPS_MAX);
        reap(&core, 64, buried, NULL);
    }
    EXPECT(core_check(&core) == 0);
    sharing_fini(&core);
    EXPECT(core_free_bytes(&core) == core_segment_bytes(&core) - PAGE_BYTES);
}

void image_play(struct choices *choices, uint32_t n_parts)
{
    if (n_scenes == 0) {
        images_open();
    }
    const size_t taken_bytes = fuzz_taken_bytes();
    struct state state;
    played = &scenes[choose_below(choices, n_scenes)];
    load(&played->state, state_file, state_bytes(N_PAGES));
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        if (played->has_ledger[slot]) {
            load(&played->ledgers[slot], ledger_files[slot], ledger_layout.total_bytes);
        }
    }
    EXPECT(state_attach(&state, state_file, N_PAGES) == 0);
    for (uint32_t n = 0; n < CHANGES_MAX && has_choices(choices); n++) {
        change(choices, &state, n_parts);
    }
    if (recover_once() == 0) {
        EXPECT(core_check(&core) == 0);
        const struct figures once = figures_of(&core);
        core_abandon(&core);
        EXPECT(recover_once() == 0);
        EXPECT(core_check(&core) == 0);
        const struct figures twice = figures_of(&core);
        EXPECT(memcmp(&once, &twice, sizeof(once)) == 0);
        end_all();
        core_fini(&core);
    }
    EXPECT(fuzz_taken_bytes() == taken_bytes);
}

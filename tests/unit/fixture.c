/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "daemon/core/reap.h"
#include "daemon/core/recover.h"
#include "daemon/core/scan.h"
#include "proto/lease.h"
#include "tests/unit/fixture.h"
#include "tests/unit/unit.h"

/* client_ledger_read_fn: copies as pread() would, and like it reads nothing behind the end. */
static bool fixture_read(void *user, uint32_t slot, uint64_t at, void *buffer, size_t n_bytes)
{
    const struct fixture *fixture = user;
    const uint64_t total_bytes = fixture->ledger_layout.total_bytes;
    if (slot >= FIXTURE_LEDGERS || !fixture->ledgers[slot].header || at > total_bytes ||
        n_bytes > total_bytes - at) {
        return false;
    }
    memcpy(buffer, (const unsigned char *)fixture->ledgers[slot].header + at, n_bytes);
    return true;
}

static uint64_t fixture_random(void *user)
{
    struct fixture *fixture = user;
    return seeded_next(&fixture->seeded);
}

static void fixture_ring(uint32_t bell, void *user)
{
    struct fixture *fixture = user;
    fixture->n_rung++;
    fixture->bell = bell;
}

void fixture_init(struct fixture *fixture, uint32_t n_pages, uint32_t clients_limit)
{
    *fixture = (struct fixture){.state_bytes = state_bytes(n_pages), .now_ms = FIXTURE_BORN_MS};
    fixture->state_base = mmap(NULL, fixture->state_bytes, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_ptr_not_equal(fixture->state_base, MAP_FAILED);
    fixture->config = (struct core_config){
        .segment_name = FIXTURE_NAME,
        .n_pages = n_pages,
        .clients_limit = clients_limit,
        .instance = UINT64_C(0x1234567890abcdef),
        .pid = 4242,
        .ledger_read = fixture_read,
        .ledger_user = fixture,
        .random = fixture_random,
        .random_user = fixture,
        .ring = fixture_ring,
        .ring_user = fixture,
    };
    ledger_layout_init(&fixture->ledger_layout, n_pages);
    assert_int_equal(
        core_init(&fixture->core, &fixture->config, fixture->state_base, FIXTURE_BORN_MS), 0);
    assert_int_equal(core_check(&fixture->core), 0);
}

_Atomic uint64_t *fixture_states(uint32_t slot, void *user)
{
    struct fixture *fixture = user;
    assert_true(slot < FIXTURE_LEDGERS);
    return fixture->ledgers[slot].states;
}

int fixture_restart(struct fixture *fixture, char *ret_why)
{
    core_abandon(&fixture->core);
    const int r = recover(&fixture->core, &fixture->config, fixture->state_base, fixture_states,
                          fixture, fixture->now_ms, ret_why, FIXTURE_WHY_BYTES);
    assert_true(r != 0 || core_check(&fixture->core) == 0);
    struct client *client = r == 0 ? clients_next(&fixture->core.clients, 0) : NULL;
    for (; client; client = clients_next(&fixture->core.clients, client->slot + 1)) {
        client->counts = client->states ? fixture->ledgers[client->slot].counts : NULL;
        client->returns = client->states ? fixture->ledgers[client->slot].returns : NULL;
    }
    return r;
}

void fixture_fini(struct fixture *fixture)
{
    struct core *core = &fixture->core;
    scans_leave(&core->scans, &core->lookout);
    assert_true(scans_are_none(&core->scans));
    struct client *client = clients_next(&core->clients, 0);
    for (; client; client = clients_next(&core->clients, client->slot + 1)) {
        if (client->client_state == CLIENT_LIVE) {
            core_end(core, client, false, fixture->now_ms);
        }
    }
    while (core_has_dead(core)) {
        fixture_reap(fixture, UINT32_MAX);
    }
    sharing_fini(core);
    assert_int_equal(core->shares.n_shares, 0);
    assert_int_equal(core_check(core), 0);
    assert_int_equal(core_free_bytes(core), core_segment_bytes(core) - PAGE_BYTES);
    assert_int_equal(core_largest_free_bytes(core), core_free_bytes(core));
    core_fini(core);
    assert_int_equal(munmap(fixture->state_base, fixture->state_bytes), 0);
}

struct client_identity fixture_identity(uint32_t pid)
{
    struct client_identity identity = {
        .pid = pid, .uid = 1000 + pid % 3, .gid = 100, .start_time = 1};
    (void)snprintf(identity.command, sizeof(identity.command), "worker-%u", pid);
    return identity;
}

struct client *fixture_join(struct fixture *fixture, uint32_t pid)
{
    const struct client_identity identity = fixture_identity(pid);
    struct client *client;
    assert_int_equal(
        core_join(&fixture->core, &identity, FIXTURE_NONCE(pid), fixture->now_ms, &client), 0);
    return client;
}

struct seg_off fixture_allocate(struct fixture *fixture, struct client *client, uint64_t num_bytes,
                                const char *reason)
{
    struct direct_carved carved;
    const struct direct_request request = {
        .num_bytes = num_bytes,
        .reason = reason,
        .n_reason_bytes = strlen(reason),
        .now = core_tick(&fixture->core, fixture->now_ms),
    };
    assert_int_equal(direct_allocate(&fixture->core.direct, client, &request, &carved), 0);
    core_note_peak(&fixture->core);
    return carved.off;
}

void fixture_release(struct fixture *fixture, struct client *client, struct seg_off off)
{
    struct block block;
    assert_int_equal(direct_release(&fixture->core.direct, client, off, 0, &block), 0);
}

struct ledger *fixture_ledger(struct fixture *fixture, struct client *client)
{
    assert_true(client->slot < FIXTURE_LEDGERS);
    struct ledger *ledger = &fixture->ledgers[client->slot];
    if (!ledger->header) {
        void *base = mmap(NULL, fixture->ledger_layout.total_bytes, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        assert_ptr_not_equal(base, MAP_FAILED);
        ledger_format(ledger, base, fixture->core.state.n_pages);
        client->states = ledger->states;
        client->counts = ledger->counts;
        client->returns = ledger->returns;
    }
    return ledger;
}

void fixture_ledger_close(struct fixture *fixture, uint32_t slot)
{
    if (slot < FIXTURE_LEDGERS && fixture->ledgers[slot].header) {
        assert_int_equal(munmap(fixture->ledgers[slot].header, fixture->ledger_layout.total_bytes),
                         0);
        fixture->ledgers[slot] = (struct ledger){.header = NULL};
    }
}

uint32_t fixture_lease(struct fixture *fixture, struct client *client, uint32_t n_pages)
{
    uint32_t page;
    uint32_t n_granted;
    assert_int_equal(
        leases_grant(&fixture->core.leases, client, n_pages, n_pages, 0, &page, &n_granted), 0);
    assert_int_equal(n_granted, n_pages);
    core_note_peak(&fixture->core);
    return page;
}

uint32_t fixture_class_of(uint32_t span_pages)
{
    uint32_t size_class = 0;
    while (size_classes[size_class].span_pages != span_pages) {
        size_class++;
    }
    return size_class;
}

void fixture_carve(struct fixture *fixture, const struct client *client, uint32_t page,
                   uint32_t size_class)
{
    bool zero;
    assert_true(lease_take(client->states, page, size_classes[size_class].span_pages, &zero));
    ledger_slab_open(&fixture->ledgers[client->slot], page, size_class);
}

void fixture_carve_large(struct fixture *fixture, const struct client *client, uint32_t page,
                         uint32_t n_pages, uint64_t num_bytes)
{
    bool zero;
    struct ledger *ledger = &fixture->ledgers[client->slot];
    assert_true(lease_take(client->states, page, n_pages, &zero));
    ledger_large_open(ledger, page, n_pages);
    (void)ledger_take(ledger, page, num_bytes, REASON_NONE, 0, 0);
}

struct sharing fixture_sharing(struct fixture *fixture, struct client *client)
{
    return (struct sharing){
        .core = &fixture->core,
        .client = client,
        .now = core_tick(&fixture->core, fixture->now_ms),
    };
}

int fixture_next(struct fixture *fixture, struct client *client, const char *text, uint64_t after,
                 struct attached *ret_attached, uint64_t *ret_version)
{
    const struct core *core = &fixture->core;
    const struct sharing of = fixture_sharing(fixture, client);
    const uint32_t name = names_find(&core->names, text, strlen(text));
    if (name == NAME_NONE) {
        return FIXTURE_E_NO_NAME;
    }
    *ret_version = names_version_of(&core->names, name);
    if (*ret_version <= after) {
        return FIXTURE_E_OLD;
    }
    const struct share_handle handle =
        shares_handle(&core->shares, names_share(&core->names, name));
    return sharing_attach(&of, &handle, false, (struct sharing_reason){"viewer", 6}, ret_attached);
}

struct seg_off fixture_take(struct fixture *fixture, const struct client *client, uint32_t page,
                            uint64_t num_bytes)
{
    struct ledger *ledger = &fixture->ledgers[client->slot];
    const uint32_t index = ledger_take(ledger, page, num_bytes, REASON_NONE, 0, 0);
    (void)atomic_fetch_or(&ledger_entries(ledger, page)[index].word, ENTRY_SHARED);
    return ledger_offset(ledger, page, index);
}

uint32_t fixture_tell(struct fixture *fixture, const struct client *client, const char *reason)
{
    struct ledger *ledger = &fixture->ledgers[client->slot];
    const uint32_t id = (uint32_t)atomic_load(&ledger->header->n_reasons);
    ledger->reasons[id].n_bytes = (uint8_t)strlen(reason);
    memcpy(ledger->reasons[id].bytes, reason, strlen(reason));
    atomic_store(&ledger->header->n_reasons, id + 1);
    return id;
}

static void fixture_buried(const struct obituary *obituary, uint32_t slot, void *user)
{
    struct fixture *fixture = user;
    fixture_ledger_close(fixture, slot);
    fixture->n_buried++;
    fixture->last = *obituary;
}

void fixture_reap(struct fixture *fixture, uint32_t budget)
{
    reap(&fixture->core, budget, fixture_buried, fixture);
}

void fixture_end(struct fixture *fixture, struct client *client, bool left)
{
    const uint32_t n_buried = fixture->n_buried;
    core_end(&fixture->core, client, left, fixture->now_ms);
    while (fixture->n_buried == n_buried) {
        fixture_reap(fixture, UINT32_MAX);
    }
}

struct scan *fixture_scan(struct fixture *fixture, struct scan_reader *reader, enum scan_kind kind)
{
    int r = SCAN_PENDING;
    scan_ask(&fixture->core, reader, kind);
    while (r == SCAN_PENDING) {
        r = scan_poll(&fixture->core, reader, fixture->now_ms * 1000);
    }
    assert_int_equal(r, SCAN_READY);
    return reader->scan;
}

void fixture_hold(struct fixture *fixture, struct client *client, uint32_t n_blocks,
                  uint64_t num_bytes)
{
    for (uint32_t i = 0; i < n_blocks; i++) {
        (void)fixture_allocate(fixture, client, num_bytes, "held");
    }
}

uint32_t fixture_reap_all(struct fixture *fixture)
{
    uint32_t n_steps = 0;
    while (core_has_dead(&fixture->core)) {
        fixture_reap(fixture, 1);
        assert_int_equal(core_check(&fixture->core), 0);
        n_steps++;
        assert_true(n_steps < 10 * fixture->core.state.n_pages);
    }
    return n_steps;
}

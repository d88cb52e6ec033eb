/* SPDX-License-Identifier: MIT */
/*
 * region_core.c - the library and the daemon's core, a function call apart
 *
 * Each member has what a process of one thread has: a client in the core, a ledger in memory, a
 * allocator and a heap, which becomes the thread's when the member does something. A request is a
 * call of placement_find(), as daemon/core/dispatch.c makes it. Time goes on by STEP_US with each
 * call of a member and by STEP_WAIT_US while a request waits; ten times a second the clock ticks.
 * What is large is not cleared (see the link option), so that ten million operations take a minute.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "client/heap/clear.h"
#include "client/heap/heap.h"
#include "client/heap/allocator.h"
#include "daemon/core/core.h"
#include "daemon/core/reap.h"
#include "daemon/core/placement.h"
#include "proto/lease.h"
#include "proto/notice.h"
#include "tests/bench/bench.h"
#include "tests/bench/region.h"

#define REASON "trace/block"
/* 5 us: an operation of the mixture, most of it clearing. */
#define STEP_US 5
#define STEP_WAIT_US 300
#define TICK_US 100000

struct member {
    struct client *client; /* NULL: it has not begun */
    struct ledger ledger;
    struct allocator allocator;
    struct heap *heap; /* the thread's, while this member runs */
};

struct core_region {
    struct region region;
    struct core core;
    struct core_config config;
    struct segment segment;
    struct guard guard; /* all zero: everything is open */
    void *state_base;
    struct ledger_layout layout;
    _Atomic uint32_t clock[CLOCK_BYTES / sizeof(uint32_t)];
    uint64_t now_us;
    uint64_t tick_us; /* when the clock ticks next */
    uint32_t n_processes;
    struct member members[REGION_MEMBERS_MAX];
};

static struct core_region *playing;
static struct member *running;

/* Blocks of a simulation are never looked at. */
void *__real_kmem__clear(unsigned char *block, size_t num_bytes, bool is_warm);
void *__wrap_kmem__clear(unsigned char *block, size_t num_bytes, bool is_warm);
void *__wrap_kmem__clear(unsigned char *block, size_t num_bytes, bool is_warm)
{
    return playing == NULL ? __real_kmem__clear(block, num_bytes, is_warm) : block;
}

static struct core_region *core_of(struct region *region)
{
    return (struct core_region *)region;
}

static void *map_zeros(uint64_t num_bytes)
{
    void *at = mmap(NULL, num_bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) {
        bench_fail("no memory for a region");
    }
    return at;
}

static struct now core_now(const struct core_region *region)
{
    return (struct now){region->now_us / 1000, region->now_us};
}

/* ------------------------------------------------------------------------------ the daemon ---- */

/* client_ledger_read_fn */
static bool ledger_read(void *user, uint32_t slot, uint64_t at, void *buffer, size_t n_bytes)
{
    const struct core_region *region = user;
    for (uint32_t i = 0; i < REGION_MEMBERS_MAX; i++) {
        const struct member *member = &region->members[i];
        if (member->client != NULL && member->client->slot == slot) {
            memcpy(buffer, (const unsigned char *)member->ledger.header + at, n_bytes);
            return true;
        }
    }
    return false;
}

/* Both sides are one thread. */
static bool barrier(void)
{
    atomic_signal_fence(memory_order_seq_cst);
    return true;
}

static void core_tell_spare(struct core_region *region)
{
    atomic_store_explicit(&region->clock[CLOCK_SPARE],
                          region->core.shortage.n_spare_pages + CLOCK_SPARE_NONE,
                          memory_order_relaxed);
}

static void core_pass_time(struct core_region *region, uint64_t us)
{
    struct core *core = &region->core;
    region->now_us += us;
    if (region->now_us < region->tick_us) {
        return;
    }
    region->tick_us = region->now_us + TICK_US;
    shortage_tick(&core->shortage);
    core_tell_spare(region);
    atomic_store_explicit(&region->clock[0], core_tick(core, region->now_us / 1000),
                          memory_order_relaxed);
}

/* As dispatch.c looks. Return: 0, PLACEMENT_E_FULL or PLACEMENT_E_STALE. */
static int find_room(struct core_region *region, struct placement_request *room,
                     struct placement *ret_found)
{
    int r;
    do {
        if (shortage_is_due(&region->core.shortage)) {
            shortage_look(&region->core.shortage);
        }
        core_tell_spare(region);
        r = placement_find(&region->core, running->client, room, core_now(region), ret_found);
        core_pass_time(region, r == PLACEMENT_E_WAIT ? STEP_WAIT_US : 0);
    } while (r == PLACEMENT_E_WAIT);
    return r;
}

static int lend(void *lender, uint32_t n_pages, uint32_t want_pages, struct run *ret_run)
{
    struct placement_request room;
    struct placement found;
    placement_init_lease(&room, n_pages, want_pages > n_pages ? want_pages : n_pages);
    const int r = find_room(lender, &room, &found);
    if (r == 0) {
        *ret_run = (struct run){found.page, found.n_pages};
    }
    return r;
}

/* ----------------------------------------------------------------------------- the members ---- */

static struct heap *heap_of_nobody; /* what a thread without a heap points at */

static void member_join(struct core_region *region, struct member *member)
{
    const uint32_t pid = ++region->n_processes;
    struct client_identity identity = {.pid = pid, .uid = 1000, .gid = 100, .start_time = 1};
    (void)snprintf(identity.command, sizeof(identity.command), "process");
    if (core_join(&region->core, &identity, pid, region->now_us / 1000, &member->client) != 0) {
        bench_fail("a process can not join");
    }
    ledger_format(&member->ledger, map_zeros(region->layout.total_bytes),
                  region->core.state.n_pages);
    member->client->states = member->ledger.states;
    member->client->counts = member->ledger.counts;
    if (kmem__allocator_init(&member->allocator, &region->segment, &member->ledger, region->clock,
                             lend, region) != 0) {
        bench_fail("no memory for a process");
    }
}

/* The member does something: until the next one does, this thread is its. */
static struct core_region *member_run(struct region *of_region, uint32_t number)
{
    struct core_region *region = core_of(of_region);
    struct member *member = &region->members[number];
    if (running != member) {
        if (running != NULL) {
            running->heap = kmem__heap_mine;
        }
        running = member;
        kmem__heap_mine = member->heap != NULL ? member->heap : heap_of_nobody;
    }
    core_pass_time(region, STEP_US);
    if (member->client == NULL) {
        member_join(region, member);
    }
    return region;
}

/* core_obituary_fn */
static void member_buried(const struct obituary *obituary, uint32_t slot, void *user)
{
    struct core_region *region = user;
    (void)obituary;
    for (uint32_t i = 0; i < REGION_MEMBERS_MAX; i++) {
        struct member *member = &region->members[i];
        if (member->client != NULL && member->client->slot == slot) {
            (void)munmap(member->ledger.header, region->layout.total_bytes);
            member->client = NULL;
        }
    }
}

static void member_end(struct core_region *region, struct member *member)
{
    kmem__allocator_fini(&member->allocator);
    core_end(&region->core, member->client, false, region->now_us / 1000);
    while (member->client != NULL) {
        reap(&region->core, UINT32_MAX, member_buried, region);
    }
}

/* ---------------------------------------------------------------------------------- blocks ---- */

/* allocate_function */
static void *allocate_leased(size_t num_bytes, const char *reason, struct kmem_site *site)
{
    return kmem__heap_allocate(&running->allocator, num_bytes, reason, site);
}

static uint64_t allocate_direct(struct core_region *region, uint64_t num_bytes, bool may_again)
{
    struct placement_request room;
    struct placement found;
    placement_init_block(&room, num_bytes, REASON, strlen(REASON));
    room.may_again = may_again;
    return find_room(region, &room, &found) == 0 ? found.off.bytes : 0;
}

/* As client/api.c does. */
static uint64_t core_take(struct region *of_region, uint32_t number, uint64_t num_bytes)
{
    struct core_region *region = member_run(of_region, number);
    const unsigned char *leased = kmem__heap_take(num_bytes, REASON, allocate_leased);
    if (leased != NULL) {
        return (uint64_t)(leased - region->segment.base);
    }
    const bool may_again = kmem__heap_can_flush(&running->allocator);
    const uint64_t offset = allocate_direct(region, num_bytes, may_again);
    if (offset != 0 || !may_again) {
        return offset;
    }
    (void)kmem__heap_flush(&running->allocator);
    return allocate_direct(region, num_bytes, false);
}

static void core_give(struct region *of_region, uint32_t number, uint64_t handle,
                      uint64_t num_bytes)
{
    struct core_region *region = member_run(of_region, number);
    struct block block;
    struct found found;
    (void)num_bytes;
    if (kmem__heap_give(region->segment.base + handle)) {
        return;
    }
    const struct seg_off offset = {handle};
    int r = kmem__heap_release(&running->allocator, offset, &found);
    if (r == HEAP_E_DIRECT) {
        r = direct_release(&region->core.direct, running->client, offset, 0, &block);
    }
    if (r != 0) {
        bench_fail("a block can not be released");
    }
}

static void core_end_member(struct region *of_region, uint32_t number)
{
    struct core_region *region = member_run(of_region, number);
    member_end(region, running);
}

static uint64_t core_unused_bytes(struct region *of_region)
{
    const struct core *core = &core_of(of_region)->core;
    return core_free_bytes(core) + (leases_n_unused(&core->leases) << PAGE_SHIFT);
}

/* The slab or large block that a leased page, which is in use, belongs to. */
static bool page_is_live(const struct ledger *ledger, uint32_t page)
{
    const struct ledger_head *head = &ledger->heads[page];
    uint32_t kind = atomic_load_explicit(&head->kind, memory_order_relaxed);
    if (kind == HEAD_INTERIOR) {
        page -= head->back;
        head = &ledger->heads[page];
        kind = atomic_load_explicit(&head->kind, memory_order_relaxed);
    }
    if (kind != HEAD_SLAB) {
        return true;
    }
    const struct size_class *of = &size_classes[head->size_class];
    return !ledger_entries_are_idle(
        ledger->planes[of->plane] + ((uint64_t)page << PLANE_SHIFT(of->plane)), of->n_blocks);
}

enum page_use region_core_page(const struct region *of_region, uint32_t page)
{
    const struct core_region *region = (const struct core_region *)of_region;
    const struct pages *pages = &region->core.pages;
    const uint64_t word = pages_word(pages, pages_run_of(pages, page));
    if (PAGE_WORD_STATE(word) != PAGE_LEASED) {
        return PAGE_WORD_STATE(word) == PAGE_DIRECT ? PAGE_USE_DIRECT : PAGE_USE_FREE;
    }
    for (uint32_t i = 0; i < REGION_MEMBERS_MAX; i++) {
        const struct member *member = &region->members[i];
        if (member->client != NULL && member->client->slot == PAGE_WORD_OWNER(word)) {
            const uint32_t state = lease_state_of(member->ledger.states, page);
            return (state & LEASE_STATE_MASK) != LEASE_USED ? PAGE_USE_UNUSED
                   : page_is_live(&member->ledger, page)    ? PAGE_USE_LIVE
                                                            : PAGE_USE_IDLE;
        }
    }
    return PAGE_USE_FREE;
}

/* --------------------------------------------------------------------------------- a region --- */

/* The thread has none again. */
static void heaps_free(struct core_region *region)
{
    if (running != NULL) {
        running->heap = kmem__heap_mine;
    }
    kmem__heap_mine = heap_of_nobody;
    for (uint32_t i = 0; i < REGION_MEMBERS_MAX; i++) {
        struct heap *heap = region->members[i].heap;
        if (heap != NULL && heap != heap_of_nobody) {
            kmem__bins_unmap(heap);
        }
    }
}

/* Everybody ends; then the segment is as it was at the beginning, or the core is at fault. */
static void core_free(struct region *of_region)
{
    struct core_region *region = core_of(of_region);
    struct core *core = &region->core;
    for (uint32_t i = 0; i < REGION_MEMBERS_MAX; i++) {
        struct member *member = &region->members[i];
        if (member->client != NULL) {
            (void)member_run(of_region, i);
            member_end(region, member);
        }
    }
    heaps_free(region);
    if (core_check(core) != 0 || core_free_bytes(core) != core_segment_bytes(core) - PAGE_BYTES) {
        bench_fail("pages are missing when all processes have ended");
    }
    core_fini(core);
    (void)munmap(region->state_base, state_bytes(region->config.n_pages));
    (void)munmap(region->segment.base, region->segment.num_bytes);
    free(region);
    playing = NULL;
    running = NULL;
}

struct region *region_core_new(uint64_t num_bytes)
{
    struct core_region *region = calloc(1, sizeof(*region));
    const uint32_t n_pages = (uint32_t)(num_bytes >> PAGE_SHIFT);
    if (region == NULL || playing != NULL) {
        bench_fail("no memory for a region, or there is one");
    }
    heap_of_nobody = kmem__heap_mine;
    region->region =
        (struct region){core_take, core_give, core_end_member, core_unused_bytes, core_free};
    region->config = (struct core_config){
        .segment_name = "simulated",
        .n_pages = n_pages,
        .clients_limit = 2 * REGION_MEMBERS_MAX,
        .instance = 1,
        .pid = 1,
        .ledger_read = ledger_read,
        .ledger_user = region,
        .barrier = barrier,
    };
    region->now_us = TICK_US;
    region->state_base = map_zeros(state_bytes(n_pages));
    region->segment = (struct segment){
        .base = map_zeros(num_bytes), .num_bytes = num_bytes, .guard = &region->guard};
    ledger_layout_init(&region->layout, n_pages);
    if (core_init(&region->core, &region->config, region->state_base, region->now_us / 1000) != 0) {
        bench_fail("no memory for a core");
    }
    playing = region;
    core_pass_time(region, 0);
    return &region->region;
}

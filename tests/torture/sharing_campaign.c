/* SPDX-License-Identifier: MIT */
/*
 * Sharers at work, of which some are killed, and servers; and again and again all stand still, and
 * the daemon says of each living sharer that it holds what it says it holds, and of no other
 * process that it holds anything. Its state is read as a server would that starts then:
 * state_check.c. Now and then the keeper is killed: the segment ends, and all join the next one.
 */
#include "tests/torture/sharing_campaign.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <kmem/query.h>

#include "tests/system/client.h"
#include "tests/system/daemon.h"
#include "tests/system/harness.h"
#include "tests/system/usage.h"
#include "tests/torture/killer.h"
#include "tests/torture/sharer.h"
#include "tests/torture/state_check.h"
#include "tests/support/seeded.h"

#define SEGMENT "128MiB"
#define SEGMENT_BYTES (UINT64_C(128) << 20)
#define PAUSE_MAX_MS 61
#define EVENTS_PER_AUDIT 40
#define EVENTS_PER_KEEPER 100
/* As of the other campaign: crew.c, audit.c. */
#define PARK_LIMIT_MS 2000
#define BALANCE_LIMIT_MS 2000
#define ROWS_MAX 8192

struct row {
    uint64_t offset;
    uint32_t pid;
};

/* Who holds what, by offset and pid; and the blocks that are the server's own, and have no holder,
   no name and no offer. */
struct rows {
    size_t n;
    struct row at[ROWS_MAX];
    size_t n_unkept;
};

struct gang {
    struct sharing_world *world;
    struct sharer sharers[SHARERS];
    struct client clients[SHARERS];
    struct seeded seeded;
    uint64_t n_killed;
    uint64_t n_keepers; /* killed */
    uint64_t n_audits;
    uint64_t n_rows;
    uint64_t n_steps; /* these four of the dead */
    uint64_t n_attached;
    uint64_t n_found;
    uint64_t n_handed;
};

/* --------------------------------------------------------------------------------- sharers ---- */

static void start(struct gang *gang, uint32_t number)
{
    struct sharer_oracle *const oracle = &gang->world->oracles[number];
    memset(oracle, 0, sizeof(*oracle));
    oracle->seed = seeded_next(&gang->seeded);
    gang->sharers[number] = (struct sharer){gang->world, number};
    gang->clients[number] = client_start(sharer_run, &gang->sharers[number]);
}

static void add_up(struct gang *gang, const struct sharer_oracle *oracle)
{
    /* Relaxed: figures. */
    gang->n_steps += atomic_load_explicit(&oracle->n_steps, memory_order_relaxed);
    gang->n_attached += atomic_load_explicit(&oracle->n_attached, memory_order_relaxed);
    gang->n_found += atomic_load_explicit(&oracle->n_found, memory_order_relaxed);
    gang->n_handed += atomic_load_explicit(&oracle->n_handed, memory_order_relaxed);
}

static void kill_one(struct gang *gang)
{
    const uint32_t number = seeded_below(&gang->seeded, SHARERS);
    struct client *const client = &gang->clients[number];
    const bool is_stopped_first = seeded_below(&gang->seeded, 8) == 0;
    if (is_stopped_first) {
        client_stop(client);
        harness_sleep_ms(seeded_below(&gang->seeded, 30));
    }
    expect_call(kill(client->pid, SIGKILL) == 0);
    client_end_by(client, SIGKILL); /* one that had failed before ended otherwise */
    gang->n_killed++;
    add_up(gang, &gang->world->oracles[number]);
    start(gang, number);
}

static void check_alive(const struct gang *gang)
{
    for (uint32_t i = 0; i < SHARERS; i++) {
        siginfo_t info = {.si_pid = 0};
        expect_call(waitid(P_PID, (id_t)gang->clients[i].pid, &info, WEXITED | WNOHANG | WNOWAIT) ==
                    0);
        if (info.si_pid != 0) {
            fail("sharer %u (pid %d) ended of itself: code %d, status %d", i,
                 (int)gang->clients[i].pid, info.si_code, info.si_status);
        }
    }
}

static void stand_still(struct gang *gang)
{
    /* Release: with the acquire of park(). */
    const uint32_t epoch =
        atomic_fetch_add_explicit(&gang->world->epoch, 1, memory_order_release) + 1;
    const uint64_t until_us = harness_deadline_us(PARK_LIMIT_MS);
    for (uint32_t i = 0; i < SHARERS; i++) {
        /* Acquire: with the release of park(). */
        while (atomic_load_explicit(&gang->world->oracles[i].parked_at, memory_order_acquire) !=
               epoch) {
            check_alive(gang);
            if (harness_now_us() > until_us) {
                fail("sharer %u is still in a step", i);
            }
            harness_sleep_ms(1);
        }
    }
}

static void go_on(struct gang *gang)
{
    /* Release: with the acquire of park(). */
    (void)atomic_fetch_add_explicit(&gang->world->epoch, 1, memory_order_release);
}

/* ----------------------------------------------------------------------------------- audit ---- */

static int by_place(const void *left, const void *right)
{
    const struct row *const a = left;
    const struct row *const b = right;
    return a->offset != b->offset ? (a->offset > b->offset) - (a->offset < b->offset)
                                  : (a->pid > b->pid) - (a->pid < b->pid);
}

static void add_row(struct rows *rows, uint64_t offset, uint32_t pid)
{
    expect_true(rows->n < ROWS_MAX);
    rows->at[rows->n++] = (struct row){offset, pid};
}

static void rows_expect(struct rows *rows, const struct gang *gang)
{
    rows->n = 0;
    rows->n_unkept = 0;
    for (uint32_t i = 0; i < SHARERS; i++) {
        for (uint32_t j = 0; j < SHARER_HOLDS; j++) {
            const struct sharer_hold *const hold = &gang->world->oracles[i].holds[j];
            /* Relaxed: it was written before the sharer was parked. */
            const uint32_t state = atomic_load_explicit(&hold->state, memory_order_relaxed);
            expect_true(state != SHARER_OPEN);
            if (state == SHARER_HELD) {
                add_row(rows, hold->offset, (uint32_t)gang->clients[i].pid);
            }
        }
    }
    qsort(rows->at, rows->n, sizeof(rows->at[0]), by_place);
}

/* An owner and a holder hold; a name and an offer keep. */
static int take_holder(const struct kmem_holder *holder, void *user)
{
    if (holder->kind == KMEM_HOLDER_OWNER || holder->kind == KMEM_HOLDER_ATTACHED) {
        add_row(user, holder->offset, holder->pid);
    }
    return 0;
}

/* A leased one may be on its way home. A shared block is kept by something. */
static int take_block(const struct kmem_block *block, void *user)
{
    struct rows *const rows = user;
    rows->n_unkept += !block->leased && !block->shared;
    return 0;
}

/* Return: 0, or a negative errno if the server that was asked has died. */
static int ask(struct rows *rows)
{
    struct kmem_query *query;
    rows->n = 0;
    rows->n_unkept = 0;
    int r = kmem_query_open(NULL, &query);
    if (r != 0) {
        return r;
    }
    r = kmem_query_holders(query, 0, take_holder, rows);
    if (r == 0) {
        r = kmem_query_blocks(query, take_block, rows);
    }
    (void)kmem_query_close(query);
    qsort(rows->at, rows->n, sizeof(rows->at[0]), by_place);
    return r;
}

static bool is_same(const struct rows *want, const struct rows *got)
{
    return want->n == got->n && got->n_unkept == 0 &&
           memcmp(want->at, got->at, want->n * sizeof(want->at[0])) == 0;
}

static void print_only(const char *whose, const struct rows *rows, const struct rows *others)
{
    for (size_t i = 0; i < rows->n; i++) {
        if (bsearch(&rows->at[i], others->at, others->n, sizeof(others->at[0]), by_place) == NULL) {
            harness_note("%s: offset %llu, pid %u", whose, (unsigned long long)rows->at[i].offset,
                         rows->at[i].pid);
        }
    }
}

/* The dead may still be being reaped, or a server be starting: it is asked again for a while. */
static void audit(struct gang *gang)
{
    static struct rows want;
    static struct rows got;
    stand_still(gang);
    memset(&want, 0, sizeof(want)); /* rows are compared as bytes */
    memset(&got, 0, sizeof(got));
    rows_expect(&want, gang);
    const uint64_t until_us = harness_deadline_us(BALANCE_LIMIT_MS);
    int r = ask(&got);
    while (r != 0 || !is_same(&want, &got)) {
        if (harness_now_us() > until_us) {
            print_only("only the sharer says so", &want, &got);
            print_only("only the daemon says so", &got, &want);
            fail("the daemon says that there are %zu holders (%d), and %zu blocks without one; "
                 "there are %zu",
                 got.n, r, got.n_unkept, want.n);
        }
        harness_sleep_ms(5);
        r = ask(&got);
    }
    state_check(SEGMENT_BYTES);
    gang->n_audits++;
    gang->n_rows += want.n;
    go_on(gang);
}

/* -------------------------------------------------------------------------------- campaign ---- */

static void begin_segment(void)
{
    /* state_check() takes the state for one of that many pages. Only the plan kills servers. */
    daemon_start("--size", SEGMENT, "--max-size", SEGMENT, "--watchdog", "0", "--log-level",
                 "warning", NULL);
}

/* The segment ends, and all find themselves in the next one. */
static void kill_keeper(struct gang *gang, struct killer *killer)
{
    /* Release: with the acquire of await_segment(), here and below. */
    (void)atomic_fetch_add_explicit(&gang->world->n_segments, 1, memory_order_release);
    daemon_kill();
    begin_segment();
    (void)atomic_fetch_add_explicit(&gang->world->n_segments, 1, memory_order_release);
    killer->last_server = 0;
    gang->n_keepers++;
}

static void strike_all(struct gang *gang, struct killer *killer, uint64_t n_clients)
{
    for (uint64_t n_events = 1; gang->n_killed < n_clients || killer->n_servers > 0; n_events++) {
        harness_sleep_ms(seeded_below(&gang->seeded, PAUSE_MAX_MS));
        const uint64_t n_clients_left = n_clients - gang->n_killed;
        if (seeded_next(&gang->seeded) % (n_clients_left + killer->n_servers) < n_clients_left) {
            kill_one(gang);
        } else if (killer_kill_server(killer)) {
            expect_soon(daemon_server_pid() != killer->last_server && daemon_server_pid() != 0,
                        BALANCE_LIMIT_MS);
        }
        check_alive(gang);
        if (n_events % EVENTS_PER_AUDIT == 0) {
            audit(gang);
        }
        if (n_events % EVENTS_PER_KEEPER == 0) {
            kill_keeper(gang, killer);
        }
    }
    audit(gang);
}

static int unpublish_name(const struct kmem_name *name, void *user)
{
    (void)user;
    if (kmem_unpublish(name->name) != 0) {
        fail("\"%s\" can not be unpublished: %s", name->name, kmem_last_error());
    }
    return 0;
}

/* What names keep that outlive who published them. */
static void unpublish_all(void)
{
    struct kmem_query *query;
    expect_equal(kmem_query_open(NULL, &query), 0);
    expect_equal(kmem_query_names(query, unpublish_name, NULL), 0);
    (void)kmem_query_close(query);
    expect_equal(kmem_close(), 0);
}

/* By the dead and the living: kills may have left little time for it. */
static bool has_done_enough(const struct gang *gang, const struct campaign *campaign)
{
    struct gang all = *gang;
    for (uint32_t i = 0; i < SHARERS; i++) {
        add_up(&all, &gang->world->oracles[i]);
    }
    return all.n_attached >= campaign->n_clients && all.n_found >= campaign->n_clients / 2 &&
           all.n_handed >= campaign->n_clients / 4;
}

static void end_all(struct gang *gang)
{
    /* Release: with the acquire of sharer_run(). */
    atomic_store_explicit(&gang->world->is_ending, true, memory_order_release);
    for (uint32_t i = 0; i < SHARERS; i++) {
        client_end(&gang->clients[i]);
        add_up(gang, &gang->world->oracles[i]);
    }
    unpublish_all();
}

static bool is_empty(uint64_t free_bytes)
{
    const struct usage usage = usage_take();
    return usage.clients == 0 && usage.blocks == 0 && usage.used_bytes == 0 &&
           usage.free_bytes == free_bytes;
}

void sharing_campaign_run(const struct campaign *campaign)
{
    static struct gang gang;
    void *const memory = mmap(NULL, sizeof(struct sharing_world), PROT_READ | PROT_WRITE,
                              MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    expect_call(memory != MAP_FAILED);
    harness_note("seed %llu: %llu sharers and %llu servers to be killed",
                 (unsigned long long)campaign->seed, (unsigned long long)campaign->n_clients,
                 (unsigned long long)campaign->n_servers);
    begin_segment();
    const uint64_t free_bytes = daemon_free_bytes_at_start();
    gang = (struct gang){.world = memory, .seeded = {campaign->seed}};
    struct killer killer = {.n_servers = campaign->n_servers};
    for (uint32_t i = 0; i < SHARERS; i++) {
        start(&gang, i);
    }
    strike_all(&gang, &killer, campaign->n_clients);
    while (!has_done_enough(&gang, campaign)) {
        check_alive(&gang);
        harness_sleep_ms(5);
    }
    end_all(&gang);
    harness_note("%llu steps: %llu attached, %llu found by name, %llu handed over; %llu sharers, "
                 "%llu servers and %llu keepers killed; %llu audits of %llu holders",
                 (unsigned long long)gang.n_steps, (unsigned long long)gang.n_attached,
                 (unsigned long long)gang.n_found, (unsigned long long)gang.n_handed,
                 (unsigned long long)gang.n_killed, (unsigned long long)killer.n_killed,
                 (unsigned long long)gang.n_keepers, (unsigned long long)gang.n_audits,
                 (unsigned long long)gang.n_rows);
    expect_at_least(gang.n_attached, campaign->n_clients);
    expect_at_least(gang.n_found, campaign->n_clients / 2);
    expect_at_least(gang.n_handed, campaign->n_clients / 4);
    /* What expect_balanced() compares with is of a daemon that clients came back to at once. */
    expect_soon(is_empty(free_bytes), BALANCE_LIMIT_MS);
    expect_true(!harness_matches(daemon_log(), "safe mode|does not add up|refused the state"));
    (void)munmap(memory, sizeof(struct sharing_world));
    daemon_stop();
}

/* SPDX-License-Identifier: MIT */
/*
 * The daemon may still be burying the dead, or starting a server: it is asked again until what it
 * says is right, or the time is up; then the first differences are printed. A block of a living
 * worker that is wrong stays wrong.
 */
#include "tests/torture/audit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <kmem/query.h>

#include "tests/system/daemon.h"
#include "tests/system/harness.h"
#include "tests/support/pattern.h"

/* 2 s: a server that was killed while it started comes again after up to a second. */
#define BALANCE_LIMIT_MS 2000
#define BLOCKS_MAX 16384
#define DIFFERENCES_MAX 10

struct row {
    uint64_t offset;
    uint64_t num_bytes;
    pid_t pid;
    char reason[KMEM_REASON_MAX_BYTES + 1];
};

struct rows {
    size_t n; /* may be more than fit */
    struct row at[BLOCKS_MAX];
    size_t n_clients; /* may be more than fit */
    pid_t clients[ORACLE_WORKERS];
};

/* What kmem_query_usage() says. */
struct figures {
    uint64_t segment_bytes;
    uint64_t used_bytes;
    uint64_t free_bytes;
    uint64_t overhead_bytes;
};

void audit_init(struct audit *audit)
{
    struct stat status;
    const int fd = daemon_open_memfd("segment");
    *audit = (struct audit){.segment = NULL};
    expect_call(fstat(fd, &status) == 0);
    audit->segment_bytes = (uint64_t)status.st_size;
    void *const segment = mmap(NULL, audit->segment_bytes, PROT_READ, MAP_SHARED, fd, 0);
    expect_call(segment != MAP_FAILED);
    expect_call(madvise(segment, audit->segment_bytes, MADV_DONTFORK) == 0);
    (void)close(fd);
    audit->segment = segment;
}

void audit_fini(struct audit *audit)
{
    (void)munmap((void *)audit->segment, audit->segment_bytes);
    audit->segment = NULL;
}

static void row_set(struct row *row, uint64_t offset, uint64_t num_bytes, pid_t pid,
                    const char *reason)
{
    *row = (struct row){.offset = offset, .num_bytes = num_bytes, .pid = pid};
    (void)snprintf(row->reason, sizeof(row->reason), "%s", reason);
}

static int by_offset(const void *left, const void *right)
{
    const struct row *const a = left;
    const struct row *const b = right;
    return (a->offset > b->offset) - (a->offset < b->offset);
}

static void rows_add_client(struct rows *rows, pid_t pid)
{
    if (rows->n_clients < ORACLE_WORKERS) {
        rows->clients[rows->n_clients] = pid;
    }
    rows->n_clients++;
}

static void rows_expect(struct rows *rows, const struct crew *crew)
{
    rows->n = 0;
    rows->n_clients = 0;
    for (uint32_t i = 0; i < ORACLE_WORKERS; i++) {
        /* Relaxed: it was written before the worker was parked. */
        if (atomic_load_explicit(&crew->world->oracles[i].is_joined, memory_order_relaxed)) {
            rows_add_client(rows, crew->clients[i].pid);
        }
        for (uint32_t j = 0; j < ORACLE_ENTRIES; j++) {
            const struct oracle_entry *const entry = &crew->world->oracles[i].entries[j];
            if (oracle_get(entry) == ORACLE_LIVE) {
                row_set(&rows->at[rows->n++], entry->offset, entry->num_bytes, crew->clients[i].pid,
                        oracle_shown_reason(entry->reason));
            } else {
                expect_equal(oracle_get(entry), ORACLE_NONE);
            }
        }
    }
    qsort(rows->at, rows->n, sizeof(rows->at[0]), by_offset);
}

/* ----------------------------------------------------------------------- what is asked ---- */

static int take_block(const struct kmem_block *block, void *user)
{
    struct rows *const rows = user;
    if (rows->n < BLOCKS_MAX) {
        row_set(&rows->at[rows->n], block->offset, block->num_bytes, (pid_t)block->pid,
                block->reason);
    }
    rows->n++;
    return 0;
}

static int take_client(const struct kmem_client *client, void *user)
{
    rows_add_client(user, (pid_t)client->pid);
    return 0;
}

static int take_figure(const struct kmem_daemon *daemon, const struct kmem_statistic *statistic,
                       void *user)
{
    struct figures *const figures = user;
    const struct {
        const char *name;
        uint64_t *value;
    } wanted[] = {{"segment_bytes", &figures->segment_bytes},
                  {"used_bytes", &figures->used_bytes},
                  {"free_bytes", &figures->free_bytes},
                  {"overhead_bytes", &figures->overhead_bytes}};
    (void)daemon;
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
        if (strcmp(statistic->name, wanted[i].name) == 0) {
            *wanted[i].value = statistic->value;
        }
    }
    return 0;
}

/* Which of the dead have an obituary. */
struct search {
    const struct crew *crew;
    bool is_found[CREW_DEAD_MAX];
    struct {
        uint64_t number;
        uint64_t n_blocks;
        uint64_t num_bytes;
    } last[CREW_DEAD_MAX]; /* of each: its latest obituary */
};

/* Who had a block had joined. */
static bool is_known(const struct crew_dead *dead)
{
    return dead->estate.n_live > 0;
}

/* Only a server that saw all of a burial knows all of it. */
static bool is_known_well(const struct crew *crew, const struct crew_dead *dead)
{
    return is_known(dead) && dead->n_server_ends == crew->n_server_ends;
}

/* Who has joined again has an obituary for each time; that of the last counts. */
static int take_obituary(const struct kmem_obituary *obituary, void *user)
{
    struct search *const search = user;
    for (size_t i = 0; i < search->crew->n_dead && !obituary->left; i++) {
        const struct crew_dead *const dead = &search->crew->dead[i];
        if (dead->pid == (pid_t)obituary->pid && is_known(dead) &&
            obituary->number > search->last[i].number) {
            search->is_found[i] = true;
            search->last[i].number = obituary->number;
            search->last[i].n_blocks = obituary->n_blocks;
            search->last[i].num_bytes = obituary->num_bytes;
        }
    }
    return 0;
}

static void compare_obituaries(const struct search *search)
{
    for (size_t i = 0; i < search->crew->n_dead; i++) {
        const struct crew_dead *const dead = &search->crew->dead[i];
        const uint64_t n_blocks = search->last[i].n_blocks;
        const uint64_t num_bytes = search->last[i].num_bytes;
        if (search->is_found[i] && is_known_well(search->crew, dead) &&
            !oracle_explains(&dead->estate, n_blocks, num_bytes)) {
            fail("the obituary of %d has %llu blocks, %llu bytes; it held %llu, %llu, and %u steps "
                 "were under way",
                 (int)dead->pid, (unsigned long long)n_blocks, (unsigned long long)num_bytes,
                 (unsigned long long)dead->estate.n_live,
                 (unsigned long long)dead->estate.live_bytes, dead->estate.n_open);
        }
    }
}

/* Return: 0, or a negative errno if the server that was asked has died. */
static int ask(struct rows *rows, struct figures *figures)
{
    struct kmem_query *query;
    rows->n = 0;
    rows->n_clients = 0;
    *figures = (struct figures){.segment_bytes = 0};
    int r = kmem_query_open(NULL, &query);
    if (r != 0) {
        return r;
    }
    r = kmem_query_blocks(query, take_block, rows);
    if (r == 0) {
        r = kmem_query_clients(query, take_client, rows);
    }
    if (r == 0) {
        r = kmem_query_usage(query, take_figure, figures);
    }
    (void)kmem_query_close(query);
    return r;
}

/* ------------------------------------------------------------------------ what is compared ---- */

static bool rows_match(const struct row *want, const struct row *got)
{
    return want->offset == got->offset && want->num_bytes == got->num_bytes &&
           want->pid == got->pid && strcmp(want->reason, got->reason) == 0;
}

/* Whoever lives and has joined is a client, and nobody else is: of the dead no slot is left. */
static bool clients_match(const struct rows *want, const struct rows *got)
{
    bool is_there = want->n_clients == got->n_clients;
    for (size_t i = 0; i < want->n_clients && is_there; i++) {
        is_there = false;
        for (size_t j = 0; j < got->n_clients; j++) {
            is_there = is_there || want->clients[i] == got->clients[j];
        }
    }
    return is_there;
}

static bool figures_match(const struct rows *want, const struct figures *figures)
{
    uint64_t num_bytes = 0;
    for (size_t i = 0; i < want->n; i++) {
        num_bytes += want->at[i].num_bytes;
    }
    return figures->used_bytes == num_bytes &&
           figures->used_bytes + figures->free_bytes + figures->overhead_bytes ==
               figures->segment_bytes;
}

static bool all_match(const struct rows *want, const struct rows *got,
                      const struct figures *figures)
{
    if (want->n != got->n) {
        return false;
    }
    for (size_t i = 0; i < want->n; i++) {
        if (!rows_match(&want->at[i], &got->at[i])) {
            return false;
        }
    }
    return clients_match(want, got) && figures_match(want, figures);
}

static void print_row(const char *whose, const struct row *row)
{
    (void)fprintf(stderr, "  %s: offset %llu, %llu bytes, pid %d, \"%s\"\n", whose,
                  (unsigned long long)row->offset, (unsigned long long)row->num_bytes,
                  (int)row->pid, row->reason);
}

/* A merge of two lists by offset. */
static void print_differences(const struct rows *want, const struct rows *got)
{
    unsigned int n_printed = 0;
    size_t i = 0;
    size_t j = 0;
    const size_t n_got = got->n < BLOCKS_MAX ? got->n : BLOCKS_MAX;
    while ((i < want->n || j < n_got) && n_printed < DIFFERENCES_MAX) {
        const bool only_want =
            j == n_got || (i < want->n && want->at[i].offset < got->at[j].offset);
        const bool only_got =
            !only_want && (i == want->n || got->at[j].offset < want->at[i].offset);
        if (only_want) {
            print_row("the ledger lacks", &want->at[i]);
        } else if (only_got) {
            print_row("nobody has      ", &got->at[j]);
        } else if (!rows_match(&want->at[i], &got->at[j])) {
            print_row("the worker says ", &want->at[i]);
            print_row("the ledger says ", &got->at[j]);
        }
        n_printed += only_want || only_got || !rows_match(&want->at[i], &got->at[j]);
        i += !only_got;
        j += !only_want;
    }
}

static void audit_ledger(struct audit *audit, const struct rows *want)
{
    static struct rows got;
    struct figures figures;
    const uint64_t begin_us = harness_now_us();
    const uint64_t until_us = harness_deadline_us(BALANCE_LIMIT_MS);
    int r = ask(&got, &figures);
    while (r != 0 || !all_match(want, &got, &figures)) {
        if (harness_now_us() > until_us) {
            print_differences(want, &got);
            fail("the ledger has %zu blocks, the workers %zu; there are %zu clients, of "
                 "%zu workers that live and have joined; %llu bytes used, %llu free, %llu "
                 "overhead, %llu in all; asking gave %d",
                 got.n, want->n, got.n_clients, want->n_clients,
                 (unsigned long long)figures.used_bytes, (unsigned long long)figures.free_bytes,
                 (unsigned long long)figures.overhead_bytes,
                 (unsigned long long)figures.segment_bytes, r);
        }
        harness_sleep_ms(5);
        r = ask(&got, &figures);
    }
    const uint64_t duration_ms = (harness_now_us() - begin_us) / 1000;
    audit->longest_ms = duration_ms > audit->longest_ms ? duration_ms : audit->longest_ms;
    audit->n_blocks += want->n;
    audit->num_bytes += figures.used_bytes;
}

static void audit_bytes(const struct audit *audit, const struct crew *crew)
{
    for (uint32_t i = 0; i < ORACLE_WORKERS; i++) {
        const struct oracle *const oracle = &crew->world->oracles[i];
        for (uint32_t j = 0; j < ORACLE_ENTRIES; j++) {
            const struct oracle_entry *const entry = &oracle->entries[j];
            if (oracle_get(entry) != ORACLE_LIVE) {
                continue;
            }
            expect_true(entry->offset + entry->num_bytes <= audit->segment_bytes);
            const uint64_t at = pattern_differs_at(audit->segment + entry->offset, entry->num_bytes,
                                                   oracle->key, entry->offset);
            if (at < entry->num_bytes) {
                fail("worker %u: block %llu of %llu bytes differs at byte %llu in the segment", i,
                     (unsigned long long)entry->offset, (unsigned long long)entry->num_bytes,
                     (unsigned long long)at);
            }
        }
    }
}

/* Return: how many of those that must have an obituary have none. */
static uint64_t ask_for_obituaries(const struct crew *crew, uint64_t *ret_found)
{
    struct kmem_query *query;
    static struct search search;
    uint64_t n_missing = 0;
    *ret_found = 0;
    memset(&search, 0, sizeof(search));
    search.crew = crew;
    expect_equal(kmem_query_open(NULL, &query), 0);
    expect_equal(kmem_query_obituaries(query, take_obituary, &search), 0);
    (void)kmem_query_close(query);
    compare_obituaries(&search);
    for (size_t i = 0; i < crew->n_dead; i++) {
        *ret_found += search.is_found[i];
        n_missing += is_known(&crew->dead[i]) && !search.is_found[i];
    }
    return n_missing;
}

static void audit_obituaries(struct audit *audit, struct crew *crew)
{
    uint64_t n_found = 0;
    expect_soon(ask_for_obituaries(crew, &n_found) == 0, BALANCE_LIMIT_MS);
    audit->n_obituaries += n_found;
    crew->n_dead = 0;
}

void audit_run(struct audit *audit, struct crew *crew)
{
    static struct rows want;
    rows_expect(&want, crew);
    audit_ledger(audit, &want);
    audit_bytes(audit, crew);
    audit_obituaries(audit, crew);
    audit->n_audits++;
}

/* SPDX-License-Identifier: MIT */
/*
 * bench_recover.c - how long a server takes to go on with a killed one's state
 *
 * The largest state there is: every other page leased, to a thousand clients in turn; the ones
 * between are free. And a hundred thousand direct blocks of a thousand clients, twice: once nothing
 * is shared, once all of it is, with names and a client that holds ten thousand; the one beside the
 * other, in turns. That client dies, and is reaped in the steps that a server makes. Nothing runs
 * beside it but the core, in this process; the state is in a memfd, mapped anew for each start as
 * each server does.
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "daemon/core/reap.h"
#include "daemon/core/recover.h"
#include "daemon/core/sharing.h"
#include "proto/lease.h"
#include "tests/bench/bench.h"
#include "tests/unit/fixture.h"
#include "tests/unit/unit.h"

#define N_SAMPLES 9
#define N_CLIENTS 1000
#define N_RUNS 100000
#define N_PAGES (2 * N_RUNS + 2)
#define BAR_MS 100

#define N_SHARES 100000
#define N_HOLDS 10000
#define N_NAMES 4096
#define N_SHARE_PAGES 16384 /* 256 MiB */
#define BLOCK_BYTES 1000
#define BAR_SHARES_MS 20
#define BAR_STEP_US 500
#define REAP_BUDGET 5000 /* the server's, in daemon/server/server.c */

static struct fixture fixture;
static struct core core;
static char why[FIXTURE_WHY_BYTES];

/* One ledger for all: nobody's states matter to the others here. */
static _Atomic uint64_t *states_of_all(uint32_t slot, void *user)
{
    (void)slot;
    return user;
}

static void lease_many(_Atomic uint64_t *states)
{
    struct client *client;
    for (uint32_t pid = 1; pid <= N_CLIENTS; pid++) {
        const struct client_identity identity = fixture_identity(pid);
        assert_int_equal(core_join(&core, &identity, pid, 0, &client), 0);
        client->states = states;
    }
    for (uint32_t i = 0; i < N_RUNS; i++) {
        pages_take(&core.pages, 1 + 2 * i, 2, PAGE_LEASED, i % N_CLIENTS);
    }
    for (uint32_t i = 0; i < N_RUNS; i++) {
        pages_give_part(&core.pages, 2 + 2 * i, 1);
    }
    lease_grant(states, 1, 2 * N_RUNS, false);
}

/* A state file, and how a server sees it. */
struct file {
    int fd;
    size_t n_bytes;
};

static struct file file_new(uint32_t n_pages)
{
    const struct file file = {memfd_create("state", MFD_CLOEXEC), state_bytes(n_pages)};
    if (file.fd < 0 || ftruncate(file.fd, (off_t)file.n_bytes) != 0) {
        bench_fail("no memory");
    }
    return file;
}

static void *file_map(const struct file *file)
{
    void *base = mmap(NULL, file->n_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file->fd, 0);
    if (base == MAP_FAILED) {
        bench_fail("no memory");
    }
    return base;
}

static void file_unmap(const struct file *file, void *base)
{
    (void)munmap(base, file->n_bytes); /* it was mapped so */
}

static double recover_ms(const struct core_config *config, const struct file *file,
                         _Atomic uint64_t *states, uint32_t n_leased)
{
    void *base = file_map(file);
    const uint64_t began_ns = bench_now_ns();
    const int r = recover(&core, config, base, states_of_all, (void *)states, 0, why, sizeof(why));
    const double took_ms = (double)(bench_now_ns() - began_ns) / 1e6;
    if (r != 0 || core.clients.n_live != config->clients_limit || core.leases.n_pages != n_leased) {
        bench_fail("nothing was recovered: %s", why);
    }
    core_abandon(&core);
    file_unmap(file, base);
    return took_ms;
}

static int compare_doubles(const void *a, const void *b)
{
    const double left = *(const double *)a;
    const double right = *(const double *)b;
    return (left > right) - (left < right);
}

static void print(double median, double worst, const char *unit, const char *what, int bar)
{
    (void)printf("%s %-58s %8.2f %s (at most %.2f), bar %d\n", median <= bar ? "PASS" : "MISS",
                 what, median, unit, worst, bar);
}

static void measure_leases(void)
{
    double samples[N_SAMPLES];
    struct core_config config = fixture.config;
    const struct file file = file_new(N_PAGES);
    void *base = file_map(&file);
    _Atomic uint64_t *states = calloc(N_PAGES / 8 + 1, sizeof(*states));
    config.n_pages = N_PAGES;
    config.clients_limit = N_CLIENTS;
    if (states == NULL || core_init(&core, &config, base, 0) != 0) {
        bench_fail("no memory");
    }
    lease_many(states);
    core_abandon(&core);
    file_unmap(&file, base);
    for (size_t i = 0; i < N_SAMPLES; i++) {
        samples[i] = recover_ms(&config, &file, states, N_RUNS);
    }
    qsort(samples, N_SAMPLES, sizeof(samples[0]), compare_doubles);
    print(samples[N_SAMPLES / 2], samples[N_SAMPLES - 1], "ms",
          "1,000 clients and 100,000 leases recovered", BAR_MS);
    free((void *)states);
    (void)close(file.fd);
}

/* ---------------------------------------------------------------------------- what is shared -- */

static struct client *client_at(uint32_t slot)
{
    return clients_get(&core.clients, slot);
}

static struct sharing asking(uint32_t slot)
{
    return (struct sharing){.core = &core, .client = client_at(slot)};
}

static void share_one(uint32_t i, struct seg_off off)
{
    const struct sharing of = asking(i % N_CLIENTS);
    const struct sharing holder = asking(N_CLIENTS);
    const struct sharing_reason reason = {"followed", 8};
    struct share_handle handle;
    struct block block;
    struct attached attached;
    char text[16];
    if (sharing_share(&of, off, false, &handle, &block) != 0) {
        bench_fail("not shared");
    }
    if (i % (N_SHARES / N_HOLDS) == 0 &&
        sharing_attach(&holder, &handle, false, reason, &attached) != 0) {
        bench_fail("not attached");
    }
    (void)snprintf(text, sizeof(text), "frame%u", i);
    const struct sharing_name name = {.text = text, .n_bytes = strlen(text)};
    if (i % (N_SHARES / N_NAMES) == 1 && core.names.n_names < N_NAMES &&
        sharing_publish(&of, off, &name, names_version(&core.names), &block) != 0) {
        bench_fail("not published");
    }
}

/* The client behind the others holds every tenth block, if they are shared. */
static struct file fill(const struct core_config *config, bool is_shared)
{
    const struct file file = file_new(N_SHARE_PAGES);
    void *base = file_map(&file);
    struct client *client;
    if (core_init(&core, config, base, 0) != 0) {
        bench_fail("no memory");
    }
    for (uint32_t pid = 1; pid <= N_CLIENTS + 1; pid++) {
        const struct client_identity identity = fixture_identity(pid);
        assert_int_equal(core_join(&core, &identity, pid, 0, &client), 0);
    }
    for (uint32_t i = 0; i < N_SHARES; i++) {
        const struct direct_request request = {
            .num_bytes = BLOCK_BYTES, .reason = "frame", .n_reason_bytes = 5};
        struct direct_carved carved;
        assert_int_equal(direct_allocate(&core.direct, client_at(i % N_CLIENTS), &request, &carved),
                         0);
        if (is_shared) {
            share_one(i, carved.off);
        }
    }
    const uint32_t n_wanted = is_shared ? N_SHARES : 0;
    if (core.shares.n_shares != n_wanted || core.shares.n_holds != n_wanted / 10 ||
        core.names.n_names != (is_shared ? N_NAMES : 0)) {
        bench_fail("%u shares, %u holds, %u names", core.shares.n_shares, core.shares.n_holds,
                   core.names.n_names);
    }
    core_abandon(&core);
    file_unmap(&file, base);
    return file;
}

static void forget_obituary(const struct obituary *obituary, uint32_t slot, void *user)
{
    (void)obituary;
    (void)slot;
    (void)user;
}

/* Return: the longest step, in us. */
static double reap_holder_us(double *ret_total_us)
{
    double longest_us = 0;
    *ret_total_us = 0;
    core_end(&core, client_at(N_CLIENTS), false, 0);
    while (core_has_dead(&core)) {
        const uint64_t began_ns = bench_now_ns();
        reap(&core, REAP_BUDGET, forget_obituary, NULL);
        const double took_us = (double)(bench_now_ns() - began_ns) / 1e3;
        longest_us = took_us > longest_us ? took_us : longest_us;
        *ret_total_us += took_us;
    }
    if (core.shares.n_holds != 0) {
        bench_fail("%u holds are left", core.shares.n_holds);
    }
    return longest_us;
}

static void measure_death(const struct core_config *config, _Atomic uint64_t *states)
{
    double longest[N_SAMPLES];
    double total[N_SAMPLES];
    for (size_t i = 0; i < N_SAMPLES; i++) {
        const struct file file = fill(config, true);
        void *base = file_map(&file);
        if (recover(&core, config, base, states_of_all, (void *)states, 0, why, sizeof(why)) != 0) {
            bench_fail("nothing was recovered: %s", why);
        }
        longest[i] = reap_holder_us(&total[i]);
        core_abandon(&core);
        file_unmap(&file, base);
        (void)close(file.fd);
    }
    qsort(longest, N_SAMPLES, sizeof(longest[0]), compare_doubles);
    qsort(total, N_SAMPLES, sizeof(total[0]), compare_doubles);
    print(longest[N_SAMPLES / 2], longest[N_SAMPLES - 1], "us",
          "the longest step when a holder of 10,000 dies", BAR_STEP_US);
    (void)printf("     %-58s %8.2f us (at most %.2f)\n", "all steps of that", total[N_SAMPLES / 2],
                 total[N_SAMPLES - 1]);
}

static void measure_shares(void)
{
    double more[N_SAMPLES];
    double with[N_SAMPLES];
    struct core_config config = fixture.config;
    _Atomic uint64_t *states = calloc(N_SHARE_PAGES / 8 + 1, sizeof(*states));
    config.n_pages = N_SHARE_PAGES;
    config.clients_limit = N_CLIENTS + 1;
    if (states == NULL) {
        bench_fail("no memory");
    }
    const struct file bare = fill(&config, false);
    const struct file shared = fill(&config, true);
    for (size_t i = 0; i < N_SAMPLES; i++) {
        const double without_ms = recover_ms(&config, &bare, states, 0);
        with[i] = recover_ms(&config, &shared, states, 0);
        more[i] = with[i] - without_ms;
    }
    qsort(with, N_SAMPLES, sizeof(with[0]), compare_doubles);
    qsort(more, N_SAMPLES, sizeof(more[0]), compare_doubles);
    print(more[N_SAMPLES / 2], more[N_SAMPLES - 1], "ms",
          "100,000 shares, 10,000 holds, 4,096 names: recovery more", BAR_SHARES_MS);
    (void)printf("     %-58s %8.2f ms (at most %.2f)\n", "all of that recovery",
                 with[N_SAMPLES / 2], with[N_SAMPLES - 1]);
    (void)close(bare.fd);
    (void)close(shared.fd);
    measure_death(&config, states);
    free((void *)states);
}

int main(void)
{
    /* A server's tables are new: what the one before has freed is not cleared for them. */
    (void)mallopt(M_MMAP_THRESHOLD, 131072);
    fixture_init(&fixture, 256, 8);
    measure_leases();
    measure_shares();
    fixture_fini(&fixture);
    return 0;
}

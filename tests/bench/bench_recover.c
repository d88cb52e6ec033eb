/* SPDX-License-Identifier: MIT */
/*
 * bench_recover.c - how long a server takes to go on with a killed one's state
 *
 * The largest state there is: every other page leased, to a thousand clients in turn; the ones
 * between are free. Nothing runs beside it but the core, in this process.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "daemon/core/recover.h"
#include "proto/lease.h"
#include "tests/bench/bench.h"
#include "tests/unit/fixture.h"
#include "tests/unit/unit.h"

#define N_SAMPLES 9
#define N_CLIENTS 1000
#define N_RUNS 100000
#define N_PAGES (2 * N_RUNS + 2)
#define BAR_MS 100

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

static double recover_ms(const struct core_config *config, void *base, _Atomic uint64_t *states)
{
    const uint64_t began_ns = bench_now_ns();
    const int r = recover(&core, config, base, states_of_all, (void *)states, 0, why, sizeof(why));
    const double took_ms = (double)(bench_now_ns() - began_ns) / 1e6;
    if (r != 0 || core.clients.n_live != N_CLIENTS || core.leases.n_pages != N_RUNS) {
        bench_fail("nothing was recovered: %s", why);
    }
    core_abandon(&core);
    return took_ms;
}

static int compare_doubles(const void *a, const void *b)
{
    const double left = *(const double *)a;
    const double right = *(const double *)b;
    return (left > right) - (left < right);
}

int main(void)
{
    double samples[N_SAMPLES];
    fixture_init(&fixture, 256, 8);
    struct core_config config = fixture.config;
    void *base = mmap(NULL, state_bytes(N_PAGES), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    _Atomic uint64_t *states = calloc(N_PAGES / 8 + 1, sizeof(*states));
    config.n_pages = N_PAGES;
    config.clients_limit = N_CLIENTS;
    if (base == MAP_FAILED || states == NULL || core_init(&core, &config, base, 0) != 0) {
        bench_fail("no memory");
    }
    lease_many(states);
    core_abandon(&core);
    for (size_t i = 0; i < N_SAMPLES; i++) {
        samples[i] = recover_ms(&config, base, states);
    }
    qsort(samples, N_SAMPLES, sizeof(samples[0]), compare_doubles);
    const double median = samples[N_SAMPLES / 2];
    (void)printf("%s %-58s %8.2f ms (at most %.2f), bar %d\n", median <= BAR_MS ? "PASS" : "MISS",
                 "1,000 clients and 100,000 leases recovered", median, samples[N_SAMPLES - 1],
                 BAR_MS);
    free((void *)states);
    fixture_fini(&fixture);
    return 0;
}

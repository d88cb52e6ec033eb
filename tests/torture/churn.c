/* SPDX-License-Identifier: MIT */
#include "tests/torture/churn.h"

#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <kmem/kmem.h>

#include "tests/system/client.h"
#include "tests/system/daemon.h"
#include "tests/system/deaths.h"
#include "tests/system/harness.h"
#include "tests/system/usage.h"
#include "tests/torture/killer.h"
#include "tests/support/seeded.h"

#define N_CHURNERS 8
#define N_BLOCKS 1000
#define KILL_EVERY_MS 50
/* 2 s: what else the machine does changes more slowly than that, and so meets both sides. */
#define SLICE_MS 2000
#define SLICE_KILLS (SLICE_MS / KILL_EVERY_MS)
/* 84 of 100: more than 1,000 in a minute. The rest find the keeper or the next server waiting for a
   processor, of which eight programs have all there are. */
#define STRICT_PERCENT 84
/* As many as the daemon keeps obituaries of: then nothing of it grows any more by design. */
#define N_WARM_UP 1100
/* What the allocator of the C library may have more at one time than at another. */
#define SOAK_SLACK_KIB 256
/* Where its leases lie decides how densely a client's entries stand; of eight, little is left. */
#define SOAK_SLACK_LEDGERS_KIB 512

/* Shared with the children; a line of the cache each. */
struct counter {
    _Alignas(64) _Atomic uint64_t n_steps;
    _Atomic bool *is_ending;
};

struct churn {
    struct counter *counters;
    struct client clients[N_CHURNERS];
    _Atomic bool *is_ending;
};

static void replace(void **block, struct seeded *seeded)
{
    /* The mix of tests/bench. */
    const uint32_t kind = seeded_below(seeded, 100);
    const uint32_t low = kind < 80 ? 16 : kind < 95 ? 512 : 8192;
    const uint32_t high = kind < 80 ? 512 : kind < 95 ? 8192 : 65536;
    const uint64_t num_bytes = low + seeded_below(seeded, high - low + 1);
    if (kmem_try_release(block) != 0) {
        fail("a release fails: %s", kmem_last_error());
    }
    *block = kmem_try_allocate(num_bytes, "churn");
    if (*block == NULL) {
        fail("%llu bytes are refused: %s", (unsigned long long)num_bytes, kmem_last_error());
    }
}

static void churner_run(const void *argument)
{
    static void *blocks[N_BLOCKS];
    struct counter *const counter = *(struct counter *const *)argument;
    struct seeded seeded = {(uint64_t)(uintptr_t)counter};
    /* Relaxed, both: a figure and a flag that guard nothing. */
    while (!atomic_load_explicit(counter->is_ending, memory_order_relaxed)) {
        replace(&blocks[seeded_below(&seeded, N_BLOCKS)], &seeded);
        (void)atomic_fetch_add_explicit(&counter->n_steps, 1, memory_order_relaxed);
    }
}

static void churner_start(struct churn *churn, unsigned int number)
{
    struct counter *const counter = &churn->counters[number];
    churn->clients[number] = client_start(churner_run, &counter);
}

static void churn_begin(struct churn *churn)
{
    const size_t num_bytes = (N_CHURNERS + 1) * sizeof(struct counter);
    void *const memory =
        mmap(NULL, num_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    expect_call(memory != MAP_FAILED);
    churn->counters = memory;
    churn->is_ending = (_Atomic bool *)&churn->counters[N_CHURNERS];
    for (unsigned int i = 0; i < N_CHURNERS; i++) {
        churn->counters[i].is_ending = churn->is_ending;
        churner_start(churn, i);
    }
}

static void churn_end(struct churn *churn)
{
    atomic_store_explicit(churn->is_ending, true, memory_order_relaxed); /* see churner_run() */
    for (unsigned int i = 0; i < N_CHURNERS; i++) {
        client_end(&churn->clients[i]);
    }
    expect_balanced();
}

static uint64_t count_steps(const struct churn *churn)
{
    uint64_t n_steps = 0;
    for (unsigned int i = 0; i < N_CHURNERS; i++) {
        /* Relaxed: a figure. */
        n_steps += atomic_load_explicit(&churn->counters[i].n_steps, memory_order_relaxed);
    }
    return n_steps;
}

/* ------------------------------------------------------------------- servers are killed ---- */

/* A kill may come while the keeper has not yet started the next: it meets nobody. */
static void sleep_until(uint64_t until_us)
{
    const uint64_t now_us = harness_now_us();
    if (now_us < until_us) {
        harness_sleep_ms((unsigned int)((until_us - now_us + 999) / 1000));
    }
}

/* As long as n_kills take; without a killer nobody is killed. Return: steps per second. */
static double slice(const struct churn *churn, struct killer *killer, uint64_t n_kills)
{
    const uint64_t begin_us = harness_now_us();
    const uint64_t n_before = count_steps(churn);
    for (uint64_t i = 1; i <= n_kills; i++) {
        sleep_until(begin_us + i * KILL_EVERY_MS * 1000);
        if (killer != NULL) {
            (void)killer_kill_server(killer);
        }
    }
    const double seconds = (double)(harness_now_us() - begin_us) / 1e6;
    return (double)(count_steps(churn) - n_before) / seconds;
}

/* Steps per second, without and with the killer. */
struct pace {
    double quiet;
    double killed;
};

static struct pace pace_in_turns(const struct churn *churn, struct killer *killer, uint64_t n_kills)
{
    const unsigned int n_pairs = (unsigned int)(n_kills / SLICE_KILLS);
    struct pace pace = {0, 0};
    expect_at_least(n_pairs, 1);
    for (unsigned int i = 0; i < n_pairs; i++) {
        pace.quiet += slice(churn, NULL, SLICE_KILLS) / n_pairs;
        pace.killed += slice(churn, killer, SLICE_KILLS) / n_pairs;
    }
    return pace;
}

static struct pace pace_without_rest(const struct churn *churn, struct killer *killer,
                                     uint64_t n_kills)
{
    struct pace pace;
    pace.quiet = slice(churn, NULL, n_kills / 2) / 2;
    pace.killed = slice(churn, killer, n_kills);
    pace.quiet += slice(churn, NULL, n_kills / 2) / 2;
    return pace;
}

void churn_survive(const struct churn_plan *plan)
{
    struct churn churn;
    struct killer killer = {.crew = NULL};
    const uint64_t n_kills = plan->seconds * UINT64_C(1000) / KILL_EVERY_MS;
    daemon_start("--size", "256MiB", "--log-level", "warning", NULL);
    churn_begin(&churn);
    harness_sleep_ms(1000);
    const struct pace pace = plan->without_rest ? pace_without_rest(&churn, &killer, n_kills)
                                                : pace_in_turns(&churn, &killer, n_kills);
    while (killer.n_killed < n_kills / 4) { /* however slow the machine is */
        (void)killer_kill_server(&killer);
        harness_sleep_ms(1);
    }
    const struct deaths deaths = deaths_count();
    harness_note("%.0f steps a second; with a kill every %d ms for %u s%s %.0f: %.1f %%",
                 pace.quiet, KILL_EVERY_MS, plan->seconds,
                 plan->without_rest ? " without rest" : "", pace.killed,
                 100 * pace.killed / pace.quiet);
    harness_note("%llu kills met %llu servers, %llu of them not yet ready",
                 (unsigned long long)n_kills, (unsigned long long)killer.n_killed,
                 (unsigned long long)deaths.n_unready);
    expect_only_kills(killer.n_killed);
    if (plan->is_strict) {
        expect_at_least(killer.n_killed, n_kills * STRICT_PERCENT / 100);
    }
    if (plan->is_strict && pace.killed < 0.7 * pace.quiet) {
        fail("%.1f %% of the throughput is lost", 100 - 100 * pace.killed / pace.quiet);
    }
    churn_end(&churn);
    daemon_stop();
}

/* ------------------------------------------------------------------- clients are killed ---- */

/* Memory of the processes, and of the ledgers, which are files that they share with the clients. */
struct sample {
    uint64_t memory_kib;
    uint64_t ledgers_kib;
    uint64_t n_fds;
};

static void hold_one(const void *argument)
{
    (void)argument;
    if (kmem_try_allocate(44, "warming up") == NULL) {
        fail("44 bytes are refused: %s", kmem_last_error());
    }
}

static int by_value(const void *left, const void *right)
{
    const uint64_t a = *(const uint64_t *)left;
    const uint64_t b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

/* Of one of a sample's figures, by where it is in there. */
static uint64_t median_of(const struct sample *samples, unsigned int n, size_t at)
{
    uint64_t *const values = malloc(n * sizeof(*values));
    expect_call(values != NULL);
    for (unsigned int i = 0; i < n; i++) {
        memcpy(&values[i], (const char *)&samples[i] + at, sizeof(values[i]));
    }
    qsort(values, n, sizeof(*values), by_value);
    const uint64_t middle = values[n / 2];
    free(values);
    return middle;
}

static struct sample median(const struct sample *samples, unsigned int n)
{
    return (struct sample){
        .memory_kib = median_of(samples, n, offsetof(struct sample, memory_kib)),
        .ledgers_kib = median_of(samples, n, offsetof(struct sample, ledgers_kib)),
        .n_fds = median_of(samples, n, offsetof(struct sample, n_fds)),
    };
}

static struct sample sample_take(void)
{
    return (struct sample){
        .memory_kib = daemon_memory_kib(),
        .ledgers_kib = daemon_ledger_bytes() >> 10,
        .n_fds = daemon_fds(),
    };
}

static void soak(struct churn *churn, struct sample *samples, unsigned int seconds)
{
    for (unsigned int i = 0; i < seconds; i++) {
        const unsigned int number = i % N_CHURNERS;
        client_kill(&churn->clients[number]);
        churner_start(churn, number);
        harness_sleep_ms(1000);
        samples[i] = sample_take();
    }
}

void churn_soak(unsigned int seconds)
{
    struct churn churn;
    struct sample *const samples = malloc(seconds * sizeof(*samples));
    expect_call(samples != NULL);
    expect_at_least(seconds, 8);
    daemon_start("--size", "256MiB", "--log-level", "warning", NULL);
    for (unsigned int i = 0; i < N_WARM_UP; i++) {
        client_run(hold_one, NULL);
    }
    churn_begin(&churn);
    const pid_t server = daemon_server_pid();
    soak(&churn, samples, seconds);
    const struct sample first = median(samples, seconds / 4);
    const struct sample last = median(&samples[seconds - seconds / 4], seconds / 4);
    harness_note("%u clients killed; first quarter: %llu KiB, ledgers %llu KiB, %llu descriptors; "
                 "last: %llu KiB, ledgers %llu KiB, %llu descriptors; %llu steps",
                 seconds, (unsigned long long)first.memory_kib,
                 (unsigned long long)first.ledgers_kib, (unsigned long long)first.n_fds,
                 (unsigned long long)last.memory_kib, (unsigned long long)last.ledgers_kib,
                 (unsigned long long)last.n_fds, (unsigned long long)count_steps(&churn));
    expect_equal(last.n_fds, first.n_fds);
    expect_at_most(last.memory_kib, first.memory_kib + SOAK_SLACK_KIB);
    expect_at_most(last.ledgers_kib, first.ledgers_kib + SOAK_SLACK_LEDGERS_KIB);
    expect_equal(daemon_server_pid(), server);
    churn_end(&churn);
    free(samples);
    daemon_stop();
}

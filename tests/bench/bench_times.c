/* SPDX-License-Identifier: MIT */
/*
 * bench_times.c - how long the daemon takes for what it promises to do soon, and how it idles
 *
 * Each figure has a bar that was set for a machine with nothing else to do; each is measured some
 * times, and the middle one counts. A test could not ask for them: what else runs on the machine
 * can only add. So a bar that is missed is printed, and the exit status is 0 all the same.
 *
 * It is written with the harness of the system tests, whose verbs start daemon and clients.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <kmem/kmem.h>

#include "tests/system/client.h"
#include "tests/system/daemon.h"
#include "tests/system/harness.h"
#include "tests/system/sharing.h"
#include "tests/system/usage.h"
#include "tests/wire/wire.h"

#define N_SAMPLES 9
#define MIB ((size_t)1 << 20)
/* No client leases blocks of this size: each is a request. */
#define DIRECT_BYTES (3 * MIB)

struct samples {
    double values[N_SAMPLES];
    size_t n;
};

static int compare_doubles(const void *a, const void *b)
{
    const double left = *(const double *)a;
    const double right = *(const double *)b;
    return (left > right) - (left < right);
}

static void samples_add(struct samples *samples, double value)
{
    expect_true(samples->n < N_SAMPLES);
    samples->values[samples->n++] = value;
}

/* Prints the middle one, the worst, and whether the middle one is below the bar. */
static void samples_print(struct samples *samples, const char *what, const char *unit, double bar)
{
    qsort(samples->values, samples->n, sizeof(samples->values[0]), compare_doubles);
    const double median = samples->values[samples->n / 2];
    (void)printf("%s %-58s %8.2f %s (at most %.2f), bar %.0f\n", median <= bar ? "PASS" : "MISS",
                 what, median, unit, samples->values[samples->n - 1], bar);
    (void)fflush(stdout);
}

/* ----------------------------------------------------------------------------- roll-ups ---- */

static void fill_segment(const void *argument)
{
    (void)argument;
    const int fd = wire_member();
    wire_fill(fd, 1000000, 16, 1000);
    client_pause();
    (void)close(fd);
}

/* What another client's longest pair took since it was asked last; in shared memory. */
static _Atomic uint64_t *longest_us;

static void allocate_until_told(const void *argument)
{
    (void)argument;
    client_say(1);
    while (!client_was_told()) {
        const uint64_t began_us = harness_now_us();
        void *block = kmem_try_allocate(DIRECT_BYTES, "measured");
        expect_call(block != NULL);
        expect_equal(kmem_try_release(&block), 0);
        const uint64_t took_us = harness_now_us() - began_us;
        if (took_us > *longest_us) {
            *longest_us = took_us; /* its only writer, but for the reset */
        }
    }
}

static double roll_up_ms(int fd)
{
    const struct stopwatch watch = stopwatch_start();
    Kmem__Response *const response = wire_ask(fd, request_ledger(NEW_REQUEST, 0, 0));
    const double took_ms = stopwatch_ms(&watch);
    expect_equal(response->body_case, KMEM__RESPONSE__BODY_LEDGER);
    wire_free(response);
    return took_ms;
}

static void measure_roll_ups(void)
{
    struct samples roll_ups = {.n = 0};
    struct samples added_waits = {.n = 0};
    daemon_start("--size", "64MiB", NULL);
    longest_us =
        mmap(NULL, sizeof(*longest_us), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    expect_call(longest_us != MAP_FAILED);
    struct client holder = client_begin(fill_segment, NULL);
    struct client other = client_begin(allocate_until_told, NULL);
    const int fd = wire_observer();
    for (unsigned int i = 0; i < N_SAMPLES; i++) {
        *longest_us = 0;
        harness_sleep_ms(100);
        const double without_ms = (double)*longest_us / 1000;
        *longest_us = 0;
        samples_add(&roll_ups, roll_up_ms(fd));
        samples_add(&added_waits, (double)*longest_us / 1000 - without_ms);
    }
    (void)close(fd);
    samples_print(&roll_ups, "a million blocks rolled up by reason", "ms", 100);
    samples_print(&added_waits, "what a pair of another client waits for that at most", "ms", 5);
    client_finish(&other);
    client_finish(&holder);
    daemon_stop();
    expect_call(munmap((void *)longest_us, sizeof(*longest_us)) == 0);
}

/* -------------------------------------------------------------------------------- deaths ---- */

static void hold_100000_blocks(const void *argument)
{
    (void)argument;
    for (unsigned int i = 0; i < 100000; i++) {
        expect_call(kmem_try_allocate(100, "held") != NULL);
    }
    client_pause();
}

static void measure_deaths(void)
{
    struct samples samples = {.n = 0};
    daemon_start("--size", "32MiB", NULL);
    for (unsigned int i = 0; i < N_SAMPLES; i++) {
        struct client victim = client_begin(hold_100000_blocks, NULL);
        client_kill(&victim); /* until its pidfd has fired */
        const struct stopwatch watch = stopwatch_start();
        expect_soon(usage_take().blocks == 0, 2000);
        samples_add(&samples, stopwatch_ms(&watch));
    }
    samples_print(&samples, "100,000 blocks of a killed client are back", "ms", 100);
    daemon_stop();
}

/* ----------------------------------------------------------------------- deaths of holders ---- */

static void hold_what_is_shared(const void *argument)
{
    const struct kmem_handle handle = await_handle();
    void *block;
    (void)argument;
    expect_equal(kmem_attach(&handle, KMEM_READ, "held", &block), 0);
    client_pause();
}

/* How many hold a block, its owner included. */
static size_t n_holders(int fd, uint64_t offset)
{
    Kmem__Response *const response = wire_ask(fd, request_holders(NEW_REQUEST, offset));
    expect_equal(response->body_case, KMEM__RESPONSE__BODY_HOLDERS);
    const size_t n = response->holders->n_holders;
    wire_free(response);
    return n;
}

static void measure_deaths_of_holders(void)
{
    struct samples samples = {.n = 0};
    struct kmem_handle handle;
    daemon_start("--size", "32MiB", NULL);
    void *block = kmem_try_allocate(100, "shared");
    expect_call(block != NULL);
    expect_equal(kmem_share(block, 0, &handle), 0);
    const int fd = wire_observer();
    for (unsigned int i = 0; i < N_SAMPLES; i++) {
        struct client victim = client_start(hold_what_is_shared, NULL);
        tell_handle(&victim, &handle);
        (void)client_hear(&victim); /* it pauses */
        expect_equal(n_holders(fd, handle.offset), 2);
        client_kill_only(&victim); /* until its pidfd has fired */
        const struct stopwatch watch = stopwatch_start();
        while (n_holders(fd, handle.offset) != 1) {
        }
        samples_add(&samples, stopwatch_ms(&watch));
        client_end_by(&victim, SIGKILL);
    }
    samples_print(&samples, "what a killed client held is let go of, as a query tells", "ms", 1);
    (void)close(fd);
    expect_equal(kmem_try_release(&block), 0);
    expect_equal(kmem_close(), 0);
    daemon_stop();
}

/* ----------------------------------------------------------------------------- revocation ---- */

static void hoard_unused_pages(const void *argument)
{
    static void *blocks[60];
    (void)argument;
    for (size_t i = 0; i < 60; i++) {
        blocks[i] = kmem_try_allocate(MIB, "hoarded");
        expect_call(blocks[i] != NULL);
    }
    for (size_t i = 0; i < 60; i++) {
        expect_equal(kmem_try_release(&blocks[i]), 0);
    }
    client_pause();
}

static void take_what_is_unused(const void *argument)
{
    (void)argument;
    void *small = kmem_try_allocate(100, "joined");
    expect_call(small != NULL);
    const struct stopwatch watch = stopwatch_start();
    void *block = kmem_try_allocate(50 * MIB, "what the other does not use");
    const double took_ms = stopwatch_ms(&watch);
    expect_call(block != NULL);
    client_say((uint64_t)(took_ms * 1000));
}

static void measure_revocation(void)
{
    struct samples samples = {.n = 0};
    for (unsigned int i = 0; i < N_SAMPLES; i++) {
        daemon_start("--size", "64MiB", NULL);
        struct client hoarder = client_begin(hoard_unused_pages, NULL);
        client_stop(&hoarder);
        struct client taker = client_start(take_what_is_unused, NULL);
        samples_add(&samples, (double)client_hear(&taker) / 1000);
        client_end(&taker);
        client_kill(&hoarder);
        daemon_stop();
    }
    samples_print(&samples, "50 MiB that a stopped client does not use, in one call", "ms", 200);
}

/* ------------------------------------------------------------------------------ idleness ---- */

static void churn_in_leases(const void *argument)
{
    (void)argument;
    client_say(1);
    while (!client_was_told()) {
        for (unsigned int i = 0; i < 1000; i++) {
            void *block = kmem_try_allocate(100, "churn");
            expect_call(block != NULL);
            expect_equal(kmem_try_release(&block), 0);
        }
    }
}

static void hold_a_block(const void *argument)
{
    (void)argument;
    expect_call(kmem_try_allocate(44, "held") != NULL);
    client_pause();
}

static void measure_idleness_beside(void (*run)(const void *argument), const char *what)
{
    struct samples wakeups = {.n = 0};
    struct samples cpu_ms = {.n = 0};
    char line[80];
    daemon_start("--size", "64MiB", NULL);
    expect_log_line("2 MiB pages"); /* which it makes in the background, once */
    struct client client = client_begin(run, NULL);
    harness_sleep_ms(500);
    for (unsigned int i = 0; i < 3; i++) {
        const uint64_t wakeups_before = daemon_wakeups();
        const uint64_t cpu_before_ms = daemon_cpu_ms();
        harness_sleep_ms(2000);
        samples_add(&wakeups, (double)(daemon_wakeups() - wakeups_before));
        samples_add(&cpu_ms, (double)(daemon_cpu_ms() - cpu_before_ms));
    }
    (void)snprintf(line, sizeof(line), "the daemon's wake-ups in 2 s, beside a client that %s",
                   what);
    samples_print(&wakeups, line, "", 22); /* its tick, ten times a second */
    (void)snprintf(line, sizeof(line), "the daemon's processor time in 2 s, beside such a client");
    samples_print(&cpu_ms, line, "ms", 10);
    client_finish(&client);
    daemon_stop();
}

static void measure_idleness(void)
{
    measure_idleness_beside(hold_a_block, "sleeps");
    measure_idleness_beside(churn_in_leases, "churns");
}

static const struct system_test times[] = {
    {"roll-ups", measure_roll_ups, 600},
    {"deaths", measure_deaths, 600},
    {"deaths of holders", measure_deaths_of_holders, 600},
    {"revocation", measure_revocation, 600},
    {"idleness", measure_idleness, 600},
};

int main(int argc, char **argv)
{
    return harness_run(times, sizeof(times) / sizeof(times[0]), argc, argv);
}

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
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <kmem/kmem.h>

#include "proto/limits.h"
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
    (void)printf("%s %-58s %8.2f %s (at most %.2f), bar %g\n", median <= bar ? "PASS" : "MISS",
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

/* ------------------------------------------------------------------------------- clearing ---- */

#define LEFT_BYTES (256 * MIB)
/* 100 ms: what is measured of another client is measured for so long after each death. */
#define CLEARING_MS 100
#define CLEARED_MS_MOST 5000
#define N_PAIRS_MAX (1U << 16)

/* Of another client, while `counts`; in shared memory. */
static struct pairs {
    _Atomic bool counts;
    _Atomic uint32_t n;
    double us[N_PAIRS_MAX];
} * pairs;

static void fill_256_mib(const void *argument)
{
    (void)argument;
    for (size_t at = 0; at < LEFT_BYTES; at += MIB) {
        void *block = kmem_try_allocate(MIB, "left");
        expect_call(block != NULL);
        memset(block, 0xa5, MIB);
    }
    client_pause();
}

static void pair_until_told(const void *argument)
{
    (void)argument;
    const int fd = wire_member();
    (void)wire_allocate(fd, 100, "held"); /* its page stays this client's, and no owner's */
    client_say(1);
    while (!client_was_told()) {
        const uint64_t began_us = harness_now_us();
        expect_equal(wire_release(fd, wire_allocate(fd, 100, "measured")), 0);
        if (pairs->counts && pairs->n < N_PAIRS_MAX) {
            pairs->us[pairs->n++] = (double)(harness_now_us() - began_us); /* its only writer */
        }
        (void)usleep(50);
    }
    (void)close(fd);
}

/* The first page that is not zero from `page` on, as its first byte tells; n_pages: none. */
static size_t next_not_zero(const unsigned char *segment, size_t page, size_t n_pages)
{
    while (page < n_pages && segment[page * PAGE_BYTES] == 0) {
        page++;
    }
    return page;
}

/* Return: when all was zero, or CLEARED_MS_MOST; without clears: CLEARING_MS. */
static double kill_and_watch(struct client *owner, bool clears, const unsigned char *segment,
                             size_t n_pages)
{
    double now_ms = 0;
    double zero_ms = clears ? CLEARED_MS_MOST : CLEARING_MS;
    client_kill(owner); /* until its pidfd has fired */
    const struct stopwatch watch = stopwatch_start();
    for (size_t page = 1; now_ms < CLEARING_MS || now_ms < zero_ms;) {
        pairs->counts = now_ms < CLEARING_MS;
        page = next_not_zero(segment, page, n_pages);
        now_ms = stopwatch_ms(&watch);
        zero_ms = page == n_pages && now_ms < zero_ms ? now_ms : zero_ms;
        harness_sleep_ms(1);
    }
    pairs->counts = false;
    return zero_ms;
}

/* Return: the 99th percentile of another client's pairs meanwhile. */
static double watch_clearing(bool clears, struct samples *ret_cleared)
{
    const size_t num_bytes = 512 * MIB;
    daemon_start("--size", "512MiB", clears ? "--scrub=on" : "--scrub=off", NULL);
    expect_log_line("2 MiB pages"); /* which it makes in the background, once */
    const int fd = daemon_open_memfd("segment");
    const unsigned char *const segment = mmap(NULL, num_bytes, PROT_READ, MAP_SHARED, fd, 0);
    expect_call(segment != MAP_FAILED);
    pairs->n = 0;
    struct client other = client_begin(pair_until_told, NULL);
    for (unsigned int i = 0; i < N_SAMPLES; i++) {
        struct client owner = client_begin(fill_256_mib, NULL);
        samples_add(ret_cleared, kill_and_watch(&owner, clears, segment, num_bytes / PAGE_BYTES));
    }
    client_finish(&other);
    (void)munmap((void *)(uintptr_t)segment, num_bytes);
    (void)close(fd);
    daemon_stop();
    qsort(pairs->us, pairs->n, sizeof(pairs->us[0]), compare_doubles);
    return pairs->us[(size_t)pairs->n / 100 * 99] / 1000;
}

static void measure_clearing(void)
{
    struct samples cleared = {.n = 0};
    struct samples not_cleared = {.n = 0};
    struct samples moves = {.n = 0};
    pairs = mmap(NULL, sizeof(*pairs), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    expect_call(pairs != MAP_FAILED);
    const double without_ms = watch_clearing(false, &not_cleared);
    samples_add(&moves, watch_clearing(true, &cleared) - without_ms);
    samples_print(&cleared, "256 MiB of a killed client are zero again", "ms", CLEARING_MS);
    samples_print(&moves, "what that moves the p99 of another client's pair by", "ms", 0.2);
    expect_call(munmap(pairs, sizeof(*pairs)) == 0);
}

/* ----------------------------------------------------------------------------- beginnings ---- */

/* Return: how long the system takes for a file of so many bytes; below 0: it has not as many. */
static double commit_bare_ms(uint64_t num_bytes)
{
    const int fd = memfd_create("bare", MFD_CLOEXEC);
    expect_call(fd >= 0 && ftruncate(fd, (off_t)num_bytes) == 0);
    const struct stopwatch watch = stopwatch_start();
    const bool is_there = posix_fallocate(fd, 0, (off_t)num_bytes) == 0;
    const double took_ms = stopwatch_ms(&watch);
    (void)close(fd);
    return is_there ? took_ms : -1;
}

static double start_ms(const char *size)
{
    static const struct daemon_setting as_usual = {.max_fds = 0};
    struct daemon_end end;
    const struct stopwatch watch = stopwatch_start();
    expect_true(daemon_try_start(&as_usual, OPTIONS("--size", size), &end));
    const double took_ms = stopwatch_ms(&watch); /* until its ready line was read */
    daemon_remember_idle();
    daemon_stop();
    harness_sleep_ms(200); /* its scrubber ends, and the memory is free again */
    return took_ms;
}

/*
 * One after the other, each first in turn: what a machine needs for the same memory swings, and
 * what came back last is taken first. Return: the ratio; below 0: there is not as much memory.
 */
static double start_over_bare(const char *size, uint64_t num_bytes, bool bare_first)
{
    const double first_ms = bare_first ? commit_bare_ms(num_bytes) : 0;
    const double took_ms = first_ms < 0 ? 0 : start_ms(size);
    const double bare_ms = bare_first ? first_ms : commit_bare_ms(num_bytes);
    return bare_ms < 0 ? -1 : took_ms / bare_ms;
}

static void measure_start_of(const char *size, uint64_t num_bytes, double bar)
{
    struct samples ratios = {.n = 0};
    char line[80];
    for (unsigned int i = 0; i < N_SAMPLES; i++) {
        const double ratio = start_over_bare(size, num_bytes, i % 2 == 0);
        if (ratio < 0) {
            (void)printf("NOT MEASURED: a start with %s, for want of memory\n", size);
            return;
        }
        samples_add(&ratios, ratio);
    }
    (void)snprintf(line, sizeof(line), "%s: until it is ready, over a bare fallocate", size);
    samples_print(&ratios, line, "x ", bar);
}

static void measure_starts(void)
{
    measure_start_of("256MiB", 256 * MIB, 1.5); /* its processes take some 5 ms */
    measure_start_of("4GiB", 4096 * MIB, 1.1);
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
    {"starts", measure_starts, 600},
    {"clearing", measure_clearing, 600},
    {"deaths of holders", measure_deaths_of_holders, 600},
    {"revocation", measure_revocation, 600},
    {"idleness", measure_idleness, 600},
};

int main(int argc, char **argv)
{
    return harness_run(times, sizeof(times) / sizeof(times[0]), argc, argv);
}

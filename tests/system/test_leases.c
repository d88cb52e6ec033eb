/* SPDX-License-Identifier: MIT */
/*
 * test_leases.c - clients that carve up their leases: what it costs the others, and what is told
 *
 * A size is leased from its second block on, while memory is plenty; so each client uses a size
 * before the test looks.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <kmem/kmem.h>

#include "proto/notice.h"
#include "tests/system/blocks.h"
#include "tests/system/client.h"
#include "tests/system/daemon.h"
#include "tests/system/harness.h"
#include "tests/system/usage.h"

#define KIB ((size_t)1024)
#define MIB ((size_t)1024 * 1024)
#define N_WARM 64
#define N_HELD_MAX 1024
/* The argument of this program that makes it the second half of a test. */
#define AFTER_EXEC "after-exec"

/* -------------------------------------------------------------------------------- clients ---- */

/* From then on blocks of the size are leased. */
static void warm_up(size_t num_bytes)
{
    for (unsigned int i = 0; i < N_WARM; i++) {
        release(allocate(num_bytes, "warm up"));
    }
}

/* ----------------------------------------------------------------- unused pages come back ---- */

static void hoard_unused_pages(const void *argument)
{
    const size_t n_blocks = *(const size_t *)argument;
    void *blocks[64];
    warm_up(MIB);
    char *kept = allocate(100, "kept");
    memset(kept, 'k', 100);
    for (size_t i = 0; i < n_blocks; i++) {
        blocks[i] = allocate(MIB, "hoard");
    }
    for (size_t i = 0; i < n_blocks; i++) {
        release(blocks[i]);
    }
    client_pause();
    for (size_t i = 0; i < 100; i++) {
        expect_equal(kept[i], 'k');
    }
    release(allocate(MIB, "after it was stopped"));
    release(kept);
}

static void take_in_one_call(const void *argument)
{
    const size_t num_bytes = *(const size_t *)argument;
    release(allocate(100, "joined"));
    const uint64_t n_first = usage_take().requests;
    const uint64_t n_before = usage_take().requests;
    const struct stopwatch watch = stopwatch_start();
    unsigned char *block = allocate(num_bytes, "what the other does not use");
    harness_note("%zu MiB in %.1f ms", num_bytes / MIB, stopwatch_ms(&watch));
    /* To ask for this figure takes requests, too; the block took one. */
    expect_equal(usage_take().requests - n_before, n_before - n_first + 1);
    for (size_t at = 0; at < num_bytes; at += 4096) {
        expect_equal(block[at], 0);
    }
    client_pause();
    release(block);
}

static void test_unused_pages_of_a_stopped_client_are_anothers_in_one_call(void)
{
    const size_t n_blocks = 28; /* less than half: then large blocks are of leases */
    const size_t wanted_bytes = 58 * MIB;
    daemon_start("--size", "64MiB", NULL);
    struct client hoarder = client_begin(hoard_unused_pages, &n_blocks);
    client_stop(&hoarder);
    const struct usage before = usage_take();
    expect_at_least(before.unused_bytes, 20 * MIB);
    expect_equal(before.unused_bytes, client_row_of(hoarder.pid).leased_bytes);
    struct client asker = client_begin(take_in_one_call, &wanted_bytes);
    const struct usage after = usage_take();
    expect_equal(after.refusals, 0);
    expect_at_least(after.revoked_bytes - before.revoked_bytes, 14 * MIB);
    expect_equal(after.used_bytes, 58 * MIB + 100);
    client_finish(&asker);
    client_continue(&hoarder);
    client_finish(&hoarder);
    daemon_stop_balanced();
}

static void fill_until_refused(const void *argument)
{
    const size_t num_bytes = *(const size_t *)argument;
    size_t n_blocks = 0;
    while (kmem_try_allocate(num_bytes, "fill") != NULL) {
        n_blocks++;
    }
    expect_equal(errno, ENOMEM);
    harness_note("%zu blocks of %zu bytes, then \"%s\"", n_blocks, num_bytes, kmem_last_error());
    client_say(n_blocks);
    client_await();
}

static void test_no_memory_is_said_only_when_nobody_has_an_unused_page(void)
{
    const size_t n_blocks = 14; /* less than half: as above */
    const size_t sizes[] = {64, 3000, 64 * KIB, 600 * KIB};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        daemon_start("--size", "32MiB", NULL);
        struct client hoarder = client_begin(hoard_unused_pages, &n_blocks);
        client_stop(&hoarder);
        expect_at_least(usage_take().unused_bytes, 10 * MIB);
        struct client filler = client_start(fill_until_refused, &sizes[i]);
        const uint64_t n_filled = client_hear(&filler);
        const struct usage usage = usage_take();
        expect_equal(usage.unused_bytes, 0);
        expect_at_most(usage.largest_hole_bytes, sizes[i] - 1);
        expect_at_least(n_filled * sizes[i], 32 * MIB / 4 * 3);
        client_kill(&filler);
        client_kill(&hoarder);
        daemon_stop_balanced();
    }
}

/* --------------------------------------------------------------------- the daemon is idle ---- */

static void churn_in_leases(const void *argument)
{
    static void *live[256];
    const uint64_t n_pairs = *(const uint64_t *)argument;
    for (uint64_t i = 0; i < 2 * n_pairs; i++) {
        void **const slot = &live[i * 7 % 256];
        if (i == n_pairs) { /* all sizes are leased */
            client_pause();
        }
        expect_equal(kmem_try_release(slot), 0);
        *slot = allocate((size_t)16 << (i * 7 % 256 % 12), "churn");
    }
    client_pause();
}

/* How many requests the daemon has answered; to ask for it is always the same number of them. */
static uint64_t requests_of_others(uint64_t n_own)
{
    return usage_take().requests - n_own;
}

static void test_daemon_is_asked_nothing_while_clients_allocate_from_their_leases(void)
{
    const uint64_t n_pairs = harness_scaled(1000000);
    daemon_start("--size", "64MiB", NULL);
    struct client client = client_begin(churn_in_leases, &n_pairs);
    const uint64_t n_first = usage_take().requests;
    const uint64_t n_before = usage_take().requests;
    const uint64_t n_own = n_before - n_first;
    client_resume(&client);
    expect_equal(requests_of_others(n_own), n_before);
    client_finish(&client);
    daemon_stop_balanced();
}

/* --------------------------------------------------------------------------------- quotas ---- */

static void use_up_the_quota(const void *argument)
{
    static void *blocks[N_HELD_MAX];
    const size_t num_bytes = *(const size_t *)argument;
    size_t n_blocks = 0;
    while ((blocks[n_blocks] = kmem_try_allocate(num_bytes, "greedy")) != NULL) {
        n_blocks++;
        expect_true(n_blocks < N_HELD_MAX);
    }
    expect_equal(errno, ENOMEM);
    expect_match(kmem_last_error(),
                 "^kmem_try_allocate: for \"greedy\": .* over the quota: process "
                 "[0-9]+ has .* of the 4\\.0 MiB that one client may have; "
                 "release some of it, or start kmemd with a larger --quota$");
    expect_at_least(n_blocks * num_bytes, 3 * MIB);
    expect_at_most(n_blocks * num_bytes, 4 * MIB);
    client_say(n_blocks);
    client_await();
    for (size_t i = 0; i < n_blocks; i++) {
        release(blocks[i]);
    }
    /* What it released counts no more, though its pages are unused ones of a lease. */
    release(allocate(2 * MIB + 1, "another size"));
}

static void need_three_mib(const void *argument)
{
    (void)argument;
    void *blocks[48];
    for (size_t i = 0; i < 48; i++) {
        blocks[i] = allocate(64 * KIB, "within the quota");
    }
    for (size_t i = 0; i < 48; i++) {
        release(blocks[i]);
    }
}

static void test_quota_stops_one_client_and_nobody_else(void)
{
    const size_t sizes[] = {5000, 64 * KIB, 200 * KIB};
    daemon_start("--quota", "4MiB", NULL);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct client greedy = client_begin(use_up_the_quota, &sizes[i]);
        client_run(need_three_mib, NULL);
        client_finish(&greedy);
        expect_balanced();
    }
    expect_at_least(usage_take().refusals, 3);
    daemon_stop();
}

/* ---------------------------------------------------------------------------------- death ---- */

static void hold_leased_blocks(const void *argument)
{
    (void)argument;
    warm_up(100);
    warm_up(300 * KIB);
    for (unsigned int i = 0; i < 1000; i++) {
        (void)allocate(100, i % 4 == 0 ? "victim/few" : "victim/many");
    }
    for (unsigned int i = 0; i < 3; i++) {
        (void)allocate(300 * KIB, "victim/frame#1");
    }
    client_pause();
}

static void expect_obituary_row(const struct obituary *obituary, size_t at, const char *key,
                                uint64_t n_blocks, uint64_t num_bytes)
{
    expect_text(obituary->rows[at].key, key);
    expect_equal(obituary->rows[at].n_blocks, n_blocks);
    expect_equal(obituary->rows[at].num_bytes, num_bytes);
}

static void test_killed_client_with_leases_has_an_obituary_by_reason(void)
{
    daemon_start("--size", "32MiB", NULL);
    struct client victim = client_begin(hold_leased_blocks, NULL);
    expect_usage(UINT64_C(1000) * 100 + UINT64_C(3) * 300 * KIB, 1003);
    expect_ledger_row("victim/frame", 3, UINT64_C(3) * 300 * KIB);
    expect_ledger_row("victim/few", 250, 25000);
    expect_at_least(usage_take().leased_bytes, MIB);
    client_kill(&victim);
    expect_balanced();
    const struct obituary obituary = obituary_of(victim.pid);
    expect_true(obituary.found && !obituary.left);
    expect_equal(obituary.n_blocks, 1003);
    expect_equal(obituary.num_bytes, UINT64_C(1000) * 100 + UINT64_C(3) * 300 * KIB);
    expect_equal(obituary.n_reasons, 3);
    expect_equal(obituary.n_rows, 3);
    expect_obituary_row(&obituary, 0, "victim/frame", 3, UINT64_C(3) * 300 * KIB);
    expect_obituary_row(&obituary, 1, "victim/many", 750, 75000);
    expect_obituary_row(&obituary, 2, "victim/few", 250, 25000);
    daemon_stop();
}

/* -------------------------------------------------------------------------------- reasons ---- */

static void use_a_million_reasons(const void *argument)
{
    const uint64_t n_reasons = *(const uint64_t *)argument;
    static void *live[1000];
    warm_up(48);
    for (unsigned int i = 0; i < 10; i++) {
        (void)allocate(48, "known before");
    }
    for (uint64_t i = 0; i < n_reasons; i++) {
        char reason[64];
        (void)snprintf(reason, sizeof(reason), "distinct/%llu", (unsigned long long)i);
        void **const slot = &live[i % 1000];
        expect_equal(kmem_try_release(slot), 0);
        *slot = allocate(48, reason);
    }
    for (unsigned int i = 0; i < 10; i++) {
        (void)allocate(48, "known before");
    }
    client_pause();
}

static void test_a_million_distinct_reasons_do_no_harm(void)
{
    static struct ledger_row rows[2048];
    const uint64_t n_reasons = HARNESS_SANITIZED ? 100000 : 1000000;
    daemon_start(NULL, NULL);
    struct client client = client_begin(use_a_million_reasons, &n_reasons);
    expect_usage(UINT64_C(1020) * 48, 1020);
    expect_ledger_row("known before", 20, UINT64_C(20) * 48);
    const size_t n_rows = ledger_rows(KMEM__GROUP_BY__GROUP_BY_REASON, rows, 2048);
    harness_note("%zu rows", n_rows);
    expect_at_most(n_rows, 1001);
    expect_text(rows[0].key, "<other reasons>");
    expect_equal(rows[0].n_blocks, 1000);
    expect_ledger_sound();
    client_finish(&client);
    daemon_stop_balanced();
}

static void reuse_a_buffer(const void *argument)
{
    static char reason[32];
    (void)argument;
    warm_up(200);
    for (unsigned int i = 0; i < 300; i++) {
        (void)snprintf(reason, sizeof(reason), "camera%u/frame#%u", i % 3, i % 7);
        (void)allocate(200, reason);
    }
    client_pause();
}

static void test_reused_buffer_with_new_text_is_a_new_reason(void)
{
    daemon_start(NULL, NULL);
    struct client client = client_begin(reuse_a_buffer, NULL);
    expect_ledger_row("camera0/frame", 100, 20000);
    expect_ledger_row("camera1/frame", 100, 20000);
    expect_ledger_row("camera2/frame", 100, 20000);
    expect_ledger_sound();
    client_finish(&client);
    daemon_stop_balanced();
}

static void allocate_at_sites(void)
{
    static struct kmem_site one;
    static struct kmem_site both;
    warm_up(100);
    for (unsigned int i = 0; i < 100; i++) {
        expect_call(kmem_try_allocate_at(100, "site/one", &one) != NULL);
        expect_call(kmem_try_allocate_at(100, i % 2 == 0 ? "site/even" : "site/odd", &both) !=
                    NULL);
    }
}

static void join_twice_with_sites(const void *argument)
{
    (void)argument;
    allocate(100, "only the first time");
    allocate_at_sites();
    expect_equal(kmem_close(), 0);
    allocate_at_sites();
    client_pause();
}

/* The numbers of reasons are others each time: a site that remembered would name the wrong one. */
static void test_sites_name_their_reasons_after_a_close(void)
{
    daemon_start(NULL, NULL);
    struct client client = client_begin(join_twice_with_sites, NULL);
    expect_usage(UINT64_C(200) * 100, 200);
    expect_ledger_row("site/one", 100, 10000);
    expect_ledger_row("site/even", 50, 5000);
    expect_ledger_row("site/odd", 50, 5000);
    client_finish(&client);
    daemon_stop_balanced();
}

static void fork_with_sites(const void *argument)
{
    (void)argument;
    allocate_at_sites();
    (void)fflush(NULL);
    const pid_t child = fork();
    expect_call(child >= 0);
    if (child == 0) {
        release(allocate(3000, "only in the child"));
        allocate_at_sites();
        expect_ledger_row("site/one", 200, 20000);
        expect_ledger_row("site/even", 100, 10000);
        expect_ledger_row("site/odd", 100, 10000);
        _exit(0);
    }
    int status = -1;
    expect_equal(waitpid(child, &status, 0), child);
    expect_equal(status, 0);
}

static void test_sites_name_their_reasons_in_a_forked_child(void)
{
    daemon_start(NULL, NULL);
    client_run(fork_with_sites, NULL);
    daemon_stop_balanced();
}

/*
 * What the process is after its exec: a program that knows nothing of what it was, the line to the
 * test included. It stops where the test is to look.
 */
static int go_on_after_exec(void)
{
    static void *blocks[2000];
    warm_up(100);
    for (unsigned int i = 0; i < 2000; i++) {
        blocks[i] = allocate(100, "after exec");
    }
    (void)raise(SIGSTOP);
    for (unsigned int i = 0; i < 2000; i++) {
        release(blocks[i]);
    }
    (void)raise(SIGSTOP);
    return 0;
}

static void wait_for_its_stop(const struct client *client)
{
    int status = 0;
    expect_equal(waitpid(client->pid, &status, WUNTRACED), client->pid);
    expect_true(WIFSTOPPED(status));
}

static void hold_blocks_and_exec(const void *argument)
{
    (void)argument;
    warm_up(100);
    for (unsigned int i = 0; i < 300; i++) {
        (void)allocate(100, "before exec");
    }
    (void)execl("/proc/self/exe", "self", AFTER_EXEC, NULL);
    fail("execl: %s", strerror(errno));
}

/* The new program says Hello without the nonce: it is another client, the former one has ended. */
static void test_exec_and_a_call_end_the_client_that_was(void)
{
    daemon_start(NULL, NULL);
    struct client client = client_start(hold_blocks_and_exec, NULL);
    wait_for_its_stop(&client);
    expect_usage(200000, 2000);
    expect_ledger_row("after exec", 2000, 200000);
    expect_ledger_sound(); /* none overlaps another */
    client_continue(&client);
    wait_for_its_stop(&client);
    expect_usage(0, 0);
    expect_ledger_sound();
    client_continue(&client);
    client_end(&client);
    daemon_stop_balanced();
}

static void allocate_at_two_times(const void *argument)
{
    (void)argument;
    warm_up(100);
    (void)allocate(100, "first");
    client_pause();
    (void)allocate(100, "second");
    client_pause();
}

/* The age of the block with this reason, -1 if it is not there. */
static int64_t age_ms_of(pid_t pid, const char *reason)
{
    struct block_row rows[2] = {{.offset = 0}};
    const size_t n_rows = ledger_blocks_of(pid, rows, 2);
    for (size_t i = 0; i < n_rows && i < 2; i++) {
        if (strcmp(rows[i].reason, reason) == 0) {
            return (int64_t)rows[i].age_ms;
        }
    }
    return -1;
}

static uint32_t clock_tick(int clock_fd)
{
    uint32_t tick = 0;
    expect_equal(pread(clock_fd, &tick, sizeof(tick), CLOCK_TICK_AT), sizeof(tick));
    return tick;
}

/* The clock has ticks of 100 ms: that much an age may lack. What is allocated is as old as the tick
   that its process reads, and a busy machine moves that late. */
static void test_ages_of_leased_blocks_are_those_of_a_clock(void)
{
    daemon_start(NULL, NULL);
    const int clock_fd = daemon_open_memfd("clock");
    const struct stopwatch watch = stopwatch_start();
    struct client client = client_begin(allocate_at_two_times, NULL);
    const uint32_t tick = clock_tick(clock_fd);
    expect_soon(age_ms_of(client.pid, "first") >= 700, 1000);
    expect_lasted(&watch, 500);
    expect_soon(clock_tick(clock_fd) >= tick + 7, 1000);
    (void)close(clock_fd);
    client_resume(&client);
    expect_soon(age_ms_of(client.pid, "second") >= 300, 1000);
    const int64_t second_ms = age_ms_of(client.pid, "second");
    const int64_t first_ms = age_ms_of(client.pid, "first");
    expect_at_least(first_ms, second_ms + 600);
    client_finish(&client);
    daemon_stop_balanced();
}

static const struct system_test tests[] = {
    SYSTEM_TEST(test_reused_buffer_with_new_text_is_a_new_reason, 10),
    SYSTEM_TEST(test_sites_name_their_reasons_after_a_close, 10),
    SYSTEM_TEST(test_sites_name_their_reasons_in_a_forked_child, 10),
    SYSTEM_TEST(test_exec_and_a_call_end_the_client_that_was, 10),
    SYSTEM_TEST(test_ages_of_leased_blocks_are_those_of_a_clock, 10),
    SYSTEM_TEST(test_killed_client_with_leases_has_an_obituary_by_reason, 10),
    SYSTEM_TEST(test_quota_stops_one_client_and_nobody_else, 20),
    SYSTEM_TEST(test_unused_pages_of_a_stopped_client_are_anothers_in_one_call, 20),
    SYSTEM_TEST(test_no_memory_is_said_only_when_nobody_has_an_unused_page, 30),
    SYSTEM_TEST(test_daemon_is_asked_nothing_while_clients_allocate_from_their_leases, 20),
    SYSTEM_TEST(test_a_million_distinct_reasons_do_no_harm, 60),
};

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], AFTER_EXEC) == 0) {
        return go_on_after_exec();
    }
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}

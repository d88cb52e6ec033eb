/* SPDX-License-Identifier: MIT */
/*
 * test_memory.c - what the daemon's processes take beside the four files, and that they rest
 *
 * The sums of docs/design.md, "What the daemon takes", are compared with what the system says that
 * keeper, server and scrubber have: their own memory, and of what they share with others, programs
 * and libraries, their part. Bytes are counted and no time is.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <kmem/kmem.h>

#include "proto/limits.h"
#include "tests/system/client.h"
#include "tests/system/daemon.h"
#include "tests/system/harness.h"
#include "tests/system/usage.h"
#include "tests/wire/wire.h"

/* As documented. */
#define IDLE_KIB 5120
#define RESIDENT_KIB 10240 /* of one of the three, with what it shares with the others */
#define TABLES_KIB 1024    /* of 42,000: what so few use of them */
#define CONNECTION_KIB 16
#define REASON_BYTES 160
#define UNREAD_KIB 64

#define N_MOST 300
#define N_BLOCKS 40
#define N_REASONS 8
/* Of one process; 128 are let in. */
#define N_RUDE UINT64_C(50)

/* ------------------------------------------------------------------------ what there is ---- */

static uint64_t figure_of(pid_t pid, const char *file, const char *key)
{
    char path[64];
    char line[256];
    uint64_t figure = 0;
    (void)snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
    FILE *const stream = fopen(path, "re");
    expect_call(stream != NULL);
    while (fgets(line, sizeof(line), stream)) {
        if (strncmp(line, key, strlen(key)) == 0) {
            figure = strtoull(line + strlen(key), NULL, 10);
        }
    }
    (void)fclose(stream);
    return figure;
}

static pid_t scrubber_pid(void)
{
    char path[64];
    const pid_t server = daemon_server_pid();
    char pid[24] = "";
    (void)snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)server, (int)server);
    FILE *const stream = fopen(path, "re");
    expect_call(stream != NULL);
    expect_true(fgets(pid, sizeof(pid), stream) != NULL); /* its only child */
    (void)fclose(stream);
    return (pid_t)strtol(pid, NULL, 10);
}

static uint64_t kib_of(pid_t pid)
{
    return figure_of(pid, "smaps_rollup", "Pss_Anon:") +
           figure_of(pid, "smaps_rollup", "Pss_File:");
}

/* Of all three, in KiB, without the pages of memfds. */
static uint64_t taken_kib(void)
{
    return kib_of(daemon_pid()) + kib_of(daemon_server_pid()) + kib_of(scrubber_pid());
}

/* @n_unread: connections that do not read their answers */
static void expect_taken(const char *when, uint64_t n_clients, uint64_t n_others, uint64_t n_unread)
{
    const uint64_t tables_kib = n_clients > 0 ? TABLES_KIB : 0;
    const uint64_t most_kib = IDLE_KIB + tables_kib + (n_clients + n_others) * CONNECTION_KIB +
                              n_clients * N_REASONS * REASON_BYTES / 1024 + n_unread * UNREAD_KIB;
    const uint64_t taken = taken_kib();
    harness_note("%s: %llu KiB of %llu: keeper %llu, server %llu, scrubber %llu", when,
                 (unsigned long long)taken, (unsigned long long)most_kib,
                 (unsigned long long)kib_of(daemon_pid()),
                 (unsigned long long)kib_of(daemon_server_pid()),
                 (unsigned long long)kib_of(scrubber_pid()));
    expect_at_most(taken, most_kib);
}

/* ----------------------------------------------------------------------------- the clients ---- */

static void do_much(const void *argument)
{
    void *blocks[N_BLOCKS];
    char reason[64];
    (void)argument;
    for (unsigned int i = 0; i < N_BLOCKS; i++) {
        (void)snprintf(reason, sizeof(reason), "memory/%d/%u", (int)getpid(), i % N_REASONS);
        blocks[i] = kmem_try_allocate((size_t)16 << i % 13, reason);
        expect_true(blocks[i] != NULL);
    }
    for (unsigned int i = 0; i < N_BLOCKS; i += 2) {
        expect_equal(kmem_try_release(&blocks[i]), 0);
    }
    client_say(1);
    (void)client_await();
}

/* Begins frames and ends none, and asks on and on without reading an answer. */
static void be_rude(const void *argument)
{
    static const unsigned char half[] = {200, 0, 0, 0, 0x08, 1};
    (void)argument;
    for (unsigned int i = 0; i < N_RUDE; i++) {
        wire_send_bytes(wire_connect(), half, sizeof(half));
        const int fd = wire_observer();
        for (unsigned int n = 0; n < 2 * N_RUDE; n++) {
            wire_send(fd, request_plain(NEW_REQUEST, KMEM__REQUEST__BODY_LEDGER));
        }
    }
    client_say(1);
    (void)client_await();
}

static struct client clients[N_MOST];

static void begin(unsigned int from, unsigned int to)
{
    for (unsigned int i = from; i < to; i++) {
        clients[i] = client_start(do_much, NULL);
    }
    for (unsigned int i = from; i < to; i++) {
        expect_equal(client_hear(&clients[i]), 1);
    }
    expect_equal(usage_take().clients, to);
}

static void test_memory_is_a_constant_and_one_for_each_client(void)
{
    daemon_start("--size", "256MiB", NULL);
    expect_taken("idle", 0, 0, 0);
    begin(0, 1);
    expect_taken("a client", 1, 0, 0);
    begin(1, 64);
    expect_taken("64 clients", 64, 0, 0);
    begin(64, N_MOST);
    expect_taken("300 clients", N_MOST, 0, 0);

    struct client rude = client_start(be_rude, NULL);
    expect_equal(client_hear(&rude), 1);
    expect_taken("and one that is rude", N_MOST, 2 * N_RUDE, N_RUDE);
    client_kill(&rude);
    for (unsigned int i = 0; i < N_MOST; i += 2) {
        client_kill(&clients[i]);
    }
    expect_soon(usage_take().clients == N_MOST / 2, 20000);
    expect_taken("half of them killed", N_MOST, 0, 0);
    for (unsigned int i = 1; i < N_MOST; i += 2) {
        client_tell(&clients[i], 0);
        client_end(&clients[i]);
    }
    expect_soon(usage_take().clients == 0, 20000);
    /* Soon: what was freed goes back to the system when all that they had has been taken back. */
    expect_soon(taken_kib() <= IDLE_KIB + TABLES_KIB, 20000);
    expect_taken("all gone", 1, 0, 0);
    daemon_stop_balanced();
}

/* ----------------------------------------------------------------------------- huge pages ---- */

/* Mapped at a time: a huge page. */
#define MAPPED_KIB 2048
#define SEGMENT_BYTES (UINT64_C(128) << 20)

static bool says_of_huge_pages(void)
{
    return strstr(daemon_log(), "made of 2 MiB pages") != NULL;
}

/* Programs and libraries are counted whole, the pages of memfds too. */
static uint64_t resident_kib(pid_t pid)
{
    return figure_of(pid, "status", "VmHWM:");
}

/* The most that each of the processes ever had, however much became huge pages meanwhile. */
static void test_memory_is_a_constant_while_huge_pages_are_made(void)
{
    daemon_start("--size", "128MiB", "--log-level", "info", NULL);
    expect_soon(says_of_huge_pages(), 60000);
    const pid_t pids[] = {daemon_pid(), daemon_server_pid(), scrubber_pid()};
    for (size_t i = 0; i < sizeof(pids) / sizeof(pids[0]); i++) {
        harness_note("process %zu: at most %llu KiB", i, (unsigned long long)resident_kib(pids[i]));
        expect_at_most(resident_kib(pids[i]), RESIDENT_KIB + MAPPED_KIB);
    }
    daemon_stop_balanced();
}

static void dirty_64_mib(const void *argument)
{
    (void)argument;
    for (unsigned int i = 0; i < 64; i++) {
        void *block = kmem_try_allocate((size_t)1 << 20, "left");
        expect_true(block != NULL);
        memset(block, 0xa5, (size_t)1 << 20);
    }
    client_say(1);
    (void)client_await();
}

/* As the first byte of each page tells; the first page is the segment's own. */
static bool is_cleared(int segment_fd)
{
    unsigned char byte = 0;
    for (uint64_t at = PAGE_BYTES; byte == 0 && at < SEGMENT_BYTES; at += PAGE_BYTES) {
        expect_equal(pread(segment_fd, &byte, 1, (off_t)at), 1);
    }
    return byte == 0;
}

/* The same of clearing, whose bytes the scrubber maps too. */
static void test_memory_is_a_constant_while_it_is_cleared(void)
{
    daemon_start("--size", "128MiB", "--hugepages", "no", NULL);
    struct client client = client_start(dirty_64_mib, NULL);
    expect_equal(client_hear(&client), 1);
    client_kill(&client);
    const int segment_fd = daemon_open_memfd("segment");
    expect_soon(is_cleared(segment_fd), 60000);
    (void)close(segment_fd);
    expect_at_most(resident_kib(scrubber_pid()), RESIDENT_KIB + MAPPED_KIB);
    expect_at_most(resident_kib(daemon_server_pid()), RESIDENT_KIB);
    daemon_stop_balanced();
}

/* -------------------------------------------------------------------------------- at rest ---- */

static uint64_t wakeups(void)
{
    return daemon_wakeups() + figure_of(scrubber_pid(), "status", "voluntary_ctxt_switches:");
}

/*
 * Whether nothing woke up while this process slept, more than a second: what happens ten times a
 * second, or once, is seen. A slow machine makes that longer, and hides nothing.
 */
static bool rests(void)
{
    const uint64_t before = wakeups();
    harness_sleep_ms(1200);
    return wakeups() == before;
}

static void test_nothing_wakes_up_without_clients(void)
{
    daemon_start("--watchdog", "0", NULL);
    struct client client = client_start(do_much, NULL);
    expect_equal(client_hear(&client), 1);
    expect_soon(!rests(), 30000); /* the clock that clients read goes on */
    client_tell(&client, 0);
    client_end(&client);
    expect_soon(rests(), 30000);
    daemon_stop_balanced();
}

static const struct system_test tests[] = {
    SYSTEM_TEST(test_memory_is_a_constant_and_one_for_each_client, 120),
    SYSTEM_TEST(test_memory_is_a_constant_while_huge_pages_are_made, 120),
    SYSTEM_TEST(test_memory_is_a_constant_while_it_is_cleared, 120),
    SYSTEM_TEST(test_nothing_wakes_up_without_clients, 60),
};

int main(int argc, char **argv)
{
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}

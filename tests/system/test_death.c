/* SPDX-License-Identifier: MIT */
/*
 * test_death.c - clients that die, at any instant, many at once, or only seem to
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <kmem/kmem.h>

#include "proto/limits.h"
#include "tests/system/bystander.h"
#include "tests/system/client.h"
#include "tests/system/daemon.h"
#include "tests/system/harness.h"
#include "tests/system/usage.h"
#include "tests/wire/wire.h"

#define RECLAIM_LIMIT_MS 100

/* ---------------------------------------------------------------------------- clients ---- */

static void hold_many_blocks(const void *argument)
{
    const uint64_t n_blocks = *(const uint64_t *)argument;
    for (uint64_t i = 0; i < n_blocks; i++) {
        if (kmem_try_allocate(100, i % 4 == 0 ? "victim/few" : "victim/many") == NULL) {
            fail("block %llu: %s", (unsigned long long)i, kmem_last_error());
        }
    }
    client_say(n_blocks);
    client_await();
}

static void hold_one_block(const void *argument)
{
    (void)argument;
    expect_call(kmem_try_allocate(44, "held") != NULL);
    client_pause();
}

/* --------------------------------------------------------------------------- one dies ---- */

static void test_100000_blocks_of_a_killed_client_are_back(void)
{
    const uint64_t n_blocks = harness_scaled(100000);
    daemon_start("--size", "32MiB", NULL);
    struct client victim = client_begin(hold_many_blocks, &n_blocks);
    expect_usage(n_blocks * 100, n_blocks);
    client_kill(&victim);
    const struct stopwatch watch = stopwatch_start();
    expect_soon(usage_take().blocks == 0, 2000);
    harness_note("%llu blocks were back %.1f ms after the pidfd had fired",
                 (unsigned long long)n_blocks, stopwatch_ms(&watch));
    daemon_stop_balanced();
}

static void test_obituary_says_who_how_much_and_for_what(void)
{
    char pattern[128];
    const uint64_t n_blocks = 1000;
    daemon_start(NULL, NULL);
    struct client victim = client_begin(hold_many_blocks, &n_blocks);
    client_kill(&victim);
    expect_balanced();
    const struct obituary obituary = obituary_of(victim.pid);
    expect_true(obituary.found);
    expect_true(!obituary.left);
    expect_equal(obituary.n_blocks, 1000);
    expect_equal(obituary.num_bytes, 100000);
    expect_at_least(obituary.peak_bytes, 100000); /* whole pages of leases */
    expect_at_most(obituary.peak_bytes, 1 << 20);
    expect_equal(obituary.n_reasons, 2);
    expect_text(obituary.rows[0].key, "victim/many");
    (void)snprintf(pattern, sizeof(pattern),
                   "client %d \\(.*\\) ended after .*: 1000 blocks, .* taken back: victim/many",
                   (int)victim.pid);
    expect_log_line(pattern);
    expect_equal(usage_take().clients_ended, 1);
    daemon_stop();
}

static void leave_with_close(const void *argument)
{
    (void)argument;
    expect_call(kmem_try_allocate(44, "never released") != NULL);
    expect_equal(kmem_close(), 0);
    client_pause();
}

static void test_close_gives_everything_back_while_the_process_lives(void)
{
    daemon_start(NULL, NULL);
    struct client client = client_begin(leave_with_close, NULL);
    expect_balanced();
    expect_true(obituary_of(client.pid).found);
    expect_true(obituary_of(client.pid).left);
    expect_equal(obituary_of(client.pid).num_bytes, 44);
    client_finish(&client);
    daemon_stop();
}

static void exit_without_release(const void *argument)
{
    (void)argument;
    expect_call(kmem_try_allocate(101, "left to exit") != NULL);
}

static void test_exit_without_release_gives_everything_back(void)
{
    daemon_start(NULL, NULL);
    client_run(exit_without_release, NULL);
    expect_balanced();
    expect_equal(usage_take().clients_ended, 1);
    daemon_stop();
}

static void test_others_are_served_while_a_client_with_100000_blocks_dies(void)
{
    const uint64_t n_blocks = harness_scaled(100000);
    daemon_start("--size", "32MiB", NULL);
    struct client victim = client_begin(hold_many_blocks, &n_blocks);
    struct client bystander = bystander_start(1);
    client_kill(&victim);
    expect_soon(usage_take().blocks <= 1, 2000);
    bystander_end(&bystander);
    daemon_stop_balanced();
}

/* -------------------------------------------------------- at a step of a conversation ---- */

enum step {
    CONNECTED,
    HELLO_SENT,
    WELCOMED,
    ALLOCATE_SENT,
    RELEASE_SENT,
    LEASE_SENT,
    HALF_A_FRAME_SENT,
    N_STEPS,
};

static void go_to_step(const void *argument)
{
    const enum step step = *(const enum step *)argument;
    const int fd = step <= HELLO_SENT ? wire_connect() : wire_member();
    if (step == HELLO_SENT) {
        wire_send(fd, request_hello(NEW_REQUEST, KMEM__ROLE__ROLE_MEMBER, 0));
    }
    if (step == ALLOCATE_SENT) {
        wire_send(fd, request_allocate(NEW_REQUEST, 4444, NULL, 0));
    }
    if (step == RELEASE_SENT) {
        wire_send(fd, request_release(NEW_REQUEST, wire_allocate(fd, 44, "going")));
    }
    if (step == LEASE_SENT) {
        wire_send(fd, request_lease(NEW_REQUEST, 20, 0));
    }
    if (step == HALF_A_FRAME_SENT) {
        wire_send_bytes(fd, "\x20\x00\x00\x00\x08", 5);
    }
    client_pause();
}

static void test_death_at_every_step_of_a_conversation_leaves_nothing(void)
{
    daemon_start(NULL, NULL);
    for (enum step step = CONNECTED; step < N_STEPS; step++) {
        for (unsigned int delay_ms = 0; delay_ms < 4; delay_ms++) {
            struct client client = client_begin(go_to_step, &step);
            harness_sleep_ms(delay_ms); /* 0: the daemon may not even have read what was sent */
            client_kill(&client);
            expect_balanced();
        }
    }
    daemon_stop();
}

static void lose_the_connection(const void *argument)
{
    (void)argument;
    const int fd = wire_member();
    wire_allocate(fd, 44, "kept without a connection");
    (void)close(fd);
    client_pause();
}

static void test_a_lost_connection_of_a_living_process_reclaims_nothing(void)
{
    daemon_start(NULL, NULL);
    struct client client = client_begin(lose_the_connection, NULL);
    expect_soon(!client_row_of(client.pid).connected, 1000);
    harness_sleep_ms(200);
    expect_usage(44, 1);
    expect_equal(client_row_of(client.pid).num_bytes, 44);
    client_finish(&client);
    daemon_stop_balanced();
}

/* --------------------------------------------------------------------------- many die ---- */

static void allocate_until_killed(const void *argument)
{
    static void *live[1000]; /* together not more than the segment has */
    (void)argument;
    client_say(1);
    for (unsigned int i = 0;; i = (i + 1) % 1000) {
        void *passing = kmem_try_allocate(100, "crash loop");
        expect_equal(kmem_try_release(&live[i]), 0);
        live[i] = kmem_try_allocate(20000, "crash loop");
        if (passing == NULL || live[i] == NULL) {
            fail("%s", kmem_last_error());
        }
        expect_equal(kmem_try_release(&passing), 0);
    }
}

/* $KMEM_CRASHES: how many, in place of 500. */
static unsigned int crashes_wanted(void)
{
    const char *const text = getenv("KMEM_CRASHES");
    return text != NULL ? (unsigned int)strtoul(text, NULL, 10) : (unsigned int)harness_scaled(500);
}

static void test_crash_loop_leaves_nothing(void)
{
    const unsigned int n_crashes = crashes_wanted();
    daemon_start("--size", "64MiB", NULL);
    struct client bystander = bystander_start(1);
    for (unsigned int i = 0; i < n_crashes; i++) {
        struct client client = client_begin(allocate_until_killed, NULL);
        harness_sleep_ms(i % 4);
        client_kill(&client);
    }
    bystander_end(&bystander);
    expect_balanced();
    harness_note("%u clients were killed", n_crashes);
    daemon_stop();
}

#define MIB ((size_t)1024 * 1024)

/* Holds of each kind, a sixteenth of the segment: what is not taken back is soon missed. */
static void hold_a_mebibyte(const void *argument)
{
    (void)argument;
    for (unsigned int i = 0; i < 100; i++) {
        expect_call(kmem_try_allocate(100, "of a short life") != NULL);
    }
    expect_call(kmem_try_allocate(MIB, "of a short life") != NULL);
    client_pause();
}

static void test_a_program_killed_and_started_again_1000_times_without_pause(void)
{
    const unsigned int n_lives = (unsigned int)harness_scaled(1000);
    daemon_start(NULL, NULL);
    for (unsigned int i = 0; i < n_lives; i++) {
        struct client client = client_begin(hold_a_mebibyte, NULL);
        client_kill(&client);
    }
    expect_balanced();
    expect_equal(usage_take().clients_ended, n_lives);
    daemon_stop();
}

static void test_100_clients_die_at_once(void)
{
    struct client clients[100];
    const unsigned int n_clients = HARNESS_SANITIZED ? 20 : 100;
    daemon_start("--size", "64MiB", NULL);
    const uint64_t n_blocks = 100;
    for (unsigned int i = 0; i < n_clients; i++) {
        clients[i] = client_start(hold_many_blocks, &n_blocks);
    }
    for (unsigned int i = 0; i < n_clients; i++) {
        client_hear(&clients[i]);
    }
    expect_usage(n_clients * n_blocks * 100, n_clients * n_blocks);
    struct client bystander = bystander_start(1);
    for (unsigned int i = 0; i < n_clients; i++) {
        expect_call(kill(clients[i].pid, SIGKILL) == 0);
    }
    for (unsigned int i = 0; i < n_clients; i++) {
        client_end_by(&clients[i], SIGKILL);
    }
    expect_soon(usage_take().clients == 1, 2000);
    bystander_end(&bystander);
    expect_balanced();
    expect_equal(usage_take().clients_ended, n_clients + 1);
    daemon_stop();
}

/* ----------------------------------------------------------------------- only stopped ---- */

static void test_a_stopped_client_keeps_its_blocks_and_disturbs_nobody(void)
{
    daemon_start(NULL, NULL);
    struct client stopped = client_begin(hold_one_block, NULL);
    client_stop(&stopped);
    struct client bystander = bystander_start(1);
    harness_sleep_ms(500);
    bystander_end(&bystander);
    expect_soon(usage_take().clients == 1, 1000);
    expect_usage(44, 1);
    client_continue(&stopped);
    client_finish(&stopped);
    daemon_stop_balanced();
}

static const struct system_test tests[] = {
    SYSTEM_TEST(test_obituary_says_who_how_much_and_for_what, 10),
    SYSTEM_TEST(test_close_gives_everything_back_while_the_process_lives, 10),
    SYSTEM_TEST(test_exit_without_release_gives_everything_back, 10),
    SYSTEM_TEST(test_death_at_every_step_of_a_conversation_leaves_nothing, 20),
    SYSTEM_TEST(test_a_lost_connection_of_a_living_process_reclaims_nothing, 10),
    SYSTEM_TEST(test_a_stopped_client_keeps_its_blocks_and_disturbs_nobody, 10),
    SYSTEM_TEST(test_100000_blocks_of_a_killed_client_are_back, 60),
    SYSTEM_TEST(test_others_are_served_while_a_client_with_100000_blocks_dies, 60),
    SYSTEM_TEST(test_100_clients_die_at_once, 60),
    SYSTEM_TEST(test_a_program_killed_and_started_again_1000_times_without_pause, 60),
    SYSTEM_TEST(test_crash_loop_leaves_nothing, 600), /* 10,000 of them in `make torture` */
};

int main(int argc, char **argv)
{
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}

/* SPDX-License-Identifier: MIT */
/*
 * test_keeper.c - the keeper is killed or stands still: what programs keep, and how they go on
 *
 * A segment ends with its keeper. Who has mapped it has the memory still; with a daemon that is
 * started anew on the same path it has nothing to do until it calls kmem_close().
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <kmem/kmem.h>

#include "tests/system/blocks.h"
#include "tests/system/client.h"
#include "tests/system/daemon.h"
#include "tests/system/harness.h"
#include "tests/system/usage.h"

#define N_LEASED 300
#define LEASED_BYTES 100
#define DIRECT_BYTES ((1 << 20) + 1) /* more than is ever leased */

/* ------------------------------------------------------------- a program and its blocks ---- */

static unsigned char *leased[N_LEASED];
static unsigned char *direct;

static void hold_blocks(void)
{
    enum { N_RARE = 32 }; /* the first of a size is a direct block */
    void *rare[N_RARE];
    for (size_t i = 0; i < N_RARE; i++) {
        rare[i] = allocate(LEASED_BYTES, "warming up");
    }
    for (size_t i = 0; i < N_LEASED; i++) {
        leased[i] = allocate(LEASED_BYTES, "of the former segment");
        memset(leased[i], (int)i, LEASED_BYTES);
    }
    for (size_t i = 0; i < N_RARE; i++) {
        expect_equal(kmem_try_release(&rare[i]), 0);
    }
    direct = allocate(DIRECT_BYTES, "of the former segment");
    memset(direct, 'd', DIRECT_BYTES);
}

/* Reads every byte, and writes it. */
static void expect_all_in_place(void)
{
    for (size_t i = 0; i < N_LEASED; i++) {
        for (size_t at = 0; at < LEASED_BYTES; at++) {
            expect_equal(leased[i][at], (unsigned char)i);
            leased[i][at] = (unsigned char)i;
        }
    }
    for (size_t at = 0; at < DIRECT_BYTES; at++) {
        expect_equal(direct[at], 'd');
        direct[at] = 'd';
    }
}

/* Every call that needs a daemon. */
static void expect_lost(void)
{
    void *same = direct;
    size_t num_bytes = 77;
    expect_true(kmem_try_allocate(DIRECT_BYTES + 1, "in vain") == NULL);
    expect_equal(errno, ECONNRESET);
    expect_equal(kmem_try_release(&same), -ECONNRESET);
    expect_true(same == direct);
    expect_equal(kmem_try_sizeof(direct, &num_bytes), -ECONNRESET);
    expect_equal(num_bytes, 77);
    expect_match(kmem_last_error(), "blocks stay readable and writable");
}

/* ----------------------------------------------------------------- the keeper is killed ---- */

#define A_DAY_MS "86400000"

static void go_on_without_a_daemon(const void *argument)
{
    (void)argument;
    hold_blocks();
    client_say(1);
    client_await(); /* the keeper is killed */
    expect_all_in_place();
    expect_true(kmem_try_allocate(DIRECT_BYTES, "in vain") == NULL);
    expect_equal(errno, ECONNRESET);
    expect_match(kmem_last_error(), "segment \"test\" has ended: its kmemd was killed");
    for (unsigned int i = 0; i < 10; i++) {
        expect_lost();
    }
    /* From then on the leases know it, too. */
    for (size_t i = 0; i < N_LEASED; i++) {
        void *same = leased[i];
        expect_equal(kmem_try_release(&same), -ECONNRESET);
        expect_true(same == leased[i]);
        expect_true(kmem_try_allocate(LEASED_BYTES, "from the lease that was") == NULL);
        expect_equal(errno, ECONNRESET);
    }
    expect_all_in_place();
    expect_equal(kmem_close(), -ECONNRESET);
    expect_equal(kmem_offset_of(direct), 0);
}

static void test_memory_stays_and_calls_are_ECONNRESET_when_the_keeper_is_killed(void)
{
    daemon_start(NULL, NULL);
    struct client client = client_begin(go_on_without_a_daemon, NULL);
    daemon_kill();
    client_finish(&client);
}

/* --------------------------------------------------- and another daemon takes its place ---- */

static void close_and_join_the_next(const void *argument)
{
    (void)argument;
    hold_blocks();
    client_say(1);
    client_await(); /* another daemon serves at the same path */
    expect_call(setenv("KMEM_TIMEOUT_MS", A_DAY_MS, 1) == 0);
    expect_lost(); /* it does not know this client, and says so at once */
    expect_all_in_place();
    client_pause();
    expect_equal(kmem_close(), -ECONNRESET);
    hold_blocks();
    expect_all_in_place();
    client_pause();
}

static void use_a_daemon(const void *argument)
{
    (void)argument;
    hold_blocks();
    expect_all_in_place();
}

static void test_who_closes_joins_the_daemon_that_was_started_anew(void)
{
    daemon_start(NULL, NULL);
    struct client client = client_begin(close_and_join_the_next, NULL);
    daemon_kill();
    daemon_start(NULL, NULL);
    client_run(use_a_daemon, NULL); /* new clients are served in any case */
    client_resume(&client);
    expect_usage(0, 0);
    client_resume(&client);
    expect_usage(N_LEASED * LEASED_BYTES + DIRECT_BYTES, N_LEASED + 1);
    client_finish(&client);
    daemon_stop_balanced();
}

static void fork_into_the_next(const void *argument)
{
    (void)argument;
    hold_blocks();
    client_say(1);
    client_await(); /* another daemon serves at the same path */
    const pid_t child = fork();
    expect_call(child >= 0);
    if (child == 0) {
        char *own = allocate(DIRECT_BYTES, "of the child");
        own[0] = 1;
        expect_all_in_place();
        client_pause();
        _exit(0);
    }
    int status = -1;
    expect_call(waitpid(child, &status, 0) == child);
    expect_equal(status, 0);
    expect_all_in_place();
}

static void test_a_child_joins_the_daemon_that_was_started_anew_and_reads_its_parents_blocks(void)
{
    daemon_start(NULL, NULL);
    struct client client = client_begin(fork_into_the_next, NULL);
    daemon_kill();
    daemon_start(NULL, NULL);
    client_resume(&client);
    expect_usage(DIRECT_BYTES, 1);
    client_finish(&client);
    daemon_stop_balanced();
}

/* -------------------------------------------------------------- the keeper stands still ---- */

/* A busy machine may keep a server from answering for some hundred milliseconds. */
#define WATCHDOG_S "2"
#define LONGER_THAN_WATCHDOG_MS 2500

/* 40 clients are more messages to the keeper than a few; it answers none of them. */
static void test_a_stopped_keeper_stops_nobody(void)
{
    daemon_start("--watchdog", WATCHDOG_S, NULL);
    const pid_t server = daemon_server_pid();
    expect_call(kill(daemon_pid(), SIGSTOP) == 0);
    const struct stopwatch watch = stopwatch_start();
    for (unsigned int i = 0; i < 40; i++) {
        client_run(use_a_daemon, NULL);
    }
    harness_note("40 clients came and went in %.0f ms", stopwatch_ms(&watch));
    harness_sleep_ms(LONGER_THAN_WATCHDOG_MS);
    expect_call(kill(daemon_pid(), SIGCONT) == 0);
    expect_balanced();
    expect_equal(daemon_server_pid(), server); /* it has not hung while nobody asked it */
    daemon_stop();
}

#define N_QUESTIONS 500

/* Told to, asks the daemon so often. */
static void ask_the_daemon(const void *argument)
{
    (void)argument;
    size_t num_bytes = 0;
    direct = allocate(DIRECT_BYTES, "asks");
    client_pause();
    for (unsigned int i = 0; i < N_QUESTIONS; i++) {
        expect_equal(kmem_try_sizeof(direct, &num_bytes), 0);
    }
    client_pause();
}

/* Joins and leaves; when the keeper takes no more messages it is not let in. */
static void join_if_possible(const void *argument)
{
    const char *const patience_ms = argument;
    expect_call(setenv("KMEM_TIMEOUT_MS", patience_ms, 1) == 0);
    const bool is_in = kmem_try_allocate(DIRECT_BYTES, "joins") != NULL;
    expect_true(is_in || errno == ETIMEDOUT || errno == ECONNRESET);
    client_say(is_in);
}

static bool try_to_join(const char *patience_ms)
{
    struct client client = client_start(join_if_possible, patience_ms);
    const bool is_in = client_hear(&client);
    client_end(&client);
    return is_in;
}

static void test_a_keeper_stopped_for_long_stops_only_who_comes_new(void)
{
    enum { JOINS_MAX = 1000 };
    unsigned int n_joins = 0;
    daemon_start("--watchdog", "0", NULL);
    struct client asker = client_begin(ask_the_daemon, NULL);
    expect_call(kill(daemon_pid(), SIGSTOP) == 0);
    while (n_joins < JOINS_MAX && try_to_join("1500")) {
        n_joins++;
    }
    expect_at_most(n_joins, JOINS_MAX - 1);
    harness_note("%u clients came before the keeper's queue was full", n_joins);
    struct client late = client_start(join_if_possible, A_DAY_MS);
    client_resume(&asker); /* it is answered while the other one waits to be let in */
    expect_call(kill(daemon_pid(), SIGCONT) == 0);
    expect_equal(client_hear(&late), true);
    client_end(&late);
    client_finish(&asker);
    daemon_stop_balanced();
}

static const struct system_test tests[] = {
    SYSTEM_TEST(test_memory_stays_and_calls_are_ECONNRESET_when_the_keeper_is_killed, 30),
    SYSTEM_TEST(test_who_closes_joins_the_daemon_that_was_started_anew, 30),
    SYSTEM_TEST(test_a_child_joins_the_daemon_that_was_started_anew_and_reads_its_parents_blocks,
                30),
    SYSTEM_TEST(test_a_stopped_keeper_stops_nobody, 60),
    SYSTEM_TEST(test_a_keeper_stopped_for_long_stops_only_who_comes_new, 60),
};

int main(int argc, char **argv)
{
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}

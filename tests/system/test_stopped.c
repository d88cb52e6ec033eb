/* SPDX-License-Identifier: MIT */
/*
 * test_stopped.c - clients and servers that stand still, with whatever they hold in their hands
 *
 * A stopped server is worse than a dead one: its socket takes connections and requests, and no
 * answer comes. What a program may still do then, how long the rest takes, and what is left of it.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

#include <kmem/kmem.h>

#include "tests/system/blocks.h"
#include "tests/system/client.h"
#include "tests/system/daemon.h"
#include "tests/system/harness.h"
#include "tests/system/usage.h"

#define KIB ((size_t)1024)
#define MIB (KIB * 1024)
/* A block of the size that is leased, and one whose size is rare. */
#define LEASED_BYTES 100
#define DIRECT_BYTES ((1 << 20) + 1) /* more than is ever leased */

/* So many blocks of a size at the same time that it is leased, with pages to spare. */
static void warm_up(size_t num_bytes)
{
    enum { N_BLOCKS = 1000 };
    void *blocks[N_BLOCKS];
    for (unsigned int i = 0; i < N_BLOCKS; i++) {
        blocks[i] = allocate(num_bytes, "warming up");
    }
    for (unsigned int i = 0; i < N_BLOCKS; i++) {
        release(blocks[i]);
    }
}

/* ------------------------------------------------------------------- a client stands still ---- */

#define STAND_MS 3000
#define N_KEPT 300

/* Holds leased blocks and much more that is leased and unused; goes on with both when told to. */
static void hold_and_stand_still(const void *argument)
{
    static unsigned char *kept[N_KEPT];
    void *passing[8]; /* large ones, leased from the fifth on */
    (void)argument;
    warm_up(LEASED_BYTES);
    for (unsigned int i = 0; i < N_KEPT; i++) {
        kept[i] = allocate(LEASED_BYTES, "kept while it stood still");
        memset(kept[i], (int)i, LEASED_BYTES);
    }
    for (unsigned int i = 0; i < 8; i++) {
        passing[i] = allocate(MIB, "passing");
    }
    for (unsigned int i = 0; i < 8; i++) {
        release(passing[i]);
    }
    client_pause();
    for (unsigned int i = 0; i < N_KEPT; i++) {
        for (size_t at = 0; at < LEASED_BYTES; at++) {
            expect_equal(kept[i][at], (unsigned char)i);
        }
    }
    warm_up(LEASED_BYTES); /* its pages are gone, and it gets others */
    for (unsigned int i = 0; i < N_KEPT; i++) {
        release(kept[i]);
    }
}

/* Fills up what is free, and wants to wait for nobody. */
static void take_all_that_is_unused(const void *argument)
{
    static void *blocks[64];
    (void)argument;
    uint64_t n_blocks = 0;
    for (unsigned int i = 0; i < 64; i++) {
        blocks[i] = kmem_try_allocate(MIB / 2, "what was unused");
        n_blocks += blocks[i] != NULL;
    }
    for (unsigned int i = 0; i < 64; i++) {
        expect_equal(kmem_try_release(&blocks[i]), 0);
    }
    client_say(n_blocks);
}

static void test_a_client_stopped_for_long_keeps_its_blocks_and_lends_the_rest(void)
{
    daemon_start(NULL, NULL);
    struct client stopped = client_begin(hold_and_stand_still, NULL);
    client_stop(&stopped);
    harness_sleep_ms(STAND_MS);
    expect_usage((uint64_t)N_KEPT * LEASED_BYTES, N_KEPT);
    expect_true(client_row_of(stopped.pid).connected);
    const struct usage before = usage_take();
    expect_at_least(before.unused_bytes, 2 * MIB);

    struct client other = client_start(take_all_that_is_unused, NULL);
    const uint64_t n_blocks = client_hear(&other); /* while the other stands still */
    client_end(&other);
    harness_note("%llu blocks of 512 KiB of 16 MiB beside it", (unsigned long long)n_blocks);
    /* Its unused pages are free ones; without them there would be 2 MiB less. */
    expect_at_least(n_blocks * MIB / 2, before.free_bytes - MIB);
    expect_at_least(usage_take().revoked_bytes, MIB / 2);
    expect_soon(usage_take().clients == 1, 2000);

    expect_usage((uint64_t)N_KEPT * LEASED_BYTES, N_KEPT);
    client_continue(&stopped);
    client_finish(&stopped);
    daemon_stop_balanced();
}

/* ---------------------------------------------------- calls that need no daemon never wait ---- */

#define N_WORKERS 4
#define N_TRADED 256
/* Of four threads together, without a server. */
#define STEPS_WANTED (HARNESS_SANITIZED ? 10000 : 100000)

static _Atomic(void *) traded[N_TRADED];
static atomic_bool may_end;
static _Atomic uint64_t n_steps;
static atomic_bool one_waits;

/* Every kind of call that leases suffice for, on other threads' blocks as well. */
static void trade_once(unsigned int *seed)
{
    size_t num_bytes = 0;
    void *block = kmem_try_allocate(LEASED_BYTES, "traded");
    expect_call(block != NULL);
    expect_equal(kmem_try_sizeof(block, &num_bytes), 0);
    expect_equal(num_bytes, LEASED_BYTES);
    expect_true(kmem_offset_of(block) != 0);
    block = atomic_exchange(&traded[(size_t)rand_r(seed) % N_TRADED], block);
    expect_equal(kmem_try_release(&block), 0);
    atomic_fetch_add(&n_steps, 1);
}

static void *trade(void *argument)
{
    unsigned int seed = (unsigned int)(uintptr_t)argument;
    warm_up(LEASED_BYTES);
    client_say(1);
    while (!atomic_load(&may_end)) {
        trade_once(&seed);
    }
    return NULL;
}

/* Its call needs the daemon; meanwhile it has the connection. */
static void *ask_and_wait(void *argument)
{
    atomic_store(&one_waits, true);
    release(allocate(3 * MIB, "when somebody answers"));
    atomic_store(&one_waits, false);
    return argument;
}

static void trade_in_threads(const void *argument)
{
    pthread_t workers[N_WORKERS];
    pthread_t waiter;
    (void)argument;
    release(allocate(LEASED_BYTES, "joins"));
    for (uintptr_t i = 0; i < N_WORKERS; i++) {
        expect_equal(pthread_create(&workers[i], NULL, trade, (void *)(i + 1)), 0);
    }
    client_await(); /* the server is stopped */
    expect_equal(pthread_create(&waiter, NULL, ask_and_wait, NULL), 0);
    while (!atomic_load(&one_waits)) {
        harness_sleep_ms(1);
    }
    harness_sleep_ms(100); /* it has the connection by now, or all that follows proves less */
    const uint64_t n_before = atomic_load(&n_steps);
    while (atomic_load(&n_steps) < n_before + STEPS_WANTED) {
        harness_sleep_ms(1);
    }
    client_say(atomic_load(&one_waits));
    client_await(); /* it goes on */
    expect_equal(pthread_join(waiter, NULL), 0);
    atomic_store(&may_end, true);
    for (size_t i = 0; i < N_WORKERS; i++) {
        expect_equal(pthread_join(workers[i], NULL), 0);
    }
    for (size_t i = 0; i < N_TRADED; i++) {
        release(atomic_exchange(&traded[i], NULL));
    }
}

static void test_calls_that_need_no_daemon_never_wait_for_a_stopped_one(void)
{
    daemon_start("--watchdog", "0", NULL);
    struct client client = client_start(trade_in_threads, NULL);
    for (unsigned int i = 0; i < N_WORKERS; i++) {
        client_hear(&client);
    }
    const pid_t server = daemon_server_pid();
    expect_call(kill(server, SIGSTOP) == 0);
    client_tell(&client, 1);
    expect_true(client_hear(&client)); /* its threads worked, but for the one that needs it */
    expect_call(kill(server, SIGCONT) == 0);
    client_finish(&client);
    expect_equal(daemon_server_pid(), server);
    daemon_stop_balanced();
}

static void work_through_a_hang(const void *argument)
{
    (void)argument;
    unsigned int seed = 1;
    warm_up(LEASED_BYTES);
    client_say(1);
    while (!client_was_told()) {
        trade_once(&seed);
        release(allocate(1 + (size_t)rand_r(&seed) % (32 * KIB), "of all sizes"));
    }
    for (size_t i = 0; i < N_TRADED; i++) {
        release(atomic_exchange(&traded[i], NULL));
    }
    client_pause();
}

static void test_programs_do_not_notice_that_a_hanging_server_is_replaced(void)
{
    daemon_start("--watchdog", "2", NULL);
    struct client client = client_begin(work_through_a_hang, NULL);
    for (unsigned int i = 0; i < 3; i++) {
        const pid_t hung = daemon_server_pid();
        expect_call(kill(hung, SIGSTOP) == 0);
        expect_soon(daemon_server_pid() != hung && daemon_server_pid() > 0, 5000);
        expect_equal(usage_take().clients, 1); /* waits until it serves */
    }
    client_resume(&client);
    expect_usage(0, 0);
    client_finish(&client);
    daemon_stop_balanced();
}

/* ---------------------------------------------------- calls that need one wait so long ------- */

#define PATIENCE_MS 2000

/* Runs a call, and wants it to have waited for its time limit; it ends, so it has one. */
#define EXPECT_PATIENT(call)                                                                       \
    do {                                                                                           \
        const struct stopwatch watch_ = stopwatch_start();                                         \
        call;                                                                                      \
        expect_lasted(&watch_, PATIENCE_MS - 50);                                                  \
    } while (0)

/* A release is given up for good; what follows it waits for it. */
static void ask_in_vain(void *direct, void *given_up)
{
    void *same = direct;
    void *none = direct;
    size_t num_bytes = 77;
    int r = 77;
    EXPECT_PATIENT(r = kmem_try_release(&given_up));
    expect_equal(r, 0);
    expect_true(given_up == NULL);
    EXPECT_PATIENT(none = kmem_try_allocate(DIRECT_BYTES, "in vain"));
    expect_equal(errno, ETIMEDOUT);
    expect_true(none == NULL);
    EXPECT_PATIENT(r = kmem_try_release(&same));
    expect_equal(r, -ETIMEDOUT);
    expect_true(same == direct);
    EXPECT_PATIENT(r = kmem_try_sizeof(direct, &num_bytes));
    expect_equal(r, -ETIMEDOUT);
    expect_equal(num_bytes, 77);
    expect_match(kmem_last_error(), "^kmem_try_sizeof: .*did not answer within");
}

static void ask_a_stopped_server(const void *argument)
{
    (void)argument;
    size_t num_bytes = 0;
    expect_call(setenv("KMEM_TIMEOUT_MS", "2000", 1) == 0);
    warm_up(LEASED_BYTES);
    char *direct = allocate(DIRECT_BYTES, "held");
    void *given_up = allocate(DIRECT_BYTES, "given up");
    direct[DIRECT_BYTES - 1] = 'd';
    client_pause();
    ask_in_vain(direct, given_up);
    release(allocate(LEASED_BYTES, "needs nobody"));
    expect_equal(direct[DIRECT_BYTES - 1], 'd');
    client_pause();
    /* The server goes on, or there is another. */
    expect_call(setenv("KMEM_TIMEOUT_MS", "30000", 1) == 0);
    void *again = NULL;
    expect_soon((again = kmem_try_allocate(DIRECT_BYTES, "again")) != NULL, 20000);
    expect_equal(kmem_try_sizeof(direct, &num_bytes), 0);
    expect_equal(num_bytes, DIRECT_BYTES);
    client_pause();
    release(again);
    release(direct);
    client_pause();
}

/* A call that timed out has left nothing behind, and taken nothing away but what was given up. */
static void expect_two_blocks(const struct client *client)
{
    client_hear(client);
    expect_usage(UINT64_C(2) * DIRECT_BYTES, 2);
    expect_ledger_row("held", 1, DIRECT_BYTES);
    expect_ledger_row("again", 1, DIRECT_BYTES);
    expect_ledger_sound();
}

static void time_out_and_go_on(int signal_number)
{
    daemon_start("--watchdog", "0", NULL);
    struct client client = client_begin(ask_a_stopped_server, NULL);
    const pid_t server = daemon_server_pid();
    expect_call(kill(server, SIGSTOP) == 0);
    client_resume(&client);
    expect_call(kill(server, signal_number) == 0);
    expect_soon(daemon_server_pid() > 0, 5000);
    client_tell(&client, 1);
    expect_two_blocks(&client);
    client_resume(&client);
    expect_usage(0, 0);
    client_finish(&client);
    daemon_stop_balanced();
}

static void test_calls_to_a_stopped_server_are_ETIMEDOUT_and_leave_nothing_when_it_goes_on(void)
{
    time_out_and_go_on(SIGCONT);
}

static void test_calls_to_a_stopped_server_are_ETIMEDOUT_and_leave_nothing_when_it_dies(void)
{
    time_out_and_go_on(SIGKILL);
}

/* When no lease has room: another lease is asked for, and then a block. */
static void ask_for_a_lease(const void *argument)
{
    (void)argument;
    expect_call(setenv("KMEM_TIMEOUT_MS", "2000", 1) == 0);
    for (unsigned int i = 0; i < 32; i++) {
        (void)allocate(LEASED_BYTES, "warming up");
    }
    client_pause();
    double waited_ms = 0;
    bool is_served = true;
    while (is_served) {
        const struct stopwatch watch = stopwatch_start();
        is_served = kmem_try_allocate(LEASED_BYTES, "until the lease is used up") != NULL;
        waited_ms = stopwatch_ms(&watch);
    }
    expect_equal(errno, ETIMEDOUT);
    expect_at_least(waited_ms, 1900);
    harness_note("asked for a lease, then for a block: %.1f s of 2", waited_ms / 1000);
    client_say(1);
}

static _Atomic uint64_t n_timed_out;

static void *ask_with_others(void *argument)
{
    const struct stopwatch watch = stopwatch_start();
    expect_true(kmem_try_allocate(DIRECT_BYTES, "one of many") == NULL);
    expect_equal(errno, ETIMEDOUT);
    expect_lasted(&watch, 1900);
    atomic_fetch_add(&n_timed_out, 1);
    return argument;
}

static void ask_from_many_threads(const void *argument)
{
    pthread_t threads[8];
    (void)argument;
    expect_call(setenv("KMEM_TIMEOUT_MS", "2000", 1) == 0);
    void *direct = allocate(DIRECT_BYTES, "joins");
    client_pause();
    for (size_t i = 0; i < 8; i++) {
        expect_equal(pthread_create(&threads[i], NULL, ask_with_others, NULL), 0);
    }
    for (size_t i = 0; i < 8; i++) {
        expect_equal(pthread_join(threads[i], NULL), 0);
    }
    expect_equal(atomic_load(&n_timed_out), 8);
    client_say(1);
    client_await(); /* it goes on */
    release(allocate(DIRECT_BYTES, "again"));
    release(direct);
    client_pause();
}

static void test_a_call_waits_its_time_once_though_it_asks_for_a_lease_first(void)
{
    daemon_start("--watchdog", "0", NULL);
    struct client client = client_begin(ask_for_a_lease, NULL);
    daemon_signal_server(SIGSTOP);
    client_resume(&client);
    daemon_signal_server(SIGCONT);
    client_end(&client);
    daemon_stop_balanced();
}

static void test_a_call_waits_its_time_once_though_other_threads_wait_before_it(void)
{
    daemon_start("--watchdog", "0", NULL);
    struct client client = client_begin(ask_from_many_threads, NULL);
    daemon_signal_server(SIGSTOP);
    client_resume(&client);
    daemon_signal_server(SIGCONT);
    client_resume(&client);
    expect_usage(0, 0);
    client_finish(&client);
    daemon_stop_balanced();
}

static void leave_a_stopped_server(const void *argument)
{
    (void)argument;
    expect_call(setenv("KMEM_TIMEOUT_MS", "2000", 1) == 0);
    warm_up(LEASED_BYTES);
    (void)allocate(LEASED_BYTES, "before");
    (void)allocate(DIRECT_BYTES, "before");
    client_pause();
    int r = 0;
    EXPECT_PATIENT(r = kmem_close());
    expect_equal(r, -ETIMEDOUT);
    client_pause();
    expect_call(setenv("KMEM_TIMEOUT_MS", "30000", 1) == 0);
    (void)allocate(LEASED_BYTES, "after");
    client_pause();
}

static void test_close_of_a_stopped_server_is_ETIMEDOUT_and_the_next_call_joins_anew(void)
{
    daemon_start("--watchdog", "0", NULL);
    struct client client = client_begin(leave_a_stopped_server, NULL);
    daemon_signal_server(SIGSTOP);
    client_resume(&client);
    daemon_signal_server(SIGCONT);
    client_resume(&client);
    expect_soon(usage_take().clients == 1, 2000);
    expect_usage(LEASED_BYTES, 1);
    expect_ledger_row("after", 1, LEASED_BYTES);
    client_finish(&client);
    daemon_stop_balanced();
}

static void hold_until_killed(const void *argument)
{
    (void)argument;
    warm_up(LEASED_BYTES);
    (void)allocate(LEASED_BYTES, "of one that dies");
    (void)allocate(DIRECT_BYTES, "of one that dies");
    client_pause();
}

static void test_a_client_that_dies_while_the_server_is_stopped_is_reclaimed(void)
{
    daemon_start("--watchdog", "0", NULL);
    const int then[] = {SIGCONT, SIGKILL};
    for (size_t i = 0; i < sizeof(then) / sizeof(then[0]); i++) {
        struct client client = client_begin(hold_until_killed, NULL);
        const pid_t server = daemon_server_pid();
        expect_call(kill(server, SIGSTOP) == 0);
        client_kill(&client);
        expect_call(kill(server, then[i]) == 0);
        expect_soon(daemon_server_pid() > 0, 5000);
        expect_balanced();
    }
    daemon_stop();
}

static const struct system_test tests[] = {
    SYSTEM_TEST(test_a_client_stopped_for_long_keeps_its_blocks_and_lends_the_rest, 20),
    SYSTEM_TEST(test_calls_that_need_no_daemon_never_wait_for_a_stopped_one, 30),
    SYSTEM_TEST(test_programs_do_not_notice_that_a_hanging_server_is_replaced, 30),
    SYSTEM_TEST(test_calls_to_a_stopped_server_are_ETIMEDOUT_and_leave_nothing_when_it_goes_on, 40),
    SYSTEM_TEST(test_calls_to_a_stopped_server_are_ETIMEDOUT_and_leave_nothing_when_it_dies, 40),
    SYSTEM_TEST(test_a_call_waits_its_time_once_though_it_asks_for_a_lease_first, 30),
    SYSTEM_TEST(test_a_call_waits_its_time_once_though_other_threads_wait_before_it, 60),
    SYSTEM_TEST(test_close_of_a_stopped_server_is_ETIMEDOUT_and_the_next_call_joins_anew, 30),
    SYSTEM_TEST(test_a_client_that_dies_while_the_server_is_stopped_is_reclaimed, 20),
};

int main(int argc, char **argv)
{
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}

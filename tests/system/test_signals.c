/* SPDX-License-Identifier: MIT */
/*
 * test_signals.c - signals to the keeper, to the server and to clients, while all of them work
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>

#include <kmem/kmem.h>
#include <kmem/query.h>

#include "tests/system/client.h"
#include "tests/system/daemon.h"
#include "tests/system/harness.h"
#include "tests/system/usage.h"

#define N_CLIENTS 3
#define N_SLOTS 128

/* -------------------------------------------------------------------- clients at work ---- */

/* A block; every byte of it is `fill`. */
struct held {
    unsigned char *block;
    size_t num_bytes;
    unsigned char fill;
};

static void put_down(struct held *held)
{
    if (held->block != NULL) {
        for (size_t at = 0; at < held->num_bytes; at += 1 + held->num_bytes / 32) {
            expect_equal(held->block[at], held->fill);
        }
        expect_equal(kmem_try_release((void **)&held->block), 0);
    }
}

/* Leased sizes, sizes too rare for that, and large ones now and then. */
static void pick_up(struct held *held, unsigned int *seed)
{
    const size_t random = (size_t)rand_r(seed);
    held->num_bytes = random % 4 == 0    ? 1 + random / 4 % 30000
                      : random % 256 > 1 ? 100
                                         : 70000 + random % 100000;
    held->fill = (unsigned char)(1 + random % 255);
    held->block = kmem_try_allocate(held->num_bytes, "at work");
    if (held->block == NULL) {
        fail("%zu bytes: %s", held->num_bytes, kmem_last_error());
    }
    expect_equal(held->block[0] | held->block[held->num_bytes - 1], 0);
    memset(held->block, held->fill, held->num_bytes);
}

/* Works until it is told to stop, and says what it holds; gives it back when it is told to. */
static void work(const void *argument)
{
    static struct held slots[N_SLOTS];
    unsigned int seed = *(const unsigned int *)argument;
    uint64_t n_blocks = 0;
    uint64_t num_bytes = 0;
    pick_up(&slots[0], &seed); /* joins */
    client_say(1);
    while (!client_was_told()) {
        struct held *const held = &slots[(size_t)rand_r(&seed) % N_SLOTS];
        put_down(held);
        pick_up(held, &seed);
    }
    for (size_t i = 0; i < N_SLOTS; i++) {
        n_blocks += slots[i].block != NULL;
        num_bytes += slots[i].block != NULL ? slots[i].num_bytes : 0;
    }
    client_say(n_blocks);
    client_say(num_bytes);
    client_await();
    for (size_t i = 0; i < N_SLOTS; i++) {
        put_down(&slots[i]);
    }
}

static void start_work(struct client *clients)
{
    for (unsigned int i = 0; i < N_CLIENTS; i++) {
        const unsigned int seed = 20260207 + i;
        clients[i] = client_begin(work, &seed);
    }
}

/* Wants what the daemon knows to be what they say they hold. */
static void end_work(struct client *clients)
{
    uint64_t n_blocks = 0;
    uint64_t num_bytes = 0;
    for (unsigned int i = 0; i < N_CLIENTS; i++) {
        client_tell(&clients[i], 1);
        n_blocks += client_hear(&clients[i]);
        num_bytes += client_hear(&clients[i]);
    }
    expect_usage(num_bytes, n_blocks);
    expect_ledger_sound();
    for (unsigned int i = 0; i < N_CLIENTS; i++) {
        client_finish(&clients[i]);
    }
    expect_balanced();
}

/* ------------------------------------------------------- to the keeper, to the server ---- */

static void test_signals_to_a_server_at_work_are_not_noticed(void)
{
    struct client clients[N_CLIENTS];
    const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGPIPE};
    daemon_start("--size", "64MiB", NULL);
    start_work(clients);
    const pid_t server = daemon_server_pid();
    for (unsigned int i = 0; i < 300; i++) {
        expect_call(kill(server, signals[i % (sizeof(signals) / sizeof(signals[0]))]) == 0);
        harness_sleep_ms(1);
    }
    end_work(clients);
    expect_equal(daemon_server_pid(), server);
    daemon_stop();
}

static void test_SIGUSR1_and_SIGUSR2_to_a_keeper_at_work_are_not_noticed(void)
{
    struct client clients[N_CLIENTS];
    daemon_start("--size", "64MiB", NULL);
    start_work(clients);
    const pid_t server = daemon_server_pid();
    for (unsigned int i = 0; i < 100; i++) {
        expect_call(kill(daemon_pid(), i % 2 == 0 ? SIGUSR1 : SIGUSR2) == 0);
        harness_sleep_ms(1);
    }
    end_work(clients);
    expect_equal(daemon_server_pid(), server);
    daemon_stop();
}

/* Of two servers the one that is asked first may end before it answers. */
static bool is_served(void)
{
    struct kmem_query *query = NULL;
    if (kmem_query_open(NULL, &query) < 0) {
        return false;
    }
    (void)kmem_query_close(query);
    return true;
}

/*
 * Three at a time: those that come while a program takes over change nothing. The last of them may
 * come behind that, and another one takes over then.
 */
static void test_SIGHUP_at_work_again_and_again_loses_nothing(void)
{
    struct client clients[N_CLIENTS];
    daemon_start("--size", "64MiB", NULL);
    start_work(clients);
    for (unsigned int i = 0; i < 5; i++) {
        const pid_t former = daemon_server_pid();
        for (unsigned int n = 0; n < 3; n++) {
            expect_call(kill(daemon_pid(), SIGHUP) == 0);
            harness_sleep_ms(i);
        }
        expect_soon(daemon_server_pid() > 0 && daemon_server_pid() != former, 10000);
        expect_soon(is_served(), 10000);
    }
    end_work(clients);
    daemon_stop();
}

/*
 * What a program is told when the daemon ends; it has its memory still. Sizes that have become hot
 * need no daemon, so it is asked for something each time.
 */
static void work_until_the_end(const void *argument)
{
    static void *blocks[1000];
    size_t num_bytes = 0;
    int r = 0;
    (void)argument;
    char *kept = kmem_try_allocate(30000, "kept to the end");
    expect_call(kept != NULL);
    client_say(1);
    for (size_t i = 0; r == 0; i = (i + 1) % 1000) {
        r = kmem_try_release(&blocks[i]);
        if (r == 0) {
            blocks[i] = kmem_try_allocate(1 + i * 16 % 20000, "to the end");
            r = blocks[i] == NULL ? -errno : kmem_try_sizeof(kept, &num_bytes);
        }
    }
    expect_equal(r, -ECONNRESET);
    kept[29999] = 'k';
    expect_equal(kept[29999], 'k');
    client_say(1);
}

static void end_at_work(int signal_number)
{
    struct client clients[N_CLIENTS];
    daemon_start("--size", "64MiB", NULL);
    for (unsigned int i = 0; i < N_CLIENTS; i++) {
        clients[i] = client_begin(work_until_the_end, NULL);
    }
    harness_sleep_ms(50);
    expect_call(kill(daemon_pid(), signal_number) == 0);
    daemon_stop(); /* wants status 0; another SIGTERM on top changes nothing */
    for (unsigned int i = 0; i < N_CLIENTS; i++) {
        client_hear(&clients[i]);
        client_end(&clients[i]);
    }
}

static void test_SIGTERM_at_work_ends_it_in_order_and_is_ECONNRESET_to_clients(void)
{
    end_at_work(SIGTERM);
}

static void test_SIGINT_at_work_ends_it_in_order_and_is_ECONNRESET_to_clients(void)
{
    end_at_work(SIGINT);
}

/* ------------------------------------------------------------------------- to clients ---- */

/* Needs the daemon each time: too few blocks of a size for a lease. */
static void need_the_daemon_each_time(const void *argument)
{
    (void)argument;
    (void)signal(SIGPIPE, SIG_DFL);
    for (size_t i = 0; i < 10; i++) {
        void *block = kmem_try_allocate(1000 * (i + 1), "between two servers");
        expect_call(block != NULL);
        client_say(1);
        client_await(); /* the server is killed meanwhile */
        expect_equal(kmem_try_release(&block), 0);
    }
    client_say(1);
    client_await(); /* once more */
    expect_equal(kmem_close(), 0);
}

static void test_a_server_killed_between_two_calls_raises_no_SIGPIPE(void)
{
    daemon_start(NULL, NULL);
    struct client client = client_start(need_the_daemon_each_time, NULL);
    for (unsigned int i = 0; i < 11; i++) {
        client_hear(&client);
        daemon_kill_server();
        client_tell(&client, 1);
    }
    client_end(&client); /* SIGPIPE would be another status than 0 */
    daemon_stop_balanced();
}

static volatile sig_atomic_t n_handled;

static void handle(int number)
{
    (void)number;
    n_handled++;
}

#define WAIT_MS 1000

static void wait_in_a_call(const void *argument)
{
    const struct sigaction action = {.sa_handler = handle}; /* without SA_RESTART */
    (void)argument;
    expect_call(sigaction(SIGUSR1, &action, NULL) == 0);
    void *block = kmem_try_allocate(44, "joins");
    expect_call(block != NULL);
    client_say(1);
    client_await(); /* the server is stopped */
    const struct stopwatch watch = stopwatch_start();
    client_say(1);
    expect_equal(kmem_try_release(&block), 0);
    expect_lasted(&watch, WAIT_MS / 2);
    expect_at_least(n_handled, 10);
    /* And where the limit is short, it is kept, however often the wait for it is interrupted. */
    expect_equal(kmem_close(), 0);
    expect_call(setenv("KMEM_TIMEOUT_MS", "2000", 1) == 0);
    block = kmem_try_allocate(44, "joins");
    expect_call(block != NULL);
    client_pause();
    client_say(1);
    void *none = kmem_try_allocate(44, "in vain");
    expect_equal(errno, ETIMEDOUT);
    expect_true(none == NULL);
}

static void interrupt_for(const struct client *client, unsigned int duration_ms)
{
    for (unsigned int i = 0; i < duration_ms; i++) {
        expect_call(kill(client->pid, SIGUSR1) == 0);
        harness_sleep_ms(1);
    }
}

static void test_signals_while_a_call_waits_neither_end_nor_prolong_it(void)
{
    daemon_start("--watchdog", "0", NULL);
    struct client client = client_start(wait_in_a_call, NULL);
    for (unsigned int i = 0; i < 2; i++) {
        client_hear(&client);
        daemon_signal_server(SIGSTOP);
        client_resume(&client);
        interrupt_for(&client, WAIT_MS);
        if (i == 0) {
            daemon_signal_server(SIGCONT);
        }
    }
    client_end(&client); /* while the server stands still */
    daemon_signal_server(SIGCONT);
    daemon_stop_balanced();
}

static const struct system_test tests[] = {
    SYSTEM_TEST(test_signals_to_a_server_at_work_are_not_noticed, 30),
    SYSTEM_TEST(test_SIGUSR1_and_SIGUSR2_to_a_keeper_at_work_are_not_noticed, 30),
    SYSTEM_TEST(test_SIGHUP_at_work_again_and_again_loses_nothing, 60),
    SYSTEM_TEST(test_SIGTERM_at_work_ends_it_in_order_and_is_ECONNRESET_to_clients, 30),
    SYSTEM_TEST(test_SIGINT_at_work_ends_it_in_order_and_is_ECONNRESET_to_clients, 30),
    SYSTEM_TEST(test_a_server_killed_between_two_calls_raises_no_SIGPIPE, 30),
    SYSTEM_TEST(test_signals_while_a_call_waits_neither_end_nor_prolong_it, 30),
};

int main(int argc, char **argv)
{
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}

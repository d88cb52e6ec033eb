/* SPDX-License-Identifier: MIT */
/*
 * test_threads.c - many threads of one program, whose servers are killed and who fork
 *
 * What threads do to each other while nothing else happens is in test_lease_churn.c.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <kmem/kmem.h>

#include "tests/system/blocks.h"
#include "tests/system/client.h"
#include "tests/system/daemon.h"
#include "tests/system/harness.h"
#include "tests/system/usage.h"

#define N_THREADS 16
#define N_TRADED 256
#define PATIENCE_MS "600000"

/* A block, whose first and last bytes tell how long it is. */
static _Atomic(unsigned char *) traded[N_TRADED];
static atomic_bool may_end;

/* Leased sizes, rare ones, and large ones now and then. */
static unsigned char *pick_up(unsigned int *seed)
{
    const size_t random = (size_t)rand_r(seed);
    const size_t num_bytes = random % 8 == 0    ? 1 + random / 8 % 20000
                             : random % 256 > 1 ? 100
                                                : 70000 + random % 50000;
    return allocate_marked(num_bytes, "traded");
}

/* What this thread picks up another one puts down. */
static void trade(unsigned int *seed)
{
    release_marked(atomic_exchange(&traded[(size_t)rand_r(seed) % N_TRADED], pick_up(seed)));
}

static void *trade_for_a_while(void *argument)
{
    unsigned int seed = (unsigned int)(uintptr_t)argument;
    const int n_trades = rand_r(&seed) % 200;
    for (int i = 0; i < n_trades && !atomic_load(&may_end); i++) {
        trade(&seed);
    }
    return NULL;
}

/* Where a thread has ended another one begins, until the test says that it is enough. */
static void trade_in_threads_that_end(const void *argument)
{
    pthread_t threads[N_THREADS];
    uint64_t n_threads = 0;
    (void)argument;
    /* A busy machine may have ten servers killed before it lets one of them answer. */
    expect_call(setenv("KMEM_TIMEOUT_MS", PATIENCE_MS, 1) == 0);
    release_marked(pick_up(&(unsigned int){1})); /* joins */
    client_say(1);
    for (; n_threads < N_THREADS || !client_was_told(); n_threads++) {
        const size_t at = n_threads % N_THREADS;
        if (n_threads >= N_THREADS) {
            expect_equal(pthread_join(threads[at], NULL), 0);
        }
        void *const seed = (void *)(uintptr_t)(n_threads + 1);
        expect_equal(pthread_create(&threads[at], NULL, trade_for_a_while, seed), 0);
    }
    atomic_store(&may_end, true);
    for (size_t i = 0; i < N_THREADS; i++) {
        expect_equal(pthread_join(threads[i], NULL), 0);
    }
    for (size_t i = 0; i < N_TRADED; i++) {
        release_marked(atomic_exchange(&traded[i], NULL));
    }
    client_say(n_threads);
    client_await();
}

static void test_threads_come_and_go_while_servers_are_killed(void)
{
    const uint64_t n_kills = HARNESS_SANITIZED ? 10 : 30;
    daemon_start("--size", "128MiB", NULL);
    struct client client = client_begin(trade_in_threads_that_end, NULL);
    for (uint64_t i = 0; i < n_kills; i++) {
        harness_sleep_ms((unsigned int)(i % 50));
        daemon_kill_server();
        expect_equal(usage_take().clients, 1); /* waits until the next one serves */
    }
    client_tell(&client, 1);
    harness_note("%llu threads, %llu servers", (unsigned long long)client_hear(&client),
                 (unsigned long long)n_kills);
    expect_usage(0, 0);
    expect_ledger_sound();
    client_finish(&client);
    daemon_stop_balanced();
}

/* ---------------------------------------------------- forks from many threads at once ---- */

static void live_in_a_child(unsigned char *parents, unsigned int seed)
{
    void *same = parents;
    for (unsigned int i = 0; i < 40; i++) {
        release_marked(pick_up(&seed));
    }
    expect_equal(parents[0], 100);
    expect_equal(kmem_try_release(&same), -EPERM);
    _exit(0); /* exit() might wait for what a thread of the parent has locked */
}

static void *fork_now_and_then(void *argument)
{
    unsigned int seed = (unsigned int)(uintptr_t)argument;
    for (uint64_t i = 0; i < harness_scaled(20); i++) {
        unsigned char *mine = kmem_try_allocate(100, "of the parent");
        expect_call(mine != NULL);
        mine[0] = 100;
        trade(&seed);
        const pid_t child = fork();
        expect_call(child >= 0);
        if (child == 0) {
            live_in_a_child(mine, seed);
        }
        trade(&seed);
        int status = -1;
        expect_call(waitpid(child, &status, 0) == child);
        expect_equal(status, 0);
        expect_equal(kmem_try_release((void **)&mine), 0);
    }
    return NULL;
}

static void fork_from_many_threads(const void *argument)
{
    pthread_t threads[N_THREADS];
    (void)argument;
    for (uintptr_t i = 0; i < N_THREADS; i++) {
        expect_equal(pthread_create(&threads[i], NULL, fork_now_and_then, (void *)(i + 1)), 0);
    }
    for (size_t i = 0; i < N_THREADS; i++) {
        expect_equal(pthread_join(threads[i], NULL), 0);
    }
    for (size_t i = 0; i < N_TRADED; i++) {
        release_marked(atomic_exchange(&traded[i], NULL));
    }
    client_pause();
}

static void test_many_threads_fork_at_once_and_their_children_call_the_library(void)
{
    daemon_start("--size", "128MiB", NULL);
    struct client client = client_begin(fork_from_many_threads, NULL);
    expect_soon(usage_take().clients == 1, 5000);
    expect_usage(0, 0);
    client_finish(&client);
    daemon_stop_balanced();
}

static const struct system_test tests[] = {
    SYSTEM_TEST(test_threads_come_and_go_while_servers_are_killed, 60),
    SYSTEM_TEST(test_many_threads_fork_at_once_and_their_children_call_the_library, 60),
};

int main(int argc, char **argv)
{
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}

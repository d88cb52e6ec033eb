/* SPDX-License-Identifier: MIT */
/*
 * test_lease_churn.c - many threads and processes at once, and figures that add up all the same
 *
 * The threads of a process share an array of slots. Each puts its new block into any of them and
 * releases what was there, most often another thread's block. They end at random, and others begin.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <kmem/kmem.h>

#include "tests/support/seeded.h"
#include "tests/system/blocks.h"
#include "tests/system/client.h"
#include "tests/system/ctl.h"
#include "tests/system/daemon.h"
#include "tests/system/harness.h"
#include "tests/system/usage.h"

#define N_THREADS 64
#define N_SLOTS 1024
#define N_PROCESSES 8

/* ---------------------------------------------------------------------------- one process ---- */

static _Atomic(void *) slots[N_SLOTS];
static atomic_bool has_ended;

/* Mostly small; one in 64 is larger than any size class. */
static size_t random_bytes(struct seeded *seeded)
{
    const uint64_t random = seeded_next(seeded);
    return random % 64 == 0 ? 65537 + random / 64 % 100000
                            : 1 + (random / 64) % ((size_t)16 << (random / 4096 % 9));
}

static unsigned char *make_block(struct seeded *seeded)
{
    static const char *const reasons[] = {"churn/one", "churn/two", "churn/three"};
    const size_t num_bytes = random_bytes(seeded);
    return allocate_marked(num_bytes, reasons[seeded_next(seeded) % 3]);
}

static void *churn_for_a_while(void *argument)
{
    struct seeded seeded = {*(const uint64_t *)argument};
    for (uint64_t n_left = 1 + seeded_next(&seeded) % 2000; n_left > 0; n_left--) {
        unsigned char *block = make_block(&seeded);
        /* Both: the block's bytes are written before, and read by whoever gets it. */
        release_marked(atomic_exchange(&slots[seeded_next(&seeded) % N_SLOTS], block));
    }
    return NULL;
}

struct work {
    uint64_t seed;
    uint64_t n_threads; /* 64 of them at a time */
};

static void run_threads(const struct work *work)
{
    pthread_t threads[N_THREADS];
    uint64_t seeds[N_THREADS];
    struct seeded seeded = {work->seed};
    for (uint64_t n = 0; n < work->n_threads + N_THREADS; n++) {
        const size_t at = n % N_THREADS;
        if (n >= N_THREADS) {
            expect_equal(pthread_join(threads[at], NULL), 0);
        }
        if (n < work->n_threads) {
            seeds[at] = seeded_next(&seeded);
            expect_equal(pthread_create(&threads[at], NULL, churn_for_a_while, &seeds[at]), 0);
        }
    }
}

/* Says how many blocks it has and how many bytes; releases them when it is told to. */
static void say_what_is_live(void)
{
    uint64_t n_blocks = 0;
    uint64_t n_bytes_in_all = 0;
    for (size_t i = 0; i < N_SLOTS; i++) {
        size_t num_bytes = 0;
        const void *const block = atomic_load(&slots[i]);
        if (block != NULL) {
            expect_equal(kmem_try_sizeof(block, &num_bytes), 0);
            n_blocks++;
            n_bytes_in_all += num_bytes;
        }
    }
    client_say(n_blocks);
    client_say(n_bytes_in_all);
    client_await();
    for (size_t i = 0; i < N_SLOTS; i++) {
        release_marked(atomic_exchange(&slots[i], NULL));
    }
}

static void churn(const void *argument)
{
    run_threads(argument);
    say_what_is_live();
    client_say(0);
    client_await();
}

/* ---------------------------------------------------------------------------------- tests ---- */

static void expect_all_told(struct client *clients, size_t n_clients)
{
    uint64_t n_blocks = 0;
    uint64_t num_bytes = 0;
    for (size_t i = 0; i < n_clients; i++) {
        const uint64_t n_blocks_of_it = client_hear(&clients[i]);
        const uint64_t num_bytes_of_it = client_hear(&clients[i]);
        const struct client_row row = client_row_of(clients[i].pid);
        expect_equal(row.n_blocks, n_blocks_of_it);
        expect_equal(row.num_bytes, num_bytes_of_it);
        n_blocks += n_blocks_of_it;
        num_bytes += num_bytes_of_it;
    }
    harness_note("%llu blocks, %llu bytes", (unsigned long long)n_blocks,
                 (unsigned long long)num_bytes);
    expect_usage(num_bytes, n_blocks);
    expect_ledger_sound();
    expect_equal(ctl("reconcile")->exit_status, 0);
}

static void churn_in_processes(size_t n_processes, uint64_t n_threads)
{
    struct client clients[N_PROCESSES];
    struct work work = {.n_threads = n_threads};
    daemon_start("--size", "512MiB", NULL);
    for (size_t i = 0; i < n_processes; i++) {
        work.seed = 20260131 + i;
        clients[i] = client_start(churn, &work);
    }
    harness_note("seeds from 20260131 on");
    expect_all_told(clients, n_processes);
    for (size_t i = 0; i < n_processes; i++) {
        client_resume(&clients[i]);
    }
    expect_usage(0, 0);
    for (size_t i = 0; i < n_processes; i++) {
        client_finish(&clients[i]);
    }
    daemon_stop_balanced();
}

static void test_64_threads_that_release_each_others_blocks_and_end(void)
{
    churn_in_processes(1, HARNESS_SANITIZED ? 128 : 512);
}

static void test_8_processes_of_64_threads(void)
{
    churn_in_processes(N_PROCESSES, HARNESS_SANITIZED ? 64 : 256);
}

static void *churn_until_the_end(void *argument)
{
    struct seeded seeded = {*(const uint64_t *)argument};
    while (!atomic_load(&has_ended)) {
        release_marked(atomic_exchange(&slots[seeded_next(&seeded) % 64], make_block(&seeded)));
    }
    return NULL;
}

static void churn_until_told(const void *argument)
{
    pthread_t threads[4];
    uint64_t seeds[4];
    struct seeded seeded = {*(const uint64_t *)argument};
    for (size_t i = 0; i < 4; i++) {
        seeds[i] = seeded_next(&seeded);
        expect_equal(pthread_create(&threads[i], NULL, churn_until_the_end, &seeds[i]), 0);
    }
    client_pause();
    atomic_store(&has_ended, true);
    for (size_t i = 0; i < 4; i++) {
        expect_equal(pthread_join(threads[i], NULL), 0);
    }
    say_what_is_live();
}

static void test_reconcile_of_churning_clients_is_never_wrong(void)
{
    struct client clients[3];
    unsigned int n_busy = 0;
    const unsigned int n_questions = HARNESS_SANITIZED ? 3 : 5;
    daemon_start("--size", "128MiB", NULL);
    for (uint64_t i = 0; i < 3; i++) {
        const uint64_t seed = 777 + i;
        clients[i] = client_begin(churn_until_told, &seed);
    }
    for (unsigned int i = 0; i < n_questions; i++) {
        const struct ctl_end *const end = ctl("reconcile");
        expect_match(end->out, end->exit_status == 75 ? "^busy: " : "^balanced");
        expect_true(end->exit_status == 75 || end->exit_status == 0);
        n_busy += end->exit_status == 75;
        (void)usage_take(); /* wants the sum of one answer to be right */
        (void)client_row_of(clients[0].pid);
    }
    harness_note("%u of %u times the segment was never quiet", n_busy, n_questions);
    for (size_t i = 0; i < 3; i++) {
        client_tell(&clients[i], 1);
    }
    expect_all_told(clients, 3);
    for (size_t i = 0; i < 3; i++) {
        client_finish(&clients[i]);
    }
    daemon_stop_balanced();
}

/* What is steady in number may still move: the figures before and after are equal by chance. */
static void take_turns_for_ever(const void *argument)
{
    (void)argument;
    void *live[16] = {NULL};
    for (uint64_t i = 0; !client_was_told(); i++) {
        for (unsigned int n = 0; n < 1000; n++) {
            void **const slot = &live[(i * 1000 + n) % 16];
            expect_equal(kmem_try_release(slot), 0);
            *slot = kmem_try_allocate(100, "turns");
            expect_call(*slot != NULL);
        }
        if (i == 10) {
            client_say(1);
        }
    }
}

static void test_reconcile_of_a_steady_number_of_blocks_is_never_wrong(void)
{
    daemon_start(NULL, NULL);
    struct client client = client_begin(take_turns_for_ever, NULL);
    for (unsigned int i = 0; i < 10; i++) {
        const struct ctl_end *const end = ctl("reconcile");
        if (end->exit_status != 0 && end->exit_status != 75) {
            fail("exit status %d:\n%s", end->exit_status, end->out);
        }
    }
    client_finish(&client);
    daemon_stop_balanced();
}

static const struct system_test tests[] = {
    SYSTEM_TEST(test_reconcile_of_a_steady_number_of_blocks_is_never_wrong, 60),
    SYSTEM_TEST(test_reconcile_of_churning_clients_is_never_wrong, 60),
    SYSTEM_TEST(test_64_threads_that_release_each_others_blocks_and_end, 60),
    SYSTEM_TEST(test_8_processes_of_64_threads, 120),
};

int main(int argc, char **argv)
{
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}

/* SPDX-License-Identifier: MIT */
/*
 * test_endings.c - the library is called where a thread, a program or a plugin ends
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include <kmem/kmem.h>

#include "tests/system/blocks.h"
#include "tests/system/client.h"
#include "tests/system/daemon.h"
#include "tests/system/harness.h"
#include "tests/system/usage.h"

#define KIB ((size_t)1024)
#define N_THREADS_AT_A_TIME 16

/* Leased blocks of some sizes, and back. */
static void use_leases(void)
{
    void *blocks[20];
    for (size_t i = 0; i < 20; i++) {
        blocks[i] = allocate(100 + i % 5 * 1000, "used");
    }
    for (size_t i = 0; i < 20; i++) {
        release(blocks[i]);
    }
}

/* ---------------------------------------------------------------------- a thread ends ---- */

/* Of two keys one is older than the library's, so that one destructor runs before its own. */
static pthread_key_t early_key;
static pthread_key_t late_key;
static _Atomic uint64_t n_destroyed;

/* Calls the library, and sees to it that it is called again, as often as the system does it. */
static void call_in_destructor(pthread_key_t key, void *block)
{
    atomic_fetch_add(&n_destroyed, 1);
    use_leases();
    release(block);
    expect_equal(pthread_setspecific(key, allocate(1000, "handed on")), 0);
}

static void destroy_early(void *block)
{
    call_in_destructor(early_key, block);
}

static void destroy_late(void *block)
{
    call_in_destructor(late_key, block);
}

static void *live_and_die(void *argument)
{
    use_leases();
    expect_equal(pthread_setspecific(early_key, allocate(1000, "handed on")), 0);
    expect_equal(pthread_setspecific(late_key, allocate(1000, "handed on")), 0);
    return argument;
}

static void run_threads(void *(*run)(void *argument), uint64_t n_threads)
{
    pthread_t threads[N_THREADS_AT_A_TIME];
    for (uint64_t n = 0; n < n_threads; n += N_THREADS_AT_A_TIME) {
        for (size_t i = 0; i < N_THREADS_AT_A_TIME; i++) {
            expect_equal(pthread_create(&threads[i], NULL, run, NULL), 0);
        }
        for (size_t i = 0; i < N_THREADS_AT_A_TIME; i++) {
            expect_equal(pthread_join(threads[i], NULL), 0);
        }
    }
}

static void end_many_threads(const void *argument)
{
    const uint64_t n_threads = *(const uint64_t *)argument;
    expect_equal(pthread_key_create(&early_key, destroy_early), 0);
    use_leases();
    expect_equal(pthread_key_create(&late_key, destroy_late), 0);
    run_threads(live_and_die, n_threads);
    client_say(atomic_load(&n_destroyed));
    client_await();
}

/* The last round hands blocks on to nobody: two for each thread. */
static void test_destructors_of_threads_that_call_the_library_leave_no_page_behind(void)
{
    const uint64_t n_threads = harness_scaled(160) / N_THREADS_AT_A_TIME * N_THREADS_AT_A_TIME;
    daemon_start("--size", "64MiB", NULL);
    struct client client = client_start(end_many_threads, &n_threads);
    harness_note("%llu threads, %llu calls of destructors", (unsigned long long)n_threads,
                 (unsigned long long)client_hear(&client));
    const uint64_t n_blocks = n_threads * 2;
    expect_usage(n_blocks * 1000, n_blocks);
    const struct usage usage = usage_take();
    const uint64_t held_bytes = usage.leased_bytes - usage.unused_bytes;
    harness_note("%llu KiB are leased and in use, beside %llu blocks",
                 (unsigned long long)held_bytes / KIB, (unsigned long long)n_blocks);
    expect_at_most(held_bytes, 2048 * KIB); /* those blocks are direct: none of a lease is left */
    expect_ledger_sound();
    client_finish(&client);
    daemon_stop_balanced();
}

static void *allocate_until_cancelled(void *argument)
{
    for (;;) {
        use_leases();
        release(allocate(30 * KIB, "cancelled"));
        pthread_testcancel();
    }
    return argument;
}

static void cancel_threads(const void *argument)
{
    pthread_t threads[N_THREADS_AT_A_TIME];
    (void)argument;
    for (unsigned int n = 0; n < 10; n++) {
        for (size_t i = 0; i < N_THREADS_AT_A_TIME; i++) {
            expect_equal(pthread_create(&threads[i], NULL, allocate_until_cancelled, NULL), 0);
        }
        harness_sleep_ms(10);
        for (size_t i = 0; i < N_THREADS_AT_A_TIME; i++) {
            expect_equal(pthread_cancel(threads[i]), 0);
        }
        for (size_t i = 0; i < N_THREADS_AT_A_TIME; i++) {
            void *result = NULL;
            expect_equal(pthread_join(threads[i], &result), 0);
            expect_true(result == PTHREAD_CANCELED);
        }
    }
    client_pause();
}

static void test_cancelled_threads_leave_no_block_and_no_lock_behind(void)
{
    daemon_start("--size", "64MiB", NULL);
    struct client client = client_begin(cancel_threads, NULL);
    expect_usage(0, 0);
    client_finish(&client);
    daemon_stop_balanced();
}

/* --------------------------------------------------------------------- a program ends ---- */

static void *of_main;

static void call_in_exit_handler(void)
{
    use_leases();
    release(of_main);
    release(allocate(30 * KIB, "in an exit handler"));
    of_main = allocate(100, "left to the end");
}

static void leave_and_join_in_exit_handler(void)
{
    expect_equal(kmem_close(), 0);
    use_leases();
    of_main = allocate(100, "of another membership");
}

static void end_with_exit_handlers(const void *argument)
{
    (void)argument;
    /* They run in reverse order: the first is older than anything of the library's. */
    expect_equal(atexit(call_in_exit_handler), 0);
    use_leases();
    of_main = allocate(100, "of main");
    expect_equal(atexit(leave_and_join_in_exit_handler), 0);
    expect_equal(atexit(call_in_exit_handler), 0);
}

static void test_exit_handlers_call_the_library(void)
{
    daemon_start(NULL, NULL);
    for (unsigned int i = 0; i < 10; i++) {
        client_run(end_with_exit_handlers, NULL);
        expect_balanced();
    }
    daemon_stop();
}

static void *allocate_for_ever(void *argument)
{
    for (;;) {
        use_leases();
    }
    return argument;
}

static void exit_under_threads(const void *argument)
{
    (void)argument;
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++) {
        expect_equal(pthread_create(&threads[i], NULL, allocate_for_ever, NULL), 0);
        expect_equal(pthread_detach(threads[i]), 0);
    }
    expect_equal(atexit(use_leases), 0);
    harness_sleep_ms(5);
}

static void test_a_program_exits_while_its_threads_are_in_the_library(void)
{
    daemon_start("--size", "64MiB", NULL);
    for (unsigned int i = 0; i < harness_scaled(50); i++) {
        client_run(exit_under_threads, NULL);
    }
    daemon_stop_balanced();
}

/* ---------------------------------------------------------------------- a plugin ends ---- */

static void host(const void *name)
{
    const char *const plugin = harness_program(name);
    (void)execl(harness_program("plugin_host"), "plugin_host", plugin, NULL);
    fail("execl: %s", strerror(errno));
}

static void test_a_plugin_is_unloaded_and_loaded_again_while_its_threads_live(void)
{
    daemon_start(NULL, NULL);
    client_run(host, "plugin.so");
    daemon_stop_balanced();
}

static void test_a_plugin_with_the_archive_inside_is_unloaded_and_loaded_again(void)
{
    daemon_start(NULL, NULL);
    client_run(host, "plugin_with_archive.so");
    daemon_stop_balanced();
}

static const struct system_test tests[] = {
    SYSTEM_TEST(test_destructors_of_threads_that_call_the_library_leave_no_page_behind, 60),
    SYSTEM_TEST(test_cancelled_threads_leave_no_block_and_no_lock_behind, 30),
    SYSTEM_TEST(test_exit_handlers_call_the_library, 30),
    SYSTEM_TEST(test_a_program_exits_while_its_threads_are_in_the_library, 30),
    SYSTEM_TEST(test_a_plugin_is_unloaded_and_loaded_again_while_its_threads_live, 40),
    SYSTEM_TEST(test_a_plugin_with_the_archive_inside_is_unloaded_and_loaded_again, 40),
};

int main(int argc, char **argv)
{
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}

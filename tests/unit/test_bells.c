/* SPDX-License-Identifier: MIT */
/*
 * test_bells.c - who sleeps at a bell is woken through a mapping of his own, for reading only
 */
#include <linux/futex.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/server/bells.h"

/* More than three steps wake. */
#define N_SLEEPERS (3 * BELL_WAKES + 5)
#define BELL 77

static struct bells bells;
static unsigned char *servers;
static const unsigned char *clients; /* the same file, as clients have it */

static const _Atomic uint32_t *clients_bell(uint32_t bell)
{
    return (const _Atomic uint32_t *)(const void *)(clients + NOTICE_BELLS_AT) + bell;
}

static int bells_setup(void **state)
{
    (void)state;
    const int fd = memfd_create("notice", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, NOTICE_BYTES), 0);
    servers = mmap(NULL, NOTICE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    clients = mmap(NULL, NOTICE_BYTES, PROT_READ, MAP_SHARED, fd, 0);
    assert_ptr_not_equal(servers, MAP_FAILED);
    assert_ptr_not_equal(clients, MAP_FAILED);
    assert_int_equal(close(fd), 0);
    bells_init(&bells, (void *)(servers + NOTICE_BELLS_AT));
    return 0;
}

static int bells_teardown(void **state)
{
    (void)state;
    assert_int_equal(munmap(servers, NOTICE_BYTES), 0);
    assert_int_equal(munmap((void *)(uintptr_t)clients, NOTICE_BYTES), 0);
    return 0;
}

/* ------------------------------------------------------------------------------- sleepers ---- */

struct sleeper {
    pthread_t thread;
    _Atomic long thread_id;
    uint32_t seen;
};

static struct sleeper sleepers[N_SLEEPERS];
static _Atomic uint32_t n_awake;

static void *sleeper_run(void *argument)
{
    struct sleeper *sleeper = argument;
    const _Atomic uint32_t *bell = clients_bell(BELL);
    atomic_store(&sleeper->thread_id, syscall(SYS_gettid));
    while (atomic_load(bell) == sleeper->seen) {
        (void)syscall(SYS_futex, bell, FUTEX_WAIT, sleeper->seen, NULL, NULL, 0);
    }
    atomic_fetch_add(&n_awake, 1);
    return NULL;
}

/* Whether the kernel has put it to sleep at a futex. */
static bool sleeper_sleeps(struct sleeper *sleeper)
{
    char path[64];
    char line[64] = "";
    (void)snprintf(path, sizeof(path), "/proc/self/task/%ld/syscall",
                   atomic_load(&sleeper->thread_id));
    FILE *file = fopen(path, "re");
    if (file) {
        (void)!fgets(line, sizeof(line), file);
        (void)fclose(file);
    }
    char *end;
    const long number = strtol(line, &end, 10);
    return end != line && number == SYS_futex;
}

static void sleepers_start(uint32_t seen)
{
    atomic_store(&n_awake, 0);
    for (size_t i = 0; i < N_SLEEPERS; i++) {
        sleepers[i].seen = seen;
        atomic_store(&sleepers[i].thread_id, 0);
        assert_int_equal(pthread_create(&sleepers[i].thread, NULL, sleeper_run, &sleepers[i]), 0);
    }
    for (size_t i = 0; i < N_SLEEPERS; i++) {
        while (!sleeper_sleeps(&sleepers[i])) {
            (void)usleep(100);
        }
    }
}

static void sleepers_join(void)
{
    for (size_t i = 0; i < N_SLEEPERS; i++) {
        assert_int_equal(pthread_join(sleepers[i].thread, NULL), 0);
    }
}

/* ---------------------------------------------------------------------------------- tests ---- */

static void test_bells_ring_is_seen_by_those_who_read(void **state)
{
    (void)state;
    assert_int_equal(atomic_load(clients_bell(BELL)), 0);

    bells_ring(&bells, BELL);

    assert_int_equal(atomic_load(clients_bell(BELL)), 1);
    assert_int_equal(atomic_load(clients_bell(BELL - 1)), 0);
    assert_int_equal(atomic_load(clients_bell(BELL + 1)), 0);
    assert_false(bells_are_due(&bells)); /* nobody slept */
}

static void test_bells_ring_wakes_some_at_once_and_the_rest_in_steps(void **state)
{
    (void)state;
    sleepers_start(0);

    bells_ring(&bells, BELL);

    assert_true(bells_are_due(&bells));
    for (unsigned n_steps = 1; bells_are_due(&bells); n_steps++) {
        bells_step(&bells);
        assert_true(n_steps <= N_SLEEPERS / BELL_WAKES);
    }
    sleepers_join();
    assert_int_equal(atomic_load(&n_awake), N_SLEEPERS);
    assert_int_equal(atomic_load(clients_bell(BELL)), 1);
}

static void test_bells_ring_of_all_counts_each_and_wakes_who_sleeps(void **state)
{
    (void)state;
    sleepers_start(0);

    bells_ring_all(&bells);

    assert_int_equal(bells.n_due, NOTICE_BELLS);
    while (bells_are_due(&bells)) {
        bells_step(&bells);
    }
    sleepers_join();
    for (uint32_t bell = 0; bell < NOTICE_BELLS; bell++) {
        assert_int_equal(atomic_load(clients_bell(bell)), 1);
    }
}

static void test_bells_ring_twice_before_the_rest_is_woken_is_due_once(void **state)
{
    (void)state;
    bells_ring_all(&bells);
    const uint32_t n_due = bells.n_due;

    bells_ring(&bells, BELL);

    assert_int_equal(bells.n_due, n_due - 1); /* it was looked at just now */
    assert_int_equal(atomic_load(clients_bell(BELL)), 2);
}

static void test_notice_bell_of_is_fnv_1a_folded(void **state)
{
    (void)state;

    /* FNV-1a of "a" is e40c292c, of "foobar" bf9cf968: the published vectors. */
    assert_int_equal(notice_bell_of("", 0), (0x811c9dc5 ^ 0x811c) % NOTICE_BELLS);
    assert_int_equal(notice_bell_of("a", 1), (0xe40c292c ^ 0xe40c) % NOTICE_BELLS);
    assert_int_equal(notice_bell_of("foobar", 6), (0xbf9cf968 ^ 0xbf9c) % NOTICE_BELLS);
}

static void test_notice_begins_its_bells_and_its_roster_behind_the_clock(void **state)
{
    (void)state;

    assert_int_equal(NOTICE_BELLS_AT, 4096);
    assert_int_equal(NOTICE_ROSTER_AT, 4096 + 4 * 4096);
    assert_int_equal(NOTICE_BYTES, 4096 + 4 * 4096 + 4 * CLIENTS_MAX);
}

#define BELLS_TEST(test) cmocka_unit_test_setup_teardown(test, bells_setup, bells_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        BELLS_TEST(test_bells_ring_is_seen_by_those_who_read),
        BELLS_TEST(test_bells_ring_wakes_some_at_once_and_the_rest_in_steps),
        BELLS_TEST(test_bells_ring_of_all_counts_each_and_wakes_who_sleeps),
        BELLS_TEST(test_bells_ring_twice_before_the_rest_is_woken_is_due_once),
        BELLS_TEST(test_notice_bell_of_is_fnv_1a_folded),
        BELLS_TEST(test_notice_begins_its_bells_and_its_roster_behind_the_clock),
    };
    return cmocka_run_group_tests_name("bells", tests, NULL, NULL);
}

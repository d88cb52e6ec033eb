/* SPDX-License-Identifier: MIT */
/*
 * test_wait_allocate.c - kmem_wait_allocate(): first come, first served, until a deadline
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <kmem/kmem.h>

#include "tests/system/client.h"
#include "tests/system/ctl.h"
#include "tests/system/daemon.h"
#include "tests/system/harness.h"

#define MIB ((size_t)1 << 20)
#define PATIENT_MS 60000

/* Holds 15 of 16 MiB, and lets go of one each time that it is told to. */
static void hold_all(const void *argument)
{
    void *blocks[15];
    (void)argument;
    for (int i = 0; i < 15; i++) {
        blocks[i] = kmem_try_allocate(MIB, "held");
        expect_call(blocks[i] != NULL);
    }
    client_say(1);
    for (int i = 0; i < 15 && client_await() != 0; i++) {
        kmem_release(&blocks[i]);
        client_say(1);
    }
}

static void wait_for(const void *argument)
{
    client_say(1);
    expect_call(kmem_wait_allocate(*(const size_t *)argument, "wanted", PATIENT_MS) != NULL);
    client_say(2);
    (void)client_await();
}

static bool are_waiting(unsigned int n)
{
    char pattern[64];
    (void)snprintf(pattern, sizeof(pattern), "waiting +%u +1,024", n);
    return harness_matches(ctl("limits")->out, pattern);
}

static struct client holder;

static void begin(void)
{
    daemon_start(NULL, NULL);
    holder = client_start(hold_all, NULL);
    expect_equal(client_hear(&holder), 1);
}

static struct client waiter_start(const size_t *num_bytes, unsigned int n)
{
    struct client waiter = client_start(wait_for, num_bytes);
    expect_equal(client_hear(&waiter), 1);
    expect_soon(are_waiting(n), 10000);
    return waiter;
}

static void let_go(void)
{
    client_tell(&holder, 1);
    expect_equal(client_hear(&holder), 1);
}

static void served(struct client *waiter)
{
    expect_equal(client_hear(waiter), 2);
    client_tell(waiter, 0);
    client_end(waiter);
}

static void end(void)
{
    client_tell(&holder, 0);
    client_end(&holder);
    daemon_stop();
}

static const size_t large = 3 * MIB;
static const size_t small = MIB;

static void test_a_small_request_does_not_pass_a_large_one(void)
{
    begin();
    struct client first = waiter_start(&large, 1);
    struct client second = waiter_start(&small, 2);
    let_go();
    let_go();
    expect_true(are_waiting(2));
    let_go();
    served(&first);
    served(&second);
    end();
}

static void test_the_death_of_a_waiter_lets_the_next_one_pass(void)
{
    begin();
    struct client first = waiter_start(&large, 1);
    struct client second = waiter_start(&small, 2);
    client_kill(&first);
    let_go();
    served(&second);
    end();
}

static void test_a_stopped_waiter_lets_the_next_one_pass(void)
{
    begin();
    struct client first = waiter_start(&large, 1);
    struct client second = waiter_start(&small, 2);
    client_stop(&first);
    let_go();
    served(&second);
    let_go();
    let_go();
    client_continue(&first);
    served(&first);
    end();
}

static void test_a_dead_holder_serves_a_waiter(void)
{
    begin();
    struct client first = waiter_start(&large, 1);
    client_kill(&holder);
    served(&first);
    daemon_stop();
}

/* Fills the segment with small leased blocks, and releases them when it is told to: they stay in
   its leases, and it sleeps. */
static void leave_idle(const void *argument)
{
    static void *blocks[1 << 15];
    size_t n_blocks = 0;
    (void)argument;
    while (n_blocks < sizeof(blocks) / sizeof(blocks[0]) &&
           (blocks[n_blocks] = kmem_try_allocate(1000, "small")) != NULL) {
        n_blocks++;
    }
    client_say(1);
    (void)client_await();
    for (size_t i = 0; i < n_blocks; i++) {
        kmem_release(&blocks[i]);
    }
    client_say(1);
    (void)client_await();
}

static void test_what_another_leaves_idle_in_its_leases_serves_a_waiter(void)
{
    daemon_start(NULL, NULL);
    holder = client_start(leave_idle, NULL);
    expect_equal(client_hear(&holder), 1);
    struct client first = waiter_start(&large, 1);
    let_go();
    served(&first);
    end();
}

static void test_a_server_that_is_killed_is_asked_again(void)
{
    begin();
    daemon_expect_crashes();
    struct client first = waiter_start(&large, 1);
    daemon_kill_server();
    expect_soon(are_waiting(1), 10000);
    let_go();
    let_go();
    let_go();
    served(&first);
    end();
}

/* Once, and then not any more. */
static int goes_on_once(void *user)
{
    unsigned int *n_asked = user;
    return (*n_asked)++ == 0;
}

static void be_late(const void *argument)
{
    (void)argument;
    const struct stopwatch watch = stopwatch_start();
    expect_true(kmem_wait_allocate(3 * MIB, "late", 200) == NULL);
    expect_equal(errno, ENOMEM);
    expect_lasted(&watch, 190);
    expect_match(kmem_last_error(), "no room for 3.0 MiB .*held");
    unsigned int n_asked = 0;
    expect_true(kmem_wait_allocate_while(3 * MIB, "changed", -1, goes_on_once, &n_asked) == NULL);
    expect_equal(errno, EINTR);
    expect_equal(n_asked, 2);
    expect_true(kmem_wait_allocate(17 * MIB, "never", -1) == NULL);
    expect_true(kmem_wait_allocate(3 * MIB, "at once", 0) == NULL);
    expect_equal(errno, ENOMEM);
}

static void test_a_deadline_is_ENOMEM_with_the_largest_holders(void)
{
    begin();
    client_run(be_late, NULL);
    expect_true(are_waiting(0));
    end();
}

int main(int argc, char **argv)
{
    static const struct system_test tests[] = {
        SYSTEM_TEST(test_a_deadline_is_ENOMEM_with_the_largest_holders, 60),
        SYSTEM_TEST(test_a_small_request_does_not_pass_a_large_one, 60),
        SYSTEM_TEST(test_the_death_of_a_waiter_lets_the_next_one_pass, 60),
        SYSTEM_TEST(test_a_stopped_waiter_lets_the_next_one_pass, 60),
        SYSTEM_TEST(test_a_dead_holder_serves_a_waiter, 60),
        SYSTEM_TEST(test_what_another_leaves_idle_in_its_leases_serves_a_waiter, 60),
        SYSTEM_TEST(test_a_server_that_is_killed_is_asked_again, 60),
    };
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}

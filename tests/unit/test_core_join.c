/* SPDX-License-Identifier: MIT */
/*
 * test_core_join.c - which process is which client: pids, users, programs, copies of the library
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemon/core/core.h"
#include "tests/unit/fixture.h"

#define N_PAGES 256
#define LIMIT 20

static struct fixture fixture;
static struct core *core;

static int core_setup(void **state)
{
    (void)state;
    fixture_init(&fixture, N_PAGES, LIMIT);
    core = &fixture.core;
    return 0;
}

static int core_teardown(void **state)
{
    (void)state;
    fixture_fini(&fixture);
    return 0;
}

static int join(uint32_t pid, struct client **ret_client)
{
    const struct client_identity identity = fixture_identity(pid);
    return core_join(core, &identity, FIXTURE_NONCE(identity.pid), fixture.now_ms, ret_client);
}

static void hold(struct client *client, uint32_t n_blocks, uint64_t num_bytes)
{
    for (uint32_t i = 0; i < n_blocks; i++) {
        (void)fixture_allocate(&fixture, client, num_bytes, "held");
    }
}

static void reap_all(void)
{
    while (core_has_dead(core)) {
        fixture_reap(&fixture, 1);
    }
}

/* Of one process that runs a program, with a copy of the library in it. */
static int join_as(uint32_t program, uint32_t copy, struct client **ret_client)
{
    struct client_identity identity = fixture_identity(5);
    identity.program = program;
    identity.copy = copy;
    return core_join(core, &identity, copy + 100, fixture.now_ms, ret_client);
}

static void test_core_join_of_another_program_ends_the_former_though_it_is_connected(void **state)
{
    (void)state;
    struct client *former;
    struct client *client;
    assert_int_equal(join_as(1, 1, &former), 0);
    hold(former, 10, 1000);

    assert_int_equal(join_as(2, 1, &client), CLIENTS_E_ENDING);
    assert_int_equal(former->client_state, CLIENT_ENDED);
    assert_int_equal(join_as(2, 1, &client), CLIENTS_E_ENDING);
    reap_all();
    assert_int_equal(join_as(2, 1, &client), 0);
}

static void test_core_join_of_another_copy_is_a_client_beside_the_first(void **state)
{
    (void)state;
    struct client *first;
    struct client *second;
    struct client *again;
    assert_int_equal(join_as(1, 1, &first), 0);
    assert_int_equal(join_as(1, 2, &second), 0);
    assert_ptr_not_equal(first, second);
    first->connected = false;
    second->connected = false;

    const struct client_identity identity = fixture_identity(5);
    assert_int_equal(core_resume(core, &identity, 102, &again), 0);
    assert_ptr_equal(again, second);
    assert_int_equal(join_as(1, 1, &again), CLIENTS_E_ENDING); /* it gives up what it had */
    assert_int_equal(first->client_state, CLIENT_ENDED);
    assert_int_equal(second->client_state, CLIENT_LIVE);
}

static void test_core_join_of_one_copy_too_many_is_refused(void **state)
{
    (void)state;
    struct client *client;
    for (uint32_t copy = 1; copy <= COPIES_MAX; copy++) {
        assert_int_equal(join_as(1, copy, &client), 0);
    }

    assert_int_equal(join_as(1, COPIES_MAX + 1, &client), CLIENTS_E_COPIES);
    assert_int_equal(join(6, &client), 0);
}

static void test_core_join_of_one_that_does_not_say_what_it_is_takes_nothing(void **state)
{
    (void)state;
    struct client *former;
    struct client *client;
    assert_int_equal(join_as(1, 1, &former), 0);

    assert_int_equal(join_as(0, 0, &client), CLIENTS_E_TWICE);
    assert_int_equal(former->client_state, CLIENT_LIVE);
    former->connected = false;
    assert_int_equal(join_as(0, 0, &client), CLIENTS_E_ENDING);
}

static void test_core_join_from_a_reused_pid_ends_no_other_users_client(void **state)
{
    (void)state;
    struct client *client = fixture_join(&fixture, 5);
    const struct seg_off off = fixture_allocate(&fixture, client, 700000, "mine");
    client->connected = false;
    struct client_identity identity = fixture_identity(5);
    struct client *other;

    identity.uid++;
    assert_int_equal(core_join(core, &identity, FIXTURE_NONCE(6), fixture.now_ms, &other), 0);

    assert_int_equal(client->client_state, CLIENT_LIVE);
    assert_ptr_not_equal(other, client);
    assert_int_equal(core_resume(core, &identity, FIXTURE_NONCE(5), &other), CLIENTS_E_DENIED);
    fixture_release(&fixture, client, off);
}

static void test_core_resume_after_the_user_has_changed_is_the_same_client(void **state)
{
    (void)state;
    struct client_identity identity = fixture_identity(5);
    struct client *client;
    struct client *again;
    identity.inode = 41;
    assert_int_equal(core_join(core, &identity, FIXTURE_NONCE(5), fixture.now_ms, &client), 0);
    client->connected = false;

    identity.uid++;
    assert_int_equal(core_resume(core, &identity, FIXTURE_NONCE(5), &again), 0);
    assert_ptr_equal(again, client);
    identity.inode = 42; /* another process, which knows the nonce */
    assert_int_equal(core_resume(core, &identity, FIXTURE_NONCE(5), &again), CLIENTS_E_GONE);
}

#define JOIN_TEST(test) cmocka_unit_test_setup_teardown(test, core_setup, core_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        JOIN_TEST(test_core_join_of_another_program_ends_the_former_though_it_is_connected),
        JOIN_TEST(test_core_join_of_another_copy_is_a_client_beside_the_first),
        JOIN_TEST(test_core_join_of_one_copy_too_many_is_refused),
        JOIN_TEST(test_core_join_of_one_that_does_not_say_what_it_is_takes_nothing),
        JOIN_TEST(test_core_join_from_a_reused_pid_ends_no_other_users_client),
        JOIN_TEST(test_core_resume_after_the_user_has_changed_is_the_same_client),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

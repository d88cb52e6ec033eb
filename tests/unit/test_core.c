/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/core/core.h"
#include "proto/lease.h"
#include "tests/unit/broken.h"
#include "tests/unit/fail.h"
#include "tests/unit/core_fixture.h"
#include "tests/unit/unit.h"

#define N_PAGES 256
#define LIMIT 20

static int core_setup(void **state)
{
    fixture_init(&fixture, N_PAGES, LIMIT);
    return 0;
}

static int join(uint32_t pid, struct client **ret_client)
{
    const struct client_identity identity = fixture_identity(pid);
    return core_join(core, &identity, FIXTURE_NONCE(identity.pid), fixture.now_ms, ret_client);
}

static void end(struct client *client)
{
    core_end(core, client, false, fixture.now_ms);
}

/* ------------------------------------------------------------------------------ init, join ---- */

static void test_core_init_adds_up(void **state)
{
    assert_int_equal(core_segment_bytes(core), N_PAGES * PAGE_BYTES);
    assert_int_equal(core_free_bytes(core), (N_PAGES - 1) * PAGE_BYTES);
    assert_int_equal(core_largest_free_bytes(core), (N_PAGES - 1) * PAGE_BYTES);
    assert_int_equal(core_direct_overhead_bytes(core), PAGE_BYTES);
    assert_false(core_has_dead(core));
}

static void test_core_init_without_memory_fails_cleanly(void **state)
{
    struct core other;
    void *base = calloc(1, state_bytes(N_PAGES));
    assert_non_null(base);

    for (unsigned nth = 1; fail_again("memory", nth, ENOMEM); nth++) {
        const int r = core_init(&other, &core->config, base, 0);
        const bool failed = fail_end();
        assert_int_equal(r, failed ? -ENOMEM : 0);
        assert_true(failed || nth > 10); /* of pages 4, of each of the three tables 2 or more */
    }
    core_fini(&other);
    free(base);
}

static void test_core_fini_with_a_client_is_a_bug(void **state)
{
    struct client *client = fixture_join(&fixture, 1);

    assert_broken(core_fini(core));
    end(client);
    assert_broken(core_fini(core));
}

static void test_core_tick_counts_from_the_beginning(void **state)
{
    assert_int_equal(core_tick(core, FIXTURE_BORN_MS), 0);
    assert_int_equal(core_tick(core, FIXTURE_BORN_MS + 1234), 12);
    assert_int_equal(core_tick(core, 0), 0);
}

static void test_core_join_beyond_the_limit_is_full(void **state)
{
    struct client *client;
    for (uint32_t i = 0; i < LIMIT; i++) {
        (void)fixture_join(&fixture, 100 + i);
    }

    assert_int_equal(join(99, &client), CLIENTS_E_FULL);

    assert_int_equal(core->n_clients_seen, LIMIT);
}

/* pids 3, 6, 9 … are user 1000's, see fixture_identity(). */
static void test_core_join_beyond_the_limit_of_one_user_is_USER(void **state)
{
    struct client *client;
    core->config.clients_per_uid = 2;
    struct client *first = fixture_join(&fixture, 3);
    (void)fixture_join(&fixture, 6);

    assert_int_equal(join(9, &client), CLIENTS_E_USER);

    assert_int_equal(join(7, &client), 0); /* another user's */
    end(first);
    assert_int_equal(join(9, &client), CLIENTS_E_USER); /* until the slot is free */
    (void)fixture_reap_all(&fixture);
    assert_int_equal(join(9, &client), 0);
}

static void test_core_join_of_the_administrator_has_no_limit_but_the_segments(void **state)
{
    struct client *client;
    core->config.clients_per_uid = 2;
    core->config.owner_uid = 1000;

    for (uint32_t i = 1; i <= LIMIT; i++) {
        assert_int_equal(join(3 * i, &client), 0);
    }
    assert_int_equal(join(3 * LIMIT + 3, &client), CLIENTS_E_FULL);
    assert_true(core_is_admin(core, 0));
    assert_false(core_is_admin(core, 1001));
}

static int resume(uint32_t pid, uint64_t nonce, struct client **ret_client)
{
    const struct client_identity identity = fixture_identity(pid);
    return core_resume(core, &identity, nonce, ret_client);
}

static void test_core_resume_with_the_nonce_is_the_same_client(void **state)
{
    struct client *client = fixture_join(&fixture, 5);
    const struct seg_off off = fixture_allocate(&fixture, client, 10, "mine");
    client->connected = false;
    struct client *again;

    assert_int_equal(resume(5, FIXTURE_NONCE(5), &again), 0);

    assert_ptr_equal(again, client);
    assert_true(client->connected);
    assert_int_equal(core->n_clients_seen, 1);
    fixture_release(&fixture, again, off);
}

static void test_core_resume_with_another_nonce_is_denied(void **state)
{
    (void)fixture_join(&fixture, 5);
    struct client *again = NULL;

    assert_int_equal(resume(5, FIXTURE_NONCE(6), &again), CLIENTS_E_DENIED);

    assert_null(again);
}

static void test_core_resume_of_who_is_no_client_is_gone(void **state)
{
    struct client *client = fixture_join(&fixture, 5);
    fixture_hold(&fixture, client, 10, 1000);
    end(client);
    struct client *again = NULL;

    assert_int_equal(resume(5, FIXTURE_NONCE(5), &again), CLIENTS_E_GONE);
    (void)fixture_reap_all(&fixture);
    assert_int_equal(resume(5, FIXTURE_NONCE(5), &again), CLIENTS_E_GONE);

    assert_null(again);
}

static void test_core_join_of_a_client_that_is_connected_is_twice(void **state)
{
    struct client *client = fixture_join(&fixture, 5);
    fixture_hold(&fixture, client, 10, 1000);
    struct client *again = NULL;

    assert_int_equal(join(5, &again), CLIENTS_E_TWICE);

    assert_null(again);
    assert_int_equal(client->n_blocks, 10);
}

static void test_core_join_of_a_client_without_connection_ends_that_one(void **state)
{
    struct client *client = fixture_join(&fixture, 5);
    fixture_hold(&fixture, client, 10, 1000);
    client->connected = false;
    struct client *again = NULL;

    assert_int_equal(join(5, &again), CLIENTS_E_ENDING);

    assert_int_equal(client->client_state, CLIENT_ENDED);
    (void)fixture_reap_all(&fixture);
    assert_int_equal(join(5, &again), 0);
    assert_int_equal(again->n_blocks, 0);
}

static void test_core_join_while_its_former_blocks_are_taken_back_is_ending(void **state)
{
    struct client *client = fixture_join(&fixture, 5);
    fixture_hold(&fixture, client, 10, 1000);
    end(client);
    struct client *again = NULL;

    assert_int_equal(join(5, &again), CLIENTS_E_ENDING);

    assert_null(again);
    (void)fixture_reap_all(&fixture);
    assert_int_equal(join(5, &again), 0);
    assert_int_equal(again->n_blocks, 0);
}

static void test_core_direct_overhead_is_what_is_neither_used_nor_free(void **state)
{
    struct client *client = fixture_join(&fixture, 1);

    fixture_hold(&fixture, client, 1, 100);

    assert_int_equal(core_direct_overhead_bytes(core), PAGE_BYTES + PAGE_BYTES - 100);
    assert_int_equal(core->direct.used_bytes + core_free_bytes(core) +
                         core_direct_overhead_bytes(core),
                     core_segment_bytes(core));
}

/* --------------------------------------------------------- programs and copies of one ---- */

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
    struct client *former;
    struct client *client;
    assert_int_equal(join_as(1, 1, &former), 0);
    fixture_hold(&fixture, former, 10, 1000);

    assert_int_equal(join_as(2, 1, &client), CLIENTS_E_ENDING);
    assert_int_equal(former->client_state, CLIENT_ENDED);
    assert_int_equal(join_as(2, 1, &client), CLIENTS_E_ENDING);
    (void)fixture_reap_all(&fixture);
    assert_int_equal(join_as(2, 1, &client), 0);
}

static void test_core_join_of_another_copy_is_a_client_beside_the_first(void **state)
{
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
    struct client *client;
    for (uint32_t copy = 1; copy <= COPIES_MAX; copy++) {
        assert_int_equal(join_as(1, copy, &client), 0);
    }

    assert_int_equal(join_as(1, COPIES_MAX + 1, &client), CLIENTS_E_COPIES);
    assert_int_equal(join(6, &client), 0);
}

static void test_core_join_of_one_that_does_not_say_what_it_is_takes_nothing(void **state)
{
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

static void test_core_return_of_a_slot_without_a_living_client_is_GONE(void **state)
{
    struct client *returned;
    struct client *first = fixture_join(&fixture, 1);
    struct client *second = fixture_join(&fixture, 2);
    struct client *third = fixture_join(&fixture, 3);
    const uint64_t nonce = second->nonce;
    const uint32_t slot = second->slot;
    assert_int_equal(core_return(core, third->slot + 1, nonce, false, &returned), CLIENTS_E_GONE);
    assert_int_equal(core_return(core, slot, nonce + 1, false, &returned), CLIENTS_E_DENIED);
    core_end(core, second, false, fixture.now_ms);
    assert_int_equal(core_return(core, slot, nonce, false, &returned), CLIENTS_E_GONE);
    fixture_reap(&fixture, UINT32_MAX);
    assert_int_equal(core_return(core, slot, nonce, false, &returned), CLIENTS_E_GONE);
    fixture_end(&fixture, first, true);
    fixture_end(&fixture, third, true);
}

static void test_largest_extent_is_not_the_one_that_is_being_cleared(void **state)
{
    struct client *client = fixture_join(&fixture, 1);
    struct seg_off offs[3];
    for (size_t i = 0; i < 3; i++) {
        offs[i] = fixture_allocate(&fixture, client, 2 * PAGE_BYTES, "row");
    }
    fixture_release(&fixture, client, offs[1]);
    const uint32_t largest = pages_largest_extent(&core->pages);
    pages_scrub_begin(&core->pages, (uint32_t)(offs[1].bytes >> PAGE_SHIFT), 2);
    assert_int_equal(pages_largest_extent(&core->pages), largest);
    pages_scrub_end(&core->pages, true);
    fixture_end(&fixture, client, true);
}

static uint64_t resident(void *user)
{
    return *(const uint64_t *)user;
}

static void test_core_init_begins_as_it_is_configured(void **state)
{
    uint64_t resident_bytes = 12345;
    struct core other;
    struct core_config config = core->config;
    void *base = calloc(1, state_bytes(N_PAGES));
    assert_non_null(base);
    assert_int_equal(core->names.limit, SHARE_NAMES_USUAL);
    assert_int_equal(core_resident_bytes(core), 0);
    config.begin_pages = N_PAGES / 2;
    config.names_limit = 3;
    config.resident = resident;
    config.resident_user = &resident_bytes;

    assert_int_equal(core_init(&other, &config, base, 0), 0);

    assert_int_equal(core_segment_bytes(&other), N_PAGES / 2 * PAGE_BYTES);
    assert_int_equal(core_most_bytes(&other), N_PAGES * PAGE_BYTES);
    assert_int_equal(other.names.limit, 3);
    assert_int_equal(core_resident_bytes(&other), resident_bytes);
    core_fini(&other);
    free(base);
}

#define CORE_TEST(test) cmocka_unit_test_setup_teardown(test, core_setup, core_teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        CORE_TEST(test_core_init_adds_up),
        CORE_TEST(test_core_init_without_memory_fails_cleanly),
        CORE_TEST(test_core_fini_with_a_client_is_a_bug),
        CORE_TEST(test_core_tick_counts_from_the_beginning),
        CORE_TEST(test_core_join_beyond_the_limit_is_full),
        CORE_TEST(test_core_join_beyond_the_limit_of_one_user_is_USER),
        CORE_TEST(test_core_join_of_the_administrator_has_no_limit_but_the_segments),
        CORE_TEST(test_core_resume_with_the_nonce_is_the_same_client),
        CORE_TEST(test_core_resume_with_another_nonce_is_denied),
        CORE_TEST(test_core_resume_of_who_is_no_client_is_gone),
        CORE_TEST(test_core_join_of_a_client_that_is_connected_is_twice),
        CORE_TEST(test_core_join_of_a_client_without_connection_ends_that_one),
        CORE_TEST(test_core_join_while_its_former_blocks_are_taken_back_is_ending),
        CORE_TEST(test_core_direct_overhead_is_what_is_neither_used_nor_free),
        CORE_TEST(test_core_join_of_another_program_ends_the_former_though_it_is_connected),
        CORE_TEST(test_core_join_of_another_copy_is_a_client_beside_the_first),
        CORE_TEST(test_core_join_of_one_copy_too_many_is_refused),
        CORE_TEST(test_core_join_of_one_that_does_not_say_what_it_is_takes_nothing),
        CORE_TEST(test_core_join_from_a_reused_pid_ends_no_other_users_client),
        CORE_TEST(test_core_resume_after_the_user_has_changed_is_the_same_client),
        CORE_TEST(test_core_return_of_a_slot_without_a_living_client_is_GONE),
        CORE_TEST(test_largest_extent_is_not_the_one_that_is_being_cleared),
        CORE_TEST(test_core_init_begins_as_it_is_configured),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/core/clients.h"
#include "tests/unit/broken.h"
#include "tests/unit/fail.h"
#include "tests/unit/unit.h"

#define N_PAGES 64
#define LIMIT 10
#define OWNER 990 /* the daemon's own user */

static void *file;
static struct state segment;
static struct clients clients;

static int clients_setup(void **state)
{
    file = calloc(1, state_bytes(N_PAGES));
    assert_non_null(file);
    state_format(&segment, file, N_PAGES, N_PAGES, 1, 0);
    assert_int_equal(clients_init(&clients, &segment, LIMIT, OWNER), 0);
    return 0;
}

static int clients_teardown(void **state)
{
    clients_fini(&clients);
    free(file);
    return 0;
}

static struct client_identity identity_of(uint32_t pid)
{
    return (struct client_identity){
        .pid = pid, .uid = 1000, .gid = 100, .start_time = 77, .command = "worker"};
}

static struct client *add(uint32_t pid)
{
    const struct client_identity identity = identity_of(pid);
    struct client *client;
    assert_int_equal(clients_add(&clients, &identity, 7, 5, &client), 0);
    assert_int_equal(clients_check(&clients), 0);
    return client;
}

static void end_and_remove(struct client *client)
{
    clients_end(&clients, client, false, 9);
    assert_int_equal(clients_check(&clients), 0);
    clients_remove(&clients, client);
    assert_int_equal(clients_check(&clients), 0);
}

static void test_clients_add_writes_who_it_is_to_the_state(void **state)
{
    const struct client *client = add(4321);

    const struct state_client *stored = &segment.clients[client->slot];
    assert_int_equal(PID_WORD_PID(atomic_load(&stored->pid)), 4321);
    assert_int_equal(stored->inode, 0);
    assert_int_equal(stored->start_time, 77);
    assert_int_equal(stored->uid, 1000);
    assert_int_equal(stored->gid, 100);
    assert_int_equal(stored->born, 5);
    assert_string_equal(stored->command, "worker");
    assert_int_equal(client->client_state, CLIENT_LIVE);
    assert_true(client->connected);
    assert_int_equal(clients.n_live, 1);
}

static void test_clients_add_terminates_the_command(void **state)
{
    struct client_identity identity = identity_of(1);
    memset(identity.command, 'x', sizeof(identity.command));
    struct client *client;

    assert_int_equal(clients_add(&clients, &identity, 7, 0, &client), 0);

    assert_int_equal(strlen(client->identity.command), COMMAND_BYTES - 1);
}

static void test_clients_add_beyond_the_limit_is_full(void **state)
{
    const struct client_identity identity = identity_of(99);
    struct client *last = NULL;
    for (uint32_t i = 0; i < LIMIT; i++) {
        last = add(1 + i);
    }
    struct client *client = NULL;

    assert_int_equal(clients_add(&clients, &identity, 7, 0, &client), CLIENTS_E_FULL);

    assert_null(client);
    clients_end(&clients, last, false, 0); /* what it held is not back yet */
    assert_int_equal(clients_add(&clients, &identity, 7, 0, &client), CLIENTS_E_FULL);
    clients_remove(&clients, last);
    assert_int_equal(clients_add(&clients, &identity, 7, 0, &client), 0);
    assert_int_equal(clients_check(&clients), 0);
}

static void test_clients_add_up_to_the_largest_limit(void **state)
{
    clients_fini(&clients);
    assert_int_equal(clients_init(&clients, &segment, CLIENTS_MAX, OWNER), 0);
    const struct client_identity identity = identity_of(7);
    struct client *client = NULL;

    for (uint32_t i = 0; i < CLIENTS_MAX; i++) {
        assert_int_equal(clients_add(&clients, &identity, 7, 0, &client), 0);
    }

    assert_int_equal(client->slot, CLIENTS_MAX - 1);
    assert_int_equal(clients_add(&clients, &identity, 7, 0, &client), CLIENTS_E_FULL);
    assert_int_equal(clients_check(&clients), 0);
}

static void test_clients_init_with_a_senseless_limit_is_a_bug(void **state)
{
    struct clients other;

    assert_broken(assert_int_equal(clients_init(&other, &segment, 0, OWNER), 0));
    assert_broken(assert_int_equal(clients_init(&other, &segment, CLIENTS_MAX + 1, OWNER), 0));
}

static void test_clients_init_without_memory_fails_cleanly(void **state)
{
    struct clients other;

    for (unsigned nth = 1; fail_again("memory", nth, ENOMEM); nth++) {
        const int r = clients_init(&other, &segment, LIMIT, OWNER);
        assert_int_equal(r, fail_end() ? -ENOMEM : 0);
    }
    clients_fini(&other);
}

static void test_clients_remove_frees_the_slot_with_another_generation(void **state)
{
    struct client *first = add(1);
    (void)add(2);
    const uint32_t slot = first->slot;
    const uint32_t generation = first->generation;
    client_charge(first, 100);
    client_discharge(first, 100);

    end_and_remove(first);
    assert_int_equal(atomic_load(&segment.clients[slot].pid), 0);

    const struct client *second = add(3);
    assert_int_equal(second->slot, slot);
    assert_int_not_equal(second->generation, generation);
    assert_int_equal(second->stored->peak_bytes, 0);
    assert_false(second->left);
}

static void test_clients_remove_of_one_that_lives_or_holds_is_a_bug(void **state)
{
    struct client *client = add(1);

    assert_broken(clients_remove(&clients, client));
    client_charge(client, 1);
    clients_end(&clients, client, true, 0);
    assert_broken(clients_end(&clients, client, true, 0));
    assert_broken(clients_remove(&clients, client));
}

static void test_clients_end_remembers_how_and_when(void **state)
{
    struct client *client = add(1);

    clients_end(&clients, client, true, 42);

    assert_int_equal(client->client_state, CLIENT_ENDED);
    assert_true(client->left);
    assert_int_equal(client->ended, 42);
    assert_int_equal(clients.n_live, 0);
    assert_int_equal(clients.n_ended, 1);
    assert_ptr_equal(clients_get(&clients, client->slot), client);
}

static void test_clients_get_of_an_unused_slot_is_a_bug(void **state)
{
    struct client *client = add(1);
    const uint32_t slot = client->slot;
    end_and_remove(client);

    assert_broken((void)clients_get(&clients, slot));
    assert_broken((void)clients_get(&clients, slot + 1));
}

static void test_clients_next_skips_unused_slots(void **state)
{
    struct client *first = add(1);
    struct client *second = add(2);
    struct client *third = add(3);
    end_and_remove(second);

    assert_ptr_equal(clients_next(&clients, 0), first);
    assert_ptr_equal(clients_next(&clients, 1), third);
    assert_null(clients_next(&clients, 3));
    assert_null(clients_next(&clients, UINT32_MAX));
}

static void test_clients_find_knows_a_process_by_pid_and_start_time(void **state)
{
    (void)add(10);
    const struct client *client = add(11);
    struct client_identity identity = identity_of(11);

    assert_ptr_equal(clients_find(&clients, &identity), client);
    identity.start_time++; /* another process that got the same pid */
    assert_null(clients_find(&clients, &identity));
    identity = identity_of(12);
    assert_null(clients_find(&clients, &identity));
}

static void test_clients_find_takes_nobody_for_another_users_process(void **state)
{
    (void)add(11);
    struct client_identity identity = identity_of(11);

    identity.uid++;
    assert_null(clients_find(&clients, &identity));
    identity.inode = 5; /* one that has changed its user is known, but not taken for that one */
    clients.table[0].identity.inode = 5;
    assert_null(clients_find(&clients, &identity));
    assert_true(client_is_process(&clients.table[0], &identity));
}

static void test_clients_find_knows_a_process_by_its_inode_whatever_its_pid(void **state)
{
    struct client_identity identity = identity_of(0); /* not visible from here */
    struct client *client;
    struct client *other;
    identity.start_time = 0;
    identity.inode = 41;
    assert_int_equal(clients_add(&clients, &identity, 7, 0, &other), 0);
    identity.inode = 42;
    assert_int_equal(clients_add(&clients, &identity, 8, 0, &client), 0);

    assert_ptr_equal(clients_find(&clients, &identity), client);
    assert_int_equal(segment.clients[client->slot].inode, 42);
    assert_int_equal(atomic_load(&segment.clients[client->slot].pid), PID_WORD(0));
    assert_int_equal(clients_check(&clients), 0);
    identity.inode = 43;
    assert_null(clients_find(&clients, &identity));
    identity.inode = 0; /* nothing is known of it */
    assert_null(clients_find(&clients, &identity));
}

static void test_clients_find_knows_a_living_process_without_its_start_time(void **state)
{
    const struct client *client = add(11);
    struct client_identity identity = identity_of(11);

    identity.start_time = 0;
    assert_ptr_equal(clients_find(&clients, &identity), client);
    identity.pid++;
    assert_null(clients_find(&clients, &identity));
}

static void test_client_charge_keeps_the_peak(void **state)
{
    struct client *client = add(1);

    client_charge(client, 30);
    client_charge(client, 70);
    client_discharge(client, 30);
    client_charge(client, 5);

    assert_int_equal(client->n_blocks, 2);
    assert_int_equal(client->num_bytes, 75);
    assert_int_equal(client->stored->peak_bytes, 100);
    assert_broken(client_discharge(client, 76));
    client_discharge(client, 70);
    client_discharge(client, 5);
    assert_broken(client_discharge(client, 0));
}

static void test_clients_check_finds_what_is_wrong(void **state)
{
    struct client *client = add(1);
    end_and_remove(add(2));

    clients.n_live++;
    assert_int_equal(clients_check(&clients), CLIENTS_E_CORRUPT);
    clients.n_live--;
    clients.n_ended++;
    assert_int_equal(clients_check(&clients), CLIENTS_E_CORRUPT);
    clients.n_ended--;
    clients.free_slots[0] = client->slot; /* free, and in use */
    assert_int_equal(clients_check(&clients), CLIENTS_E_CORRUPT);
    clients.free_slots[0] = 1;
    clients.n_free_slots = 0; /* a slot is lost */
    assert_int_equal(clients_check(&clients), CLIENTS_E_CORRUPT);
    clients.n_free_slots = 1;
    atomic_store(&segment.clients[client->slot].pid, PID_WORD(3));
    assert_int_equal(clients_check(&clients), CLIENTS_E_CORRUPT);
    atomic_store(&segment.clients[client->slot].pid, PID_WORD(1));
    atomic_store(&segment.clients[1].pid, PID_WORD(2)); /* of an unused slot */
    assert_int_equal(clients_check(&clients), CLIENTS_E_CORRUPT);
    atomic_store(&segment.clients[1].pid, 0);
    client->slot = 1;
    assert_int_equal(clients_check(&clients), CLIENTS_E_CORRUPT);
    client->slot = 0;
    clients.limit = 0;
    assert_int_equal(clients_check(&clients), CLIENTS_E_CORRUPT);
    clients.limit = LIMIT;
    clients.kept->leased_pages = 1;
    assert_int_equal(clients_check(&clients), CLIENTS_E_CORRUPT);
    clients.kept->leased_pages = 0;
    clients.kept->client_state = CLIENT_ENDED;
    assert_int_equal(clients_check(&clients), CLIENTS_E_CORRUPT);
    clients.kept->client_state = CLIENT_LIVE;
    assert_int_equal(clients_check(&clients), 0);
}

static void test_clients_get_of_the_kept_slot_is_no_client(void **state)
{
    (void)state;
    const struct client *other = add(1);
    struct client *kept = clients_get(&clients, SLOT_KEPT);

    assert_int_equal(kept->slot, SLOT_KEPT);
    assert_string_equal(kept->identity.command, "kept");
    assert_int_equal(kept->identity.pid, 0);
    assert_int_equal(kept->identity.uid, OWNER);
    assert_int_equal(kept->client_state, CLIENT_LIVE);
    assert_ptr_equal(clients_next(&clients, 0), other);
    assert_null(clients_next(&clients, other->slot + 1));
    assert_null(clients_find(&clients, &kept->identity));
    assert_int_equal(clients_count_of(&clients, OWNER), 0);
    assert_int_equal(clients.n_live, 1);
    assert_broken((void)clients_get(&clients, SLOT_NONE));
}

static void test_clients_kept_is_charged_as_a_client(void **state)
{
    (void)state;
    struct client *kept = clients_get(&clients, SLOT_KEPT);

    client_charge(kept, 1000);
    client_charge(kept, 10);
    client_discharge(kept, 1000);

    assert_int_equal(kept->n_blocks, 1);
    assert_int_equal(client_charged_bytes(kept), 10);
    assert_int_equal(kept->stored->peak_bytes, 1010);
    assert_int_equal(clients_check(&clients), 0);
}

static void test_client_is_process_where_a_start_time_is_not_known(void **state)
{
    struct client client = {.identity = identity_of(1)};
    struct client_identity identity = identity_of(1);
    identity.start_time = 78;
    assert_false(client_is_process(&client, &identity));
    identity.start_time = 0;
    assert_true(client_is_process(&client, &identity));
    identity.start_time = 78;
    client.identity.start_time = 0;
    assert_true(client_is_process(&client, &identity));
    identity.uid++;
    assert_false(client_is_process(&client, &identity));
}

static void test_clients_find_away_is_one_that_lives_and_has_no_connection(void **state)
{
    const struct client_identity identity = identity_of(11);
    struct client_identity others = identity;
    struct client *connected = add(11);
    struct client *ended = add(11);
    struct client *of_another_user = add(11);
    struct client *another = add(12);
    struct client *away = add(11);
    assert_null(clients_find_away(&clients, &identity));
    others.uid++;
    of_another_user->identity.uid = others.uid;
    ended->connected = of_another_user->connected = another->connected = false;
    clients_end(&clients, ended, false, 9);
    assert_null(clients_find_away(&clients, &identity));

    away->connected = false;

    assert_ptr_equal(clients_find_away(&clients, &identity), away);
    assert_ptr_equal(clients_find_away(&clients, &others), of_another_user);
    assert_true(connected->connected);
}

static void test_client_pid_text_of_a_process_that_is_not_visible_is_a_question_mark(void **state)
{
    char text[PID_TEXT_BYTES];

    assert_string_equal(client_pid_text(UINT32_MAX, text), "4294967295");
    assert_string_equal(client_pid_text(0, text), "?");
}

#define CLIENTS_TEST(test) cmocka_unit_test_setup_teardown(test, clients_setup, clients_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLIENTS_TEST(test_clients_add_writes_who_it_is_to_the_state),
        CLIENTS_TEST(test_clients_add_terminates_the_command),
        CLIENTS_TEST(test_clients_add_beyond_the_limit_is_full),
        CLIENTS_TEST(test_clients_add_up_to_the_largest_limit),
        CLIENTS_TEST(test_clients_init_with_a_senseless_limit_is_a_bug),
        CLIENTS_TEST(test_clients_init_without_memory_fails_cleanly),
        CLIENTS_TEST(test_clients_remove_frees_the_slot_with_another_generation),
        CLIENTS_TEST(test_clients_remove_of_one_that_lives_or_holds_is_a_bug),
        CLIENTS_TEST(test_clients_end_remembers_how_and_when),
        CLIENTS_TEST(test_clients_get_of_an_unused_slot_is_a_bug),
        CLIENTS_TEST(test_clients_get_of_the_kept_slot_is_no_client),
        CLIENTS_TEST(test_clients_kept_is_charged_as_a_client),
        CLIENTS_TEST(test_clients_next_skips_unused_slots),
        CLIENTS_TEST(test_clients_find_knows_a_process_by_pid_and_start_time),
        CLIENTS_TEST(test_clients_find_takes_nobody_for_another_users_process),
        CLIENTS_TEST(test_clients_find_knows_a_process_by_its_inode_whatever_its_pid),
        CLIENTS_TEST(test_clients_find_knows_a_living_process_without_its_start_time),
        CLIENTS_TEST(test_client_charge_keeps_the_peak),
        CLIENTS_TEST(test_clients_check_finds_what_is_wrong),
        CLIENTS_TEST(test_client_is_process_where_a_start_time_is_not_known),
        CLIENTS_TEST(test_clients_find_away_is_one_that_lives_and_has_no_connection),
        CLIENTS_TEST(test_client_pid_text_of_a_process_that_is_not_visible_is_a_question_mark),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

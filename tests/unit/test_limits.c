/* SPDX-License-Identifier: MIT */
/*
 * test_limits.c - each limit of the daemon, and what of it is in use
 */
#include <stdio.h>
#include <string.h>

#include "daemon/core/users.h"
#include "tests/unit/share_talk.h"
#include "tests/unit/unit.h"

#define N_PAGES 4096
#define LIMIT_CLIENTS 100

static struct core *core;

static int limits_setup(void **state)
{
    talk_begin(N_PAGES, LIMIT_CLIENTS);
    core = talk.core;
    return 0;
}

/* Return: NULL: there is none. */
static const Kmem__Limit *limit_find(const char *name)
{
    struct request request;
    assert_int_equal(ask_request(&talk, &bob, request_plain(&request, KMEM__REQUEST__BODY_LIMITS)),
                     DISPATCH_OK);
    assert_body(&talk, KMEM__RESPONSE__BODY_LIMITS);
    const Kmem__LimitsReport *report = talk.reply->response.limits;
    for (size_t i = 0; i < report->n_limits; i++) {
        if (strcmp(report->limits[i]->name, name) == 0) {
            return report->limits[i];
        }
    }
    return NULL;
}

static const Kmem__Limit *limit_of(const char *name)
{
    const Kmem__Limit *limit = limit_find(name);
    if (!limit) {
        fail_msg("no limit %s", name);
    }
    return limit;
}

static void assert_limit(const char *name, uint64_t used, uint64_t limit)
{
    const Kmem__Limit *row = limit_of(name);
    assert_int_equal(row->used, used);
    assert_int_equal(row->limit, limit);
}

static uint64_t hold(struct peer *peer, uint64_t num_bytes, const char *reason)
{
    assert_int_equal(ask_allocate(&talk, peer, num_bytes, reason, strlen(reason)), DISPATCH_OK);
    return talk_offset();
}

static void test_limits_have_names_of_their_own_and_say_what_they_are(void **state)
{
    (void)limit_of("segment");
    const Kmem__LimitsReport *report = talk.reply->response.limits;
    assert_int_equal(report->n_limits, 28);
    for (size_t i = 0; i < report->n_limits; i++) {
        assert_true(strlen(report->limits[i]->text) > 15);
        for (size_t j = 0; j < i; j++) {
            assert_string_not_equal(report->limits[i]->name, report->limits[j]->name);
        }
    }
}

static void test_limits_of_memory(void **state)
{
    core->config.quota_bytes = 16 << 20;
    (void)hold(&alice, 5 << 20, "a");
    (void)hold(&bob, 7 << 20, "b");
    assert_limit("segment", (12 << 20) + PAGE_BYTES, N_PAGES * PAGE_BYTES);
    assert_limit("quota", 7 << 20, 16 << 20);
    assert_int_equal(limit_of("quota")->unit, KMEM__STATISTIC_UNIT__UNIT_BYTES);
    core->config.quota_bytes = 0;
    assert_limit("quota", 7 << 20, 0);
}

/* Users 1000, 1001 and 1002: fixture_identity(). */
static void test_limits_of_clients_tell_the_user_with_the_most(void **state)
{
    struct peer others[7];
    core->config.clients_per_uid = 5;
    assert_limit("clients", 2, LIMIT_CLIENTS);
    assert_limit("clients_of_user", 1, 5);
    for (uint32_t i = 0; i < 7; i++) {
        peer_open_member(&talk, &others[i], 10 + i);
    }
    assert_limit("clients", 9, LIMIT_CLIENTS);
    assert_limit("clients_of_user", 4, 5);           /* processes 1, 10, 13 and 16 */
    core->config.owner_uid = others[0].identity.uid; /* who is not limited */
    assert_limit("clients_of_user", 3, 5);
    core->config.clients_per_uid = 0;
    assert_limit("clients_of_user", 3, LIMIT_CLIENTS);
    for (uint32_t i = 0; i < 7; i++) {
        peer_close(&talk, &others[i]);
    }
}

static void test_limits_of_what_is_shared(void **state)
{
    const uint64_t offset = hold(&alice, 100, "a");
    assert_limit("reasons", 1, REASONS_MAX);
    assert_limit("shares", 0, SHARES_MAX - 1);
    assert_int_equal(ask_publish(&alice, offset, "name", 0), DISPATCH_OK);
    const struct asked_next next = {.name = "name"};
    assert_int_equal(ask_next(&bob, &next), DISPATCH_OK);
    assert_limit("shares", 1, SHARES_MAX - 1);
    assert_limit("holds", 1, HOLDS_MAX - 1);
    assert_limit("names", 1, core->names.limit);
}

static void test_limits_of_what_is_remembered(void **state)
{
    assert_limit("obituaries", 0, OBITUARIES_KEPT);
    assert_limit("refusals", 0, REFUSALS_KEPT);
    assert_limit("rollups", 0, SCANS_KEPT);
    assert_int_equal(ask_allocate(&talk, &alice, 0, "", 0), DISPATCH_OK);
    assert_limit("refusals", 1, REFUSALS_KEPT);
    core->refusals.n_written = 1000;
    assert_limit("refusals", REFUSALS_KEPT, REFUSALS_KEPT);
    core->refusals.n_written = 1;
}

static void arrive(struct users *users, struct charge *charge, uint32_t pid, uint32_t uid)
{
    const struct arrival arrival = {.pid = pid, .uid = uid, .n_clients = 2};
    assert_int_equal(users_charge(users, &arrival, charge), 0);
    users_charge_observer(users, charge);
}

/* Without a shell there are none. */
static void test_limits_of_connections_tell_the_user_and_the_process_with_the_most(void **state)
{
    static struct users users;
    struct charge charges[9] = {{.n_descriptors = 0}};
    const struct users_limits limits = {.n_descriptors = 400, .n_connections = 20};
    assert_limit("connections", 0, 0);
    assert_limit("descriptors", 0, 0);
    users_init(&users, &limits);
    core->config.users = &users;
    core->config.owner_uid = 7;
    assert_limit("descriptors", 8, 400); /* of the two clients */

    arrive(&users, &charges[0], 50, 1);
    arrive(&users, &charges[1], 50, 1);
    arrive(&users, &charges[2], 51, 1);
    for (uint32_t i = 3; i < 6; i++) {
        arrive(&users, &charges[i], 60, 7);
    }
    for (uint32_t i = 6; i < 9; i++) {
        arrive(&users, &charges[i], 70 + i, 10 + i); /* users of one each */
    }
    assert_limit("descriptors", 8 + 9, 400);
    assert_limit("connections", 9, 0);
    assert_limit("connections_of_user", 3, 20);
    assert_limit("connections_of_process", 3, PROCESS_CONNECTIONS_MAX);
    users_discharge(&users, &charges[0]);
    assert_limit("connections_of_user", 2, 20); /* the daemon's own user is not limited */
    for (uint32_t i = 1; i < 9; i++) {
        users_discharge(&users, &charges[i]);
    }
    assert_limit("connections", 0, 0);
    core->config.users = NULL;
    users_fini(&users);
}

/* Users whose numbers meet in one place of a table. */
static void test_limits_of_clients_tell_users_of_one_bucket_apart(void **state)
{
    struct client *joined;
    struct client_identity identity = fixture_identity(7);
    for (uint32_t i = 0; i < 3; i++) {
        identity.pid = 70 + i;
        identity.uid = alice.identity.uid + (i < 2 ? UINT32_C(8) * CLIENTS_MAX : 0);
        assert_int_equal(
            core_join(core, &identity, FIXTURE_NONCE(identity.pid), talk.fixture.now_ms, &joined),
            0);
    }
    core->config.clients_per_uid = 10;
    assert_limit("clients_of_user", 2, 10);
    for (uint32_t i = 0; i < 3; i++) {
        identity.pid = 70 + i;
        identity.uid = alice.identity.uid + (i < 2 ? UINT32_C(8) * CLIENTS_MAX : 0);
        fixture_end(&talk.fixture, clients_find(&core->clients, &identity), true);
    }
}

static void test_limits_of_queues_tell_the_user_with_the_most(void **state)
{
    static struct users users;
    struct charge charges[3] = {{.n_descriptors = 0}};
    const struct users_limits limits = {.n_descriptors = 400, .n_connections = 20};
    users_init(&users, &limits);
    core->config.users = &users;
    for (uint32_t i = 0; i < 3; i++) {
        const struct arrival arrival = {.pid = 50 + i, .uid = 1 + i % 2};
        assert_int_equal(users_charge(&users, &arrival, &charges[i]), 0);
        assert_int_equal(users_queue(&users, &charges[i], 100), 0);
    }
    assert_limit("handshakes_of_user", 2, 0);
    assert_limit("queued_of_user", 200, 0);
    for (uint32_t i = 0; i < 3; i++) {
        users_discharge(&users, &charges[i]);
    }
    users_fini(&users);
    core->config.users = NULL;
}

static void name_unit(struct peer *peer, const char *unit)
{
    accounts_leave(&core->accounts, peer->client);
    (void)snprintf(peer->client->unit, sizeof(peer->client->unit), "%s", unit);
    accounts_join(&core->accounts, peer->client);
}

/* A user that has the usual quota, a unit that no rule is about, a budget that refuses nothing. */
static void test_limits_of_rules_that_say_little(void **state)
{
    static struct rules rules;
    rules = (struct rules){
        .quota_per_uid_bytes = 7 << 20,
        .n_users = 1,
        .users = {{.name = "alice", .uid = alice.identity.uid}},
        .n_units = 1,
        .units = {{.name = "*.service"}},
        .n_budgets = 1,
        .budgets = {{.pattern = "scratch/**", .max_bytes = 100}},
    };
    core_set_rules(core, &rules);
    name_unit(&alice, "one.service");
    name_unit(&bob, "two.scope");
    (void)hold(&alice, 200, "scratch/a");

    assert_limit("user alice", 200, 7 << 20);
    assert_limit("unit one.service", 200, 0);
    assert_limit("budget scratch/**", 200, 100);
    assert_non_null(strstr(limit_of("budget scratch/**")->text, "told in the log"));
    assert_null(limit_find("unit two.scope"));
    name_unit(&alice, "");
    assert_null(limit_find("unit one.service"));
    name_unit(&bob, "");
    core_set_rules(core, NULL);
}

/* The second block lies beside the first: no page is wanted for it. */
static void test_a_small_block_beside_another_leaves_reserves_alone(void **state)
{
    static struct rules rules;
    rules = (struct rules){
        .n_users = 1,
        .users = {{.name = "bob", .uid = bob.identity.uid, .reserve_bytes = 1 << 20}},
    };
    core_set_rules(core, &rules);
    const uint64_t first = hold(&alice, 16, "a");
    assert_int_equal(hold(&alice, 16, "a") >> PAGE_SHIFT, first >> PAGE_SHIFT);
    core_set_rules(core, NULL);
}

static void test_a_refusal_for_a_reserve_leaves_out_that_of_the_clients_unit(void **state)
{
    static struct rules rules;
    rules = (struct rules){
        .n_units = 2,
        .units = {{.name = "one.service", .reserve_bytes = 1 << 20},
                  {.name = "two.service", .reserve_bytes = 2 << 20}},
    };
    core_set_rules(core, &rules);
    name_unit(&alice, "one.service");
    const uint64_t all_bytes = core_free_bytes(core);
    assert_int_equal(ask_allocate(&talk, &alice, all_bytes - (1 << 20), "a", 1), DISPATCH_OK);
    assert_error(&talk, KMEM__ERROR_CODE__ERROR_NO_MEMORY, "2.0 MiB are reserved for unit two");
    assert_null(strstr(talk.reply->response.error->message, "one.service"));
    name_unit(&alice, "");
    core_set_rules(core, NULL);
}

#define LIMITS_TEST(test) cmocka_unit_test_setup_teardown(test, limits_setup, talk_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LIMITS_TEST(test_limits_have_names_of_their_own_and_say_what_they_are),
        LIMITS_TEST(test_limits_of_memory),
        LIMITS_TEST(test_limits_of_clients_tell_the_user_with_the_most),
        LIMITS_TEST(test_limits_of_what_is_shared),
        LIMITS_TEST(test_limits_of_what_is_remembered),
        LIMITS_TEST(test_limits_of_connections_tell_the_user_and_the_process_with_the_most),
        LIMITS_TEST(test_limits_of_clients_tell_users_of_one_bucket_apart),
        LIMITS_TEST(test_limits_of_queues_tell_the_user_with_the_most),
        LIMITS_TEST(test_limits_of_rules_that_say_little),
        LIMITS_TEST(test_a_small_block_beside_another_leaves_reserves_alone),
        LIMITS_TEST(test_a_refusal_for_a_reserve_leaves_out_that_of_the_clients_unit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * test_rules.c - quotas, reserves, budgets, priorities: a greedy client beside a modest one
 *
 * Alice is of user 1001, Bob of 1002: fixture_identity().
 */
#include <stdio.h>
#include <string.h>

#include "daemon/core/placement.h"
#include "proto/lease.h"
#include "tests/unit/share_talk.h"
#include "tests/unit/unit.h"

#define N_PAGES 257 /* 4 MiB, and the page that nobody gets */
#define MIB (UINT64_C(1) << 20)
#define LARGE (MIB / 2)

static struct rules rules;

static int rules_setup(void **state)
{
    talk_begin(N_PAGES, 100);
    (void)fixture_ledger(&talk.fixture, alice.client);
    (void)fixture_ledger(&talk.fixture, bob.client);
    rules = (struct rules){.n_users = 0};
    return 0;
}

static void rules_begin(void)
{
    core_set_rules(talk.core, &rules);
}

static struct rules_party *rule_of_user(const struct peer *peer, const char *name)
{
    struct rules_party *rule = &rules.users[rules.n_users++];
    *rule = (struct rules_party){.uid = peer->identity.uid};
    (void)snprintf(rule->name, sizeof(rule->name), "%s", name);
    return rule;
}

static struct rules_party *rule_of_unit(const char *pattern)
{
    struct rules_party *rule = &rules.units[rules.n_units++];
    *rule = (struct rules_party){.uid = 0};
    (void)snprintf(rule->name, sizeof(rule->name), "%s", pattern);
    return rule;
}

static void budget(const char *pattern, uint64_t max_bytes, bool denies)
{
    struct rules_budget *it = &rules.budgets[rules.n_budgets++];
    *it = (struct rules_budget){.max_bytes = max_bytes, .denies = denies};
    (void)snprintf(it->pattern, sizeof(it->pattern), "%s", pattern);
}

static uint64_t may(struct peer *peer, uint64_t num_bytes, const char *reason)
{
    assert_int_equal(ask_allocate(&talk, peer, num_bytes, reason, strlen(reason)), DISPATCH_OK);
    assert_int_equal(core_check(talk.core), 0);
    return talk_offset();
}

static void may_not(struct peer *peer, uint64_t num_bytes, const char *reason, Kmem__ErrorCode code,
                    const char *words)
{
    assert_int_equal(ask_allocate(&talk, peer, num_bytes, reason, strlen(reason)), DISPATCH_OK);
    assert_int_equal(core_check(talk.core), 0);
    assert_error(&talk, code, words);
}

/* ---------------------------------------------------------------------------------- quotas -- */

static void test_a_users_quota_is_for_all_its_clients_together(void **state)
{
    struct peer dora; /* of Alice's user */
    rules.quota_per_uid_bytes = MIB;
    rules_begin();
    peer_open_member(&talk, &dora, 4);
    assert_int_equal(dora.identity.uid, alice.identity.uid);
    const uint64_t first = may(&alice, LARGE, "greedy");
    (void)may(&dora, LARGE, "greedy");
    may_not(&alice, 64, "greedy", KMEM__ERROR_CODE__ERROR_QUOTA, "raise quota-per-uid");
    may_not(&dora, 64, "greedy", KMEM__ERROR_CODE__ERROR_QUOTA, "1.0 MiB of the 1.0 MiB");
    (void)may(&bob, LARGE, "modest");
    assert_int_equal(ask_release(&talk, &alice, first), DISPATCH_OK);
    (void)may(&dora, LARGE, "greedy");
    peer_close(&talk, &dora);
}

static void test_a_users_own_quota_comes_before_the_usual_one(void **state)
{
    rules.quota_per_uid_bytes = LARGE;
    rule_of_user(&alice, "alice")->quota_bytes = MIB;
    rules_begin();
    (void)may(&alice, MIB, "a");
    may_not(&alice, 64, "a", KMEM__ERROR_CODE__ERROR_QUOTA, "raise quota of user \"alice\"");
    may_not(&bob, MIB, "b", KMEM__ERROR_CODE__ERROR_QUOTA, "one user may have");
}

static void test_a_quota_is_tight_from_its_half_on_and_only_for_its_user(void **state)
{
    rule_of_user(&alice, "alice")->quota_bytes = MIB;
    rules_begin();
    (void)may(&alice, MIB / 4, "a");
    assert_false(talk.reply->response.allocated->tight);
    const uint64_t offset = may(&alice, MIB / 2, "a");
    assert_true(talk.reply->response.allocated->tight);
    (void)may(&bob, MIB, "b");
    assert_false(talk.reply->response.allocated->tight);
    assert_int_equal(ask_release(&talk, &alice, offset), DISPATCH_OK);
    (void)may(&alice, 64, "a");
    assert_false(talk.reply->response.allocated->tight);
}

static void test_root_and_the_daemons_user_have_no_usual_quota(void **state)
{
    rules.quota_per_uid_bytes = LARGE;
    talk.core->accounts.owner_uid = alice.identity.uid;
    rules_begin();
    (void)may(&alice, MIB, "a");
    rule_of_user(&alice, "alice")->quota_bytes = MIB;
    rules_begin();
    may_not(&alice, 64, "a", KMEM__ERROR_CODE__ERROR_QUOTA, "user alice");
}

static void test_a_rule_may_say_what_each_client_has(void **state)
{
    talk.core->config.quota_bytes = 2 * MIB;
    rule_of_user(&alice, "alice")->client_quota_bytes = MIB;
    rules_begin();
    (void)may(&alice, MIB, "a");
    may_not(&alice, 64, "a", KMEM__ERROR_CODE__ERROR_QUOTA, "client-quota of user \"alice\"");
    (void)may(&bob, 2 * MIB, "b");
}

static void name_unit(struct peer *peer, const char *unit)
{
    accounts_leave(&talk.core->accounts, peer->client);
    (void)snprintf(peer->client->unit, sizeof(peer->client->unit), "%s", unit);
    accounts_join(&talk.core->accounts, peer->client);
}

static void test_a_units_quota_is_for_all_its_clients_together(void **state)
{
    struct peer carol_too;
    rule_of_unit("web@*.service")->quota_bytes = MIB;
    rules_begin();
    peer_open_member(&talk, &carol_too, 3);
    name_unit(&alice, "web@1.service");
    name_unit(&bob, "web@1.service");
    name_unit(&carol_too, "web@2.service");
    (void)may(&alice, LARGE, "a");
    (void)may(&bob, LARGE, "b");
    may_not(&bob, 64, "b", KMEM__ERROR_CODE__ERROR_QUOTA, "raise quota of unit \"web@*.service\"");
    (void)may(&carol_too, MIB, "another unit");
    peer_close(&talk, &carol_too);
}

static void test_the_usual_quota_of_units(void **state)
{
    rules.quota_per_unit_bytes = MIB;
    rules_begin();
    name_unit(&alice, "one.service");
    (void)may(&alice, MIB, "a");
    may_not(&alice, 64, "a", KMEM__ERROR_CODE__ERROR_QUOTA, "raise quota-per-unit");
    (void)may(&bob, 2 * MIB, "its unit is not known");
}

static void test_a_lowered_quota_takes_nothing_away(void **state)
{
    rules_begin();
    const uint64_t offset = may(&alice, MIB, "a");
    rules.quota_per_uid_bytes = LARGE;
    rules_begin();
    may_not(&alice, 64, "a", KMEM__ERROR_CODE__ERROR_QUOTA, "raise quota-per-uid");
    assert_int_equal(ask_release(&talk, &alice, offset), DISPATCH_OK);
    (void)may(&alice, LARGE, "a");
}

static void test_a_lease_is_no_longer_than_the_quota_allows(void **state)
{
    rules.quota_per_uid_bytes = 16 * PAGE_BYTES;
    rules_begin();
    assert_int_equal(ask_lease(&talk, &alice, 4, 64), DISPATCH_OK);
    assert_body(&talk, KMEM__RESPONSE__BODY_LEASED);
    assert_true(talk.reply->response.leased->n_pages <= 16);
    assert_int_equal(ask_lease(&talk, &alice, 17, 17), DISPATCH_OK);
    assert_error(&talk, KMEM__ERROR_CODE__ERROR_QUOTA, "quota-per-uid");
    assert_int_equal(core_check(talk.core), 0);
}

/* What a user leaves to names is its own still, also behind a restart. */
static void test_who_leaves_blocks_to_names_pays_for_them(void **state)
{
    char why[256];
    rules.quota_per_uid_bytes = MIB;
    rules_begin();
    const uint32_t uid = alice.identity.uid;
    const uint64_t offset = may(&alice, MIB, "left");
    assert_int_equal(ask_publish(&alice, offset, "name", KEEP), DISPATCH_OK);
    peer_close(&talk, &alice);
    core_end(talk.core, clients_get(&talk.core->clients, 0), false, 0);
    (void)fixture_reap_all(&talk.fixture);
    assert_int_equal(core_check(talk.core), 0);
    assert_int_equal(talk.core->clients.kept->num_bytes, MIB);
    peer_open_member(&talk, &alice, 4);
    assert_int_equal(alice.identity.uid, uid);
    may_not(&alice, 64, "more", KMEM__ERROR_CODE__ERROR_QUOTA, "raise quota-per-uid");
    /* Bob takes it, and pays. */
    const struct asked_next next = {.name = "name"};
    assert_int_equal(ask_next(&bob, &next), DISPATCH_OK);
    (void)may(&alice, 64, "more");
    may_not(&bob, 64, "b", KMEM__ERROR_CODE__ERROR_QUOTA, "raise quota-per-uid");
    peer_close(&talk, &bob);
    core_end(talk.core, clients_get(&talk.core->clients, 1), false, 0);
    (void)fixture_reap_all(&talk.fixture);
    peer_close(&talk, &alice);
    assert_int_equal(fixture_restart(&talk.fixture, why), 0);
    assert_int_equal(core_check(talk.core), 0);
    assert_int_equal(talk.core->clients.kept->num_bytes, MIB);
    (void)fixture_join(&talk.fixture, 2);
    peer_open_member(&talk, &alice, 7);
    peer_open_member(&talk, &bob, 8);
    assert_int_equal(ask_unpublish(&alice, "name"), DISPATCH_OK);
}

/* -------------------------------------------------------------------------------- reserves -- */

static void test_a_reserve_is_left_free_and_its_user_gets_it(void **state)
{
    rule_of_user(&bob, "bob")->reserve_bytes = MIB;
    rules_begin();
    for (int i = 0; i < 6; i++) {
        (void)may(&alice, LARGE, "greedy");
    }
    may_not(&alice, PAGE_BYTES, "greedy", KMEM__ERROR_CODE__ERROR_NO_MEMORY,
            "1.0 MiB are reserved for user bob");
    assert_int_equal(ask_lease(&talk, &alice, 1, 64), DISPATCH_OK);
    assert_error(&talk, KMEM__ERROR_CODE__ERROR_NO_MEMORY, "reserved for user bob");
    const uint64_t offset = may(&bob, LARGE, "modest");
    may_not(&alice, PAGE_BYTES, "greedy", KMEM__ERROR_CODE__ERROR_NO_MEMORY,
            "512.0 KiB are reserved");
    (void)may(&bob, LARGE, "modest");
    assert_int_equal(ask_release(&talk, &bob, offset), DISPATCH_OK);
    may_not(&alice, LARGE, "greedy", KMEM__ERROR_CODE__ERROR_NO_MEMORY, "reserved for user bob");
    (void)may(&bob, LARGE, "modest");
}

static void test_a_lease_leaves_reserves_alone(void **state)
{
    rule_of_user(&bob, "bob")->reserve_bytes = 3 * MIB;
    rules_begin();
    assert_int_equal(ask_lease(&talk, &alice, 1, 256), DISPATCH_OK);
    assert_body(&talk, KMEM__RESPONSE__BODY_LEASED);
    assert_true(talk.reply->response.leased->n_pages <= MIB / PAGE_BYTES);
    assert_int_equal(ask_lease(&talk, &alice, MIB / PAGE_BYTES + 1, 256), DISPATCH_OK);
    assert_error(&talk, KMEM__ERROR_CODE__ERROR_NO_MEMORY, "reserved for user bob");
}

/* Unused leased pages are as good as free ones: they are taken back. */
static void test_a_reserve_may_lie_in_what_others_leave_unused(void **state)
{
    rules_begin();
    assert_int_equal(ask_lease(&talk, &alice, 128, 128), DISPATCH_OK);
    rule_of_user(&bob, "bob")->reserve_bytes = 3 * MIB;
    rules_begin();
    (void)may(&bob, 3 * MIB, "modest");
}

/* -------------------------------------------------------------------------------- budgets -- */

static void test_a_budget_that_denies_is_exact(void **state)
{
    budget("scratch/**", MIB, true);
    rules_begin();
    const uint64_t offset = may(&alice, LARGE, "scratch/a");
    assert_true(talk.reply->response.allocated->direct_only);
    (void)may(&bob, LARGE, "scratch/b#detail");
    may_not(&alice, 1, "scratch/a", KMEM__ERROR_CODE__ERROR_BUDGET,
            "budget \"scratch/**\": blocks with such reasons have 1.0 MiB of 1.0 MiB");
    (void)may(&alice, 1, "other");
    assert_false(talk.reply->response.allocated->direct_only);
    (void)may(&alice, 1, "else#scratch/x");
    (void)may(&alice, 1, "scratch");
    assert_int_equal(ask_release(&talk, &alice, offset), DISPATCH_OK);
    (void)may(&bob, LARGE, "scratch/c");
}

static void test_a_budget_that_warns_refuses_nothing(void **state)
{
    budget("scratch/**", LARGE, false);
    rules_begin();
    (void)may(&alice, MIB, "scratch/a");
    assert_false(talk.reply->response.allocated->direct_only);
    assert_int_equal(budget_bytes(&talk.core->budgets, 0), MIB);
}

static void test_budgets_are_recounted_when_they_change_and_after_a_restart(void **state)
{
    char why[256];
    (void)may(&alice, LARGE, "scratch/a");
    budget("scratch/*", LARGE, true);
    rules_begin();
    may_not(&bob, 1, "scratch/b", KMEM__ERROR_CODE__ERROR_BUDGET, "raise max of that budget");
    talk.fixture.config.rules = &rules;
    assert_int_equal(fixture_restart(&talk.fixture, why), 0);
    assert_int_equal(core_check(talk.core), 0);
    assert_int_equal(talk.core->budgets.used_bytes[0], LARGE);
    alice.client = clients_get(&talk.core->clients, 0);
    bob.client = clients_get(&talk.core->clients, 1);
    alice.generation = alice.client->generation;
    bob.generation = bob.client->generation;
}

/* ------------------------------------------------------------------------------ priorities -- */

static uint64_t leased_after_need(int32_t of_alice, int32_t of_bob, const struct peer *whose)
{
    struct peer carol_too;
    rule_of_user(&alice, "alice")->priority = of_alice;
    rule_of_user(&bob, "bob")->priority = of_bob;
    rules_begin();
    (void)fixture_lease(&talk.fixture, alice.client, 100);
    (void)fixture_lease(&talk.fixture, bob.client, 110);
    peer_open_member(&talk, &carol_too, 3);
    talk.core->shortage.n_free_seen = 0; /* nothing is short: what is needed is taken, no more */
    (void)may(&carol_too, 80 * PAGE_BYTES, "needs some");
    peer_close(&talk, &carol_too);
    return whose->client->leased_pages;
}

static void test_unused_memory_is_taken_from_the_client_that_leaves_the_most(void **state)
{
    assert_int_equal(leased_after_need(0, 0, &alice), 100);
}

static void test_unused_memory_is_taken_from_the_lowest_priority_first(void **state)
{
    assert_int_equal(leased_after_need(-1, 0, &bob), 110);
}

/* Slabs whose blocks are all free. */
static void lease_idle_slabs(const struct peer *peer, uint32_t n_slabs)
{
    const struct ledger *ledger = fixture_ledger(&talk.fixture, peer->client);
    const uint32_t first = fixture_lease(&talk.fixture, peer->client, n_slabs);
    atomic_store(&ledger->header->is_fenced, 1);
    atomic_fetch_add(&ledger->counts->n_releases, n_slabs);
    for (uint32_t page = first; page < first + n_slabs; page++) {
        fixture_carve(&talk.fixture, peer->client, page, 0);
        lease_open_slab(peer->client->states, page, 1);
    }
}

static bool barrier(void)
{
    return true;
}

static void take_pages(struct peer *peer, uint32_t n_pages)
{
    struct placement_request room;
    struct placement found;
    int r;
    placement_init_block(&room, n_pages * PAGE_BYTES, "taken", 5);
    do {
        r = placement_find(talk.core, peer->client, &room, (struct now){.us = 0}, &found);
    } while (r == PLACEMENT_E_WAIT);
    assert_int_equal(r, 0);
    assert_int_equal(talk.core->reclaim.n_waiting, 0);
    assert_int_equal(core_check(talk.core), 0);
}

static void idle_slabs_begin(struct peer *low, struct peer *high, struct peer *taker)
{
    rule_of_user(&alice, "alice")->priority = low == &alice ? -1 : 0;
    rule_of_user(&bob, "bob")->priority = low == &bob ? -1 : 0;
    rules_begin();
    talk.core->reclaim.barrier = barrier;
    lease_idle_slabs(low, 100);
    lease_idle_slabs(high, 100);
    peer_open_member(&talk, taker, 3);
}

/* What is lower is taken whole before the first of the higher is, which joined before it. */
static void test_idle_slabs_are_taken_from_the_lowest_priority_first(void **state)
{
    struct peer taker;
    idle_slabs_begin(&bob, &alice, &taker);
    take_pages(&taker, 56); /* that are free */
    for (uint32_t i = 0; i < 5; i++) {
        take_pages(&taker, 20);
        assert_int_equal(alice.client->leased_pages, 100);
    }
    assert_int_equal(bob.client->leased_pages, 0);
    take_pages(&taker, 32);
    assert_true(alice.client->leased_pages < 100);
    peer_close(&talk, &taker);
}

/* The pass was left among the higher one's slabs. */
static void test_each_request_begins_with_the_lowest_priority(void **state)
{
    struct peer taker;
    struct peer dave;
    peer_open(&dave, 4);
    rule_of_user(&dave, "dave")->priority = -1;
    idle_slabs_begin(&alice, &bob, &taker);
    take_pages(&taker, 56); /* that are free */
    take_pages(&taker, 100);
    take_pages(&taker, 10);
    const uint64_t n_left = bob.client->leased_pages;
    assert_int_equal(alice.client->leased_pages, 0);
    assert_true(n_left > 0 && n_left < 100);
    peer_open_member(&talk, &dave, 4);
    lease_idle_slabs(&dave, 20);
    take_pages(&taker, 20);
    assert_true(dave.client->leased_pages < 20);
    assert_int_equal(bob.client->leased_pages, n_left);
    peer_close(&talk, &dave);
    peer_close(&talk, &taker);
}

/* ---------------------------------------------------------------------------------- limits -- */

static void assert_limit(const char *name, uint64_t used, uint64_t limit)
{
    struct request request;
    assert_int_equal(ask_request(&talk, &bob, request_plain(&request, KMEM__REQUEST__BODY_LIMITS)),
                     DISPATCH_OK);
    const Kmem__LimitsReport *report = talk.reply->response.limits;
    for (size_t i = 0; i < report->n_limits; i++) {
        if (strcmp(report->limits[i]->name, name) == 0) {
            assert_int_equal(report->limits[i]->used, used);
            assert_int_equal(report->limits[i]->limit, limit);
            return;
        }
    }
    fail_msg("no limit %s", name);
}

static void test_limits_show_each_rule(void **state)
{
    struct rules_party *rule = rule_of_user(&alice, "alice");
    rule->quota_bytes = 2 * MIB;
    rule->reserve_bytes = MIB;
    rule_of_unit("*.service")->quota_bytes = 3 * MIB;
    budget("scratch/**", MIB, true);
    rules_begin();
    name_unit(&bob, "one.service");
    (void)may(&alice, LARGE, "scratch/a");
    (void)may(&bob, MIB, "b");
    assert_limit("user alice", LARGE, 2 * MIB);
    assert_limit("unit one.service", MIB, 3 * MIB);
    assert_limit("budget scratch/**", LARGE, MIB);
    assert_limit("quota_of_user", LARGE, 2 * MIB);
    assert_limit("quota_of_unit", MIB, 3 * MIB);
    assert_limit("reserves", LARGE, MIB);
}

/* ---------------------------------------------------------------------------------- checks -- */

static void test_reserves_beyond_the_segment_are_wrong(void **state)
{
    char why[256];
    rule_of_user(&alice, "alice")->reserve_bytes = 3 * MIB;
    assert_int_equal(rules_check(&rules, 4 * MIB, why, sizeof(why)), 0);
    rule_of_unit("*")->reserve_bytes = MIB;
    assert_int_equal(rules_check(&rules, 4 * MIB, why, sizeof(why)), RULES_E_WRONG);
    assert_non_null(strstr(why, "all reserves together are 4.0 MiB"));
}

static void test_a_reserve_beyond_its_quota_is_wrong(void **state)
{
    char why[256];
    struct rules_party *rule = rule_of_user(&alice, "alice");
    rule->reserve_bytes = 2 * MIB;
    rule->quota_bytes = MIB;
    assert_int_equal(rules_check(&rules, 4 * MIB, why, sizeof(why)), RULES_E_WRONG);
    assert_non_null(strstr(why, "user \"alice\": reserve = 2.0 MiB"));
}

/* The sentence names the key that says so. */
static void test_a_refusal_names_the_key_of_the_rule_that_refuses(void **state)
{
    struct rules_party *user = rule_of_user(&alice, "alice");
    struct rules_party *unit = rule_of_unit("web.service");
    rules.quota_per_uid_bytes = PAGE_BYTES;
    rules_begin();
    may_not(&alice, MIB, "a", KMEM__ERROR_CODE__ERROR_QUOTA, "raise quota-per-uid");
    name_unit(&alice, "web.service");
    name_unit(&bob, "web.service");
    rules.quota_per_uid_bytes = 0;
    rules.quota_per_unit_bytes = PAGE_BYTES;
    rules_begin();
    may_not(&alice, MIB, "a", KMEM__ERROR_CODE__ERROR_QUOTA, "raise quota-per-unit");
    unit->client_quota_bytes = PAGE_BYTES;
    rules_begin();
    may_not(&bob, MIB, "b", KMEM__ERROR_CODE__ERROR_QUOTA, "raise client-quota of unit \"web");
    user->client_quota_bytes = 2 * PAGE_BYTES;
    rules_begin();
    may_not(&alice, MIB, "a", KMEM__ERROR_CODE__ERROR_QUOTA, "raise client-quota of unit \"web");
}

static void test_a_refusal_of_one_with_names_says_that_they_count(void **state)
{
    rules.quota_per_uid_bytes = MIB;
    rules_begin();
    const uint64_t offset = may(&alice, MIB, "a");
    assert_int_equal(ask_publish(&alice, offset, "name", 0), DISPATCH_OK);
    may_not(&alice, 64, "a", KMEM__ERROR_CODE__ERROR_QUOTA, "unpublish names");
}

static void test_a_refusal_names_the_first_reserves_of_others(void **state)
{
    rule_of_user(&alice, "alice")->reserve_bytes = LARGE;
    rule_of_user(&bob, "bob")->reserve_bytes = LARGE;
    for (uint32_t i = 0; i < 4; i++) {
        struct rules_party *other = rule_of_user(&alice, "another");
        other->uid = 5000 + i;
        other->reserve_bytes = LARGE;
    }
    rule_of_unit("web.service")->reserve_bytes = PAGE_BYTES;
    rules_begin();
    (void)may(&bob, LARGE, "its reserve");
    (void)may(&alice, LARGE, "its reserve");
    may_not(&alice, 2 * MIB, "a", KMEM__ERROR_CODE__ERROR_NO_MEMORY,
            "which 512.0 KiB are reserved for user another, 512.0 KiB are reserved for user");
}

static void test_limits_show_the_users_that_have_used_the_most_of_their_quotas(void **state)
{
    rule_of_user(&alice, "alice")->quota_bytes = 2 * MIB;
    rule_of_user(&bob, "bob")->quota_bytes = MIB;
    rules_begin();
    (void)may(&alice, LARGE, "a");
    (void)may(&bob, LARGE, "b");
    assert_limit("quota_of_user", LARGE, MIB);
}

static void test_limits_show_units_with_processes_and_no_more_than_fit(void **state)
{
    enum { N_UNITS = 65 };
    static struct peer peers[N_UNITS];
    rule_of_unit("*.service")->quota_bytes = MIB;
    rules_begin();
    name_unit(&alice, "gone.service");
    name_unit(&alice, "");
    for (uint32_t i = 0; i < N_UNITS; i++) {
        char unit[UNIT_NAME_BYTES];
        (void)snprintf(unit, sizeof(unit), "n%u.service", i);
        peer_open_member(&talk, &peers[i], 10 + i);
        name_unit(&peers[i], unit);
    }
    assert_limit("unit n0.service", 0, MIB);
    assert_limit("unit n63.service", 0, MIB);
    for (uint32_t i = 0; i < N_UNITS; i++) {
        peer_close(&talk, &peers[i]);
    }
}

#define RULES_TEST(test) cmocka_unit_test_setup_teardown(test, rules_setup, talk_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULES_TEST(test_a_users_quota_is_for_all_its_clients_together),
        RULES_TEST(test_a_users_own_quota_comes_before_the_usual_one),
        RULES_TEST(test_a_quota_is_tight_from_its_half_on_and_only_for_its_user),
        RULES_TEST(test_root_and_the_daemons_user_have_no_usual_quota),
        RULES_TEST(test_a_rule_may_say_what_each_client_has),
        RULES_TEST(test_a_units_quota_is_for_all_its_clients_together),
        RULES_TEST(test_the_usual_quota_of_units),
        RULES_TEST(test_a_lowered_quota_takes_nothing_away),
        RULES_TEST(test_a_lease_is_no_longer_than_the_quota_allows),
        RULES_TEST(test_who_leaves_blocks_to_names_pays_for_them),
        RULES_TEST(test_a_reserve_is_left_free_and_its_user_gets_it),
        RULES_TEST(test_a_lease_leaves_reserves_alone),
        RULES_TEST(test_a_reserve_may_lie_in_what_others_leave_unused),
        RULES_TEST(test_a_budget_that_denies_is_exact),
        RULES_TEST(test_a_budget_that_warns_refuses_nothing),
        RULES_TEST(test_budgets_are_recounted_when_they_change_and_after_a_restart),
        RULES_TEST(test_unused_memory_is_taken_from_the_client_that_leaves_the_most),
        RULES_TEST(test_unused_memory_is_taken_from_the_lowest_priority_first),
        RULES_TEST(test_idle_slabs_are_taken_from_the_lowest_priority_first),
        RULES_TEST(test_each_request_begins_with_the_lowest_priority),
        RULES_TEST(test_limits_show_each_rule),
        RULES_TEST(test_reserves_beyond_the_segment_are_wrong),
        RULES_TEST(test_a_reserve_beyond_its_quota_is_wrong),
        RULES_TEST(test_a_refusal_names_the_key_of_the_rule_that_refuses),
        RULES_TEST(test_a_refusal_of_one_with_names_says_that_they_count),
        RULES_TEST(test_a_refusal_names_the_first_reserves_of_others),
        RULES_TEST(test_limits_show_the_users_that_have_used_the_most_of_their_quotas),
        RULES_TEST(test_limits_show_units_with_processes_and_no_more_than_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

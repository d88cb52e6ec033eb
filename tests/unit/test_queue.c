/* SPDX-License-Identifier: MIT */
/*
 * test_queue.c - who waits for memory: first come, first served, within the rules
 *
 * Processes 1 and 4 are of one user, 2 of another: fixture_identity().
 */
#include "daemon/core/queue.h"
#include "proto/notice.h"
#include "tests/unit/core_fixture.h"

#define N_PAGES 65
#define KIB UINT64_C(1024)
#define SCRATCH UINT32_C(1) /* the budget's bit */

static struct rules rules;
static struct client *first;
static struct client *second;

static int queue_setup(void **state)
{
    fixture_init(&fixture, N_PAGES, QUEUE_MAX);
    rules = (struct rules){.n_users = 0};
    first = fixture_join(&fixture, 1);
    second = fixture_join(&fixture, 2);
    return 0;
}

static int queue_end(void **state)
{
    core_set_rules(core, NULL);
    return core_teardown(state);
}

static int ask_by(const struct client *client, uint64_t ticket, uint64_t num_bytes)
{
    return queue_ask(core, client, ticket, num_bytes, 0, fixture.now_ms);
}

static void test_the_first_to_come_is_the_first_whatever_it_wants(void **state)
{
    assert_int_equal(ask_by(first, 1, 100 * KIB), 0);
    assert_int_equal(ask_by(second, 1, 1), QUEUE_E_BEHIND);
    assert_int_equal(ask_by(first, 1, 100 * KIB), 0);
    queue_leave(core, first, 1);
    assert_int_equal(ask_by(second, 1, 1), 0);
}

static void test_who_leaves_rings_for_the_others(void **state)
{
    (void)ask_by(first, 1, KIB);
    (void)ask_by(second, 1, KIB);
    const uint32_t n_rung = fixture.n_rung;
    queue_leave(core, first, 1);
    assert_int_equal(fixture.n_rung, n_rung + 1);
    assert_int_equal(fixture.bell, NOTICE_MEMORY_BELL);
    queue_leave(core, first, 1); /* it is not there any more */
    assert_int_equal(fixture.n_rung, n_rung + 1);
}

static void test_over_its_quota_is_passed_by_others_not_by_its_own(void **state)
{
    assert_int_equal(ask_by(first, 1, KIB), 0);
    queue_bar(core, first, 1, true);
    assert_int_equal(ask_by(second, 1, KIB), 0);
    assert_int_equal(ask_by(first, 2, KIB), QUEUE_E_BEHIND);
    queue_bar(core, first, 1, false);
    assert_int_equal(ask_by(second, 1, KIB), QUEUE_E_BEHIND);
}

static void test_over_its_budget_is_passed_by_what_does_not_fall_under_it(void **state)
{
    rules.n_budgets = 1;
    rules.budgets[0] = (struct rules_budget){.pattern = "s/*", .max_bytes = KIB, .denies = true};
    core_set_rules(core, &rules);
    assert_int_equal(queue_ask(core, first, 1, KIB, SCRATCH, fixture.now_ms), 0);
    queue_bar(core, first, 1, true);
    assert_int_equal(queue_ask(core, second, 1, KIB, SCRATCH, fixture.now_ms), QUEUE_E_BEHIND);
    assert_int_equal(ask_by(second, 2, KIB), QUEUE_E_BEHIND); /* of one client: in its order */
    queue_leave(core, second, 1);
    assert_int_equal(ask_by(second, 2, KIB), 0);
}

static void test_within_its_reserve_passes_who_may_not_have_that(void **state)
{
    rules.n_users = 1;
    rules.users[0] = (struct rules_party){.uid = second->identity.uid, .reserve_bytes = 64 * KIB};
    core_set_rules(core, &rules);
    assert_int_equal(ask_by(first, 1, KIB), 0);
    assert_int_equal(ask_by(second, 1, 64 * KIB), 0);
    assert_int_equal(ask_by(second, 2, 65 * KIB), QUEUE_E_BEHIND);
}

static void test_who_is_silent_is_passed_and_keeps_its_place(void **state)
{
    assert_int_equal(ask_by(first, 1, KIB), 0);
    fixture.now_ms += QUEUE_SILENT_MS;
    assert_int_equal(ask_by(second, 1, KIB), QUEUE_E_BEHIND);
    fixture.now_ms += 1;
    assert_int_equal(ask_by(second, 1, KIB), 0);
    assert_int_equal(ask_by(first, 1, KIB), 0);
    assert_int_equal(ask_by(second, 1, KIB), QUEUE_E_BEHIND);
}

static void test_who_asks_no_more_and_who_has_ended_are_forgotten(void **state)
{
    (void)ask_by(first, 1, KIB);
    fixture.now_ms += QUEUE_FORGET_MS + 1;
    assert_int_equal(ask_by(second, 1, KIB), 0);
    assert_int_equal(core->queue.n, 1);
    fixture_end(&fixture, second, false);
    assert_int_equal(ask_by(first, 2, KIB), 0);
    assert_int_equal(core->queue.n, 1);
}

static void test_a_client_does_not_fill_the_queue(void **state)
{
    for (uint64_t ticket = 1; ticket <= QUEUE_OF_CLIENT_MAX; ticket++) {
        assert_int_equal(ask_by(first, ticket, KIB), ticket == 1 ? 0 : QUEUE_E_BEHIND);
    }
    assert_int_equal(ask_by(first, QUEUE_OF_CLIENT_MAX + 1, KIB), QUEUE_E_FULL);
    assert_int_equal(ask_by(second, 1, KIB), QUEUE_E_BEHIND);
}

static void test_the_bell_rings_when_there_is_more_and_somebody_waits(void **state)
{
    queue_look(core);
    queue_tick(core);
    assert_int_equal(fixture.n_rung, 0);
    (void)ask_by(first, 1, KIB);
    queue_look(core);
    const uint32_t n_rung = fixture.n_rung;
    queue_look(core);
    assert_int_equal(fixture.n_rung, n_rung); /* nothing has changed */
    core->state.counters->releases++;
    queue_look(core);
    assert_int_equal(fixture.n_rung, n_rung + 1);
    core->state.counters->releases--;
    queue_tick(core);
    assert_int_equal(fixture.n_rung, n_rung + 2);
}

static void test_without_a_bell_nothing_rings(void **state)
{
    (void)ask_by(first, 1, KIB);
    core->config.ring = NULL;
    queue_tick(core);
    assert_int_equal(fixture.n_rung, 0);
}

static void test_both_within_their_reserves_stand_in_their_order(void **state)
{
    rules.n_users = 2;
    rules.users[0] = (struct rules_party){.uid = second->identity.uid, .reserve_bytes = 64 * KIB};
    rules.users[1] = (struct rules_party){.uid = first->identity.uid, .reserve_bytes = 64 * KIB};
    core_set_rules(core, &rules);
    assert_int_equal(ask_by(first, 1, KIB), 0);
    assert_int_equal(ask_by(second, 1, KIB), QUEUE_E_BEHIND);
}

static void test_who_has_ended_or_is_followed_by_another_is_forgotten(void **state)
{
    const uint32_t slot = second->slot;
    (void)ask_by(second, 1, KIB);
    core_end(core, second, false, fixture.now_ms);
    assert_int_equal(ask_by(first, 1, KIB), 0);
    assert_int_equal(core->queue.n, 1);
    fixture_reap(&fixture, UINT32_MAX);

    struct client *third = fixture_join(&fixture, 3);
    (void)ask_by(third, 1, KIB);
    fixture_end(&fixture, third, false);
    third = fixture_join(&fixture, 5);
    assert_int_equal(third->slot, slot);
    assert_int_equal(ask_by(first, 1, KIB), 0);
    assert_int_equal(core->queue.n, 1);
}

static void test_as_many_wait_as_can(void **state)
{
    for (uint32_t pid = 10; core->queue.n < QUEUE_MAX; pid++) {
        const struct client *client = fixture_join(&fixture, pid);
        for (uint64_t ticket = 1; ticket <= QUEUE_OF_CLIENT_MAX; ticket++) {
            assert_int_not_equal(ask_by(client, ticket, KIB), QUEUE_E_FULL);
        }
    }
    assert_int_equal(ask_by(first, 1, KIB), QUEUE_E_FULL);
}

static void test_the_bell_rings_only_for_what_is_new_at_the_bar(void **state)
{
    (void)ask_by(first, 1, KIB);
    queue_bar(core, first, 2, true); /* it is not there */
    queue_bar(core, first, 1, false);
    assert_int_equal(fixture.n_rung, 0);
    queue_bar(core, first, 1, true);
    assert_int_equal(fixture.n_rung, 1);
}

int main(void)
{
#define QUEUE_TEST(test) cmocka_unit_test_setup_teardown(test, queue_setup, queue_end)
    const struct CMUnitTest tests[] = {
        QUEUE_TEST(test_the_first_to_come_is_the_first_whatever_it_wants),
        QUEUE_TEST(test_who_leaves_rings_for_the_others),
        QUEUE_TEST(test_over_its_quota_is_passed_by_others_not_by_its_own),
        QUEUE_TEST(test_over_its_budget_is_passed_by_what_does_not_fall_under_it),
        QUEUE_TEST(test_within_its_reserve_passes_who_may_not_have_that),
        QUEUE_TEST(test_who_is_silent_is_passed_and_keeps_its_place),
        QUEUE_TEST(test_who_asks_no_more_and_who_has_ended_are_forgotten),
        QUEUE_TEST(test_a_client_does_not_fill_the_queue),
        QUEUE_TEST(test_the_bell_rings_when_there_is_more_and_somebody_waits),
        QUEUE_TEST(test_without_a_bell_nothing_rings),
        QUEUE_TEST(test_both_within_their_reserves_stand_in_their_order),
        QUEUE_TEST(test_who_has_ended_or_is_followed_by_another_is_forgotten),
        QUEUE_TEST(test_as_many_wait_as_can),
        QUEUE_TEST(test_the_bell_rings_only_for_what_is_new_at_the_bar),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

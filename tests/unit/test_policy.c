/* SPDX-License-Identifier: MIT */
/*
 * test_policy.c - each transition of the keeper's policy, one at a time
 */

#include "daemon/keeper/policy.h"
#include "tests/unit/unit.h"

#define PING_MS 2500
#define STEP_MS 9000
#define BEGIN_MS 1000
#define END_PATIENCE_MS 3000
#define PATH_LOOK_MS 10000

static struct policy policy;
static uint64_t now_ms;

static void begin(bool is_kept, bool has_manager)
{
    const struct policy_facts facts = {PING_MS, STEP_MS, is_kept, has_manager};
    now_ms = BEGIN_MS;
    policy_init(&policy, &facts, now_ms);
}

static uint32_t step(enum policy_event event)
{
    return policy_step(&policy, event, now_ms);
}

static uint32_t wait_ms(uint64_t patience_ms)
{
    now_ms += patience_ms;
    return step(POLICY_TIME_PASSED);
}

static void start(void)
{
    assert_int_equal(step(POLICY_TIME_PASSED), POLICY_START);
    assert_int_equal(step(POLICY_STARTED), 0);
    assert_int_equal(policy.state, POLICY_RUNNING);
}

/* A server that serves, of a segment that was made new or kept. */
static void serve(bool is_kept, bool has_manager)
{
    begin(is_kept, has_manager);
    start();
    assert_int_equal(step(POLICY_READY), POLICY_SAY_READY);
}

/* The next server is started after a pause, and not before. */
static void expect_start_after(uint64_t pause_ms)
{
    assert_int_equal(policy.state, POLICY_WAITING);
    assert_int_equal(policy.due_ms[POLICY_TIMER_START], now_ms + pause_ms);
    now_ms += pause_ms;
    start();
}

/* ---------------------------------------------------------------------------- the first start - */

static void test_policy_starts_a_server_at_once(void **state)
{
    begin(false, false);

    assert_int_equal(policy_due_ms(&policy), BEGIN_MS);
    start();
    assert_int_equal(policy_due_ms(&policy), BEGIN_MS + PING_MS);
}

static void test_policy_ready_is_said_once(void **state)
{
    serve(false, false);

    assert_int_equal(step(POLICY_KILLED), POLICY_SAY_CRASH);
    expect_start_after(0);
    assert_int_equal(step(POLICY_READY), 0);
}

static void test_policy_start_that_fails_is_repeated_soon_for_a_starter_that_waits(void **state)
{
    begin(false, true);

    for (uint32_t i = 0; i < 100; i++) {
        assert_int_equal(step(POLICY_TIME_PASSED), POLICY_START);
        assert_int_equal(step(POLICY_UNSTARTED), 0);
        assert_int_equal(step(POLICY_FAULT), 0);
        assert_int_equal(wait_ms(POLICY_FAULT_PAUSE_MS - 1), 0);
        now_ms++;
    }
    assert_int_equal(step(POLICY_FAULT), POLICY_GIVE_UP);
    assert_int_equal(policy.state, POLICY_DONE);
}

static void
test_policy_start_that_fails_is_repeated_for_ever_for_a_segment_with_clients(void **state)
{
    serve(false, false);
    (void)step(POLICY_CRASHED);

    for (uint32_t i = 0; i < 1000; i++) {
        assert_int_equal(step(POLICY_TIME_PASSED) & POLICY_START, POLICY_START);
        assert_int_equal(step(POLICY_UNSTARTED), 0);
        assert_int_equal(step(POLICY_FAULT), 0);
        assert_int_equal(policy.due_ms[POLICY_TIMER_START], now_ms + BACKOFF_LAST_MS);
        now_ms += BACKOFF_LAST_MS;
    }
}

static void test_policy_gives_up_a_new_segment_whose_server_exits(void **state)
{
    static const enum policy_event deaths[] = {POLICY_EXITED, POLICY_REFUSED};

    for (size_t i = 0; i < 2; i++) {
        begin(false, true);
        start();
        assert_int_equal(step(deaths[i]), POLICY_GIVE_UP);
        assert_int_equal(policy.state, POLICY_DONE);
        assert_int_equal(policy.end, POLICY_GOES_ON);
    }
}

static void test_policy_gives_up_a_new_segment_whose_servers_are_killed(void **state)
{
    begin(false, false);

    for (uint32_t i = 0; i < BACKOFF_CRASHES_MAX; i++) {
        now_ms = policy.due_ms[POLICY_TIMER_START];
        start();
        assert_int_equal(step(POLICY_KILLED), POLICY_SAY_CRASH);
    }
    now_ms = policy.due_ms[POLICY_TIMER_START];
    start();
    assert_int_equal(step(POLICY_KILLED), POLICY_GIVE_UP);
}

/* ------------------------------------------------------------------------------- a kept one --- */

static void test_policy_kept_segment_without_a_server_is_told_to_the_manager_once(void **state)
{
    begin(true, true);
    start();

    assert_int_equal(step(POLICY_EXITED), POLICY_SAY_CRASH | POLICY_SAY_NO_SERVER);
    expect_start_after(0);
    assert_int_equal(step(POLICY_FAULT), 0);
    assert_int_equal(step(POLICY_CRASHED), POLICY_SAY_CRASH);
}

static void test_policy_gives_up_a_kept_segment_that_its_first_server_refuses(void **state)
{
    begin(true, true);
    start();

    assert_int_equal(step(POLICY_REFUSED), POLICY_GIVE_UP);
}

/* -------------------------------------------------------------------------------- its deaths -- */

static void test_policy_crashes_are_followed_ever_later_up_to_safe_mode(void **state)
{
    static const uint64_t pauses_ms[] = {0, 10, 20, 40, 80, 160, 320, 640, 1000, 1000};
    serve(false, false);

    for (size_t i = 0; i < 10; i++) {
        assert_int_equal(step(POLICY_CRASHED), POLICY_SAY_CRASH);
        expect_start_after(pauses_ms[i]);
    }
    assert_int_equal(step(POLICY_CRASHED), POLICY_SAY_CRASH | POLICY_SAY_SAFE);
    assert_int_equal(policy.state, POLICY_SAFE);
    assert_int_equal(wait_ms(1000000), POLICY_RENEW_PATH);
}

static void test_policy_refused_state_is_safe_mode_at_once(void **state)
{
    serve(false, false);
    (void)step(POLICY_CRASHED);
    start();

    assert_int_equal(step(POLICY_REFUSED), POLICY_SAY_CRASH | POLICY_SAY_SAFE);
    assert_int_equal(policy.state, POLICY_SAFE);
}

static void test_policy_kills_of_ready_servers_are_followed_at_once_without_end(void **state)
{
    serve(false, false);

    for (uint32_t i = 0; i < 1000; i++) {
        assert_int_equal(step(POLICY_KILLED), POLICY_SAY_CRASH);
        expect_start_after(0);
        assert_int_equal(step(POLICY_READY), 0);
    }
}

static void test_policy_kills_before_ready_are_followed_after_a_pause(void **state)
{
    serve(false, false);
    (void)step(POLICY_KILLED);
    start();

    for (uint32_t i = 0; i < 30; i++) {
        assert_int_equal(step(POLICY_KILLED), POLICY_SAY_CRASH);
        expect_start_after(5);
    }
    assert_int_equal(step(POLICY_KILLED), POLICY_SAY_CRASH);
    expect_start_after(10);
}

/* ------------------------------------------------------------------------------ the watchdog -- */

static void test_policy_server_that_answers_is_asked_and_left_alone(void **state)
{
    serve(false, false);

    for (uint32_t i = 0; i < 100; i++) {
        assert_int_equal(wait_ms(PING_MS) & ~(uint32_t)POLICY_RENEW_PATH, POLICY_PING);
        assert_int_equal(step(POLICY_HEARTBEAT), 0);
    }
}

static void test_policy_silent_server_is_killed_at_the_third_ping_and_has_crashed(void **state)
{
    serve(false, false);

    assert_int_equal(wait_ms(PING_MS), POLICY_PING);
    assert_int_equal(wait_ms(PING_MS), POLICY_PING);
    assert_int_equal(wait_ms(PING_MS), POLICY_KILL_SILENT);
    assert_true(policy.is_hung);
    assert_int_equal(step(POLICY_KILLED), POLICY_SAY_CRASH);
    assert_int_equal(policy.backoff.n_crashes, 1);
    expect_start_after(0);
    assert_false(policy.is_hung);
}

static void test_policy_machine_that_sleeps_is_no_hang(void **state)
{
    serve(false, false);

    assert_int_equal(wait_ms(86400000), POLICY_PING | POLICY_RENEW_PATH);
    assert_int_equal(step(POLICY_HEARTBEAT), 0);
    assert_int_equal(wait_ms(PING_MS), POLICY_PING);
}

static void test_policy_without_a_watchdog_never_asks(void **state)
{
    const struct policy_facts facts = {0, STEP_MS, false, false};
    now_ms = BEGIN_MS;
    policy_init(&policy, &facts, now_ms);
    start();

    assert_int_equal(policy_due_ms(&policy), BEGIN_MS + PATH_LOOK_MS);
    assert_int_equal(wait_ms(86400000), POLICY_RENEW_PATH);
}

/* ---------------------------------------------------------------------------------- upgrades -- */

static void pass_check(uint32_t actions)
{
    assert_int_equal(step(POLICY_UPGRADE_ASKED), POLICY_START_CHECK);
    assert_int_equal(step(POLICY_UPGRADE_ASKED), 0);
    assert_int_equal(step(POLICY_CHECK_PASSED), actions);
}

static void test_policy_upgrade_leaves_starts_and_is_concluded_by_ready(void **state)
{
    serve(false, false);

    pass_check(POLICY_ORDER_LEAVE);
    assert_int_equal(policy.state, POLICY_LEAVING);
    assert_int_equal(step(POLICY_EXITED), 0);
    expect_start_after(0);
    assert_int_equal(step(POLICY_UPGRADE_ASKED), 0);
    assert_int_equal(step(POLICY_READY), POLICY_KEEP_PROGRAM);
    assert_int_equal(step(POLICY_UPGRADE_ASKED), POLICY_START_CHECK);
}

static void test_policy_upgrade_whose_server_dies_is_undone(void **state)
{
    static const enum policy_event deaths[] = {POLICY_EXITED, POLICY_REFUSED, POLICY_CRASHED,
                                               POLICY_KILLED};

    for (size_t i = 0; i < 4; i++) {
        serve(false, false);
        pass_check(POLICY_ORDER_LEAVE);
        (void)step(POLICY_EXITED);
        start();
        assert_int_equal(step(deaths[i]), POLICY_UNDO_PROGRAM);
        expect_start_after(0);
        assert_int_equal(policy.backoff.n_crashes, 0);
    }
}

static void test_policy_upgrade_is_not_concluded_by_a_leaving_server_that_gets_ready(void **state)
{
    serve(false, false);
    (void)step(POLICY_CRASHED);
    start();

    pass_check(POLICY_ORDER_LEAVE);
    assert_int_equal(step(POLICY_READY), 0);
    (void)step(POLICY_EXITED);
    start();
    assert_int_equal(step(POLICY_CRASHED), POLICY_UNDO_PROGRAM);
}

static void test_policy_check_that_fails_changes_nothing(void **state)
{
    serve(false, false);

    assert_int_equal(step(POLICY_UPGRADE_ASKED), POLICY_START_CHECK);
    assert_int_equal(step(POLICY_CHECK_FAILED), 0);
    assert_int_equal(policy.state, POLICY_RUNNING);
    assert_int_equal(step(POLICY_UPGRADE_ASKED), POLICY_START_CHECK);
}

static void test_policy_check_that_hangs_is_killed(void **state)
{
    serve(false, false);
    (void)step(POLICY_UPGRADE_ASKED);

    assert_int_equal(wait_ms(STEP_MS) & POLICY_KILL_CHECK, POLICY_KILL_CHECK);
    assert_int_equal(wait_ms(STEP_MS) & POLICY_KILL_CHECK, 0);
}

static void test_policy_server_that_does_not_leave_is_killed(void **state)
{
    serve(false, false);
    pass_check(POLICY_ORDER_LEAVE);
    (void)wait_ms(PING_MS);
    (void)step(POLICY_HEARTBEAT);

    assert_int_equal(wait_ms(STEP_MS - PING_MS) & POLICY_KILL_LATE, POLICY_KILL_LATE);
    assert_int_equal(step(POLICY_KILLED), 0);
    expect_start_after(0);
}

static void test_policy_upgrade_leads_out_of_safe_mode(void **state)
{
    serve(false, false);
    (void)step(POLICY_CRASHED);
    start();
    (void)step(POLICY_REFUSED);

    pass_check(0);
    expect_start_after(0);
}

static void
test_policy_upgrade_while_a_server_is_waited_for_starts_the_new_one_at_once(void **state)
{
    serve(false, false);
    (void)step(POLICY_CRASHED);
    start();
    (void)step(POLICY_CRASHED);

    pass_check(0);
    expect_start_after(0);
}

/* -------------------------------------------------------------------------------------- ends -- */

static void test_policy_end_of_a_segment_without_a_manager_is_an_end(void **state)
{
    serve(false, false);

    assert_int_equal(step(POLICY_END_ASKED), POLICY_ORDER_END);
    assert_int_equal(step(POLICY_END_ASKED), 0);
    assert_int_equal(step(POLICY_CRASHED), 0);
    assert_int_equal(policy.state, POLICY_DONE);
    assert_int_equal(policy.end, POLICY_ENDS);
}

static void test_policy_end_with_a_manager_suspends_what_was_served(void **state)
{
    serve(false, true);
    assert_int_equal(step(POLICY_END_ASKED), POLICY_ORDER_LEAVE);
    assert_int_equal(policy.end, POLICY_SUSPENDS);

    begin(true, true);
    start();
    assert_int_equal(step(POLICY_END_ASKED), POLICY_ORDER_LEAVE);

    begin(false, true);
    start();
    assert_int_equal(step(POLICY_END_ASKED), POLICY_ORDER_END);
}

static void test_policy_end_without_a_server_is_done_at_once(void **state)
{
    begin(false, false);

    assert_int_equal(step(POLICY_END_ASKED), 0);
    assert_int_equal(policy.state, POLICY_DONE);
    assert_int_equal(step(POLICY_TIME_PASSED), 0);
    assert_int_equal(policy_due_ms(&policy), POLICY_NEVER);
}

static void test_policy_server_that_takes_back_may_take_long_while_its_heart_beats(void **state)
{
    serve(false, false);
    (void)step(POLICY_END_ASKED);

    for (uint32_t i = 0; i < 100; i++) {
        assert_int_equal(wait_ms(END_PATIENCE_MS - 1), 0);
        assert_int_equal(step(POLICY_HEARTBEAT), 0);
    }
    assert_int_equal(wait_ms(END_PATIENCE_MS), POLICY_KILL_LATE);
    assert_int_equal(step(POLICY_KILLED), 0);
    assert_int_equal(policy.state, POLICY_DONE);
}

static void test_policy_server_that_leaves_has_three_seconds_whatever_it_says(void **state)
{
    serve(false, true);
    (void)step(POLICY_END_ASKED);

    assert_int_equal(wait_ms(END_PATIENCE_MS - 1), 0);
    assert_int_equal(step(POLICY_HEARTBEAT), 0);
    assert_int_equal(wait_ms(1), POLICY_KILL_LATE);
}

static void test_policy_faults_do_not_answer_a_signal(void **state)
{
    begin(false, false);
    start();
    (void)step(POLICY_END_ASKED);

    for (uint32_t i = 0; i < 1000; i++) {
        assert_int_equal(step(POLICY_FAULT), 0);
    }
    (void)step(POLICY_KILLED);
    assert_int_equal(policy.end, POLICY_ENDS);
}

static void test_policy_check_that_passes_after_the_signal_changes_nothing(void **state)
{
    serve(false, false);
    (void)step(POLICY_UPGRADE_ASKED);
    (void)step(POLICY_END_ASKED);

    assert_int_equal(step(POLICY_CHECK_PASSED), 0);
    assert_int_equal(step(POLICY_UPGRADE_ASKED), 0);
    assert_int_equal(step(POLICY_EXITED), 0);
    assert_int_equal(policy.state, POLICY_DONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_policy_starts_a_server_at_once),
        cmocka_unit_test(test_policy_ready_is_said_once),
        cmocka_unit_test(test_policy_start_that_fails_is_repeated_soon_for_a_starter_that_waits),
        cmocka_unit_test(
            test_policy_start_that_fails_is_repeated_for_ever_for_a_segment_with_clients),
        cmocka_unit_test(test_policy_gives_up_a_new_segment_whose_server_exits),
        cmocka_unit_test(test_policy_gives_up_a_new_segment_whose_servers_are_killed),
        cmocka_unit_test(test_policy_kept_segment_without_a_server_is_told_to_the_manager_once),
        cmocka_unit_test(test_policy_gives_up_a_kept_segment_that_its_first_server_refuses),
        cmocka_unit_test(test_policy_crashes_are_followed_ever_later_up_to_safe_mode),
        cmocka_unit_test(test_policy_refused_state_is_safe_mode_at_once),
        cmocka_unit_test(test_policy_kills_of_ready_servers_are_followed_at_once_without_end),
        cmocka_unit_test(test_policy_kills_before_ready_are_followed_after_a_pause),
        cmocka_unit_test(test_policy_server_that_answers_is_asked_and_left_alone),
        cmocka_unit_test(test_policy_silent_server_is_killed_at_the_third_ping_and_has_crashed),
        cmocka_unit_test(test_policy_machine_that_sleeps_is_no_hang),
        cmocka_unit_test(test_policy_without_a_watchdog_never_asks),
        cmocka_unit_test(test_policy_upgrade_leaves_starts_and_is_concluded_by_ready),
        cmocka_unit_test(test_policy_upgrade_whose_server_dies_is_undone),
        cmocka_unit_test(test_policy_upgrade_is_not_concluded_by_a_leaving_server_that_gets_ready),
        cmocka_unit_test(test_policy_check_that_fails_changes_nothing),
        cmocka_unit_test(test_policy_check_that_hangs_is_killed),
        cmocka_unit_test(test_policy_server_that_does_not_leave_is_killed),
        cmocka_unit_test(test_policy_upgrade_leads_out_of_safe_mode),
        cmocka_unit_test(
            test_policy_upgrade_while_a_server_is_waited_for_starts_the_new_one_at_once),
        cmocka_unit_test(test_policy_end_of_a_segment_without_a_manager_is_an_end),
        cmocka_unit_test(test_policy_end_with_a_manager_suspends_what_was_served),
        cmocka_unit_test(test_policy_end_without_a_server_is_done_at_once),
        cmocka_unit_test(test_policy_server_that_takes_back_may_take_long_while_its_heart_beats),
        cmocka_unit_test(test_policy_server_that_leaves_has_three_seconds_whatever_it_says),
        cmocka_unit_test(test_policy_faults_do_not_answer_a_signal),
        cmocka_unit_test(test_policy_check_that_passes_after_the_signal_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

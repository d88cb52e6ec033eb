/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include "daemon/core/users.h"
#include "tests/unit/fail.h"
#include "tests/unit/unit.h"

#define ALICE 1001
#define BOB 1002
#define ROOT 0

#define N_DESCRIPTORS 120
#define N_PER_UID 10

static struct users users;
static struct charge charges[300];
static unsigned n_charges;

static int users_setup(void **state)
{
    users_init(&users,
               &(struct users_limits){.n_descriptors = N_DESCRIPTORS, .n_connections = N_PER_UID});
    n_charges = 0;
    return 0;
}

static void discharge(unsigned index)
{
    users_discharge(&users, &charges[index]);
    assert_int_equal(users_check(&users), 0);
}

static int users_teardown(void **state)
{
    for (unsigned i = 0; i < n_charges; i++) {
        discharge(i);
    }
    users_fini(&users);
    return 0;
}

static int arrive_as(const struct arrival *arrival)
{
    const int r = users_charge(&users, arrival, &charges[n_charges]);
    n_charges += r == 0;
    assert_int_equal(users_check(&users), 0);
    return r;
}

static int arrive(uint32_t uid, uint32_t pid)
{
    return arrive_as(&(struct arrival){.pid = pid, .uid = uid, .is_admin = uid == ROOT});
}

/* Return: how many connections came before one was refused, and why. */
static unsigned arrive_until(uint32_t uid, bool each_another_process, int *ret_why)
{
    unsigned n = 0;
    while ((*ret_why = arrive(uid, each_another_process ? 100 + n : 100)) == 0) {
        n++;
    }
    return n;
}

static void test_users_charge_beyond_one_users_limit_is_USER(void **state)
{
    int why;

    assert_int_equal(arrive_until(ALICE, true, &why), N_PER_UID);

    assert_int_equal(why, USERS_E_USER);
    assert_int_equal(arrive(BOB, 7), 0);
    discharge(0);
    assert_int_equal(arrive(ALICE, 8), 0);
    assert_int_equal(arrive(ALICE, 9), USERS_E_USER);
}

static void test_users_charge_leaves_the_last_descriptors_to_the_administrator(void **state)
{
    int why = 0;

    for (uint32_t uid = ALICE; why != USERS_E_FULL; uid++) {
        (void)arrive_until(uid, true, &why);
    }

    assert_int_equal(users.n_charged, N_DESCRIPTORS - ADMIN_DESCRIPTORS);
    assert_int_equal(arrive_until(ROOT, true, &why), ADMIN_DESCRIPTORS / CLIENT_DESCRIPTORS);
    assert_int_equal(why, USERS_E_FULL);
    assert_int_equal(users.n_charged, N_DESCRIPTORS);
}

static void test_users_charge_counts_what_clients_have(void **state)
{
    const struct arrival arrival = {.pid = 1, .uid = BOB, .n_clients = 21};

    assert_int_equal(arrive_as(&arrival), 0); /* 84 + 32 + 4 */
    assert_int_equal(arrive_as(&arrival), USERS_E_FULL);
}

static void test_users_charge_of_one_process_ends_at_its_limit(void **state)
{
    int why;
    users.limits.n_descriptors = UINT32_MAX;

    assert_int_equal(arrive_until(ROOT, false, &why), PROCESS_CONNECTIONS_MAX);

    assert_int_equal(why, USERS_E_PROCESS);
    assert_int_equal(arrive(ROOT, 7), 0);
}

static void test_users_charge_of_a_client_that_comes_back_is_never_refused(void **state)
{
    struct arrival arrival = {.pid = 7, .uid = ALICE, .is_client = true, .n_clients = 30};
    int why;
    (void)arrive_until(ALICE, true, &why);

    assert_int_equal(arrive_as(&arrival), 0);

    assert_int_equal(charges[n_charges - 1].n_descriptors, 0);
    assert_int_equal(arrive_as(&arrival), USERS_E_USER); /* it has come back already */
}

static void test_users_charge_observer_costs_less(void **state)
{
    assert_int_equal(arrive(ALICE, 1), 0);

    users_charge_observer(&users, &charges[0]);

    assert_int_equal(users.n_charged, 1);
    assert_int_equal(users.first->n_connections, 1);
}

static void test_users_charge_client_counts_against_nobody_any_more(void **state)
{
    int why;
    assert_int_equal(arrive_until(ALICE, true, &why), N_PER_UID);

    users_charge_client(&users, &charges[3]);
    users_charge_client(&users, &charges[3]);

    assert_int_equal(users_check(&users), 0);
    assert_int_equal(users.n_charged, (N_PER_UID - 1) * CLIENT_DESCRIPTORS);
    assert_int_equal(arrive(ALICE, 1), 0);
}

static void test_users_tell_a_pid_of_another_user_apart(void **state)
{
    assert_int_equal(arrive(ALICE, 1), 0);
    assert_int_equal(arrive(BOB, 1), 0);
    assert_int_equal(arrive(BOB, 1 + PROCESS_BUCKETS), 0);

    assert_ptr_not_equal(charges[0].process, charges[1].process);
    assert_ptr_equal(charges[1].process->user, charges[2].process->user);
    discharge(1);
    assert_int_equal(charges[0].process->n_charges, 1);
}

static void test_users_discharge_leaves_the_line(void **state)
{
    assert_int_equal(arrive(ALICE, 1), 0);
    assert_int_equal(arrive(BOB, 2), 0);
    fair_add(&charges[0].fair);
    fair_add(&charges[1].fair);

    discharge(0);

    assert_ptr_equal(fair_take(&users.line), &charges[1].fair);
    assert_null(fair_take(&users.line));
}

static void test_users_charge_survives_whichever_allocation_fails(void **state)
{
    for (unsigned nth = 1; fail_again("memory", nth, ENOMEM); nth++) {
        const int r = arrive(ALICE, nth);
        const bool failed = fail_end();
        assert_int_equal(r, failed ? -ENOMEM : 0);
        assert_true(failed == (users.first == NULL));
    }
}

/* ----------------------------------------------------------------------- pending, queued ---- */

static void test_users_charge_of_a_greedy_users_handshakes_leaves_a_modest_one_its_own(void **state)
{
    users.limits.n_pending = 4;
    users.limits.n_pending_of_user = 3;
    for (uint32_t pid = 1; pid <= 3; pid++) {
        assert_int_equal(arrive(ALICE, pid), 0);
    }
    assert_int_equal(arrive(ALICE, 4), USERS_E_USER_PENDING);
    assert_int_equal(arrive(BOB, 5), 0);
    assert_int_equal(users.n_pending, 4);
    assert_int_equal(arrive(BOB, 6), USERS_E_PENDING);
    assert_int_equal(arrive(BOB + 1, 7), 0); /* each user's first */
    assert_int_equal(arrive(ROOT, 8), 0);
    assert_int_equal(arrive(ROOT, 8), 0);

    users_charge_observer(&users, &charges[0]);
    users_charge_observer(&users, &charges[0]);
    assert_int_equal(users_check(&users), 0);
    assert_int_equal(users.n_pending, 6);
    discharge(1);
    users_charge_observer(&users, &charges[3]);
    users_charge_observer(&users, &charges[4]);
    assert_int_equal(users.n_pending, 3); /* Alice's and the administrator's */
    assert_int_equal(arrive(ALICE, 9), 0);
}

static void test_users_queue_of_a_greedy_user_leaves_a_modest_one_its_own(void **state)
{
    users.limits.queued_bytes = 250;
    users.limits.queued_bytes_of_user = 150;
    for (uint32_t pid = 1; pid <= 2; pid++) {
        assert_int_equal(arrive(ALICE, pid), 0);
    }
    assert_int_equal(arrive(BOB, 3), 0);
    assert_int_equal(arrive(ROOT, 4), 0);

    assert_int_equal(users_queue(&users, &charges[0], 100), 0);
    assert_int_equal(users_queue(&users, &charges[1], 51), USERS_E_USER_QUEUED);
    assert_int_equal(users_queue(&users, &charges[1], 50), 0);
    assert_int_equal(users_queue(&users, &charges[2], 101), USERS_E_QUEUED);
    assert_int_equal(users_queue(&users, &charges[2], 100), 0);
    assert_int_equal(users_queue(&users, &charges[3], 1000), 0);
    assert_int_equal(users_check(&users), 0);
    users_unqueue(&users, &charges[0]);
    users_unqueue(&users, &charges[0]);
    assert_int_equal(users_check(&users), 0);
    assert_int_equal(users.queued_bytes, 50 + 100 + 1000);
}

static void test_users_queue_without_limits_takes_all(void **state)
{
    assert_int_equal(arrive(ALICE, 1), 0);
    assert_int_equal(users_queue(&users, &charges[0], UINT32_MAX), 0);
}

static void test_users_queue_of_one_that_is_being_refused_is_nobodys(void **state)
{
    struct charge refused = {.process = NULL};
    assert_int_equal(users_queue(&users, &refused, 100), 0);
    assert_int_equal(users.queued_bytes, 0);
    users_discharge(&users, &refused);
}

/* It has paid with what it had: it costs nothing as an observer either. */
static void test_users_charge_of_one_that_is_back_costs_nothing(void **state)
{
    const struct arrival arrival = {.pid = 7, .uid = ALICE, .is_back = true};
    assert_int_equal(arrive_as(&arrival), 0);
    users_charge_observer(&users, &charges[0]);
    assert_int_equal(users.n_charged, 0);
}

static void spoil(void *where, uint32_t number)
{
    uint32_t *word = where;
    const uint32_t was = *word;
    *word = number;
    assert_int_equal(users_check(&users), USERS_E_CORRUPT);
    *word = was;
    assert_int_equal(users_check(&users), 0);
}

static void test_users_check_finds_what_does_not_add_up(void **state)
{
    assert_int_equal(arrive(ALICE, 1), 0);
    spoil(&users.first->n_processes, 0);
    spoil(&users.first->n_processes, 2);
    spoil(&users.first->n_connections, 0);
    spoil(&users.first->n_connections, 2);
    spoil(&users.first->n_pending, 2);
    spoil(&users.n_pending, 0);
    spoil(&users.n_charged, 0);
    spoil(&users.n_charged, CLIENT_DESCRIPTORS + 1);
    users.queued_bytes++;
    assert_int_equal(users_check(&users), USERS_E_CORRUPT);
    users.queued_bytes--;
    struct user nobody = {.uid = BOB, .next = users.first};
    users.first = &nobody;
    assert_int_equal(users_check(&users), USERS_E_CORRUPT);
    users.first = nobody.next;
}

#define USERS_TEST(test) cmocka_unit_test_setup_teardown(test, users_setup, users_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        USERS_TEST(test_users_charge_beyond_one_users_limit_is_USER),
        USERS_TEST(test_users_charge_leaves_the_last_descriptors_to_the_administrator),
        USERS_TEST(test_users_charge_counts_what_clients_have),
        USERS_TEST(test_users_charge_of_one_process_ends_at_its_limit),
        USERS_TEST(test_users_charge_of_a_client_that_comes_back_is_never_refused),
        USERS_TEST(test_users_charge_observer_costs_less),
        USERS_TEST(test_users_charge_of_a_greedy_users_handshakes_leaves_a_modest_one_its_own),
        USERS_TEST(test_users_queue_of_a_greedy_user_leaves_a_modest_one_its_own),
        USERS_TEST(test_users_charge_client_counts_against_nobody_any_more),
        USERS_TEST(test_users_tell_a_pid_of_another_user_apart),
        USERS_TEST(test_users_discharge_leaves_the_line),
        USERS_TEST(test_users_charge_survives_whichever_allocation_fails),
        USERS_TEST(test_users_queue_without_limits_takes_all),
        USERS_TEST(test_users_queue_of_one_that_is_being_refused_is_nobodys),
        USERS_TEST(test_users_charge_of_one_that_is_back_costs_nothing),
        USERS_TEST(test_users_check_finds_what_does_not_add_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/core/waits.h"

#define N_WAITS 300

static struct waits waits;
static struct wait many[N_WAITS];
static uint32_t n_woken;

static int waits_setup(void **state)
{
    (void)state;
    memset(&waits, 0, sizeof(waits));
    memset(many, 0, sizeof(many));
    n_woken = 0;
    return 0;
}

static void woken(struct wait *wait, void *user)
{
    assert_ptr_equal(user, &waits);
    assert_null(wait->at);
    n_woken++;
}

static void test_waits_ring_wakes_those_of_this_bell_alone(void **state)
{
    (void)state;
    /* 7 and 7 + WAIT_LISTS stand on the same list. */
    waits_add(&waits, &many[0], 7);
    waits_add(&waits, &many[1], 7 + WAIT_LISTS);
    waits_add(&waits, &many[2], 7);

    waits_ring(&waits, 7, woken, &waits);

    assert_int_equal(n_woken, 2);
    assert_int_equal(waits.n, 1);
    assert_non_null(many[1].at);
    waits_ring(&waits, 7, woken, &waits);
    assert_int_equal(n_woken, 2);
    waits_ring(&waits, 7 + WAIT_LISTS, NULL, NULL); /* nobody wants to be told */
    assert_int_equal(waits.n, 0);
}

static void test_waits_remove_takes_any_of_a_list_and_nothing_twice(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < N_WAITS; i++) {
        waits_add(&waits, &many[i], 5);
    }

    waits_remove(&waits, &many[0]);           /* the last of the list */
    waits_remove(&waits, &many[N_WAITS - 1]); /* the first */
    waits_remove(&waits, &many[N_WAITS / 2]);
    waits_remove(&waits, &many[N_WAITS / 2]);

    assert_int_equal(waits.n, N_WAITS - 3);
    waits_ring(&waits, 5, woken, &waits);
    assert_int_equal(n_woken, N_WAITS - 3);
    assert_int_equal(waits.n, 0);
}

/* What dispatch_continue() does that finds nothing newer. */
static void wait_again(struct wait *wait, void *user)
{
    woken(wait, user);
    waits_add(&waits, wait, wait->bell);
}

static void test_waits_ring_wakes_each_once_though_it_waits_again(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < N_WAITS; i++) {
        waits_add(&waits, &many[i], 5);
    }

    waits_ring(&waits, 5, wait_again, &waits);

    assert_int_equal(n_woken, N_WAITS);
    assert_int_equal(waits.n, N_WAITS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_waits_ring_wakes_those_of_this_bell_alone, waits_setup),
        cmocka_unit_test_setup(test_waits_remove_takes_any_of_a_list_and_nothing_twice,
                               waits_setup),
        cmocka_unit_test_setup(test_waits_ring_wakes_each_once_though_it_waits_again, waits_setup),
    };
    return cmocka_run_group_tests_name("waits", tests, NULL, NULL);
}

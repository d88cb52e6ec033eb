/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <sys/resource.h>

#include "daemon/server/alarm.h"
#include "daemon/server/loop.h"
#include "tests/unit/unit.h"

static uv_loop_t loop;

static void count_ring(void *user)
{
    ++*(unsigned *)user;
}

static int setup(void **state)
{
    (void)state;
    return loop_init(&loop);
}

static int teardown(void **state)
{
    (void)state;
    (void)uv_run(&loop, UV_RUN_DEFAULT); /* what is closing is closed */
    return uv_loop_close(&loop);
}

static void run_until(const unsigned *n_rings, unsigned n_wanted)
{
    while (*n_rings < n_wanted) {
        (void)uv_run(&loop, UV_RUN_ONCE);
    }
}

static void test_alarm_that_is_set_once_rings_once(void **state)
{
    static struct alarm once;  /* until the loop has closed it */
    static struct alarm often; /* until the loop has closed it */
    unsigned n_once = 0;
    unsigned n_often = 0;
    assert_int_equal(alarm_open(&once, &loop, count_ring, &n_once), 0);
    assert_int_equal(alarm_open(&often, &loop, count_ring, &n_often), 0);
    assert_false(alarm_is_set(&once));
    alarm_set(&once, 1, 0);
    assert_true(alarm_is_set(&once));
    run_until(&n_once, 1);
    assert_false(alarm_is_set(&once));

    alarm_set(&often, 2, 2);
    run_until(&n_often, 3);

    assert_true(alarm_is_set(&often));
    assert_int_equal(n_once, 1);
    alarm_set(&once, 1, 0);
    run_until(&n_once, 2);
    alarm_close(&once);
    alarm_close(&often);
}

static void test_alarm_that_is_stopped_rings_no_more(void **state)
{
    static struct alarm stopped; /* until the loop has closed it */
    static struct alarm later;   /* until the loop has closed it */
    unsigned n_stopped = 0;
    unsigned n_later = 0;
    assert_int_equal(alarm_open(&stopped, &loop, count_ring, &n_stopped), 0);
    assert_int_equal(alarm_open(&later, &loop, count_ring, &n_later), 0);
    alarm_set(&stopped, 1, 1);
    run_until(&n_stopped, 2);
    alarm_stop(&stopped);
    assert_false(alarm_is_set(&stopped));
    const unsigned n_before = n_stopped;

    alarm_set(&later, 2, 2);
    run_until(&n_later, 3);

    assert_int_equal(n_stopped, n_before);
    alarm_close(&stopped);
    alarm_close(&later);
}

static void test_alarm_without_a_descriptor_is_told(void **state)
{
    struct rlimit before;
    struct alarm alarm;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    const struct rlimit none = {0, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);

    const int r = alarm_open(&alarm, &loop, count_ring, NULL);

    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(r, -EMFILE);
}

#define ALARM_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ALARM_TEST(test_alarm_that_is_set_once_rings_once),
        ALARM_TEST(test_alarm_that_is_stopped_rings_no_more),
        ALARM_TEST(test_alarm_without_a_descriptor_is_told),
    };
    return cmocka_run_group_tests_name("alarm", tests, NULL, NULL);
}

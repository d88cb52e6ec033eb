/* SPDX-License-Identifier: MIT */
/*
 * test_stopped_keeper.c - a keeper that stands still, while clients come, go and ask
 */
#include <signal.h>

#include <kmem/kmem.h>

#include "tests/system/client.h"
#include "tests/system/daemon.h"
#include "tests/system/harness.h"
#include "tests/system/usage.h"

#define N_JOINING 40
#define N_ROUND_TRIPS 500

static void join_and_stay(const void *argument)
{
    (void)argument;
    expect_true(kmem_try_allocate(100, "joined") != NULL);
    client_pause();
}

static void go_back_and_forth(const void *argument)
{
    (void)argument;
    expect_true(kmem_try_allocate(100, "stays") != NULL);
    client_pause();
    for (size_t i = 0; i < N_ROUND_TRIPS; i++) {
        (void)usage_take();
    }
    client_say(2);
    (void)client_await();
}

/*
 * It takes the files of some clients, then its socket is full. Who joins comes again and again;
 * nobody else notices, and whoever dies meanwhile is not forgotten.
 */
static void test_a_stopped_keeper_stops_nobody_but_who_joins(void)
{
    struct client joining[N_JOINING];
    daemon_start("--watchdog", "0", NULL);
    struct client bystander = client_begin(go_back_and_forth, NULL);
    expect_call(kill(daemon_pid(), SIGSTOP) == 0);
    for (int i = 0; i < N_JOINING; i++) {
        joining[i] = client_start(join_and_stay, NULL);
    }
    client_tell(&bystander, 1);
    expect_equal(client_hear(&bystander), 2);
    for (int i = 0; i < N_JOINING / 2; i++) {
        client_kill(&joining[i]);
    }
    client_finish(&bystander);
    expect_call(kill(daemon_pid(), SIGCONT) == 0);
    for (int i = N_JOINING / 2; i < N_JOINING; i++) {
        client_hear(&joining[i]);
        client_finish(&joining[i]);
    }
    expect_balanced(); /* the keeper's descriptors, too */
    daemon_stop();
}

static const struct system_test tests[] = {
    SYSTEM_TEST(test_a_stopped_keeper_stops_nobody_but_who_joins, 60),
};

int main(int argc, char **argv)
{
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}

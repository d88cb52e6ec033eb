/* SPDX-License-Identifier: MIT */
/*
 * test_trouble.c - servers that hang, dawdle or are killed before they are ready
 */
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "tests/system/client.h"
#include "tests/system/daemon.h"
#include "tests/system/harness.h"
#include "tests/system/holder.h"
#include "tests/system/trouble.h"
#include "tests/system/usage.h"

/* What a busy machine, or a sanitizer, may take for anything here. */
#define PATIENCE_MS 15000

static void start_troubled(const char *watchdog_s)
{
    trouble_prepare();
    daemon_start_as(&(struct daemon_setting){.program = harness_program("kmemd_troubled")},
                    OPTIONS("--watchdog", watchdog_s));
}

/* Another server than the last. What was seen is returned: to kill(), 0 is this test's group. */
static pid_t next_server(pid_t last)
{
    pid_t pid = 0;
    expect_soon((pid = daemon_server_pid()) > 0 && pid != last, PATIENCE_MS);
    return pid;
}

/* Kills the server. Return: the next one, which is in that trouble now. */
static pid_t kill_into(const char *trouble)
{
    trouble_arm(trouble);
    daemon_kill_server();
    expect_soon(trouble_is_met(), PATIENCE_MS);
    return next_server(0);
}

static void test_a_server_that_hangs_while_it_starts_is_replaced(void)
{
    start_troubled("2");
    struct client client = holder_start();
    const pid_t hung = kill_into(TROUBLE_START_STOPS);
    const struct stopwatch watch = stopwatch_start();
    (void)next_server(hung);
    harness_note("replaced after %.0f ms", stopwatch_ms(&watch));
    holder_expect_held(&client);
    expect_log_line("has not answered for 2000 ms: it is replaced");
    expect_log_line("killed by signal 9 .* by the watchdog before it was ready; the next one goes");
    holder_end(&client);
    daemon_stop();
}

static void test_a_server_that_hangs_while_it_starts_unwatched_may_stand_still(void)
{
    start_troubled("0");
    struct client client = holder_start();
    const pid_t hung = kill_into(TROUBLE_START_STOPS);
    harness_sleep_ms(1000);
    expect_call(kill(hung, SIGCONT) == 0);
    holder_expect_held(&client);
    expect_equal(daemon_server_pid(), hung);
    holder_end(&client);
    daemon_stop();
}

/* Far longer than the watchdog waits. */
static void test_a_start_that_is_slow_but_gets_on_is_not_replaced(void)
{
    start_troubled("2");
    struct client client = holder_start();
    const struct stopwatch watch = stopwatch_start();
    const pid_t slow = kill_into(TROUBLE_START_IS_SLOW);
    expect_soon(harness_matches(daemon_log(), "recovered in"), PATIENCE_MS);
    expect_lasted(&watch, TROUBLE_SLOW_MS);
    holder_expect_held(&client);
    expect_equal(daemon_server_pid(), slow);
    holder_end(&client);
    daemon_stop();
}

static void test_a_server_that_waits_for_the_last_ones_end_is_not_replaced(void)
{
    daemon_start("--watchdog", "2", NULL);
    struct client client = holder_start();
    const int state_fd = daemon_open_memfd("state");
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    const pid_t killed = next_server(0);
    /* The lock is taken before there is a next server, as by a server that is slow to go. */
    expect_call(kill(daemon_pid(), SIGSTOP) == 0);
    expect_call(kill(killed, SIGKILL) == 0);
    expect_call(fcntl(state_fd, F_SETLKW, &lock) == 0);
    expect_call(kill(daemon_pid(), SIGCONT) == 0);
    const pid_t waiting = next_server(killed);
    harness_sleep_ms(3000);
    expect_true(!harness_matches(daemon_log(), "recovered in"));
    expect_equal(daemon_server_pid(), waiting);
    (void)close(state_fd); /* and with it the lock */
    holder_expect_held(&client);
    expect_equal(daemon_server_pid(), waiting);
    holder_end(&client);
    daemon_stop();
}

/* As the OOM killer may, who does not care whether a server is ready. */
static void test_servers_that_are_killed_before_they_are_ready_are_followed_by_others(void)
{
    daemon_start(NULL, NULL);
    struct client client = holder_start();
    pid_t last = 0;
    for (unsigned int i = 0; i < 36; i++) {
        last = next_server(last);
        expect_call(kill(last, SIGKILL) == 0);
    }
    holder_expect_held(&client);
    expect_log_line("killed by signal 9 .* before it was ready; the next one goes on");
    expect_true(!harness_matches(daemon_log(), "safe mode"));
    holder_end(&client);
    daemon_stop();
}

static void test_servers_that_crash_while_they_start_are_counted(void)
{
    start_troubled("5");
    struct client client = holder_start();
    trouble_arm(TROUBLE_START_ABORTS);
    daemon_kill_server();
    expect_soon(harness_matches(daemon_log(), "killed by signal 6 .* before it was ready; the ne"),
                PATIENCE_MS);
    holder_expect_held(&client);
    daemon_crash_on_and_on();
    expect_log_line("safe mode: 11 servers crashed within a minute");
    client_kill(&client);
    daemon_stop();
}

static const struct system_test tests[] = {
    SYSTEM_TEST(test_a_server_that_hangs_while_it_starts_is_replaced, 40),
    SYSTEM_TEST(test_a_server_that_hangs_while_it_starts_unwatched_may_stand_still, 40),
    SYSTEM_TEST(test_a_start_that_is_slow_but_gets_on_is_not_replaced, 40),
    SYSTEM_TEST(test_a_server_that_waits_for_the_last_ones_end_is_not_replaced, 40),
    SYSTEM_TEST(test_servers_that_are_killed_before_they_are_ready_are_followed_by_others, 60),
    SYSTEM_TEST(test_servers_that_crash_while_they_start_are_counted, 60),
};

int main(int argc, char **argv)
{
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}

/* SPDX-License-Identifier: MIT */
/*
 * test_store.c - a supervisor keeps the files; another keeper goes on with them, or refuses them
 */
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/system/client.h"
#include "tests/system/ctl.h"
#include "tests/system/daemon.h"
#include "tests/system/harness.h"
#include "tests/system/holder.h"
#include "tests/system/store.h"
#include "tests/system/trouble.h"
#include "tests/system/usage.h"

static void test_the_supervisors_store_brings_everything_back(void)
{
    if (!KMEMD_WITH_SYSTEMD) {
        harness_skip("kmemd was built without libsystemd");
    }
    store_open();
    const struct daemon_setting first = store_first_setting();
    daemon_start_as(&first, OPTIONS(NULL));
    struct client client = holder_start();
    expect_soon(store_count() == 6, 2000); /* segment, state, clock, listener; ledger, pidfd */
    daemon_kill();

    const struct daemon_setting second = store_setting();
    daemon_start_as(&second, OPTIONS(NULL));
    expect_log_line("going on with the segment that was kept");
    holder_expect_held(&client);
    client_tell(&client, 0);
    client_end(&client);
    expect_soon(usage_take().clients == 0, 2000);
    expect_usage(0, 0);
    store_close();
    daemon_stop();
}

/* Starts a daemon whose files a supervisor keeps, and a client of it, and kills the daemon. */
static struct client kill_a_kept_daemon(void)
{
    const struct daemon_setting first = store_first_setting();
    daemon_start_as(&first, OPTIONS(NULL));
    const struct client client = holder_start();
    expect_soon(store_count() == 6, 2000);
    daemon_kill();
    return client;
}

static void expect_refused_with_78(const struct daemon_setting *setting, const char *size)
{
    const unsigned int n_fds = store_count();
    const struct daemon_end end = daemon_try(
        setting, OPTIONS("--name", "test", "--size", size, "--socket", harness_path("test.sock")));
    expect_equal(end.exit_status, 78);
    expect_equal(store_count(), n_fds); /* nothing was taken out of the store */
}

static bool has_ended(pid_t pid)
{
    siginfo_t info = {.si_pid = 0};
    expect_call(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0);
    return info.si_pid == pid;
}

/* Stops the daemon and reads what it tells its supervisor, which is more than fits a queue. */
static void stop_and_read(void)
{
    expect_call(kill(daemon_pid(), SIGTERM) == 0);
    while (!has_ended(daemon_pid())) {
        (void)store_count();
        harness_sleep_ms(1);
    }
    daemon_stop(); /* a second SIGTERM is nothing to one that has ended */
}

static void expect_going_on(const struct daemon_setting *setting, struct client *client)
{
    daemon_start_as(setting, OPTIONS(NULL));
    expect_log_line("going on with the segment that was kept");
    holder_expect_held(client);
    client_tell(client, 0);
    client_end(client);
    expect_soon(usage_take().clients == 0, 2000);
    stop_and_read();
    expect_equal(store_count(), 4); /* it may be started again */
}

/* The operator has edited the unit; the daemon was killed, or stopped for a restart. */
static void test_a_store_of_another_size_with_a_client_in_it_goes_on_and_the_new_size_waits(void)
{
    if (!KMEMD_WITH_SYSTEMD) {
        harness_skip("kmemd was built without libsystemd");
    }
    store_open();
    struct client client = kill_a_kept_daemon();
    const struct daemon_setting kept = store_setting();
    daemon_start_as(&kept, OPTIONS("--size", "512MiB"));
    expect_log_line(
        "kept may have 256\\.0 MiB at most, and clients live in it: 512\\.0 MiB wait for "
        "a start");
    expect_equal(usage_take().segment_bytes, 16 << 20);
    expect_equal(usage_take().waiting_bytes, 512 << 20);
    expect_match(ctl("usage")->out, "512\\.0 MiB wait for a start of kmemd with no client");
    holder_expect_held(&client);
    daemon_kill_server(); /* the next one knows as much */
    holder_expect_held(&client);
    expect_equal(usage_take().waiting_bytes, 512 << 20);
    expect_call(kill(daemon_pid(), SIGHUP) == 0);
    expect_log_line("SIGHUP: --size is not applied: 512\\.0 MiB wait");
    expect_soon(harness_matches(daemon_log(), "upgraded: .* serves now"), 20000);
    holder_expect_held(&client);
    client_tell(&client, 0);
    client_end(&client);
    expect_soon(usage_take().clients == 0, 5000);
    stop_and_read();

    const struct daemon_setting empty = store_setting();
    daemon_start_as(&empty, OPTIONS("--size", "32MiB"));
    expect_log_line("no client lives in it: a new one of 32\\.0 MiB is made");
    expect_equal(usage_take().segment_bytes, 32 << 20);
    expect_equal(usage_take().waiting_bytes, 0);
    stop_and_read();
    store_close();
}

/* As far as the segment may grow a size that was changed is applied with the next start. */
static void test_a_store_with_a_client_in_it_gets_the_size_that_is_asked_for_now(void)
{
    if (!KMEMD_WITH_SYSTEMD) {
        harness_skip("kmemd was built without libsystemd");
    }
    store_open();
    struct client client = kill_a_kept_daemon();
    const struct daemon_setting kept = store_setting();
    daemon_start_as(&kept, OPTIONS("--size", "32MiB"));
    expect_log_line("the segment has 32\\.0 MiB now, and had 16\\.0 MiB");
    expect_soon(usage_take().segment_bytes == 32 << 20, 5000);
    holder_expect_held(&client);
    expect_equal(ctl("resize", "24MiB")->exit_status, 0);
    daemon_kill_server(); /* what was asked for has been applied: it is not again */
    expect_equal(usage_take().segment_bytes, 24 << 20);
    holder_expect_held(&client);
    client_tell(&client, 0);
    client_end(&client);
    expect_soon(usage_take().clients == 0, 5000);
    stop_and_read();
    store_close();
}

static void test_a_store_that_another_layout_refuses_is_there_for_the_former_program(void)
{
    if (!KMEMD_WITH_SYSTEMD) {
        harness_skip("kmemd was built without libsystemd");
    }
    store_open();
    struct client client = kill_a_kept_daemon();
    /* A server whose start fails leaves what it has to the system, and says 78 all the same. */
    expect_call(setenv("ASAN_OPTIONS", "detect_leaks=0", 1) == 0);
    struct daemon_setting kept = store_setting();
    kept.program = harness_program("kmemd_other_layout");
    expect_refused_with_78(&kept, "16MiB");
    kept.program = NULL;
    expect_going_on(&kept, &client);
    store_close();
}

/* The first server of the next keeper meets the trouble; what was kept is not given up for that. */
static void fail_once(const char *trouble, const char *how)
{
    if (!KMEMD_WITH_SYSTEMD) {
        harness_skip("kmemd was built without libsystemd");
    }
    store_open();
    trouble_prepare();
    struct client client = kill_a_kept_daemon();
    expect_equal(store_count_ready(), 1);
    struct daemon_setting kept = store_setting();
    kept.program = harness_program("kmemd_troubled");
    trouble_arm(trouble);
    daemon_start_as(&kept, OPTIONS(NULL));
    expect_true(trouble_is_met());
    expect_log_line(how);
    /* At once, and again by the server that is ready: else it might be given up meanwhile. */
    expect_soon(store_count_ready() == 3, 2000);
    holder_expect_held(&client);
    client_tell(&client, 0);
    client_end(&client);
    expect_soon(usage_take().clients == 0, 2000);
    stop_and_read();
    store_close();
}

static void test_a_first_server_that_ends_before_it_is_ready_costs_no_kept_segment(void)
{
    fail_once(TROUBLE_START_EXITS, "ended with status 99 before it was ready; the next one goes");
}

static void test_a_first_server_that_crashes_before_it_is_ready_costs_no_kept_segment(void)
{
    fail_once(TROUBLE_START_ABORTS, "killed by signal 6 .* before it was ready; the next one goes");
}

/* What was kept is dropped when it is stopped for good: there is nothing to go on with. */
static void test_a_daemon_that_was_stopped_may_come_back_with_another_size(void)
{
    if (!KMEMD_WITH_SYSTEMD) {
        harness_skip("kmemd was built without libsystemd");
    }
    store_open();
    const struct daemon_setting setting = store_first_setting();
    daemon_start_as(&setting, OPTIONS(NULL));
    struct client client = holder_start();
    stop_and_read();
    expect_equal(store_count(), 6);
    store_close();
    store_open();
    daemon_start_as(&setting, OPTIONS("--size", "32MiB"));
    expect_equal(usage_take().segment_bytes, 32 << 20);
    expect_usage(0, 0);
    client_kill(&client);
    stop_and_read();
    store_close();
}

static void test_a_client_that_ends_is_taken_out_of_the_store(void)
{
    if (!KMEMD_WITH_SYSTEMD) {
        harness_skip("kmemd was built without libsystemd");
    }
    store_open();
    const struct daemon_setting setting = store_first_setting();
    daemon_start_as(&setting, OPTIONS(NULL));
    struct client client = holder_start();
    expect_soon(store_count() == 6, 2000);
    client_kill(&client);
    expect_soon(store_count() == 4, 5000);
    stop_and_read();
    store_close();
}

static const struct system_test tests[] = {
    SYSTEM_TEST(test_the_supervisors_store_brings_everything_back, 20),
    SYSTEM_TEST(test_a_store_of_another_size_with_a_client_in_it_goes_on_and_the_new_size_waits,
                40),
    SYSTEM_TEST(test_a_store_with_a_client_in_it_gets_the_size_that_is_asked_for_now, 60),
    SYSTEM_TEST(test_a_store_that_another_layout_refuses_is_there_for_the_former_program, 40),
    SYSTEM_TEST(test_a_first_server_that_ends_before_it_is_ready_costs_no_kept_segment, 40),
    SYSTEM_TEST(test_a_first_server_that_crashes_before_it_is_ready_costs_no_kept_segment, 40),
    SYSTEM_TEST(test_a_daemon_that_was_stopped_may_come_back_with_another_size, 40),
    SYSTEM_TEST(test_a_client_that_ends_is_taken_out_of_the_store, 40),
};

int main(int argc, char **argv)
{
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}

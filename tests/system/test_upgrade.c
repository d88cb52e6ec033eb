/* SPDX-License-Identifier: MIT */
/*
 * test_upgrade.c - another program goes on with the files, or is refused, or fails
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/system/client.h"
#include "tests/system/daemon.h"
#include "tests/system/harness.h"
#include "tests/system/holder.h"
#include "tests/system/usage.h"

/* ------------------------------------------------------------------------------ upgrade ------- */

/* Puts a program at the path from which the daemon was started, as a package manager does. */
static void install(const char *program)
{
    char fresh[256];
    struct stat status;
    (void)snprintf(fresh, sizeof(fresh), "%s.new", harness_path("kmemd"));
    const int from = open(program, O_RDONLY | O_CLOEXEC);
    const int to = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
    expect_call(from >= 0 && to >= 0 && fstat(from, &status) == 0);
    for (off_t at = 0; at < status.st_size;) {
        expect_call(sendfile(to, from, &at, (size_t)(status.st_size - at)) > 0);
    }
    (void)close(from);
    (void)close(to);
    expect_call(rename(fresh, harness_path("kmemd")) == 0);
}

static void start_installed(void)
{
    char program[256];
    install(harness_program("kmemd"));
    (void)snprintf(program, sizeof(program), "%s", harness_path("kmemd"));
    daemon_start_as(&(struct daemon_setting){.program = program}, OPTIONS("--log-level", "info"));
}

static void test_sighup_upgrades_to_the_program_on_disk(void)
{
    start_installed();
    struct client client = holder_start();
    const pid_t former = daemon_server_pid();
    install(harness_program("kmemd"));
    expect_call(kill(daemon_pid(), SIGHUP) == 0);
    expect_soon(harness_matches(daemon_log(), "upgraded: .*/kmemd serves now"), 5000);
    expect_true(daemon_server_pid() != former);
    holder_expect_held(&client);
    daemon_kill_server(); /* and the next one is made of the new program, too */
    holder_expect_held(&client);
    holder_end(&client);
    daemon_stop();
}

static void expect_not_upgraded(pid_t former)
{
    expect_call(kill(daemon_pid(), SIGHUP) == 0);
    expect_soon(harness_matches(daemon_log(), "nothing is changed"), 5000);
    expect_equal(daemon_server_pid(), former);
}

static void test_a_program_of_another_layout_is_refused(void)
{
    start_installed();
    struct client client = holder_start();
    const pid_t former = daemon_server_pid();
    install(harness_program("kmemd_other_layout"));
    expect_not_upgraded(former);
    expect_log_line("can not go on with segment \"test\": the state that is there has another lay");
    holder_expect_held(&client);
    daemon_kill_server(); /* what is on disk does not matter */
    holder_expect_held(&client);
    holder_end(&client);
    daemon_stop();
}

static void test_a_program_that_is_no_kmemd_is_refused(void)
{
    start_installed();
    const pid_t former = daemon_server_pid();
    install("/bin/true");
    expect_not_upgraded(former);
    expect_call(unlink(harness_path("kmemd")) == 0);
    expect_call(kill(daemon_pid(), SIGHUP) == 0);
    expect_log_line("cannot open .*/kmemd");
    expect_equal(daemon_server_pid(), former);
    daemon_stop();
}

static const struct system_test tests[] = {
    SYSTEM_TEST(test_sighup_upgrades_to_the_program_on_disk, 20),
    SYSTEM_TEST(test_a_program_of_another_layout_is_refused, 20),
    SYSTEM_TEST(test_a_program_that_is_no_kmemd_is_refused, 20),
};

int main(int argc, char **argv)
{
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}

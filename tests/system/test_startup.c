/* SPDX-License-Identifier: MIT */
/*
 * test_startup.c - how the daemon comes up, says so, and ends
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <kmem/kmem.h>

#include "tests/system/client.h"
#include "tests/system/daemon.h"
#include "tests/system/harness.h"
#include "tests/system/usage.h"
#include "tests/wire/wire.h"

static const struct daemon_setting as_usual = {.max_fds = 0};

static void hold_44_bytes_until_told(const void *argument)
{
    (void)argument;
    char *block = kmem_try_allocate(44, "held");
    expect_call(block != NULL);
    client_pause();
    block[43] = 1;
    expect_call(kmem_try_release((void **)&block) == 0);
}

static void use_44_bytes(const void *argument)
{
    (void)argument;
    void *block = kmem_try_allocate(44, "used");
    expect_call(block != NULL);
    expect_equal(kmem_try_release(&block), 0);
}

/* A socket at a path, as some other program would have made it. */
static int bind_socket(const char *path, int type)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    const int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    expect_call(bind(fd, (const struct sockaddr *)&address, sizeof(address)) == 0);
    return fd;
}

/* ------------------------------------------------------------------------------ ready ---- */

static void test_ready_line_names_segment_size_and_socket(void)
{
    char pattern[512];
    daemon_start("--size", "32MiB", NULL);
    (void)snprintf(pattern, sizeof(pattern),
                   "^kmemd: segment \"test\" \\(32(\\.0)? MiB\\) ready on %s$", daemon_socket());
    expect_match(daemon_ready_line(), pattern);
    expect_equal(usage_take().segment_bytes, 32 << 20);
    daemon_stop();
}

static void test_sigterm_ends_it_with_status_0(void)
{
    daemon_start(NULL, NULL);
    daemon_stop(); /* wants status 0, no socket, nothing more on stdout */
}

static void see_the_daemon_end(const void *argument)
{
    (void)argument;
    char *block = kmem_try_allocate(44, "held");
    expect_call(block != NULL);
    block[0] = 'x';
    client_pause();
    expect_equal(kmem_try_release((void **)&block), -ECONNRESET);
    expect_equal(block[0], 'x'); /* the mapping outlives the daemon */
}

static void test_sighup_does_not_end_it(void)
{
    daemon_start(NULL, NULL);
    expect_call(kill(daemon_pid(), SIGHUP) == 0);
    client_run(use_44_bytes, NULL);
    expect_soon(harness_matches(daemon_log(), "upgraded: .* serves now"), 5000);
    daemon_stop_balanced();
}

static void test_sigterm_does_not_wait_for_clients(void)
{
    daemon_start(NULL, NULL);
    struct client client = client_begin(see_the_daemon_end, NULL);
    daemon_stop();
    client_finish(&client);
}

static void test_version_is_printed(void)
{
    const struct daemon_end end = daemon_try(&as_usual, OPTIONS("--version"));
    expect_equal(end.exit_status, 0);
    expect_match(end.out, "^kmemd [0-9]+\\.[0-9]+\\.[0-9]+ \\(protocol 1\\.1\\)$");
    expect_text(end.log, "");
}

static void test_default_socket_is_in_the_runtime_directory(void)
{
    char pattern[512];
    struct stat status;
    const struct daemon_setting setting = {.runtime_dir = harness_path("run")};
    expect_call(mkdir(setting.runtime_dir, 0700) == 0);
    const struct daemon_end end = daemon_try(&setting, OPTIONS("--name", "video", "--size", "1M"));
    expect_equal(end.exit_status, 0);
    (void)snprintf(pattern, sizeof(pattern), "^kmemd: segment \"video\" .* ready on %s$",
                   harness_path("run/kmemd/video.sock"));
    expect_match(end.out, pattern);
    expect_call(stat(harness_path("run/kmemd"), &status) == 0);
    expect_equal(status.st_mode & 0007, 0);
}

static void test_log_level_error_is_silent_when_all_is_well(void)
{
    daemon_start("--log-level", "error", NULL);
    struct client client = client_begin(hold_44_bytes_until_told, NULL);
    client_kill(&client);
    expect_balanced();
    expect_text(daemon_log(), "");
    daemon_stop();
    expect_text(daemon_log(), "");
}

/* -------------------------------------------------------------------- one at a socket ---- */

static void test_second_daemon_is_refused_with_73_and_the_first_undisturbed(void)
{
    daemon_start(NULL, NULL);
    struct client client = client_begin(hold_44_bytes_until_told, NULL);
    const struct daemon_end second = daemon_try(
        &as_usual, OPTIONS("--name", "second", "--size", "1M", "--socket", daemon_socket()));
    expect_equal(second.exit_status, 73);
    expect_text(second.out, "");
    expect_match(second.log, daemon_socket());
    expect_usage(44, 1);
    client_finish(&client);
    daemon_stop_balanced();
}

#define N_RACERS 8
#define SERVES 1000 /* no exit status */

static void say_that_it_serves(void)
{
    client_say(SERVES);
    client_await(); /* until no other one is left */
}

/* Says whether its daemon serves, and its exit status. */
static void race(const void *argument)
{
    (void)argument;
    const struct daemon_setting setting = {.hold = say_that_it_serves};
    client_await();
    const struct daemon_end end =
        daemon_try(&setting, OPTIONS("--size", "1M", "--socket", harness_path("test.sock")));
    client_say((uint64_t)end.exit_status);
}

static void test_of_daemons_started_at_once_exactly_one_serves(void)
{
    struct client racers[N_RACERS];
    bool serves[N_RACERS];
    unsigned int n_serve = 0;
    unsigned int n_refused = 0;
    /* What a killed daemon has left must not confuse them. */
    daemon_start(NULL, NULL);
    daemon_kill();
    for (unsigned int i = 0; i < N_RACERS; i++) {
        racers[i] = client_start(race, NULL);
    }
    for (unsigned int i = 0; i < N_RACERS; i++) {
        client_tell(&racers[i], 1);
    }
    for (unsigned int i = 0; i < N_RACERS; i++) {
        const uint64_t said = client_hear(&racers[i]);
        serves[i] = said == SERVES;
        n_serve += serves[i];
        n_refused += said == 73;
    }
    expect_equal(n_serve, 1);
    expect_equal(n_refused, N_RACERS - 1);
    for (unsigned int i = 0; i < N_RACERS; i++) {
        if (serves[i]) {
            client_tell(&racers[i], 1);
            expect_equal(client_hear(&racers[i]), 0);
        }
        client_end(&racers[i]);
    }
}

static void test_socket_of_a_killed_daemon_is_replaced(void)
{
    daemon_start(NULL, NULL);
    daemon_kill();
    expect_equal(access(daemon_socket(), F_OK), 0);
    daemon_start(NULL, NULL);
    client_run(use_44_bytes, NULL);
    daemon_stop_balanced();
}

static void test_stale_socket_file_without_a_lock_is_replaced(void)
{
    (void)close(bind_socket(harness_path("test.sock"), SOCK_STREAM));
    daemon_start(NULL, NULL);
    daemon_stop();
}

static void test_a_file_that_is_no_socket_is_left_alone(void)
{
    const char *const path = harness_path("test.sock");
    const int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    expect_equal(write(fd, "precious", 8), 8);
    (void)close(fd);
    const struct daemon_end end = daemon_try(&as_usual, OPTIONS("--size", "1M", "--socket", path));
    expect_equal(end.exit_status, 73);
    expect_match(end.log, path);
    struct stat status;
    expect_call(stat(path, &status) == 0);
    expect_equal(status.st_size, 8);
}

static void test_restart_gives_a_fresh_segment(void)
{
    daemon_start(NULL, NULL);
    struct client client = client_begin(see_the_daemon_end, NULL);
    daemon_stop();
    daemon_start(NULL, NULL);
    expect_usage(0, 0);
    client_finish(&client);
    daemon_stop_balanced();
}

static void test_socket_that_was_removed_is_made_again(void)
{
    daemon_start(NULL, NULL);
    struct client client = client_begin(hold_44_bytes_until_told, NULL);
    expect_call(unlink(daemon_socket()) == 0);
    expect_soon(access(daemon_socket(), F_OK) == 0, 1000);
    client_run(use_44_bytes, NULL);
    expect_usage(44, 1);
    client_finish(&client);
    daemon_stop_balanced();
}

/* ------------------------------------------------------------------- the segment file ---- */

static uint64_t committed_bytes(void)
{
    struct stat status;
    const int fd = daemon_open_memfd("segment");
    expect_call(fstat(fd, &status) == 0);
    (void)close(fd);
    return (uint64_t)status.st_blocks * 512;
}

static void test_commit_eager_has_all_the_memory_before_it_is_ready(void)
{
    daemon_start("--size", "64MiB", "--commit", "eager", NULL);
    expect_at_least(committed_bytes(), 64 << 20);
    daemon_stop();
}

static void test_commit_is_eager_by_default(void)
{
    daemon_start("--size", "64MiB", NULL);
    expect_at_least(committed_bytes(), 64 << 20);
    daemon_stop();
}

static void test_commit_lazy_takes_memory_when_it_is_used(void)
{
    daemon_start("--size", "64MiB", "--commit", "lazy", NULL);
    expect_at_most(committed_bytes(), 1 << 20);
    client_run(use_44_bytes, NULL);
    daemon_stop_balanced();
}

static void test_segment_is_sealed_and_for_its_owner_only(void)
{
    daemon_start(NULL, NULL);
    struct stat status;
    const int fd = daemon_open_memfd("segment");
    expect_call(fstat(fd, &status) == 0);
    expect_equal(status.st_mode & 0777, 0600);
    expect_equal(status.st_size, 256 << 20); /* what it may grow to */
    const int seals = fcntl(fd, F_GET_SEALS);
    expect_equal(seals & (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW),
                 F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW);
    expect_true(ftruncate(fd, 0) == -1 && errno == EPERM);
    expect_true(ftruncate(fd, 512 << 20) == -1 && errno == EPERM);
    expect_true(fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE) == -1 && errno == EPERM);
    (void)close(fd);
    daemon_stop();
}

/* --------------------------------------------------------------------- the supervisor ---- */

/* Return: whether a message that matches came; others are passed over. */
static bool hear_notification(int fd, const char *pattern)
{
    const uint64_t until_us = harness_deadline_us(2000);
    while (harness_now_us() < until_us) {
        char text[1024];
        struct pollfd readable = {.fd = fd, .events = POLLIN};
        if (poll(&readable, 1, 100) == 1) {
            const ssize_t n = recv(fd, text, sizeof(text) - 1, 0);
            text[n > 0 ? n : 0] = '\0';
            if (harness_matches(text, pattern)) {
                return true;
            }
        }
    }
    return false;
}

static void test_supervisor_is_told_ready_status_and_stopping(void)
{
    const struct daemon_setting setting = {.notify_socket = harness_path("notify.sock")};
    const int fd = bind_socket(setting.notify_socket, SOCK_DGRAM);
    if (!KMEMD_WITH_SYSTEMD) {
        (void)close(fd);
        harness_skip("kmemd was built without libsystemd");
    }
    daemon_start_as(&setting, OPTIONS("--log-level", "debug"));
    expect_true(hear_notification(fd, "^READY=1$"));
    daemon_stop();
    expect_true(hear_notification(fd, "^STOPPING=1$"));
    (void)close(fd);
}

static void test_status_says_what_the_segment_is(void)
{
    const struct daemon_setting setting = {.notify_socket = harness_path("notify.sock")};
    const int fd = bind_socket(setting.notify_socket, SOCK_DGRAM);
    if (!KMEMD_WITH_SYSTEMD) {
        (void)close(fd);
        harness_skip("kmemd was built without libsystemd");
    }
    daemon_start_as(&setting, OPTIONS("--log-level", "debug"));
    expect_true(hear_notification(fd, "^STATUS=.*test"));
    daemon_stop();
    (void)close(fd);
}

static const struct system_test tests[] = {
    SYSTEM_TEST(test_ready_line_names_segment_size_and_socket, 10),
    SYSTEM_TEST(test_sigterm_ends_it_with_status_0, 10),
    SYSTEM_TEST(test_sighup_does_not_end_it, 10),
    SYSTEM_TEST(test_sigterm_does_not_wait_for_clients, 10),
    SYSTEM_TEST(test_version_is_printed, 10),
    SYSTEM_TEST(test_default_socket_is_in_the_runtime_directory, 10),
    SYSTEM_TEST(test_log_level_error_is_silent_when_all_is_well, 10),
    SYSTEM_TEST(test_second_daemon_is_refused_with_73_and_the_first_undisturbed, 10),
    SYSTEM_TEST(test_of_daemons_started_at_once_exactly_one_serves, 20),
    SYSTEM_TEST(test_socket_of_a_killed_daemon_is_replaced, 10),
    SYSTEM_TEST(test_stale_socket_file_without_a_lock_is_replaced, 10),
    SYSTEM_TEST(test_a_file_that_is_no_socket_is_left_alone, 10),
    SYSTEM_TEST(test_socket_that_was_removed_is_made_again, 10),
    SYSTEM_TEST(test_restart_gives_a_fresh_segment, 10),
    SYSTEM_TEST(test_commit_eager_has_all_the_memory_before_it_is_ready, 10),
    SYSTEM_TEST(test_commit_is_eager_by_default, 10),
    SYSTEM_TEST(test_commit_lazy_takes_memory_when_it_is_used, 10),
    SYSTEM_TEST(test_segment_is_sealed_and_for_its_owner_only, 10),
    SYSTEM_TEST(test_supervisor_is_told_ready_status_and_stopping, 10),
    SYSTEM_TEST(test_status_says_what_the_segment_is, 10),
};

int main(int argc, char **argv)
{
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}

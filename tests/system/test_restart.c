/* SPDX-License-Identifier: MIT */
/*
 * test_restart.c - the server dies, hangs, is replaced; the keeper dies; clients keep what they had
 *
 * The clients here speak to the socket without the library, so that what is lost and what is asked
 * again is in the test's hands.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/system/client.h"
#include "tests/system/daemon.h"
#include "tests/system/harness.h"
#include "tests/system/holder.h"
#include "tests/system/usage.h"
#include "tests/wire/wire.h"

/* ------------------------------------------------------------------------- the server dies ---- */

static void test_blocks_outlive_a_killed_server(void)
{
    daemon_start(NULL, NULL);
    struct client client = holder_start();
    for (unsigned int i = 0; i < 5; i++) {
        daemon_kill_server();
        holder_expect_held(&client);
    }
    expect_log_line("server was killed by signal 9");
    expect_log_line("recovered in .* ms: 1 clients, 2 direct blocks \\(300 B\\), 64.0 KiB leased");
    holder_end(&client);
    daemon_stop();
}

static void ask_again(const void *argument)
{
    (void)argument;
    int fd = wire_member();
    for (uint64_t sequence = 1; sequence <= 40; sequence += 2) {
        wire_sequence(sequence);
        const uint64_t offset = wire_allocate(fd, 1000, "asked again");
        client_say(sequence);
        (void)client_await(); /* the server is killed meanwhile */
        (void)close(fd);
        fd = wire_member_again();
        expect_equal(wire_allocate(fd, 1000, "asked again"), offset);
        wire_sequence(sequence + 1);
        expect_equal(wire_release(fd, offset), 0);
        expect_equal(wire_release(fd, offset), 0);
    }
    client_say(0);
    (void)client_await();
    (void)close(fd);
}

static void test_what_is_asked_again_happens_once(void)
{
    daemon_start(NULL, NULL);
    struct client client = client_start(ask_again, NULL);
    while (client_hear(&client) != 0) {
        expect_usage(1000, 1);
        daemon_kill_server();
        expect_usage(1000, 1);
        client_tell(&client, 1);
    }
    expect_usage(0, 0);
    client_finish(&client);
    daemon_stop_balanced();
}

static void test_a_client_that_dies_while_no_server_runs_is_reclaimed(void)
{
    daemon_start(NULL, NULL);
    struct client client = holder_start();
    const pid_t server = daemon_server_pid();
    expect_call(kill(daemon_pid(), SIGSTOP) == 0);
    expect_call(kill(server, SIGKILL) == 0);
    client_kill(&client);
    expect_call(kill(daemon_pid(), SIGCONT) == 0);
    expect_balanced();
    expect_log_line("client .* ended after .* 2 blocks, 300 B taken back");
    daemon_stop();
}

static void leave(const void *argument)
{
    (void)argument;
    const int fd = wire_member();
    wire_allocate(fd, 44, "left behind");
    client_pause();
    wire_goodbye(fd);
    (void)close(fd);
    const int again_fd = wire_connect();
    struct wire_descriptors none;
    Kmem__Response *const response = wire_hello_again(
        again_fd, PROTOCOL_VERSION, KMEM__ROLE__ROLE_MEMBER, wire_welcome()->nonce, &none);
    expect_equal(response->body_case, KMEM__RESPONSE__BODY_ERROR);
    expect_equal(response->error->code, KMEM__ERROR_CODE__ERROR_GONE);
    wire_free(response);
    (void)close(again_fd);
    client_say(2);
    (void)client_await();
}

static void test_who_has_left_is_gone_and_may_not_come_back(void)
{
    daemon_start(NULL, NULL);
    struct client client = client_begin(leave, NULL);
    client_resume(&client);
    daemon_kill_server();
    expect_balanced();
    client_finish(&client);
    daemon_stop();
}

static void come_without_nonce(const void *argument)
{
    (void)argument;
    int fd = wire_member();
    wire_allocate(fd, 44, "of the program before exec");
    (void)close(fd);
    fd = wire_member(); /* a new program knows no nonce */
    expect_true(!wire_welcome()->resumed);
    expect_usage(0, 0);
    (void)close(fd);
}

static void test_a_program_without_the_nonce_is_a_new_client(void)
{
    daemon_start(NULL, NULL);
    client_run(come_without_nonce, NULL);
    daemon_stop_balanced();
}

static void expect_obituary(pid_t pid)
{
    const struct obituary obituary = obituary_of(pid);
    expect_true(obituary.found);
    expect_true(!obituary.left);
    expect_equal(obituary.n_blocks, HELD_BLOCKS);
    expect_equal(obituary.num_bytes, HELD_BYTES);
    expect_text(obituary.rows[0].key, "held/second");
}

static void test_obituaries_outlive_a_killed_server(void)
{
    daemon_start(NULL, NULL);
    pid_t pids[3];
    for (size_t i = 0; i < 3; i++) {
        struct client client = holder_start();
        pids[i] = client.pid;
        client_kill(&client);
        expect_balanced();
        daemon_kill_server();
        for (size_t j = 0; j <= i; j++) {
            expect_obituary(pids[j]);
        }
    }
    daemon_stop();
}

/* ------------------------------------------------------------------------- hang, crash loop --- */

static void test_a_server_that_hangs_is_replaced(void)
{
    daemon_start("--watchdog", "2", NULL);
    struct client client = holder_start();
    const pid_t hung = daemon_server_pid();
    expect_call(kill(hung, SIGSTOP) == 0);
    expect_soon(daemon_server_pid() != hung && daemon_server_pid() > 0, 5000);
    expect_log_line("has not answered for 2000 ms: it is replaced");
    holder_expect_held(&client);
    holder_end(&client);
    daemon_stop();
}

static void test_a_server_that_is_not_watched_may_stand_still(void)
{
    daemon_start("--watchdog", "0", NULL);
    const pid_t server = daemon_server_pid();
    expect_call(kill(server, SIGSTOP) == 0);
    harness_sleep_ms(1000);
    expect_call(kill(server, SIGCONT) == 0);
    expect_usage(0, 0);
    expect_equal(daemon_server_pid(), server);
    daemon_stop();
}

static void test_servers_that_crash_on_and_on_end_in_safe_mode(void)
{
    daemon_start(NULL, NULL);
    struct client client = holder_start();
    daemon_crash_on_and_on();
    expect_log_line("safe mode: 11 servers crashed within a minute");
    expect_log_line("SIGHUP starts .*, SIGTERM ends it all");
    expect_equal(daemon_server_pid(), 0);
    expect_call(kill(daemon_pid(), SIGHUP) == 0);
    expect_soon(daemon_server_pid() != 0, 5000);
    holder_expect_held(&client);
    holder_end(&client);
    daemon_stop();
}

static void test_sigterm_ends_safe_mode_with_status_0(void)
{
    daemon_start(NULL, NULL);
    daemon_crash_on_and_on();
    daemon_stop();
}

/* ----------------------------------------------------------------------------- the keeper ----- */

/* Whether a process is there and is more than a line in its parent's list. */
static bool is_running(pid_t pid)
{
    char path[64];
    char text[512] = "";
    (void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    FILE *const file = fopen(path, "re");
    if (file == NULL) {
        return false;
    }
    (void)!fread(text, 1, sizeof(text) - 1, file);
    (void)fclose(file);
    const char *const command_end = strrchr(text, ')');
    return command_end != NULL && command_end[2] != 'Z';
}

static void test_a_killed_keeper_takes_its_server_with_it(void)
{
    daemon_start(NULL, NULL);
    const pid_t server = daemon_server_pid();
    daemon_kill();
    expect_soon(!is_running(server), 2000);
    daemon_start(NULL, NULL);
    expect_usage(0, 0);
    daemon_stop();
}

static void test_signals_to_the_server_are_the_keepers_to_take(void)
{
    daemon_start(NULL, NULL);
    const pid_t server = daemon_server_pid();
    const int signals[] = {SIGTERM, SIGINT, SIGHUP};
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
        expect_call(kill(server, signals[i]) == 0);
    }
    harness_sleep_ms(100);
    expect_equal(daemon_server_pid(), server);
    daemon_stop();
}

static const struct system_test tests[] = {
    SYSTEM_TEST(test_blocks_outlive_a_killed_server, 20),
    SYSTEM_TEST(test_what_is_asked_again_happens_once, 30),
    SYSTEM_TEST(test_a_client_that_dies_while_no_server_runs_is_reclaimed, 20),
    SYSTEM_TEST(test_who_has_left_is_gone_and_may_not_come_back, 20),
    SYSTEM_TEST(test_a_program_without_the_nonce_is_a_new_client, 20),
    SYSTEM_TEST(test_obituaries_outlive_a_killed_server, 20),
    SYSTEM_TEST(test_a_server_that_hangs_is_replaced, 20),
    SYSTEM_TEST(test_a_server_that_is_not_watched_may_stand_still, 20),
    SYSTEM_TEST(test_servers_that_crash_on_and_on_end_in_safe_mode, 60),
    SYSTEM_TEST(test_sigterm_ends_safe_mode_with_status_0, 60),
    SYSTEM_TEST(test_a_killed_keeper_takes_its_server_with_it, 20),
    SYSTEM_TEST(test_signals_to_the_server_are_the_keepers_to_take, 20),
};

int main(int argc, char **argv)
{
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}

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

#include <kmem/kmem.h>

#include "tests/system/client.h"
#include "tests/system/daemon.h"
#include "tests/system/harness.h"
#include "tests/system/holder.h"
#include "tests/system/trouble.h"
#include "tests/system/usage.h"
#include "tests/wire/wire.h"

/* What a busy machine, or a sanitizer, may take for anything here. */
#define PATIENCE_MS 15000
/* Where one is waited for, or must not strike a server that is slow. */
#define WATCHDOG_S "2"

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

static void start_watched(const char *watchdog_s)
{
    char program[256];
    install(harness_program("kmemd"));
    (void)snprintf(program, sizeof(program), "%s", harness_path("kmemd"));
    daemon_start_as(&(struct daemon_setting){.program = program},
                    OPTIONS("--watchdog", watchdog_s));
}

static void start_installed(void)
{
    start_watched("5");
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

/* -------------------------------------------------------------- upgrades that come to nothing - */

/* Upgrades to a program that meets trouble, and waits until it has. */
static void upgrade_into(const char *trouble)
{
    install(harness_program("kmemd_troubled"));
    trouble_arm(trouble);
    expect_call(kill(daemon_pid(), SIGHUP) == 0);
    expect_soon(trouble_is_met(), PATIENCE_MS);
}

/* The server is made of the program that was at the path before another one was put there. */
static void expect_former_program(void)
{
    char path[64];
    char target[256] = "";
    (void)snprintf(path, sizeof(path), "/proc/%d/exe", (int)daemon_server_pid());
    expect_call(readlink(path, target, sizeof(target) - 1) > 0);
    expect_match(target, "/kmemd \\(deleted\\)$");
}

static void expect_undone(const char *trouble, const char *log_pattern)
{
    trouble_prepare();
    start_watched(WATCHDOG_S);
    struct client client = holder_start();
    upgrade_into(trouble);
    expect_soon(harness_matches(daemon_log(), log_pattern), PATIENCE_MS);
    holder_expect_held(&client);
    expect_former_program();
    daemon_kill_server(); /* and so is the next */
    holder_expect_held(&client);
    expect_former_program();
    expect_call(kill(daemon_pid(), SIGHUP) == 0); /* its trouble is over */
    expect_soon(harness_matches(daemon_log(), "upgraded: .*/kmemd serves now"), PATIENCE_MS);
    holder_expect_held(&client);
    holder_end(&client);
    daemon_stop();
}

static void test_a_program_that_crashes_before_it_is_ready_is_undone(void)
{
    expect_undone(TROUBLE_START_ABORTS,
                  "the new server was killed by signal 6 .* before it was ready: the former one");
}

static void test_a_program_that_exits_before_it_is_ready_is_undone(void)
{
    expect_undone(TROUBLE_START_EXITS,
                  "the new server ended with status 99 before it was ready: the former one goes");
}

static void test_a_program_that_hangs_before_it_is_ready_is_undone(void)
{
    expect_undone(TROUBLE_START_STOPS,
                  "the new server was killed by signal 9 .* before it was ready: the former one");
}

static void test_a_program_that_hangs_at_the_check_is_refused(void)
{
    trouble_prepare();
    start_watched(WATCHDOG_S);
    struct client client = holder_start();
    const pid_t former = daemon_server_pid();
    upgrade_into(TROUBLE_CHECK_STOPS);
    holder_expect_held(&client); /* nobody waits for it */
    expect_soon(harness_matches(daemon_log(), "nothing is changed"), PATIENCE_MS);
    expect_log_line("SIGHUP: .*/kmemd takes too long to look at the state: it is killed");
    expect_equal(daemon_server_pid(), former);
    expect_call(kill(daemon_pid(), SIGHUP) == 0);
    expect_soon(harness_matches(daemon_log(), "upgraded: .*/kmemd serves now"), PATIENCE_MS);
    holder_expect_held(&client);
    holder_end(&client);
    daemon_stop();
}

static void test_sighup_during_the_check_is_one_too_many(void)
{
    trouble_prepare();
    start_watched(WATCHDOG_S);
    upgrade_into(TROUBLE_CHECK_STOPS);
    expect_call(kill(daemon_pid(), SIGHUP) == 0);
    expect_log_line("SIGHUP: an upgrade is under way already");
    expect_soon(harness_matches(daemon_log(), "nothing is changed"), PATIENCE_MS);
    daemon_stop();
}

static void test_sighup_while_the_new_server_starts_is_one_too_many(void)
{
    trouble_prepare();
    start_watched(WATCHDOG_S);
    struct client client = holder_start();
    upgrade_into(TROUBLE_START_IS_SLOW);
    expect_call(kill(daemon_pid(), SIGHUP) == 0);
    expect_log_line("SIGHUP: an upgrade is under way already");
    expect_soon(harness_matches(daemon_log(), "upgraded: .*/kmemd serves now"), PATIENCE_MS);
    holder_expect_held(&client);
    holder_end(&client);
    daemon_stop();
}

static void test_sigterm_during_the_check_ends_it_all(void)
{
    trouble_prepare();
    start_watched("5");
    struct client client = holder_start();
    upgrade_into(TROUBLE_CHECK_STOPS);
    daemon_stop();
    expect_log_line("client .* 2 blocks, 300 B taken back");
    client_kill(&client);
}

static void test_sigterm_while_the_new_server_starts_ends_it_all(void)
{
    trouble_prepare();
    start_watched(WATCHDOG_S);
    struct client client = holder_start();
    upgrade_into(TROUBLE_START_IS_SLOW);
    harness_sleep_ms(TROUBLE_SLOW_MS / 2); /* so that the rest is less than a stop may take */
    daemon_stop();
    expect_log_line("client .* 2 blocks, 300 B taken back");
    client_kill(&client);
}

static void test_sighup_in_safe_mode_with_a_program_that_is_refused_changes_nothing(void)
{
    start_installed();
    struct client client = holder_start();
    daemon_crash_on_and_on();
    install(harness_program("kmemd_other_layout"));
    expect_call(kill(daemon_pid(), SIGHUP) == 0);
    expect_soon(harness_matches(daemon_log(), "nothing is changed"), PATIENCE_MS);
    harness_sleep_ms(200);
    expect_equal(daemon_server_pid(), 0);
    install(harness_program("kmemd"));
    expect_call(kill(daemon_pid(), SIGHUP) == 0);
    expect_soon(harness_matches(daemon_log(), "upgraded: .*/kmemd serves now"), PATIENCE_MS);
    holder_expect_held(&client);
    holder_end(&client);
    daemon_stop();
}

/* ------------------------------------------------------------------ versions, and a library --- */

#define KEPT_BLOCKS 300

/* Rare and leased, small and large. */
static size_t kept_bytes(size_t index)
{
    return index % 50 == 0 ? 100000 + index : 1 + index % 5 * 1000;
}

/* A program that uses libkmem: nothing it has may change while the daemon is upgraded. */
static void keep_blocks(const void *argument)
{
    (void)argument;
    unsigned char *blocks[KEPT_BLOCKS];
    uint64_t offsets[KEPT_BLOCKS];
    for (size_t i = 0; i < KEPT_BLOCKS; i++) {
        blocks[i] = kmem_try_allocate(kept_bytes(i), "kept");
        expect_call(blocks[i] != NULL);
        (void)memset(blocks[i], (int)(1 + i % 255), kept_bytes(i));
        offsets[i] = kmem_offset_of(blocks[i]);
    }
    client_say(1);
    (void)client_await(); /* the daemon is upgraded meanwhile */
    for (size_t i = 0; i < KEPT_BLOCKS; i++) {
        size_t num_bytes = 0;
        expect_equal(kmem_try_sizeof(blocks[i], &num_bytes), 0);
        expect_equal(num_bytes, kept_bytes(i));
        expect_equal(kmem_offset_of(blocks[i]), offsets[i]);
        for (size_t at = 0; at < num_bytes; at++) {
            expect_equal(blocks[i][at], 1 + i % 255);
        }
        expect_equal(kmem_try_release((void **)&blocks[i]), 0);
        void *fresh = kmem_try_allocate(kept_bytes(i), "fresh");
        expect_call(fresh != NULL);
        expect_equal(kmem_try_release(&fresh), 0);
    }
    client_say(2);
}

static void expect_kept_through(const char *program)
{
    uint64_t num_bytes = 0;
    for (size_t i = 0; i < KEPT_BLOCKS; i++) {
        num_bytes += kept_bytes(i);
    }
    start_installed();
    struct client client = client_begin(keep_blocks, NULL);
    install(harness_program(program));
    expect_call(kill(daemon_pid(), SIGHUP) == 0);
    expect_soon(harness_matches(daemon_log(), "upgraded: .*/kmemd serves now"), PATIENCE_MS);
    expect_usage(num_bytes, KEPT_BLOCKS);
    client_resume(&client);
    client_end(&client);
    daemon_stop_balanced();
}

static void test_pointers_and_bytes_stay_through_an_upgrade_to_the_same_program(void)
{
    expect_kept_through("kmemd");
}

/* From then on the library is the older one of the two. */
static void test_pointers_and_bytes_stay_through_an_upgrade_to_a_newer_minor_version(void)
{
    expect_kept_through("kmemd_newer_minor");
}

/* Its clients would be refused, however well it understands the state. */
static void test_a_program_of_another_major_version_is_refused(void)
{
    start_installed();
    struct client client = holder_start();
    const pid_t former = daemon_server_pid();
    install(harness_program("kmemd_other_major"));
    expect_not_upgraded(former);
    expect_log_line("speaks version 2 of the protocol, and the clients of this segment 1");
    holder_expect_held(&client);
    holder_end(&client);
    daemon_stop();
}

/* A member that says this version, and that its requests are answered. */
static void join_with(const void *argument)
{
    const uint32_t version = *(const uint32_t *)argument;
    struct wire_descriptors descriptors;
    const int fd = wire_connect();
    Kmem__Response *const response = wire_hello(fd, version, KMEM__ROLE__ROLE_MEMBER, &descriptors);
    expect_equal(response->body_case, KMEM__RESPONSE__BODY_WELCOME);
    expect_equal(descriptors.n_fds, WELCOME_DESCRIPTORS);
    wire_free(response);
    wire_close_descriptors(&descriptors);
    const uint64_t offset = wire_allocate(fd, 44, "of another minor version");
    expect_equal(wire_release(fd, offset), 0);
    (void)close(fd);
}

static void test_a_library_that_is_older_the_same_or_newer_is_welcome(void)
{
    const uint32_t versions[] = {0x00010000, 0x00010006, 0x00010007, 0x00010008, 0x0001ffff};
    daemon_start_as(&(struct daemon_setting){.program = harness_program("kmemd_newer_minor")},
                    OPTIONS(NULL));
    for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++) {
        client_run(join_with, &versions[i]);
        expect_balanced();
    }
    daemon_stop();
}

static void fail_to_join(const void *argument)
{
    (void)argument;
    expect_true(kmem_try_allocate(44, "in another language") == NULL);
    expect_equal(errno, EPROTONOSUPPORT);
    expect_match(kmem_last_error(), "speaks version 2.0 of the protocol, not 1.1");
}

/* Nor can the harness speak to that daemon. */
static void test_a_library_of_another_major_version_is_refused(void)
{
    const struct daemon_setting setting = {.program = harness_program("kmemd_other_major")};
    struct daemon_end end;
    expect_true(daemon_try_start(&setting, OPTIONS(NULL), &end));
    client_run(fail_to_join, NULL);
    expect_equal(daemon_try_stop(), 0);
}

static const struct system_test tests[] = {
    SYSTEM_TEST(test_sighup_upgrades_to_the_program_on_disk, 20),
    SYSTEM_TEST(test_a_program_of_another_layout_is_refused, 20),
    SYSTEM_TEST(test_a_program_that_is_no_kmemd_is_refused, 20),
    SYSTEM_TEST(test_a_program_that_crashes_before_it_is_ready_is_undone, 60),
    SYSTEM_TEST(test_a_program_that_exits_before_it_is_ready_is_undone, 60),
    SYSTEM_TEST(test_a_program_that_hangs_before_it_is_ready_is_undone, 60),
    SYSTEM_TEST(test_a_program_that_hangs_at_the_check_is_refused, 60),
    SYSTEM_TEST(test_sighup_during_the_check_is_one_too_many, 40),
    SYSTEM_TEST(test_sighup_while_the_new_server_starts_is_one_too_many, 60),
    SYSTEM_TEST(test_sigterm_during_the_check_ends_it_all, 40),
    SYSTEM_TEST(test_sigterm_while_the_new_server_starts_ends_it_all, 40),
    SYSTEM_TEST(test_sighup_in_safe_mode_with_a_program_that_is_refused_changes_nothing, 60),
    SYSTEM_TEST(test_pointers_and_bytes_stay_through_an_upgrade_to_the_same_program, 40),
    SYSTEM_TEST(test_pointers_and_bytes_stay_through_an_upgrade_to_a_newer_minor_version, 40),
    SYSTEM_TEST(test_a_program_of_another_major_version_is_refused, 20),
    SYSTEM_TEST(test_a_library_that_is_older_the_same_or_newer_is_welcome, 20),
    SYSTEM_TEST(test_a_library_of_another_major_version_is_refused, 40),
};

int main(int argc, char **argv)
{
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}

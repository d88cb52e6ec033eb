/* SPDX-License-Identifier: MIT */
/*
 * test_ctl_record.c - kmemctl record, replay and advise
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/system/ctl.h"
#include "tests/system/daemon.h"
#include "tests/system/sharing.h"

#define N_BLOCKS 6
/* More than is leased: the record has the reasons of direct blocks alone. */
#define BLOCK_BYTES ((1 << 20) + 4096)

/* Some six MiB at once, and half of it given back. */
static void be_program(const void *argument)
{
    void *blocks[N_BLOCKS];
    (void)argument;
    for (int i = 0; i < N_BLOCKS; i++) {
        blocks[i] = allocate(BLOCK_BYTES, "program/block");
    }
    for (int i = 0; i < N_BLOCKS; i += 2) {
        expect_equal(kmem_try_release(&blocks[i]), 0);
    }
    client_say(1);
    (void)client_await();
}

static bool file_has(const char *path, const char *text)
{
    static char content[1 << 20];
    FILE *const file = fopen(path, "re");
    const size_t n_bytes = file ? fread(content, 1, sizeof(content) - 1, file) : 0;
    content[n_bytes] = '\0';
    if (file) {
        (void)fclose(file);
    }
    return strstr(content, text) != NULL;
}

static void test_a_record_is_played_on_other_sizes(void)
{
    char path[512];
    daemon_start(NULL, NULL);
    struct client early = client_start(be_program, NULL);
    (void)client_hear(&early);
    (void)snprintf(path, sizeof(path), "%s", harness_path("record.jsonl"));
    struct ctl_process recorder = ctl_start((const char *const[]){"record", path, NULL});
    expect_soon(file_has(path, "\"program/block\""), 10000); /* what there was */
    struct client program = client_start(be_program, NULL);
    (void)client_hear(&program);
    client_kill(&program);
    expect_soon(file_has(path, "\"k\": \"died\""), 10000);
    expect_equal(kill(recorder.pid, SIGINT), 0);
    expect_equal(ctl_wait(&recorder)->exit_status, 0);
    expect_true(file_has(path, "\"kmem_record\": 1"));
    expect_true(file_has(path, "\"k\": \"died\""));

    const struct ctl_end *end = ctl("replay", path, "--size", "64MiB");
    expect_equal(end->exit_status, 0);
    expect_match(end->out, "^ +64\\.0 MiB  all fits$");
    end = ctl("replay", path, "--size", "3MiB");
    expect_equal(end->exit_status, 5);
    expect_match(end->out, "^ +3\\.0 MiB  [0-9]+ of [0-9]+ refused, first ");
    end = ctl("replay", path, "--fit", "--json");
    expect_equal(end->exit_status, 0);
    expect_match(end->out, "\"fits\": true");
    expect_match(ctl("advise", path)->out, "^kmemd --size [0-9]+MiB$");
    end = ctl("advise");
    expect_equal(end->exit_status, 0);
    expect_match(end->out, "^kmemd --size [0-9]+MiB --quota [0-9]+MiB$");
    expect_equal(ctl_private_daemons(), 0);
    client_kill(&early);
    daemon_stop();
}

static void test_a_record_goes_on_with_the_next_server_and_says_so(void)
{
    char path[512];
    daemon_start(NULL, NULL);
    struct client early = client_start(be_program, NULL);
    (void)client_hear(&early);
    (void)snprintf(path, sizeof(path), "%s", harness_path("record.jsonl"));
    struct ctl_process recorder = ctl_start((const char *const[]){"record", path, NULL});
    expect_soon(file_has(path, "\"program/block\""), 10000); /* what there was */
    daemon_kill_server();
    expect_soon(file_has(path, "\"k\": \"began_anew\""), 10000);
    client_kill(&early);
    expect_soon(file_has(path, "\"k\": \"died\""), 10000);
    expect_equal(kill(recorder.pid, SIGINT), 0);
    const struct ctl_end *end = ctl_wait(&recorder);
    expect_equal(end->exit_status, 0);
    expect_match(end->err, "; another server began 1 time, and what the one before did last is");
    expect_equal(ctl("replay", path, "--size", "64MiB")->exit_status, 0);
    daemon_stop();
}

static void want_too_much(const void *argument)
{
    (void)argument;
    (void)allocate(10 << 20, "program/block");
    expect_true(kmem_try_allocate(12 << 20, "program/more") == NULL);
    client_say(1);
    (void)client_await();
}

/* It is not advised to take the size at which it was refused. */
static void test_advise_counts_what_was_refused(void)
{
    daemon_start("--size", "16MiB", NULL);
    struct client program = client_start(want_too_much, NULL);
    (void)client_hear(&program);
    const struct ctl_end *end = ctl("advise");
    expect_match(end->out, "^1 request was refused for want of room\\.$");
    expect_match(end->out,
                 "^With one of them 22\\.0 MiB would have been taken: .* 25\\.0 MiB would");
    expect_match(end->out, "^kmemd --size 25MiB ");
    client_kill(&program);
    daemon_stop();
}

/* Of several commands: each names what it is about, and does nothing. */
static void test_options_that_can_not_be_meant_are_named(void)
{
    static const struct {
        const char *words[5];
        const char *sentence;
    } lines[] = {
        {{"replay", "a", "--size", "1"}, "--size"},
        {{"replay", "a", "--size", "some"}, "--size"},
        {{"replay", "a", "b"}, "replay"},
        {{"replay"}, "replay"},
        {{"usage", "--fail-above", "0%"}, "--fail-above"},
        {{"usage", "--fail-above", "101%"}, "--fail-above"},
        {{"usage", "--watch", "0.01"}, "--watch"},
        {{"usage", "--watch", "99999999"}, "--watch"},
        {{"usage", "--watch", "1x"}, "--watch"},
        {{"-n", ".hidden", "usage"}, "segment"},
        {{"-n", "-x", "usage"}, "segment"},
        {{"blocks", "--top", "0"}, "--top"},
        {{"blocks", "--top", "99999999999999999999"}, "--top"},
        {{"history", "--since", "8d"}, "--since"},
        {{"history", "--since", "1ms"}, "--since"},
        {{"run", "--leaks-exit-code", "0", "true"}, "--leaks-exit-code"},
        {{"run", "--leaks-exit-code", "256", "true"}, "--leaks-exit-code"},
    };
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        const struct ctl_end *end = ctl_run(lines[i].words);
        expect_equal(end->exit_status, 2);
        expect_match(end->err, lines[i].sentence);
        expect_text(end->out, "");
    }
}

static void test_a_record_that_can_not_be_written_says_so(void)
{
    daemon_start("--size", "64MiB", NULL);
    const struct ctl_end *end = ctl("record", "--for", "1ms", "/dev/full");
    expect_equal(end->exit_status, 1);
    expect_match(end->err, "/dev/full");
    end = ctl("record", "--for", "1ms", "/nonexistent/record");
    expect_equal(end->exit_status, 1);
    expect_match(end->err, "/nonexistent/record");
    daemon_stop();
}

static void test_what_is_no_record_is_refused_with_its_line(void)
{
    const struct ctl_end *end = ctl("replay", "/etc/passwd");
    expect_equal(end->exit_status, 1);
    expect_match(end->err, "/etc/passwd, line 1: that is no record of version 1");
    expect_match(ctl("replay", "/nonexistent")->err, "cannot read /nonexistent: No such file");
    expect_equal(ctl("replay")->exit_status, 2);
    expect_equal(ctl("replay", "x", "--size", "much")->exit_status, 2);
    expect_match(ctl("advise", "/etc/passwd")->err, "kmemctl advise: /etc/passwd, line 1");
}

int main(int argc, char **argv)
{
    static const struct system_test tests[] = {
        SYSTEM_TEST(test_a_record_is_played_on_other_sizes, 60),
        SYSTEM_TEST(test_a_record_goes_on_with_the_next_server_and_says_so, 60),
        SYSTEM_TEST(test_advise_counts_what_was_refused, 20),
        SYSTEM_TEST(test_options_that_can_not_be_meant_are_named, 20),
        SYSTEM_TEST(test_a_record_that_can_not_be_written_says_so, 20),
        SYSTEM_TEST(test_what_is_no_record_is_refused_with_its_line, 20),
    };
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}

/* SPDX-License-Identifier: MIT */
/*
 * test_resize.c - a segment that gets another size while clients live in it
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <kmem/kmem.h>
#include <kmem/query.h>

#include "tests/support/pattern.h"
#include "tests/system/client.h"
#include "tests/system/ctl.h"
#include "tests/system/daemon.h"
#include "tests/system/harness.h"
#include "tests/system/usage.h"

#define MIB (UINT64_C(1) << 20)

/* Allocates what it is told to, in MiB, fills it and says whether there was room; 0: it ends. */
static void client_of_orders(const void *argument)
{
    (void)argument;
    for (uint64_t n_mib = client_await(); n_mib != 0; n_mib = client_await()) {
        unsigned char *block = kmem_try_allocate(n_mib * MIB, "resize/frames");
        if (block) {
            pattern_fill(block, n_mib * MIB, 7, 0);
            expect_true(pattern_differs_at(block, n_mib * MIB, 7, 0) >= n_mib * MIB);
        }
        client_say(block != NULL);
    }
}

static uint64_t ask_for(const struct client *client, uint64_t n_mib)
{
    client_tell(client, n_mib);
    return client_hear(client);
}

static void expect_sound(uint64_t segment_bytes)
{
    expect_equal(usage_take().segment_bytes, segment_bytes);
    const struct ctl_end *end = ctl("reconcile");
    harness_note("%s", end->out);
    expect_equal(end->exit_status, 0);
}

/* The system's memory that the segment's file has. */
static uint64_t memory_bytes(void)
{
    return usage_take().resident_bytes;
}

static void test_a_segment_grows_under_a_client_and_shrinks_behind_it(void)
{
    daemon_start(NULL, NULL);
    struct client client = client_start(client_of_orders, NULL);
    expect_equal(ask_for(&client, 10), 1);
    expect_equal(ask_for(&client, 10), 0);
    expect_match(ctl("refusals")->out, "resize/frames");

    const struct ctl_end *end = ctl("resize", "64MiB");

    harness_note("%s%s", end->out, end->err);
    expect_equal(end->exit_status, 0);
    expect_text(end->out, "segment \"test\": 64.0 MiB, before 16.0 MiB; it may have up to 256.0 "
                          "MiB\n");
    expect_log_line("the segment has 64\\.0 MiB now, and had 16\\.0 MiB");
    expect_sound(64 * MIB);
    expect_equal(memory_bytes(), 64 * MIB);
    expect_equal(ask_for(&client, 10), 1);
    expect_equal(ask_for(&client, 30), 1);
    expect_match(ctl("usage")->out, "64\\.0 MiB, up to 256\\.0 MiB");

    end = ctl("resize", "16MiB");
    harness_note("%s", end->err);
    expect_equal(end->exit_status, 1);
    expect_match(end->err, "can not shrink to 16\\.0 MiB: 2 blocks \\(40\\.0 MiB\\) lie there; 2 "
                           "of process [0-9]* \\(.*\\), \"resize/frames\": ");
    expect_sound(64 * MIB);

    client_tell(&client, 0);
    client_end(&client);
    expect_soon(usage_take().clients == 0, 5000);
    expect_equal(ctl("resize", "16MiB")->exit_status, 0);
    expect_sound(16 * MIB);
    expect_soon(memory_bytes() <= 16 * MIB, 5000);
    daemon_stop_balanced();
}

static void test_a_size_stays_when_servers_die(void)
{
    daemon_start(NULL, NULL);
    struct client client = client_start(client_of_orders, NULL);
    expect_equal(ctl("resize", "32MiB")->exit_status, 0);
    expect_equal(ask_for(&client, 20), 1);
    daemon_kill_server();
    expect_sound(32 * MIB);
    expect_equal(ctl("resize", "48MiB")->exit_status, 0);
    expect_equal(ask_for(&client, 20), 1);
    expect_call(kill(daemon_pid(), SIGHUP) == 0);
    expect_soon(harness_matches(daemon_log(), "upgraded: .* serves now"), 20000);
    expect_sound(48 * MIB);
    client_tell(&client, 0);
    client_end(&client);
    expect_soon(usage_take().clients == 0, 5000);
    expect_equal(ctl("resize", "16MiB")->exit_status, 0);
    daemon_stop_balanced();
}

/* Whoever was killed with memory half taken leaves it, and the next one gives it back. */
static void test_memory_beyond_the_segment_is_given_back_by_the_next_server(void)
{
    daemon_start(NULL, NULL);
    const int fd = daemon_open_memfd("segment");
    expect_call(pwrite(fd, "left", 4, (off_t)(200 * MIB)) == 4);
    expect_call(close(fd) == 0);
    expect_true(memory_bytes() > 16 * MIB);
    daemon_kill_server();
    expect_soon(memory_bytes() <= 16 * MIB, 5000);
    daemon_stop_balanced();
}

static void test_a_segment_that_takes_memory_when_it_is_used_grows(void)
{
    daemon_start("--commit", "lazy", NULL);
    struct client client = client_start(client_of_orders, NULL);
    expect_equal(ctl("resize", "64MiB")->exit_status, 0);
    expect_true(memory_bytes() < 16 * MIB);
    expect_equal(ask_for(&client, 40), 1);
    expect_true(memory_bytes() >= 40 * MIB);
    expect_sound(64 * MIB);
    client_tell(&client, 0);
    client_end(&client);
    expect_soon(usage_take().clients == 0, 5000);
    expect_equal(ctl("resize", "16MiB")->exit_status, 0);
    daemon_stop_balanced();
}

static void test_what_can_not_be_is_refused(void)
{
    daemon_start("--max-size", "32MiB", NULL);
    const struct ctl_end *end = ctl("resize", "33MiB");
    expect_equal(end->exit_status, 2);
    expect_match(end->err, "made for 32\\.0 MiB at most; start kmemd with a larger --max-size");
    end = ctl("resize", "lots");
    expect_equal(end->exit_status, 2);
    expect_match(end->err, "\"lots\" is no size");
    expect_match(ctl("resize")->err, "SIZE");
    expect_match(ctl("resize", "32MiB", "--json")->out,
                 "\"before_bytes\": 16777216, \"segment_bytes\": 33554432, \"most_bytes\": "
                 "33554432");
    expect_equal(ctl("resize", "16MiB")->exit_status, 0);
    daemon_stop_balanced();
}

/* Which this machine does not have. */
static void test_memory_that_is_not_there_is_refused(void)
{
    daemon_start("--max-size", "1TiB", NULL);
    const struct ctl_end *end = ctl("resize", "1TiB");
    harness_note("%s", end->err);
    expect_equal(end->exit_status, 1);
    expect_match(end->err, "can not grow to 1\\.0 TiB: that is .* more, and the .* has ");
    expect_sound(16 * MIB);
    daemon_stop_balanced();
}

static const struct system_test tests[] = {
    SYSTEM_TEST(test_a_segment_grows_under_a_client_and_shrinks_behind_it, 60),
    SYSTEM_TEST(test_a_size_stays_when_servers_die, 60),
    SYSTEM_TEST(test_memory_beyond_the_segment_is_given_back_by_the_next_server, 60),
    SYSTEM_TEST(test_a_segment_that_takes_memory_when_it_is_used_grows, 60),
    SYSTEM_TEST(test_what_can_not_be_is_refused, 60),
    SYSTEM_TEST(test_memory_that_is_not_there_is_refused, 60),
};

int main(int argc, char **argv)
{
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}

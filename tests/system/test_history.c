/* SPDX-License-Identifier: MIT */
/*
 * test_history.c - what a real daemon remembers of the time before now, and what outlives the usual
 *
 * The daemon's clock is the test's to set, so a minute or two hours pass at once. Clients that have
 * the library keep their own time; those of the wire have only direct blocks, whose lives the
 * daemon measures.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/system/blocks.h"
#include "tests/system/client.h"
#include "tests/system/clocks.h"
#include "tests/system/ctl.h"
#include "tests/system/daemon.h"
#include "tests/system/harness.h"
#include "tests/system/usage.h"
#include "tests/system/workload.h"
#include "tests/wire/wire.h"

#define TOO_MUCH ((16 << 20) - 1)
#define MINUTE_S 60
#define MINUTE_MS UINT64_C(60000)
#define TWO_HOURS_S 7200

static struct clocks *clocks; /* the daemon's */

static void begin(void)
{
    clocks = clocks_prepare();
    daemon_start_as(&(struct daemon_setting){.program = harness_program("kmemd_shifted")},
                    OPTIONS("--size", "16MiB", "--watchdog", "0"));
}

static void end(struct client *client)
{
    client_kill(client);
    expect_soon(usage_take().clients == 0, 10000);
    daemon_stop();
}

/* ----------------------------------------------------------------------------- the history ---- */

#define CAMERA_BYTES 1048576

/* Has one block, and when it is told, another. */
static void be_camera(const void *argument)
{
    (void)argument;
    (void)allocate(CAMERA_BYTES, "camera");
    client_pause();
    (void)allocate(CAMERA_BYTES, "camera");
    client_pause();
}

/* How many looks saw the camera with so many bytes, from least_ms to before most_ms ago. */
static size_t looks_at(uint64_t num_bytes, uint64_t least_ms, uint64_t most_ms)
{
    const char *line = ctl("history", "--since", "1h", "--steps", "3600", "-o", "csv", "--reason",
                           "camera", "--columns", "ms_ago,num_bytes")
                           ->out;
    size_t n_looks = 0;
    while ((line = strchr(line, '\n')) != NULL && *++line) {
        char *next = NULL;
        const uint64_t ms_ago = strtoull(line, &next, 10);
        expect_equal(*next, ',');
        n_looks +=
            strtoull(next + 1, NULL, 10) == num_bytes && ms_ago >= least_ms && ms_ago < most_ms;
    }
    return n_looks;
}

/* For the daemon: the server that dies has looked at nothing in the minute before. */
static void a_minute_passes_without_a_server(void)
{
    daemon_signal_server(SIGSTOP); /* it may be about to return from its wait */
    expect_soon(harness_state_of(daemon_server_pid()) == 'T', 5000);
    clocks->boot_s += MINUTE_S;
    daemon_kill_server();
}

static void test_history_goes_on_with_the_next_server_and_says_the_gap(void)
{
    begin();
    struct client camera = client_begin(be_camera, NULL);
    expect_soon(looks_at(CAMERA_BYTES, 0, MINUTE_MS) > 0, 10000);
    expect_equal(looks_at(CAMERA_BYTES, MINUTE_MS, UINT64_MAX), 0);
    a_minute_passes_without_a_server();
    expect_soon(looks_at(CAMERA_BYTES, 0, MINUTE_MS) > 0, 10000);
    client_resume(&camera);
    expect_soon(looks_at(UINT64_C(2) * CAMERA_BYTES, 0, MINUTE_MS) > 0, 10000);
    expect_at_least(looks_at(CAMERA_BYTES, MINUTE_MS, UINT64_MAX), 1);
    expect_equal(looks_at(UINT64_C(2) * CAMERA_BYTES, MINUTE_MS, UINT64_MAX), 0);

    clocks->boot_s += MINUTE_S; /* it lasts: a moment may be one buffer too many */
    expect_soon(looks_at(UINT64_C(2) * CAMERA_BYTES, 0, MINUTE_MS) > 0, 10000);
    const struct ctl_end *said = ctl("history", "--since", "10m", "--reason", "cam*");
    expect_match(said->out, "\nnothing was looked at for [0-9]+ m [0-9]+ s, until ");
    expect_match(said->out, "\ncamera began to grow [0-9].* ago: from 1\\.0 MiB to 2\\.0 MiB");
    expect_match(ctl("status")->out,
                 "grows +camera by 1\\.0 MiB since [0-9]+ m 00 s ago, to 2\\.0 MiB in 2 blocks");
    end(&camera);
}

static void test_history_goes_on_when_the_daemon_is_upgraded(void)
{
    begin();
    struct client camera = client_begin(be_camera, NULL);
    expect_soon(looks_at(CAMERA_BYTES, 0, MINUTE_MS) > 0, 10000);
    clocks->boot_s += MINUTE_S; /* what is older is the first server's */
    expect_call(kill(daemon_pid(), SIGHUP) == 0);
    expect_soon(harness_matches(daemon_log(), "upgraded: .* serves now"), 5000);
    expect_at_least(looks_at(CAMERA_BYTES, MINUTE_MS, UINT64_MAX), 1);
    clocks->boot_s += MINUTE_S; /* what is younger is the second one's */
    client_resume(&camera);
    expect_soon(looks_at(UINT64_C(2) * CAMERA_BYTES, 0, MINUTE_MS) > 0, 10000);
    expect_at_least(looks_at(CAMERA_BYTES, 2 * MINUTE_MS, UINT64_MAX), 1);
    end(&camera);
}

/* ---------------------------------------------------------------------------- the refusals ---- */

/* Asks for what there is no room for, whenever it is told. */
static void be_refused(const void *argument)
{
    (void)argument;
    for (;;) {
        expect_true(kmem_try_allocate(TOO_MUCH, "video/large") == NULL);
        client_pause();
    }
}

static void expect_refused(const char *n_times)
{
    char pattern[64];
    (void)snprintf(pattern, sizeof(pattern), "\n1,block,no_room,%d,video/large,%s\n", TOO_MUCH,
                   n_times);
    expect_match(
        ctl("refusals", "-o", "csv", "--columns", "number,asked,why,num_bytes,reason,n_times")->out,
        pattern);
    (void)snprintf(pattern, sizeof(pattern), "\n +%s +block +no_room +there was no room\n",
                   n_times);
    expect_match(ctl("refusals", "--counts")->out, pattern);
}

static void test_refusals_go_on_with_the_next_server(void)
{
    begin();
    struct client client = client_begin(be_refused, NULL);
    expect_refused("1");
    daemon_kill_server();
    expect_refused("1");
    client_resume(&client); /* it is the process that it was */
    expect_refused("2");
    clocks->boot_s += MINUTE_S;
    expect_call(kill(daemon_pid(), SIGHUP) == 0);
    expect_soon(harness_matches(daemon_log(), "upgraded: .* serves now"), 5000);
    client_resume(&client);
    expect_refused("3");
    expect_match(ctl("refusals", "--no-headers", "--columns", "first,last")->out,
                 "^[0-9]+ m [0-9]+ s +[0-9.]+ m?s\n$");
    end(&client);
}

/* ------------------------------------------------------------------------------- the leaks ---- */

#define FRAMES 4000
#define FRAME_BYTES 64
#define THUMBS 100
#define THUMB_BYTES 1000

/* Passes frames on and on, and forgets one; fills a cache. */
static void be_pipeline(const void *argument)
{
    (void)argument;
    for (unsigned int i = 0; i < FRAMES; i++) {
        release(allocate(FRAME_BYTES, "pipeline/frame"));
    }
    (void)allocate(FRAME_BYTES, "pipeline/frame#forgotten");
    for (unsigned int i = 0; i < THUMBS; i++) {
        (void)allocate(THUMB_BYTES, "cache/thumbnail");
    }
    client_pause();
}

#define SESSIONS 40
#define ENDED_SESSIONS 30
#define SESSION_BYTES 5000

/* Has sessions that last for hours, and when they have, ends most of them; then packets come. */
static void be_server(const void *argument)
{
    uint64_t sessions[SESSIONS];
    (void)argument;
    const int fd = wire_member();
    for (unsigned int i = 0; i < SESSIONS; i++) {
        sessions[i] = wire_allocate(fd, SESSION_BYTES, "server/session");
    }
    client_pause();
    for (unsigned int i = 0; i < ENDED_SESSIONS; i++) {
        expect_equal(wire_release(fd, sessions[i]), 0);
        const uint64_t packet = wire_allocate(fd, SESSION_BYTES, "server/packet");
        expect_equal(wire_release(fd, packet), 0);
    }
    (void)wire_allocate(fd, SESSION_BYTES, "server/packet");
    client_pause();
}

static void expect_leak(void)
{
    expect_match(
        ctl("leaks", "-o", "csv", "--columns", "reason,verdict,n_suspects,suspect_bytes")->out,
        "\npipeline/frame,suspect,1,64\n");
}

static void test_leaks_tells_a_leak_from_a_cache_and_from_what_lives_long(void)
{
    begin();
    struct client pipeline = client_begin(be_pipeline, NULL);
    struct client server = client_begin(be_server, NULL);
    expect_equal(ctl("leaks", "--fail-on-leak")->exit_status, 0);
    clocks->boot_s += TWO_HOURS_S;
    client_resume(&server);
    expect_text(ctl("leaks", "-o", "csv", "--columns",
                    "reason,verdict,n_suspects,suspect_bytes,n_blocks,num_bytes")
                    ->out,
                "reason,verdict,n_suspects,suspect_bytes,n_blocks,num_bytes\n"
                "pipeline/frame,suspect,1,64,1,64\n"
                "cache/thumbnail,unknown,0,0,100,100000\n");
    expect_match(
        ctl("leaks", "-o", "wide")->out,
        "1 block \\(64 B\\) is older than 10\\.0 s; of [0-9,]+ released (99|100) % lived less "
        "than 1\\.0 s");
    expect_match(ctl("leaks", "--reason", "cache/*")->out, "cannot tell a cache from a leak");
    expect_match(ctl("leaks", "--reason", "server/*")->out,
                 "no reason of that kind has blocks that live far longer than usual");
    expect_equal(ctl("leaks", "--fail-on-leak")->exit_status, 5);
    expect_equal(ctl("leaks", "--fail-on-leak", "--reason", "cache/*")->exit_status, 0);
    expect_equal(ctl("leaks")->exit_status, 0);

    daemon_kill_server(); /* what the pipeline had noted of its frames is in its own file */
    expect_leak();
    client_kill(&server);
    end(&pipeline);
}

/* ----------------------------------------------------------------------------- the figures ---- */

#define PASSING_ALL_BYTES ((uint64_t)PASSING_BLOCKS * PASSING_BYTES)

static uint64_t figure(const char *name)
{
    char start[64];
    const char *out = ctl("usage", "--all", "-o", "csv")->out;
    (void)snprintf(start, sizeof(start), "\n%s,", name);
    const char *row = strstr(out, start);
    expect_true(row != NULL);
    return strtoull(row + strlen(start), NULL, 10);
}

static void release_wildly(const void *argument)
{
    void *wrong = &wrong;
    (void)argument;
    release(allocate(PAIR_BYTES, "figures/pair"));
    kmem_release(&wrong);
}

/* What was live is released before the first question, and who misused something has died. */
static void test_peaks_and_misuses_outlive_what_they_were_of(void)
{
    const uint64_t seen_least = PASSING_ALL_BYTES - UINT64_C(32) * PASSING_BYTES;
    begin();
    struct client passing = client_begin(workload_pass_through, NULL);
    expect_soon(figure("peak_used_bytes") >= seen_least, 5000);
    const uint64_t peak_bytes = figure("peak_used_bytes");
    expect_at_most(peak_bytes, PASSING_ALL_BYTES);
    expect_equal(figure("used_bytes"), 0);
    expect_equal(figure("allocations"), PASSING_BLOCKS);
    expect_equal(figure("releases"), PASSING_BLOCKS);
    client_finish(&passing);
    struct client wild = client_start(release_wildly, NULL);
    client_end_by(&wild, SIGABRT);
    expect_soon(usage_take().clients == 0, 10000);
    daemon_kill_server();
    expect_equal(figure("misuses"), 1); /* its library caught it */
    expect_equal(figure("peak_used_bytes"), peak_bytes);
    expect_equal(figure("allocations"), PASSING_BLOCKS + 1);
    expect_equal(figure("releases"), PASSING_BLOCKS + 1);
    daemon_stop();
}

int main(int argc, char **argv)
{
    static const struct system_test tests[] = {
        SYSTEM_TEST(test_history_goes_on_with_the_next_server_and_says_the_gap, 20),
        SYSTEM_TEST(test_history_goes_on_when_the_daemon_is_upgraded, 20),
        SYSTEM_TEST(test_refusals_go_on_with_the_next_server, 20),
        SYSTEM_TEST(test_peaks_and_misuses_outlive_what_they_were_of, 20),
        SYSTEM_TEST(test_leaks_tells_a_leak_from_a_cache_and_from_what_lives_long, 20),
    };
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}

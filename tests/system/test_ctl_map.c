/* SPDX-License-Identifier: MIT */
/*
 * test_ctl_map.c - kmemctl map, why and watch, beside a daemon and real processes
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "tests/system/ctl.h"
#include "tests/system/daemon.h"
#include "tests/system/sharing.h"

#define FRAME_BYTES (1 << 20)

static void be_camera(const void *argument)
{
    int local = 0;
    (void)argument;
    (void)prctl(PR_SET_NAME, "camera");
    unsigned char *const frame = allocate(FRAME_BYTES - 100, "camera/frame");
    client_say((uint64_t)(uintptr_t)frame);
    client_say((uint64_t)(uintptr_t)&local);
    (void)client_await();
    unsigned char *const more = allocate(FRAME_BYTES, "camera/\"$(touch injected)\"");
    client_say((uint64_t)(uintptr_t)more);
    (void)client_await();
}

static const struct ctl_end *why(const struct client *client, uint64_t address)
{
    char what[64];
    (void)snprintf(what, sizeof(what), "%d:0x%llx", (int)client->pid, (unsigned long long)address);
    return ctl("why", what);
}

static void test_why_follows_a_pointer_of_a_process(void)
{
    daemon_start(NULL, NULL);
    struct client camera = client_start(be_camera, NULL);
    const uint64_t frame = client_hear(&camera);
    const uint64_t local = client_hear(&camera);

    const struct ctl_end *end = why(&camera, frame + 17);
    expect_equal(end->exit_status, 0);
    expect_match(end->out, "^This is +byte 17 of a block of 1,048,476$");
    expect_match(end->out, "\"camera/frame\", of process [0-9]+ \\(camera, user");
    expect_match(end->out, "^Address .*mapped from /memfd:kmemd:[^ ]*:segment");
    expect_match(why(&camera, frame + FRAME_BYTES - 1)->out, "100 bytes|99 bytes behind the end");
    end = why(&camera, local);
    expect_equal(end->exit_status, 1);
    expect_match(end->err,
                 "is no byte of a segment: it is (mapped from \\[stack\\]|memory of its own)");
    end = why(&camera, 16);
    expect_equal(end->exit_status, 1);
    expect_match(end->err, "has no memory at 0x10");
    end = ctl("why", "999999999:0x1000");
    expect_equal(end->exit_status, 1);
    expect_match(end->err, "there is no process 999999999");
    expect_equal(ctl("why")->exit_status, 2);
    client_kill(&camera);
    daemon_stop();
}

static void test_map_shows_whose_pages_are(void)
{
    daemon_start(NULL, NULL);
    struct client camera = client_start(be_camera, NULL);
    (void)client_hear(&camera);
    (void)client_hear(&camera);

    const struct ctl_end *end = ctl("map");
    expect_equal(end->exit_status, 0);
    expect_match(end->out, "^ +A +1\\.0 MiB +[0-9]+ +camera$");
    expect_match(end->out, "can be had, in [0-9]+ extents?; the largest has ");
    expect_match(ctl("map", "--by", "reason")->out, "^ +A +1\\.0 MiB +camera/frame$");
    expect_match(ctl("map", "--json")->out, "\"reason\": \"camera/frame\"");
    expect_equal(ctl("map", "--by", "colour")->exit_status, 2);
    expect_match(ctl("map", "--svg", "/nonexistent/map.svg")->err, "--svg: cannot write to");
    client_kill(&camera);
    daemon_stop();
}

static struct ctl_process watcher;

static bool watcher_said(const char *pattern)
{
    return harness_matches(ctl_out(&watcher), pattern);
}

static void test_watch_tells_what_processes_do_and_runs_a_command_for_it(void)
{
    char command[512];
    daemon_start(NULL, NULL);
    watcher = ctl_start((const char *const[]){"watch", NULL});
    (void)snprintf(command, sizeof(command),
                   "echo \"$KMEM_CHANGE $KMEM_BYTES $KMEM_REASON\"; grep -c 'allocated'; exit 3");
    struct ctl_process runner =
        ctl_start((const char *const[]){"watch", "--reason", "camera*", "--exec", command, NULL});
    struct client camera = client_start(be_camera, NULL);
    (void)client_hear(&camera);
    (void)client_hear(&camera);
    /* Either may have begun to watch too late for the first: it comes again. */
    while (!watcher_said(" joined +[0-9]+ camera") || !watcher_said(" allocated ") ||
           !harness_matches(ctl_out(&runner), "^allocated 1048[0-9]+ camera/")) {
        client_kill(&camera);
        camera = client_start(be_camera, NULL);
        (void)client_hear(&camera);
        (void)client_hear(&camera);
        client_tell(&camera, 0);
        (void)client_hear(&camera);
        harness_sleep_ms(50);
    }
    client_tell(&camera, 0);
    expect_soon(harness_matches(ctl_out(&runner), "camera/\"\\$\\(touch injected\\)\""), 10000);
    expect_soon(harness_matches(ctl_err(&runner), "ended with status 3, for change [0-9]+"), 10000);
    expect_equal(kill(watcher.pid, SIGINT), 0);
    expect_equal(ctl_wait(&watcher)->exit_status, 128 + SIGINT);
    expect_equal(kill(runner.pid, SIGTERM), 0);
    expect_equal(ctl_wait(&runner)->exit_status, 128 + SIGTERM);
    client_kill(&camera);
    daemon_stop();
}

static bool runner_said(const struct ctl_process *runner, const char *pattern)
{
    return harness_matches(ctl_out(runner), pattern);
}

/* One that is seen: the first ones may come before it watches. */
static void await_a_camera(struct client *camera, const struct ctl_process *process,
                           const char *pattern)
{
    *camera = client_start(be_camera, NULL);
    (void)client_hear(camera);
    (void)client_hear(camera);
    while (!runner_said(process, pattern)) {
        client_kill(camera);
        *camera = client_start(be_camera, NULL);
        (void)client_hear(camera);
        (void)client_hear(camera);
        harness_sleep_ms(50);
    }
}

static void test_watch_goes_on_with_the_next_server_and_says_so(void)
{
    struct client camera;
    daemon_start(NULL, NULL);
    watcher = ctl_start((const char *const[]){"watch", NULL});
    const struct ctl_process rows = ctl_start((const char *const[]){"watch", "-o", "jsonl", NULL});
    await_a_camera(&camera, &watcher, " joined +[0-9]+ camera");
    client_kill(&camera);
    await_a_camera(&camera, &rows, "\"joined\"");
    daemon_kill_server();
    expect_soon(watcher_said("began_anew +another server of kmemd; what the one before did last"),
                10000);
    expect_soon(runner_said(&rows, "\"began_anew\""), 10000);
    client_tell(&camera, 0); /* nothing had such a reason before */
    (void)client_hear(&camera);
    expect_soon(watcher_said(" allocated +[0-9]+ camera .* camera/\""), 10000);
    expect_soon(runner_said(&rows, "\"allocated\".*injected"), 10000);
    expect_equal(kill(watcher.pid, SIGINT), 0);
    expect_equal(ctl_wait(&watcher)->exit_status, 128 + SIGINT);
    expect_equal(kill(rows.pid, SIGINT), 0);
    expect_equal(ctl_wait(&rows)->exit_status, 128 + SIGINT);
    client_kill(&camera);
    daemon_stop();
}

static void test_watch_without_its_daemon_ends_with_status_3(void)
{
    struct client camera;
    daemon_start(NULL, NULL);
    watcher = ctl_start((const char *const[]){"watch", NULL});
    await_a_camera(&camera, &watcher, " joined +[0-9]+ camera");
    client_kill(&camera);
    daemon_stop();
    expect_equal(ctl_wait(&watcher)->exit_status, 3);
}

int main(int argc, char **argv)
{
    static const struct system_test tests[] = {
        SYSTEM_TEST(test_why_follows_a_pointer_of_a_process, 20),
        SYSTEM_TEST(test_map_shows_whose_pages_are, 20),
        SYSTEM_TEST(test_watch_tells_what_processes_do_and_runs_a_command_for_it, 60),
        SYSTEM_TEST(test_watch_goes_on_with_the_next_server_and_says_so, 60),
        SYSTEM_TEST(test_watch_without_its_daemon_ends_with_status_3, 20),
    };
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}

/* SPDX-License-Identifier: MIT */
/*
 * keeper_points.c - the keeper is killed at each of its crash points
 *
 * Its server ends with it. Without a supervisor that is the end of the segment, and all that is
 * wanted is that the next daemon starts at the same place as if nothing had been there. With one
 * that keeps descriptors, the next keeper goes on with them, and a client finds what it had.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include <kmem/kmem.h>

#include "tests/crash/armed.h"
#include "tests/system/client.h"
#include "tests/system/daemon.h"
#include "tests/system/harness.h"
#include "tests/system/holder.h"
#include "tests/system/store.h"
#include "tests/system/usage.h"

struct moment {
    const char *point;
    int nth;
    const char *what;
    void (*bring_about)(struct client *guest);
};

/* The harness's own buffer is soon another path. */
static const char *program(void)
{
    static char path[256];
    (void)snprintf(path, sizeof(path), "%s", harness_program("kmemd_points"));
    return path;
}

static void arm(const struct moment *moment)
{
    struct armed armed = {.nth = moment->nth, .action = "kill"};
    (void)snprintf(armed.point, sizeof(armed.point), "%s", moment->point);
    armed_set(&armed);
}

static void expect_fired(const struct moment *moment)
{
    if (!armed_has_fired()) {
        fail("\"%s\" (%s) was not met %d times", moment->point, moment->what, moment->nth);
    }
}

/* ---------------------------------------------------------------------------- at its start ---- */

static const struct moment moments_of_start[] = {
    {"keeper.listening", 1, "socket made, no files", NULL},
    {"keeper.files.made", 1, "files made, no server", NULL},
    {"keeper.server.started", 1, "server started, not yet served", NULL},
    {"keeper.ready", 1, "said to be ready, supervisor not told", NULL},
};

static void play_start(const struct moment *moment)
{
    const struct daemon_setting setting = {.program = program()};
    armed_begin();
    arm(moment);
    const struct daemon_end end =
        daemon_try(&setting, OPTIONS("--name", "test", "--size", "16MiB", "--socket",
                                     harness_path("test.sock")));
    expect_equal(end.exit_status, 128 + SIGKILL);
    expect_fired(moment);
    daemon_start_as(&setting, OPTIONS(NULL));
    struct client client = holder_start();
    holder_expect_held(&client);
    holder_end(&client);
    daemon_stop();
}

static void test_a_keeper_is_killed_at_each_point_of_its_start(void)
{
    for (size_t i = 0; i < sizeof(moments_of_start) / sizeof(moments_of_start[0]); i++) {
        play_start(&moments_of_start[i]);
    }
    expect_true(armed_has_fired());
}

static bool has_ended(pid_t pid)
{
    siginfo_t info = {.si_pid = 0};
    expect_call(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0);
    (void)store_count(); /* or the queue to the supervisor fills up */
    return info.si_pid == pid;
}

/* With whatever the supervisor has: everything works, and all of it can be kept. */
static void expect_next_keeper(void)
{
    struct daemon_setting setting = store_setting();
    setting.program = program();
    daemon_start_as(&setting, OPTIONS(NULL));
    expect_usage(0, 0);
    struct client client = holder_start();
    expect_soon(store_count() == 6, 2000); /* each file once */
    holder_expect_held(&client);
    holder_end(&client);
    expect_call(kill(daemon_pid(), SIGTERM) == 0);
    expect_soon(has_ended(daemon_pid()), 5000);
    daemon_stop();                  /* a second SIGTERM is nothing to one that has ended */
    expect_equal(store_count(), 4); /* for one that may follow */
    store_close();
}

static const struct moment moments_of_storing[] = {
    {"keeper.ready", 1, "the supervisor has nothing", NULL},
    {"keeper.storing", 1, "it has the state", NULL},
    {"keeper.storing", 2, "it has the clock, too", NULL},
    {"keeper.storing", 3, "it has all but the segment", NULL},
};

static void test_a_keeper_is_killed_while_it_gives_its_supervisor_the_files(void)
{
    if (!KMEMD_WITH_SYSTEMD) {
        harness_skip("kmemd was built without libsystemd");
    }
    for (size_t i = 0; i < sizeof(moments_of_storing) / sizeof(moments_of_storing[0]); i++) {
        armed_begin();
        arm(&moments_of_storing[i]);
        store_open();
        struct daemon_setting setting = store_first_setting();
        setting.program = program();
        const struct daemon_end end =
            daemon_try(&setting, OPTIONS("--name", "test", "--size", "16MiB", "--socket",
                                         harness_path("test.sock")));
        expect_equal(end.exit_status, 128 + SIGKILL);
        expect_fired(&moments_of_storing[i]);
        expect_equal(store_count(), i);
        expect_next_keeper();
    }
}

/* ----------------------------------------------------------------------------- while it is ---- */

/* Comes and goes; whatever its calls return, they return. */
static void visit(const void *argument)
{
    (void)argument;
    void *block = kmem_try_allocate(100, "visitor");
    client_say(block != NULL);
    (void)client_await();
    if (block != NULL) {
        (void)!kmem_try_release(&block); /* there may be nobody to release it to */
    }
}

static void guest_comes(struct client *guest)
{
    *guest = client_start(visit, NULL);
}

static void guest_dies(struct client *guest)
{
    guest_comes(guest);
    expect_equal(client_hear(guest), 1);
    client_kill(guest);
    guest->pid = 0;
}

static void server_dies(struct client *guest)
{
    (void)guest;
    daemon_signal_server(SIGKILL);
}

static void upgrade(struct client *guest)
{
    (void)guest;
    expect_call(kill(daemon_pid(), SIGHUP) == 0);
}

static const struct moment moments_of_life[] = {
    {"keeper.kept", 2, "a client's files kept, supervisor not told", guest_comes},
    {"keeper.keeping", 2, "the supervisor has a client's pidfd, not its ledger", guest_comes},
    {"keeper.dropping", 1, "a client has ended, its files still kept", guest_dies},
    {"keeper.forgetting", 1, "the supervisor has a former client's pidfd only", guest_dies},
    {"keeper.dropped", 1, "a client's files dropped by the supervisor only", guest_dies},
    {"keeper.server.reaped", 1, "the server has died, no other is started", server_dies},
    {"keeper.server.started", 2, "the next server started", server_dies},
    {"keeper.upgrading", 1, "the next program checked, the server not told", upgrade},
};

static void guest_goes(struct client *guest)
{
    if (guest->pid != 0) {
        (void)client_hear(guest);
        client_finish(guest);
    }
}

static void play_life(const struct moment *moment)
{
    struct client guest = {.pid = 0};
    armed_begin();
    arm(moment);
    store_open();
    struct daemon_setting setting = store_first_setting();
    setting.program = program();
    daemon_start_as(&setting, OPTIONS(NULL));
    struct client holder = holder_start();
    expect_soon(store_count() == 6, 2000);
    moment->bring_about(&guest);
    expect_soon(has_ended(daemon_pid()), 5000);
    expect_fired(moment);
    daemon_kill(); /* it is dead: reaps it */

    setting = store_setting();
    setting.program = program();
    daemon_start_as(&setting, OPTIONS(NULL));
    guest_goes(&guest);
    expect_soon(usage_take().blocks == HELD_BLOCKS, 5000);
    holder_expect_held(&holder);
    client_tell(&holder, 0);
    client_end(&holder);
    expect_soon(usage_take().clients == 0, 2000);
    expect_usage(0, 0);
    (void)store_count();
    store_close();
    daemon_stop();
}

static void test_a_keeper_is_killed_at_each_point_of_its_life(void)
{
    if (!KMEMD_WITH_SYSTEMD) {
        harness_skip("kmemd was built without libsystemd");
    }
    for (size_t i = 0; i < sizeof(moments_of_life) / sizeof(moments_of_life[0]); i++) {
        play_life(&moments_of_life[i]);
    }
    expect_true(armed_has_fired());
}

/* ------------------------------------------------------------------------------ at its end ---- */

static const struct moment moment_of_end = {"keeper.ending", 1, "the server gone, all kept", NULL};

static void start_supervised(void)
{
    struct daemon_setting setting = store_first_setting();
    setting.program = program();
    daemon_start_as(&setting, OPTIONS(NULL));
    expect_soon(store_count() == 4, 2000);
}

/* Nothing is taken from the supervisor: it may be a restart. */
static void test_a_keeper_is_killed_at_the_point_of_its_end_with_a_supervisor(void)
{
    if (!KMEMD_WITH_SYSTEMD) {
        harness_skip("kmemd was built without libsystemd");
    }
    armed_begin();
    store_open();
    start_supervised();
    arm(&moment_of_end);
    expect_call(kill(daemon_pid(), SIGTERM) == 0);
    expect_soon(has_ended(daemon_pid()), 5000);
    expect_fired(&moment_of_end);
    daemon_kill(); /* it is dead: reaps it */
    expect_equal(store_count(), 4);
    expect_next_keeper();
}

static const struct moment moments_of_emptying[] = {
    {"keeper.emptying", 1, "the supervisor has all but the segment", NULL},
    {"keeper.emptying", 2, "it has the clock and the listener", NULL},
    {"keeper.emptying", 3, "it has the listener", NULL},
};

/* A start that gives up what was kept, since another size is wanted and no client lives. */
static void test_a_keeper_is_killed_while_it_takes_the_files_back(void)
{
    if (!KMEMD_WITH_SYSTEMD) {
        harness_skip("kmemd was built without libsystemd");
    }
    const size_t n = sizeof(moments_of_emptying) / sizeof(moments_of_emptying[0]);
    for (size_t i = 0; i < n; i++) {
        armed_begin();
        store_open();
        start_supervised();
        daemon_kill();
        arm(&moments_of_emptying[i]);
        struct daemon_setting setting = store_setting();
        setting.program = program();
        const struct daemon_end end =
            daemon_try(&setting, OPTIONS("--name", "test", "--size", "32MiB", "--socket",
                                         harness_path("test.sock")));
        expect_equal(end.exit_status, 128 + SIGKILL);
        expect_fired(&moments_of_emptying[i]);
        expect_equal(store_count(), 3 - i);
        expect_next_keeper();
    }
}

/* Without a supervisor. */
static void test_a_keeper_is_killed_at_the_point_of_its_end(void)
{
    const struct daemon_setting setting = {.program = program()};
    armed_begin();
    daemon_start_as(&setting, OPTIONS(NULL));
    arm(&moment_of_end);
    expect_call(kill(daemon_pid(), SIGTERM) == 0);
    expect_soon(armed_has_fired(), 5000);
    daemon_kill();
    daemon_start_as(&setting, OPTIONS(NULL));
    expect_usage(0, 0);
    daemon_stop();
}

static const struct system_test tests[] = {
    SYSTEM_TEST(test_a_keeper_is_killed_at_each_point_of_its_start, 60),
    SYSTEM_TEST(test_a_keeper_is_killed_while_it_gives_its_supervisor_the_files, 60),
    SYSTEM_TEST(test_a_keeper_is_killed_at_each_point_of_its_life, 60),
    SYSTEM_TEST(test_a_keeper_is_killed_at_the_point_of_its_end_with_a_supervisor, 60),
    SYSTEM_TEST(test_a_keeper_is_killed_while_it_takes_the_files_back, 60),
    SYSTEM_TEST(test_a_keeper_is_killed_at_the_point_of_its_end, 20),
};

int main(int argc, char **argv)
{
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}

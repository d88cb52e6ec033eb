/* SPDX-License-Identifier: MIT */
/*
 * points.c - a process is killed, stopped or signalled at each of its crash points
 *
 * Each scene has a daemon of its own and four clients: the player (scene.h), who comes to every
 * point; a hog, whose unused pages are revoked; a holder, whose blocks and lease must outlive it
 * all; and whoever asks. Afterwards the ledger is sound, the holder has what it had, no server has
 * died but by what the test did, and when all are gone the daemon is as it was at the start. A
 * scene in which the point was not met fails.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include <kmem/kmem.h>

#include "tests/crash/armed.h"
#include "tests/crash/scene.h"
#include "tests/system/client.h"
#include "tests/system/daemon.h"
#include "tests/system/deaths.h"
#include "tests/system/harness.h"
#include "tests/system/holder.h"
#include "tests/system/usage.h"

/* For servers that are stopped: long for one that only waits for its turn on a busy machine. */
#define WATCHDOG_S "2"
/* For all others: so that nobody is replaced but by what the test does. */
#define PATIENT_WATCHDOG_S "60"

/* The moments of a client, and which time the player comes there. */
static const struct moment {
    const char *point;
    int nth;
    const char *what;
} client_moments[] = {
    {"client.connected", 1, "connect, before Hello"},
    {"client.sent", 1, "Hello sent, descriptors unread"},
    {"client.answered", 1, "descriptors read"},
    {"client.welcomed", 1, "descriptors read, not mapped"},
    {"client.settled", 1, "joined, nothing asked"},
    {"client.sent", 2, "direct block asked for, answer unread"},
    {"client.answered", 2, "direct block given, pointer not returned"},
    {"client.sent", 3, "direct block given back, answer unread"},
    {"client.sent", 4, "lease request sent, answer unread"},
    {"client.answered", 4, "lease granted, answer not used"},
    {"client.leased", 1, "lease granted, not yet used"},
    {"client.leased", 2, "lease granted, an earlier one in use"},
    {"client.slab.pages", 1, "pages taken, slab not open"},
    {"client.slab.open", 1, "slab open, no block in it"},
    {"client.block.taken", 1, "before the ledger entry"},
    {"client.entry.half", 1, "entry half written"},
    {"client.entry.complete", 1, "entry complete, pointer not yet returned"},
    {"client.entry.half", 30, "entry of a used place half written"},
    {"client.release.begun", 1, "in a release, before the entry"},
    {"client.release.retired", 1, "in the middle of a release"},
    {"client.slab.closed", 1, "slab closed, pages not given back"},
    {"client.large.pages", 1, "pages of a large block taken"},
    {"client.large.open", 1, "large block open, not entered"},
    {"client.large.entered", 1, "large block entered, pointer not yet returned"},
    {"client.large.retired", 1, "large block retired, not closed"},
    {"client.large.closed", 1, "large block closed, pages not given back"},
    {"client.remote.retired", 1, "another thread's block retired, not kept"},
    {"client.remote.pushed", 1, "another thread's blocks pushed, thread not told"},
    {"client.remote.collected", 1, "a block from another thread half collected"},
    {"client.slab.contested", 1, "block entered, its slab not looked at, and not lost"},
    {"client.slab.kept", 1, "slab looked at and kept, pointer not yet returned"},
    {"client.slab.contested", 2, "block entered, its slab not looked at, and lost"},
    {"client.slab.lost", 1, "idle slab taken, its block still entered"},
    {"client.slab.withdrawn", 1, "idle slab taken, block withdrawn, slab not forgotten"},
    {"client.slab.forgotten", 1, "idle slab forgotten, no block given yet"},
    {"client.share.marked", 1, "block marked as shared, not asked for"},
    {"client.share.asked", 1, "sharing to be asked for, not sent"},
    {"client.share.answered", 1, "sharing answered, not noted"},
    {"client.share.answered", 3, "published, not noted"},
    {"client.share.home", 1, "a shared block is home, not yet released"},
    {"client.resuming", 1, "the server has died, reconnect begun"},
    {"client.resumed", 1, "during reconnect, welcomed"},
    {"client.leaving", 1, "before Goodbye"},
    {"client.sent", 22, "late in its life, answer unread"},
};

static const struct moment server_moments[] = {
    {"server.accepted", 1, "accept, before the credentials check"},
    {"server.joined", 1, "slot written, ledger file not made"},
    {"server.ledger.made", 1, "ledger made, not handed to the keeper"},
    {"server.ledger.kept", 1, "handed over, descriptors not sent"},
    {"server.answering", 1, "an answer made, not sent"},
    {"server.answered", 1, "an answer sent"},
    {"server.allocate.intended", 1, "direct block intended, not carved"},
    {"server.allocate.carved", 1, "direct block carved, not answered"},
    {"server.allocate.carved", 4, "one of many carved, not answered"},
    {"server.release.intended", 1, "release intended, not done"},
    {"server.release.done", 1, "release done, not answered"},
    {"server.lease.intended", 1, "lease intended, no page word written"},
    {"server.lease.committed", 1, "page words written, client's states not"},
    {"server.lease.granted", 1, "lease granted, answer not sent"},
    {"server.pages.revoked", 1, "page revoked, table not updated"},
    {"server.pages.free", 1, "page free, client's state not yet"},
    {"server.pages.free", 2, "some pages free, others to follow"},
    {"server.slabs.asked", 1, "idle slabs asked for, entries not read"},
    {"server.slabs.fenced", 1, "idle slabs asked for, barrier made, entries not read"},
    {"server.slab.seized", 1, "idle slab's pages revoked, table not updated"},
    {"server.slab.seized", 2, "some idle slabs taken, others asked for"},
    {"server.share.made", 1, "a share recorded, not answered"},
    {"server.transfer.intended", 1, "an offer intended, not made"},
    {"server.offer.ended", 1, "an offer taken up, not answered"},
    {"server.publish.intended", 1, "a version taken, the name not set"},
    {"server.name.set", 1, "a name set, what it meant before not settled"},
    {"server.published", 1, "the name set, no bell rung"},
    {"server.publish.gives", 1, "the name set, its publisher still holds the block"},
    {"server.next.intended", 1, "the newer block to be held, not yet held"},
    {"server.share.left", 2, "its owner has let go, a name has not"},
    {"server.unpublish.intended", 1, "a name to go, still there"},
    {"server.name.gone", 1, "a name gone, what it meant not settled"},
    {"server.return.numbered", 1, "a block to go home has its number"},
    {"server.return.put", 1, "it has gone home, its record is not free"},
    {"server.goodbye", 1, "Goodbye noted, nothing reclaimed"},
    {"server.reap.direct", 1, "reclaim of direct blocks begun"},
    {"server.reap.lease", 1, "reclaim half done: direct blocks, no lease"},
    {"server.reap.lease", 2, "reclaim half done: one lease of some"},
    {"server.obituary.written", 1, "all reclaimed, slot in use"},
    {"server.finalized", 1, "slot free, ledger and pidfd still kept"},
    {"server.locked", 1, "recovery: state locked"},
    {"server.recover.begun", 1, "recovery: state checked"},
    {"server.recover.clients", 1, "recovery: clients found"},
    {"server.recover.runs", 1, "recovery: all counted"},
    {"server.recovered", 1, "recovery: listening, keeper not told"},
    {"server.ready", 1, "recovery: over"},
    {"server.returning", 1, "asked on a way back, the connection made, not sent"},
    {"server.returned", 1, "the connection sent"},
};

/* A daemon of this program's build with crash points, and who else is there. */
struct stage {
    struct client holder;
    struct client hog;
    struct client player;
};

static struct stage stage_open(const char *watchdog_s)
{
    struct stage stage;
    armed_begin();
    daemon_start_as(&(struct daemon_setting){.program = harness_program("kmemd_points")},
                    OPTIONS("--watchdog", watchdog_s));
    stage.holder = holder_start();
    stage.hog = client_start(scene_hog, NULL);
    expect_equal(client_hear(&stage.hog), 1);
    stage.player = client_start(scene_play, NULL);
    return stage;
}

static void stage_close(struct stage *stage, const struct moment *moment)
{
    if (!armed_has_fired()) {
        fail("\"%s\" (%s) was not met %d times", moment->point, moment->what, moment->nth);
    }
    expect_soon(usage_take().blocks == HELD_BLOCKS, 2000);
    holder_expect_held(&stage->holder);
    client_finish(&stage->hog);
    holder_end(&stage->holder);
    daemon_stop();
}

static void arm(const struct moment *moment, const char *action, int value, pid_t pid)
{
    struct armed armed = {.nth = moment->nth, .value = value, .pid = pid};
    (void)snprintf(armed.point, sizeof(armed.point), "%s", moment->point);
    (void)snprintf(armed.action, sizeof(armed.action), "%s", action);
    armed_set(&armed);
}

typedef void (*play_function)(const struct moment *moment);

static void play_each_of_client(play_function play)
{
    for (size_t i = 0; i < sizeof(client_moments) / sizeof(client_moments[0]); i++) {
        play(&client_moments[i]);
    }
}

static void play_each_of_server(play_function play)
{
    for (size_t i = 0; i < sizeof(server_moments) / sizeof(server_moments[0]); i++) {
        play(&server_moments[i]);
    }
}

/* What else than a kill can happen to a server at a moment. */
enum event { STANDS_STILL, IS_SLOW, IS_TOLD_TO_END, IS_HUNG_UP, IS_SIGNALLED, N_EVENTS };

/* A sanitizer looks at the same code, and takes several times as long: there each moment has a kill
 * and one of these events, in a release each of them. */
static void play_event(enum event event, play_function play)
{
    const size_t step = HARNESS_SANITIZED ? N_EVENTS : 1;
    for (size_t i = event % step; i < sizeof(server_moments) / sizeof(server_moments[0]);
         i += step) {
        play(&server_moments[i]);
    }
}

/* ----------------------------------------------------------------------------- the client ---- */

static void player_ends(struct stage *stage)
{
    expect_equal(client_hear(&stage->player), 2);
    client_finish(&stage->player);
}

/* The scene kills one, if it gets that far. */
static void expect_no_server_to_die_of_it(void)
{
    const struct deaths deaths = deaths_count();
    expect_at_most(deaths.n, 1);
    expect_equal(deaths.n_kills, deaths.n);
}

static void play_killed_client(const struct moment *moment)
{
    struct stage stage = stage_open(PATIENT_WATCHDOG_S);
    arm(moment, "kill", 0, stage.player.pid);
    client_tell(&stage.player, 1);
    client_try_tell(&stage.player, 1); /* the point may lie behind the place where it waits */
    client_end_by(&stage.player, SIGKILL);
    expect_no_server_to_die_of_it();
    stage_close(&stage, moment);
}

static void test_a_client_is_killed_at_each_of_its_points(void)
{
    play_each_of_client(play_killed_client);
    expect_true(armed_has_fired());
}

/* A block that was not there before: the daemon serves others. */
static void take_a_megabyte(const void *argument)
{
    (void)argument;
    void *block = kmem_try_allocate(1 << 20, "meanwhile");
    expect_true(block != NULL);
    expect_equal(kmem_try_release(&block), 0);
}

static void play_stopped_client(const struct moment *moment)
{
    struct stage stage = stage_open(PATIENT_WATCHDOG_S);
    const id_t pid = (id_t)stage.player.pid;
    siginfo_t info;
    arm(moment, "stop", 0, stage.player.pid);
    client_tell(&stage.player, 1);
    client_tell(&stage.player, 1); /* the point may lie behind the place where it waits */
    expect_call(waitid(P_PID, pid, &info, WSTOPPED | WEXITED | WNOWAIT) == 0);
    expect_equal(info.si_code, CLD_STOPPED);
    client_run(take_a_megabyte, NULL);
    client_continue(&stage.player);
    expect_equal(client_hear(&stage.player), 1);
    player_ends(&stage);
    expect_no_server_to_die_of_it();
    stage_close(&stage, moment);
}

static void test_a_client_stands_still_at_each_of_its_points(void)
{
    play_each_of_client(play_stopped_client);
    expect_true(armed_has_fired());
}

/* ----------------------------------------------------------------------------- the server ---- */

static void play_server(const struct moment *moment, const char *action, int value)
{
    struct stage stage = stage_open(strcmp(action, "stop") == 0 ? WATCHDOG_S : PATIENT_WATCHDOG_S);
    arm(moment, action, value, 0);
    client_tell(&stage.player, 1);
    expect_equal(client_hear(&stage.player), 1);
    expect_usage(HELD_BYTES + SCENE_BLOCKS * SCENE_BLOCK_BYTES, HELD_BLOCKS + SCENE_BLOCKS);
    client_tell(&stage.player, 1);
    player_ends(&stage);
    /* A server that dies of itself is followed by another, and nobody would notice. */
    if (strcmp(action, "stop") != 0) {
        expect_only_kills(strcmp(action, "kill") == 0 ? 2 : 1); /* one is the scene's */
    }
    stage_close(&stage, moment);
}

static void play_killed_server(const struct moment *moment)
{
    play_server(moment, "kill", 0);
}

static void test_a_server_is_killed_at_each_of_its_points(void)
{
    play_each_of_server(play_killed_server);
    expect_true(armed_has_fired());
}

static void play_stopped_server(const struct moment *moment)
{
    play_server(moment, "stop", 0);
}

static void test_a_server_stands_still_at_each_of_its_points(void)
{
    play_event(STANDS_STILL, play_stopped_server);
    expect_true(armed_has_fired());
}

static void play_slow_server(const struct moment *moment)
{
    play_server(moment, "delay", 100);
}

static void test_a_server_is_slow_at_each_of_its_points(void)
{
    play_event(IS_SLOW, play_slow_server);
    expect_true(armed_has_fired());
}

static void play_terminated_server(const struct moment *moment)
{
    play_server(moment, "raise", SIGTERM);
}

static void test_a_server_is_told_to_end_at_each_of_its_points(void)
{
    play_event(IS_TOLD_TO_END, play_terminated_server);
    expect_true(armed_has_fired());
}

static void play_hung_up_server(const struct moment *moment)
{
    play_server(moment, "raise", SIGHUP);
}

static void test_a_server_is_hung_up_at_each_of_its_points(void)
{
    play_event(IS_HUNG_UP, play_hung_up_server);
    expect_true(armed_has_fired());
}

static void play_signalled_server(const struct moment *moment)
{
    play_server(moment, "raise", SIGUSR1);
}

static void test_a_server_is_signalled_at_each_of_its_points(void)
{
    play_event(IS_SIGNALLED, play_signalled_server);
    expect_true(armed_has_fired());
}

static const struct system_test tests[] = {
    SYSTEM_TEST(test_a_client_is_killed_at_each_of_its_points, 120),
    SYSTEM_TEST(test_a_client_stands_still_at_each_of_its_points, 120),
    SYSTEM_TEST(test_a_server_is_killed_at_each_of_its_points, 120),
    SYSTEM_TEST(test_a_server_stands_still_at_each_of_its_points, 240),
    SYSTEM_TEST(test_a_server_is_slow_at_each_of_its_points, 120),
    SYSTEM_TEST(test_a_server_is_told_to_end_at_each_of_its_points, 120),
    SYSTEM_TEST(test_a_server_is_hung_up_at_each_of_its_points, 120),
    SYSTEM_TEST(test_a_server_is_signalled_at_each_of_its_points, 120),
};

int main(int argc, char **argv)
{
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}

/* SPDX-License-Identifier: MIT */
/*
 * scrub_points.c - server or scrubber is killed, or stands still, at each moment of clearing
 *
 * What a dead client had is being cleared. Afterwards all of it is zero, nobody has been given a
 * page that was written to later, and the last megabyte is there again.
 */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <kmem/kmem.h>

#include "proto/limits.h"
#include "tests/crash/armed.h"
#include "tests/system/blocks.h"
#include "tests/system/client.h"
#include "tests/system/daemon.h"
#include "tests/system/deaths.h"
#include "tests/system/harness.h"
#include "tests/system/usage.h"

#define WATCHDOG_S "2"
#define PATIENT_WATCHDOG_S "60"

static const struct moment {
    const char *point;
    int nth;
    const char *what;
} moments[] = {
    {"server.scrub.begun", 1, "pages taken for clearing, nothing ordered"},
    {"server.scrub.begun", 3, "some cleared, the next taken"},
    {"scrubber.ordered", 1, "ordered, nothing written"},
    {"scrubber.done", 1, "written, not answered"},
    {"scrubber.done", 5, "some cleared, one more written"},
    {"server.scrub.done", 1, "answered, not known to be zero yet"},
    {"server.scrub.free", 2, "free and known to be zero"},
};

static void take_everything(const void *argument)
{
    (void)argument;
    const unsigned char *block = NULL;
    /* A piece that was cleared is not free yet, and a request waits half a second for it. */
    expect_soon((block = kmem_try_allocate(15 * DIRTY_BYTES, "everything")) != NULL, 5000);
    for (size_t at = 0; at < 15 * DIRTY_BYTES; at++) {
        expect_equal(block[at], 0);
    }
}

static size_t count_not_zero(void)
{
    struct stat status;
    size_t n_not_zero = 0;
    const int fd = daemon_open_memfd("segment");
    expect_call(fstat(fd, &status) == 0);
    unsigned char *const segment = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_SHARED, fd, 0);
    expect_call(segment != MAP_FAILED);
    for (size_t at = PAGE_BYTES; at < (size_t)status.st_size; at++) {
        n_not_zero += segment[at] != 0;
    }
    (void)munmap(segment, (size_t)status.st_size);
    (void)close(fd);
    return n_not_zero;
}

static void arm(const struct moment *moment, const char *action, int value)
{
    struct armed armed = {.nth = moment->nth, .value = value};
    (void)snprintf(armed.point, sizeof(armed.point), "%s", moment->point);
    (void)snprintf(armed.action, sizeof(armed.action), "%s", action);
    armed_set(&armed);
}

static void play(const struct moment *moment, const char *action, int value)
{
    const bool is_servers = strncmp(moment->point, "server.", strlen("server.")) == 0;
    const bool stops = strcmp(action, "stop") == 0;
    armed_begin();
    daemon_start_as(&(struct daemon_setting){.program = harness_program("kmemd_points")},
                    OPTIONS("--watchdog", stops ? WATCHDOG_S : PATIENT_WATCHDOG_S));
    struct client client = client_begin(fill, NULL);
    arm(moment, action, value);
    client_kill(&client);
    expect_soon(armed_has_fired(), 20000);
    expect_soon(daemon_server_pid() != 0 && count_not_zero() == 0, 20000);
    client_run(take_everything, NULL);
    if (!stops) {
        expect_only_kills(is_servers && strcmp(action, "kill") == 0 ? 1 : 0);
    }
    daemon_expect_crashes();
    daemon_stop();
}

static void play_each(const char *action, int value, bool with_scrubber)
{
    for (size_t i = 0; i < sizeof(moments) / sizeof(moments[0]); i++) {
        if (with_scrubber || strncmp(moments[i].point, "scrubber.", strlen("scrubber.")) != 0) {
            play(&moments[i], action, value);
        }
    }
}

static void test_server_or_scrubber_is_killed_at_each_moment_of_clearing(void)
{
    play_each("kill", 0, true);
    expect_true(armed_has_fired());
}

/* The watchdog's; one that stands still with a scrubber that goes on writing. */
static void test_a_server_stands_still_at_each_moment_of_clearing(void)
{
    play_each("stop", 0, false);
    expect_true(armed_has_fired());
}

/* Longer than a request waits for what is being cleared. */
static void test_server_or_scrubber_is_slow_at_each_moment_of_clearing(void)
{
    play_each("delay", 700, true);
    expect_true(armed_has_fired());
}

static const struct system_test tests[] = {
    SYSTEM_TEST(test_server_or_scrubber_is_killed_at_each_moment_of_clearing, 120),
    SYSTEM_TEST(test_a_server_stands_still_at_each_moment_of_clearing, 120),
    SYSTEM_TEST(test_server_or_scrubber_is_slow_at_each_moment_of_clearing, 120),
};

int main(int argc, char **argv)
{
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}

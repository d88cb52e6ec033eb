/* SPDX-License-Identifier: MIT */
/*
 * sharing_points.c - the server is killed at each place of each thing that it does about shares
 *
 * A place is a store that outlives the server, or a crash point between two of them. Each scene is
 * played again for each place, up to there; another core goes on with what is left, and is killed
 * at each place of its own start; the next one finds everything sound. Then who has had no answer
 * asks again, and what must be true when the scene is over is true: nothing is freed twice, given
 * to two, or lost. A crash point of the table that no scene meets fails.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "proto/crash_point.h"
#include "proto/store.h"
#include "tests/crash/sharing_scenes.h"

#define NEVER UINT32_MAX

/* ------------------------------------------------------------------------------ the killer ---- */

static struct point {
    const char *name;
    const char *what;
    bool is_met;
} points[] = {
    {"server.share.made", "a share is recorded, not answered", false},
    {"server.share.left", "its owner or a holder has let go, what follows is not done", false},
    {"server.share.charged", "another client is charged", false},
    {"server.share.freed", "its block is free, its record is not", false},
    {"server.share.offered", "it is offered, who offers it holds it still", false},
    {"server.attach.written", "a share is noted as written, the hold that is to is not", false},
    {"server.attach.held", "a hold is recorded, nothing is charged for it", false},
    {"server.offer.ended", "an offer is taken up, who made it holds it still", false},
    {"server.name.set", "a name is published, what it meant before is not settled", false},
    {"server.name.gone", "a name is taken away, what it meant is not settled", false},
    {"server.return.numbered", "a block is to go home, and has its number", false},
    {"server.return.put", "it has gone home, its record is not free", false},
    {"server.reap.name", "an ended client's name is gone", false},
    {"server.reap.hold", "an ended client's hold is gone", false},
    {"server.reap.disowned", "an ended client's direct block is nobody's", false},
    {"server.adopt.prepared", "a slab is to be adopted: its heads are written", false},
    {"server.adopt.entered", "and its entries", false},
    {"server.adopt.turned", "its pages are direct, its shares say leased", false},
    {"server.adopt.shared", "one of its shares says direct", false},
    {"server.recover.shared", "recovery: what is shared is settled", false},
};

static jmp_buf killed;
static uint32_t kill_at = NEVER;
static uint32_t n_places;
static uint64_t n_kills;

static void place(void)
{
    if (n_places++ == kill_at) {
        kill_at = NEVER;
        n_kills++;
        longjmp(killed, 1);
    }
}

void store_hook(void)
{
    place();
}

/* A plain copy may be cut anywhere. */
void store_prepare_bytes(void *where, const void *bytes, size_t n_bytes)
{
    const size_t half = n_bytes / 2;
    place();
    memcpy(where, bytes, half);
    place();
    memcpy((unsigned char *)where + half, (const unsigned char *)bytes + half, n_bytes - half);
}

void crash_point(const char *name)
{
    for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
        points[i].is_met = points[i].is_met || strcmp(points[i].name, name) == 0;
    }
    place();
}

/* ----------------------------------------------------------------------------- the killing ---- */

/* Return: whether it was stopped. */
static bool is_stopped(uint32_t at, void (*perform)(void))
{
    n_places = 0;
    kill_at = at;
    if (setjmp(killed) != 0) {
        return true;
    }
    perform();
    kill_at = NEVER;
    return false;
}

static void restart(void)
{
    char why[FIXTURE_WHY_BYTES];
    if (fixture_restart(&fixture, why) != 0) {
        fail_msg("%s", why);
    }
}

/* Up to place k of the scene, and place j of the next server's start. Return: what was stopped. */
static bool play(const struct scene *scene, uint32_t k, uint32_t j, bool *ret_start_stopped)
{
    scene_begin();
    scene->set();
    assert_int_equal(core_check(core), 0);
    const bool stopped = is_stopped(k, scene->perform);
    is_told = !stopped;
    *ret_start_stopped = is_stopped(j, restart);
    if (*ret_start_stopped) {
        restart();
    }
    while (core_has_dead(core)) {
        fixture_reap(&fixture, 100);
        assert_int_equal(core_check(core), 0);
    }
    if (stopped) {
        scene->perform();
    }
    assert_int_equal(core_check(core), 0);
    scene->want();
    assert_int_equal(core_check(core), 0);
    fixture_fini(&fixture);
    return stopped;
}

static void test_sharing_at_each_place(void **state)
{
    (void)state;
    for (size_t i = 0; i < n_scenes; i++) {
        const uint64_t n_before = n_kills;
        bool stopped = true;
        for (uint32_t k = 0; stopped; k++) {
            bool start_stopped = true;
            for (uint32_t j = 0; start_stopped; j++) {
                stopped = play(&scenes[i], k, j, &start_stopped);
            }
        }
        print_message("%s: killed %llu times\n", scenes[i].name,
                      (unsigned long long)(n_kills - n_before));
        assert_true(n_kills - n_before >= 4);
    }
}

static void test_sharing_meets_each_point(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
        if (!points[i].is_met) {
            fail_msg("\"%s\" (%s) was not met", points[i].name, points[i].what);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sharing_at_each_place),
        cmocka_unit_test(test_sharing_meets_each_point),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

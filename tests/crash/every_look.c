/* SPDX-License-Identifier: MIT */
/*
 * every_look.c - the daemon is killed before each store of a look for the history
 *
 * Reasons come and go, more than there are places. Each look is made once as it should be; then,
 * for every k, again from the same state and stopped before its k-th store, and another server
 * makes its history of what is in the file. Whatever that tells must have been so: each figure of a
 * point is what the reason had at that time, by a model that has never heard of rings. No other
 * points are missing than the second and the minute that were overwritten.
 *
 * Usage: crash_every_look [LOOKS [SEED]]. Prints the seed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/core/scan.h"
#include "proto/store.h"
#include "tests/unit/fixture.h"

#define NEVER UINT64_MAX
#define N_PAGES 256
#define N_REASONS 60
#define N_SECONDS 4096
#define BEGAN_MS (FIXTURE_BORN_MS / 60000 * 60000 + 60000)

static jmp_buf killed;
static uint64_t kill_at = NEVER;
static uint64_t n_stores;
static uint64_t n_crashes;
static uint64_t n_told;
static struct fixture fixture;
static struct client *client;
static struct seeded seeded;
static struct seg_off held[N_REASONS];
static uint64_t sizes[N_REASONS];
static uint64_t was[N_SECONDS][N_REASONS]; /* bytes by reason, by seconds since BEGAN_MS */

#define EXPECT(condition)                                                                          \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            (void)fprintf(stderr, "line %d: not true: %s\n", __LINE__, #condition);                \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

void store_hook(void)
{
    if (n_stores++ == kill_at) {
        kill_at = NEVER;
        longjmp(killed, 1);
    }
}

/* A plain copy may be cut anywhere; nothing may depend on where. */
void store_prepare_bytes(void *where, const void *bytes, size_t n_bytes)
{
    const size_t half = n_bytes / 2;
    store_hook();
    memcpy(where, bytes, half);
    store_hook();
    memcpy((unsigned char *)where + half, (const unsigned char *)bytes + half, n_bytes - half);
}

static uint32_t reason_number(const struct state_series *series)
{
    char text[REASON_MAX_BYTES + 1] = {0};
    memcpy(text, series->text, series->n_bytes);
    EXPECT(strncmp(text, "reason/", 7) == 0);
    return (uint32_t)strtoul(text + 7, NULL, 10);
}

static uint64_t second_of(const struct state_point *point)
{
    return (point->at_ms - BEGAN_MS) / 1000;
}

static void check_point(const struct history *history, const struct state_point *point)
{
    for (uint32_t place = 0; place < HISTORY_SERIES; place++) {
        if (history_has(history, point, place)) {
            const uint32_t reason = reason_number(&history->series[place]);
            EXPECT(FIGURE_BYTES(point->last[place]) == was[second_of(point)][reason]);
            EXPECT(FIGURE_BYTES(point->most[place]) >= FIGURE_BYTES(point->last[place]));
            n_told++;
        }
    }
    uint64_t num_bytes = 0;
    for (uint32_t reason = 0; reason < N_REASONS; reason++) {
        num_bytes += was[second_of(point)][reason];
    }
    EXPECT(point->num_bytes == num_bytes);
}

/* Each point that is told was so. Return: how many there are. */
static uint32_t check_ring(const struct history *history, const struct history_ring *ring)
{
    uint32_t n_points = 0;
    const struct state_point *point = history_next(ring, 0);
    for (; point; point = history_next(ring, state_load(&point->number) + 1)) {
        check_point(history, point);
        n_points++;
    }
    return n_points;
}

/* Another server reads what this one left. Return: how many points it tells. */
static uint32_t check_left(void)
{
    struct history next;
    struct state_point minute;
    history_init(&next, &fixture.core.state);
    history_recover(&next);
    EXPECT(history_check(&next) == 0);
    if (history_open_minute(&next, &minute)) {
        check_point(&next, &minute);
    }
    return check_ring(&next, &next.seconds) + check_ring(&next, &next.minutes);
}

static void step(void)
{
    char reason[32];
    for (uint32_t i = 0; i < 4; i++) {
        const uint32_t number = seeded_below(&seeded, N_REASONS);
        if (sizes[number] > 0) {
            fixture_release(&fixture, client, held[number]);
            sizes[number] = 0;
        } else {
            (void)snprintf(reason, sizeof(reason), "reason/%u", number);
            sizes[number] = 1 + seeded_below(&seeded, 10000);
            held[number] = fixture_allocate(&fixture, client, sizes[number], reason);
        }
    }
    fixture.now_ms += 1000 * (uint64_t)(1 + seeded_below(&seeded, 6));
}

/* Return: false: it was stopped. */
static bool note(struct history *history, struct scan *scan, uint64_t at)
{
    struct history_look look = scan->look;
    n_stores = 0;
    kill_at = at;
    if (setjmp(killed) != 0) {
        n_crashes++;
        return false;
    }
    EXPECT(history_note(history, scan->rollup, &look));
    kill_at = NEVER;
    return true;
}

static void look_and_crash(void)
{
    static unsigned char *image;
    struct scan_reader reader = {.uid = 0};
    struct history *history = &fixture.core.history;
    struct scan *scan = fixture_scan(&fixture, &reader, SCAN_BY_REASON);
    const struct history before = *history;
    image = image ? image : malloc(fixture.state_bytes);
    EXPECT(image != NULL);
    memcpy(image, fixture.state_base, fixture.state_bytes);
    memcpy(was[(scan->look.at_ms - BEGAN_MS) / 1000], sizes, sizeof(sizes));
    const uint32_t n_before = check_left();
    bool is_done = false;
    for (uint64_t k = 0; !is_done; k++) {
        memcpy(fixture.state_base, image, fixture.state_bytes);
        *history = before;
        is_done = note(history, scan, k);
        EXPECT(check_left() + 2 >= n_before); /* a second and a minute are overwritten */
    }
    scans_leave(&fixture.core.scans, &reader);
}

int main(int argc, char **argv)
{
    const uint64_t n_looks = argc > 1 ? strtoull(argv[1], NULL, 10) : 100;
    const uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 20261130;
    printf("%llu looks, seed %llu\n", (unsigned long long)n_looks, (unsigned long long)seed);
    seeded = (struct seeded){.state = seed};
    fixture_init(&fixture, N_PAGES, 10);
    client = fixture_join(&fixture, 1);
    fixture.now_ms = BEGAN_MS;
    for (uint64_t i = 0; i < n_looks; i++) {
        step();
        look_and_crash();
    }
    printf("%llu times stopped, %llu figures compared\n", (unsigned long long)n_crashes,
           (unsigned long long)n_told);
    fixture_end(&fixture, client, true);
    fixture_fini(&fixture);
    return n_crashes == 0 || n_told == 0;
}

/* SPDX-License-Identifier: MIT */
#include "tests/torture/crew.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "tests/system/harness.h"

/* A call of a worker that hangs fails by itself after 30 s: crew_check(). */
#define PARK_LIMIT_MS 2000

static void place_fill(struct crew *crew, uint32_t number)
{
    /* Threads in every other place. */
    const uint32_t n_threads = number % 2 == 0 ? 1 : 1 + seeded_below(&crew->seeded, 3);
    const uint64_t key = seeded_next(&crew->seeded);
    oracle_begin(&crew->world->oracles[number], key, seeded_next(&crew->seeded), n_threads);
    crew->clients[number] = client_start(worker_run, &crew->workers[number]);
    crew->n_started++;
}

void crew_init(struct crew *crew, uint64_t seed)
{
    *crew = (struct crew){.world = oracle_world(), .seeded = {seed}};
    crew->dead = malloc(CREW_DEAD_MAX * sizeof(*crew->dead));
    expect_call(crew->dead != NULL);
    for (uint32_t i = 0; i < ORACLE_WORKERS; i++) {
        crew->world->oracles[i].number = i;
        crew->workers[i] = (struct worker){crew->world, i};
        place_fill(crew, i);
    }
}

void crew_fini(struct crew *crew)
{
    free(crew->dead);
    crew->dead = NULL;
}

/* What it did goes to the sums; what it held is remembered until the next audit. */
static void bury(struct crew *crew, uint32_t number, pid_t pid)
{
    const struct oracle *const oracle = &crew->world->oracles[number];
    expect_true(crew->n_dead < CREW_DEAD_MAX);
    struct crew_dead *const dead = &crew->dead[crew->n_dead++];
    dead->pid = pid;
    dead->n_server_ends = crew->n_server_ends;
    oracle_add_up(oracle, &dead->estate);
    /* Relaxed: nobody writes them any more. */
    crew->n_steps += atomic_load_explicit(&oracle->n_steps, memory_order_relaxed);
    crew->n_leavings += atomic_load_explicit(&oracle->n_leavings, memory_order_relaxed);
}

void crew_kill(struct crew *crew, uint32_t number)
{
    struct client *const client = &crew->clients[number];
    const pid_t pid = client->pid;
    expect_call(kill(pid, SIGKILL) == 0);
    client_end_by(client, SIGKILL); /* one that had failed before ended otherwise */
    crew->n_killed++;
    bury(crew, number, pid);
    place_fill(crew, number);
}

void crew_check(struct crew *crew)
{
    for (uint32_t i = 0; i < ORACLE_WORKERS; i++) {
        siginfo_t info = {.si_pid = 0};
        expect_call(waitid(P_PID, (id_t)crew->clients[i].pid, &info, WEXITED | WNOHANG | WNOWAIT) ==
                    0);
        if (info.si_pid != 0) {
            fail("worker %u (pid %d) ended of itself: code %d, status %d", i,
                 (int)crew->clients[i].pid, info.si_code, info.si_status);
        }
    }
}

static bool is_parked(const struct oracle *oracle, uint32_t epoch)
{
    for (uint32_t i = 0; i < oracle->n_threads; i++) {
        /* Acquire: with the release of park(). */
        if (atomic_load_explicit(&oracle->parked_at[i], memory_order_acquire) != epoch) {
            return false;
        }
    }
    return true;
}

void crew_pause(struct crew *crew)
{
    /* Release: with the acquire of park(). */
    const uint32_t epoch =
        atomic_fetch_add_explicit(&crew->world->epoch, 1, memory_order_release) + 1;
    const uint64_t until_us = harness_deadline_us(PARK_LIMIT_MS);
    for (uint32_t i = 0; i < ORACLE_WORKERS; i++) {
        while (!is_parked(&crew->world->oracles[i], epoch)) {
            crew_check(crew);
            if (harness_now_us() > until_us) {
                fail("worker %u (pid %d) is still in a step", i, (int)crew->clients[i].pid);
            }
            harness_sleep_ms(1);
        }
    }
}

void crew_continue(struct crew *crew)
{
    /* Release: with the acquire of park(). */
    (void)atomic_fetch_add_explicit(&crew->world->epoch, 1, memory_order_release);
}

void crew_end(struct crew *crew)
{
    /* Release: with the acquire of lane_run(). */
    atomic_store_explicit(&crew->world->is_ending, true, memory_order_release);
    for (uint32_t i = 0; i < ORACLE_WORKERS; i++) {
        client_end(&crew->clients[i]);
    }
}

uint64_t crew_steps(const struct crew *crew)
{
    uint64_t n_steps = crew->n_steps;
    for (uint32_t i = 0; i < ORACLE_WORKERS; i++) {
        /* Relaxed: a figure. */
        n_steps += atomic_load_explicit(&crew->world->oracles[i].n_steps, memory_order_relaxed);
    }
    return n_steps;
}

/* SPDX-License-Identifier: MIT */
#include "tests/torture/campaign.h"

#include "tests/system/daemon.h"
#include "tests/system/harness.h"
#include "tests/system/usage.h"
#include "tests/torture/audit.h"
#include "tests/torture/crew.h"
#include "tests/torture/killer.h"

/* 30 ms between two events on average: workers do some hundred steps, and a server gets ready. */
#define PAUSE_MAX_MS 61
/* Some four seconds of work between two audits. */
#define EVENTS_PER_AUDIT 60

static void audit_now(struct audit *audit, struct crew *crew)
{
    crew_pause(crew);
    audit_run(audit, crew);
    crew_continue(crew);
}

static void say(const struct killer *killer, const struct audit *audit, const char *last)
{
    const struct crew *const crew = killer->crew;
    harness_note("audit %llu: %llu steps, %llu workers killed, %llu + %llu to go; last: %s",
                 (unsigned long long)audit->n_audits, (unsigned long long)crew_steps(crew),
                 (unsigned long long)crew->n_killed, (unsigned long long)killer->n_clients,
                 (unsigned long long)killer->n_servers, last);
}

static void strike_all(struct killer *killer, struct audit *audit)
{
    uint64_t n_events = 0;
    const char *last = "nothing";
    while (!killer_is_done(killer)) {
        harness_sleep_ms(seeded_below(&killer->seeded, PAUSE_MAX_MS));
        last = killer_strike(killer);
        crew_check(killer->crew);
        if (++n_events % EVENTS_PER_AUDIT == 0) {
            audit_now(audit, killer->crew);
            say(killer, audit, last);
        }
    }
    audit_now(audit, killer->crew);
    say(killer, audit, last);
}

static void sum_up(const struct killer *killer, const struct audit *audit)
{
    const struct crew *const crew = killer->crew;
    harness_note(
        "%llu steps (and %llu leavings) by %llu workers, %llu of them killed, %llu stopped "
        "for a while",
        (unsigned long long)crew_steps(crew), (unsigned long long)crew->n_leavings,
        (unsigned long long)crew->n_started, (unsigned long long)crew->n_killed,
        (unsigned long long)killer->n_stops);
    harness_note("%llu servers killed, %llu of them while they started; %llu replaced by the "
                 "watchdog",
                 (unsigned long long)killer->n_killed, (unsigned long long)killer->n_in_recovery,
                 (unsigned long long)killer->n_hangs);
    harness_note("%llu audits: %llu blocks, %llu MiB, %llu obituaries compared; the ledger was "
                 "right after at most %llu ms",
                 (unsigned long long)audit->n_audits, (unsigned long long)audit->n_blocks,
                 (unsigned long long)(audit->num_bytes >> 20),
                 (unsigned long long)audit->n_obituaries, (unsigned long long)audit->longest_ms);
}

void campaign_run(const struct campaign *campaign)
{
    struct audit audit;
    struct crew crew;
    harness_note("seed %llu: %llu clients and %llu servers to be killed",
                 (unsigned long long)campaign->seed, (unsigned long long)campaign->n_clients,
                 (unsigned long long)campaign->n_servers);
    /* Without hangs, only the plan kills servers: a busy machine may keep one from its loop. */
    daemon_start("--size", "128MiB", "--watchdog", campaign->hangs ? "1" : "0", "--log-level",
                 "warning", NULL);
    audit_init(&audit);
    crew_init(&crew, campaign->seed);
    struct killer killer = {.crew = &crew,
                            .seeded = {~campaign->seed},
                            .n_clients = campaign->n_clients,
                            .n_servers = campaign->n_servers,
                            .hangs = campaign->hangs,
                            .hung_at_us = harness_now_us()};
    strike_all(&killer, &audit);
    /* Nobody was started anew but in the place of one that the killer had killed. */
    expect_equal(crew.n_killed, campaign->n_clients);
    expect_at_least(killer.n_killed, campaign->n_servers);
    expect_equal(crew.n_started, ORACLE_WORKERS + crew.n_killed);
    expect_at_least(crew_steps(&crew), 10 * campaign->n_clients);
    sum_up(&killer, &audit);
    crew_end(&crew);
    expect_balanced();
    expect_true(!harness_matches(daemon_log(), "safe mode|does not add up|refused the state"));
    crew_fini(&crew);
    audit_fini(&audit);
    daemon_stop();
}

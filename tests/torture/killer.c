/* SPDX-License-Identifier: MIT */
#include "tests/torture/killer.h"

#include <errno.h>
#include <signal.h>

#include <kmem/query.h>

#include "tests/system/daemon.h"
#include "tests/system/harness.h"

/* The keeper may wait a second before it starts the next server; a busy machine takes longer. */
#define SERVER_LIMIT_MS 20000
/* 8 s: a hang counts as a crash, and the keeper gives up on a server after ten in a minute. */
#define HANG_EVERY_US 8000000
/* More than the watchdog's time that the campaign sets. */
#define HANG_LIMIT_MS 20000

bool killer_is_done(const struct killer *killer)
{
    return killer->n_clients == 0 && killer->n_servers == 0;
}

/* A server answers: it has recovered. The plan goes on from there, or else few would ever serve. */
static bool is_answering(void)
{
    struct kmem_query *query;
    if (kmem_query_open(NULL, &query) != 0) {
        return false;
    }
    (void)kmem_query_close(query);
    return true;
}

/* 0: it was killed, and the keeper has not seen that yet; or there is none. */
static pid_t living_server(const struct killer *killer)
{
    const pid_t pid = daemon_server_pid();
    return pid == killer->last_server ? 0 : pid;
}

bool killer_kill_server(struct killer *killer)
{
    const pid_t pid = living_server(killer);
    if (pid == 0) {
        return false;
    }
    expect_call(kill(pid, SIGKILL) == 0);
    killer->last_server = pid;
    killer->n_servers -= killer->n_servers > 0;
    killer->n_killed++;
    if (killer->crew != NULL) {
        killer->crew->n_server_ends++;
    }
    return true;
}

static void kill_worker(struct killer *killer)
{
    if (killer->n_clients > 0) {
        crew_kill(killer->crew, seeded_below(&killer->seeded, ORACLE_WORKERS));
        killer->n_clients--;
    }
}

static const char *strike_several(struct killer *killer)
{
    const uint32_t n = 2 + seeded_below(&killer->seeded, 4);
    for (uint32_t i = 0; i < n; i++) {
        kill_worker(killer);
    }
    return "several workers killed";
}

/* A worker, and then who has taken its place: while it starts, connects, joins. */
static const char *strike_young(struct killer *killer)
{
    const uint32_t number = seeded_below(&killer->seeded, ORACLE_WORKERS);
    const uint64_t n = killer->n_clients < 4 ? killer->n_clients : 4;
    for (uint64_t i = 0; i < n; i++) {
        crew_kill(killer->crew, number);
        killer->n_clients--;
        harness_sleep_ms(seeded_below(&killer->seeded, 4));
    }
    return "a worker and its successors killed";
}

static const char *strike_stopped(struct killer *killer)
{
    const uint32_t number = seeded_below(&killer->seeded, ORACLE_WORKERS);
    client_stop(&killer->crew->clients[number]);
    harness_sleep_ms(5 + seeded_below(&killer->seeded, 60));
    killer->n_stops++;
    if (seeded_below(&killer->seeded, 2) == 0 && killer->n_clients > 0) {
        crew_kill(killer->crew, number);
        killer->n_clients--;
        return "a stopped worker killed";
    }
    client_continue(&killer->crew->clients[number]);
    return "a worker stopped for a while";
}

/* The next server too, at any place of its start. */
static const char *strike_recovery(struct killer *killer)
{
    (void)killer_kill_server(killer);
    const uint32_t n = 1 + seeded_below(&killer->seeded, 2);
    for (uint32_t i = 0; i < n && killer->n_servers > 0; i++) {
        expect_soon(living_server(killer) != 0, SERVER_LIMIT_MS);
        harness_sleep_ms(seeded_below(&killer->seeded, 12));
        killer->n_in_recovery += killer_kill_server(killer);
    }
    return "a server killed, and the next while it starts";
}

static const char *strike_both(struct killer *killer)
{
    (void)killer_kill_server(killer);
    kill_worker(killer);
    if (seeded_below(&killer->seeded, 2) == 0) {
        kill_worker(killer);
    }
    return "a server killed, and workers while there is none";
}

/* It neither dies nor answers: the watchdog's case. Workers die meanwhile. */
static const char *strike_hang(struct killer *killer)
{
    const pid_t pid = living_server(killer);
    killer->hung_at_us = harness_now_us();
    killer->n_hangs++;
    killer->crew->n_server_ends++;
    expect_call(pid > 0 && kill(pid, SIGSTOP) == 0);
    kill_worker(killer);
    expect_soon(daemon_server_pid() != pid, HANG_LIMIT_MS);
    return "a server stopped until the watchdog has replaced it";
}

static const char *strike_server(struct killer *killer)
{
    const uint32_t kind = seeded_below(&killer->seeded, 100);
    expect_soon(living_server(killer) != 0 && is_answering(), SERVER_LIMIT_MS);
    if (killer->hangs && harness_now_us() - killer->hung_at_us > HANG_EVERY_US) {
        return strike_hang(killer);
    }
    if (kind < 20) {
        return strike_recovery(killer);
    }
    if (kind < 45) {
        return strike_both(killer);
    }
    (void)killer_kill_server(killer);
    return "a server killed";
}

const char *killer_strike(struct killer *killer)
{
    const uint64_t n_left = killer->n_clients + killer->n_servers;
    const uint32_t kind = seeded_below(&killer->seeded, 100);
    if (seeded_next(&killer->seeded) % n_left < killer->n_servers) {
        return strike_server(killer);
    }
    if (kind < 8) {
        return strike_several(killer);
    }
    if (kind < 16) {
        return strike_young(killer);
    }
    if (kind < 26) {
        return strike_stopped(killer);
    }
    kill_worker(killer);
    return "a worker killed";
}

/* SPDX-License-Identifier: MIT */
/*
 * killer.h - kills and stops workers and servers after a plan that a seed decides
 *
 * What happens next is the seed's; at which instruction it meets its victim is the machine's.
 */
#ifndef TESTS_TORTURE_KILLER_H
#define TESTS_TORTURE_KILLER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "tests/torture/crew.h"
#include "tests/support/seeded.h"

struct killer {
    struct crew *crew;
    struct seeded seeded;
    uint64_t n_clients; /* still to be killed */
    uint64_t n_servers;
    bool hangs;          /* servers are stopped too, for the watchdog to find */
    uint64_t hung_at_us; /* the last time */
    pid_t last_server;   /* that was killed */
    uint64_t n_killed;   /* servers */
    uint64_t n_stops;
    uint64_t n_in_recovery; /* servers killed before they can have answered anybody */
    uint64_t n_hangs;
};

/** killer_is_done() - whether nobody is left to be killed */
bool killer_is_done(const struct killer *killer);

/** killer_strike() - the next event of the plan. Return: its name. */
const char *killer_strike(struct killer *killer);

/** killer_kill_server() - if there is one that was not killed yet. Return: whether there was. */
bool killer_kill_server(struct killer *killer);

#endif

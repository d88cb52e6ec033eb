/* SPDX-License-Identifier: MIT */
/*
 * test_policy_model.c - the keeper's policy in a world of random events
 *
 * The world has a server, an upgrade check, a starter and a service manager. Servers get ready,
 * hang, crash, refuse, are killed, obey; starts fail; signals come. The world carries the policy's
 * actions out and holds each against what kmemd(8) and docs/design.md promise, with a naive account
 * of its own. After every event the world is copied, and each copy must find its way out: to a
 * server that serves, or to an exit status that is documented.
 */
#include <stdio.h>

#include "daemon/keeper/policy.h"
#include "tests/support/seeded.h"
#include "tests/unit/unit.h"

#define N_SEEDS 12
#define N_STEPS 20000
#define CRASHES_MAX 1024
/* Turns that a way out may take: a check, a leave and three starts, with looks at the path. */
#define TURNS_MAX 40

enum mood { ANY, CRASHES, KILLS, REFUSALS, UPGRADES, N_MOODS };
enum server { NONE, STARTING, SERVING };

/* All of it is plain data: an assignment is a copy. */
struct world {
    struct policy policy;
    struct policy_facts facts;
    enum mood mood;
    uint64_t now;
    /* the server */
    enum server server;
    bool is_new_program; /* the server is of a program that has not served yet */
    bool is_silent;      /* it hangs */
    bool is_ordered;     /* the keeper told it to leave or to end */
    bool is_killed;      /* by the keeper */
    uint32_t n_unanswered;
    uint64_t started;
    /* the program on disk */
    bool is_checked; /* an upgrade check runs */
    bool is_trying;  /* the next server is of the new program, which has not served */
    bool check_is_killed;
    /* what is told, asked and lost */
    bool is_seen; /* a server got ready, or the segment was kept */
    bool ever_ready;
    bool said_ready;
    bool said_no_server;
    bool end_asked;
    bool end_leaves;
    bool gave_up;
    bool is_safe;
    /* the naive back-off */
    uint64_t start_due; /* when the next server is to be started, if none runs */
    uint32_t n_starts;
    uint32_t n_faults;
    uint32_t n_pauses; /* crashes since the last pause of 0 */
    uint32_t n_early;
    uint32_t n_crashes;
    uint64_t crashes[CRASHES_MAX];
};

static uint64_t seed;
static uint32_t n_steps;
static const char *last_event;
static uint64_t n_met[32]; /* by action */
static uint64_t n_safe;
static uint64_t n_done;

#define RULE(condition, sentence)                                                                  \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fail_msg("seed %llu, step %u, after %s: %s", (unsigned long long)seed, n_steps,        \
                     last_event, sentence);                                                        \
        }                                                                                          \
    } while (0)

static bool may_be_lost(const struct world *world)
{
    return !world->facts.is_kept && !world->ever_ready;
}

static bool is_done(const struct world *world)
{
    return world->policy.state == POLICY_DONE;
}

static bool is_served(const struct world *world)
{
    return world->server == SERVING && !world->is_silent && !world->is_ordered && !world->is_killed;
}

/* ----------------------------------------------------------------------- the naive account ---- */

/* 0, 10, 20, 40 ... 1000 */
static uint64_t doubled(uint32_t n)
{
    const uint64_t pause = n == 0 ? 0 : n > 7 ? 1000 : UINT64_C(10) << (n - 1);
    return pause < 1000 ? pause : 1000;
}

static void forget_pauses(struct world *world)
{
    world->n_pauses = 0;
    world->n_early = 0;
}

/* Whether that is the eleventh within a minute. */
static bool count_crash(struct world *world)
{
    if (world->now - world->started >= 10000) {
        world->n_pauses = 0;
    }
    world->start_due = world->now + doubled(world->n_pauses++);
    world->crashes[world->n_crashes++] = world->now;
    return world->n_crashes > 10 && world->now - world->crashes[world->n_crashes - 11] < 60000;
}

static void count_kill(struct world *world)
{
    uint64_t pause = 0;
    if (world->server == STARTING) {
        world->n_early++;
        pause = world->n_early <= 30 ? 5 : doubled(world->n_early - 30);
    }
    world->start_due = world->now + pause;
}

/* ----------------------------------------------------------------------------- the actions ---- */

static void check_start(struct world *world)
{
    RULE(world->server == NONE, "two servers at once");
    RULE(!world->end_asked && !world->gave_up, "a server is started for an end");
    RULE(!world->is_safe, "a server is started in safe mode");
    RULE(world->now >= world->start_due, "a server is started before its pause is over");
}

static void check_server_actions(struct world *world, uint32_t actions)
{
    const uint32_t for_server =
        POLICY_PING | POLICY_KILL_SILENT | POLICY_KILL_LATE | POLICY_ORDER_LEAVE | POLICY_ORDER_END;
    RULE(!(actions & for_server) || world->server != NONE, "no server is there to be told");
    if (actions & POLICY_PING) {
        RULE(world->n_unanswered < 2, "a server that does not answer is asked once more");
        RULE(!world->end_asked, "a server that is to end is asked");
        world->n_unanswered++;
    }
    if (actions & POLICY_KILL_SILENT) {
        RULE(world->n_unanswered == 2, "a server that answers is killed");
    }
    if (actions & POLICY_KILL_LATE) {
        RULE(world->is_ordered, "a server that may run is late");
    }
    if (actions & (POLICY_KILL_SILENT | POLICY_KILL_LATE)) {
        world->is_killed = true;
    }
    if (actions & (POLICY_ORDER_LEAVE | POLICY_ORDER_END)) {
        RULE(world->end_asked || world->is_trying, "a server is told to go for nothing");
        RULE(!(actions & POLICY_ORDER_END) || !world->end_leaves, "a kept segment is taken back");
        RULE(!(actions & POLICY_ORDER_LEAVE) || !world->end_asked || world->end_leaves,
             "a segment is left to nobody");
        world->is_ordered = true;
    }
}

static void check_words(struct world *world, uint32_t actions)
{
    if (actions & POLICY_SAY_READY) {
        RULE(world->ever_ready && !world->said_ready, "ready is not what it is");
        world->said_ready = true;
    }
    if (actions & POLICY_SAY_NO_SERVER) {
        RULE(world->facts.is_kept && !world->ever_ready && !world->said_no_server,
             "the service manager is told too much");
        world->said_no_server = true;
    }
    if (actions & POLICY_KILL_CHECK) {
        RULE(world->is_checked, "no upgrade check is there to be killed");
        world->check_is_killed = true;
    }
    if (actions & POLICY_START_CHECK) {
        RULE(!world->is_checked && !world->is_trying, "two upgrades at once");
        world->is_checked = true;
        world->check_is_killed = false;
    }
}

/* Tells the policy; actions that belong to one event alone are looked at by who tells it. */
static uint32_t tell(struct world *world, enum policy_event event, const char *name)
{
    last_event = name;
    const uint32_t actions = policy_step(&world->policy, event, world->now);
    for (uint32_t bit = 0; bit < 32; bit++) {
        n_met[bit] += actions >> bit & 1;
    }
    RULE(!(actions & POLICY_START) || event == POLICY_TIME_PASSED, "a start out of time");
    RULE(!(actions & POLICY_START_CHECK) || event == POLICY_UPGRADE_ASKED, "a check unasked");
    check_server_actions(world, actions);
    check_words(world, actions);
    return actions;
}

/* ------------------------------------------------------------------------------ the events ---- */

static void meet_fault(struct world *world)
{
    const bool may_give_up = may_be_lost(world) && !world->end_asked && ++world->n_faults > 100;
    const bool gives_up = tell(world, POLICY_FAULT, "a fault") & POLICY_GIVE_UP;
    RULE(gives_up == may_give_up, "a fault ends it, or does not when it should");
    RULE(world->ever_ready || !world->facts.is_kept || world->said_no_server,
         "the service manager waits in vain");
    world->gave_up = gives_up;
}

static void meet_faults(struct world *world, uint32_t n)
{
    for (uint32_t i = 0; i < n && !is_done(world); i++) {
        meet_fault(world);
    }
}

static void pass_time(struct world *world, bool start_fails)
{
    const bool starts = tell(world, POLICY_TIME_PASSED, "time") & POLICY_START;
    const bool should = world->server == NONE && !world->is_safe && !is_done(world) &&
                        world->now >= world->start_due;
    RULE(starts == should, "a server is not started when its pause is over, or before");
    if (!starts) {
        return;
    }
    check_start(world);
    if (start_fails) {
        world->start_due = world->now + (may_be_lost(world) ? 10 : 1000);
        (void)tell(world, POLICY_UNSTARTED, "a start that failed");
        meet_fault(world);
        return;
    }
    world->n_starts++;
    world->server = STARTING;
    world->started = world->now;
    world->is_new_program = world->is_trying;
    world->is_silent = world->is_ordered = world->is_killed = false;
    world->n_unanswered = 0;
    (void)tell(world, POLICY_STARTED, "a start");
}

static void get_ready(struct world *world)
{
    const bool is_new = world->is_new_program;
    world->server = SERVING;
    world->ever_ready = true;
    world->n_unanswered = 0;
    world->n_early = 0;
    const bool keeps = tell(world, POLICY_READY, "a ready server") & POLICY_KEEP_PROGRAM;
    RULE(keeps == (is_new && world->is_trying && !world->end_asked),
         "the former program is dropped too early, or kept");
    RULE(world->said_ready, "a server is ready, and it is not said");
    world->is_trying = world->is_trying && !keeps;
}

static void beat(struct world *world)
{
    world->n_unanswered = 0;
    (void)tell(world, POLICY_HEARTBEAT, "a heartbeat");
}

/* What the death of a server should bring, that was neither told to go nor a new program. */
static void check_death(struct world *world, enum policy_event death, uint32_t actions)
{
    const bool is_last = may_be_lost(world) ? death == POLICY_EXITED || death == POLICY_REFUSED ||
                                                  world->n_starts > 10
                                            : !world->ever_ready && death == POLICY_REFUSED;
    RULE(is_last == ((actions & POLICY_GIVE_UP) != 0), "the segment is given up, or is not");
    world->gave_up = is_last;
    if (is_last) {
        return;
    }
    if (death == POLICY_REFUSED) {
        world->is_safe = true;
    } else if (death == POLICY_KILLED && !world->is_killed) {
        count_kill(world);
    } else {
        world->is_safe = count_crash(world);
    }
    RULE(world->is_safe == ((actions & POLICY_SAY_SAFE) != 0), "safe mode, or none, unexpectedly");
    RULE(actions & POLICY_SAY_CRASH, "a death is not in the log");
    RULE(world->ever_ready || !world->facts.is_kept || world->said_no_server,
         "the service manager waits in vain");
    n_safe += world->is_safe;
}

static void die(struct world *world, enum policy_event death, const char *name)
{
    const struct world before = *world;
    const uint32_t actions = tell(world, death, name);
    if (before.end_asked) {
        RULE(is_done(world), "the last server has ended, and the keeper has not");
    } else if (before.is_ordered) {
        RULE(!(actions & (POLICY_SAY_CRASH | POLICY_UNDO_PROGRAM)), "to leave is no crash");
        world->start_due = world->now;
    } else if (before.is_new_program && before.server == STARTING) {
        RULE(actions & POLICY_UNDO_PROGRAM, "a program that did not serve is started again");
        world->is_trying = false;
        world->start_due = world->now;
    } else {
        RULE(!(actions & POLICY_UNDO_PROGRAM), "a program is undone that served");
        check_death(world, death, actions);
    }
    world->server = NONE;
    pass_time(world, false);
}

static void end_check(struct world *world, bool has_passed)
{
    world->is_checked = false;
    world->is_trying = has_passed && !world->end_asked;
    if (world->is_trying) {
        forget_pauses(world);
        world->is_safe = false;
        world->start_due = world->now;
    }
    const bool had_server = world->server != NONE;
    const uint32_t actions = has_passed ? tell(world, POLICY_CHECK_PASSED, "a check that passed")
                                        : tell(world, POLICY_CHECK_FAILED, "a check that failed");
    RULE(((actions & POLICY_ORDER_LEAVE) != 0) == (world->is_trying && had_server),
         "the server leaves for nothing, or stays");
    pass_time(world, false);
}

static void ask_end(struct world *world)
{
    const bool had_server = world->server != NONE;
    if (!world->end_asked && !is_done(world)) {
        world->end_asked = true;
        world->end_leaves = world->facts.has_manager && !may_be_lost(world);
    }
    (void)tell(world, POLICY_END_ASKED, "SIGTERM");
    RULE(had_server || is_done(world), "no server runs, and the keeper does not end");
}

static void ask_upgrade(struct world *world)
{
    const bool may =
        !world->end_asked && !world->is_checked && !world->is_trying && !is_done(world);
    const bool starts = tell(world, POLICY_UPGRADE_ASKED, "SIGHUP") & POLICY_START_CHECK;
    RULE(starts == may, "an upgrade is refused, or is not");
}

/* -------------------------------------------------------------------------------- ways out ---- */

static void check_end(const struct world *world)
{
    const enum policy_end wanted = !world->end_asked   ? POLICY_GOES_ON
                                   : world->end_leaves ? POLICY_SUSPENDS
                                                       : POLICY_ENDS;
    RULE(!is_done(world) || policy_due_ms(&world->policy) == POLICY_NEVER, "a timer outlives all");
    RULE(world->policy.end == wanted, "the segment's end is not the one that was asked for");
    RULE(!is_done(world) || world->end_asked || world->gave_up, "an end that is not documented");
    RULE(!world->gave_up || is_done(world), "the keeper goes on without a segment");
}

static void wait_for_timer(struct world *world)
{
    const uint64_t due = policy_due_ms(&world->policy);
    RULE(due != POLICY_NEVER, "nothing will happen any more");
    world->now = due > world->now ? due : world->now;
    pass_time(world, false);
}

/* What a killed or an obedient server does. Return: whether there was one. */
static bool let_go(struct world *world)
{
    if (world->server == NONE || !(world->is_killed || world->is_ordered)) {
        return false;
    }
    die(world, world->is_killed ? POLICY_KILLED : POLICY_EXITED, "a server that went");
    return true;
}

/* Nothing goes wrong any more, and the operator sends SIGHUP in safe mode. */
static void expect_service(struct world world)
{
    for (uint32_t i = 0; i < TURNS_MAX && !is_done(&world) && !is_served(&world); i++) {
        if (let_go(&world)) {
            continue;
        }
        if (world.server == STARTING && !world.is_silent) {
            get_ready(&world);
        } else if (world.is_checked) {
            end_check(&world, !world.check_is_killed);
        } else if (world.is_safe) {
            ask_upgrade(&world);
        } else {
            wait_for_timer(&world);
        }
        if (world.is_silent && world.facts.ping_ms == 0) {
            return; /* as documented: a watchdog of 0 waits for a server for ever */
        }
    }
    RULE(is_done(&world) || is_served(&world), "no way leads to a server");
    check_end(&world);
}

/* SIGTERM, to a server that obeys, or to one that hangs while the system refuses all. */
static void expect_end(struct world world, bool obeys)
{
    ask_end(&world);
    meet_faults(&world, obeys ? 0 : 101);
    for (uint32_t i = 0; i < TURNS_MAX && !is_done(&world); i++) {
        if (world.is_killed || obeys) {
            (void)let_go(&world);
        } else {
            wait_for_timer(&world);
        }
    }
    RULE(is_done(&world), "SIGTERM does not end it");
    check_end(&world);
}

static bool waits_for_server(const struct world *world)
{
    return world->server != NONE && !world->is_killed &&
           (world->is_ordered || world->facts.ping_ms > 0);
}

/* From now on the server and the check hang. */
static void expect_replacement(struct world world)
{
    const uint64_t since = world.now;
    for (uint32_t i = 0; i < TURNS_MAX && waits_for_server(&world); i++) {
        wait_for_timer(&world);
    }
    RULE(!waits_for_server(&world), "a server that hangs is not replaced");
    RULE(world.server == NONE || world.is_ordered || world.now <= since + 3 * world.facts.ping_ms,
         "a server that hangs is replaced late");
    if (world.is_checked && !world.end_asked) {
        for (uint32_t i = 0; i < TURNS_MAX && !world.check_is_killed; i++) {
            wait_for_timer(&world);
        }
        RULE(world.check_is_killed, "an upgrade check that hangs is not ended");
    }
}

/* ---------------------------------------------------------------------------------- a life ---- */

static void begin(struct world *world, struct seeded *random)
{
    *world = (struct world){
        .facts =
            {
                .ping_ms = seeded_below(random, 4) > 0 ? 2500 : 0,
                .step_ms = 10000,
                .is_kept = seeded_below(random, 2),
                .has_manager = seeded_below(random, 2),
            },
        .mood = seeded_below(random, N_MOODS),
        .now = 1000 + seeded_below(random, 100000),
    };
    world->start_due = world->now;
    policy_init(&world->policy, &world->facts, world->now);
}

static void let_die(struct world *world, struct seeded *random)
{
    static const enum policy_event deaths[] = {POLICY_CRASHED, POLICY_CRASHED, POLICY_KILLED,
                                               POLICY_EXITED, POLICY_REFUSED};
    enum policy_event death = deaths[seeded_below(random, 5)];
    death = world->mood == CRASHES && seeded_below(random, 8) > 0 ? POLICY_CRASHED : death;
    death = world->mood == KILLS && seeded_below(random, 30) > 0 ? POLICY_KILLED : death;
    death = death == POLICY_REFUSED && world->server == SERVING ? POLICY_CRASHED : death;
    die(world, world->is_killed ? POLICY_KILLED : death, "a death");
}

static void let_server_act(struct world *world, struct seeded *random)
{
    const uint32_t chance = seeded_below(random, 8);
    const bool is_doomed = world->mood == CRASHES || world->mood == KILLS;
    if (world->is_killed || chance < (is_doomed ? 5 : 1)) {
        let_die(world, random);
    } else if (chance == 5) {
        world->is_silent = true;
    } else if (world->is_silent) {
        wait_for_timer(world);
    } else if (world->is_ordered && chance < 4) {
        die(world, POLICY_EXITED, "an obedient server");
    } else if (world->server == STARTING && chance == 6) {
        get_ready(world);
    } else {
        beat(world);
    }
}

static void let_time_pass(struct world *world, struct seeded *random)
{
    const uint64_t due = policy_due_ms(&world->policy);
    const bool to_timer = due != POLICY_NEVER && due > world->now && seeded_below(random, 3) > 0;
    world->now = to_timer ? due : world->now + seeded_log(random, 17);
    pass_time(world, seeded_below(random, world->mood == REFUSALS ? 2 : 20) == 0);
}

static void let_something_happen(struct world *world, struct seeded *random)
{
    const uint32_t chance = seeded_below(random, 100);
    const uint32_t n_faults = world->mood == REFUSALS ? 5 : 1;
    const uint32_t n_hups = world->mood == UPGRADES ? 15 : 3;
    if (seeded_below(random, 1000) == 0) {
        ask_end(world);
    } else if (chance < n_faults) {
        meet_faults(world, 1 + seeded_below(random, world->mood == REFUSALS ? 120 : 1));
    } else if (chance < n_faults + n_hups) {
        ask_upgrade(world);
    } else if (world->is_checked && chance < 60) {
        end_check(world, !world->check_is_killed && seeded_below(random, 3) > 0);
    } else if (world->server != NONE && chance < 80) {
        let_server_act(world, random);
    } else {
        let_time_pass(world, random);
    }
    if (seeded_below(random, 50) == 0) {
        world->mood = seeded_below(random, N_MOODS);
    }
}

static void live(uint64_t the_seed)
{
    static struct world world;
    struct seeded random = {.state = the_seed};
    seed = the_seed;
    begin(&world, &random);
    for (n_steps = 0; n_steps < N_STEPS; n_steps++) {
        let_something_happen(&world, &random);
        check_end(&world);
        if (is_done(&world) || world.n_crashes == CRASHES_MAX - TURNS_MAX) {
            n_done += is_done(&world);
            begin(&world, &random);
        }
        expect_service(world);
        expect_end(world, true);
        expect_end(world, false);
        expect_replacement(world);
    }
}

static void test_policy_keeps_its_promises_whatever_happens(void **state)
{
    for (uint64_t i = 1; i <= N_SEEDS; i++) {
        live(i);
    }
    print_message("%u seeds of %u events: %llu ends, %llu times safe mode\n", N_SEEDS, N_STEPS,
                  (unsigned long long)n_done, (unsigned long long)n_safe);
    for (uint32_t bit = 0; 1U << bit <= POLICY_GIVE_UP; bit++) {
        assert_true(n_met[bit] > 0);
    }
    assert_true(n_done > 0);
    assert_true(n_safe > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_policy_keeps_its_promises_whatever_happens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

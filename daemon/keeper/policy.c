/* SPDX-License-Identifier: MIT */
/*
 * policy.c - start, listen, start again
 *
 *      signal          while a server runs              while none does
 *      TERM, INT       it takes everything back, ends   the files are dropped
 *      with fd store   it leaves                        the files stay in the fd store
 *      HUP             upgrade, if the program on disk  the same
 *                      can go on with the state
 *
 *      WAITING -- start --> RUNNING -- death --> WAITING, SAFE or DONE
 *      RUNNING -- upgrade --> LEAVING -- death --> WAITING    WAITING, SAFE -- upgrade --> WAITING
 *      RUNNING, LEAVING -- end --> ENDING -- death --> DONE   WAITING, SAFE -- end --> DONE
 *
 * A server that dies is followed by the next at once; one that dies of itself again and again, ever
 * later, up to a second (backoff.c). After BACKOFF_CRASHES_MAX within a minute, or when a server
 * says that the state does not add up, the keeper gives up on servers but not on the files, "safe
 * mode": mappings and leases of clients stay what they are, and SIGHUP tries again.
 *
 * A server that SIGKILL ended did not crash: it is not counted, and if it was ready the next one
 * follows at once, however often that happens. What the watchdog kills is a crash.
 *
 * Upgrade: the keeper first runs the program on disk on the state, with nothing to do but to say
 * that it fits. Then the server leaves, and the keeper starts the new program on the files. If that
 * ends before it is ready the keeper starts the former program again.
 *
 * The watchdog counts pings without an answer, not seconds: a machine that sleeps, or a keeper that
 * is stopped with its server, must not take that for a hang. A server that starts can not answer,
 * but sends a heartbeat after each piece of the work: so a recovery may take as long as it needs,
 * and the watchdog finds one that stands still as soon as any other hang.
 *
 * The segment is given up in two cases only. A new one that no client has seen, when its server
 * exits, can not be started, or is killed again and again: the starter hears why. One that another
 * keeper has served, when the first server refuses its state: the service manager still has it.
 */
#include "daemon/keeper/policy.h"

#include <stddef.h>

/* 3 s without a heartbeat: service managers wait 10 at least before they kill all. */
#define END_PATIENCE_MS 3000
/* 10 s: three calls of stat(). Nothing tells of a directory that was made again. */
#define PATH_LOOK_MS 10000
/* 100, or some seconds: before the first server is ready the starter waits for it. */
#define FAULTS_MAX 100
/* 2: the watchdog's time is two pings, and a busy machine may make the answer to one late. */
#define PINGS_MAX 2

void policy_init(struct policy *policy, const struct policy_facts *facts, uint64_t now_ms)
{
    *policy = (struct policy){
        .facts = *facts,
        .segment = facts->is_kept ? POLICY_KEPT : POLICY_NEW,
        .due_ms = {now_ms, POLICY_NEVER, POLICY_NEVER, now_ms + PATH_LOOK_MS, POLICY_NEVER},
    };
}

uint64_t policy_due_ms(const struct policy *policy)
{
    uint64_t due_ms = POLICY_NEVER;
    for (size_t i = 0; i < POLICY_TIMERS; i++) {
        due_ms = policy->due_ms[i] < due_ms ? policy->due_ms[i] : due_ms;
    }
    return due_ms;
}

static bool has_server(const struct policy *policy)
{
    return policy->state == POLICY_RUNNING || policy->state == POLICY_LEAVING ||
           policy->state == POLICY_ENDING;
}

static uint32_t start_at(struct policy *policy, uint64_t due_ms)
{
    policy->state = POLICY_WAITING;
    policy->due_ms[POLICY_TIMER_START] = due_ms;
    return 0;
}

static uint32_t finish(struct policy *policy, uint32_t actions)
{
    policy->state = POLICY_DONE;
    for (size_t i = 0; i < POLICY_TIMERS; i++) {
        policy->due_ms[i] = POLICY_NEVER;
    }
    return actions;
}

/* A service manager that waited in vain for a server would end the daemon. */
static uint32_t no_server_yet(struct policy *policy)
{
    if (policy->segment != POLICY_KEPT) {
        return 0;
    }
    policy->segment = POLICY_KEPT_WITHOUT_SERVER;
    return POLICY_SAY_NO_SERVER;
}

/* No segment that was served is given up for a fault, and no signal answered with one. */
static uint32_t fault(struct policy *policy)
{
    policy->n_faults++;
    if (policy->segment == POLICY_NEW && policy->state != POLICY_ENDING &&
        policy->n_faults > FAULTS_MAX) {
        return finish(policy, POLICY_GIVE_UP);
    }
    return no_server_yet(policy);
}

/* ------------------------------------------------------------------------------ the server ---- */

static void ping_later(struct policy *policy, uint64_t now_ms)
{
    const uint64_t every_ms = policy->facts.ping_ms;
    policy->due_ms[POLICY_TIMER_PING] = every_ms > 0 ? now_ms + every_ms : POLICY_NEVER;
}

void policy_set_times(struct policy *policy, uint64_t ping_ms, uint64_t step_ms, uint64_t now_ms)
{
    const bool is_other = policy->facts.ping_ms != ping_ms;
    policy->facts.ping_ms = ping_ms;
    policy->facts.step_ms = step_ms;
    if (is_other && policy->state == POLICY_RUNNING) {
        ping_later(policy, now_ms);
    }
}

static uint32_t started(struct policy *policy, uint64_t now_ms)
{
    policy->state = POLICY_RUNNING;
    policy->is_ready = false;
    policy->is_hung = false;
    policy->n_unanswered = 0;
    policy->n_starts++;
    policy->started_ms = now_ms;
    ping_later(policy, now_ms);
    return 0;
}

static uint32_t unstarted(struct policy *policy, uint64_t now_ms)
{
    return start_at(
        policy, now_ms + (policy->segment == POLICY_NEW ? POLICY_FAULT_PAUSE_MS : BACKOFF_LAST_MS));
}

/* One that leaves or ends is not the new program, even if it gets ready only now. */
static uint32_t ready(struct policy *policy)
{
    uint32_t actions = 0;
    policy->is_ready = true;
    policy->n_unanswered = 0;
    backoff_ready(&policy->backoff);
    if (policy->upgrade == POLICY_TRYING && policy->state == POLICY_RUNNING) {
        policy->upgrade = POLICY_NO_UPGRADE;
        actions |= POLICY_KEEP_PROGRAM;
    }
    if (policy->segment != POLICY_SERVED) {
        policy->segment = POLICY_SERVED;
        actions |= POLICY_SAY_READY;
    }
    return actions;
}

static uint32_t heartbeat(struct policy *policy, uint64_t now_ms)
{
    policy->n_unanswered = 0;
    if (policy->end == POLICY_ENDS) {
        policy->due_ms[POLICY_TIMER_KILL] = now_ms + END_PATIENCE_MS;
    }
    return 0;
}

/* Whether no other server is to follow: this one has said why, and nothing is lost. */
static bool was_last(const struct policy *policy, enum policy_event death)
{
    if (policy->segment == POLICY_NEW) {
        return death == POLICY_EXITED || death == POLICY_REFUSED ||
               policy->n_starts > BACKOFF_CRASHES_MAX;
    }
    /* The service manager has it for the program, or the size, that it is of. */
    return policy->segment != POLICY_SERVED && death == POLICY_REFUSED;
}

static uint32_t crashed(struct policy *policy, enum policy_event death, uint64_t now_ms)
{
    const uint32_t actions = POLICY_SAY_CRASH | no_server_yet(policy);
    uint64_t pause_ms = 0;
    if (death == POLICY_REFUSED) {
        policy->state = POLICY_SAFE;
        return actions | POLICY_SAY_SAFE;
    }
    if (death == POLICY_KILLED && !policy->is_hung) {
        pause_ms = backoff_killed(&policy->backoff, policy->is_ready);
    } else if (backoff_crashed(&policy->backoff, now_ms, now_ms - policy->started_ms, &pause_ms)) {
        policy->state = POLICY_SAFE;
        return actions | POLICY_SAY_SAFE;
    }
    return actions | start_at(policy, now_ms + pause_ms);
}

static uint32_t died(struct policy *policy, enum policy_event death, uint64_t now_ms)
{
    policy->due_ms[POLICY_TIMER_PING] = POLICY_NEVER;
    policy->due_ms[POLICY_TIMER_KILL] = POLICY_NEVER;
    if (policy->state == POLICY_ENDING) {
        return finish(policy, 0);
    }
    if (policy->state == POLICY_LEAVING) {
        return start_at(policy, now_ms);
    }
    if (policy->upgrade == POLICY_TRYING) {
        policy->upgrade = POLICY_NO_UPGRADE;
        return POLICY_UNDO_PROGRAM | start_at(policy, now_ms);
    }
    return was_last(policy, death) ? finish(policy, POLICY_GIVE_UP)
                                   : crashed(policy, death, now_ms);
}

/* --------------------------------------------------------------------- upgrade and the end ---- */

static uint32_t upgrade_asked(struct policy *policy, uint64_t now_ms)
{
    if (policy->end != POLICY_GOES_ON || policy->upgrade != POLICY_NO_UPGRADE) {
        return 0;
    }
    policy->upgrade = POLICY_CHECKING;
    policy->due_ms[POLICY_TIMER_CHECK] = now_ms + policy->facts.step_ms;
    return POLICY_START_CHECK;
}

static uint32_t checked(struct policy *policy, bool has_passed, uint64_t now_ms)
{
    policy->upgrade = POLICY_NO_UPGRADE;
    policy->due_ms[POLICY_TIMER_CHECK] = POLICY_NEVER;
    if (!has_passed || policy->end != POLICY_GOES_ON) {
        return 0;
    }
    policy->upgrade = POLICY_TRYING;
    backoff_forget(&policy->backoff);
    if (!has_server(policy)) {
        return start_at(policy, now_ms);
    }
    policy->state = POLICY_LEAVING;
    policy->due_ms[POLICY_TIMER_KILL] = now_ms + policy->facts.step_ms;
    return POLICY_ORDER_LEAVE;
}

static uint32_t end_asked(struct policy *policy, uint64_t now_ms)
{
    if (policy->end != POLICY_GOES_ON) {
        return 0;
    }
    const bool is_left = policy->facts.has_manager && policy->segment != POLICY_NEW;
    policy->end = is_left ? POLICY_SUSPENDS : POLICY_ENDS;
    if (!has_server(policy)) {
        return finish(policy, 0);
    }
    policy->state = POLICY_ENDING;
    policy->due_ms[POLICY_TIMER_PING] = POLICY_NEVER;
    policy->due_ms[POLICY_TIMER_PATH] = POLICY_NEVER;
    policy->due_ms[POLICY_TIMER_CHECK] = POLICY_NEVER;
    policy->due_ms[POLICY_TIMER_KILL] = now_ms + END_PATIENCE_MS;
    return is_left ? POLICY_ORDER_LEAVE : POLICY_ORDER_END;
}

/* ------------------------------------------------------------------------------------ time ---- */

/* Whether it is, once. */
static bool is_due(struct policy *policy, enum policy_timer timer, uint64_t now_ms)
{
    if (now_ms < policy->due_ms[timer]) {
        return false;
    }
    policy->due_ms[timer] = POLICY_NEVER;
    return true;
}

static uint32_t ping(struct policy *policy, uint64_t now_ms)
{
    if (policy->n_unanswered >= PINGS_MAX) {
        policy->is_hung = true;
        return POLICY_KILL_SILENT;
    }
    policy->n_unanswered++;
    ping_later(policy, now_ms);
    return POLICY_PING;
}

static uint32_t time_passed(struct policy *policy, uint64_t now_ms)
{
    uint32_t actions = is_due(policy, POLICY_TIMER_START, now_ms) ? POLICY_START : 0;
    if (is_due(policy, POLICY_TIMER_PING, now_ms)) {
        actions |= ping(policy, now_ms);
    }
    if (is_due(policy, POLICY_TIMER_KILL, now_ms)) {
        policy->is_hung = true;
        actions |= POLICY_KILL_LATE;
    }
    if (is_due(policy, POLICY_TIMER_PATH, now_ms)) {
        policy->due_ms[POLICY_TIMER_PATH] = now_ms + PATH_LOOK_MS;
        actions |= POLICY_RENEW_PATH;
    }
    if (is_due(policy, POLICY_TIMER_CHECK, now_ms)) {
        actions |= POLICY_KILL_CHECK;
    }
    return actions;
}

uint32_t policy_step(struct policy *policy, enum policy_event event, uint64_t now_ms)
{
    if (policy->state == POLICY_DONE) {
        return 0;
    }
    switch (event) {
    case POLICY_TIME_PASSED:
        return time_passed(policy, now_ms);
    case POLICY_FAULT:
        return fault(policy);
    case POLICY_STARTED:
        return started(policy, now_ms);
    case POLICY_UNSTARTED:
        return unstarted(policy, now_ms);
    case POLICY_READY:
        return ready(policy);
    case POLICY_HEARTBEAT:
        return heartbeat(policy, now_ms);
    case POLICY_EXITED:
    case POLICY_REFUSED:
    case POLICY_CRASHED:
    case POLICY_KILLED:
        return died(policy, event, now_ms);
    case POLICY_CHECK_PASSED:
    case POLICY_CHECK_FAILED:
        return checked(policy, event == POLICY_CHECK_PASSED, now_ms);
    case POLICY_UPGRADE_ASKED:
        return upgrade_asked(policy, now_ms);
    case POLICY_END_ASKED:
        return end_asked(policy, now_ms);
    default:
        return 0;
    }
}

/* SPDX-License-Identifier: MIT */
/*
 * backoff.c - two kinds of deaths, two measures
 *
 *      a server                   the next is started after         forgotten when
 *      crashed, or hung           0, 10, 20, 40 ms ... 1 s          one has lived for 10 s
 *      was killed, not yet ready  5 ms, 30 times; 10, 20 ... 1 s    one was ready
 *      was killed when ready      0
 *
 * A crash has its reason in the server or in its files, and comes again: waiting is all that keeps
 * a loop of crashes from taking the processor, and the count ends it. A kill has its reason outside
 * and says nothing about the next server; servers that another process kills again and again must
 * serve in between as much as they can. One case of it looks like a loop of crashes: the OOM killer
 * takes every server before it is ready. That is slowed in the end, but no more than kills at bad
 * moments can explain, because clients wait as long as it is slow.
 */
#include "daemon/keeper/backoff.h"

#define CRASH_WINDOW_MS 60000
/*
 * 10 ms: about what a start takes, so that a loop of crashes that just begins takes no more than
 * half a processor; less would be no pause, more would be felt after a single crash that repeats.
 */
#define FIRST_MS 10
/*
 * 10 s: a server that lived that long did not die of how it began. Less, and a request that crashes
 * every server after some seconds would never be slowed; more, and crashes would be charged that
 * have nothing to do with each other.
 */
#define LIVED_MS 10000
/*
 * 5 ms: when a server is killed every 50 ms the next has nine tenths of that to get ready. Without
 * a pause, a process that kills each server would keep a processor at starting servers; with 20 ms
 * many servers that are killed every 50 ms would not have got ready on a busy machine, where a
 * start takes 20.
 */
#define EARLY_MS 5
/*
 * 30: on a machine so busy that three servers of four are killed before they are ready, thirty in a
 * row come once in 5,000 kills (0.75^30). The OOM killer has that many of them within a second, and
 * in the next few it comes down to one a second; fewer would slow what is only unlucky.
 */
#define EARLY_MAX 30

static uint64_t next_of(uint64_t pause_ms)
{
    const uint64_t next_ms = pause_ms > 0 ? 2 * pause_ms : FIRST_MS;
    return next_ms < BACKOFF_LAST_MS ? next_ms : BACKOFF_LAST_MS;
}

void backoff_ready(struct backoff *backoff)
{
    backoff->n_early = 0;
    backoff->early_ms = 0;
}

uint64_t backoff_killed(struct backoff *backoff, bool was_ready)
{
    if (was_ready) {
        return 0;
    }
    if (backoff->n_early < EARLY_MAX) {
        backoff->n_early++;
        return EARLY_MS;
    }
    backoff->early_ms = next_of(backoff->early_ms);
    return backoff->early_ms;
}

/* Whether that was one crash too many. */
static bool crash_count(struct backoff *backoff, uint64_t now_ms)
{
    uint64_t *oldest_ms = &backoff->crashes_ms[backoff->n_crashes % BACKOFF_CRASHES_MAX];
    const uint64_t since_ms = now_ms - *oldest_ms;
    *oldest_ms = now_ms;
    backoff->n_crashes++;
    return backoff->n_crashes > BACKOFF_CRASHES_MAX && since_ms < CRASH_WINDOW_MS;
}

int backoff_crashed(struct backoff *backoff, uint64_t now_ms, uint64_t lived_ms,
                    uint64_t *ret_pause_ms)
{
    if (lived_ms >= LIVED_MS) {
        backoff->crash_ms = 0;
    }
    *ret_pause_ms = backoff->crash_ms;
    backoff->crash_ms = next_of(backoff->crash_ms);
    return crash_count(backoff, now_ms) ? BACKOFF_E_CRASHES : BACKOFF_OK;
}

void backoff_forget(struct backoff *backoff)
{
    backoff->crash_ms = 0;
    backoff_ready(backoff);
}

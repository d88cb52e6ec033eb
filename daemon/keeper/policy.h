/* SPDX-License-Identifier: MIT */
/*
 * policy.h - what the keeper does when something happens
 *
 * Pure, as backoff.c is: an event and a time give actions. keeper.c makes events of signals,
 * packets, timers and deaths, and carries the actions out.
 */
#ifndef DAEMON_KEEPER_POLICY_H
#define DAEMON_KEEPER_POLICY_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/keeper/backoff.h"
#include "proto/attributes.h"

/* 10 ms: a server's death is hardly noticed later, and the processor has something else to do. */
#define POLICY_FAULT_PAUSE_MS 10
#define POLICY_NEVER UINT64_MAX

enum policy_event {
    POLICY_TIME_PASSED, /* after all other events of a turn, and at policy_due_ms() */
    POLICY_FAULT,       /* a transient one: the system refused a call that the keeper repeats */
    /* the server */
    POLICY_STARTED,   /* the one answer to POLICY_START */
    POLICY_UNSTARTED, /* the other one: the system refused */
    POLICY_READY,
    POLICY_HEARTBEAT,
    POLICY_EXITED,  /* by itself */
    POLICY_REFUSED, /* likewise, because the state does not add up */
    POLICY_CRASHED, /* by another signal than SIGKILL */
    POLICY_KILLED,  /* by SIGKILL: the keeper's, or another process's */
    /* the upgrade check */
    POLICY_CHECK_PASSED,
    POLICY_CHECK_FAILED, /* or could not be started */
    /* signals */
    POLICY_UPGRADE_ASKED,
    POLICY_END_ASKED,
};

/* Bits: an event may have several. The keeper carries them out in this order. */
enum policy_action {
    POLICY_SAY_CRASH = 1 << 0,
    POLICY_SAY_NO_SERVER = 1 << 1, /* to a service manager that would wait for one */
    POLICY_SAY_SAFE = 1 << 2,
    POLICY_UNDO_PROGRAM = 1 << 3, /* the next server is made of the former program again */
    POLICY_KEEP_PROGRAM = 1 << 4, /* no server is made of the former program any more */
    POLICY_SAY_READY = 1 << 5,    /* once in a keeper's life; the files go into the fd store */
    POLICY_PING = 1 << 6,
    POLICY_KILL_SILENT = 1 << 7, /* the server does not answer */
    POLICY_KILL_LATE = 1 << 8,   /* the server takes too long to leave or to end */
    POLICY_KILL_CHECK = 1 << 9,
    POLICY_RENEW_PATH = 1 << 10,
    POLICY_ORDER_LEAVE = 1 << 11,
    POLICY_ORDER_END = 1 << 12,
    /* These have an answer: another event, or the process's exit status. */
    POLICY_START = 1 << 13,
    POLICY_START_CHECK = 1 << 14,
    POLICY_GIVE_UP = 1 << 15,
};

enum policy_state {
    POLICY_WAITING, /* no server runs; one is to be started */
    POLICY_RUNNING, /* one runs */
    POLICY_LEAVING, /* likewise, but leaves for another program */
    POLICY_ENDING,  /* likewise, but leaves or ends with the daemon */
    POLICY_SAFE,    /* no server runs, and none is to be started */
    POLICY_DONE,
};

/* What is lost if it is given up. */
enum policy_segment {
    POLICY_NEW,                 /* nothing: no client has seen it */
    POLICY_KEPT,                /* a server of another keeper has served it */
    POLICY_KEPT_WITHOUT_SERVER, /* likewise, and the service manager knows that none serves yet */
    POLICY_SERVED,
};

enum policy_upgrade {
    POLICY_NO_UPGRADE,
    POLICY_CHECKING,
    POLICY_TRYING, /* the server to come is another program, or it starts */
};

enum policy_end {
    POLICY_GOES_ON,
    POLICY_SUSPENDS, /* the service manager keeps the segment */
    POLICY_ENDS,     /* the segment ends with the keeper */
};

enum policy_timer {
    POLICY_TIMER_START,
    POLICY_TIMER_PING,
    POLICY_TIMER_KILL,
    POLICY_TIMER_PATH,
    POLICY_TIMER_CHECK,
    POLICY_TIMERS,
};

/* What the keeper knows when it begins. */
struct policy_facts {
    uint64_t ping_ms; /* between two pings; 0: none */
    uint64_t step_ms; /* for a server to leave, and for an upgrade check */
    bool is_kept;     /* another keeper had the segment */
    bool has_manager; /* which keeps the segment when the keeper ends */
};

struct policy {
    struct policy_facts facts;
    enum policy_state state;
    enum policy_segment segment;
    enum policy_upgrade upgrade;
    enum policy_end end;
    bool is_ready; /* the server, or the last one */
    bool is_hung;  /* likewise: the keeper killed it for its silence, or for taking too long */
    uint32_t n_unanswered; /* pings */
    uint32_t n_starts;
    uint32_t n_faults;
    uint64_t started_ms;
    uint64_t due_ms[POLICY_TIMERS];
    struct backoff backoff;
};

/** policy_init() - before the first server is started */
void policy_init(struct policy *policy, const struct policy_facts *facts, uint64_t now_ms);

/** policy_set_times() - the watchdog's time, and that for a step, are others from now on */
void policy_set_times(struct policy *policy, uint64_t ping_ms, uint64_t step_ms, uint64_t now_ms);

/** policy_step() - something has happened. Return: the actions for it. */
KMEM_MUST_USE uint32_t policy_step(struct policy *policy, enum policy_event event, uint64_t now_ms);

/** policy_due_ms() - when POLICY_TIME_PASSED has an action next, or POLICY_NEVER */
KMEM_MUST_USE uint64_t policy_due_ms(const struct policy *policy);

#endif

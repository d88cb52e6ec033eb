/* SPDX-License-Identifier: MIT */
/*
 * core.h - everything the daemon knows and decides, without descriptors, clocks or loops
 *
 * A test drives it by calling what the shell would call. Time comes in as now_ms, a count of
 * milliseconds that never goes back.
 */
#ifndef DAEMON_CORE_CORE_H
#define DAEMON_CORE_CORE_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/core/accounts.h"
#include "daemon/core/budgets.h"
#include "daemon/core/caps.h"
#include "daemon/core/changes.h"
#include "daemon/core/client_ledger.h"
#include "daemon/core/clients.h"
#include "daemon/core/direct.h"
#include "daemon/core/history.h"
#include "daemon/core/leases.h"
#include "daemon/core/lifetimes.h"
#include "daemon/core/names.h"
#include "daemon/core/obituary.h"
#include "daemon/core/pages.h"
#include "daemon/core/queued.h"
#include "daemon/core/readers.h"
#include "daemon/core/reasons.h"
#include "daemon/core/reclaim.h"
#include "daemon/core/refusals.h"
#include "daemon/core/returns.h"
#include "daemon/core/scans.h"
#include "daemon/core/shares.h"
#include "daemon/core/shortage.h"
#include "daemon/core/state.h"
#include "daemon/core/waits.h"
#include "proto/attributes.h"

/**
 * core_watch_fn - see to it that the end of a process will be told: core_end()
 * Return: 0; CLIENTS_E_GONE: it has ended; or a negative errno: it can not be found out now.
 */
typedef int (*core_watch_fn)(uint32_t slot, const struct client_identity *identity, void *user);

struct reply;
struct users;

struct core_config {
    const char *segment_name; /* borrowed for the core's life */
    uint32_t n_pages;         /* the most that the segment may have: of all layouts */
    uint32_t begin_pages;     /* what a new one has at first; 0: all of them */
    uint32_t clients_limit;
    uint32_t names_limit;     /* 0: SHARE_NAMES_USUAL */
    uint32_t clients_per_uid; /* of one user that is not the administrator; 0: all of them */
    uint32_t caps[N_CAPS];    /* of one user, likewise; 0: there is none */
    uint32_t owner_uid;       /* the daemon's own user */
    enum readers readers;     /* who may join for reading only */
    uint64_t instance;
    uint64_t granule_bytes; /* of clients' guards: what the segment's memory is made of */
    uint64_t huge_bytes;    /* of the segment, made of huge pages so far as is known */
    uint32_t clear_plan;    /* by which clients clear memory: proto/clear.h */
    uint64_t waiting_bytes; /* what the segment's size will be another time; 0: no other */
    bool dumps;             /* cores of clients have the segment's bytes, if they do not object */
    uint64_t quota_bytes;   /* what one client may have; 0: all there is */
    const struct rules *rules;         /* borrowed, as long as it is not replaced; NULL: no rules */
    uint32_t pid;                      /* of the daemon's keeper, for clients that ask */
    client_ledger_read_fn ledger_read; /* reads clients' ledgers */
    void *ledger_user;
    bool gives_back;       /* memory that is not used goes back to the system */
    bool (*barrier)(void); /* membarrier() for all clients; NULL: there is none. See reclaim.h */
    uint64_t (*random)(void *user); /* 64 bits that nobody can guess, never 0 */
    void *random_user;
    void (*ring)(uint32_t bell, void *user); /* a name with this bell has changed; NULL: no bells */
    void *ring_user;
    waits_fn wake; /* likewise, and it is time for dispatch_continue(); see DISPATCH_WAITING */
    void *wake_user;
    uint64_t (*resident)(void *user); /* the memory that the segment has; NULL: it is not known */
    void *resident_user;
    void (*alive)(void *user); /* is called now and then by recover(); NULL: nobody wants to know */
    void *alive_user;
    /* Reads the configuration anew, and answers; NULL: there is none. */
    void (*reload)(struct reply *reply, void *user);
    void *reload_user;
    const struct users *users; /* whose connections there are; NULL: it is not known */
    /* Finds a process's unit: UNIT_NAME_BYTES; NULL: they are not known. */
    void (*unit)(const struct client_identity *identity, char *ret_unit);
    /*
     * Takes memory from the system for num_bytes of the segment from `at` on, and calls
     * resize_taken() when it is there. NULL: it need not be taken. Return: false: it can not be;
     * ret_why says why.
     */
    bool (*take_memory)(uint64_t at, uint64_t num_bytes, char *ret_why, size_t why_bytes,
                        void *user);
    void (*resized)(uint64_t before_bytes, void *user); /* it has another size; NULL: so be it */
    void *resize_user;
    core_watch_fn watch; /* is asked by recover(); NULL: nobody lives whose ledger is lost */
    void *watch_user;
};

/* The present, twice: ages need milliseconds, durations microseconds. */
struct now {
    uint64_t ms;
    uint64_t us;
};

/* How far the walk of reap() over all runs is. */
struct reap {
    uint32_t from_page;      /* the page it goes on with; 0: none is under way */
    struct seg_off at;       /* in a lease there: the blocks before it have been read; 0: none */
    uint32_t at_slot;        /* that lease's client */
    uint32_t n_ended_behind; /* clients that ended after it had passed page 0 */
    uint32_t n_noted;        /* leased blocks of the run that is being read */
};

/* When to look for the history: sampler.h. */
struct sampler {
    struct scan_reader reader;
    uint64_t spent_us; /* by the look that is under way */
    uint64_t rests_until_us;
    bool sees_none; /* there was no client when it began */
    bool is_done;   /* there was none when the last point was noted, and none has come */
};

/* Half a line of a terminal, twice. */
#define RESIZE_WHY_BYTES 160

/* A growth that is under way: resize.h. */
struct resize {
    uint32_t to_pages;          /* for which memory is being taken; 0: none is */
    uint64_t n_ended;           /* growths that have come to an end, */
    char why[RESIZE_WHY_BYTES]; /* and why the last was in vain; "": it was not */
};

struct core {
    struct core_config config;
    struct state state;
    struct pages pages;
    struct caps caps;
    struct reasons reasons;
    struct clients clients;
    struct accounts accounts;
    struct budgets budgets;
    struct shares shares;
    struct names names;
    struct returns returns;
    struct direct direct;
    struct leases leases;
    struct client_ledger client_ledger;
    struct reclaim reclaim;
    struct shortage shortage;
    struct resize resize;
    struct obituaries obituaries;
    struct reap reap;
    struct scans scans;
    struct waits waits;
    struct queue queue;
    struct scan_reader lookout; /* for all who are refused: no_room.h */
    uint64_t lookout_us;        /* when it may begin another look */
    uint64_t n_clients_seen;
    struct refusals refusals;
    struct history history;
    struct lifetimes lifetimes; /* of what was released, that no client tells of any more */
    struct sampler sampler;
    struct changes changes;
    uint64_t n_changes_rung; /* those up to this number have woken who waits for them */
};

/**
 * core_init() - an empty segment
 * @state_base:  a mapping of state_bytes(n_pages) zeros, the caller's
 * Return: 0 or -ENOMEM.
 */
KMEM_MUST_USE int core_init(struct core *core, const struct core_config *config, void *state_base,
                            uint64_t now_ms);

/**
 * core_open() - make the tables for core->state and core->config; nobody and nothing is in them yet
 * Return: 0, PAGES_E_CORRUPT, or -ENOMEM.
 */
KMEM_MUST_USE int core_open(struct core *core);

/** core_abandon() - free the tables, whatever is in them; the state file stays as it is */
void core_abandon(struct core *core);

/** core_tables() - for a roll-up of its blocks */
struct rollup_tables core_tables(const struct core *core);

/** core_fini() - asserts that no client is left, and nothing shared: sharing_fini() */
void core_fini(struct core *core);

/** core_is_admin() - whether a user is root, or the daemon's own: no limit on one user is for it */
static inline bool core_is_admin(const struct core *core, uint32_t uid)
{
    return uid == 0 || uid == core->config.owner_uid;
}

/**
 * core_set_rules() - other rules from now on
 * @rules:  borrowed; NULL: none
 *
 * Nothing is taken from a client: what is over a limit is given no more.
 */
void core_set_rules(struct core *core, const struct rules *rules);

/** core_tick() - the present, as ledgers have it */
uint32_t core_tick(const struct core *core, uint64_t now_ms);

/**
 * core_join() - a process becomes a client
 * @nonce:  by which it may come back: core_resume()
 *
 * A process is one client, or one for each copy of the library in its program. Another program, as
 * after an exec, knows nothing of what the process held before, so the client that it was ends, and
 * so does that of a copy that joins again; a forked child that has that connection speaks for no
 * client any more, and the caller closes it. If one of the two does not say what it is, a client
 * that is connected stays and the process is refused; one that is not ends.
 *
 * Return: 0, CLIENTS_E_FULL, CLIENTS_E_USER, CLIENTS_E_COPIES, CLIENTS_E_TWICE, an answer of
 * readers_admit(), or
 * CLIENTS_E_ENDING while the blocks of the client that it was are being taken back.
 */
KMEM_MUST_USE int core_join(struct core *core, const struct client_identity *identity,
                            uint64_t nonce, uint64_t now_ms, struct client **ret_client);

/**
 * core_resume() - a process comes back as the client it still is
 * Return: 0, CLIENTS_E_GONE, CLIENTS_E_LOST, or CLIENTS_E_DENIED if that client has another nonce,
 * or joined in another role than identity->is_reader says.
 */
KMEM_MUST_USE int core_resume(struct core *core, const struct client_identity *identity,
                              uint64_t nonce, struct client **ret_client);

/**
 * core_return() - the client of a slot comes back by what it alone was given
 * Return: 0, CLIENTS_E_GONE, CLIENTS_E_LOST, or CLIENTS_E_DENIED if it has another nonce or role.
 */
KMEM_MUST_USE int core_return(struct core *core, uint32_t slot, uint64_t nonce, bool is_reader,
                              struct client **ret_client);

/** core_find_unit() - note which unit a client is in, and charge that; core_join() does */
void core_find_unit(struct core *core, struct client *client);

/** core_end() - a client has died, or left; reap() takes its blocks back */
void core_end(struct core *core, struct client *client, bool left, uint64_t now_ms);

/** core_has_dead() - whether reap() has something to do */
static inline bool core_has_dead(const struct core *core)
{
    return core->clients.n_ended > 0;
}

uint64_t core_segment_bytes(const struct core *core);  /* what it has now */
uint64_t core_most_bytes(const struct core *core);     /* what it may have: resize.h */
uint64_t core_resident_bytes(const struct core *core); /* of the system's memory; 0: not known */
uint64_t core_free_bytes(const struct core *core);
uint64_t core_largest_free_bytes(const struct core *core);
uint64_t core_largest_extent_bytes(const struct core *core); /* as pages_largest_extent() */

/**
 * core_direct_overhead_bytes() - what is neither free nor leased nor asked for: the segment's first
 * page, and of the direct slabs and large blocks what was not asked for
 *
 *      direct used_bytes + this + leased pages + free_bytes == segment_bytes    : core_check()
 */
uint64_t core_direct_overhead_bytes(const struct core *core);

/* Its parts, beside the first page: sizes above what was asked for, and free blocks in slabs. */
uint64_t core_direct_rounding_bytes(const struct core *core);
uint64_t core_direct_slab_bytes(const struct core *core);

/** core_wake() - a name with this bell means another block, or none: those that wait look again */
void core_wake(struct core *core, uint32_t bell);

/** core_note_change() - put it into the stream of changes, and wake who waits for one */
void core_note_change(struct core *core, const struct client_identity *identity,
                      const struct change_facts *facts, const void *text, size_t n_text_bytes);

/** core_tick_changes() - time goes on: what was done without core_note_change() is told, too */
void core_tick_changes(struct core *core, uint64_t now_ms);

/** core_note_peak() - blocks or leases have been given out */
void core_note_peak(struct core *core);

enum { CORE_OK, CORE_E_CORRUPT };

/** core_check() - recount everything there is. Return: 0 or CORE_E_CORRUPT. */
KMEM_MUST_USE int core_check(const struct core *core);

#endif

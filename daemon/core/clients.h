/* SPDX-License-Identifier: MIT */
/*
 * clients.h - who is in the segment, and what is charged to each
 *
 * A client is a process that joined as a member. Its slot in the state file is its name in every
 * entry and page word, from the moment it joins until the last of its blocks has been taken back:
 *
 *      UNUSED -> LIVE -> ENDED -> UNUSED
 *
 *      totals of a client == sum over the direct blocks it holds        : direct_check()
 *      leased_pages       == sum over the leased runs it owns           : leases_check()
 *      n_live + n_ended + n_free_slots == n_slots; n_live + n_ended <= limit
 *      a slot's pid word in the state file is its client's, 0 if it is unused
 *      `kept` lives, and leases nothing                                       : clients_check()
 *
 * What no client is charged for (settle.h) is charged to `kept`, which is no client, has no place
 * in the table, and is counted nowhere. clients_get() leads to it by SLOT_KEPT, so that whatever is
 * held has a holder.
 */
#ifndef DAEMON_CORE_CLIENTS_H
#define DAEMON_CORE_CLIENTS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "daemon/core/account.h"
#include "daemon/core/state.h"
#include "proto/attributes.h"
#include "proto/limits.h"

enum client_state { CLIENT_UNUSED, CLIENT_LIVE, CLIENT_ENDED };

#define PID_TEXT_BYTES 12

struct client {
    enum client_state client_state;
    bool connected;  /* false while it lives on without its connection */
    bool left;       /* ended by saying so */
    bool has_let_go; /* ENDED, and shares nothing any more: sharing_reap() */
    bool lost;       /* LIVE, and its ledger is not: it keeps what it has, and gets no more */
    uint32_t slot;
    uint32_t generation; /* another number for every client of the slot */
    uint32_t born;       /* tick */
    uint32_t ended;      /* tick */
    uint64_t nonce;      /* by which its process is known again */
    uint64_t sequence;   /* of the last change that it asked for and that was begun */
    struct client_identity identity;
    char unit
        [UNIT_NAME_BYTES]; /* the systemd unit, or control group, that it was in when it joined */
    uint64_t n_blocks;     /* direct ones */
    uint64_t num_bytes;    /* of those, as asked for */
    uint64_t leased_pages;
    struct account *user_account; /* these two: NULL: it is in no table of accounts */
    struct account *unit_account; /* NULL: or its unit is not known */
    struct state_client *stored;  /* its slot in the state file, which keeps its peaks */
    _Atomic uint64_t *states;     /* of its ledger; NULL while it has none. See proto/lease.h */
    const struct ledger_counts *counts; /* likewise. See proto/counts.h */
    struct ledger_returns *returns;     /* likewise. See proto/returns.h */
    bool is_read;                       /* its slabs were looked at by reclaim.c, */
    uint64_t n_released;                /* when it had released so many blocks */
    uint32_t idle_page;                 /* a look that was left stands there; 0: none was, */
    uint64_t idle_released;             /* and it began at so many */
    bool is_swept;    /* what it left unused was taken back, and no lease was granted since; */
    uint64_t n_given; /* lease_n_given() was this, before: leases.c */
};

struct clients {
    struct state *state;
    struct client *table; /* CLIENTS_MAX */
    struct client *kept;
    uint32_t *free_slots; /* stack */
    uint32_t n_free_slots;
    uint32_t n_slots; /* slots below this have been used */
    uint32_t limit;   /* how many there may be now */
    uint32_t n_live;
    uint32_t n_ended; /* ended, blocks not yet taken back */
};

enum {
    CLIENTS_OK,
    CLIENTS_E_FULL,
    CLIENTS_E_USER,       /* core_join(): the user has as many clients as one may have */
    CLIENTS_E_COPIES,     /* core_join(): the process is COPIES_MAX clients already */
    CLIENTS_E_ENDING,     /* core_join(): what the process held before is being taken back */
    CLIENTS_E_TWICE,      /* core_join(): the process is a client over another connection */
    CLIENTS_E_GONE,       /* core_resume(): the process is no client, or none any more */
    CLIENTS_E_LOST,       /* core_resume(): its ledger was lost */
    CLIENTS_E_DENIED,     /* core_resume(): it is one with another nonce, or in another role */
    CLIENTS_E_NO_READERS, /* these three: core_join(), see readers.h */
    CLIENTS_E_UNWALLED,
    CLIENTS_E_WALL,
    CLIENTS_E_NO_ROLE, /* these three: hello_answer(), see roles.h */
    CLIENTS_E_ONLY_READS,
    CLIENTS_E_ONLY_OBSERVES,
    CLIENTS_E_CORRUPT, /* clients_check() */
};

/**
 * clients_init() - an empty table of at most `limit` clients
 * @owner_uid:  the daemon's own user, whose `kept` is
 * Return: 0 or -ENOMEM.
 */
KMEM_MUST_USE int clients_init(struct clients *clients, struct state *state, uint32_t limit,
                               uint32_t owner_uid);

void clients_fini(struct clients *clients);

/**
 * clients_add() - let a process join
 * @nonce:  by which it will be known again
 * Return: 0 or CLIENTS_E_FULL.
 */
KMEM_MUST_USE int clients_add(struct clients *clients, const struct client_identity *identity,
                              uint64_t nonce, uint32_t now, struct client **ret_client);

/** clients_recover() - into an empty table, those that the state file knows */
void clients_recover(struct clients *clients);

/* What the request that a client repeats was to do when it came first. */
struct intent {
    enum intent_kind kind;
    uint32_t n_pages; /* of a lease */
    uint64_t at;      /* an offset in bytes; of a lease: a page */
};

/**
 * clients_intend() - write down what a client's request is about to change, before it does
 * @sequence:  the request's sequence number; 0: it has none, and nothing is written
 *
 * From then on a request with the same sequence number is that one, repeated.
 */
void clients_intend(struct clients *clients, uint32_t slot, uint64_t sequence,
                    const struct intent *intent);

/** clients_intent() - what was written down last for a client */
struct intent clients_intent(const struct clients *clients, uint32_t slot);

/** clients_end() - the process has ended, or left; its blocks are still charged */
void clients_end(struct clients *clients, struct client *client, bool left, uint32_t now);

/** clients_remove() - free the slot of an ended client that holds nothing any more */
void clients_remove(struct clients *clients, struct client *client);

/** clients_get() - the client of a slot that is in use */
struct client *clients_get(const struct clients *clients, uint32_t slot);

/** clients_has() - whether a slot is in use, or SLOT_KEPT */
bool clients_has(const struct clients *clients, uint32_t slot);

/**
 * client_is_process() - whether a client is this process
 *
 * By the inode of its pidfd where the kernel has that. Else by pid, user and start time; where that
 * is unknown without it, since the shell compares living processes only (admission.c),
 * and no two of those have the same pid.
 */
bool client_is_process(const struct client *client, const struct client_identity *identity);

/** clients_find() - the first client that is this process, of this user; NULL: it is none */
struct client *clients_find(const struct clients *clients, const struct client_identity *identity);

/** clients_count_of() - how many clients a user has, those that have ended included */
uint32_t clients_count_of(const struct clients *clients, uint32_t uid);

/** clients_find_away() - the same, of those that live and have no connection */
struct client *clients_find_away(const struct clients *clients,
                                 const struct client_identity *identity);

/** clients_next() - the first client that is in use from a slot on; NULL: none */
struct client *clients_next(const struct clients *clients, uint32_t slot);

/** clients_check() - walk the slots and recount. Return: 0 or CLIENTS_E_CORRUPT. */
KMEM_MUST_USE int clients_check(const struct clients *clients);

/** client_pid_text() - "4711", or "?" for a pid that is unknown. Return: buffer. */
const char *client_pid_text(uint32_t pid, char buffer[PID_TEXT_BYTES]);

void client_charge(struct client *client, uint64_t num_bytes);
void client_discharge(struct client *client, uint64_t num_bytes);
void client_charge_pages(struct client *client, uint32_t n_pages);
void client_discharge_pages(struct client *client, uint32_t n_pages);

/** client_charged_bytes() - what is charged to it now: its direct blocks and its leases */
uint64_t client_charged_bytes(const struct client *client);

/** client_note_used() - its live blocks were seen to have num_bytes */
void client_note_used(struct client *client, uint64_t num_bytes);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * world.h - a daemon's core and its files in memory, clients that speak to it, and who kills it
 */
#ifndef TESTS_CRASH_WORLD_H
#define TESTS_CRASH_WORLD_H

#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>

#include "daemon/core/dispatch.h"
#include "daemon/core/recover.h"
#include "proto/lease.h"
#include "proto/store.h"
#include "tests/support/model.h"
#include "tests/support/seeded.h"
#include "tests/wire/request.h"

#define N_PAGES 40
#define N_CLIENTS 3
#define N_UIDS 2
#define N_REASONS 20
#define NOW_MS 1000
#define NEVER UINT64_MAX
/* So many client slots are used: a process that joins may have another's slot still to be freed. */
#define SLOTS_SAVED 8
/* The words `given` and `asked` stand before the states. */
#define STATES_WORDS                                                                               \
    (LEASE_GIVEN_BEFORE_BYTES / sizeof(uint64_t) + N_PAGES / LEASE_PAGES_PER_WORD + 1)

#define EXPECT(condition)                                                                          \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fail_here(__FILE__, __LINE__, #condition);                                             \
        }                                                                                          \
    } while (0)

/* 64: twice what the protocol has numbers for. */
#define REQUESTS_MAX 64

enum op_kind {
    OP_ALLOCATE,
    OP_ALLOCATE_LARGE,
    OP_RELEASE,
    OP_LEASE,
    OP_RETURN, /* unused pages are taken back */
    OP_TAKE,   /* by the client, without a word: no store of the daemon's */
    OP_SLAB,   /* likewise; it is idle, and whoever finds no room takes it */
    OP_JOIN,
    OP_RESUME,  /* over another connection */
    OP_REJOIN,  /* as another program, which knows of nothing: exec */
    OP_GOODBYE, /* kmem_close() */
    OP_END,
    OP_RESIZE, /* of the segment */
    OP_KINDS,
};

struct op {
    enum op_kind kind;
    uint32_t client;
    uint64_t num_bytes;
    uint32_t reason;
    uint32_t n_pages;
    uint32_t block; /* an index */
    bool gives;     /* OP_TAKE, OP_SLAB: the other way round */
};

/* What the client was told last. */
struct answer {
    uint32_t body_case;
    uint64_t offset;
    uint32_t page;
    uint32_t n_pages;
};

extern struct core core;
extern struct core_config config;
extern _Atomic uint64_t states[SLOTS_SAVED][STATES_WORDS];
extern bool has_ledger[SLOTS_SAVED];
extern struct peer peers[N_CLIENTS];
extern struct model model; /* what must be true */
extern struct model model_before;
extern struct answer answer;
extern struct seeded seeded;
extern struct op op;
extern bool is_told; /* the client of the operation has had its answer */
extern const char *phase;
extern uint64_t at_k; /* the store before which the operation was stopped */
extern uint64_t at_j; /* and the recovery from that */
extern uint64_t at_i; /* and the recovery from that */
extern uint64_t n_state;
extern jmp_buf killed;
extern uint64_t kill_at; /* the store before which it all ends */
extern uint64_t n_stores;
extern uint64_t n_asked[REQUESTS_MAX]; /* how often each request was, by its number */
extern uint64_t n_barriers;            /* so often was it asked whether slabs are idle */

void fail_here(const char *file, int line, const char *condition) __attribute__((noreturn));

/** states_in() - those of the ledger of a slot */
_Atomic uint64_t *states_in(uint32_t slot);

/** world_open() - memory for the files; nothing is in them */
void world_open(void);
void world_close(void);

/** world_clear() - files of zeros and no client, as on the first day. Needs no core. */
void world_clear(void);

/** first_start() - as a server starts with files that may be new, or half begun */
void first_start(void);

/** core_make() - a core of what is in the files; nobody is connected */
void core_make(void);

/** world_reap() - until all who have ended are buried */
void world_reap(void);
void buried(const struct obituary *obituary, uint32_t slot, void *user);

uint32_t uid_of(uint32_t client);
struct client_identity identity_of(uint32_t client);

/** model_of() - a client in the model; NULL: it has not joined */
struct model_client *model_of(uint32_t client);

/** reason_given() - the words of a reason as a client gives them */
const char *reason_given(uint32_t number);

/** ask() - Return: the answer, when it is complete; the daemon does not begin to reap for it. */
const Kmem__Response *ask(struct peer *peer, Kmem__Request *request);

/** hello() - as a member that joins (nonce 0) or comes back. Return: the answer. */
const Kmem__Response *hello(uint32_t client, uint64_t nonce);

/** join() - with a new nonce, as often as it is asked to come again; the model follows */
void join(uint32_t client);

/** come_back() - with its nonce; want the model's figures in the Welcome. Return: false: gone. */
bool come_back(uint32_t client);

/** say_goodbye() - and wait until everything is taken back */
void say_goodbye(uint32_t client);

#endif

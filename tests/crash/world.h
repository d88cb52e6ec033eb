/* SPDX-License-Identifier: MIT */
/*
 * world.h - a daemon's core and its files in memory, clients that speak to it, and who kills it
 */
#ifndef TESTS_CRASH_WORLD_H
#define TESTS_CRASH_WORLD_H

#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>

#include "daemon/dispatch.h"
#include "daemon/recover.h"
#include "proto/lease.h"
#include "proto/store.h"
#include "tests/unit/seeded.h"

#define N_PAGES 40
#define N_CLIENTS 3
#define BLOCKS_MAX 512
#define NOW_MS 1000
#define NEVER UINT64_MAX
/* So many client slots and reasons are saved; no more are used. */
#define SLOTS_SAVED 8
#define REASONS_SAVED 64

#define EXPECT(condition)                                                                          \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fail_here(__FILE__, __LINE__, #condition);                                             \
        }                                                                                          \
    } while (0)

struct block {
    uint64_t offset;
    uint64_t num_bytes;
    uint32_t client;
};

/* What must be true. */
struct model {
    bool is_joined[N_CLIENTS];
    uint64_t serial[N_CLIENTS];
    struct block blocks[BLOCKS_MAX];
    uint32_t n_blocks;
};

enum op_kind {
    OP_ALLOCATE,
    OP_ALLOCATE_LARGE,
    OP_RELEASE,
    OP_LEASE,
    OP_RETURN,
    OP_TAKE, /* by the client, without a word: no store of the daemon's */
    OP_JOIN,
    OP_END,
    OP_KINDS,
};

struct op {
    enum op_kind kind;
    uint32_t client;
    uint64_t num_bytes;
    uint32_t n_pages;
    uint32_t block; /* an index */
    bool left;
};

/* What is in the files. */
struct image {
    struct state_header header;
    uint64_t page_words[N_PAGES];
    uint64_t given[STATE_GIVEN_WORDS(N_PAGES)];
    struct state_client clients[SLOTS_SAVED];
    struct state_reason reasons[REASONS_SAVED];
    unsigned char *ledger; /* of the daemon, up to its reasons */
    uint64_t states[SLOTS_SAVED][N_PAGES / LEASE_PAGES_PER_WORD + 1];
    bool has_ledger[SLOTS_SAVED];
};
extern struct core core;
extern struct core_config config;
extern unsigned char *state_base;
extern struct ledger_layout layout;
extern _Atomic uint64_t states[SLOTS_SAVED][N_PAGES / LEASE_PAGES_PER_WORD + 1];
extern bool has_ledger[SLOTS_SAVED];
extern struct peer peers[N_CLIENTS];
extern struct reply *reply;
extern struct model model;
extern struct model model_before;
extern uint64_t leased_before[N_CLIENTS]; /* pages */
extern uint64_t obituaries_before;
extern struct image before;
extern struct image after_crash;
extern struct seeded seeded;
extern struct op op;
extern const char *phase;
extern uint64_t at_k;
extern uint64_t at_j;
extern uint64_t n_state;
extern uint64_t n_crashes;
extern jmp_buf killed;
extern uint64_t kill_at; /* the store before which it all ends */
extern uint64_t n_stores;

void fail_here(const char *file, int line, const char *condition) __attribute__((noreturn));
bool told_nothing(void *user, uint32_t slot, uint64_t at, void *buffer, size_t n_bytes);
struct now now(void);
void ledger_open(struct client *client);
void buried(const struct obituary *obituary, uint32_t slot, void *user);
_Atomic uint64_t *states_of(uint32_t slot, void *user);
void image_save(struct image *image);
void image_load(const struct image *image);
void core_make(void);
void reap(void);
struct client_identity identity_of(uint32_t client);
const Kmem__Response *ask(uint32_t client, Kmem__Request *request);
const Kmem__Response *hello(uint32_t client, uint64_t nonce);
void join(uint32_t client);
void come_back(bool ended);

#endif

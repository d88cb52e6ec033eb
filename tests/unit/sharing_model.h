/* SPDX-License-Identifier: MIT */
/*
 * sharing_model.h - who holds what, as plain as it can be said
 *
 * Clients are numbers; the model knows nothing of pages, records or slots, but whether a slot is
 * in use. One model, two drivers: test_sharing_model.c calls the core, beside a hostile client;
 * crash/sharing_steps.c sends requests, and is killed in them.
 */
#ifndef TESTS_UNIT_SHARING_MODEL_H
#define TESTS_UNIT_SHARING_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/core/sharing.h"
#include "proto/ledger.h"
#include "proto/share.h"
#include "tests/support/seeded.h"

#define EXPECT(condition)                                                                          \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fail_msg("step %u, %s:%d: %s", n_step, __FILE__, __LINE__, #condition);                \
        }                                                                                          \
    } while (0)

#define N_HONEST 4
#define HOSTILE N_HONEST
#define N_CLIENTS (N_HONEST + 1)
#define N_BLOCKS 48
#define N_NAMES 6
#define NONE UINT32_MAX

struct model_block {
    bool is_used;
    bool is_shared; /* and LIVE */
    bool is_coming; /* nobody holds it: it goes home */
    bool is_leased;
    bool owner_holds;
    bool is_offered;
    bool is_kept; /* the offer is */
    bool is_read_only;
    uint32_t owner; /* NONE: nobody */
    uint32_t giver; /* that has offered it, and is not the owner */
    uint32_t holds; /* a bit for each holder */
    uint32_t heirs; /* those that were handed it */
    struct seg_off off;
    struct share_handle handle;
};

struct model_name {
    uint32_t block; /* NONE: there is no such name */
    uint32_t owner;
    bool keep;
    uint64_t version;
};

extern struct model_block blocks[N_BLOCKS];
extern struct model_name names[N_NAMES];
extern uint32_t slots[N_CLIENTS]; /* NONE: it has ended */
extern struct share_handle stale; /* of something that is gone */
extern uint32_t n_adopted;
extern struct seeded seeded;
extern uint32_t n_step;

static inline uint32_t below(uint32_t limit)
{
    return seeded_below(&seeded, limit);
}

static inline bool one_in(uint32_t n)
{
    return below(n) == 0;
}

/** pick_block() - any that is there; NONE: there is none */
uint32_t pick_block(void);

/** pick_held() - one that a client holds, mostly */
uint32_t pick_held(uint32_t who);

/** pick_honest() - one that lives; now and then NONE */
uint32_t pick_honest(void);

/** free_block() - one of which there is nothing; NONE: all are in use */
uint32_t free_block(void);

/** name_text() - of one of the N_NAMES */
struct sharing_name name_text(uint32_t which, char text[8]);

/** model_forget() - a block is gone */
void model_forget(uint32_t i);

/** model_settle() - something that kept it is gone */
void model_settle(uint32_t i);

/** model_is_held_by() - whether a client holds it, as its owner or otherwise */
bool model_is_held_by(const struct model_block *block, uint32_t who);

/** model_may_give() - whether it may do with it what an owner may */
bool model_may_give(const struct model_block *block, uint32_t who);

/** model_is_last() - whether it is all that keeps the block */
bool model_is_last(uint32_t i, uint32_t who);

/** model_may_attach() - Return: what sharing_attach() must say */
int model_may_attach(const struct model_block *block, uint32_t who, bool write);

/** model_attach() - it has */
void model_attach(uint32_t i, uint32_t who);

/** model_release() - a client that holds it lets go of it; what of its lease it takes home itself
 *  is gone at once */
void model_release(uint32_t i, uint32_t who);

/** model_offer() - a client hands it over, and holds it no more */
void model_offer(uint32_t i, uint32_t who, bool keep);

/** model_check() - want core_check(), and each block and name to be as the model says */
void model_check(const struct core *core);

/** model_end() - a client has ended, and was reaped; its slot is still in `slots` */
void model_end(uint32_t who);

#endif

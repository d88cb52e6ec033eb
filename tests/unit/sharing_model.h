/* SPDX-License-Identifier: MIT */
/*
 * sharing_model.h - who holds what, as plain as it can be said: for test_sharing_model.c
 *
 * Clients are numbers; the model knows nothing of pages, records or slots, but whether a slot is
 * in use.
 */
#ifndef TESTS_UNIT_SHARING_MODEL_H
#define TESTS_UNIT_SHARING_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/ledger.h"
#include "proto/share.h"

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

/** model_end() - a client has ended, and was reaped; its slot is still in `slots` */
void model_end(uint32_t who);

#endif

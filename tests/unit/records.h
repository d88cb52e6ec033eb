/* SPDX-License-Identifier: MIT */
/*
 * records.h - the records of sharing in a state file in memory, and a model of them
 *
 * Eight clients, slots 0 to 7, are there; nothing else is of the daemon. One model, two drivers:
 * test_records_model.c does random operations, crash/every_record.c is killed in each of them.
 */
#ifndef TESTS_UNIT_RECORDS_H
#define TESTS_UNIT_RECORDS_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/core/names.h"
#include "daemon/core/reasons.h"
#include "daemon/core/shares.h"
#include "daemon/core/state.h"
#include "tests/support/seeded.h"

#define RECORDS_PAGES 128
#define RECORDS_INSTANCE UINT64_C(0x1234567890abcdef)
#define RECORDS_CLIENTS 8

struct records {
    unsigned char *file;
    struct state state;
    struct caps caps;
    struct reasons reasons;
    struct shares shares;
    struct names names;
};

/** records_open() - an empty state; nothing is shared */
void records_open(struct records *records);
void records_close(struct records *records);

/** records_abandon() - as a server that is killed: what is in memory is gone, the file stays */
void records_abandon(struct records *records);

/** records_copy() - all of one file that the records are in, into another, which is open */
void records_copy(struct records *to, const struct records *from);

/** records_differ() - whether two files differ in that */
bool records_differ(const struct records *one, const struct records *other);

/** records_recover() - tables for what is in the file. Return: as shares_recover(), and why. */
KMEM_MUST_USE int records_recover(struct records *records, const char **ret_why);

/** records_check() - all three checkers. Return: 0, or not. */
KMEM_MUST_USE int records_check(const struct records *records);

/* ----------------------------------------------------------------------------------- model ---- */

#define MODEL_SHARES 24
#define MODEL_HOLDS 48
#define MODEL_NAMES 8

struct model_share {
    uint64_t offset; /* by which it is known */
    uint64_t word;
    uint64_t num_bytes;
    uint64_t tag;
    struct share_place place;
    uint32_t reason; /* its number */
    uint32_t born;
};

struct model_hold {
    uint64_t offset; /* of the share */
    uint64_t flags;  /* HOLD_x */
    uint32_t slot;
    uint32_t reason;
    uint32_t born;
};

struct model_name {
    uint64_t offset; /* of the share; 0: the name means nothing */
    uint64_t version;
    uint32_t owner;
    bool keep;
};

struct records_model {
    struct model_share shares[MODEL_SHARES];
    struct model_hold holds[MODEL_HOLDS];
    struct model_name names[MODEL_NAMES];
    uint32_t n_shares;
    uint32_t n_holds;
};

enum records_op_kind {
    RECORDS_SHARE,
    RECORDS_SET,    /* flags, or another owner */
    RECORDS_RETURN, /* a leased one that nothing holds */
    RECORDS_ADOPT,  /* a leased one becomes direct, and no client's */
    RECORDS_REMOVE,
    RECORDS_HOLD,
    RECORDS_HOLD_WRITE,
    RECORDS_LET_GO,
    RECORDS_PUBLISH,
    RECORDS_UNPUBLISH,
    RECORDS_DISOWN,
    RECORDS_OPS,
};

struct records_op {
    enum records_op_kind kind;
    struct model_share share; /* SHARE, and what SET, RETURN and ADOPT make of one */
    struct model_hold hold;
    struct model_name name; /* its version is filled in when it is done */
    uint32_t number;        /* of the name */
};

/** records_op_choose() - a random one of a kind. Return: false: the model has none to be done. */
bool records_op_choose(struct seeded *seeded, const struct records_model *model,
                       enum records_op_kind kind, struct records_op *ret_op);

/** records_op_do() - by the records */
void records_op_do(struct records *records, struct records_op *op);

/** records_op_note() - by the model */
void records_op_note(struct records_model *model, const struct records_op *op);

/** records_are() - whether the records say what the model does, and no more */
bool records_are(const struct records *records, const struct records_model *model);

/** records_end() - let go of everything; nothing may be left, not even a reason */
void records_end(struct records *records);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * returns.h - blocks that come home: a ring in a client's ledger
 *
 * A block of a client's lease that others held is the client's alone again when the last of them
 * has let go. The server says so here, and the client takes it when it goes to its slabs anyway:
 * without a round trip, and exactly once.
 *
 *  field      written by   read by      order             a stale value
 *  offsets[]  the server   the client   before n_put      is not looked at
 *  n_put      the server   the client   release/acquire   the block comes home a moment later
 *  n_taken    the client   the server   release/acquire   the server waits with the next one
 *
 *      n_put - n_taken blocks are on their way, at most RETURNS_MAX; the n-th that ever was stands
 *      in offsets[n % RETURNS_MAX]
 *
 * All of it is the client's to spoil. The server keeps in its own records what has not been put,
 * and decides from these numbers only whether it waits, and whether the last put of a server that
 * was killed is to be made again: a client that lies loses blocks of its own lease, no others.
 * It takes only what its own entries say is live and shared (ENTRY_SHARED).
 */
#ifndef PROTO_RETURNS_H
#define PROTO_RETURNS_H

#include <assert.h>
#include <stdatomic.h>
#include <stdint.h>

/* 1,024: all that a producer of 60 blocks a second has lent for 17 s; more is put when the client
   has taken some. */
#define RETURNS_MAX UINT32_C(1024)

/* Beside an offset, which is a multiple of 16: another has held the block for writing. */
#define RETURNS_WRITTEN UINT64_C(1)

struct ledger_returns {
    _Atomic uint64_t n_put;
    uint64_t reserved_put[7];
    _Atomic uint64_t n_taken;
    uint64_t reserved_taken[7];
    _Atomic uint64_t offsets[RETURNS_MAX];
};

static_assert(sizeof(struct ledger_returns) == 128 + 8 * RETURNS_MAX, "part of the layout");

#endif

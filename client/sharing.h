/* SPDX-License-Identifier: MIT */
/*
 * sharing.h - shared blocks between this process, which counts its own holds, and the server
 *
 * What changes the table of holds, but for counting, is here, with the connection. A block that
 * this process lets go of for the last time goes through three steps:
 *
 *      begin   its entry has count 0, so no thread attaches it without the server; if it is of a
 *              lease of this process it is AWAY: the server may send it home from now on
 *      ask
 *      end     STAYS: the server refused; KEPT: others hold it; else it was the last one
 */
#ifndef CLIENT_SHARING_H
#define CLIENT_SHARING_H

#include <stdbool.h>
#include <stdint.h>

#include "client/context.h"
#include "client/failure.h"
#include "proto/attributes.h"

enum letting_go {
    LETTING_PLAIN,   /* no entry: the server knows whether it is this process's, and frees it */
    LETTING_DROPPED, /* it is held on: nothing is to be asked */
    LETTING_LAST,
};

enum let_go {
    LET_STAYS,
    LET_KEPT,
    LET_FREED,
    LET_UNWRITTEN, /* likewise, and no other than its owner has held it for writing */
};

/** kmem__sharing_let_go() - what the server says became of a block that was let go of */
static inline enum let_go kmem__sharing_let_go(const Kmem__Released *released)
{
    if (released->kept) {
        return LET_KEPT;
    }
    return released->unwritten ? LET_UNWRITTEN : LET_FREED;
}

struct letting {
    enum letting_go how;
    struct seg_off offset;
    struct hold hold; /* of LETTING_LAST */
    bool is_away;     /* likewise: it was marked so */
};

/** kmem__sharing_begin() - begin to let go of what begins at an offset */
struct letting kmem__sharing_begin(const struct conn_lock *lock, struct seg_off offset);

/** kmem__sharing_end() - the server has answered; num_bytes: as it said, 0 if it does not know */
void kmem__sharing_end(const struct conn_lock *lock, const struct letting *letting,
                       enum let_go let_go, uint64_t num_bytes);

/** kmem__sharing_ask() - kmem__share_calls_ask(); what is given up is seen to later */
KMEM_MUST_USE int kmem__sharing_ask(const struct conn_lock *lock,
                                    const struct share_request *request,
                                    const Kmem__Response **ret_response, struct failure *failure);

/**
 * kmem__sharing_again() - hold once more what n handles lead to, if all of it is held; any thread
 * Return: whether it was; then ret_mems has where it is.
 */
bool kmem__sharing_again(const struct share_handle *handles, size_t n, bool write, void **ret_mems);

/** kmem__sharing_drop() - let go of a block that this process holds more than once; any thread */
bool kmem__sharing_drop(const void *block);

/** kmem__sharing_sizeof() - of a block that is held; any thread. Return: whether it is. */
bool kmem__sharing_sizeof(const void *block, uint64_t *ret_num_bytes);

/**
 * kmem__sharing_release() - release a block that the server knows, held, shared or carved by it
 * Return: 0, or -errno as kmem_try_release().
 */
KMEM_MUST_USE int kmem__sharing_release(const struct conn_lock *lock, struct seg_off offset,
                                        struct failure *failure);

/**
 * kmem__sharing_attached() - a block of an answer is held once more, and accessible
 * @block:  there is room for its entry
 * Return: where it is.
 */
void *kmem__sharing_attached(const struct conn_lock *lock, const Kmem__AttachedBlock *block);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * context.h - this process's membership in a segment: joined once, anew in a forked child, left
 */
#ifndef CLIENT_CONTEXT_H
#define CLIENT_CONTEXT_H

#include <stdbool.h>

#include "client/link/conn.h"
#include "client/failure.h"
#include "client/map/holds.h"
#include "client/map/segment.h"
#include "client/heap/allocator.h"
#include "proto/attributes.h"

/* The connection lock, of a thread between kmem__context_enter() and kmem__context_leave(). */
struct conn_lock {
    struct conn *conn;
    const struct segment *segment;
    struct process *process;
    struct holds *holds;
    int cancel_state;
};

/** kmem__context_call() - a call begins; its time is counted from its first question on */
void kmem__context_call(void);

/**
 * kmem__context_enter() - join the segment if this process has not, and wait for the connection
 * @lock:     on success to be handed to kmem__context_leave()
 * @failure:  receives the sentence
 *
 * Return: 0, or a negative errno as kmem.h documents them for connecting.
 */
KMEM_MUST_USE int kmem__context_enter(struct conn_lock *lock, struct failure *failure);

/**
 * kmem__context_join_as_reader() - join the segment for reading only, unless this process has
 * @ret_is_walled:  what the daemon said then; written on success
 * Return: 0; -EISCONN: it has joined as a member; or as kmem__context_enter().
 */
KMEM_MUST_USE int kmem__context_join_as_reader(bool *ret_is_walled, struct failure *failure);

/** kmem__context_refuse_reader() - Return: 0; or -EPERM: a reader can not do what `what` says. */
KMEM_MUST_USE int kmem__context_refuse_reader(const struct conn_lock *lock, const char *what,
                                              struct failure *failure);

/**
 * kmem__context_add_refusal() - go on with why the last lease was refused
 *
 * Nothing, if one was granted since, or the failure says the same already.
 */
void kmem__context_add_refusal(const struct conn_lock *lock, struct failure *failure);

/** kmem__context_has_connection() - whether this thread is between the two */
bool kmem__context_has_connection(void);

/** kmem__context_leave() - let the next thread have the connection */
void kmem__context_leave(struct conn_lock *lock);

/** kmem__context_segment() - the mapping, own or inherited by a child; NULL if there is none */
const struct segment *kmem__context_segment(void);

/** kmem__context_allocator() - what this process holds by lease; NULL if it has not joined */
struct allocator *kmem__context_allocator(void);

/** kmem__context_holds() - the shared blocks that this process holds; NULL if it has not joined */
struct holds *kmem__context_holds(void);

/** kmem__context_is_inherited() - whether an address is in a segment that only a parent joined */
bool kmem__context_is_inherited(const void *address);

/**
 * kmem__context_forget() - in a forked child: its parent's segment is not mapped any more
 *
 * The next call that needs one maps it anew, at another address.
 */
void kmem__context_forget(void);

/**
 * kmem__context_close() - leave the segment and unmap it
 * Return: 0, also if there was nothing to leave; or a fault, after which it is left all the same.
 */
KMEM_MUST_USE int kmem__context_close(struct failure *failure);

#endif

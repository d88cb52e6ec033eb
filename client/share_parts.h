/* SPDX-License-Identifier: MIT */
/*
 * share_parts.h - what the public calls about shared blocks have in common
 */
#ifndef CLIENT_SHARE_PARTS_H
#define CLIENT_SHARE_PARTS_H

#include <errno.h>
#include <stdbool.h>

#include "client/context.h"
#include "client/failure.h"
#include "client/heap/heap.h"
#include "client/sharing.h"
#include "proto/attributes.h"

/** kmem__share_record() - end a public call: record the sentence, and leave errno alone. Return: r.
 */
int kmem__share_record(int r, const struct failure *failure, const char *call, int saved_errno);

/* The whole of a public call; `failure` is the body's. */
#define SHARE_CALL(call, body)                                                                     \
    struct failure failure;                                                                        \
    const int saved_errno = errno;                                                                 \
    kmem__context_call();                                                                          \
    return kmem__share_record((body), &failure, call, saved_errno)

/** kmem__share_refuse() - it can not be meant. Return: -EINVAL. */
KMEM_MUST_USE int kmem__share_refuse(struct failure *failure, const char *what);

/** kmem__share_check_flags() - whether all of them are known. Return: 0 or -EINVAL. */
KMEM_MUST_USE int kmem__share_check_flags(int flags, int known, struct failure *failure);

/** kmem__share_check_name() - Return: 0 or -EINVAL. */
KMEM_MUST_USE int kmem__share_check_name(const char *name, struct failure *failure);

/** kmem__share_copy_reason() - NULL: none */
void kmem__share_copy_reason(struct share_request *request, const char *reason);

/** kmem__share_look() - whether the segment has ended. Return: 0 or -ECONNRESET. */
KMEM_MUST_USE int kmem__share_look(struct failure *failure);

/** kmem__share_enter() - take the connection, with nothing in doubt, and with room for n holds */
KMEM_MUST_USE int kmem__share_enter(struct conn_lock *lock, uint32_t n, struct failure *failure);

/** kmem__share_enter_about() - the same, for a block, and find its offset */
KMEM_MUST_USE int kmem__share_enter_about(struct conn_lock *lock, const void *mem,
                                          struct seg_off *ret_offset, struct failure *failure);

/* A block that is about to be shared. */
struct about {
    struct seg_off offset;
    bool is_held;  /* it has an entry */
    bool is_fresh; /* it has been marked for this request, and entered */
    struct found found;
};

/**
 * kmem__about_begin() - mark it, if it is of a lease of this process and not shared yet
 * Return: 0; or -errno: it is of such a lease, and can not be shared.
 */
KMEM_MUST_USE int kmem__about_begin(const struct conn_lock *lock, struct seg_off offset,
                                    struct about *ret_about, struct failure *failure);

/** kmem__about_undo() - the server has refused, or was not asked: it is as before */
void kmem__about_undo(const struct conn_lock *lock, const struct about *about);

/** kmem__about_shared() - it is shared, or may be soon; handle NULL: it is not known */
void kmem__about_shared(const struct conn_lock *lock, const struct about *about,
                        const Kmem__Handle *handle);

#endif

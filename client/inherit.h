/* SPDX-License-Identifier: MIT */
/*
 * inherit.h - what a forked child has of its parent's blocks, where malloc() is served
 *
 * For libkmem-malloc.so, and exported for it alone: KMEM_PRIVATE in libkmem.map. A program that
 * calls kmem.h, and has no such library, inherits as kmem.h says: none of this is asked for then.
 *
 * The forking thread calls, in this order: kmem__inherit_copy() before the fork; behind it
 * kmem__inherit_drop() in the parent, kmem__inherit_place() in the child.
 */
#ifndef CLIENT_INHERIT_H
#define CLIENT_INHERIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/heap/heap.h"
#include "proto/attributes.h"

#define KMEM_FOR_MALLOC __attribute__((visibility("default")))

/* A copy that is under way, of the thread that forks. All zero: there is none. */
struct inherit_copy {
    struct estate *estate; /* for the child: first in a mapping of estate_bytes, with its tables */
    uint64_t estate_bytes;
    const unsigned char *from; /* byte 0 of what is copied */
    unsigned char *area; /* of the copy of the segment's byte 0; its pages are mapped in runs */
    unsigned char *mapped;
    uint64_t mapped_bytes;
};

/*
 * What libkmem-malloc.so must find to be of the same build: the heap that its fast way has inline,
 * the ledger that it writes, and the copy above, which is in its memory and is written by this one.
 * Digits of a number, in a base that is larger than most of them.
 */
#define MALLOC_LAYOUT                                                                              \
    ((((sizeof(struct heap) * UINT64_C(4099) + offsetof(struct heap, bins)) * 4099 +               \
       offsetof(struct heap, bin_at)) *                                                            \
          4099 +                                                                                   \
      sizeof(struct ledger_entry)) *                                                               \
         4099 +                                                                                    \
     sizeof(struct inherit_copy))
KMEM_FOR_MALLOC extern const uint64_t kmem__malloc_layout;

/** kmem__inherit_begin() - before the first block: children of this process are to inherit */
KMEM_FOR_MALLOC void kmem__inherit_begin(void);

/** kmem__inherit_is_wanted() - whether they are */
bool kmem__inherit_is_wanted(void);

/** kmem__inherit_protected() - the program has called mprotect() for blocks: copies are to be so */
KMEM_FOR_MALLOC void kmem__inherit_protected(void);

/**
 * kmem__inherit_try() - whether there is memory for a copy; nothing is left behind
 * Return: 0 or -ENOMEM.
 */
KMEM_FOR_MALLOC int kmem__inherit_try(void);

/**
 * kmem__inherit_copy() - copy every block that this process has, into memory of its own
 * @copy:  all zero, and so it is again if this fails or the process has not joined
 * Return: 0 or -ENOMEM.
 */
KMEM_FOR_MALLOC int kmem__inherit_copy(struct inherit_copy *copy);

/** kmem__inherit_drop() - in the parent: the child has its own */
KMEM_FOR_MALLOC void kmem__inherit_drop(struct inherit_copy *copy);

/**
 * kmem__inherit_place() - in the child: the copies take the place of the segment
 *
 * The process has no segment then, and its first call maps it at another address.
 * Return: 0 or -errno: the old range is not to be touched.
 */
KMEM_FOR_MALLOC int kmem__inherit_place(struct inherit_copy *copy);

/**
 * kmem__inherit_late() - in a child that was forked unseen: what its parent had is copied now
 *
 * Until then it has shared it. What other threads and processes write meanwhile is in it, or not.
 * Return: 0 or -errno: the range is not to be written to.
 */
KMEM_FOR_MALLOC int kmem__inherit_late(void);

/** kmem__inherit_may_join() - whether this thread may call the library: it is in no call */
KMEM_FOR_MALLOC bool kmem__inherit_may_join(void);

/** kmem__inherit_has() - whether an address is where a segment of a parent's was */
KMEM_FOR_MALLOC bool kmem__inherit_has(const void *address);

/** kmem__inherit_sizeof() - an inherited block's size, as it was asked for; 0: none begins there */
KMEM_FOR_MALLOC uint64_t kmem__inherit_sizeof(const void *block);

/**
 * kmem__inherit_release() - forget an inherited block; its memory stays
 * Return: 0; -EINVAL: none begins there; -EALREADY: it has been released.
 */
KMEM_MUST_USE KMEM_FOR_MALLOC int kmem__inherit_release(const void *block);

#endif

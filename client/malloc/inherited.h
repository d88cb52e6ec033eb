/* SPDX-License-Identifier: MIT */
/*
 * inherited.h - what a forked child has of its parent's blocks: copies, in no segment
 *
 * To free one does nothing but give back the memory of a large one: it is in no slab of the
 * child's. A child that lives on, as a server does that has daemonized, is larger for it; to reuse
 * small ones would take an allocator of its own.
 */
#ifndef CLIENT_MALLOC_INHERITED_H
#define CLIENT_MALLOC_INHERITED_H

#include <stdbool.h>
#include <stddef.h>

#include "proto/attributes.h"

/** inherited_may_join() - whether this thread may call the library; else it is in a call of it */
bool inherited_may_join(void);

/** inherited_has() - whether a block was inherited, by its address alone */
bool inherited_has(const void *block);

/** inherited_num_bytes() - its size, as it was asked for; 0: none begins there */
size_t inherited_num_bytes(const void *block);

/**
 * inherited_free() - it is not needed any more
 * Return: 0; -EINVAL: none begins there; -EALREADY: it has been released.
 */
KMEM_MUST_USE int inherited_free(void *block);

/** inherited_part() - in a child that was forked unseen: it has a copy now, or ends */
void inherited_part(void);

/** inherited_end() - in the child: there is no copy, and its parent's memory is not its own */
__attribute__((noreturn)) void inherited_end(int error);

#endif

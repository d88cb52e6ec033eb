/* SPDX-License-Identifier: MIT */
/*
 * store.h - stores that a later process relies on
 *
 * Whoever is killed leaves a prefix of its stores, in program order, if the compiler kept the
 * order. The words that are stored here keep it: each is atomic, and release keeps what stands
 * before it before it. On x86-64 all three are plain moves. Bytes are in no order among themselves,
 * only before the commit that makes them mean something.
 */
#ifndef PROTO_STORE_H
#define PROTO_STORE_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef KMEM_STORE_HOOK
/** store_hook() - a test may end the program here, before any of its stores: tests/crash */
void store_hook(void);
void store_prepare_bytes(void *where, const void *bytes, size_t n_bytes);
#else
static inline void store_hook(void)
{
}

/** store_prepare_bytes() - plain stores that mean nothing until a commit follows */
static inline void store_prepare_bytes(void *where, const void *bytes, size_t n_bytes)
{
    memcpy(where, bytes, n_bytes);
}
#endif

/** store_commit() - the store that makes what was prepared true */
static inline void store_commit(_Atomic uint64_t *where, uint64_t value)
{
    store_hook();
    atomic_store_explicit(where, value, memory_order_release);
}

/** store_prepare_u64() - a store that means nothing until a commit follows */
static inline void store_prepare_u64(_Atomic uint64_t *where, uint64_t value)
{
    store_hook();
    atomic_store_explicit(where, value, memory_order_release);
}

/** store_prepare_u32() - the same for half a word */
static inline void store_prepare_u32(_Atomic uint32_t *where, uint32_t value)
{
    store_hook();
    atomic_store_explicit(where, value, memory_order_release);
}

#endif

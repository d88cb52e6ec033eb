/* SPDX-License-Identifier: MIT */
/*
 * fork.h - a child's heap: copies of its parent's blocks, and a segment of its own; what is exempt
 */
#ifndef CLIENT_MALLOC_FORK_H
#define CLIENT_MALLOC_FORK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Those of a thread's values that do not lie in its descriptor: 32 of two words. */
#define FORK_VALUES 32
#define FORK_VALUE_BYTES 16

/* A word pair of a thread's table of modules' variables, which the loader allocates. */
#define FORK_TABLE_ENTRY_BYTES 16

/* Where the loader's code is; empty until the constructor has looked. */
struct fork_code {
    uintptr_t begin;
    uintptr_t num_bytes;
};

extern struct fork_code fork_loader __attribute__((visibility("hidden")));

/**
 * fork_copy() - before a fork that runs no handlers: the parent's blocks are copied, signals wait
 * Return: false: there is no memory for a copy, and nothing is to be undone.
 */
bool fork_copy(void);

/** fork_in_parent() - behind it, whether there is a child or not; errno stays */
void fork_in_parent(void);

/** fork_in_child() - behind it: the copies are in place */
void fork_in_child(bool may_join);

/** fork_is_libcs() - whether an address is in libc */
bool fork_is_libcs(const void *address);

/**
 * fork_is_threads() - whether a block is for a thread's values of pthread_setspecific()
 *
 * libc clears those of all other threads in a forked child, before any handler runs. So they are
 * not to be in the segment: a block of that size that libc asks for is not.
 */
static inline bool fork_is_threads(size_t count, size_t each_bytes, const void *caller)
{
    return __builtin_expect(count == FORK_VALUES && each_bytes == FORK_VALUE_BYTES, 0) &&
           fork_is_libcs(caller);
}

/**
 * fork_is_table() - whether a block is for a thread's table of modules' variables
 *
 * A thread that is made while another forks has its stack in the child, and libc looks at its table
 * when it uses that stack again: but the table is younger than the copy. So it is not to be in the
 * segment.
 */
static inline bool fork_is_table(size_t each_bytes, const void *caller)
{
    return each_bytes == FORK_TABLE_ENTRY_BYTES &&
           __builtin_expect((uintptr_t)caller - fork_loader.begin < fork_loader.num_bytes, 0);
}

#endif

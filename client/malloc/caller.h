/* SPDX-License-Identifier: MIT */
/*
 * caller.h - the reason of a block that malloc() hands out: which module asked for it
 *
 * WHAT MAY BE REMEMBERED. The module at an address is another one only after the loader has put one
 * there. Before it maps a module it allocates the description, and it calls the program's malloc()
 * for that, as every library does: from its own code. So each call of the loader counts as a module
 * on its way in, and what all heaps remember is made NULL before the module's code can run. A
 * thread that runs it has been told of it, and with it of that: a malloc() compares with what it
 * remembers, and asks for nothing else.
 *
 * What is not noticed is code that a program makes itself at an address where a module was: it goes
 * by the module's name if it calls from the very same address, until the next module is loaded.
 * Rejected: dlclose(), which libc does not call where it unloads what it loaded itself; the
 * loader's own counts, which only dl_iterate_phdr() tells, under the loader's lock.
 */
#ifndef CLIENT_MALLOC_CALLER_H
#define CLIENT_MALLOC_CALLER_H

#include <stdbool.h>
#include <stdint.h>

#include "client/heap/bins.h"

struct caller {
    const char *reason;  /* "malloc/" and the name of the module; valid for ever */
    uint64_t generation; /* how often the loader had called before the address was looked up */
    bool stays;          /* it may be remembered */
};

/**
 * caller_find() - which module an address is in
 * @address:  where malloc() returns to
 *
 * Allocates from libc only, once for each module; takes no lock. Any thread.
 */
void caller_find(const void *address, struct caller *ret_caller);

/** caller_remember() - this thread's heap, not one of zeros, is to know the reason of a place */
void caller_remember(struct heap *heap, const void *address, const struct caller *of,
                     uint64_t word);

/** caller_remembered() - what the heap remembers of a place; NULL: nothing */
const struct call_site *caller_remembered(struct heap *heap, const void *address);

/** caller_begin_child() - in a forked child: its heaps are zeros, and others than its parent's */
void caller_begin_child(void);

/* Code is laid out by bytes: the lowest bits tell return addresses apart. */
static inline struct call_site *caller_set(struct heap *heap, const void *address)
{
    return heap->calls[(uint8_t)(uintptr_t)address];
}

static_assert(CALL_SETS == UINT8_MAX + 1, "found by the lowest byte");

#endif

/* SPDX-License-Identifier: MIT */
/*
 * next.h - the function that a name of this library stands before: libc's, or another library's
 *
 * It is looked for once, and kept. The loader is asked, which allocates and locks: a function that
 * a signal handler may call is looked for by a constructor.
 */
#ifndef CLIENT_MALLOC_NEXT_H
#define CLIENT_MALLOC_NEXT_H

#include <stdatomic.h>
#include <stddef.h>

/* Any function: it is converted to its own type where it is called. */
typedef void (*next_function)(void);

/* found: written by every thread that looks, relaxed, because all find the same; NULL before. */
struct next {
    const char *name;
    _Atomic(next_function) found;
};

/**
 * next_find() - look for it, and keep it
 *
 * Out of line, so that no register that it saves has to be restored behind what is jumped to.
 */
next_function next_find(struct next *next);

/** next_keep() - likewise, of an address that was found in another way */
next_function next_keep(struct next *next, void *symbol);

/** next_get() - the function that is kept, or that is looked for now */
static inline next_function next_get(struct next *next)
{
    /* Relaxed: see there. */
    const next_function found = atomic_load_explicit(&next->found, memory_order_relaxed);
    return found != NULL ? found : next_find(next);
}

#endif

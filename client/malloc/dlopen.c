/* SPDX-License-Identifier: MIT */
/*
 * A library that is loaded with RTLD_DEEPBIND looks for symbols in what it depends on first, and so
 * finds libc's malloc() and free() before those of this library: it releases by the one what the
 * program has allocated by the other, and libc ends the process. The flag is taken away. What it
 * promises is lost: a plugin that brings symbols of the program's names finds the program's.
 * Rejected: to replace libc's functions in memory, which libc's own blocks need.
 *
 * The loader looks for a library by the RUNPATH and $ORIGIN of the module that calls, which it
 * tells by where dlopen() returns to. So the real one is jumped to, and returns to the caller: this
 * file is compiled with sibling calls whatever the rest is compiled with, and a test loads a
 * library that is found in no other way. Rejected: to look for it here, by the caller's rules.
 *
 * A namespace of its own, dlmopen(LM_ID_NEWLM), has another libc with another heap, as it has
 * without this library: what is allocated there is released there.
 */
#include <dlfcn.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

typedef void *(*dlopen_function)(const char *file, int mode);
typedef void *(*dlmopen_function)(Lmid_t nsid, const char *file, int mode);

static _Atomic(dlopen_function) next_dlopen;
static _Atomic(dlmopen_function) next_dlmopen;

/* Out of line, so that no register that it saves has to be restored behind the real call. */
__attribute__((noinline)) static dlopen_function dlopen_find(void)
{
    void *symbol = dlsym(RTLD_NEXT, "dlopen");
    dlopen_function found;
    memcpy(&found, &symbol, sizeof(found));
    atomic_store_explicit(&next_dlopen, found, memory_order_relaxed); /* Relaxed: all find it. */
    return found;
}

__attribute__((noinline)) static dlmopen_function dlmopen_find(void)
{
    void *symbol = dlsym(RTLD_NEXT, "dlmopen");
    dlmopen_function found;
    memcpy(&found, &symbol, sizeof(found));
    atomic_store_explicit(&next_dlmopen, found, memory_order_relaxed); /* Relaxed: all find it. */
    return found;
}

EXPORT void *dlopen(const char *file, int mode)
{
    /* Relaxed: every thread finds the same. */
    dlopen_function next = atomic_load_explicit(&next_dlopen, memory_order_relaxed);
    next = next != NULL ? next : dlopen_find();
    return next(file, mode & ~RTLD_DEEPBIND);
}

EXPORT void *dlmopen(Lmid_t nsid, const char *file, int mode)
{
    /* Relaxed: every thread finds the same. */
    dlmopen_function next = atomic_load_explicit(&next_dlmopen, memory_order_relaxed);
    next = next != NULL ? next : dlmopen_find();
    return next(nsid, file, nsid == LM_ID_BASE ? mode & ~RTLD_DEEPBIND : mode);
}

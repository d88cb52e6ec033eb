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
#include <stddef.h>

#include "client/malloc/next.h"

#define EXPORT __attribute__((visibility("default")))

typedef void *(*dlopen_function)(const char *file, int mode);
typedef void *(*dlmopen_function)(Lmid_t nsid, const char *file, int mode);

static struct next next_dlopen = {.name = "dlopen"};
static struct next next_dlmopen = {.name = "dlmopen"};

EXPORT void *dlopen(const char *file, int mode)
{
    const dlopen_function next = (dlopen_function)next_get(&next_dlopen);
    return next(file, mode & ~RTLD_DEEPBIND);
}

EXPORT void *dlmopen(Lmid_t nsid, const char *file, int mode)
{
    const dlmopen_function next = (dlmopen_function)next_get(&next_dlmopen);
    return next(nsid, file, nsid == LM_ID_BASE ? mode & ~RTLD_DEEPBIND : mode);
}

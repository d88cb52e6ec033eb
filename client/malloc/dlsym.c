/* SPDX-License-Identifier: MIT */
/*
 * dlsym() by the handle of libc: what foreign function interfaces do, ctypes.CDLL("libc.so.6").free
 * or a DllImport of "libc". They mean the free() that the program's other libraries call, and
 * without this library it is libc's; so they get that one, and not libc's, which would end the
 * process. A libc of another namespace (dlopen.c) is another one, and is left alone.
 *
 * What has a handle that means a place in the order of libraries, RTLD_NEXT say, depends on where
 * dlsym() returns to; so it is jumped to, as dlopen() is, and finds what it asks for: behind this
 * library, libc's. dlvsym() is libc's own: it is how the real dlsym() is found.
 */
#include <dlfcn.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "client/malloc/fork.h"
#include "client/malloc/next.h"

#define EXPORT __attribute__((visibility("default")))

typedef void *(*dlsym_function)(void *handle, const char *name);

static struct next next_dlsym;

/* What libc and this library both have, but for what libc's own does as well. */
static bool is_here(const char *name)
{
    static const char *const names[] = {
        "_Fork",  "aligned_alloc", "calloc",  "cfree",    "clone",
        "free",   "madvise",       "malloc",  "memalign", "malloc_usable_size",
        "mremap", "mprotect",      "munmap",  "pvalloc",  "posix_memalign",
        "fork",   "reallocarray",  "realloc", "syscall",  "valloc",
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(name, names[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* Since 2.34 it is libc's, under that version; of a processor that came later, under another. */
__attribute__((noinline)) static next_function dlsym_find(void)
{
    void *symbol = dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.34");
    symbol = symbol != NULL ? symbol : dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.36");
    return next_keep(&next_dlsym, symbol);
}

/* Of two functions of a name the one that everything else calls. */
__attribute__((noinline)) static void *prefer(dlsym_function next, void *handle, const char *name)
{
    void *found = next(handle, name);
    return found != NULL && fork_is_libcs(found) ? next(RTLD_DEFAULT, name) : found;
}

EXPORT void *dlsym(void *restrict handle, const char *restrict name)
{
    /* Relaxed: every thread finds the same. */
    const next_function found = atomic_load_explicit(&next_dlsym.found, memory_order_relaxed);
    const dlsym_function next = (dlsym_function)(found != NULL ? found : dlsym_find());
    if (handle != RTLD_NEXT && handle != RTLD_DEFAULT && is_here(name)) {
        return prefer(next, handle, name);
    }
    return next(handle, name);
}

/* SPDX-License-Identifier: MIT */
/*
 * player_malloc FD [LIBRARY] - calloc and free, glibc's or those of a library that is preloaded
 *
 * The dynamic linker only warns of what it can not preload and the program runs on glibc's, so the
 * player looks where calloc() comes from; LIBRARY is what the name of that file contains.
 */
#include <dlfcn.h>
#include <malloc.h>

#include "tests/bench/player.h"

static inline void *malloc_take(size_t num_bytes)
{
    return calloc(1, num_bytes);
}

static inline void malloc_give(void *block)
{
    free(block);
}

static inline size_t malloc_measure(const void *block)
{
    /* It takes a pointer that it may write through, and never does. */
    return malloc_usable_size((void *)(uintptr_t)block);
}

static const struct allocator allocator = {malloc_take, malloc_give, malloc_measure, NULL};

PLAYER_THREADS(allocator)

static bool calloc_is_of(const char *library)
{
    Dl_info found;
    void *const symbol = dlsym(RTLD_DEFAULT, "calloc");
    return symbol != NULL && dladdr(symbol, &found) != 0 && found.dli_fname != NULL &&
           strstr(found.dli_fname, library) != NULL;
}

int main(int argc, char **argv)
{
    return argc >= 2 ? player_serve(argv[1], argc == 2 || calloc_is_of(argv[2]), play, take_over)
                     : 1;
}

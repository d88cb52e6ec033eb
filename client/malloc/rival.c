/* SPDX-License-Identifier: MIT */
/*
 * The loader takes the first malloc() that it finds: the program's, then this library's, then those
 * of the libraries that the program is linked with.
 *
 *      in the program          an allocator that is linked into it, clang's sanitizers: they serve
 *                              it, and this library has no call of it
 *      in a sanitizer's        gcc's: its other functions expect the blocks that it has made, and
 *      library                 would get this library's
 *
 * kmemctl looks at the file before it runs a program, and refuses it. This is for the programs that
 * such a program starts. AddressSanitizer ends a process in which it is not the first, in words
 * that do not say who was: kmemctl asks it not to (verify_asan_link_order=0), so that this library
 * can say it.
 */
#include "client/malloc/rival.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* As a shell's for a program that is there and can not be run, and kmemctl's. */
#define STATUS_NOT_RUN 126

static const char *sanitizer(void)
{
    static const struct {
        const char *symbol;
        const char *name;
    } known[] = {
        {"__asan_init", "AddressSanitizer"}, {"__hwasan_init", "HWAddressSanitizer"},
        {"__lsan_init", "LeakSanitizer"},    {"__msan_init", "MemorySanitizer"},
        {"__tsan_init", "ThreadSanitizer"},
    };
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (dlsym(RTLD_DEFAULT, known[i].symbol) != NULL) {
            return known[i].name;
        }
    }
    return NULL;
}

/*
 * Whether the loader has bound malloc() to this library's. Of a program that is linked to a fixed
 * address, and has malloc()'s as a constant, it may find a jump in the program: a symbol without a
 * section, that leads here.
 */
static bool is_bound_here(void)
{
    static const char here = 0;
    const ElfW(Sym) *symbol = NULL;
    Dl_info bound;
    Dl_info own;
    if (dladdr1(dlsym(RTLD_DEFAULT, "malloc"), &bound, (void **)&symbol, RTLD_DL_SYMENT) == 0 ||
        dladdr(&here, &own) == 0) {
        return true; /* it has none */
    }
    return bound.dli_fbase == own.dli_fbase || (symbol != NULL && symbol->st_shndx == SHN_UNDEF);
}

/*
 * valgrind's tools put a malloc() of their own in the place of libc's, and a processor of theirs in
 * the place of the machine's, where to join took a minute. What they preload tells.
 */
static bool is_emulated(void)
{
    const char *preloaded = secure_getenv("LD_PRELOAD");
    return preloaded != NULL && strstr(preloaded, "/vgpreload_") != NULL;
}

bool rival_found(void)
{
    if (is_emulated()) {
        (void)dprintf(STDERR_FILENO,
                      "kmem-malloc: %s runs under valgrind; its memory is not in the segment\n",
                      program_invocation_name);
        return true;
    }
    const char *name = sanitizer();
    const bool is_bound = is_bound_here();
    if (is_bound && name == NULL) {
        return false;
    }
    if (is_bound) {
        (void)dprintf(STDERR_FILENO,
                      "kmem-malloc: %s is built with %s, whose malloc() must be the only one; run "
                      "it without --malloc, or build it without the sanitizer\n",
                      program_invocation_name, name);
        _exit(STATUS_NOT_RUN);
    }
    (void)dprintf(STDERR_FILENO,
                  "kmem-malloc: %s has a malloc() of its own%s%s; its memory is not in the "
                  "segment. Build it without, if it is to be\n",
                  program_invocation_name, name != NULL ? ", of " : "", name != NULL ? name : "");
    return true;
}

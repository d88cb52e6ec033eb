/* SPDX-License-Identifier: MIT */
/*
 * libkmem-malloc.so is found from where kmemctl is, in the build tree and wherever it is installed;
 * else where this build would install it. $KMEM_MALLOC is the user's decision and comes first.
 *
 * The loader takes LD_PRELOAD apart at spaces and colons and knows no way to escape them. What it
 * can not load it complains of in each program, and goes on: a path with one of them is refused
 * here, once.
 *
 * A program that is started by the program may be built with AddressSanitizer, which would end it
 * with a sentence about the order of libraries: it is told not to look, and the library says why it
 * can not run.
 */
#include "client/ctl/preload.h"

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/ctl/image.h"

#define VARIABLE "LD_PRELOAD"
#define LIBRARY "kmem/libkmem-malloc.so"

/* CMake says how the directory of libraries is called here, and where it is to be in the end. */
#define BESIDE "../" KMEM_LIBDIR_NAME "/" LIBRARY
#define INSTALLED KMEM_LIBDIR "/" LIBRARY

/* Return: the library's path, which may be in the buffer; NULL if there is none. */
static const char *find(char *buffer, size_t capacity_bytes)
{
    const char *chosen = getenv("KMEM_MALLOC");
    if (chosen && *chosen) {
        if (access(chosen, R_OK) == 0) {
            return chosen;
        }
        (void)fprintf(stderr, "kmemctl: $KMEM_MALLOC is \"%s\", and there is no such library\n",
                      chosen);
        return NULL;
    }
    if (image_find_beside(BESIDE, R_OK, buffer, capacity_bytes)) {
        return buffer;
    }
    if (access(INSTALLED, R_OK) == 0) {
        return INSTALLED;
    }
    (void)fprintf(stderr,
                  "kmemctl: --malloc needs libkmem-malloc.so, and that is neither in "
                  "../" KMEM_LIBDIR_NAME "/kmem beside kmemctl's directory nor in %s/kmem; "
                  "$KMEM_MALLOC may name it\n",
                  KMEM_LIBDIR);
    return NULL;
}

bool preload_find(char *path, size_t capacity_bytes)
{
    char buffer[PATH_MAX];
    char real[PATH_MAX];
    const char *found = find(buffer, sizeof(buffer));
    if (!found) {
        return false;
    }
    /* Absolute, for a program may change its directory before it starts another. */
    if (!realpath(found, real) || strlen(real) + 1 > capacity_bytes) {
        (void)fprintf(stderr, "kmemctl: %s can not be loaded: its path is too long\n", found);
        return false;
    }
    if (strpbrk(real, " :")) {
        (void)fprintf(stderr,
                      "kmemctl: %s can not be loaded: " VARIABLE
                      " has no way to write a path with a space or a colon\n",
                      real);
        return false;
    }
    memcpy(path, real, strlen(real) + 1);
    return true;
}

bool preload_check(const char *program)
{
    char path[PATH_MAX];
    const char *refusal = image_find(program, path, sizeof(path)) ? image_refusal(path) : NULL;
    if (refusal) {
        (void)fprintf(stderr, "kmemctl: --malloc can not serve %s: it %s\n", path, refusal);
        return false;
    }
    return true;
}

/* What a process is sent for a fault of its own. A shell hands the number on as 128 more. */
static bool is_fault(int number)
{
    static const int faults[] = {SIGSEGV, SIGBUS, SIGABRT, SIGILL, SIGFPE, SIGTRAP, SIGSYS};
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        if (faults[i] == number) {
            return true;
        }
    }
    return false;
}

void preload_explain(int wait_status)
{
    int number = WIFSIGNALED(wait_status) ? WTERMSIG(wait_status) : WEXITSTATUS(wait_status) - 128;
    if (is_fault(number)) {
        (void)fprintf(stderr,
                      "kmemctl: SIG%s may be of what --malloc does not serve, see kmemctl(1); "
                      "without --malloc the program tells its own faults from it\n",
                      sigabbrev_np(number));
    }
}

/* Adds a word to what a variable says, before it or behind it. */
static bool add_word(const char *variable, const char *word, bool is_first)
{
    const char *others = getenv(variable);
    char *both;
    if (!others || !*others) {
        return setenv(variable, word, 1) == 0;
    }
    if (asprintf(&both, "%s:%s", is_first ? word : others, is_first ? others : word) < 0) {
        return false;
    }
    bool is_set = setenv(variable, both, 1) == 0;
    free(both);
    return is_set;
}

bool preload_set(const char *path)
{
    return add_word(VARIABLE, path, true) &&
           add_word("ASAN_OPTIONS", "verify_asan_link_order=0", false);
}

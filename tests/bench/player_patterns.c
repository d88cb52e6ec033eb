/* SPDX-License-Identifier: MIT */
/*
 * player_patterns LIBRARY PATTERN N - do a pattern of work_malloc.h, and print how many ns it took
 *
 * It knows no allocator: LIBRARY is what bench_malloc had the loader put before libc, "-" if
 * nothing, and is looked for. Exit status: 2 if it is not there.
 */
#include <dlfcn.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/bench/work_malloc.h"

static const struct {
    const char *name;
    work_function work;
} patterns[] = {
    {"loop", work_loop},         {"cfrac", work_cfrac},     {"espresso", work_espresso},
    {"slots", work_slots},       {"strings", work_strings}, {"map", work_map},
    {"xmalloc", work_xmalloc},   {"scratch", work_scratch}, {"mstress", work_mstress},
    {"handover", work_handover},
};

static uint64_t now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        return 1;
    }
    if (strcmp(argv[1], "-") != 0 && dlopen(argv[1], RTLD_NOLOAD | RTLD_LAZY) == NULL) {
        return 2;
    }
    for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++) {
        if (strcmp(patterns[i].name, argv[2]) == 0) {
            const uint64_t begin_ns = now_ns();
            const uint64_t done = patterns[i].work(strtoull(argv[3], NULL, 10));
            const uint64_t end_ns = now_ns();
            (void)printf("%" PRIu64 " %" PRIu64 "\n", end_ns - begin_ns, done);
            return 0;
        }
    }
    return 1;
}

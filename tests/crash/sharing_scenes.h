/* SPDX-License-Identifier: MIT */
/*
 * sharing_scenes.h - three clients, one of which has a lease: what they do, and what comes of it
 */
#ifndef TESTS_CRASH_SHARING_SCENES_H
#define TESTS_CRASH_SHARING_SCENES_H

#include <stdbool.h>
#include <stddef.h>

#include "tests/unit/fixture.h"

struct scene {
    const char *name;
    void (*set)(void);     /* before the server can be killed */
    void (*perform)(void); /* asked for again, it comes to the same */
    void (*want)(void);    /* when it is over, whoever was killed */
};

extern struct fixture fixture;
extern struct core *const core;
extern bool is_told; /* the operation was done, and its client knows */
extern const struct scene scenes[];
extern const size_t n_scenes;

/** scene_begin() - everything is unshared; alice has a lease and a direct block */
void scene_begin(void);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * scenes.h - what clients do, call by call, while calls of theirs may fail
 *
 * A scene is prepared, and then acted: once while something fails, once more in peace. What an act
 * could not release it keeps, and the next one releases it first.
 */
#ifndef TESTS_SYSTEM_SCENES_H
#define TESTS_SYSTEM_SCENES_H

#include <stdbool.h>

struct scene {
    const char *name;
    bool kills_servers;
    void (*prepare)(void); /* in peace; NULL: nothing to prepare */
    void (*act)(void);
};

extern const struct scene scene_join;
extern const struct scene scene_carve;
extern const struct scene scene_lease;
extern const struct scene scene_share;
extern const struct scene scene_attach;
extern const struct scene scene_read;
extern const struct scene scene_watch;
extern const struct scene scene_query;
extern const struct scene scene_fork;
extern const struct scene scene_resume;
extern const struct scene scene_close;

/** scenes_produce() - in a client that stays: what the others attach, find and follow */
void scenes_produce(const void *argument);

/*
 * How something comes to fail, and ends to. The latter returns how often a descriptor could not be
 * looked at: the library leaves each of them alone, as it can be the program's by now.
 */
typedef void (*scene_arm_fn)(void);
typedef unsigned int (*scene_disarm_fn)(void);

/**
 * scene_play() - prepare a scene and act it twice
 * @arm:     called before the first act
 * @disarm:  called behind it
 *
 * Wants each call to succeed, or to fail as it is documented, with a sentence; all of them to
 * succeed in peace; and this process in the end to hold nothing, of the segment nor of descriptors.
 */
void scene_play(const struct scene *scene, scene_arm_fn arm, scene_disarm_fn disarm);

#endif

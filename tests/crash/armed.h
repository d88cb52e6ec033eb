/* SPDX-License-Identifier: MIT */
/*
 * armed.h - say from outside what is to happen at a named place: proto/crash_point.h
 *
 * What is armed is a file in the directory $KMEM_CRASH_DIR, which every process that is built with
 * crash points looks at whenever it comes to one. Who does what it says renames it first, so that
 * it happens once: the server that is started in the place of a killed one goes on.
 */
#ifndef TESTS_CRASH_ARMED_H
#define TESTS_CRASH_ARMED_H

#include <stdbool.h>
#include <sys/types.h>

#define ARMED_DIRECTORY "KMEM_CRASH_DIR"
#define ARMED_FILE "armed"
#define ARMED_FIRED_FILE "fired"
#define ARMED_PATH_BYTES 512

struct armed {
    char point[64];
    int nth;         /* time that the process comes there; 1 is the first */
    char action[16]; /* "kill", "stop", "raise" (a signal), "delay" (milliseconds) */
    int value;
    int pid; /* of the process that is meant; 0: any */
};

/** armed_begin() - for the processes that this one starts from now on; nothing is armed yet */
void armed_begin(void);

/** armed_set() - arm a place, in the place of what was armed */
void armed_set(const struct armed *armed);

/** armed_has_fired() - whether what was armed last has happened */
bool armed_has_fired(void);

#endif

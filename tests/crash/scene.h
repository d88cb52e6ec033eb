/* SPDX-License-Identifier: MIT */
/*
 * scene.h - a program that comes to every crash point of the library, and brings the server to all
 *           of its own
 *
 * It uses the real library against a real daemon, both built with crash points. No call of it may
 * fail, no byte of it may change, whatever happens to the server.
 */
#ifndef TESTS_CRASH_SCENE_H
#define TESTS_CRASH_SCENE_H

#include "tests/system/client.h"

#define SCENE_BLOCKS 40
#define SCENE_BLOCK_BYTES 100

/**
 * scene_play() - the program, as a client's function
 *
 * Waits to be told and plays; says 1 while it holds SCENE_BLOCKS of SCENE_BLOCK_BYTES, waits and
 * leaves the segment; says 2 and waits.
 */
void scene_play(const void *argument);

/** scene_hog() - has leased half of the segment and uses nothing of it: says 1, waits, ends */
void scene_hog(const void *argument);

#endif

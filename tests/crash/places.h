/* SPDX-License-Identifier: MIT */
/*
 * places.h - the places at which a server in this process can be killed
 *
 * Each store that outlives it, a plain copy before it and in its middle, and each crash point. What
 * links this is built with KMEM_STORE_HOOK, and KMEM_CRASH_POINTS if it likes.
 */
#ifndef TESTS_CRASH_PLACES_H
#define TESTS_CRASH_PLACES_H

#include <stdbool.h>
#include <stdint.h>

#define PLACE_NEVER UINT32_MAX

/** is_killed() - perform, up to a place: the n-th from its start. Return: whether it has one. */
bool is_killed(uint32_t at, void (*perform)(void));

#endif

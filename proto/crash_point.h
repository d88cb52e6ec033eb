/* SPDX-License-Identifier: MIT */
/*
 * crash_point.h - named places at which a test ends, stops or delays a process, from outside
 *
 * Between two stores, or two messages, there is a moment that a killer from outside meets once in a
 * million tries. A name makes it meet it every time: tests/crash builds kmemd and the library once
 * more with KMEM_CRASH_POINTS defined, and crash_point() (tests/crash/crash_point.c) looks whether
 * this is the place that is armed. In every other build there is nothing: no call, and no name.
 *
 * A name begins with whose moment it is: "client.", "server.", "scrubber." or "keeper.".
 * tests/crash fails if one of the names in the sources was never met.
 */
#ifndef PROTO_CRASH_POINT_H
#define PROTO_CRASH_POINT_H

#ifdef KMEM_CRASH_POINTS
/** crash_point() - do what is armed for this place, if anything is */
void crash_point(const char *name);
#define KMEM_CRASH_POINT(name) crash_point(name)
#else
#define KMEM_CRASH_POINT(name) ((void)0)
#endif

#endif

/* SPDX-License-Identifier: MIT */
/*
 * sources.h - the segments that are served
 *
 * Those that the command line names; without one, all that the user may see, and those that come
 * later. Each has a label of its own: the segment's name, or, where another with that name is
 * served already, its socket's path.
 */
#ifndef SERVE_SOURCES_H
#define SERVE_SOURCES_H

#include "client/serve/source.h"

/* 64: more segments than a machine has memory for; fewer threads than anyone would miss. */
#define SOURCES_MAX 64

struct sources;

/** sources_new() - serve none yet. Return: NULL if there is no memory. */
struct sources *sources_new(size_t n_reasons);

/** sources_free() - end all threads; those that ask get no answer any more. Return: NULL. */
struct sources *sources_free(struct sources *sources);

/** sources_add() - serve the segment of a socket, if it is not served. Return: 0 or negative. */
KMEM_MUST_USE int sources_add(struct sources *sources, const char *name, const char *socket);

/** sources_look() - serve each that is found on this machine now. Return: 0 or a negative errno. */
KMEM_MUST_USE int sources_look(struct sources *sources);

/** sources_count() - how many there are; they keep their numbers, from 0 on */
size_t sources_count(struct sources *sources);

struct source *sources_get(struct sources *sources, size_t idx);

/** sources_label() - what it is called. Ownership: the sources'. */
const char *sources_label(struct sources *sources, size_t idx);

/** sources_find() - the one of that label. Return: its number; SOURCES_MAX: there is none. */
size_t sources_find(struct sources *sources, const char *label);

#endif

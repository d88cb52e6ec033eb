/* SPDX-License-Identifier: MIT */
/*
 * preload.h - the library that serves a program's malloc() from the segment
 */
#ifndef CTL_PRELOAD_H
#define CTL_PRELOAD_H

#include <stdbool.h>
#include <stddef.h>

/**
 * preload_find() - look for libkmem-malloc.so
 * @path:  receives where it is
 *
 * Says on stderr where it was looked for if there is none that the loader can load.
 * Return: whether it was found.
 */
bool preload_find(char *path, size_t capacity_bytes);

/**
 * preload_check() - look whether it can serve a program
 * @program:  as execvp() takes it; one that is not there is not complained of
 *
 * Return: false: it can not be served at all, and one sentence on stderr says why.
 */
bool preload_check(const char *program);

/** preload_explain() - say on stderr that a signal which is a fault may be the library's */
void preload_explain(int wait_status);

/**
 * preload_set() - let the programs that this process becomes load it, before what they load anyway
 * Return: whether there was memory for it.
 */
bool preload_set(const char *path);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * descriptor.h - numbers for the library's descriptors that are out of the program's way
 */
#ifndef CLIENT_LINK_DESCRIPTOR_H
#define CLIENT_LINK_DESCRIPTOR_H

#include <stdbool.h>
#include <sys/types.h>

#include "proto/attributes.h"

/*
 * A descriptor of the library's, and what it is known again by: a program may close all of them and
 * open its own. Inode 0: there is none.
 */
struct mark {
    int fd;
    dev_t device;
    ino_t inode;
};

/* What stands for those of 0, 1 and 2 that were closed; no mark where one was open. */
struct standard {
    struct mark mark[3];
};

/** kmem__descriptor_raise() - move it far up. Return: it, or fd as it was if that can not be. */
int kmem__descriptor_raise(int fd);

/**
 * kmem__mark_of() - what a descriptor of our own is, so that it is known again
 *
 * One that can not be looked at is closed: there is no mark, then, and none of -1.
 */
struct mark kmem__mark_of(int fd);

/** kmem__mark_holds() - whether the program has left the descriptor alone */
bool kmem__mark_holds(const struct mark *mark);

/** kmem__mark_close() - close it, if it still is what it was; it is none then */
void kmem__mark_close(struct mark *mark);

/**
 * kmem__standard_occupy() - put something harmless where 0, 1 or 2 is closed
 *
 * What is opened or received until kmem__standard_vacate() is none of them: the program's next line
 * on its standard output would else be written into the segment. If there is no descriptor for it
 * nothing is received either.
 */
void kmem__standard_occupy(struct standard *standard);

/** kmem__standard_vacate() - they are closed again, unless the program has opened them meanwhile */
void kmem__standard_vacate(struct standard *standard);

#endif

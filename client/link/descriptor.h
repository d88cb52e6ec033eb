/* SPDX-License-Identifier: MIT */
/*
 * descriptor.h - numbers for the library's descriptors that are out of the program's way
 */
#ifndef CLIENT_LINK_DESCRIPTOR_H
#define CLIENT_LINK_DESCRIPTOR_H

#include <stdbool.h>
#include <sys/types.h>

#include "proto/attributes.h"

/* What a descriptor is, to know it again: a program may close all of them and open its own. */
struct descriptor_id {
    dev_t device;
    ino_t inode;
};

/* Those of 0, 1 and 2 that were closed, and are not to become the library's. */
struct standard {
    int fd[3]; /* -1: it was open */
    struct descriptor_id id[3];
};

/** kmem__descriptor_raise() - move it far up. Return: it, or fd as it was if that can not be. */
int kmem__descriptor_raise(int fd);

/** kmem__descriptor_identify() - what it is; all zero, which nothing is, if it can not be told */
struct descriptor_id kmem__descriptor_identify(int fd);

/** kmem__descriptor_is() - whether the number still is that */
bool kmem__descriptor_is(int fd, struct descriptor_id id);

/**
 * kmem__standard_occupy() - put something harmless where 0, 1 or 2 is closed
 *
 * What is opened or received until kmem__standard_vacate() is none of them: the program's next line
 * on its standard output would else be written into the segment. If there is no descriptor for it
 * nothing is received either.
 */
void kmem__standard_occupy(struct standard *standard);

/** kmem__standard_vacate() - they are closed again, unless the program has opened them meanwhile */
void kmem__standard_vacate(const struct standard *standard);

#endif

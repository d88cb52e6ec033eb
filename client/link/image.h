/* SPDX-License-Identifier: MIT */
/*
 * image.h - which program this process runs, and which copy of the library in it this is
 */
#ifndef CLIENT_LINK_IMAGE_H
#define CLIENT_LINK_IMAGE_H

#include <stdint.h>

struct image {
    uint32_t program; /* another number after each exec; 0: the kernel gave nothing to tell it by */
    uint32_t copy;    /* another number for each copy of the library in that program */
};

/** kmem__image() - the same two numbers as long as the program runs, in forked children too */
struct image kmem__image(void);

#endif

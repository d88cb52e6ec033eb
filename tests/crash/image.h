/* SPDX-License-Identifier: MIT */
/*
 * image.h - what is in the daemon's files at one moment
 *
 * Of the state file's pieces of 4 KiB most are zeros, of which none is copied: that takes a
 * fraction of the time, and a core is made and thrown away every 30 us.
 */
#ifndef TESTS_CRASH_IMAGE_H
#define TESTS_CRASH_IMAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/crash/world.h"

struct image {
    unsigned char *bytes; /* of the pieces, one behind the other */
    bool *is_set;         /* whether a piece has a byte that is not 0 */
    uint64_t states[SLOTS_SAVED][STATES_WORDS];
    bool has_ledger[SLOTS_SAVED];
};

/** images_open() - find out where things are; the world is open, and holds a core */
void images_open(void);

void image_init(struct image *image);
void image_fini(struct image *image);

/** image_save() - needs no core, as all here */
void image_save(struct image *image);
void image_load(const struct image *image);

/** image_is() - whether every byte in the files is as in the image */
bool image_is(const struct image *image);

#endif

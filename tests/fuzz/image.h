/* SPDX-License-Identifier: MIT */
/*
 * image.h - state files of real worlds, spoilt by the choices of a fuzzer, and recovered
 *
 * One story is told to a core at the beginning, and its files are kept at each scene. An input
 * names a scene and what to change in it: a part of the file, a record there, a field, a value. So
 * an input is some bytes, and means the same whatever the tables' sizes are.
 *
 * What is wanted: recover() refuses in a sentence, or makes a core that adds up. Then another
 * recovery finds the same, and its clients can be ended until the segment is empty. The layout's
 * signature is left alone, so nothing has to be sealed anew.
 */
#ifndef TESTS_FUZZ_IMAGE_H
#define TESTS_FUZZ_IMAGE_H

#include "tests/fuzz/fuzz.h"

/* What of the file is changed. */
enum image_part {
    IMAGE_SHARES,
    IMAGE_HOLDS,
    IMAGE_NAMES,
    IMAGE_COUNTS, /* the words of the header behind the instance */
    IMAGE_PAGE_WORDS,
    IMAGE_MAYBE_DIRTY,
    IMAGE_CLIENTS,
    IMAGE_REASONS,
    IMAGE_OBITUARIES,
    IMAGE_SERIES,
    IMAGE_POINTS,
    IMAGE_REFUSALS,
    IMAGE_HEADS,
    IMAGE_ENTRIES,
    IMAGE_LEDGERS, /* the files of clients */
    IMAGE_PARTS,
};

/** image_play() - take a scene, change it by choice in the first n_parts of these, recover it */
void image_play(struct choices *choices, uint32_t n_parts);

#endif

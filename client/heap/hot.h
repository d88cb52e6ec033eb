/* SPDX-License-Identifier: MIT */
/*
 * hot.h - which sizes a process uses often enough for a lease
 */
#ifndef CLIENT_HEAP_HOT_H
#define CLIENT_HEAP_HOT_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/attributes.h"
#include "proto/size_class.h"

/* Above the size classes: a class for each doubling from 64 KiB to 1 TiB. */
#define N_HOT_CLASSES (N_SIZE_CLASSES + 24)

/*
 * The first block of a size is the daemon's to carve, from the second on they are leased: 1 is how
 * many are direct. With none a program that keeps one block of a size would cost the segment a page
 * for it; with more, forty sizes of a program that starts would be forty round trips more each. Of
 * a class whose sizes are all different the third is leased.
 *
 * That is so while memory is plenty. When it is short, in the segment or in a quota of the process,
 * its user or its unit, a thread opens no slab for a class of which it has no full one, however
 * often that is wanted (slab.c), and where the segment is short large blocks are direct (heap.c).
 */
#define HOT_AFTER 1

/*
 * 4,096: where the segment serves a program's malloc(), blocks of up to so many bytes are leased
 * from the first one on. Such a program has many of each size or ends soon; and what it does to a
 * block that the daemon has carved, a realloc() or a free(), is a round trip each time. All classes
 * up to there are 24 slabs of a page or two; larger ones would cost it one for each buffer.
 */
#define HOT_EAGER_BYTES 4096

/* All zero: everything is cold. What was wanted last, by class; relaxed: it decides the way. */
struct hot {
    _Atomic uint64_t wanted[N_HOT_CLASSES];
    bool is_eager; /* HOT_EAGER_BYTES; constant */
};

/** kmem__hot_note() - a block was wanted, and carved by the daemon */
void kmem__hot_note(struct hot *hot, uint64_t num_bytes);

/** kmem__hot_ask() - one more block is wanted. Return: whether it is to be leased. */
KMEM_MUST_USE bool kmem__hot_ask(struct hot *hot, uint64_t num_bytes);

#endif

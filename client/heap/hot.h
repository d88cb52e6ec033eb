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

/*
 * 16: after that many direct blocks of its class the next block is leased. A program that keeps ten
 * blocks of one size, and 500 of them that do, must not cost the segment a page each; 16 round
 * trips are 0.4 ms, once for each class that a program uses. More would only make every short-lived
 * program slower.
 */
#define HOT_AFTER 16

/*
 * 4: a large block fills its pages whoever carves it, so a lease wastes nothing. The first few are
 * direct so that a program with one or two buffers keeps no unused pages when it releases them.
 */
#define HOT_AFTER_LARGE 4

/* Above the size classes: a class for each doubling from 64 KiB to 1 TiB. */
#define N_HOT_CLASSES (N_SIZE_CLASSES + 24)

/* All zero: everything is cold. Counters of the process, relaxed: all they decide is the way. */
struct hot {
    _Atomic uint32_t n_wanted[N_HOT_CLASSES];
};

/** kmem__hot_count() - one more block is wanted. Return: whether it is to be leased. */
KMEM_MUST_USE bool kmem__hot_count(struct hot *hot, uint64_t num_bytes);

#endif

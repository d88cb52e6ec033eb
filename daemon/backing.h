/* SPDX-License-Identifier: MIT */
/*
 * backing.h - the memory behind the segment: which pages, of which nodes, and whether it may be
 *             swapped out
 *
 * A segment of reserved huge pages (--hugepages 2M or 1G) can not be written to by write(), only
 * through mappings. So nothing of it is cleared in the background: clients clear what they get.
 */
#ifndef DAEMON_BACKING_H
#define DAEMON_BACKING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/options.h"

/* Sentences name paths and sizes. */
#define BACKING_SENTENCE_BYTES 512

/** backing_page_bytes() - of reserved huge pages; 0: the segment is not made of these */
uint64_t backing_page_bytes(const struct options *options);

/**
 * backing_check() - whether this machine has the pages and the nodes that are wanted
 * Return: 0; -ENOMEM: too few pages are reserved; or -ENXIO. Then ret_sentence says what to do.
 */
KMEM_MUST_USE int backing_check(const struct options *options, char *ret_sentence);

/** backing_open() - the segment's file, sealed, with its nodes chosen. Return: it; or a negative
 * errno, and ret_sentence says why. */
KMEM_MUST_USE int backing_open(const struct options *options, char *ret_sentence);

/** backing_adopt() - a segment that was kept stays made of what it is, whatever is wanted now */
void backing_adopt(int fd, struct options *options);

/** backing_lock() - keep the segment's memory from being swapped out, as long as this process
 * lives. Return: 0 or a negative errno, and ret_sentence says what to do. */
KMEM_MUST_USE int backing_lock(int fd, const struct options *options, char *ret_sentence);

#endif

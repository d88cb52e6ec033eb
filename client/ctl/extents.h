/* SPDX-License-Identifier: MIT */
/*
 * extents.h - the free space of a segment, and what lies in the middle of it
 *
 * Fed with the pages in order, in memory that does not grow with the segment. Free is here what a
 * process can have: free pages, and leased ones in which no block lives.
 *
 *      free | what splits it | free          gone, the two and it are one extent
 *
 * And for each process and each reason: how long the largest extent would be if all of it went.
 */
#ifndef CTL_EXTENTS_H
#define CTL_EXTENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kmem/observe.h>

/* 16: what one looks at. They are compared by insertion. */
#define EXTENTS_SPLITS 16
/* What a reason, a command may have, with the NUL. */
#define EXTENTS_TEXT_BYTES 128

/* Pages in use between two free extents. */
struct split {
    uint64_t offset;
    uint64_t num_bytes;
    uint64_t before_bytes; /* the free extents on either side */
    uint64_t after_bytes;
    uint64_t n_blocks;
    uint64_t live_bytes;
    uint64_t oldest_ms;
    uint64_t most_bytes; /* what speaks for whose it is */
    uint32_t pid;
    uint32_t uid;
    char command[EXTENTS_TEXT_BYTES];
    char reason[EXTENTS_TEXT_BYTES];
};

/* A process, or a reason: what follows '#' in it is dropped. */
struct party {
    char name[EXTENTS_TEXT_BYTES]; /* the command, or the reason */
    uint32_t pid;
    uint64_t num_bytes;    /* pages of which most is its */
    uint64_t extent_bytes; /* the longest extent if all of it went */
    bool used;
};

struct parties {
    struct party *table; /* hash; power of two */
    size_t n_places;
    size_t n;
    size_t last; /* of the last pages in use; n_places: none, or of more than one */
    uint64_t last_end;
    uint64_t others_end; /* where the last pages end that are not of that one */
};

struct extents {
    uint64_t free_bytes;
    uint64_t largest_bytes;
    uint64_t n_extents;
    struct parties processes;
    struct parties reasons;
    struct split splits[EXTENTS_SPLITS]; /* the worst first */
    size_t n_splits;
    uint64_t n_all_splits;
    struct split best; /* of those no larger than either neighbour, the one that joins the most */
    uint64_t extent_bytes; /* the extent so far */
    uint64_t before_bytes; /* that before `split` */
    struct split split;    /* the pages in use so far, or last; num_bytes 0: none */
};

/** extents_init() - nothing is known yet. Return: 0 or -ENOMEM. */
KMEM_MUST_USE int extents_init(struct extents *extents);

void extents_fini(struct extents *extents);

/** extents_add() - the next pages. Return: 0 or -ENOMEM. */
KMEM_MUST_USE int extents_add(struct extents *extents, const struct kmem_pages *pages);

/** extents_end() - those were all. The parties are sorted, those with the most bytes first. */
void extents_end(struct extents *extents);

/** split_joined_bytes() - what is one extent if it goes */
static inline uint64_t split_joined_bytes(const struct split *split)
{
    return split->before_bytes + split->num_bytes + split->after_bytes;
}

#endif

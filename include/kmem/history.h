/* SPDX-License-Identifier: MIT */
/*
 * history.h - ask a kmemd daemon what its segment was used for before now
 *
 * What query.h says of queries, callbacks, threads and errors is so here too.
 *
 *      struct kmem_history_filter filter = {
 *          .struct_bytes = sizeof(filter),
 *          .step = KMEM_HISTORY_MINUTES,
 *          .reason = "decoder*",
 *      };
 *      int r = kmem_query_history(query, &filter, print_row, stdout);
 *
 * THE DAEMON LOOKS at all live blocks once a second while it has clients, and remembers each second
 * of the last hour and each minute of the last week; its memory for that is fixed. A look at many
 * blocks takes long, a million of them 70 ms of a processor, and the daemon spends no more than a
 * hundredth of one on looking: then there are fewer points, and each says how long it stands for.
 * While no client lives nothing is looked at, nor while no server does: that is a gap, which no
 * point fills. The last point before a gap without clients is of the time after the last one ended,
 * and nothing changes until the next one comes. What there is outlives the daemon's server, a crash
 * and an upgrade, and ends with the segment.
 *
 * OF REASONS the 15 that have the most bytes have a series, and 8 more that had most before: of
 * those, one is given up for a reason that has more now than it had, halved with each hour since.
 * What had no series, or has lost it, is told together, as "<other reasons>". The sum over all is
 * exact.
 *
 * TRUST: what is leased is told by clients (query.h), and their reasons are their own words.
 */
#ifndef KMEM_HISTORY_H
#define KMEM_HISTORY_H

#include <stddef.h>
#include <stdint.h>

#include <kmem/kmem.h>
#include <kmem/query.h>

#ifdef __cplusplus
extern "C" {
#endif

enum kmem_history_step {
    KMEM_HISTORY_SECONDS, /* of the last hour */
    KMEM_HISTORY_MINUTES, /* of the last week */
};

/** What of the history is wanted. Members are added at the end; struct_bytes says how many. */
struct kmem_history_filter {
    size_t struct_bytes; /* sizeof(struct kmem_history_filter) where the caller was built */
    enum kmem_history_step step;
    const char *reason;  /* a pattern, as in struct kmem_block_filter: also rows of each series
                            that it matches, "<other reasons>" among them; NULL or "": of none */
    uint64_t max_age_ms; /* points that are no older; 0: all there are */
};

/** One reason, or all together, at one point of time. Members are added at the end. */
struct kmem_history_row {
    uint64_t number;     /* of its second or minute since the machine started; those between two
                            rows' numbers are the ones that were not looked at */
    const char *reason;  /* NULL: all live blocks. What follows '#' is dropped */
    uint64_t ms_ago;     /* when the look was; of a minute, the last look of it */
    uint64_t span_ms;    /* how long the row stands for: the time since the look before, or the sum
                            of a minute's; 0: it is the first look after a gap */
    uint64_t num_bytes;  /* live blocks, as asked for, then */
    uint64_t n_blocks;   /* of a reason, at most 16,777,215 are told */
    uint64_t peak_bytes; /* the most since the row before: of all blocks as seen ten times a
                            second, of a reason in the looks of a minute */
    uint32_t n_looks;    /* 1 of a second; of a minute at most 60 */
};

typedef int (*kmem_history_fn)(const struct kmem_history_row *row, void *user);

/**
 * kmem_query_history() - what was live, second by second or minute by minute, oldest first
 * @query:   where to ask
 * @filter:  what is wanted; read before the first row comes
 * @each:    called with each row: of one time first the sum, then the reasons
 * @user:    passed on to it
 *
 * A reason has no row for a time in which it had no series; what it had then is in those of
 * "<other reasons>". The row of a minute that is not over tells of what there is of it.
 *
 * Return: as query.h says; -EINVAL if the filter can not be meant: a pattern that is no UTF-8 or
 * has more than 254 bytes, a step that there is not, struct_bytes of no such struct. A daemon that
 * keeps no history ends the connection: -ECONNRESET or -EPROTO.
 */
KMEM_API KMEM_MUST_USE int kmem_query_history(struct kmem_query *query,
                                              const struct kmem_history_filter *filter,
                                              kmem_history_fn each, void *user);

/* From 0, 1 s, 10 s, 1 min, 10 min, 1 h, 1 day and 1 week on, each up to the next. */
#define KMEM_LIFETIME_RANGES 8

/** The blocks of one reason, live and released. Members are added at the end. */
struct kmem_lifetimes {
    const char *reason;
    uint64_t n_blocks; /* live ones */
    uint64_t num_bytes;
    uint64_t oldest_ms;
    uint64_t blocks_by_age[KMEM_LIFETIME_RANGES]; /* live ones */
    uint64_t bytes_by_age[KMEM_LIFETIME_RANGES];
    uint64_t released_by_age[KMEM_LIFETIME_RANGES]; /* blocks that were released, by how long they
                                                       had lived */
};

typedef int (*kmem_lifetimes_fn)(const struct kmem_lifetimes *lifetimes, void *user);

/**
 * kmem_query_lifetimes() - live blocks by age and released ones by lifetime, the largest reason
 *                          first
 *
 * Of reasons that have live blocks; 512 of direct ones and as many of leased ones are told apart,
 * the others are "<other reasons>". What was released is told of the clients that are there, by
 * samples that each stand for some hundreds, in the long run 512, and each of these clients has
 * notes of its first 256 reasons; of direct blocks, and of what ended clients had noted, since the
 * daemon's server began, of about a thousand reasons.
 */
KMEM_API KMEM_MUST_USE int kmem_query_lifetimes(struct kmem_query *query, kmem_lifetimes_fn each,
                                                void *user);

#ifdef __cplusplus
}
#endif

#endif

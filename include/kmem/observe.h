/* SPDX-License-Identifier: MIT */
/*
 * observe.h - what each page of a segment is, what one byte is, and what the daemon does
 *
 * More questions for the query of kmem/query.h, whose rules hold here, too: about callbacks,
 * threads, waiting and errors. A daemon that is older than these questions answers -EPROTO, and
 * the query can only be closed.
 *
 * WHAT IS NOT KNOWN: of the blocks that a client carves from its leases the daemon knows what that
 * client's ledger says, which it does not verify; and it does not see them come and go. So they are
 * in kmem_query_pages() and kmem_query_at(), and not in kmem_query_changes().
 */
#ifndef KMEM_OBSERVE_H
#define KMEM_OBSERVE_H

#include <stddef.h>
#include <stdint.h>

#include <kmem/kmem.h>
#include <kmem/query.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ----------------------------------------------------------------------------------- pages ---- */

/** What pages are. A newer daemon may have other numbers. */
enum kmem_page_state {
    KMEM_PAGES_FREE,
    KMEM_PAGES_CLEARING,  /* free, and being made 0 */
    KMEM_PAGES_FIRST,     /* the segment's first page, which is never given out */
    KMEM_PAGES_DIRECT,    /* a slab, or a large block, that the daemon carved */
    KMEM_PAGES_LEASED,    /* leased to a client, and in use */
    KMEM_PAGES_IDLE,      /* leased, and no block lives there: another process can have it */
    KMEM_PAGES_RETURNING, /* leased by a client that has ended, or taken back: free soon */
};

/** A stretch of pages that are of one thing, or a cell of a map. Members are added at the end. */
struct kmem_pages {
    uint64_t offset;
    uint64_t num_bytes;
    enum kmem_page_state state; /* of a cell: that of the most bytes */
    uint64_t free_bytes;        /* clearing included */
    uint64_t dirty_bytes;       /* of these, pages that came back and are not known to be 0 yet */
    uint64_t idle_bytes;        /* leased pages without a live block, and those that come back */
    uint64_t live_bytes;        /* live blocks, as asked for; of one that a cell cuts, its share */
    uint64_t n_blocks;          /* live blocks; of one that a cell cuts, where it begins */
    uint64_t longest_bytes;     /* the longest piece of free pages inside of it */
    uint64_t oldest_ms;         /* ages of the oldest and the newest of its live blocks */
    uint64_t newest_ms;
    uint32_t pid; /* whose most pages of it are; 0 with a command: kmemd can not see it */
    uint32_t uid;
    const char *command; /* "": no client's */
    const char *reason;  /* of the most bytes of live blocks, about; "": no block lives here */
    int one_owner;       /* 1: all that is not free of it is that client's */
    int one_reason;      /* 1: all its live blocks have that reason */
};

typedef int (*kmem_pages_fn)(const struct kmem_pages *pages, void *user);

/**
 * kmem_query_pages() - the pages of the segment, all of them, by offset
 * @query:       where to ask
 * @cell_bytes:  0: stretch by stretch; else cells of so many bytes, a multiple of 16 KiB: the
 *               daemon adds up, and the answer has as many rows as there are cells
 * @each:        called with each of them
 * @user:        passed on to it
 *
 * Each page is in one row, whatever clients' ledgers say. A segment of many small blocks has a
 * stretch for each slab: a million of them are a million rows; for a picture ask for cells.
 *
 * Return: as kmem/query.h says; -EINVAL if cell_bytes is no multiple of 16 KiB.
 */
KMEM_API KMEM_MUST_USE int kmem_query_pages(struct kmem_query *query, uint64_t cell_bytes,
                                            kmem_pages_fn each, void *user);

/* ------------------------------------------------------------------------------- one byte ---- */

/** What a byte is. A newer daemon may have other numbers. */
enum kmem_byte_kind {
    KMEM_BYTE_BEYOND,   /* behind the segment's end */
    KMEM_BYTE_FREE,     /* in pages that are free, being cleared, coming back, or the first one */
    KMEM_BYTE_IDLE,     /* in a leased page that is in no use */
    KMEM_BYTE_BLOCK,    /* in a live block */
    KMEM_BYTE_ROUNDING, /* behind a live block's last byte: sizes are rounded up */
    KMEM_BYTE_PLACE,    /* in a slab, where a block could live and none does */
    KMEM_BYTE_REST,     /* at the end of a slab, where no block fits */
    KMEM_BYTE_UNKNOWN,  /* in a leased page of which its client's ledger says nothing */
};

/** What a byte is, and what lies beside it. Members are added at the end. */
struct kmem_byte {
    uint64_t offset; /* as asked */
    uint64_t segment_bytes;
    enum kmem_byte_kind kind;
    const struct kmem_block *block; /* of _BLOCK and _ROUNDING, else NULL */
    uint64_t place_offset;          /* of _BLOCK, _ROUNDING, _PLACE: the place in its slab */
    uint64_t place_bytes;
    const struct kmem_pages *pages;  /* what it is in; NULL: _BEYOND */
    const struct kmem_pages *before; /* the pages before and behind that; NULL: there are none */
    const struct kmem_pages *after;
    const struct kmem_block *block_before; /* the next live blocks in the same slab, or in */
    const struct kmem_block *block_after;  /* `before`, or `after`; NULL: there is none */
};

typedef int (*kmem_byte_fn)(const struct kmem_byte *byte, void *user);

/** kmem_query_at() - what the byte at an offset of the segment is; `each` is called once */
KMEM_API KMEM_MUST_USE int kmem_query_at(struct kmem_query *query, uint64_t offset,
                                         kmem_byte_fn each, void *user);

/* -------------------------------------------------------------------------------- changes ---- */

/**
 * Something that the daemon has done. Members are added at the end.
 *
 *  kind          it is about
 *  joined        the process
 *  left, died    a client that said so, or did not
 *  taken_back    the same client, when all that it held is taken back: num_bytes in n_blocks that
 *                it never released, leased ones too
 *  allocated     a direct block: offset, num_bytes, reason
 *  released      likewise
 *  leased        pages, which the process carves up itself: offset, num_bytes
 *  returned      pages of its leases that it did not use, and that were taken back
 *  shared        a block that others may attach from now on
 *  transferred   a block that is handed over
 *  attached      a block that the process holds from now on; the reason is the process's
 *  let_go        a shared block that the process holds no more, and others keep
 *  published     the name, which means the block
 *  unpublished   the name, which means nothing now
 *  refused       num_bytes and reason, as asked for; why: what and why, as kmem_query_refusals()
 *                tells them, "block no_room"
 *
 * A newer daemon may have other kinds. Blocks that clients carve from their leases are in none of
 * them: they come and go without the daemon.
 */
struct kmem_change {
    uint64_t number; /* counted from 1 since the daemon's server began */
    const char *kind;
    uint64_t ms_ago;
    uint32_t pid; /* 0: kmemd can not see it */
    uint32_t uid;
    const char *command;
    uint64_t offset;
    uint64_t num_bytes;
    uint64_t n_blocks;
    const char *reason; /* "" if there is none; likewise the next two */
    const char *name;
    const char *why;
};

typedef int (*kmem_change_fn)(const struct kmem_change *change, void *user);

/**
 * How far a reader of the changes has come. All 0: it begins with the oldest that are kept, some
 * thousands; with number KMEM_CHANGES_FROM_NOW: with the next one.
 */
struct kmem_change_position {
    uint64_t number;   /* of the next change; updated by each call, as what follows */
    uint64_t server;   /* which server counts */
    uint64_t n_missed; /* by the last call: changes before those that it told, which are not kept */
    int began_anew;    /* 1: another server counts now; what the one before did last is not known */
    int more;          /* 1: there are more already */
};

#define KMEM_CHANGES_FROM_NOW UINT64_MAX

/**
 * kmem_query_changes() - what the daemon has done since, in order
 * @query:     where to ask
 * @position:  where to go on
 * @wait_ms:   how long to wait for the first change if there is none; 10 seconds, or half of
 *             $KMEM_TIMEOUT_MS, at most. The daemon wakes the caller; nothing is polled
 * @each:      called with each change
 * @user:      passed on to it
 *
 * One answer's worth, some hundreds, which may be none. A reader that comes back too late is told
 * how many changes it has missed. If `each` ends the call, the position is that behind the change
 * that it was called with.
 */
KMEM_API KMEM_MUST_USE int kmem_query_changes(struct kmem_query *query,
                                              struct kmem_change_position *position,
                                              unsigned wait_ms, kmem_change_fn each, void *user);

#ifdef __cplusplus
}
#endif

#endif

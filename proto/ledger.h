/* SPDX-License-Identifier: MIT */
/*
 * ledger.h - a ledger file: slabs, and one entry for every block in them
 *
 * WORDS
 *
 *  segment   the fixed region of memory that one daemon owns
 *  page      16 KiB of the segment; all bookkeeping is in pages
 *  run       contiguous pages
 *  slab      a run carved into blocks of one size class; or into one large block of whole pages
 *  block     what one allocation returns
 *  reason    why the owner wants the block; here an id in the table of reasons
 *  entry     what the ledger knows about one block
 *  head      what the ledger knows about one page: which slab it belongs to
 *  lease     a run that the daemon has given to one client to carve up itself
 *  share, handle: see docs/design.md
 *
 * The bytes of the blocks are in the segment, which many can write; everything that is needed to
 * find, check and count them is here, which one process writes.
 *
 * LAYOUT, computed from the number of pages alone; a sparse file, in this order:
 *
 *  header   | magic, layout signature, number of pages, counters
 *  counts   | what the client counts of its own blocks; see counts.h
 *  returns  | blocks that come home from others; see returns.h
 *  states   | 1 byte per page: what may be done with a leased page; see lease.h
 *  heads    | 32 bytes per page
 *  plane 0  | 16 entries per page:   slabs of 1 KiB blocks and larger, and large blocks
 *  plane 1  | 64 entries per page:   256 to 896 bytes
 *  plane 2  | 256 entries per page:  64 to 192 bytes
 *  plane 3  | 1024 entries per page: 16 to 48 bytes
 *  reasons  | 128 bytes each, LEDGER_REASONS_MAX of them; append-only
 *  lifetimes| 40 bytes each, LIFETIMES_MAX of them: see lifetimes.h
 *
 * One ledger is the daemon's own, for direct blocks: there counts, returns, reasons and lifetimes
 * are unused,
 * and cost nothing, because the file is sparse; and of the states, the first bits, n_pages /
 * HEADS_PER_BIT of them, say where a head was ever written, so that no other is looked at: a load
 * from a hole takes memory. The others are their clients': the client carves its leases, the daemon
 * reads.
 *
 * A slab's entries stand together in the plane of its class, from the place of its first page on.
 * Planes are what keeps a sparse file dense: were there room for 1024 entries everywhere, a page of
 * sixteen 1 KiB blocks would touch 4 KiB of file for 256 bytes of entries. As it is, entries cost
 * at most 1/64 of the blocks' bytes from 1 KiB up.
 *
 * FIELDS
 *
 *  field         written by   when                         what a stale value means
 *  entry.word    the owner    last, when a block is taken; nothing: it is the truth, 0 is "free"
 *                             first, when it is given back
 *  entry.born    the owner    before word; the next free block's number while the block is free
 *  entry.holder  the owner    before word; whose block it is, in the daemon's own ledger; while the
 *                             block is free, in a client's, a link: client/heap/remote.h
 *  head.kind     the owner    before the run is committed to the slab, last of the head's fields
 *  head.free, head.n_carved, head.n_used, head.next, head.prev
 *                the owner    any time; derived, rebuilt by ledger_slab_rebuild()
 *  head.remote   any thread   before the first block of the slab that it releases, and that is
 *                of the owner another heap's: of what n_used counts, any may be free: a hint
 *  n_used_pages  the client   with each run of pages; a little late, and shown only
 *  is_fenced     the client   when it joins; a lie is to its own harm
 *  reasons       the owner    before n_reasons, which is before any entry that names them
 *
 * "The owner" is the one process that may allocate from the slabs: the daemon for direct blocks, a
 * client for its leases. Nothing here takes a lock, a clock or a descriptor.
 */
#ifndef PROTO_LEDGER_H
#define PROTO_LEDGER_H

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "proto/attributes.h"
#include "proto/counts.h"
#include "proto/lifetimes.h"
#include "proto/limits.h"
#include "proto/returns.h"
#include "proto/size_class.h"
#include "proto/store.h"

/* Position in the segment; 0 is "none": the segment's first page is never given out. */
struct seg_off {
    uint64_t bytes;
};

/* word: num_bytes in the low 40 bits, the reason's id above, ENTRY_SHARED; 0: the block is free. */
struct ledger_entry {
    _Atomic uint64_t word;
    _Atomic uint32_t born; /* tick; while free: 1 + the next free block of the slab, 0 the last */
    _Atomic uint32_t holder;
};

static_assert(sizeof(struct ledger_entry) == 16, "part of the layout");

#define ENTRY_REASON_SHIFT 40
#define ENTRY_REASONS_MAX (UINT32_C(1) << 23)
/* In a client's ledger, of a live block: the server knows a share of it. Before a client asks for
   one it sets this, and takes it away when the block is its own alone again. */
#define ENTRY_SHARED (UINT64_C(1) << 63)
#define ENTRY_WORD(num_bytes, reason)                                                              \
    ((uint64_t)(num_bytes) | (uint64_t)(reason) << ENTRY_REASON_SHIFT)
#define ENTRY_NUM_BYTES(word) ((word) & ((UINT64_C(1) << ENTRY_REASON_SHIFT) - 1))
#define ENTRY_REASON(word) ((uint32_t)((word) >> ENTRY_REASON_SHIFT) & (ENTRY_REASONS_MAX - 1))

/*
 * In a client's ledger, a word without a size, which libraries before this one write: the block was
 * released by a thread that does not own its slab. While the thread works on the slab its own
 * number stands in the place of the reason, and 0 when it is done.
 */
#define ENTRY_PUSHED_BY(number) (ENTRY_SHARED | ENTRY_WORD(0, number))
#define ENTRY_PUSHED ENTRY_PUSHED_BY(0)

/** entry_is_live() - what stands in a client's ledger is a block's size and reason */
static inline bool entry_is_live(uint64_t word)
{
    return ENTRY_NUM_BYTES(word) != 0;
}

/** entry_is_shared() - likewise, and the block is shared, or is about to be */
static inline bool entry_is_shared(uint64_t word)
{
    return entry_is_live(word) && (word & ENTRY_SHARED) != 0;
}

/** entry_is_private() - the block is live and not shared: it can be released without a word */
static inline bool entry_is_private(uint64_t word)
{
    return (int64_t)word > 0;
}

/* head.remote: how many blocks other threads may have that are free. The library says some or none;
   one before it has a number in the upper half, and below it the first of their list. */
#define REMOTE_SOME UINT32_MAX
#define REMOTE_COUNT(remote) ((remote) >> 16)

enum head_kind {
    HEAD_NONE,     /* no slab has begun here since the segment was made */
    HEAD_SLAB,     /* first page of a slab of a size class */
    HEAD_LARGE,    /* first page of a large block */
    HEAD_INTERIOR, /* a further page of a slab; `back` pages behind its first */
    HEAD_CLOSED,   /* first page of what was a slab: remembered so that a block released twice can
                      be told from a wild pointer */
    HEAD_CLOSED_LARGE,
    HEAD_WITHIN, /* a page inside a large block that began span_pages before it; see
                    ledger_large_open() */
};

struct ledger_head {
    _Atomic uint32_t kind;
    uint32_t span_pages; /* of HEAD_WITHIN: how many pages before it the block begins */
    uint16_t size_class;
    uint16_t back;
    uint16_t free;     /* 1 + the first free block; 0: none but those never carved */
    uint16_t n_carved; /* blocks below this number have been handed out at least once */
    uint16_t n_used;
    uint16_t flags; /* HEAD_SHAREABLE, HEAD_LOST */
    uint32_t next;  /* slabs of the class with room, by first page; 0 the last */
    uint32_t prev;
    _Atomic uint32_t remote; /* in a client's ledger: REMOTE_COUNT() */
};

static_assert(sizeof(struct ledger_head) == 32, "part of the layout");

/* In the daemon's own ledger, of a slab: blocks lie in it that are to be shared, and no others. */
#define HEAD_SHAREABLE UINT16_C(1)
/* In a client's, of a slab that the daemon has taken: threads still have blocks of it, free ones,
   which nothing is done with but to count them until all are back. */
#define HEAD_LOST UINT16_C(2)

/* As many heads as a CPU page of the file holds: 64 KiB of bits for a segment of 1 TiB. */
#define HEADS_PER_BIT (UINT32_C(4096) / 32)

#define LEDGER_MAGIC UINT64_C(0x72656764656c6d6b) /* "kmledger" */

struct ledger_header {
    uint64_t magic;
    uint64_t layout; /* ledger_layout_signature() of who made it */
    uint64_t n_pages;
    _Atomic uint64_t n_reasons;    /* reasons below this id are complete */
    _Atomic uint64_t is_fenced;    /* 1: the client receives membarrier(); see lease.h */
    _Atomic uint64_t n_used_pages; /* of its leases; what is not used can be taken back */
    uint64_t reserved[2];
};

/* Ids 0 and 1 are for ever, in every table: "no reason given" and "other reasons". */
#define REASON_NONE UINT32_C(0)
#define REASON_OTHER UINT32_C(1)
#define REASONS_RESERVED UINT32_C(2)

/* A client's reasons: bounded, so that a million distinct ones fill a table and not the memory. */
#define LEDGER_REASONS_MAX UINT32_C(65536)

struct ledger_reason {
    uint8_t n_bytes;
    char bytes[REASON_MAX_BYTES];
};

static_assert(sizeof(struct ledger_reason) == 128, "part of the layout");

/* Where things are in the file, in bytes from its start. */
struct ledger_layout {
    uint64_t counts_at;
    uint64_t returns_at;
    uint64_t asked_at;
    uint64_t states_at;
    uint64_t heads_at;
    uint64_t plane_at[N_PLANES];
    uint64_t reasons_at;
    uint64_t lifetimes_at;
    uint64_t total_bytes;
};

/* One process's view of a ledger file. */
struct ledger {
    struct ledger_header *header;
    struct ledger_counts *counts;
    struct ledger_returns *returns;
    _Atomic uint64_t *asked;  /* see lease.h */
    _Atomic uint64_t *states; /* eight pages to a word: see lease.h */
    struct ledger_head *heads;
    struct ledger_entry *planes[N_PLANES];
    struct ledger_reason *reasons;
    struct ledger_lifetimes *lifetimes; /* LIFETIMES_MAX */
    uint32_t n_pages;
};

/* A block, found. */
struct ledger_block {
    uint32_t page;  /* the slab's first page */
    uint32_t index; /* the block's number in the slab */
    struct ledger_entry *entry;
};

/** ledger_layout_signature() - a number that differs if the layout does */
uint64_t ledger_layout_signature(void);

/** ledger_layout_init() - where everything is for a segment of n_pages */
void ledger_layout_init(struct ledger_layout *layout, uint32_t n_pages);

/** ledger_header_init() - what an empty ledger's file begins with */
void ledger_header_init(struct ledger_header *header, uint32_t n_pages);

/** ledger_format() - begin an empty ledger in a file of zeros that is mapped at base */
void ledger_format(struct ledger *ledger, void *base, uint32_t n_pages);

/**
 * ledger_attach() - use a ledger that ledger_format() began, perhaps in another process
 * Return: 0; LEDGER_E_FOREIGN if it is none, or has another layout or another number of pages.
 */
KMEM_MUST_USE int ledger_attach(struct ledger *ledger, void *base, uint32_t n_pages);

enum {
    LEDGER_OK,
    LEDGER_E_FOREIGN,  /* not a ledger of this layout */
    LEDGER_E_WILD,     /* the offset lies in no block */
    LEDGER_E_INTERIOR, /* the offset lies inside a block; the block is returned */
    LEDGER_E_RELEASED, /* a block began here and was given back */
    LEDGER_E_CORRUPT,  /* ledger_check() */
};

/**
 * entry_take() - take a block out of a slab that has one to give, and enter it
 *
 * The hot path of every allocation, in the daemon and in clients: no branch but the one between a
 * block that was released and one that was never handed out.
 *
 * Return: the block's number in the slab.
 */
static inline uint32_t entry_take(struct ledger_head *head, struct ledger_entry *entries,
                                  uint64_t word, uint32_t born, uint32_t holder)
{
    uint32_t index = head->n_carved;
    if (KMEM_LIKELY(head->free != 0)) {
        index = head->free - UINT32_C(1);
        /* Relaxed: the owner reads what it wrote itself. */
        head->free = (uint16_t)atomic_load_explicit(&entries[index].born, memory_order_relaxed);
    } else {
        head->n_carved++;
    }
    head->n_used++;
    struct ledger_entry *entry = &entries[index];
    store_prepare_u32(&entry->born, born);
    store_prepare_u32(&entry->holder, holder);
    /* Before: the block is free. After: it is live, and whose and why is in place. */
    store_commit(&entry->word, word);
    return index;
}

/** entry_put() - put a block whose entry is retired back into its slab */
static inline void entry_put(struct ledger_head *head, struct ledger_entry *entries, uint32_t index)
{
    store_prepare_u32(&entries[index].born, head->free);
    head->free = (uint16_t)(index + 1);
    head->n_used--;
}

/** entry_give() - retire a block's entry and put the block back into its slab */
static inline void entry_give(struct ledger_head *head, struct ledger_entry *entries,
                              uint32_t index)
{
    /* Before: the block is live. After: it is free, on no list; a rebuild finds it. */
    store_commit(&entries[index].word, 0);
    entry_put(head, entries, index);
}

/**
 * entry_reserve() - take a block out of a slab that has one to give, without entering it
 *
 * Until its word is written it counts as used in the head and as free in the ledger.
 * Return: the block's number in the slab.
 */
static inline uint32_t entry_reserve(struct ledger_head *head, const struct ledger_entry *entries)
{
    uint32_t index = head->n_carved;
    if (head->free != 0) {
        index = head->free - UINT32_C(1);
        /* Relaxed: the owner reads what it wrote itself. */
        head->free = (uint16_t)atomic_load_explicit(&entries[index].born, memory_order_relaxed);
    } else {
        head->n_carved++;
    }
    head->n_used++;
    return index;
}

/** ledger_slab_open() - make the pages from `page` on, all of them free, a slab of a size class */
void ledger_slab_open(struct ledger *ledger, uint32_t page, uint32_t size_class);

/** ledger_slab_open_shareable() - the same, HEAD_SHAREABLE */
void ledger_slab_open_shareable(struct ledger *ledger, uint32_t page, uint32_t size_class);

/** ledger_run_open() - make span_pages from `page` on, all of them free, one large block */
void ledger_run_open(struct ledger *ledger, uint32_t page, uint32_t span_pages);

/**
 * ledger_large_open() - ledger_run_open() for a ledger without a table of runs beside it
 *
 * The block is cut into stretches, each the largest that is aligned to its own length; at most two
 * of each length. The heads of their first pages say where the block begins. So it is found from
 * any of its pages p by some 26 looks, at p with ever more of its low bits cleared; one of them is
 * where a stretch begins. What such a head says is believed only if an open block is there: heads
 * that are left behind by another block do no harm.
 */
void ledger_large_open(struct ledger *ledger, uint32_t page, uint32_t span_pages);

/** ledger_stretch_before() - the next place to look at for a large block over a page; 0: no more */
static inline uint32_t ledger_stretch_before(uint32_t page)
{
    return page & (page - 1);
}

/**
 * ledger_large_begin() - where the head of page `at` says that a large block begins
 * Return: false if it says nothing of that kind.
 */
bool ledger_large_begin(const struct ledger_head *head, uint32_t at, uint32_t *ret_page);

/** ledger_slab_close() - forget a slab or a large block of which nothing is in use */
void ledger_slab_close(struct ledger *ledger, uint32_t page);

/** ledger_slab_is_full() - whether no block is left in the slab */
static inline bool ledger_slab_is_full(const struct ledger_head *head)
{
    return head->free == 0 && head->n_carved == size_classes[head->size_class].n_blocks;
}

/** ledger_entries() - the entries of the slab that begins at `page` */
static inline struct ledger_entry *ledger_entries(const struct ledger *ledger, uint32_t page)
{
    const struct ledger_head *head = &ledger->heads[page];
    const uint32_t kind = atomic_load_explicit(&head->kind, memory_order_relaxed);
    const uint32_t plane = kind == HEAD_LARGE ? 0 : size_classes[head->size_class].plane;
    return ledger->planes[plane] + ((uint64_t)page << PLANE_SHIFT(plane));
}

/**
 * ledger_take() - take a block out of a slab that is not full, and enter it
 * @num_bytes:  as asked for; at least 1, at most the slab's blocks
 * Return: the block's number in the slab.
 */
uint32_t ledger_take(struct ledger *ledger, uint32_t page, uint64_t num_bytes, uint32_t reason,
                     uint32_t born, uint32_t holder);

/** ledger_next() - the number of the block that ledger_take() takes next */
static inline uint32_t ledger_next(const struct ledger *ledger, uint32_t page)
{
    const struct ledger_head *head = &ledger->heads[page];
    return head->free != 0 ? head->free - UINT32_C(1) : head->n_carved;
}

/** ledger_give() - retire a block's entry and put the block back into its slab */
void ledger_give(struct ledger *ledger, const struct ledger_block *block);

/**
 * ledger_find() - the live block that begins at an offset
 *
 * Looks at one head and, for wrong offsets alone, at some 26 more: however large a block is.
 *
 * Return: 0; LEDGER_E_WILD, LEDGER_E_INTERIOR or LEDGER_E_RELEASED. ret_block is written on success
 * and for LEDGER_E_INTERIOR.
 */
KMEM_MUST_USE int ledger_find(const struct ledger *ledger, struct seg_off off,
                              struct ledger_block *ret_block);

/**
 * ledger_find_in() - ledger_find() in the open slab or large block that begins at page `first`
 * @off:  in one of its pages
 */
KMEM_MUST_USE int ledger_find_in(const struct ledger *ledger, struct seg_off off, uint32_t first,
                                 struct ledger_block *ret_block);

/**
 * ledger_find_closed() - what is known of an offset in a page of no open slab or large block
 * Return: LEDGER_E_RELEASED or LEDGER_E_WILD.
 */
KMEM_MUST_USE int ledger_find_closed(const struct ledger *ledger, struct seg_off off);

/** ledger_offset() - where a slab's block is in the segment */
static inline struct seg_off ledger_offset(const struct ledger *ledger, uint32_t page,
                                           uint32_t index)
{
    const struct ledger_head *head = &ledger->heads[page];
    const uint64_t block_bytes = index == 0 ? 0 : size_classes[head->size_class].block_bytes;
    return (struct seg_off){((uint64_t)page << PAGE_SHIFT) + index * block_bytes};
}

/** ledger_block_bytes() - what a block of the slab occupies */
uint64_t ledger_block_bytes(const struct ledger *ledger, uint32_t page);

/** ledger_n_blocks() - how many blocks the slab is carved into */
uint32_t ledger_n_blocks(const struct ledger *ledger, uint32_t page);

/** ledger_entries_are_idle() - whether no block is live, and no thread is about to touch one */
bool ledger_entries_are_idle(const struct ledger_entry *entries, uint32_t n_entries);

/** ledger_slab_rebuild() - derive a slab's free list and counts from its entries */
void ledger_slab_rebuild(struct ledger *ledger, uint32_t page);

/**
 * ledger_slab_check() - walk one slab and recount everything
 *
 *  n_used == entries with a word; n_used + free list == n_carved; the free list has no cycle and
 *  names free blocks only; every size is at least 1 and fits its block.
 *
 * Return: 0 or LEDGER_E_CORRUPT.
 */
KMEM_MUST_USE int ledger_slab_check(const struct ledger *ledger, uint32_t page);

#endif

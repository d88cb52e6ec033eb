/* SPDX-License-Identifier: MIT */
/*
 * state.h - the state file: what the daemon must still know after it was killed
 *
 * A memfd of the server alone. In this order, each part aligned to 4 KiB:
 *
 *  header       | magic, layout signature, number of pages, instance
 *  page words   | 8 bytes per page
 *  given        | a bit per page: its bytes may be other than 0
 *  clients      | 128 bytes per slot, CLIENTS_MAX slots
 *  reasons      | 128 bytes per slot, REASONS_MAX slots
 *  obituaries   | the last of them: obituary.h
 *  shares       | 64 bytes per shared block, SHARES_MAX: shares.h
 *  holds        | 16 bytes per holder of one, HOLDS_MAX
 *  names        | 128 bytes per name of one, SHARE_NAMES_MAX: names.h
 *  series       | 152 bytes per reason with a history, HISTORY_SERIES: state_history.h
 *  seconds      | a point per second of the last hour
 *  minutes      | a point per minute of the last week
 *  refusals     | the last of them, and how often each cause was: state_refusals.h
 *  direct ledger| the daemon's own slabs: proto/ledger.h
 *
 *  field               written                     read              what a stale value means
 *  page word of a head one store, state_commit()   every operation   nothing: it is the truth
 *  page word inside a  never                       never             what the page was when it last
 *  run                                                               began a run
 *  maybe_dirty         set before somebody gets    start, every      set: nothing; the page may
 *                      the page, cleared after     operation         be all zero
 *                      its bytes were; pages.h
 *  client slot         before state_commit() of    start, queries    the slot is unused while its
 *                      its pid                                       pid is 0
 *  ended               state_commit(), once        start             the client lives
 *  intent, sequence    before the change that it   start, a request  the client's last change but
 *                      tells of; sequence last     that is repeated  one; it is not asked for
 *  n_slots             before a slot's pid         start             the slots below are unused
 *  opening             before a slab's heads       start             the page may have an open head
 *                                                                    without being a slab
 *  reason slot         before an entry names it    start, queries    no entry names it
 *  obituary            before n_obituaries counts  start, queries    its place is not used yet
 *                      it
 *  n_obituaries        state_commit(), before the  start             the last one is still to be
 *                      client's slot is unused                       written
 *  a slot's obituary   before n_obituaries         start             none, if none has that number
 *  share, hold, name   before state_commit() of    start, every      the record is free while its
 *                      its word                    operation         word is 0
 *  n_shares, n_holds,  before a record's word      start             the records from there on are
 *  n_names                                                           free
 *  generations,        state_commit(), before a    start             numbers up to this were
 *  versions            number above is given                         perhaps given
 *  asked_pages         store_commit(), after the   start             the options ask for what they
 *                      size was applied                              did before: once more does no
 *                                                                    harm
 *  now_pages           after the size has changed  the keeper        it is the size before
 *  counters, a slot's  any time                    queries           what was to be counted last
 *  peaks                                                             is not counted
 *
 * Every store that means something goes through this header's functions or proto/store.h, and is
 * atomic: whoever kills the daemon leaves a prefix of its stores. recover.c makes a daemon of any
 * such prefix.
 */
#ifndef DAEMON_CORE_STATE_H
#define DAEMON_CORE_STATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/core/state_history.h"
#include "daemon/core/state_refusals.h"
#include "proto/attributes.h"
#include "proto/ledger.h"
#include "proto/limits.h"
#include "proto/share.h"

enum page_state {
    PAGE_STALE, /* never written: inside a run since the beginning */
    PAGE_FREE,
    PAGE_RESERVED, /* the segment's own first page */
    PAGE_DIRECT,   /* a slab or a large block of the daemon's own ledger */
    PAGE_LEASED,
    PAGE_SCRUB,  /* nobody's: it is being made 0, and is free afterwards */
    PAGE_BEYOND, /* behind the segment's present size: it may grow into them, pages_grow() */
};

/* A page word: state in bits 0 to 3, owner's slot in 4 to 31, the run's pages in 32 to 63. */
#define PAGE_WORD(state, owner, n_pages)                                                           \
    ((uint64_t)(state) | (uint64_t)(owner) << 4 | (uint64_t)(n_pages) << 32)
#define PAGE_WORD_STATE(word) ((enum page_state)((word)&15))
#define PAGE_WORD_OWNER(word) ((uint32_t)((word) >> 4) & ((UINT32_C(1) << 28) - 1))
#define PAGE_WORD_PAGES(word) ((uint32_t)((word) >> 32))

#define STATE_MAGIC UINT64_C(0x6574617473646d6b) /* "kmdstate" */

/* Changes when what is stored comes to mean something else though all sizes stay. */
#ifndef STATE_LAYOUT_VERSION
#define STATE_LAYOUT_VERSION UINT64_C(9)
#endif

/*
 * What was counted since the segment was made, by every server that it has had. It is shown, and
 * nothing is decided from it. Plain stores in no order with others: a server that is killed has not
 * counted what it was about to count, one request, one lease or one refusal. Of direct blocks not
 * even one is missing: direct_recovered() compares with those that are there.
 */
struct state_counters {
    uint64_t allocations;        /* direct blocks given out */
    uint64_t releases;           /* direct blocks given back, or taken back */
    uint64_t leased_allocations; /* the most that was ever shown of leased blocks: they are counted
                                    by their clients, while those go on */
    uint64_t leased_releases;
    uint64_t leased_taken_back; /* leased blocks that ended clients had */
    uint64_t leases;
    uint64_t leases_refused;
    uint64_t leases_refused_quota; /* of those; the others found no room */
    uint64_t revoked_pages;
    uint64_t reclaimed_pages;  /* of those, slabs without a live block */
    uint64_t refusals_no_room; /* of direct blocks, by cause */
    uint64_t refusals_quota;
    uint64_t refusals_too_large;
    uint64_t refusals_invalid;
    uint64_t misuses;
    uint64_t other_reasons;
    uint64_t requests;
    uint64_t protocol_errors;
    uint64_t connections_refused;
    uint64_t connections_dropped;
    uint64_t log_lines_dropped;
    uint64_t peak_bytes;      /* the most that direct blocks and leases ever were together */
    uint64_t peak_used_bytes; /* the most that live blocks were, as far as was seen */
    uint64_t attaches;        /* of shared blocks, by handle or by name */
    uint64_t attaches_refused;
};

/** state_raise() - remember the highest value of a figure */
static inline void state_raise(uint64_t *highest, uint64_t value)
{
    if (value > *highest) {
        *highest = value;
    }
}

struct state_header {
    _Atomic uint64_t magic; /* committed last: a file without it was never used */
    uint64_t layout;
    uint64_t n_pages;         /* the most that the segment may have: of all layouts */
    uint64_t instance;        /* another number for every segment that ever was */
    uint64_t born_ms;         /* CLOCK_BOOTTIME when the segment was made; ticks count from here */
    _Atomic uint64_t opening; /* the page where a direct slab was made last; 0: none was */
    _Atomic uint64_t n_slots; /* client slots from this one on are unused */
    _Atomic uint64_t n_obituaries; /* that were ever written */
    _Atomic uint64_t n_shares;     /* records of shares from this one on are free; likewise: */
    _Atomic uint64_t n_holds;
    _Atomic uint64_t n_names;
    _Atomic uint64_t generations; /* of shares: reserved up to this; see state_number() */
    _Atomic uint64_t versions;    /* of names, likewise */
    _Atomic uint64_t asked_pages; /* the size that the options asked for when it was applied */
    _Atomic uint64_t now_pages;   /* the size, for who reads the header alone */
    struct state_counters counters;
};

/* What a request is about to change: kind in bits 0 to 3, pages in 32 to 63. */
enum intent_kind {
    INTENT_NONE,
    INTENT_ALLOCATE,
    INTENT_RELEASE,
    INTENT_LEASE,
    INTENT_RELEASE_MANY, /* n_pages: how many were begun; at: a bit for each that others keep */
    INTENT_ATTACH,       /* at: a bit for each that was not held before */
    INTENT_TRANSFER,     /* at: the share's generation */
    INTENT_PUBLISH,      /* at: the version */
    INTENT_PUBLISHED,    /* likewise, and the name has it, or had */
    INTENT_UNPUBLISH,    /* at: the version that the name had */
    INTENT_NEXT,         /* n_pages: a share, or 0; at: see dispatch_next.c */
};
#define INTENT_WORD(kind, n_pages) ((uint64_t)(kind) | (uint64_t)(n_pages) << 32)
#define INTENT_WORD_KIND(word) ((enum intent_kind)((word)&15))
#define INTENT_WORD_PAGES(word) ((uint32_t)((word) >> 32))

/* Why and when a client has ended: bit 0 is set, bit 1: it left, the tick in 2 to 33. */
#define ENDED_WORD(left, tick) (UINT64_C(1) | (uint64_t)(left) << 1 | (uint64_t)(tick) << 2)
#define ENDED_WORD_LEFT(word) (((word) >> 1 & 1) != 0)
#define ENDED_WORD_TICK(word) ((uint32_t)((word) >> 2))

/* Whose a slot is: bit 32 is set, the pid below it; 0: it can not be seen from here. */
#define PID_WORD(pid) (UINT64_C(1) << 32 | (uint64_t)(pid))
#define PID_WORD_PID(word) ((uint32_t)(word))

struct state_client {
    _Atomic uint64_t pid; /* PID_WORD(); 0: the slot is unused; committed last */
    uint64_t start_time;  /* of the process, in clock ticks since boot; 0: unknown */
    uint32_t uid;
    uint32_t gid;
    uint32_t born;      /* tick */
    uint32_t is_reader; /* it was given the segment for reading only */
    char command[COMMAND_BYTES];
    uint64_t nonce;             /* by which the process is known again */
    _Atomic uint64_t ended;     /* ENDED_WORD(); 0: it lives */
    _Atomic uint64_t sequence;  /* of the last change that it asked for and that was begun */
    _Atomic uint64_t intent;    /* INTENT_WORD(): what that was to do */
    _Atomic uint64_t intent_at; /* an offset in bytes, or a page */
    _Atomic uint64_t obituary;  /* the number of that of an ended client; 0: it has none yet */
    uint64_t peak_bytes;        /* the most that was charged to it */
    uint64_t peak_used_bytes;   /* the most that its live blocks were, as far as was seen */
    uint64_t inode;             /* of the process's pidfd: no other has it; 0: unknown */
    uint32_t program;           /* these two: what it says of itself */
    uint32_t copy;
};

static_assert(sizeof(struct state_client) == 128, "part of the layout");

#define STATE_MAYBE_DIRTY_WORDS(n_pages) ((n_pages) / 64 + (size_t)1)

struct state_reason {
    uint8_t n_bytes;
    char bytes[REASON_MAX_BYTES];
};

static_assert(sizeof(struct state_reason) == 128, "part of the layout");

/* What the kernel says about a process. */
struct client_identity {
    uint32_t pid; /* 0: it is not visible from here */
    uint32_t uid;
    uint32_t gid;
    bool is_reader;              /* it joined as one: readers.h */
    uint64_t start_time;         /* 0: unknown */
    uint64_t inode;              /* of its pidfds: no other process has it; 0: unknown */
    uint32_t program;            /* these two it says itself, to tell its own clients apart: */
    uint32_t copy;               /* what it runs, and which copy of the library; 0: unknown */
    char command[COMMAND_BYTES]; /* "?": unknown */
};

/* 1,024: a day of a client that crashes every minute and a half; 1.3 MB when full. */
#define OBITUARIES_KEPT 1024
/* One more, so that what is being written is in nobody's place. */
#define OBITUARIES_PLACES (OBITUARIES_KEPT + 1)
/* 8: what is said in one line of a log or one screen; the total counts the rest. */
#define OBITUARY_ROWS 8

struct obituary_row {
    char reason[REASON_MAX_BYTES + 1];
    uint64_t n_blocks;
    uint64_t num_bytes;
    uint32_t oldest; /* tick */
};

/* By what the largest block that lives on is kept. */
enum kept_by { KEPT_BY_PROCESS, KEPT_BY_NAME, KEPT_BY_OFFER };

/* What the client had shared of its memory, and others hold: it lives on, and is not taken back. */
struct obituary_kept {
    uint64_t n_blocks;
    uint64_t num_bytes;
    uint64_t largest_bytes; /* of one block; the rest is of that one */
    uint32_t kept_by;       /* enum kept_by */
    uint32_t pid;
    char text[SHARE_NAME_MAX_BYTES + 1]; /* the process's command, or the name */
};

struct obituary {
    uint64_t number;
    struct client_identity identity;
    bool left;
    uint32_t born;  /* tick */
    uint32_t ended; /* tick */
    uint64_t n_blocks;
    uint64_t num_bytes;
    uint64_t peak_bytes;      /* the most that its direct blocks and its leases were together */
    uint64_t peak_used_bytes; /* the most that its live blocks were, as far as was seen */
    uint64_t n_reasons;
    /*
     * What was counted by all that have ended, this one included. It is here, and not among the
     * counters, because it must be added once: it becomes true with n_obituaries.
     */
    uint64_t sum_releases;
    uint64_t sum_misuses;
    uint64_t sum_too_large;
    uint64_t sum_invalid;
    uint32_t n_rows;
    struct obituary_row rows[OBITUARY_ROWS];
    struct obituary_kept kept;
};

static_assert(SHARE_NAME_MAX_BYTES + 1 >= COMMAND_BYTES, "either fits");
static_assert(sizeof(struct obituary) == 1512, "part of the layout");

/* Whose something is that is nobody's; and what only names hold: clients.h. */
#define SLOT_NONE UINT32_C(0x1fff)
#define SLOT_KEPT UINT32_C(0x1ffe)
static_assert(CLIENTS_MAX <= SLOT_KEPT, "a slot, or one of these, is 13 bits");

enum share_state {
    SHARE_NONE,
    SHARE_LIVE,
    SHARE_RETURNING, /* nobody holds it; its block is on its way home to its owner's lease */
    SHARE_STATE_MASK = 3,
};

/* A share's word: state and flags, the owner's slot in bits 8 to 20; while RETURNING, the number
   that it has among what was put into the owner's returns, in bits 32 to 63, if it is NUMBERED. */
#define SHARE_OWNER_HOLDS (UINT64_C(1) << 2)
#define SHARE_OFFERED (UINT64_C(1) << 3)   /* handed over: the first to attach has it */
#define SHARE_LEASED (UINT64_C(1) << 4)    /* the block is in its owner's lease; else direct */
#define SHARE_READ_ONLY (UINT64_C(1) << 5) /* nobody but the owner may attach it for writing */
#define SHARE_KEEP (UINT64_C(1) << 6)      /* the offer outlives who made it */
#define SHARE_FEED (UINT64_C(1) << 7)      /* reserved */
#define SHARE_OWNER_SHIFT 8
#define SHARE_OWNER(word) ((uint32_t)((word) >> SHARE_OWNER_SHIFT) & SLOT_NONE)
#define SHARE_NUMBERED (UINT64_C(1) << 21)
#define SHARE_WRITTEN (UINT64_C(1) << 22) /* another than its owner has held it for writing */
#define SHARE_RETURN_SHIFT 32
#define SHARE_RETURN(word) ((uint32_t)((word) >> SHARE_RETURN_SHIFT))

struct state_share {
    _Atomic uint64_t word; /* committed last; SHARE_NONE: the record is free */
    uint64_t generation;   /* a counter, and in its low SHARE_INDEX_BITS the record's number */
    uint64_t tag;
    uint64_t offset;
    uint64_t num_bytes;
    uint32_t slab_page; /* these four of a LEASED one: see struct share_place */
    uint32_t span_pages;
    uint16_t index;
    uint16_t size_class;
    uint32_t reason;      /* the block's own */
    uint32_t born;        /* tick */
    _Atomic uint32_t uid; /* for which it counts: caps.h */
};

static_assert(sizeof(struct state_share) == 64, "part of the layout");

/* A hold's word: the share, the holder's slot in bits 17 to 29, and: */
#define HOLD_SHARE(word) ((uint32_t)(word) & ((UINT32_C(1) << SHARE_INDEX_BITS) - 1))
#define HOLD_SLOT_SHIFT SHARE_INDEX_BITS
#define HOLD_SLOT(word) ((uint32_t)((word) >> HOLD_SLOT_SHIFT) & SLOT_NONE)
#define HOLD_WRITE (UINT64_C(1) << 30)
#define HOLD_OWNER (UINT64_C(1) << 31) /* it was handed the block: see SHARE_OFFERED */
#define HOLD_GIVEN                                                                                 \
    (UINT64_C(1) << 32) /* it has offered the block on, and holds it for that alone */
#define HOLD_LIVE (UINT64_C(1) << 63)

struct state_hold {
    _Atomic uint64_t word; /* committed last; 0: the record is free */
    uint32_t reason;
    uint32_t born; /* tick */
};

static_assert(sizeof(struct state_hold) == 16, "part of the layout");

/* A name's word: the share, above it which `who` is meant, above that the version. */
#define NAME_WHICH_SHIFT SHARE_INDEX_BITS
#define NAME_VERSION_SHIFT (SHARE_INDEX_BITS + 1)
#define NAME_WORD(share, which, version)                                                           \
    ((uint64_t)(share) | (uint64_t)(which) << NAME_WHICH_SHIFT |                                   \
     (uint64_t)(version) << NAME_VERSION_SHIFT)
#define NAME_SHARE(word) ((uint32_t)(word) & ((UINT32_C(1) << SHARE_INDEX_BITS) - 1))
#define NAME_WHICH(word) ((uint32_t)((word) >> NAME_WHICH_SHIFT) & 1)
#define NAME_VERSION(word) ((word) >> NAME_VERSION_SHIFT)

/* The slot of who published it, SLOT_NONE: it has ended; bit 31: the name outlives it. */
#define NAME_WHO(owner, keep) ((uint32_t)(owner) | (uint32_t)(keep) << 31)
#define NAME_WHO_OWNER(who) ((who)&SLOT_NONE)
#define NAME_WHO_KEEP(who) (((who) >> 31) != 0)

struct state_name {
    _Atomic uint64_t word;   /* committed last; 0: the record is free */
    _Atomic uint32_t who[2]; /* one is meant, the other becomes true with the next word */
    uint32_t uid[2];         /* likewise: of who published it */
    uint8_t n_bytes;
    uint8_t reserved[3];
    char bytes[SHARE_NAME_MAX_BYTES];
};

static_assert(sizeof(struct state_name) == 128, "part of the layout");

/* The daemon's view of its state file. */
struct state {
    struct state_header *header;
    struct state_counters *counters; /* the header's */
    _Atomic uint64_t *page_words;
    _Atomic uint64_t *maybe_dirty; /* STATE_MAYBE_DIRTY_WORDS() */
    struct state_client *clients;
    struct state_reason *reasons;
    struct obituary *obituaries;
    struct state_share *shares;
    struct state_hold *holds;
    struct state_name *names;
    struct state_series *series;
    struct state_point *seconds;
    struct state_point *minutes;
    struct state_refusals *refusals;
    struct ledger ledger;
    uint32_t n_pages; /* the most that the segment may have; it has pages->n_pages */
};

/** state_bytes() - how large the file is for a segment of n_pages; it is sparse */
uint64_t state_bytes(uint32_t n_pages);

/**
 * state_format() - begin the state of an empty segment in a file of zeros mapped at base
 * @n_pages:      the most that it may have: all layouts are for these
 * @begin_pages:  what it has at first, at least 2; the others are one PAGE_BEYOND run
 */
void state_format(struct state *state, void *base, uint32_t n_pages, uint32_t begin_pages,
                  uint64_t instance, uint64_t now_ms);

enum {
    STATE_OK,
    STATE_E_FOREIGN, /* no state file, or one of another layout or size */
};

/** state_is_new() - whether nothing was ever begun in the file that is mapped at base */
bool state_is_new(const void *base);

/** state_attach() - use a state file that state_format() began. Return: 0 or STATE_E_FOREIGN. */
KMEM_MUST_USE int state_attach(struct state *state, void *base, uint32_t n_pages);

struct state_sizes {
    uint32_t asked_pages;
    uint32_t now_pages;
};

/** state_sizes_of() - as a copy of a header says. Return: false: it is none of this layout. */
KMEM_MUST_USE bool state_sizes_of(const struct state_header *header, struct state_sizes *ret_sizes);

/** state_load() - a word of the state file, or of the server's own ledger there */
static inline uint64_t state_load(const _Atomic uint64_t *where)
{
    /* Relaxed: the server alone writes and reads its state. */
    return atomic_load_explicit(where, memory_order_relaxed);
}

/** state_slot_is_used() - whether a slot is a client's, living or ended, as the state file says */
static inline bool state_slot_is_used(const struct state *state, uint32_t slot)
{
    return slot < state_load(&state->header->n_slots) && state_load(&state->clients[slot].pid) != 0;
}

/** state_commit() - the one store that changes what is true of a page or a client */
void state_commit(struct state *state, _Atomic uint64_t *where, uint64_t value);

/*
 * Numbers of which none is given twice in the life of a segment. What the state file says is
 * reserved, so many at a time, before one of them is given: a server that starts goes on behind it.
 */
struct state_numbers {
    _Atomic uint64_t *reserved; /* in the state's header */
    uint64_t last;              /* that was given */
};

/* 65,536: so many may a start leave out. With fewer there is a store more often; with more, or with
   fewer than the 46 bits that a name's word has for them, they might come to an end: these last for
   34 years of a start in each second. */
#define STATE_NUMBERS_AHEAD 65536
#define STATE_NUMBER_BITS 46

/** state_numbers() - go on with those that a word of the header keeps */
struct state_numbers state_numbers(_Atomic uint64_t *reserved);

/** state_numbers_are_sound() - whether there are more to give: else what the file says is damage */
static inline bool state_numbers_are_sound(const struct state_numbers *numbers)
{
    return numbers->last < (UINT64_C(1) << STATE_NUMBER_BITS) - STATE_NUMBERS_AHEAD;
}

/** state_number() - the next one; 1 is the first */
uint64_t state_number(struct state *state, struct state_numbers *numbers);

#endif

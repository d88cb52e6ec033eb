/* SPDX-License-Identifier: MIT */
/*
 * scan.h - looks at all blocks, made step by step, shared by all who ask for the same
 *
 * There are four kinds of looks, and at most one of each kind is under way. A reader asks; the next
 * look of its kind that begins is its own, and everybody's who has asked by then: what is answered
 * is of a time after the question. Steps go round the kinds, whoever asks how often.
 *
 *      asks -> waits -> reads (the look is under way, then complete) -> leaves
 *                                                                    -> keeps it, page by page
 *
 * Complete looks are kept for those who read them page by page. There are SCANS_KEPT at most. When
 * another is wanted, readers are dropped, and begin again: those of the user, and of the process,
 * that keeps the most; who keeps one alone only when it has not read for a second, or has read for
 * five. So the daemon's memory is bounded, nobody is refused, and nobody waits for a reader that
 * does not come back.
 */
#ifndef DAEMON_CORE_SCAN_H
#define DAEMON_CORE_SCAN_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/core/counted.h"
#include "daemon/core/rollup.h"
#include "daemon/core/waste.h"
#include "proto/attributes.h"

/* 20,000 entries and pages: 0.1 to 0.3 ms, which is how long anybody may have to wait. */
#define SCAN_BUDGET 20000
/* 1,000: some 20 us, no more than a request takes. Of a look that only refusals wait for. */
#define SCAN_BACKGROUND_BUDGET 1000
/* 4: with those that are being made, one by reason and the reasons of one for usage, six roll-ups of
   ROLLUP_MAX_BYTES; those by client and by user are small. More would serve more readers of large
   ones at different times. */
#define SCANS_KEPT 4
/* 64: all of a machine's consoles; who is dropped is found by comparing each with each. */
#define SCAN_KEEPERS 64
#define SCAN_IDLE_MS 1000
#define SCAN_KEEP_MS 5000

enum scan_kind {
    SCAN_LEASED, /* what clients tell of their leases, by client: usage, clients */
    SCAN_BY_REASON,
    SCAN_BY_CLIENT,
    SCAN_BY_UID,
    N_SCAN_KINDS,
};

struct core;
struct scan_reader;

/* What a look does next. */
enum scan_phase {
    SCAN_BLOCKS,
    SCAN_PAGES,   /* of SCAN_LEASED: what is free, and what is leased and not in use */
    SCAN_REASONS, /* of SCAN_LEASED: those of direct blocks */
    SCAN_SORT,    /* of the others */
};

/* A look at all blocks. What the figures below are of is what was seen; clients go on meanwhile. */
struct scan {
    enum scan_kind kind;
    enum scan_phase phase;
    struct rollup *rollup;
    struct rollup *by_reason; /* of SCAN_LEASED, until it is complete */
    struct counted counted;   /* of SCAN_LEASED: by clients, when it began */
    uint64_t n_leased_blocks;
    uint64_t leased_bytes;    /* in those, as asked for */
    struct waste waste;       /* of SCAN_LEASED, as what follows */
    uint64_t n_reasons;       /* the rows that the ledger by reason would have */
    uint64_t n_other_reasons; /* blocks in the row OTHER_REASONS of that */
    struct seg_off from;      /* where SCAN_BLOCKS goes on */
    uint32_t at;              /* the reason's id where SCAN_REASONS goes on */
    uint64_t began_us;
    uint64_t n_changes; /* of direct blocks, until it began */
    uint32_t n_steps;
    bool done;
    bool failed;       /* no memory */
    bool is_patient;   /* likewise, as it was begun */
    uint32_t budget;   /* of the present step */
    uint32_t n_added;  /* blocks, in it */
    uint64_t spent_at; /* what the roll-ups had spent when it began */
    struct scan_reader *readers;
    struct scan *next_complete;
};

/* Who asks. In a peer; on a list while it waits, reads or keeps. */
struct scan_reader {
    uint32_t uid;
    uint32_t pid;
    enum scan_kind kind;
    bool waits;
    bool keeps;
    bool is_patient;   /* no request waits for it: its look is made in small steps */
    struct scan *scan; /* NULL: none yet, or dropped */
    uint64_t kept_ms;  /* since when it keeps it */
    uint64_t read_ms;  /* when it read last */
    struct scan_reader *next;
    struct scan_reader **at; /* what points at it */
};

/* The reasons with the most bytes, for those who are refused. */
#define SCAN_HOLDERS 5
struct scan_holders {
    bool known;
    uint64_t at_us;     /* when the look began */
    uint32_t n_steps;   /* and how many it took */
    uint64_t n_changes; /* of direct blocks, until then */
    bool is_cheap;      /* to look again costs no more than a request: one small step */
    uint32_t n_holders;
    struct {
        char reason[REASON_MAX_BYTES + 1];
        uint64_t n_blocks;
        uint64_t num_bytes;
    } holders[SCAN_HOLDERS];
};

/*
 *      n_complete == the list's length; each has a reader; under way: each has a reader
 */
struct scans {
    struct scan *under_way[N_SCAN_KINDS];
    struct scan_reader *waiting[N_SCAN_KINDS];
    struct scan *complete;
    uint32_t n_complete;
    uint32_t next_kind; /* whose step is next */
    uint64_t n_begun;
    struct scan_holders holders;
};

enum {
    SCAN_READY,   /* reader->scan is complete */
    SCAN_PENDING, /* call scan_poll() again */
    SCAN_FAILED,  /* no memory; the reader has left */
};

/** scan_ask() - wait for the next look of a kind; whatever the reader had, it has left */
void scan_ask(struct core *core, struct scan_reader *reader, enum scan_kind kind);

/** scan_ask_any() - one that is under way is as good */
void scan_ask_any(struct core *core, struct scan_reader *reader, enum scan_kind kind);

/** scan_poll() - make a step, of any kind, unless the reader's look is complete */
KMEM_MUST_USE int scan_poll(struct core *core, struct scan_reader *reader, uint64_t now_us);

/** scan_keep() - the reader has read a part of its complete look, and will read on */
void scan_keep(struct core *core, struct scan_reader *reader, uint64_t now_us);

/** scan_leave() - the reader waits for nothing and keeps nothing */
void scan_leave(struct core *core, struct scan_reader *reader);

/** scan_holders_are_present() - whether nothing has changed since scans.holders was made */
bool scan_holders_are_present(const struct core *core);

/** scans_are_none() - whether nobody waits, reads or keeps */
bool scans_are_none(const struct scans *scans);

#endif

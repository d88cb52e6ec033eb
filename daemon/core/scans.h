/* SPDX-License-Identifier: MIT */
/*
 * scans.h - the looks at all blocks that are wanted, under way and kept; scan.h makes them
 */
#ifndef DAEMON_CORE_SCANS_H
#define DAEMON_CORE_SCANS_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/core/counted.h"
#include "daemon/core/history.h"
#include "daemon/core/rollup.h"
#include "daemon/core/waste.h"
#include "proto/limits.h"

/* 4: with those that are being made, one by reason and the reasons of one for usage, six roll-ups
   of ROLLUP_MAX_BYTES; the others are small. More would serve more readers of
   large ones at different times. */
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
    SCAN_BY_UNIT,
    SCAN_BY_SIZE,
    SCAN_BY_AGE,
    SCAN_BY_LIFETIME, /* by reason and, of as many reasons as are kept, age and lifetime */
    N_SCAN_KINDS,
};

struct scan_reader;

/* What a look does next. */
enum scan_phase {
    SCAN_BLOCKS,
    SCAN_PAGES,    /* of SCAN_LEASED: what is free, and what is leased and not in use */
    SCAN_REASONS,  /* of SCAN_LEASED: those of direct blocks */
    SCAN_RELEASED, /* of SCAN_BY_LIFETIME: what clients have noted of released blocks */
    SCAN_SORT,     /* of the others */
};

/* A look at all blocks. What the figures below are of is what was seen; clients go on meanwhile. */
struct scan {
    enum scan_kind kind;
    enum scan_phase phase;
    struct rollup *rollup;
    struct rollup *by_reason; /* of SCAN_LEASED, until it is complete */
    struct counted counted;   /* of SCAN_LEASED: by clients, when it began */
    struct history_look look; /* of SCAN_BY_REASON */
    uint64_t n_leased_blocks;
    uint64_t leased_bytes;    /* in those, as asked for */
    struct waste waste;       /* of SCAN_LEASED, as what follows */
    uint64_t n_reasons;       /* the rows that the ledger by reason would have */
    uint64_t n_other_reasons; /* blocks in the row OTHER_REASONS of that */
    struct seg_off from;      /* where SCAN_BLOCKS goes on */
    uint32_t at;              /* the reason's id or the slot where _REASONS or _RELEASED goes on */
    uint64_t began_us;
    uint64_t n_changes; /* of direct blocks, until it began */
    uint32_t n_steps;
    bool done;
    bool failed;     /* no memory */
    bool is_patient; /* likewise, as it was begun */
    uint32_t budget; /* of the present step */
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

/** scan_reader_link() - put a reader on a list */
void scan_reader_link(struct scan_reader **list, struct scan_reader *reader);

/** scan_reader_unlink() - take it off the list that it is on */
void scan_reader_unlink(struct scan_reader *reader);

/** scan_free() - of a look without readers */
void scan_free(struct scan *scan);

/** scans_leave() - the reader waits for nothing and keeps nothing; a look without readers goes */
void scans_leave(struct scans *scans, struct scan_reader *reader);

/** scans_are_none() - whether nobody waits, reads or keeps */
bool scans_are_none(const struct scans *scans);

#endif

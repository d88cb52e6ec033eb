/* SPDX-License-Identifier: MIT */
/*
 * obituary.h - who has ended, and what it had not released
 *
 * While the blocks of an ended client are taken back, a draft adds them up by reason; when the last
 * is back the obituary is written. What others hold of it lives on, and is told beside. The last
 * OBITUARIES_KEPT are kept for those who ask, in the state file: they outlive the server. A draft
 * does not: of a client whose blocks were being taken back when the server was killed, the obituary
 * tells of those that were still there.
 */
#ifndef DAEMON_CORE_OBITUARY_H
#define DAEMON_CORE_OBITUARY_H

#include <stddef.h>
#include <stdint.h>

#include "daemon/core/clients.h"
#include "daemon/core/counted.h"
#include "daemon/core/rollup.h"
#include "daemon/core/state.h"
#include "proto/attributes.h"

enum {
    OBITUARIES_OK,
    OBITUARIES_E_CORRUPT, /* one is none */
};

struct obituary_draft;

struct obituaries {
    struct state *state;
    struct rollup_tables tables;
    struct obituary *kept;         /* OBITUARIES_PLACES, by number; the state's */
    struct obituary_draft *drafts; /* by slot */
    struct rollup_purse purse;     /* of all drafts together: any number may die at once */
    uint64_t n_written;            /* == state->header->n_obituaries */
};

/** obituaries_init() - with those that the state file knows. Return: 0 or -ENOMEM. */
KMEM_MUST_USE int obituaries_init(struct obituaries *obituaries, struct state *state,
                                  const struct rollup_tables *tables);

/** obituaries_fini() - also of drafts that were not written */
void obituaries_fini(struct obituaries *obituaries);

/**
 * obituaries_note() - a block of an ended client is about to be taken back
 * Return: what that cost, as rollup_spent() has it.
 */
uint32_t obituaries_note(struct obituaries *obituaries, const struct block *block);

/**
 * obituaries_note_kept() - a block of an ended client's memory is held by others, and lives on
 * Return: where to write who holds it, if it is the largest so far; else NULL.
 */
struct obituary_kept *obituaries_note_kept(struct obituaries *obituaries, uint32_t slot,
                                           uint64_t num_bytes);

/**
 * obituaries_prepare() - put the reasons with the most bytes first, as far as the budget goes
 * Return: whether obituaries_write() is next.
 */
KMEM_MUST_USE bool obituaries_prepare(struct obituaries *obituaries, const struct client *client,
                                      uint32_t budget);

/**
 * obituaries_write() - the last block of an ended client is back; obituaries_prepare() said so
 *
 * Once: one that was written before the server was killed, while the client had its slot still, is
 * found again. Return: its obituary.
 */
const struct obituary *obituaries_write(struct obituaries *obituaries, const struct client *client);

/** obituaries_counted_all() - what all clients have counted: of the table, or with an obituary */
struct counted obituaries_counted_all(const struct obituaries *obituaries,
                                      const struct clients *clients);

/** obituaries_n_seen() - how many clients have an obituary, or are in the table without one */
uint64_t obituaries_n_seen(const struct obituaries *obituaries, const struct clients *clients);

/** obituaries_next() - the first one kept with at least that number; NULL: none */
const struct obituary *obituaries_next(const struct obituaries *obituaries, uint64_t number);

/** obituaries_check() - look at all that are kept. Return: 0 or OBITUARIES_E_CORRUPT. */
KMEM_MUST_USE int obituaries_check(const struct obituaries *obituaries);

/**
 * obituary_format() - one line about it, for a log
 * @outlived:  it is the segment that ends, and the client's process lives on
 * Return: buffer.
 */
char *obituary_format(const struct obituary *obituary, bool outlived, char *buffer,
                      size_t buffer_bytes);

#endif

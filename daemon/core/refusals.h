/* SPDX-License-Identifier: MIT */
/*
 * refusals.h - who asked for what, when, and why it was refused: the last of them
 *
 * What one process asks for again and again, under the same reason, and is refused for the same
 * cause, is one refusal that is told with how often it was: a cache that evicts and tries again
 * does not push out what was refused to others. They are in the state file and go on with the next
 * server: what was refused before a server died is what one wants to know then. Nothing is decided
 * from them.
 */
#ifndef DAEMON_CORE_REFUSALS_H
#define DAEMON_CORE_REFUSALS_H

#include <stddef.h>
#include <stdint.h>

#include "daemon/core/state.h"
#include "proto/limits.h"

/* 16: as many processes are refused in turn, and each is still one refusal. */
#define REFUSALS_COMPARED 16
static_assert(REFUSALS_COMPARED <= REFUSALS_KEPT, "what is repeated is one that is told");

/*
 *      n_written == the number of the last: refusals_check()
 */
struct refusals {
    struct state *state;
    uint64_t n_written;
};

enum { REFUSALS_OK, REFUSALS_E_CORRUPT };

/** refusals_init() - with what the state file has; what is no refusal there is none */
void refusals_init(struct refusals *refusals, struct state *state);

/** refusals_note() - @n_reason_bytes: REASON_MAX_BYTES at most; 0: there is none */
void refusals_note(struct refusals *refusals, const struct client_identity *identity,
                   const struct refusal_facts *facts, const void *reason, size_t n_reason_bytes,
                   uint64_t now_ms);

/** refusals_next() - the first one kept with at least that number; NULL: none */
const struct refusal *refusals_next(const struct refusals *refusals, uint64_t number);

/** refusals_count() - how often that was refused for that cause, ever */
uint64_t refusals_count(const struct refusals *refusals, enum refusal_asked asked,
                        enum refusal_why why);

/** refusal_last() - what was so the last time */
static inline const struct refusal_facts *refusal_last(const struct refusal *refusal)
{
    return &refusal->facts[state_load(&refusal->n_times) % 2];
}

/** refusals_check() - look at all that are kept. Return: 0 or REFUSALS_E_CORRUPT. */
KMEM_MUST_USE int refusals_check(const struct refusals *refusals);

const char *refusal_asked_word(enum refusal_asked asked);
const char *refusal_why_word(enum refusal_why why);
const char *refusal_why_text(enum refusal_why why);

#endif

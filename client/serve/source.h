/* SPDX-License-Identifier: MIT */
/*
 * source.h - one segment that is served: a thread that asks its daemon, and what it said last
 *
 * Whatever scrapers and pages do, a daemon has one connection of this process, is asked one thing
 * at a time, no question twice in a second, and sixteen questions a second at most; of one that is
 * not wanted nothing is asked. An answer that is younger than a second, or than twenty times what
 * it took, is given to all that ask. A daemon that is gone, hangs or begins anew is the thread's
 * business: the others wait for it a second at most, and not at all while it is late already.
 */
#ifndef SERVE_SOURCE_H
#define SERVE_SOURCE_H

#include "client/serve/question.h"

struct source;

/* One that waits for an answer. */
struct source_wait {
    struct source *source; /* NULL: it was refused */
    struct source_entry *entry;
    uint64_t serial; /* of the answer that is too old; that of no answer if one is fresh */
    bool is_fresh;
};

/**
 * source_new() - begin to serve a segment; nothing is asked yet
 * @name:    what the segment is called until its daemon says it; copied
 * @socket:  its daemon's; copied
 * Return: 0 or a negative errno.
 */
KMEM_MUST_USE int source_new(const char *name, const char *socket, size_t n_reasons,
                             struct source **ret_source);

/** source_free() - end its thread, or leave it waiting for a daemon that hangs. Return: NULL. */
struct source *source_free(struct source *source);

/** source_name() - what it was called when it began */
const char *source_name(const struct source *source);

const char *source_socket(const struct source *source);

/**
 * source_begin() - want a question answered
 * @wait:  source_finish() is due, whatever comes back
 *
 * Returns at once, so that several segments are asked at the same time.
 */
void source_begin(struct source *source, const struct question *question, uint64_t now_ms,
                  struct source_wait *wait);

/**
 * source_finish() - the answer
 * @until_ms:  wait no longer
 *
 * Ownership: the caller's reference. Return: an answer, perhaps a little old; NULL: there was none
 * in time.
 */
struct answer *source_finish(struct source_wait *wait, uint64_t until_ms);

/** source_now_ms() - the clock of all this */
uint64_t source_now_ms(void);

/* 1 s: an answer that is younger is given to all; so long one waits for a new one. */
#define SOURCE_FRESH_MS 1000
/* 10 s: an answer that is older says nothing of now. */
#define SOURCE_STALE_MS 10000

#endif

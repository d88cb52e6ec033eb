/* SPDX-License-Identifier: MIT */
/*
 * failure.h - what went wrong, from where it is noticed to the caller
 *
 * The function that notices fills a struct failure that the public one keeps on its stack and
 * hands down; the public function puts its own name before the sentence and tells the caller.
 */
#ifndef CLIENT_FAILURE_H
#define CLIENT_FAILURE_H

#include <stdint.h>

#include "proto/attributes.h"
#include "proto/limits.h"

/*
 * 2 KiB: the longest sentence is the daemon's when there is no room, with five holders of up to
 * 127 bytes each, every byte of which may be escaped. A longer one is cut.
 */
#define SENTENCE_BYTES 2048

struct failure {
    int error;          /* a positive errno */
    uint64_t offset;    /* of the block that is meant, 0 if there is none */
    uint64_t num_bytes; /* of that block, or as many as were asked for; 0 if unknown */
    char reason[REASON_MAX_BYTES + 1];
    char sentence[SENTENCE_BYTES]; /* without the name of the call */
};

/** kmem__failure_set() - say what is wrong; about no block. Return: -failure->error. */
int kmem__failure_set(struct failure *failure, int error, const char *format, ...)
    KMEM_PRINTF(3, 4);

/**
 * kmem__failure_set_for() - begin a sentence about an allocation: "for "REASON": "
 * @failure:    begun
 * @error:      a positive errno
 * @num_bytes:  as many as were asked for, 0 if that is no number of bytes
 * @reason:     clean text; "" for none
 *
 * Return: -error.
 */
int kmem__failure_set_for(struct failure *failure, int error, uint64_t num_bytes,
                          const char *reason);

/** kmem__failure_add() - go on with the sentence */
void kmem__failure_add(struct failure *failure, const char *format, ...) KMEM_PRINTF(2, 3);

/** kmem__failure_add_foreign() - go on with text from outside, made safe for a terminal */
void kmem__failure_add_foreign(struct failure *failure, const char *text);

/** kmem__failure_add_sentence() - go on with the daemon's, in which foreign text is safe already */
void kmem__failure_add_sentence(struct failure *failure, const char *sentence);

/** kmem__failure_about() - name the block that is meant; reason may be NULL */
void kmem__failure_about(struct failure *failure, uint64_t offset, uint64_t num_bytes,
                         const char *reason);

/** kmem__failure_record() - make "call: sentence" this thread's kmem_last_error() */
void kmem__failure_record(const struct failure *failure, const char *call);

/** kmem__failure_raise() - the same, and call the failure handler, which may not return */
void kmem__failure_raise(const struct failure *failure, const char *call);

#endif

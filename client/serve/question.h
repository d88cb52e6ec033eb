/* SPDX-License-Identifier: MIT */
/*
 * question.h - what a segment is asked, and what came back
 *
 * A question about a list is what `kmemctl LIST --json` asks: the command's own function writes the
 * document, so rows are declared once, for the table, CSV, JSON and here. The other question is
 * for a sample, of which metrics are made.
 */
#ifndef SERVE_QUESTION_H
#define SERVE_QUESTION_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/ctl/command.h"
#include "client/serve/sample.h"

/* What the API has a path for. */
struct topic {
    const char *name;
    command_show_fn show;   /* NULL: a sample */
    command_shape_fn shape; /* NULL: it lists no rows */
    uint32_t top_usual;     /* how many rows come unless the asker says; 0: it has no rows */
    const char *special;    /* parameters that only this one knows, blanks between; NULL: none */
};

/* Of the parameters that are texts. */
enum question_text { QUESTION_REASON, QUESTION_SORT, QUESTION_COLUMNS, QUESTION_N_TEXTS };

struct question {
    const struct topic *topic;
    struct options options;        /* its texts are these: */
    char *texts[QUESTION_N_TEXTS]; /* NULL: not given */
};

void question_fini(struct question *question);

/** question_dup() - copy a question into another that is all zero. Return: 0 or -ENOMEM. */
KMEM_MUST_USE int question_dup(const struct question *question, struct question *ret_question);

/** question_is_same() - whether one answer is good for both */
bool question_is_same(const struct question *left, const struct question *right);

/* Read-only once it is there, and shared by all that asked. */
struct answer {
    atomic_uint n_refs;
    int error;         /* 0; a negative errno; an exit status: the question can not be meant */
    uint64_t began_ms; /* when it was asked; of CLOCK_MONOTONIC */
    uint64_t took_ms;
    char *text; /* the document; NULL: none */
    size_t n_bytes;
    struct sample sample;
};

/**
 * answer_new() - ask a daemon, and keep what it says
 * @query:      the connection; unusable if the answer has a negative error
 * @n_reasons:  of a sample
 *
 * Ownership: the caller's one reference. Return: the answer; NULL if there is no memory.
 */
struct answer *answer_new(struct kmem_query *query, const struct question *question,
                          size_t n_reasons);

/** answer_new_error() - the answer of a daemon that can not be asked */
struct answer *answer_new_error(int error);

struct answer *answer_ref(struct answer *answer);

/** answer_unref() - give a reference back; NULL is none. Return: NULL. */
struct answer *answer_unref(struct answer *answer);

#endif

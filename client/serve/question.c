/* SPDX-License-Identifier: MIT */
#include "client/serve/question.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/ctl/document.h"

/* ------------------------------------------------------------------------------ questions ---- */

void question_fini(struct question *question)
{
    for (size_t i = 0; i < QUESTION_N_TEXTS; i++) {
        free(question->texts[i]);
    }
    *question = (struct question){.topic = NULL};
}

static void texts_set(struct question *question)
{
    question->options.filter.reason = question->texts[QUESTION_REASON];
    question->options.sort = question->texts[QUESTION_SORT];
    question->options.columns = question->texts[QUESTION_COLUMNS];
}

int question_dup(const struct question *question, struct question *ret_question)
{
    *ret_question = (struct question){.topic = question->topic, .options = question->options};
    for (size_t i = 0; i < QUESTION_N_TEXTS; i++) {
        ret_question->texts[i] = question->texts[i] ? strdup(question->texts[i]) : NULL;
        if (question->texts[i] && !ret_question->texts[i]) {
            question_fini(ret_question);
            return -ENOMEM;
        }
    }
    texts_set(ret_question);
    return 0;
}

static bool is_same_text(const char *left, const char *right)
{
    return left && right ? strcmp(left, right) == 0 : left == right;
}

static bool is_same_filter(const struct filter *left, const struct filter *right)
{
    return left->has_pid == right->has_pid && left->pid == right->pid &&
           left->has_uid == right->has_uid && left->uid == right->uid &&
           left->has_age == right->has_age && left->older_than_ms == right->older_than_ms &&
           left->has_bytes == right->has_bytes &&
           left->larger_than_bytes == right->larger_than_bytes && left->after == right->after;
}

bool question_is_same(const struct question *left, const struct question *right)
{
    bool is_same =
        left->topic == right->topic && left->options.top == right->options.top &&
        left->options.by == right->options.by && left->options.depth == right->options.depth &&
        left->options.shared == right->options.shared && left->options.all == right->options.all &&
        left->options.counts == right->options.counts &&
        left->options.since_ms == right->options.since_ms &&
        left->options.steps == right->options.steps &&
        is_same_filter(&left->options.filter, &right->options.filter);
    for (size_t i = 0; is_same && i < QUESTION_N_TEXTS; i++) {
        is_same = is_same_text(left->texts[i], right->texts[i]);
    }
    return is_same;
}

/* -------------------------------------------------------------------------------- answers ---- */

static struct answer *answer_make(int error)
{
    struct answer *answer = calloc(1, sizeof(*answer));
    if (answer) {
        answer->n_refs = 1;
        answer->error = error;
    }
    return answer;
}

struct answer *answer_new_error(int error)
{
    return answer_make(error);
}

/* The document as `kmemctl` would print it. */
static int write_document(struct answer *answer, struct kmem_query *query,
                          const struct question *question)
{
    struct document document;
    if (document_open(&document) < 0) {
        return -ENOMEM;
    }
    const struct screen screen = {.file = document.file, .notes = stderr, .unicode = true};
    const int r = question->topic->show(query, &question->options, &screen);
    if (document_close(&document) < 0) {
        return -ENOMEM;
    }
    answer->text = document.text;
    answer->n_bytes = document.n_bytes;
    return r;
}

struct answer *answer_new(struct kmem_query *query, const struct question *question,
                          size_t n_reasons)
{
    struct answer *answer = answer_make(0);
    if (!answer) {
        return NULL;
    }
    answer->error = question->topic->show ? write_document(answer, query, question)
                                          : sample_init(&answer->sample, query, n_reasons);
    return answer;
}

struct answer *answer_ref(struct answer *answer)
{
    (void)atomic_fetch_add(&answer->n_refs, 1);
    return answer;
}

struct answer *answer_unref(struct answer *answer)
{
    if (answer && atomic_fetch_sub(&answer->n_refs, 1) == 1) {
        sample_fini(&answer->sample);
        free(answer->text);
        free(answer);
    }
    return NULL;
}

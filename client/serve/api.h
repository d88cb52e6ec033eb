/* SPDX-License-Identifier: MIT */
/*
 * api.h - what /api/v1/ knows, and what a request's parameters mean
 *
 * Pure: from the text of a request to a question. A path is a command of kmemctl, a parameter one
 * of its options.
 */
#ifndef SERVE_API_H
#define SERVE_API_H

#include "client/serve/question.h"

/* 10,000 rows are some 2 MiB of text; a page that wants more asks for the next ones. */
#define API_TOP_MAX 10000

/** api_topic() - what is asked for at that path behind "/api/v1/". Return: NULL: nothing is. */
const struct topic *api_topic(const char *path);

/** api_sample() - the topic of which metrics are made; it has no path */
const struct topic *api_sample(void);

/** api_begin() - begin a question; question_fini() is due */
void api_begin(const struct topic *topic, struct question *ret_question);

/* A sentence about what was wrong with a request. */
struct complaint {
    char text[256];
};

/**
 * api_set() - take a parameter
 * @key, @value:  as decoded; a value that is missing is ""
 * Return: 0; -EINVAL, and then the complaint is written; -ENOMEM.
 */
KMEM_MUST_USE int api_set(struct question *question, const char *key, const char *value,
                          struct complaint *complaint);

/** api_check() - whether all parameters can be meant together. Return: as api_set(). */
KMEM_MUST_USE int api_check(const struct question *question, struct complaint *complaint);

#endif

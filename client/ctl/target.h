/* SPDX-License-Identifier: MIT */
/*
 * target.h - the daemon that is asked, and what to say when it does not answer
 */
#ifndef CTL_TARGET_H
#define CTL_TARGET_H

#include <kmem/query.h>

#include "client/ctl/options.h"
#include "client/ctl/status.h"

/**
 * target_open() - connect to the daemon that the options name
 *
 * Ownership: the caller's until kmem_query_close().
 * Return: 0, or a negative errno; kmem_last_error() has the sentence.
 */
KMEM_MUST_USE int target_open(const struct options *options, struct kmem_query **ret_query);

/** target_status() - the exit status (enum status) for a negative errno of the library */
int target_status(int error);

/** target_sentence() - a sentence of the library without the function that it begins with */
const char *target_sentence(const char *sentence);

/**
 * target_complain() - print why there is no answer, on stderr
 * @sentence:  the library's; if it is "", the errno's text takes its place
 * Return: target_status(error).
 */
int target_complain(int error, const char *sentence);

#endif

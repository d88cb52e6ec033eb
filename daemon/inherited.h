/* SPDX-License-Identifier: MIT */
/*
 * inherited.h - what a process has from the one that started it, made harmless
 *
 * A starter decides which descriptors are open, which signals are ignored or blocked, which timers
 * run and how far resources go. kmemd must work, or say why it can not, wherever it is started.
 */
#ifndef DAEMON_INHERITED_H
#define DAEMON_INHERITED_H

#include <stddef.h>
#include <stdint.h>

#include "proto/attributes.h"

/**
 * inherited_reset() - the first thing that main() does
 *
 * Descriptors 0, 1 and 2 are open afterwards: the next file that is opened would else be one of
 * them, and log lines would be written into it. Children can be waited for, no signal is blocked, a
 * write beyond a limit or to a closed pipe fails instead of ending the process, and no timer that
 * the starter left running ends it later.
 *
 * Return: 0 or a negative errno: a descriptor can not be had.
 */
KMEM_MUST_USE int inherited_reset(void);

/** inherited_raise() - raise soft limits as far as the process may */
void inherited_raise(void);

/**
 * inherited_check() - whether the limits allow what can be known beforehand
 * @largest_bytes:  of the files that will be made
 * @ret_sentence:   what is too low and what is needed; written for -EPERM
 * Return: 0 or -EPERM.
 */
KMEM_MUST_USE int inherited_check(uint64_t largest_bytes, char *ret_sentence,
                                  size_t sentence_bytes);

/** inherited_warn() - logs what will be felt later, and is no reason not to start */
void inherited_warn(void);

/**
 * inherited_explain() - the limit that a failed call may have met: " (RLIMIT_NPROC is 12)"
 * @error:  a positive errno
 * Return: a text that stays until the next call; empty if none is set that fits.
 */
const char *inherited_explain(int error);

#endif

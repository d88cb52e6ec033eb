/* SPDX-License-Identifier: MIT */
/*
 * reason.h - twenty reasons, one of which is none; few enough that ids are given out again
 */
#ifndef TESTS_CRASH_REASON_H
#define TESTS_CRASH_REASON_H

#include <stdint.h>
#include <stdio.h>

#include "proto/limits.h"

#define N_REASONS 20
#define REASON_TEXT_BYTES 32

/** reason_text() - as a client gives it. Return: text. */
static inline char *reason_text(uint32_t reason, char *text)
{
    if (reason == 0) {
        text[0] = '\0';
    } else {
        (void)snprintf(text, REASON_TEXT_BYTES, "reason %.*u", (int)reason, reason); /* fits */
    }
    return text;
}

/** reason_shown() - as the daemon keeps it. Return: text. */
static inline char *reason_shown(uint32_t reason, char *text)
{
    if (reason == 0) {
        (void)snprintf(text, REASON_TEXT_BYTES, "%s", NO_REASON); /* fits */
        return text;
    }
    return reason_text(reason, text);
}

#endif

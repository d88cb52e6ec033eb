/* SPDX-License-Identifier: MIT */
/*
 * complaints.h - what is wrong with what the operator has written: all of it, not the first alone
 */
#ifndef DAEMON_COMPLAINTS_H
#define DAEMON_COMPLAINTS_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/attributes.h"

/* A path, a line, a key and why. */
#define COMPLAINT_BYTES 4608

struct complaints {
    void (*say)(const char *sentence, void *user); /* NULL: they are only counted */
    void *user;
    uint32_t n;
    bool has_fault; /* the system refused something, whatever was written */
};

/** complaints_add() - one more */
KMEM_PRINTF(2, 3) void complaints_add(struct complaints *complaints, const char *format, ...);

/** complaints_note() - an error is a fault of the system's, unless it is about the file itself */
void complaints_note(struct complaints *complaints, int error);

#endif

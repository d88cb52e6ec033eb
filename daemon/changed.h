/* SPDX-License-Identifier: MIT */
/*
 * changed.h - which settings differ between two sets of options
 *
 * For --compare, and for a reload: a row has what there was, what is wanted, and why that waits.
 */
#ifndef DAEMON_CHANGED_H
#define DAEMON_CHANGED_H

#include <stdint.h>

#include "daemon/options.h"

/* Lists are longer: their beginnings are compared. */
#define CHANGED_TEXT_BYTES 4096

struct changed {
    const char *key;   /* `quota`, or `user "alice" quota` */
    const char *old;   /* "none": there is none, in a section that is new */
    const char *now;   /* "none": the section is gone */
    const char *waits; /* NULL: it can be applied while clients are served */
};

typedef void (*changed_fn)(const struct changed *changed, void *user);

/** changed_settings() - a call for each that differs. Return: how many there are. */
uint32_t changed_settings(const struct options *old, const struct options *now, changed_fn each,
                          void *user);

/** changed_log() - changed_fn: a line of the log for it */
void changed_log(const struct changed *changed, void *user);

#endif

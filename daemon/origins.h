/* SPDX-License-Identifier: MIT */
/*
 * origins.h - where the value of each setting comes from, for --dump-config
 */
#ifndef DAEMON_ORIGINS_H
#define DAEMON_ORIGINS_H

#include <stddef.h>
#include <stdint.h>

#include "daemon/settings.h"

struct origin {
    const struct setting *setting;
    size_t place;     /* of the setting in the options, in bytes: sections have the same settings */
    const char *path; /* borrowed; of a file */
    int line;         /* 0: it is the command line */
};

struct origins {
    struct origin *rows;
    uint32_t n;
    uint32_t n_allocated;
};

/** origins_fini() - forget them; the origins may be used again */
void origins_fini(struct origins *origins);

/** origins_note() - the last one of a setting counts; not noted if there is no memory for it */
void origins_note(struct origins *origins, const struct origin *origin);

/** origins_find() - Return: NULL: it is the default */
const struct origin *origins_find(const struct origins *origins, const struct setting *setting,
                                  size_t place);

#endif

/* SPDX-License-Identifier: MIT */
#include "daemon/origins.h"

#include <stdlib.h>

/* 64: more than most configurations have lines. */
#define ORIGINS_STEP 64

void origins_fini(struct origins *origins)
{
    free(origins->rows);
    *origins = (struct origins){.rows = NULL};
}

static struct origin *origins_look(const struct origins *origins, const struct setting *setting,
                                   size_t place)
{
    for (uint32_t i = 0; i < origins->n; i++) {
        struct origin *row = &origins->rows[i];
        if (row->setting == setting && row->place == place) {
            return row;
        }
    }
    return NULL;
}

void origins_note(struct origins *origins, const struct origin *origin)
{
    struct origin *row = origins_look(origins, origin->setting, origin->place);
    if (!row && origins->n == origins->n_allocated) {
        const uint32_t n = origins->n_allocated + ORIGINS_STEP;
        struct origin *rows = reallocarray(origins->rows, n, sizeof(*rows));
        if (!rows) {
            return;
        }
        origins->rows = rows;
        origins->n_allocated = n;
    }
    if (!row) {
        row = &origins->rows[origins->n++];
    }
    *row = *origin;
}

const struct origin *origins_find(const struct origins *origins, const struct setting *setting,
                                  size_t place)
{
    return origins_look(origins, setting, place);
}

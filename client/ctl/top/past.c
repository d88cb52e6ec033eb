/* SPDX-License-Identifier: MIT */
#include "client/ctl/top/past.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void past_fini(struct past *past)
{
    for (size_t i = 0; i < past->n_points; i++) {
        free(past->points[i].reason);
    }
    free(past->points);
    *past = (struct past){0};
}

int past_add(const struct kmem_history_row *row, void *user)
{
    struct past *past = user;
    if (past->n_points == past->capacity) {
        const size_t capacity = past->capacity ? past->capacity * 2 : 256;
        struct past_point *grown = realloc(past->points, capacity * sizeof(*grown));
        if (!grown) {
            return -ENOMEM;
        }
        past->points = grown;
        past->capacity = capacity;
    }
    char *reason = row->reason ? strdup(row->reason) : NULL;
    if (row->reason && !reason) {
        return -ENOMEM;
    }
    past->points[past->n_points++] =
        (struct past_point){reason, row->number, row->ms_ago, row->num_bytes};
    return 0;
}

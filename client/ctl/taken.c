/* SPDX-License-Identifier: MIT */
#include "client/ctl/taken.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int taken_init(struct taken *taken)
{
    memset(taken, 0, sizeof(*taken));
    taken->capacity = 64;
    taken->pieces = calloc(taken->capacity, sizeof(*taken->pieces));
    return taken->pieces ? 0 : -ENOMEM;
}

void taken_fini(struct taken *taken)
{
    free(taken->pieces);
    taken->pieces = NULL;
}

/* The first piece that ends behind an offset. */
static size_t piece_find(const struct taken *taken, uint64_t offset)
{
    size_t low = 0;
    size_t high = taken->n;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const struct piece *piece = &taken->pieces[middle];
        if (piece->offset + piece->num_bytes <= offset) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static int piece_insert(struct taken *taken, size_t at, struct piece piece)
{
    if (taken->n == taken->capacity) {
        const size_t capacity = taken->capacity > 0 ? 2 * taken->capacity : 64;
        struct piece *larger = realloc(taken->pieces, capacity * sizeof(*larger));
        if (!larger) {
            return -ENOMEM;
        }
        taken->pieces = larger;
        taken->capacity = capacity;
    }
    memmove(&taken->pieces[at + 1], &taken->pieces[at], (taken->n - at) * sizeof(piece));
    taken->n++;
    taken->pieces[at] = piece;
    taken->num_bytes += piece.num_bytes;
    return taken->comes ? taken->comes(&taken->pieces[at], taken->user) : 0;
}

static int piece_remove(struct taken *taken, size_t at)
{
    const struct piece piece = taken->pieces[at];
    taken->n--;
    memmove(&taken->pieces[at], &taken->pieces[at + 1], (taken->n - at) * sizeof(piece));
    taken->num_bytes -= piece.num_bytes;
    return taken->goes ? taken->goes(&piece, taken->user) : 0;
}

/* What is taken in a range is so no more; of a piece that goes over its borders the rest stays. */
static int range_give(struct taken *taken, uint64_t begin, uint64_t end)
{
    size_t at = piece_find(taken, begin);
    int r = 0;
    while (r == 0 && at < taken->n && taken->pieces[at].offset < end) {
        const struct piece piece = taken->pieces[at];
        const uint64_t piece_end = piece.offset + piece.num_bytes;
        r = piece_remove(taken, at);
        if (r == 0 && piece.offset < begin) {
            struct piece rest = piece;
            rest.num_bytes = begin - piece.offset;
            r = piece_insert(taken, at++, rest);
        }
        if (r == 0 && piece_end > end) {
            struct piece rest = piece;
            rest.offset = end;
            rest.num_bytes = piece_end - end;
            r = piece_insert(taken, at++, rest);
        }
    }
    return r;
}

static int process_end(struct taken *taken, uint32_t pid)
{
    int r = 0;
    for (size_t at = taken->n; r == 0 && at-- > 0;) {
        r = taken->pieces[at].pid == pid ? piece_remove(taken, at) : 0;
    }
    return r;
}

int taken_apply(struct taken *taken, const struct event *event)
{
    const uint64_t end = event->offset + event->num_bytes;
    int r = 0;
    switch (event->kind) {
    case EVENT_TAKE:
        /* What was there was given back unseen, or it was there when the record began. */
        r = range_give(taken, event->offset, end);
        return r ? r
                 : piece_insert(taken, piece_find(taken, event->offset),
                                (struct piece){.offset = event->offset,
                                               .num_bytes = event->num_bytes,
                                               .pid = event->pid,
                                               .reason = event->reason});
    case EVENT_GIVE:
        return range_give(taken, event->offset, end);
    case EVENT_END:
        return process_end(taken, event->pid);
    case EVENT_OTHER:
    case EVENT_MISSED:
        break;
    }
    return r;
}

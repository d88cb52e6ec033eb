/* SPDX-License-Identifier: MIT */
/*
 * recording.h - what a segment's daemon did, in a file: `record` writes it, `replay` reads it
 *
 * A line of JSON each: first what it is of, then what there was, then what was done:
 *
 *      {"kmem_record": 1, "segment": "video", "segment_bytes": 1073741824, "began": "2026-..."}
 *      {"t": 0, "k": "allocated", "p": 4711, "o": 16384, "n": 44, "r": "camera/frame"}
 *
 *  t   milliseconds since it began; 0: it was there already
 *  k   the kind of change, as `watch` has it; "missed", with "m" how many; "began_anew"
 *  p   the process;  o  the offset;  n  bytes;  r  the reason, or the name
 */
#ifndef CTL_RECORDING_H
#define CTL_RECORDING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kmem/kmem.h>

#include "client/ctl/event.h"

#define RECORDING_VERSION 1

struct recording {
    uint64_t segment_bytes;
    struct event *events;
    size_t n_events;
    size_t capacity;
    uint64_t n_missed;
    uint64_t largest_bytes; /* of one block or lease */
    uint64_t peak_bytes;    /* the most that was taken at once, in whole pages where it is pages */
    uint64_t peak_ms;       /* when */
};

/**
 * recording_read() - Says on stderr, for `command`, why it can not be read.
 * Return: 0 or a status. Then there is nothing to free.
 */
KMEM_MUST_USE int recording_read(struct recording *recording, const char *path,
                                 const char *command);

void recording_fini(struct recording *recording);

#endif

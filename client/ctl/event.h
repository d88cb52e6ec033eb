/* SPDX-License-Identifier: MIT */
/*
 * event.h - one line of a record: what takes of a segment, or gives back
 */
#ifndef CTL_EVENT_H
#define CTL_EVENT_H

#include <stdbool.h>
#include <stdint.h>

enum event_kind {
    EVENT_OTHER, /* changes nothing of what is free */
    EVENT_TAKE,  /* allocated, leased */
    EVENT_GIVE,  /* released, returned */
    EVENT_END,   /* a process has ended: all that it has is given back */
    EVENT_MISSED,
};

struct event {
    uint64_t at_ms;
    enum event_kind kind;
    bool is_lease;
    uint32_t pid;
    uint64_t offset;
    uint64_t num_bytes;
    uint64_t n_missed;
    char *reason;
};

#endif

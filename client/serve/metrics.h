/* SPDX-License-Identifier: MIT */
/*
 * metrics.h - what is known of all segments, as Prometheus reads it
 *
 * Pure: from samples to text. How many series there are is bounded whatever clients write: of each
 * segment its figures, limits, causes of refusal, and the reasons that its sample has kept.
 */
#ifndef SERVE_METRICS_H
#define SERVE_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/serve/exposition.h"
#include "client/serve/sample.h"

struct metrics_segment {
    const char *label;           /* differs from those of the others */
    const struct sample *sample; /* NULL: the segment does not answer */
    uint64_t age_ms;             /* of the sample */
    uint64_t took_ms;            /* that the last question took, whatever came of it */
};

/** metrics_write() - write all that is known of some segments */
void metrics_write(const struct exposition *exposition, const struct metrics_segment *segments,
                   size_t n_segments);

#endif

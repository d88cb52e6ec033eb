/* SPDX-License-Identifier: MIT */
/*
 * export.h - the tree of reasons, as other programs want it
 */
#ifndef CTL_EXPORT_H
#define CTL_EXPORT_H

#include <stdint.h>
#include <stdio.h>

#include <kmem/kmem.h>

#include "client/ctl/tree.h"

struct exported {
    const struct tree *tree;
    const char *segment_name;
    uint64_t taken_ms; /* since 1970, UTC */
};

/**
 * export_folded() - "video;capture 8388608": a line for each reason, its levels and its bytes
 *
 * What flame graph programs read. A ';' in a reason is written as ':', a control character as \xNN.
 */
KMEM_MUST_USE int export_folded(const struct exported *exported, FILE *file);

/** export_profile() - what pprof reads: blocks and bytes of each reason, compressed by gzip */
KMEM_MUST_USE int export_profile(const struct exported *exported, FILE *file);

/** export_page() - a page that shows the tree in a browser, and asks for nothing else */
KMEM_MUST_USE int export_page(const struct exported *exported, FILE *file);

#endif

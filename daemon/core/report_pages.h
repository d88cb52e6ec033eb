/* SPDX-License-Identifier: MIT */
/*
 * report_pages.h - what the pages of the segment are, and what one byte of them is
 */
#ifndef DAEMON_CORE_REPORT_PAGES_H
#define DAEMON_CORE_REPORT_PAGES_H

#include <stdint.h>

#include "daemon/core/core.h"
#include "daemon/core/reply.h"
#include "daemon/core/stretch.h"

/**
 * report_pages() - some of the pages, from a request's offset on
 *
 * asked->cell_bytes is 0, or a multiple of the page. Any other number in it will do.
 */
void report_pages(const struct core *core, const Kmem__Pages *asked, uint64_t now_ms,
                  struct reply *reply);

/** report_at() - what a byte is; any offset will do */
void report_at(const struct core *core, uint64_t offset, uint64_t now_ms, struct reply *reply);

/** report_pages_row() - a row that says what a stretch is */
Kmem__PageRow *report_pages_row(const struct core *core, const struct stretch *stretch,
                                uint32_t now, struct reply *reply);

#endif

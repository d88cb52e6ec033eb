/* SPDX-License-Identifier: MIT */
/*
 * page.h - the page, as it was when this was built: one document, with its style and its program
 */
#ifndef SERVE_PAGE_H
#define SERVE_PAGE_H

#include <stddef.h>

extern const unsigned char page_html[];
extern const size_t page_html_bytes;

/* "sha256-...": what may run, and what may style it; of the header Content-Security-Policy. */
extern const char page_script_hash[];
extern const char page_style_hash[];

#endif

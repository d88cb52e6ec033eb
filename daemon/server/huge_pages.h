/* SPDX-License-Identifier: MIT */
/*
 * huge_pages.h - what size of pages the segment's memory is made of
 *
 * The first touch of a page by a process costs 10 us through a 4 KiB mapping and 0.04 us per 4 KiB
 * through a 2 MiB one. A file in memory is made of small pages unless the system is set up
 * otherwise, but MADV_COLLAPSE (Linux 6.1) turns populated ones into huge ones without any setting,
 * at 2.6 ms per 2 MiB: in the background, once clients are served.
 *
 * It takes a mapping. A piece of 2 MiB is mapped, collapsed and unmapped before the next: a mapping
 * of the whole would count as resident memory of this process. It waits for locks that members of
 * the segment hold, so it is the scrubber's work (scrubber.h).
 */
#ifndef DAEMON_SERVER_HUGE_PAGES_H
#define DAEMON_SERVER_HUGE_PAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/attributes.h"

#define HUGE_PAGES_HUGE_BYTES (UINT64_C(2) << 20)

struct huge_pages {
    int fd;           /* the segment's; borrowed */
    uint64_t n_bytes; /* of it, from its beginning */
    uint64_t n_huge;  /* 2 MiB pages that were made, from there too */
    int error;        /* a negative errno: why no more; 0 if there was no reason */
};

/* A part of the segment that is mapped for a moment. */
struct huge_pages_window {
    unsigned char *bytes;
    void *reserved; /* the addresses that it lies in */
    size_t reserved_bytes;
};

/**
 * huge_pages_map() - map n_bytes at `at`, and what else lies in the huge pages that these are in
 *
 * At an address at which a huge page is mapped by one entry. Return: 0 or a negative errno.
 */
KMEM_MUST_USE int huge_pages_map(int fd, uint64_t at, uint64_t n_bytes,
                                 struct huge_pages_window *ret_window);

void huge_pages_unmap(const struct huge_pages_window *window);

/** huge_pages_init() - for [at, at + n_bytes); what lies before is made of them already */
void huge_pages_init(struct huge_pages *huge_pages, int fd, uint64_t at, uint64_t n_bytes);

/** huge_pages_step() - collapse the next 2 MiB. Return: whether there is more to do. */
bool huge_pages_step(struct huge_pages *huge_pages);

/** huge_pages_log() - say what became of it; a memory of n_bytes has n_huge pages of 2 MiB now */
void huge_pages_log(uint64_t n_bytes, uint64_t n_huge, int error);

#endif

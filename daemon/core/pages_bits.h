/* SPDX-License-Identifier: MIT */
/*
 * pages_bits.h - a bit a page, a word at a time: state->maybe_dirty and pages->dirty
 */
#ifndef DAEMON_CORE_PAGES_BITS_H
#define DAEMON_CORE_PAGES_BITS_H

#include <stdint.h>

/** pages_bits() - the bits of [page, end) that are in the same word as the first */
static inline uint64_t pages_bits(uint32_t page, uint32_t end, uint32_t *ret_n_pages)
{
    const uint32_t bit = page % 64;
    const uint32_t n_here = end - page < 64 - bit ? end - page : 64 - bit;
    *ret_n_pages = n_here;
    return (n_here == 64 ? UINT64_MAX : (UINT64_C(1) << n_here) - 1) << bit;
}

#endif

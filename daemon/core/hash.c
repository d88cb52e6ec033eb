/* SPDX-License-Identifier: MIT */
#include "daemon/core/hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

uint32_t hash_words(uint64_t seed, const void *bytes, size_t n_bytes)
{
    return (uint32_t)XXH3_64bits_withSeed(bytes, n_bytes, seed);
}

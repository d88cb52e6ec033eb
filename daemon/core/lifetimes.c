/* SPDX-License-Identifier: MIT */
#include "daemon/core/lifetimes.h"

#include <string.h>

#include "daemon/core/hash.h"

void lifetimes_init(struct lifetimes *lifetimes, uint64_t seed)
{
    lifetimes->seed = seed;
    memset(lifetimes->kept, 0, sizeof(lifetimes->kept));
}

size_t lifetimes_key(const char *text, size_t n_bytes)
{
    const char *detail = memchr(text, '#', n_bytes);
    return detail && detail > text ? (size_t)(detail - text) : n_bytes;
}

static uint32_t place_of(const struct lifetimes *lifetimes, const char *text, size_t n_bytes,
                         uint32_t i)
{
    return (hash_words(lifetimes->seed, text, n_bytes) + i) % LIFETIMES_KEPT;
}

const struct lifetimes_kept *lifetimes_find(const struct lifetimes *lifetimes, const char *text,
                                            size_t n_bytes)
{
    for (uint32_t i = 0; n_bytes > 0 && i < LIFETIMES_PROBED; i++) {
        const struct lifetimes_kept *kept = &lifetimes->kept[place_of(lifetimes, text, n_bytes, i)];
        if (kept->n_bytes == n_bytes && memcmp(kept->text, text, n_bytes) == 0) {
            return kept;
        }
    }
    return NULL;
}

static uint64_t sum_of(const struct lifetimes_kept *kept)
{
    uint64_t sum = 0;
    for (uint32_t range = 0; range < LIFETIME_RANGES; range++) {
        sum += kept->n[range];
    }
    return sum;
}

/* A free place, or the one that was released least. */
static struct lifetimes_kept *place_least(struct lifetimes *lifetimes, const char *text,
                                          size_t n_bytes)
{
    struct lifetimes_kept *least = NULL;
    for (uint32_t i = 0; i < LIFETIMES_PROBED; i++) {
        struct lifetimes_kept *kept = &lifetimes->kept[place_of(lifetimes, text, n_bytes, i)];
        if (kept->n_bytes == 0) {
            return kept;
        }
        least = !least || sum_of(kept) < sum_of(least) ? kept : least;
    }
    return least;
}

/* Return: whether nothing is left of it. */
static bool kept_halve(struct lifetimes_kept *kept)
{
    for (uint32_t range = 0; range < LIFETIME_RANGES; range++) {
        kept->n[range] /= 2;
    }
    return sum_of(kept) == 0;
}

/* The reason's place; NULL: it has none yet. */
static struct lifetimes_kept *place_get(struct lifetimes *lifetimes, const char *text,
                                        size_t n_bytes)
{
    struct lifetimes_kept *kept =
        (struct lifetimes_kept *)(uintptr_t)lifetimes_find(lifetimes, text, n_bytes);
    if (kept) {
        return kept;
    }
    kept = place_least(lifetimes, text, n_bytes);
    if (kept->n_bytes != 0 && !kept_halve(kept)) {
        return NULL;
    }
    *kept = (struct lifetimes_kept){.n_bytes = (uint8_t)n_bytes};
    memcpy(kept->text, text, n_bytes);
    return kept;
}

void lifetimes_add(struct lifetimes *lifetimes, const char *text, size_t n_bytes,
                   const uint32_t *n_by_range)
{
    const size_t n_key = lifetimes_key(text, n_bytes);
    KMEM_ASSERT(n_key <= REASON_MAX_BYTES);
    struct lifetimes_kept *kept = n_key > 0 ? place_get(lifetimes, text, n_key) : NULL;
    for (uint32_t range = 0; kept && range < LIFETIME_RANGES; range++) {
        kept->n[range] += n_by_range[range];
    }
}

/* SPDX-License-Identifier: MIT */
/*
 * extents.c - boundary tags, bins by length, and a tree by address
 *
 * Bins are those of daemon/core/pages.c. That is done once more here because there it is tied to
 * the state file, and because the choices that it rejects are to be measured beside it.
 */
#include "tests/bench/extents.h"

#include <sys/mman.h>

#include "tests/bench/bench.h"

/* What daemon/core/pages.c looks at. */
#define NEAR_LOOKS 16

/* Only what is used is touched. */
static uint32_t *table_map(uint64_t n)
{
    void *at = mmap(NULL, n * sizeof(uint32_t), PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) {
        bench_fail("no memory for extents");
    }
    return at;
}

static uint32_t bin_of(uint32_t n_units)
{
    if (n_units < 16) {
        return n_units;
    }
    const uint32_t log2 = 31 - (uint32_t)__builtin_clz(n_units);
    return 16 + ((log2 - 4) << 4) + ((n_units >> (log2 - 4)) & 15);
}

/* The first bin of which every extent has at least n_units. */
static uint32_t bin_for(uint32_t n_units)
{
    if (n_units < 16) {
        return n_units;
    }
    const uint32_t log2 = 31 - (uint32_t)__builtin_clz(n_units);
    return bin_of(n_units + (UINT32_C(1) << (log2 - 4)) - 1);
}

static uint32_t bin_occupied(const struct extents *extents, uint32_t bin)
{
    uint32_t word = bin / 64;
    uint64_t bits = extents->bin_bits[word] & (~UINT64_C(0) << bin % 64);
    while (bits == 0 && ++word < EXTENTS_BINS / 64) {
        bits = extents->bin_bits[word];
    }
    return bits == 0 ? EXTENTS_BINS : word * 64 + (uint32_t)__builtin_ctzll(bits);
}

static void tree_set(struct extents *extents, uint32_t unit, uint32_t n_units)
{
    uint32_t node = extents->n_leaves + unit;
    extents->longest[node] = n_units;
    for (node /= 2; node > 0; node /= 2) {
        const uint32_t *children = &extents->longest[(size_t)2 * node];
        const uint32_t left = children[0];
        const uint32_t right = children[1];
        extents->longest[node] = left > right ? left : right;
    }
}

/* The first or the last extent that is long enough; 0: none is. */
static uint32_t tree_find(const struct extents *extents, uint32_t n_units, bool last)
{
    uint32_t node = 1;
    if (extents->longest[node] < n_units) {
        return 0;
    }
    while (node < extents->n_leaves) {
        node = 2 * node + last;
        node = extents->longest[node] >= n_units ? node : node ^ 1;
    }
    return node - extents->n_leaves;
}

static void extent_insert(struct extents *extents, uint32_t unit, uint32_t n_units)
{
    const uint32_t bin = bin_of(n_units);
    const uint32_t second = extents->bin_first[bin];
    extents->length[unit] = n_units;
    extents->begin_of[unit + n_units - 1] = unit;
    extents->next[unit] = second;
    extents->prev[unit] = 0;
    if (second != 0) {
        extents->prev[second] = unit;
    }
    extents->bin_first[bin] = unit;
    extents->bin_bits[bin / 64] |= UINT64_C(1) << bin % 64;
    if (extents->longest != NULL) {
        tree_set(extents, unit, n_units);
    }
}

static void extent_remove(struct extents *extents, uint32_t unit)
{
    const uint32_t n_units = extents->length[unit];
    const uint32_t bin = bin_of(n_units);
    const uint32_t next = extents->next[unit];
    const uint32_t prev = extents->prev[unit];
    extents->length[unit] = 0;
    extents->begin_of[unit + n_units - 1] = 0;
    if (next != 0) {
        extents->prev[next] = prev;
    }
    if (prev != 0) {
        extents->next[prev] = next;
    } else {
        extents->bin_first[bin] = next;
    }
    if (extents->bin_first[bin] == 0) {
        extents->bin_bits[bin / 64] &= ~(UINT64_C(1) << bin % 64);
    }
    if (extents->longest != NULL) {
        tree_set(extents, unit, 0);
    }
}

void extents_init(struct extents *extents, uint32_t n_units, bool by_address)
{
    *extents = (struct extents){.n_units = n_units, .n_free = n_units - 1, .n_leaves = 1};
    extents->length = table_map(n_units + 1);
    extents->begin_of = table_map(n_units + 1);
    extents->next = table_map(n_units + 1);
    extents->prev = table_map(n_units + 1);
    while (extents->n_leaves < n_units) {
        extents->n_leaves *= 2;
    }
    if (by_address) {
        extents->longest = table_map(UINT64_C(2) * extents->n_leaves);
    }
    extent_insert(extents, 1, n_units - 1);
}

void extents_fini(struct extents *extents)
{
    uint32_t *tables[] = {extents->length, extents->begin_of, extents->next, extents->prev};
    for (int i = 0; i < 4; i++) {
        (void)munmap(tables[i], (extents->n_units + UINT64_C(1)) * sizeof(uint32_t));
    }
    if (extents->longest != NULL) {
        (void)munmap(extents->longest, UINT64_C(2) * extents->n_leaves * sizeof(uint32_t));
    }
}

/* Of a bin's first n_looks extents that are long enough the shortest; 0: none is. */
static uint32_t bin_search(const struct extents *extents, uint32_t bin, uint32_t n_units,
                           uint32_t n_looks)
{
    uint32_t found = 0;
    for (uint32_t at = extents->bin_first[bin]; at != 0 && n_looks > 0; at = extents->next[at]) {
        const uint32_t length = extents->length[at];
        if (length >= n_units && (found == 0 || length < extents->length[found])) {
            found = at;
        }
        n_looks--;
        if (length == n_units) {
            break;
        }
    }
    return found;
}

static uint32_t find_good(const struct extents *extents, uint32_t n_units)
{
    const uint32_t bin = bin_occupied(extents, bin_for(n_units));
    return bin < EXTENTS_BINS ? extents->bin_first[bin]
                              : bin_search(extents, bin_of(n_units), n_units, UINT32_MAX);
}

static uint32_t find_best(const struct extents *extents, uint32_t n_units, uint32_t n_looks)
{
    const uint32_t found = bin_search(extents, bin_of(n_units), n_units, n_looks);
    if (found != 0) {
        return found;
    }
    const uint32_t bin = bin_occupied(extents, bin_of(n_units) + 1);
    return bin < EXTENTS_BINS ? bin_search(extents, bin, n_units, n_looks)
                              : bin_search(extents, bin_of(n_units), n_units, UINT32_MAX);
}

uint32_t extents_take(struct extents *extents, uint32_t n_units, enum fit fit)
{
    uint32_t unit;
    if (fit == PLACE_LOW || fit == PLACE_HIGH) {
        unit = tree_find(extents, n_units, fit == PLACE_HIGH);
    } else {
        unit = fit == PLACE_GOOD
                   ? find_good(extents, n_units)
                   : find_best(extents, n_units, fit == PLACE_NEAR ? NEAR_LOOKS : UINT32_MAX);
    }
    if (unit == 0) {
        return 0;
    }
    const uint32_t n_rest = extents->length[unit] - n_units;
    extent_remove(extents, unit);
    extents->n_free -= n_units;
    if (n_rest > 0 && fit == PLACE_HIGH) {
        extent_insert(extents, unit, n_rest);
        return unit + n_rest;
    }
    if (n_rest > 0) {
        extent_insert(extents, unit + n_units, n_rest);
    }
    return unit;
}

void extents_give(struct extents *extents, uint32_t unit, uint32_t n_units)
{
    const uint32_t behind = unit + n_units;
    const uint32_t before = extents->begin_of[unit - 1];
    extents->n_free += n_units;
    if (behind < extents->n_units && extents->length[behind] > 0) {
        n_units += extents->length[behind];
        extent_remove(extents, behind);
    }
    if (before != 0) {
        n_units += extents->length[before];
        extent_remove(extents, before);
        unit = before;
    }
    extent_insert(extents, unit, n_units);
}

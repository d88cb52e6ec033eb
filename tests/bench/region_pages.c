/* SPDX-License-Identifier: MIT */
/*
 * region_pages.c - placement alone: no lease, no heap, no process, only where runs come to lie
 *
 * Pages: small blocks are in slabs of kmem's size classes, which all processes fill together, as
 * direct blocks do; large ones have runs of their own. It is what kmem could do if nothing were
 * kept for a process or thread. Bytes: TLSF as it is, without pages.
 */
#include <stdlib.h>
#include <string.h>

#include "proto/size_class.h"
#include "tests/bench/bench.h"
#include "tests/bench/extents.h"
#include "tests/bench/region.h"

/* A slab, by its first page. */
struct slab {
    uint32_t next; /* slabs with room */
    uint32_t prev;
    uint16_t size_class;
    uint16_t n_used;
    uint64_t used[1024 / 64]; /* a bit for each block */
};

struct pages_region {
    struct region region;
    struct extents extents;
    enum fit slabs;
    enum fit large;
    struct slab *slab;
    uint32_t partial_slabs[N_SIZE_CLASSES];
    uint16_t *back; /* by page: how many before it the slab begins */
};

/* Handles: a byte's place, and in the highest bits 1 + its class if it is in a slab. */
#define CLASS_SHIFT 56

static struct pages_region *pages_of(struct region *region)
{
    return (struct pages_region *)region;
}

static void room_unlink(struct pages_region *pages, uint32_t page)
{
    const struct slab *slab = &pages->slab[page];
    if (slab->next != 0) {
        pages->slab[slab->next].prev = slab->prev;
    }
    if (slab->prev != 0) {
        pages->slab[slab->prev].next = slab->next;
    } else {
        pages->partial_slabs[slab->size_class] = slab->next;
    }
}

static void room_link(struct pages_region *pages, uint32_t page)
{
    struct slab *slab = &pages->slab[page];
    slab->next = pages->partial_slabs[slab->size_class];
    slab->prev = 0;
    if (slab->next != 0) {
        pages->slab[slab->next].prev = page;
    }
    pages->partial_slabs[slab->size_class] = page;
}

static uint32_t slab_open(struct pages_region *pages, uint32_t size_class)
{
    const uint32_t span = size_classes[size_class].span_pages;
    const uint32_t page = extents_take(&pages->extents, span, pages->slabs);
    if (page != 0) {
        pages->slab[page] = (struct slab){.size_class = (uint16_t)size_class};
        for (uint32_t i = 0; i < span; i++) {
            pages->back[page + i] = (uint16_t)i;
        }
        room_link(pages, page);
    }
    return page;
}

static uint64_t slab_take(struct pages_region *pages, uint32_t page)
{
    struct slab *slab = &pages->slab[page];
    const struct size_class *of = &size_classes[slab->size_class];
    uint32_t word = 0;
    while (slab->used[word] == UINT64_MAX) {
        word++;
    }
    const uint32_t index = word * 64 + (uint32_t)__builtin_ctzll(~slab->used[word]);
    slab->used[word] |= UINT64_C(1) << index % 64;
    if (++slab->n_used == of->n_blocks) {
        room_unlink(pages, page);
    }
    return ((uint64_t)page << PAGE_SHIFT) + (uint64_t)index * of->block_bytes +
           ((uint64_t)(slab->size_class + 1) << CLASS_SHIFT);
}

static uint64_t pages_take_block(struct region *region, uint32_t member, uint64_t num_bytes)
{
    struct pages_region *pages = pages_of(region);
    (void)member;
    const uint32_t first =
        num_bytes <= SMALL_MAX_BYTES ? size_class_of((uint32_t)num_bytes) : N_SIZE_CLASSES;
    for (uint32_t i = first; i < N_SIZE_CLASSES; i++) {
        const uint32_t page = pages->partial_slabs[i];
        if (page != 0 || (i == first && slab_open(pages, i) != 0)) {
            return slab_take(pages, pages->partial_slabs[i]);
        }
    }
    const uint32_t n_pages = (uint32_t)((num_bytes + PAGE_BYTES - 1) >> PAGE_SHIFT);
    return (uint64_t)extents_take(&pages->extents, n_pages, pages->large) << PAGE_SHIFT;
}

static void pages_give_block(struct region *region, uint32_t member, uint64_t handle,
                             uint64_t num_bytes)
{
    struct pages_region *pages = pages_of(region);
    const uint64_t at = handle & ((UINT64_C(1) << CLASS_SHIFT) - 1);
    uint32_t page = (uint32_t)(at >> PAGE_SHIFT);
    (void)member;
    if (handle >> CLASS_SHIFT == 0) {
        extents_give(&pages->extents, page, (uint32_t)((num_bytes + PAGE_BYTES - 1) >> PAGE_SHIFT));
        return;
    }
    page -= pages->back[page];
    struct slab *slab = &pages->slab[page];
    const struct size_class *of = &size_classes[slab->size_class];
    const uint32_t index = (uint32_t)((at - ((uint64_t)page << PAGE_SHIFT)) / of->block_bytes);
    slab->used[index / 64] &= ~(UINT64_C(1) << index % 64);
    if (slab->n_used-- == of->n_blocks) {
        room_link(pages, page);
    }
    if (slab->n_used == 0) {
        room_unlink(pages, page);
        extents_give(&pages->extents, page, of->span_pages);
    }
}

static uint64_t pages_free_bytes(struct region *region)
{
    return pages_of(region)->extents.n_free << PAGE_SHIFT;
}

static void pages_free(struct region *region)
{
    struct pages_region *pages = pages_of(region);
    extents_fini(&pages->extents);
    free(pages->slab);
    free(pages->back);
    free(pages);
}

struct region *region_pages_new(uint64_t num_bytes, enum fit slabs, enum fit large)
{
    const uint32_t n_pages = (uint32_t)(num_bytes >> PAGE_SHIFT);
    struct pages_region *pages = calloc(1, sizeof(*pages));
    if (pages == NULL) {
        bench_fail("no memory for a region");
    }
    pages->region = (struct region){
        pages_take_block, pages_give_block, NULL, pages_free_bytes, pages_free,
    };
    pages->slabs = slabs;
    pages->large = large;
    pages->slab = calloc(n_pages, sizeof(*pages->slab));
    pages->back = calloc(n_pages, sizeof(*pages->back));
    if (pages->slab == NULL || pages->back == NULL) {
        bench_fail("no memory for a region");
    }
    extents_init(&pages->extents, n_pages, slabs >= PLACE_LOW || large >= PLACE_LOW);
    return &pages->region;
}

/* ----------------------------------------------------------------------------------- bytes ---- */

#define UNIT_BYTES 16
#define HEADER_BYTES 8

static uint32_t units_for(uint64_t num_bytes)
{
    return (uint32_t)((num_bytes + HEADER_BYTES + UNIT_BYTES - 1) / UNIT_BYTES);
}

static uint64_t bytes_take(struct region *region, uint32_t member, uint64_t num_bytes)
{
    (void)member;
    return extents_take(&pages_of(region)->extents, units_for(num_bytes), PLACE_GOOD);
}

static void bytes_give(struct region *region, uint32_t member, uint64_t handle, uint64_t num_bytes)
{
    (void)member;
    extents_give(&pages_of(region)->extents, (uint32_t)handle, units_for(num_bytes));
}

static uint64_t bytes_free_bytes(struct region *region)
{
    return pages_of(region)->extents.n_free * UNIT_BYTES;
}

struct region *region_bytes_new(uint64_t num_bytes)
{
    struct pages_region *pages = calloc(1, sizeof(*pages));
    if (pages == NULL) {
        bench_fail("no memory for a region");
    }
    pages->region = (struct region){bytes_take, bytes_give, NULL, bytes_free_bytes, pages_free};
    extents_init(&pages->extents, (uint32_t)(num_bytes / UNIT_BYTES), false);
    return &pages->region;
}

/* SPDX-License-Identifier: MIT */
/*
 * region_jemalloc.c - jemalloc's arenas on extents of one region
 *
 * An arena for each process; their extents are placed by best fit among all. Nothing is kept: pages
 * that an arena does not use go back at once, and there is no thread cache, since what others can
 * not have would be counted as waste. Its own notes are in the region too, as Boost's are.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <jemalloc/jemalloc.h>

#include "tests/bench/bench.h"
#include "tests/bench/extents.h"
#include "tests/bench/region.h"

#define UNIT_BYTES ((size_t)4096)

/* jemalloc looks it up by this name. */
extern const char *malloc_conf;
const char *malloc_conf = "retain:false,dirty_decay_ms:0,muzzy_decay_ms:0,tcache:false";

struct jemalloc_region {
    struct region region;
    extent_hooks_t hooks;
    struct extents extents;
    unsigned char *base;
    unsigned arenas[REGION_MEMBERS_MAX]; /* 0: not made yet */
    uint64_t num_bytes;
};

static struct jemalloc_region *playing; /* hooks learn of their region only by their own address */

/* NOLINTBEGIN(readability-non-const-parameter): the type is jemalloc's. */
static void *hook_alloc(extent_hooks_t *hooks, void *at, size_t num_bytes, size_t align_bytes,
                        bool *zero, bool *commit, unsigned arena)
{
    struct jemalloc_region *jemalloc = playing;
    (void)hooks;
    (void)arena;
    if (at != NULL) {
        return NULL;
    }
    /* The region begins where its base is aligned: aligned extents cost what they skip. */
    const uint32_t n_units = (uint32_t)(num_bytes / UNIT_BYTES);
    const uint32_t n_align = (uint32_t)(align_bytes / UNIT_BYTES);
    const uint32_t n_more = n_align > 1 ? n_units + n_align - 1 : n_units;
    const uint32_t unit = extents_take(&jemalloc->extents, n_more, PLACE_BEST);
    if (unit == 0) {
        return NULL;
    }
    const uint32_t first = n_align > 1 ? (unit + n_align - 1) / n_align * n_align : unit;
    if (first > unit) {
        extents_give(&jemalloc->extents, unit, first - unit);
    }
    if (unit + n_more > first + n_units) {
        extents_give(&jemalloc->extents, first + n_units, unit + n_more - first - n_units);
    }
    unsigned char *extent = jemalloc->base + first * UNIT_BYTES;
    if (*zero) {
        memset(extent, 0, num_bytes);
    }
    *commit = true;
    return extent;
}
/* NOLINTEND(readability-non-const-parameter) */

static bool hook_dalloc(extent_hooks_t *hooks, void *at, size_t num_bytes, bool committed,
                        unsigned arena)
{
    struct jemalloc_region *jemalloc = playing;
    (void)hooks;
    (void)committed;
    (void)arena;
    extents_give(&jemalloc->extents,
                 (uint32_t)((size_t)((unsigned char *)at - jemalloc->base) / UNIT_BYTES),
                 (uint32_t)(num_bytes / UNIT_BYTES));
    return false;
}

static bool hook_split(extent_hooks_t *hooks, void *at, size_t all_bytes, size_t first_bytes,
                       size_t second_bytes, bool committed, unsigned arena)
{
    (void)hooks;
    (void)at;
    (void)all_bytes;
    (void)first_bytes;
    (void)second_bytes;
    (void)committed;
    (void)arena;
    return false;
}

static bool hook_merge(extent_hooks_t *hooks, void *first, size_t first_bytes, void *second,
                       size_t second_bytes, bool committed, unsigned arena)
{
    (void)hooks;
    (void)first;
    (void)first_bytes;
    (void)second;
    (void)second_bytes;
    (void)committed;
    (void)arena;
    return false;
}

static struct jemalloc_region *jemalloc_of(struct region *region)
{
    return (struct jemalloc_region *)region;
}

/* A process's arena, whose notes are in the region, too. Return: 0: there is no room for them. */
static unsigned arena_of(struct jemalloc_region *jemalloc, uint32_t member)
{
    if (jemalloc->arenas[member] == 0) {
        extent_hooks_t *hooks = &jemalloc->hooks;
        size_t n_bytes = sizeof(jemalloc->arenas[member]);
        if (mallctl("arenas.create", &jemalloc->arenas[member], &n_bytes, (void *)&hooks,
                    sizeof(hooks)) != 0) {
            jemalloc->arenas[member] = 0;
        }
    }
    return jemalloc->arenas[member];
}

static uint64_t jemalloc_take(struct region *region, uint32_t member, uint64_t num_bytes)
{
    const unsigned arena = arena_of(jemalloc_of(region), member);
    if (arena == 0) {
        return 0;
    }
    return (uint64_t)(uintptr_t)mallocx(num_bytes, MALLOCX_ARENA(arena) | MALLOCX_TCACHE_NONE);
}

static void jemalloc_give(struct region *region, uint32_t member, uint64_t handle,
                          uint64_t num_bytes)
{
    (void)region;
    (void)member;
    (void)num_bytes;
    dallocx((void *)(uintptr_t)handle, MALLOCX_TCACHE_NONE);
}

static uint64_t jemalloc_free_bytes(struct region *region)
{
    return jemalloc_of(region)->extents.n_free * UNIT_BYTES;
}

/* What is left of an arena goes back; its number may come again. */
static void jemalloc_free(struct region *region)
{
    struct jemalloc_region *jemalloc = jemalloc_of(region);
    for (uint32_t i = 0; i < REGION_MEMBERS_MAX; i++) {
        char name[64];
        (void)snprintf(name, sizeof(name), "arena.%u.destroy", jemalloc->arenas[i]);
        if (jemalloc->arenas[i] != 0 && mallctl(name, NULL, NULL, NULL, 0) != 0) {
            bench_fail("jemalloc keeps an arena");
        }
    }
    extents_fini(&jemalloc->extents);
    (void)munmap(jemalloc->base, jemalloc->num_bytes);
    free(jemalloc);
}

struct region *region_jemalloc_new(uint64_t num_bytes)
{
    struct jemalloc_region *jemalloc = calloc(1, sizeof(*jemalloc));
    if (jemalloc == NULL) {
        bench_fail("no memory for a region");
    }
    jemalloc->region = (struct region){
        jemalloc_take, jemalloc_give, NULL, jemalloc_free_bytes, jemalloc_free,
    };
    jemalloc->hooks = (extent_hooks_t){
        .alloc = hook_alloc,
        .dalloc = hook_dalloc,
        .split = hook_split,
        .merge = hook_merge,
    };
    jemalloc->num_bytes = num_bytes;
    jemalloc->base = mmap(NULL, num_bytes, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (jemalloc->base == MAP_FAILED) {
        bench_fail("no memory for a region");
    }
    extents_init(&jemalloc->extents, (uint32_t)(num_bytes / UNIT_BYTES), false);
    playing = jemalloc;
    return &jemalloc->region;
}

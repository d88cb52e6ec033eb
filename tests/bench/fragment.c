/* SPDX-License-Identifier: MIT */
#include "tests/bench/fragment.h"

#include <stdio.h>

#include "proto/limits.h"
#include "tests/bench/bench.h"
#include "tests/bench/picture.h"

#define SAMPLES_MAX 20000

const char *fragment_carver_name(enum carver carver)
{
    static const char *const names[N_CARVERS] = {
        [CARVER_KMEM] = "kmem",
        [CARVER_CLEAR] = "Boost, cleared",
        [CARVER_CORE] = "kmem, simulated",
        [CARVER_BOOST] = "Boost best fit",
        [CARVER_JEMALLOC] = "jemalloc",
        [CARVER_TLSF] = "TLSF",
        [CARVER_GOOD] = "pages, good fit",
        [CARVER_NEAR] = "pages, near fit",
        [CARVER_BEST] = "pages, best fit",
        [CARVER_FIRST] = "pages, first fit",
        [CARVER_ENDS] = "pages, two ends",
    };
    return names[carver];
}

uint32_t fragment_n_members(const struct row *row)
{
    return row->kind == TRACE_SHORT ? row->n_processes + 1 : row->n_processes;
}

uint64_t fragment_share(const struct row *row, uint32_t member)
{
    const uint64_t limit_bytes = row->segment_bytes / 100 * row->limit_percent;
    if (row->kind == TRACE_SHORT) {
        return member == 0 ? limit_bytes / 2 : limit_bytes / 2 / row->n_processes;
    }
    return limit_bytes / row->n_processes;
}

uint32_t fragment_batch(const struct row *row)
{
    const uint64_t batch = row->n_ops / (SAMPLES_MAX / 2);
    return batch < 100 ? 100 : (uint32_t)batch;
}

static struct region *region_new(const struct row *row)
{
    const uint64_t num_bytes = row->segment_bytes;
    switch (row->carver) {
    case CARVER_CORE:
        return region_core_new(num_bytes);
    case CARVER_CLEAR:
    case CARVER_BOOST:
        return region_boost_new(num_bytes, row->carver == CARVER_CLEAR);
    case CARVER_JEMALLOC:
        return region_jemalloc_new(num_bytes);
    case CARVER_TLSF:
        return region_bytes_new(num_bytes);
    case CARVER_GOOD:
        return region_pages_new(num_bytes, PLACE_GOOD, PLACE_GOOD);
    case CARVER_NEAR:
        return region_pages_new(num_bytes, PLACE_NEAR, PLACE_NEAR);
    case CARVER_BEST:
        return region_pages_new(num_bytes, PLACE_BEST, PLACE_BEST);
    case CARVER_FIRST:
        return region_pages_new(num_bytes, PLACE_LOW, PLACE_LOW);
    case CARVER_ENDS:
        return region_pages_new(num_bytes, PLACE_LOW, PLACE_HIGH);
    case CARVER_KMEM:
    case N_CARVERS:
    default:
        bench_fail("that is not simulated");
    }
}

/* A simulation: its members, and what is seen on the way. */
struct simulation {
    const struct row *row;
    struct region *region;
    struct trace traces[REGION_MEMBERS_MAX];
    struct trace_totals totals;
    struct samples samples;
    bool has_begun; /* the limit was reached, or something refused */
};

static uint64_t n_done(const struct simulation *simulation)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < fragment_n_members(simulation->row); i++) {
        n += simulation->traces[i].n_done;
    }
    return n;
}

static void draw(const struct simulation *simulation, const char *when)
{
    const struct row *row = simulation->row;
    char path[512];
    (void)snprintf(path, sizeof(path), "%s-%s.svg", row->picture, when);
    picture_write(path, simulation->region, (uint32_t)(row->segment_bytes >> PAGE_SHIFT),
                  100.0 * (double)atomic_load(&simulation->totals.live_bytes) /
                      (double)row->segment_bytes);
}

/* The segment as it is when the limit is reached for the first time. */
static void draw_first(struct simulation *simulation)
{
    const struct row *row = simulation->row;
    const uint64_t limit_bytes = row->segment_bytes / 100 * (row->limit_percent - 1);
    if (row->picture != NULL && !simulation->has_begun &&
        (atomic_load(&simulation->totals.live_bytes) >= limit_bytes ||
         atomic_load(&simulation->totals.first_refused_bytes) != 0)) {
        simulation->has_begun = true;
        draw(simulation, "before");
    }
}

static void simulation_play(struct simulation *simulation)
{
    const uint32_t n_members = fragment_n_members(simulation->row);
    const uint32_t n_batch = fragment_batch(simulation->row);
    uint64_t n_before = 0;
    uint64_t n_now = 0;
    while (n_now < simulation->row->n_ops) {
        const uint64_t began_ns = bench_now_ns();
        for (uint32_t i = 0; i < n_batch; i += n_members) {
            for (uint32_t member = 0; member < n_members; member++) {
                (void)trace_step(&simulation->traces[member]);
            }
        }
        const uint64_t took_ns = bench_now_ns() - began_ns;
        n_now = n_done(simulation);
        if (n_now > n_before && simulation->samples.n < SAMPLES_MAX) {
            samples_add(&simulation->samples, (double)took_ns / (double)(n_now - n_before));
        }
        n_before = n_now;
        draw_first(simulation);
    }
}

/* One process goes on until its segment is as full as it was in the first picture. */
static void draw_last(struct simulation *simulation)
{
    const struct row *row = simulation->row;
    const uint64_t limit_bytes = row->segment_bytes / 100 * (row->limit_percent - 1);
    const bool goes_on = row->kind == TRACE_SWING && row->n_processes == 1;
    for (uint32_t i = 0;
         goes_on && i < row->n_ops && atomic_load(&simulation->totals.live_bytes) < limit_bytes;
         i++) {
        (void)trace_step(&simulation->traces[0]);
    }
    draw(simulation, "after");
}

static void simulation_look(struct simulation *simulation, struct figures *figures)
{
    const struct row *row = simulation->row;
    struct region *region = simulation->region;
    figures->n_ops = n_done(simulation);
    for (uint32_t i = 0; i < fragment_n_members(row); i++) {
        figures->n_refused += simulation->traces[i].n_refused;
    }
    figures->first_refused_bytes = atomic_load(&simulation->totals.first_refused_bytes);
    figures->live_bytes = atomic_load(&simulation->totals.live_bytes);
    figures->median_ns = samples_quantile(&simulation->samples, 0.5);
    figures->p99_ns = samples_quantile(&simulation->samples, 0.99);
    figures->free_bytes = region->free_bytes != NULL ? region->free_bytes(region) : 0;
    figures->largest_bytes = trace_probe(&simulation->traces[0], row->segment_bytes);
    figures->filled_first_bytes = trace_fill(&simulation->traces[0], FRAGMENT_FILL_REFUSALS);
    figures->filled_bytes = atomic_load(&simulation->totals.live_bytes);
}

bool fragment_simulate(const struct row *row, struct figures *ret_figures)
{
    static struct simulation simulation;
    simulation = (struct simulation){.row = row, .region = region_new(row)};
    if (simulation.region == NULL) {
        return false;
    }
    *ret_figures = (struct figures){.n_ops = 0};
    samples_init(&simulation.samples, SAMPLES_MAX);
    for (uint32_t i = 0; i < fragment_n_members(row); i++) {
        trace_init(&simulation.traces[i], row->kind, simulation.region, i, fragment_share(row, i),
                   &simulation.totals);
    }
    simulation_play(&simulation);
    if (row->picture != NULL) {
        draw_last(&simulation);
    }
    simulation_look(&simulation, ret_figures);
    for (uint32_t i = 0; i < fragment_n_members(row); i++) {
        trace_fini(&simulation.traces[i]);
    }
    if (atomic_load(&simulation.totals.live_bytes) != 0) {
        bench_fail("%s: bytes are live when all blocks are released",
                   fragment_carver_name(row->carver));
    }
    simulation.region->free(simulation.region);
    samples_fini(&simulation.samples);
    return true;
}

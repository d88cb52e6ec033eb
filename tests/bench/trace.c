/* SPDX-License-Identifier: MIT */
/*
 * trace.c - four ways of using memory
 *
 * Sizes are even over their logarithm, so that there are as many blocks from 64 to 128 bytes as
 * from 512 KiB to 1 MiB: small ones make up the number, large ones the bytes, and neither can be
 * placed as if the others were not there.
 */
#include "tests/bench/trace.h"

#include <math.h>
#include <string.h>
#include <sys/mman.h>

#include "tests/bench/bench.h"

#define KIB UINT64_C(1024)
#define MIB (1024 * KIB)
/* 2^20: 256 MiB of the smallest blocks are four times as many, of all sizes some thousands. */
#define BLOCKS_MAX (UINT32_C(1) << 20)
#define SIZE_MIN 64.0
#define SIZE_MAX_BYTES (1024.0 * 1024.0)
#define SHORT_MAX_BYTES (256.0 * 1024.0)
/* A camera's frames: 640 x 480 of 8 bits, 1280 x 720 and 1920 x 1080 of NV12. */
static const uint64_t frame_bytes[] = {307200, 1382400, 3110400};
/* 20,000 steps: so often the cameras change what they send. */
#define SCENE_STEPS 20000
/* 8: a frame is released when one of its eight consumers was last. */
#define FRAME_READERS 8
/* 1/64 of the limit are notes. */
#define NOTES_FRACTION 64
#define CACHE_BLOCK_BYTES (2 * MIB)

const char *trace_name(enum trace_kind kind)
{
    static const char *const names[N_TRACE_KINDS] = {"swing", "cameras", "cache", "short"};
    return names[kind];
}

/* xorshift64* */
static uint64_t trace_random(struct trace *trace)
{
    trace->random ^= trace->random << 13;
    trace->random ^= trace->random >> 7;
    trace->random ^= trace->random << 17;
    return trace->random * UINT64_C(2685821657736338717);
}

static uint64_t trace_size(struct trace *trace, double min_bytes, double max_bytes)
{
    const double part = (double)(trace_random(trace) >> 11) / 9007199254740992.0;
    return (uint64_t)(min_bytes * exp(part * log(max_bytes / min_bytes)));
}

static struct trace_block *blocks_map(void)
{
    void *at = mmap(NULL, BLOCKS_MAX * sizeof(struct trace_block), PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) {
        bench_fail("no memory for a trace");
    }
    return at;
}

void trace_init(struct trace *trace, enum trace_kind kind, struct region *region, uint32_t member,
                uint64_t limit_bytes, struct trace_totals *totals)
{
    *trace = (struct trace){
        .kind = kind,
        .region = region,
        .totals = totals,
        .member = member,
        .is_short = kind == TRACE_SHORT && member > 0,
        .grows = true,
        .random = UINT64_C(88172645463325252) + (uint64_t)member * 7919,
        .limit_bytes = limit_bytes,
        .live = blocks_map(),
        .notes = blocks_map(),
    };
    for (int i = 0; i < 10; i++) {
        (void)trace_random(trace);
    }
}

/* --------------------------------------------------------------------------------- blocks ----- */

static void note_refusal(struct trace *trace)
{
    uint64_t none = 0;
    trace->n_refused++;
    (void)atomic_compare_exchange_strong(&trace->totals->first_refused_bytes, &none,
                                         atomic_load(&trace->totals->live_bytes));
}

static bool trace_take(struct trace *trace, uint64_t num_bytes, struct trace_block *ret_block)
{
    const uint64_t handle = trace->region->take(trace->region, trace->member, num_bytes);
    trace->n_done++;
    if (handle == 0) {
        note_refusal(trace);
        return false;
    }
    trace->live_bytes += num_bytes;
    (void)atomic_fetch_add_explicit(&trace->totals->live_bytes, num_bytes, memory_order_relaxed);
    *ret_block = (struct trace_block){handle, num_bytes};
    return true;
}

static void note_given(struct trace *trace, uint64_t num_bytes)
{
    trace->live_bytes -= num_bytes;
    (void)atomic_fetch_sub_explicit(&trace->totals->live_bytes, num_bytes, memory_order_relaxed);
}

static void trace_give(struct trace *trace, struct trace_block *block)
{
    if (block->handle != 0) {
        trace->region->give(trace->region, trace->member, block->handle, block->num_bytes);
        trace->n_done++;
        note_given(trace, block->num_bytes);
        block->handle = 0;
    }
}

/* One more block, in no order. Return: false: refused. */
static bool pool_take(struct trace *trace, struct trace_block *pool, uint32_t *n,
                      uint64_t num_bytes)
{
    if (*n == BLOCKS_MAX) {
        bench_fail("more than %u blocks", BLOCKS_MAX);
    }
    const bool taken = trace_take(trace, num_bytes, &pool[*n]);
    *n += taken;
    return taken;
}

static void pool_give_any(struct trace *trace, struct trace_block *pool, uint32_t *n)
{
    struct trace_block *block = &pool[trace_random(trace) % *n];
    trace_give(trace, block);
    *block = pool[--*n];
}

void trace_fini(struct trace *trace)
{
    for (uint32_t i = 0; i < BLOCKS_MAX && trace->live_bytes > 0; i++) {
        trace_give(trace, &trace->live[i]);
        trace_give(trace, &trace->notes[i]);
    }
    (void)munmap(trace->live, BLOCKS_MAX * sizeof(*trace->live));
    (void)munmap(trace->notes, BLOCKS_MAX * sizeof(*trace->notes));
}

/* ---------------------------------------------------------------------------------- traces ---- */

static void swing_step(struct trace *trace)
{
    if (trace->live_bytes >= trace->limit_bytes) {
        trace->grows = false;
    } else if (trace->live_bytes <= trace->limit_bytes / 2) {
        trace->grows = true;
    }
    const bool takes = (trace_random(trace) % 4 != 0) == trace->grows || trace->n_live == 0;
    const uint64_t num_bytes = trace_size(trace, SIZE_MIN, SIZE_MAX_BYTES);
    if (!takes) {
        pool_give_any(trace, trace->live, &trace->n_live);
    } else if (trace->live_bytes + num_bytes > trace->limit_bytes ||
               !pool_take(trace, trace->live, &trace->n_live, num_bytes)) {
        trace->grows = false;
    }
}

static struct trace_block *queue_at(struct trace *trace, struct trace_block *blocks, uint32_t at)
{
    return &blocks[(trace->n_first + at) % BLOCKS_MAX];
}

/* The oldest leaves; one of the first few takes its place in the row. */
static void frame_release(struct trace *trace)
{
    const uint32_t n_near = trace->n_live < FRAME_READERS ? trace->n_live : FRAME_READERS;
    struct trace_block *any = queue_at(trace, trace->live, (uint32_t)trace_random(trace) % n_near);
    struct trace_block *first = queue_at(trace, trace->live, 0);
    trace_give(trace, any);
    *any = *first;
    first->handle = 0;
    trace->n_first++;
    trace->n_live--;
}

static void cameras_step(struct trace *trace)
{
    /* In each scene one of the cameras sends four times as often as the others. */
    const uint64_t scene = trace->n_steps / SCENE_STEPS % 3;
    const uint64_t die = trace_random(trace) % 6;
    const uint64_t num_bytes = frame_bytes[die < 4 ? scene : (scene + die - 3) % 3];
    const uint64_t note_bytes = trace_size(trace, SIZE_MIN, 1024);
    while (trace->n_live > 0 && trace->live_bytes + num_bytes + note_bytes > trace->limit_bytes) {
        frame_release(trace);
    }
    if (trace_take(trace, num_bytes, queue_at(trace, trace->live, trace->n_live))) {
        trace->n_live++;
    } else if (trace->n_live > 0) {
        frame_release(trace);
    }
    if (trace->n_notes * UINT64_C(512) > trace->limit_bytes / NOTES_FRACTION) {
        pool_give_any(trace, trace->notes, &trace->n_notes);
    }
    (void)pool_take(trace, trace->notes, &trace->n_notes, note_bytes);
}

static void cache_evict(struct trace *trace)
{
    trace_give(trace, queue_at(trace, trace->live, 0));
    trace_give(trace, queue_at(trace, trace->notes, 0));
    trace->n_first++;
    trace->n_live--;
}

/* An entry is used again: it becomes the youngest. */
static void cache_hit(struct trace *trace)
{
    const uint32_t at = (uint32_t)trace_random(trace) % trace->n_live;
    struct trace_block *pools[] = {trace->live, trace->notes};
    for (int i = 0; i < 2; i++) {
        const struct trace_block hit = *queue_at(trace, pools[i], at);
        for (uint32_t j = at; j + 1 < trace->n_live; j++) {
            *queue_at(trace, pools[i], j) = *queue_at(trace, pools[i], j + 1);
        }
        *queue_at(trace, pools[i], trace->n_live - 1) = hit;
    }
}

static void cache_step(struct trace *trace)
{
    const uint64_t header_bytes = trace_size(trace, SIZE_MIN, 512);
    struct trace_block header = {0, 0};
    struct trace_block block = {0, 0};
    if (trace->n_live > 0 && trace_random(trace) % 2 == 0) {
        cache_hit(trace);
    }
    while (!trace_take(trace, header_bytes, &header) && trace->n_live > 0) {
        cache_evict(trace);
    }
    while (!trace_take(trace, CACHE_BLOCK_BYTES, &block) && trace->n_live > 0) {
        cache_evict(trace);
    }
    if (block.handle == 0) { /* others have it all */
        trace_give(trace, &header);
        return;
    }
    *queue_at(trace, trace->live, trace->n_live) = block;
    *queue_at(trace, trace->notes, trace->n_live) = header;
    trace->n_live++;
}

/* What it had is nobody's any more: the region's to take back, if the region can. */
static void short_end(struct trace *trace)
{
    for (uint32_t i = 0; i < trace->n_live && trace->region->end == NULL; i++) {
        trace->region->give(trace->region, trace->member, trace->live[i].handle,
                            trace->live[i].num_bytes);
    }
    if (trace->region->end != NULL) {
        trace->region->end(trace->region, trace->member);
    }
    note_given(trace, trace->live_bytes);
    memset(trace->live, 0, trace->n_live * sizeof(*trace->live));
    trace->n_live = 0;
}

static bool short_step(struct trace *trace)
{
    if (trace->n_left == 0) {
        trace->n_left = 50 + trace_random(trace) % 450;
    }
    const uint64_t num_bytes = trace_size(trace, SIZE_MIN, SHORT_MAX_BYTES);
    const bool gives = trace->n_live > 0 && trace_random(trace) % 4 == 0;
    if (gives) {
        pool_give_any(trace, trace->live, &trace->n_live);
    } else if (trace->live_bytes + num_bytes > trace->limit_bytes) {
        trace->n_left = 1;
    } else {
        (void)pool_take(trace, trace->live, &trace->n_live, num_bytes);
    }
    if (--trace->n_left == 0) {
        short_end(trace);
    }
    return trace->n_left > 0;
}

bool trace_step(struct trace *trace)
{
    bool goes_on = true;
    if (trace->is_short) {
        goes_on = short_step(trace);
    } else if (trace->kind == TRACE_CAMERAS) {
        cameras_step(trace);
    } else if (trace->kind == TRACE_CACHE) {
        cache_step(trace);
    } else {
        swing_step(trace);
    }
    trace->n_steps++;
    return goes_on;
}

/* ------------------------------------------------------------------------------- afterwards --- */

uint64_t trace_fill(struct trace *trace, uint32_t n_refusals)
{
    const uint64_t n_refused = trace->n_refused;
    uint64_t first_bytes = 0;
    while (trace->n_refused < n_refused + n_refusals) {
        const uint64_t num_bytes = trace_size(trace, SIZE_MIN, SIZE_MAX_BYTES);
        uint32_t at = trace->n_first + trace->n_live;
        struct trace_block *block = &trace->live[at % BLOCKS_MAX];
        if (trace_take(trace, num_bytes, block)) {
            trace->n_live++;
        } else if (first_bytes == 0) {
            first_bytes = atomic_load(&trace->totals->live_bytes);
        }
    }
    return first_bytes;
}

uint64_t trace_probe(struct trace *trace, uint64_t max_bytes)
{
    uint64_t low = 0;
    uint64_t high = max_bytes;
    while (high - low > 4096) {
        const uint64_t middle = low + (high - low + 1) / 2;
        const uint64_t handle = trace->region->take(trace->region, trace->member, middle);
        if (handle != 0) {
            trace->region->give(trace->region, trace->member, handle, middle);
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    return low;
}

/* SPDX-License-Identifier: MIT */
/*
 * Some of the sizes come again and again, so that they are leased, and some seldom, so that they
 * are the server's to carve; some are large. A worker that has left the segment (kmem_close())
 * joins anew with its next step, and all its sizes are cold again, as they are in a new process: so
 * there are always round trips for the server to die in.
 */
#include "tests/torture/worker.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

#include <kmem/kmem.h>

#include "tests/system/harness.h"
#include "tests/support/pattern.h"
#include "tests/support/seeded.h"

/* 4 MiB: eight workers hold a quarter of the segment, so that no refusal is ever right. */
#define BUDGET_BYTES (UINT64_C(4) << 20)
#define PAUSE_NS 200000

/* One thread of the worker. */
struct lane {
    struct world *world;
    struct oracle *oracle;
    unsigned char *base; /* of the segment; NULL: no block has been seen yet */
    uint32_t index;
    struct seeded seeded;
};

static uint64_t choose_size(struct seeded *seeded)
{
    static const uint64_t hot[] = {16, 44, 64, 101, 256, 1000, 4096, 20000};
    const uint32_t kind = seeded_below(seeded, 100);
    if (kind < 50) {
        return hot[seeded_below(seeded, sizeof(hot) / sizeof(hot[0]))];
    }
    if (kind < 80) {
        return 1 + seeded_below(seeded, 16000);
    }
    return kind < 94 ? seeded_log(seeded, 15) : 65537 + seeded_below(seeded, 300000);
}

/* The segment is mapped at one place for as long as the worker is in it. */
static void *address_of(const struct oracle_entry *entry, unsigned char *base)
{
    return base + entry->offset;
}

static void expect_pattern(const struct lane *lane, const struct oracle_entry *entry,
                           const char *when)
{
    const uint64_t at = pattern_differs_at(address_of(entry, lane->base), entry->num_bytes,
                                           lane->oracle->key, entry->offset);
    if (at < entry->num_bytes) {
        fail("worker %u, %s: block %llu of %llu bytes differs at byte %llu", lane->oracle->number,
             when, (unsigned long long)entry->offset, (unsigned long long)entry->num_bytes,
             (unsigned long long)at);
    }
}

static bool reserve(struct oracle *oracle, uint64_t num_bytes)
{
    /* Relaxed, as below: a figure. The threads may exceed the budget by a block each. */
    const uint64_t held = atomic_load_explicit(&oracle->held_bytes, memory_order_relaxed);
    if (held + num_bytes > BUDGET_BYTES) {
        return false;
    }
    (void)atomic_fetch_add_explicit(&oracle->held_bytes, num_bytes, memory_order_relaxed);
    return true;
}

static void take(struct lane *lane, struct oracle_entry *entry)
{
    const uint64_t num_bytes = choose_size(&lane->seeded);
    if (!reserve(lane->oracle, num_bytes)) {
        oracle_set(entry, ORACLE_NONE);
        return;
    }
    entry->num_bytes = num_bytes;
    entry->reason = seeded_below(&lane->seeded, ORACLE_REASONS);
    oracle_set(entry, ORACLE_TAKING);
    unsigned char *const block = kmem_try_allocate(num_bytes, oracle_reason(entry->reason));
    if (block == NULL) {
        fail("worker %u: %llu bytes are refused: %s", lane->oracle->number,
             (unsigned long long)num_bytes, kmem_last_error());
    }
    entry->offset = kmem_offset_of(block);
    lane->base = block - entry->offset;
    /* Relaxed, as in leave(): the driver reads it of a worker that is parked. */
    atomic_store_explicit(&lane->oracle->is_joined, true, memory_order_relaxed);
    const uint64_t set_at = pattern_first_set(block, num_bytes);
    if (set_at < num_bytes) {
        fail("worker %u: new block %llu of %llu bytes is not 0 at byte %llu", lane->oracle->number,
             (unsigned long long)entry->offset, (unsigned long long)num_bytes,
             (unsigned long long)set_at);
    }
    pattern_fill(block, num_bytes, lane->oracle->key, entry->offset);
    oracle_set(entry, ORACLE_LIVE);
}

static void give(struct lane *lane, struct oracle_entry *entry)
{
    void *block = address_of(entry, lane->base);
    expect_pattern(lane, entry, "before its release");
    const int r = kmem_try_release(&block);
    if (r != 0) {
        fail("worker %u: the release of block %llu of %llu bytes fails with %d: %s",
             lane->oracle->number, (unsigned long long)entry->offset,
             (unsigned long long)entry->num_bytes, r, kmem_last_error());
    }
    (void)atomic_fetch_sub_explicit(&lane->oracle->held_bytes, entry->num_bytes,
                                    memory_order_relaxed); /* a figure */
    oracle_set(entry, ORACLE_NONE);
}

static void look(struct lane *lane, struct oracle_entry *entry)
{
    size_t num_bytes = 0;
    expect_pattern(lane, entry, "while it is live");
    const int r = kmem_try_sizeof(address_of(entry, lane->base), &num_bytes);
    if (r != 0 || num_bytes != entry->num_bytes) {
        fail("worker %u: block %llu of %llu bytes is said to have %zu (%d: %s)",
             lane->oracle->number, (unsigned long long)entry->offset,
             (unsigned long long)entry->num_bytes, num_bytes, r, kmem_last_error());
    }
    oracle_set(entry, ORACLE_LIVE);
}

/* Everything goes back by one call. No other thread may be in the library meanwhile. */
static void leave(struct lane *lane)
{
    struct oracle *const oracle = lane->oracle;
    for (unsigned int i = 0; i < ORACLE_ENTRIES; i++) {
        (void)oracle_claim(&oracle->entries[i], ORACLE_LIVE, ORACLE_GIVING);
    }
    const int r = kmem_close();
    if (r != 0) {
        fail("worker %u: kmem_close() fails with %d: %s", oracle->number, r, kmem_last_error());
    }
    for (unsigned int i = 0; i < ORACLE_ENTRIES; i++) {
        oracle_set(&oracle->entries[i], ORACLE_NONE);
    }
    atomic_store_explicit(&oracle->is_joined, false, memory_order_relaxed);
    /* Relaxed: figures. */
    atomic_store_explicit(&oracle->held_bytes, 0, memory_order_relaxed);
    (void)atomic_fetch_add_explicit(&oracle->n_leavings, 1, memory_order_relaxed);
    lane->base = NULL;
}

/* A thread that has not allocated yet does not know where the segment is: it has to take first. */
static void step(struct lane *lane)
{
    struct oracle *const oracle = lane->oracle;
    struct oracle_entry *entry = &oracle->entries[seeded_below(&lane->seeded, ORACLE_ENTRIES)];
    const uint32_t kind = seeded_below(&lane->seeded, 2000);
    if (kind == 0 && oracle->n_threads == 1) {
        leave(lane);
    } else if (oracle_claim(entry, ORACLE_NONE, ORACLE_CLAIMED)) {
        take(lane, entry);
    } else if (lane->base == NULL) {
        return;
    } else if (kind < 400) {
        if (oracle_claim(entry, ORACLE_LIVE, ORACLE_LOOKING)) {
            look(lane, entry);
        }
    } else if (oracle_claim(entry, ORACLE_LIVE, ORACLE_GIVING)) {
        give(lane, entry);
    }
    (void)atomic_fetch_add_explicit(&oracle->n_steps, 1, memory_order_relaxed); /* a figure */
}

static void rest(void)
{
    const struct timespec duration = {0, PAUSE_NS};
    (void)nanosleep(&duration, NULL);
}

/* Stands still while the driver looks. */
static void park(struct lane *lane)
{
    /* Acquire: nothing is done before the driver has seen the last epoch's end. */
    uint32_t epoch = atomic_load_explicit(&lane->world->epoch, memory_order_acquire);
    while (epoch % 2 == 1) {
        /* Release: the driver, which acquires it, sees all that this thread has done. */
        atomic_store_explicit(&lane->oracle->parked_at[lane->index], epoch, memory_order_release);
        rest();
        epoch = atomic_load_explicit(&lane->world->epoch, memory_order_acquire);
    }
}

static void *lane_run(void *argument)
{
    struct lane *const lane = argument;
    /* Acquire: with the driver's release. */
    while (!atomic_load_explicit(&lane->world->is_ending, memory_order_acquire)) {
        park(lane);
        step(lane);
        if (seeded_below(&lane->seeded, 64) == 0) {
            rest();
        }
    }
    return NULL;
}

/* Every other worker tidies up; the others end with what they have. */
static void end(struct lane *lane)
{
    for (unsigned int i = 0; i < ORACLE_ENTRIES && lane->oracle->number % 2 == 0; i++) {
        struct oracle_entry *const entry = &lane->oracle->entries[i];
        if (lane->base != NULL && oracle_claim(entry, ORACLE_LIVE, ORACLE_GIVING)) {
            give(lane, entry);
        }
    }
}

void worker_run(const void *argument)
{
    const struct worker *const worker = argument;
    struct oracle *const oracle = &worker->world->oracles[worker->number];
    const uint32_t n_threads = oracle->n_threads;
    struct lane lanes[ORACLE_THREADS_MAX];
    pthread_t threads[ORACLE_THREADS_MAX];
    expect_at_least(n_threads, 1);
    for (uint32_t i = 0; i < n_threads; i++) {
        lanes[i] = (struct lane){.world = worker->world, .oracle = oracle, .index = i};
        lanes[i].seeded.state = oracle->seed + i;
    }
    for (uint32_t i = 1; i < n_threads; i++) {
        expect_equal(pthread_create(&threads[i], NULL, lane_run, &lanes[i]), 0);
    }
    (void)lane_run(&lanes[0]);
    for (uint32_t i = 1; i < n_threads; i++) {
        expect_equal(pthread_join(threads[i], NULL), 0);
    }
    end(&lanes[0]);
}

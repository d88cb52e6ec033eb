/* SPDX-License-Identifier: MIT */
/*
 * player.h - the loops that are timed, the same for every allocator
 *
 * A file that includes this one is a program, a player: it has a constant struct allocator, the two
 * functions that PLAYER_THREADS() makes for it, and a main() that ends with player_serve(). All is
 * inline and the allocator a constant, so that nothing stands between a loop and the library's own
 * entry point.
 *
 * A loop runs in batches. One look at the clock ends a batch and begins the next; what a batch took
 * is a sample. A job's first batches, an eighth of its window, warm up and are not counted.
 */
#ifndef TESTS_BENCH_PLAYER_H
#define TESTS_BENCH_PLAYER_H

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "tests/bench/bench.h"
#include "tests/bench/job.h"

#define ALWAYS_INLINE __attribute__((always_inline)) inline

struct allocator {
    void *(*take)(size_t num_bytes); /* a zeroed block */
    void (*give)(void *block);       /* the block back */
    size_t (*measure)(const void *block);
    void *(*take_direct)(size_t num_bytes); /* a block that the daemon carves; may be NULL */
};

typedef void *(*player_thread)(void *argument);

/* One thread that plays. */
struct player {
    const struct job *job;
    player_thread take_over; /* the other thread of a handoff */
    uint32_t number;
    uint32_t step;      /* in the plan of the churn */
    uint64_t n_done;    /* operations counted */
    uint64_t n_batches; /* the same in batches */
    struct outcome outcome;
};

/* The compiler may believe neither that a block is unused nor that it knows what is in it. */
static ALWAYS_INLINE void player_look_at(void *block)
{
    __asm__ volatile("" : : "r"(block) : "memory");
}

static ALWAYS_INLINE void *player_take(const struct allocator *with, size_t num_bytes)
{
    void *block = with->take(num_bytes);
    if (block == NULL) {
        bench_fail("a block of %zu bytes can not be had", num_bytes);
    }
    return block;
}

/* ----------------------------------------------------------------------------- the batches ---- */

typedef void (*player_batch)(const struct allocator *with, struct player *player);

static ALWAYS_INLINE void player_pairs(const struct allocator *with, struct player *player)
{
    const size_t num_bytes = player->job->num_bytes;
    for (uint32_t i = player->job->n_batch; i > 0; i--) {
        void *block = with->take(num_bytes);
        player_look_at(block);
        with->give(block);
    }
}

/* 4 KiB: what has not been touched has no memory yet, or no place in the page tables. */
#define TOUCH_BYTES 4096

static ALWAYS_INLINE void player_touch(volatile char *block, size_t num_bytes)
{
    for (size_t i = 0; i < num_bytes; i += TOUCH_BYTES) {
        block[i] = 1;
    }
}

/*
 * Clearing by giving the pages back to the kernel, as jemalloc does from 64 KiB up, costs nothing
 * until the block is used.
 */
static ALWAYS_INLINE void player_used_pairs(const struct allocator *with, struct player *player)
{
    const size_t num_bytes = player->job->num_bytes;
    for (uint32_t i = player->job->n_batch; i > 0; i--) {
        void *block = with->take(num_bytes);
        player_touch(block, num_bytes);
        with->give(block);
    }
}

/*
 * 50,000 steps are planned beforehand, as drawing sizes costs as much as some allocators do: 80 %
 * of 16 to 512 bytes, 15 % to 8 KiB, 5 % to 64 KiB, each into one of 1,000 places.
 */
#define N_STEPS 50000
#define N_SLOTS 1000

static uint32_t step_bytes[N_STEPS];
static uint16_t step_slot[N_STEPS];
static void *slots[JOB_THREADS_MAX][N_SLOTS];

static inline uint32_t player_random(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(*state >> 33);
}

static inline void player_plan(void)
{
    uint64_t state = 42;
    for (uint32_t i = 0; i < N_STEPS; i++) {
        const uint32_t of_100 = player_random(&state) % 100;
        const uint32_t low = of_100 < 80 ? 16 : of_100 < 95 ? 512 : 8192;
        const uint32_t high = of_100 < 80 ? 512 : of_100 < 95 ? 8192 : 65536;
        step_bytes[i] = low + player_random(&state) % (high - low + 1);
        step_slot[i] = (uint16_t)(player_random(&state) % N_SLOTS);
    }
}

static ALWAYS_INLINE void player_churn(const struct allocator *with, struct player *player)
{
    void **own = slots[player->number];
    uint32_t step = player->step;
    for (uint32_t i = player->job->n_batch; i > 0; i--) {
        void **at = &own[step_slot[step]];
        if (*at != NULL) {
            with->give(*at);
        }
        *at = with->take(step_bytes[step]);
        *(volatile char *)*at = 1;
        step = step + 1 < N_STEPS ? step + 1 : 0;
    }
    player->step = step;
}

static ALWAYS_INLINE void player_fill(const struct allocator *with, struct player *player)
{
    for (uint32_t i = 0; i < N_SLOTS; i++) {
        slots[player->number][i] = player_take(with, step_bytes[i]);
    }
}

static ALWAYS_INLINE void player_empty(const struct allocator *with, struct player *player)
{
    for (uint32_t i = 0; i < N_SLOTS; i++) {
        with->give(slots[player->number][i]);
        slots[player->number][i] = NULL;
    }
}

static ALWAYS_INLINE void player_sizes(const struct allocator *with, struct player *player)
{
    size_t sum = 0;
    uint32_t slot = 0;
    for (uint32_t i = player->job->n_batch; i > 0; i--) {
        sum += with->measure(slots[0][slot]);
        slot = slot + 1 < N_SLOTS ? slot + 1 : 0;
    }
    player_look_at(&sum);
}

/* --------------------------------------------------------------------- from hand to hand ---- */

/* 1,024 blocks under way: more than a thread makes before the other one has been woken. */
#define N_UNDER_WAY 1024

static struct {
    _Alignas(128) _Atomic uint64_t n_put;
    _Alignas(128) _Atomic uint64_t n_taken;
    _Alignas(128) void *blocks[N_UNDER_WAY];
} belt;

/* Waits for the other thread, which may be waiting for this processor. */
static inline void player_pause(uint32_t *n_tries)
{
    if (++*n_tries % 256 == 0) {
        (void)sched_yield();
    }
}

static ALWAYS_INLINE void player_put(const struct allocator *with, struct player *player)
{
    /* Relaxed: no other thread writes it. */
    uint64_t n_put = atomic_load_explicit(&belt.n_put, memory_order_relaxed);
    uint32_t n_tries = 0;
    for (uint32_t i = player->job->n_batch; i > 0; i--) {
        /* Acquire: the place has been read. Partner: player_take_over(). */
        while (n_put - atomic_load_explicit(&belt.n_taken, memory_order_acquire) >= N_UNDER_WAY) {
            player_pause(&n_tries);
        }
        belt.blocks[n_put % N_UNDER_WAY] = with->take(64);
        /* Release: the block is in its place. Partner: player_take_over(). */
        atomic_store_explicit(&belt.n_put, ++n_put, memory_order_release);
    }
}

/* The thread that releases, until it is handed NULL. */
static ALWAYS_INLINE void *player_take_over(const struct allocator *with, void *unused)
{
    uint32_t n_tries = 0;
    for (uint64_t n_taken = 0;; n_taken++) {
        /* Acquire: what is in the place is the block. Partner: player_put(). */
        while (n_taken == atomic_load_explicit(&belt.n_put, memory_order_acquire)) {
            player_pause(&n_tries);
        }
        void *block = belt.blocks[n_taken % N_UNDER_WAY];
        /* Release: the place may be used again. Partner: player_put(). */
        atomic_store_explicit(&belt.n_taken, n_taken + 1, memory_order_release);
        if (block == NULL) {
            return unused;
        }
        with->give(block);
    }
}

/* -------------------------------------------------------------------------------- counting ---- */

static inline uint64_t player_cpu_ns(void)
{
    struct timespec used;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    return (uint64_t)used.tv_sec * 1000000000 + (uint64_t)used.tv_nsec;
}

static inline uint64_t player_waits(void)
{
    struct rusage usage;
    (void)getrusage(RUSAGE_THREAD, &usage);
    return (uint64_t)usage.ru_nvcsw;
}

static inline void player_sleep_until(uint64_t ns)
{
    const struct timespec until = {.tv_sec = (time_t)(ns / 1000000000),
                                   .tv_nsec = (long)(ns % 1000000000)};
    (void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
}

static ALWAYS_INLINE void player_count(const struct allocator *with, struct player *player,
                                       player_batch batch)
{
    const struct job *job = player->job;
    const uint64_t warm_ns = bench_now_ns() + job->window_ns / 8;
    do {
        batch(with, player);
    } while (bench_now_ns() < warm_ns);
    player_sleep_until(job->start_ns);
    batch(with, player); /* what has cooled down meanwhile */
    const uint64_t waits = player_waits();
    const uint64_t cpu_ns = player_cpu_ns();
    const uint64_t begin_ns = bench_now_ns();
    uint64_t ns = begin_ns;
    while (ns == begin_ns || ns - begin_ns < job->window_ns) {
        batch(with, player);
        const uint64_t end_ns = bench_now_ns();
        player->outcome.samples_ns[player->n_batches++ % JOB_SAMPLES_MAX] =
            (float)(end_ns - ns) / (float)job->n_batch;
        ns = end_ns;
    }
    player->n_done = player->n_batches * job->n_batch;
    player->outcome.per_ns = (double)player->n_done / (double)(ns - begin_ns);
    player->outcome.cpu_ns = (double)(player_cpu_ns() - cpu_ns);
    player->outcome.n_waits = player_waits() - waits;
}

static ALWAYS_INLINE void player_play_handoff(const struct allocator *with, struct player *player)
{
    pthread_t taker;
    atomic_store(&belt.n_put, 0);
    atomic_store(&belt.n_taken, 0);
    if (pthread_create(&taker, NULL, player->take_over, NULL) != 0) {
        bench_fail("a thread can not be started");
    }
    player_count(with, player, player_put);
    const uint64_t n_put = atomic_load(&belt.n_put);
    while (n_put - atomic_load(&belt.n_taken) >= N_UNDER_WAY) {
        (void)sched_yield();
    }
    belt.blocks[n_put % N_UNDER_WAY] = NULL;
    atomic_store(&belt.n_put, n_put + 1);
    (void)pthread_join(taker, NULL);
}

/* A pair a sample, as each is two round trips. */
static ALWAYS_INLINE void player_play_direct(const struct allocator *with, struct player *player)
{
    const uint64_t begin_ns = bench_now_ns();
    if (with->take_direct == NULL) {
        bench_fail("only kmem has direct blocks");
    }
    do {
        const size_t num_bytes = 16 + 16 * (player->n_batches % 4);
        const uint64_t pair_ns = bench_now_ns();
        with->give(with->take_direct(num_bytes));
        player->outcome.samples_ns[player->n_batches++ % JOB_SAMPLES_MAX] =
            (float)(bench_now_ns() - pair_ns);
    } while (bench_now_ns() - begin_ns < player->job->window_ns);
    player->n_done = player->n_batches;
}

#define FRESH_BLOCK_BYTES (1 << 20)
#define N_FRESH_MAX 256

/* They go with the process; what can be reached here is no leak. */
static void *fresh_blocks[N_FRESH_MAX];

static ALWAYS_INLINE void player_play_fresh(const struct allocator *with, struct player *player)
{
    const uint64_t begin_ns = bench_now_ns();
    for (uint64_t at = 0; at < player->job->num_bytes; at += FRESH_BLOCK_BYTES) {
        void *block = player_take(with, FRESH_BLOCK_BYTES);
        player_touch(block, FRESH_BLOCK_BYTES);
        fresh_blocks[at / FRESH_BLOCK_BYTES % N_FRESH_MAX] = block;
    }
    player->outcome.samples_ns[0] = (float)(bench_now_ns() - begin_ns);
    player->n_batches = player->n_done = 1;
}

static ALWAYS_INLINE void *player_play(const struct allocator *with, void *of_thread)
{
    struct player *player = of_thread;
    switch ((enum workload)player->job->workload) {
    case WORKLOAD_PAIR:
        player_count(with, player, player_pairs);
        break;
    case WORKLOAD_USED:
        player_count(with, player, player_used_pairs);
        break;
    case WORKLOAD_CHURN:
        player_fill(with, player);
        player_count(with, player, player_churn);
        player_empty(with, player);
        break;
    case WORKLOAD_HANDOFF:
        player_play_handoff(with, player);
        break;
    case WORKLOAD_SIZEOF:
        player_fill(with, player);
        player_count(with, player, player_sizes);
        player_empty(with, player);
        break;
    case WORKLOAD_DIRECT:
        player_play_direct(with, player);
        break;
    case WORKLOAD_FRESH:
        player_play_fresh(with, player);
        break;
    }
    return NULL;
}

/* --------------------------------------------------------------------------------- serving ---- */

static inline void player_sum_up(const struct player *players, uint32_t n, struct outcome *outcome)
{
    double n_done = 0;
    memset(outcome, 0, sizeof(*outcome));
    for (uint32_t i = 0; i < n; i++) {
        const struct player *player = &players[i];
        const uint64_t share = JOB_SAMPLES_MAX / n;
        const uint64_t n_samples = player->n_batches < share ? player->n_batches : share;
        memcpy(outcome->samples_ns + outcome->n_samples, player->outcome.samples_ns,
               n_samples * sizeof(outcome->samples_ns[0]));
        outcome->n_samples += (uint32_t)n_samples;
        outcome->per_ns += player->outcome.per_ns;
        outcome->cpu_ns += player->outcome.cpu_ns;
        outcome->n_waits += player->outcome.n_waits;
        n_done += (double)player->n_done;
    }
    outcome->cpu_ns /= n_done;
}

/* One thread of its own for each player but the first. */
static inline void player_perform(struct player *players, const struct job *job, player_thread play,
                                  player_thread take_over)
{
    pthread_t threads[JOB_THREADS_MAX];
    const uint32_t n = job->n_threads < JOB_THREADS_MAX ? job->n_threads : JOB_THREADS_MAX;
    for (uint32_t i = 0; i < n; i++) {
        memset(&players[i], 0, sizeof(players[i]));
        players[i].job = job;
        players[i].take_over = take_over;
        players[i].number = i;
    }
    for (uint32_t i = 1; i < n; i++) {
        if (pthread_create(&threads[i], NULL, play, &players[i]) != 0) {
            bench_fail("a thread can not be started");
        }
    }
    (void)play(&players[0]);
    for (uint32_t i = 1; i < n; i++) {
        (void)pthread_join(threads[i], NULL);
    }
}

/** PLAYER_THREADS() - play() and take_over() for a constant struct allocator */
#define PLAYER_THREADS(allocator)                                                                  \
    static void *play(void *player)                                                                \
    {                                                                                              \
        return player_play(&(allocator), player);                                                  \
    }                                                                                              \
    static void *take_over(void *unused)                                                           \
    {                                                                                              \
        return player_take_over(&(allocator), unused);                                             \
    }

/**
 * player_serve() - play what is asked for on a socket until it closes
 * @fd_number:      the socket
 * @has_allocator:  whether the allocator is there; if not, nothing will be asked for
 *
 * Return: the exit status.
 */
static inline int player_serve(const char *fd_number, bool has_allocator, player_thread play,
                               player_thread take_over)
{
    static struct player players[JOB_THREADS_MAX];
    static struct outcome outcome;
    static struct job job;
    const int fd = (int)strtol(fd_number, NULL, 10);
    const unsigned char ready = has_allocator;
    player_plan();
    if (!job_send(fd, &ready, sizeof(ready))) {
        return 1;
    }
    while (job_receive(fd, &job, sizeof(job))) {
        player_perform(players, &job, play, take_over);
        player_sum_up(players, job.n_threads, &outcome);
        if (!job_send(fd, &outcome, sizeof(outcome))) {
            return 1;
        }
    }
    return 0;
}

#endif

/* SPDX-License-Identifier: MIT */
/*
 * A block is cleared, touched and released, and then the next: so it is measured here, too. A loop
 * of stores lets the processor go on while they drain, `rep stosb` does not; cleared again and
 * again without anything between, both look the same, and are not.
 *
 * The loops take turns, and of each the fastest time counts: what disturbs the machine makes a time
 * longer, never shorter.
 */
#include "daemon/server/clear_trial.h"

#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "proto/clear.h"

/* 12 rounds for small blocks, so that a disturbance of a millisecond does not spoil all; 1 MiB for
   each loop and band, which takes some 100 us a band. */
#define ROUNDS 12
#define BAND_BYTES ((size_t)1 << 20)

/* 256 KiB: the last band would take as long as all small ones, and is like the one before. */
#define TRIAL_BANDS (CLEAR_BANDS - 1)
#define TRIAL_BYTES CLEAR_BAND_BYTES(TRIAL_BANDS - 1)

/* 900 us of the processor: on a slow machine some go without. */
#define BUDGET_NS UINT64_C(900000)

/* 32 KiB are cleared at least between two looks at the clock, which take some 50 ns. */
#define SAMPLE_BYTES ((size_t)32 * 1024)

/* 4 KiB: what its owner writes, a byte in each page at least. */
#define TOUCH_BYTES 4096

/* 10 multiplications one after the other, some 12 ns: a release and an allocation. */
#define WORK_STEPS 10

static uint64_t now_ns(clockid_t clock)
{
    struct timespec now;
    (void)clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void clear_trial_touch(volatile unsigned char *block, size_t num_bytes)
{
    for (size_t at = 0; at < num_bytes; at += TOUCH_BYTES) {
        block[at] = 1;
    }
}

/* What comes between two blocks; the compiler may believe nothing of it. */
static void clear_trial_work(uint64_t *work)
{
    for (uint32_t i = 0; i < WORK_STEPS; i++) {
        *work *= *work | 1;
        __asm__ volatile("" : "+r"(*work));
    }
}

/* Return: what a block takes, in 1/64 ns. */
static uint32_t clear_trial_sample(clear_function clear, unsigned char *block, size_t num_bytes)
{
    const uint32_t n = num_bytes < SAMPLE_BYTES ? (uint32_t)(SAMPLE_BYTES / num_bytes) : 1;
    uint64_t work = 3;
    const uint64_t begin_ns = now_ns(CLOCK_MONOTONIC);
    for (uint32_t i = 0; i < n; i++) {
        (void)clear(block, num_bytes);
        clear_trial_touch(block, num_bytes);
        clear_trial_work(&work);
    }
    return (uint32_t)((now_ns(CLOCK_MONOTONIC) - begin_ns) * 64 / n);
}

/* One turn of each loop that there is; before the first one the block is warm as for the others. */
static void clear_trial_band(struct clear_times *times, unsigned int band, unsigned char *block)
{
    (void)memset(block, 0, CLEAR_BAND_BYTES(band));
    for (enum clear_loop loop = CLEAR_MEMSET; loop < N_CLEAR_LOOPS; loop++) {
        const clear_function clear = clear_loop_function(loop);
        if (clear != NULL) {
            const uint32_t cost = clear_trial_sample(clear, block, CLEAR_BAND_BYTES(band));
            uint32_t *least = &times->cost[band][loop];
            *least = *least == 0 || cost < *least ? cost : *least;
        }
    }
}

static uint32_t clear_trial_rounds(unsigned int band)
{
    const size_t n = BAND_BYTES / CLEAR_BAND_BYTES(band);
    return n > ROUNDS ? ROUNDS : (uint32_t)n;
}

uint32_t clear_trial(void)
{
    struct clear_times times = {0};
    const uint64_t begin_ns = now_ns(CLOCK_THREAD_CPUTIME_ID);
    unsigned char *block = mmap(NULL, TRIAL_BYTES, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (block == MAP_FAILED) {
        return 0;
    }
    for (uint32_t round = 0; round < ROUNDS; round++) {
        for (unsigned int band = 0; band < TRIAL_BANDS; band++) {
            if (round < clear_trial_rounds(band) &&
                now_ns(CLOCK_THREAD_CPUTIME_ID) - begin_ns < BUDGET_NS) {
                clear_trial_band(&times, band, block);
            }
        }
    }
    (void)munmap(block, TRIAL_BYTES); /* it is a mapping */
    return clear_choose(&times);
}

uint32_t clear_trial_once(_Atomic uint32_t *clear)
{
    /* Relaxed, both: a number that stands alone, which servers alone write. */
    uint32_t plan = atomic_load_explicit(clear, memory_order_relaxed);
    if (!clear_plan_is_usable(plan)) {
        plan = clear_trial();
        atomic_store_explicit(clear, plan, memory_order_relaxed);
    }
    return plan;
}

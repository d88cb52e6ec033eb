/* SPDX-License-Identifier: MIT */
/*
 * job.h - what the suite asks of a player, and what it hears
 *
 * A player is a process that has one allocator (player.h). The suite sends it one struct job after
 * the other over a socket pair and reads a struct outcome for each; before the first one it reads a
 * byte, 1 if the player has the allocator that it is meant to have. Both ends are built together.
 */
#ifndef TESTS_BENCH_JOB_H
#define TESTS_BENCH_JOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/attributes.h"

enum workload {
    WORKLOAD_PAIR,    /* allocate num_bytes, release them */
    WORKLOAD_USED,    /* the same, and a byte of each 4 KiB is written in between */
    WORKLOAD_CHURN,   /* 1,000 live blocks of mixed sizes, one of them replaced at each step */
    WORKLOAD_HANDOFF, /* one thread allocates, another releases */
    WORKLOAD_SIZEOF,  /* how large is this block? */
    WORKLOAD_DIRECT,  /* pairs for which the daemon is asked */
    WORKLOAD_FRESH,   /* the first num_bytes of a process, in blocks of 1 MiB, each page touched */
};

#define JOB_THREADS_MAX 2

struct job {
    uint32_t workload; /* enum workload */
    uint32_t n_threads;
    uint64_t num_bytes; /* of a pair's block; of all blocks if fresh; else unused */
    uint32_t n_batch;   /* operations that are timed together: one sample */
    uint64_t start_ns;  /* by bench_now_ns(): begin to count, after warming up; 0: at once */
    uint64_t window_ns; /* count for this long, one batch at least */
};

/*
 * 1,024 samples of a player and job. They are of a batch and not of an operation because a look at
 * the clock costs as much as several operations; the 99.9th percentile is that of all rounds.
 */
#define JOB_SAMPLES_MAX 1024

struct outcome {
    double per_ns;    /* operations per ns, of all threads together */
    double cpu_ns;    /* processor time per operation */
    uint64_t n_waits; /* how often a thread gave its processor up while it counted */
    uint32_t n_samples;
    float samples_ns[JOB_SAMPLES_MAX]; /* of an operation, mean over its batch */
};

/** job_send() - the whole of an object. Return: false if the other end is gone. */
KMEM_MUST_USE bool job_send(int fd, const void *object, size_t n_bytes);

/** job_receive() - the whole of an object. Return: false if the other end is gone. */
KMEM_MUST_USE bool job_receive(int fd, void *object, size_t n_bytes);

#endif

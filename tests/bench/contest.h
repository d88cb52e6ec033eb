/* SPDX-License-Identifier: MIT */
/*
 * contest.h - one loop, run by every contestant in turns, and what came out
 */
#ifndef TESTS_BENCH_CONTEST_H
#define TESTS_BENCH_CONTEST_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/bench/crew.h"
#include "tests/bench/job.h"

#define ROUNDS_MAX 64

#define CONTESTS_IN_TURNS 2

struct contest {
    const char *name; /* "pair" */
    enum workload workload;
    unsigned int set; /* of contestants */
    uint64_t num_bytes;
    uint32_t n_threads;
    uint32_t n_processes;
    uint32_t n_batch;
    uint32_t n_rounds;
    uint64_t window_ns;
};

/* ns of an operation of one thread, of all rounds: n_batch operations are one sample. */
struct figures {
    bool has_played;
    uint32_t n_rounds;
    double round_ns[ROUNDS_MAX]; /* the median of each round */
    double median_ns;            /* of those */
    double p99_ns;
    double p999_ns;
    double min_ns;
    double round_per_ns[ROUNDS_MAX]; /* operations of all threads and processes together */
    double per_ns;                   /* median of those */
    double cpu_ns;                   /* processor time of one operation; median of the rounds */
    uint64_t n_waits;                /* voluntary context switches while counting */
};

struct result {
    struct contest contest;
    struct figures figures[N_CONTESTANTS];
    uint64_t n_requests; /* to the daemon, in all rounds but the first */
};

/** contest_run() - in rounds; the crew that it needs is open, but for WORKLOAD_FRESH */
void contest_run(const struct contest *contest, struct result *ret_result);

/**
 * contest_run_in_turns() - a round of one after a round of the other, of the same number of rounds
 * @contests, @ret_results:  CONTESTS_IN_TURNS of them
 */
void contest_run_in_turns(const struct contest *contests, struct result *ret_results);

/** contest_gain() - one's rate over what it was in another contest: the median of the rounds */
double contest_gain(const struct result *result, const struct result *before,
                    enum contestant contestant);

/** contest_fastest() - of a set, who played and had the least median; N_CONTESTANTS if nobody */
enum contestant contest_fastest(const struct result *result, unsigned int set);

/** contest_ratio() - one's time over another's: the median of what it was in each round */
double contest_ratio(const struct result *result, enum contestant one, enum contestant other);

#endif

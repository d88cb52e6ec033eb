/* SPDX-License-Identifier: MIT */
/*
 * The contestants take turns within a round, so that what disturbs the machine for a while disturbs
 * all of them, and a ratio is that of a round before it is a median: a machine that is slower in
 * the second half of the rounds makes no ratio larger. What two threads do is compared with what
 * one does, so their rounds take turns, too.
 */
#include "tests/bench/contest.h"

#include <string.h>

#include "tests/bench/bench.h"
#include "tests/bench/daemon.h"

/* 3 ms: all processes have read the job, all threads run, and wait for its beginning. */
#define AHEAD_NS UINT64_C(3000000)

struct score {
    struct samples all;
    double cpu_ns[ROUNDS_MAX];
};

static double middle(const double *values, uint32_t n)
{
    struct samples samples;
    samples_init(&samples, n);
    for (uint32_t i = 0; i < n; i++) {
        samples_add(&samples, values[i]);
    }
    const double median = samples_quantile(&samples, 0.5);
    samples_fini(&samples);
    return median;
}

static void score_round(struct score *score, struct figures *figures,
                        const struct outcome *outcomes, uint32_t n)
{
    struct samples of_round;
    const uint32_t round = figures->n_rounds++;
    samples_init(&of_round, (size_t)n * JOB_SAMPLES_MAX);
    figures->round_per_ns[round] = 0;
    score->cpu_ns[round] = 0;
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t k = 0; k < outcomes[i].n_samples; k++) {
            const double ns = (double)outcomes[i].samples_ns[k];
            samples_add(&of_round, ns);
            samples_add(&score->all, ns);
        }
        figures->round_per_ns[round] += outcomes[i].per_ns;
        score->cpu_ns[round] += outcomes[i].cpu_ns / n;
        figures->n_waits += outcomes[i].n_waits;
    }
    figures->round_ns[round] = samples_quantile(&of_round, 0.5);
    figures->has_played = true;
    samples_fini(&of_round);
}

static void score_sum_up(struct score *score, struct figures *figures)
{
    if (figures->has_played) {
        figures->median_ns = middle(figures->round_ns, figures->n_rounds);
        figures->p99_ns = samples_quantile(&score->all, 0.99);
        figures->p999_ns = samples_quantile(&score->all, 0.999);
        figures->min_ns = samples_quantile(&score->all, 0);
        figures->per_ns = middle(figures->round_per_ns, figures->n_rounds);
        figures->cpu_ns = middle(score->cpu_ns, figures->n_rounds);
    }
    samples_fini(&score->all);
}

/* Return: how many requests the daemon answered meanwhile. */
static uint64_t play(const struct contest *contest, enum contestant contestant,
                     struct outcome *ret_outcomes)
{
    const bool is_kmem = contestant == CONTESTANT_KMEM;
    const bool is_alone = contest->n_processes == 1 && contest->n_threads == 1;
    const uint64_t n_before = is_kmem ? daemon_requests() : 0;
    const struct job job = {
        .workload = contest->workload,
        .n_threads = contest->n_threads,
        .num_bytes = contest->num_bytes,
        .n_batch = contest->n_batch,
        .start_ns = is_alone ? 0 : bench_now_ns() + contest->window_ns / 8 + AHEAD_NS,
        .window_ns = contest->window_ns,
    };
    crew_play(contestant, contest->n_processes, &job, ret_outcomes);
    return is_kmem ? daemon_requests() - n_before : 0;
}

static void play_round(const struct contest *contest, struct score *scores, struct result *result)
{
    static struct outcome outcomes[CREW_PLAYERS_MAX];
    for (enum contestant i = 0; i < N_CONTESTANTS; i++) {
        if ((contest->set & 1U << i) != 0 && crew_has(i)) {
            struct figures *figures = &result->figures[i];
            const uint64_t n_requests = play(contest, i, outcomes);
            result->n_requests += figures->has_played ? n_requests : 0;
            score_round(&scores[i], figures, outcomes, contest->n_processes);
        }
    }
}

static void contest_begin(const struct contest *contest, struct score *scores,
                          struct result *ret_result)
{
    const size_t n_samples = (size_t)contest->n_rounds * contest->n_processes * JOB_SAMPLES_MAX;
    memset(ret_result, 0, sizeof(*ret_result));
    ret_result->contest = *contest;
    for (uint32_t i = 0; i < N_CONTESTANTS; i++) {
        samples_init(&scores[i].all, n_samples);
    }
}

static void contest_end(struct score *scores, struct result *result)
{
    for (uint32_t i = 0; i < N_CONTESTANTS; i++) {
        score_sum_up(&scores[i], &result->figures[i]);
    }
}

void contest_run(const struct contest *contest, struct result *ret_result)
{
    struct score scores[N_CONTESTANTS];
    contest_begin(contest, scores, ret_result);
    for (uint32_t round = 0; round < contest->n_rounds; round++) {
        if (contest->workload == WORKLOAD_FRESH) {
            crew_open(contest->set, 1); /* what is fresh is the process */
        }
        play_round(contest, scores, ret_result);
        if (contest->workload == WORKLOAD_FRESH) {
            crew_close();
        }
    }
    contest_end(scores, ret_result);
}

void contest_run_in_turns(const struct contest *contests, struct result *ret_results)
{
    struct score scores[CONTESTS_IN_TURNS][N_CONTESTANTS];
    for (uint32_t i = 0; i < CONTESTS_IN_TURNS; i++) {
        contest_begin(&contests[i], scores[i], &ret_results[i]);
    }
    for (uint32_t round = 0; round < contests[0].n_rounds; round++) {
        for (uint32_t i = 0; i < CONTESTS_IN_TURNS; i++) {
            play_round(&contests[i], scores[i], &ret_results[i]);
        }
    }
    for (uint32_t i = 0; i < CONTESTS_IN_TURNS; i++) {
        contest_end(scores[i], &ret_results[i]);
    }
}

double contest_gain(const struct result *result, const struct result *before,
                    enum contestant contestant)
{
    double gains[ROUNDS_MAX];
    const struct figures *now = &result->figures[contestant];
    const struct figures *then = &before->figures[contestant];
    for (uint32_t i = 0; i < now->n_rounds; i++) {
        gains[i] = now->round_per_ns[i] / then->round_per_ns[i];
    }
    return middle(gains, now->n_rounds);
}

enum contestant contest_fastest(const struct result *result, unsigned int set)
{
    enum contestant fastest = N_CONTESTANTS;
    for (enum contestant i = 0; i < N_CONTESTANTS; i++) {
        const struct figures *figures = &result->figures[i];
        if ((set & 1U << i) != 0 && figures->has_played &&
            (fastest == N_CONTESTANTS || figures->median_ns < result->figures[fastest].median_ns)) {
            fastest = i;
        }
    }
    return fastest;
}

double contest_ratio(const struct result *result, enum contestant one, enum contestant other)
{
    double ratios[ROUNDS_MAX];
    const struct figures *above = &result->figures[one];
    const struct figures *below = &result->figures[other];
    for (uint32_t i = 0; i < above->n_rounds; i++) {
        ratios[i] = above->round_ns[i] / below->round_ns[i];
    }
    return middle(ratios, above->n_rounds);
}

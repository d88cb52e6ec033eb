/* SPDX-License-Identifier: MIT */
/*
 * bench_suite.c - kmem beside glibc, jemalloc, mimalloc, tcmalloc and Boost.Interprocess
 *
 * Each contestant has processes of its own, which run the same loops (player.h) on calloc() and
 * free() of its library, on Boost's managed_shared_memory, or on libkmem.so and a kmemd that this
 * program starts. They take turns, one at a time unless several processes of one contestant are
 * what is measured (contest.c). A library that is not installed is left out, and said to be.
 *
 * What is asked of the figures is printed below them, with PASS, MISS or NOT PLAYED; only with
 * --strict does the exit status depend on it.
 */
#include <argp.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/bars.h"
#include "tests/bench/bench.h"
#include "tests/bench/contest.h"
#include "tests/bench/crew.h"
#include "tests/bench/daemon.h"
#include "tests/bench/report.h"

#define MS UINT64_C(1000000)
#define MIB (UINT64_C(1) << 20)
#define RESULTS_MAX 64
#define PAIR_MAX_BYTES (8 * MIB)
#define USED_MIN_BYTES 4096 /* below that there is one page to touch */

/* How much is measured. */
struct effort {
    const char *segment;
    uint32_t n_rounds;
    uint32_t n_fresh_rounds;
    uint64_t window_ns;
    uint64_t fresh_bytes;
};

/* Some four minutes; and one; and a few seconds, which only show that all of it runs. */
static const struct effort effort_full = {"1GiB", 25, 7, 15 * MS, 256 * MIB};
static const struct effort effort_quick = {"1GiB", 5, 3, 5 * MS, 256 * MIB};
static const struct effort effort_smoke = {"128MiB", 2, 1, MS / 10, 4 * MIB};

struct options {
    const struct effort *effort;
    const char *output;
    const char *only;
    bool strict;
};

static struct result results[RESULTS_MAX];
static uint32_t n_results;

/* -------------------------------------------------------------------------------- contests ---- */

static void run(const struct contest *contest)
{
    if (n_results == RESULTS_MAX) {
        bench_fail("more than %d contests", RESULTS_MAX);
    }
    contest_run(contest, &results[n_results]);
    report_print(&results[n_results++]);
}

/* One thread, and two. */
static void run_threads(const struct contest *contest)
{
    struct contest contests[CONTESTS_IN_TURNS] = {*contest, *contest};
    if (n_results + CONTESTS_IN_TURNS > RESULTS_MAX) {
        bench_fail("more than %d contests", RESULTS_MAX);
    }
    contests[1].n_threads = 2;
    contest_run_in_turns(contests, &results[n_results]);
    report_print(&results[n_results++]);
    report_print(&results[n_results++]);
}

/* Batches of some 10 us: a look at the clock is lost in that, a disturbance is not. */
static uint32_t pairs_in_batch(uint64_t num_bytes)
{
    return num_bytes <= 1024 ? 1000 : num_bytes <= 16384 ? 100 : num_bytes <= 131072 ? 10 : 1;
}

static void run_pairs(const struct effort *effort)
{
    struct contest contest = {.name = "pair",
                              .workload = WORKLOAD_PAIR,
                              .set = CREW_KMEM | CREW_UNGUARDED | CREW_MALLOCS | CREW_BOOST |
                                     CREW_MEMSET,
                              .n_threads = 1,
                              .n_processes = 1,
                              .n_rounds = effort->n_rounds,
                              .window_ns = effort->window_ns};
    crew_open(contest.set, 1);
    for (uint64_t num_bytes = 16; num_bytes <= PAIR_MAX_BYTES; num_bytes *= 2) {
        contest.num_bytes = num_bytes;
        contest.n_batch = pairs_in_batch(num_bytes);
        run(&contest);
    }
    contest.name = "threads";
    contest.num_bytes = 64;
    contest.n_batch = pairs_in_batch(contest.num_bytes);
    run_threads(&contest); /* one again, as the machine may have changed since */
    contest.name = "used";
    contest.workload = WORKLOAD_USED;
    for (uint64_t num_bytes = USED_MIN_BYTES; num_bytes <= PAIR_MAX_BYTES; num_bytes *= 2) {
        contest.num_bytes = num_bytes;
        contest.n_batch = pairs_in_batch(num_bytes);
        run(&contest);
    }
    crew_close();
}

static void run_mixed(const struct effort *effort)
{
    struct contest contest = {.name = "churn",
                              .workload = WORKLOAD_CHURN,
                              .set = CREW_KMEM | CREW_UNGUARDED | CREW_MALLOCS | CREW_BOOST,
                              .n_threads = 1,
                              .n_processes = 1,
                              .n_batch = 500,
                              .n_rounds = effort->n_rounds,
                              .window_ns = 2 * effort->window_ns};
    crew_open(contest.set, 1);
    run_threads(&contest);
    contest.set = CREW_KMEM | CREW_MALLOCS | CREW_BOOST;
    contest.name = "handoff";
    contest.workload = WORKLOAD_HANDOFF; /* of two threads, one of which is counted */
    contest.num_bytes = 64;
    run(&contest);
    contest.name = "sizeof";
    contest.workload = WORKLOAD_SIZEOF;
    contest.num_bytes = 0;
    contest.n_batch = 1000;
    run(&contest);
    contest.name = "direct";
    contest.workload = WORKLOAD_DIRECT;
    contest.set = CREW_KMEM;
    contest.n_batch = 1;
    run(&contest);
    crew_close();
}

/* A window in which a process that shares its processor with three others has many turns. */
#define PROCESSES_WINDOWS 8

static void run_processes(const struct effort *effort)
{
    struct contest contest = {.name = "processes",
                              .workload = WORKLOAD_PAIR,
                              .set = CREW_KMEM | CREW_MALLOCS | CREW_BOOST | CREW_MEMSET,
                              .num_bytes = 64,
                              .n_threads = 1,
                              .n_batch = 1000,
                              .n_rounds = effort->n_rounds,
                              .window_ns = PROCESSES_WINDOWS * effort->window_ns};
    crew_open(contest.set, CREW_PLAYERS_MAX);
    for (uint32_t n = 1; n <= CREW_PLAYERS_MAX; n *= 2) {
        contest.n_processes = n;
        run(&contest);
    }
    crew_close();
}

static void run_fresh(const struct effort *effort)
{
    const struct contest contest = {.name = "fresh",
                                    .workload = WORKLOAD_FRESH,
                                    .set = CREW_KMEM | CREW_MALLOCS | CREW_BOOST,
                                    .num_bytes = effort->fresh_bytes,
                                    .n_threads = 1,
                                    .n_processes = 1,
                                    .n_batch = 1,
                                    .n_rounds = effort->n_fresh_rounds};
    run(&contest);
}

static const struct group {
    const char *name;
    void (*run)(const struct effort *effort);
} groups[] = {
    {"pairs", run_pairs},
    {"mixed", run_mixed},
    {"processes", run_processes},
    {"fresh", run_fresh},
};

/* --------------------------------------------------------------------------------- results ---- */

static void write_results(const char *path)
{
    FILE *const file = fopen(path, "we");
    if (file == NULL) {
        bench_fail("%s: %s", path, strerror(errno));
    }
    bench_print_machine(file, "# ");
    (void)fprintf(file, "# segment: %s\n", daemon_huge_pages());
    for (enum contestant i = 0; i < N_CONTESTANTS; i++) {
        if (crew_missing(i) != NULL) {
            (void)fprintf(file, "# %s: not installed\n", crew_name(i));
        }
    }
    (void)bars_print(file, "# ", results, n_results, daemon_is_huge());
    report_write(file, results, n_results);
    if (ferror(file) != 0 || fclose(file) != 0) {
        bench_fail("%s can not be written", path);
    }
    (void)printf("\nwritten: %s\n", path);
}

/* --------------------------------------------------------------------------------- options ---- */

enum { KEY_QUICK = 'q', KEY_SMOKE = 's', KEY_STRICT = 'x', KEY_OUTPUT = 'o', KEY_ONLY = 'g' };

static const struct argp_option option_list[] = {
    {"quick", KEY_QUICK, NULL, 0, "Less than a minute instead of some four", 0},
    {"smoke", KEY_SMOKE, NULL, 0, "Run every loop for a moment; the figures mean nothing", 0},
    {"strict", KEY_STRICT, NULL, 0, "Exit with 1 if a bar is missed, or somebody did not play", 0},
    {"output", KEY_OUTPUT, "FILE", 0, "Write every figure there, separated by tabs", 0},
    {"only", KEY_ONLY, "GROUP", 0, "pairs, mixed, processes or fresh", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};

/* NOLINTNEXTLINE(readability-non-const-parameter): the type is argp's. */
static error_t take_option(int key, char *text, struct argp_state *state)
{
    struct options *options = state->input;
    switch (key) {
    case KEY_QUICK:
        options->effort = &effort_quick;
        return 0;
    case KEY_SMOKE:
        options->effort = &effort_smoke;
        return 0;
    case KEY_STRICT:
        options->strict = true;
        return 0;
    case KEY_OUTPUT:
        options->output = text;
        return 0;
    case KEY_ONLY:
        options->only = text;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int main(int argc, char **argv)
{
    static const struct argp parser = {
        option_list, take_option, NULL, "Compares kmem with other allocators.", NULL, NULL, NULL};
    struct options options = {.effort = &effort_full};
    if (argp_parse(&parser, argc, argv, 0, NULL, &options) != 0) {
        return 1;
    }
    if (!BENCH_IS_RELEASE) {
        (void)printf("this is no release build: the figures mean nothing\n");
    }
    bench_print_machine(stdout, "");
    daemon_start(options.effort->segment);
    (void)printf("segment: %s\n", daemon_huge_pages());
    report_print_header();
    for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
        if (options.only == NULL || strcmp(options.only, groups[i].name) == 0) {
            groups[i].run(options.effort);
        }
    }
    if (n_results == 0) {
        bench_fail("there is no group \"%s\"", options.only);
    }
    (void)printf("\n");
    const uint32_t n_missed = bars_print(stdout, "", results, n_results, daemon_is_huge());
    (void)printf("%u missed or not played\n", n_missed);
    for (enum contestant i = 0; i < N_CONTESTANTS; i++) {
        if (crew_missing(i) != NULL) {
            (void)printf("%s did not play: the Debian package %s is not installed; `tests/setup "
                         "bench` does that\n",
                         crew_name(i), crew_missing(i));
        }
    }
    if (options.output != NULL) {
        write_results(options.output);
    }
    return options.strict && n_missed > 0 ? 1 : 0;
}

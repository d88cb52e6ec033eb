/* SPDX-License-Identifier: MIT */
/*
 * bench_fragmentation.c - how much of a segment can be used, after a while, and at what price
 *
 * Four traces (trace.h), each by 1, 4 and 16 processes, on kmem with processes and daemon, on kmem
 * simulated in one process, and on other ways of placing blocks. A line of the table is one run:
 * operations as many as were asked for; what was refused of them, and how much was live then; what
 * can be had at the end in one piece; and how much is live when the rest is filled until refused.
 *
 * It decides nothing: what an operation takes, and how full a segment gets, is read and not tested.
 */
#include <argp.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/bench.h"
#include "tests/bench/daemon.h"
#include "tests/bench/fragment.h"

#define MIB (UINT64_C(1) << 20)
#define SEGMENT_BYTES (256 * MIB)
#define SEGMENT_SIZE "256MiB"
/* A cache has no limit of its own, and cameras and short processes one that leaves some air. */
#define LIMIT_OF_OTHERS 90
/* 2 * 10^5 of processes, which clear, take seconds; 10^6 of simulations as well. */
#define OPS_PLAYED UINT64_C(200000)
#define OPS_SIMULATED UINT64_C(1000000)

struct options {
    uint64_t n_played;
    uint64_t n_simulated;
    uint64_t segment_bytes;
    uint32_t n_processes_max;
    const char *output;
    const char *pictures;
    bool has_kind;
    bool has_carver;
    bool is_smoke;
    enum trace_kind kind;
    enum carver carver;
    uint32_t limit_percent; /* 0: all of them */
};

struct table {
    const struct options *options;
    FILE *output; /* NULL: none */
    bool has_daemon;
    bool is_missing[N_CARVERS];
};

/* --------------------------------------------------------------------------------- the table -- */

static const char columns[] = "trace\tlimit_percent\tprocesses\tallocator\tops\trefused\t"
                              "first_refused_percent\tlargest_bytes\tmedian_ns\tp99_ns\t"
                              "internal_percent\texternal_percent\tfilled_first_percent\t"
                              "filled_percent\n";

static void print_header(void)
{
    (void)printf("%-8s %3s %2s %-17s %9s %8s %7s %9s %8s %8s %6s %6s %6s %6s\n", "trace", "%", "of",
                 "", "ops", "refused", "first %", "largest", "ns", "p99 ns", "intern", "extern",
                 "filled", "to");
}

static double percent(uint64_t num_bytes, uint64_t of_bytes)
{
    return 100.0 * (double)num_bytes / (double)of_bytes;
}

static void print_row(const struct table *table, const struct row *row, const struct figures *is)
{
    const uint64_t all = row->segment_bytes;
    const uint64_t used = all - is->free_bytes;
    const double internal = percent(used > is->live_bytes ? used - is->live_bytes : 0, all);
    const double external =
        percent(is->free_bytes > is->largest_bytes ? is->free_bytes - is->largest_bytes : 0, all);
    (void)printf("%-8s %3u %2u %-17s %9llu %8llu %7.1f %5llu KiB %8.0f %8.0f %6.1f %6.1f %6.1f "
                 "%6.1f\n",
                 trace_name(row->kind), row->limit_percent, row->n_processes,
                 fragment_carver_name(row->carver), (unsigned long long)is->n_ops,
                 (unsigned long long)is->n_refused, percent(is->first_refused_bytes, all),
                 (unsigned long long)is->largest_bytes >> 10, is->median_ns, is->p99_ns, internal,
                 external, percent(is->filled_first_bytes, all), percent(is->filled_bytes, all));
    (void)fflush(stdout);
    if (table->output != NULL) {
        (void)fprintf(
            table->output,
            "%s\t%u\t%u\t%s\t%llu\t%llu\t%.2f\t%llu\t%.1f\t%.1f\t%.2f\t%.2f\t%.2f\t%.2f\n",
            trace_name(row->kind), row->limit_percent, row->n_processes,
            fragment_carver_name(row->carver), (unsigned long long)is->n_ops,
            (unsigned long long)is->n_refused, percent(is->first_refused_bytes, all),
            (unsigned long long)is->largest_bytes, is->median_ns, is->p99_ns, internal, external,
            percent(is->filled_first_bytes, all), percent(is->filled_bytes, all));
    }
}

static bool is_wanted(const struct options *options, const struct row *row)
{
    return (!options->has_kind || options->kind == row->kind) &&
           (!options->has_carver || options->carver == row->carver) &&
           (options->limit_percent == 0 || options->limit_percent == row->limit_percent ||
            row->kind != TRACE_SWING) &&
           row->n_processes <= options->n_processes_max;
}

static void run_row(struct table *table, struct row *row)
{
    const struct options *options = table->options;
    struct figures figures;
    const bool is_played = row->carver <= CARVER_CLEAR;
    row->segment_bytes = options->segment_bytes;
    row->n_ops = is_played ? options->n_played : options->n_simulated;
    if (!is_wanted(options, row) || row->n_ops == 0 || table->is_missing[row->carver]) {
        return;
    }
    if (row->carver == CARVER_KMEM) {
        if (!table->has_daemon) {
            daemon_start(options->is_smoke ? "64MiB" : SEGMENT_SIZE);
            table->has_daemon = true;
        }
        fragment_play(row, &figures);
    } else if (!fragment_simulate(row, &figures)) {
        (void)printf("%s is not installed\n", fragment_carver_name(row->carver));
        table->is_missing[row->carver] = true;
        return;
    }
    print_row(table, row, &figures);
}

static void run_carvers(struct table *table, enum trace_kind kind, uint32_t limit_percent)
{
    char picture[512];
    for (enum carver carver = 0; carver < N_CARVERS; carver++) {
        for (uint32_t n = 1; n <= 16; n *= 4) {
            struct row row = {
                .carver = carver, .kind = kind, .n_processes = n, .limit_percent = limit_percent};
            if (table->options->pictures != NULL && carver == CARVER_CORE) {
                (void)snprintf(picture, sizeof(picture), "%s/%s-%u-%u", table->options->pictures,
                               trace_name(kind), limit_percent, n);
                row.picture = picture;
            }
            run_row(table, &row);
        }
    }
}

static void run_all(struct table *table)
{
    static const uint32_t limits[] = {60, 70, 80, 90, 95};
    print_header();
    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        run_carvers(table, TRACE_SWING, limits[i]);
    }
    run_carvers(table, TRACE_CAMERAS, LIMIT_OF_OTHERS);
    run_carvers(table, TRACE_CACHE, 100);
    run_carvers(table, TRACE_SHORT, LIMIT_OF_OTHERS);
}

/* --------------------------------------------------------------------------------- options ---- */

enum {
    KEY_OPS = 'n',
    KEY_PLAYED = 'k',
    KEY_OUTPUT = 'o',
    KEY_PICTURES = 'p',
    KEY_TRACE = 't',
    KEY_ALLOCATOR = 'a',
    KEY_LIMIT = 'l',
    KEY_PROCESSES = 'm',
    KEY_SMOKE = 's',
};

static const struct argp_option option_list[] = {
    {"ops", KEY_OPS, "N", 0, "Operations of each simulation (1000000); 0: none", 0},
    {"played", KEY_PLAYED, "N", 0, "Operations of processes, and of what clears (200000)", 0},
    {"output", KEY_OUTPUT, "FILE", 0, "Write every figure there, separated by tabs", 0},
    {"pictures", KEY_PICTURES, "DIRECTORY", 0, "Draw the segments of kmem, simulated", 0},
    {"trace", KEY_TRACE, "NAME", 0, "swing, cameras, cache or short", 0},
    {"allocator", KEY_ALLOCATOR, "NAME", 0, "As the table names it", 0},
    {"limit", KEY_LIMIT, "PERCENT", 0, "Of a swing: 60, 70, 80, 90 or 95", 0},
    {"processes", KEY_PROCESSES, "N", 0, "At most so many", 0},
    {"smoke", KEY_SMOKE, NULL, 0, "A segment of 64 MiB; the figures mean nothing", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};

static error_t take_name(struct options *options, int key, const char *text)
{
    for (enum trace_kind i = 0; key == KEY_TRACE && i < N_TRACE_KINDS; i++) {
        if (strcmp(text, trace_name(i)) == 0) {
            options->kind = i;
            options->has_kind = true;
            return 0;
        }
    }
    for (enum carver i = 0; key == KEY_ALLOCATOR && i < N_CARVERS; i++) {
        if (strcmp(text, fragment_carver_name(i)) == 0) {
            options->carver = i;
            options->has_carver = true;
            return 0;
        }
    }
    return EINVAL;
}

/* NOLINTNEXTLINE(readability-non-const-parameter): the type is argp's. */
static error_t take_option(int key, char *text, struct argp_state *state)
{
    struct options *options = state->input;
    switch (key) {
    case KEY_OPS:
        options->n_simulated = strtoull(text, NULL, 10);
        return 0;
    case KEY_PLAYED:
        options->n_played = strtoull(text, NULL, 10);
        return 0;
    case KEY_OUTPUT:
        options->output = text;
        return 0;
    case KEY_PICTURES:
        options->pictures = text;
        return 0;
    case KEY_LIMIT:
        options->limit_percent = (uint32_t)strtoul(text, NULL, 10);
        return 0;
    case KEY_PROCESSES:
        options->n_processes_max = (uint32_t)strtoul(text, NULL, 10);
        return 0;
    case KEY_SMOKE:
        options->is_smoke = true;
        options->segment_bytes = 64 * MIB;
        return 0;
    case KEY_TRACE:
    case KEY_ALLOCATOR:
        return take_name(options, key, text);
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int main(int argc, char **argv)
{
    static const struct argp parser = {
        option_list, take_option, NULL, "Measures how full a segment can be.", NULL, NULL, NULL};
    struct options options = {
        .n_played = OPS_PLAYED,
        .n_simulated = OPS_SIMULATED,
        .segment_bytes = SEGMENT_BYTES,
        .n_processes_max = 16,
    };
    if (argp_parse(&parser, argc, argv, 0, NULL, &options) != 0) {
        return 1;
    }
    struct table table = {.options = &options};
    if (options.output != NULL) {
        table.output = fopen(options.output, "we");
        if (table.output == NULL) {
            bench_fail("%s: %s", options.output, strerror(errno));
        }
        bench_print_machine(table.output, "# ");
        (void)fputs(columns, table.output);
    }
    bench_print_machine(stdout, "");
    run_all(&table);
    if (table.output != NULL && (ferror(table.output) != 0 || fclose(table.output) != 0)) {
        bench_fail("%s can not be written", options.output);
    }
    return 0;
}

/* SPDX-License-Identifier: MIT */
#include "tests/bench/report.h"

#include <stddef.h>

#define WHAT_COLUMNS 26

void report_print_header(void)
{
    (void)printf("\nns per operation; memset is the floor of what clears, not a contestant\n%-*s",
                 WHAT_COLUMNS + 8, "");
    for (enum contestant i = 0; i < N_CONTESTANTS; i++) {
        (void)printf(" %11s", crew_name(i));
    }
    (void)printf("  kmem / fastest other\n");
}

/* "pair 8 MiB", "processes 64 B x 8" */
static void describe(const struct contest *contest, char *text, size_t text_bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB"};
    uint64_t number = contest->num_bytes;
    uint32_t unit = 0;
    char size[32] = "";
    char times[32] = "";
    while (unit < 2 && number >= 1024 && number % 1024 == 0) {
        number /= 1024;
        unit++;
    }
    if (number > 0) {
        (void)snprintf(size, sizeof(size), " %llu %s", (unsigned long long)number, units[unit]);
    }
    if (contest->n_threads > 1) {
        (void)snprintf(times, sizeof(times), ", %u threads", contest->n_threads);
    } else if (contest->n_processes > 1) {
        (void)snprintf(times, sizeof(times), " x %u", contest->n_processes);
    }
    (void)snprintf(text, text_bytes, "%s%s%s", contest->name, size, times);
}

static void describe_unit(const struct contest *contest, char *text, size_t text_bytes)
{
    if (contest->workload == WORKLOAD_FRESH) {
        (void)snprintf(text, text_bytes, "  (ms)");
    } else if (contest->n_batch > 1) {
        (void)snprintf(text, text_bytes, "  (batches of %u)", contest->n_batch);
    } else {
        text[0] = '\0';
    }
}

/* A row; offset is that of a double in struct figures. */
static void print_row(const struct result *result, const char *what, const char *of, size_t offset,
                      double scale)
{
    (void)printf("%-*s %-7s", WHAT_COLUMNS, what, of);
    for (enum contestant i = 0; i < N_CONTESTANTS; i++) {
        const struct figures *figures = &result->figures[i];
        const double figure = *(const double *)(const void *)((const char *)figures + offset);
        if (!figures->has_played) {
            const bool is_missing = (result->contest.set & 1U << i) != 0;
            (void)printf(" %11s", is_missing ? "(not there)" : "-");
        } else {
            (void)printf(" %11.*f", figure * scale < 10000 ? 1 : 0, figure * scale);
        }
    }
}

void report_print(const struct result *result)
{
    char what[64];
    const bool has_kmem = result->figures[CONTESTANT_KMEM].has_played;
    const enum contestant fastest = contest_fastest(result, CREW_MALLOCS | CREW_BOOST);
    const double scale = result->contest.workload == WORKLOAD_FRESH ? 1e-6 : 1;
    describe(&result->contest, what, sizeof(what));
    print_row(result, what, "median", offsetof(struct figures, median_ns), scale);
    if (has_kmem && fastest != N_CONTESTANTS) {
        (void)printf("  %.2f %s", contest_ratio(result, CONTESTANT_KMEM, fastest),
                     crew_name(fastest));
    }
    (void)printf("\n");
    describe_unit(&result->contest, what, sizeof(what));
    print_row(result, what, "p99", offsetof(struct figures, p99_ns), scale);
    (void)printf("\n");
    print_row(result, "", "p99.9", offsetof(struct figures, p999_ns), scale);
    (void)printf("\n");
    if (result->contest.n_threads > 1 || result->contest.n_processes > 1) {
        print_row(result, "  all together", "per us", offsetof(struct figures, per_ns), 1000);
        (void)printf("\n");
    }
    (void)fflush(stdout);
}

void report_write(FILE *to, const struct result *results, uint32_t n_results)
{
    (void)fprintf(to, "workload\tbytes\tthreads\tprocesses\tallocator\tbatch\trounds\tmedian_ns\t"
                      "p99_ns\tp999_ns\tmin_ns\tper_us\tcpu_ns\twaits\tratio\n");
    for (uint32_t i = 0; i < n_results; i++) {
        const struct contest *contest = &results[i].contest;
        for (enum contestant who = 0; who < N_CONTESTANTS; who++) {
            const struct figures *figures = &results[i].figures[who];
            if (!figures->has_played) {
                continue;
            }
            (void)fprintf(to,
                          "%s\t%llu\t%u\t%u\t%s\t%u\t%u\t%.2f\t%.2f\t%.2f\t%.2f\t%.3f\t%.2f\t%llu"
                          "\t%.3f\n",
                          contest->name, (unsigned long long)contest->num_bytes, contest->n_threads,
                          contest->n_processes, crew_name(who), contest->n_batch, figures->n_rounds,
                          figures->median_ns, figures->p99_ns, figures->p999_ns, figures->min_ns,
                          figures->per_ns * 1000, figures->cpu_ns,
                          (unsigned long long)figures->n_waits,
                          results[i].figures[CONTESTANT_KMEM].has_played
                              ? contest_ratio(&results[i], CONTESTANT_KMEM, who)
                              : 0);
        }
    }
}

/* SPDX-License-Identifier: MIT */
/*
 * A time is compared as it is printed, with two digits behind the point: what is 1.00 then is no
 * slower. A bar that compares rates of several threads or processes needs as many processors, or
 * the machine has no say in it.
 */
#include "tests/bench/bars.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#define KIB UINT64_C(1024)
#define MIB (KIB * 1024)

struct bars {
    FILE *to;
    const char *before;
    const struct result *results;
    uint32_t n_results;
    bool is_huge;
    uint32_t n_missed;
};

static const struct result *bars_find(const struct bars *bars, const char *name, uint64_t num_bytes,
                                      uint32_t n_threads, uint32_t n_processes)
{
    for (uint32_t i = 0; i < bars->n_results; i++) {
        const struct contest *contest = &bars->results[i].contest;
        if (strcmp(contest->name, name) == 0 && contest->num_bytes == num_bytes &&
            contest->n_threads == n_threads && contest->n_processes == n_processes) {
            return &bars->results[i];
        }
    }
    return NULL;
}

/* The line's third column is what printf() makes of the arguments. */
static void KMEM_PRINTF(5, 6) bars_add(struct bars *bars, bool is_met, const char *what,
                                       const char *asked, const char *format, ...)
{
    char standing[80];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(standing, sizeof(standing), format, arguments);
    va_end(arguments);
    (void)fprintf(bars->to, "%s%s  %-24s  %-40s  asked: %s\n", bars->before,
                  is_met ? "PASS" : "MISS", what, standing, asked);
    bars->n_missed += !is_met;
}

/* A bar that somebody did not come to is not cleared. */
static void bars_miss(struct bars *bars, const char *what, const char *why)
{
    (void)fprintf(bars->to, "%sNOT PLAYED  %-18s  %s\n", bars->before, what, why);
    bars->n_missed++;
}

/* Who of a set did not play in a contest that was run. */
static void bars_add_absent(struct bars *bars, const char *what, const struct result *result,
                            unsigned int set)
{
    for (enum contestant i = 0; i < N_CONTESTANTS && result != NULL; i++) {
        if ((set & 1U << i) != 0 && !result->figures[i].has_played) {
            bars_miss(bars, what, crew_name(i));
        }
    }
}

static double two_digits(double figure)
{
    return round(figure * 100) / 100;
}

static const char *name_size(const char *what, uint64_t num_bytes, char *text, size_t text_bytes)
{
    const bool is_mib = num_bytes >= MIB;
    const bool is_kib = !is_mib && num_bytes >= KIB;
    (void)snprintf(text, text_bytes, "%s %llu %s", what,
                   (unsigned long long)(num_bytes / (is_mib   ? MIB
                                                     : is_kib ? KIB
                                                              : 1)),
                   is_mib   ? "MiB"
                   : is_kib ? "KiB"
                            : "B");
    return text;
}

/* Return: kmem's time over that of the fastest of a set, or a negative number. */
static double ratio_to_fastest(const struct result *result, unsigned int set,
                               enum contestant *ret_fastest)
{
    const enum contestant fastest = result != NULL ? contest_fastest(result, set) : N_CONTESTANTS;
    if (fastest == N_CONTESTANTS || !result->figures[CONTESTANT_KMEM].has_played) {
        return -1;
    }
    *ret_fastest = fastest;
    return contest_ratio(result, CONTESTANT_KMEM, fastest);
}

/* Against the fastest of a set. */
static void bars_add_against(struct bars *bars, const char *what, const struct result *result,
                             unsigned int set, double most)
{
    char asked[32];
    enum contestant fastest = N_CONTESTANTS;
    const double ratio = ratio_to_fastest(result, set, &fastest);
    bars_add_absent(bars, what, result, set);
    if (ratio >= 0) {
        (void)snprintf(asked, sizeof(asked), "at most %.2f", most);
        bars_add(bars, two_digits(ratio) <= most, what, asked, "%.2f x %s", ratio,
                 crew_name(fastest));
    }
}

/* A block goes from one thread to another: nearly as fast as the fastest malloc. */
static void bars_add_handoff(struct bars *bars)
{
    enum contestant fastest = N_CONTESTANTS;
    const struct result *result = bars_find(bars, "handoff", 64, 1, 1);
    const double ratio = ratio_to_fastest(result, CREW_MALLOCS, &fastest);
    bars_add_absent(bars, "handoff", result, CREW_MALLOCS);
    if (ratio >= 0) {
        bars_add(bars, two_digits(ratio) <= 1.1, "handoff", "at most 1.10", "%.2f x %s", ratio,
                 crew_name(fastest));
    }
}

static void bars_add_pairs(struct bars *bars)
{
    char what[32];
    enum contestant boost = N_CONTESTANTS;
    for (uint64_t num_bytes = 16; num_bytes <= 1024; num_bytes *= 2) {
        const struct result *result = bars_find(bars, "pair", num_bytes, 1, 1);
        (void)name_size("pair of", num_bytes, what, sizeof(what));
        bars_add_against(bars, what, result, CREW_MALLOCS, 1);
        const double ratio = ratio_to_fastest(result, CREW_BOOST, &boost);
        bars_add_absent(bars, what, result, CREW_BOOST);
        if (ratio >= 0) {
            bars_add(bars, 1 / ratio >= 10, what, "at least 10", "%.1f x faster than Boost",
                     1 / ratio);
        }
    }
    for (uint64_t num_bytes = 4 * KIB; num_bytes <= 32 * KIB; num_bytes *= 2) {
        bars_add_against(bars, name_size("pair of", num_bytes, what, sizeof(what)),
                         bars_find(bars, "pair", num_bytes, 1, 1), CREW_MALLOCS, 1);
    }
}

/*
 * Every page of a block is touched, so that giving pages back to the kernel is no way to clear it:
 * from 64 KiB up only these figures say who is faster. There, a 50th is the place that memory has
 * in the second-level cache.
 */
static void bars_add_used(struct bars *bars)
{
    char what[32];
    for (uint64_t num_bytes = 8 * KIB; num_bytes <= 256 * KIB; num_bytes *= 2) {
        bars_add_against(bars, name_size("used", num_bytes, what, sizeof(what)),
                         bars_find(bars, "used", num_bytes, 1, 1), CREW_MALLOCS,
                         num_bytes <= 32 * KIB ? 1 : 1.02);
    }
}

static void bars_add_large(struct bars *bars)
{
    char what[32];
    enum contestant memset = N_CONTESTANTS;
    for (uint64_t num_bytes = MIB; num_bytes <= 8 * MIB; num_bytes *= 8) {
        const struct result *result = bars_find(bars, "pair", num_bytes, 1, 1);
        const double ratio = ratio_to_fastest(result, CREW_MEMSET, &memset);
        (void)name_size("pair of", num_bytes, what, sizeof(what));
        bars_add_absent(bars, what, result, CREW_MEMSET);
        if (ratio >= 0) {
            bars_add(bars, two_digits(ratio) <= 1.05, what, "at most 1.05", "%.2f x memset", ratio);
            bars_add(bars, result->n_requests == 0, what, "0", "%llu round trips, once warm",
                     (unsigned long long)result->n_requests);
        }
    }
}

static void bars_add_fresh(struct bars *bars, uint64_t num_bytes)
{
    enum contestant fastest = N_CONTESTANTS;
    const struct result *result = bars_find(bars, "fresh", num_bytes, 1, 1);
    const double ratio = ratio_to_fastest(result, CREW_MALLOCS, &fastest);
    bars_add_absent(bars, "fresh memory", result, CREW_MALLOCS);
    if (ratio >= 0) {
        bars_add(bars, 1 / ratio >= (bars->is_huge ? 20 : 3), "fresh memory",
                 bars->is_huge ? "at least 20, as pages are huge"
                               : "at least 3, as pages are small",
                 "%.1f x faster than %s", 1 / ratio, crew_name(fastest));
    }
}

/* What the machine makes of a second thread: memset's gain, or the fastest malloc's. */
static enum contestant bars_beside(const struct result *result)
{
    return result->figures[CONTESTANT_MEMSET].has_played ? CONTESTANT_MEMSET
                                                         : contest_fastest(result, CREW_MALLOCS);
}

static void bars_add_threads(struct bars *bars, const char *name, const char *operation,
                             uint64_t num_bytes, double least)
{
    const struct result *one = bars_find(bars, name, num_bytes, 1, 1);
    const struct result *two = bars_find(bars, name, num_bytes, 2, 1);
    if (one == NULL || two == NULL) {
        return;
    }
    char what[32];
    char asked[32];
    (void)snprintf(asked, sizeof(asked), "at least %.2f", least);
    (void)snprintf(what, sizeof(what), "%s, two threads", operation);
    if (sysconf(_SC_NPROCESSORS_ONLN) < 2) {
        bars_miss(bars, what, "there is one processor");
        return;
    }
    const double gain = contest_gain(two, one, CONTESTANT_KMEM);
    const enum contestant beside = bars_beside(two);
    if (beside == N_CONTESTANTS) {
        bars_add(bars, gain >= least, what, asked, "%.2f x one thread", gain);
    } else {
        bars_add(bars, gain >= least, what, asked, "%.2f x one thread (%s: %.2f)", gain,
                 crew_name(beside), contest_gain(two, one, beside));
    }
}

/*
 * A lock that sleeps shows as a wait, one that spins as processor time. More processes than
 * processors cost some, whatever they do: as much as they cost memset.
 */
static void bars_add_processes(struct bars *bars)
{
    const struct result *one = bars_find(bars, "processes", 64, 1, 1);
    const struct result *eight = bars_find(bars, "processes", 64, 1, 8);
    if (one == NULL || eight == NULL) {
        return;
    }
    if (!eight->figures[CONTESTANT_MEMSET].has_played) {
        bars_miss(bars, "eight processes", crew_name(CONTESTANT_MEMSET));
        return;
    }
    const struct figures *figures = &eight->figures[CONTESTANT_KMEM];
    const double own = figures->cpu_ns / one->figures[CONTESTANT_KMEM].cpu_ns;
    const double machine =
        eight->figures[CONTESTANT_MEMSET].cpu_ns / one->figures[CONTESTANT_MEMSET].cpu_ns;
    bars_add(bars, own <= 1.1 * fmax(1, machine), "eight processes, a pair",
             "at most 1.10, or memset's and 10 %", "%.2f x one's processor time (memset: %.2f)",
             own, machine);
    bars_add(bars, figures->n_waits == 0, "eight processes", "0", "%llu waits",
             (unsigned long long)figures->n_waits);
}

uint32_t bars_print(FILE *to, const char *before, const struct result *results, uint32_t n_results,
                    bool is_huge)
{
    struct bars bars = {to, before, results, n_results, is_huge, 0};
    bars_add_pairs(&bars);
    bars_add_used(&bars);
    bars_add_against(&bars, "churn", bars_find(&bars, "churn", 0, 1, 1), CREW_MALLOCS, 1);
    bars_add_against(&bars, "sizeof", bars_find(&bars, "sizeof", 0, 1, 1),
                     CREW_MALLOCS | CREW_BOOST, 1.2);
    bars_add_fresh(&bars, 256 * MIB);
    bars_add_large(&bars);
    bars_add_threads(&bars, "threads", "pair", 64, 1.8);
    bars_add_threads(&bars, "churn", "churn", 0, 1.85);
    bars_add_handoff(&bars);
    bars_add_processes(&bars);
    return bars.n_missed;
}

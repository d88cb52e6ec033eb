/* SPDX-License-Identifier: MIT */
/*
 * leaks.c - reasons whose blocks live far longer than that reason's blocks usually do
 *
 * Usual is what 99 of 100 released blocks lived less than. A live block is suspected if it is older
 * than the next range of ages begins, six to a hundred times as old. A reason of which nothing was
 * ever released may be a cache or a leak: it is told apart, and not suspected; so is one of which
 * too little was.
 */
#include "client/ctl/command.h"

#include <errno.h>
#include <string.h>

#include <kmem/history.h>

#include "client/ctl/groups.h"
#include "client/ctl/listing.h"
#include "client/ctl/status.h"

const struct argp_option leaks_options[] = {
    {"fail-on-leak", OPTION_FAIL_ON_LEAK, NULL, 0, "End with status 5 if a reason is suspected", 0},
    {0},
};

/* Of fewer, one in a hundred is nothing that can be said. */
#define RELEASED_LEAST 20
/* A minute: what is younger may be released yet. */
#define NEVER_LEAST_RANGE 3

static const uint64_t ages_ms[KMEM_LIFETIME_RANGES] = {
    0, 1000, 10000, 60000, 600000, 3600000, 86400000, 604800000,
};

struct suspect {
    const char *reason;
    uint64_t n_suspects;
    uint64_t suspect_bytes;
    uint64_t older_than_ms;
    uint64_t n_blocks;
    uint64_t num_bytes;
    uint64_t oldest_ms;
    uint64_t n_released;
    uint64_t usual_ms; /* 99 of 100 released blocks lived less; 0: it can not be said */
    const char *verdict;
    char why[256];
};

/* ------------------------------------------------------------------------------- the rows ---- */

static const char *verdict_text(const void *row)
{
    const struct suspect *suspect = row;
    return suspect->verdict;
}

static const char *why_text(const void *row)
{
    const struct suspect *suspect = row;
    return suspect->why;
}

#define AT(member) COLUMN_AT(struct suspect, member)

static const struct column columns[] = {
    {"REASON", "reason", COLUMN_TEXT, AT(reason), .filter = FILTER_REASON, .may_flow = true},
    {"VERDICT", "verdict", COLUMN_WORD, .word = verdict_text, .drop = 3},
    {"SUSPECTS", "n_suspects", COLUMN_COUNT, AT(n_suspects), .drop = 2},
    {"BYTES", "suspect_bytes", COLUMN_BYTES, AT(suspect_bytes)},
    {"OLDER THAN", "older_than_ms", COLUMN_AGE, AT(older_than_ms), .drop = 5},
    {"BLOCKS", "n_blocks", COLUMN_COUNT, AT(n_blocks), .drop = 6},
    {"LIVE", "num_bytes", COLUMN_BYTES, AT(num_bytes), .filter = FILTER_SIZE, .drop = 4},
    {"OLDEST", "oldest_ms", COLUMN_AGE, AT(oldest_ms), .filter = FILTER_AGE, .drop = 7},
    {"RELEASED", "n_released", COLUMN_COUNT, AT(n_released), .drop = 8},
    {"USUAL", "usual_ms", COLUMN_AGE, AT(usual_ms), .drop = 9},
    {"WHY", "why", COLUMN_WORD, .word = why_text, .drop = 1, .may_flow = true},
};

static const struct listing_shape shape = {
    .name = "leaks",
    .nothing = "no reason has blocks that live far longer than its blocks usually do",
    .nothing_chosen = "no reason of that kind has blocks that live far longer than usual",
    .columns = columns,
    .n_columns = sizeof(columns) / sizeof(columns[0]),
    .table = "BYTES,LIVE,REASON,WHY",
    .wide = "VERDICT,SUSPECTS,BYTES,OLDER THAN,BLOCKS,LIVE,OLDEST,RELEASED,USUAL,REASON,WHY",
    .row_bytes = sizeof(struct suspect),
};

const struct listing_shape *leaks_shape(const struct options *options)
{
    (void)options;
    return &shape;
}

/* -------------------------------------------------------------------------------- judging ---- */

static uint64_t sum_from(const uint64_t *ranges, size_t from)
{
    uint64_t sum = 0;
    for (size_t range = from; range < KMEM_LIFETIME_RANGES; range++) {
        sum += ranges[range];
    }
    return sum;
}

/* The first range that no more than one of 100 released blocks came to. */
static size_t usual_range(const uint64_t *released, uint64_t n_released)
{
    size_t range = 1;
    while (range < KMEM_LIFETIME_RANGES && sum_from(released, range) > n_released / 100) {
        range++;
    }
    return range;
}

static void judge_never(struct suspect *suspect, const struct kmem_lifetimes *row)
{
    const bool is_old = sum_from(row->blocks_by_age, NEVER_LEAST_RANGE) > 0;
    suspect->verdict = is_old ? "unknown" : "young";
    if (suspect->n_released == 0) {
        (void)snprintf(suspect->why, sizeof(suspect->why),
                       "never releases: cannot tell a cache from a leak");
    } else {
        (void)snprintf(suspect->why, sizeof(suspect->why),
                       "only %s released: too few to tell what is usual",
                       format_count(suspect->n_released).text);
    }
}

static void judge_usual(struct suspect *suspect, const struct kmem_lifetimes *row, bool exactly)
{
    const size_t usual = usual_range(row->released_by_age, suspect->n_released);
    const size_t old = usual + 1;
    const uint64_t usual_ms = usual < KMEM_LIFETIME_RANGES ? ages_ms[usual] : 0;
    suspect->verdict = "fine";
    suspect->usual_ms = usual_ms;
    if (old >= KMEM_LIFETIME_RANGES || sum_from(row->blocks_by_age, old) == 0) {
        return;
    }
    suspect->verdict = "suspect";
    suspect->n_suspects = sum_from(row->blocks_by_age, old);
    suspect->suspect_bytes = sum_from(row->bytes_by_age, old);
    suspect->older_than_ms = ages_ms[old];
    const struct label n_suspects = format_count(suspect->n_suspects);
    const struct label bytes = format_bytes(suspect->suspect_bytes, exactly);
    const struct label older = format_age(ages_ms[old]);
    const struct label short_lived = format_age(usual_ms);
    const struct label released = format_count(suspect->n_released);
    const uint64_t n_less = suspect->n_released - sum_from(row->released_by_age, usual);
    (void)snprintf(suspect->why, sizeof(suspect->why),
                   "%s %s (%s%s) %s older than %s; of %s released %llu %% lived less than %s",
                   n_suspects.text, suspect->n_suspects == 1 ? "block" : "blocks", bytes.text,
                   exactly ? " B" : "", suspect->n_suspects == 1 ? "is" : "are", older.text,
                   released.text, (unsigned long long)(n_less * 100 / suspect->n_released),
                   short_lived.text);
}

struct leaks {
    struct listing *listing;
    struct rows rows; /* of suspects and of what can not be told, to be ranked */
    size_t n_reasons; /* that were told */
    bool exactly;
    bool has_suspect;
};

static int add_reason(const struct kmem_lifetimes *row, void *user)
{
    struct leaks *leaks = user;
    struct suspect suspect = {
        .reason = row->reason,
        .n_blocks = row->n_blocks,
        .num_bytes = row->num_bytes,
        .oldest_ms = row->oldest_ms,
        .n_released = sum_from(row->released_by_age, 0),
    };
    if (suspect.n_released < RELEASED_LEAST) {
        judge_never(&suspect, row);
    } else {
        judge_usual(&suspect, row, leaks->exactly);
    }
    leaks->n_reasons++;
    const bool is_told = suspect.n_suspects > 0 || strcmp(suspect.verdict, "unknown") == 0;
    return is_told ? rows_add(&leaks->rows, &suspect) : 0;
}

/* A server that ends in the midst of it takes its order with it: the next one is asked for all. */
static int gather(struct leaks *leaks, struct kmem_query *query)
{
    int r = -ECONNRESET;
    bool is_cut = true;
    for (int n_tries = 0; is_cut && n_tries < ANSWER_TRIES_MAX; n_tries++) {
        rows_fini(&leaks->rows);
        leaks->rows = (struct rows){.shape = &shape, .by = &columns[3], .is_descending = true};
        leaks->n_reasons = 0;
        r = kmem_query_lifetimes(query, add_reason, leaks);
        is_cut = r == -ECONNRESET && leaks->n_reasons > 0;
    }
    return r;
}

/* Those with the most suspected bytes first; of what can not be told the largest. */
static int list(struct leaks *leaks)
{
    int r = 0;
    rows_sort(&leaks->rows);
    for (size_t i = 0; r >= 0 && i < leaks->rows.n_rows; i++) {
        const struct suspect *suspect = leaks->rows.rows[i].row;
        r = listing_add(leaks->listing, suspect);
        leaks->has_suspect = leaks->has_suspect || (r == 1 && suspect->n_suspects > 0);
    }
    return r < 0 ? r : 0;
}

int leaks_show(struct kmem_query *query, const struct options *options, const struct screen *screen)
{
    struct listing listing;
    struct leaks leaks = {
        .listing = &listing,
        .exactly = options->exact_bytes,
    };
    int r = listing_begin(&listing, &shape, options, screen);
    if (r < 0) {
        return r;
    }
    r = gather(&leaks, query);
    r = r ? r : list(&leaks);
    rows_fini(&leaks.rows);
    r = listing_end(&listing, r);
    return r == 0 && leaks.has_suspect && options->fail_on_leak ? STATUS_THRESHOLD : r;
}

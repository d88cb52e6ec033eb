/* SPDX-License-Identifier: MIT */
/*
 * health.c - kmemctl status, one screen: is all well, what grows, what was refused
 *
 * The first line is the verdict, and it is the exit status, too. Below it stand what was found, and
 * then the sections, each of which asks for its own, may add to what was found, and prints a few
 * lines.
 */
#include "client/ctl/command.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/ctl/figures.h"
#include "client/ctl/findings.h"
#include "client/ctl/format.h"
#include "client/ctl/groups.h"
#include "client/ctl/growing.h"
#include "client/ctl/limits.h"
#include "client/ctl/status.h"
#include "client/ctl/width.h"

/* From here on the operator should look, and from here on allocations are about to fail. */
#define FULL_WARN_PERCENT 75
#define FULL_FAIL_PERCENT 90
/* What was refused before is history: the listing has it. */
#define REFUSED_MS (UINT64_C(60) * 60 * 1000)
/* A screen is not a list: the listings have the rest. */
#define MAX_ROWS 3

struct refused {
    char text[4 * ESCAPED_MAX_BYTES]; /* four foreign texts */
};

struct status_report {
    const struct options *options;
    struct findings findings;
    struct figures figures;
    struct groups clients;
    struct growing growing;
    uint64_t n_refusals; /* in the last hour: how often something was refused */
    size_t n_refused;
    struct refused refused[MAX_ROWS]; /* the last ones, in the order of their ends */
};

/* One line of a section: its title once, then what it says. */
static void print_line(const struct screen *screen, const char *title, const char *text)
{
    const size_t indent = 12;
    (void)fprintf(screen->file, "  %-10s", title);
    (void)screen_flow(screen, indent, indent, text);
    (void)fputc('\n', screen->file);
}

static const char *plural(uint64_t count, const char *one, const char *many)
{
    return count == 1 ? one : many;
}

/* --------------------------------------------------------------------------------- segment ---- */

static double full_percent(const struct figures *figures)
{
    const double segment = (double)figures_get(figures, "segment_bytes");
    return segment > 0 ? 100 - 100 * (double)figures_get(figures, "free_bytes") / segment : 0;
}

static int gather_segment(struct status_report *report, struct kmem_query *query)
{
    struct figures *figures = &report->figures;
    int r = figures_init(figures, query);
    if (r < 0) {
        return r;
    }
    const double percent = full_percent(figures);
    if (percent >= FULL_WARN_PERCENT) {
        struct finding *finding =
            findings_add(&report->findings, percent >= FULL_FAIL_PERCENT ? LEVEL_FAIL : LEVEL_WARN,
                         "segment", "%.1f %% of it is in use, and %s free", percent,
                         format_bytes(figures_get(figures, "free_bytes"), false).text);
        finding_fix(finding, "\"kmemctl ledger\" says what for; a larger one is kmemd --size");
    }
    if (figures_get(figures, "misuses") > 0) {
        struct finding *finding =
            findings_add(&report->findings, LEVEL_WARN, "misuses",
                         "%s %s since the segment was made, of what was no block of the caller",
                         format_count(figures_get(figures, "misuses")).text,
                         plural(figures_get(figures, "misuses"), "release or size query",
                                "releases and size queries"));
        finding_fix(finding, "the log of kmemd and the program's standard error say where");
    }
    return 0;
}

static void print_segment(const struct status_report *report, const struct screen *screen)
{
    const struct figures *figures = &report->figures;
    const bool exactly = report->options->exact_bytes;
    char text[256];
    const uint64_t segment_bytes = figures_get(figures, "segment_bytes");
    const uint64_t most_bytes = figures_get(figures, "most_bytes");
    const bool can_grow = most_bytes > segment_bytes;
    (void)snprintf(text, sizeof(text), "%s%s%s%s, %s used, %s free, %s of it in one piece",
                   format_bytes(segment_bytes, exactly).text, can_grow ? " (up to " : "",
                   can_grow ? format_bytes(most_bytes, exactly).text : "", can_grow ? ")" : "",
                   format_bytes(figures_get(figures, "used_bytes"), exactly).text,
                   format_bytes(figures_get(figures, "free_bytes"), exactly).text,
                   format_bytes(figures_get(figures, "largest_extent_bytes"), exactly).text);
    print_line(screen, "segment", text);
}

static void json_segment(const struct status_report *report, struct json_row *row)
{
    figures_json(&report->figures, row);
}

/* --------------------------------------------------------------------------------- clients ---- */

static int gather_clients(struct status_report *report, struct kmem_query *query)
{
    return groups_ask(&report->clients, query, KMEM_BY_CLIENT);
}

static void print_clients(const struct status_report *report, const struct screen *screen)
{
    char text[FINDING_BYTES * MAX_ROWS];
    const uint64_t n_clients = figures_get(&report->figures, "clients");
    int n = snprintf(text, sizeof(text), "%s %s, %s %s", format_count(n_clients).text,
                     plural(n_clients, "client", "clients"),
                     format_count(figures_get(&report->figures, "blocks")).text,
                     plural(figures_get(&report->figures, "blocks"), "block", "blocks"));
    for (size_t i = 0; i < report->clients.n_groups && i < MAX_ROWS; i++) {
        const struct group *client = &report->clients.groups[i];
        n += snprintf(text + n, sizeof(text) - (size_t)n, "%s %s (%s) %s", i == 0 ? "; most:" : ",",
                      format_escaped(client->key).text, format_pid(client->pid).text,
                      format_bytes(client->num_bytes, report->options->exact_bytes).text);
    }
    print_line(screen, "clients", text);
}

static void json_clients(const struct status_report *report, struct json_row *row)
{
    json_row_list(row, "clients");
    for (size_t i = 0; i < report->clients.n_groups && i < MAX_ROWS; i++) {
        const struct group *client = &report->clients.groups[i];
        struct json_row one;
        json_row_init(&one);
        json_row_number(&one, "pid", client->pid);
        json_row_text(&one, "command", client->key);
        json_row_number(&one, "n_blocks", client->n_blocks);
        json_row_number(&one, "num_bytes", client->num_bytes);
        json_row_append(row, "clients", &one);
    }
}

/* ------------------------------------------------------------------------------ what grows ---- */

static void print_growth(const struct status_report *report, const struct screen *screen)
{
    const bool exactly = report->options->exact_bytes;
    const struct growing *growing = &report->growing;
    char text[FINDING_BYTES];
    for (size_t i = 0; i < growing->n_rows && i < MAX_ROWS; i++) {
        const struct growing_row *row = &growing->rows[i];
        (void)snprintf(
            text, sizeof(text), "%s by %s %s %s%s, to %s in %s %s",
            format_escaped(row->reason).text, format_bytes(row->grown_bytes, exactly).text,
            row->is_at_least ? "in the last" : "since", format_age(row->since_ms).text,
            row->is_at_least ? "" : " ago", format_bytes(row->after_bytes, exactly).text,
            format_count(row->after_blocks).text, plural(row->after_blocks, "block", "blocks"));
        print_line(screen, i == 0 ? "grows" : "", text);
    }
    if (growing->n_rows == 0) {
        (void)snprintf(text, sizeof(text), "nothing has in the last %s",
                       format_age(growing->known_ms).text);
        print_line(screen, "grows", text);
    }
}

static void json_growth(const struct status_report *report, struct json_row *row)
{
    const struct growing *growing = &report->growing;
    json_row_number(row, "known_ms", growing->known_ms);
    json_row_list(row, "grows");
    for (size_t i = 0; i < growing->n_rows; i++) {
        const struct growing_row *grown = &growing->rows[i];
        struct json_row one;
        json_row_init(&one);
        json_row_text(&one, "reason", grown->reason);
        json_row_number(&one, "grown_bytes", grown->grown_bytes);
        json_row_number(&one, "since_ms", grown->since_ms);
        json_row_number(&one, "after_bytes", grown->after_bytes);
        json_row_number(&one, "after_blocks", grown->after_blocks);
        json_row_append(row, "grows", &one);
    }
}

/* ------------------------------------------------------------------------ what was refused ---- */

static int add_refusal(const struct kmem_refusal *refusal, void *user)
{
    struct status_report *report = user;
    if (refusal->last_ms_ago > REFUSED_MS) {
        return 0;
    }
    report->n_refusals += refusal->n_times;
    if (report->n_refused == MAX_ROWS) {
        memmove(&report->refused[0], &report->refused[1],
                (MAX_ROWS - 1) * sizeof(report->refused[0]));
        report->n_refused--;
    }
    struct refused *refused = &report->refused[report->n_refused++];
    const bool is_memory = refusal->num_bytes > 0;
    (void)snprintf(
        refused->text, sizeof(refused->text), "%s%s%s to %s (%s)%s%s: %s, %s %s, last %s ago",
        refusal->asked, is_memory ? " of " : "",
        is_memory ? format_bytes(refusal->num_bytes, false).text : "",
        format_escaped(refusal->command).text, format_pid(refusal->pid).text,
        *refusal->reason ? " for " : "", format_escaped(refusal->reason).text,
        format_escaped(refusal->why).text, format_count(refusal->n_times).text,
        plural(refusal->n_times, "time", "times"), format_age(refusal->last_ms_ago).text);
    return 0;
}

/* An older daemon keeps none: -EPROTO, or whatever it says of a question that it does not know. */
static int gather_refusals(struct status_report *report, struct kmem_query *query)
{
    int r = kmem_query_refusals(query, add_refusal, report);
    if (r == 0 && report->n_refusals > 0) {
        struct finding *finding =
            findings_add(&report->findings, LEVEL_WARN, "refused", "%s %s refused in the last hour",
                         format_count(report->n_refusals).text,
                         plural(report->n_refusals, "request was", "requests were"));
        finding_fix(finding, "\"kmemctl refusals\" says to whom and why");
    }
    return r;
}

static void print_refusals(const struct status_report *report, const struct screen *screen)
{
    for (size_t i = report->n_refused; i > 0; i--) {
        print_line(screen, i == report->n_refused ? "refused" : "", report->refused[i - 1].text);
    }
    if (report->n_refused == 0) {
        print_line(screen, "refused", "nothing was in the last hour");
    }
}

static void json_refusals(const struct status_report *report, struct json_row *row)
{
    json_row_number(row, "refusals_last_hour", report->n_refusals);
}

/* ---------------------------------------------------------------------------------- limits ---- */

/* How full the segment is has been said. */
static int add_limit(const struct kmem_limit *limit, void *user)
{
    struct status_report *report = user;
    const enum limit_state state = limit_state(limit);
    if (state < LIMIT_NEAR || strcmp(limit->name, "segment") == 0) {
        return 0;
    }
    const bool is_bytes = strcmp(limit->unit, "bytes") == 0;
    struct finding *finding = findings_add(
        &report->findings, state == LIMIT_FULL ? LEVEL_FAIL : LEVEL_WARN, "limit",
        "%s: %s of %s in use (%.1f %%)", format_escaped(limit->name).text,
        is_bytes ? format_bytes(limit->used, false).text : format_count(limit->used).text,
        is_bytes ? format_bytes(limit->limit, false).text : format_count(limit->limit).text,
        limit_percent(limit));
    finding_fix(finding, "%s", format_escaped(limit->text).text);
    return 0;
}

static int gather_limits(struct status_report *report, struct kmem_query *query)
{
    return kmem_query_limits(query, add_limit, report);
}

static void print_limits(const struct status_report *report, const struct screen *screen)
{
    size_t n_near = 0;
    for (size_t i = 0; i < report->findings.n_findings; i++) {
        n_near += strcmp(report->findings.findings[i].about, "limit") == 0;
    }
    if (n_near == 0) {
        print_line(screen, "limits", "none is near");
    }
}

/* -------------------------------------------------------------------------------- sections ---- */

/* In the order in which they are asked and printed; the first one's figures serve the others. */
static const struct section {
    int (*gather)(struct status_report *report, struct kmem_query *query); /* NULL: growing.h */
    void (*print)(const struct status_report *report, const struct screen *screen);
    void (*json)(const struct status_report *report, struct json_row *row); /* NULL: no more */
} sections[] = {
    {gather_segment, print_segment, json_segment},
    {gather_clients, print_clients, json_clients},
    {NULL, print_growth, json_growth},
    {gather_refusals, print_refusals, json_refusals},
    {gather_limits, print_limits, NULL},
};
#define N_SECTIONS (sizeof(sections) / sizeof(sections[0]))

/* --------------------------------------------------------------------------------- verdict ---- */

static void write_verdict(const struct status_report *report, char *text, size_t text_bytes)
{
    const size_t n_fails = findings_count(&report->findings, LEVEL_FAIL);
    const size_t n_found = n_fails + findings_count(&report->findings, LEVEL_WARN);
    const struct escaped name = format_escaped(report->figures.segment_name);
    const double percent = full_percent(&report->figures);
    if (n_found == 0) {
        (void)snprintf(text, text_bytes, "All is well: %.1f %% of segment \"%.128s\" is in use.",
                       percent, name.text);
    } else {
        (void)snprintf(text, text_bytes, "%s: %zu %s in segment \"%.128s\", %.1f %% in use.",
                       n_fails > 0 ? "Not well" : "Worth a look", n_found,
                       n_found == 1 ? "finding" : "findings", name.text, percent);
    }
}

static int print_json(const struct status_report *report, const char *verdict,
                      const struct screen *screen)
{
    struct json_row row;
    json_row_init(&row);
    json_row_text(&row, "segment_name", report->figures.segment_name);
    json_row_text(&row, "version", report->figures.version);
    json_row_number(&row, "pid", report->figures.pid);
    json_row_bool(&row, "well", findings_worst(&report->findings) == LEVEL_OK);
    json_row_text(&row, "verdict", verdict);
    findings_json(&report->findings, LEVEL_WARN, "findings", &row);
    for (size_t i = 0; i < N_SECTIONS; i++) {
        if (sections[i].json) {
            sections[i].json(report, &row);
        }
    }
    return json_row_print(&row, screen->file);
}

static int print(const struct status_report *report, const struct screen *screen)
{
    static const enum style styles[] = {
        [LEVEL_OK] = STYLE_GOOD, [LEVEL_WARN] = STYLE_WARN, [LEVEL_FAIL] = STYLE_BAD};
    const enum level worst = findings_worst(&report->findings);
    const enum format format = report->options->format;
    char verdict[ESCAPED_MAX_BYTES];
    write_verdict(report, verdict, sizeof(verdict));
    if (format == FORMAT_JSON || format == FORMAT_JSONL) {
        return print_json(report, verdict, screen);
    }
    (void)fputs(screen_on(screen, styles[worst]), screen->file);
    (void)screen_flow(screen, 0, 0, verdict);
    (void)fprintf(screen->file, "%s\n\n", screen_off(screen, styles[worst]));
    if (worst > LEVEL_OK) {
        findings_print(&report->findings, LEVEL_WARN, screen);
        (void)fputc('\n', screen->file);
    }
    for (size_t i = 0; i < N_SECTIONS; i++) {
        sections[i].print(report, screen);
    }
    return 0;
}

/* Too large for a stack that a caller may have made small. */
int status_show(struct kmem_query *query, const struct options *options,
                const struct screen *screen)
{
    struct status_report *report = calloc(1, sizeof(*report));
    int r = 0;
    if (!report) {
        return -ENOMEM;
    }
    report->options = options;
    for (size_t i = 0; r == 0 && i < N_SECTIONS; i++) {
        r = sections[i].gather ? sections[i].gather(report, query) : 0;
    }
    r = r ? r : growing_find(&report->growing, query, options); /* the last one: see there */
    r = r ? r : print(report, screen);
    if (r == 0 && findings_worst(&report->findings) > LEVEL_OK) {
        r = STATUS_THRESHOLD;
    }
    growing_fini(&report->growing);
    groups_fini(&report->clients);
    figures_fini(&report->figures);
    free(report);
    return r;
}

/* SPDX-License-Identifier: MIT */
/*
 * Do the figures add up?
 *
 * What one answer says about itself must hold at any time:
 *
 *      used + overhead + free = segment, and what overhead and free are the sums of
 *
 * What several answers say about each other holds only if nothing came or went between them:
 *
 *      usage = blocks listed = ledger by reason = ledger by client = ledger by uid
 *            = all clients + what no process holds
 *      direct blocks of the usage = direct blocks listed
 *      every block inside the segment, none overlapping the next
 *
 * So the usage is asked first and last, and everything is asked again until it tells the same both
 * times and the equations hold. That they do not is no proof of a fault: clients that carve leases
 * count nothing for the daemon, and one that always has sixteen blocks looks quiet while it moves.
 * A fault stays, what moves does not: only a contradiction that is the same in every try is one.
 * All else gets STATUS_BUSY, neither yes nor no: pretending to have compared would be worse than
 * saying so. Stopping the clients instead is not for a tool that only looks.
 *
 * The daemon answers for what it carved itself. What is in leases is told by the ledgers of
 * clients, which write there what they like: a contradiction among those accuses only the
 * client that wrote it.
 */
#include "client/ctl/command.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/ctl/figures.h"
#include "client/ctl/format.h"
#include "client/ctl/groups.h"
#include "client/ctl/json.h"
#include "client/ctl/status.h"

/* 20 tries 50 ms apart: a second, which is what a user at a terminal waits for. */
#define MAX_TRIES 20
#define PAUSE_NS 50000000L

struct sum {
    uint64_t n_blocks;
    uint64_t num_bytes;
};

struct sums {
    struct sum by_reason;
    struct sum by_client;
    struct sum by_uid;
    struct sum clients;
    struct sum blocks;
    struct sum direct;          /* of those, what the daemon carved */
    uint64_t n_overlaps;        /* blocks that begin before their predecessor has ended */
    uint64_t n_direct_overlaps; /* likewise, both of them direct */
    uint64_t end_offset;        /* where the last block ends */
    uint64_t direct_end_offset;
};

/* What one process has, by two answers. */
struct process {
    uint32_t pid;
    struct sum of_clients;
    struct sum of_blocks;
};

struct processes {
    struct process *rows;
    size_t n_rows;
    size_t last; /* the one found last: neighbours in the list of blocks often have one owner */
};

/* What all questions of one try were answered with. */
struct answers {
    struct figures before;
    struct figures after;
    struct sums sums;
    struct processes processes;
};

static void answers_fini(struct answers *answers)
{
    figures_fini(&answers->before);
    figures_fini(&answers->after);
    free(answers->processes.rows);
    *answers = (struct answers){0};
}

static void sum_add(struct sum *sum, uint64_t n_blocks, uint64_t num_bytes)
{
    sum->n_blocks += n_blocks;
    sum->num_bytes += num_bytes;
}

static int sum_ledger(struct sum *sum, struct kmem_query *query, enum kmem_group_by by)
{
    struct groups groups = {.groups = NULL};
    const int r = groups_ask(&groups, query, by);
    for (size_t i = 0; i < groups.n_groups; i++) {
        sum_add(sum, groups.groups[i].n_blocks, groups.groups[i].num_bytes);
    }
    groups_fini(&groups);
    return r;
}

/* The row of a process, made if there is none; NULL without memory. */
static struct process *process_find(struct processes *processes, uint32_t pid)
{
    for (size_t i = 0; i < processes->n_rows; i++) {
        const size_t at = (processes->last + i) % processes->n_rows;
        if (processes->rows[at].pid == pid) {
            processes->last = at;
            return &processes->rows[at];
        }
    }
    struct process *rows =
        realloc(processes->rows, (processes->n_rows + 1) * sizeof(*processes->rows));
    if (!rows) {
        return NULL;
    }
    processes->rows = rows;
    processes->last = processes->n_rows++;
    rows[processes->last] = (struct process){.pid = pid};
    return &rows[processes->last];
}

static int sum_client(const struct kmem_client *client, void *user)
{
    struct answers *answers = user;
    struct process *process = process_find(&answers->processes, client->pid);
    if (!process) {
        return -ENOMEM;
    }
    sum_add(&process->of_clients, client->n_blocks, client->num_bytes);
    sum_add(&answers->sums.clients, client->n_blocks, client->num_bytes);
    return 0;
}

static int sum_block(const struct kmem_block *block, void *user)
{
    struct answers *answers = user;
    struct sums *sums = &answers->sums;
    struct process *process = process_find(&answers->processes, block->pid);
    if (!process) {
        return -ENOMEM;
    }
    sum_add(&process->of_blocks, 1, block->num_bytes);
    sum_add(&sums->blocks, 1, block->num_bytes);
    sums->n_overlaps += block->offset < sums->end_offset;
    sums->end_offset = block->offset + block->num_bytes;
    if (!block->leased) {
        sum_add(&sums->direct, 1, block->num_bytes);
        sums->n_direct_overlaps += block->offset < sums->direct_end_offset;
        sums->direct_end_offset = sums->end_offset;
    }
    return 0;
}

/* What no process holds is listed, and no client's. Daemons before this figure have none. */
static int sum_kept(struct answers *answers)
{
    const uint64_t n_blocks = figures_get(&answers->before, "kept_blocks");
    const uint64_t num_bytes = figures_get(&answers->before, "kept_bytes");
    struct process *process = n_blocks > 0 ? process_find(&answers->processes, 0) : NULL;
    if (n_blocks > 0 && !process) {
        return -ENOMEM;
    }
    if (process) {
        sum_add(&process->of_clients, n_blocks, num_bytes);
        sum_add(&answers->sums.clients, n_blocks, num_bytes);
    }
    return 0;
}

static int answers_init(struct answers *answers, struct kmem_query *query)
{
    struct sums *sums = &answers->sums;
    *answers = (struct answers){0};
    int r = figures_init(&answers->before, query);
    r = r ? r : sum_ledger(&sums->by_reason, query, KMEM_BY_REASON);
    r = r ? r : sum_ledger(&sums->by_client, query, KMEM_BY_CLIENT);
    r = r ? r : sum_ledger(&sums->by_uid, query, KMEM_BY_UID);
    r = r ? r : kmem_query_clients(query, sum_client, answers);
    r = r ? r : sum_kept(answers);
    r = r ? r : kmem_query_blocks(query, sum_block, answers);
    r = r ? r : figures_init(&answers->after, query);
    return r;
}

static bool answers_are_quiet(const struct answers *answers)
{
    static const char *const movements[] = {
        "allocations", "releases",   "clients",     "clients_seen", "clients_ended",
        "blocks",      "used_bytes", "kept_blocks", "kept_bytes",   "attaches",
    };

    for (size_t i = 0; i < sizeof(movements) / sizeof(movements[0]); i++) {
        if (figures_get(&answers->before, movements[i]) !=
            figures_get(&answers->after, movements[i])) {
            return false;
        }
    }
    return true;
}

static bool sum_is(const struct sum *sum, uint64_t n_blocks, uint64_t num_bytes)
{
    return sum->n_blocks == n_blocks && sum->num_bytes == num_bytes;
}

/* Daemons before this figure do not tell which blocks are direct. */
static bool direct_is_known(const struct answers *answers)
{
    return figures_has(&answers->before, "direct_blocks");
}

static bool direct_agrees(const struct answers *answers)
{
    const struct sums *sums = &answers->sums;
    return !direct_is_known(answers) ||
           (sum_is(&sums->direct, figures_get(&answers->before, "direct_blocks"),
                   figures_get(&answers->before, "direct_bytes")) &&
            sums->n_direct_overlaps == 0);
}

static bool answers_agree(const struct answers *answers)
{
    const struct sums *sums = &answers->sums;
    uint64_t n_blocks = figures_get(&answers->before, "blocks");
    uint64_t num_bytes = figures_get(&answers->before, "used_bytes");
    return sum_is(&sums->by_reason, n_blocks, num_bytes) &&
           sum_is(&sums->by_client, n_blocks, num_bytes) &&
           sum_is(&sums->by_uid, n_blocks, num_bytes) &&
           sum_is(&sums->clients, n_blocks, num_bytes) &&
           sum_is(&sums->blocks, n_blocks, num_bytes) && sums->n_overlaps == 0 &&
           direct_agrees(answers);
}

/*
 * Return: 0 with the last try's answers, which the caller frees, and whether they are to be
 * compared; or what the query failed with.
 */
static int answers_try(struct answers *answers, struct kmem_query *query, bool *ret_quiet)
{
    const struct timespec pause = {.tv_nsec = PAUSE_NS};
    int r = answers_init(answers, query);
    const struct sums first = answers->sums;
    bool is_quiet = r == 0 && answers_are_quiet(answers);
    bool is_settled = is_quiet && answers_agree(answers);
    for (int i = 1; r == 0 && !is_settled && i < MAX_TRIES; i++) {
        (void)nanosleep(&pause, NULL); /* woken early, it asks early */
        answers_fini(answers);
        r = answers_init(answers, query);
        const bool is_still = r == 0 && answers_are_quiet(answers);
        is_settled = is_still && answers_agree(answers);
        /* Nothing but 64-bit numbers, so all bytes are compared. */
        is_quiet = is_quiet && is_still && memcmp(&answers->sums, &first, sizeof(first)) == 0;
    }
    *ret_quiet = is_settled || is_quiet;
    return r;
}

/* ---------------------------------------------------------------------------- the verdict ---- */

/* Behind "  WRONG ledger by client ". */
#define TEXT_AT_COLUMNS 26

/* Checks are reported as they are made: a line each, or an object each. */
struct verdict {
    const struct screen *screen;
    struct json_row *json; /* NULL: lines */
    bool is_balanced;
    bool is_of_kmemd; /* what does not hold is the daemon's own */
};

__attribute__((format(printf, 4, 5))) static void
verdict_add(struct verdict *verdict, const char *name, bool holds, const char *format, ...)
{
    const struct screen *screen = verdict->screen;
    enum style style = holds ? STYLE_GOOD : STYLE_BAD;
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments); /* too long: cut */
    va_end(arguments);
    verdict->is_balanced = verdict->is_balanced && holds;
    if (verdict->json) {
        struct json_row row;
        json_row_init(&row);
        json_row_text(&row, "name", name);
        json_row_bool(&row, "holds", holds);
        json_row_text(&row, "text", text);
        json_row_append(verdict->json, "checks", &row);
    } else {
        (void)fprintf(screen->file, "  %s%-5s%s %-17s ", screen_on(screen, style),
                      holds ? "ok" : "WRONG", screen_off(screen, style), name);
        (void)screen_flow(screen, TEXT_AT_COLUMNS, TEXT_AT_COLUMNS, text);
        (void)fputc('\n', screen->file);
    }
}

/* A figure that is the sum of three others; in any answer. */
static const struct sum_of_three {
    const char *name; /* of the check */
    const char *total;
    const char *parts[3];
    const char *words[3]; /* what the parts are called */
} sums_of_three[] = {
    {"segment",
     "segment_bytes",
     {"used_bytes", "overhead_bytes", "free_bytes"},
     {"used", "overhead", "free"}},
    {"overhead",
     "overhead_bytes",
     {"rounding_bytes", "slab_bytes", "first_page_bytes"},
     {"rounding", "slabs", "first page"}},
    {"free",
     "free_bytes",
     {"idle_bytes", "largest_extent_bytes", "scattered_bytes"},
     {"idle", "in one piece", "scattered"}},
};

#define N_SUMS_OF_THREE (sizeof(sums_of_three) / sizeof(sums_of_three[0]))

static void check_sum_of_three(struct verdict *verdict, const struct sum_of_three *sum,
                               const struct figures *figures)
{
    uint64_t total = figures_get(figures, sum->total);
    uint64_t parts[3];
    for (size_t i = 0; i < 3; i++) {
        parts[i] = figures_get(figures, sum->parts[i]);
    }
    bool holds = parts[0] + parts[1] + parts[2] == total;

    verdict->is_of_kmemd = verdict->is_of_kmemd || !holds;
    verdict_add(verdict, sum->name, holds, "%s %s + %s %s + %s %s %s %s bytes",
                format_count(parts[0]).text, sum->words[0], format_count(parts[1]).text,
                sum->words[1], format_count(parts[2]).text, sum->words[2], holds ? "=" : "is not",
                format_count(total).text);
}

/* What an older daemon does not tell is not checked. */
static void check_segment(struct verdict *verdict, const struct figures *figures)
{
    for (size_t i = 0; i < N_SUMS_OF_THREE; i++) {
        if (i == 0 || figures_has(figures, sums_of_three[i].parts[0])) {
            check_sum_of_three(verdict, &sums_of_three[i], figures);
        }
    }
}

static void check_sum(struct verdict *verdict, const char *name, const struct sum *sum,
                      const struct figures *figures)
{
    uint64_t n_blocks = figures_get(figures, "blocks");
    uint64_t num_bytes = figures_get(figures, "used_bytes");
    if (sum->n_blocks == n_blocks && sum->num_bytes == num_bytes) {
        verdict_add(verdict, name, true, "%s blocks, %s bytes", format_count(n_blocks).text,
                    format_count(num_bytes).text);
    } else {
        verdict_add(verdict, name, false, "%s blocks, %s bytes; the usage says %s and %s",
                    format_count(sum->n_blocks).text, format_count(sum->num_bytes).text,
                    format_count(n_blocks).text, format_count(num_bytes).text);
    }
}

/* What the daemon carved, counts, and lists: no client writes any of it. */
static void check_direct(struct verdict *verdict, const struct answers *answers)
{
    const struct sum *direct = &answers->sums.direct;
    const bool holds = direct_agrees(answers);
    if (!direct_is_known(answers)) {
        return;
    }
    verdict->is_of_kmemd = verdict->is_of_kmemd || !holds;
    verdict_add(verdict, "direct blocks", holds,
                "%s blocks, %s bytes listed; the usage says %s and %s; %s overlaps",
                format_count(direct->n_blocks).text, format_count(direct->num_bytes).text,
                format_count(figures_get(&answers->before, "direct_blocks")).text,
                format_count(figures_get(&answers->before, "direct_bytes")).text,
                format_count(answers->sums.n_direct_overlaps).text);
}

static void check_places(struct verdict *verdict, const struct answers *answers)
{
    uint64_t segment = figures_get(&answers->before, "segment_bytes");
    bool is_inside = answers->sums.end_offset <= segment;
    verdict_add(verdict, "places", is_inside && answers->sums.n_overlaps == 0,
                "%s overlaps, and the last block ends at %s of %s",
                format_count(answers->sums.n_overlaps).text,
                format_count(answers->sums.end_offset).text, format_count(segment).text);
}

static void check_answers(struct verdict *verdict, const struct answers *answers, bool is_quiet)
{
    check_segment(verdict, &answers->before);
    if (!is_quiet) {
        check_segment(verdict, &answers->after); /* another instant */
        return;
    }
    check_direct(verdict, answers);
    check_sum(verdict, "blocks", &answers->sums.blocks, &answers->before);
    check_sum(verdict, "ledger by reason", &answers->sums.by_reason, &answers->before);
    check_sum(verdict, "ledger by client", &answers->sums.by_client, &answers->before);
    check_sum(verdict, "ledger by uid", &answers->sums.by_uid, &answers->before);
    check_sum(verdict, "clients", &answers->sums.clients, &answers->before);
    check_places(verdict, answers);
}

static int verdict_status(const struct verdict *verdict, bool is_quiet)
{
    if (!verdict->is_balanced) {
        return STATUS_ERROR;
    }
    return is_quiet ? STATUS_OK : STATUS_BUSY;
}

/* The first process of which two answers tell otherwise; 0: none. */
static uint32_t process_that_differs(const struct processes *processes)
{
    for (size_t i = 0; i < processes->n_rows; i++) {
        const struct process *process = &processes->rows[i];
        if (!sum_is(&process->of_blocks, process->of_clients.n_blocks,
                    process->of_clients.num_bytes)) {
            return process->pid;
        }
    }
    return 0;
}

static void verdict_text(const struct verdict *verdict, const struct answers *answers, int status,
                         char *buffer, size_t buffer_bytes)
{
    const uint32_t pid = process_that_differs(&answers->processes);
    const char *text = "NOT BALANCED: the ledger of a client contradicts itself; kmemd's own "
                       "figures add up";

    if (status == STATUS_OK) {
        text = "balanced: every byte is accounted for";
    } else if (status == STATUS_BUSY) {
        text = "busy: clients came and went at every try, so the sums were not compared";
    } else if (verdict->is_of_kmemd) {
        text = "NOT BALANCED: kmemd's own figures contradict each other; this is a fault of kmemd";
    } else if (!direct_is_known(answers)) {
        text = "NOT BALANCED: the figures contradict each other";
    } else if (pid != 0) {
        (void)snprintf(buffer, buffer_bytes,
                       "NOT BALANCED: the ledger of process %u contradicts itself; kmemd's own "
                       "figures add up",
                       pid);
        return;
    }
    (void)snprintf(buffer, buffer_bytes, "%s", text);
}

static int report_text(const struct answers *answers, bool is_quiet, const struct screen *screen)
{
    struct verdict verdict = {.screen = screen, .is_balanced = true};
    struct escaped name = format_escaped(answers->before.segment_name);
    (void)fprintf(screen->file, "segment \"%s\"\n", name.text);
    check_answers(&verdict, answers, is_quiet);
    char text[256];
    int status = verdict_status(&verdict, is_quiet);
    verdict_text(&verdict, answers, status, text, sizeof(text));
    (void)screen_flow(screen, 0, 0, text);
    (void)fputc('\n', screen->file);
    return status;
}

static int report_json(const struct answers *answers, bool is_quiet, const struct screen *screen)
{
    struct json_row row;
    struct verdict verdict = {.screen = screen, .json = &row, .is_balanced = true};
    json_row_init(&row);
    json_row_text(&row, "segment_name", answers->before.segment_name);
    json_row_list(&row, "checks");
    check_answers(&verdict, answers, is_quiet);
    json_row_bool(&row, "balanced", verdict.is_balanced);
    json_row_bool(&row, "fault_of_kmemd", verdict.is_of_kmemd);
    json_row_bool(&row, "quiet", is_quiet);
    int r = json_row_print(&row, screen->file);
    return r < 0 ? r : verdict_status(&verdict, is_quiet);
}

int reconcile_show(struct kmem_query *query, const struct options *options,
                   const struct screen *screen)
{
    struct answers answers;
    bool is_quiet;
    int r = answers_try(&answers, query, &is_quiet);
    if (r == 0) {
        r = options->format == FORMAT_JSON || options->format == FORMAT_JSONL
                ? report_json(&answers, is_quiet, screen)
                : report_text(&answers, is_quiet, screen);
    }
    answers_fini(&answers);
    return r;
}

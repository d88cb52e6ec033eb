/* SPDX-License-Identifier: MIT */
/*
 * What the program left behind.
 *
 * A block is unreleased if its owner has ended and the daemon had to take it back: that is what
 * obituaries say. A child that still runs may release its blocks yet, so it is named, and what it
 * holds is not called unreleased. The daemon hears of an end through a pidfd, a moment after
 * waitpid() has told kmemctl; so the clients are asked for until none of them has ended.
 */
#include "client/ctl/epilogue.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "client/ctl/format.h"
#include "client/ctl/json.h"
#include "client/ctl/process.h"
#include "client/ctl/program.h"

/* The daemon promises 100 ms; a loaded machine gets time for 100,000 blocks to be taken back. */
#define SETTLE_TRIES 400
#define SETTLE_PAUSE_NS 5000000L

/* A screen is not a list: the rest is counted. */
#define MAX_REASONS 10
#define MAX_ALIVE 5

/* ------------------------------------------------------------------------------ gathering ---- */

static int count_ended(const struct kmem_client *client, void *user)
{
    uint64_t *n_ended = user;
    *n_ended += process_has_ended((pid_t)client->pid, 0);
    return 0;
}

static int settle(struct kmem_query *query)
{
    const struct timespec pause = {.tv_nsec = SETTLE_PAUSE_NS};
    uint64_t n_ended = 1;
    int r = 0;
    for (int i = 0; r == 0 && n_ended > 0 && i < SETTLE_TRIES; i++) {
        if (i > 0) {
            (void)nanosleep(&pause, NULL); /* woken early, it asks early */
        }
        n_ended = 0;
        r = kmem_query_clients(query, count_ended, &n_ended);
    }
    return r;
}

static int add_obituary(const struct kmem_obituary *obituary, void *user)
{
    struct epilogue *epilogue = user;
    struct kmem_ledger_row others = {
        .key = "<other reasons>",
        .n_blocks = obituary->n_blocks,
        .num_bytes = obituary->num_bytes,
    };
    int r = 0;

    if (epilogue->n_ended == 0) {
        epilogue->n_forgotten = obituary->number - 1;
    }
    epilogue->n_ended++;
    epilogue->unreleased_blocks += obituary->n_blocks;
    epilogue->unreleased_bytes += obituary->num_bytes;
    for (size_t i = 0; r == 0 && i < obituary->n_rows; i++) {
        others.n_blocks -= obituary->rows[i].n_blocks;
        others.num_bytes -= obituary->rows[i].num_bytes;
        r = groups_add(&obituary->rows[i], &epilogue->unreleased);
    }
    return r == 0 && others.n_blocks > 0 ? groups_add(&others, &epilogue->unreleased) : r;
}

static int add_alive(const struct kmem_client *client, void *user)
{
    struct epilogue *epilogue = user;
    const struct kmem_ledger_row row = {
        .key = client->command,
        .n_blocks = client->n_blocks,
        .num_bytes = client->num_bytes,
        .pid = client->pid,
    };

    return groups_add(&row, &epilogue->alive);
}

int epilogue_gather(struct epilogue *epilogue, struct kmem_query *query)
{
    int r = settle(query);
    r = r ? r : kmem_query_obituaries(query, add_obituary, epilogue);
    r = r ? r : kmem_query_clients(query, add_alive, epilogue);
    r = r ? r : figures_init(&epilogue->figures, query);
    groups_join(&epilogue->unreleased);
    groups_sort(&epilogue->alive);
    return r;
}

void epilogue_fini(struct epilogue *epilogue)
{
    figures_fini(&epilogue->figures);
    groups_fini(&epilogue->unreleased);
    groups_fini(&epilogue->alive);
}

/* -------------------------------------------------------------------------------- writing ---- */

static const char *plural(uint64_t count, const char *one, const char *many)
{
    return count == 1 ? one : many;
}

static void write_end(const struct epilogue *epilogue, struct box *box)
{
    struct escaped program = format_escaped(epilogue->program);
    int status = epilogue->wait_status;
    if (WIFSIGNALED(status)) {
        const char *name = sigabbrev_np(WTERMSIG(status));
        box_add(box, STYLE_BAD, "program      %s, killed by signal %d (%s%s)", program.text,
                WTERMSIG(status), name ? "SIG" : "", name ? name : "?");
    } else {
        box_add(box, STYLE_PLAIN, "program      %s, exit status %d", program.text,
                WEXITSTATUS(status));
    }
}

static void write_counts(const struct epilogue *epilogue, struct box *box)
{
    const struct figures *figures = &epilogue->figures;
    uint64_t allocations = figures_get(figures, "allocations");
    uint64_t releases = figures_get(figures, "releases") - epilogue->unreleased_blocks;
    box_add(box, STYLE_PLAIN, "blocks       %s allocated, %s released",
            format_count(allocations).text, format_count(releases).text);
}

/* What was refused, one line for each cause. */
static void write_refusals(const struct epilogue *epilogue, struct box *box)
{
    static const struct cause {
        const char *figure;
        const char *words;
    } causes[] = {
        {"refusals_no_room", "the segment was full (--size)"},
        {"refusals_quota", "over the quota of one client"},
        {"refusals_too_large", "larger than the segment (--size)"},
        {"refusals_invalid", "no size that a block can have, or no text as a reason"},
    };

    for (size_t i = 0; i < sizeof(causes) / sizeof(causes[0]); i++) {
        uint64_t n_refused = figures_get(&epilogue->figures, causes[i].figure);
        if (n_refused > 0) {
            box_add(box, STYLE_WARN, "refused      %s %s: %s", format_count(n_refused).text,
                    plural(n_refused, "allocation", "allocations"), causes[i].words);
        }
    }
}

static void write_figures(const struct epilogue *epilogue, struct box *box)
{
    const struct figures *figures = &epilogue->figures;
    uint64_t segment = figures_get(figures, "segment_bytes");
    uint64_t used = figures_get(figures, "peak_used_bytes");
    uint64_t held = figures_get(figures, "peak_bytes");
    box_add(box, STYLE_PLAIN, "peak used    %s of %s (%s)", format_bytes(used, false).text,
            format_bytes(segment, false).text, format_share(used, segment).text);
    box_add(box, STYLE_PLAIN, "peak held    %s, unused pages of leases included",
            format_bytes(held, false).text);
    write_counts(epilogue, box);
    write_refusals(epilogue, box);
}

static void write_unreleased(const struct epilogue *epilogue, struct box *box)
{
    const struct groups *groups = &epilogue->unreleased;
    uint64_t n_blocks = epilogue->unreleased_blocks;
    if (n_blocks == 0) {
        box_add(box, STYLE_GOOD, "unreleased   nothing");
        return;
    }
    box_add(box, STYLE_WARN, "unreleased   %s in %s %s",
            format_bytes(epilogue->unreleased_bytes, false).text, format_count(n_blocks).text,
            plural(n_blocks, "block", "blocks"));
    for (size_t i = 0; i < groups->n_groups && i < MAX_REASONS; i++) {
        const struct group *group = &groups->groups[i];
        box_add(box, STYLE_PLAIN, "  %10s %8s  %s", format_bytes(group->num_bytes, false).text,
                format_count(group->n_blocks).text, format_escaped(group->key).text);
    }
    if (groups->n_groups > MAX_REASONS) {
        box_add(box, STYLE_DIM, "  and %s more reasons",
                format_count(groups->n_groups - MAX_REASONS).text);
    }
}

static void write_alive(const struct epilogue *epilogue, struct box *box)
{
    const struct groups *groups = &epilogue->alive;
    if (groups->n_groups > 0) {
        box_add(box, STYLE_WARN, "still alive  %s %s, not counted above",
                format_count(groups->n_groups).text,
                plural(groups->n_groups, "process", "processes"));
    }
    for (size_t i = 0; i < groups->n_groups && i < MAX_ALIVE; i++) {
        const struct group *group = &groups->groups[i];
        box_add(box, STYLE_PLAIN, "  %10s %8s  pid %s (%s)",
                format_bytes(group->num_bytes, false).text, format_count(group->n_blocks).text,
                format_pid(group->pid).text, format_escaped(group->key).text);
    }
    if (groups->n_groups > MAX_ALIVE) {
        box_add(box, STYLE_DIM, "  and %s more", format_count(groups->n_groups - MAX_ALIVE).text);
    }
}

static void add_unseen(struct epilogue_unseen *unseen, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void add_unseen(struct epilogue_unseen *unseen, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(unseen->sentences[unseen->n_sentences++], EPILOGUE_UNSEEN_BYTES, format,
                    arguments);
    va_end(arguments);
}

struct epilogue_unseen epilogue_unseen(const struct epilogue *epilogue)
{
    const struct figures *figures = &epilogue->figures;
    struct epilogue_unseen unseen = {.n_sentences = 0};
    const uint64_t n_refused = figures_get(figures, "connections_refused");
    if (epilogue->serves_malloc) {
        add_unseen(&unseen, "what was mapped by itself, came from libc, or is of a program that "
                            "is linked statically");
    } else {
        add_unseen(&unseen, "memory that is not from kmem; with --malloc, malloc() is seen");
    }
    if (epilogue->alive.n_groups > 0) {
        add_unseen(&unseen, "the end of %s %s that %s", format_count(epilogue->alive.n_groups).text,
                   plural(epilogue->alive.n_groups, "process", "processes"),
                   plural(epilogue->alive.n_groups, "still runs", "still run"));
    }
    if (epilogue->n_forgotten > 0) {
        add_unseen(&unseen, "what the first %s that ended left behind: forgotten by now",
                   format_count(epilogue->n_forgotten).text);
    }
    if (n_refused > 0) {
        add_unseen(&unseen, "processes that could not join: %s %s refused",
                   format_count(n_refused).text,
                   plural(n_refused, "connection was", "connections were"));
    }
    return unseen;
}

static void write_unseen(const struct epilogue *epilogue, struct box *box)
{
    const struct epilogue_unseen unseen = epilogue_unseen(epilogue);
    for (size_t i = 0; i < unseen.n_sentences; i++) {
        box_add(box, STYLE_DIM, "not seen     %s", unseen.sentences[i]);
    }
}

void epilogue_write(const struct epilogue *epilogue, struct box *box)
{
    uint64_t n_seen = figures_get(&epilogue->figures, "clients_seen");
    write_end(epilogue, box);
    if (n_seen == 0) {
        box_add(box, STYLE_DIM, "clients      none: nothing was allocated through kmem");
        write_unseen(epilogue, box);
        return;
    }
    box_add(box, STYLE_PLAIN, "clients      %s", format_count(n_seen).text);
    write_figures(epilogue, box);
    write_unreleased(epilogue, box);
    write_alive(epilogue, box);
    write_unseen(epilogue, box);
}

/* ----------------------------------------------------------------------------------- JSON ---- */

static void json_group(struct json_row *row, const char *list, const struct group *group,
                       bool is_client)
{
    struct json_row one;
    json_row_init(&one);
    json_row_text(&one, is_client ? "command" : "reason", group->key);
    if (is_client) {
        json_row_number(&one, "pid", group->pid);
    }
    json_row_number(&one, "n_blocks", group->n_blocks);
    json_row_number(&one, "num_bytes", group->num_bytes);
    json_row_append(row, list, &one);
}

static void json_groups(struct json_row *row, const char *list, const struct groups *groups,
                        bool are_clients)
{
    json_row_list(row, list);
    for (size_t i = 0; i < groups->n_groups; i++) {
        json_group(row, list, &groups->groups[i], are_clients);
    }
}

int epilogue_print_json(const struct epilogue *epilogue, FILE *file)
{
    const struct epilogue_unseen unseen = epilogue_unseen(epilogue);
    int status = epilogue->wait_status;
    struct json_row row;
    json_row_init(&row);
    json_row_text(&row, "program", epilogue->program);
    json_row_number(&row, "exit_status", (uint64_t)program_status(status));
    json_row_number(&row, "signal", WIFSIGNALED(status) ? (uint64_t)WTERMSIG(status) : 0);
    json_row_number(&row, "n_blocks", epilogue->unreleased_blocks);
    json_row_number(&row, "num_bytes", epilogue->unreleased_bytes);
    json_groups(&row, "unreleased", &epilogue->unreleased, false);
    json_groups(&row, "alive", &epilogue->alive, true);
    json_row_number(&row, "n_forgotten", epilogue->n_forgotten);
    json_row_list(&row, "unseen");
    for (size_t i = 0; i < unseen.n_sentences; i++) {
        json_row_append_text(&row, "unseen", unseen.sentences[i]);
    }
    figures_json(&epilogue->figures, &row);
    return json_row_print(&row, file);
}

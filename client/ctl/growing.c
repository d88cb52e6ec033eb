/* SPDX-License-Identifier: MIT */
#include "client/ctl/growing.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/ctl/course.h"
#include "client/ctl/growth.h"
#include "client/ctl/target.h"

#define HOUR_MS UINT64_C(3600000)
#define MINUTE_MS UINT64_C(60000)
/* 500 ms: what grows shows, and one who has asked does not wait. */
#define LOOKS_APART_MS 500

void growing_fini(struct growing *growing)
{
    for (size_t i = 0; i < growing->n_rows; i++) {
        free(growing->rows[i].reason);
    }
    free(growing->rows);
    *growing = (struct growing){.rows = NULL};
}

static int add(struct growing *growing, const char *reason, const struct growing_row *content)
{
    struct growing_row *rows =
        realloc(growing->rows, (growing->n_rows + 1) * sizeof(*growing->rows));
    if (!rows) {
        return -ENOMEM;
    }
    growing->rows = rows;
    struct growing_row *row = &rows[growing->n_rows];
    *row = *content;
    row->reason = strdup(reason);
    growing->n_rows += row->reason != NULL;
    return row->reason ? 0 : -ENOMEM;
}

/* ----------------------------------------------------------------------------- remembered ---- */

/* A reason, over the last hour and, finer, the last minute. */
struct line {
    char *reason;
    struct course hour;
    struct course minute;
    uint64_t newest; /* the number of its last row */
    uint64_t n_blocks;
};

struct memory {
    struct line *lines;
    size_t n_lines;
    uint64_t oldest; /* numbers of looks; 0: there is none */
    uint64_t newest;
    uint64_t oldest_ms; /* how long ago that was */
};

static void memory_fini(struct memory *memory)
{
    for (size_t i = 0; i < memory->n_lines; i++) {
        free(memory->lines[i].reason);
    }
    free(memory->lines);
}

/* That of the reason, made if there is none. Return: NULL without memory. */
static struct line *line_find(struct memory *memory, const char *reason)
{
    for (size_t i = 0; i < memory->n_lines; i++) {
        if (strcmp(memory->lines[i].reason, reason) == 0) {
            return &memory->lines[i];
        }
    }
    struct line *lines = realloc(memory->lines, (memory->n_lines + 1) * sizeof(*lines));
    if (!lines) {
        return NULL;
    }
    memory->lines = lines;
    lines[memory->n_lines] = (struct line){.reason = strdup(reason)};
    return lines[memory->n_lines].reason ? &lines[memory->n_lines++] : NULL;
}

static size_t step_of(uint64_t ms_ago, uint64_t span_ms)
{
    return COURSE_STEPS - 1 - (size_t)(ms_ago * COURSE_STEPS / span_ms);
}

static int remember(const struct kmem_history_row *row, void *user)
{
    struct memory *memory = user;
    const uint64_t ms_ago = row->ms_ago < HOUR_MS ? row->ms_ago : HOUR_MS - 1;
    if (!row->reason) {
        memory->oldest_ms = memory->oldest == 0 ? ms_ago : memory->oldest_ms;
        memory->oldest = memory->oldest == 0 ? row->number : memory->oldest;
        memory->newest = row->number;
        return 0;
    }
    struct line *line = line_find(memory, row->reason);
    if (!line) {
        return -ENOMEM;
    }
    course_note(&line->hour, step_of(ms_ago, HOUR_MS), row->num_bytes);
    if (ms_ago < MINUTE_MS) {
        course_note(&line->minute, step_of(ms_ago, MINUTE_MS), row->num_bytes);
    }
    line->newest = row->number;
    line->n_blocks = row->n_blocks;
    return 0;
}

static int judge_course(struct growing *growing, const struct line *line,
                        const struct course *course, uint64_t span_ms)
{
    struct course_growth growth;
    if (!course_grows(course, &growth) || growth.has_stopped) {
        return 0;
    }
    const struct growing_row row = {
        .grown_bytes = growth.to_bytes - growth.from_bytes,
        .since_ms = (COURSE_STEPS - 1 - growth.began) * span_ms / COURSE_STEPS,
        .is_at_least = growth.is_from_first,
        .after_bytes = growth.to_bytes,
        .after_blocks = line->n_blocks,
    };
    const int r = add(growing, line->reason, &row);
    return r < 0 ? r : 1;
}

/* What has lost its series is of an older time than the others. */
static int judge(struct growing *growing, const struct memory *memory)
{
    int r = 0;
    for (size_t i = 0; r >= 0 && i < memory->n_lines; i++) {
        const struct line *line = &memory->lines[i];
        r = line->newest < memory->newest ? 1 : judge_course(growing, line, &line->hour, HOUR_MS);
        r = r ? r : judge_course(growing, line, &line->minute, MINUTE_MS);
    }
    return r < 0 ? r : 0;
}

/* Return: 1; 0 if the daemon remembers too little; or a negative errno. */
static int find_in_history(struct growing *growing, struct kmem_query *query)
{
    const struct kmem_history_filter filter = {
        .struct_bytes = sizeof(filter),
        .step = KMEM_HISTORY_SECONDS,
        .reason = "*",
        .max_age_ms = HOUR_MS,
    };
    struct memory memory = {.lines = NULL};
    int r = kmem_query_history(query, &filter, remember, &memory);
    if (r == 0 && memory.oldest < memory.newest) {
        growing->known_ms = memory.oldest_ms;
        r = judge(growing, &memory);
        r = r ? r : 1;
    }
    memory_fini(&memory);
    return r;
}

/* ------------------------------------------------------------------------------ two looks ---- */

static int add_growths(struct growing *growing, const struct growths *growths)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < growths->n_rows && growths->rows[i].grown_bytes > 0; i++) {
        const struct growth *growth = &growths->rows[i];
        const struct growing_row row = {
            .grown_bytes = (uint64_t)growth->grown_bytes,
            .since_ms = LOOKS_APART_MS,
            .is_at_least = true,
            .after_bytes = growth->after_bytes,
            .after_blocks = growth->after_blocks,
        };
        r = add(growing, growth->key, &row);
    }
    return r;
}

static int find_by_looks(struct growing *growing, struct kmem_query *query)
{
    const struct timespec apart = {.tv_nsec = LOOKS_APART_MS * 1000000L};
    struct groups before = {.groups = NULL};
    struct groups after = {.groups = NULL};
    struct growths growths = {.rows = NULL};
    growing->known_ms = LOOKS_APART_MS;
    int r = groups_ask(&before, query, KMEM_BY_REASON);
    if (r == 0) {
        (void)nanosleep(&apart, NULL); /* woken early, it looks early */
        r = groups_ask(&after, query, KMEM_BY_REASON);
    }
    r = r ? r : growths_init(&growths, &before, &after);
    r = r ? r : add_growths(growing, &growths);
    growths_fini(&growths);
    groups_fini(&before);
    groups_fini(&after);
    return r;
}

/* The connection has ended: on another one. */
static int find_of_an_old_daemon(struct growing *growing, const struct options *options)
{
    struct kmem_query *query = NULL;
    int r = target_open(options, &query);
    r = r ? r : find_by_looks(growing, query);
    kmem_query_close(query);
    return r;
}

/* ----------------------------------------------------------------------------------- both ---- */

static int compare_rows(const void *left, const void *right)
{
    const struct growing_row *a = left;
    const struct growing_row *b = right;
    if (a->grown_bytes != b->grown_bytes) {
        return a->grown_bytes < b->grown_bytes ? 1 : -1;
    }
    return strcmp(a->reason, b->reason);
}

int growing_find(struct growing *growing, struct kmem_query *query, const struct options *options)
{
    *growing = (struct growing){.rows = NULL};
    int r = find_in_history(growing, query);
    if (r == -EPROTO || r == -ECONNRESET) {
        r = find_of_an_old_daemon(growing, options);
    } else if (r == 0) {
        r = find_by_looks(growing, query);
    }
    if (r >= 0 && growing->n_rows > 0) {
        qsort(growing->rows, growing->n_rows, sizeof(*growing->rows), compare_rows);
    }
    return r < 0 ? r : 0;
}

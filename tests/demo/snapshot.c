/* SPDX-License-Identifier: MIT */
#include "tests/demo/snapshot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The figures of the daemon that the demo shows, and where they go. */
static const struct {
    const char *name;
    size_t at;
} figures[] = {
    {"segment_bytes", offsetof(struct snapshot, segment_bytes)},
    {"used_bytes", offsetof(struct snapshot, used_bytes)},
    {"free_bytes", offsetof(struct snapshot, free_bytes)},
    {"overhead_bytes", offsetof(struct snapshot, overhead_bytes)},
    {"peak_used_bytes", offsetof(struct snapshot, peak_bytes)},
    {"blocks", offsetof(struct snapshot, n_blocks)},
    {"clients", offsetof(struct snapshot, n_clients)},
    {"allocations", offsetof(struct snapshot, n_allocations)},
    {"releases", offsetof(struct snapshot, n_releases)},
};

static void answer_or_exit(struct kmem_query *query, int r)
{
    if (r < 0) {
        fprintf(stderr, "demo: %s\n", kmem_query_error(query));
        exit(1);
    }
}

static int keep_figure(const struct kmem_daemon *daemon, const struct kmem_statistic *statistic,
                       void *user)
{
    (void)daemon;
    for (size_t i = 0; i < sizeof(figures) / sizeof(figures[0]); i++) {
        if (strcmp(figures[i].name, statistic->name) == 0) {
            memcpy((char *)user + figures[i].at, &statistic->value, sizeof(statistic->value));
        }
    }
    return 0;
}

static int keep_row(const struct kmem_ledger_row *row, void *user)
{
    struct snapshot *snapshot = user;

    snapshot->n_groups++;
    if (snapshot->n_rows < SNAPSHOT_ROWS_MAX) {
        struct snapshot_row *kept = &snapshot->rows[snapshot->n_rows++];
        kmem_query_escape(row->key, kept->reason, sizeof(kept->reason));
        kept->n_blocks = row->n_blocks;
        kept->num_bytes = row->num_bytes;
    }
    return 0;
}

void snapshot_take(struct kmem_query *query, struct snapshot *ret_snapshot)
{
    *ret_snapshot = (struct snapshot){0};
    answer_or_exit(query, kmem_query_usage(query, keep_figure, ret_snapshot));
    answer_or_exit(query, kmem_query_ledger(query, KMEM_BY_REASON, keep_row, ret_snapshot));
}

const struct snapshot_row *snapshot_row_before(const struct snapshot *earlier, const char *reason)
{
    for (size_t i = 0; i < earlier->n_rows; i++) {
        if (strcmp(earlier->rows[i].reason, reason) == 0) {
            return &earlier->rows[i];
        }
    }
    return NULL;
}

/* What an obituary or a block is looked for by, and what was found. */
struct search {
    pid_t pid;
    size_t n_found;
    struct farewell *farewell;
};

static int keep_farewell(const struct kmem_obituary *obituary, void *user)
{
    struct search *search = user;

    if (obituary->pid == (uint32_t)search->pid) {
        search->n_found++;
        search->farewell->n_blocks = obituary->n_blocks;
        search->farewell->num_bytes = obituary->num_bytes;
        kmem_query_escape(obituary->n_rows > 0 ? obituary->rows[0].key : "",
                          search->farewell->reason, sizeof(search->farewell->reason));
    }
    return 0;
}

int farewell_wait(struct kmem_query *query, pid_t pid, uint64_t killed_us,
                  struct farewell *ret_farewell)
{
    const struct timespec moment = {.tv_nsec = 200000};
    struct search search = {.pid = pid, .farewell = ret_farewell};

    do {
        nanosleep(&moment, NULL);
        answer_or_exit(query, kmem_query_obituaries(query, keep_farewell, &search));
        ret_farewell->took_us = now_us() - killed_us;
    } while (search.n_found == 0 && ret_farewell->took_us < 60000000);
    return search.n_found > 0 ? 0 : -1;
}

static int count_death(const struct kmem_obituary *obituary, void *user)
{
    struct search *search = user;

    search->n_found += !obituary->left;
    return 0;
}

size_t count_deaths(struct kmem_query *query)
{
    struct search search = {0};

    answer_or_exit(query, kmem_query_obituaries(query, count_death, &search));
    return search.n_found;
}

static int count_block(const struct kmem_block *block, void *user)
{
    struct search *search = user;

    search->n_found += block->pid == (uint32_t)search->pid;
    return 0;
}

size_t blocks_of(struct kmem_query *query, pid_t pid)
{
    struct search search = {.pid = pid};

    answer_or_exit(query, kmem_query_blocks(query, count_block, &search));
    return search.n_found;
}

uint64_t now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* SPDX-License-Identifier: MIT */
#include "tests/bench/daemon.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <kmem/query.h>

#include "tests/bench/bench.h"

/* The segment's pages become huge ones at some 1.3 s per GiB, in the background. */
#define HUGE_PAGES_TRIES 300
#define HUGE_PAGES_STEP_US 100000

static struct kmem_query *query;
static uint64_t n_own; /* requests of this process */
static char huge_pages[256];
static bool is_huge;

static void close_query(void)
{
    query = kmem_query_close(query);
}

/* Return: whether the log has the line. */
static bool read_huge_pages(const char *log_path)
{
    static const char words[] = " are made of 2 MiB pages";
    char line[sizeof(huge_pages)];
    FILE *const log = fopen(log_path, "re");
    bool is_there = false;
    while (log != NULL && !is_there && fgets(line, sizeof(line), log) != NULL) {
        const char *const end = strstr(line, words);
        if (end != NULL) {
            const char *const text = strncmp(line, "kmemd: ", 7) == 0 ? line + 7 : line;
            (void)snprintf(huge_pages, sizeof(huge_pages), "%.*s", (int)strcspn(text, "\n"), text);
            is_huge = end[sizeof(words) - 1] == '\n';
            is_there = true;
        }
    }
    if (log != NULL) {
        (void)fclose(log);
    }
    return is_there;
}

void daemon_start(const char *size)
{
    char program[512];
    char socket_path[100];
    char log_path[100];
    (void)snprintf(program, sizeof(program), "%s/kmemd", bench_bin());
    (void)snprintf(socket_path, sizeof(socket_path), "%s/kmemd.sock", bench_directory());
    (void)snprintf(log_path, sizeof(log_path), "%s/" BENCH_LOG, bench_directory());
    bench_start_server((const char *const[]){program, "--name", "bench", "--size", size,
                                             "--log-level", "info", "--socket", socket_path, NULL});
    (void)setenv("KMEM_SOCKET", socket_path, 1);
    if (kmem_query_open(NULL, &query) != 0) {
        bench_fail("%s", kmem_last_error());
    }
    (void)atexit(close_query);
    for (int i = 0; i < HUGE_PAGES_TRIES && !read_huge_pages(log_path); i++) {
        (void)usleep(HUGE_PAGES_STEP_US);
    }
    if (huge_pages[0] == '\0') {
        (void)snprintf(huge_pages, sizeof(huge_pages), "the daemon does not say what pages it has");
    }
}

bool daemon_is_huge(void)
{
    return is_huge;
}

const char *daemon_huge_pages(void)
{
    return huge_pages;
}

static int find_requests(const struct kmem_daemon *daemon, const struct kmem_statistic *statistic,
                         void *of_requests)
{
    uint64_t *n_requests = of_requests;
    (void)daemon;
    if (strcmp(statistic->name, "requests") == 0) {
        *n_requests = statistic->value;
    }
    return 0;
}

uint64_t daemon_requests(void)
{
    uint64_t n_requests = 0;
    if (kmem_query_usage(query, find_requests, &n_requests) != 0) {
        bench_fail("%s", kmem_query_error(query));
    }
    return n_requests - n_own++;
}

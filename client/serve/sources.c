/* SPDX-License-Identifier: MIT */
#include "client/serve/sources.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "client/ctl/segments.h"

/* What has been added stays until the end, so that only the count needs the lock. */
struct sources {
    pthread_mutex_t lock;
    size_t n_reasons;
    size_t n_sources;
    struct source *all[SOURCES_MAX];
    const char *labels[SOURCES_MAX]; /* the source's name, or its socket */
};

struct sources *sources_new(size_t n_reasons)
{
    struct sources *sources = calloc(1, sizeof(*sources));
    if (sources) {
        (void)pthread_mutex_init(&sources->lock, NULL); /* can not fail with glibc */
        sources->n_reasons = n_reasons;
    }
    return sources;
}

struct sources *sources_free(struct sources *sources)
{
    for (size_t i = 0; sources && i < sources->n_sources; i++) {
        source_free(sources->all[i]);
    }
    if (sources) {
        (void)pthread_mutex_destroy(&sources->lock);
    }
    free(sources);
    return NULL;
}

size_t sources_count(struct sources *sources)
{
    (void)pthread_mutex_lock(&sources->lock);
    const size_t n_sources = sources->n_sources;
    (void)pthread_mutex_unlock(&sources->lock);
    return n_sources;
}

struct source *sources_get(struct sources *sources, size_t idx)
{
    return sources->all[idx];
}

const char *sources_label(struct sources *sources, size_t idx)
{
    return sources->labels[idx];
}

size_t sources_find(struct sources *sources, const char *label)
{
    const size_t n_sources = sources_count(sources);
    for (size_t i = 0; i < n_sources; i++) {
        if (strcmp(sources->labels[i], label) == 0) {
            return i;
        }
    }
    return SOURCES_MAX;
}

/* Only the main thread adds. */
int sources_add(struct sources *sources, const char *name, const char *socket)
{
    const size_t idx = sources->n_sources;
    for (size_t i = 0; i < idx; i++) {
        if (strcmp(source_socket(sources->all[i]), socket) == 0) {
            return 0;
        }
    }
    if (idx == SOURCES_MAX) {
        return -ENOSPC;
    }
    int r = source_new(name, socket, sources->n_reasons, &sources->all[idx]);
    if (r < 0) {
        return r;
    }
    const bool is_taken = sources_find(sources, name) < SOURCES_MAX;
    sources->labels[idx] =
        is_taken ? source_socket(sources->all[idx]) : source_name(sources->all[idx]);
    (void)pthread_mutex_lock(&sources->lock);
    sources->n_sources++;
    (void)pthread_mutex_unlock(&sources->lock);
    return 0;
}

static int add_found(const char *name, const char *socket, void *user)
{
    return sources_add(user, name, socket);
}

int sources_look(struct sources *sources)
{
    return segments_find(add_found, sources);
}

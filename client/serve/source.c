/* SPDX-License-Identifier: MIT */
/*
 * source.c - one segment that is served
 *
 *      scraper, page ──begin──► entries: question, answer, wanted ◄──── the thread: asks what is
 *                    ◄─finish── (under the lock)                        wanted, the longest first
 *
 * The lock is never held while a daemon is asked. An entry that is wanted, asked or waited for
 * stays; of the others the one that was used least recently makes room for another question.
 */
#include "client/serve/source.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* 16: a page asks ten different things; more would be another's to look through one by one. */
#define N_ENTRIES 16
/* 16 questions a second: one that a page asks is answered in a millisecond or two. */
#define QUESTIONS_PER_SECOND 16

struct source_entry {
    struct question question; /* without a topic: the entry is empty */
    struct answer *answer;    /* NULL: none yet */
    uint64_t serial;          /* of the answer */
    uint64_t used_ms;
    uint64_t wanted_ms; /* since when; 0: it is not */
    unsigned n_waiting;
};

struct source {
    char *name;
    char *socket;
    size_t n_reasons;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wanted;   /* there is something to ask, or the end has come */
    pthread_cond_t answered; /* there is an answer */
    bool is_ending;
    uint64_t asking_since_ms; /* 0: nothing is asked now */
    uint64_t second;          /* and how many were asked in it */
    unsigned n_in_second;
    struct source_entry entries[N_ENTRIES];
    struct kmem_query *query; /* the thread's; NULL: not connected */
};

uint64_t source_now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* can not fail */
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static struct timespec timespec_of(uint64_t time_ms)
{
    return (struct timespec){.tv_sec = (time_t)(time_ms / 1000),
                             .tv_nsec = (long)(time_ms % 1000) * 1000000};
}

/* ----------------------------------------------------------------------------- the thread ---- */

static int source_connect(struct source *source)
{
    return source->query ? 0 : kmem_query_open(source->socket, &source->query);
}

/* A daemon that has ended since, or closed what was idle, is asked once more. */
static struct answer *source_ask(struct source *source, const struct question *question)
{
    for (unsigned n_tries = 0;; n_tries++) {
        const bool is_old = source->query != NULL;
        const int r = source_connect(source);
        struct answer *answer =
            r < 0 ? answer_new_error(r) : answer_new(source->query, question, source->n_reasons);
        if (!answer || answer->error < 0) {
            source->query = kmem_query_close(source->query);
        }
        if (!answer || !is_old || n_tries > 0 ||
            (answer->error != -ECONNRESET && answer->error != -EPIPE)) {
            return answer;
        }
        answer_unref(answer);
    }
}

/* Return: what has been wanted longest; NULL: nothing is. */
static struct source_entry *entry_wanted(struct source *source)
{
    struct source_entry *first = NULL;
    for (size_t i = 0; i < N_ENTRIES; i++) {
        struct source_entry *entry = &source->entries[i];
        if (entry->wanted_ms > 0 && (!first || entry->wanted_ms < first->wanted_ms)) {
            first = entry;
        }
    }
    return first;
}

/* Return: how long to wait until another question may be asked; 0: now. It is counted then. */
static uint64_t pace(struct source *source, uint64_t now_ms)
{
    if (source->second != now_ms / 1000) {
        source->second = now_ms / 1000;
        source->n_in_second = 0;
    }
    if (source->n_in_second < QUESTIONS_PER_SECOND) {
        source->n_in_second++;
        return 0;
    }
    return 1000 - now_ms % 1000;
}

/* Waits until there is something to ask. Return: it; NULL: the end has come. */
static struct source_entry *source_next(struct source *source)
{
    while (!source->is_ending) {
        struct source_entry *entry = entry_wanted(source);
        const uint64_t now_ms = source_now_ms();
        const uint64_t pause_ms = entry ? pace(source, now_ms) : 0;
        if (entry && pause_ms == 0) {
            return entry;
        }
        if (entry) {
            const struct timespec until = timespec_of(now_ms + pause_ms);
            (void)pthread_cond_timedwait(&source->wanted, &source->lock, &until);
        } else {
            (void)pthread_cond_wait(&source->wanted, &source->lock);
        }
    }
    return NULL;
}

/* With the lock, which it lets go of while it asks. The entry stays: it is wanted. */
static void source_answer(struct source *source, struct source_entry *entry)
{
    const uint64_t began_ms = source_now_ms();
    source->asking_since_ms = began_ms;
    (void)pthread_mutex_unlock(&source->lock);
    struct answer *answer = source_ask(source, &entry->question);
    if (answer) {
        answer->began_ms = began_ms;
        answer->took_ms = source_now_ms() - began_ms;
    }
    (void)pthread_mutex_lock(&source->lock);
    source->asking_since_ms = 0;
    answer_unref(entry->answer);
    entry->answer = answer;
    entry->serial++;
    entry->wanted_ms = 0;
    (void)pthread_cond_broadcast(&source->answered);
}

static void *source_run(void *user)
{
    struct source *source = user;
    struct source_entry *entry;
    (void)pthread_mutex_lock(&source->lock);
    while ((entry = source_next(source)) != NULL) {
        source_answer(source, entry);
    }
    (void)pthread_mutex_unlock(&source->lock);
    return NULL;
}

/* ----------------------------------------------------------------------- its life and end ---- */

static void source_destroy(struct source *source)
{
    for (size_t i = 0; i < N_ENTRIES; i++) {
        question_fini(&source->entries[i].question);
        answer_unref(source->entries[i].answer);
    }
    kmem_query_close(source->query);
    (void)pthread_cond_destroy(&source->answered);
    (void)pthread_cond_destroy(&source->wanted);
    (void)pthread_mutex_destroy(&source->lock);
    free(source->socket);
    free(source->name);
    free(source);
}

int source_new(const char *name, const char *socket, size_t n_reasons, struct source **ret_source)
{
    struct source *source = calloc(1, sizeof(*source));
    pthread_condattr_t monotonic;
    if (!source) {
        return -ENOMEM;
    }
    source->n_reasons = n_reasons;
    source->name = strdup(name);
    source->socket = strdup(socket);
    (void)pthread_condattr_init(&monotonic); /* none of these can fail with glibc */
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&source->lock, NULL);
    (void)pthread_cond_init(&source->wanted, &monotonic);
    (void)pthread_cond_init(&source->answered, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    int r = source->name && source->socket ? 0 : -ENOMEM;
    if (r == 0) {
        r = -pthread_create(&source->thread, NULL, source_run, source);
    }
    if (r < 0) {
        source_destroy(source);
        return r;
    }
    *ret_source = source;
    return 0;
}

/* 1 s: what a daemon that does not hang needs for its answer, many times over. */
#define END_PATIENCE_MS 1000

struct source *source_free(struct source *source)
{
    if (!source) {
        return NULL;
    }
    const struct timespec until = timespec_of(source_now_ms() + END_PATIENCE_MS);
    (void)pthread_mutex_lock(&source->lock);
    source->is_ending = true;
    (void)pthread_cond_signal(&source->wanted);
    (void)pthread_mutex_unlock(&source->lock);
    if (pthread_clockjoin_np(source->thread, NULL, CLOCK_MONOTONIC, &until) == 0) {
        source_destroy(source);
    }
    return NULL;
}

const char *source_socket(const struct source *source)
{
    return source->socket;
}

const char *source_name(const struct source *source)
{
    return source->name;
}

/* -------------------------------------------------------------------------- those that ask ---- */

static bool is_idle(const struct source_entry *entry)
{
    return entry->wanted_ms == 0 && entry->n_waiting == 0;
}

/* Return: the entry of that question; else one that is empty now; NULL: all are in use. */
static struct source_entry *entry_find(struct source *source, const struct question *question)
{
    struct source_entry *oldest = NULL;
    for (size_t i = 0; i < N_ENTRIES; i++) {
        struct source_entry *entry = &source->entries[i];
        if (entry->question.topic && question_is_same(&entry->question, question)) {
            return entry;
        }
        if (is_idle(entry) && (!oldest || entry->used_ms < oldest->used_ms)) {
            oldest = entry;
        }
    }
    if (oldest) {
        question_fini(&oldest->question);
        oldest->answer = answer_unref(oldest->answer);
        oldest->serial++;
    }
    return oldest;
}

/*
 * For how long an answer is good: a second, or twenty times what it took. 20: the ledger of a
 * million blocks takes the daemon 70 ms; asked once a second by a page and by a scraper, that would
 * be felt by the slowest hundredth of what its clients ask.
 */
static bool is_fresh(const struct answer *answer, uint64_t now_ms)
{
    uint64_t good_ms = SOURCE_FRESH_MS;
    if (answer->error == 0 && answer->took_ms > SOURCE_FRESH_MS / 20) {
        good_ms = answer->took_ms < SOURCE_STALE_MS / 20 ? 20 * answer->took_ms : SOURCE_STALE_MS;
    }
    return answer->began_ms + answer->took_ms + good_ms > now_ms;
}

static void want(struct source_entry *entry, uint64_t now_ms, struct source_wait *wait)
{
    const struct answer *answer = entry->answer;
    entry->used_ms = now_ms;
    entry->n_waiting++;
    wait->entry = entry;
    wait->serial = entry->serial;
    wait->is_fresh = answer && is_fresh(answer, now_ms);
    if (!wait->is_fresh && entry->wanted_ms == 0) {
        entry->wanted_ms = now_ms;
    }
}

void source_begin(struct source *source, const struct question *question, uint64_t now_ms,
                  struct source_wait *wait)
{
    *wait = (struct source_wait){.source = source};
    (void)pthread_mutex_lock(&source->lock);
    struct source_entry *entry = entry_find(source, question);
    if (entry && !entry->question.topic && question_dup(question, &entry->question) < 0) {
        entry = NULL;
    }
    if (entry) {
        want(entry, now_ms, wait);
        (void)pthread_cond_signal(&source->wanted);
    }
    (void)pthread_mutex_unlock(&source->lock);
}

/* Whether the thread has been with one question for longer than any should take. */
static bool is_late(const struct source *source, uint64_t now_ms)
{
    return source->asking_since_ms > 0 && source->asking_since_ms + SOURCE_FRESH_MS < now_ms;
}

static void wait_for_answer(struct source_wait *wait, uint64_t until_ms)
{
    struct source *source = wait->source;
    const struct timespec until = timespec_of(until_ms);
    int r = 0;
    while (r == 0 && !source->is_ending && wait->entry->serial == wait->serial &&
           !is_late(source, source_now_ms())) {
        r = pthread_cond_timedwait(&source->answered, &source->lock, &until);
    }
}

struct answer *source_finish(struct source_wait *wait, uint64_t until_ms)
{
    struct source *source = wait->source;
    struct answer *answer = NULL;
    if (!wait->entry) {
        return NULL;
    }
    (void)pthread_mutex_lock(&source->lock);
    if (!wait->is_fresh) {
        wait_for_answer(wait, until_ms);
    }
    answer = wait->entry->answer;
    if (answer && answer->began_ms + answer->took_ms + SOURCE_STALE_MS > source_now_ms()) {
        answer_ref(answer);
    } else {
        answer = NULL;
    }
    wait->entry->n_waiting--;
    (void)pthread_mutex_unlock(&source->lock);
    return answer;
}

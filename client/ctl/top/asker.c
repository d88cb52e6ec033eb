/* SPDX-License-Identifier: MIT */
#include "client/ctl/top/asker.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "client/ctl/target.h"
#include "client/ctl/top/flow.h"

struct asker {
    struct options options;
    struct kmem_query *query; /* the thread's alone */
    bool has_past;            /* likewise: what was before has been asked for */
    pthread_t thread;
    int fd; /* an eventfd: an answer is there */

    pthread_mutex_t lock; /* of all that follows */
    pthread_cond_t changed;
    enum page_id page;
    unsigned interval_ms;
    uint64_t due_ms;    /* when to ask next */
    uint64_t asking_ms; /* since when it waits for an answer; 0: it does not */
    bool is_paused;
    bool ends;
    bool has_sample;
    struct sample sample;
};

uint64_t asker_now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void asker_past(struct past *past, const struct options *options)
{
    const struct kmem_history_filter filter = {
        .struct_bytes = sizeof(filter),
        .step = KMEM_HISTORY_SECONDS,
        .reason = "*",
        .max_age_ms = FLOW_POINTS * UINT64_C(1000),
    };
    struct kmem_query *query = NULL;
    if (filter_is_set(&options->filter) || target_open(options, &query) < 0) {
        return; /* what is remembered is of all blocks */
    }
    if (kmem_query_history(query, &filter, past_add, past) < 0) {
        past_fini(past);
    }
    kmem_query_close(query);
}

/* One round. The query is opened if there is none, and closed if it has ended. */
static struct sample ask(struct asker *asker, enum page_id page)
{
    struct sample sample = {.page = page};
    if (!asker->query) {
        const int r = target_open(&asker->options, &asker->query);
        if (r < 0) {
            asker->query = NULL;
            sample_fail(&sample, r, target_sentence(kmem_last_error()));
            return sample;
        }
    }
    sample_take(&sample, asker->query, page, &asker->options.filter, asker_now_ms());
    if (sample.error < 0) {
        const char *sentence = kmem_query_error(asker->query);
        sample_fail(&sample, sample.error, target_sentence(sentence));
        asker->query = kmem_query_close(asker->query);
    } else if (!asker->has_past) {
        asker_past(&sample.past, &asker->options);
        asker->has_past = true;
    }
    return sample;
}

/* Waits until it is time to ask; the lock is held. Return: false if it is time to end. */
static bool wait_until_due(struct asker *asker)
{
    while (!asker->ends) {
        const uint64_t now_ms = asker_now_ms();
        if (!asker->is_paused && now_ms >= asker->due_ms) {
            return true;
        }
        const uint64_t until_ms = asker->is_paused ? now_ms + 3600000 : asker->due_ms;
        const struct timespec until = {(time_t)(until_ms / 1000),
                                       (long)(until_ms % 1000) * 1000000};
        (void)pthread_cond_timedwait(&asker->changed, &asker->lock, &until);
    }
    return false;
}

static void hand_over(struct asker *asker, const struct sample *sample)
{
    const uint64_t one = 1;
    if (asker->has_sample) {
        sample_fini(&asker->sample);
    }
    asker->sample = *sample;
    asker->has_sample = true;
    (void)!write(asker->fd, &one, sizeof(one)); /* a counter that is full is readable too */
}

static void *run(void *user)
{
    struct asker *asker = user;
    (void)pthread_mutex_lock(&asker->lock);
    while (wait_until_due(asker)) {
        const enum page_id page = asker->page;
        asker->asking_ms = asker_now_ms();
        asker->due_ms = asker->asking_ms + asker->interval_ms;
        (void)pthread_mutex_unlock(&asker->lock);
        struct sample sample = ask(asker, page);
        (void)pthread_mutex_lock(&asker->lock);
        asker->asking_ms = 0;
        hand_over(asker, &sample);
    }
    (void)pthread_mutex_unlock(&asker->lock);
    return NULL;
}

/* ------------------------------------------------------------------------ the other thread ---- */

static void asker_free(struct asker *asker)
{
    if (asker->has_sample) {
        sample_fini(&asker->sample);
    }
    kmem_query_close(asker->query);
    (void)pthread_cond_destroy(&asker->changed);
    (void)pthread_mutex_destroy(&asker->lock);
    (void)close(asker->fd);
    free(asker);
}

static void locks_init(struct asker *asker)
{
    pthread_condattr_t attributes;
    (void)pthread_mutex_init(&asker->lock, NULL); /* none of these fails on Linux */
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&asker->changed, &attributes);
    (void)pthread_condattr_destroy(&attributes);
}

/* Starts the thread with all signals blocked: they are for the one that has the terminal. */
static int start(struct asker *asker)
{
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    const int r = pthread_create(&asker->thread, NULL, run, asker);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return -r;
}

int asker_open(const struct options *options, enum page_id page, unsigned interval_ms,
               struct asker **ret_asker)
{
    struct asker *asker = calloc(1, sizeof(*asker));
    if (!asker) {
        return -ENOMEM;
    }
    asker->options = *options;
    asker->page = page;
    asker->interval_ms = interval_ms;
    asker->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    locks_init(asker);
    int r = asker->fd < 0 ? -errno : start(asker);
    if (r < 0) {
        asker_free(asker);
        return r;
    }
    *ret_asker = asker;
    return 0;
}

void asker_close(struct asker *asker)
{
    if (!asker) {
        return;
    }
    (void)pthread_mutex_lock(&asker->lock);
    asker->ends = true;
    const bool is_asking = asker->asking_ms != 0;
    (void)pthread_cond_signal(&asker->changed);
    (void)pthread_mutex_unlock(&asker->lock);
    if (is_asking) {
        (void)pthread_detach(asker->thread); /* nobody waits half a minute to quit */
        return;
    }
    (void)pthread_join(asker->thread, NULL);
    asker_free(asker);
}

int asker_fd(const struct asker *asker)
{
    return asker->fd;
}

bool asker_take(struct asker *asker, struct sample *ret_sample)
{
    uint64_t n;
    (void)pthread_mutex_lock(&asker->lock);
    (void)!read(asker->fd, &n, sizeof(n)); /* EAGAIN: none is there */
    const bool has_sample = asker->has_sample;
    if (has_sample) {
        *ret_sample = asker->sample;
        asker->has_sample = false;
    }
    (void)pthread_mutex_unlock(&asker->lock);
    return has_sample;
}

void asker_want(struct asker *asker, enum page_id page)
{
    (void)pthread_mutex_lock(&asker->lock);
    asker->page = page;
    asker->due_ms = 0;
    (void)pthread_cond_signal(&asker->changed);
    (void)pthread_mutex_unlock(&asker->lock);
}

void asker_pause(struct asker *asker, bool is_paused)
{
    (void)pthread_mutex_lock(&asker->lock);
    asker->is_paused = is_paused;
    (void)pthread_cond_signal(&asker->changed);
    (void)pthread_mutex_unlock(&asker->lock);
}

uint64_t asker_waiting_ms(struct asker *asker)
{
    (void)pthread_mutex_lock(&asker->lock);
    const uint64_t since_ms = asker->asking_ms;
    (void)pthread_mutex_unlock(&asker->lock);
    const uint64_t now_ms = asker_now_ms();
    return since_ms != 0 && now_ms > since_ms ? now_ms - since_ms : 0;
}

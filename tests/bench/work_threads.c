/* SPDX-License-Identifier: MIT */
#include "tests/bench/work_malloc.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* 2: what the machine has at least. More would measure the scheduler. */
#define N_THREADS 2

static inline void *kept(void *block)
{
    __asm__ volatile("" : : "r"(block) : "memory");
    return block;
}

/* One argument for each of n threads, which are waited for. */
static void run_threads(uint32_t n, void *(*run)(void *), void *arguments, size_t each_bytes)
{
    pthread_t threads[2 * N_THREADS];
    for (uint32_t i = 0; i < n; i++) {
        if (pthread_create(&threads[i], NULL, run, (unsigned char *)arguments + i * each_bytes) !=
            0) {
            abort();
        }
    }
    for (uint32_t i = 0; i < n; i++) {
        (void)pthread_join(threads[i], NULL);
    }
}

/* --------------------------------------------------------------------------------- xmalloc ---- */

/* Batches of blocks wait in a queue of a few, which producers fill and consumers empty. */
#define BATCH_MAX 120
#define QUEUE_MAX 64

struct batch {
    void *blocks[BATCH_MAX];
};

struct queue {
    pthread_mutex_t lock;
    pthread_cond_t has_changed;
    struct batch *batches[QUEUE_MAX];
    uint32_t n_batches;
};

struct passing {
    struct queue *queue;
    uint64_t n_batches;
    bool produces;
};

static void queue_put(struct queue *queue, struct batch *batch)
{
    (void)pthread_mutex_lock(&queue->lock);
    while (queue->n_batches == QUEUE_MAX) {
        (void)pthread_cond_wait(&queue->has_changed, &queue->lock);
    }
    queue->batches[queue->n_batches++] = batch;
    (void)pthread_cond_broadcast(&queue->has_changed);
    (void)pthread_mutex_unlock(&queue->lock);
}

static struct batch *queue_take(struct queue *queue)
{
    (void)pthread_mutex_lock(&queue->lock);
    while (queue->n_batches == 0) {
        (void)pthread_cond_wait(&queue->has_changed, &queue->lock);
    }
    struct batch *batch = queue->batches[--queue->n_batches];
    (void)pthread_cond_broadcast(&queue->has_changed);
    (void)pthread_mutex_unlock(&queue->lock);
    return batch;
}

static void produce(struct queue *queue, uint64_t *state)
{
    struct batch *batch = kept(malloc(sizeof(*batch)));
    for (uint32_t i = 0; i < BATCH_MAX; i++) {
        const size_t num_bytes = 64 + (work_random(state) >> 32) % 192;
        batch->blocks[i] = kept(malloc(num_bytes));
        memset(batch->blocks[i], 1, 16);
    }
    queue_put(queue, batch);
}

static void consume(struct queue *queue)
{
    struct batch *batch = queue_take(queue);
    for (uint32_t i = 0; i < BATCH_MAX; i++) {
        free(batch->blocks[i]);
    }
    free(batch);
}

static void *pass(void *of_thread)
{
    struct passing *passing = of_thread;
    uint64_t state = (uintptr_t)passing | 1;
    for (uint64_t i = 0; i < passing->n_batches; i++) {
        if (passing->produces) {
            produce(passing->queue, &state);
        } else {
            consume(passing->queue);
        }
    }
    return NULL;
}

uint64_t work_xmalloc(uint64_t n)
{
    struct queue queue = {.lock = PTHREAD_MUTEX_INITIALIZER,
                          .has_changed = PTHREAD_COND_INITIALIZER};
    struct passing passings[2 * N_THREADS];
    for (uint32_t i = 0; i < 2 * N_THREADS; i++) {
        passings[i] = (struct passing){&queue, n / BATCH_MAX / N_THREADS, i % 2 == 0};
    }
    run_threads(2 * N_THREADS, pass, passings, sizeof(passings[0]));
    return n;
}

/* --------------------------------------------------------------------------------- scratch ---- */

struct scratch {
    unsigned char *first; /* made by the first thread, side by side */
    uint64_t n;
};

static void *scratch(void *of_thread)
{
    struct scratch *mine = of_thread;
    free(mine->first);
    for (uint64_t i = 0; i < mine->n; i++) {
        volatile unsigned char *block = kept(malloc(8));
        for (uint32_t k = 0; k < 512; k++) {
            block[k % 8] = (unsigned char)k;
        }
        free(kept((void *)(uintptr_t)block));
    }
    return NULL;
}

uint64_t work_scratch(uint64_t n)
{
    struct scratch scratches[N_THREADS];
    for (uint32_t i = 0; i < N_THREADS; i++) {
        scratches[i] = (struct scratch){kept(malloc(8)), n / N_THREADS};
    }
    run_threads(N_THREADS, scratch, scratches, sizeof(scratches[0]));
    return n;
}

/* --------------------------------------------------------------------------------- mstress ---- */

#define N_PASSED 1024

struct stress {
    _Atomic(unsigned char *) *passed; /* N_PASSED that any thread takes and puts */
    uint64_t n;
    uint64_t state;
};

/* Mostly some ten bytes to some hundred, seldom thousands. */
static unsigned char *stress_new(uint64_t *state)
{
    const uint64_t random = work_random(state) >> 20;
    const size_t num_bytes = (1 + random % 8) * 8 * (random / 8 % 100 == 0 ? 100 : 1);
    unsigned char *block = kept(malloc(num_bytes));
    memset(block, 1, num_bytes);
    return block;
}

/* NOLINTNEXTLINE(readability-non-const-parameter): another thread frees it */
static void stress_pass(struct stress *mine, unsigned char *block)
{
    _Atomic(unsigned char *) *at = &mine->passed[work_random(&mine->state) >> 32 & (N_PASSED - 1)];
    free(atomic_exchange_explicit(at, block, memory_order_acq_rel));
}

static void *stress(void *of_thread)
{
    struct stress *mine = of_thread;
    const uint64_t n_kept = mine->n / 5;
    unsigned char **blocks = calloc(n_kept, sizeof(*blocks));
    uint64_t n_blocks = 0;
    for (uint64_t i = 0; i < mine->n; i++) {
        const uint64_t random = work_random(&mine->state) >> 32;
        if (random % 2 == 0 && n_blocks < n_kept) {
            blocks[n_blocks++] = stress_new(&mine->state);
        } else if (random % 8 < 5 && n_blocks > 0) {
            const uint64_t at = random / 8 % n_blocks;
            free(blocks[at]);
            blocks[at] = blocks[--n_blocks];
        } else if (n_blocks > 0) {
            stress_pass(mine, blocks[--n_blocks]);
        }
    }
    while (n_blocks > 0) {
        free(blocks[--n_blocks]);
    }
    free(blocks);
    return NULL;
}

uint64_t work_mstress(uint64_t n)
{
    static _Atomic(unsigned char *) passed[N_PASSED];
    struct stress stresses[N_THREADS];
    for (uint32_t phase = 0; phase < 8; phase++) {
        for (uint32_t i = 0; i < N_THREADS; i++) {
            stresses[i] = (struct stress){passed, n / N_THREADS / 8, phase * 64 + i + 1};
        }
        run_threads(N_THREADS, stress, stresses, sizeof(stresses[0]));
    }
    for (uint32_t i = 0; i < N_PASSED; i++) {
        free(atomic_exchange_explicit(&passed[i], NULL, memory_order_acq_rel));
    }
    return n;
}

/* -------------------------------------------------------------------------------- handover ---- */

#define N_SERVED 1000

/* The slots of one server, which its threads have one after the other. */
struct server {
    unsigned char *slots[N_SERVED];
    uint64_t n;
    uint64_t state;
};

static void *serve(void *of_thread)
{
    struct server *server = of_thread;
    for (uint64_t i = 0; i < server->n; i++) {
        const uint64_t random = work_random(&server->state) >> 32;
        unsigned char **slot = &server->slots[random % N_SERVED];
        const size_t num_bytes = 8 + random / N_SERVED % 1000;
        free(*slot);
        *slot = kept(malloc(num_bytes));
        (*slot)[0] = 1;
        (*slot)[num_bytes - 1] = 1;
    }
    return NULL;
}

uint64_t work_handover(uint64_t n)
{
    const uint32_t n_rounds = 40;
    struct server *servers = calloc(N_THREADS, sizeof(*servers));
    for (uint32_t round = 0; round < n_rounds; round++) {
        for (uint32_t i = 0; i < N_THREADS; i++) {
            servers[i].n = n / N_THREADS / n_rounds;
            servers[i].state = round * 64 + i + 1;
        }
        run_threads(N_THREADS, serve, servers, sizeof(servers[0]));
    }
    for (uint32_t i = 0; i < N_THREADS * N_SERVED; i++) {
        free(servers[i / N_SERVED].slots[i % N_SERVED]);
    }
    free(servers);
    return n;
}

/* SPDX-License-Identifier: MIT */
/*
 * bench_pair - what an allocation and a release cost, beside malloc's
 *
 * bench_pair [LIBRARY...]: each LIBRARY is an allocator's shared object. Every allocator has a
 * process of its own, into which its library is preloaded; the processes run the same loops in turns,
 * one at a time, so that what disturbs the machine disturbs all. The figure is the median of the
 * rounds, in ns. The leases come from a lender in the process: what is measured is the library's fast
 * way, not the daemon.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "client/heap.h"
#include "tests/unit/fake_lender.h"

#define ALLOCATORS_MAX 8
#define ROUNDS 41
#define N_SLOTS 1000

struct allocator {
    void *(*allocate)(size_t num_bytes);
    void (*release)(void *block);
};

static struct tenant *tenant;

static __attribute__((noinline)) void *kmem_take_slow(size_t num_bytes, const char *reason)
{
    /* The first blocks are to be direct ones; here is no daemon to carve them. */
    for (int i = 0; i < 100; i++) {
        void *block = kmem__heap_allocate(tenant, num_bytes, reason);
        if (block != NULL) {
            return block;
        }
    }
    abort();
}

/* As kmem_allocate() and kmem_release() are: the fast way inline, the rest out of line. */
static __attribute__((noinline)) void *bench_allocate(int num_bytes, const char *reason)
{
    return kmem__heap_take((size_t)num_bytes, reason, kmem_take_slow);
}

static __attribute__((noinline)) void bench_release_slow(void **mem)
{
    struct found found;
    const struct seg_off offset = {(uint64_t)((unsigned char *)*mem - tenant->base)};
    if (kmem__heap_release(tenant, offset, &found) != HEAP_OK) {
        abort();
    }
    *mem = NULL;
}

static __attribute__((noinline)) void bench_release(void **mem)
{
    if (KMEM_LIKELY(kmem__heap_give(*mem))) {
        *mem = NULL;
        return;
    }
    bench_release_slow(mem);
}

static void *kmem_take(size_t num_bytes)
{
    return bench_allocate((int)num_bytes, "bench/scratch buffer");
}

static __attribute__((always_inline)) inline void kmem_give(void *block)
{
    bench_release(&block);
}

static __attribute__((noinline)) void *libc_take(size_t num_bytes)
{
    return calloc(1, num_bytes);
}

static const struct allocator with_kmem = {kmem_take, kmem_give};
static const struct allocator with_libc = {libc_take, free};

static double now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static double run_pairs(const struct allocator *with, size_t num_bytes, int n)
{
    const double begin = now_ns();
    for (int i = 0; i < n; i++) {
        void *block = with->allocate(num_bytes);
        __asm__ volatile("" : : "r"(block) : "memory");
        with->release(block);
    }
    return (now_ns() - begin) / n;
}

#define N_STEPS 50000
static uint32_t step_bytes[N_STEPS];
static uint16_t step_slot[N_STEPS];
static void *slots[N_SLOTS];

static uint32_t next_random(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(*state >> 33);
}

static void plan_churn(void)
{
    uint64_t state = 42;
    for (int i = 0; i < N_STEPS; i++) {
        const uint32_t of_100 = next_random(&state) % 100;
        const uint32_t low = of_100 < 80 ? 16 : of_100 < 95 ? 512 : 8192;
        const uint32_t high = of_100 < 80 ? 512 : of_100 < 95 ? 8192 : 65536;
        step_bytes[i] = low + next_random(&state) % (high - low + 1);
        step_slot[i] = (uint16_t)(next_random(&state) % N_SLOTS);
    }
}

static double run_churn(const struct allocator *with, void **slot)
{
    const double begin = now_ns();
    for (int i = 0; i < N_STEPS; i++) {
        void **at = &slot[step_slot[i]];
        if (*at != NULL) {
            with->release(*at);
        }
        *at = with->allocate(step_bytes[i]);
        *(volatile char *)*at = 1;
    }
    return (now_ns() - begin) / N_STEPS;
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a;
    const double y = *(const double *)b;
    return (x > y) - (x < y);
}

static const char *names[ALLOCATORS_MAX];
static int n_allocators;
static double figures[ALLOCATORS_MAX][ROUNDS];

static bool use_minima; /* $BENCH_MINIMA: on a machine that is busy otherwise */

static void print_row(const char *what)
{
    double fastest = 1e18;
    double medians[ALLOCATORS_MAX];
    for (int i = 0; i < n_allocators; i++) {
        qsort(figures[i], ROUNDS, sizeof(double), compare);
        medians[i] = figures[i][use_minima ? 0 : ROUNDS / 2];
        if (i > 0 && medians[i] < fastest) {
            fastest = medians[i];
        }
    }
    printf("%-12s", what);
    for (int i = 0; i < n_allocators; i++) {
        printf(" %12.1f", medians[i] < 1e9 ? medians[i] : 0);
    }
    printf(" %8.2f\n", medians[0] / fastest);
    fflush(stdout);
}

static unsigned char *memset_buffer;

static void *memset_take(size_t num_bytes)
{
    memset(memset_buffer, 0, num_bytes);
    __asm__ volatile("" : : : "memory");
    return memset_buffer;
}

static void memset_give(void *block)
{
    (void)block;
}

static const struct allocator with_memset = {memset_take, memset_give};

/* ------------------------------------------------------------------------- one allocator's ---- */

struct job {
    uint64_t num_bytes; /* of pairs; 0: churn */
    uint32_t n_threads;
    uint32_t n;
};

struct thread_job {
    const struct allocator *with;
    struct job job;
    double ns;
};

static void *run_thread(void *of_thread)
{
    struct thread_job *it = of_thread;
    it->ns = run_pairs(it->with, it->job.num_bytes, (int)it->job.n);
    return NULL;
}

static double run_threads(const struct allocator *with, const struct job *job)
{
    pthread_t threads[8];
    struct thread_job jobs[8];
    double ns = 0;
    for (uint32_t i = 0; i < job->n_threads; i++) {
        jobs[i] = (struct thread_job){with, *job, 0};
        pthread_create(&threads[i], NULL, run_thread, &jobs[i]);
    }
    for (uint32_t i = 0; i < job->n_threads; i++) {
        pthread_join(threads[i], NULL);
        ns += jobs[i].ns / job->n_threads;
    }
    return ns / job->n_threads; /* per pair of any thread */
}

static double run_job(const struct allocator *with, const struct job *job)
{
    if (job->num_bytes == 0) {
        return run_churn(with, slots);
    }
    return job->n_threads > 1 ? run_threads(with, job)
                              : run_pairs(with, job->num_bytes, (int)job->n);
}

static int serve(const char *name, int fd)
{
    const struct allocator *with = &with_libc;
    struct job job;
    if (strcmp(name, "kmem") == 0) {
        struct fake_lender *lender = fake_lender_new(16384);
        tenant = lender->tenant;
        with = &with_kmem;
    } else if (strcmp(name, "memset") == 0) {
        memset_buffer = aligned_alloc(2 << 20, 8 << 20);
        memset(memset_buffer, 1, 8 << 20);
        with = &with_memset;
    }
    plan_churn();
    while (read(fd, &job, sizeof(job)) == (ssize_t)sizeof(job)) {
        double ns = run_job(with, &job);
        if (write(fd, &ns, sizeof(ns)) != (ssize_t)sizeof(ns)) {
            return 1;
        }
    }
    return 0;
}

/* --------------------------------------------------------------------------------- in turns ---- */

static int fds[ALLOCATORS_MAX];

static void start(const char *program, const char *name, const char *preload)
{
    int pair[2];
    char number[16];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
        exit(1);
    }
    if (fork() == 0) {
        fcntl(pair[1], F_SETFD, 0); /* survives the exec; nobody else's does */
        snprintf(number, sizeof(number), "%d", pair[1]);
        if (preload != NULL) {
            setenv("LD_PRELOAD", preload, 1);
        }
        execl(program, program, "--serve", name, number, (char *)NULL);
        _exit(127);
    }
    close(pair[1]);
    names[n_allocators] = name;
    fds[n_allocators++] = pair[0];
}

static double ask(int i, const struct job *job)
{
    double ns = 0;
    if (write(fds[i], job, sizeof(*job)) != (ssize_t)sizeof(*job) ||
        read(fds[i], &ns, sizeof(ns)) != (ssize_t)sizeof(ns)) {
        fprintf(stderr, "%s ended\n", names[i]);
        exit(1);
    }
    return ns;
}

static void compete(const char *what, struct job job)
{
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < n_allocators; i++) {
            const bool is_memset = strcmp(names[i], "memset") == 0;
            const bool takes_part = !is_memset || job.num_bytes >= 1 << 20;
            figures[i][round] = takes_part ? ask(i, &job) : 1e9;
        }
    }
    print_row(what);
}

int main(int argc, char **argv)
{
    char text[32];
    if (argc == 4 && strcmp(argv[1], "--serve") == 0) {
        return serve(argv[2], atoi(argv[3]));
    }
    start(argv[0], "kmem", NULL);
    start(argv[0], "memset", NULL);
    start(argv[0], "glibc", NULL);
    for (int i = 1; i < argc && n_allocators < ALLOCATORS_MAX; i++) {
        const char *slash = strrchr(argv[i], '/');
        start(argv[0], slash ? slash + 1 : argv[i], argv[i]);
    }
    use_minima = getenv("BENCH_MINIMA") != NULL;
    const uint64_t most = getenv("BENCH_MOST") ? strtoull(getenv("BENCH_MOST"), NULL, 0) : 8 << 20;
    printf("%-12s", "bytes");
    for (int i = 0; i < n_allocators; i++) {
        printf(" %12.12s", names[i]);
    }
    printf(" %8s\n", "ratio");
    compete("churn", (struct job){0, 1, 0});
    for (uint64_t num_bytes = 16; num_bytes <= most; num_bytes *= 2) {
        const uint32_t n = num_bytes <= 1024
                               ? 20000
                               : (uint32_t)(50000000 / (num_bytes + 20000) / 10 + 10);
        snprintf(text, sizeof(text), "%llu", (unsigned long long)num_bytes);
        compete(text, (struct job){num_bytes, 1, n});
    }
    compete("64, 1 thread", (struct job){64, 1, 200000});
    compete("64, 2 threads", (struct job){64, 2, 200000});
    for (int i = 0; i < n_allocators; i++) {
        close(fds[i]);
        wait(NULL);
    }
    return 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * subject.c - the program whose instructions or system calls are counted: subject OPERATION
 *
 * It stops itself three times: before it does the operation a few times, before it does it many
 * times, and behind that. What the many take more than the few is the operations' own.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <kmem/kmem.h>
#include <kmem/query.h>
#include <kmem/share.h>

#define N_FEW 1
#define N_MANY 21
/* Far more than are handed over at once. */
#define N_ELSEWHERE 64
#define N_OTHERS 10
#define N_LEASED 24

/*
 * The library's clock stands still: step by step a call takes as long as the machine is busy, and
 * one that has had a part of its time goes another way.
 */
/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): libc's are reserved */
__attribute__((visibility("default"))) int clock_gettime(clockid_t clock, struct timespec *ret_now)
{
    (void)clock;
    *ret_now = (struct timespec){.tv_sec = 1000};
    return 0;
}

struct operation {
    const char *name;
    void (*prepare)(void);
    void (*run)(unsigned n);
    unsigned n_few;
    unsigned n_many;
};

static void pair(unsigned n, int num_bytes)
{
    while (n-- > 0) {
        void *block = kmem_allocate(num_bytes, "pair");
        kmem_release(&block);
    }
}

static void pair_16(unsigned n)
{
    pair(n, 16);
}

static void pair_64(unsigned n)
{
    pair(n, 64);
}

static void pair_256(unsigned n)
{
    pair(n, 256);
}

static void pair_1024(unsigned n)
{
    pair(n, 1024);
}

static void pair_two_reasons(unsigned n)
{
    static const char *const reasons[] = {"one", "another"};
    while (n-- > 0) {
        void *block = kmem_allocate(64, reasons[n % 2]);
        kmem_release(&block);
    }
}

/* Each size is leased before the last of its blocks is taken, and each reason is known. */
static void warm(void)
{
    static const int sizes[] = {16, 64, 256, 1024};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        void *blocks[64];
        for (size_t at = 0; at < 64; at++) {
            blocks[at] = kmem_allocate(sizes[i], "warm");
        }
        for (size_t at = 0; at < 64; at++) {
            kmem_release(&blocks[at]);
        }
        pair(100, sizes[i]);
    }
    pair_two_reasons(100);
}

static void *held;

static void hold(void)
{
    warm();
    held = kmem_allocate(64, "held");
}

static void size_of(unsigned n)
{
    while (n-- > 0) {
        (void)kmem_sizeof_allocation(held);
    }
}

static void *elsewhere[2 * N_ELSEWHERE];
static size_t n_released;

static void *allocate_elsewhere(void *unused)
{
    for (size_t i = 0; i < (size_t)2 * N_ELSEWHERE; i++) {
        elsewhere[i] = kmem_allocate(64, "elsewhere");
    }
    return unused;
}

/* The thread whose blocks they are lives on, and does nothing meanwhile. */
static pthread_t allocator;
static pthread_barrier_t allocated;

static void *allocate_and_stay(void *unused)
{
    (void)allocate_elsewhere(unused);
    (void)pthread_barrier_wait(&allocated);
    (void)pthread_barrier_wait(&allocated); /* for ever */
    return unused;
}

static void start_allocator(void)
{
    warm();
    (void)pthread_barrier_init(&allocated, NULL, 2);
    (void)pthread_create(&allocator, NULL, allocate_and_stay, NULL);
    (void)pthread_barrier_wait(&allocated);
}

static void release_elsewhere(unsigned n)
{
    while (n-- > 0) {
        kmem_release(&elsewhere[n_released++]);
    }
}

/* Not the compiler's to leave out. */
static void *(*volatile call_malloc)(size_t) = malloc;
static void *(*volatile call_calloc)(size_t, size_t) = calloc;
static void *(*volatile call_realloc)(void *, size_t) = realloc;
static void (*volatile call_free)(void *) = free;

static void malloc_pair(unsigned n)
{
    while (n-- > 0) {
        call_free(call_malloc(64));
    }
}

static void calloc_pair(unsigned n)
{
    while (n-- > 0) {
        call_free(call_calloc(1, 64));
    }
}

static void warm_malloc(void)
{
    void *blocks[64];
    for (size_t at = 0; at < 64; at++) {
        blocks[at] = call_malloc(64);
    }
    for (size_t at = 0; at < 64; at++) {
        call_free(blocks[at]);
    }
    malloc_pair(100);
    calloc_pair(100);
}

static void *malloc_elsewhere(void *unused)
{
    for (size_t i = 0; i < sizeof(elsewhere) / sizeof(elsewhere[0]); i++) {
        elsewhere[i] = call_malloc(64);
    }
    (void)pthread_barrier_wait(&allocated);
    (void)pthread_barrier_wait(&allocated); /* for ever */
    return unused;
}

static void free_elsewhere(unsigned n)
{
    while (n-- > 0) {
        call_free(elsewhere[n_released++]);
    }
}

/* This thread only releases. It has a heap for what it has released from the 17th block on. */
static void start_mallocator(void)
{
    (void)pthread_barrier_init(&allocated, NULL, 2);
    (void)pthread_create(&allocator, NULL, malloc_elsewhere, NULL);
    (void)pthread_barrier_wait(&allocated);
    free_elsewhere(32);
}

static void *grown;

static void warm_realloc(void)
{
    grown = call_malloc(100);
}

static void realloc_in_place(unsigned n)
{
    while (n-- > 0) {
        grown = call_realloc(grown, 100 + n % 2);
    }
}

/* The child has its parent's blocks, and ends. */
static void malloc_fork(unsigned n)
{
    while (n-- > 0) {
        const pid_t pid = fork();
        if (pid == 0) {
            _exit(0);
        }
        (void)waitpid(pid, NULL, 0);
    }
}

static void join(unsigned n)
{
    if (n > 0) {
        (void)kmem_allocate(64, "join");
    }
}

/* Other processes, which join and end when they are told. */
static pid_t others[N_OTHERS];
static unsigned n_joined;
static unsigned n_left;

static void be_another(int ready_fd)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)kmem_allocate(64, "other");
    (void)write(ready_fd, "", 1);
    for (;;) {
        (void)pause();
    }
}

static void others_join(unsigned n)
{
    while (n-- > 0) {
        int ready[2];
        char byte;
        if (pipe(ready) != 0) {
            abort();
        }
        others[n_joined] = fork();
        if (others[n_joined++] == 0) {
            be_another(ready[1]);
        }
        (void)close(ready[1]);
        (void)read(ready[0], &byte, 1);
        (void)close(ready[0]);
    }
}

static void all_join(void)
{
    others_join(N_OTHERS);
}

static void others_leave(unsigned n)
{
    while (n-- > 0) {
        (void)kill(others[n_left], SIGKILL);
        (void)waitpid(others[n_left++], NULL, 0);
    }
}

/* A small one that is to be shared is the server's to carve, always. */
static void direct_pair(unsigned n)
{
    while (n-- > 0) {
        void *block = kmem_try_allocate_with(100, KMEM_SHAREABLE, "direct");
        if (kmem_try_release(&block) != 0) {
            abort();
        }
    }
}

static void join_directly(void)
{
    direct_pair(1);
}

/* The next one that is in another class. */
static int size_above(int num_bytes)
{
    return num_bytes + (num_bytes < 128 ? 16 : num_bytes / 4);
}

/* As a program begins: sixteen blocks of each of forty sizes, from 16 bytes to 129 KiB. */
static void cold_sizes(unsigned n)
{
    int num_bytes = 16;
    for (; n > 0; n--, num_bytes = size_above(num_bytes)) {
        for (unsigned i = 0; i < 16; i++) {
            (void)kmem_allocate(num_bytes, "cold");
        }
    }
}

/* 8 MiB of small blocks and large ones come back, and with them the pages of most. */
static void *leased[N_LEASED];
static unsigned n_leased;

static void lease_many(void)
{
    for (; n_leased < N_LEASED; n_leased++) {
        leased[n_leased] = kmem_allocate(512 * 1024, "leased");
    }
}

static void lease_release(unsigned n)
{
    while (n-- > 0) {
        kmem_release(&leased[--n_leased]);
    }
}

/* Of 32 pages; which loop would clear it is the processor's choice. */
static void *allocate_pages(void)
{
    return kmem_try_allocate_with((size_t)128 * 1024, KMEM_UNINITIALIZED, "pages");
}

static void pair_behind_255(unsigned n)
{
    while (n-- > 0) {
        void *block = allocate_pages();
        kmem_release(&block);
    }
}

/* A quarter of the segment is in use, and there is a lease for more. */
static void use_pages(void)
{
    for (unsigned i = 0; i < 255; i++) {
        (void)allocate_pages();
    }
    pair_behind_255(1);
}

static void block_256(unsigned n)
{
    while (n-- > 0) {
        (void)allocate_pages();
    }
}

/* 64 blocks of each size, none of which was asked for before. */
static void first_lease(unsigned n)
{
    static int num_bytes = 16;
    for (; n > 0; n--, num_bytes = size_above(num_bytes)) {
        for (unsigned i = 0; i < 64; i++) {
            (void)kmem_allocate(num_bytes, "first");
        }
    }
}

static void *allocate_one(void *unused)
{
    pair_64(1);
    return unused;
}

static void thread(unsigned n)
{
    for (; n > 0; n--) {
        pthread_t one;
        (void)pthread_create(&one, NULL, allocate_one, NULL);
        (void)pthread_join(one, NULL);
    }
}

static struct kmem_query *query;

static int ignore(const struct kmem_daemon *daemon, const struct kmem_statistic *statistic,
                  void *user)
{
    (void)daemon;
    (void)statistic;
    (void)user;
    return 0;
}

static void open_query(void)
{
    if (kmem_query_open(NULL, &query) != 0) {
        abort();
    }
}

static void question(unsigned n)
{
    while (n-- > 0) {
        if (kmem_query_usage(query, ignore, NULL) != 0) {
            abort();
        }
    }
}

static int ignore_block(const struct kmem_block *block, void *user)
{
    (void)block;
    (void)user;
    return 0;
}

static void hold_rows(void)
{
    for (unsigned i = 0; i < 2000; i++) {
        (void)kmem_allocate(64, "row");
    }
    open_query();
}

static void list_blocks(unsigned n)
{
    while (n-- > 0) {
        if (kmem_query_blocks(query, ignore_block, NULL) != 0) {
            abort();
        }
    }
}

static void nothing(void)
{
}

static const struct operation operations[] = {
    {"pair_16", warm, pair_16, N_FEW, N_MANY},
    {"pair_64", warm, pair_64, N_FEW, N_MANY},
    {"pair_256", warm, pair_256, N_FEW, N_MANY},
    {"pair_1024", warm, pair_1024, N_FEW, N_MANY},
    {"pair_two_reasons", warm, pair_two_reasons, N_FEW, N_MANY},
    {"size_of", hold, size_of, N_FEW, N_MANY},
    {"release_elsewhere", start_allocator, release_elsewhere, N_FEW, N_FEW + N_ELSEWHERE},
    {"malloc_pair", warm_malloc, malloc_pair, N_FEW, N_MANY},
    {"calloc_pair", warm_malloc, calloc_pair, N_FEW, N_MANY},
    {"malloc_elsewhere", start_mallocator, free_elsewhere, N_FEW, N_FEW + N_ELSEWHERE},
    {"join", nothing, join, 1, 0},
    {"first_lease", warm, first_lease, 1, 5},
    {"thread", warm, thread, N_FEW, 11},
    {"question", open_query, question, N_FEW, N_MANY},
    {"realloc_in_place", warm_realloc, realloc_in_place, N_FEW, 6},
    {"malloc_fork", warm_malloc, malloc_fork, N_FEW, 6},
    {"others_join", join_directly, others_join, 1, N_OTHERS - 1},
    {"others_leave", all_join, others_leave, 1, N_OTHERS - 1},
    {"direct_pair", join_directly, direct_pair, N_FEW, 2},
    {"cold_sizes", join_directly, cold_sizes, 0, 40},
    {"lease_release", lease_many, lease_release, 8, N_LEASED - 8},
    {"pair_behind_255", use_pages, pair_behind_255, N_FEW, 6},
    {"block_256", use_pages, block_256, N_FEW, 6},
    {"list_blocks", hold_rows, list_blocks, N_FEW, 5},
};

int main(int argc, char **argv)
{
    for (size_t i = 0; argc == 2 && i < sizeof(operations) / sizeof(operations[0]); i++) {
        const struct operation *operation = &operations[i];
        if (strcmp(operation->name, argv[1]) == 0) {
            (void)printf("%d\n", (int)operation->n_many - (int)operation->n_few);
            (void)fflush(stdout);
            operation->prepare();
            (void)raise(SIGSTOP);
            operation->run(operation->n_few);
            (void)raise(SIGSTOP);
            operation->run(operation->n_many);
            (void)raise(SIGSTOP);
            _Exit(0);
        }
    }
    (void)fprintf(stderr, "usage: subject OPERATION\n");
    return 2;
}

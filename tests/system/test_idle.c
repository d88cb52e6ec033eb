/* SPDX-License-Identifier: MIT */
/*
 * test_idle.c - what has no live block in it can be had by another process
 *
 * The owners release all that they had, by its thread or by another, and do nothing more: they
 * wait, are stopped, or are killed meanwhile. Then another process wants 95 % in one piece, and
 * gives it back, and the owners begin anew: five times. Without the barrier that taking idle slabs
 * rests upon none of the scenes gives it, which is tested as well.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <kmem/kmem.h>

#include "proto/ledger.h"
#include "proto/lease.h"
#include "tests/system/client.h"
#include "tests/system/daemon.h"
#include "tests/system/harness.h"
#include "tests/system/usage.h"
#include "tests/wire/wire.h"

#define SEGMENT_BYTES (64 << 20)
#define SEGMENT_PAGES (SEGMENT_BYTES / PAGE_BYTES)
#define MOST_BYTES ((size_t)SEGMENT_BYTES / 100 * 95)
#define N_BLOCKS 2000
#define MOST_RELEASED_BYTES 20000 /* 20 MiB of blocks, in slabs of all classes */
#define N_THREADS 64
#define BLOCKS_OF_ENDED 100 /* 20 threads: more than 8, of which a process keeps the heaps */
#define N_SIZES 10
#define N_ROUNDS 5

static void *pick_up(size_t num_bytes)
{
    void *block = kmem_try_allocate(num_bytes, "idle");
    if (block == NULL) {
        fail("%zu bytes: %s", num_bytes, kmem_last_error());
    }
    return block;
}

/* ---------------------------------------------------------------------------------- owners ---- */

static void *release_all(void *of_blocks)
{
    void **blocks = of_blocks;
    for (size_t i = 0; i < N_BLOCKS; i++) {
        expect_equal(kmem_try_release(&blocks[i]), 0);
    }
    return NULL;
}

/* Says when all is released; told to, allocates again and wants to be served. */
static void be_idle(void)
{
    client_pause();
    void *block = pick_up(100);
    expect_equal(*(unsigned char *)block, 0);
    expect_equal(kmem_try_release(&block), 0);
}

/* Scene (a): another thread releases what this one has, and ends. */
static void be_released_by_another_thread(const void *argument)
{
    static void *blocks[N_BLOCKS];
    pthread_t thread;
    (void)argument;
    for (int round = 0; round < N_ROUNDS; round++) {
        for (size_t i = 0; i < N_BLOCKS; i++) {
            blocks[i] = pick_up(1 + i * 37 % MOST_RELEASED_BYTES);
        }
        expect_equal(pthread_create(&thread, NULL, release_all, blocks), 0);
        expect_equal(pthread_join(thread, NULL), 0);
        be_idle();
    }
}

static pthread_barrier_t barrier;

static void *of_many_threads(void *unused)
{
    (void)unused;
    for (int round = 0; round < N_ROUNDS; round++) {
        for (size_t i = 0; i < (size_t)20 * N_SIZES; i++) {
            void *block = pick_up((size_t)64 << i % 8);
            expect_equal(kmem_try_release(&block), 0);
        }
        (void)pthread_barrier_wait(&barrier);
        (void)pthread_barrier_wait(&barrier);
    }
    return NULL;
}

/* Scene (b): many threads have released everything and sleep. */
static void have_many_idle_threads(const void *argument)
{
    pthread_t threads[N_THREADS];
    (void)argument;
    expect_equal(pthread_barrier_init(&barrier, NULL, N_THREADS + 1), 0);
    for (size_t i = 0; i < N_THREADS; i++) {
        expect_equal(pthread_create(&threads[i], NULL, of_many_threads, NULL), 0);
    }
    for (int round = 0; round < N_ROUNDS; round++) {
        (void)pthread_barrier_wait(&barrier);
        be_idle();
        (void)pthread_barrier_wait(&barrier);
    }
    for (size_t i = 0; i < N_THREADS; i++) {
        expect_equal(pthread_join(threads[i], NULL), 0);
    }
}

/* Scene (c): one process after mixed sizes. */
static void have_had_mixed_sizes(const void *argument)
{
    static void *blocks[N_BLOCKS];
    (void)argument;
    for (int round = 0; round < N_ROUNDS; round++) {
        for (size_t i = 0; i < N_BLOCKS; i++) {
            blocks[i] = pick_up((size_t)16 << i % 11);
        }
        (void)release_all(blocks);
        be_idle();
    }
}

static void *allocate_and_end(void *of_blocks)
{
    void **blocks = of_blocks;
    for (size_t i = 0; i < BLOCKS_OF_ENDED; i++) {
        blocks[i] = pick_up(1 + i * 37 % MOST_RELEASED_BYTES);
    }
    return NULL;
}

/* Scene (d): threads have ended and left blocks, which are released; no new thread comes to take
   their heaps over, of which there are more than a releasing thread looks after. */
static void have_many_ended_threads(const void *argument)
{
    static void *blocks[N_BLOCKS];
    pthread_t threads[N_BLOCKS / BLOCKS_OF_ENDED];
    (void)argument;
    for (int round = 0; round < N_ROUNDS; round++) {
        for (size_t i = 0; i < N_BLOCKS / BLOCKS_OF_ENDED; i++) {
            expect_equal(
                pthread_create(&threads[i], NULL, allocate_and_end, &blocks[i * BLOCKS_OF_ENDED]),
                0);
        }
        for (size_t i = 0; i < N_BLOCKS / BLOCKS_OF_ENDED; i++) {
            expect_equal(pthread_join(threads[i], NULL), 0);
        }
        (void)release_all(blocks);
        be_idle();
    }
}

/* --------------------------------------------------------------------------------- scenes ---- */

enum { AWAKE, STOPPED, KILLED, N_WAYS };

static void take_most(const void *argument)
{
    (void)argument;
    unsigned char *block = kmem_try_allocate(MOST_BYTES, "most");
    if (block == NULL) {
        fail("95 %%: %s", kmem_last_error());
    }
    block[MOST_BYTES - 1] = 1;
    client_pause();
    expect_equal(kmem_try_release((void **)&block), 0);
}

static void owners_get_idle(struct client *owners, size_t n_owners, int way)
{
    for (size_t i = 0; i < n_owners; i++) {
        expect_equal(client_hear(&owners[i]), 1);
        if (way == STOPPED) {
            client_stop(&owners[i]);
        }
    }
    for (size_t i = 0; i < n_owners && way == KILLED; i++) {
        expect_call(kill(owners[i].pid, SIGKILL) == 0);
    }
}

static void owners_go_on(struct client *owners, size_t n_owners, int way)
{
    for (size_t i = 0; i < n_owners; i++) {
        if (way == STOPPED) {
            client_continue(&owners[i]);
        }
        client_tell(&owners[i], 1);
    }
}

/* Another process takes nearly all of it, and gives it back while the owners are as they were. */
static void play_round(struct client *owners, size_t n_owners, int way)
{
    owners_get_idle(owners, n_owners, way);
    struct client taker = client_start(take_most, NULL);
    expect_equal(client_hear(&taker), 1);
    expect_soon(usage_take().blocks == 1, 2000);
    expect_ledger_sound();
    client_finish(&taker);
}

static void play(void (*owner_runs)(const void *argument), size_t n_owners, int way)
{
    struct client owners[4];
    daemon_start("--size", "64MiB", NULL);
    for (size_t i = 0; i < n_owners; i++) {
        owners[i] = client_start(owner_runs, NULL);
    }
    for (int round = 0; round < (way == KILLED ? 1 : N_ROUNDS); round++) {
        play_round(owners, n_owners, way);
        if (way != KILLED) {
            owners_go_on(owners, n_owners, way);
        }
    }
    for (size_t i = 0; i < n_owners; i++) {
        if (way == KILLED) {
            client_end_by(&owners[i], SIGKILL);
        } else {
            client_end(&owners[i]);
        }
    }
    daemon_stop_balanced();
}

static void test_blocks_that_another_thread_released_are_had(void)
{
    for (int way = AWAKE; way < N_WAYS; way++) {
        play(be_released_by_another_thread, 1, way);
    }
}

static void test_what_many_idle_threads_keep_ready_is_had(void)
{
    for (int way = AWAKE; way < N_WAYS; way++) {
        play(have_many_idle_threads, 4, way);
    }
}

static void test_all_of_an_idle_process_after_mixed_sizes_is_had(void)
{
    for (int way = AWAKE; way < N_WAYS; way++) {
        play(have_had_mixed_sizes, 1, way);
    }
}

static void test_what_many_ended_threads_have_left_is_had(void)
{
    for (int way = AWAKE; way < N_WAYS; way++) {
        play(have_many_ended_threads, 1, way);
    }
}

/* ------------------------------------------------------------------- refused, then again ---- */

/* Told to, another thread releases all. */
static void release_when_told(const void *argument)
{
    static void *blocks[N_BLOCKS];
    pthread_t thread;
    (void)argument;
    for (int round = 0; round < N_ROUNDS; round++) {
        for (size_t i = 0; i < N_BLOCKS; i++) {
            blocks[i] = pick_up(1 + i * 37 % MOST_RELEASED_BYTES);
        }
        client_pause();
        expect_equal(pthread_create(&thread, NULL, release_all, blocks), 0);
        expect_equal(pthread_join(thread, NULL), 0);
        client_say(2);
        (void)client_await();
    }
}

/* Asks while all is live, and once more as soon as it is not. */
static void ask_twice(const void *argument)
{
    (void)argument;
    for (int round = 0; round < N_ROUNDS; round++) {
        (void)client_await();
        expect_true(kmem_try_allocate(MOST_BYTES, "too early") == NULL);
        client_pause();
        void *block = pick_up(MOST_BYTES);
        expect_equal(kmem_try_release(&block), 0);
        client_say(2);
    }
}

static void test_what_is_released_after_a_refusal_is_had_at_once(void)
{
    daemon_start("--size", "64MiB", NULL);
    struct client owner = client_start(release_when_told, NULL);
    struct client asker = client_start(ask_twice, NULL);
    for (int round = 0; round < N_ROUNDS; round++) {
        expect_equal(client_hear(&owner), 1);
        client_tell(&asker, 1);
        expect_equal(client_hear(&asker), 1);
        client_tell(&owner, 1);
        expect_equal(client_hear(&owner), 2);
        client_tell(&asker, 1);
        expect_equal(client_hear(&asker), 2);
        client_tell(&owner, 1);
    }
    client_end(&owner);
    client_end(&asker);
    daemon_stop_balanced();
}

/* ----------------------------------------------------------------------------------- lies ---- */

/* Slabs that look idle, and of which it says without a pause that it keeps them. */
static void lie(const void *argument)
{
    struct wire_descriptors given;
    struct ledger_layout layout;
    struct ledger ledger;
    Kmem__ErrorCode error;
    bool zero;
    (void)argument;
    const int fd = wire_member_with(&given);
    const uint32_t most_pages = (uint32_t)(usage_take().most_bytes / PAGE_BYTES);
    ledger_layout_init(&layout, most_pages);
    void *base = mmap(NULL, layout.total_bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
                      given.fds[WIRE_LEDGER], 0);
    expect_call(base != MAP_FAILED);
    expect_equal(ledger_attach(&ledger, base, most_pages), 0);
    const struct wire_run run = wire_try_lease(fd, 64, 64, &error);
    expect_equal(run.n_pages, 64);
    expect_true(lease_take(ledger.states, run.page, run.n_pages, &zero));
    for (uint32_t page = run.page; page < run.page + run.n_pages; page++) {
        ledger_slab_open(&ledger, page, 0);
        ledger.heads[page].span_pages = 1 + page % 7; /* and the spans are not what they say */
        ledger.heads[page].size_class = (uint16_t)(page % N_SIZE_CLASSES);
    }
    lease_open_slab(ledger.states, run.page, run.n_pages);
    atomic_store(&ledger.header->is_fenced, 1);
    client_say(1);
    for (uint32_t i = 0;; i++) {
        const uint32_t page = run.page + i % run.n_pages;
        if (!lease_keep(ledger.states, page, 1)) {
            ledger.heads[page].n_used = UINT16_MAX; /* it was taken, and is said to be full */
        }
        ledger.heads[page].size_class = (uint16_t)(i % (N_SIZE_CLASSES + 2));
    }
}

/* Asks for more than there is, which looks at all slabs, and for what there is. */
static void ask_beside_a_liar(const void *argument)
{
    (void)argument;
    for (int i = 0; i < 50; i++) {
        void *block = kmem_try_allocate((size_t)SEGMENT_BYTES - 3 * PAGE_BYTES, "all");
        expect_true(block == NULL || kmem_try_release(&block) == 0);
        block = pick_up(MOST_BYTES);
        expect_equal(kmem_try_release(&block), 0);
    }
}

static void test_a_client_that_lies_about_its_slabs_harms_nobody(void)
{
    daemon_start("--size", "64MiB", NULL);
    struct client liar = client_start(lie, NULL);
    expect_equal(client_hear(&liar), 1);
    client_run(ask_beside_a_liar, NULL);
    client_kill(&liar);
    daemon_stop_balanced();
}

/* ------------------------------------------------------------------- without a barrier ---- */

/* As a sandbox may: in this process and those that it becomes, membarrier() is not permitted. */
static void forbid_barrier(void)
{
    static struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    static const struct sock_fprog filter = {.len = sizeof(code) / sizeof(code[0]), .filter = code};
    expect_call(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    expect_call(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0);
}

static void release_without_barrier(const void *argument)
{
    forbid_barrier();
    be_released_by_another_thread(argument);
}

static void have_threads_without_barrier(const void *argument)
{
    forbid_barrier();
    have_many_idle_threads(argument);
}

static void mix_sizes_without_barrier(const void *argument)
{
    forbid_barrier();
    have_had_mixed_sizes(argument);
}

/* What the owner does not keep ready is had all the same. */
static void take_a_quarter(const void *argument)
{
    (void)argument;
    expect_true(kmem_try_allocate(MOST_BYTES, "most") == NULL);
    expect_equal(errno, ENOMEM);
    void *block = pick_up(SEGMENT_BYTES / 4);
    expect_equal(kmem_try_release(&block), 0);
}

static void play_without_barrier(void (*owner_runs)(const void *argument))
{
    struct client owner = client_start(owner_runs, NULL);
    for (int round = 0; round < N_ROUNDS; round++) {
        expect_equal(client_hear(&owner), 1);
        client_run(take_a_quarter, NULL);
        client_tell(&owner, 1);
    }
    client_end(&owner);
    daemon_stop_balanced();
}

static void test_without_barrier_in_the_server_nothing_is_taken_and_the_log_says_so(void)
{
    static void (*const owners[])(const void *argument) = {
        be_released_by_another_thread, have_many_idle_threads, have_had_mixed_sizes};
    for (size_t i = 0; i < sizeof(owners) / sizeof(owners[0]); i++) {
        daemon_start_as(&(struct daemon_setting){.prepare = forbid_barrier},
                        (const char *[]){"--size", "64MiB", NULL});
        expect_log_line("membarrier\\(\\) can not be had \\(Operation not permitted\\)");
        play_without_barrier(owners[i]);
    }
}

static void test_without_barrier_in_a_client_nothing_is_taken_from_it(void)
{
    static void (*const owners[])(const void *argument) = {
        release_without_barrier, have_threads_without_barrier, mix_sizes_without_barrier};
    for (size_t i = 0; i < sizeof(owners) / sizeof(owners[0]); i++) {
        daemon_start("--size", "64MiB", NULL);
        play_without_barrier(owners[i]);
    }
}

/* ----------------------------------------------------------------------- --commit lazy ---- */

static uint64_t resident_bytes(int segment_fd)
{
    struct stat status;
    expect_call(fstat(segment_fd, &status) == 0);
    return (uint64_t)status.st_blocks * 512;
}

static void fill_and_release(const void *argument)
{
    static unsigned char *blocks[200];
    (void)argument;
    for (size_t i = 0; i < 200; i++) {
        blocks[i] = pick_up(200000);
        memset(blocks[i], 1, 200000);
    }
    client_pause();
    for (size_t i = 0; i < 200; i++) {
        expect_equal(kmem_try_release((void **)&blocks[i]), 0);
    }
    client_say(2);
    (void)client_await();
}

/* The process lives, and does nothing. */
static void test_what_is_released_goes_back_to_the_system(void)
{
    daemon_start("--size", "64MiB", "--commit", "lazy", NULL);
    const int segment_fd = daemon_open_memfd("segment");
    struct client client = client_start(fill_and_release, NULL);
    expect_equal(client_hear(&client), 1);
    expect_at_least(resident_bytes(segment_fd), 200 * 200000);
    client_tell(&client, 1);
    expect_equal(client_hear(&client), 2);
    expect_soon(resident_bytes(segment_fd) < 8 << 20, 2000);
    expect_equal(usage_take().clients, 1);
    client_finish(&client);
    expect_call(close(segment_fd) == 0);
    daemon_stop();
}

static const struct system_test tests[] = {
    SYSTEM_TEST(test_blocks_that_another_thread_released_are_had, 30),
    SYSTEM_TEST(test_what_many_idle_threads_keep_ready_is_had, 60),
    SYSTEM_TEST(test_what_many_ended_threads_have_left_is_had, 30),
    SYSTEM_TEST(test_all_of_an_idle_process_after_mixed_sizes_is_had, 30),
    SYSTEM_TEST(test_what_is_released_after_a_refusal_is_had_at_once, 30),
    SYSTEM_TEST(test_a_client_that_lies_about_its_slabs_harms_nobody, 30),
    SYSTEM_TEST(test_without_barrier_in_the_server_nothing_is_taken_and_the_log_says_so, 30),
    SYSTEM_TEST(test_without_barrier_in_a_client_nothing_is_taken_from_it, 30),
    SYSTEM_TEST(test_what_is_released_goes_back_to_the_system, 30),
};

int main(int argc, char **argv)
{
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}

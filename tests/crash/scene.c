/* SPDX-License-Identifier: MIT */
/*
 * What is done, in this order, and why:
 *
 *      a block of 100 bytes, back      Hello, and the two direct requests
 *      39 of 100 bytes                 the 16th makes the size hot: a lease, a slab, entries
 *      400 of 3,000 bytes, back        more slabs than stay; the last are closed
 *      8 of 100,000 bytes, back        large blocks: four direct, then from the lease
 *      one of 100 by a thread          kept as well, in another run of pages
 *      80 by a thread, released here   kept here, and half of what is too much is pushed to the
 *                                      thread's slabs, collected by it
 *      too much, here                  refused: the hog's unused pages are revoked, and the
 *                                      thread's idle slabs are taken; it finds out,
 *                                      with one of 100 bytes that its slab is not, and 80 of 200
 *      one is handed over, published,  shared from the lease; taken up again by its handle, then
 *      followed, its name taken away   by its name; no process holds it at last, and it comes home
 *      6 MiB                           direct, of what was taken back from the hog
 *      the server is killed            and the next call comes back to another
 *      the end, with 40 blocks held    Goodbye, and everything is taken back
 */
#include "tests/crash/scene.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <kmem/kmem.h>
#include <kmem/share.h>

#include "tests/system/daemon.h"
#include "tests/system/harness.h"

#define N_MEDIUM 400
#define MEDIUM_BYTES 3000
#define N_LARGE 8
#define LARGE_BYTES 100000
/* 80: more than a thread keeps ready. */
#define N_OF_THREAD 80
#define OF_THREAD_BYTES 200
#define N_HOGGED 60
#define N_DIRECT 24
/* A new size class: the first request behind the server's death. */
#define COLD_BYTES 5000
#define HUGE_BYTES (6 << 20)
/* All but 24 pages of the segment: more are in use, but not by direct blocks alone, so that it is
   worth looking for idle slabs. */
#define TOO_MANY_BYTES ((16 << 20) - 24 * (16 << 10))

struct held {
    unsigned char *block;
    size_t num_bytes;
};

/* What a byte of a block is, by its place in the segment: no two blocks are alike. */
static unsigned char byte_at(const struct held *held, size_t at)
{
    return (unsigned char)((kmem_offset_of(held->block) >> 4) * 31 + at * 7 + 1);
}

static struct held write_over(void *block, size_t num_bytes)
{
    struct held held = {.block = block, .num_bytes = num_bytes};
    if (block == NULL) {
        fail("%zu bytes: %s", num_bytes, kmem_last_error());
    }
    for (size_t at = 0; at < num_bytes; at++) {
        expect_equal(held.block[at], 0);
        held.block[at] = byte_at(&held, at);
    }
    return held;
}

static struct held pick_up(size_t num_bytes)
{
    return write_over(kmem_try_allocate(num_bytes, "scene"), num_bytes);
}

static void expect_intact(const struct held *held)
{
    for (size_t at = 0; at < held->num_bytes; at++) {
        expect_equal(held->block[at], byte_at(held, at));
    }
}

static void put_down(struct held *held)
{
    expect_intact(held);
    if (kmem_try_release((void **)&held->block) != 0) {
        fail("a release fails: %s", kmem_last_error());
    }
}

static void play_there_and_back(size_t n_blocks, size_t num_bytes)
{
    struct held *const held = calloc(n_blocks, sizeof(*held));
    expect_call(held != NULL);
    for (size_t i = 0; i < n_blocks; i++) {
        held[i] = pick_up(num_bytes);
    }
    for (size_t i = 0; i < n_blocks; i++) {
        put_down(&held[i]);
    }
    free(held);
}

/* Small blocks that may be shared are the server's to carve, however many there are. */
static void play_direct(void)
{
    struct held held[N_DIRECT];
    for (size_t i = 0; i < N_DIRECT; i++) {
        void *block = kmem_try_allocate_with(OF_THREAD_BYTES, KMEM_SHAREABLE, "scene");
        held[i] = write_over(block, OF_THREAD_BYTES);
    }
    for (size_t i = 0; i < N_DIRECT; i++) {
        put_down(&held[i]);
    }
}

/* ------------------------------------------------------------------------- by two threads ---- */

/* They take turns: one waits while the other works. */
static struct {
    struct held held[N_OF_THREAD];
    struct held kept; /* in a slab, and so in a run of pages, of its own */
    pthread_barrier_t turn;
} shared;

static void *of_thread(void *unused)
{
    (void)unused;
    shared.kept = pick_up(SCENE_BLOCK_BYTES);
    for (size_t i = 0; i < N_OF_THREAD; i++) {
        shared.held[i] = pick_up(OF_THREAD_BYTES);
    }
    (void)pthread_barrier_wait(&shared.turn); /* the other one releases them */
    (void)pthread_barrier_wait(&shared.turn);
    play_there_and_back(3 * (size_t)N_OF_THREAD, OF_THREAD_BYTES); /* more than are ready */
    (void)pthread_barrier_wait(&shared.turn); /* the other one asks for too much */
    (void)pthread_barrier_wait(&shared.turn);
    play_there_and_back(1, SCENE_BLOCK_BYTES); /* of the slab that has the kept one */
    play_there_and_back(N_OF_THREAD, OF_THREAD_BYTES);
    return NULL;
}

static void play_with_thread(void)
{
    pthread_t thread;
    play_there_and_back(N_OF_THREAD, OF_THREAD_BYTES); /* hot from now on */
    expect_equal(pthread_barrier_init(&shared.turn, NULL, 2), 0);
    expect_equal(pthread_create(&thread, NULL, of_thread, NULL), 0);
    (void)pthread_barrier_wait(&shared.turn);
    for (size_t i = 0; i < N_OF_THREAD; i++) {
        put_down(&shared.held[i]);
    }
    (void)pthread_barrier_wait(&shared.turn);
    (void)pthread_barrier_wait(&shared.turn);
    expect_true(kmem_try_allocate(TOO_MANY_BYTES, "scene") == NULL);
    (void)pthread_barrier_wait(&shared.turn);
    expect_equal(pthread_join(thread, NULL), 0);
}

/* -------------------------------------------------------------------------------- sharing ---- */

static void expect_done(int r)
{
    if (r != 0) {
        fail("sharing fails: %s", kmem_last_error());
    }
}

static void play_shared(void)
{
    struct held held = pick_up(SCENE_BLOCK_BYTES);
    struct kmem_handle handle;
    uint64_t version = 0;
    void *block = held.block;
    expect_done(kmem_transfer(&block, 0, &handle));
    expect_done(kmem_attach(&handle, KMEM_WRITE, "scene", &block));
    expect_true(block == held.block);
    expect_done(kmem_publish(block, "scene/frame", KMEM_GIVE, NULL));
    block = NULL;
    expect_done(kmem_next("scene/frame", KMEM_READ, "scene", &version, &block, 0));
    expect_true(block == held.block);
    expect_intact(&held);
    expect_done(kmem_try_release(&block));
    expect_done(kmem_unpublish("scene/frame"));
    play_there_and_back(N_MEDIUM, MEDIUM_BYTES); /* at the next slab it is found to be home */
}

/* ------------------------------------------------------------------------------ all of it ---- */

void scene_play(const void *argument)
{
    static struct held kept[SCENE_BLOCKS];
    (void)argument;
    (void)client_await();
    play_there_and_back(1, SCENE_BLOCK_BYTES);
    for (size_t i = 0; i + 1 < SCENE_BLOCKS; i++) {
        kept[i] = pick_up(SCENE_BLOCK_BYTES);
    }
    play_there_and_back(N_MEDIUM, MEDIUM_BYTES);
    play_there_and_back(N_LARGE, LARGE_BYTES);
    play_direct();
    play_with_thread();
    kept[SCENE_BLOCKS - 1] = shared.kept;
    play_shared();
    play_there_and_back(1, HUGE_BYTES);
    daemon_kill_server();
    play_there_and_back(2, COLD_BYTES);
    for (size_t i = 0; i < SCENE_BLOCKS; i++) {
        expect_intact(&kept[i]);
    }
    client_say(1);
    (void)client_await(); /* the test asks whether the ledger has just what is kept */
    expect_equal(kmem_close(), 0);
    client_say(2);
    (void)client_await();
}

void scene_hog(const void *argument)
{
    (void)argument;
    play_there_and_back(N_HOGGED, LARGE_BYTES);
    client_pause();
}

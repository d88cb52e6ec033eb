/* SPDX-License-Identifier: MIT */
#include "tests/torture/sharer.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "tests/system/harness.h"
#include "tests/support/pattern.h"
#include "tests/support/seeded.h"

#define PAUSE_NS 200000

struct lane {
    struct sharing_world *world;
    struct sharer_oracle *oracle;
    uint32_t number;
    unsigned char *base; /* of the segment; NULL: no block has been seen yet */
    uint32_t n_segments; /* of the world, when it joined this one */
    bool is_over;        /* a call has said that the segment has ended */
    struct seeded seeded;
};

/* What a block begins with; the pattern follows. */
struct label {
    uint64_t key;
    uint64_t num_bytes;
};

static uint32_t below(struct lane *lane, uint32_t limit)
{
    return seeded_below(&lane->seeded, limit);
}

/* Relaxed: figures. */
static void count(_Atomic uint64_t *figure)
{
    (void)atomic_fetch_add_explicit(figure, 1, memory_order_relaxed);
}

static void set(struct sharer_hold *hold, enum sharer_state state)
{
    /* Release: the driver reads them of one that is parked, or dead. */
    atomic_store_explicit(&hold->state, state, memory_order_release);
}

static enum sharer_state state_of(const struct sharer_hold *hold)
{
    /* Relaxed: it is this thread's. */
    return (enum sharer_state)atomic_load_explicit(&hold->state, memory_order_relaxed);
}

/* A call may say no in some ways; and that the segment has ended, if that is so. */
static void expect_among(struct lane *lane, const char *call, int r, const int *allowed,
                         size_t n_allowed)
{
    /* Acquire: with the driver's release, before it kills the keeper. */
    const bool may_end =
        atomic_load_explicit(&lane->world->n_segments, memory_order_acquire) != lane->n_segments;
    const bool has_ended =
        may_end && (r == -ECONNRESET || r == -ECONNREFUSED || r == -ENOENT); /* or is not there */
    lane->is_over = lane->is_over || has_ended;
    bool is_allowed = r == 0 || has_ended;
    for (size_t i = 0; i < n_allowed; i++) {
        is_allowed = is_allowed || r == allowed[i];
    }
    if (!is_allowed) {
        fail("sharer %u: %s fails with %d: %s", lane->number, call, r, kmem_last_error());
    }
}

#define EXPECT_AMONG(lane, call, r, ...)                                                           \
    expect_among(lane, call, r, (const int[]){__VA_ARGS__},                                        \
                 sizeof((const int[]){__VA_ARGS__}) / sizeof(int))

/* ---------------------------------------------------------------------------------- blocks ---- */

static void write_block(unsigned char *block, uint64_t num_bytes, uint64_t key)
{
    const struct label label = {key, num_bytes};
    pattern_fill(block + sizeof(label), num_bytes - sizeof(label), key, 0);
    memcpy(block, &label, sizeof(label));
}

/* What it says of itself; and what the library says, unless the segment has ended. */
static void look_at(struct lane *lane, const unsigned char *block, const char *when)
{
    struct label label;
    size_t num_bytes = 0;
    memcpy(&label, block, sizeof(label));
    const int r = lane->is_over ? 0 : kmem_try_sizeof(block, &num_bytes);
    EXPECT_AMONG(lane, "kmem_try_sizeof()", r, 0);
    num_bytes = lane->is_over ? label.num_bytes : num_bytes;
    if (num_bytes != label.num_bytes) {
        fail("sharer %u, %s: block %llu has %zu bytes (%d) and says %llu", lane->number, when,
             (unsigned long long)kmem_offset_of(block), num_bytes, r,
             (unsigned long long)label.num_bytes);
    }
    const uint64_t n = num_bytes - sizeof(label);
    const uint64_t at = pattern_differs_at(block + sizeof(label), n, label.key, 0);
    if (at < n) {
        fail("sharer %u, %s: block %llu of %zu bytes differs at byte %llu", lane->number, when,
             (unsigned long long)kmem_offset_of(block), num_bytes,
             (unsigned long long)(at + sizeof(label)));
    }
}

static unsigned char *block_of(const struct lane *lane, const struct sharer_hold *hold)
{
    return lane->base + hold->offset;
}

static struct sharer_hold *hold_at(struct lane *lane, uint64_t offset)
{
    for (uint32_t i = 0; i < SHARER_HOLDS; i++) {
        struct sharer_hold *const hold = &lane->oracle->holds[i];
        if (state_of(hold) == SHARER_HELD && hold->offset == offset) {
            return hold;
        }
    }
    return NULL;
}

/* What an attach has come to, for which `open` was kept: one that is held is held twice now. */
static void note_attached(struct lane *lane, struct sharer_hold *open, void *block)
{
    const uint64_t offset = kmem_offset_of(block);
    lane->base = (unsigned char *)block - offset;
    look_at(lane, block, "as it is attached");
    if (hold_at(lane, offset) != NULL) {
        const int r = kmem_try_release(&block);
        EXPECT_AMONG(lane, "the release of what is held twice", r, 0);
        set(open, SHARER_NONE);
        return;
    }
    open->offset = offset;
    set(open, SHARER_HELD);
}

/* ----------------------------------------------------------------------------------- steps ---- */

static void post(struct lane *lane, const struct kmem_handle *handle)
{
    lane->world->board[below(lane, SHARER_POSTS)] = *handle; /* others may read half of it */
}

static void make(struct lane *lane, struct sharer_hold *hold)
{
    static const uint64_t hot[] = {16, 64, 101, 1000, 4096, 20000};
    const uint64_t num_bytes = below(lane, 10) == 0  ? 70000 + below(lane, 300000)
                               : below(lane, 4) == 0 ? 16 + below(lane, 16000)
                                                     : hot[below(lane, 6)];
    const int flags = below(lane, 4) == 0 ? KMEM_READ_ONLY : 0;
    struct kmem_handle handle;
    set(hold, SHARER_OPEN);
    unsigned char *block = kmem_try_allocate(num_bytes, "torture/shared");
    if (block == NULL) {
        EXPECT_AMONG(lane, "kmem_try_allocate()", -errno, 0);
        set(hold, SHARER_NONE);
        return;
    }
    hold->offset = kmem_offset_of(block);
    lane->base = block - hold->offset;
    write_block(block, num_bytes, seeded_next(&lane->seeded));
    const int r = kmem_share(block, flags, &handle);
    EXPECT_AMONG(lane, "kmem_share()", r, 0);
    if (r == 0) {
        post(lane, &handle);
    }
    set(hold, SHARER_HELD);
}

static void attach(struct lane *lane, struct sharer_hold *hold)
{
    const struct kmem_handle handle = lane->world->board[below(lane, SHARER_POSTS)];
    const int flags = below(lane, 3) == 0 ? KMEM_WRITE : KMEM_READ;
    void *block = NULL;
    set(hold, SHARER_OPEN);
    const int r = kmem_attach(&handle, flags, "torture/attached", &block);
    EXPECT_AMONG(lane, "kmem_attach()", r, -ESTALE, -EACCES);
    if (r == 0) {
        note_attached(lane, hold, block);
        count(&lane->oracle->n_attached);
    } else {
        set(hold, SHARER_NONE);
    }
}

static void attach_many(struct lane *lane)
{
    struct kmem_handle handles[4];
    void *blocks[4];
    struct sharer_hold *open[4];
    size_t n = 0;
    for (uint32_t i = 0; i < SHARER_HOLDS && n < 4; i++) {
        if (state_of(&lane->oracle->holds[i]) == SHARER_NONE) {
            handles[n] = lane->world->board[below(lane, SHARER_POSTS)];
            open[n] = &lane->oracle->holds[i];
            set(open[n++], SHARER_OPEN);
        }
    }
    const int r = n > 0 ? kmem_attach_many(handles, n, KMEM_READ, "torture/many", blocks) : 0;
    EXPECT_AMONG(lane, "kmem_attach_many()", r, -ESTALE, -EACCES);
    for (size_t i = 0; i < n; i++) {
        if (r == 0) {
            note_attached(lane, open[i], blocks[i]);
        } else {
            set(open[i], SHARER_NONE);
        }
    }
}

static void release(struct lane *lane, struct sharer_hold *hold)
{
    void *block = block_of(lane, hold);
    look_at(lane, block, "before it is let go of");
    set(hold, SHARER_OPEN);
    const int r = kmem_try_release(&block);
    EXPECT_AMONG(lane, "kmem_try_release()", r, 0);
    set(hold, SHARER_NONE);
}

static void release_many(struct lane *lane)
{
    void *blocks[4];
    struct sharer_hold *open[4];
    size_t n = 0;
    for (uint32_t i = 0; i < SHARER_HOLDS && n < 4; i++) {
        struct sharer_hold *const hold = &lane->oracle->holds[i];
        if (state_of(hold) == SHARER_HELD && below(lane, 2) == 0) {
            blocks[n] = block_of(lane, hold);
            open[n] = hold;
            set(open[n++], SHARER_OPEN);
        }
    }
    const int r = n > 0 ? kmem_release_many(blocks, n) : 0;
    EXPECT_AMONG(lane, "kmem_release_many()", r, 0);
    for (size_t i = 0; i < n; i++) {
        set(open[i], SHARER_NONE);
    }
}

/* The first sharer to attach it has it; none, if the handle is written over before. */
static void hand_over(struct lane *lane, struct sharer_hold *hold)
{
    void *block = block_of(lane, hold);
    struct kmem_handle handle;
    set(hold, SHARER_OPEN);
    const int r = kmem_transfer(&block, 0, &handle);
    EXPECT_AMONG(lane, "kmem_transfer()", r, -EBUSY, -EPERM);
    if (r == 0) {
        post(lane, &handle);
        count(&lane->oracle->n_handed);
    }
    set(hold, r == 0 ? SHARER_NONE : SHARER_HELD);
}

static const char *name_of(struct lane *lane)
{
    static char name[16];
    (void)snprintf(name, sizeof(name), "torture/%u", below(lane, SHARER_NAMES));
    return name;
}

static void publish(struct lane *lane, struct sharer_hold *hold)
{
    const bool gives = below(lane, 2) == 0;
    const int flags = (gives ? KMEM_GIVE : 0) | (below(lane, 3) == 0 ? KMEM_KEEP : 0) |
                      (below(lane, 8) == 0 ? KMEM_EXCLUSIVE : 0);
    set(hold, SHARER_OPEN);
    const int r = kmem_publish(block_of(lane, hold), name_of(lane), flags, NULL);
    EXPECT_AMONG(lane, "kmem_publish()", r, -EEXIST);
    set(hold, r == 0 && gives ? SHARER_NONE : SHARER_HELD);
}

static void find(struct lane *lane, struct sharer_hold *hold)
{
    void *block = NULL;
    set(hold, SHARER_OPEN);
    const int r = kmem_find(name_of(lane), KMEM_READ, "torture/found", &block, NULL);
    EXPECT_AMONG(lane, "kmem_find()", r, -ENOENT);
    if (r == 0) {
        note_attached(lane, hold, block);
        count(&lane->oracle->n_found);
    } else {
        set(hold, SHARER_NONE);
    }
}

/* Lets go of one block, and takes what a name means. */
static void follow(struct lane *lane, struct sharer_hold *hold)
{
    void *block = block_of(lane, hold);
    uint64_t version = 0;
    look_at(lane, block, "before another follows it");
    set(hold, SHARER_OPEN);
    const int r = kmem_next(name_of(lane), KMEM_READ, "torture/followed", &version, &block, 0);
    EXPECT_AMONG(lane, "kmem_next()", r, -EAGAIN);
    if (r == 0) {
        note_attached(lane, hold, block);
        count(&lane->oracle->n_found);
    } else {
        set(hold, SHARER_NONE);
    }
}

static void unpublish(struct lane *lane)
{
    const int r = kmem_unpublish(name_of(lane));
    EXPECT_AMONG(lane, "kmem_unpublish()", r, -ENOENT);
}

static void rest(void)
{
    const struct timespec duration = {0, PAUSE_NS};
    (void)nanosleep(&duration, NULL);
}

/* Its next call joins a segment that is there. */
static void await_segment(struct lane *lane)
{
    const _Atomic uint32_t *const n_segments = &lane->world->n_segments;
    /* Acquire: with the driver's release, when the daemon is ready. */
    lane->n_segments = atomic_load_explicit(n_segments, memory_order_acquire);
    while (lane->n_segments % 2 == 1) {
        rest();
        lane->n_segments = atomic_load_explicit(n_segments, memory_order_acquire);
    }
    lane->is_over = false;
}

/* What it holds is as it was when the segment ended, and until it leaves. */
static void look_at_all(struct lane *lane)
{
    for (uint32_t i = 0; i < SHARER_HOLDS; i++) {
        if (state_of(&lane->oracle->holds[i]) == SHARER_HELD) {
            look_at(lane, block_of(lane, &lane->oracle->holds[i]), "of a segment that has ended");
        }
    }
}

/* All that it holds and has published goes by one call. */
static void leave(struct lane *lane)
{
    look_at_all(lane);
    for (uint32_t i = 0; i < SHARER_HOLDS; i++) {
        set(&lane->oracle->holds[i], SHARER_OPEN);
    }
    const int r = kmem_close();
    EXPECT_AMONG(lane, "kmem_close()", r, 0);
    await_segment(lane);
    for (uint32_t i = 0; i < SHARER_HOLDS; i++) {
        set(&lane->oracle->holds[i], SHARER_NONE);
    }
    lane->base = NULL;
}

static void step(struct lane *lane)
{
    struct sharer_hold *const hold = &lane->oracle->holds[below(lane, SHARER_HOLDS)];
    const uint32_t kind = below(lane, 1000);
    count(&lane->oracle->n_steps);
    if (kind < 2 || lane->is_over) {
        leave(lane);
    } else if (kind < 30) {
        unpublish(lane);
    } else if (kind < 80) {
        attach_many(lane);
    } else if (kind < 130) {
        release_many(lane);
    } else if (state_of(hold) == SHARER_NONE) {
        (kind < 400 ? make : kind < 800 ? attach : find)(lane, hold);
    } else if (kind < 500) {
        look_at(lane, block_of(lane, hold), "while it is held");
    } else {
        (kind < 600 ? hand_over : kind < 700 ? publish : kind < 850 ? follow : release)(lane, hold);
    }
}

/* Stands still while the driver looks. */
static void park(struct lane *lane)
{
    /* Acquire: nothing is done before the driver has seen the last epoch's end. */
    uint32_t epoch = atomic_load_explicit(&lane->world->epoch, memory_order_acquire);
    while (epoch % 2 == 1) {
        /* Release: the driver, which acquires it, sees all that this thread has done. */
        atomic_store_explicit(&lane->oracle->parked_at, epoch, memory_order_release);
        rest();
        epoch = atomic_load_explicit(&lane->world->epoch, memory_order_acquire);
    }
}

void sharer_run(const void *argument)
{
    const struct sharer *const sharer = argument;
    struct lane lane = {.world = sharer->world,
                        .oracle = &sharer->world->oracles[sharer->number],
                        .number = sharer->number};
    lane.seeded.state = lane.oracle->seed;
    await_segment(&lane);
    /* Acquire: with the driver's release. */
    while (!atomic_load_explicit(&lane.world->is_ending, memory_order_acquire)) {
        park(&lane);
        step(&lane);
        if (below(&lane, 64) == 0) {
            rest();
        }
    }
}

/* SPDX-License-Identifier: MIT */
/*
 * test_round_trips.c - how often sharing asks the server, by the server's own count
 */
#include <stdlib.h>
#include <string.h>

#include "proto/limits.h"
#include "proto/size_class.h"
#include "tests/system/daemon.h"
#include "tests/system/sharing.h"
#include "tests/system/usage.h"

#define NAME "count/name"
#define BLOCK_BYTES ((size_t)200000)

/* ------------------------------------------------------------------------------ each call ---- */

/* What the client of a step has. */
static unsigned char *block;
static unsigned char *again;
static void *many[KMEM_MANY_MAX];
static struct kmem_handle handle;
static uint64_t version;

static void do_join(void)
{
    block = filled(BLOCK_BYTES, true, 'a');
}

static void do_share(void)
{
    expect_equal(kmem_share(block, 0, &handle), 0);
}

static void do_publish(void)
{
    expect_equal(kmem_publish(block, NAME, 0, NULL), 0);
}

static void do_release(void)
{
    release(block);
    block = NULL;
}

static void do_unpublish(void)
{
    expect_equal(kmem_unpublish(NAME), 0);
}

static void do_hear_of_it(void)
{
    block = NULL;
    handle = await_handle();
    release(allocate(100, "join"));
}

static void do_attach(void)
{
    block = attach(&handle, KMEM_READ);
}

static void do_attach_again(void)
{
    again = attach(&handle, KMEM_READ);
}

static void do_release_again(void)
{
    release(again);
}

static void do_find(void)
{
    expect_equal(kmem_find(NAME, KMEM_READ, "find", &again, &version), 0);
}

static void do_next(void)
{
    version = 0;
    expect_equal(kmem_next(NAME, KMEM_READ, "next", &version, &block, 0), 0);
}

static void do_attach_many(void)
{
    struct kmem_handle handles[KMEM_MANY_MAX];
    for (size_t i = 0; i < KMEM_MANY_MAX; i++) {
        handles[i] = handle;
    }
    expect_equal(kmem_attach_many(handles, KMEM_MANY_MAX, KMEM_READ, "many", many), 0);
}

static void do_release_many(void)
{
    void *mems[KMEM_MANY_MAX];
    memcpy(mems, many, sizeof(mems)); /* those of the second attach are the same */
    expect_equal(kmem_release_many(mems, KMEM_MANY_MAX), 0);
}

struct step {
    void (*perform)(void);
    uint64_t n_requests; /* ANY: as many as it takes */
};

#define ANY UINT64_MAX
#define STEPS_MAX 16

static const struct step owner_steps[STEPS_MAX] = {
    {do_join, ANY},  {do_share, 1},     {do_share, 1},   {do_publish, 1},
    {do_publish, 1}, {do_unpublish, 1}, {do_publish, 1}, {do_release, 1},
};

static const struct step holder_steps[STEPS_MAX] = {
    {do_hear_of_it, ANY},  {do_attach, 1},        {do_attach_again, 0},
    {do_release_again, 0}, /* it is held elsewhere in this process */
    {do_find, 1},          {do_release_again, 0}, {do_release, 1}, /* the last */
    {do_attach_many, 1},   {do_attach_many, 0},   {do_release_many, 0},
    {do_release_many, 1},  {do_next, 1},          {do_next, 1}, /* lets go of one, takes one */
    {do_release, 1},
};

/* A client: one step each time that it is told. */
static void perform(const void *argument)
{
    const struct step *step = argument;
    for (uint64_t n; (n = client_await()) != 0; step++) {
        step->perform();
        if (step->perform == do_share) {
            say_handle(&handle);
        }
        client_say(n);
    }
}

static uint64_t requests_of_a_look(void)
{
    const uint64_t before = usage_take().requests;
    return usage_take().requests - before;
}

/* Lets a client make a step, and counts what it asks. */
static void count(const struct client *client, const struct step *step, uint64_t number,
                  uint64_t look)
{
    const uint64_t before = usage_take().requests;
    client_tell(client, number);
    if (step->perform == do_share) {
        handle = hear_handle(client);
    } else if (step->perform == do_hear_of_it) {
        tell_handle(client, &handle);
    }
    expect_equal(client_hear(client), number);
    const uint64_t n_requests = usage_take().requests - before - look;
    if (step->n_requests != ANY && n_requests != step->n_requests) {
        fail("step %lu asked %lu times, not %lu", (unsigned long)number, (unsigned long)n_requests,
             (unsigned long)step->n_requests);
    }
}

static void test_each_call_of_sharing_is_so_many_round_trips(void)
{
    daemon_start(NULL, NULL);
    const uint64_t look = requests_of_a_look();
    struct client owner = client_start(perform, owner_steps);
    struct client holder = client_start(perform, holder_steps);
    uint64_t n = 0;
    for (; owner_steps[n + 1].perform != NULL; n++) {
        count(&owner, &owner_steps[n], n + 1, look);
    }
    for (uint64_t i = 0; holder_steps[i].perform != NULL; i++) {
        count(&holder, &holder_steps[i], 100 + i, look);
    }
    count(&owner, &owner_steps[n], n + 1, look); /* lets go of it */
    sharing_finish(&holder);
    sharing_finish(&owner);
    daemon_stop_balanced();
}

/* ------------------------------------------------------------------ a process that starts ---- */

#define N_COLD 40
#define N_EACH 16

/* Forty sizes of forty classes, the last above 64 KiB: each kept many times. */
static size_t cold_bytes(unsigned i)
{
    return i < N_SIZE_CLASSES ? size_classes[i].block_bytes : 2 * SMALL_MAX_BYTES;
}

static void use_forty_sizes(const void *argument)
{
    static void *blocks[N_COLD][N_EACH];
    (void)argument;
    release(allocate(300000, "join"));
    client_pause();
    for (unsigned i = 0; i < N_COLD * N_EACH; i++) {
        blocks[i / N_EACH][i % N_EACH] = allocate(cold_bytes(i / N_EACH), "cold");
    }
    client_pause();
    for (unsigned i = 0; i < N_COLD * N_EACH; i++) {
        release(blocks[i / N_EACH][i % N_EACH]);
    }
}

/* A round trip a size, and the leases that all of them share. */
static void test_forty_cold_sizes_are_a_round_trip_each_and_a_few_leases(void)
{
    static_assert(N_COLD == N_SIZE_CLASSES + 1, "each is a class of its own");
    daemon_start("--size", "256MiB", NULL);
    const uint64_t look = requests_of_a_look();
    struct client client = client_begin(use_forty_sizes, NULL);
    const uint64_t before = usage_take().requests;
    client_resume(&client);
    const uint64_t n_requests = usage_take().requests - before - look;
    harness_note("%lu requests for %d blocks of %d sizes", (unsigned long)n_requests,
                 N_COLD * N_EACH, N_COLD);
    expect_at_most(n_requests, N_COLD + 12);
    client_finish(&client);
    daemon_stop_balanced();
}

/* -------------------------------------------------------------------------------- a camera ---- */

#define FRAME_BYTES ((size_t)1920 * 1080 * 4)
#define N_CONSUMERS 3
#define N_WARM 12
#define N_FRAMES 30

static void produce(const void *argument)
{
    (void)argument;
    for (uint64_t number; (number = client_await()) != 0;) {
        unsigned char *frame = kmem_try_allocate_with(FRAME_BYTES, KMEM_UNINITIALIZED, "frame");
        expect_true(frame != NULL);
        /* Once it is warm, another frame's number is there yet: it has not been cleared. */
        expect_true(number <= N_WARM || (frame[0] != 0 && frame[0] == frame[FRAME_BYTES / 2]));
        frame[0] = (unsigned char)number;
        frame[FRAME_BYTES / 2] = (unsigned char)number;
        const uint64_t offset = kmem_offset_of(frame);
        expect_equal(kmem_publish(frame, NAME, KMEM_GIVE, NULL), 0);
        client_say(offset);
    }
}

static void consume(const void *argument)
{
    (void)argument;
    const unsigned char *frame = NULL;
    uint64_t seen = 0;
    for (uint64_t number; (number = client_await()) != 0;) {
        expect_equal(kmem_next(NAME, KMEM_READ, "consumer", &seen, &frame, -1), 0);
        expect_equal(frame[0], number);
        expect_equal(frame[FRAME_BYTES / 2], number);
        client_say(kmem_offset_of(frame));
    }
}

/* One request a frame of each process: none of them to allocate, and the bytes are where they
   were. */
static void test_a_camera_that_is_warm_asks_once_a_frame_and_copies_nothing(void)
{
    daemon_start("--size", "1GiB", NULL);
    const uint64_t look = requests_of_a_look();
    struct client producer = client_start(produce, NULL);
    struct client consumers[N_CONSUMERS];
    for (size_t i = 0; i < N_CONSUMERS; i++) {
        consumers[i] = client_start(consume, NULL);
    }
    uint64_t before = 0;
    for (uint64_t number = 1; number <= N_WARM + N_FRAMES; number++) {
        if (number == N_WARM + 1) {
            before = usage_take().requests;
        }
        client_tell(&producer, number);
        const uint64_t offset = client_hear(&producer);
        for (size_t i = 0; i < N_CONSUMERS; i++) {
            client_tell(&consumers[i], number);
            expect_equal(client_hear(&consumers[i]), offset);
        }
    }
    expect_equal(usage_take().requests - before - look, N_FRAMES * (1 + N_CONSUMERS));
    for (size_t i = 0; i < N_CONSUMERS; i++) {
        sharing_finish(&consumers[i]);
    }
    sharing_finish(&producer);
    daemon_stop_balanced();
}

int main(int argc, char **argv)
{
    static const struct system_test tests[] = {
        SYSTEM_TEST(test_each_call_of_sharing_is_so_many_round_trips, 30),
        SYSTEM_TEST(test_forty_cold_sizes_are_a_round_trip_each_and_a_few_leases, 30),
        SYSTEM_TEST(test_a_camera_that_is_warm_asks_once_a_frame_and_copies_nothing, 30),
    };
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}

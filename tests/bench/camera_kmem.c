/* SPDX-License-Identifier: MIT */
/* camera_kmem.c - a name, and blocks that need not be cleared */
#include <kmem/share.h>

#include "tests/bench/bench.h"
#include "tests/bench/camera.h"

#define NAME "bench/camera"

static void produce(unsigned number)
{
    void *frame = kmem_try_allocate_with(CAMERA_BYTES, KMEM_UNINITIALIZED, "bench/frame");
    if (frame == NULL) {
        bench_fail("%s", kmem_last_error());
    }
    camera_touch(frame, number);
    if (kmem_publish(frame, NAME, KMEM_GIVE, NULL) != 0) {
        bench_fail("%s", kmem_last_error());
    }
}

static void consume(unsigned place)
{
    const void *frame = NULL;
    uint64_t seen = 0;
    (void)place;
    while (kmem_next(NAME, KMEM_READ, "bench/consumer", &seen, &frame, -1) == 0) {
        if (!camera_look(frame)) {
            bench_fail("a frame is torn");
        }
    }
}

static void end(void)
{
    if (kmem_unpublish(NAME) != 0 || kmem_close() != 0) {
        bench_fail("%s", kmem_last_error());
    }
}

const struct camera camera_kmem = {"kmem", NULL, NULL, produce, consume, end};

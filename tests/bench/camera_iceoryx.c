/* SPDX-License-Identifier: MIT */
/*
 * camera_iceoryx.c - loan, publish, take, release; a wait set wakes the consumer
 *
 * iox-roudi, which owns the memory, runs beside it; its processor time counts as kmemd's does.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <iceoryx_binding_c/publisher.h>
#include <iceoryx_binding_c/runtime.h>
#include <iceoryx_binding_c/subscriber.h>
#include <iceoryx_binding_c/wait_set.h>

#include "tests/bench/bench.h"
#include "tests/bench/camera.h"

static iox_pub_storage_t publisher_storage;
static iox_pub_t publisher;

static void join(void)
{
    char name[64];
    (void)snprintf(name, sizeof(name), "kmem-bench-%d", (int)getpid());
    iox_runtime_init(name);
}

static void begin(void)
{
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/roudi.toml", bench_directory());
    FILE *const file = fopen(path, "we");
    if (file == NULL) {
        bench_fail("%s can not be written", path);
    }
    (void)fprintf(file,
                  "[general]\nversion = 1\n[[segment]]\n"
                  "[[segment.mempool]]\nsize = %zu\ncount = 20\n",
                  CAMERA_BYTES + 1024);
    (void)fclose(file);
    bench_start_server((const char *const[]){ICEORYX_ROUDI, "-c", path, "-m", "on", NULL});
}

/* In a process of its own, before any consumer is: the runtime does not survive a fork. */
static void produce(unsigned number)
{
    void *frame = NULL;
    if (publisher == NULL) {
        join();
        publisher = iox_pub_init(&publisher_storage, "bench", "camera", "frame", NULL);
    }
    if (iox_pub_loan_chunk(publisher, &frame, (uint32_t)CAMERA_BYTES) != AllocationResult_SUCCESS) {
        return; /* all are held, by the dead, for 1.3 s */
    }
    camera_touch(frame, number);
    iox_pub_publish_chunk(publisher, frame);
}

static void consume(unsigned place)
{
    static iox_sub_storage_t storage;
    static iox_ws_storage_t ws_storage;
    iox_notification_info_t infos[1];
    uint64_t n_missed = 0;
    iox_sub_options_t options;
    (void)place;
    join();
    iox_sub_options_init(&options);
    options.queueCapacity = 1;
    options.historyRequest = 0;
    iox_sub_t subscriber = iox_sub_init(&storage, "bench", "camera", "frame", &options);
    iox_ws_t wait_set = iox_ws_init(&ws_storage);
    (void)iox_ws_attach_subscriber_state(wait_set, subscriber, SubscriberState_HAS_DATA, 1, NULL);
    for (;;) {
        const void *frame = NULL;
        (void)iox_ws_wait(wait_set, infos, 1, &n_missed);
        while (iox_sub_take_chunk(subscriber, &frame) == ChunkReceiveResult_SUCCESS) {
            if (!camera_look(frame)) {
                bench_fail("a frame is torn");
            }
            iox_sub_release_chunk(subscriber, frame);
        }
    }
}

static void end(void)
{
    iox_pub_deinit(publisher);
    iox_runtime_shutdown();
}

const struct camera camera_iceoryx = {"iceoryx", begin, NULL, produce, consume, end};

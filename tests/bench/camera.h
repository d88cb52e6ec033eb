/* SPDX-License-Identifier: MIT */
/*
 * camera.h - one camera and its consumers, over whatever passes frames between processes
 *
 * The producer gets a frame, touches its first and last byte, and passes it on; a consumer touches
 * the same two. What is left is what passing costs.
 */
#ifndef TESTS_BENCH_CAMERA_H
#define TESTS_BENCH_CAMERA_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CAMERA_BYTES ((size_t)1920 * 1080 * 4)
#define CAMERA_CONSUMERS 3
#define CAMERA_PER_SECOND 60

struct camera {
    const char *name;
    void (*begin)(void); /* in the producer, before there is a consumer; or NULL */
    void (*attend)(
        unsigned place); /* likewise, before the consumer of a place is started; or NULL */
    void (*produce)(unsigned number); /* one frame */
    void (*consume)(unsigned place);  /* in a process of its own: for ever */
    void (*end)(void);                /* when the consumers have ended; or NULL */
};

/* Those that are not installed have no name. */
extern const struct camera camera_kmem;
extern const struct camera camera_pipe;
extern const struct camera camera_shm;
extern const struct camera camera_boost;
extern const struct camera camera_iceoryx;

/** camera_touch() - as a producer */
static inline void camera_touch(void *frame, unsigned number)
{
    volatile unsigned char *const bytes = (volatile unsigned char *)frame;
    bytes[0] = (unsigned char)number;
    bytes[CAMERA_BYTES - 1] = (unsigned char)number;
}

/** camera_look() - as a consumer, which is counted. Return: whether the frame is whole. */
int camera_look(const void *frame);

/**
 * camera_run() - some seconds of it; a consumer is killed in each, and another started
 * @ret_seen:  how many frames consumers have looked at, of those that each could have seen; 1: all
 * Return: the processor time of all processes, servers included, as a part of one processor.
 */
double camera_run(const struct camera *camera, unsigned seconds, double *ret_seen);

#ifdef __cplusplus
}
#endif

#endif

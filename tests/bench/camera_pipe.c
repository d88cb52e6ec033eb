/* SPDX-License-Identifier: MIT */
/* camera_pipe.c - every byte is copied into a pipe for each consumer, and out of it */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/bench/bench.h"
#include "tests/bench/camera.h"

#define PIPE_BYTES (1 << 20) /* as large as anybody may have it */

static unsigned char *own;
static int pipes[CAMERA_CONSUMERS][2] = {{-1, -1}, {-1, -1}, {-1, -1}};

static void begin(void)
{
    own = malloc(CAMERA_BYTES);
    if (own == NULL) {
        bench_fail("no memory for a frame");
    }
}

static void close_pipe(unsigned place)
{
    (void)close(pipes[place][0]);
    (void)close(pipes[place][1]);
}

static void attend(unsigned place)
{
    close_pipe(place);
    if (pipe2(pipes[place], O_CLOEXEC) != 0) {
        bench_fail("no pipe");
    }
    (void)fcntl(pipes[place][1], F_SETPIPE_SZ, PIPE_BYTES);
}

static void produce(unsigned number)
{
    camera_touch(own, number);
    for (unsigned place = 0; place < CAMERA_CONSUMERS; place++) {
        for (size_t done = 0; done < CAMERA_BYTES;) {
            const ssize_t n = write(pipes[place][1], own + done, CAMERA_BYTES - done);
            if (n <= 0) {
                bench_fail("the pipe is broken");
            }
            done += (size_t)n;
        }
    }
}

static void consume(unsigned place)
{
    for (;;) {
        for (size_t done = 0; done < CAMERA_BYTES;) {
            const ssize_t n = read(pipes[place][0], own + done, CAMERA_BYTES - done);
            if (n <= 0) {
                return;
            }
            done += (size_t)n;
        }
        if (!camera_look(own)) {
            bench_fail("a frame is torn");
        }
    }
}

static void end(void)
{
    for (unsigned place = 0; place < CAMERA_CONSUMERS; place++) {
        close_pipe(place);
        pipes[place][0] = pipes[place][1] = -1;
    }
    free(own);
}

const struct camera camera_pipe = {"pipe", begin, attend, produce, consume, end};

/* SPDX-License-Identifier: MIT */
/*
 * camera_shm.c - shm_open() and mmap() for each frame; its name goes through a pipe
 *
 * The producer unlinks a frame five frames later, whoever looks at it: there is nobody to say when
 * the last has let go. The pages that are touched are two; a real camera's would all be made anew.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/bench/bench.h"
#include "tests/bench/camera.h"

#define N_KEPT 5

static int pipes[CAMERA_CONSUMERS][2] = {{-1, -1}, {-1, -1}, {-1, -1}};
static pid_t producer;

static void name_of(unsigned number, char name[64])
{
    (void)snprintf(name, 64, "/kmem-bench-%d-%u", (int)producer, number);
}

static void begin(void)
{
    producer = getpid();
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
}

static void unlink_frame(unsigned number)
{
    char name[64];
    name_of(number, name);
    (void)shm_unlink(name);
}

static unsigned last;

static void produce(unsigned number)
{
    char name[64];
    last++;
    name_of(last, name);
    const int fd = shm_open(name, O_CREAT | O_EXCL | O_RDWR, 0600);
    if (fd < 0 || ftruncate(fd, (off_t)CAMERA_BYTES) != 0) {
        bench_fail("no shared memory");
    }
    void *const frame = mmap(NULL, CAMERA_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (frame == MAP_FAILED) {
        bench_fail("no mapping");
    }
    camera_touch(frame, number);
    (void)munmap(frame, CAMERA_BYTES);
    (void)close(fd);
    for (unsigned place = 0; place < CAMERA_CONSUMERS; place++) {
        if (write(pipes[place][1], &last, sizeof(last)) != (ssize_t)sizeof(last)) {
            bench_fail("the pipe is broken");
        }
    }
    if (last > N_KEPT) {
        unlink_frame(last - N_KEPT);
    }
}

static void consume(unsigned place)
{
    unsigned number;
    while (read(pipes[place][0], &number, sizeof(number)) == (ssize_t)sizeof(number)) {
        char name[64];
        name_of(number, name);
        const int fd = shm_open(name, O_RDONLY, 0);
        if (fd < 0) {
            continue; /* it is gone already */
        }
        void *const frame = mmap(NULL, CAMERA_BYTES, PROT_READ, MAP_SHARED, fd, 0);
        (void)close(fd);
        if (frame == MAP_FAILED || !camera_look(frame)) {
            bench_fail("a frame is torn");
        }
        (void)munmap(frame, CAMERA_BYTES);
    }
}

static void end(void)
{
    for (unsigned i = 0; i < N_KEPT && i < last; i++) {
        unlink_frame(last - i);
    }
    for (unsigned place = 0; place < CAMERA_CONSUMERS; place++) {
        close_pipe(place);
        pipes[place][0] = pipes[place][1] = -1;
    }
}

const struct camera camera_shm = {"shm_open", begin, attend, produce, consume, end};

/* SPDX-License-Identifier: MIT */
/*
 * camera.c - the camera's clock, its consumers, and what all of it costs
 *
 * Processor time is the kernel's: of this process and of its dead children by getrusage(), of its
 * living ones, servers with their children among them, by /proc/PID/schedstat, in nanoseconds.
 */
#include "tests/bench/camera.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/bench.h"

/* The first half second counts for nobody: pages are mapped, sizes become warm. */
#define WARM_FRAMES 30

static double seconds_of(int who)
{
    struct rusage usage;
    (void)getrusage(who, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* Of all threads of a process, and of its children, which are kmemd's server and what it starts. */
static double seconds_of_tree(int pid)
{
    char path[100];
    double seconds = 0;
    unsigned long long ns = 0;
    int child;
    (void)snprintf(path, sizeof(path), "cat /proc/%d/task/*/schedstat 2>/dev/null", pid);
    FILE *file = popen(path, "re"); /* each thread's own */
    while (file != NULL && fscanf(file, "%llu %*u %*u", &ns) == 1) {
        seconds += (double)ns / 1e9;
    }
    (void)pclose(file);
    (void)snprintf(path, sizeof(path), "cat /proc/%d/task/*/children 2>/dev/null", pid);
    file = popen(path, "re");
    while (file != NULL && fscanf(file, "%d", &child) == 1) {
        seconds += seconds_of_tree(child);
    }
    (void)pclose(file);
    return seconds;
}

static double seconds_of_servers(void)
{
    char path[100];
    double seconds = 0;
    int child;
    (void)snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)getpid(), (int)getpid());
    FILE *file = fopen(path, "re");
    while (file != NULL && fscanf(file, "%d", &child) == 1) {
        seconds += seconds_of_tree(child);
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    return seconds;
}

/* Of all consumers; in memory that they share with this process. */
static _Atomic uint64_t *n_seen;

int camera_look(const void *frame)
{
    const volatile unsigned char *const bytes = frame;
    /* Relaxed: a count. */
    (void)atomic_fetch_add_explicit(n_seen, 1, memory_order_relaxed);
    return bytes[0] == bytes[CAMERA_BYTES - 1];
}

static pid_t consumers[CAMERA_CONSUMERS];

static void consumer_start(const struct camera *camera, unsigned place)
{
    if (camera->attend != NULL) {
        camera->attend(place);
    }
    consumers[place] = fork();
    if (consumers[place] == 0) {
        bench_forget();
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        camera->consume(place);
        _exit(1);
    }
}

static void consumer_kill(unsigned place)
{
    (void)kill(consumers[place], SIGKILL);
    (void)waitpid(consumers[place], NULL, 0);
}

static void frames_run(const struct camera *camera, unsigned n_frames)
{
    struct timespec at;
    (void)clock_gettime(CLOCK_MONOTONIC, &at);
    for (unsigned number = 1; number <= n_frames; number++) {
        camera->produce(number);
        if (number % CAMERA_PER_SECOND == CAMERA_PER_SECOND / 2) {
            const unsigned place = number / CAMERA_PER_SECOND % CAMERA_CONSUMERS;
            consumer_kill(place);
            consumer_start(camera, place);
        }
        at.tv_nsec += 1000000000 / CAMERA_PER_SECOND;
        at.tv_sec += at.tv_nsec / 1000000000;
        at.tv_nsec %= 1000000000;
        (void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
    }
}

double camera_run(const struct camera *camera, unsigned seconds, double *ret_seen)
{
    const unsigned n_frames = seconds * CAMERA_PER_SECOND;
    n_seen = mmap(NULL, sizeof(*n_seen), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (n_seen == MAP_FAILED) {
        bench_fail("no memory for a count");
    }
    if (camera->begin != NULL) {
        camera->begin();
    }
    for (unsigned place = 0; place < CAMERA_CONSUMERS; place++) {
        consumer_start(camera, place);
    }
    frames_run(camera, WARM_FRAMES - 1);
    const double living = seconds_of_servers();
    const double before = seconds_of(RUSAGE_SELF) + seconds_of(RUSAGE_CHILDREN);
    atomic_store(n_seen, 0);
    frames_run(camera, n_frames);
    *ret_seen = (double)atomic_load(n_seen) / (n_frames * CAMERA_CONSUMERS);
    const double after = seconds_of(RUSAGE_SELF) + seconds_of(RUSAGE_CHILDREN);
    const double busy = after - before + seconds_of_servers() - living;
    for (unsigned place = 0; place < CAMERA_CONSUMERS; place++) {
        consumer_kill(place);
    }
    if (camera->end != NULL) {
        camera->end();
    }
    (void)munmap((void *)n_seen, sizeof(*n_seen));
    return busy / seconds; /* a machine that can not keep up takes longer, and is not cheaper */
}

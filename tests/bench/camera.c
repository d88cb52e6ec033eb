/* SPDX-License-Identifier: MIT */
/*
 * camera.c - the camera's clock, its consumers, and what all of it costs
 *
 * Processor time is the kernel's: of this process and of its dead children by getrusage(), of its
 * living ones, servers with their children among them, by /proc/PID/schedstat, in nanoseconds.
 */
#include "tests/bench/camera.h"

#include <glob.h>
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

#define PROCESSES_MAX ((size_t)64)

/* What the kernel says in a file of each of a process's threads. Return: how many numbers. */
static size_t read_of_threads(int pid, const char *file_name, uint64_t *numbers, size_t n_max)
{
    char pattern[64];
    glob_t files;
    size_t n = 0;
    (void)snprintf(pattern, sizeof(pattern), "/proc/%d/task/*/%s", pid, file_name);
    if (glob(pattern, 0, NULL, &files) != 0) {
        return 0;
    }
    for (size_t i = 0; i < files.gl_pathc; i++) {
        char line[1024] = "";
        FILE *const file = fopen(files.gl_pathv[i], "re");
        char *at = line;
        char *end = line;
        (void)(file != NULL && fgets(line, sizeof(line), file) != NULL);
        for (uint64_t number = strtoull(at, &end, 10); end != at && n < n_max;
             number = strtoull(at, &end, 10)) {
            numbers[n++] = number;
            at = end;
        }
        if (file != NULL) {
            (void)fclose(file);
        }
    }
    globfree(&files);
    return n;
}

/* The threads' files say: nanoseconds on a processor, waiting for one, and how often. */
static double seconds_of_process(int pid)
{
    uint64_t numbers[3 * PROCESSES_MAX];
    double seconds = 0;
    const size_t n = read_of_threads(pid, "schedstat", numbers, 3 * PROCESSES_MAX);
    for (size_t i = 0; i < n; i += 3) {
        seconds += (double)numbers[i] / 1e9;
    }
    return seconds;
}

/* Of this process's children, and of theirs: kmemd's server, and what it starts. */
static double seconds_of_servers(void)
{
    uint64_t pids[PROCESSES_MAX];
    double seconds = 0;
    size_t n = read_of_threads(getpid(), "children", pids, PROCESSES_MAX);
    for (size_t i = 0; i < n; i++) {
        seconds += seconds_of_process((int)pids[i]);
        n += read_of_threads((int)pids[i], "children", pids + n, PROCESSES_MAX - n);
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

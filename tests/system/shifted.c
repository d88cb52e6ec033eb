/* SPDX-License-Identifier: MIT */
/*
 * shifted.c - what kmemd_shifted has in the place of the clocks: clocks.h
 */
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "tests/system/clocks.h"

/* The names that the linker gives them: --wrap. */
int __real_clock_gettime(clockid_t clock, struct timespec *time);
int __wrap_clock_gettime(clockid_t clock, struct timespec *time);
int __wrap_gettimeofday(struct timeval *time, void *zone);
time_t __wrap_time(time_t *ret_time);

/* No file: nothing is shifted. */
static struct clocks *clocks_get(void)
{
    static struct clocks none;
    static struct clocks *clocks;
    const char *const path = getenv(CLOCKS_VARIABLE);
    if (clocks != NULL || path == NULL) {
        return clocks != NULL ? clocks : &none;
    }
    const int fd = open(path, O_RDWR | O_CLOEXEC);
    void *const memory =
        mmap(NULL, sizeof(struct clocks), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    (void)close(fd);
    clocks = memory == MAP_FAILED ? &none : memory;
    return clocks;
}

/* Relaxed, all: figures that guard nothing. */
int __wrap_clock_gettime(clockid_t clock, struct timespec *time)
{
    struct clocks *const clocks = clocks_get();
    const int r = __real_clock_gettime(clock, time);
    const bool is_wall = clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE;
    (void)atomic_fetch_add_explicit(is_wall ? &clocks->n_wall : &clocks->n_asked, 1,
                                    memory_order_relaxed);
    if (is_wall) {
        time->tv_sec += atomic_load_explicit(&clocks->wall_s, memory_order_relaxed);
    } else if (clock == CLOCK_BOOTTIME) {
        time->tv_sec += atomic_load_explicit(&clocks->boot_s, memory_order_relaxed);
    }
    return r;
}

int __wrap_gettimeofday(struct timeval *time, void *zone)
{
    (void)zone;
    struct timespec now;
    const int r = __wrap_clock_gettime(CLOCK_REALTIME, &now);
    *time = (struct timeval){now.tv_sec, now.tv_nsec / 1000};
    return r;
}

time_t __wrap_time(time_t *ret_time)
{
    struct timespec now;
    (void)__wrap_clock_gettime(CLOCK_REALTIME, &now); /* can not fail */
    if (ret_time != NULL) {
        *ret_time = now.tv_sec;
    }
    return now.tv_sec;
}

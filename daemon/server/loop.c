/* SPDX-License-Identifier: MIT */
/*
 * loop.c - what libuv can not go on without, it is given beforehand
 *
 * Where its table of descriptors can not grow, or epoll does not take a descriptor, libuv calls
 * abort(): from within the loop it has nobody to tell. Here both can be told.
 *
 *  - The table is the one thing that libuv reallocates. It gets static memory, of the size that it
 *    will ever need, of which only what is used is ever touched.
 *  - A descriptor that epoll knows already is not added but modified, which needs no memory.
 */
#include "daemon/server/loop.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

#include "proto/limits.h"

_Static_assert(4 * CLIENTS_MAX + 4096 <= LOOP_DESCRIPTORS, "the table suffices");

static struct {
    void *entries[LOOP_DESCRIPTORS];
    bool taken;
} table;

static void *table_realloc(void *bytes, size_t n_bytes)
{
    if (n_bytes <= sizeof(table.entries) && (bytes == table.entries || !(bytes || table.taken))) {
        table.taken = true;
        return table.entries;
    }
    if (bytes != table.entries) {
        return realloc(bytes, n_bytes);
    }
    void *larger = malloc(n_bytes);
    if (larger) {
        memcpy(larger, table.entries, sizeof(table.entries));
        table.taken = false;
    }
    return larger;
}

static void table_free(void *bytes)
{
    if (bytes == table.entries) {
        table.taken = false;
        return;
    }
    free(bytes);
}

int loop_init(uv_loop_t *loop)
{
    /* It refuses a function that is none. */
    (void)uv_replace_allocator(malloc, table_realloc, calloc, table_free);
    int r = uv_loop_init(loop);
    if (r) {
        return r;
    }
    r = loop_reserve(loop, loop->async_io_watcher.fd); /* by which threads wake it */
    r = r ? r : loop_reserve(loop, loop->signal_io_watcher.fd);
    if (r) {
        (void)uv_loop_close(loop); /* it has no handle */
    }
    return r;
}

int loop_reserve(const uv_loop_t *loop, int fd)
{
    struct epoll_event nothing = {.data.fd = fd};
    const int r = epoll_ctl(uv_backend_fd(loop), EPOLL_CTL_ADD, fd, &nothing);
    return r < 0 && errno != EEXIST ? -errno : 0;
}

struct now loop_now(void)
{
    struct timespec time;
    /* BOOTTIME counts suspended time too, and nobody can set it. It can not fail. */
    (void)clock_gettime(CLOCK_BOOTTIME, &time);
    const uint64_t us = (uint64_t)time.tv_sec * 1000000 + (uint64_t)time.tv_nsec / 1000;
    return (struct now){.ms = us / 1000, .us = us};
}

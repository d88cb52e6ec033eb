/* SPDX-License-Identifier: MIT */
/*
 * backing.c - one thread, for as long as there is something to collapse
 *
 * Not uv_queue_work(): it makes four threads that stay, and aborts the process if it can not.
 */
#include "daemon/backing.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "daemon/log.h"
#include "proto/limits.h"
#include "proto/text.h"

#define HUGE_BYTES (UINT64_C(2) << 20)

/* From <asm-generic/mman-common.h> of Linux 6.1; older headers lack it, older kernels refuse it. */
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

/* 8: a page that somebody is faulting in just now is refused with EAGAIN; it seldom is twice. */
#define COLLAPSE_TRIES 8

static int collapse_one(unsigned char *at)
{
    int error = EAGAIN;
    for (int tries = 0; tries < COLLAPSE_TRIES && error == EAGAIN; tries++) {
        error = madvise(at, HUGE_BYTES, MADV_COLLAPSE) < 0 ? errno : 0;
    }
    return -error;
}

/* An address range of n_bytes that begins at a multiple of 2 MiB, inside a reserved one. */
static unsigned char *align_up(void *reserved)
{
    const uintptr_t address = (uintptr_t)reserved;
    return (unsigned char *)reserved + (-address & (HUGE_BYTES - 1));
}

static void backing_collapse(struct backing *backing)
{
    const uint64_t reserved_bytes = backing->n_bytes + HUGE_BYTES;
    void *reserved =
        mmap(NULL, reserved_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (reserved == MAP_FAILED) {
        backing->error = -errno;
        return;
    }
    unsigned char *base = align_up(reserved);
    if (mmap(base, backing->n_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, backing->fd,
             0) == MAP_FAILED) {
        backing->error = -errno;
    }
    const uint64_t n_huge = backing->n_bytes / HUGE_BYTES;
    /* Relaxed: it is only to end soon. Partner: backing_stop(). */
    while (backing->error == 0 && backing->n_huge < n_huge &&
           !atomic_load_explicit(&backing->cancelled, memory_order_relaxed)) {
        backing->error = collapse_one(base + backing->n_huge * HUGE_BYTES);
        backing->n_huge += backing->error == 0;
    }
    (void)munmap(reserved, reserved_bytes); /* fails for no mapping only */
}

static void backing_run(void *argument)
{
    struct backing *backing = argument;
    backing_collapse(backing);
    (void)uv_async_send(&backing->done); /* always 0 */
}

static void backing_done(uv_async_t *done)
{
    struct backing *backing = done->data;
    char huge[TEXT_BYTES_MAX];
    char all[TEXT_BYTES_MAX];
    (void)uv_thread_join(&backing->thread); /* it is there, and not joined yet */
    uv_close((uv_handle_t *)done, NULL);
    backing->running = false;
    if (backing->n_huge == 0 && backing->granule_bytes) {
        *backing->granule_bytes = PAGE_BYTES;
    }
    (void)text_format_bytes(backing->n_huge * HUGE_BYTES, huge, sizeof(huge)); /* its buffer */
    (void)text_format_bytes(backing->n_bytes, all, sizeof(all));               /* its buffer */
    if (backing->error == 0) {
        log_info("%s of %s are made of 2 MiB pages", huge, all);
    } else {
        log_info("%s of %s are made of 2 MiB pages, the rest of 4 KiB: %s", huge, all,
                 backing->error == -EINVAL ? "this kernel can not collapse more"
                                           : strerror(-backing->error));
    }
}

int backing_start(struct backing *backing, uv_loop_t *loop, int fd, uint64_t n_bytes)
{
    *backing = (struct backing){.fd = fd, .n_bytes = n_bytes};
    int r = uv_async_init(loop, &backing->done, backing_done);
    if (r) {
        return r;
    }
    backing->done.data = backing;
    r = uv_thread_create(&backing->thread, backing_run, backing);
    if (r) {
        uv_close((uv_handle_t *)&backing->done, NULL);
        return r;
    }
    backing->running = true;
    return 0;
}

void backing_stop(struct backing *backing)
{
    /* Relaxed: see backing_collapse(). */
    atomic_store_explicit(&backing->cancelled, true, memory_order_relaxed);
}

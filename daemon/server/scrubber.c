/* SPDX-License-Identifier: MIT */
#include "daemon/server/scrubber.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/server/huge_pages.h"
#include "daemon/control.h"
#include "proto/crash_point.h"

/* From <asm-generic/mman-common.h> of Linux 5.14; older headers lack it, older kernels refuse. */
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

/* 256 KiB: some 40 us; it stays in the second-level cache. In the program's file there is none. */
static const unsigned char zeros[(size_t)256 << 10];

/* ------------------------------------------------------------------------ in the scrubber ----- */

/*
 * Through a mapping, which takes half the time of pwrite() where pages are huge, and as long where
 * they are small. Populated first: what can not be had is an error then, and no signal.
 * Return: whether it was done.
 */
static bool range_clear_mapped(int fd, uint64_t at, uint64_t n_bytes)
{
    struct huge_pages_window window;
    if (huge_pages_map(fd, at, n_bytes, &window)) {
        return false;
    }
    const bool is_there = madvise(window.bytes, n_bytes, MADV_POPULATE_WRITE) == 0;
    if (is_there) {
        memset(window.bytes, 0, n_bytes);
    }
    huge_pages_unmap(&window);
    return is_there;
}

/* Return: 0 or a negative errno. */
static int range_write(int fd, uint64_t at, uint64_t n_bytes)
{
    uint64_t n_done = 0;
    while (n_done < n_bytes) {
        const uint64_t left = n_bytes - n_done;
        const ssize_t n =
            pwrite(fd, zeros, left < sizeof(zeros) ? left : sizeof(zeros), (off_t)(at + n_done));
        if (n < 0 && errno != EINTR) {
            return -errno;
        }
        n_done += n > 0 ? (uint64_t)n : 0;
    }
    return 0;
}

/* What keeps a mapping from being had, write() says, or does without. */
static int range_clear(int fd, uint64_t at, uint64_t n_bytes)
{
    return range_clear_mapped(fd, at, n_bytes) ? 0 : range_write(fd, at, n_bytes);
}

static int range_give_back(int fd, uint64_t at, uint64_t n_bytes)
{
    const int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    int r = -EINTR;
    while (r == -EINTR) {
        r = fallocate(fd, mode, (off_t)at, (off_t)n_bytes) < 0 ? -errno : 0;
    }
    return r;
}

KMEM_NORETURN static void leave(void)
{
    _exit(0); /* what the server had to flush is the server's */
}

static void answer(int fd, enum scrubber_kind kind, int error, uint64_t n_huge)
{
    const struct scrubber_answer said = {(uint32_t)kind, error, n_huge};
    if (send(fd, &said, sizeof(said), MSG_NOSIGNAL) < 0) {
        leave();
    }
}

/* Waits for what the server says, unless there is something to collapse meanwhile. */
static bool order_take(int fd, bool has_work, struct scrubber_order *ret_order)
{
    const ssize_t n = recv(fd, ret_order, sizeof(*ret_order), has_work ? MSG_DONTWAIT : 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return false;
    }
    if (n != (ssize_t)sizeof(*ret_order)) {
        leave();
    }
    return true;
}

static int range_take(int fd, uint64_t at, uint64_t n_bytes)
{
    return -posix_fallocate(fd, (off_t)at, (off_t)n_bytes);
}

static int order_try(int segment_fd, const struct scrubber_order *order)
{
    switch (order->kind) {
    case SCRUBBER_GIVE_BACK:
        return range_give_back(segment_fd, order->at, order->n_bytes);
    case SCRUBBER_TAKE:
        return range_take(segment_fd, order->at, order->n_bytes);
    default:
        return range_clear(segment_fd, order->at, order->n_bytes);
    }
}

static void order_do(int fd, int segment_fd, const struct scrubber_order *order)
{
    KMEM_CRASH_POINT("scrubber.ordered");
    const int r = order_try(segment_fd, order);
    KMEM_CRASH_POINT("scrubber.done");
    answer(fd, SCRUBBER_DONE, r, 0);
}

KMEM_NORETURN static void work(int fd, int segment_fd)
{
    struct huge_pages huge_pages;
    bool collapses = false;
    for (;;) {
        struct scrubber_order order;
        if (order_take(fd, collapses, &order)) {
            if (order.kind == SCRUBBER_COLLAPSE) {
                huge_pages_init(&huge_pages, segment_fd, order.at, order.n_bytes);
                collapses = true;
            } else {
                order_do(fd, segment_fd, &order);
            }
        } else if (collapses && !huge_pages_step(&huge_pages)) {
            collapses = false;
            answer(fd, SCRUBBER_COLLAPSED, huge_pages.error, huge_pages.n_huge);
        }
    }
}

/* Where memory is short this process is to end, and no other. */
static void offer_to_oom_killer(void)
{
    const int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd >= 0) {
        const ssize_t n = write(fd, "1000", 4);
        (void)n;         /* else it is one of many */
        (void)close(fd); /* nothing was kept back */
    }
}

/* Waits until no other scrubber of this segment is left. */
static int lock_take(int state_fd)
{
    struct flock lock = {
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = STATE_LOCK_SCRUBBER, .l_len = 1};
    int r;
    do {
        r = fcntl(state_fd, F_SETLKW, &lock) < 0 ? -errno : 0;
    } while (r == -EINTR);
    return r;
}

/*
 * Connections, clients' files, the pipes of stdout and stderr, of whose end somebody may wait: what
 * this process would hold beyond the server's end.
 */
static int fds_close_others(const int *kept, size_t n_kept)
{
    unsigned from = 0;
    for (size_t done = 0; done <= n_kept; done++) {
        unsigned next = ~0U;
        for (size_t i = 0; i < n_kept; i++) {
            const unsigned fd = (unsigned)kept[i];
            next = fd >= from && fd < next ? fd : next;
        }
        if (next > from && syscall(SYS_close_range, from, next == ~0U ? next : next - 1, 0) < 0) {
            return -errno;
        }
        if (next == ~0U) {
            break;
        }
        from = next + 1;
    }
    return 0;
}

KMEM_NORETURN static void scrubber_become(int fd, int segment_fd, int state_fd, pid_t server)
{
    const int kept[] = {fd, segment_fd, state_fd};
    (void)prctl(PR_SET_NAME, "kmemd-scrubber"); /* can not fail */
    offer_to_oom_killer();
    if (fds_close_others(kept, sizeof(kept) / sizeof(kept[0])) == 0 &&
        prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == server && lock_take(state_fd) == 0) {
        answer(fd, SCRUBBER_READY, 0, 0);
        work(fd, segment_fd);
    }
    leave();
}

/* -------------------------------------------------------------------------- in the server ----- */

int scrubber_start(int segment_fd, int state_fd, struct scrubber *ret_scrubber)
{
    int ends[2];
    const pid_t self = getpid();
    const int r = control_pair(ends);
    if (r) {
        return r;
    }
    const pid_t pid = fork();
    if (pid == 0) {
        scrubber_become(ends[1], segment_fd, state_fd, self);
    }
    const int error = errno;
    (void)close(ends[1]); /* the scrubber has its own */
    if (pid < 0) {
        (void)close(ends[0]); /* nobody is at the other end */
        return -error;
    }
    *ret_scrubber = (struct scrubber){pid, ends[0]};
    return 0;
}

int scrubber_order(const struct scrubber *scrubber, const struct scrubber_order *order)
{
    const ssize_t n = send(scrubber->fd, order, sizeof(*order), MSG_NOSIGNAL | MSG_DONTWAIT);
    return n < 0 ? -errno : 0;
}

int scrubber_hear(const struct scrubber *scrubber, struct scrubber_answer *ret_answer)
{
    const ssize_t n = recv(scrubber->fd, ret_answer, sizeof(*ret_answer), MSG_DONTWAIT);
    if (n < 0) {
        return errno == ECONNRESET ? -EPIPE : (errno == EINTR ? -EAGAIN : -errno);
    }
    return n == (ssize_t)sizeof(*ret_answer) ? 0 : -EPIPE;
}

void scrubber_reap(const struct scrubber *scrubber)
{
    (void)waitpid(scrubber->pid, NULL, WNOHANG); /* it is ours, or a moment later init's */
}

/* SPDX-License-Identifier: MIT */
/*
 * An allocation loads the tick, a release compares it: that is how every call finds an end that was
 * written down. One that no process could write down, since the keeper was killed, or a service
 * manager has dropped what it kept, shows in the lock that is gone. To ask for that is a system
 * call; it is made by calls that no daemon answers, by calls in a suspended segment, and once a
 * second by calls that find the tick standing still where it should move ten times.
 *
 * An end that was found so is made to look like one that was written down: the page is replaced by
 * one of our own that says so. From then on every call of every thread finds it.
 */
#include "client/link/notice.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "client/link/conn.h"

/* 1 s: ten ticks. Less would ask because of a server that is busy for a moment. */
#define STANDING_MS 1000

KMEM_MUST_USE static bool notice_is_locked(const struct notice_file *notice)
{
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
    return fcntl(notice->mark.fd, F_OFD_GETLK, &lock) < 0 || lock.l_type != F_UNLCK;
}

void kmem__notice_open(struct notice_file *notice, unsigned char *at, int fd,
                       const char *segment_name)
{
    notice->mark = kmem__mark_of(kmem__descriptor_raise(fd));
    (void)snprintf(notice->segment_name, sizeof(notice->segment_name), "%s", segment_name);
    notice->at = at;
    notice->has_lock = notice_is_locked(notice); /* an older daemon holds none */
}

void kmem__notice_close(struct notice_file *notice)
{
    kmem__mark_close(&notice->mark);
    memset((void *)notice, 0, sizeof(*notice));
}

static const struct notice *notice_page(const struct notice_file *notice)
{
    return (const void *)(notice->at + CLOCK_TICK_AT);
}

static uint32_t notice_load_tick(const struct notice_file *notice)
{
    /* Acquire: what was written before it was stopped is seen. Partner: the daemon's write(). */
    return atomic_load_explicit(&notice_page(notice)->tick, memory_order_acquire);
}

/* Whether the keeper or a service manager has the segment; also if it can not be told. */
static bool notice_is_held(const struct notice_file *notice)
{
    return !notice->has_lock || !kmem__mark_holds(&notice->mark) || notice_is_locked(notice);
}

/* Puts a page in the place of the daemon's. Without memory it stays: the next call asks again. */
static void notice_replace(const struct notice_file *notice)
{
    const struct notice *page = notice_page(notice);
    unsigned char *own =
        mmap(NULL, CLOCK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (own == MAP_FAILED) {
        return;
    }
    struct notice *said = (void *)(own + CLOCK_TICK_AT);
    memcpy(said->when, page->when, sizeof(said->when));
    /* Relaxed: no other thread has the page yet. */
    atomic_store_explicit(&said->last_tick, notice_tick(&page->tick), memory_order_relaxed);
    atomic_store_explicit(&said->end, NOTICE_ENDED, memory_order_relaxed);
    atomic_store_explicit(&said->tick, TICK_STOPPED, memory_order_relaxed);
    (void)mprotect(own, CLOCK_BYTES, PROT_READ);
    (void)madvise(own, CLOCK_BYTES, MADV_DONTFORK);
    if (mremap(own, CLOCK_BYTES, CLOCK_BYTES, MREMAP_MAYMOVE | MREMAP_FIXED, notice->at) ==
        MAP_FAILED) {
        (void)munmap(own, CLOCK_BYTES);
    }
}

KMEM_MUST_USE static int notice_has_ended(const struct notice_file *notice, bool is_stopped,
                                          struct failure *failure)
{
    char when[NOTICE_WHEN_BYTES + 1] = "";
    memcpy(when, notice_page(notice)->when, NOTICE_WHEN_BYTES);
    (void)kmem__failure_set(failure, ECONNRESET, "segment \"");
    kmem__failure_add_foreign(failure, notice->segment_name);
    if (is_stopped && when[0] != '\0') {
        kmem__failure_add(failure, "\" has ended: kmemd was stopped at ");
        kmem__failure_add_foreign(failure, when);
    } else {
        kmem__failure_add(failure, "\" has ended: its kmemd was killed, and nobody has kept it");
    }
    return -ECONNRESET;
}

/* The kernel says that no process has it. Return: -ECONNRESET. */
KMEM_MUST_USE static int notice_was_dropped(const struct notice_file *notice, bool is_stopped,
                                            struct failure *failure)
{
    notice_replace(notice);
    return notice_has_ended(notice, is_stopped, failure);
}

/* Whether the tick has not moved for long; says so once in that time. */
static bool notice_stands_still(struct notice_file *notice, uint32_t tick)
{
    const int64_t now_ms = kmem__monotonic_ms();
    /* Relaxed, all: of two threads that look at the same time both may ask, or one a little later.
     */
    if (atomic_load_explicit(&notice->seen_tick, memory_order_relaxed) != tick) {
        atomic_store_explicit(&notice->seen_tick, tick, memory_order_relaxed);
        atomic_store_explicit(&notice->seen_ms, now_ms, memory_order_relaxed);
        return false;
    }
    if (now_ms - atomic_load_explicit(&notice->seen_ms, memory_order_relaxed) < STANDING_MS) {
        return false;
    }
    atomic_store_explicit(&notice->seen_ms, now_ms, memory_order_relaxed);
    return true;
}

bool kmem__notice_is_suspended(const struct notice_file *notice)
{
    return notice_load_tick(notice) == TICK_STOPPED;
}

int kmem__notice_ask(struct notice_file *notice, struct failure *failure)
{
    if (notice->at == NULL) {
        return 0;
    }
    const bool is_stopped = notice_load_tick(notice) == TICK_STOPPED;
    /* Relaxed: ordered by the tick. */
    const uint32_t end = atomic_load_explicit(&notice_page(notice)->end, memory_order_relaxed);
    if (is_stopped && end == NOTICE_ENDED) {
        return notice_has_ended(notice, true, failure);
    }
    return notice_is_held(notice) ? 0 : notice_was_dropped(notice, is_stopped, failure);
}

int kmem__notice_look(struct notice_file *notice, struct failure *failure)
{
    if (notice->at == NULL) {
        return 0;
    }
    const uint32_t tick = notice_load_tick(notice);
    return tick == TICK_STOPPED || notice_stands_still(notice, tick)
               ? kmem__notice_ask(notice, failure)
               : 0;
}

/* SPDX-License-Identifier: MIT */
#include "daemon/notice.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "daemon/log.h"

int notice_hold(int clock_fd)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    return fcntl(clock_fd, F_OFD_SETLK, &lock) < 0 ? -errno : 0;
}

static int word_write(int clock_fd, size_t at, uint32_t word)
{
    return pwrite(clock_fd, &word, sizeof(word), (off_t)(CLOCK_TICK_AT + at)) ==
                   (ssize_t)sizeof(word)
               ? 0
               : -EIO;
}

/* What is there is the time, unless it was stopped before. */
static int last_tick_write(int clock_fd)
{
    uint32_t tick;
    if (pread(clock_fd, &tick, sizeof(tick), CLOCK_TICK_AT) != (ssize_t)sizeof(tick)) {
        return -EIO;
    }
    return tick == TICK_STOPPED ? 0
                                : word_write(clock_fd, offsetof(struct notice, last_tick), tick);
}

static int when_write(int clock_fd)
{
    char when[NOTICE_WHEN_BYTES] = "";
    const time_t now = time(NULL);
    struct tm local;
    if (localtime_r(&now, &local)) {
        (void)strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &local); /* else it stays empty */
    }
    return pwrite(clock_fd, when, sizeof(when), CLOCK_TICK_AT + offsetof(struct notice, when)) ==
                   (ssize_t)sizeof(when)
               ? 0
               : -EIO;
}

void notice_write(int clock_fd, enum notice_end end)
{
    int r = 0;
    if (end != NOTICE_SERVED) {
        r = last_tick_write(clock_fd);
        r = r ? r : when_write(clock_fd);
    }
    r = r ? r : word_write(clock_fd, offsetof(struct notice, end), end);
    if (end != NOTICE_SERVED) {
        /* Before: the segment is served. After: clients look, and find the rest in place. */
        r = r ? r : word_write(clock_fd, offsetof(struct notice, tick), TICK_STOPPED);
    }
    if (r) {
        log_error("clients can not be told of the segment's end: %s", strerror(-r));
    }
}

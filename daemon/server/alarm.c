/* SPDX-License-Identifier: MIT */
#include "daemon/server/alarm.h"

#include <errno.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "daemon/server/loop.h"

static struct timespec time_of(uint32_t ms)
{
    return (struct timespec){.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
}

/* Every 0: once. Both 0: never. */
static void timer_set(const struct alarm *alarm, uint32_t first_ms, uint32_t every_ms)
{
    const struct itimerspec times = {.it_interval = time_of(every_ms),
                                     .it_value = time_of(first_ms)};
    const int r = timerfd_settime(alarm->fd, 0, &times, NULL);
    KMEM_ASSERT(r == 0); /* it fails for what is no timer, or no time */
}

static void alarm_rang(uv_poll_t *poll, int status, int events)
{
    struct alarm *alarm = (struct alarm *)poll;
    uint64_t n_times;
    (void)status; /* of a timer there is no error */
    (void)events;
    if (read(alarm->fd, &n_times, sizeof(n_times)) != (ssize_t)sizeof(n_times)) {
        return; /* it was stopped or set anew after the loop had seen it */
    }
    alarm->is_set = alarm->repeats;
    alarm->rang(alarm->user);
}

int alarm_open(struct alarm *alarm, uv_loop_t *loop, alarm_fn rang, void *user)
{
    *alarm = (struct alarm){.rang = rang, .user = user};
    alarm->fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (alarm->fd < 0) {
        return -errno;
    }
    int r = uv_poll_init(loop, &alarm->poll, alarm->fd);
    if (r) {
        (void)close(alarm->fd); /* nothing is written through it */
        return r;
    }
    r = uv_poll_start(&alarm->poll, UV_READABLE, alarm_rang);
    r = r ? r : loop_reserve(loop, alarm->fd);
    if (r) {
        alarm_close(alarm);
    }
    return r;
}

static void alarm_closed(uv_handle_t *handle)
{
    (void)close(((struct alarm *)handle)->fd); /* nothing is written through it */
}

void alarm_close(struct alarm *alarm)
{
    uv_close((uv_handle_t *)&alarm->poll, alarm_closed);
}

void alarm_set(struct alarm *alarm, uint32_t first_ms, uint32_t every_ms)
{
    KMEM_ASSERT(first_ms > 0);
    alarm->is_set = true;
    alarm->repeats = every_ms > 0;
    timer_set(alarm, first_ms, every_ms);
}

void alarm_stop(struct alarm *alarm)
{
    alarm->is_set = false;
    timer_set(alarm, 0, 0);
}

/* SPDX-License-Identifier: MIT */
/*
 * alarm.h - a timer that costs a waiting loop nothing
 *
 * While a timer of libuv's runs, epoll_wait() is given a time, and the kernel sets a timer up and
 * takes it down each time that the server sleeps: 0.2 us of each round trip. This one is set once,
 * in the kernel (timerfd), and is a descriptor like others. It is for what runs while requests are
 * served; what runs a few times in a minute may be a uv_timer_t.
 */
#ifndef DAEMON_SERVER_ALARM_H
#define DAEMON_SERVER_ALARM_H

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "proto/attributes.h"

typedef void (*alarm_fn)(void *user);

struct alarm {
    uv_poll_t poll; /* first: libuv hands it back */
    int fd;
    bool is_set;
    bool repeats;
    alarm_fn rang;
    void *user;
};

/**
 * alarm_open() - an alarm that is not set
 * Return: 0 or a negative errno; then there is nothing to close.
 */
KMEM_MUST_USE int alarm_open(struct alarm *alarm, uv_loop_t *loop, alarm_fn rang, void *user);

/** alarm_close() - its descriptor is closed when the loop has run */
void alarm_close(struct alarm *alarm);

/** alarm_set() - ring in first_ms, at least 1, and then every every_ms; 0: once */
void alarm_set(struct alarm *alarm, uint32_t first_ms, uint32_t every_ms);

/** alarm_stop() - it does not ring any more */
void alarm_stop(struct alarm *alarm);

static inline bool alarm_is_set(const struct alarm *alarm)
{
    return alarm->is_set;
}

#endif

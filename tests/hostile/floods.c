/* SPDX-License-Identifier: MIT */
/*
 * floods.c - more than anyone needs, and slower than anyone needs
 */
#include <errno.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/hostile/hostile.h"

/* As many as one process has descriptors for, in the usual limit. */
#define CONNECTIONS_MAX 900

static void sleep_ms(long duration_ms)
{
    const struct timespec pause = {.tv_nsec = duration_ms * 1000000};
    (void)nanosleep(&pause, NULL);
}

/* Until the daemon takes no more: it has stopped reading from who does not read. */
static void send_ahead(int fd, const unsigned char *frame, size_t n_bytes, uint64_t n_requests)
{
    unsigned int n_full = 0;
    size_t at = 0;
    for (uint64_t n = 0; n < n_requests && n_full < 20;) {
        const ssize_t sent = send(fd, frame + at, n_bytes - at, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno != EAGAIN) {
            return; /* it has closed */
        }
        if (sent < 0) {
            n_full++;
            sleep_ms(1);
            continue;
        }
        at = (at + (size_t)sent) % n_bytes;
        n += at == 0;
    }
}

void attack_pipelining(void)
{
    unsigned char frame[64];
    for (uint64_t round = 0; round < many(2, 10); round++) {
        const int member = hostile_join(KMEM__ROLE__ROLE_MEMBER);
        const int observer = hostile_join(KMEM__ROLE__ROLE_OBSERVER);
        const size_t n_bytes = request_pack(request_size_of(NEW_REQUEST, 64), frame, sizeof(frame));
        if (member >= 0 && observer >= 0) {
            send_ahead(member, frame, n_bytes, many(20000, 1000000));
        }
        if (member >= 0 && observer >= 0) {
            const size_t n_usage = request_pack(request_usage(NEW_REQUEST), frame, sizeof(frame));
            send_ahead(observer, frame, n_usage, many(20000, 1000000));
        }
        (void)close(member);
        (void)close(observer);
    }
}

void attack_half_close(void)
{
    for (uint64_t n = 0; n < many(200, 20000); n++) {
        const int fd = hostile_connect();
        if (fd < 0) {
            continue;
        }
        if (n % 2 == 0) {
            (void)shutdown(fd, SHUT_RD);
        }
        (void)hostile_send(
            fd, request_hello(NEW_REQUEST,
                              n % 4 < 2 ? KMEM__ROLE__ROLE_OBSERVER : KMEM__ROLE__ROLE_MEMBER, 0));
        (void)hostile_send(fd, request_usage(NEW_REQUEST));
        (void)shutdown(fd, SHUT_WR);
        if (n % 2 == 1) {
            (void)hostile_hear(fd); /* an answer, or it has closed */
        }
        (void)close(fd);
    }
}

void attack_slow(void)
{
    static int fds[64];
    unsigned char frame[64];
    const size_t n_bytes = request_pack(request_usage(NEW_REQUEST), frame, sizeof(frame));
    for (size_t i = 0; i < 64; i++) {
        fds[i] = i % 2 == 0 ? hostile_connect() : hostile_join(KMEM__ROLE__ROLE_OBSERVER);
    }
    for (uint64_t n = 0; n < many(100, 2000); n++) {
        for (size_t i = 0; i < 64; i++) {
            (void)send(fds[i], frame + n % n_bytes, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
        }
        sleep_ms(1);
    }
    for (size_t i = 0; i < 64; i++) {
        (void)close(fds[i]);
    }
}

void attack_connect_flood(void)
{
    for (uint64_t n = 0; n < many(2000, 100000); n++) {
        (void)close(hostile_connect());
    }
}

static void hold_connections(bool says_hello)
{
    static int fds[CONNECTIONS_MAX];
    const uint64_t n_fds = many(300, CONNECTIONS_MAX);
    for (uint64_t i = 0; i < n_fds; i++) {
        fds[i] = says_hello ? hostile_join(KMEM__ROLE__ROLE_OBSERVER) : hostile_connect();
    }
    for (uint64_t i = 0; i < n_fds; i++) {
        (void)close(fds[i]); /* -1: it was refused */
    }
}

static void hold_unfinished(void)
{
    hold_connections(false);
}

static void hold_observers(void)
{
    hold_connections(true);
}

void attack_unfinished(void)
{
    hostile_crew(4, hold_unfinished);
}

void attack_observers(void)
{
    hostile_crew(4, hold_observers);
}

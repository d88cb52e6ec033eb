/* SPDX-License-Identifier: MIT */
/*
 * questions.c - what takes longest to answer, over many connections, and never read to its end
 */
#include <sys/socket.h>
#include <unistd.h>

#include "tests/hostile/hostile.h"

#define N_CONNECTIONS 16
#define FRAME_BYTES 128

/* Return: its bytes. */
static size_t question(uint64_t number, unsigned char *frame)
{
    static const Kmem__Request__BodyCase kinds[] = {
        KMEM__REQUEST__BODY_BLOCKS,    KMEM__REQUEST__BODY_USAGE,    KMEM__REQUEST__BODY_HISTORY,
        KMEM__REQUEST__BODY_LIFETIMES, KMEM__REQUEST__BODY_PAGES,    KMEM__REQUEST__BODY_HOLDERS,
        KMEM__REQUEST__BODY_NAMES,     KMEM__REQUEST__BODY_REFUSALS, KMEM__REQUEST__BODY_OBITUARIES,
        KMEM__REQUEST__BODY_CLIENTS,   KMEM__REQUEST__BODY_LIMITS};
    static const char pattern[] = "*a*b*c*d*e*f*g*h*i*j*k*l*m*n*o*p*";
    Kmem__BlockFilter filter = KMEM__BLOCK_FILTER__INIT;
    struct request request;
    if (number % 3 == 0) {
        (void)request_ledger(&request, (Kmem__GroupBy)(number / 3 % 7), 0);
    } else if (number % 3 == 1) { /* a pattern that has to be tried everywhere */
        filter.reason.data = (uint8_t *)(uintptr_t)pattern;
        filter.reason.len = sizeof(pattern) - 1;
        (void)request_blocks(&request, 0);
        request.blocks.filter = &filter;
    } else {
        (void)request_plain(&request, kinds[number / 3 % 11]);
    }
    return request_pack(&request.base, frame, FRAME_BYTES);
}

static void drop_answers(int fd)
{
    static unsigned char bytes[65536];
    while (recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0) {
    }
}

/* Questions are sent ahead; of some connections nothing is ever read. */
void attack_questions(void)
{
    int fds[N_CONNECTIONS];
    unsigned char frame[FRAME_BYTES];
    for (size_t i = 0; i < N_CONNECTIONS; i++) {
        fds[i] = hostile_join(KMEM__ROLE__ROLE_OBSERVER);
    }
    for (uint64_t n = 0; n < many(4000, 400000); n++) {
        const size_t n_bytes = question(n / N_CONNECTIONS, frame);
        const int fd = fds[n % N_CONNECTIONS];
        must(n_bytes > 0);
        if (send(fd, frame, n_bytes, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)n_bytes) {
            (void)usleep(100); /* it is full, or half of it went: then it is no question any more */
        }
        if (n % N_CONNECTIONS > 3) {
            drop_answers(fd);
        }
    }
    for (size_t i = 0; i < N_CONNECTIONS; i++) {
        (void)close(fds[i]);
    }
}

/* Answers that wait for what never comes, on as many connections as there are. */
void attack_waits(void)
{
    static int fds[100];
    for (size_t i = 0; i < 100; i++) {
        struct request request;
        fds[i] = hostile_join(KMEM__ROLE__ROLE_OBSERVER);
        if (fds[i] < 0) {
            continue;
        }
        if (i % 2 == 0) {
            (void)request_plain(&request, KMEM__REQUEST__BODY_CHANGES);
            request.changes.wait_ms = CHANGES_WAIT_MAX_MS;
            request.changes.from_now = true;
        } else {
            (void)request_plain(&request, KMEM__REQUEST__BODY_WATCH);
            ((Kmem__Watch *)&request.body)->name.data = (uint8_t *)(uintptr_t) "watched";
            ((Kmem__Watch *)&request.body)->name.len = 7;
        }
        (void)hostile_send(fds[i], &request.base);
    }
    const int fd = hostile_join(KMEM__ROLE__ROLE_MEMBER);
    for (uint64_t n = 0; n < many(300, 50000) && fd >= 0; n++) {
        const uint64_t offset =
            hostile_allocate(fd, 100, "a change"); /* each is a change to tell */
        must(offset == 0 || hostile_answer(fd, request_release(NEW_REQUEST, offset)) == ANSWER_OK);
    }
    (void)close(fd);
    for (size_t i = 0; i < 100; i++) {
        (void)close(fds[i]);
    }
}

/* SPDX-License-Identifier: MIT */
/*
 * hostile.c - hostile ATTACK [--full] [--for SECONDS] | --list
 *
 * Runs one attack on $KMEM_SOCKET as the user that it is started as, once or for so long, with the
 * counts of a campaign if they are wanted. Status 0: the daemon did what it promises.
 */
#include "tests/hostile/hostile.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* For an answer; longer than a test's patience would hide what did not come. */
#define ANSWER_MS 120000

static bool is_full;

void hostile_fail(const char *file, int line, const char *what)
{
    (void)fprintf(stderr, "hostile: %s:%d: not so: %s (errno: %s)\n", file, line, what,
                  strerror(errno));
    _exit(1);
}

static bool wait_for_answer(int fd)
{
    struct pollfd readable = {.fd = fd, .events = POLLIN};
    return poll(&readable, 1, ANSWER_MS) == 1;
}

KMEM_NORETURN static void fail_frame(const char *why)
{
    hostile_fail("frames", 0, why);
}

const struct frames_host frames_host = {wait_for_answer, fail_frame};

uint64_t many(uint64_t few, uint64_t all)
{
    return is_full ? all : few;
}

int hostile_connect(void)
{
    const char *const path = getenv("KMEM_SOCKET");
    must(path != NULL);
    const int fd = frames_connect(path);
    return fd < 0 ? -1 : fd;
}

bool hostile_send(int fd, const Kmem__Request *request)
{
    unsigned char frame[4 * REQUEST_MAX_BYTES];
    const size_t n_bytes = request_pack(request, frame, sizeof(frame));
    must(n_bytes > 0);
    return frames_send_bytes(fd, frame, n_bytes);
}

Kmem__Response *hostile_ask(int fd, const Kmem__Request *request)
{
    return hostile_send(fd, request) ? frames_receive(fd, NULL) : NULL;
}

static int answer_of(Kmem__Response *response)
{
    int answer = ANSWER_CLOSED;
    if (response != NULL) {
        const bool is_error = response->body_case == KMEM__RESPONSE__BODY_ERROR;
        answer = is_error ? (int)response->error->code : ANSWER_OK;
        must(!is_error || response->error->message[0] != '\0');
        kmem__response__free_unpacked(response, NULL);
    }
    return answer;
}

int hostile_answer(int fd, const Kmem__Request *request)
{
    return answer_of(hostile_ask(fd, request));
}

int hostile_hear(int fd)
{
    return answer_of(frames_receive(fd, NULL));
}

static int join(Kmem__Role role, struct wire_descriptors *ret_descriptors)
{
    const int fd = hostile_connect();
    ret_descriptors->n_fds = 0;
    if (fd < 0) {
        return -1;
    }
    /* One that is refused before it says anything is sent a refusal, and may find it closed. */
    (void)hostile_send(fd, request_hello(NEW_REQUEST, role, 0));
    if (answer_of(frames_receive(fd, ret_descriptors)) != ANSWER_OK) {
        (void)close(fd);
        return -1;
    }
    return fd;
}

int hostile_join(Kmem__Role role)
{
    struct wire_descriptors descriptors;
    const int fd = join(role, &descriptors);
    for (size_t i = 0; i < descriptors.n_fds; i++) {
        (void)close(descriptors.fds[i]);
    }
    return fd;
}

/* 10 ms: the daemon asks a process to come again while it takes its last client off the books. */
int hostile_member(struct wire_descriptors *ret_descriptors)
{
    static const struct timespec pause = {.tv_nsec = 10000000};
    int fd = join(KMEM__ROLE__ROLE_MEMBER, ret_descriptors);
    for (unsigned int i = 0; i < 1000 && fd < 0; i++) {
        (void)nanosleep(&pause, NULL);
        fd = join(KMEM__ROLE__ROLE_MEMBER, ret_descriptors);
    }
    must(fd >= 0 && ret_descriptors->n_fds >= WELCOME_DESCRIPTORS);
    return fd;
}

void hostile_drop(int fd, struct wire_descriptors *descriptors)
{
    for (size_t i = 0; i < descriptors->n_fds; i++) {
        (void)close(descriptors->fds[i]);
    }
    (void)close(fd);
}

uint64_t hostile_allocate(int fd, uint64_t num_bytes, const char *reason)
{
    Kmem__Response *const response =
        hostile_ask(fd, request_allocate(NEW_REQUEST, num_bytes, reason, strlen(reason)));
    uint64_t offset = 0;
    if (response != NULL && response->body_case == KMEM__RESPONSE__BODY_ALLOCATED) {
        offset = response->allocated->offset;
        must(offset != 0);
    }
    (void)answer_of(response);
    return offset;
}

void hostile_crew(unsigned int n, void (*run)(void))
{
    for (unsigned int i = 0; i < n; i++) {
        const pid_t pid = fork();
        must(pid >= 0);
        if (pid == 0) {
            (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
            run();
            _exit(0);
        }
    }
    int status = 0;
    for (unsigned int i = 0; i < n; i++) {
        must(wait(&status) > 0);
        must(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
}

static int list(void)
{
    for (size_t i = 0; i < n_attacks; i++) {
        (void)printf("%-18s %-10s %s\n", attacks[i].name, attacks[i].family, attacks[i].what);
    }
    return 0;
}

static time_t now_s(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

int main(int argc, char **argv)
{
    const char *name = "--list";
    time_t until_s = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--full") == 0) {
            is_full = true;
        } else if (strcmp(argv[i], "--for") == 0 && i + 1 < argc) {
            until_s = now_s() + strtol(argv[++i], NULL, 10);
        } else {
            name = argv[i];
        }
    }
    if (strcmp(name, "--list") == 0) {
        return list();
    }
    for (size_t i = 0; i < n_attacks; i++) {
        if (strcmp(attacks[i].name, name) == 0) {
            do {
                hostile_crew(1, attacks[i].run); /* a client of its own each time */
            } while (now_s() < until_s);
            return 0;
        }
    }
    (void)fprintf(stderr, "hostile: no attack \"%s\"\n", name);
    return 2;
}

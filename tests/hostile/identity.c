/* SPDX-License-Identifier: MIT */
/*
 * identity.c - being another, being twice, and not being any more
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/hostile/hostile.h"
#include "tests/support/seeded.h"

void attack_other_nonce(void)
{
    struct seeded seeded = {(uint64_t)getpid()};
    for (uint64_t n = 0; n < many(300, 50000); n++) {
        const int fd = hostile_connect();
        if (fd >= 0) {
            must(hostile_answer(fd, request_hello(NEW_REQUEST, KMEM__ROLE__ROLE_MEMBER,
                                                  seeded_next(&seeded) | 1)) > ANSWER_OK);
            (void)close(fd);
        }
    }
}

static void join_and_exec(void)
{
    struct wire_descriptors descriptors;
    const int fd = hostile_member(&descriptors);
    (void)hostile_allocate(fd, 50000, "before an exec");
    (void)fcntl(fd, F_SETFD, 0); /* what it becomes has the connection, and does not know */
    (void)execl("/proc/self/exe", "hostile", "one_byte", (char *)NULL);
    hostile_fail(__FILE__, __LINE__, "exec");
}

void attack_double_join(void)
{
    for (uint64_t n = 0; n < many(30, 2000); n++) {
        struct wire_descriptors descriptors;
        const int fd = hostile_member(&descriptors);
        (void)hostile_allocate(fd, 1000, "joined again");
        const int other = hostile_join(KMEM__ROLE__ROLE_MEMBER); /* or it is refused */
        hostile_drop(fd, &descriptors);
        (void)close(other);
    }
    hostile_crew(4, join_and_exec);
}

/* In a process whose parent has connected: when that is dead, the connection is its. */
static void speak_for_the_dead(int fd, int parent_fd)
{
    struct pollfd dead = {.fd = parent_fd, .events = POLLIN};
    must(poll(&dead, 1, 60000) == 1);
    (void)hostile_send(fd, request_hello(NEW_REQUEST, KMEM__ROLE__ROLE_MEMBER, 0));
    /* The server may have known it before it died; then it gives it up a moment later. */
    if (hostile_hear(fd) == ANSWER_OK) {
        (void)hostile_allocate(fd, 1000000, "of a dead client");
    }
    (void)close(fd);
    (void)close(parent_fd);
}

static void connect_and_die(void)
{
    const int own_fd = (int)syscall(SYS_pidfd_open, getpid(), 0);
    const int fd = hostile_connect();
    const pid_t pid = fork();
    must(pid >= 0 && own_fd >= 0);
    if (pid == 0) {
        if (fd >= 0) {
            speak_for_the_dead(fd, own_fd);
        }
        _exit(0);
    }
    _exit(0);
}

void attack_handed_over(void)
{
    hostile_crew((unsigned int)many(20, 500), connect_and_die);
}

static void hold_and_die(void)
{
    struct wire_descriptors descriptors;
    const int fd = hostile_member(&descriptors);
    for (unsigned int i = 0; i < 20; i++) {
        (void)hostile_allocate(fd, 100 + i * 1000, "of one that is killed");
    }
    (void)hostile_answer(fd, request_lease(NEW_REQUEST, 4, 16));
    _exit(0); /* the kernel drops everything as after SIGKILL: nothing is said */
}

void attack_deaths(void)
{
    for (uint64_t n = 0; n < many(6, 500); n++) {
        hostile_crew(8, hold_and_die);
    }
}

void attack_admin_requests(void)
{
    for (uint64_t n = 0; n < many(20, 5000); n++) {
        const int fd =
            hostile_join(n % 2 == 0 ? KMEM__ROLE__ROLE_OBSERVER : KMEM__ROLE__ROLE_MEMBER);
        must(fd < 0 || hostile_answer(fd, request_plain(NEW_REQUEST, KMEM__REQUEST__BODY_RELOAD)) ==
                           KMEM__ERROR_CODE__ERROR_DENIED);
        (void)close(fd);
    }
}

/* Whoever may not write to the directory can do nothing to what is in it. */
void attack_path(void)
{
    const char *const path = getenv("KMEM_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char other[200];
    char lock[200];
    must(path != NULL);
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    (void)snprintf(other, sizeof(other), "%s.of-mine", path);
    (void)snprintf(lock, sizeof(lock), "%s.lock", path);
    for (uint64_t n = 0; n < many(20, 5000); n++) {
        const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        must(unlink(path) < 0 && errno != ENOENT);
        must(rename(path, other) < 0);
        must(link(path, other) < 0);
        must(symlink("/tmp/of-mine", other) < 0);
        must(chmod(path, 0777) < 0);
        must(bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0);
        must(unlink(lock) < 0);
        must(open(lock, O_RDWR | O_CLOEXEC) < 0);
        (void)close(fd);
    }
    must(hostile_join(KMEM__ROLE__ROLE_OBSERVER) >= 0);
}

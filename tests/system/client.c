/* SPDX-License-Identifier: MIT */
/*
 * client.c - processes that do what a function of the test says
 *
 * The line between the two is a socket of packets, 8 bytes each, so neither side can read half a
 * number. The test waits for a number no longer than for the slowest thing a client does.
 */
#include "tests/system/client.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/system/harness.h"

/* Its number in a program that a client has become: the first behind the standard three. */
#define PASSED_LINE_FD 3

static int line_to_test = -1;

KMEM_NORETURN static void become_client(void (*run)(const void *argument), const void *argument,
                                        int line_fd)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (line_fd > 3) {
        (void)close_range(3, (unsigned int)line_fd - 1, 0);
    }
    (void)close_range((unsigned int)line_fd + 1, ~0U, 0);
    line_to_test = line_fd;
    run(argument);
    exit(0);
}

struct client client_start(void (*run)(const void *argument), const void *argument)
{
    int line_fds[2];
    expect_call(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, line_fds) == 0);
    (void)fflush(NULL);
    const pid_t pid = fork();
    expect_call(pid >= 0);
    if (pid == 0) {
        become_client(run, argument, line_fds[1]);
    }
    (void)close(line_fds[1]);
    const int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    expect_call(pidfd >= 0);
    return (struct client){.pid = pid, .pidfd = pidfd, .line_fd = line_fds[0]};
}

void client_tell(const struct client *client, uint64_t number)
{
    expect_call(send(client->line_fd, &number, sizeof(number), MSG_NOSIGNAL) == sizeof(number));
}

void client_try_tell(const struct client *client, uint64_t number)
{
    const ssize_t n = send(client->line_fd, &number, sizeof(number), MSG_NOSIGNAL);
    expect_call(n == sizeof(number) || errno == EPIPE || errno == ECONNRESET);
}

uint64_t client_hear(const struct client *client)
{
    uint64_t number = 0;
    const ssize_t n = recv(client->line_fd, &number, sizeof(number), 0);
    if (n != sizeof(number)) {
        fail("client %d ended before it said something", (int)client->pid);
    }
    return number;
}

static int reap(struct client *client)
{
    int status = 0;
    expect_call(waitpid(client->pid, &status, 0) == client->pid);
    (void)close(client->pidfd);
    (void)close(client->line_fd);
    return status;
}

void client_kill_only(const struct client *client)
{
    struct pollfd dead = {.fd = client->pidfd, .events = POLLIN};
    expect_call(kill(client->pid, SIGKILL) == 0);
    expect_equal(poll(&dead, 1, harness_patient_ms(10000)), 1);
}

void client_kill(struct client *client)
{
    client_kill_only(client);
    (void)reap(client);
}

void client_stop(const struct client *client)
{
    int status = 0;
    expect_call(kill(client->pid, SIGSTOP) == 0);
    expect_call(waitpid(client->pid, &status, WUNTRACED) == client->pid);
    expect_true(WIFSTOPPED(status));
}

void client_continue(const struct client *client)
{
    expect_call(kill(client->pid, SIGCONT) == 0);
}

void client_end(struct client *client)
{
    const pid_t pid = client->pid;
    const int status = reap(client);
    if (status != 0) {
        fail("client %d ended with wait status 0x%x, expected exit status 0", (int)pid,
             (unsigned int)status);
    }
}

void client_end_by(struct client *client, int signal_number)
{
    const int status = reap(client);
    expect_true(WIFSIGNALED(status));
    expect_equal(WTERMSIG(status), signal_number);
}

void client_run(void (*run)(const void *argument), const void *argument)
{
    struct client client = client_start(run, argument);
    client_end(&client);
}

struct client client_begin(void (*run)(const void *argument), const void *argument)
{
    struct client client = client_start(run, argument);
    (void)client_hear(&client);
    return client;
}

void client_resume(const struct client *client)
{
    client_tell(client, 1);
    (void)client_hear(client);
}

void client_finish(struct client *client)
{
    client_tell(client, 1);
    client_end(client);
}

void client_say(uint64_t number)
{
    expect_call(send(line_to_test, &number, sizeof(number), MSG_NOSIGNAL) == sizeof(number));
}

uint64_t client_await(void)
{
    uint64_t number = 0;
    if (recv(line_to_test, &number, sizeof(number), 0) != sizeof(number)) {
        _exit(1); /* the test has failed, and said why */
    }
    return number;
}

void client_pause(void)
{
    client_say(1);
    (void)client_await();
}

void client_pass_line(void)
{
    if (line_to_test != PASSED_LINE_FD) {
        expect_call(dup2(line_to_test, PASSED_LINE_FD) == PASSED_LINE_FD); /* not close-on-exec */
    } else {
        expect_call(fcntl(line_to_test, F_SETFD, 0) == 0);
    }
}

void client_take_line(void)
{
    line_to_test = PASSED_LINE_FD;
}

bool client_was_told(void)
{
    /*
     * It is read: a socket that is closed with something unread in it takes away from its peer what
     * was said before.
     */
    uint64_t number;
    return recv(line_to_test, &number, sizeof(number), MSG_DONTWAIT) == sizeof(number);
}

/* SPDX-License-Identifier: MIT */
/*
 * test_unread.c - stdout and stderr lead to somebody who takes nothing from them
 *
 * Each daemon here begins with both full, or stopped: its ready line is lost like all others. Then
 * it is asked for everything that needs the keeper or the server, and both must do it.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <kmem/kmem.h>
#include <kmem/query.h>

#include "tests/system/client.h"
#include "tests/system/harness.h"

#define N_DEATHS 50

static struct {
    pid_t pid;
    int taker_fd; /* where what it says could be read */
} unread;

/* ------------------------------------------------------------------------------- the ends ---- */

static void fill(int fd)
{
    static const char text[4096];
    const int flags = fcntl(fd, F_GETFL);
    expect_call(fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0);
    while (write(fd, text, sizeof(text)) > 0) {
    }
    while (write(fd, text, 1) > 0) {
    }
    expect_call(fcntl(fd, F_SETFL, flags) == 0);
}

static int open_full_pipe(int *ret_taker_fd)
{
    int ends[2];
    expect_call(pipe2(ends, O_CLOEXEC) == 0);
    fill(ends[1]);
    *ret_taker_fd = ends[0];
    return ends[1];
}

static int open_full_socket(int *ret_taker_fd)
{
    int ends[2];
    expect_call(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    fill(ends[1]);
    *ret_taker_fd = ends[0];
    return ends[1];
}

static int open_stopped_terminal(int *ret_taker_fd)
{
    const int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    expect_call(master >= 0);
    expect_call(grantpt(master) == 0 && unlockpt(master) == 0);
    const int terminal = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
    expect_call(terminal >= 0);
    expect_call(write(master, "\x13", 1) == 1); /* ^S */
    struct pollfd writable = {.fd = terminal, .events = POLLOUT};
    while (poll(&writable, 1, 0) == 1) {
        harness_sleep_ms(1);
    }
    *ret_taker_fd = master;
    return terminal;
}

static int open_full_disk(int *ret_taker_fd)
{
    const int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    expect_call(fd >= 0);
    *ret_taker_fd = -1;
    return fd;
}

static int open_broken_pipe(int *ret_taker_fd)
{
    int ends[2];
    expect_call(pipe2(ends, O_CLOEXEC) == 0);
    (void)close(ends[0]);
    *ret_taker_fd = -1;
    return ends[1];
}

/* ----------------------------------------------------------------------------- the daemon ---- */

static void start(int said_fd)
{
    char path[128];
    (void)snprintf(path, sizeof(path), "%s", harness_path("test.sock"));
    expect_call(setenv("KMEM_SOCKET", path, 1) == 0);
    unread.pid = fork();
    expect_call(unread.pid >= 0);
    if (unread.pid == 0) {
        const char *const program = harness_program("kmemd");
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)dup2(said_fd, STDOUT_FILENO);
        (void)dup2(said_fd, STDERR_FILENO);
        (void)close_range(3, ~0U, 0);
        (void)execl(program, "kmemd", "--name", "test", "--size", "16MiB", "--socket", path,
                    "--watchdog", "3", "--log-level", "debug", NULL);
        _exit(127);
    }
    (void)close(said_fd);
}

static pid_t server_of_it(void)
{
    char path[80];
    char text[64] = "";
    (void)snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)unread.pid,
                   (int)unread.pid);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    expect_call(fd >= 0);
    (void)!read(fd, text, sizeof(text) - 1);
    (void)close(fd);
    return (pid_t)strtol(text, NULL, 10);
}

/* On a busy machine the watchdog may have replaced it just now. Return: the server. */
static pid_t signal_server(int signal_number)
{
    pid_t server = server_of_it();
    while (server == 0 || kill(server, signal_number) != 0) {
        harness_sleep_ms(1);
        server = server_of_it();
    }
    return server;
}

static bool is_served(void)
{
    void *block = kmem_try_allocate(100000, "served");
    const bool served = block != NULL;
    if (served) {
        expect_equal(kmem_try_release(&block), 0);
    }
    return served;
}

static void join(const void *argument)
{
    (void)argument;
    expect_soon(is_served(), 60000);
    expect_equal(kmem_close(), 0);
}

/* Its obituary is logged. */
static void join_and_die(const void *argument)
{
    (void)argument;
    expect_true(kmem_try_allocate(100, "left") != NULL);
    client_pause();
}

static void end_by(int signal_number)
{
    int status;
    expect_call(kill(unread.pid, signal_number) == 0);
    expect_call(waitpid(unread.pid, &status, 0) == unread.pid);
    expect_true(WIFEXITED(status));
    expect_equal(WEXITSTATUS(status), 0);
}

/* Everything that it says something about. */
static void live(void)
{
    client_run(join, NULL);
    for (int i = 0; i < N_DEATHS; i++) {
        struct client client = client_begin(join_and_die, NULL);
        client_kill(&client);
    }
    pid_t server = signal_server(SIGKILL); /* the keeper says that it was killed */
    client_run(join, NULL);
    expect_true(server_of_it() != server);
    server = signal_server(SIGSTOP); /* the watchdog's */
    client_run(join, NULL);
    expect_true(server_of_it() != server);
    server = signal_server(0);
    expect_call(kill(unread.pid, SIGHUP) == 0); /* the upgrade's */
    expect_soon(server_of_it() != server && server_of_it() != 0, 60000);
    client_run(join, NULL);
}

static void live_and_end(int (*open_end)(int *ret_taker_fd))
{
    const int said_fd = open_end(&unread.taker_fd);
    start(said_fd);
    live();
    end_by(SIGTERM);
    if (unread.taker_fd >= 0) {
        (void)close(unread.taker_fd);
    }
}

static void test_a_daemon_lives_and_ends_on_a_full_pipe(void)
{
    live_and_end(open_full_pipe);
}

static void test_a_daemon_lives_and_ends_on_a_full_socket(void)
{
    live_and_end(open_full_socket);
}

static void test_a_daemon_lives_and_ends_on_a_stopped_terminal(void)
{
    live_and_end(open_stopped_terminal);
}

static void test_a_daemon_lives_and_ends_on_a_full_disk(void)
{
    live_and_end(open_full_disk);
}

static void test_a_daemon_lives_and_ends_on_a_broken_pipe(void)
{
    live_and_end(open_broken_pipe);
}

static int keep_dropped(const struct kmem_daemon *daemon, const struct kmem_statistic *statistic,
                        void *user)
{
    (void)daemon;
    if (strcmp(statistic->name, "log_lines_dropped") == 0) {
        *(uint64_t *)user = statistic->value;
    }
    return 0;
}

/* What the statistics say that is missing of the servers' logs. */
static uint64_t n_lines_dropped(void)
{
    uint64_t n_dropped = 0;
    struct kmem_query *query;
    expect_equal(kmem_query_open(NULL, &query), 0);
    expect_equal(kmem_query_usage(query, keep_dropped, &n_dropped), 0);
    kmem_query_close(query);
    return n_dropped;
}

/* Once somebody reads again, keeper and server say how many lines are missing, each of its own. */
static void test_what_was_dropped_is_told_when_somebody_reads_again(void)
{
    char text[65536];
    size_t n_bytes = 0;
    unsigned int n_told = 0;
    start(open_full_pipe(&unread.taker_fd));
    live();
    expect_at_least(n_lines_dropped(), 1); /* obituaries, and that a server serves */
    while (n_told < 2) {
        const ssize_t n = read(unread.taker_fd, text + n_bytes, sizeof(text) - 1 - n_bytes);
        expect_call(n > 0);
        const char *const from = text + n_bytes;
        for (ssize_t i = 0; i < n; i++) { /* what filled it are zeros */
            text[n_bytes] = from[i];
            n_bytes += from[i] != '\0';
        }
        text[n_bytes] = '\0';
        n_told = 0;
        for (const char *at = text; (at = strstr(at, " lines were dropped: stderr")) != NULL;
             at++) {
            n_told++;
        }
    }
    (void)fcntl(unread.taker_fd, F_SETFL, O_NONBLOCK);
    end_by(SIGTERM);
    const ssize_t n = read(unread.taker_fd, text, sizeof(text) - 1);
    expect_call(n > 0);
    text[n] = '\0';
    expect_match(text, "kmemd: SIGTERM: ending"); /* lines as ever */
    (void)close(unread.taker_fd);
}

static const struct system_test tests[] = {
    SYSTEM_TEST(test_a_daemon_lives_and_ends_on_a_full_pipe, 200),
    SYSTEM_TEST(test_a_daemon_lives_and_ends_on_a_full_socket, 200),
    SYSTEM_TEST(test_a_daemon_lives_and_ends_on_a_stopped_terminal, 200),
    SYSTEM_TEST(test_a_daemon_lives_and_ends_on_a_full_disk, 200),
    SYSTEM_TEST(test_a_daemon_lives_and_ends_on_a_broken_pipe, 200),
    SYSTEM_TEST(test_what_was_dropped_is_told_when_somebody_reads_again, 200),
};

int main(int argc, char **argv)
{
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}

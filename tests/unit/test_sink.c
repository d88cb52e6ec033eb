/* SPDX-License-Identifier: MIT */
/*
 * test_sink.c - whatever is behind a descriptor, a line is written to it at once or not at all
 *
 * A test that waits is ended by its deadline.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <termios.h>
#include <unistd.h>

#include "daemon/sink.h"
#include "tests/unit/captured.h"
#include "tests/unit/unit.h"

/* More than any pipe, socket or terminal takes that nobody reads. */
#define MANY_LINES 100000
#define LINE "a line of some bytes\n"
#define LINE_BYTES strlen(LINE)

/* What this system lets us: another user's pipe can not be opened, old kernels lack the call. All
   from the start: before main() what counts the branches that are taken opens its file. */
static bool can_open = true;
static bool can_nowait = true;

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...)
{
    errno = EACCES;
    return can_open ? __real_open(path, flags) : -1;
}

ssize_t __real_pwritev2(int fd, const struct iovec *parts, int n_parts, off_t at, int flags);
ssize_t __wrap_pwritev2(int fd, const struct iovec *parts, int n_parts, off_t at, int flags);
ssize_t __wrap_pwritev2(int fd, const struct iovec *parts, int n_parts, off_t at, int flags)
{
    errno = EOPNOTSUPP;
    return can_nowait ? __real_pwritev2(fd, parts, n_parts, at, flags) : -1;
}

static struct sink sink;
static unsigned n_fds;

static int sink_setup(void **state)
{
    (void)signal(SIGPIPE, SIG_IGN);
    can_open = true;
    can_nowait = true;
    n_fds = count_fds();
    return 0;
}

/* Something is on fd; the sink is new. */
static void open_sink(int fd)
{
    sink = (struct sink){.fd = fd, .own_fd = -1};
}

static void close_sink(void)
{
    if (sink.own_fd >= 0) {
        assert_int_equal(close(sink.own_fd), 0);
    }
    assert_int_equal(close(sink.fd), 0);
}

static int put_line(void)
{
    return sink_put(&sink, LINE, LINE_BYTES);
}

/* Return: how many lines it took until it took none. */
static unsigned fill(void)
{
    unsigned n_lines = 0;
    int r = put_line();
    while (r == 0 && n_lines < MANY_LINES) {
        n_lines++;
        r = put_line();
    }
    assert_int_equal(r, -EAGAIN);
    assert_int_equal(put_line(), -EAGAIN);
    assert_true(n_lines > 0);
    return n_lines;
}

/* Takes so much out of it that a line fits again. */
static void drain(int fd)
{
    char bytes[65536];
    assert_true(read(fd, bytes, sizeof(bytes)) > 0);
}

static bool is_nonblocking(int fd)
{
    return (fcntl(fd, F_GETFL) & O_NONBLOCK) != 0;
}

static void assert_pipe_is_never_waited_for(void)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    open_sink(ends[1]);
    (void)fill();
    drain(ends[0]);
    assert_int_equal(put_line(), 0);
    assert_false(is_nonblocking(ends[1]));
    assert_int_equal(close(ends[0]), 0);
    assert_int_equal(put_line(), -EPIPE);
    close_sink();
    assert_int_equal(count_fds(), n_fds);
}

static void test_sink_put_to_a_pipe_that_nobody_reads(void **state)
{
    assert_pipe_is_never_waited_for();
}

static void test_sink_put_to_another_users_pipe(void **state)
{
    can_open = false;
    assert_pipe_is_never_waited_for();
}

static void test_sink_put_to_another_users_pipe_on_an_old_kernel(void **state)
{
    can_open = false;
    can_nowait = false;
    assert_pipe_is_never_waited_for();
}

static void test_sink_put_to_a_socket_that_nobody_reads(void **state)
{
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    open_sink(ends[1]);
    (void)fill();
    assert_false(is_nonblocking(ends[1]));
    assert_int_equal(close(ends[0]), 0);
    assert_int_equal(put_line(), -EPIPE);
    close_sink();
    assert_int_equal(count_fds(), n_fds);
}

/* Return: the terminal's descriptor, of which *ret_master is what the user sees. */
static int open_terminal(int *ret_master)
{
    const int master = posix_openpt(O_RDWR | O_NOCTTY);
    assert_true(master >= 0);
    assert_int_equal(grantpt(master), 0);
    assert_int_equal(unlockpt(master), 0);
    const int terminal = __real_open(ptsname(master), O_RDWR | O_NOCTTY);
    assert_true(terminal >= 0);
    *ret_master = master;
    return terminal;
}

/* What is typed takes its time. */
static void await_room(int terminal, int has_room)
{
    struct pollfd writable = {.fd = terminal, .events = POLLOUT};
    while (poll(&writable, 1, 0) != has_room) {
    }
}

static void assert_stopped_terminal_is_never_waited_for(void)
{
    int master;
    const int terminal = open_terminal(&master);
    open_sink(terminal);
    assert_int_equal(put_line(), 0);
    drain(master);
    assert_int_equal(write(master, "\x13", 1), 1); /* ^S */
    await_room(terminal, 0);
    assert_int_equal(put_line(), -EAGAIN);
    assert_int_equal(put_line(), -EAGAIN);
    assert_int_equal(write(master, "\x11", 1), 1); /* ^Q */
    await_room(terminal, 1);
    assert_int_equal(put_line(), 0);
    assert_false(is_nonblocking(terminal));
    (void)fill(); /* nobody looks */
    assert_int_equal(close(master), 0);
    assert_int_equal(put_line(), -EIO);
    close_sink();
    assert_int_equal(count_fds(), n_fds);
}

static void test_sink_put_to_a_stopped_terminal(void **state)
{
    assert_stopped_terminal_is_never_waited_for();
}

static void test_sink_put_to_another_users_stopped_terminal(void **state)
{
    can_open = false;
    assert_stopped_terminal_is_never_waited_for();
}

static void test_sink_put_to_a_full_disk(void **state)
{
    const int fd = __real_open("/dev/full", O_WRONLY | O_CLOEXEC);
    open_sink(fd);
    assert_int_equal(put_line(), -ENOSPC);
    assert_int_equal(sink.own_fd, -1);
    close_sink();
}

static void test_sink_put_to_a_closed_descriptor(void **state)
{
    const int fd = dup(STDOUT_FILENO);
    assert_int_equal(close(fd), 0);
    open_sink(fd);
    assert_int_equal(put_line(), -EBADF);
}

/* A file is written to where the others of its description have come to. */
static void test_sink_put_to_a_file_goes_on_where_it_is(void **state)
{
    char text[64] = "";
    const int fd = memfd_create("log", MFD_CLOEXEC);
    assert_int_equal(write(fd, "before\n", 7), 7);
    open_sink(fd);
    assert_int_equal(put_line(), 0);
    assert_int_equal(write(fd, "after\n", 6), 6);
    assert_true(pread(fd, text, sizeof(text) - 1, 0) > 0);
    assert_string_equal(text, "before\n" LINE "after\n");
    close_sink();
}

/* Of a socket's last bytes of room a line may have taken some. */
static void test_sink_put_ends_a_line_that_was_cut_short(void **state)
{
    int ends[2];
    char text[64];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    open_sink(ends[1]);
    assert_int_equal(put_line(), 0);
    drain(ends[0]);
    sink.torn = true;
    assert_int_equal(put_line(), 0);
    const ssize_t n = read(ends[0], text, sizeof(text) - 1);
    assert_true(n > 0);
    text[n] = '\0';
    assert_string_equal(text, "\n" LINE);
    assert_int_equal(close(ends[0]), 0);
    close_sink();
}

/* Descriptors change places: in a child that becomes another program, in a test that listens. */
static void test_sink_put_notices_what_has_taken_its_place(void **state)
{
    int first[2];
    int second[2];
    char text[64];
    assert_int_equal(pipe(first), 0);
    assert_int_equal(pipe(second), 0);
    open_sink(first[1]);
    assert_int_equal(put_line(), 0);
    const int own_fd = sink.own_fd;
    const int file = memfd_create("somebody's", MFD_CLOEXEC);
    assert_int_equal(dup2(file, own_fd), own_fd);
    assert_int_equal(dup2(second[1], first[1]), first[1]);

    assert_int_equal(put_line(), 0);

    assert_int_equal(read(second[0], text, sizeof(text)), LINE_BYTES);
    assert_int_equal(lseek(file, 0, SEEK_END), 0); /* nobody has written there */
    assert_int_equal(close(own_fd), 0);
    assert_int_equal(close(file), 0);
    assert_int_equal(close(first[0]), 0);
    assert_int_equal(close(second[0]), 0);
    assert_int_equal(close(second[1]), 0);
    close_sink();
    assert_int_equal(count_fds(), n_fds);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_sink_put_to_a_pipe_that_nobody_reads, sink_setup),
        cmocka_unit_test_setup(test_sink_put_to_another_users_pipe, sink_setup),
        cmocka_unit_test_setup(test_sink_put_to_another_users_pipe_on_an_old_kernel, sink_setup),
        cmocka_unit_test_setup(test_sink_put_to_a_socket_that_nobody_reads, sink_setup),
        cmocka_unit_test_setup(test_sink_put_to_a_stopped_terminal, sink_setup),
        cmocka_unit_test_setup(test_sink_put_to_another_users_stopped_terminal, sink_setup),
        cmocka_unit_test_setup(test_sink_put_to_a_full_disk, sink_setup),
        cmocka_unit_test_setup(test_sink_put_to_a_closed_descriptor, sink_setup),
        cmocka_unit_test_setup(test_sink_put_to_a_file_goes_on_where_it_is, sink_setup),
        cmocka_unit_test_setup(test_sink_put_ends_a_line_that_was_cut_short, sink_setup),
        cmocka_unit_test_setup(test_sink_put_notices_what_has_taken_its_place, sink_setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

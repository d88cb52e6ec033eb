/* SPDX-License-Identifier: MIT */
/*
 * test_ctl_engine.c - what a replay makes of answers that are right, cut, damaged or refusals
 *
 * What a daemon would say lies in the socket before it is asked.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/ctl/engine.h"
#include "tests/unit/captured.h"
#include "tests/unit/fail.h"
#include "tests/unit/unit.h"

FAIL_WRAP(ssize_t, send, (int fd, const void *from, size_t n_bytes, int flags),
          (fd, from, n_bytes, flags), -1)
FAIL_WRAP(ssize_t, recvmsg, (int fd, struct msghdr *header, int flags), (fd, header, flags), -1)

#define OFFSET 16384

static struct engine engine;
static int daemon_fd;
static uint64_t offset;

/* An answer of these bytes, behind their number, with that descriptor; -1: with none. */
static void say_with(const char *from, size_t n_bytes, int descriptor)
{
    char frame[256] = {(char)n_bytes, (char)(n_bytes >> 8)};
    union {
        char room[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {.room = {0}};
    struct iovec piece = {frame, n_bytes + 4};
    struct msghdr header = {.msg_iov = &piece, .msg_iovlen = 1};
    memcpy(frame + 4, from, n_bytes);
    if (descriptor >= 0) {
        header.msg_control = control.room;
        header.msg_controllen = sizeof(control.room);
        struct cmsghdr *part = CMSG_FIRSTHDR(&header);
        part->cmsg_level = SOL_SOCKET;
        part->cmsg_type = SCM_RIGHTS;
        part->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(part), &descriptor, sizeof(descriptor));
    }
    assert_int_equal(sendmsg(daemon_fd, &header, 0), n_bytes + 4);
}

#define SAY(text) say_with(text, sizeof(text) - 1, -1)

static int allocate(void)
{
    offset = 0;
    return engine_allocate(&engine, 100, "frame", &offset);
}

/* What it is asked with one answer, of which it has read all. */
#define assert_allocate(answer, expected)                                                          \
    do {                                                                                           \
        SAY(answer);                                                                               \
        assert_int_equal(allocate(), expected);                                                    \
    } while (0)

/* "\x22": Allocate's answer, a message; in it field 1, the offset 16384. */
static void test_allocate_takes_the_offset_wherever_it_stands(void **state)
{
    assert_allocate("\x08\x01\x22\x04\x08\x80\x80\x01", 0);
    assert_int_equal(offset, OFFSET);
    /* Fields of a later daemon, of each kind that there is, come before it. */
    assert_allocate("\x79"
                    "12345678"
                    "\x7d"
                    "1234"
                    "\x7a\x02"
                    "xx"
                    "\x22\x06\x10\x05\x08\x80\x80\x01",
                    0);
    assert_int_equal(offset, OFFSET);
    assert_allocate("\x22\x02\x10\x05", 0); /* it says no offset, which is 0 */
    assert_int_equal(offset, 0);
}

static void test_allocate_knows_a_refusal_from_a_fault(void **state)
{
    assert_allocate("\x12\x02\x08\x06", ENGINE_E_REFUSED); /* no room */
    assert_allocate("\x12\x02\x08\x05", ENGINE_E_REFUSED); /* more than there can be */
    assert_allocate("\x12\x02\x08\x01", -EPROTO);
    assert_allocate("\x12\x00", -EPROTO);
}

static void test_allocate_of_a_damaged_answer_is_EPROTO(void **state)
{
    assert_allocate("", -EPROTO);
    assert_allocate("\x08\x01", -EPROTO);                                     /* no answer */
    assert_allocate("\x80", -EPROTO);                                         /* cut in a key */
    assert_allocate("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", -EPROTO); /* without end */
    assert_allocate("\x23", -EPROTO);                                         /* no such kind */
    assert_allocate("\x22", -EPROTO);                                         /* no length */
    assert_allocate("\x22\x05\x08", -EPROTO);                                 /* cut */
}

static void test_allocate_takes_no_answer_that_is_longer_than_any(void **state)
{
    assert_int_equal(send(daemon_fd, "\xff\xff\xff\x7f", 4, 0), 4);
    assert_int_equal(allocate(), -EPROTO);
}

static void test_allocate_closes_the_descriptors_that_come_along(void **state)
{
    const unsigned n_fds = count_fds();
    say_with("\x22\x04\x08\x80\x80\x01", 6, daemon_fd);
    assert_int_equal(allocate(), 0);
    assert_int_equal(count_fds(), n_fds);
}

static void test_allocate_of_a_daemon_that_ends_is_ECONNRESET(void **state)
{
    assert_int_equal(send(daemon_fd, "\x08\0\0\0\x08", 5, 0), 5); /* in the middle of its answer */
    assert_int_equal(shutdown(daemon_fd, SHUT_WR), 0);
    assert_int_equal(allocate(), -ECONNRESET);
    assert_int_equal(shutdown(daemon_fd, SHUT_RD), 0);
    assert_int_equal(allocate(), -EPIPE);
}

static void test_allocate_goes_on_after_a_signal_and_ends_with_a_fault(void **state)
{
    for (unsigned i = 0; i < 2; i++) {
        fail_nth(i == 0 ? "send" : "recvmsg", 1, EINTR);
        assert_allocate("\x22\x04\x08\x80\x80\x01", 0);
        assert_true(fail_end());
        assert_int_equal(offset, OFFSET);
    }
    fail_nth("recvmsg", 1, ENOMEM);
    assert_int_equal(allocate(), -ENOMEM);
    assert_true(fail_end());
}

static void test_release_is_answered_likewise(void **state)
{
    SAY("\x2a\x02\x08\x64");
    assert_int_equal(engine_release(&engine, OFFSET), 0);
    SAY("\x12\x02\x08\x05");
    assert_int_equal(engine_release(&engine, OFFSET), ENGINE_E_REFUSED);
}

/* ------------------------------------------------------------------------------- opening ---- */

static void test_open_says_why_there_is_no_daemon(void **state)
{
    struct engine other;
    char path[200];
    memset(path, 'x', sizeof(path) - 1);
    path[sizeof(path) - 1] = '\0';
    assert_int_equal(engine_open(&other, path), -ENAMETOOLONG);
    assert_int_equal(engine_open(&other, "/nonexistent/kmemd.sock"), -ENOENT);
    assert_int_equal(other.fd, -1);
}

/* A daemon that has said its answer, and reads nothing. Return: as engine_open(). */
static int open_at(const char *answer, size_t n_bytes)
{
    char directory[] = "/tmp/test_ctl_engine.XXXXXX";
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct engine other;
    const unsigned n_fds = count_fds();
    const int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_non_null(mkdtemp(directory));
    (void)stpcpy(stpcpy(address.sun_path, directory), "/sock");
    assert_int_equal(bind(listener, (const struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(listener, 1), 0);
    const pid_t pid = fork();
    if (pid == 0) {
        const int fd = accept(listener, NULL, NULL);
        _exit(send(fd, answer, n_bytes, MSG_NOSIGNAL) == (ssize_t)n_bytes &&
                      recv(fd, directory, 1, 0) == 1
                  ? 0
                  : 1);
    }
    const int r = engine_open(&other, address.sun_path);
    int status = -1;
    if (r == 0) {
        assert_int_equal(other.id, 1);
        engine_close(&other);
    }
    engine_close(&other); /* closed already */
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(close(listener), 0);
    assert_int_equal(unlink(address.sun_path), 0);
    assert_int_equal(rmdir(directory), 0);
    assert_int_equal(count_fds(), n_fds);
    return r;
}

static void test_open_is_a_member_or_says_that_it_is_none(void **state)
{
    assert_int_equal(open_at("\x04\0\0\0\x1a\x02\x08\x01", 8), 0);
    assert_int_equal(open_at("\x04\0\0\0\x12\x02\x08\x05", 8), -EPROTO); /* no answer to Hello */
    assert_int_equal(open_at("\x04\0\0\0\x12\x02\x08\x01", 8), -EPROTO);
}

static int setup(void **state)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) {
        return -1;
    }
    engine = (struct engine){.fd = ends[0]};
    daemon_fd = ends[1];
    return 0;
}

static int teardown(void **state)
{
    (void)fail_end();
    engine_close(&engine);
    return close(daemon_fd);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_allocate_takes_the_offset_wherever_it_stands),
        TEST(test_allocate_knows_a_refusal_from_a_fault),
        TEST(test_allocate_of_a_damaged_answer_is_EPROTO),
        TEST(test_allocate_takes_no_answer_that_is_longer_than_any),
        TEST(test_allocate_closes_the_descriptors_that_come_along),
        TEST(test_allocate_of_a_daemon_that_ends_is_ECONNRESET),
        TEST(test_allocate_goes_on_after_a_signal_and_ends_with_a_fault),
        TEST(test_release_is_answered_likewise),
        TEST(test_open_says_why_there_is_no_daemon),
        TEST(test_open_is_a_member_or_says_that_it_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * test_conn_taken.c - the program closes our descriptor, or puts its own in its place
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/link/conn.h"
#include "tests/unit/fake_daemon.h"
#include "tests/unit/unit.h"
#include "tests/wire/request.h"

static struct conn conn;
static struct failure failure;
static struct fake_peer peer;

static int open_pair(void **state)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) {
        return -1;
    }
    peer = (struct fake_peer){.fd = ends[1]};
    memset(&failure, 0, sizeof(failure));
    return kmem__conn_open(&conn, ends[0], "/the.sock", 30000, &failure);
}

static int close_pair(void **state)
{
    kmem__conn_close(&conn);
    return close(peer.fd);
}

static int ask(void)
{
    const Kmem__Response *response = NULL;
    Kmem__Request *const request = request_size_of(NEW_REQUEST, 16384);
    return kmem__conn_ask(&conn, request, KMEM__RESPONSE__BODY_SIZED, NULL, &response, &failure);
}

static int programs[2]; /* the program's own socket: it has our number, or will have it */

static void program_takes_ours(void)
{
    assert_int_equal(dup2(programs[0], conn.fd), conn.fd);
}

/* Nothing was written to it, nothing read from it, and it is open. */
static void assert_programs_is_untouched(int number)
{
    char text[8];
    assert_int_equal(recv(programs[1], text, sizeof(text), MSG_DONTWAIT), -1);
    assert_int_equal(errno, EAGAIN);
    assert_int_equal(recv(number, text, sizeof(text), MSG_DONTWAIT), 4);
    assert_memory_equal(text, "mine", 4);
    assert_int_equal(close(number), 0);
    assert_int_equal(close(programs[0]), 0);
    assert_int_equal(close(programs[1]), 0);
}

static void programs_open(void)
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, programs), 0);
    assert_int_equal(send(programs[1], "mine", 4, 0), 4);
}

static void test_conn_ask_over_a_number_that_is_the_programs_now_is_ECONNRESET(void **state)
{
    const int number = conn.fd;
    programs_open();
    program_takes_ours();

    assert_int_equal(ask(), -ECONNRESET);

    assert_true(conn.is_cut);
    assert_int_equal(conn.fd, -1);
    assert_non_null(strstr(failure.sentence, "the program has closed the library's descriptor"));
    assert_programs_is_untouched(number);
}

static void test_conn_ask_over_a_number_that_is_closed_is_ECONNRESET(void **state)
{
    assert_int_equal(close(conn.fd), 0);

    assert_int_equal(ask(), -ECONNRESET);

    assert_true(conn.is_cut);
}

/* poll() does not hear of it; it looks once a second. */
static void *take_while_it_waits(void *argument)
{
    char request[64];
    assert_true(recv(peer.fd, request, sizeof(request), 0) > 0);
    program_takes_ours();
    fake_send_bytes(&peer, "\x01\0\0\0\0", 5);
    return argument;
}

static void test_conn_ask_whose_number_is_taken_while_it_waits_reads_nothing(void **state)
{
    pthread_t thread;
    const int number = conn.fd;
    programs_open();
    assert_int_equal(pthread_create(&thread, NULL, take_while_it_waits, NULL), 0);

    assert_int_equal(ask(), -ECONNRESET);

    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_programs_is_untouched(number);
}

#define TAKEN_TEST(function) cmocka_unit_test_setup_teardown(function, open_pair, close_pair)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TAKEN_TEST(test_conn_ask_over_a_number_that_is_the_programs_now_is_ECONNRESET),
        TAKEN_TEST(test_conn_ask_over_a_number_that_is_closed_is_ECONNRESET),
        TAKEN_TEST(test_conn_ask_whose_number_is_taken_while_it_waits_reads_nothing),
    };
    return cmocka_run_group_tests_name("conn_taken", tests, NULL, NULL);
}

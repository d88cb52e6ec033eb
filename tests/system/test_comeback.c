/* SPDX-License-Identifier: MIT */
/*
 * test_comeback.c - a client whose connection is lost comes back, whatever became of it meanwhile
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <kmem/kmem.h>

#include "tests/system/client.h"
#include "tests/system/daemon.h"
#include "tests/system/harness.h"
#include "tests/system/usage.h"

static void *allocate(const char *reason)
{
    void *const block = kmem_try_allocate(100 << 10, reason);
    if (block == NULL) {
        fail("%s", kmem_last_error());
    }
    return block;
}

static void release(void *block)
{
    if (kmem_try_release(&block) < 0) {
        fail("%s", kmem_last_error());
    }
}

/* ------------------------------------------------------- the library's descriptors ---- */

/* The sockets and pipes that a program opens in the place of what it has closed. */
static int own[2];

/* Closes the library's descriptors, which are all but those of the test. */
static void close_the_librarys(void)
{
    (void)close_range(100, ~0U, 0);
}

/* Puts own[0] wherever the library may have had a descriptor. */
static void take_the_librarys(void)
{
    for (int number = 100; number < 520; number++) {
        expect_call(dup2(own[0], number) == number);
    }
}

static void expect_own_is_untouched(void)
{
    char byte;
    expect_equal(recv(own[1], &byte, 1, MSG_DONTWAIT), -1);
    expect_equal(errno, EAGAIN);
    for (int number = 100; number < 520; number++) {
        expect_call(fcntl(number, F_GETFD) >= 0); /* none was closed */
    }
    expect_equal(send(own[1], "x", 1, 0), 1);
    expect_equal(recv(own[0], &byte, 1, MSG_DONTWAIT), 1);
}

static void close_all_and_open_own(const void *argument)
{
    (void)argument;
    expect_call(socketpair(AF_UNIX, SOCK_STREAM, 0, own) == 0);
    void *const before = allocate("before");
    close_the_librarys();
    take_the_librarys();
    void *const after = allocate("after");
    expect_own_is_untouched();
    client_say(1);
    client_await();
    release(before);
    release(after);
    expect_own_is_untouched();
}

static void test_program_that_takes_the_librarys_numbers_keeps_its_sockets_and_its_blocks(void)
{
    daemon_start(NULL, NULL);
    struct client client = client_start(close_all_and_open_own, NULL);
    client_hear(&client);
    expect_usage(200 << 10, 2);
    expect_equal(usage_take().clients, 1);
    client_tell(&client, 1);
    client_end(&client);
    expect_balanced();
    daemon_stop();
}

static void *take_while_another_waits(void *argument)
{
    client_await(); /* the server is stopped, and the call waits */
    take_the_librarys();
    client_say(2);
    return argument;
}

static void be_in_a_call_meanwhile(const void *argument)
{
    (void)argument;
    pthread_t thread;
    expect_call(socketpair(AF_UNIX, SOCK_STREAM, 0, own) == 0);
    void *const before = allocate("before");
    client_say(1);
    client_await();
    expect_equal(pthread_create(&thread, NULL, take_while_another_waits, NULL), 0);
    void *const meanwhile = allocate("meanwhile");
    expect_equal(pthread_join(thread, NULL), 0);
    expect_own_is_untouched();
    client_say(3);
    client_await();
    release(before);
    release(meanwhile);
}

static void test_numbers_that_are_taken_during_a_call_of_another_thread(void)
{
    daemon_start(NULL, NULL);
    struct client client = client_start(be_in_a_call_meanwhile, NULL);
    client_hear(&client);
    daemon_signal_server(SIGSTOP);
    client_tell(&client, 1);
    harness_sleep_ms(50); /* for the call to begin to wait; if it has not, nothing is taken yet */
    client_tell(&client, 1);
    expect_equal(client_hear(&client), 2);
    daemon_signal_server(SIGCONT);
    expect_equal(client_hear(&client), 3);
    expect_usage(200 << 10, 2); /* what was asked for once was carved once */
    client_tell(&client, 1);
    client_end(&client);
    expect_balanced();
    daemon_stop();
}

static const struct system_test tests[] = {
    SYSTEM_TEST(test_program_that_takes_the_librarys_numbers_keeps_its_sockets_and_its_blocks, 20),
    SYSTEM_TEST(test_numbers_that_are_taken_during_a_call_of_another_thread, 20),
};

int main(int argc, char **argv)
{
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}

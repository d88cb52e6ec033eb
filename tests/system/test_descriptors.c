/* SPDX-License-Identifier: MIT */
/*
 * test_descriptors.c - programs that have no descriptor left when the library needs one
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <kmem/kmem.h>

#include "tests/system/client.h"
#include "tests/system/daemon.h"
#include "tests/system/harness.h"
#include "tests/system/usage.h"

#define FDS_MAX 64
#define DIRECT_BYTES ((1 << 20) + 1) /* more than is ever leased */

/* ------------------------------------------------------------------------ in a client ---- */

static struct rlimit usual;

/* Nothing can be opened any more; what is open stays so. */
static void allow_no_descriptor(void)
{
    expect_call(getrlimit(RLIMIT_NOFILE, &usual) == 0);
    const struct rlimit none = {.rlim_cur = 0, .rlim_max = usual.rlim_max};
    expect_call(setrlimit(RLIMIT_NOFILE, &none) == 0);
}

static void allow_as_usual(void)
{
    expect_call(setrlimit(RLIMIT_NOFILE, &usual) == 0);
}

/* Opens files until no more can be. Return: how many; their numbers are in fds. */
static unsigned int use_up_descriptors(int *fds)
{
    const struct rlimit few = {.rlim_cur = FDS_MAX, .rlim_max = FDS_MAX};
    unsigned int n = 0;
    expect_call(setrlimit(RLIMIT_NOFILE, &few) == 0);
    while (n < FDS_MAX && (fds[n] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0) {
        n++;
    }
    expect_equal(errno, EMFILE);
    return n;
}

static void close_all(const int *fds, unsigned int n)
{
    for (unsigned int i = 0; i < n; i++) {
        expect_call(close(fds[i]) == 0);
    }
}

static void expect_no_descriptor(void)
{
    expect_true(kmem_try_allocate(DIRECT_BYTES, "in vain") == NULL);
    expect_equal(errno, EMFILE);
}

/* ------------------------------------------------------------------------ coming back ---- */

static void come_back_with_the_one_that_was_lost(const void *argument)
{
    int fds[FDS_MAX];
    (void)argument;
    const struct rlimit few = {.rlim_cur = FDS_MAX, .rlim_max = FDS_MAX};
    expect_call(setrlimit(RLIMIT_NOFILE, &few) == 0); /* the library stays below it */
    void *block = kmem_try_allocate(DIRECT_BYTES, "held");
    expect_call(block != NULL);
    const unsigned int n_fds = use_up_descriptors(fds);
    for (unsigned int i = 0; i < 3; i++) {
        client_say(1);
        client_await(); /* the server is killed */
        void *other = kmem_try_allocate(DIRECT_BYTES, "came back");
        if (other == NULL) {
            fail("%s", kmem_last_error());
        }
        expect_equal(kmem_try_release(&other), 0);
    }
    expect_equal(kmem_try_release(&block), 0);
    expect_true(open("/dev/null", O_RDONLY | O_CLOEXEC) < 0); /* there was none to spare */
    close_all(fds, n_fds);
}

static void test_coming_back_takes_no_more_descriptors_than_the_connection_had(void)
{
    daemon_start(NULL, NULL);
    struct client client = client_start(come_back_with_the_one_that_was_lost, NULL);
    for (unsigned int i = 0; i < 3; i++) {
        client_hear(&client);
        daemon_kill_server();
        client_tell(&client, 1);
    }
    client_end(&client);
    daemon_stop_balanced();
}

static void come_back_later(const void *argument)
{
    (void)argument;
    size_t num_bytes = 77;
    void *block = kmem_try_allocate(DIRECT_BYTES, "held");
    void *const same = block;
    expect_call(block != NULL);
    client_say(1);
    client_await(); /* the server is killed */
    allow_no_descriptor();
    expect_no_descriptor();
    expect_equal(kmem_try_release(&block), -EMFILE);
    expect_true(block == same);
    expect_equal(kmem_try_sizeof(block, &num_bytes), -EMFILE);
    expect_equal(num_bytes, 77);
    harness_note("\"%s\"", kmem_last_error());
    allow_as_usual();
    client_pause();
    expect_equal(kmem_try_sizeof(block, &num_bytes), 0);
    expect_equal(num_bytes, DIRECT_BYTES);
    void *other = kmem_try_allocate(DIRECT_BYTES, "came back");
    expect_call(other != NULL);
    client_pause();
    expect_equal(kmem_try_release(&other), 0);
    expect_equal(kmem_try_release(&block), 0);
}

static void test_coming_back_without_a_descriptor_is_EMFILE_and_a_later_call_does(void)
{
    daemon_start(NULL, NULL);
    struct client client = client_begin(come_back_later, NULL);
    daemon_kill_server();
    client_resume(&client);
    expect_ledger_row("held", 1, DIRECT_BYTES);
    client_resume(&client);
    expect_usage(UINT64_C(2) * DIRECT_BYTES, 2); /* what was in vain left nothing */
    expect_ledger_row("came back", 1, DIRECT_BYTES);
    client_finish(&client);
    daemon_stop_balanced();
}

/* Closes what the library has open, as a program does that closes all but its standard three. */
static void close_sockets_of_the_library(int in_their_place)
{
    for (int fd = 3; fd < 1024; fd++) {
        int type = 0;
        socklen_t type_bytes = sizeof(type);
        if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_bytes) == 0 && type == SOCK_STREAM) {
            expect_call(in_their_place < 0 ? close(fd) == 0 : dup2(in_their_place, fd) == fd);
        }
    }
}

static void lose_the_descriptor(const void *argument)
{
    (void)argument;
    const int file = open("/dev/null", O_RDWR | O_CLOEXEC);
    char *held = kmem_try_allocate(DIRECT_BYTES, "held");
    expect_call(file >= 0 && held != NULL);
    held[0] = 'h';
    for (unsigned int i = 0; i < 4; i++) {
        close_sockets_of_the_library(i % 2 == 0 ? -1 : file);
        void *other = kmem_try_allocate(DIRECT_BYTES, "came back");
        if (other == NULL) {
            fail("%s", kmem_last_error());
        }
        expect_usage(UINT64_C(2) * DIRECT_BYTES, 2);
        expect_equal(kmem_try_release(&other), 0);
    }
    expect_equal(held[0], 'h');
    expect_equal(kmem_try_release((void **)&held), 0);
}

static void test_a_program_that_closes_all_descriptors_comes_back(void)
{
    daemon_start(NULL, NULL);
    client_run(lose_the_descriptor, NULL);
    daemon_stop_balanced();
}

/* --------------------------------------------------------------------- the first call ---- */

static void join_later(const void *argument)
{
    int fds[FDS_MAX];
    (void)argument;
    unsigned int n_fds = use_up_descriptors(fds);
    /* For the connection and not for what comes over it, until there are enough. */
    for (unsigned int n_free = 0; n_free < 4; n_free++) {
        expect_no_descriptor();
        expect_call(close(fds[--n_fds]) == 0);
    }
    void *block = kmem_try_allocate(DIRECT_BYTES, "joined");
    expect_call(block != NULL);
    expect_equal(kmem_try_release(&block), 0);
    close_all(fds, n_fds);
}

static void test_first_call_without_descriptors_is_EMFILE_and_a_later_one_joins(void)
{
    daemon_start(NULL, NULL);
    client_run(join_later, NULL);
    expect_balanced();
    expect_equal(usage_take().protocol_errors, 0);
    daemon_stop();
}

static void join_later_in_a_child(const void *argument)
{
    (void)argument;
    char *parents = kmem_try_allocate(DIRECT_BYTES, "parent");
    expect_call(parents != NULL);
    parents[0] = 'p';
    const pid_t child = fork();
    expect_call(child >= 0);
    if (child == 0) {
        int fds[FDS_MAX];
        const unsigned int n_fds = use_up_descriptors(fds);
        expect_no_descriptor(); /* the parent's connection gives it one of four */
        expect_equal(parents[0], 'p');
        close_all(fds, n_fds);
        expect_call(kmem_try_allocate(DIRECT_BYTES, "child") != NULL);
        expect_equal(parents[0], 'p');
        _exit(0);
    }
    int status = -1;
    expect_call(waitpid(child, &status, 0) == child);
    expect_equal(status, 0);
    expect_equal(kmem_try_release((void **)&parents), 0);
}

static void test_child_without_descriptors_is_EMFILE_and_joins_later(void)
{
    daemon_start(NULL, NULL);
    client_run(join_later_in_a_child, NULL);
    daemon_stop_balanced();
}

static const struct system_test tests[] = {
    SYSTEM_TEST(test_coming_back_takes_no_more_descriptors_than_the_connection_had, 20),
    SYSTEM_TEST(test_coming_back_without_a_descriptor_is_EMFILE_and_a_later_call_does, 20),
    SYSTEM_TEST(test_a_program_that_closes_all_descriptors_comes_back, 20),
    SYSTEM_TEST(test_first_call_without_descriptors_is_EMFILE_and_a_later_one_joins, 20),
    SYSTEM_TEST(test_child_without_descriptors_is_EMFILE_and_joins_later, 20),
};

int main(int argc, char **argv)
{
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}

/* SPDX-License-Identifier: MIT */
/*
 * test_watch.c - descriptors that are readable when a name has changed
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/system/daemon.h"
#include "tests/system/sharing.h"
#include "tests/system/usage.h"
#include "tests/system/users.h"

/* As daemon/core/users.h has it. */
#define PROCESS_CONNECTIONS_MAX 128

#define N_NAMES 3
static const char *const names[N_NAMES] = {"watch/a", "watch/b", "watch/c"};

/* What a publisher is told to do with which of the names. */
enum { PUBLISH = 1, UNPUBLISH = 2 };
#define DO(what, name) ((uint64_t)(what) << 32 | (name))

/* Does as it is told, and says so; 0 ends. */
static void publish_as_told(const void *argument)
{
    (void)argument;
    for (uint64_t what; (what = client_await()) != 0;) {
        const char *const name = names[what & 0xff];
        if (what >> 32 == PUBLISH) {
            expect_equal(kmem_publish(filled(1000, false, 'p'), name, KMEM_GIVE, NULL), 0);
        } else {
            expect_equal(kmem_unpublish(name), 0);
        }
        client_say(what);
    }
}

static void tell(const struct client *publisher, int what, size_t name)
{
    sharing_tell(publisher, DO(what, name));
}

static int watch(const char *name)
{
    const int fd = kmem_watch(name);
    if (fd < 0) {
        fail("kmem_watch: %s", kmem_last_error());
    }
    expect_at_least(fd, 3);
    expect_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    expect_true((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
    return fd;
}

static bool is_readable(int fd)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    return poll(&poll_fd, 1, 0) == 1;
}

static void await_readable(int fd)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    expect_equal(poll(&poll_fd, 1, harness_patient_ms(1000)), 1);
}

/* Watches a name of which nothing is unread. */
static int watch_quietly(const char *name)
{
    const int fd = watch(name);
    expect_true(is_readable(fd)); /* to begin with */
    expect_equal(kmem_watch_read(fd), 0);
    expect_equal(kmem_watch_read(fd), -EAGAIN);
    return fd;
}

/*
 * What the server has been asked before this is answered, so it has said what there was to say: a
 * publisher's request is, and then its watchers have their turns before another's.
 */
static void settle(void)
{
    (void)usage_take();
    (void)usage_take();
}

static uint64_t version_of(const char *name)
{
    uint64_t version = 0;
    unsigned char *block = NULL;
    expect_equal(kmem_find(name, KMEM_READ, "watch", &block, &version), 0);
    release(block);
    return version;
}

/* ------------------------------------------------------------------------------ readiness -- */

/* A loop as programs have it: waits for any of several names, and looks at those that changed. */
static void follow_several(const void *argument)
{
    struct pollfd fds[N_NAMES];
    uint64_t seen[N_NAMES] = {0};
    (void)argument;
    for (size_t i = 0; i < N_NAMES; i++) {
        fds[i] = (struct pollfd){.fd = watch_quietly(names[i]), .events = POLLIN};
    }
    client_say(1);
    for (uint64_t n_wanted; (n_wanted = client_await()) != 0;) {
        expect_equal(poll(fds, N_NAMES, harness_patient_ms(1000)), 1);
        const size_t i = (size_t)n_wanted - 1;
        expect_equal(fds[i].revents, POLLIN);
        expect_true(is_readable(fds[i].fd)); /* as long as it is not read */
        expect_equal(kmem_watch_read(fds[i].fd), 0);
        expect_true(!is_readable(fds[i].fd));
        const uint64_t version = version_of(names[i]);
        expect_true(version > seen[i]);
        seen[i] = version;
        client_say(version);
    }
    for (size_t i = 0; i < N_NAMES; i++) {
        (void)close(fds[i].fd);
    }
}

static void test_poll_tells_which_of_several_names_has_changed(void)
{
    daemon_start(NULL, NULL);
    struct client publisher = client_start(publish_as_told, NULL);
    struct client follower = client_start(follow_several, NULL);
    expect_equal(client_hear(&follower), 1);
    uint64_t last = 0;
    for (size_t i = 0; i < 30; i++) {
        const size_t name = i * 7 % N_NAMES;
        tell(&publisher, PUBLISH, name);
        client_tell(&follower, name + 1);
        const uint64_t version = client_hear(&follower);
        expect_true(version > last);
        last = version;
    }
    sharing_finish(&follower);
    sharing_finish(&publisher);
    daemon_stop_balanced();
}

static int n_unread(int fd)
{
    int n_bytes = -1;
    expect_call(ioctl(fd, FIONREAD, &n_bytes) == 0);
    return n_bytes;
}

/* It neither reads nor lets anything grow; then it reads once. */
static void be_deaf(const void *argument)
{
    (void)argument;
    const int fd = watch(names[0]);
    const int n_word = n_unread(fd);
    client_pause();
    expect_equal(n_unread(fd), n_word);
    expect_equal(kmem_watch_read(fd), 0);
    expect_equal(kmem_watch_read(fd), -EAGAIN);
    expect_match(kmem_last_error(), "kmem_watch_read: the name has not changed");
    const uint64_t version = version_of(names[0]);
    client_pause();
    await_readable(fd);
    expect_true(version_of(names[0]) > version);
    char bytes[64];
    expect_equal(read(fd, bytes, sizeof(bytes)), n_word); /* does as well */
    expect_true(read(fd, bytes, sizeof(bytes)) == -1 && errno == EAGAIN);
    (void)close(fd);
}

static void test_watcher_that_does_not_read_costs_one_word(void)
{
    daemon_start(NULL, NULL);
    struct client publisher = client_start(publish_as_told, NULL);
    struct client deaf = client_begin(be_deaf, NULL);
    const uint64_t n = harness_scaled(2000);
    for (uint64_t i = 0; i < n; i++) {
        tell(&publisher, PUBLISH, 0);
    }
    settle();
    client_resume(&deaf);
    tell(&publisher, PUBLISH, 0);
    client_finish(&deaf);
    sharing_finish(&publisher);
    daemon_stop_balanced();
}

static void see_the_end(const void *argument)
{
    void *block = NULL;
    (void)argument;
    const int fd = watch_quietly(names[0]);
    client_say(1);
    while (client_await() != 0) {
        await_readable(fd);
        expect_equal(kmem_watch_read(fd), 0);
        client_say((uint64_t)-kmem_find(names[0], KMEM_READ, "watch", &block, NULL));
        if (block != NULL) {
            release(block);
            block = NULL;
        }
    }
    (void)close(fd);
}

static void expect_seen(const struct client *watcher, int error)
{
    client_tell(watcher, 1);
    expect_equal(client_hear(watcher), error);
}

static void test_watch_tells_of_an_unpublished_name_and_of_its_publishers_end(void)
{
    daemon_start(NULL, NULL);
    struct client publisher = client_start(publish_as_told, NULL);
    struct client watcher = client_start(see_the_end, NULL);
    expect_equal(client_hear(&watcher), 1);
    tell(&publisher, PUBLISH, 0);
    expect_seen(&watcher, 0);
    tell(&publisher, UNPUBLISH, 0);
    expect_seen(&watcher, ENOENT);
    tell(&publisher, PUBLISH, 0);
    expect_seen(&watcher, 0);
    client_kill(&publisher);
    expect_seen(&watcher, ENOENT);
    sharing_finish(&watcher);
    daemon_stop_balanced();
}

/* --------------------------------------------------------------------- restarts, children -- */

static void outlive_a_server(const void *argument)
{
    (void)argument;
    int fd = watch_quietly(names[0]);
    client_pause();
    await_readable(fd);
    expect_equal(kmem_watch_read(fd), -ECONNRESET);
    expect_match(kmem_last_error(), "has ended with the daemon's server; close it, and call");
    expect_equal(kmem_watch_read(fd), -ECONNRESET);
    char byte;
    expect_equal(read(fd, &byte, 1), 0);
    (void)close(fd);
    fd = watch(names[0]);
    expect_true(is_readable(fd)); /* whatever was missed */
    expect_equal(kmem_watch_read(fd), 0);
    client_pause();
    await_readable(fd);
    expect_equal(kmem_watch_read(fd), 0);
    (void)close(fd);
}

static void test_watch_ends_with_the_server_and_begins_anew(void)
{
    daemon_start(NULL, NULL);
    struct client publisher = client_start(publish_as_told, NULL);
    struct client watcher = client_begin(outlive_a_server, NULL);
    daemon_kill_server();
    client_resume(&watcher);
    tell(&publisher, PUBLISH, 0);
    client_finish(&watcher);
    sharing_finish(&publisher);
    daemon_stop_balanced();
}

/* Watches on and on, while servers are killed; says the version that it has come to. */
static void follow_through_restarts(const void *argument)
{
    const uint64_t last = *(const uint64_t *)argument;
    uint64_t seen = 0;
    int fd = watch(names[0]);
    while (seen < last) {
        uint64_t version;
        unsigned char *block = NULL;
        await_readable(fd);
        const int r = kmem_watch_read(fd);
        if (r == -ECONNRESET) {
            (void)close(fd);
            fd = watch(names[0]);
            continue;
        }
        expect_equal(r, 0);
        if (kmem_find(names[0], KMEM_READ, "watch", &block, &version) == 0) {
            expect_true(version >= seen);
            seen = version;
            release(block);
        }
    }
    (void)close(fd);
}

static void publish_many(const void *argument)
{
    const uint64_t n = *(const uint64_t *)argument;
    uint64_t version = 0;
    while (version < n) {
        expect_equal(kmem_publish(filled(1000, false, 'p'), names[0], KMEM_GIVE, &version), 0);
    }
    (void)client_await();
}

static void test_watcher_sees_the_last_of_many_changes_whatever_becomes_of_servers(void)
{
    static const uint64_t last = 3000;
    daemon_start(NULL, NULL);
    struct client watcher = client_start(follow_through_restarts, &last);
    struct client publisher = client_start(publish_many, &last);
    for (int i = 0; i < 5; i++) {
        daemon_kill_server();
    }
    client_end(&watcher);
    sharing_finish(&publisher);
    daemon_stop_balanced();
}

static void share_with_a_child(const void *argument)
{
    (void)argument;
    const int fd = watch(names[0]);
    const pid_t child = fork();
    if (child == 0) { /* the same watch */
        const int first = kmem_watch_read(fd);
        _exit(first == 0 && kmem_watch_read(fd) == -EAGAIN ? 0 : 1);
    }
    int status = 1;
    expect_call(waitpid(child, &status, 0) == child);
    expect_equal(status, 0);
    expect_equal(kmem_watch_read(fd), -EAGAIN); /* the child has read it */
    (void)close(fd);
}

static void test_child_has_the_same_watch(void)
{
    daemon_start(NULL, NULL);
    client_run(share_with_a_child, NULL);
    daemon_stop_balanced();
}

/* -------------------------------------------------------------------------- who, how many -- */

static void watch_without_joining(const void *argument)
{
    (void)argument;
    const int fd = watch_quietly(names[0]);
    client_pause();
    expect_equal(kmem_join_as_reader(NULL), 0); /* it had not joined */
    const int other = watch_quietly(names[0]);
    (void)close(fd);
    (void)close(other);
}

static void test_watcher_need_not_join(void)
{
    daemon_start(NULL, NULL);
    struct client watcher = client_begin(watch_without_joining, NULL);
    expect_equal(usage_take().clients_seen, 0);
    client_finish(&watcher);
    daemon_stop_balanced();
}

static void watch_until_refused(const void *argument)
{
    const unsigned int n_wanted = *(const unsigned int *)argument;
    int fds[2 * PROCESS_CONNECTIONS_MAX];
    unsigned int n = 0;
    if (geteuid() == 0 && n_wanted < PROCESS_CONNECTIONS_MAX) {
        become(54321, 54321);
    }
    while (n < 2 * PROCESS_CONNECTIONS_MAX && (fds[n] = kmem_watch(names[0])) >= 0) {
        n++;
    }
    expect_equal(n, n_wanted);
    expect_equal(fds[n], -EUSERS);
    harness_note("\"%s\"", kmem_last_error());
    expect_equal(close(fds[0]), 0);
    expect_soon((fds[0] = kmem_watch(names[0])) >= 0, 2000); /* its place is another's now */
    while (n > 0) {
        (void)close(fds[--n]);
    }
}

static void test_watches_of_a_user_are_limited_as_connections(void)
{
    static const unsigned int n_wanted = 5;
    need_root();
    daemon_start("--connections-per-uid=5", "--group", "54321", NULL);
    expect_call(chmod(harness_path("."), 0711) == 0);
    client_run(watch_until_refused, &n_wanted);
    daemon_stop_balanced();
}

static void test_watches_of_a_process_are_limited_as_connections(void)
{
    static const unsigned int n_wanted = PROCESS_CONNECTIONS_MAX;
    daemon_start(NULL, NULL);
    client_run(watch_until_refused, &n_wanted);
    daemon_stop_balanced();
}

static void ask_wrongly(const void *argument)
{
    (void)argument;
    int ends[2];
    expect_equal(kmem_watch(NULL), -EINVAL);
    expect_equal(kmem_watch(""), -EINVAL);
    expect_equal(kmem_watch("\xff"), -EINVAL);
    expect_match(kmem_last_error(), "kmem_watch: the name is not UTF-8");
    expect_equal(kmem_watch_read(-1), -EBADF);
    expect_call(pipe(ends) == 0);
    expect_equal(kmem_watch_read(ends[0]), -ENOTSOCK);
    expect_match(kmem_last_error(), "the descriptor is no watch");
    (void)setenv("KMEM_SOCKET", "/nowhere", 1);
    expect_equal(kmem_watch("x"), -ENOENT);
}

static void test_watch_of_nothing_is_refused(void)
{
    daemon_start(NULL, NULL);
    client_run(ask_wrongly, NULL);
    daemon_stop_balanced();
}

static const struct system_test tests[] = {
    SYSTEM_TEST(test_poll_tells_which_of_several_names_has_changed, 10),
    SYSTEM_TEST(test_watcher_that_does_not_read_costs_one_word, 20),
    SYSTEM_TEST(test_watch_tells_of_an_unpublished_name_and_of_its_publishers_end, 10),
    SYSTEM_TEST(test_watch_ends_with_the_server_and_begins_anew, 10),
    SYSTEM_TEST(test_watcher_sees_the_last_of_many_changes_whatever_becomes_of_servers, 20),
    SYSTEM_TEST(test_child_has_the_same_watch, 10),
    SYSTEM_TEST(test_watcher_need_not_join, 10),
    SYSTEM_TEST(test_watches_of_a_user_are_limited_as_connections, 10),
    SYSTEM_TEST(test_watches_of_a_process_are_limited_as_connections, 10),
    SYSTEM_TEST(test_watch_of_nothing_is_refused, 10),
};

int main(int argc, char **argv)
{
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}

/* SPDX-License-Identifier: MIT */
/*
 * test_store.c - a supervisor keeps the files; another keeper goes on with them, or refuses them
 */
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/system/client.h"
#include "tests/system/daemon.h"
#include "tests/system/harness.h"
#include "tests/system/holder.h"
#include "tests/system/usage.h"

#define STORE_MAX 16

/* What a service manager holds: sd_pid_notify_with_fds(3). */
static struct {
    int socket_fd;
    int fds[STORE_MAX];
    char names[STORE_MAX][32];
    unsigned int n_fds;
} store;

static void store_open(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", harness_path("notify"));
    store.socket_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    expect_call(bind(store.socket_fd, (struct sockaddr *)&address, sizeof(address)) == 0);
}

/* All of that name: a keeper that goes on with what it was given stores it once more. */
static void store_forget(const char *name)
{
    for (unsigned int i = store.n_fds; i-- > 0;) {
        if (strcmp(store.names[i], name) == 0) {
            (void)close(store.fds[i]);
            store.n_fds--;
            store.fds[i] = store.fds[store.n_fds];
            (void)memcpy(store.names[i], store.names[store.n_fds], sizeof(store.names[i]));
        }
    }
}

static void store_notified(const char *text, int fd)
{
    char name[32] = "";
    const char *const at = strstr(text, "FDNAME=");
    if (at != NULL) {
        (void)sscanf(at, "FDNAME=%31[^\n]", name);
    }
    if (strstr(text, "FDSTOREREMOVE=1") != NULL) {
        store_forget(name);
    } else if (fd >= 0) {
        expect_true(store.n_fds < STORE_MAX);
        /* Far above those that are passed. */
        store.fds[store.n_fds] = fcntl(fd, F_DUPFD_CLOEXEC, 200);
        (void)snprintf(store.names[store.n_fds++], sizeof(store.names[0]), "%s", name);
        (void)close(fd);
    }
}

static void store_read(void)
{
    char text[512];
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control;
    for (;;) {
        struct iovec part = {text, sizeof(text) - 1};
        struct msghdr message = {.msg_iov = &part,
                                 .msg_iovlen = 1,
                                 .msg_control = &control,
                                 .msg_controllen = sizeof(control)};
        const ssize_t n = recvmsg(store.socket_fd, &message, MSG_CMSG_CLOEXEC);
        if (n < 0) {
            return;
        }
        int fd = -1;
        text[n] = '\0';
        if (message.msg_controllen >= CMSG_LEN(sizeof(int))) {
            (void)memcpy(&fd, CMSG_DATA(&control.header), sizeof(fd));
        }
        store_notified(text, fd);
    }
}

/* The keeper stores a client's files while the client is answered already. */
static unsigned int store_count(void)
{
    store_read();
    return store.n_fds;
}

static void store_close(void)
{
    for (unsigned int i = 0; i < store.n_fds; i++) {
        (void)close(store.fds[i]);
    }
    store.n_fds = 0;
    (void)close(store.socket_fd);
}

static const char *store_names(void)
{
    static char names[STORE_MAX * 33];
    size_t n_bytes = 0;
    names[0] = '\0';
    for (unsigned int i = 0; i < store.n_fds; i++) {
        n_bytes += (size_t)snprintf(names + n_bytes, sizeof(names) - n_bytes, "%s%s",
                                    i > 0 ? ":" : "", store.names[i]); /* fits */
    }
    return names;
}

static void test_the_supervisors_store_brings_everything_back(void)
{
    if (!KMEMD_WITH_SYSTEMD) {
        harness_skip("kmemd was built without libsystemd");
    }
    char notify_socket[256];
    store_open();
    (void)snprintf(notify_socket, sizeof(notify_socket), "%s", harness_path("notify"));
    const struct daemon_setting first = {.notify_socket = notify_socket};
    daemon_start_as(&first, OPTIONS(NULL));
    struct client client = holder_start();
    expect_soon(store_count() == 6, 2000); /* segment, state, clock, listener; ledger, pidfd */
    daemon_kill();

    const struct daemon_setting second = {.notify_socket = notify_socket,
                                          .fds = store.fds,
                                          .n_fds = store.n_fds,
                                          .fd_names = store_names()};
    daemon_start_as(&second, OPTIONS(NULL));
    expect_log_line("going on with the segment that was kept");
    holder_expect_held(&client);
    client_tell(&client, 0);
    client_end(&client);
    expect_soon(usage_take().clients == 0, 2000);
    expect_usage(0, 0);
    store_close();
    daemon_stop();
}

static void test_a_store_with_a_segment_of_another_size_is_refused_with_78(void)
{
    if (!KMEMD_WITH_SYSTEMD) {
        harness_skip("kmemd was built without libsystemd");
    }
    char notify_socket[256];
    store_open();
    (void)snprintf(notify_socket, sizeof(notify_socket), "%s", harness_path("notify"));
    daemon_start_as(&(struct daemon_setting){.notify_socket = notify_socket}, OPTIONS(NULL));
    expect_soon(store_count() == 4, 2000);
    daemon_kill();

    const struct daemon_setting setting = {
        .fds = store.fds, .n_fds = store.n_fds, .fd_names = store_names()};
    const struct daemon_end end =
        daemon_try(&setting, OPTIONS("--name", "test", "--size", "32MiB", "--socket",
                                     harness_path("test.sock")));
    expect_equal(end.exit_status, 78);
    expect_match(end.log, "the segment that was kept has 16.0 MiB, not 32.0 MiB");
    store_close();
}

/* Starts a daemon whose files a supervisor keeps, and a client of it, and kills the daemon. */
static struct client kill_a_kept_daemon(const char *notify_socket)
{
    daemon_start_as(&(struct daemon_setting){.notify_socket = notify_socket}, OPTIONS(NULL));
    const struct client client = holder_start();
    expect_soon(store_count() == 6, 2000);
    daemon_kill();
    return client;
}

static void expect_refused_with_78(const struct daemon_setting *setting, const char *size)
{
    const unsigned int n_fds = store.n_fds;
    const struct daemon_end end = daemon_try(
        setting, OPTIONS("--name", "test", "--size", size, "--socket", harness_path("test.sock")));
    expect_equal(end.exit_status, 78);
    store_read();
    expect_equal(store.n_fds, n_fds); /* nothing was taken out of the store */
}

static bool has_ended(pid_t pid)
{
    siginfo_t info = {.si_pid = 0};
    expect_call(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0);
    return info.si_pid == pid;
}

/* Stops the daemon and reads what it tells its supervisor, which is more than fits a queue. */
static void stop_and_read(void)
{
    expect_call(kill(daemon_pid(), SIGTERM) == 0);
    while (!has_ended(daemon_pid())) {
        store_read();
        harness_sleep_ms(1);
    }
    store_read();
    daemon_stop(); /* a second SIGTERM is nothing to one that has ended */
}

static void expect_going_on(const struct daemon_setting *setting, struct client *client)
{
    daemon_start_as(setting, OPTIONS(NULL));
    expect_log_line("going on with the segment that was kept");
    holder_expect_held(client);
    client_tell(client, 0);
    client_end(client);
    expect_soon(usage_take().clients == 0, 2000);
    stop_and_read();
    expect_equal(store.n_fds, 0);
}

/* The operator has edited the unit; the daemon was killed, not stopped. */
static void test_a_store_that_is_refused_for_its_size_is_there_for_the_old_size(void)
{
    if (!KMEMD_WITH_SYSTEMD) {
        harness_skip("kmemd was built without libsystemd");
    }
    char notify_socket[256];
    store_open();
    (void)snprintf(notify_socket, sizeof(notify_socket), "%s", harness_path("notify"));
    struct client client = kill_a_kept_daemon(notify_socket);
    const struct daemon_setting kept = {.notify_socket = notify_socket,
                                        .fds = store.fds,
                                        .n_fds = store.n_fds,
                                        .fd_names = store_names()};
    expect_refused_with_78(&kept, "32MiB");
    expect_refused_with_78(&kept, "8MiB");
    expect_going_on(&kept, &client);
    store_close();
}

static void test_a_store_that_another_layout_refuses_is_there_for_the_former_program(void)
{
    if (!KMEMD_WITH_SYSTEMD) {
        harness_skip("kmemd was built without libsystemd");
    }
    char notify_socket[256];
    store_open();
    (void)snprintf(notify_socket, sizeof(notify_socket), "%s", harness_path("notify"));
    struct client client = kill_a_kept_daemon(notify_socket);
    struct daemon_setting kept = {.notify_socket = notify_socket,
                                  .program = harness_program("kmemd_other_layout"),
                                  .fds = store.fds,
                                  .n_fds = store.n_fds,
                                  .fd_names = store_names()};
    expect_refused_with_78(&kept, "16MiB");
    kept.program = NULL;
    expect_going_on(&kept, &client);
    store_close();
}

/* The way to another size: whatever was in the segment is given up. */
static void test_a_daemon_that_was_stopped_may_come_back_with_another_size(void)
{
    if (!KMEMD_WITH_SYSTEMD) {
        harness_skip("kmemd was built without libsystemd");
    }
    char notify_socket[256];
    store_open();
    (void)snprintf(notify_socket, sizeof(notify_socket), "%s", harness_path("notify"));
    const struct daemon_setting setting = {.notify_socket = notify_socket};
    daemon_start_as(&setting, OPTIONS(NULL));
    struct client client = holder_start();
    stop_and_read();
    expect_equal(store.n_fds, 0);
    daemon_start_as(&setting, OPTIONS("--size", "32MiB"));
    expect_equal(usage_take().segment_bytes, 32 << 20);
    expect_usage(0, 0);
    client_kill(&client);
    stop_and_read();
    store_close();
}

static const struct system_test tests[] = {
    SYSTEM_TEST(test_the_supervisors_store_brings_everything_back, 20),
    SYSTEM_TEST(test_a_store_with_a_segment_of_another_size_is_refused_with_78, 20),
    SYSTEM_TEST(test_a_store_that_is_refused_for_its_size_is_there_for_the_old_size, 40),
    SYSTEM_TEST(test_a_store_that_another_layout_refuses_is_there_for_the_former_program, 40),
    SYSTEM_TEST(test_a_daemon_that_was_stopped_may_come_back_with_another_size, 40),
};

int main(int argc, char **argv)
{
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}

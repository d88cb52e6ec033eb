/* SPDX-License-Identifier: MIT */
/*
 * test_upgrade.c - another program, or another keeper, goes on with the files
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/system/client.h"
#include "tests/system/daemon.h"
#include "tests/system/harness.h"
#include "tests/system/holder.h"
#include "tests/system/usage.h"

/* ------------------------------------------------------------------------------ upgrade ------- */

/* Puts a program at the path from which the daemon was started, as a package manager does. */
static void install(const char *program)
{
    char fresh[256];
    struct stat status;
    (void)snprintf(fresh, sizeof(fresh), "%s.new", harness_path("kmemd"));
    const int from = open(program, O_RDONLY | O_CLOEXEC);
    const int to = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
    expect_call(from >= 0 && to >= 0 && fstat(from, &status) == 0);
    for (off_t at = 0; at < status.st_size;) {
        expect_call(sendfile(to, from, &at, (size_t)(status.st_size - at)) > 0);
    }
    (void)close(from);
    (void)close(to);
    expect_call(rename(fresh, harness_path("kmemd")) == 0);
}

static void start_installed(void)
{
    char program[256];
    install(harness_program("kmemd"));
    (void)snprintf(program, sizeof(program), "%s", harness_path("kmemd"));
    daemon_start_as(&(struct daemon_setting){.program = program}, OPTIONS("--log-level", "info"));
}

static void test_sighup_upgrades_to_the_program_on_disk(void)
{
    start_installed();
    struct client client = holder_start();
    const pid_t former = daemon_server_pid();
    install(harness_program("kmemd"));
    expect_call(kill(daemon_pid(), SIGHUP) == 0);
    expect_soon(harness_matches(daemon_log(), "upgraded: .*/kmemd serves now"), 5000);
    expect_true(daemon_server_pid() != former);
    holder_expect_held(&client);
    daemon_kill_server(); /* and the next one is made of the new program, too */
    holder_expect_held(&client);
    holder_end(&client);
    daemon_stop();
}

static void expect_not_upgraded(pid_t former)
{
    expect_call(kill(daemon_pid(), SIGHUP) == 0);
    expect_soon(harness_matches(daemon_log(), "nothing is changed"), 5000);
    expect_equal(daemon_server_pid(), former);
}

static void test_a_program_of_another_layout_is_refused(void)
{
    start_installed();
    struct client client = holder_start();
    const pid_t former = daemon_server_pid();
    install(harness_program("kmemd_other_layout"));
    expect_not_upgraded(former);
    expect_log_line("can not go on with segment \"test\": the state that is there has another lay");
    holder_expect_held(&client);
    daemon_kill_server(); /* what is on disk does not matter */
    holder_expect_held(&client);
    holder_end(&client);
    daemon_stop();
}

static void test_a_program_that_is_no_kmemd_is_refused(void)
{
    start_installed();
    const pid_t former = daemon_server_pid();
    install("/bin/true");
    expect_not_upgraded(former);
    expect_call(unlink(harness_path("kmemd")) == 0);
    expect_call(kill(daemon_pid(), SIGHUP) == 0);
    expect_log_line("cannot open .*/kmemd");
    expect_equal(daemon_server_pid(), former);
    daemon_stop();
}

/* ------------------------------------------------------------------- the supervisor's store --- */

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

static void store_forget(const char *name)
{
    for (unsigned int i = 0; i < store.n_fds; i++) {
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
    store_read();
    expect_equal(store.n_fds, 6); /* segment, state, clock, listener; ledger, pidfd */
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
    store_read();
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

static const struct system_test tests[] = {
    SYSTEM_TEST(test_sighup_upgrades_to_the_program_on_disk, 20),
    SYSTEM_TEST(test_a_program_of_another_layout_is_refused, 20),
    SYSTEM_TEST(test_a_program_that_is_no_kmemd_is_refused, 20),
    SYSTEM_TEST(test_the_supervisors_store_brings_everything_back, 20),
    SYSTEM_TEST(test_a_store_with_a_segment_of_another_size_is_refused_with_78, 20),
};

int main(int argc, char **argv)
{
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}

/* SPDX-License-Identifier: MIT */
/*
 * test_containers.c - clients in containers, and daemons beside which they are
 *
 * A container is made by bubblewrap: a root of its own in which there are /usr, one program and the
 * socket, no /dev/shm, and namespaces of its own for users, pids, mounts, IPC and the network. A
 * rootless one is a user's, who is root in it and nobody else.
 *
 * Needs root, to be several users.
 */
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/system/client.h"
#include "tests/system/contained.h"
#include "tests/system/ctl.h"
#include "tests/system/daemon.h"
#include "tests/system/harness.h"
#include "tests/system/sharing.h"
#include "tests/system/usage.h"
#include "tests/system/users.h"
#include "tests/system/walls.h"
#include "tests/wire/wire.h"

/* A number that no user of the machine has. */
#define ALICE 54321

#define ARGUMENTS_MAX 64

/* A block of the test's own, which the container holds in the end. */
#define OUTSIDE_BYTES 70000
#define OUTSIDE_FILL 0x33

struct container {
    const char *mounted; /* "test.sock", or "." for its directory */
    bool is_rootless;
};

static const struct container rootless = {.mounted = "test.sock", .is_rootless = true};
static const struct container rootful = {.mounted = "test.sock"};
static const struct container with_directory = {.mounted = ".", .is_rootless = true};

static gid_t members(void)
{
    const struct group *const group = getgrnam("games");
    if (group == NULL) {
        harness_skip("this machine has no group \"games\"");
    }
    return group->gr_gid;
}

/* -------------------------------------------------------------------------- containers ---- */

static const char *socket_directory(void)
{
    return harness_path("run");
}

/* What the client becomes; its root shows nothing of the test's directory but what is mounted. */
static void enter_container(const void *argument)
{
    const struct container *const container = argument;
    char mounted[512];
    const bool is_file = strcmp(container->mounted, ".") != 0;
    (void)snprintf(mounted, sizeof(mounted), "%s/%s", socket_directory(), container->mounted);
    const char *arguments[ARGUMENTS_MAX] = {"bwrap",
                                            "--die-with-parent",
                                            "--unshare-ipc",
                                            "--unshare-pid",
                                            "--unshare-net",
                                            "--unshare-uts",
                                            "--ro-bind",
                                            "/usr",
                                            "/usr",
                                            "--symlink",
                                            "usr/lib",
                                            "/lib",
                                            "--symlink",
                                            "usr/lib64",
                                            "/lib64",
                                            "--proc",
                                            "/proc",
                                            "--ro-bind",
                                            harness_path("contained"),
                                            "/contained",
                                            "--bind",
                                            mounted,
                                            is_file ? "/run/kmem/test.sock" : "/run/kmem",
                                            "--setenv",
                                            "KMEM_SOCKET",
                                            "/run/kmem/test.sock",
                                            "--chdir",
                                            "/",
                                            NULL};
    const char *const of_user[] = {"--unshare-user", "--uid", "0", "--gid", "0"};
    size_t n = 0;
    while (arguments[n] != NULL) {
        n++;
    }
    for (size_t i = 0; container->is_rootless && i < sizeof(of_user) / sizeof(of_user[0]); i++) {
        arguments[n++] = of_user[i];
    }
    arguments[n] = "/contained"; /* NULL behind it */
    client_pass_line();
    const int err_fd = open(harness_path("contained.err"), O_WRONLY | O_APPEND | O_CLOEXEC);
    expect_call(dup2(err_fd, STDERR_FILENO) == STDERR_FILENO);
    if (container->is_rootless) {
        become(ALICE, members());
    }
    (void)execvp("bwrap", (char *const *)arguments);
    _exit(127);
}

static const char *contained_err(void)
{
    static char text[4096];
    const int fd = open(harness_path("contained.err"), O_RDONLY | O_CLOEXEC);
    const ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
    text[n > 0 ? n : 0] = '\0';
    if (fd >= 0) {
        (void)close(fd);
    }
    return text;
}

static void copy_program(void)
{
    char bytes[65536];
    const int from = open(harness_program("contained"), O_RDONLY | O_CLOEXEC);
    const int to = open(harness_path("contained"), O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
    expect_call(from >= 0 && to >= 0);
    for (ssize_t n = 1; n > 0;) {
        n = read(from, bytes, sizeof(bytes));
        expect_call(n >= 0 && write(to, bytes, (size_t)n) == n);
    }
    expect_call(fchmod(to, 0755) == 0 && close(to) == 0 && close(from) == 0);
}

static void need_bubblewrap(void)
{
    int status = 0;
    const pid_t pid = fork();
    expect_call(pid >= 0);
    if (pid == 0) {
        become(ALICE, members());
        (void)execlp("bwrap", "bwrap", "--ro-bind", "/usr", "/usr", "--symlink", "usr/lib64",
                     "/lib64", "--symlink", "usr/lib", "/lib", "--unshare-user", "--unshare-pid",
                     "/usr/bin/true", NULL);
        _exit(127);
    }
    expect_call(waitpid(pid, &status, 0) == pid);
    if (status != 0) {
        harness_skip("bubblewrap can make no container here: it is not there, this is a chroot, or "
                     "the machine forbids user namespaces");
    }
}

/* A directory that anybody may reach, with a socket in it that is there soon. */
static void prepare(void)
{
    need_root();
    expect_call(chmod(harness_path("."), 0711) == 0);
    expect_call(mkdir(socket_directory(), 0755) == 0 && chmod(socket_directory(), 0755) == 0);
    const int err_fd = open(harness_path("contained.err"), O_CREAT | O_CLOEXEC | O_WRONLY, 0666);
    expect_call(err_fd >= 0 && fchmod(err_fd, 0666) == 0 && close(err_fd) == 0);
    copy_program();
    need_bubblewrap();
}

static void daemon_start_in(void (*become_another)(void), const char *const *options)
{
    static char socket[512];
    (void)snprintf(socket, sizeof(socket), "%s/test.sock", socket_directory());
    const struct daemon_setting setting = {.socket = socket, .prepare = become_another};
    daemon_start_as(&setting, options);
}

static void tell(const struct client *client, uint64_t what)
{
    client_tell(client, what);
    const uint64_t error = client_hear(client);
    if (error != 0) {
        fail("%s: %s", strerror((int)error), contained_err());
    }
}

static struct client begin_in(const struct container *container)
{
    struct client client = client_start(enter_container, container);
    tell(&client, CONTAINED_ALLOCATE);
    return client;
}

static void end_in(struct client *client)
{
    client_tell(client, CONTAINED_END);
    client_end(client);
}

/* What kmemctl says of the one client in a container. Return: its pid out here. */
static pid_t owner_shown(uid_t uid)
{
    char row[128];
    const char *const clients = ctl("clients", "--columns", "pid,uid,command")->out;
    (void)snprintf(row, sizeof(row), "^ *[0-9]+ +%u +contained *$", uid);
    expect_match(clients, row);
    const char *line = strstr(clients, "contained");
    while (line > clients && line[-1] != '\n') {
        line--;
    }
    return (pid_t)strtol(line, NULL, 10);
}

/* A client outside looks at what one inside has shared, and the other way round. */
static void share_both_ways(const struct client *inside)
{
    tell(inside, CONTAINED_SHARE);
    struct kmem_handle handle = hear_handle(inside);
    void *mem = NULL;
    expect_equal(kmem_attach(&handle, KMEM_READ, "from inside", &mem), 0);
    expect_equal(*(unsigned char *)mem, CONTAINED_FILL);
    expect_equal(kmem_try_release(&mem), 0);
    unsigned char *const own = filled(OUTSIDE_BYTES, false, OUTSIDE_FILL);
    expect_equal(kmem_share(own, 0, &handle), 0);
    client_tell(inside, CONTAINED_ATTACH);
    tell_handle(inside, &handle);
    expect_equal(client_hear(inside), 0);
    expect_equal(client_hear(inside), OUTSIDE_FILL);
    expect_equal(kmem_close(), 0);
}

/* ------------------------------------------------------------------------------- tests ---- */

static void serve_a_container(const struct container *container, uid_t uid)
{
    prepare();
    daemon_start_in(NULL, OPTIONS("--group", "games"));
    struct client client = begin_in(container);
    expect_usage(CONTAINED_BYTES, 1);
    client_tell(&client, CONTAINED_ASK);
    expect_equal(client_hear(&client), 0);
    expect_equal(client_hear(&client), 1);
    const pid_t pid = owner_shown(uid);
    expect_true(client_row_of(pid).found);
    share_both_ways(&client);

    expect_call(kill(pid, SIGKILL) == 0);

    expect_soon(usage_take().clients == 0, 5000);
    expect_true(obituary_of(pid).found);
    expect_equal(obituary_of(pid).num_bytes, CONTAINED_BYTES + OUTSIDE_BYTES);
    client_try_tell(&client, CONTAINED_END);
    client_kill(&client);
    daemon_stop_balanced();
}

static void test_rootless_container_is_served_and_its_death_noticed(void)
{
    serve_a_container(&rootless, ALICE);
}

static void test_container_of_root_is_served_and_its_death_noticed(void)
{
    serve_a_container(&rootful, 0);
}

static void test_container_that_ends_as_a_whole_gives_everything_back(void)
{
    prepare();
    daemon_start_in(NULL, OPTIONS("--group", "games"));
    struct client client = begin_in(&rootless);
    client_kill(&client); /* bubblewrap, and with it the pid namespace */
    expect_soon(usage_take().blocks == 0, 5000);
    daemon_stop_balanced();
}

static void test_container_outlives_a_killed_server(void)
{
    prepare();
    daemon_start_in(NULL, OPTIONS("--group", "games"));
    struct client before = begin_in(&rootless);
    daemon_kill_server();
    tell(&before, CONTAINED_ALLOCATE); /* as the client that it was */
    expect_usage(2 * CONTAINED_BYTES, 2);
    struct client after = begin_in(&rootless); /* by the socket that was mounted */
    expect_usage(3 * CONTAINED_BYTES, 3);
    end_in(&before);
    end_in(&after);
    daemon_stop_balanced();
}

/* A mount of a file shows that file, also when there is another at its path. */
static void test_mounted_socket_of_a_daemon_that_has_ended_is_explained(void)
{
    prepare();
    daemon_start_in(NULL, OPTIONS("--group", "games"));
    struct client by_file = begin_in(&rootless);
    struct client by_directory = begin_in(&with_directory);
    end_in(&by_file);
    end_in(&by_directory);
    by_file = client_start(enter_container, &rootless);
    by_directory = client_start(enter_container, &with_directory);
    client_tell(&by_file, CONTAINED_ASK); /* it is there: what it has mounted is the first socket */
    client_tell(&by_directory, CONTAINED_ASK);
    expect_equal(client_hear(&by_file), 0);
    expect_equal(client_hear(&by_file), 0);
    expect_equal(client_hear(&by_directory), 0);
    expect_equal(client_hear(&by_directory), 0);
    daemon_stop_balanced();
    daemon_start_in(NULL, OPTIONS("--group", "games"));

    client_tell(&by_file, CONTAINED_ALLOCATE);
    expect_equal(client_hear(&by_file), ECONNREFUSED);
    expect_match(contained_err(), "/run/kmem/test.sock is mounted here as a file.*"
                                  "mount its directory instead");
    tell(&by_directory, CONTAINED_ALLOCATE);
    expect_usage(CONTAINED_BYTES, 1);
    end_in(&by_file);
    end_in(&by_directory);
    daemon_stop_balanced();
}

/* The daemon has no number for the client, nor the client for the daemon. */
static void test_container_beside_the_daemons_pid_namespace_is_served(void)
{
    int former_fd;
    prepare();
    const pid_t first = walls_own_pids(&former_fd);
    daemon_start_in(NULL, OPTIONS("--group", "games"));
    walls_former_pids(former_fd);
    struct client client = begin_in(&rootless);
    struct client other = begin_in(&rootless);
    expect_usage(2 * CONTAINED_BYTES, 2);
    expect_match(ctl("clients", "--columns", "pid,uid,command")->out, "^ *\\? +54321 +contained");
    daemon_kill_server();
    tell(&client, CONTAINED_ALLOCATE);
    expect_usage(3 * CONTAINED_BYTES, 3);
    client_kill(&client);
    expect_soon(usage_take().blocks == 1, 5000); /* and no other's */
    end_in(&other);
    daemon_stop_balanced();
    expect_call(kill(first, SIGKILL) == 0);
    expect_call(waitpid(first, NULL, 0) == first);
}

/* ------------------------------------------------------------------ a contained daemon ---- */

static void write_line(const char *path, const char *line)
{
    const int fd = open(path, O_WRONLY | O_CLOEXEC);
    expect_call(fd >= 0 && write(fd, line, strlen(line)) == (ssize_t)strlen(line));
    (void)close(fd);
}

/* Alice, who is root here, and the only user that has a number. */
static void become_alice_in_a_user_namespace(void)
{
    char map[32];
    become(ALICE, members());
    expect_call(prctl(PR_SET_DUMPABLE, 1) == 0); /* else /proc/self is root's */
    expect_call(unshare(CLONE_NEWUSER) == 0);
    (void)snprintf(map, sizeof(map), "0 %d 1", ALICE);
    write_line("/proc/self/uid_map", map);
    write_line("/proc/self/setgroups", "deny");
    (void)snprintf(map, sizeof(map), "0 %d 1", (int)members());
    write_line("/proc/self/gid_map", map);
}

/* Return: what the daemon answers to Hello; 0: Welcome. */
static void say_hello(const void *argument)
{
    const uid_t *const uid = argument;
    struct wire_descriptors descriptors;
    if (*uid != 0) {
        become(*uid, members());
    }
    const int fd = wire_connect();
    Kmem__Response *const answer =
        wire_hello(fd, PROTOCOL_VERSION, KMEM__ROLE__ROLE_MEMBER, &descriptors);
    client_say(answer->body_case == KMEM__RESPONSE__BODY_ERROR ? answer->error->code : 0);
    wire_close_descriptors(&descriptors);
    wire_free(answer);
    (void)close(fd);
}

static uint64_t hello_as(uid_t uid)
{
    struct client client = client_start(say_hello, &uid);
    const uint64_t code = client_hear(&client);
    client_end(&client);
    return code;
}

static void test_daemon_in_a_user_namespace_serves_only_users_that_it_can_name(void)
{
    static char socket[512];
    struct daemon_end end;
    prepare();
    expect_call(chown(socket_directory(), ALICE, members()) == 0);
    (void)snprintf(socket, sizeof(socket), "%s/test.sock", socket_directory());
    const struct daemon_setting setting = {.socket = socket,
                                           .prepare = become_alice_in_a_user_namespace};
    if (!daemon_try_start(&setting, OPTIONS("--group", "0"), &end)) {
        fail("%s", end.log);
    }
    expect_equal(hello_as(0), KMEM__ERROR_CODE__ERROR_DENIED); /* 65534 in there */
    expect_log_line("of user 65534 is refused");
    expect_equal(hello_as(ALICE), 0);
    struct client client = begin_in(&rootless); /* another user namespace, the same user */
    tell(&client, CONTAINED_ALLOCATE);
    end_in(&client);
    expect_equal(daemon_try_stop(), 0);
}

static const struct system_test tests[] = {
    SYSTEM_TEST(test_rootless_container_is_served_and_its_death_noticed, 20),
    SYSTEM_TEST(test_container_of_root_is_served_and_its_death_noticed, 20),
    SYSTEM_TEST(test_container_that_ends_as_a_whole_gives_everything_back, 20),
    SYSTEM_TEST(test_container_outlives_a_killed_server, 20),
    SYSTEM_TEST(test_mounted_socket_of_a_daemon_that_has_ended_is_explained, 20),
    SYSTEM_TEST(test_container_beside_the_daemons_pid_namespace_is_served, 20),
    SYSTEM_TEST(test_daemon_in_a_user_namespace_serves_only_users_that_it_can_name, 20),
};

int main(int argc, char **argv)
{
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}

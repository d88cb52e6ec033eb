/* SPDX-License-Identifier: MIT */
/*
 * test_comeback.c - a client whose connection is lost comes back, whatever became of it meanwhile
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <kmem/kmem.h>

#include "tests/system/blocks.h"
#include "tests/system/client.h"
#include "tests/system/daemon.h"
#include "tests/system/harness.h"
#include "tests/system/store.h"
#include "tests/system/usage.h"
#include "tests/system/walls.h"
#include "tests/wire/wire.h"

#define BLOCK_BYTES (UINT64_C(100) << 10)

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
    void *const before = allocate(BLOCK_BYTES, "before");
    close_the_librarys();
    take_the_librarys();
    void *const after = allocate(BLOCK_BYTES, "after");
    expect_own_is_untouched();
    client_pause();
    release(before);
    release(after);
    expect_own_is_untouched();
}

static void test_program_that_takes_the_librarys_numbers_keeps_its_sockets_and_its_blocks(void)
{
    daemon_start(NULL, NULL);
    struct client client = client_begin(close_all_and_open_own, NULL);
    expect_usage(2 * BLOCK_BYTES, 2);
    expect_equal(usage_take().clients, 1);
    client_finish(&client);
    daemon_stop_balanced();
}

/* Not every machine has poll(). */
#ifdef SYS_poll
#define CALL_OF_POLL SYS_poll
#else
#define CALL_OF_POLL SYS_ppoll
#endif

/* Whether the first thread waits for an answer. */
static bool first_thread_waits(void)
{
    char path[64];
    char line[128] = "";
    (void)snprintf(path, sizeof(path), "/proc/self/task/%d/syscall", (int)getpid());
    FILE *const file = fopen(path, "re");
    expect_call(file != NULL);
    (void)!fgets(line, sizeof(line), file);
    (void)fclose(file);
    char *end;
    const long number = strtol(line, &end, 10);
    return end != line && (number == CALL_OF_POLL || number == SYS_ppoll);
}

static void *take_while_another_waits(void *argument)
{
    expect_soon(first_thread_waits(), 5000);
    take_the_librarys();
    client_say(2);
    return argument;
}

static void be_in_a_call_meanwhile(const void *argument)
{
    (void)argument;
    pthread_t thread;
    expect_call(socketpair(AF_UNIX, SOCK_STREAM, 0, own) == 0);
    void *const before = allocate(BLOCK_BYTES, "before");
    client_pause();
    expect_equal(pthread_create(&thread, NULL, take_while_another_waits, NULL), 0);
    void *const meanwhile = allocate(BLOCK_BYTES, "meanwhile");
    expect_equal(pthread_join(thread, NULL), 0);
    expect_own_is_untouched();
    client_say(3);
    client_await();
    release(before);
    release(meanwhile);
}

static void test_numbers_that_are_taken_during_a_call_of_another_thread(void)
{
    daemon_start("--watchdog", "0", NULL);
    struct client client = client_begin(be_in_a_call_meanwhile, NULL);
    daemon_signal_server(SIGSTOP);
    expect_soon(harness_state_of(daemon_server_pid()) == 'T', 5000); /* so no call is answered */
    client_tell(&client, 1);
    expect_equal(client_hear(&client), 2);
    daemon_signal_server(SIGCONT);
    expect_equal(client_hear(&client), 3);
    expect_usage(2 * BLOCK_BYTES, 2); /* what was asked for once was carved once */
    client_finish(&client);
    daemon_stop_balanced();
}

/* ------------------------------------------------------------------- the way back ---- */

#define STRANGER 54321

static void need_root(void)
{
    if (geteuid() != 0) {
        harness_skip("only root can change its root, its mounts or its user");
    }
}

/* Joins, loses what it had connected with, and wants all to be as it was after a server's death. */
static void outlive_a_server(void (*lose)(void))
{
    char *const before = allocate(BLOCK_BYTES, "before");
    (void)snprintf(before, 44, "before");
    lose();
    for (uint64_t round = 1; round <= 3; round++) {
        client_say(round);
        client_await(); /* the server is another one */
        release(allocate(BLOCK_BYTES, "after"));
        expect_text(before, "before");
    }
    release(before);
    client_say(4);
    client_await();
}

static void expect_to_outlive_servers(void (*run)(const void *argument))
{
    daemon_start(NULL, NULL);
    struct client client = client_start(run, NULL);
    for (uint64_t round = 1; round <= 3; round++) {
        expect_equal(client_hear(&client), round);
        expect_usage(BLOCK_BYTES, 1);
        expect_equal(usage_take().clients, 1);
        daemon_kill_server();
        client_tell(&client, 1);
    }
    expect_equal(client_hear(&client), 4);
    expect_usage(0, 0);
    client_finish(&client);
    expect_equal(usage_take().clients_seen, 1);
    daemon_stop_balanced();
}

static void go_elsewhere(void)
{
    expect_call(chdir("/") == 0);
}

static void outlive_with_a_relative_path(const void *argument)
{
    (void)argument;
    expect_call(chdir(harness_path(".")) == 0);
    expect_call(setenv("KMEM_SOCKET", "test.sock", 1) == 0);
    outlive_a_server(go_elsewhere);
}

static void test_client_comes_back_from_another_directory(void)
{
    expect_to_outlive_servers(outlive_with_a_relative_path);
}

static int root_fd;

static void change_root(void)
{
    root_fd = open("/", O_PATH | O_CLOEXEC);
    expect_call(mkdir(harness_path("jail"), 0700) == 0);
    expect_call(chroot(harness_path("jail")) == 0);
    expect_call(chdir("/") == 0);
}

/* For what a sanitizer does at the end: it needs /proc. */
static void leave_the_jail(void)
{
    expect_call(fchdir(root_fd) == 0 && chroot(".") == 0);
    (void)close(root_fd);
}

static void outlive_in_a_jail(const void *argument)
{
    (void)argument;
    outlive_a_server(change_root);
    leave_the_jail();
}

static void test_client_comes_back_from_another_root(void)
{
    need_root();
    expect_to_outlive_servers(outlive_in_a_jail);
}

static void cover_the_socket(void)
{
    expect_call(walls_own_mounts() == 0);
    expect_call(mount("none", harness_path("."), "tmpfs", 0, NULL) == 0);
    expect_true(access(daemon_socket(), F_OK) < 0);
}

static void outlive_among_other_mounts(const void *argument)
{
    (void)argument;
    outlive_a_server(cover_the_socket);
}

static void test_client_comes_back_from_another_mount_namespace(void)
{
    need_root();
    expect_to_outlive_servers(outlive_among_other_mounts);
}

static void drop_privileges(void)
{
    expect_call(setgroups(0, NULL) == 0);
    expect_call(setresgid(STRANGER, STRANGER, STRANGER) == 0);
    expect_call(setresuid(STRANGER, STRANGER, STRANGER) == 0);
    expect_true(access(daemon_socket(), F_OK) < 0);
}

static void outlive_without_privileges(const void *argument)
{
    (void)argument;
    outlive_a_server(drop_privileges);
}

static void test_client_comes_back_without_the_rights_that_it_had(void)
{
    need_root();
    expect_to_outlive_servers(outlive_without_privileges);
}

static void outlive_without_the_librarys_descriptors(const void *argument)
{
    (void)argument;
    outlive_a_server(close_the_librarys);
}

static void test_client_comes_back_by_the_path_when_its_way_is_closed(void)
{
    expect_to_outlive_servers(outlive_without_the_librarys_descriptors);
}

static void lose_the_way_and_then_the_path(void)
{
    close_the_librarys();
    release(allocate(BLOCK_BYTES, "by the path")); /* and with another way from now on */
    change_root();
}

static void outlive_both(const void *argument)
{
    (void)argument;
    outlive_a_server(lose_the_way_and_then_the_path);
    leave_the_jail();
}

static void test_client_that_came_back_by_the_path_has_another_way(void)
{
    need_root();
    expect_to_outlive_servers(outlive_both);
}

static void lose_both(const void *argument)
{
    (void)argument;
    void *const before = allocate(BLOCK_BYTES, "before");
    close_the_librarys();
    change_root();
    void *block = kmem_try_allocate(BLOCK_BYTES, "after");
    expect_true(block == NULL);
    expect_equal(errno, ECONNRESET);
    harness_note("\"%s\"", kmem_last_error());
    expect_equal(*(char *)before, 0);
    leave_the_jail();
}

static void test_client_without_way_and_path_is_told_so(void)
{
    need_root();
    daemon_start(NULL, NULL);
    client_run(lose_both, NULL);
    daemon_stop_balanced();
}

/* Those of the test as well. */
static unsigned int count_sockets(void)
{
    unsigned int n_sockets = 0;
    for (int fd = 0; fd < 1024; fd++) {
        struct stat status;
        n_sockets += fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode);
    }
    return n_sockets;
}

static void fork_and_look(const void *argument)
{
    (void)argument;
    const unsigned int n_before = count_sockets();
    void *const block = allocate(BLOCK_BYTES, "of the parent");
    expect_equal(count_sockets(), n_before + 2); /* the connection, the way back */
    const pid_t child = fork();
    expect_call(child >= 0);
    if (child == 0) {
        release(allocate(BLOCK_BYTES, "of the child"));
        expect_equal(count_sockets(), n_before + 2); /* its own; those of its parent are closed */
        _exit(0);
    }
    int status = -1;
    expect_call(waitpid(child, &status, 0) == child);
    expect_equal(status, 0);
    release(block);
    expect_equal(kmem_close(), 0);
    expect_equal(count_sockets(), n_before);
}

static void test_child_of_a_fork_has_no_way_of_its_parents(void)
{
    daemon_start(NULL, NULL);
    struct client client = client_start(fork_and_look, NULL);
    client_end(&client);
    daemon_stop_balanced();
}

static void outlive_a_keeper(const void *argument)
{
    (void)argument;
    char *const before = allocate(BLOCK_BYTES, "before");
    change_root();
    client_pause();
    release(allocate(BLOCK_BYTES, "after"));
    release(before);
    client_say(2);
    client_await();
    leave_the_jail();
}

static void test_client_comes_back_to_the_next_keeper_if_a_supervisor_kept_its_way(void)
{
    need_root();
    if (!KMEMD_WITH_SYSTEMD) {
        harness_skip("kmemd was built without libsystemd");
    }
    store_open();
    const struct daemon_setting first = store_first_setting();
    daemon_start_as(&first, OPTIONS(NULL));
    struct client client = client_begin(outlive_a_keeper, NULL);
    expect_soon(store_count() == 7, 2000);
    daemon_kill();
    const struct daemon_setting second = store_setting();
    daemon_start_as(&second, OPTIONS(NULL));
    expect_equal(usage_take().clients, 1);
    client_tell(&client, 1);
    expect_equal(client_hear(&client), 2);
    expect_usage(0, 0);
    client_finish(&client);
    store_close();
    daemon_stop();
}

/* ------------------------------------------------------------------ on a way, by hand ---- */

static void misuse_a_way(const void *argument)
{
    struct wire_descriptors mine;
    struct wire_descriptors with;
    (void)argument;
    wire_want_ways();
    (void)close(wire_member_with(&mine));
    const int way = mine.fds[WIRE_WAY];
    const uint64_t nonce = wire_welcome()->nonce;
    /* Another nonce, another role: said so, and nothing is given. */
    Kmem__Response *answer =
        wire_hello_again(way, PROTOCOL_VERSION, KMEM__ROLE__ROLE_MEMBER, nonce + 1, &with);
    expect_equal(answer->body_case, KMEM__RESPONSE__BODY_ERROR);
    expect_equal(answer->error->code, KMEM__ERROR_CODE__ERROR_DENIED);
    expect_equal(with.n_fds, 0);
    wire_free(answer);
    answer = wire_hello_again(way, PROTOCOL_VERSION, KMEM__ROLE__ROLE_OBSERVER, nonce, &with);
    expect_equal(answer->body_case, KMEM__RESPONSE__BODY_ERROR);
    expect_equal(answer->error->code, KMEM__ERROR_CODE__ERROR_PROTOCOL);
    wire_free(answer);
    /* A thousand questions without listening: what is given last is what counts. */
    for (unsigned int i = 0; i < 1000; i++) {
        answer = wire_hello_again(way, PROTOCOL_VERSION, KMEM__ROLE__ROLE_MEMBER, nonce, &with);
        expect_equal(answer->body_case, KMEM__RESPONSE__BODY_WELCOME);
        expect_true(answer->welcome->resumed);
        expect_equal(with.n_fds, 1);
        wire_free(answer);
        if (i < 999) {
            wire_close_descriptors(&with);
        }
    }
    wire_allocate(with.fds[0], 44, "by the last one");
    client_pause();
    wire_send_bytes(way, "\xff\xff\xff\xff nonsense", 13);
    wire_allocate(with.fds[0], 44, "after nonsense on the way");
    client_say(2);
    client_await();
}

static void test_way_serves_its_client_alone_and_whoever_misuses_it_nobody_else(void)
{
    daemon_start(NULL, NULL);
    struct client client = client_begin(misuse_a_way, NULL);
    expect_usage(44, 1);
    expect_equal(usage_take().clients, 1);
    client_tell(&client, 1);
    expect_equal(client_hear(&client), 2);
    expect_usage(88, 2);
    client_kill(&client);
    daemon_stop_balanced();
}

/* Says what a library said before it knew of programs, copies and ways. */
static void be_of_an_older_version(const void *argument)
{
    struct wire_descriptors with;
    const uint32_t *const version = argument;
    const int fd = wire_connect();
    Kmem__Response *const answer = wire_hello(fd, *version, KMEM__ROLE__ROLE_MEMBER, &with);
    expect_equal(answer->body_case, KMEM__RESPONSE__BODY_WELCOME);
    expect_equal(answer->welcome->version, PROTOCOL_VERSION);
    expect_equal(answer->welcome->n_descriptors, WELCOME_DESCRIPTORS);
    expect_equal(with.n_fds, WELCOME_DESCRIPTORS);
    wire_free(answer);
    wire_close_descriptors(&with);
    wire_allocate(fd, 44, "as it ever did");
    client_pause();
}

static void test_hello_of_any_minor_version_without_what_is_new_is_served_as_ever(void)
{
    const uint32_t versions[] = {0x00010000, 0x00010001, 0x0001ffff};
    daemon_start(NULL, NULL);
    for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++) {
        struct client client = client_begin(be_of_an_older_version, &versions[i]);
        expect_usage(44, 1);
        client_kill(&client);
        expect_balanced();
    }
    daemon_stop();
}

static const struct system_test tests[] = {
    SYSTEM_TEST(test_program_that_takes_the_librarys_numbers_keeps_its_sockets_and_its_blocks, 20),
    SYSTEM_TEST(test_numbers_that_are_taken_during_a_call_of_another_thread, 20),
    SYSTEM_TEST(test_client_comes_back_from_another_directory, 20),
    SYSTEM_TEST(test_client_comes_back_from_another_root, 20),
    SYSTEM_TEST(test_client_comes_back_from_another_mount_namespace, 20),
    SYSTEM_TEST(test_client_comes_back_without_the_rights_that_it_had, 20),
    SYSTEM_TEST(test_client_comes_back_by_the_path_when_its_way_is_closed, 20),
    SYSTEM_TEST(test_client_that_came_back_by_the_path_has_another_way, 20),
    SYSTEM_TEST(test_client_without_way_and_path_is_told_so, 20),
    SYSTEM_TEST(test_child_of_a_fork_has_no_way_of_its_parents, 20),
    SYSTEM_TEST(test_client_comes_back_to_the_next_keeper_if_a_supervisor_kept_its_way, 20),
    SYSTEM_TEST(test_way_serves_its_client_alone_and_whoever_misuses_it_nobody_else, 20),
    SYSTEM_TEST(test_hello_of_any_minor_version_without_what_is_new_is_served_as_ever, 20),
};

int main(int argc, char **argv)
{
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}

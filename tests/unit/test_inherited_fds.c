/* SPDX-License-Identifier: MIT */
/*
 * test_inherited_fds.c - descriptors that are passed to another program, and taken from one
 *
 * A child process becomes this program again, with "take" as its argument, and says what it was
 * given: each descriptor is a memfd whose first bytes are its name.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/inherited_fds.h"
#include "proto/limits.h"
#include "tests/unit/captured.h"
#include "tests/unit/unit.h"

static int saved_fd = -1; /* what was descriptor 3; -1: nothing was */
static struct inherited_fds files;
static unsigned n_fds;

static int files_setup(void **state)
{
    n_fds = count_fds();
    assert_int_equal(inherited_fds_init(&files), 0);
    return 0;
}

static int files_teardown(void **state)
{
    inherited_fds_fini(&files);
    if (saved_fd >= 0) {
        assert_int_equal(dup2(saved_fd, 3), 3);
        assert_int_equal(close(saved_fd), 0);
        saved_fd = -1;
    }
    assert_int_equal(count_fds(), n_fds);
    return 0;
}

/* A file that knows its name. */
static int named(const char *name)
{
    const int fd = memfd_create(name, MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, name, strlen(name)), (ssize_t)strlen(name));
    return fd;
}

static void keep(uint32_t slot)
{
    char ledger[INHERITED_FDS_NAME_BYTES];
    char pidfd[INHERITED_FDS_NAME_BYTES];
    char way[INHERITED_FDS_NAME_BYTES];
    const int fds[3] = {named(inherited_fds_name("ledger", slot, ledger)),
                        named(inherited_fds_name("pidfd", slot, pidfd)),
                        named(inherited_fds_name("way", slot, way))};
    inherited_fds_keep(&files, slot, fds);
}

/* ------------------------------------------------------------------------ in the other program */

static bool is_named(int fd, const char *name)
{
    char text[64] = "";
    return fd >= 3 && pread(fd, text, sizeof(text) - 1, 0) > 0 && strcmp(text, name) == 0 &&
           fcntl(fd, F_GETFD) == FD_CLOEXEC;
}

static bool slot_is_named(uint32_t slot)
{
    char name[INHERITED_FDS_NAME_BYTES];
    return is_named(files.ledger_fds[slot], inherited_fds_name("ledger", slot, name)) &&
           is_named(files.pidfds[slot], inherited_fds_name("pidfd", slot, name)) &&
           is_named(files.way_fds[slot], inherited_fds_name("way", slot, name));
}

/* Return: how many clients' files there are, all under their names; -1: something is wrong. */
static int take_all(void)
{
    int n_clients = 0;
    if (inherited_fds_init(&files) || inherited_fds_take(&files) < 0 || getenv("LISTEN_FDS") ||
        !is_named(files.segment_fd, "segment") || !is_named(files.state_fd, "state") ||
        !is_named(files.control_fd, "control") || files.check_fd >= 0) {
        return -1;
    }
    for (uint32_t slot = 0; slot < CLIENTS_MAX; slot++) {
        if (files.ledger_fds[slot] >= 0) {
            if (!slot_is_named(slot)) {
                return -1;
            }
            n_clients++;
        }
    }
    return n_clients;
}

/* Passes the files to this program again. Return: how many clients' came, modulo 256. */
static int pass(void)
{
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        char *arguments[] = {(char *)"test_files", (char *)"take", NULL};
        const int self = open("/proc/self/exe", O_PATH | O_CLOEXEC);
        (void)inherited_fds_exec(&files, self, arguments);
        _exit(254);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* ---------------------------------------------------------------------------------- passing --- */

static void test_inherited_fds_exec_passes_each_under_its_name(void **state)
{
    files.segment_fd = named("segment");
    files.state_fd = named("state");
    files.control_fd = named("control");
    keep(0);
    keep(7);
    keep(CLIENTS_MAX - 1);

    assert_int_equal(pass(), 3);
}

static void test_inherited_fds_exec_passes_those_that_stand_in_each_others_place(void **state)
{
    /* Made in the reverse order, and with gaps: hardly one has the number that it is to have. */
    for (uint32_t slot = 40; slot-- > 0;) {
        keep(slot);
    }
    files.control_fd = named("control");
    files.state_fd = named("state");
    files.segment_fd = named("segment");
    for (uint32_t slot = 0; slot < 40; slot += 3) {
        inherited_fds_drop(&files, slot);
    }

    assert_int_equal(pass(), 26);
}

static void test_inherited_fds_exec_needs_hardly_more_descriptors_than_there_are(void **state)
{
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    files.segment_fd = named("segment");
    for (uint32_t slot = 0; slot < 100; slot++) {
        keep(slot);
    }
    files.state_fd = named("state");
    files.control_fd = named("control");

    const struct rlimit few = {n_fds + 303 + 8, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    const int n_passed = pass();
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);

    assert_int_equal(n_passed, 100);
}

/* ------------------------------------------------------------------------------------ taking -- */

static void set(const char *name, const char *value)
{
    assert_int_equal(value ? setenv(name, value, 1) : unsetenv(name), 0);
}

static void set_all(const char *n_given, const char *names)
{
    char pid[24];
    (void)snprintf(pid, sizeof(pid), "%d", (int)getpid());
    set("LISTEN_PID", pid);
    set("LISTEN_FDS", n_given);
    set("LISTEN_FDNAMES", names);
}

static void test_inherited_fds_take_of_nothing_is_0(void **state)
{
    set("LISTEN_PID", NULL);

    assert_int_equal(inherited_fds_take(&files), 0);

    assert_int_equal(files.segment_fd, -1);
}

/* Becomes descriptor 3, whatever the starter has left there: a socket of that kind, which listens
   or not. */
static void put_socket(int type, bool listens)
{
    const struct sockaddr_un nameless = {.sun_family = AF_UNIX};
    saved_fd = fcntl(3, F_DUPFD_CLOEXEC, 10);
    const int fd = socket(AF_UNIX, type, 0);
    assert_true(fd >= 0);
    if (listens) {
        assert_int_equal(bind(fd, (const struct sockaddr *)&nameless, sizeof(sa_family_t)), 0);
        assert_int_equal(listen(fd, 1), 0);
    }
    assert_true(fd == 3 || (dup2(fd, 3) == 3 && close(fd) == 0));
}

static void test_inherited_fds_take_knows_a_socket_units_whatever_it_is_called(void **state)
{
    put_socket(SOCK_STREAM, true);
    set_all("1", "kmemd@video.socket");

    assert_int_equal(inherited_fds_take(&files), 1);

    assert_int_equal(files.activated_fd, 3);
    assert_int_equal(files.listener_fd, -1);
    assert_int_equal(fcntl(3, F_GETFD), FD_CLOEXEC);
}

static void test_inherited_fds_take_closes_a_socket_that_does_not_listen(void **state)
{
    put_socket(SOCK_STREAM, false);
    set_all("1", "kmemd@video.socket");

    assert_int_equal(inherited_fds_take(&files), 1);

    assert_int_equal(files.activated_fd, -1);
    assert_int_equal(fcntl(3, F_GETFD), -1);
}

static void test_inherited_fds_take_of_anothers_is_0(void **state)
{
    set_all("1", "segment");
    set("LISTEN_PID", "1");

    assert_int_equal(inherited_fds_take(&files), 0);

    assert_int_equal(files.segment_fd, -1);
    set("LISTEN_PID", NULL);
}

static void test_inherited_fds_take_of_nonsense_is_EPROTO(void **state)
{
    const char *const numbers[] = {"", "-1", "x", "1x", "99999999999999999999", NULL};

    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        set_all(numbers[i], "segment");
        assert_int_equal(inherited_fds_take(&files), -EPROTO);
    }
    set("LISTEN_PID", NULL);
}

static void test_inherited_fds_keep_replaces_what_the_slot_had(void **state)
{
    keep(5);
    const unsigned n_kept = count_fds();

    keep(5);

    assert_int_equal(count_fds(), n_kept);
    inherited_fds_drop(&files, 5);
    inherited_fds_drop(&files, 5);
    assert_int_equal(files.ledger_fds[5], -1);
}

static void test_inherited_fds_has_leftovers_without_a_segment_only(void **state)
{
    assert_false(inherited_fds_has_leftovers(&files));
    files.listener_fd = named("listener");
    assert_false(inherited_fds_has_leftovers(&files));
    keep(7);
    assert_true(inherited_fds_has_leftovers(&files));
    files.state_fd = named("state");
    files.clock_fd = named("clock");
    assert_true(inherited_fds_has_leftovers(&files));
    files.segment_fd = named("segment");
    assert_false(inherited_fds_has_leftovers(&files));
}

static void test_inherited_fds_drop_leftovers_leaves_the_listener(void **state)
{
    files.listener_fd = named("listener");
    const unsigned n_listening = count_fds();
    files.state_fd = named("state");
    keep(7);

    inherited_fds_drop_leftovers(&files);

    assert_false(inherited_fds_has_leftovers(&files));
    assert_int_equal(count_fds(), n_listening);
    assert_true(is_named(files.listener_fd, "listener"));
}

static int pidfd_of(pid_t pid)
{
    const int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    assert_true(fd >= 0);
    return fd;
}

static void test_inherited_fds_has_living_asks_the_pidfds(void **state)
{
    assert_false(inherited_fds_has_living(&files));
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        _exit(0);
    }
    inherited_fds_keep(&files, 7, (const int[3]){named("ledger"), pidfd_of(pid), -1});
    struct pollfd ended = {.fd = files.pidfds[7], .events = POLLIN};
    assert_int_equal(poll(&ended, 1, -1), 1); /* and not waited for yet */
    assert_false(inherited_fds_has_living(&files));
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_false(inherited_fds_has_living(&files));

    inherited_fds_keep(&files, 9, (const int[3]){named("ledger"), pidfd_of(getpid()), -1});

    assert_true(inherited_fds_has_living(&files));
}

static void test_inherited_fds_drop_segment_leaves_the_listener(void **state)
{
    files.listener_fd = named("listener");
    const unsigned n_listening = count_fds();
    files.segment_fd = named("segment");
    files.state_fd = named("state");
    files.clock_fd = named("clock");
    keep(7);

    inherited_fds_drop_segment(&files);

    assert_int_equal(files.segment_fd, -1);
    assert_int_equal(count_fds(), n_listening);
    assert_true(is_named(files.listener_fd, "listener"));
}

#define FILES_TEST(test) cmocka_unit_test_setup_teardown(test, files_setup, files_teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        FILES_TEST(test_inherited_fds_exec_passes_each_under_its_name),
        FILES_TEST(test_inherited_fds_exec_passes_those_that_stand_in_each_others_place),
        FILES_TEST(test_inherited_fds_exec_needs_hardly_more_descriptors_than_there_are),
        FILES_TEST(test_inherited_fds_take_of_nothing_is_0),
        FILES_TEST(test_inherited_fds_take_knows_a_socket_units_whatever_it_is_called),
        FILES_TEST(test_inherited_fds_take_closes_a_socket_that_does_not_listen),
        FILES_TEST(test_inherited_fds_take_of_anothers_is_0),
        FILES_TEST(test_inherited_fds_take_of_nonsense_is_EPROTO),
        FILES_TEST(test_inherited_fds_keep_replaces_what_the_slot_had),
        FILES_TEST(test_inherited_fds_has_leftovers_without_a_segment_only),
        FILES_TEST(test_inherited_fds_drop_leftovers_leaves_the_listener),
        FILES_TEST(test_inherited_fds_has_living_asks_the_pidfds),
        FILES_TEST(test_inherited_fds_drop_segment_leaves_the_listener),
    };
    if (argc > 1 && strcmp(argv[1], "take") == 0) {
        const int n_clients = take_all();
        inherited_fds_fini(&files);
        return n_clients < 0 ? 255 : n_clients;
    }
    return cmocka_run_group_tests_name("files", tests, NULL, NULL);
}

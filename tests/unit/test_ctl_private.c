/* SPDX-License-Identifier: MIT */
/*
 * test_ctl_private.c - daemons that do not start as they should, and what is left of them: nothing
 *
 * A script stands for kmemd: it gets what kmemd would, as "--name run --socket PATH --size ...".
 */
#include <errno.h>
#include <glob.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/ctl/private.h"
#include "tests/unit/captured.h"
#include "tests/unit/fail.h"
#include "tests/unit/unit.h"

FAIL_WRAP(int, pipe2, (int ends[2], int flags), (ends, flags), -1)
FAIL_WRAP(pid_t, fork, (void), (), -1)
FAIL_WRAP(int, poll, (struct pollfd * fds, nfds_t n_fds, int ms), (fds, n_fds, ms), -1)
FAIL_WRAP(ssize_t, read, (int fd, void *to, size_t n_bytes), (fd, to, n_bytes), -1)
FAIL_WRAP(pid_t, waitpid, (pid_t pid, int *status, int flags), (pid, status, flags), -1)

#define SERVES "echo ready; exec sleep 1000"

static char directory[64]; /* $TMPDIR */
static char script[96];
static const char *said;

/* What kmemd is from now on. */
static void be(const char *text)
{
    FILE *file = fopen(script, "we");
    assert_non_null(file);
    assert_true(fprintf(file, "#!/bin/sh\n%s\n", text) > 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(script, 0700), 0);
}

/* Starts it, and ends it if it serves. Return: as private_open(). */
static int start(void)
{
    const struct private_options options = {.size = "1MiB", .commit = "lazy"};
    struct private_daemon *private = NULL;
    struct signals signals;
    int number = 0;
    const unsigned n_fds = count_fds();
    assert_int_equal(signals_open(&signals), 0);
    capture_begin();
    const int r = private_open(&options, &signals, &private, &number);
    (void)fail_end();
    if (r == 0) {
        assert_int_equal(access(private_socket(private), F_OK), -1); /* a script makes none */
    }
    assert_null(private_close(private));
    said = capture_end();
    signals_close(&signals);
    assert_int_equal(count_fds(), n_fds);
    return r;
}

/* But for the script. */
static void assert_nothing_is_left(void)
{
    assert_int_equal(unlink(script), 0);
    assert_int_equal(rmdir(directory), 0);
    assert_int_equal(mkdir(directory, 0700), 0);
}

static void test_open_waits_for_the_whole_line(void **state)
{
    be("printf rea; sleep 0; printf 'dy\\n'; exec sleep 1000");
    assert_int_equal(start(), 0);
    assert_string_equal(said, "");
    assert_nothing_is_left();
}

static void test_open_of_what_ends_says_whether_it_was_the_options(void **state)
{
    be("exit 64");
    assert_int_equal(start(), PRIVATE_E_USAGE);
    be("exit 1");
    assert_int_equal(start(), PRIVATE_E_ENDED);
    be("kill -9 $$");
    assert_int_equal(start(), PRIVATE_E_ENDED);
    assert_nothing_is_left();
}

static void test_open_finds_kmemd_in_the_path(void **state)
{
    char path[128];
    be(SERVES);
    assert_int_equal(setenv("KMEMD", "", 1), 0);
    (void)snprintf(path, sizeof(path), "%s:/bin:/usr/bin", directory);
    assert_int_equal(setenv("PATH", path, 1), 0);
    assert_int_equal(start(), 0);
    assert_int_equal(setenv("PATH", "/nonexistent", 1), 0);
    assert_int_equal(start(), PRIVATE_E_NOT_FOUND);
    assert_non_null(strstr(said, "there is no kmemd beside kmemctl, nor in $PATH"));
    assert_int_equal(setenv("KMEMD", "/nonexistent/kmemd", 1), 0);
    assert_int_equal(start(), PRIVATE_E_NOT_FOUND);
    assert_non_null(strstr(said, "$KMEMD is \"/nonexistent/kmemd\", and that is no program"));
    assert_nothing_is_left();
}

/* The first of these is none, or leaves no room for a socket's name: the next is taken. */
static void test_open_passes_over_directories_that_are_of_no_use(void **state)
{
    char none[200];
    memset(none, 'x', sizeof(none) - 1);
    none[0] = '/';
    none[sizeof(none) - 1] = '\0';
    const char *directories[] = {"relative", "/nonexistent", none};
    be("case \"$4\" in " /* the socket's path */
       "\"$TMPDIR\"/*) " SERVES ";; esac");
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(setenv("XDG_RUNTIME_DIR", directories[i], 1), 0);
        assert_int_equal(start(), 0);
    }
    assert_int_equal(setenv("TMPDIR", "relative", 1), 0);
    be("case \"$4\" in /tmp/kmemctl-*/run.sock) " SERVES ";; esac");
    assert_int_equal(start(), 0);
    assert_nothing_is_left();
}

static void remove_what_stays(void)
{
    char pattern[128];
    glob_t found;
    (void)snprintf(pattern, sizeof(pattern), "%s/kmemctl-*/stays", directory);
    assert_int_equal(glob(pattern, 0, NULL, &found), 0);
    assert_int_equal(found.gl_pathc, 1);
    assert_int_equal(rmdir(found.gl_pathv[0]), 0);
    *strrchr(found.gl_pathv[0], '/') = '\0';
    assert_int_equal(rmdir(found.gl_pathv[0]), 0);
    globfree(&found);
}

static void test_close_says_what_it_can_not_remove(void **state)
{
    be("mkdir \"${4%/*}/stays\"; " SERVES);
    assert_int_equal(start(), 0);
    assert_non_null(strstr(said, "cannot remove "));
    assert_non_null(strstr(said, ": Directory not empty\n"));
    remove_what_stays();
    be("rmdir \"${4%/*}\"; " SERVES); /* gone already */
    assert_int_equal(start(), 0);
    assert_string_equal(said, "");
    assert_nothing_is_left();
}

static void assert_fails(const char *what, int error, int expected)
{
    fail_nth(what, 1, error);
    assert_int_equal(start(), expected);
}

static void test_open_that_the_system_refuses_leaves_nothing(void **state)
{
    be(SERVES);
    assert_fails("memory", ENOMEM, -ENOMEM);
    assert_fails("pipe2", EMFILE, -EMFILE);
    assert_fails("fork", EAGAIN, -EAGAIN);
    assert_fails("poll", ENOMEM, -ENOMEM);
    be("exit 1");
    assert_fails("waitpid", ECHILD, -ECHILD);
    assert_nothing_is_left();
}

static void test_open_goes_on_after_a_signal(void **state)
{
    be(SERVES);
    assert_fails("poll", EINTR, 0);
    assert_nothing_is_left();
}

static int setup(void **state)
{
    (void)stpcpy(directory, "/tmp/test_ctl_private.XXXXXX");
    if (!mkdtemp(directory)) {
        return -1;
    }
    (void)stpcpy(stpcpy(script, directory), "/kmemd");
    return setenv("KMEMD", script, 1) || setenv("TMPDIR", directory, 1) ||
           unsetenv("XDG_RUNTIME_DIR") || setenv("PATH", "/bin:/usr/bin", 1);
}

static int teardown(void **state)
{
    return rmdir(directory);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_open_waits_for_the_whole_line),
        TEST(test_open_of_what_ends_says_whether_it_was_the_options),
        TEST(test_open_finds_kmemd_in_the_path),
        TEST(test_open_passes_over_directories_that_are_of_no_use),
        TEST(test_close_says_what_it_can_not_remove),
        TEST(test_open_that_the_system_refuses_leaves_nothing),
        TEST(test_open_goes_on_after_a_signal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

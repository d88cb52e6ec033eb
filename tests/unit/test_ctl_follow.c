/* SPDX-License-Identifier: MIT */
/*
 * test_ctl_follow.c - what `kmemctl watch` prints of changes that are not as they should be, and
 * what becomes of a command that it runs for one
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/ctl/command.h"
#include "client/ctl/status.h"
#include "tests/unit/captured.h"
#include "tests/unit/fail.h"
#include "tests/unit/shown.h"
#include "tests/unit/unit.h"

FAIL_WRAP(int, setenv, (const char *name, const char *text, int replaces), (name, text, replaces),
          -1)
FAIL_WRAP(off_t, lseek, (int fd, off_t offset, int from), (fd, offset, from), -1)
FAIL_WRAP(int, dup2, (int from, int to), (from, to), -1)
FAIL_WRAP(pid_t, waitpid, (pid_t pid, int *status, int flags), (pid, status, flags), -1)
FAIL_WRAP(FILE *, tmpfile, (void), (), NULL)

/* What a child ends with, which then does nothing else; negative: it does what it is for. */
static int child_ends_with = -1;

pid_t __real_fork(void);
pid_t __wrap_fork(void);
pid_t __wrap_fork(void)
{
    const pid_t pid = fail_now("fork") ? -1 : __real_fork();
    if (pid == 0 && child_ends_with >= 0) {
        _exit(child_ends_with);
    }
    return pid;
}

/* There is no daemon to be found anew. */
int kmem_query_open(const char *socket_path, struct kmem_query **ret_query)
{
    (void)socket_path;
    (void)ret_query;
    return -ENOENT;
}

struct kmem_query *kmem_query_close(struct kmem_query *query)
{
    (void)query;
    return NULL;
}

const char *kmem_query_error(const struct kmem_query *query)
{
    (void)query;
    return "";
}

const char *kmem_last_error(void)
{
    return "";
}

static char *follow(struct kmem_change change)
{
    change.number = 1;
    struct kmem_query query = {.changes = &change, .n_changes = 1, .error = -EIO};
    capture_begin(); /* that the stream has ended */
    const struct shown shown = show(follow_show, query, (struct options){.top = 0});
    (void)capture_end();
    return shown.text;
}

static void test_watch_escapes_each_text(void **state)
{
    char *text = follow((struct kmem_change){.kind = "\x1b[31m",
                                             .command = "\x1b[32m",
                                             .reason = "\xE2\x80\x8B",
                                             .name = "\x07",
                                             .why = "\n"});
    (void)state;
    assert_null(strchr(text, '\x1b'));
    assert_non_null(strstr(text, "\\x1b[31m"));
    assert_non_null(strstr(text, "\\x1b[32m"));
    assert_non_null(strstr(text, " \\x0a \\x07 \\u200b\n"));
    free(text);
}

static void test_watch_of_a_change_older_than_the_clock_has_a_time(void **state)
{
    char *text = follow((struct kmem_change){
        .kind = "died", .command = "", .reason = "", .name = "", .why = "", .ms_ago = UINT64_MAX});
    (void)state;
    assert_int_equal(strncmp(text, "00:00:00.000  died ", strlen("00:00:00.000  died ")), 0);
    free(text);
}

static void test_watch_says_what_was_missed_and_that_another_server_began(void **state)
{
    struct kmem_query query = {.n_missed = 1234, .began_anew = 1, .error = -EIO};
    const struct kmem_change change = {
        .number = 1, .kind = "died", .command = "", .reason = "", .name = "", .why = ""};
    query.changes = &change;
    query.n_changes = 1;
    /* Of those that no filter chooses these two are told all the same. */
    struct options options = {.format = FORMAT_WIDE, .filter = {.has_pid = true, .pid = 7}};
    capture_begin();
    struct shown shown = show(follow_show, query, options);
    assert_non_null(strstr(shown.text, "  missed       1,234 changes came faster than they were"));
    assert_non_null(strstr(shown.text, "  began_anew   another server of kmemd; "));
    assert_null(strstr(shown.text, "died"));
    free(shown.text);
    options.format = FORMAT_JSON;
    shown = show(follow_show, query, options);
    (void)capture_end();
    assert_non_null(strstr(shown.text, "\"n_missed\": 1234"));
    free(shown.text);
}

static void assert_meaningless(struct options options, const char *option)
{
    char wanted[128];
    (void)snprintf(wanted, sizeof(wanted), "as they come: %s means nothing to it\n", option);
    capture_begin();
    const struct shown shown = show(follow_show, (struct kmem_query){.error = -EIO}, options);
    assert_non_null(strstr(capture_end(), wanted));
    assert_int_equal(shown.status, STATUS_USAGE);
    assert_string_equal(shown.text, "");
    free(shown.text);
}

static void test_watch_refuses_what_is_for_a_list(void **state)
{
    assert_meaningless((struct options){.watch_ms = 1000}, "--watch");
    assert_meaningless((struct options){.format = FORMAT_CSV}, "--output=csv");
    assert_meaningless((struct options){.columns = "pid"}, "--columns");
    assert_meaningless((struct options){.sort = "pid"}, "--sort");
    assert_meaningless((struct options){.top = 1}, "--top");
    assert_meaningless((struct options){.filter = {.has_age = true}}, "--older-than");
}

static void test_watch_ends_when_its_answer_can_not_be_written(void **state)
{
    const struct kmem_change change = {
        .number = 1, .kind = "died", .command = "", .reason = "", .name = "", .why = ""};
    struct kmem_query query = {.changes = &change, .n_changes = 1};
    const struct options options = {.top = 0};
    const struct screen screen = {.file = fopen("/dev/full", "we")};
    assert_non_null(screen.file);
    assert_int_equal(follow_show(&query, &options, &screen), STATUS_ERROR);
    (void)fclose(screen.file);
}

/* ---------------------------------------------------------------------------------- --exec -- */

/* What is said of a command that is run for change 1. */
static const char *said_of(const char *command)
{
    const struct kmem_change change = {.number = 1,
                                       .kind = "died",
                                       .pid = 4711,
                                       .command = "camera",
                                       .reason = "",
                                       .name = "",
                                       .why = ""};
    const struct kmem_query query = {.changes = &change, .n_changes = 1, .error = -EIO};
    capture_begin();
    const struct shown shown = show(follow_show, query, (struct options){.exec = command});
    (void)fail_end();
    assert_string_equal(shown.text, "");
    free(shown.text);
    return capture_end();
}

static void test_exec_gives_the_change_and_says_how_its_command_ended(void **state)
{
    assert_null(strstr(said_of("test $KMEM_CHANGE:$KMEM_PID:$KMEM_COMMAND = died:4711:camera && "
                               "grep -q '\"pid\": 4711'"),
                       "ended"));
    assert_non_null(strstr(said_of("exit 3"), "\"exit 3\" ended with status 3, for change 1\n"));
    assert_non_null(strstr(said_of("kill -9 $$"), "was ended by signal 9, for change 1\n"));
}

static void test_exec_waits_for_its_command_over_signals(void **state)
{
    child_ends_with = 5;
    fail_nth("waitpid", 1, EINTR);
    assert_non_null(strstr(said_of("none"), "\"none\" ended with status 5, for change 1\n"));
    child_ends_with = 0;
    assert_null(strstr(said_of("none"), "ended"));
    child_ends_with = -1;
}

/* It would act on a change of which it knows a part. */
static void test_exec_runs_nothing_that_does_not_get_the_whole_change(void **state)
{
    unsigned n_variables = 0;
    for (;; n_variables++) {
        fail_nth("setenv", n_variables + 1, ENOMEM);
        if (!strstr(said_of("exit 0"), "ended with status 127")) {
            break;
        }
    }
    assert_int_equal(n_variables, 13);
    fail_nth("lseek", 1, EIO);
    assert_non_null(strstr(said_of("exit 0"), "ended with status 127"));
    fail_nth("dup2", 2, EBADF); /* the first lets stderr be read */
    assert_non_null(strstr(said_of("exit 0"), "ended with status 127"));
}

static void test_exec_that_can_not_run_ends_the_watch_and_says_why(void **state)
{
    fail_nth("fork", 1, EAGAIN);
    assert_non_null(strstr(said_of("exit 0"), "cannot run it: Resource temporarily unavailable\n"));
    fail_nth("tmpfile", 1, EMFILE);
    assert_non_null(strstr(said_of("exit 0"), "cannot run it: Too many open files\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_watch_says_what_was_missed_and_that_another_server_began),
        cmocka_unit_test(test_watch_refuses_what_is_for_a_list),
        cmocka_unit_test(test_watch_ends_when_its_answer_can_not_be_written),
        cmocka_unit_test(test_exec_gives_the_change_and_says_how_its_command_ended),
        cmocka_unit_test(test_exec_waits_for_its_command_over_signals),
        cmocka_unit_test(test_exec_runs_nothing_that_does_not_get_the_whole_change),
        cmocka_unit_test(test_exec_that_can_not_run_ends_the_watch_and_says_why),
        cmocka_unit_test(test_watch_escapes_each_text),
        cmocka_unit_test(test_watch_of_a_change_older_than_the_clock_has_a_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

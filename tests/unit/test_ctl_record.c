/* SPDX-License-Identifier: MIT */
/*
 * test_ctl_record.c - what `kmemctl record` writes, and how it ends
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client/ctl/command.h"
#include "client/ctl/status.h"
#include "tests/unit/captured.h"
#include "tests/unit/fail.h"
#include "tests/unit/fake_segment.h"
#include "tests/unit/unit.h"

FAIL_WRAP(int, fsync, (int fd), (fd), -1)

/* A millisecond goes by each time that it is looked how many have. */
int __real_clock_gettime(clockid_t clock, struct timespec *ret_now);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ret_now);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ret_now)
{
    static long now_ms;
    if (clock != CLOCK_MONOTONIC) {
        return __real_clock_gettime(clock, ret_now);
    }
    now_ms++;
    *ret_now = (struct timespec){now_ms / 1000, now_ms % 1000 * 1000000};
    return 0;
}

/* Whether stderr is a terminal. */
static int is_terminal;

int __wrap_isatty(int fd);
int __wrap_isatty(int fd)
{
    return fd == STDERR_FILENO && is_terminal;
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

/* ------------------------------------------------------------------------------- recording -- */

/* Enough for the beginning, and to look for changes a few times. */
#define FOR_MS 20

static const struct kmem_change changes[] = {
    {.number = 1,
     .kind = "allocated",
     .pid = 7,
     .command = "",
     .offset = 16384,
     .num_bytes = 100,
     .reason = "a reason",
     .name = "",
     .why = ""},
    {.number = 2,
     .kind = "published",
     .pid = 7,
     .command = "",
     .reason = "not this",
     .name = "a name",
     .why = "",
     .ms_ago = UINT64_MAX},
};

static char path[64];
static char said[1024];
static char notes[1024];
static char written[65536];

/* The beginning asks five things; then it waits for changes once, and the daemon says no more. */
static void end_with_the_changes(struct kmem_query *query)
{
    if (query->n_questions > 4) {
        query->error = -EIO;
    }
}

static void interrupt(struct kmem_query *query)
{
    if (query->n_questions > 4) {
        query->error = -EINTR;
        (void)raise(SIGINT);
    }
}

static struct kmem_query query_of_changes(void)
{
    struct kmem_query query = fake_segment();
    query.changes = changes;
    query.n_changes = 2;
    return query;
}

static int record_to(const char *to, struct kmem_query query, uint64_t for_ms)
{
    const struct options options = {.arguments = {to}, .for_ms = for_ms};
    memset(notes, 0, sizeof(notes));
    struct screen screen = {.file = stdout, .notes = fmemopen(notes, sizeof(notes) - 1, "w")};
    assert_non_null(screen.notes);
    capture_begin();
    const int status = record_show(&query, &options, &screen);
    (void)fail_end();
    (void)snprintf(said, sizeof(said), "%s", capture_end());
    (void)fclose(screen.notes);
    return status;
}

/* Likewise into a file, of which then is known what was written. */
static int record(struct kmem_query query, uint64_t for_ms)
{
    (void)stpcpy(path, "/tmp/test_ctl_record.XXXXXX");
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    const int status = record_to(path, query, for_ms);
    const ssize_t n_bytes = read(fd, written, sizeof(written) - 1);
    assert_true(n_bytes >= 0);
    written[n_bytes] = '\0';
    assert_int_equal(close(fd), 0);
    assert_int_equal(unlink(path), 0);
    return status;
}

static void test_record_writes_names_and_what_was_missed(void **state)
{
    struct kmem_query query = query_of_changes();
    query.n_missed = 12;
    query.began_anew = 1;
    assert_int_equal(record(query, FOR_MS), STATUS_OK);
    assert_non_null(strstr(written, "\"kmem_record\": 1, "));
    assert_non_null(strstr(written, "\"k\": \"missed\", \"p\": 0, \"m\": 12 }\n"));
    assert_non_null(strstr(written, "\"o\": 16384, \"n\": 100, \"r\": \"a reason\" }\n"));
    /* Older than the record: it is as old as that. */
    assert_non_null(
        strstr(written, "{ \"t\": 0, \"k\": \"published\", \"p\": 7, \"r\": \"a name\""));
    assert_null(strstr(written, "not this"));
    assert_non_null(strstr(notes, ": 2 changes in "));
    assert_non_null(strstr(notes, " were missed; another server began "));
    assert_string_equal(said, "");
}

static void test_record_shows_on_a_terminal_how_far_it_is(void **state)
{
    struct kmem_query query = query_of_changes();
    is_terminal = 1;
    assert_int_equal(record(query, FOR_MS), STATUS_OK);
    assert_non_null(strstr(said, "2 changes"));
    assert_null(strstr(said, "missed"));
    query.n_missed = 12;
    assert_int_equal(record(query, FOR_MS), STATUS_OK);
    assert_non_null(strstr(said, ", missed "));
    assert_int_equal(said[strlen(said) - 1], '\n');
    is_terminal = 0;
}

static void test_record_says_that_it_can_not_be_written(void **state)
{
    assert_int_equal(record_to("/nonexistent/a", query_of_changes(), FOR_MS), STATUS_ERROR);
    assert_non_null(strstr(said, "cannot write to /nonexistent/a: No such file or directory\n"));
    assert_int_equal(record_to("/dev/full", query_of_changes(), FOR_MS), STATUS_ERROR);
    assert_non_null(strstr(said, "cannot write to /dev/full: No space left on device\n"));
    fail_nth("fsync", 1, EIO);
    assert_int_equal(record(query_of_changes(), FOR_MS), STATUS_ERROR);
    assert_non_null(strstr(said, ": Input/output error\n"));
}

/* A pipe, and what lies on a disk that is read alone, know of no fsync(). */
static void test_record_into_what_has_no_disk_is_no_error(void **state)
{
    const int errors[] = {EINVAL, EROFS};
    for (size_t i = 0; i < 2; i++) {
        fail_nth("fsync", 1, errors[i]);
        assert_int_equal(record(query_of_changes(), FOR_MS), STATUS_OK);
        assert_string_equal(said, "");
    }
}

static void fail_at_once(struct kmem_query *query)
{
    query->error = -EPROTO;
}

static void fail_at_the_blocks(struct kmem_query *query)
{
    query->error = query->n_questions > 2 ? -EPROTO : 0;
}

static void test_record_that_is_refused_says_what_the_query_failed_with(void **state)
{
    struct kmem_query query = query_of_changes();
    query.before_answer = fail_at_once;
    assert_true(record(query, FOR_MS) != STATUS_OK);
    query = query_of_changes();
    query.before_answer = fail_at_the_blocks;
    assert_true(record(query, FOR_MS) != STATUS_OK);
    assert_null(strstr(written, "\"k\": \"leased\""));
    query = query_of_changes();
    query.before_answer = end_with_the_changes;
    assert_int_equal(record(query, 0), STATUS_ERROR);
    assert_non_null(strstr(written, "\"k\": \"published\""));
}

/* The last: what has been interrupted stays so. */
static void test_record_that_is_interrupted_is_whole(void **state)
{
    struct kmem_query query = query_of_changes();
    query.before_answer = interrupt;
    assert_int_equal(record(query, 0), STATUS_OK);
    assert_non_null(strstr(written, "\"k\": \"published\""));
    assert_int_equal(written[strlen(written) - 1], '\n');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_record_writes_names_and_what_was_missed),
        cmocka_unit_test(test_record_shows_on_a_terminal_how_far_it_is),
        cmocka_unit_test(test_record_says_that_it_can_not_be_written),
        cmocka_unit_test(test_record_into_what_has_no_disk_is_no_error),
        cmocka_unit_test(test_record_that_is_refused_says_what_the_query_failed_with),
        cmocka_unit_test(test_record_that_is_interrupted_is_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

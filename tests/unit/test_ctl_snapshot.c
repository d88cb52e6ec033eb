/* SPDX-License-Identifier: MIT */
/*
 * test_ctl_snapshot.c - a ledger in a file and back, and what has grown between two
 */
#include <errno.h>
#include <limits.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/ctl/command.h"
#include "client/ctl/growth.h"
#include "client/ctl/snapshot.h"
#include "client/ctl/status.h"
#include "tests/unit/fail.h"
#include "tests/unit/fake_segment.h"
#include "tests/unit/unit.h"

FAIL_WRAP(int, fchmod, (int fd, mode_t mode), (fd, mode), -1)
FAIL_WRAP(FILE *, fdopen, (int fd, const char *mode), (fd, mode), NULL)
FAIL_WRAP(int, rename, (const char *from, const char *to), (from, to), -1)
FAIL_WRAP(int, fstat, (int fd, struct stat *there), (fd, there), -1)
FAIL_WRAP_AS("memory", char *, strdup, (const char *text), (text), NULL)

/* ---------------------------------------------------------------------------------- growth ---- */

static void add(struct groups *groups, const char *key, uint64_t n_blocks, uint64_t num_bytes)
{
    const struct kmem_ledger_row row = {.key = key, .n_blocks = n_blocks, .num_bytes = num_bytes};
    assert_int_equal(groups_add(&row, groups), 0);
}

static void assert_growth(const struct growth *growth, const char *key, int64_t bytes,
                          int64_t blocks)
{
    assert_string_equal(growth->key, key);
    assert_true(growth->grown_bytes == bytes);
    assert_true(growth->grown_blocks == blocks);
}

static void test_growth_between_goes_as_far_as_a_number_does(void **state)
{
    (void)state;
    assert_true(growth_between(5, 3) == -2 && growth_between(3, 5) == 2);
    assert_true(growth_between(0, UINT64_MAX) == INT64_MAX);
    assert_true(growth_between(UINT64_MAX, 0) == -INT64_MAX);
}

static void test_growths_are_sorted_and_leave_out_what_is_as_it_was(void **state)
{
    struct groups before = {0};
    struct groups after = {0};
    struct growths growths;
    add(&before, "gone", 2, 500);
    add(&before, "same", 1, 7);
    add(&before, "video", 3, 300);
    add(&before, "moved", 1, 64);
    add(&after, "video", 4, 350);
    add(&after, "same", 1, 7);
    add(&after, "new", 1, 1000);
    add(&after, "moved", 2, 64);
    assert_int_equal(growths_init(&growths, &before, &after), 0);
    assert_int_equal(growths.n_rows, 4);
    assert_growth(&growths.rows[0], "new", 1000, 1);
    assert_growth(&growths.rows[1], "video", 50, 1);
    assert_growth(&growths.rows[2], "moved", 0, 1);
    assert_growth(&growths.rows[3], "gone", -500, -2);
    assert_growth(&growths.total, "", 550, 1);
    assert_true(growths.rows[1].before_bytes == 300 && growths.rows[1].after_bytes == 350);
    growths_fini(&growths);
    groups_fini(&before);
    groups_fini(&after);
}

/* --------------------------------------------------------------------------------- a file ---- */

static char directory[] = "/tmp/kmem-snapshot-XXXXXX";

static const char *path_of(const char *name)
{
    static char paths[4][128];
    static unsigned at;
    char *path = paths[at++ % 4];
    (void)snprintf(path, sizeof(paths[0]), "%s/%s", directory, name);
    return path;
}

static int make_directory(void **state)
{
    return mkdtemp(directory) ? 0 : -1;
}

static int remove_directory(void **state)
{
    return rmdir(directory);
}

static void test_snapshot_that_is_read_is_what_was_written(void **state)
{
    const char *path = path_of("a");
    char why[SNAPSHOT_WHY_BYTES];
    struct stat there;
    struct snapshot taken;
    struct snapshot read;
    struct growths growths;
    struct kmem_query query = fake_segment();
    query.daemon.instance = UINT64_MAX - 3;
    assert_int_equal(snapshot_take(&taken, &query), 0);
    assert_int_equal(snapshot_write(&taken, path), 0);
    assert_int_equal(snapshot_write(&taken, path), 0); /* takes the place of the other */
    assert_int_equal(snapshot_read(&read, path, why), 0);
    assert_string_equal(read.segment_name, "video");
    assert_true(read.instance == UINT64_MAX - 3);
    assert_true(read.taken_ms == taken.taken_ms);
    /* A reason that is no UTF-8, which a daemon never tells, is written as U+FFFD. */
    assert_int_equal(read.groups.n_groups, taken.groups.n_groups);
    assert_int_equal(growths_init(&growths, &taken.groups, &read.groups), 0);
    assert_int_equal(growths.n_rows, 2);
    assert_growth(&growths.rows[0], "caf\xEF\xBF\xBD", 4, 1);
    growths_fini(&growths);
    assert_int_equal(stat(path, &there), 0);
    assert_true(S_ISREG(there.st_mode));
    snapshot_fini(&taken);
    snapshot_fini(&read);
    assert_int_equal(unlink(path), 0);
}

static void test_snapshot_write_says_what_is_wrong_and_leaves_nothing(void **state)
{
    struct kmem_query query = fake_segment();
    struct snapshot taken;
    assert_int_equal(snapshot_take(&taken, &query), 0);
    assert_int_equal(snapshot_write(&taken, "/nonexistent/a"), -ENOENT);
    assert_int_equal(snapshot_write(&taken, directory), -EISDIR);
    assert_int_equal(snapshot_write(&taken, "/dev/full"), -ENOSPC);
    assert_int_equal(snapshot_write(&taken, "/dev/null"), 0);
    snapshot_fini(&taken);
}

/* Beside the one that is there, which stays as it was: no other file does. */
static void test_snapshot_write_that_fails_leaves_the_one_before_it(void **state)
{
    const char *calls[] = {"fchmod", "fdopen", "rename"};
    char long_path[PATH_MAX + 8];
    char why[SNAPSHOT_WHY_BYTES];
    struct kmem_query query = fake_segment();
    struct snapshot taken;
    struct snapshot read;
    const char *path = path_of("kept");
    assert_int_equal(snapshot_take(&taken, &query), 0);
    assert_int_equal(snapshot_write(&taken, path), 0);
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        fail_nth(calls[i], 1, EPERM);
        assert_int_equal(snapshot_write(&taken, path), -EPERM);
        assert_true(fail_end());
    }
    assert_int_equal(snapshot_read(&read, path, why), 0);
    snapshot_fini(&read);
    assert_int_equal(unlink(path), 0); /* and the directory is empty, as remove_directory() finds */
    memset(long_path, 'x', sizeof(long_path) - 1);
    long_path[sizeof(long_path) - 1] = '\0';
    assert_int_equal(snapshot_write(&taken, long_path), -ENAMETOOLONG);
    snapshot_fini(&taken);
}

static void test_snapshot_without_memory_is_ENOMEM(void **state)
{
    struct kmem_query query = fake_segment();
    struct snapshot snapshot;
    const char *path = path_of("memory");
    for (unsigned nth = 1; fail_again("memory", nth, ENOMEM); nth++) {
        const int r = snapshot_take(&snapshot, &query);
        assert_int_equal(r, fail_end() ? -ENOMEM : 0);
        if (r == 0) {
            assert_int_equal(snapshot_write(&snapshot, path), 0);
        }
        snapshot_fini(&snapshot);
    }
    unsigned n_failed = 0;
    for (unsigned nth = 1; fail_again("memory", nth, ENOMEM); nth++) {
        char why[SNAPSHOT_WHY_BYTES] = "";
        const int r = snapshot_read(&snapshot, path, why);
        const bool has_failed = fail_end();
        assert_int_equal(r, has_failed ? -ENOMEM : 0);
        assert_string_equal(why, has_failed ? "there is no memory for it" : "");
        n_failed += has_failed;
        snapshot_fini(&snapshot);
    }
    assert_true(n_failed > 1);
    assert_int_equal(unlink(path), 0);
}

static void assert_refused(const char *text, const char *wanted)
{
    char why[SNAPSHOT_WHY_BYTES] = "";
    const char *path = path_of("refused");
    struct snapshot snapshot;
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(snapshot_read(&snapshot, path, why), -EINVAL);
    assert_non_null(strstr(why, wanted));
    snapshot_fini(&snapshot);
    assert_int_equal(unlink(path), 0);
}

#define HEAD "{\"kmem_snapshot\": 1, \"segment_name\": \"v\", \"instance\": \"1f\", \"taken_ms\": 1"

static void test_snapshot_read_refuses_what_is_none_and_says_why(void **state)
{
    assert_refused("", "no JSON document");
    assert_refused("root:x:0:0", "no JSON document");
    assert_refused(HEAD ", \"ledger\": [", "no JSON document");
    assert_refused("[]", "no JSON document");
    assert_refused("{\"ledger\": []}", "kmemctl snapshot FILE");
    assert_refused("{\"kmem_snapshot\": \"1\"}", "kmemctl snapshot FILE");
    assert_refused("{\"kmem_snapshot\": 2}", "version 2, and this kmemctl reads version 1");
    assert_refused("{\"kmem_snapshot\": 1}", "of which segment");
    assert_refused("{\"kmem_snapshot\": 1, \"segment_name\": \"v\"}", "of which segment");
    assert_refused("{\"kmem_snapshot\": 1, \"segment_name\": \"v\", \"instance\": \"1\"}",
                   "of which segment");
    assert_refused(HEAD ", \"ledger\": [{\"reason\": \"a\"}]}", "not complete");
    assert_refused(HEAD ", \"ledger\": [{\"reason\": \"a\", \"n_blocks\": 1, \"num_bytes\": 1}]}",
                   "not complete");
    assert_refused(HEAD "}", "no ledger");
    assert_refused(HEAD ", \"ledger\": {}}", "no ledger");
    assert_refused(HEAD ", \"ledger\": [1]}", "not complete");
    assert_refused(HEAD ", \"ledger\": [{\"reason\": \"a\", \"n_blocks\": 1}]}", "not complete");
    assert_refused(HEAD ", \"ledger\": [{\"reason\": 1, \"n_blocks\": 1, \"num_bytes\": 1, "
                        "\"oldest_ms\": 1}]}",
                   "not complete");
    assert_refused(HEAD ", \"ledger\": [{\"reason\": \"a\", \"n_blocks\": 1, \"num_bytes\": "
                        "18446744073709551615, \"oldest_ms\": 1}]}",
                   "more than any segment");
    assert_refused(HEAD ", \"ledger\": [{\"reason\": \"a\", \"n_blocks\": -1, \"num_bytes\": 1, "
                        "\"oldest_ms\": 1}]}",
                   "more than any segment");
}

static void test_snapshot_read_refuses_what_is_no_file(void **state)
{
    char why[SNAPSHOT_WHY_BYTES] = "";
    struct snapshot snapshot;
    assert_int_equal(snapshot_read(&snapshot, directory, why), -EINVAL);
    assert_int_equal(snapshot_read(&snapshot, "/dev/zero", why), -EINVAL);
    assert_non_null(strstr(why, "no regular file"));
    assert_int_equal(snapshot_read(&snapshot, "/nonexistent", why), -ENOENT);
    assert_non_null(strstr(why, "No such file"));
    fail_nth("fstat", 1, EIO);
    assert_int_equal(snapshot_read(&snapshot, "/dev/null", why), -EIO);
    assert_true(fail_end());
    assert_string_equal(why, "it can not be read: Input/output error");
}

/* 256 MiB and a byte, of which none lies on the disk. */
static void test_snapshot_read_refuses_what_is_longer_than_any(void **state)
{
    const char *path = path_of("long");
    char why[SNAPSHOT_WHY_BYTES] = "";
    struct snapshot snapshot;
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(truncate(path, (INT64_C(256) << 20) + 1), 0);
    assert_int_equal(snapshot_read(&snapshot, path, why), -EINVAL);
    assert_non_null(strstr(why, "larger than any snapshot"));
    assert_int_equal(unlink(path), 0);
}

/* ---------------------------------------------------------------------------- the commands ---- */

static int shown(command_show_fn show, struct kmem_query *query, const char *before,
                 const char *after, char *ret_text, size_t text_bytes)
{
    const struct options options = {.arguments = {before, after}, .exact_bytes = true};
    memset(ret_text, 0, text_bytes);
    struct screen screen = {.file = fmemopen(ret_text, text_bytes - 1, "w")};
    screen.notes = screen.file;
    const int status = show(query, &options, &screen);
    (void)fclose(screen.file);
    return status;
}

static void test_snapshot_show_says_what_it_wrote_unless_that_is_for_programs(void **state)
{
    static const struct kmem_ledger_row one[] = {{"video", 1, 40, 500, 0, 0}};
    char text[1024];
    char *printed = NULL;
    size_t n_printed = 0;
    struct kmem_query query = fake_segment();
    const char *path = path_of("one");
    query.ledgers[KMEM_BY_REASON] = one;
    query.n_ledgers[KMEM_BY_REASON] = 1;
    assert_int_equal(shown(snapshot_show, &query, path, NULL, text, sizeof(text)), 0);
    assert_non_null(strstr(text, "segment \"video\": 1 reason, 40 B in 1 block, written to /"));
    const struct screen screen = {.file = open_memstream(&printed, &n_printed)};
    const struct options as_json = {.arguments = {path}, .format = FORMAT_JSON};
    assert_int_equal(snapshot_show(&query, &as_json, &screen), 0);
    const struct options as_wide = {.arguments = {path}, .format = FORMAT_WIDE};
    assert_int_equal(fflush(screen.file), 0);
    assert_int_equal(n_printed, 0);
    assert_int_equal(snapshot_show(&query, &as_wide, &screen), 0);
    (void)fclose(screen.file);
    assert_non_null(strstr(printed, "written to /"));
    free(printed);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(shown(snapshot_show, &query, "/nonexistent/a", NULL, text, sizeof(text)),
                     STATUS_ERROR);
    assert_string_equal(text, "");
}

static void test_diff_of_two_files_needs_no_daemon(void **state)
{
    static const struct kmem_ledger_row grown[] = {
        {"video/capture", 3, 9000000, 65000, 0, 0},
        {"new", 1, 40, 500, 0, 0},
    };
    char text[4096];
    struct kmem_query query = fake_segment();
    const char *before = path_of("before");
    const char *after = path_of("after");
    query.daemon.instance = 1;
    assert_int_equal(shown(snapshot_show, &query, before, NULL, text, sizeof(text)), 0);
    assert_non_null(strstr(text, "segment \"video\": 4 reasons, "));
    query.ledgers[KMEM_BY_REASON] = grown;
    query.n_ledgers[KMEM_BY_REASON] = 2;
    query.daemon.instance = 2;
    assert_int_equal(shown(snapshot_show, &query, after, NULL, text, sizeof(text)), 0);
    assert_int_equal(shown(diff_show, NULL, before, after, text, sizeof(text)), 0);
    assert_non_null(strstr(text, "segment \"video\", from "));
    assert_non_null(strstr(text, "  +609,856      +1   8,390,144  9,000,000  video/capture\n"));
    assert_non_null(strstr(text, "       +40      +1           0         40  new\n"));
    assert_non_null(strstr(text, "-2,097,152      -1   2,097,152          0  video/映像\n"));
    assert_non_null(strstr(text, "-1,487,300      -1  10,487,340  9,000,040  total\n"));
    assert_non_null(strstr(text, "was made anew in between"));
    assert_int_equal(shown(diff_show, NULL, after, after, text, sizeof(text)), 0);
    assert_non_null(strstr(text, "nothing has grown, and nothing has shrunk\n"));
    assert_int_equal(unlink(before), 0);
    assert_int_equal(shown(diff_show, NULL, before, after, text, sizeof(text)), STATUS_ERROR);
    assert_int_equal(shown(diff_show, NULL, after, "/dev/null", text, sizeof(text)), STATUS_USAGE);
    assert_int_equal(unlink(after), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_growth_between_goes_as_far_as_a_number_does),
        cmocka_unit_test(test_growths_are_sorted_and_leave_out_what_is_as_it_was),
        cmocka_unit_test(test_snapshot_that_is_read_is_what_was_written),
        cmocka_unit_test(test_snapshot_write_says_what_is_wrong_and_leaves_nothing),
        cmocka_unit_test(test_snapshot_read_refuses_what_is_none_and_says_why),
        cmocka_unit_test(test_snapshot_read_refuses_what_is_no_file),
        cmocka_unit_test(test_snapshot_read_refuses_what_is_longer_than_any),
        cmocka_unit_test(test_snapshot_write_that_fails_leaves_the_one_before_it),
        cmocka_unit_test(test_snapshot_without_memory_is_ENOMEM),
        cmocka_unit_test(test_snapshot_show_says_what_it_wrote_unless_that_is_for_programs),
        cmocka_unit_test(test_diff_of_two_files_needs_no_daemon),
    };
    (void)setlocale(LC_CTYPE, "C.UTF-8");
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}

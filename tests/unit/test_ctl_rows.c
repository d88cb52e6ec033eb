/* SPDX-License-Identifier: MIT */
/*
 * test_ctl_rows.c - rows in the order of a column, in memory and in files
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "client/ctl/rows.h"
#include "tests/unit/fail.h"
#include "tests/unit/unit.h"

FAIL_WRAP(int, open, (const char *path, int flags, mode_t mode), (path, flags, mode), -1)
FAIL_WRAP(int, mkostemp, (char *path, int flags), (path, flags), -1)
FAIL_WRAP(FILE *, fdopen, (int fd, const char *mode), (fd, mode), NULL)
FAIL_WRAP(ssize_t, pread, (int fd, void *to, size_t n_bytes, off_t at), (fd, to, n_bytes, at), -1)

/* 3,000 rows of some 80 bytes are some thirty runs of 8 KiB. */
#define N_ROWS 3000
#define MOST_BYTES ((size_t)8 << 10)

struct sample {
    const char *name;
    uint64_t num_bytes;
    uint64_t number; /* in the order in which they came */
    const char *text;
    int64_t growth;
    uint32_t uid;
};

#define AT(member) COLUMN_AT(struct sample, member)

static const struct column columns[] = {
    {"NAME", "name", COLUMN_TEXT, AT(name)}, {"BYTES", "num_bytes", COLUMN_BYTES, AT(num_bytes)},
    {"TEXT", "text", COLUMN_TEXT, AT(text)}, {"GROWTH", "growth", COLUMN_GROWN_BYTES, AT(growth)},
    {"USER", "user", COLUMN_USER, AT(uid)},
};
static const struct column *const by_name = &columns[0];
static const struct column *const by_bytes = &columns[1];
static const struct column *const by_text = &columns[2];
static const struct column *const by_growth = &columns[3];
static const struct column *const by_user = &columns[4];

static const struct listing_shape shape = {
    .columns = columns,
    .n_columns = sizeof(columns) / sizeof(columns[0]),
    .row_bytes = sizeof(struct sample),
};

static struct rows rows;
static uint64_t numbers[N_ROWS];
static size_t n_numbers;

static void begin(const struct column *by, bool is_descending, size_t most_bytes)
{
    rows_fini(&rows);
    rows.shape = &shape;
    rows.by = by;
    rows.is_descending = is_descending;
    rows.most_bytes = most_bytes;
    n_numbers = 0;
}

/* Few names and few sizes, so that many rows are equals; texts of every length, none among them.
   Names, texts and users differ late: behind what a key has of them. */
static void add(uint64_t number)
{
    char name[32];
    char text[257];
    const size_t n_bytes = number * 7 % 256;
    (void)snprintf(name, sizeof(name), "name or other%u", (unsigned)(number * 31 % 17));
    memset(text, 'a' + (char)(number % 26), n_bytes);
    text[n_bytes] = '\0';
    const struct sample sample = {
        .name = name,
        .num_bytes = number * 2654435761U % 13,
        .number = number,
        .text = text,
        .growth = (int64_t)(number * 2654435761U % 29) - 14,
        .uid = UINT32_MAX - (uint32_t)(number * 31 % 5),
    };
    assert_int_equal(rows_add(&rows, &sample), 0);
    assert_true(rows.most_bytes == 0 || rows.kept_bytes <= rows.most_bytes + 1024);
}

/* As column_compare() has it, whatever the keys say. */
static void assert_order(const struct sample *sample)
{
    static char name[32];
    static char text[257];
    static struct sample before;
    if (n_numbers > 0) {
        const int order = column_compare(rows.by, &before, sample);
        assert_true(rows.is_descending ? order >= 0 : order <= 0);
    }
    before = *sample;
    before.name = name;
    before.text = text;
    (void)stpcpy(name, sample->name);
    (void)stpcpy(text, sample->text);
}

static int note(const void *row, void *user)
{
    const struct sample *sample = row;
    const size_t n_bytes = sample->number * 7 % 256;
    (void)user;
    assert_int_equal(strlen(sample->text), n_bytes);
    assert_true(n_bytes == 0 || sample->text[n_bytes - 1] == 'a' + (char)(sample->number % 26));
    assert_int_equal(strncmp(sample->name, "name", 4), 0);
    assert_order(sample);
    numbers[n_numbers++] = sample->number;
    return 0;
}

static void assert_same_in_a_file(const struct column *by, bool is_descending, uint64_t n_wanted)
{
    static uint64_t expected[N_ROWS];
    for (int i = 0; i < 2; i++) {
        begin(by, is_descending, i == 0 ? 0 : MOST_BYTES);
        rows.n_wanted = n_wanted;
        for (uint64_t number = 0; number < N_ROWS; number++) {
            add(number);
        }
        assert_int_equal(rows_each(&rows, note, NULL), 0);
        assert_int_equal(n_numbers, n_wanted > 0 ? n_wanted : N_ROWS);
        if (i == 0) {
            memcpy(expected, numbers, sizeof(expected));
        }
    }
    assert_memory_equal(numbers, expected, n_numbers * sizeof(numbers[0]));
}

static void test_order_is_the_same_in_a_file(void **state)
{
    assert_same_in_a_file(by_bytes, true, 0);
    assert_true(rows.runs.n_runs > 20);
    assert_same_in_a_file(by_bytes, false, 0);
    assert_same_in_a_file(by_name, false, 0);
    assert_same_in_a_file(by_name, true, 0);
    assert_same_in_a_file(by_text, false, 0);
    assert_same_in_a_file(by_growth, false, 0);
    assert_same_in_a_file(by_growth, true, 0);
    assert_same_in_a_file(by_user, false, 0);
}

static void test_first_ones_are_the_same_in_a_file(void **state)
{
    assert_same_in_a_file(by_bytes, true, 1);
    assert_same_in_a_file(by_name, true, N_ROWS / 2);
    assert_true(rows.runs.n_runs > 1);
    assert_same_in_a_file(by_name, false, N_ROWS - 1);
}

static void assert_equals_stay(const struct column *by, uint64_t n_wanted, size_t most_bytes)
{
    begin(by, true, most_bytes);
    rows.n_wanted = n_wanted;
    for (uint64_t number = 0; number < N_ROWS; number++) {
        add(number * 13 * 17); /* of one size, all, and of one name */
    }
    assert_int_equal(rows_each(&rows, note, NULL), 0);
    assert_int_equal(n_numbers, n_wanted > 0 ? n_wanted : N_ROWS);
    for (size_t i = 0; i < n_numbers; i++) {
        assert_int_equal(numbers[i], i * 13 * 17);
    }
}

static void test_equals_stay_in_the_order_in_which_they_came(void **state)
{
    assert_equals_stay(by_bytes, 0, MOST_BYTES);
    assert_equals_stay(by_name, 0, MOST_BYTES);
    assert_equals_stay(by_bytes, 0, 0);
    assert_equals_stay(by_bytes, N_ROWS / 10, 0); /* sorted and cut as they come */
    assert_equals_stay(by_name, N_ROWS / 10, 0);
}

static void test_rows_that_fit_into_memory_touch_no_file(void **state)
{
    (void)setenv("TMPDIR", "/nonexistent", 1);
    begin(by_bytes, true, ROWS_MOST_BYTES);
    for (uint64_t number = 0; number < N_ROWS; number++) {
        add(number);
    }
    assert_int_equal(rows_each(&rows, note, NULL), 0);
    assert_int_equal(n_numbers, N_ROWS);
    assert_string_equal(rows_error(&rows), "");
    assert_null(rows.runs.file);
}

static int stop_at_ten(const void *row, void *user)
{
    (void)row;
    (void)user;
    return ++n_numbers == 10 ? 7 : 0;
}

static void test_taker_of_rows_ends_them(void **state)
{
    begin(by_bytes, true, MOST_BYTES);
    for (uint64_t number = 0; number < N_ROWS; number++) {
        add(number);
    }
    assert_int_equal(rows_each(&rows, stop_at_ten, NULL), 7);
    assert_int_equal(n_numbers, 10);
}

static void test_no_row_is_no_row(void **state)
{
    begin(by_bytes, true, MOST_BYTES);
    assert_int_equal(rows_each(&rows, note, NULL), 0);
    assert_int_equal(n_numbers, 0);
}

/* ---------------------------------------------------------------------------------- faults ---- */

static int add_until_it_fails(void)
{
    const struct sample sample = {.name = "name", .num_bytes = 1, .number = 1, .text = "text"};
    int r = 0;
    for (uint64_t number = 0; r == 0 && number < N_ROWS; number++) {
        r = rows_add(&rows, &sample);
    }
    return r;
}

static void test_directory_that_is_not_there_is_named(void **state)
{
    (void)setenv("TMPDIR", "/nonexistent", 1);
    begin(by_bytes, true, MOST_BYTES);
    assert_int_equal(add_until_it_fails(), -ENOENT);
    assert_string_equal(rows_error(&rows),
                        "--sort: cannot keep the rows in /nonexistent: No such file or directory; "
                        "set TMPDIR to a directory with room, or have fewer rows sorted: --top, "
                        "--reason, --pid and the like choose");
}

static void test_file_that_is_full_is_told(void **state)
{
    struct rlimit usual;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &usual), 0);
    const struct rlimit little = {.rlim_cur = 4 * MOST_BYTES, .rlim_max = usual.rlim_max};
    (void)setenv("TMPDIR", *state, 1);
    begin(by_bytes, true, MOST_BYTES);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &little), 0);
    const int r = add_until_it_fails();
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &usual), 0);
    assert_int_equal(r, -EFBIG);
    assert_non_null(strstr(rows_error(&rows), ": File too large; set TMPDIR to a directory"));
}

/* The file is cut behind the process's back, as a broken disk would have it. */
static void test_file_that_lost_its_end_is_told(void **state)
{
    (void)setenv("TMPDIR", *state, 1);
    begin(by_bytes, true, MOST_BYTES);
    for (uint64_t number = 0; number < N_ROWS; number++) {
        add(number);
    }
    assert_int_equal(ftruncate(fileno(rows.runs.file), (off_t)MOST_BYTES), 0);
    assert_int_equal(rows_each(&rows, note, NULL), -EIO);
    assert_non_null(strstr(rows_error(&rows), ": Input/output error; "));
}

static void test_file_has_no_name(void **state)
{
    (void)setenv("TMPDIR", *state, 1);
    begin(by_bytes, true, MOST_BYTES);
    for (uint64_t number = 0; number < N_ROWS; number++) {
        add(number);
    }
    assert_non_null(rows.runs.file);
    DIR *entries = opendir(*state);
    assert_non_null(entries);
    for (const struct dirent *entry = readdir(entries); entry; entry = readdir(entries)) {
        assert_int_equal(entry->d_name[0], '.');
    }
    assert_int_equal(closedir(entries), 0);
}

/* What has no memory to sort by bytes compares: the order is the same one. */
static void assert_sorts_without_memory(const struct column *by, bool is_descending)
{
    static uint64_t expected[N_ROWS];
    for (int i = 0; i < 2; i++) {
        begin(by, is_descending, 0);
        for (uint64_t number = 0; number < N_ROWS; number++) {
            add(number);
        }
        if (i == 1) {
            fail_from("memory", 1, ENOMEM);
        }
        const int r = rows_each(&rows, note, NULL);
        assert_true(fail_end() || i == 0);
        assert_int_equal(r, 0);
        assert_int_equal(n_numbers, N_ROWS);
        if (i == 0) {
            memcpy(expected, numbers, sizeof(expected));
        }
    }
    assert_memory_equal(numbers, expected, sizeof(expected));
}

static void test_order_is_the_same_without_memory_to_sort(void **state)
{
    assert_sorts_without_memory(by_bytes, true);
    assert_sorts_without_memory(by_bytes, false);
    assert_sorts_without_memory(by_name, true);
    assert_sorts_without_memory(by_text, false);
    assert_sorts_without_memory(by_growth, true);
    assert_sorts_without_memory(by_user, false);
}

/* 400 rows are some six runs. Return: 0, or what failed. */
static int add_and_read(void)
{
    const struct sample sample = {.name = "name", .num_bytes = 1, .number = 0, .text = ""};
    int r = 0;
    begin(by_bytes, true, MOST_BYTES);
    for (uint64_t i = 0; r == 0 && i < 400; i++) {
        r = rows_add(&rows, &sample);
    }
    return r ? r : rows_each(&rows, note, NULL);
}

static void test_rows_survive_every_failing_allocation(void **state)
{
    unsigned n_failed = 0;
    for (unsigned nth = 1; fail_again("memory", nth, ENOMEM); nth++) {
        const int r = add_and_read();
        const bool has_failed = fail_end();
        n_failed += r != 0;
        assert_true(r == 0 || (r == -ENOMEM && has_failed));
        assert_true(r != 0 || n_numbers == 400); /* all, or an error */
    }
    assert_true(n_failed > 10);
}

/* Of file systems that know no file without a name each has its errno for that. */
static void test_file_system_without_unnamed_files_does_as_well(void **state)
{
    const int errors[] = {EOPNOTSUPP, EISDIR, EINVAL};
    (void)setenv("TMPDIR", *state, 1);
    for (size_t i = 0; i < 3; i++) {
        fail_nth("open", 1, errors[i]);
        assert_int_equal(add_and_read(), 0);
        assert_true(fail_end());
        assert_int_equal(n_numbers, 400);
        assert_non_null(rows.runs.file);
    }
}

static void assert_no_file(const char *what, int error, int expected)
{
    fail_nth(what, 1, error);
    const int r = add_and_read();
    (void)fail_end();
    assert_int_equal(r, expected);
    assert_non_null(strstr(rows_error(&rows), "--sort: cannot keep the rows in "));
    assert_null(rows.runs.file);
}

static void test_file_that_can_not_be_made_is_told(void **state)
{
    char long_path[PATH_MAX + 2];
    memset(long_path, '/', sizeof(long_path) - 1);
    long_path[sizeof(long_path) - 1] = '\0';
    assert_no_file("fdopen", ENOMEM, -ENOMEM);
    (void)setenv("TMPDIR", "/nonexistent", 1);
    assert_no_file("open", EISDIR, -ENOENT); /* nor one with a name */
    (void)setenv("TMPDIR", long_path, 1);
    assert_no_file("open", EISDIR, -ENAMETOOLONG);
}

static void test_file_is_where_temporary_files_are_unless_told(void **state)
{
    const char *none[] = {"", NULL};
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(none[i] ? setenv("TMPDIR", none[i], 1) : unsetenv("TMPDIR"), 0);
        assert_no_file("open", EMFILE, -EMFILE);
        assert_non_null(strstr(rows_error(&rows), "the rows in /tmp: Too many open files"));
    }
}

static void test_file_is_read_on_after_a_signal_and_not_after_a_fault(void **state)
{
    fail_nth("pread", 2, EINTR);
    assert_int_equal(add_and_read(), 0);
    assert_true(fail_end());
    assert_int_equal(n_numbers, 400);
    fail_nth("pread", 2, ENXIO);
    assert_int_equal(add_and_read(), -ENXIO);
    assert_true(fail_end());
    assert_non_null(strstr(rows_error(&rows), ": No such device or address; "));
}

/* A record that says it is longer than any, as a broken disk would have it. */
static void test_file_that_is_damaged_is_told(void **state)
{
    const struct record_head heads[] = {{.n_bytes = RECORD_MAX_BYTES + 8}, {.n_bytes = 7}};
    for (size_t i = 0; i < 2; i++) {
        begin(by_bytes, true, MOST_BYTES);
        for (uint64_t number = 0; number < N_ROWS; number++) {
            add(number);
        }
        assert_int_equal(pwrite(fileno(rows.runs.file), &heads[i], sizeof(heads[i]), 0),
                         sizeof(heads[i]));
        assert_int_equal(rows_each(&rows, note, NULL), -EIO);
        assert_int_equal(n_numbers, 0);
    }
}

/* Longer than a buffer that a run is read with: that grows. */
static void test_row_may_be_longer_than_a_buffer(void **state)
{
    static char text[200000];
    const struct sample sample = {.name = "name", .num_bytes = 1, .number = 0, .text = text};
    uint64_t n_rows = 0;
    memset(text, 'x', sizeof(text) - 1);
    begin(by_bytes, true, MOST_BYTES);
    for (; n_rows < 3; n_rows++) {
        assert_int_equal(rows_add(&rows, &sample), 0);
    }
    assert_int_equal(rows_each(&rows, stop_at_ten, NULL), 0);
    assert_int_equal(n_numbers, n_rows);
}

static int setup(void **state)
{
    static char directory[64];
    (void)stpcpy(directory, "/tmp/kmem-rows.XXXXXX");
    *state = mkdtemp(directory);
    return *state && setenv("TMPDIR", directory, 1) == 0 ? 0 : -1;
}

static int teardown(void **state)
{
    rows_fini(&rows);
    return rmdir(*state);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_order_is_the_same_in_a_file),
        TEST(test_first_ones_are_the_same_in_a_file),
        TEST(test_equals_stay_in_the_order_in_which_they_came),
        TEST(test_rows_that_fit_into_memory_touch_no_file),
        TEST(test_taker_of_rows_ends_them),
        TEST(test_no_row_is_no_row),
        TEST(test_directory_that_is_not_there_is_named),
        TEST(test_file_that_is_full_is_told),
        TEST(test_file_that_lost_its_end_is_told),
        TEST(test_file_has_no_name),
        TEST(test_order_is_the_same_without_memory_to_sort),
        TEST(test_rows_survive_every_failing_allocation),
        TEST(test_file_system_without_unnamed_files_does_as_well),
        TEST(test_file_that_can_not_be_made_is_told),
        TEST(test_file_is_where_temporary_files_are_unless_told),
        TEST(test_file_is_read_on_after_a_signal_and_not_after_a_fault),
        TEST(test_file_that_is_damaged_is_told),
        TEST(test_row_may_be_longer_than_a_buffer),
    };
    return cmocka_run_group_tests_name("ctl_rows", tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * test_ctl_rows.c - rows in the order of a column, in memory and in files
 */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "client/ctl/rows.h"
#include "tests/unit/unit.h"

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
    };
    return cmocka_run_group_tests_name("ctl_rows", tests, NULL, NULL);
}

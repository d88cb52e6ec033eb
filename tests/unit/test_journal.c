/* SPDX-License-Identifier: MIT */
/*
 * test_journal.c - lines with fields, and what becomes of them where the journal does not take them
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/journal.h"
#include "daemon/log.h"
#include "tests/unit/captured.h"
#include "tests/unit/unit.h"

/* The journal. */
static char entry[JOURNAL_ENTRY_BYTES + 1];
static size_t entry_bytes;
static unsigned n_entries;
static int journal_error;
static int flags_seen;

ssize_t __wrap_sendto(int fd, const void *bytes, size_t n_bytes, int flags,
                      const struct sockaddr *address, socklen_t address_bytes);
ssize_t __wrap_sendto(int fd, const void *bytes, size_t n_bytes, int flags,
                      const struct sockaddr *address, socklen_t address_bytes)
{
    (void)fd;
    (void)address_bytes;
    assert_string_equal(((const struct sockaddr_un *)(const void *)address)->sun_path,
                        "/run/systemd/journal/socket");
    flags_seen = flags;
    if (journal_error) {
        errno = journal_error;
        return -1;
    }
    assert_in_range(n_bytes, 1, sizeof(entry) - 1);
    memcpy(entry, bytes, n_bytes);
    entry[n_bytes] = '\0';
    entry_bytes = n_bytes;
    n_entries++;
    return (ssize_t)n_bytes;
}

/* As a service manager would have made stderr. */
static void capture_for_journal(void)
{
    struct stat status;
    char stream[64];
    capture_begin();
    assert_int_equal(fstat(STDERR_FILENO, &status), 0);
    (void)snprintf(stream, sizeof(stream), "%ju:%ju", (uintmax_t)status.st_dev,
                   (uintmax_t)status.st_ino);
    assert_int_equal(setenv("JOURNAL_STREAM", stream, 1), 0);
}

static int journal_setup(void **state)
{
    journal_error = 0;
    n_entries = 0;
    entry[0] = '\0';
    log_set_level(LOG_LEVEL_DEBUG);
    log_set_segment(NULL);
    log_set_serving(true);
    return unsetenv("JOURNAL_STREAM");
}

static void test_log_write_about_a_client_has_its_fields(void **state)
{
    const struct journal_about about = {
        .client_pid = 42, .reason = "video/frame", .has_bytes = true, .num_bytes = 4096};
    log_set_segment("video");
    capture_for_journal();
    log_write_about(LOG_LEVEL_INFO, &about, "client %d ended", 42);

    assert_string_equal(capture_end(), "");
    assert_string_equal(entry, "MESSAGE=client 42 ended\nPRIORITY=6\nSYSLOG_IDENTIFIER=kmemd\n"
                               "SEGMENT=video\nCLIENT_PID=42\nREASON=video/frame\nBYTES=4096\n");
    assert_true(flags_seen & MSG_DONTWAIT);
    assert_true(flags_seen & MSG_NOSIGNAL);
}

static void test_log_write_has_no_field_of_what_there_is_not(void **state)
{
    capture_for_journal();
    log_error("one");

    assert_string_equal(capture_end(), "");
    assert_string_equal(entry, "MESSAGE=one\nPRIORITY=3\nSYSLOG_IDENTIFIER=kmemd\n");
}

static void test_log_write_of_an_error_before_clients_are_served_goes_to_stderr(void **state)
{
    log_set_serving(false);
    capture_for_journal();
    log_error("its last word");
    log_warning("not that");

    assert_string_equal(capture_end(), "<3>its last word\n");
    assert_non_null(strstr(entry, "MESSAGE=not that\n"));
}

static void test_journal_format_of_a_reason_with_a_newline_says_its_length(void **state)
{
    const struct journal_about about = {.reason = "a\nMESSAGE=forged"};
    char buffer[JOURNAL_ENTRY_BYTES];
    const struct journal_entry one = {6, "m", NULL, &about};
    const char want[] = "REASON\n\x10\0\0\0\0\0\0\0a\nMESSAGE=forged\n";
    const size_t n_bytes = journal_format(&one, buffer);

    assert_in_range(n_bytes, sizeof(want), sizeof(buffer));
    assert_memory_equal(buffer + n_bytes - (sizeof(want) - 1), want, sizeof(want) - 1);
}

static void test_journal_format_of_too_much_is_nothing(void **state)
{
    static char endless[2 * JOURNAL_ENTRY_BYTES];
    char buffer[JOURNAL_ENTRY_BYTES];
    memset(endless, 'x', sizeof(endless) - 1);
    const struct journal_entry one = {6, endless, NULL, NULL};
    assert_int_equal(journal_format(&one, buffer), 0);
}

static void test_log_write_of_an_endless_line_is_cut(void **state)
{
    static char endless[50000];
    memset(endless, 'x', sizeof(endless) - 1);
    capture_for_journal();
    log_info("%s", endless);

    assert_string_equal(capture_end(), "");
    assert_non_null(strstr(entry, "xxx...\nPRIORITY=6\n"));
}

static void test_log_write_without_a_journal_goes_to_stderr(void **state)
{
    static const int none[] = {ENOENT, ECONNREFUSED, EACCES, ENOBUFS, EPERM};
    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
        journal_error = none[i];
        capture_for_journal();
        log_warning("one");
        assert_string_equal(capture_end(), "<4>one\n");
    }
}

/* "No descriptor is left" is a line that must come through. */
static void test_log_write_without_descriptors_goes_to_stderr(void **state)
{
    struct rlimit limit;
    capture_for_journal();
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    const struct rlimit none = {.rlim_cur = 3, .rlim_max = limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    log_warning("one");
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);

    assert_string_equal(capture_end(), "<4>one\n");
    assert_int_equal(n_entries, 0);
}

static void test_log_write_to_a_journal_that_hangs_is_dropped_and_told_later(void **state)
{
    uint64_t n_dropped = 0;
    log_count_dropped(&n_dropped);
    journal_error = EAGAIN;
    capture_for_journal();
    log_info("one");
    log_info("two");
    assert_int_equal(n_entries, 0);
    assert_int_equal(n_dropped, 2);
    journal_error = 0;
    log_retry();

    assert_string_equal(capture_end(), "");
    assert_int_equal(n_entries, 1);
    assert_non_null(strstr(entry, "MESSAGE=2 lines were dropped"));
    log_count_dropped(NULL);
}

static void test_journal_reads_stderr_only_if_it_is_that_very_file(void **state)
{
    capture_for_journal();
    assert_true(journal_reads_stderr());
    assert_int_equal(setenv("JOURNAL_STREAM", "8:1", 1), 0);
    assert_false(journal_reads_stderr());
    assert_int_equal(unsetenv("JOURNAL_STREAM"), 0);
    assert_false(journal_reads_stderr());
    (void)capture_end(); /* nothing was written */
}

#define WITH_SETUP(test) cmocka_unit_test_setup(test, journal_setup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SETUP(test_log_write_about_a_client_has_its_fields),
        WITH_SETUP(test_log_write_has_no_field_of_what_there_is_not),
        WITH_SETUP(test_log_write_of_an_error_before_clients_are_served_goes_to_stderr),
        WITH_SETUP(test_journal_format_of_a_reason_with_a_newline_says_its_length),
        WITH_SETUP(test_journal_format_of_too_much_is_nothing),
        WITH_SETUP(test_log_write_of_an_endless_line_is_cut),
        WITH_SETUP(test_log_write_without_a_journal_goes_to_stderr),
        WITH_SETUP(test_log_write_without_descriptors_goes_to_stderr),
        WITH_SETUP(test_log_write_to_a_journal_that_hangs_is_dropped_and_told_later),
        WITH_SETUP(test_journal_reads_stderr_only_if_it_is_that_very_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

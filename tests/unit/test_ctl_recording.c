/* SPDX-License-Identifier: MIT */
/*
 * test_ctl_recording.c - records that are cut, empty, or say what can not be
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/ctl/recording.h"
#include "client/ctl/status.h"
#include "tests/unit/captured.h"
#include "tests/unit/unit.h"

#define HEAD "{\"kmem_record\": 1, \"segment\": \"x\", \"segment_bytes\": 65536}\n"
#define TAKEN "{\"t\": 1, \"k\": \"allocated\", \"p\": 7, \"o\": 16384, \"n\": 100, \"r\": \"a\"}\n"

static struct recording recording;
static char path[64];
static char said[1024];

/* Writes a file, and reads it as a record. Return: as recording_read(). */
static int read_text(const char *text, size_t n_bytes)
{
    (void)snprintf(path, sizeof(path), "/tmp/test_ctl_recording.XXXXXX");
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, n_bytes), (ssize_t)n_bytes);
    (void)close(fd);
    capture_begin();
    const int r = recording_read(&recording, path, "replay");
    (void)snprintf(said, sizeof(said), "%s", capture_end());
    (void)unlink(path);
    return r;
}

static void assert_refused(const char *text, const char *why)
{
    assert_int_equal(read_text(text, strlen(text)), STATUS_ERROR);
    assert_non_null(strstr(said, why));
    assert_null(recording.events);
}

static void test_recording_read_takes_what_is_whole(void **state)
{
    (void)state;
    assert_int_equal(read_text(HEAD TAKEN, strlen(HEAD TAKEN)), STATUS_OK);
    assert_string_equal(said, "");
    assert_true(recording.n_events == 1 && recording.peak_bytes == 100);
    assert_true(recording.segment_bytes == 65536);
    recording_fini(&recording);
}

static void test_recording_read_leaves_a_cut_line_out(void **state)
{
    const char *text = HEAD TAKEN TAKEN;
    (void)state;
    assert_int_equal(read_text(text, strlen(text) - 20), STATUS_OK);
    assert_non_null(strstr(said, "line 3, the last, is cut"));
    assert_int_equal(recording.n_events, 1);
    recording_fini(&recording);
}

static void test_recording_read_refuses_what_is_empty(void **state)
{
    (void)state;
    assert_refused("", "is empty: it is no record");
    assert_refused("{\"kmem_record\": 1, \"segm", "line 1: that is no record");
}

static void test_recording_read_refuses_what_lies_in_no_segment(void **state)
{
    (void)state;
    assert_refused(HEAD "{\"k\": \"leased\", \"o\": 65536, \"n\": 1}\n", "line 2: ");
    assert_refused(HEAD "{\"k\": \"allocated\", \"o\": 0, \"n\": 18446744073709551615}\n",
                   "line 2: ");
    assert_refused(HEAD "{\"k\": \"returned\", \"o\": 18446744073709551615, \"n\": 2}\n",
                   "line 2: ");
    assert_refused(HEAD "{\"k\": \"allocated\", \"o\": 0, \"n\": 0}\n", "line 2: ");
    assert_refused("{\"kmem_record\": 1, \"segment_bytes\": 18446744073709551615}\n", "line 1: ");
    assert_refused("{\"kmem_record\": 1, \"segment_bytes\": -1}\n", "line 1: ");
}

/* A device that never ends is not read for ever. */
static void test_recording_read_refuses_a_line_without_end(void **state)
{
    (void)state;
    capture_begin();
    assert_int_equal(recording_read(&recording, "/dev/zero", "advise"), STATUS_ERROR);
    assert_non_null(strstr(capture_end(), "kmemctl advise: /dev/zero, line 1: "));
}

static void test_recording_read_says_why_a_folder_can_not_be_read(void **state)
{
    (void)state;
    capture_begin();
    assert_int_equal(recording_read(&recording, "/", "replay"), STATUS_ERROR);
    assert_non_null(strstr(capture_end(), "cannot read /: Is a directory"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recording_read_takes_what_is_whole),
        cmocka_unit_test(test_recording_read_leaves_a_cut_line_out),
        cmocka_unit_test(test_recording_read_refuses_what_is_empty),
        cmocka_unit_test(test_recording_read_refuses_what_lies_in_no_segment),
        cmocka_unit_test(test_recording_read_refuses_a_line_without_end),
        cmocka_unit_test(test_recording_read_says_why_a_folder_can_not_be_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

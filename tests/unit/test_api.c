/* SPDX-License-Identifier: MIT */
/*
 * What kmem.h promises of allocations, offsets and messages, with a daemon in this process that is
 * honest or lies.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <kmem/kmem.h>

#include "tests/unit/api_fixture.h"
#include "tests/unit/unit.h"

/* -------------------------------------------------------------------------------- allocate ---- */

static void test_try_allocate_is_zero_and_in_the_segment(void **state)
{
    memset(fake_daemon_memory(), 0xAA, FAKE_SEGMENT_BYTES); /* what an earlier owner left there */

    unsigned char *block = kmem_try_allocate(1000, "Scratch buffer");

    assert_non_null(block);
    assert_int_equal(errno, UNTOUCHED);
    for (unsigned int i = 0; i < 1000; i++) {
        assert_int_equal(block[i], 0);
    }
    assert_int_equal(fake_daemon_memory()[kmem_offset_of(block) + 1000], 0xAA);
    block[7] = 'x';
    assert_int_equal(fake_daemon_memory()[kmem_offset_of(block) + 7], 'x');
}

static bool allocate_known_zero(struct fake_peer *peer, const Kmem__Request *request)
{
    Kmem__Response response = KMEM__RESPONSE__INIT;
    Kmem__Allocated allocated = KMEM__ALLOCATED__INIT;
    if (request->body_case != KMEM__REQUEST__BODY_ALLOCATE) {
        return false;
    }
    allocated.offset = PAGE_BYTES;
    allocated.known_zero = 1;
    response.body_case = KMEM__RESPONSE__BODY_ALLOCATED;
    response.allocated = &allocated;
    fake_send(peer, request, &response, NULL, 0);
    return true;
}

static void test_try_allocate_does_not_clear_what_is_known_zero(void **state)
{
    fake_daemon_hook(allocate_known_zero);
    fake_daemon_memory()[PAGE_BYTES] = 0xAA; /* a lie that shows whether it was touched */
    unsigned char *block = kmem_try_allocate(64, "known zero");
    assert_non_null(block);
    assert_int_equal(block[0], 0xAA);
}

static char heard_reason[256];
static size_t n_heard_bytes;

static bool hear_reason(struct fake_peer *peer, const Kmem__Request *request)
{
    (void)peer;
    if (request->body_case == KMEM__REQUEST__BODY_ALLOCATE) {
        n_heard_bytes = request->allocate->reason.len;
        assert_true(n_heard_bytes < sizeof(heard_reason));
        if (n_heard_bytes > 0) {
            memcpy(heard_reason, request->allocate->reason.data, n_heard_bytes);
        }
        heard_reason[n_heard_bytes] = '\0';
    }
    return false;
}

static const char *reason_on_the_wire(const char *reason)
{
    void *block = kmem_try_allocate(1, reason);
    assert_non_null(block);
    assert_int_equal(kmem_try_release(&block), 0);
    return heard_reason;
}

static void test_try_allocate_reason_is_copied_cleaned_and_cut(void **state)
{
    fake_daemon_hook(hear_reason);
    char longest[300];
    memset(longest, 'r', sizeof(longest));
    longest[sizeof(longest) - 1] = '\0';

    assert_string_equal(reason_on_the_wire("video/\xE2\x82\xAC#1"), "video/\xE2\x82\xAC#1");
    assert_string_equal(reason_on_the_wire("bad \xFF byte"), "bad ? byte");
    assert_int_equal(strlen(reason_on_the_wire(longest)), KMEM_REASON_MAX_BYTES);
    memcpy(longest + 126, "\xE2\x82\xAC", 3);
    assert_int_equal(strlen(reason_on_the_wire(longest)), 126); /* at a character's border */
}

static void test_try_allocate_no_reason_is_empty_on_the_wire(void **state)
{
    fake_daemon_hook(hear_reason);
    assert_string_equal(reason_on_the_wire(NULL), "");
    assert_string_equal(reason_on_the_wire(""), "");
}

static void test_try_allocate_0_is_EINVAL(void **state)
{
    assert_null(kmem_try_allocate(0, "nothing"));
    assert_int_equal(errno, EINVAL);
    assert_string_equal(kmem_last_error(), "kmem_try_allocate: for \"nothing\": 0 bytes are no "
                                           "block; ask for 1 at least");
}

static void test_try_allocate_more_than_the_segment_is_EINVAL(void **state)
{
    assert_null(kmem_try_allocate(FAKE_SEGMENT_BYTES + 1, "too much"));
    assert_int_equal(errno, EINVAL);
    assert_string_equal(kmem_last_error(),
                        "kmem_try_allocate: for \"too much\": 4.0 MiB is more than the segment "
                        "\"fake\" may have (4.0 MiB); start kmemd with a larger --max-size");
    assert_null(kmem_try_allocate(SIZE_MAX, NULL));
    assert_int_equal(errno, EINVAL);
}

static void test_try_allocate_no_room_is_ENOMEM(void **state)
{
    assert_null(kmem_try_allocate(FAKE_SEGMENT_BYTES, "all of it"));
    assert_int_equal(errno, ENOMEM);
    /* The daemon's own sentence; what is escaped in it is not escaped again. */
    assert_string_equal(kmem_last_error(), "kmem_try_allocate: for \"all of it\": no room; "
                                           "\"hog\\x1b\" holds it all");
}

static uint64_t lying_offset;

static bool allocate_anywhere(struct fake_peer *peer, const Kmem__Request *request)
{
    Kmem__Response response = KMEM__RESPONSE__INIT;
    Kmem__Allocated allocated = KMEM__ALLOCATED__INIT;
    if (request->body_case != KMEM__REQUEST__BODY_ALLOCATE) {
        return false;
    }
    allocated.offset = lying_offset;
    response.body_case = KMEM__RESPONSE__BODY_ALLOCATED;
    response.allocated = &allocated;
    fake_send(peer, request, &response, NULL, 0);
    return true;
}

static void test_try_allocate_impossible_offset_is_EPROTO(void **state)
{
    fake_daemon_hook(allocate_anywhere);
    static const uint64_t impossible[] = {
        0, 64, PAGE_BYTES + 8, FAKE_SEGMENT_BYTES - 32, FAKE_SEGMENT_BYTES, UINT64_MAX - 63,
    };
    for (size_t i = 0; i < sizeof(impossible) / sizeof(impossible[0]); i++) {
        lying_offset = impossible[i];
        assert_null(kmem_try_allocate(64, "where?"));
        assert_int_equal(errno, EPROTO);
        /* Who lies once is not asked again. */
        lying_offset = PAGE_BYTES;
        assert_null(kmem_try_allocate(64, "where?"));
        assert_int_equal(errno, ECONNRESET);
        assert_int_equal(kmem_close(), -ECONNRESET);
    }
}

static void test_try_allocate_no_daemon_is_ENOENT(void **state)
{
    (void)setenv("KMEM_SOCKET", "/nonexistent/x.sock", 1);
    assert_null(kmem_try_allocate(64, "early"));
    assert_int_equal(errno, ENOENT);
    assert_non_null(strstr(kmem_last_error(), "kmem_try_allocate: no daemon answers: tried "));
}

static void test_try_allocate_daemon_that_comes_later_is_found(void **state)
{
    char path[128];
    (void)snprintf(path, sizeof(path), "%s", getenv("KMEM_SOCKET"));
    (void)setenv("KMEM_SOCKET", "/nonexistent/x.sock", 1);
    assert_null(kmem_try_allocate(64, "early"));

    (void)setenv("KMEM_SOCKET", path, 1);

    assert_non_null(kmem_try_allocate(64, "late"));
}

static void test_try_allocate_daemon_has_ended_is_ECONNRESET(void **state)
{
    char *block = kmem_try_allocate(64, "survivor");
    assert_non_null(block);
    block[3] = 'x';
    fake_daemon_end();

    assert_null(kmem_try_allocate(64, "too late"));

    assert_int_equal(errno, ECONNRESET);
    assert_int_equal(block[3], 'x'); /* still readable and writable */
    block[3] = 'y';
    assert_null(kmem_try_allocate(64, "still too late"));
    assert_int_equal(errno, ECONNRESET);
    assert_non_null(strstr(kmem_last_error(), "after kmem_close() the next call connects anew"));
}

static bool answer_hello_only(struct fake_peer *peer, const Kmem__Request *request)
{
    (void)peer;
    return request->body_case != KMEM__REQUEST__BODY_HELLO;
}

static void test_try_allocate_silent_daemon_is_ETIMEDOUT(void **state)
{
    fake_daemon_hook(answer_hello_only);
    (void)setenv("KMEM_TIMEOUT_MS", "2000", 1);
    assert_null(kmem_try_allocate(64, "patience"));
    assert_int_equal(errno, ETIMEDOUT);
    assert_null(kmem_try_allocate(64, "given up"));
    assert_int_equal(errno, ECONNRESET);
}

static void test_allocate_original_call(void **state)
{
    void *block = kmem_allocate(44, "original");
    assert_non_null(block);
    assert_int_equal(errno, UNTOUCHED);
    assert_int_equal(kmem_sizeof_allocation(block), 44);
    block = kmem_allocate(1);
    assert_int_equal(kmem_sizeof_allocation(block), 1);
    assert_int_equal(n_caught, 0);
}

static void test_allocate_original_call_not_positive_is_caught(void **state)
{
    assert_null(kmem_allocate(0, "none"));
    assert_int_equal(errno, EINVAL);
    assert_caught("kmem_allocate", EINVAL);
    assert_null(kmem_allocate(INT_MIN));
    assert_caught("kmem_allocate", EINVAL);
    assert_string_equal(caught.message,
                        "kmem_allocate: for \"<no reason given>\": -2147483648 bytes "
                        "are no block; ask for 1 at least");
}

static void test_allocate_original_call_without_room_is_caught(void **state)
{
    assert_null(kmem_allocate(FAKE_SEGMENT_BYTES, "all of it"));
    assert_int_equal(errno, ENOMEM);
    assert_caught("kmem_allocate", ENOMEM);
    assert_int_equal(caught.num_bytes, FAKE_SEGMENT_BYTES);
    assert_string_equal(caught.reason, "all of it");
}

static void test_allocate_original_call_without_daemon_is_caught(void **state)
{
    (void)setenv("KMEM_SOCKET", "/nonexistent/x.sock", 1);
    assert_null(kmem_allocate(101, "101 bytes"));
    assert_caught("kmem_allocate", ENOENT);
    assert_int_equal(caught.num_bytes, 101);
    assert_string_equal(caught.reason, "101 bytes");
}

/* ---------------------------------------------------------------------------------- offset ---- */

static void test_offset_of_is_the_position_in_the_segment(void **state)
{
    char *block = kmem_try_allocate(44, "block");
    assert_int_equal(kmem_offset_of(block), PAGE_BYTES);
    assert_int_equal(kmem_offset_of(block + 43), PAGE_BYTES + 43);
    assert_int_equal(kmem_offset_of(block + FAKE_SEGMENT_BYTES), 0);
    assert_int_equal(kmem_offset_of(&block), 0);
    assert_int_equal(kmem_offset_of(NULL), 0);
}

static void test_offset_of_before_the_first_call_is_0(void **state)
{
    int local = 0;
    assert_int_equal(kmem_offset_of(&local), 0);
    assert_int_equal(fake_daemon_n_peers(), 0);
}

/* ------------------------------------------------------------------------------ last error ---- */

static void test_last_error_is_kept_by_calls_that_succeed(void **state)
{
    char sentence[256];
    assert_null(kmem_try_allocate(0, NULL));
    (void)snprintf(sentence, sizeof(sentence), "%s", kmem_last_error());

    void *block = kmem_try_allocate(1, NULL);
    assert_int_equal(kmem_try_release(&block), 0);

    assert_string_equal(kmem_last_error(), sentence);
}

static void call_in_handler(const struct kmem_failure *failure)
{
    void *block = kmem_try_allocate(44, "in the handler");
    assert_non_null(block);
    caught_remember(failure);
}

static void test_failure_handler_may_call_the_library(void **state)
{
    (void)kmem_set_failure_handler(call_in_handler);
    assert_null(kmem_allocate(FAKE_SEGMENT_BYTES, "all of it"));
    assert_caught("kmem_allocate", ENOMEM);
    assert_int_equal(fake_daemon_n_live(), 1);
}

#define API_TEST(function) cmocka_unit_test_setup_teardown(function, start_daemon, stop_daemon)

int main(void)
{
    const struct CMUnitTest tests[] = {
        API_TEST(test_offset_of_before_the_first_call_is_0),
        API_TEST(test_try_allocate_is_zero_and_in_the_segment),
        API_TEST(test_try_allocate_does_not_clear_what_is_known_zero),
        API_TEST(test_try_allocate_reason_is_copied_cleaned_and_cut),
        API_TEST(test_try_allocate_no_reason_is_empty_on_the_wire),
        API_TEST(test_try_allocate_0_is_EINVAL),
        API_TEST(test_try_allocate_more_than_the_segment_is_EINVAL),
        API_TEST(test_try_allocate_no_room_is_ENOMEM),
        API_TEST(test_try_allocate_impossible_offset_is_EPROTO),
        API_TEST(test_try_allocate_no_daemon_is_ENOENT),
        API_TEST(test_try_allocate_daemon_that_comes_later_is_found),
        API_TEST(test_try_allocate_daemon_has_ended_is_ECONNRESET),
        API_TEST(test_try_allocate_silent_daemon_is_ETIMEDOUT),
        API_TEST(test_allocate_original_call),
        API_TEST(test_allocate_original_call_not_positive_is_caught),
        API_TEST(test_allocate_original_call_without_room_is_caught),
        API_TEST(test_allocate_original_call_without_daemon_is_caught),
        API_TEST(test_offset_of_is_the_position_in_the_segment),
        API_TEST(test_last_error_is_kept_by_calls_that_succeed),
        API_TEST(test_failure_handler_may_call_the_library),
    };
    return cmocka_run_group_tests_name("api", tests, NULL, NULL);
}

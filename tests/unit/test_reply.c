/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include "daemon/core/reply.h"
#include "proto/limits.h"
#include "tests/unit/broken.h"
#include "tests/unit/fail.h"
#include "tests/unit/unit.h"

static struct reply *reply;

static int reply_setup(void **state)
{
    reply = reply_new();
    assert_non_null(reply);
    reply_reset(reply, 7);
    return 0;
}

static int reply_teardown(void **state)
{
    reply = reply_free(reply);
    assert_null(reply);
    return 0;
}

static void test_reply_new_without_memory_is_null(void **state)
{
    struct reply *other = NULL;

    for (unsigned nth = 1; fail_again("memory", nth, ENOMEM); nth++) {
        other = reply_new();
        assert_int_equal(fail_end(), other == NULL);
    }
    assert_null(reply_free(other));
    assert_null(reply_free(NULL));
}

static void test_reply_reset_begins_an_empty_response(void **state)
{
    reply_error(reply, KMEM__ERROR_CODE__ERROR_BUSY, "busy");
    assert_true(reply_row_fits(reply, 10));

    reply_reset(reply, 99);

    assert_int_equal(reply->response.id, 99);
    assert_int_equal(reply->response.body_case, KMEM__RESPONSE__BODY__NOT_SET);
    assert_int_equal(reply->encoded_bytes, 0);
    assert_int_equal(reply->arena.used_bytes, 0);
}

static void test_reply_string_is_a_terminated_copy(void **state)
{
    const char text[] = {'a', 'b', 'c'};

    const char *copy = reply_string(reply, text, 2);

    assert_string_equal(copy, "ab");
    assert_string_equal(reply_string(reply, "", 0), "");
    assert_ptr_not_equal(copy, text);
}

static void test_reply_take_of_more_than_there_is_is_a_bug(void **state)
{
    assert_non_null(reply_take(reply, 1000));
    assert_broken((void)reply_take(reply, reply->arena.capacity_bytes));
}

static void test_reply_error_is_a_formatted_sentence(void **state)
{
    reply_error(reply, KMEM__ERROR_CODE__ERROR_WILD, "offset %d lies in no block", 5);

    assert_int_equal(reply->response.body_case, KMEM__RESPONSE__BODY_ERROR);
    assert_ptr_equal(reply->response.error, &reply->body.error);
    assert_int_equal(reply->body.error.code, KMEM__ERROR_CODE__ERROR_WILD);
    assert_string_equal(reply->body.error.message, "offset 5 lies in no block");
    assert_int_equal(reply->body.error.offset, 0);
}

static void test_reply_error_of_an_endless_sentence_is_cut(void **state)
{
    static char endless[100000];
    memset(endless, 'x', sizeof(endless) - 1);

    reply_error(reply, KMEM__ERROR_CODE__ERROR_WILD, "%s", endless);

    assert_in_range(strlen(reply->body.error.message), 4000, 4095);
}

static void test_reply_row_fits_counts_up_to_a_response(void **state)
{
    size_t n_bytes = 0;

    while (reply_row_fits(reply, 100)) {
        n_bytes += REPLY_ROW_BYTES + 100;
        assert_int_equal(reply->encoded_bytes, n_bytes);
    }

    /* What is around the rows must fit as well. */
    assert_true(n_bytes + REPLY_ROW_BYTES <= RESPONSE_MAX_BYTES);
    assert_true(n_bytes + (size_t)2 * REPLY_ROW_BYTES + 100 > RESPONSE_MAX_BYTES);
    assert_int_equal(reply->encoded_bytes, n_bytes); /* one that does not fit is not counted */
}

#define REPLY_TEST(test) cmocka_unit_test_setup_teardown(test, reply_setup, reply_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        REPLY_TEST(test_reply_new_without_memory_is_null),
        REPLY_TEST(test_reply_reset_begins_an_empty_response),
        REPLY_TEST(test_reply_string_is_a_terminated_copy),
        REPLY_TEST(test_reply_take_of_more_than_there_is_is_a_bug),
        REPLY_TEST(test_reply_error_is_a_formatted_sentence),
        REPLY_TEST(test_reply_error_of_an_endless_sentence_is_cut),
        REPLY_TEST(test_reply_row_fits_counts_up_to_a_response),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/link/refusal.h"
#include "tests/unit/unit.h"

static struct failure failure;

static Kmem__Error error_of(Kmem__ErrorCode code)
{
    Kmem__Error error = KMEM__ERROR__INIT;
    error.code = code;
    error.message = (char *)(uintptr_t) "what the daemon says";
    return error;
}

static int block_errno(Kmem__ErrorCode code)
{
    const Kmem__Error error = error_of(code);
    return kmem__refusal_of_block(&error, (struct seg_off){16400}, &failure);
}

static void test_refusal_of_block_wild_is_EINVAL(void **state)
{
    assert_int_equal(block_errno(KMEM__ERROR_CODE__ERROR_WILD), -EINVAL);
    assert_string_equal(failure.sentence, "what the daemon says; pass a pointer that an allocation "
                                          "of this process returned");
    assert_int_equal(failure.offset, 16400);
}

static void test_refusal_of_block_interior_is_EINVAL(void **state)
{
    assert_int_equal(block_errno(KMEM__ERROR_CODE__ERROR_INTERIOR), -EINVAL);
    assert_string_equal(failure.sentence,
                        "what the daemon says; pass the pointer that the allocation returned");
}

static void test_refusal_of_block_released_is_EALREADY(void **state)
{
    assert_int_equal(block_errno(KMEM__ERROR_CODE__ERROR_RELEASED), -EALREADY);
    assert_string_equal(failure.sentence,
                        "what the daemon says; another copy of the pointer was used");
}

static void test_refusal_of_block_foreign_is_EPERM(void **state)
{
    assert_int_equal(block_errno(KMEM__ERROR_CODE__ERROR_FOREIGN), -EPERM);
    assert_string_equal(failure.sentence,
                        "what the daemon says; only its owner may do this, and the child of a fork "
                        "owns none of its parent's blocks");
}

static void test_refusal_of_block_tells_which_block(void **state)
{
    Kmem__Error error = error_of(KMEM__ERROR_CODE__ERROR_INTERIOR);
    error.offset = 16384;
    error.num_bytes = 44;
    error.reason = (char *)(uintptr_t) "video";

    (void)kmem__refusal_of_block(&error, (struct seg_off){16400}, &failure);

    assert_int_equal(failure.offset, 16384);
    assert_int_equal(failure.num_bytes, 44);
    assert_string_equal(failure.reason, "video");
}

static void test_refusal_of_block_other_codes(void **state)
{
    assert_int_equal(block_errno(KMEM__ERROR_CODE__ERROR_DENIED), -EACCES);
    assert_int_equal(block_errno(KMEM__ERROR_CODE__ERROR_BUSY), -EBUSY);
    assert_int_equal(block_errno(KMEM__ERROR_CODE__ERROR_UNSPECIFIED), -EPROTO);
    assert_int_equal(block_errno((Kmem__ErrorCode)1000), -EPROTO); /* a newer daemon's */
}

static void test_refusal_of_room_is_ENOMEM(void **state)
{
    const Kmem__Error error = error_of(KMEM__ERROR_CODE__ERROR_NO_MEMORY);

    assert_int_equal(kmem__refusal_of_room(&error, 8192, "video\n", &failure), -ENOMEM);

    assert_string_equal(failure.sentence, "for \"video\\x0a\": what the daemon says");
    assert_int_equal(failure.num_bytes, 8192);
    assert_string_equal(failure.reason, "video\n");
}

static void test_refusal_of_room_invalid_is_EINVAL(void **state)
{
    const Kmem__Error error = error_of(KMEM__ERROR_CODE__ERROR_INVALID);
    assert_int_equal(kmem__refusal_of_room(&error, 8192, "", &failure), -EINVAL);
}

static void test_refusal_of_hello_names_the_daemon(void **state)
{
    static const struct {
        Kmem__ErrorCode code;
        int r;
    } rows[] = {
        {KMEM__ERROR_CODE__ERROR_VERSION, -EPROTONOSUPPORT},
        {KMEM__ERROR_CODE__ERROR_DENIED, -EACCES},
        {KMEM__ERROR_CODE__ERROR_LIMIT, -EUSERS},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const Kmem__Error error = error_of(rows[i].code);
        assert_int_equal(kmem__refusal_of_hello(&error, "/x.sock", &failure), rows[i].r);
        assert_string_equal(failure.sentence,
                            "the daemon at /x.sock admits no client: what the daemon says");
    }
}

static void test_refusal_of_query_denied_is_EACCES(void **state)
{
    const Kmem__Error error = error_of(KMEM__ERROR_CODE__ERROR_DENIED);
    assert_int_equal(kmem__refusal_of_query(&error, &failure), -EACCES);
    assert_string_equal(failure.sentence, "the daemon refuses: what the daemon says");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusal_of_block_wild_is_EINVAL),
        cmocka_unit_test(test_refusal_of_block_interior_is_EINVAL),
        cmocka_unit_test(test_refusal_of_block_released_is_EALREADY),
        cmocka_unit_test(test_refusal_of_block_foreign_is_EPERM),
        cmocka_unit_test(test_refusal_of_block_tells_which_block),
        cmocka_unit_test(test_refusal_of_block_other_codes),
        cmocka_unit_test(test_refusal_of_room_is_ENOMEM),
        cmocka_unit_test(test_refusal_of_room_invalid_is_EINVAL),
        cmocka_unit_test(test_refusal_of_hello_names_the_daemon),
        cmocka_unit_test(test_refusal_of_query_denied_is_EACCES),
    };
    return cmocka_run_group_tests_name("refusal", tests, NULL, NULL);
}

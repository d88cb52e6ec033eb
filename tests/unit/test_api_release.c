/* SPDX-License-Identifier: MIT */
/*
 * What kmem.h promises of releases and sizes, with a daemon in this process that is honest or lies.
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

/* --------------------------------------------------------------------------------- release ---- */

static void test_try_release_gives_back_and_clears_the_pointer(void **state)
{
    void *block = kmem_try_allocate(44, "short");
    assert_int_equal(fake_daemon_n_live(), 1);

    assert_int_equal(kmem_try_release(&block), 0);

    assert_null(block);
    assert_int_equal(fake_daemon_n_live(), 0);
    assert_int_equal(errno, UNTOUCHED);
}

static void test_try_release_of_NULL_is_ignored_and_does_not_connect(void **state)
{
    void *block = NULL;
    assert_int_equal(kmem_try_release(&block), 0);
    assert_int_equal(fake_daemon_n_peers(), 0);
}

static void test_try_release_NULL_address_is_EINVAL(void **state)
{
    assert_int_equal(kmem_try_release(NULL), -EINVAL);
    assert_int_equal(errno, UNTOUCHED);
    assert_string_equal(kmem_last_error(), "kmem_try_release: NULL is no pointer's address; pass "
                                           "&pointer");
}

static void assert_release_refused(void *pointer, int r)
{
    void *const before = pointer;
    assert_int_equal(kmem_try_release(&pointer), r);
    assert_ptr_equal(pointer, before);
    assert_int_equal(errno, UNTOUCHED);
}

static void test_try_release_wild_is_EINVAL(void **state)
{
    char *block = kmem_try_allocate(44, "block");
    int local = 0;
    assert_release_refused(block + 4096, -EINVAL);
    assert_release_refused(&local, -EINVAL);
    assert_non_null(
        strstr(kmem_last_error(), "is not in the segment \"fake\" (room for 4.0 MiB at 0x"));
    assert_release_refused(block - kmem_offset_of(block), -EINVAL); /* the segment itself */
    assert_int_equal(fake_daemon_n_live(), 1);
}

static void test_try_release_interior_is_EINVAL(void **state)
{
    char *block = kmem_try_allocate(44, "block");
    assert_release_refused(block + 16, -EINVAL);
    assert_non_null(strstr(kmem_last_error(), "pass the pointer that the allocation returned"));
    assert_int_equal(fake_daemon_n_live(), 1);
}

static void test_try_release_twice_is_EALREADY(void **state)
{
    void *block = kmem_try_allocate(44, "block");
    void *copy = block;
    assert_int_equal(kmem_try_release(&block), 0);
    assert_release_refused(copy, -EALREADY);
}

static bool everything_is_foreign(struct fake_peer *peer, const Kmem__Request *request)
{
    if (request->body_case != KMEM__REQUEST__BODY_RELEASE &&
        request->body_case != KMEM__REQUEST__BODY_SIZE_OF) {
        return false;
    }
    fake_send_error(peer, request, KMEM__ERROR_CODE__ERROR_FOREIGN, "it is process 1's");
    return true;
}

static void test_try_release_foreign_is_EPERM(void **state)
{
    fake_daemon_hook(everything_is_foreign);
    size_t num_bytes = 77;
    void *block = kmem_try_allocate(44, "block");
    assert_release_refused(block, -EPERM);
    assert_int_equal(kmem_try_sizeof(block, &num_bytes), -EPERM);
    assert_int_equal(num_bytes, 77);
}

static void test_try_release_daemon_has_ended_is_ECONNRESET(void **state)
{
    void *block = kmem_try_allocate(44, "block");
    fake_daemon_end();
    assert_release_refused(block, -ECONNRESET);
}

static bool ignore_releases(struct fake_peer *peer, const Kmem__Request *request)
{
    (void)peer;
    return request->body_case == KMEM__REQUEST__BODY_RELEASE;
}

static void test_try_release_silent_daemon_is_ETIMEDOUT(void **state)
{
    fake_daemon_hook(ignore_releases);
    (void)setenv("KMEM_TIMEOUT_MS", "2000", 1);
    void *block = kmem_try_allocate(44, "block");
    assert_release_refused(block, -ETIMEDOUT);
    assert_release_refused(block, -ECONNRESET);
}

static void test_try_release_no_daemon_is_ENOENT(void **state)
{
    int local = 0;
    (void)setenv("KMEM_SOCKET", "/nonexistent/x.sock", 1);
    assert_release_refused(&local, -ENOENT);
}

static void test_release_original_call(void **state)
{
    void *block = kmem_allocate(44, "block");
    kmem_release(&block);
    assert_null(block);
    kmem_release(&block); /* NULL already: ignored */
    assert_int_equal(n_caught, 0);
    assert_int_equal(errno, UNTOUCHED);
}

static void test_release_original_call_twice_is_caught(void **state)
{
    void *block = kmem_allocate(44, "block");
    void *copy = block;
    uint64_t offset = kmem_offset_of(block);
    kmem_release(&block);

    kmem_release(&copy);

    assert_caught("kmem_release", EALREADY);
    assert_int_equal(caught.offset, offset);
    assert_non_null(copy); /* as it was */
}

static void test_release_original_call_NULL_address_is_caught(void **state)
{
    kmem_release(NULL);
    assert_caught("kmem_release", EINVAL);
}

/* ------------------------------------------------------------------------------------ size ---- */

static void test_try_sizeof_is_what_was_asked_for(void **state)
{
    static const size_t sizes[] = {1, 15, 16, 44, 101, 4096, 100001};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        size_t num_bytes = 0;
        const void *block = kmem_try_allocate(sizes[i], "size");
        assert_int_equal(kmem_try_sizeof(block, &num_bytes), 0);
        assert_int_equal(num_bytes, sizes[i]);
        assert_int_equal(errno, UNTOUCHED);
    }
}

static void test_try_sizeof_NULL_is_EINVAL(void **state)
{
    size_t num_bytes = 77;
    assert_int_equal(kmem_try_sizeof(NULL, &num_bytes), -EINVAL);
    assert_int_equal(num_bytes, 77);
    assert_int_equal(kmem_try_sizeof(&num_bytes, NULL), -EINVAL);
}

static void test_try_sizeof_wild_interior_released(void **state)
{
    size_t num_bytes = 77;
    char *block = kmem_try_allocate(44, "block");
    void *copy = block;
    assert_int_equal(kmem_try_sizeof(&num_bytes, &num_bytes), -EINVAL);
    assert_int_equal(kmem_try_sizeof(block + 1, &num_bytes), -EINVAL);
    assert_int_equal(kmem_try_release(&copy), 0);
    assert_int_equal(kmem_try_sizeof(block, &num_bytes), -EALREADY);
    assert_int_equal(num_bytes, 77);
}

static void test_sizeof_original_call_NULL_is_caught(void **state)
{
    assert_int_equal(kmem_sizeof_allocation(NULL), 0);
    assert_caught("kmem_sizeof_allocation", EINVAL);
}

static bool everything_is_huge(struct fake_peer *peer, const Kmem__Request *request)
{
    Kmem__Response response = KMEM__RESPONSE__INIT;
    Kmem__Sized sized = KMEM__SIZED__INIT;
    if (request->body_case != KMEM__REQUEST__BODY_SIZE_OF) {
        return false;
    }
    sized.num_bytes = UINT64_C(1) << 32;
    response.body_case = KMEM__RESPONSE__BODY_SIZED;
    response.sized = &sized;
    fake_send(peer, request, &response, NULL, 0);
    return true;
}

static void test_sizeof_original_call_of_4_GiB_is_caught(void **state)
{
    fake_daemon_hook(everything_is_huge);
    size_t num_bytes = 0;
    const void *block = kmem_try_allocate(44, "huge");
    assert_int_equal(kmem_sizeof_allocation(block), 0);
    assert_caught("kmem_sizeof_allocation", EOVERFLOW);
    assert_int_equal(caught.offset, kmem_offset_of(block));
    assert_int_equal(kmem_try_sizeof(block, &num_bytes), 0);
    assert_int_equal(num_bytes, UINT64_C(1) << 32);
}

#define API_TEST(function) cmocka_unit_test_setup_teardown(function, start_daemon, stop_daemon)

int main(void)
{
    const struct CMUnitTest tests[] = {
        API_TEST(test_try_release_gives_back_and_clears_the_pointer),
        API_TEST(test_try_release_of_NULL_is_ignored_and_does_not_connect),
        API_TEST(test_try_release_NULL_address_is_EINVAL),
        API_TEST(test_try_release_wild_is_EINVAL),
        API_TEST(test_try_release_interior_is_EINVAL),
        API_TEST(test_try_release_twice_is_EALREADY),
        API_TEST(test_try_release_foreign_is_EPERM),
        API_TEST(test_try_release_daemon_has_ended_is_ECONNRESET),
        API_TEST(test_try_release_silent_daemon_is_ETIMEDOUT),
        API_TEST(test_try_release_no_daemon_is_ENOENT),
        API_TEST(test_release_original_call),
        API_TEST(test_release_original_call_twice_is_caught),
        API_TEST(test_release_original_call_NULL_address_is_caught),
        API_TEST(test_try_sizeof_is_what_was_asked_for),
        API_TEST(test_try_sizeof_NULL_is_EINVAL),
        API_TEST(test_try_sizeof_wild_interior_released),
        API_TEST(test_sizeof_original_call_NULL_is_caught),
        API_TEST(test_sizeof_original_call_of_4_GiB_is_caught),
    };
    return cmocka_run_group_tests_name("api_release", tests, NULL, NULL);
}

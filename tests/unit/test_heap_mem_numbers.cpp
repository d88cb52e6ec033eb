/* SPDX-License-Identifier: MIT */
/*
 * heap_mem<T> as the programs of the original interface use it: through constant references, with
 * numbers of 32 bits; over a library made of malloc (fake_kmem.hpp).
 */
#include <cerrno>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <setjmp.h>
#include <type_traits>

#include <kmem/heap_mem.hpp>

extern "C" {
#include <cmocka.h>
}

#include "tests/unit/fake_kmem.hpp"

static void test_const_object_is_written_through(void **)
{
    const heap_mem<int> ints(2, "ints");
    ints[0] = 5;
    ints.data()[1] = 6;
    *ints.begin() += 1;
    assert_int_equal(ints[0] + ints[1], 12);
}

static void test_count_and_size_are_32_bit_unsigned(void **)
{
    static_assert(std::is_same_v<decltype(heap_mem<int>().count()), std::uint32_t>);
    static_assert(std::is_same_v<decltype(heap_mem<int>().size()), std::uint32_t>);
    int array[3] = {1, 2, 3};
    heap_mem<int> alias;
    alias.point_to(array, UINT32_MAX);
    assert_true(alias.count() == UINT32_MAX);
    assert_true(alias.size_bytes() == 4 * std::size_t{UINT32_MAX});
    fake->handler = ignore_failure;
    assert_int_equal(alias.size(), 0);
}

static void test_count_and_size_of_more_than_32_bits_fail(void **)
{
    int array[3] = {1, 2, 3};
    heap_mem<int> alias;
    alias.point_to(array, std::size_t{UINT32_MAX} + 1);
    const failed failure = failure_of([&] { (void)alias.count(); });
    assert_string_equal(failure.what(),
                        "heap_mem::count: memory outside the segment (17179869184 bytes): "
                        "4294967296 is more than the result can say; use size_bytes()");
    assert_int_equal(failure.error, EOVERFLOW);
}

static void test_allocate_of_a_negative_count_fails(void **)
{
    const int count = -1;
    heap_mem<int> ints;
    assert_int_equal(failure_of([&] { ints.allocate(count, "ints"); }).error, EINVAL);
    assert_int_equal(failure_of([&] { heap_mem<int> others(count); }).error, EINVAL);
    assert_true(ints.is_null());
}

static void test_point_to_a_const_object_is_an_alias_of_it(void **)
{
    const heap_mem<int> owner(2, "ints");
    heap_mem<int> alias;
    alias.point_to(owner);
    alias[0] = 3;
    assert_int_equal(owner[0], 3);
    assert_int_equal(fake->live.size(), 1);
}

static const CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(test_const_object_is_written_through, fake_new, fake_free),
    cmocka_unit_test_setup_teardown(test_count_and_size_are_32_bit_unsigned, fake_new, fake_free),
    cmocka_unit_test_setup_teardown(test_count_and_size_of_more_than_32_bits_fail, fake_new,
                                    fake_free),
    cmocka_unit_test_setup_teardown(test_allocate_of_a_negative_count_fails, fake_new, fake_free),
    cmocka_unit_test_setup_teardown(test_point_to_a_const_object_is_an_alias_of_it, fake_new,
                                    fake_free),
};

int main()
{
    return cmocka_run_group_tests_name("heap_mem", tests, nullptr, nullptr);
}

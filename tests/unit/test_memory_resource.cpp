/* SPDX-License-Identifier: MIT */
/*
 * kmem::memory_resource over a library made of malloc (fake_kmem.hpp).
 */
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <memory_resource>
#include <new>
#include <setjmp.h>
#include <string>
#include <vector>

#include <kmem/heap_mem.hpp>

extern "C" {
#include <cmocka.h>
}

#include "tests/unit/fake_kmem.hpp"

static bool called(const std::string &call)
{
    for (const std::string &each : fake->calls) {
        if (each == call) {
            return true;
        }
    }
    return false;
}

static void test_memory_resource_serves_a_vector(void **)
{
    kmem::memory_resource resource("parser/tokens");
    {
        std::pmr::vector<int> numbers(&resource);
        for (int i = 0; i < 1000; i++) {
            numbers.push_back(i);
        }
        assert_int_equal(numbers[999], 999);
        assert_string_equal(fake->reason.c_str(), "parser/tokens");
        assert_int_equal(fake->live.size(), 1);
    }
    assert_true(fake->live.empty());
}

static void test_memory_resource_without_reason(void **)
{
    kmem::memory_resource resource;
    assert_string_equal(resource.reason(), KMEM_NO_REASON);
}

static void test_memory_resource_of_no_bytes_is_a_block(void **)
{
    kmem::memory_resource resource("none");
    void *mem = resource.allocate(0);
    assert_non_null(mem);
    resource.deallocate(mem, 0);
    assert_true(fake->live.empty());
}

static void test_memory_resource_aligns_small_blocks(void **)
{
    kmem::memory_resource resource("lines");
    void *mem = resource.allocate(8, 64);
    assert_true(called("try_allocate 64"));
    resource.deallocate(mem, 8, 64);
    assert_true(fake->live.empty());
}

static void test_memory_resource_overallocates_for_large_alignments(void **)
{
    kmem::memory_resource resource("pages");
    for (std::size_t align = 128; align <= 65536; align *= 2) {
        void *mem = resource.allocate(100, align);
        assert_int_equal(reinterpret_cast<std::uintptr_t>(mem) % align, 0);
        const auto &block = *fake->live.begin();
        assert_true(static_cast<char *>(mem) + 100 <=
                    static_cast<char *>(block.first) + block.second);
        assert_true(static_cast<char *>(mem) >= static_cast<char *>(block.first) + sizeof(void *));
        resource.deallocate(mem, 100, align);
        assert_true(fake->live.empty());
    }
}

static bool throws_bad_alloc(std::pmr::memory_resource &resource, std::size_t num_bytes,
                             std::size_t align)
{
    try {
        (void)resource.allocate(num_bytes, align);
    } catch (const std::bad_alloc &) {
        return true;
    }
    return false;
}

static void test_memory_resource_without_room_throws_bad_alloc(void **)
{
    kmem::memory_resource resource("pages");
    assert_true(throws_bad_alloc(resource, room_bytes + 1, 16));
    assert_true(throws_bad_alloc(resource, SIZE_MAX - 16, 128));
    assert_true(fake->live.empty());
}

static void test_memory_resource_release_errors_are_not_thrown(void **)
{
    kmem::memory_resource resource("pages");
    void *mem = resource.allocate(100);
    resource.deallocate(mem, 100);
    resource.deallocate(mem, 100);
    assert_true(called("fail memory_resource::deallocate"));
}

static void test_memory_resource_is_equal_to_its_like(void **)
{
    kmem::memory_resource one("one");
    kmem::memory_resource other("other");
    assert_true(one == other);
    assert_false(one == *std::pmr::new_delete_resource());
}

static const CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(test_memory_resource_serves_a_vector, fake_new, fake_free),
    cmocka_unit_test_setup_teardown(test_memory_resource_without_reason, fake_new, fake_free),
    cmocka_unit_test_setup_teardown(test_memory_resource_of_no_bytes_is_a_block, fake_new,
                                    fake_free),
    cmocka_unit_test_setup_teardown(test_memory_resource_aligns_small_blocks, fake_new, fake_free),
    cmocka_unit_test_setup_teardown(test_memory_resource_overallocates_for_large_alignments,
                                    fake_new, fake_free),
    cmocka_unit_test_setup_teardown(test_memory_resource_without_room_throws_bad_alloc, fake_new,
                                    fake_free),
    cmocka_unit_test_setup_teardown(test_memory_resource_release_errors_are_not_thrown, fake_new,
                                    fake_free),
    cmocka_unit_test_setup_teardown(test_memory_resource_is_equal_to_its_like, fake_new, fake_free),
};

int main()
{
    return cmocka_run_group_tests_name("memory_resource", tests, nullptr, nullptr);
}

/* SPDX-License-Identifier: MIT */
/*
 * heap_mem<T> over a library made of malloc (fake_kmem.hpp). What it does with the real library and
 * a real daemon is shown by tests/examples/heap_mem.cpp.
 *
 * Built a second time with RELEASE_BUILD, where operator[] checks nothing.
 */
#include <cerrno>
#include <csignal>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <setjmp.h>
#include <string>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

#include <kmem/heap_mem.hpp>

#if __cplusplus >= 202002L
#include <span>
#endif

extern "C" {
#include <cmocka.h>
}

#include "tests/unit/fake_kmem.hpp"

namespace
{

bool called(const std::string &call)
{
    for (const std::string &each : fake->calls) {
        if (each == call) {
            return true;
        }
    }
    return false;
}

/* The signal that ends a child process which does this, 0 if none does. */
template <typename Call> int signal_of(Call call)
{
    std::fflush(nullptr);
    const pid_t pid = fork();
    if (pid == 0) {
        if (std::freopen("/dev/null", "w", stderr) == nullptr) {
            _exit(2);
        }
        call();
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

struct pair {
    int first;
    int second;
};

} // namespace

/* ------------------------------------------------------------------ owners: making, ending ---- */

static void test_constructor_empty_makes_no_call(void **)
{
    {
        heap_mem<int> empty;
        assert_true(empty.is_null());
        assert_null(empty.data());
        assert_int_equal(empty.count(), 0);
        assert_int_equal(empty.size(), 0);
        assert_true(empty.begin() == empty.end());
    }
    assert_true(fake->calls.empty());
}

static void test_constructor_owns_a_zeroed_block(void **)
{
    heap_mem<pair> pairs(3, "Three pairs");
    assert_false(pairs.is_null());
    assert_int_equal(pairs.count(), 3);
    assert_int_equal(pairs.size(), 3 * sizeof(pair));
    assert_string_equal(fake->reason.c_str(), "Three pairs");
    for (const pair &each : pairs) {
        assert_int_equal(each.first, 0);
        assert_int_equal(each.second, 0);
    }
}

static void test_constructor_without_reason_gives_none(void **)
{
    heap_mem<int> ints(2);
    assert_string_equal(fake->reason.c_str(), "(NULL)");
}

static void test_destructor_releases_once(void **)
{
    {
        heap_mem<int> ints(2, "ints");
    }
    assert_true(fake->live.empty());
    assert_int_equal(fake->released.size(), 1);
}

static void test_destructor_of_an_alias_releases_nothing(void **)
{
    heap_mem<int> owner(2, "ints");
    {
        heap_mem<int> alias;
        alias.point_to(owner);
    }
    assert_int_equal(fake->live.size(), 1);
}

static void test_destructor_without_a_daemon_is_silent(void **)
{
    fake->release_error = -ECONNRESET;
    {
        heap_mem<int> ints(2, "ints");
    }
    assert_false(called("fail heap_mem::~heap_mem"));
}

static void test_destructor_of_a_parents_block_is_silent(void **)
{
    fake->release_error = -EPERM;
    {
        heap_mem<int> ints(2, "ints");
    }
    assert_false(called("fail heap_mem::~heap_mem"));
}

static void test_destructor_of_a_released_block_reports_and_throws_nothing(void **)
{
    {
        heap_mem<int> ints(2, "ints");
        void *copy = ints.data();
        kmem_release(&copy);
    }
    assert_true(called("fail heap_mem::~heap_mem"));
}

/* -------------------------------------------------------------------------------- allocate ---- */

static void test_allocate_again_releases_first(void **)
{
    heap_mem<int> ints(2, "first");
    fake->calls.clear();
    ints.allocate(5, "second");
    assert_int_equal(ints.count(), 5);
    assert_int_equal(fake->live.size(), 1);
    assert_string_equal(fake->calls.front().c_str(), "release");
    assert_string_equal(fake->reason.c_str(), "second");
}

static void test_allocate_nothing_fails(void **)
{
    heap_mem<int> ints;
    const failed failure = failure_of([&] { ints.allocate(0, "none"); });
    assert_string_equal(failure.call.c_str(), "kmem_allocate");
    assert_true(ints.is_null());
}

static void test_allocate_without_room_leaves_it_empty(void **)
{
    heap_mem<char> bytes(10, "old");
    failure_of([&] { bytes.allocate(room_bytes + 1, "too much"); });
    assert_true(bytes.is_null());
    assert_int_equal(bytes.count(), 0);
    assert_true(fake->live.empty());
}

static void test_allocate_with_a_handler_that_returns_leaves_it_empty(void **)
{
    fake->handler = ignore_failure;
    heap_mem<char> bytes;
    errno = 0;
    bytes.allocate(room_bytes + 1, "too much");
    assert_int_equal(errno, ENOMEM);
    assert_true(bytes.is_null());
}

static void test_allocate_more_than_can_be_addressed_fails(void **)
{
    heap_mem<pair> pairs;
    const failed failure = failure_of([&] { pairs.allocate(SIZE_MAX / sizeof(pair) + 2, "wrap"); });
    assert_string_equal(failure.what(),
                        "heap_mem::allocate: 2305843009213693953 elements of 8 bytes "
                        "are more than can be addressed");
    assert_string_equal(failure.reason.c_str(), "wrap");
    assert_int_equal(failure.error, EINVAL);
    assert_true(fake->calls.size() == 1);
}

static void test_allocate_beyond_an_int_is_one_block(void **)
{
    fake->room_for_huge = true;
    heap_mem<int> ints(huge_bytes / sizeof(int), "huge");
    assert_true(called("try_allocate 3221225472"));
    assert_true(ints.size() == huge_bytes);
}

static void test_allocate_beyond_an_int_without_room_fails(void **)
{
    heap_mem<int> ints;
    const failed failure = failure_of([&] { ints.allocate(huge_bytes / sizeof(int), "huge"); });
    assert_string_equal(failure.what(), "heap_mem::allocate: fake: no room");
    assert_string_equal(failure.call.c_str(), "heap_mem::allocate");
    assert_int_equal(failure.error, ENOMEM);
    assert_true(failure.num_bytes == huge_bytes);
    assert_string_equal(failure.reason.c_str(), "huge");
    assert_true(ints.is_null());
}

static void test_allocate_for_an_aligned_type_takes_a_line(void **)
{
    struct alignas(32) vector4 {
        double x[4];
    };
    heap_mem<vector4> one(1, "one");
    assert_true(called("try_allocate 64"));
    assert_int_equal(one.size(), 32);
    heap_mem<vector4> three(3, "three");
    assert_true(called("try_allocate 96"));
}

/* --------------------------------------------------------------------------------- release ---- */

static void test_release_when_null_is_ignored(void **)
{
    heap_mem<int> empty;
    empty.release();
    assert_true(fake->calls.empty());
}

static void test_release_gives_back_and_empties(void **)
{
    heap_mem<int> ints(2, "ints");
    ints.release();
    assert_true(ints.is_null());
    assert_int_equal(ints.size(), 0);
    assert_true(fake->live.empty());
    ints.release();
    assert_int_equal(fake->released.size(), 1);
}

static void test_release_of_an_alias_only_forgets(void **)
{
    heap_mem<int> owner(2, "ints");
    heap_mem<int> alias;
    alias.point_to(owner);
    alias.release();
    assert_true(alias.is_null());
    assert_int_equal(fake->live.size(), 1);
    assert_false(owner.is_null());
}

static void test_release_twice_through_a_copy_is_caught(void **)
{
    heap_mem<int> ints(2, "ints");
    void *copy = ints.data();
    kmem_release(&copy);
    const failed failure = failure_of([&] { ints.release(); });
    assert_int_equal(failure.error, EALREADY);
    assert_true(ints.is_null());
}

/* ---------------------------------------------------------------------- elements and sizes ---- */

static void test_index_reads_what_was_written(void **)
{
    heap_mem<int> ints(2, "A pair of ints");
    ints[1] = 1234;
    const heap_mem<int> &same = ints;
    assert_int_equal(same[0], 0);
    assert_int_equal(same[1], 1234);
    assert_int_equal(ints.data()[1], 1234);
}

#ifdef RELEASE_BUILD

static void test_index_out_of_bounds_is_not_checked(void **)
{
    int array[4] = {0, 1, 2, 3};
    heap_mem<int> two;
    two.point_to(array, 2);
    assert_int_equal(two[3], 3);
}

#else

static void test_index_out_of_bounds_fails(void **)
{
    heap_mem<int> ints(2, "A pair of ints");
    const failed failure = failure_of([&] { ints[2] = 1; });
    assert_string_equal(failure.what(),
                        "heap_mem::operator[]: block at offset 4096 (8 bytes): index "
                        "2 is out of bounds, there are 2 elements");
    assert_string_equal(failure.call.c_str(), "heap_mem::operator[]");
    assert_int_equal(failure.error, ERANGE);
    assert_true(failure.offset == 4096);
    assert_true(failure.num_bytes == 8);
    const heap_mem<int> &same = ints;
    failure_of([&] { (void)same[SIZE_MAX]; });
    assert_string_equal(failure_of([&] { ints[-1] = 1; }).what(),
                        "heap_mem::operator[]: block at offset 4096 (8 bytes): index "
                        "-1 is out of bounds, there are 2 elements");
}

static void test_index_of_an_empty_object_fails(void **)
{
    heap_mem<int> empty;
    const failed failure = failure_of([&] { empty[0] = 1; });
    assert_string_equal(failure.what(),
                        "heap_mem::operator[]: index 0 is out of bounds, there are 0 elements");
}

static void test_index_of_foreign_memory_fails(void **)
{
    int array[2] = {};
    volatile std::size_t beyond = 2; /* gcc warns of a constant, as it should */
    heap_mem<int> alias;
    alias.point_to(array, 2);
    const failed failure = failure_of([&] { alias[beyond] = 1; });
    assert_string_equal(failure.what(),
                        "heap_mem::operator[]: memory outside the segment (8 bytes): "
                        "index 2 is out of bounds, there are 2 elements");
}

static void test_index_with_a_handler_that_returns_aborts(void **)
{
    fake->handler = ignore_failure;
    heap_mem<int> ints(2, "ints");
    assert_int_equal(signal_of([&] { ints[2] = 1; }), SIGABRT);
    assert_int_equal(signal_of([&] { ints[1] = 1; }), 0);
}

#endif

static void test_size_check_returns_what_fits(void **)
{
    heap_mem<int> ints(2, "ints");
    assert_int_equal(ints.size_check(0), 0);
    assert_int_equal(ints.size_check(8), 8);
}

static void test_size_check_fails_beyond_the_end(void **)
{
    heap_mem<int> ints(2, "ints");
    const failed failure = failure_of([&] { (void)ints.size_check(9); });
    assert_string_equal(failure.what(),
                        "heap_mem::size_check: block at offset 4096 (8 bytes): 9 bytes do not fit");
    assert_int_equal(failure_of([&] { (void)ints.size_check(-1); }).error, ERANGE);
    fake->handler = ignore_failure;
    assert_int_equal(ints.size_check(9), 0);
}

static void test_begin_end_walk_all_elements(void **)
{
    heap_mem<int> ints(4, "ints");
    int next = 1;
    for (int &value : ints) {
        value = next++;
    }
    const heap_mem<int> &same = ints;
    int sum = 0;
    for (const int &value : same) {
        sum += value;
    }
    assert_int_equal(sum, 10);
    assert_int_equal(ints.end() - ints.begin(), 4);
}

#if __cplusplus >= 202002L
static void test_span_sees_elements_not_bytes(void **)
{
    heap_mem<int> ints(4, "ints");
    const std::span<int> span(ints);
    assert_int_equal(span.size(), 4);
    assert_int_equal(std::ranges::size(ints), 4);
}
#endif

/* ------------------------------------------------------------------- aliases, moves, swaps ---- */

static void test_point_to_other_shares_its_bytes(void **)
{
    heap_mem<int> owner(2, "ints");
    heap_mem<int> alias;
    alias.point_to(owner);
    alias[1] = 7;
    assert_int_equal(owner[1], 7);
    assert_int_equal(alias.count(), 2);
}

static void test_point_to_releases_what_was_owned(void **)
{
    heap_mem<int> owner(2, "ints");
    heap_mem<int> other(3, "others");
    other.point_to(owner);
    assert_int_equal(fake->live.size(), 1);
    assert_int_equal(fake->released.size(), 1);
}

static void test_point_to_itself_changes_nothing(void **)
{
    heap_mem<int> owner(2, "ints");
    owner.point_to(owner);
    assert_int_equal(owner.count(), 2);
    owner.release();
    assert_true(fake->live.empty());
}

static void test_point_to_null_is_empty(void **)
{
    heap_mem<int> alias;
    alias.point_to(nullptr, 5);
    assert_true(alias.is_null());
    assert_int_equal(alias.count(), 0);
}

static void test_move_takes_the_block(void **)
{
    heap_mem<int> from(2, "ints");
    from[1] = 5;
    heap_mem<int> to(std::move(from));
    assert_true(from.is_null()); /* NOLINT(*-use-after-move, *-cplusplus.Move): it is empty */
    assert_int_equal(to[1], 5);
    to.release();
    assert_int_equal(fake->released.size(), 1);
}

static void test_move_of_an_alias_stays_an_alias(void **)
{
    heap_mem<int> owner(2, "ints");
    heap_mem<int> alias;
    alias.point_to(owner);
    {
        heap_mem<int> moved(std::move(alias));
    }
    assert_int_equal(fake->live.size(), 1);
}

static void test_move_assignment_releases_the_old_block(void **)
{
    heap_mem<int> to(2, "old");
    heap_mem<int> from(3, "new");
    to = std::move(from);
    assert_int_equal(to.count(), 3);
    assert_true(from.is_null()); /* NOLINT(*-use-after-move, *-cplusplus.Move): it is empty */
    assert_int_equal(fake->released.size(), 1);
    assert_int_equal(fake->live.size(), 1);
}

static void test_move_assignment_to_itself_changes_nothing(void **)
{
    heap_mem<int> ints(2, "ints");
    heap_mem<int> &same = ints;
    ints = std::move(same);
    assert_int_equal(ints.count(), 2);
    assert_int_equal(fake->live.size(), 1);
}

static void test_swap_exchanges_ownership(void **)
{
    heap_mem<int> owner(2, "ints");
    heap_mem<int> alias;
    int array[3] = {1, 2, 3};
    alias.point_to(array, 3);
    swap(owner, alias);
    assert_int_equal(owner.count(), 3);
    owner.release();
    assert_int_equal(fake->live.size(), 1);
    alias.release();
    assert_true(fake->live.empty());
}

static void test_copies_do_not_compile(void **)
{
    static_assert(!std::is_copy_constructible_v<heap_mem<int>>);
    static_assert(!std::is_copy_assignable_v<heap_mem<int>>);
    static_assert(std::is_nothrow_move_constructible_v<heap_mem<int>>);
    static_assert(std::is_nothrow_move_assignable_v<heap_mem<int>>);
    static_assert(std::is_nothrow_destructible_v<heap_mem<int>>);
    static_assert(std::is_nothrow_swappable_v<heap_mem<int>>);
    static_assert(!std::is_convertible_v<std::size_t, heap_mem<int>>);
    assert_true(fake->calls.empty());
}

static const CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(test_constructor_empty_makes_no_call, fake_new, fake_free),
    cmocka_unit_test_setup_teardown(test_constructor_owns_a_zeroed_block, fake_new, fake_free),
    cmocka_unit_test_setup_teardown(test_constructor_without_reason_gives_none, fake_new,
                                    fake_free),
    cmocka_unit_test_setup_teardown(test_destructor_releases_once, fake_new, fake_free),
    cmocka_unit_test_setup_teardown(test_destructor_of_an_alias_releases_nothing, fake_new,
                                    fake_free),
    cmocka_unit_test_setup_teardown(test_destructor_without_a_daemon_is_silent, fake_new,
                                    fake_free),
    cmocka_unit_test_setup_teardown(test_destructor_of_a_parents_block_is_silent, fake_new,
                                    fake_free),
    cmocka_unit_test_setup_teardown(test_destructor_of_a_released_block_reports_and_throws_nothing,
                                    fake_new, fake_free),
    cmocka_unit_test_setup_teardown(test_allocate_again_releases_first, fake_new, fake_free),
    cmocka_unit_test_setup_teardown(test_allocate_nothing_fails, fake_new, fake_free),
    cmocka_unit_test_setup_teardown(test_allocate_without_room_leaves_it_empty, fake_new,
                                    fake_free),
    cmocka_unit_test_setup_teardown(test_allocate_with_a_handler_that_returns_leaves_it_empty,
                                    fake_new, fake_free),
    cmocka_unit_test_setup_teardown(test_allocate_more_than_can_be_addressed_fails, fake_new,
                                    fake_free),
    cmocka_unit_test_setup_teardown(test_allocate_beyond_an_int_is_one_block, fake_new, fake_free),
    cmocka_unit_test_setup_teardown(test_allocate_beyond_an_int_without_room_fails, fake_new,
                                    fake_free),
    cmocka_unit_test_setup_teardown(test_allocate_for_an_aligned_type_takes_a_line, fake_new,
                                    fake_free),
    cmocka_unit_test_setup_teardown(test_release_when_null_is_ignored, fake_new, fake_free),
    cmocka_unit_test_setup_teardown(test_release_gives_back_and_empties, fake_new, fake_free),
    cmocka_unit_test_setup_teardown(test_release_of_an_alias_only_forgets, fake_new, fake_free),
    cmocka_unit_test_setup_teardown(test_release_twice_through_a_copy_is_caught, fake_new,
                                    fake_free),
    cmocka_unit_test_setup_teardown(test_index_reads_what_was_written, fake_new, fake_free),
#ifdef RELEASE_BUILD
    cmocka_unit_test_setup_teardown(test_index_out_of_bounds_is_not_checked, fake_new, fake_free),
#else
    cmocka_unit_test_setup_teardown(test_index_out_of_bounds_fails, fake_new, fake_free),
    cmocka_unit_test_setup_teardown(test_index_of_an_empty_object_fails, fake_new, fake_free),
    cmocka_unit_test_setup_teardown(test_index_of_foreign_memory_fails, fake_new, fake_free),
    cmocka_unit_test_setup_teardown(test_index_with_a_handler_that_returns_aborts, fake_new,
                                    fake_free),
#endif
    cmocka_unit_test_setup_teardown(test_size_check_returns_what_fits, fake_new, fake_free),
    cmocka_unit_test_setup_teardown(test_size_check_fails_beyond_the_end, fake_new, fake_free),
    cmocka_unit_test_setup_teardown(test_begin_end_walk_all_elements, fake_new, fake_free),
#if __cplusplus >= 202002L
    cmocka_unit_test_setup_teardown(test_span_sees_elements_not_bytes, fake_new, fake_free),
#endif
    cmocka_unit_test_setup_teardown(test_point_to_other_shares_its_bytes, fake_new, fake_free),
    cmocka_unit_test_setup_teardown(test_point_to_releases_what_was_owned, fake_new, fake_free),
    cmocka_unit_test_setup_teardown(test_point_to_itself_changes_nothing, fake_new, fake_free),
    cmocka_unit_test_setup_teardown(test_point_to_null_is_empty, fake_new, fake_free),
    cmocka_unit_test_setup_teardown(test_move_takes_the_block, fake_new, fake_free),
    cmocka_unit_test_setup_teardown(test_move_of_an_alias_stays_an_alias, fake_new, fake_free),
    cmocka_unit_test_setup_teardown(test_move_assignment_releases_the_old_block, fake_new,
                                    fake_free),
    cmocka_unit_test_setup_teardown(test_move_assignment_to_itself_changes_nothing, fake_new,
                                    fake_free),
    cmocka_unit_test_setup_teardown(test_swap_exchanges_ownership, fake_new, fake_free),
    cmocka_unit_test_setup_teardown(test_copies_do_not_compile, fake_new, fake_free),
};

int main()
{
    return cmocka_run_group_tests_name("heap_mem", tests, nullptr, nullptr);
}

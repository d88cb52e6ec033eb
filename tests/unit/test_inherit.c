/* SPDX-License-Identifier: MIT */
/*
 * Copies of a parent's blocks for its child. The daemon runs in the parent; a child reports by its
 * exit status, for an assertion in it would end in the parent's place.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <kmem/kmem.h>

#include "client/inherit.h"
#include "tests/unit/fail.h"
#include "tests/unit/fake_daemon.h"
#include "tests/unit/unit.h"

FAIL_WRAP(void *, mmap, (void *at, size_t n, int protection, int flags, int fd, off_t off),
          (at, n, protection, flags, fd, off), MAP_FAILED)
FAIL_WRAP(int, mprotect, (void *at, size_t n, int protection), (at, n, protection), -1)

FAIL_WRAP(void *, mremap, (void *at, size_t old_n, size_t n, int flags, void *to),
          (at, old_n, n, flags, to), MAP_FAILED)

/* In a child. */
#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "child, line %d: %s: %s\n", __LINE__, #condition, kmem_last_error());  \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

/* Direct ones at first, small and large, and leased ones from when the daemon lends. */
static const size_t sizes[] = {1, 16, 100, 3000, 20000, 70000};
#define N_SIZES (sizeof(sizes) / sizeof(sizes[0]))
#define N_BLOCKS (4 * N_SIZES)

static unsigned char *blocks[N_BLOCKS];

static size_t size_of(size_t i)
{
    return sizes[i % N_SIZES];
}

static void allocate(size_t begin, size_t end)
{
    for (size_t i = begin; i < end; i++) {
        blocks[i] = kmem_try_allocate(size_of(i), "parent");
        assert_non_null(blocks[i]);
        memset(blocks[i], (int)i + 1, size_of(i));
    }
}

static int begin(void **state)
{
    (void)setenv("KMEM_TIMEOUT_MS", "60000", 1);
    fake_daemon_start();
    kmem__inherit_begin();
    allocate(0, N_SIZES);
    fake_daemon_lend(true);
    allocate(N_SIZES, N_BLOCKS);
    return 0;
}

static int end(void **state)
{
    int r = kmem_close();
    fake_daemon_stop();
    return r == 0 || r == -ECONNRESET ? 0 : r;
}

static bool has_all(unsigned char added)
{
    for (size_t i = 0; i < N_BLOCKS; i++) {
        const unsigned char wanted = (unsigned char)(i + 1 + added);
        if (blocks[i][0] != wanted || blocks[i][size_of(i) - 1] != wanted) {
            return false;
        }
    }
    return true;
}

static void write_all(unsigned char added)
{
    for (size_t i = 0; i < N_BLOCKS; i++) {
        memset(blocks[i], (int)(i + 1 + added), size_of(i));
    }
}

static void run_in_child(void (*function)(void))
{
    struct inherit_copy copy;
    int status = 0;
    assert_int_equal(kmem__inherit_copy(&copy), 0);
    const pid_t child = fork();
    if (child == 0) {
        (void)alarm(600);
        CHECK(kmem__inherit_place(&copy) == 0);
        function();
        _exit(0);
    }
    kmem__inherit_drop(&copy);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_true(has_all(0));
}

static void write_in_child(void)
{
    CHECK(has_all(0));
    write_all(7);
    CHECK(has_all(7));
}

static void test_place_gives_a_child_copies_of_its_own(void **state)
{
    run_in_child(write_in_child);
}

static void ask_sizes(void)
{
    for (size_t i = 0; i < N_BLOCKS; i++) {
        CHECK(kmem__inherit_has(blocks[i]));
        CHECK(kmem__inherit_sizeof(blocks[i]) == size_of(i));
        CHECK(kmem__inherit_sizeof(blocks[i] + 8) == 0);
    }
    CHECK(!kmem__inherit_has(sizes));
    CHECK(kmem__inherit_sizeof(sizes) == 0);
}

static void test_sizeof_is_the_size_that_was_asked_for(void **state)
{
    run_in_child(ask_sizes);
    assert_false(kmem__inherit_has(blocks[0]));
    assert_int_equal(kmem__inherit_sizeof(blocks[0]), 0);
}

static void allocate_anew(void)
{
    unsigned char *own = kmem_try_allocate(100, "child");
    void *pointer = blocks[0];
    CHECK(own != NULL && !kmem__inherit_has(own));
    CHECK(kmem_try_release(&pointer) == -EPERM);
    CHECK(kmem_offset_of(own) != 0 && kmem_offset_of(blocks[0]) == 0);
    CHECK(has_all(0));
}

static void test_a_child_maps_the_segment_elsewhere(void **state)
{
    run_in_child(allocate_anew);
    assert_int_equal(fake_daemon_n_peers(), 2);
}

static void copy_once_more(void)
{
    struct inherit_copy copy;
    int status = 0;
    unsigned char *own = kmem_try_allocate(5000, "child");
    CHECK(own != NULL);
    memset(own, 99, 5000);
    CHECK(kmem__inherit_copy(&copy) == 0);
    const pid_t child = fork();
    if (child == 0) {
        CHECK(kmem__inherit_place(&copy) == 0);
        CHECK(has_all(0));
        CHECK(own[0] == 99 && own[4999] == 99);
        CHECK(kmem__inherit_sizeof(own) == 5000);
        CHECK(kmem__inherit_sizeof(blocks[N_BLOCKS - 1]) == size_of(N_BLOCKS - 1));
        write_all(3);
        memset(own, 1, 5000);
        _exit(0);
    }
    kmem__inherit_drop(&copy);
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    CHECK(has_all(0) && own[0] == 99);
}

static void test_a_grandchild_has_both(void **state)
{
    run_in_child(copy_once_more);
}

static void test_what_was_released_is_not_inherited(void **state)
{
    for (size_t i = 0; i < N_BLOCKS; i++) {
        void *pointer = blocks[i];
        assert_int_equal(kmem_try_release(&pointer), 0);
    }
    struct inherit_copy copy;
    int status = 0;
    assert_int_equal(kmem__inherit_copy(&copy), 0);
    const pid_t child = fork();
    if (child == 0) {
        CHECK(kmem__inherit_place(&copy) == 0);
        for (size_t i = 0; i < N_BLOCKS; i++) {
            CHECK(kmem__inherit_sizeof(blocks[i]) == 0);
        }
        _exit(0);
    }
    kmem__inherit_drop(&copy);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void test_copy_without_memory_is_ENOMEM(void **state)
{
    static const char *const calls[] = {"mmap", "mprotect"};
    for (size_t i = 0; i < 2; i++) {
        for (unsigned nth = 1; fail_again(calls[i], nth, ENOMEM); nth++) {
            struct inherit_copy copy;
            const int r = kmem__inherit_copy(&copy);
            if (fail_end()) {
                assert_int_equal(r, -ENOMEM);
                assert_null(copy.estate);
                assert_null(copy.mapped);
            } else {
                assert_int_equal(r, 0);
                kmem__inherit_drop(&copy);
            }
        }
        fail_nth(calls[i], 1, ENOMEM);
        assert_int_equal(kmem__inherit_try(), -ENOMEM);
        assert_true(fail_end());
    }
    assert_int_equal(kmem__inherit_try(), 0);
    assert_true(has_all(0));
}

static unsigned char *protected_page; /* in the midst of the last block */

static void read_protected(void)
{
    int pipe_ends[2];
    CHECK(pipe(pipe_ends) == 0);
    CHECK(write(pipe_ends[1], protected_page, 1) == -1 && errno == EFAULT);
    CHECK(mprotect(protected_page, 4096, PROT_READ | PROT_WRITE) == 0);
    CHECK(protected_page[0] == N_BLOCKS && protected_page[4095] == N_BLOCKS);
}

/* The last but one: it is for the rest of the process. */
static void test_copy_of_what_is_protected_is_whole_or_ENOMEM(void **state)
{
    static const char *const calls[] = {"mmap", "mprotect", "mremap"};
    unsigned char *block = blocks[N_BLOCKS - 1];
    protected_page = block + 4096 + (-(uintptr_t)block % 4096);
    assert_int_equal(mprotect(protected_page, 4096, PROT_NONE), 0);
    kmem__inherit_protected();
    for (size_t i = 0; i < 3; i++) {
        for (unsigned nth = 1; fail_again(calls[i], nth, ENOMEM); nth++) {
            struct inherit_copy copy;
            const int r = kmem__inherit_copy(&copy);
            assert_int_equal(r, fail_end() ? -ENOMEM : 0);
            kmem__inherit_drop(&copy);
        }
        fail_nth(calls[i], 1, ENOMEM);
        assert_int_equal(kmem__inherit_try(), -ENOMEM);
        assert_true(fail_end());
    }
    run_in_child(read_protected);
    assert_int_equal(mprotect(protected_page, 4096, PROT_READ | PROT_WRITE), 0);
}

static void test_copy_of_a_process_that_has_not_joined_is_nothing(void **state)
{
    struct inherit_copy copy;
    assert_int_equal(kmem_close(), 0);
    assert_int_equal(kmem__inherit_try(), 0);
    assert_int_equal(kmem__inherit_copy(&copy), 0);
    assert_null(copy.estate);
    assert_int_equal(kmem__inherit_place(&copy), 0);
    assert_false(kmem__inherit_has(blocks[0]));
}

#define INHERIT_TEST(function) cmocka_unit_test_setup_teardown(function, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        INHERIT_TEST(test_place_gives_a_child_copies_of_its_own),
        INHERIT_TEST(test_sizeof_is_the_size_that_was_asked_for),
        INHERIT_TEST(test_a_child_maps_the_segment_elsewhere),
        INHERIT_TEST(test_a_grandchild_has_both),
        INHERIT_TEST(test_what_was_released_is_not_inherited),
        INHERIT_TEST(test_copy_without_memory_is_ENOMEM),
        INHERIT_TEST(test_copy_of_what_is_protected_is_whole_or_ENOMEM),
        INHERIT_TEST(test_copy_of_a_process_that_has_not_joined_is_nothing),
    };
    return cmocka_run_group_tests_name("inherit", tests, NULL, NULL);
}

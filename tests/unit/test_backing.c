/* SPDX-License-Identifier: MIT */
/*
 * test_backing.c - pages, nodes and locks of machines that this one is not
 *
 * What the kernel says comes from strings; what it is asked for is noted, and done where it can be.
 */
#include <errno.h>
#include <linux/magic.h>
#include <linux/memfd.h>
#include <linux/mempolicy.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "daemon/backing.h"
#include "tests/unit/captured.h"
#include "tests/unit/fail.h"
#include "tests/unit/unit.h"

#define SEGMENT_BYTES (UINT64_C(16) << 20)
#define N_NODES_MAX 1024
#define N_WORDS (N_NODES_MAX / (8 * sizeof(unsigned long)))

#define HAS_MEMORY "/sys/devices/system/node/has_memory"
#define SMALL "/sys/kernel/mm/hugepages/hugepages-2048kB/"
#define LARGE "/sys/kernel/mm/hugepages/hugepages-1048576kB/"

FAIL_WRAP(void *, mmap, (void *at, size_t n, int protection, int flags, int fd, off_t from),
          (at, n, protection, flags, fd, from), MAP_FAILED)

/* A file of /sys that says what a test wants. */
struct fake_file {
    const char *path;
    const char *text;
};

/* The machine, and what it was asked for. */
static struct {
    const struct fake_file *files; /* NULL: those that there are */
    struct statfs kind;            /* of every descriptor; 0: what it is */
    int mbind_error;
    int mlock_error;
    rlim_t memlock_bytes;
    unsigned memfd_flags;
    unsigned n_mbinds;
    int mode;
    unsigned long mask[N_WORDS];
} machine;

FILE *__real_fopen(const char *path, const char *mode);
FILE *__wrap_fopen(const char *path, const char *mode);
FILE *__wrap_fopen(const char *path, const char *mode)
{
    for (const struct fake_file *file = machine.files; file && file->path; file++) {
        if (strcmp(file->path, path) == 0) {
            return fmemopen((void *)file->text, strlen(file->text), "r");
        }
    }
    errno = ENOENT;
    return machine.files ? NULL : __real_fopen(path, mode);
}

/* Reserved pages there are few of: a file of small ones serves. */
int __real_memfd_create(const char *name, unsigned flags);
int __wrap_memfd_create(const char *name, unsigned flags);
int __wrap_memfd_create(const char *name, unsigned flags)
{
    machine.memfd_flags = flags;
    if (fail_now("memfd_create")) {
        return -1;
    }
    return __real_memfd_create(name, flags & (MFD_CLOEXEC | MFD_ALLOW_SEALING));
}

long __wrap_syscall(long number, void *at, unsigned long n_bytes, int mode,
                    const unsigned long *mask, int n_nodes, int flags);
long __wrap_syscall(long number, void *at, unsigned long n_bytes, int mode,
                    const unsigned long *mask, int n_nodes, int flags)
{
    assert_int_equal(number, SYS_mbind);
    assert_int_equal(n_bytes, SEGMENT_BYTES);
    assert_int_equal(n_nodes, N_NODES_MAX);
    assert_int_equal(flags, 0);
    assert_non_null(at);
    machine.n_mbinds++;
    machine.mode = mode;
    memcpy(machine.mask, mask, sizeof(machine.mask));
    errno = machine.mbind_error;
    return machine.mbind_error ? -1 : 0;
}

int __wrap_mlock2(const void *at, size_t n_bytes, unsigned flags);
int __wrap_mlock2(const void *at, size_t n_bytes, unsigned flags)
{
    assert_non_null(at);
    assert_int_equal(n_bytes, SEGMENT_BYTES);
    assert_int_equal(flags, 0); /* now, not when it is touched */
    errno = machine.mlock_error;
    return machine.mlock_error ? -1 : 0;
}

int __wrap_getrlimit(int resource, struct rlimit *limit);
int __wrap_getrlimit(int resource, struct rlimit *limit)
{
    assert_int_equal(resource, RLIMIT_MEMLOCK);
    *limit = (struct rlimit){machine.memlock_bytes, machine.memlock_bytes};
    return 0;
}

int __wrap_fstatfs(int fd, struct statfs *kind);
int __wrap_fstatfs(int fd, struct statfs *kind)
{
    *kind = machine.kind;
    return fail_now("fstatfs") ? -1 : 0;
}

static struct options options;
static char sentence[BACKING_SENTENCE_BYTES];

static int backing_setup(void **state)
{
    memset(&machine, 0, sizeof(machine));
    options_set_default(&options);
    options.segment_bytes = SEGMENT_BYTES;
    options.most_bytes = SEGMENT_BYTES;
    sentence[0] = '\0';
    return 0;
}

static void ask_for_node(uint32_t node)
{
    options.numa = NUMA_NODE;
    options.numa_node = node;
}

/* -------------------------------------------------------------------------- reserved pages ---- */

static void test_backing_check_takes_pages_that_are_free_and_promised_to_no_other(void **state)
{
    const struct fake_file files[] = {
        {SMALL "free_hugepages", "10\n"}, {SMALL "resv_hugepages", "2\n"}, {NULL, NULL}};
    machine.files = files;
    options.hugepages = HUGEPAGES_2M;

    assert_int_equal(backing_check(&options, sentence), 0);
    options.segment_bytes += 2 << 20;
    assert_int_equal(backing_check(&options, sentence), -ENOMEM);
    assert_non_null(strstr(sentence, "needs 9 reserved pages of 2 MiB, and 8 are free: 1 too few"));
}

static void test_backing_check_says_how_many_to_reserve(void **state)
{
    const struct fake_file files[] = {{SMALL "free_hugepages", "3\n"},
                                      {SMALL "resv_hugepages", "5\n"},
                                      {SMALL "nr_hugepages", "30\n"},
                                      {NULL, NULL}};
    machine.files = files;
    options.hugepages = HUGEPAGES_2M;

    assert_int_equal(backing_check(&options, sentence), -ENOMEM);
    assert_non_null(strstr(sentence, "and 0 are free: 8 too few"));
    assert_non_null(strstr(sentence, "echo 38 > " SMALL "nr_hugepages"));
    assert_non_null(strstr(sentence, "sysctl vm.nr_hugepages"));
}

/* The sysctl is for pages of the usual size alone. */
static void test_backing_check_of_a_machine_without_such_pages_counts_none(void **state)
{
    const struct fake_file files[] = {{NULL, NULL}};
    machine.files = files;
    options.hugepages = HUGEPAGES_1G;
    options.segment_bytes = UINT64_C(2) << 30;

    assert_int_equal(backing_check(&options, sentence), -ENOMEM);
    assert_non_null(strstr(sentence, "needs 2 reserved pages of 1 GiB, and 0 are free"));
    assert_non_null(strstr(sentence, "echo 2 > " LARGE "nr_hugepages)"));
    assert_null(strstr(sentence, "sysctl"));
}

static void test_backing_open_asks_for_pages_of_the_size_that_is_wanted(void **state)
{
    const struct {
        enum hugepages hugepages;
        unsigned flags;
    } rows[] = {{HUGEPAGES_TRY, 0},
                {HUGEPAGES_NO, 0},
                {HUGEPAGES_2M, MFD_HUGETLB | MFD_HUGE_2MB},
                {HUGEPAGES_1G, MFD_HUGETLB | MFD_HUGE_1GB}};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        options.hugepages = rows[i].hugepages;
        const int fd = backing_open(&options, sentence);
        assert_true(fd >= 0);
        assert_int_equal(machine.memfd_flags, MFD_CLOEXEC | MFD_ALLOW_SEALING | rows[i].flags);
        assert_int_equal(close(fd), 0);
    }
}

static void test_backing_open_without_a_file_says_why(void **state)
{
    fail_nth("memfd_create", 1, ENOSPC);
    assert_int_equal(backing_open(&options, sentence), -ENOSPC);
    assert_true(fail_end());
    assert_string_equal(sentence, "cannot make the segment's file: No space left on device");
}

/* What it is made of can not change under clients. */
static void test_backing_adopt_keeps_the_pages_that_there_are(void **state)
{
    const struct {
        long magic;
        long page_bytes;
        enum hugepages asked;
        enum hugepages wanted;
    } rows[] = {{HUGETLBFS_MAGIC, 2L << 20, HUGEPAGES_NO, HUGEPAGES_2M},
                {HUGETLBFS_MAGIC, 1L << 30, HUGEPAGES_2M, HUGEPAGES_1G},
                {TMPFS_MAGIC, 4096, HUGEPAGES_2M, HUGEPAGES_TRY},
                {TMPFS_MAGIC, 4096, HUGEPAGES_1G, HUGEPAGES_TRY},
                {TMPFS_MAGIC, 4096, HUGEPAGES_NO, HUGEPAGES_NO}};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        machine.kind = (struct statfs){.f_type = rows[i].magic, .f_bsize = rows[i].page_bytes};
        options.hugepages = rows[i].asked;
        options.lazy = true;
        backing_adopt(0, &options);
        assert_int_equal(options.hugepages, rows[i].wanted);
        /* All of what is reserved is taken from the start. */
        assert_int_equal(options.lazy, rows[i].magic != HUGETLBFS_MAGIC);
    }
}

static void test_backing_adopt_of_what_can_not_be_looked_at_changes_nothing(void **state)
{
    options.hugepages = HUGEPAGES_2M;
    fail_nth("fstatfs", 1, EBADF);
    backing_adopt(0, &options);
    assert_true(fail_end());
    assert_int_equal(options.hugepages, HUGEPAGES_2M);
}

/* ----------------------------------------------------------------------------------- nodes ---- */

static void test_backing_check_knows_the_nodes_that_have_memory(void **state)
{
    const struct fake_file files[] = {{HAS_MEMORY, "0-1,3,70-71\n"}, {NULL, NULL}};
    const uint32_t there[] = {0, 1, 3, 70, 71};
    const uint32_t missing[] = {2, 4, 69, 72, N_NODES_MAX, UINT32_MAX};
    machine.files = files;

    for (size_t i = 0; i < sizeof(there) / sizeof(there[0]); i++) {
        ask_for_node(there[i]);
        assert_int_equal(backing_check(&options, sentence), 0);
    }
    for (size_t i = 0; i < sizeof(missing) / sizeof(missing[0]); i++) {
        ask_for_node(missing[i]);
        assert_int_equal(backing_check(&options, sentence), -ENXIO);
    }
    ask_for_node(2);
    assert_int_equal(backing_check(&options, sentence), -ENXIO);
    assert_string_equal(sentence, "--numa: there is no node 2 with memory; there is 0-1,3,70-71");
}

static void test_backing_check_of_more_nodes_than_there_can_be_takes_the_first(void **state)
{
    const struct fake_file files[] = {{HAS_MEMORY, "1000-9999\n"}, {NULL, NULL}};
    machine.files = files;

    ask_for_node(N_NODES_MAX - 1);
    assert_int_equal(backing_check(&options, sentence), 0);
    ask_for_node(N_NODES_MAX);
    assert_int_equal(backing_check(&options, sentence), -ENXIO);
    ask_for_node(999);
    assert_int_equal(backing_check(&options, sentence), -ENXIO);
}

/* A kernel without nodes has all of its memory in one; an empty file says nothing. */
static void test_backing_check_without_a_word_of_nodes_knows_one(void **state)
{
    const struct fake_file none[] = {{NULL, NULL}};
    const struct fake_file empty[] = {{HAS_MEMORY, "\n"}, {NULL, NULL}};
    machine.files = none;

    ask_for_node(0);
    assert_int_equal(backing_check(&options, sentence), 0);
    ask_for_node(1);
    assert_int_equal(backing_check(&options, sentence), -ENXIO);
    assert_non_null(strstr(sentence, "there is 0"));
    machine.files = empty;
    assert_int_equal(backing_check(&options, sentence), -ENXIO);
}

static void test_backing_open_binds_to_one_node_or_to_all_in_turn(void **state)
{
    const struct fake_file files[] = {{HAS_MEMORY, "0-1,65\n"}, {NULL, NULL}};
    machine.files = files;

    int fd = backing_open(&options, sentence); /* local */
    assert_int_equal(machine.n_mbinds, 0);
    assert_int_equal(close(fd), 0);

    options.numa = NUMA_INTERLEAVE;
    fd = backing_open(&options, sentence);
    assert_int_equal(machine.mode, MPOL_INTERLEAVE);
    assert_int_equal(machine.mask[0], 3);
    assert_int_equal(machine.mask[1], 2);
    assert_int_equal(close(fd), 0);

    ask_for_node(65);
    fd = backing_open(&options, sentence);
    assert_int_equal(machine.mode, MPOL_BIND);
    assert_int_equal(machine.mask[0], 0);
    assert_int_equal(machine.mask[1], 2);
    assert_int_equal(close(fd), 0);
}

static void test_backing_open_whose_nodes_can_not_be_chosen_says_so_and_leaves_nothing(void **state)
{
    const unsigned n_fds = count_fds();
    ask_for_node(0);

    machine.mbind_error = EPERM;
    assert_int_equal(backing_open(&options, sentence), -EPERM);
    assert_non_null(strstr(sentence, "(mbind: Operation not permitted); a sandbox"));
    machine.mbind_error = 0;
    fail_nth("mmap", 1, ENOMEM);
    assert_int_equal(backing_open(&options, sentence), -ENOMEM);
    assert_true(fail_end());
    assert_non_null(strstr(sentence, "Cannot allocate memory"));
    assert_int_equal(count_fds(), n_fds);
}

/* ------------------------------------------------------------------------------------ lock ---- */

static int lock(void)
{
    const int fd = backing_open(&options, sentence);
    assert_true(fd >= 0);
    const int r = backing_lock(fd, &options, sentence);
    assert_int_equal(close(fd), 0);
    return r;
}

static void test_backing_lock_locks_what_is_asked_for_and_can_be_swapped_out(void **state)
{
    machine.mlock_error = EPERM; /* of whoever tries */
    assert_int_equal(lock(), 0);
    options.lock = true;
    options.hugepages = HUGEPAGES_2M; /* these never leave memory */
    assert_int_equal(lock(), 0);
    options.hugepages = HUGEPAGES_TRY;
    assert_int_equal(lock(), -EPERM);
    machine.mlock_error = 0;
    assert_int_equal(lock(), 0);
}

static void test_backing_lock_that_fails_says_what_the_limit_is(void **state)
{
    options.lock = true;
    machine.mlock_error = ENOMEM;
    machine.memlock_bytes = 64 << 10;
    assert_int_equal(lock(), -ENOMEM);
    assert_non_null(strstr(sentence, "--lock: 16.0 MiB can not be locked in memory: Cannot "
                                     "allocate memory; RLIMIT_MEMLOCK is 64.0 KiB: raise it"));
    machine.memlock_bytes = RLIM_INFINITY;
    assert_int_equal(lock(), -ENOMEM);
    assert_non_null(strstr(sentence, "RLIMIT_MEMLOCK is no limit"));
    fail_nth("mmap", 1, EAGAIN);
    assert_int_equal(lock(), -EAGAIN);
    assert_true(fail_end());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(
            test_backing_check_takes_pages_that_are_free_and_promised_to_no_other, backing_setup),
        cmocka_unit_test_setup(test_backing_check_says_how_many_to_reserve, backing_setup),
        cmocka_unit_test_setup(test_backing_check_of_a_machine_without_such_pages_counts_none,
                               backing_setup),
        cmocka_unit_test_setup(test_backing_open_asks_for_pages_of_the_size_that_is_wanted,
                               backing_setup),
        cmocka_unit_test_setup(test_backing_open_without_a_file_says_why, backing_setup),
        cmocka_unit_test_setup(test_backing_adopt_keeps_the_pages_that_there_are, backing_setup),
        cmocka_unit_test_setup(test_backing_adopt_of_what_can_not_be_looked_at_changes_nothing,
                               backing_setup),
        cmocka_unit_test_setup(test_backing_check_knows_the_nodes_that_have_memory, backing_setup),
        cmocka_unit_test_setup(test_backing_check_of_more_nodes_than_there_can_be_takes_the_first,
                               backing_setup),
        cmocka_unit_test_setup(test_backing_check_without_a_word_of_nodes_knows_one, backing_setup),
        cmocka_unit_test_setup(test_backing_open_binds_to_one_node_or_to_all_in_turn,
                               backing_setup),
        cmocka_unit_test_setup(
            test_backing_open_whose_nodes_can_not_be_chosen_says_so_and_leaves_nothing,
            backing_setup),
        cmocka_unit_test_setup(test_backing_lock_locks_what_is_asked_for_and_can_be_swapped_out,
                               backing_setup),
        cmocka_unit_test_setup(test_backing_lock_that_fails_says_what_the_limit_is, backing_setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

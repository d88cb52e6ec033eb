/* SPDX-License-Identifier: MIT */
/*
 * test_memfd.c - what the files are like, and what happens when the system refuses any part of it
 *
 * What the kernel says of memory and control groups comes from strings: fopen() looks there first.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/memfd.h"
#include "tests/unit/captured.h"
#include "tests/unit/fail.h"
#include "tests/unit/unit.h"

#define N_BYTES (UINT64_C(1) << 20)

FAIL_WRAP(int, memfd_create, (const char *name, unsigned flags), (name, flags), -1)
FAIL_WRAP(int, ftruncate, (int fd, off_t n_bytes), (fd, n_bytes), -1)
FAIL_WRAP(int, fchmod, (int fd, mode_t mode), (fd, mode), -1)
FAIL_WRAP(pid_t, fork, (void), (), -1)
FAIL_WRAP(pid_t, waitpid, (pid_t pid, int *status, int flags), (pid, status, flags), -1)

int __real_fcntl(int fd, int command, ...);
int __wrap_fcntl(int fd, int command, int argument);
int __wrap_fcntl(int fd, int command, int argument)
{
    return fail_now("fcntl") ? -1 : __real_fcntl(fd, command, argument);
}

/* Returns its error instead of setting errno; or kills the caller, as a control group does. */
int __real_posix_fallocate(int fd, off_t at, off_t n_bytes);
int __wrap_posix_fallocate(int fd, off_t at, off_t n_bytes);
int __wrap_posix_fallocate(int fd, off_t at, off_t n_bytes)
{
    if (fail_now("posix_fallocate")) {
        return errno;
    }
    if (fail_now("out of memory killer")) {
        (void)raise(SIGKILL);
    }
    return __real_posix_fallocate(fd, at, n_bytes);
}

/* A file of /proc or /sys that says what a test wants. */
struct fake_file {
    const char *path;
    const char *text;
};

static const struct fake_file *fake_files;

FILE *__real_fopen(const char *path, const char *mode);
FILE *__wrap_fopen(const char *path, const char *mode);
FILE *__wrap_fopen(const char *path, const char *mode)
{
    for (const struct fake_file *file = fake_files; file && file->path; file++) {
        if (strcmp(file->path, path) == 0) {
            return fmemopen((void *)file->text, strlen(file->text), "r");
        }
    }
    errno = ENOENT;
    return fake_files ? NULL : __real_fopen(path, mode);
}

static int memfd_setup(void **state)
{
    fake_files = NULL;
    return 0;
}

static struct stat status_of(int fd)
{
    struct stat status;
    assert_int_equal(fstat(fd, &status), 0);
    return status;
}

/* ------------------------------------------------------------------------------------ open ---- */

static void test_memfd_open_makes_a_private_sparse_file_with_a_name(void **state)
{
    char link[64];
    char target[128] = "";

    const int fd = memfd_open("video", "segment", N_BYTES);

    assert_true(fd >= 0);
    assert_int_equal(status_of(fd).st_size, N_BYTES);
    assert_int_equal(status_of(fd).st_mode & 07777, 0600);
    assert_int_equal(status_of(fd).st_blocks, 0);
    assert_int_equal(fcntl(fd, F_GETFD, 0), FD_CLOEXEC);
    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    assert_true(readlink(link, target, sizeof(target) - 1) > 0);
    assert_string_equal(target, "/memfd:kmemd:video:segment (deleted)");
    assert_int_equal(close(fd), 0);
}

static void test_memfd_open_seals_against_shrinking_growing_and_sealing(void **state)
{
    const int fd = memfd_open("video", "segment", N_BYTES);
    assert_true(fd >= 0);

    assert_int_equal(fcntl(fd, F_GET_SEALS, 0), F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    assert_int_equal(ftruncate(fd, N_BYTES - 1), -1);
    assert_int_equal(errno, EPERM);
    assert_int_equal(ftruncate(fd, N_BYTES + 1), -1);
    assert_int_equal(errno, EPERM);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE), -1);
    assert_int_equal(errno, EPERM);
    assert_int_equal(close(fd), 0);
}

static void test_memfd_open_when_a_call_fails_says_so_and_leaves_nothing_open(void **state)
{
    const char *const calls[] = {"memfd_create", "ftruncate", "fcntl", "fchmod"};
    const unsigned n_fds = count_fds();

    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        fail_nth(calls[i], 1, EMFILE);
        assert_int_equal(memfd_open("video", "segment", N_BYTES), -EMFILE);
        assert_true(fail_end());
        assert_int_equal(count_fds(), n_fds);
    }
}

static void test_memfd_open_of_more_than_a_file_can_have_fails(void **state)
{
    const unsigned n_fds = count_fds();

    assert_true(memfd_open("video", "segment", UINT64_MAX) < 0);
    assert_int_equal(count_fds(), n_fds);
}

/* ---------------------------------------------------------------------------------- commit ---- */

static void test_memfd_commit_takes_all_of_the_memory(void **state)
{
    const int fd = memfd_open("video", "segment", N_BYTES);
    assert_true(fd >= 0);

    assert_int_equal(memfd_commit(fd, N_BYTES, -1), 0);

    assert_int_equal(status_of(fd).st_blocks, N_BYTES / 512);
    assert_int_equal(close(fd), 0);
}

static void test_memfd_commit_of_several_chunks_takes_all_of_the_memory(void **state)
{
    const uint64_t n_bytes = (UINT64_C(64) << 20) + 16384;
    const int fd = memfd_open("video", "segment", n_bytes);
    assert_true(fd >= 0);

    assert_int_equal(memfd_commit(fd, n_bytes, -1), 0);

    assert_int_equal(status_of(fd).st_blocks, n_bytes / 512);
    assert_int_equal(close(fd), 0);
}

static int commit_with(const char *call, int error)
{
    const int fd = memfd_open("video", "segment", N_BYTES);
    assert_true(fd >= 0);
    fail_nth(call, 1, error);
    const int r = memfd_commit(fd, N_BYTES, -1);
    (void)fail_end(); /* what fails in the child is not counted here */
    assert_int_equal(close(fd), 0);
    return r;
}

static void test_memfd_commit_says_what_the_child_could_not_do(void **state)
{
    assert_int_equal(commit_with("posix_fallocate", ENOSPC), -ENOMEM);
    assert_int_equal(commit_with("posix_fallocate", EPERM), -EPERM);
    assert_int_equal(commit_with("out of memory killer", 0), -ENOMEM);
    assert_int_equal(commit_with("fork", EAGAIN), -EAGAIN);
}

static void test_memfd_commit_waits_on_though_it_is_interrupted(void **state)
{
    assert_int_equal(commit_with("waitpid", EINTR), 0);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no child is left */
    assert_int_equal(errno, ECHILD);
}

static void test_memfd_commit_that_can_not_wait_fails(void **state)
{
    assert_int_equal(commit_with("waitpid", ECHILD), -ECHILD);
    assert_true(waitpid(-1, NULL, 0) > 0);
}

/* ------------------------------------------------------------------------------------ room ---- */

static struct free_memory room_of(const struct fake_file *files)
{
    struct free_memory memory;
    fake_files = files;
    free_memory_read(&memory);
    fake_files = NULL;
    return memory;
}

static void test_free_memory_read_of_this_machine_is_more_than_nothing(void **state)
{
    struct free_memory memory;

    free_memory_read(&memory);

    assert_in_range(memory.available_bytes, 1 << 20, UINT64_C(1) << 50);
    assert_true(memory.cgroup_bytes > 0);
}

static void test_free_memory_read_takes_what_the_kernel_calls_available(void **state)
{
    const struct free_memory memory = room_of((const struct fake_file[]){
        {"/proc/meminfo", "MemTotal:  100 kB\nMemFree:  50 kB\nMemAvailable:   75 kB\n"},
        {NULL, NULL}});

    assert_int_equal(memory.available_bytes, 75 * 1024);
    assert_int_equal(memory.cgroup_bytes, UINT64_MAX);
}

static void test_free_memory_read_of_nothing_is_without_limits(void **state)
{
    const struct free_memory memory =
        room_of((const struct fake_file[]){{"/proc/meminfo", "MemTotal: 1 kB\n"}, {NULL, NULL}});

    assert_int_equal(memory.available_bytes, UINT64_MAX);
    assert_int_equal(memory.cgroup_bytes, UINT64_MAX);
}

static void test_free_memory_read_finds_the_narrowest_group(void **state)
{
    const struct free_memory memory = room_of(
        (const struct fake_file[]){{"/proc/self/cgroup", "1:name=old:/somewhere\n0::/a/b/c\n"},
                                   {"/sys/fs/cgroup/a/b/c/memory.max", "max\n"},
                                   {"/sys/fs/cgroup/a/b/c/memory.current", "10\n"},
                                   {"/sys/fs/cgroup/a/b/memory.max", "1000\n"},
                                   {"/sys/fs/cgroup/a/b/memory.current", "100\n"},
                                   {"/sys/fs/cgroup/a/memory.max", "5000\n"},
                                   {"/sys/fs/cgroup/a/memory.current", "4500\n"},
                                   {NULL, NULL}});

    assert_int_equal(memory.cgroup_bytes, 500);
}

static void test_free_memory_read_of_the_root_group(void **state)
{
    const struct free_memory memory = room_of((const struct fake_file[]){
        {"/proc/self/cgroup", "0::/\n"}, {"/sys/fs/cgroup/memory.max", "1000\n"}, {NULL, NULL}});

    assert_int_equal(memory.cgroup_bytes, 1000); /* nobody says how much is used */
}

static void test_free_memory_read_of_a_group_beyond_its_limit_is_none(void **state)
{
    const struct free_memory memory =
        room_of((const struct fake_file[]){{"/proc/self/cgroup", "0::/a\n"},
                                           {"/sys/fs/cgroup/a/memory.max", "1000\n"},
                                           {"/sys/fs/cgroup/a/memory.current", "1001\n"},
                                           {NULL, NULL}});

    assert_int_equal(memory.cgroup_bytes, 0);
}

static void test_free_memory_read_does_not_count_what_repeats_files(void **state)
{
    const struct free_memory memory = room_of((const struct fake_file[]){
        {"/proc/self/cgroup", "0::/a\n"},
        {"/sys/fs/cgroup/a/memory.max", "1000\n"},
        {"/sys/fs/cgroup/a/memory.current", "990\n"},
        {"/sys/fs/cgroup/a/memory.stat",
         "anon 90\nfile 900\nshmem 100\ninactive_file 500\nactive_file 300\n"},
        {NULL, NULL}});

    assert_int_equal(memory.cgroup_bytes, 1000 - (990 - 800));
}

static void test_free_memory_check_says_what_is_in_the_way(void **state)
{
    const struct free_memory memory = {.available_bytes = 3 << 20, .cgroup_bytes = 2 << 20};
    const struct free_memory no_group = {.available_bytes = 3 << 20, .cgroup_bytes = UINT64_MAX};
    char sentence[256] = "";

    assert_int_equal(free_memory_check(&memory, 2 << 20, sentence, sizeof(sentence)), 0);
    assert_string_equal(sentence, "");
    assert_int_equal(free_memory_check(&memory, (2 << 20) + 1, sentence, sizeof(sentence)),
                     -ENOMEM);
    assert_string_equal(sentence, "cannot commit 2.0 MiB: the memory cgroup has room for 2.0 MiB; "
                                  "lower --size, or raise memory.max");
    assert_int_equal(free_memory_check(&no_group, 3 << 20, sentence, sizeof(sentence)), 0);
    assert_int_equal(free_memory_check(&no_group, 4 << 20, sentence, sizeof(sentence)), -ENOMEM);
    assert_string_equal(sentence,
                        "cannot commit 4.0 MiB: the machine has 3.0 MiB available; lower --size");
}

#define MEMFILE_TEST(test) cmocka_unit_test_setup(test, memfd_setup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        MEMFILE_TEST(test_memfd_open_makes_a_private_sparse_file_with_a_name),
        MEMFILE_TEST(test_memfd_open_seals_against_shrinking_growing_and_sealing),
        MEMFILE_TEST(test_memfd_open_when_a_call_fails_says_so_and_leaves_nothing_open),
        MEMFILE_TEST(test_memfd_open_of_more_than_a_file_can_have_fails),
        MEMFILE_TEST(test_memfd_commit_takes_all_of_the_memory),
        MEMFILE_TEST(test_memfd_commit_of_several_chunks_takes_all_of_the_memory),
        MEMFILE_TEST(test_memfd_commit_says_what_the_child_could_not_do),
        MEMFILE_TEST(test_memfd_commit_waits_on_though_it_is_interrupted),
        MEMFILE_TEST(test_memfd_commit_that_can_not_wait_fails),
        MEMFILE_TEST(test_free_memory_read_of_this_machine_is_more_than_nothing),
        MEMFILE_TEST(test_free_memory_read_takes_what_the_kernel_calls_available),
        MEMFILE_TEST(test_free_memory_read_of_nothing_is_without_limits),
        MEMFILE_TEST(test_free_memory_read_finds_the_narrowest_group),
        MEMFILE_TEST(test_free_memory_read_of_the_root_group),
        MEMFILE_TEST(test_free_memory_read_of_a_group_beyond_its_limit_is_none),
        MEMFILE_TEST(test_free_memory_read_does_not_count_what_repeats_files),
        MEMFILE_TEST(test_free_memory_check_says_what_is_in_the_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

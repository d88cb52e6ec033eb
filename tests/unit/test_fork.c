/* SPDX-License-Identifier: MIT */
/*
 * What a forked child may do, and what it must not do to its parent. The daemon runs in the parent;
 * a child reports by its exit status, for an assertion in it would end in the parent's place.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <kmem/kmem.h>

#include "tests/unit/fake_daemon.h"
#include "tests/unit/unit.h"

/* In a child. */
#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "child, line %d: %s: %s\n", __LINE__, #condition, kmem_last_error());  \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

/* Long enough for any machine; a child that hangs is a failure, not a hanging test. */
#define CHILD_SECONDS 600

/* The parent's block, filled with a text. */
static char *parents;
static uint64_t parents_offset;

static int start_daemon(void **state)
{
    (void)setenv("KMEM_TIMEOUT_MS", "60000", 1);
    fake_daemon_start();
    parents = kmem_try_allocate(44, "parent");
    if (parents == NULL) {
        return -1;
    }
    parents_offset = kmem_offset_of(parents);
    (void)snprintf(parents, 44, "written by the parent");
    return 0;
}

static int stop_daemon(void **state)
{
    int r = kmem_close();
    fake_daemon_stop();
    return r == 0 || r == -ECONNRESET ? 0 : r;
}

static void assert_exits_with_0(pid_t child)
{
    int status = 0;
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void run_in_child(void (*function)(void))
{
    pid_t child = fork();
    if (child == 0) {
        (void)alarm(CHILD_SECONDS);
        function();
        _exit(0);
    }
    assert_exits_with_0(child);
}

/* --------------------------------------------------------------------- the parent's blocks ---- */

static void read_and_write_the_parents(void)
{
    CHECK(strcmp(parents, "written by the parent") == 0);
    CHECK(kmem_offset_of(parents) == parents_offset);
    (void)snprintf(parents, 44, "written by the child");
}

static void test_child_reads_and_writes_its_parents_block(void **state)
{
    run_in_child(read_and_write_the_parents);
    assert_string_equal(parents, "written by the child");
}

static void release_the_parents(void)
{
    void *pointer = parents;
    size_t num_bytes = 77;
    CHECK(kmem_try_release(&pointer) == -EPERM);
    CHECK(pointer == parents);
    CHECK(strstr(kmem_last_error(), "the child of a fork owns none of its parent's blocks"));
    CHECK(kmem_try_sizeof(parents, &num_bytes) == -EPERM);
    CHECK(num_bytes == 77);
}

static void test_child_releasing_its_parents_block_is_EPERM(void **state)
{
    run_in_child(release_the_parents);
    void *pointer = parents;
    assert_int_equal(kmem_try_release(&pointer), 0);
}

/* ------------------------------------------------------------------------- the child's own ---- */

static void use_blocks_of_ones_own(void)
{
    char *block = kmem_try_allocate(101, "child");
    size_t num_bytes = 0;
    CHECK(block != NULL);
    CHECK(kmem_try_sizeof(block, &num_bytes) == 0);
    CHECK(num_bytes == 101);
    /* One mapping: an address means the same block in both processes. */
    CHECK((uint64_t)(block - parents) == kmem_offset_of(block) - parents_offset);
    void *pointer = block;
    CHECK(kmem_try_release(&pointer) == 0);
    CHECK(strcmp(parents, "written by the parent") == 0);
}

static void test_child_connects_anew_on_its_first_call(void **state)
{
    run_in_child(use_blocks_of_ones_own);
    assert_int_equal(fake_daemon_n_peers(), 2);
    assert_int_equal(fake_daemon_n_live(), 1);
    assert_non_null(kmem_try_allocate(44, "the parent goes on"));
}

static void test_child_without_fork_handlers_connects_anew(void **state)
{
    pid_t child = _Fork();
    if (child == 0) {
        (void)alarm(CHILD_SECONDS);
        use_blocks_of_ones_own();
        _exit(0);
    }
    assert_exits_with_0(child);
}

static void fork_again(void)
{
    CHECK(kmem_try_allocate(1, "child") != NULL);
    pid_t grandchild = fork();
    int status = 0;
    if (grandchild == 0) {
        (void)alarm(CHILD_SECONDS);
        use_blocks_of_ones_own();
        release_the_parents();
        _exit(0);
    }
    CHECK(waitpid(grandchild, &status, 0) == grandchild);
    CHECK(status == 0);
    CHECK(kmem_try_allocate(1, "child") != NULL);
}

static void test_grandchild_connects_anew(void **state)
{
    run_in_child(fork_again);
    assert_int_equal(fake_daemon_n_peers(), 3);
}

static void allocate_with_the_lock_held(void)
{
    CHECK(kmem_try_allocate(44, "not held up") != NULL);
}

static atomic_bool is_asked;
static atomic_bool may_answer;

/* Keeps the parent's other thread in the middle of a round trip. */
static bool answer_when_told(struct fake_peer *peer, const Kmem__Request *request)
{
    if (peer->number == 0 && request->body_case == KMEM__REQUEST__BODY_ALLOCATE) {
        atomic_store(&is_asked, true);
        while (!atomic_load(&may_answer)) {
            (void)usleep(1000);
        }
    }
    return false;
}

static void *allocate_in_thread(void *user)
{
    (void)user;
    return kmem_try_allocate(44, "thread");
}

static void test_child_does_not_inherit_a_held_lock(void **state)
{
    pthread_t thread;
    void *block = NULL;
    atomic_store(&is_asked, false);
    atomic_store(&may_answer, false);
    fake_daemon_hook(answer_when_told);
    assert_int_equal(pthread_create(&thread, NULL, allocate_in_thread, NULL), 0);
    while (!atomic_load(&is_asked)) {
        (void)usleep(1000);
    }

    run_in_child(allocate_with_the_lock_held);

    atomic_store(&may_answer, true);
    assert_int_equal(pthread_join(thread, &block), 0);
    assert_non_null(block);
}

static void close_in_child(void)
{
    CHECK(kmem_close() == 0);
    CHECK(kmem_offset_of(parents) == 0); /* unmapped, in the child */
    CHECK(kmem_try_allocate(44, "anew") != NULL);
}

static void test_child_that_closes_leaves_its_parent_alone(void **state)
{
    run_in_child(close_in_child);
    assert_string_equal(parents, "written by the parent");
    void *pointer = parents;
    assert_int_equal(kmem_try_release(&pointer), 0);
}

/* ------------------------------------------------------------------------- another segment ---- */

static void meet_another_segment(void)
{
    void *pointer = parents;
    char *block = kmem_try_allocate(44, "in the new one");
    CHECK(block != NULL);
    CHECK(kmem_offset_of(block) == PAGE_BYTES);
    CHECK(strcmp(parents, "written by the parent") == 0);
    CHECK(block != parents);
    CHECK(kmem_offset_of(parents) == 0);
    CHECK(kmem_try_release(&pointer) == -EPERM);
    CHECK(pointer == parents);
    CHECK(strstr(kmem_last_error(), "owns none of its parent's blocks"));
    CHECK(kmem_close() == 0);
}

static void test_child_that_meets_another_segment_maps_it_beside(void **state)
{
    fake_daemon_replace_segment();
    run_in_child(meet_another_segment);
    assert_string_equal(parents, "written by the parent");
}

/* ----------------------------------------------------------------------------- descriptors ---- */

static unsigned int count_sockets(void)
{
    unsigned int n_sockets = 0;
    DIR *directory = opendir("/proc/self/fd");
    CHECK(directory != NULL);
    for (struct dirent *entry = readdir(directory); entry != NULL; entry = readdir(directory)) {
        char path[300];
        char target[300] = "";
        (void)snprintf(path, sizeof(path), "/proc/self/fd/%s", entry->d_name);
        n_sockets +=
            readlink(path, target, sizeof(target) - 1) > 0 && strncmp(target, "socket:", 7) == 0;
    }
    (void)closedir(directory);
    return n_sockets;
}

static void count_sockets_around_the_first_call(void)
{
    unsigned int n_before = count_sockets();
    CHECK(kmem_try_allocate(44, "child") != NULL);
    /* The parent's connection is closed, the child's is open. */
    CHECK(count_sockets() == n_before);
}

static atomic_uint n_first_peer;

static bool count_first_peer(struct fake_peer *peer, const Kmem__Request *request)
{
    (void)request;
    atomic_fetch_add(&n_first_peer, peer->number == 0);
    return false;
}

static void test_child_closes_the_inherited_connection_without_a_word(void **state)
{
    atomic_store(&n_first_peer, 0);
    fake_daemon_hook(count_first_peer);

    run_in_child(count_sockets_around_the_first_call);
    run_in_child(close_in_child);

    assert_int_equal(atomic_load(&n_first_peer), 0);
    assert_non_null(kmem_try_allocate(4000, "the parent's still works")); /* another size: direct */
    assert_int_equal(atomic_load(&n_first_peer), 1);
}

/* Beyond what the test has open. */
#define FDS_MAX 64

static void replace_all_descriptors(void)
{
    for (int old = 3; old < FDS_MAX; old++) {
        (void)close(old);
    }
    /* Sockets, as the connection was; one of them has its number now. */
    int fd = 0;
    while (fd >= 0 && fd < FDS_MAX - 1) {
        fd = socket(AF_UNIX, SOCK_STREAM, 0);
    }

    CHECK(kmem_try_allocate(44, "child") != NULL);
    CHECK(kmem_close() == 0);

    for (fd = 3; fd < FDS_MAX; fd++) {
        CHECK(fcntl(fd, F_GETFD) >= 0);
    }
}

static void test_child_keeps_descriptors_that_are_its_own(void **state)
{
    run_in_child(replace_all_descriptors);
}

static void test_exec_inherits_no_descriptor(void **state)
{
    static char shell[] = "sh";
    static char option[] = "-c";
    static char script[] = "for n in 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do"
                           "    readlink /proc/self/fd/$n;"
                           "done | grep -E 'socket:|memfd:' && exit 1; exit 0";
    static char path[] = "PATH=/usr/bin:/bin";
    char *const arguments[] = {shell, option, script, NULL};
    char *const environment[] = {path, NULL};
    pid_t child = -1;
    assert_int_equal(posix_spawn(&child, "/bin/sh", NULL, NULL, arguments, environment), 0);
    assert_exits_with_0(child);
}

#define FORK_TEST(function) cmocka_unit_test_setup_teardown(function, start_daemon, stop_daemon)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FORK_TEST(test_child_reads_and_writes_its_parents_block),
        FORK_TEST(test_child_releasing_its_parents_block_is_EPERM),
        FORK_TEST(test_child_connects_anew_on_its_first_call),
        FORK_TEST(test_child_without_fork_handlers_connects_anew),
        FORK_TEST(test_grandchild_connects_anew),
        FORK_TEST(test_child_does_not_inherit_a_held_lock),
        FORK_TEST(test_child_that_closes_leaves_its_parent_alone),
        FORK_TEST(test_child_that_meets_another_segment_maps_it_beside),
        FORK_TEST(test_child_closes_the_inherited_connection_without_a_word),
        FORK_TEST(test_child_keeps_descriptors_that_are_its_own),
        FORK_TEST(test_exec_inherits_no_descriptor),
    };
    return cmocka_run_group_tests_name("fork", tests, NULL, NULL);
}

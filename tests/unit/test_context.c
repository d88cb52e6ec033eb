/* SPDX-License-Identifier: MIT */
/*
 * Joining, leaving, threads. test_fork.c has the children.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <kmem/kmem.h>

#include "tests/unit/fake_daemon.h"
#include "tests/unit/unit.h"

#define N_THREADS 8

/* The call of this thread, counted from now on, that fails; 0: none. The daemon has its own. */
static _Thread_local unsigned int mmap_fails_at;
static _Thread_local unsigned int madvise_fails_at;

void *__real_mmap(void *address, size_t n_bytes, int access, int flags, int fd, off_t offset);
void *__wrap_mmap(void *address, size_t n_bytes, int access, int flags, int fd, off_t offset);
int __real_madvise(void *address, size_t n_bytes, int advice);
int __wrap_madvise(void *address, size_t n_bytes, int advice);

void *__wrap_mmap(void *address, size_t n_bytes, int access, int flags, int fd, off_t offset)
{
    if (mmap_fails_at > 0 && --mmap_fails_at == 0) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    return __real_mmap(address, n_bytes, access, flags, fd, offset);
}

int __wrap_madvise(void *address, size_t n_bytes, int advice)
{
    if (madvise_fails_at > 0 && --madvise_fails_at == 0) {
        errno = EINVAL;
        return -1;
    }
    return __real_madvise(address, n_bytes, advice);
}

static int start_daemon(void **state)
{
    (void)setenv("KMEM_TIMEOUT_MS", "60000", 1);
    fake_daemon_start();
    return 0;
}

static int stop_daemon(void **state)
{
    int r = kmem_close();
    fake_daemon_stop();
    return r == 0 || r == -ECONNRESET ? 0 : r;
}

/* -------------------------------------------------------------------------- the first call ---- */

/* These two come first: what they make fail is made once in a process. */
static void test_first_call_without_memory_is_ENOMEM(void **state)
{
    mmap_fails_at = 1;
    assert_null(kmem_try_allocate(44, "early"));
    assert_int_equal(errno, ENOMEM);
    assert_int_equal(mmap_fails_at, 0);
    assert_int_equal(fake_daemon_n_peers(), 0);
}

static void test_first_call_on_an_old_kernel_is_ENOSYS(void **state)
{
    madvise_fails_at = 1;
    assert_null(kmem_try_allocate(44, "early"));
    assert_int_equal(errno, ENOSYS);
    assert_int_equal(madvise_fails_at, 0);
    assert_non_null(strstr(kmem_last_error(), "Linux 4.14 is needed"));
}

static void wait_for_no_peer(void)
{
    while (fake_daemon_n_open() > 0) {
        (void)usleep(1000);
    }
}

/* Return: whether the first call needed an nth mapping, and failed without it. */
static bool fails_without_mapping(unsigned int nth)
{
    mmap_fails_at = nth;
    const bool has_failed = kmem_try_allocate(44, "no address space") == NULL;
    const int error = errno;
    assert_int_equal(mmap_fails_at == 0, has_failed);
    mmap_fails_at = 0;
    if (has_failed) {
        assert_int_equal(error, ENOMEM);
    }
    assert_int_equal(kmem_close(), 0);
    wait_for_no_peer();
    return has_failed;
}

static void test_first_call_that_can_not_map_leaves_nothing_open(void **state)
{
    assert_non_null(kmem_try_allocate(44, "warm up"));
    assert_int_equal(kmem_close(), 0);
    wait_for_no_peer();
    const unsigned int n_before = fake_count_fds();
    unsigned int nth = 1;
    while (fails_without_mapping(nth)) {
        /* The daemon's end of each connection stays until the daemon is stopped. */
        assert_int_equal(fake_count_fds(), n_before + nth);
        nth++;
    }
    /* The addresses, the segment, the ledger and the clock at least. */
    assert_true(nth > 4);
    assert_non_null(kmem_try_allocate(44, "now there is"));
}

static pthread_barrier_t barrier;

static void *allocate_at_once(void *user)
{
    (void)user;
    (void)pthread_barrier_wait(&barrier);
    return kmem_try_allocate(44, "at once");
}

static void test_first_call_of_many_threads_connects_once(void **state)
{
    pthread_t threads[N_THREADS];
    assert_int_equal(pthread_barrier_init(&barrier, NULL, N_THREADS), 0);
    for (unsigned int i = 0; i < N_THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, allocate_at_once, NULL), 0);
    }
    for (unsigned int i = 0; i < N_THREADS; i++) {
        void *block = NULL;
        assert_int_equal(pthread_join(threads[i], &block), 0);
        assert_non_null(block);
    }
    (void)pthread_barrier_destroy(&barrier);

    assert_int_equal(fake_daemon_n_peers(), 1);
    assert_int_equal(fake_daemon_n_live(), N_THREADS);
}

static void test_zero_bytes_are_an_unlocked_mutex_and_a_quiet_condition(void **state)
{
    /* What a forked child finds in place of its parent's lock. */
    const pthread_mutex_t unlocked = PTHREAD_MUTEX_INITIALIZER;
    const pthread_cond_t quiet = PTHREAD_COND_INITIALIZER;
    const unsigned char zeros[sizeof(unlocked) + sizeof(quiet)] = {0};
    assert_memory_equal(&unlocked, zeros, sizeof(unlocked));
    assert_memory_equal(&quiet, zeros, sizeof(quiet));
}

/* --------------------------------------------------------------------------------- threads ---- */

static void *allocate_and_release(void *user)
{
    unsigned int number = *(const unsigned int *)user;
    for (unsigned int i = 0; i < 200; i++) {
        size_t n_bytes = 1 + (number * 31 + i * 7) % 500;
        size_t said_bytes = 0;
        char *block = kmem_try_allocate(n_bytes, "thread");
        if (block == NULL || block[0] != 0 || block[n_bytes - 1] != 0) {
            return NULL;
        }
        memset(block, (int)number + 1, n_bytes);
        if (kmem_try_sizeof(block, &said_bytes) != 0 || said_bytes != n_bytes ||
            block[n_bytes / 2] != (char)(number + 1) || kmem_offset_of(block) == 0) {
            return NULL;
        }
        void *release = block;
        if (kmem_try_release(&release) != 0) {
            return NULL;
        }
    }
    return user;
}

static void test_threads_take_turns(void **state)
{
    pthread_t threads[N_THREADS];
    unsigned int numbers[N_THREADS];
    for (unsigned int i = 0; i < N_THREADS; i++) {
        numbers[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, allocate_and_release, &numbers[i]), 0);
    }
    for (unsigned int i = 0; i < N_THREADS; i++) {
        void *result = NULL;
        assert_int_equal(pthread_join(threads[i], &result), 0);
        assert_non_null(result);
    }
    assert_int_equal(fake_daemon_n_live(), 0);
    assert_int_equal(fake_daemon_n_peers(), 1);
}

static atomic_bool is_asked;
static atomic_bool may_answer;

static bool answer_when_told(struct fake_peer *peer, const Kmem__Request *request)
{
    (void)peer;
    if (request->body_case == KMEM__REQUEST__BODY_ALLOCATE) {
        atomic_store(&is_asked, true);
        while (!atomic_load(&may_answer)) {
            (void)usleep(1000);
        }
    }
    return false;
}

static void *allocate_one(void *user)
{
    (void)user;
    void *block = kmem_try_allocate(44, "cancelled");
    pthread_testcancel();
    return block;
}

static void test_cancelled_thread_finishes_its_turn(void **state)
{
    pthread_t thread;
    void *result = NULL;
    atomic_store(&is_asked, false);
    atomic_store(&may_answer, false);
    fake_daemon_hook(answer_when_told);
    assert_int_equal(pthread_create(&thread, NULL, allocate_one, NULL), 0);
    while (!atomic_load(&is_asked)) {
        (void)usleep(1000);
    }

    assert_int_equal(pthread_cancel(thread), 0);

    atomic_store(&may_answer, true);
    assert_int_equal(pthread_join(thread, &result), 0);
    assert_ptr_equal(result, PTHREAD_CANCELED);
    assert_int_equal(fake_daemon_n_live(), 1);
    assert_non_null(kmem_try_allocate(44, "the lock is free"));
}

/* ----------------------------------------------------------------------------------- close ---- */

static void test_close_without_connection_is_0(void **state)
{
    assert_int_equal(kmem_close(), 0);
    assert_int_equal(kmem_close(), 0);
    assert_int_equal(fake_daemon_n_peers(), 0);
}

static void test_close_gives_everything_back(void **state)
{
    void *block = kmem_try_allocate(44, "left behind");
    assert_non_null(block);
    errno = 4242;

    assert_int_equal(kmem_close(), 0);

    assert_int_equal(errno, 4242);
    assert_int_equal(fake_daemon_n_live(), 0);
    assert_int_equal(kmem_offset_of(block), 0);
}

static void test_close_closes_and_unmaps(void **state)
{
    unsigned int n_before = fake_count_fds();
    unsigned char is_resident = 0;
    void *block = kmem_try_allocate(44, "mapped");
    assert_non_null(block);
    void *page = (void *)((uintptr_t)block & ~(uintptr_t)4095);
    assert_int_equal(mincore(page, 1, &is_resident), 0);

    assert_int_equal(kmem_close(), 0);

    assert_int_equal(mincore(page, 1, &is_resident), -1);
    assert_int_equal(errno, ENOMEM);
    assert_int_equal(fake_count_fds(), n_before + 1); /* the daemon's end */
}

static void test_close_then_the_next_call_connects_anew(void **state)
{
    assert_non_null(kmem_try_allocate(44, "first"));
    assert_int_equal(kmem_close(), 0);

    void *block = kmem_try_allocate(101, "second");

    assert_non_null(block);
    assert_int_equal(fake_daemon_n_peers(), 2);
    assert_int_equal(fake_daemon_n_live(), 1);
    assert_int_equal(kmem_try_release(&block), 0);
}

static void test_close_after_the_daemons_end_is_ECONNRESET(void **state)
{
    assert_non_null(kmem_try_allocate(44, "first"));
    fake_daemon_stop();
    unsigned int n_before = fake_count_fds();

    assert_int_equal(kmem_close(), -ECONNRESET);

    assert_non_null(strstr(kmem_last_error(), "kmem_close: "));
    assert_int_equal(fake_count_fds(), n_before - 2); /* it has left all the same */
    assert_int_equal(kmem_close(), 0);
    fake_daemon_start();
    assert_non_null(kmem_try_allocate(44, "of another daemon"));
}

static bool ignore_goodbye(struct fake_peer *peer, const Kmem__Request *request)
{
    (void)peer;
    return request->body_case == KMEM__REQUEST__BODY_GOODBYE;
}

static void test_close_unanswered_is_ETIMEDOUT(void **state)
{
    (void)setenv("KMEM_TIMEOUT_MS", "2000", 1);
    fake_daemon_hook(ignore_goodbye);
    void *block = kmem_try_allocate(44, "first");
    assert_non_null(block);

    assert_int_equal(kmem_close(), -ETIMEDOUT);

    assert_int_equal(kmem_offset_of(block), 0);
    assert_int_equal(kmem_close(), 0);
}

static bool refuse_goodbye(struct fake_peer *peer, const Kmem__Request *request)
{
    if (request->body_case != KMEM__REQUEST__BODY_GOODBYE) {
        return false;
    }
    fake_send_error(peer, request, KMEM__ERROR_CODE__ERROR_BUSY, "stay");
    return true;
}

static void test_close_refused_leaves_all_the_same(void **state)
{
    fake_daemon_hook(refuse_goodbye);
    void *block = kmem_try_allocate(44, "first");
    assert_non_null(block);
    assert_int_equal(kmem_close(), -ECONNRESET);
    assert_int_equal(kmem_offset_of(block), 0);
}

#define CONTEXT_TEST(function) cmocka_unit_test_setup_teardown(function, start_daemon, stop_daemon)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CONTEXT_TEST(test_close_without_connection_is_0),
        CONTEXT_TEST(test_first_call_without_memory_is_ENOMEM),
        CONTEXT_TEST(test_first_call_on_an_old_kernel_is_ENOSYS),
        CONTEXT_TEST(test_first_call_of_many_threads_connects_once),
        CONTEXT_TEST(test_first_call_that_can_not_map_leaves_nothing_open),
        CONTEXT_TEST(test_zero_bytes_are_an_unlocked_mutex_and_a_quiet_condition),
        CONTEXT_TEST(test_threads_take_turns),
        CONTEXT_TEST(test_cancelled_thread_finishes_its_turn),
        CONTEXT_TEST(test_close_gives_everything_back),
        CONTEXT_TEST(test_close_closes_and_unmaps),
        CONTEXT_TEST(test_close_then_the_next_call_connects_anew),
        CONTEXT_TEST(test_close_after_the_daemons_end_is_ECONNRESET),
        CONTEXT_TEST(test_close_unanswered_is_ETIMEDOUT),
        CONTEXT_TEST(test_close_refused_leaves_all_the_same),
    };
    return cmocka_run_group_tests_name("context", tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * A program that knows nothing of kmem and forks while it has threads. It is run by `kmemctl run
 * --malloc`; each test is a process of its own.
 *
 *      forks_threads TEST
 */
#include <errno.h>
#include <pthread.h>
#include <pwd.h>
#include <stdatomic.h>
#include <stdint.h>

#include "tests/examples/malloc/forks.h"

static atomic_bool is_over;
static atomic_uint n_begun;

static void *churn(void *seed)
{
    unsigned int state = (unsigned int)(uintptr_t)seed;
    unsigned char *blocks[200] = {NULL};
    size_t num_bytes[200] = {0};
    while (!atomic_load(&is_over)) {
        const size_t i = (size_t)rand_r(&state) % 200;
        for (size_t k = 0; k < num_bytes[i]; k += 100) {
            assert_true(blocks[i][k] == (unsigned char)i);
        }
        free(blocks[i]);
        num_bytes[i] = size_of((size_t)rand_r(&state) % (N_SMALL + 2));
        blocks[i] = malloc(num_bytes[i]);
        assert_true(blocks[i] != NULL);
        memset(blocks[i], (int)i, num_bytes[i]);
        atomic_fetch_add(&n_begun, 1);
    }
    for (size_t i = 0; i < 200; i++) {
        free(blocks[i]);
    }
    return NULL;
}

static void begin_threads(pthread_t *threads, size_t n, void *(*run)(void *))
{
    atomic_store(&is_over, false);
    atomic_store(&n_begun, 0);
    for (size_t i = 0; i < n; i++) {
        assert_true(pthread_create(&threads[i], NULL, run, (void *)(uintptr_t)(i + 1)) == 0);
    }
    while (atomic_load(&n_begun) < 1000) {
        (void)usleep(1000);
    }
}

static void end_threads(const pthread_t *threads, size_t n)
{
    atomic_store(&is_over, true);
    for (size_t i = 0; i < n; i++) {
        assert_true(pthread_join(threads[i], NULL) == 0);
    }
}

static void test_forks_while_threads_allocate(void)
{
    pthread_t threads[3];
    struct heap *heap = heap_new(1);
    begin_threads(threads, 3, churn);
    for (int i = 0; i < 20; i++) {
        const pid_t pid = fork();
        if (pid == 0) {
            assert_true(heap_has(heap, 1));
            heap_fill(heap, 9);
            heap_free(heap_new(2));
            heap_free(heap);
            _exit(0);
        }
        expect_success(pid);
    }
    end_threads(threads, 3);
    assert_true(heap_has(heap, 1));
    heap_free(heap);
}

static void *fork_often(void *mark)
{
    struct heap *heap = heap_new((unsigned char)(uintptr_t)mark);
    for (int i = 0; i < 10; i++) {
        const pid_t pid = fork();
        if (pid == 0) {
            assert_true(heap_has(heap, (unsigned char)(uintptr_t)mark));
            heap_free(heap);
            free(malloc(1000));
            _exit(0);
        }
        expect_success(pid);
    }
    atomic_fetch_add(&n_begun, 1000);
    heap_free(heap);
    return NULL;
}

static void test_threads_that_fork_at_the_same_time_have_a_copy_each(void)
{
    pthread_t threads[3];
    begin_threads(threads, 3, fork_often);
    end_threads(threads, 3);
}

static FILE *shared_file;

/* Each line is written with the file locked, in two steps. */
static void *write_lines(void *unused)
{
    static int n_inside;
    (void)unused;
    while (!atomic_load(&is_over)) {
        flockfile(shared_file);
        assert_true(n_inside++ == 0);
        (void)fputs_unlocked("one line, ", shared_file);
        (void)fputs_unlocked("in two steps\n", shared_file);
        assert_true(--n_inside == 0);
        funlockfile(shared_file);
        atomic_fetch_add(&n_begun, 1);
    }
    return NULL;
}

/* libc unlocks them all in the child, in whatever memory they are. */
static void test_files_that_threads_have_locked_stay_locked(void)
{
    pthread_t threads[2];
    shared_file = fopen("/dev/null", "w");
    assert_true(shared_file != NULL);
    begin_threads(threads, 2, write_lines);
    for (int i = 0; i < 100; i++) {
        const pid_t pid = fork();
        if (pid == 0) {
            (void)fputs("the child's\n", shared_file); /* whoever had it locked */
            _exit(0);
        }
        expect_success(pid);
    }
    end_threads(threads, 2);
    assert_true(fclose(shared_file) == 0);
}

static void look_up_name(void)
{
    struct passwd user;
    struct passwd *found = NULL;
    char bytes[4000];
    assert_true(getpwnam_r("root", &user, bytes, sizeof(bytes), &found) == 0);
    assert_true(found != NULL);
}

static void *look_up_often(void *unused)
{
    (void)unused;
    while (!atomic_load(&is_over)) {
        look_up_name();
        atomic_fetch_add(&n_begun, 100);
    }
    return NULL;
}

/* libc unlocks its table of name services in the child, in whatever memory it is. */
static void test_children_of_threads_that_look_up_names_can_do_so(void)
{
    pthread_t threads[3];
    begin_threads(threads, 3, look_up_often);
    for (int i = 0; i < 100; i++) {
        const pid_t pid = fork();
        if (pid == 0) {
            (void)alarm(60); /* it would wait for ever */
            look_up_name();
            _exit(0);
        }
        expect_success(pid);
    }
    end_threads(threads, 3);
}

#define N_KEYS 100

static pthread_key_t keys[N_KEYS];

static void *keep_values(void *number)
{
    for (uintptr_t i = 0; i < N_KEYS; i++) {
        assert_true(pthread_setspecific(keys[i], (void *)((uintptr_t)number * 1000 + i)) == 0);
    }
    atomic_fetch_add(&n_begun, 500);
    while (!atomic_load(&is_over)) {
        (void)usleep(1000);
    }
    for (uintptr_t i = 0; i < N_KEYS; i++) {
        assert_true((uintptr_t)pthread_getspecific(keys[i]) == (uintptr_t)number * 1000 + i);
    }
    return NULL;
}

/* libc clears those of all other threads in the child, in whatever memory they are. */
static void test_threads_keep_what_pthread_setspecific_gave_them(void)
{
    pthread_t threads[2];
    for (size_t i = 0; i < N_KEYS; i++) {
        assert_true(pthread_key_create(&keys[i], NULL) == 0);
    }
    begin_threads(threads, 2, keep_values);
    const pid_t pid = fork();
    if (pid == 0) {
        _exit(0);
    }
    expect_success(pid);
    end_threads(threads, 2);
}

static void *allocate_once(void *unused)
{
    (void)unused;
    free(malloc(1000));
    return NULL;
}

static void *make_threads(void *unused)
{
    pthread_t thread;
    (void)unused;
    while (!atomic_load(&is_over)) {
        assert_true(pthread_create(&thread, NULL, allocate_once, NULL) == 0);
        assert_true(pthread_join(thread, NULL) == 0);
        atomic_fetch_add(&n_begun, 1);
    }
    return NULL;
}

/* A thread that comes when its parent's blocks are copied leaves its stack to the child. */
static void test_children_use_the_stacks_of_threads_that_came_meanwhile(void)
{
    pthread_t threads[2];
    begin_threads(threads, 2, make_threads);
    for (int i = 0; i < 150; i++) {
        const pid_t pid = fork();
        if (pid == 0) {
            pthread_t thread;
            assert_true(pthread_create(&thread, NULL, allocate_once, NULL) == 0);
            assert_true(pthread_join(thread, NULL) == 0);
            _exit(0);
        }
        expect_success(pid);
    }
    end_threads(threads, 2);
}

static pthread_mutex_t *heap_mutex;

static void lock_all(void)
{
    assert_true(pthread_mutex_lock(heap_mutex) == 0);
}

static void unlock_all(void)
{
    assert_true(pthread_mutex_unlock(heap_mutex) == 0);
}

static void *lock_often(void *unused)
{
    (void)unused;
    while (!atomic_load(&is_over)) {
        lock_all();
        free(malloc(100));
        unlock_all();
        atomic_fetch_add(&n_begun, 1);
    }
    return NULL;
}

/* What a program locks for its children is locked in the copy, and the parent's is its own. */
static void test_handlers_of_the_program_find_its_locks(void)
{
    pthread_t threads[2];
    pthread_mutexattr_t checks;
    heap_mutex = malloc(sizeof(pthread_mutex_t));
    assert_true(pthread_mutexattr_init(&checks) == 0);
    assert_true(pthread_mutexattr_settype(&checks, PTHREAD_MUTEX_ERRORCHECK) == 0);
    assert_true(pthread_mutex_init(heap_mutex, &checks) == 0);
    assert_true(pthread_atfork(lock_all, unlock_all, NULL) == 0);
    begin_threads(threads, 2, lock_often);
    for (int i = 0; i < 50; i++) {
        const pid_t pid = fork();
        if (pid == 0) {
            assert_true(pthread_mutex_trylock(heap_mutex) == EBUSY); /* as prepare has left it */
            assert_true(pthread_mutex_init(heap_mutex, NULL) == 0);
            lock_all();
            _exit(0);
        }
        expect_success(pid);
    }
    end_threads(threads, 2);
}

static const struct test tests[] = {
    TEST(test_forks_while_threads_allocate),
    TEST(test_threads_that_fork_at_the_same_time_have_a_copy_each),
    TEST(test_files_that_threads_have_locked_stay_locked),
    TEST(test_children_of_threads_that_look_up_names_can_do_so),
    TEST(test_children_use_the_stacks_of_threads_that_came_meanwhile),
    TEST(test_threads_keep_what_pthread_setspecific_gave_them),
    TEST(test_handlers_of_the_program_find_its_locks),
};

int main(int argc, char **argv)
{
    return run_tests(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}

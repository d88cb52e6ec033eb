/* SPDX-License-Identifier: MIT */
/*
 * A program that knows nothing of kmem and forks, and is rough with its heap, its signals and its
 * environment. It is run by `kmemctl run --malloc`; each test is a process of its own.
 *
 *      forks_rough TEST
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <wordexp.h>

#include "tests/examples/malloc/forks.h"

/* --------------------------------------------------------------------------------- protected -- */

#define PAGE ((size_t)4096)
#define N_PAGES ((size_t)16)

/* Whether the kernel can read a page for this process, and write to it. */
static bool page_is(unsigned char *page, bool is_readable, bool is_writable)
{
    int pipe_ends[2];
    assert_true(pipe(pipe_ends) == 0);
    assert_true(write(pipe_ends[1], "w", 1) == 1);
    const bool can_write = read(pipe_ends[0], page + 1, 1) == 1;
    assert_true(can_write || errno == EFAULT);
    const bool can_read = write(pipe_ends[1], page, 1) == 1;
    assert_true(can_read || errno == EFAULT);
    (void)close(pipe_ends[0]);
    (void)close(pipe_ends[1]);
    return can_read == is_readable && can_write == is_writable;
}

static unsigned char *new_pages(void)
{
    void *pages = NULL;
    assert_true(posix_memalign(&pages, PAGE, N_PAGES * PAGE) == 0);
    memset(pages, 7, N_PAGES * PAGE);
    return pages;
}

/* As a stack in a block has its last page, and a collector its old ones. */
static void protect(unsigned char *pages)
{
    assert_true(mprotect(pages, PAGE, PROT_NONE) == 0);
    assert_true(mprotect(pages + 5 * PAGE, 2 * PAGE, PROT_READ) == 0);
}

static void expect_protected(unsigned char *pages)
{
    assert_true(page_is(pages, false, false));
    assert_true(page_is(pages + PAGE, true, true));
    assert_true(page_is(pages + 5 * PAGE, true, false));
    assert_true(page_is(pages + 6 * PAGE, true, false));
    assert_true(page_is(pages + 7 * PAGE, true, true));
}

static void expect_all(unsigned char *pages)
{
    assert_true(mprotect(pages, N_PAGES * PAGE, PROT_READ | PROT_WRITE) == 0);
    for (size_t i = 0; i < N_PAGES; i++) {
        assert_true(pages[i * PAGE] == 7 && pages[i * PAGE + PAGE - 1] == 7);
    }
}

/* Some are the daemon's, others of a lease. */
static void test_what_is_protected_is_copied_and_is_so_in_the_child(void)
{
    unsigned char *blocks[12];
    for (size_t i = 0; i < 12; i++) {
        blocks[i] = new_pages();
        protect(blocks[i]);
    }
    const pid_t pid = fork();
    for (size_t i = 0; i < 12 && pid == 0; i++) {
        expect_protected(blocks[i]);
        expect_all(blocks[i]);
        memset(blocks[i], 9, N_PAGES * PAGE);
    }
    if (pid == 0) {
        free(malloc(100));
        _exit(0);
    }
    expect_success(pid);
    for (size_t i = 0; i < 12; i++) {
        expect_protected(blocks[i]);
        expect_all(blocks[i]);
        free(blocks[i]);
    }
}

/* ----------------------------------------------------------------------------------- signals -- */

static pid_t parent;
static volatile int *volatile in_heap;
static atomic_uint n_handled;

static void write_in_child(int signal_number)
{
    (void)signal_number;
    if (getpid() != parent) {
        *in_heap = 99;
    }
    n_handled += (unsigned int)*in_heap;
}

static void *signal_all(void *unused)
{
    for (;;) {
        (void)kill(0, SIGUSR1); /* the group: this process and its children */
    }
    return unused;
}

/* NOLINTBEGIN(bugprone-signal-handler, cert-sig30-c): where it fails the test is over */
static void expect_interrupted_success(pid_t pid)
{
    int status = -1;
    assert_true(pid > 0);
    while (waitpid(pid, &status, 0) < 0) {
        assert_true(errno == EINTR);
    }
    assert_true(status == 0);
}

/* It may come between the fork and the first instruction of the child. */
static void test_a_handler_in_the_child_has_the_childs_blocks(void)
{
    pthread_t signaller;
    sigset_t set;
    char *much = malloc(4 << 20);
    assert_true(setpgid(0, 0) == 0 && much != NULL);
    memset(much, 1, 4 << 20);
    parent = getpid();
    in_heap = malloc(sizeof(*in_heap));
    *in_heap = 1;
    (void)signal(SIGUSR1, write_in_child);
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGUSR1);
    assert_true(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
    assert_true(pthread_create(&signaller, NULL, signal_all, NULL) == 0);
    assert_true(pthread_sigmask(SIG_UNBLOCK, &set, NULL) == 0);
    for (int i = 0; i < 100; i++) {
        const pid_t pid = fork();
        if (pid == 0) {
            _exit(0);
        }
        expect_interrupted_success(pid);
        assert_true(*in_heap == 1);
    }
    _exit(0); /* with the thread */
}

static void fork_in_handler(int signal_number)
{
    const int saved_errno = errno;
    (void)signal_number;
    const pid_t pid = fork();
    if (pid == 0) {
        _exit(*in_heap == 1 ? 0 : 1);
    }
    expect_interrupted_success(pid);
    n_handled++;
    errno = saved_errno;
}
/* NOLINTEND(bugprone-signal-handler, cert-sig30-c) */

/* fork() may be called there, wherever the signal finds the program: in a fork, too. */
static void test_a_handler_that_forks_has_a_copy(void)
{
    const struct itimerval often = {{0, 2000}, {0, 2000}};
    char *much = malloc(8 << 20);
    assert_true(much != NULL);
    memset(much, 1, 8 << 20);
    in_heap = malloc(sizeof(*in_heap));
    *in_heap = 1;
    (void)signal(SIGPROF, fork_in_handler);
    assert_true(setitimer(ITIMER_PROF, &often, NULL) == 0);
    for (size_t i = 0; n_handled < 30; i++) {
        free(malloc(i % 300 * 100 + 1));
        free(malloc(70000 + i % 100));
        if (i % 1000 == 0) {
            const pid_t pid = fork();
            if (pid == 0) {
                _exit(*in_heap == 1 ? 0 : 1);
            }
            expect_interrupted_success(pid);
        }
    }
    free(much);
}

/* ------------------------------------------------------------------------------- environment -- */

/* That it is served shows in the size. */
static void test_a_child_that_has_lost_its_environment_is_served(void)
{
    free(malloc(100));
    const pid_t pid = fork();
    if (pid == 0) {
        assert_true(clearenv() == 0);
        void *volatile block = malloc(100);
        assert_true(block != NULL && malloc_usable_size(block) == 100);
        _exit(0);
    }
    expect_success(pid);
}

/* ---------------------------------------------------------------------------------- at once -- */

#define N_CHILDREN 200

/* All of them have begun before the first goes on, and each becomes a client. */
static void test_two_hundred_children_at_once(void)
{
    int *blocks[100];
    pid_t children[N_CHILDREN];
    int gate[2];
    assert_true(pipe(gate) == 0);
    for (int i = 0; i < 100; i++) {
        blocks[i] = malloc(sizeof(int) * (size_t)(i + 1));
        blocks[i][i] = i;
    }
    for (size_t k = 0; k < N_CHILDREN; k++) {
        children[k] = fork();
        if (children[k] == 0) {
            char byte;
            (void)close(gate[1]);
            assert_true(read(gate[0], &byte, 1) == 0);
            for (int i = 0; i < 100; i++) {
                blocks[i] = realloc(blocks[i], sizeof(int) * (size_t)(i + 100));
                assert_true(blocks[i] != NULL && blocks[i][i] == i);
                free(blocks[i]);
            }
            _exit(0);
        }
    }
    (void)close(gate[1]);
    for (size_t k = 0; k < N_CHILDREN; k++) {
        expect_success(children[k]);
    }
    for (int i = 0; i < 100; i++) {
        assert_true(blocks[i][i] == i);
        free(blocks[i]);
    }
}

/* -------------------------------------------------------------------------------- cancelling -- */

/* To fork is no place where a thread ends that is to; what it has protected is looked at. */
static void *fork_cancelled(void *ret_has_forked)
{
    assert_true(pthread_cancel(pthread_self()) == 0);
    const pid_t pid = fork();
    if (pid == 0) {
        _exit(0);
    }
    *(pid_t *)ret_has_forked = pid;
    pthread_testcancel();
    return NULL;
}

static void test_a_thread_that_is_to_be_cancelled_forks(void)
{
    pthread_t thread;
    void *result = NULL;
    void *page = NULL;
    pid_t pid = 0;
    assert_true(posix_memalign(&page, 4096, 4096) == 0 && mprotect(page, 4096, PROT_READ) == 0);
    assert_true(pthread_create(&thread, NULL, fork_cancelled, &pid) == 0);
    assert_true(pthread_join(thread, &result) == 0 && result == PTHREAD_CANCELED);
    expect_success(pid);
    assert_true(mprotect(page, 4096, PROT_READ | PROT_WRITE) == 0);
    free(page);
}

/* ---------------------------------------------------------------------------- handlers, libc -- */

static char *of_prepare;
static char *of_child;
static char *of_parent;

static void allocate_before(void)
{
    of_prepare = strdup("before");
}

static void allocate_in_parent(void)
{
    free(of_prepare);
    of_parent = strdup("parent");
}

static void allocate_in_child(void)
{
    assert_true(strcmp(of_prepare, "before") == 0);
    free(of_prepare);
    of_child = strdup("child");
}

static void test_handlers_of_the_program_allocate_and_release(void)
{
    assert_true(pthread_atfork(allocate_before, allocate_in_parent, allocate_in_child) == 0);
    for (int i = 0; i < 5; i++) {
        const pid_t pid = fork();
        if (pid == 0) {
            assert_true(of_child != NULL && strcmp(of_child, "child") == 0 && of_parent == NULL);
            assert_true(malloc_usable_size(of_child) == sizeof("child"));
            _exit(0);
        }
        expect_success(pid);
        assert_true(of_parent != NULL && strcmp(of_parent, "parent") == 0 && of_child == NULL);
        free(of_parent);
        of_parent = NULL;
    }
}

/* What libc forks or spawns by itself, and a child that becomes another program at once. */
static void test_what_libc_starts_leaves_the_heap_alone(void)
{
    struct heap *heap = heap_new(1);
    char *const arguments[] = {"true", NULL};
    wordexp_t words;
    pid_t pid;
    assert_true(wordexp("a $(echo b c) d", &words, 0) == 0 && words.we_wordc == 4);
    assert_true(strcmp(words.we_wordv[2], "c") == 0);
    wordfree(&words);
    assert_true(posix_spawnp(&pid, "true", NULL, NULL, arguments, environ) == 0);
    expect_success(pid);
    for (int i = 0; i < 5; i++) {
        pid = fork();
        if (pid == 0) {
            (void)execvp("true", arguments);
            _exit(1);
        }
        expect_success(pid);
    }
    assert_true(heap_has(heap, 1));
    heap_free(heap);
}

static const struct test tests[] = {
    TEST(test_what_is_protected_is_copied_and_is_so_in_the_child),
    TEST(test_a_handler_in_the_child_has_the_childs_blocks),
    TEST(test_a_handler_that_forks_has_a_copy),
    TEST(test_a_child_that_has_lost_its_environment_is_served),
    TEST(test_two_hundred_children_at_once),
    TEST(test_a_thread_that_is_to_be_cancelled_forks),
    TEST(test_handlers_of_the_program_allocate_and_release),
    TEST(test_what_libc_starts_leaves_the_heap_alone),
};

int main(int argc, char **argv)
{
    return run_tests(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}

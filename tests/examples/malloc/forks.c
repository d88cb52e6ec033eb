/* SPDX-License-Identifier: MIT */
/*
 * A program that knows nothing of kmem and forks, and goes on in both processes. It is run by
 * `kmemctl run --malloc`; each test is a process of its own. What is on the ledger meanwhile
 * kmemctl says, which is the first argument.
 *
 *      forks KMEMCTL TEST
 */
#include <errno.h>
#include <pty.h>
#include <signal.h>
#include <sys/resource.h>

#include "tests/examples/malloc/forks.h"

static const char *kmemctl;

/* --------------------------------------------------------------------------------- processes -- */

/* One process waits for another: a byte from one pipe to the other. */
struct turns {
    int to_child[2];
    int to_parent[2];
};

static void turns_open(struct turns *turns)
{
    assert_true(pipe(turns->to_child) == 0 && pipe(turns->to_parent) == 0);
}

static void turn_give(const int *pipe_ends)
{
    assert_true(write(pipe_ends[1], "", 1) == 1);
}

static void turn_await(const int *pipe_ends)
{
    char byte;
    assert_true(read(pipe_ends[0], &byte, 1) == 1);
}

/* What the ledger has of a process; -1: it is no client. */
static long blocks_on_ledger(pid_t pid)
{
    char command[1000];
    long n_blocks = -1;
    (void)snprintf(command, sizeof(command), "'%s' clients --no-headers --columns=PID,BLOCKS",
                   kmemctl);
    FILE *rows = popen(command, "r"); /* NOLINT(cert-env33-c): a path of this test */
    char row[200];
    assert_true(rows != NULL);
    while (fgets(row, sizeof(row), rows) != NULL) {
        char *behind_pid;
        if (strtol(row, &behind_pid, 10) == (long)pid) {
            n_blocks = strtol(behind_pid, NULL, 10);
        }
    }
    assert_true(pclose(rows) == 0);
    return n_blocks;
}

/* --------------------------------------------------------------------------------- the tests -- */

static void test_neither_sees_what_the_other_writes(void)
{
    struct heap *heap = heap_new(1);
    struct turns turns;
    turns_open(&turns);
    const pid_t pid = fork();
    if (pid == 0) {
        assert_true(heap_has(heap, 1));
        heap_fill(heap, 50);
        turn_give(turns.to_parent);
        turn_await(turns.to_child);
        assert_true(heap_has(heap, 50));
        _exit(0);
    }
    turn_await(turns.to_parent);
    assert_true(heap_has(heap, 1));
    heap_fill(heap, 100);
    turn_give(turns.to_child);
    expect_success(pid);
    assert_true(heap_has(heap, 100));
    heap_free(heap);
}

static void test_a_child_is_a_client_of_its_own(void)
{
    struct heap *heap = heap_new(1);
    struct turns turns;
    turns_open(&turns);
    const pid_t pid = fork();
    if (pid == 0) {
        struct heap *own = heap_new(2);
        turn_give(turns.to_parent);
        turn_await(turns.to_child);
        assert_true(heap_has(own, 2) && heap_has(heap, 1));
        heap_free(own);
        _exit(0);
    }
    turn_await(turns.to_parent);
    assert_true(blocks_on_ledger(pid) >= (long)N_BLOCKS);
    assert_true(blocks_on_ledger(pid) < 2 * (long)N_BLOCKS);
    assert_true(blocks_on_ledger(getpid()) >= (long)N_BLOCKS);
    turn_give(turns.to_child);
    expect_success(pid);
    heap_free(heap);
}

static void test_a_child_that_allocates_nothing_is_no_client(void)
{
    struct heap *heap = heap_new(1);
    struct turns turns;
    turns_open(&turns);
    const pid_t pid = fork();
    if (pid == 0) {
        heap_free(heap);
        turn_give(turns.to_parent);
        turn_await(turns.to_child);
        _exit(0);
    }
    turn_await(turns.to_parent);
    assert_true(blocks_on_ledger(pid) == -1);
    turn_give(turns.to_child);
    expect_success(pid);
    assert_true(heap_has(heap, 1));
}

static void test_what_a_child_releases_of_its_parents_stays_the_parents(void)
{
    struct heap *heap = heap_new(1);
    const pid_t pid = fork();
    if (pid == 0) {
        const long n_before = blocks_on_ledger(getppid());
        assert_true(n_before >= (long)N_BLOCKS);
        heap_free(heap);
        assert_true(blocks_on_ledger(getppid()) == n_before);
        heap_free(heap_new(3));
        assert_true(blocks_on_ledger(getppid()) == n_before);
        _exit(0);
    }
    expect_success(pid);
    assert_true(heap_has(heap, 1));
    heap_free(heap);
}

static void test_inherited_blocks_grow_and_shrink(void)
{
    struct heap *heap = heap_new(1);
    const pid_t pid = fork();
    if (pid == 0) {
        for (size_t i = 0; i < N_BLOCKS; i++) {
            const unsigned char mark = (unsigned char)(1 + i);
            unsigned char *block = realloc(heap->blocks[i], size_of(i) * 3);
            assert_true(block != NULL && block[0] == mark && block[size_of(i) - 1] == mark);
            block[size_of(i) * 3 - 1] = 1;
            block = realloc(block, 1);
            assert_true(block != NULL && block[0] == mark);
            free(block);
        }
        _exit(0);
    }
    expect_success(pid);
    assert_true(heap_has(heap, 1));
    heap_free(heap);
}

static void test_inherited_aligned_blocks_are_known(void)
{
    char *blocks[12];
    for (size_t i = 0; i < 12; i++) {
        assert_true(posix_memalign((void **)&blocks[i], (size_t)64 << i, 3000) == 0);
        (void)snprintf(blocks[i], 3000, "block %zu", i);
    }
    const pid_t pid = fork();
    if (pid == 0) {
        for (size_t i = 0; i < 12; i++) {
            char wanted[20];
            (void)snprintf(wanted, sizeof(wanted), "block %zu", i);
            assert_true(strcmp(blocks[i], wanted) == 0);
            assert_true(malloc_usable_size(blocks[i]) >= 3000);
            memset(blocks[i], 7, 3000);
            if (i % 2 == 0) {
                blocks[i] = realloc(blocks[i], 9000);
                assert_true(blocks[i] != NULL && blocks[i][2999] == 7);
            }
            free(blocks[i]);
        }
        _exit(0);
    }
    expect_success(pid);
    for (size_t i = 0; i < 12; i++) {
        assert_true(strncmp(blocks[i], "block ", 6) == 0);
        free(blocks[i]);
    }
}

#define N_GENERATIONS 10

static void test_children_of_children_have_all(void)
{
    struct heap *heaps[N_GENERATIONS];
    for (unsigned char i = 0; i < N_GENERATIONS; i++) {
        heaps[i] = heap_new(i);
        const pid_t pid = fork();
        if (pid != 0) {
            expect_success(pid);
            for (unsigned char k = 0; k <= i; k++) {
                assert_true(heap_has(heaps[k], k));
            }
            if (i > 0) {
                _exit(0);
            }
            return;
        }
        for (unsigned char k = 0; k <= i; k++) {
            assert_true(heap_has(heaps[k], k));
            heap_fill(heaps[k], (unsigned char)(k + 100)); /* a copy of its own */
            heap_fill(heaps[k], k);
        }
    }
    for (size_t i = 0; i < N_GENERATIONS; i++) {
        heap_free(heaps[i]);
    }
    _exit(0);
}

static void test_a_hundred_forks_leave_the_ledger_as_it_was(void)
{
    struct heap *heap = heap_new(1);
    (void)blocks_on_ledger(getpid()); /* what libc keeps for streams is there */
    const long n_before = blocks_on_ledger(getpid());
    for (int i = 0; i < 100; i++) {
        const pid_t pid = fork();
        if (pid == 0) {
            free(i % 2 == 0 ? malloc(100) : heap->blocks[i]);
            _exit(0);
        }
        expect_success(pid);
    }
    assert_true(blocks_on_ledger(getpid()) == n_before);
    assert_true(heap_has(heap, 1));
    heap_free(heap);
}

/* ----------------------------------------------------------------------------------- endings -- */

static void *of_the_parent;

static void release_at_exit(void)
{
    free(of_the_parent);
    free(malloc(10));
}

static void test_exit_handlers_run_in_the_child(void)
{
    of_the_parent = malloc(1000);
    assert_true(atexit(release_at_exit) == 0);
    const pid_t pid = fork();
    if (pid == 0) {
        exit(0);
    }
    expect_success(pid);
}

static void test_a_child_that_is_killed_at_once_harms_nobody(void)
{
    struct heap *heap = heap_new(1);
    for (int i = 0; i < 50; i++) {
        int status;
        const pid_t pid = fork();
        if (pid == 0) {
            heap_free(heap_new(2));
            heap_fill(heap, 3);
            _exit(0);
        }
        (void)usleep((useconds_t)i * 20);
        assert_true(kill(pid, SIGKILL) == 0 && waitpid(pid, &status, 0) == pid);
    }
    assert_true(heap_has(heap, 1));
    heap_free(heap);
}

static void test_a_parent_that_is_killed_while_it_forks_harms_nobody(void)
{
    struct heap *heap = heap_new(1);
    for (int i = 0; i < 10; i++) {
        int status;
        const pid_t pid = fork();
        if (pid == 0) {
            struct heap *own = heap_new(2);
            for (;;) {
                const pid_t its = fork();
                if (its == 0) {
                    _exit(heap_has(own, 2) ? 0 : 1);
                }
                expect_success(its);
            }
        }
        (void)usleep(20000);
        assert_true(kill(pid, SIGKILL) == 0 && waitpid(pid, &status, 0) == pid);
        assert_true(WIFSIGNALED(status));
    }
    assert_true(heap_has(heap, 1));
    heap_free(heap);
}

static void limit_memory(rlim_t num_bytes)
{
    const struct rlimit limit = {num_bytes, RLIM_INFINITY};
    assert_true(setrlimit(RLIMIT_DATA, &limit) == 0);
}

/* What the kernel counts for that limit now. */
static rlim_t data_bytes(void)
{
    char line[200];
    unsigned long long kib = 0;
    FILE *status = fopen("/proc/self/status", "r");
    assert_true(status != NULL);
    while (fgets(line, sizeof(line), status) != NULL && kib == 0) {
        (void)sscanf(line, "VmData: %llu kB", &kib); /* NOLINT(cert-err34-c): the kernel's */
    }
    assert_true(fclose(status) == 0 && kib > 0);
    return kib * 1024;
}

static void test_a_fork_without_memory_for_the_copy_is_ENOMEM(void)
{
    struct heap *heap = heap_new(1);
    limit_memory(1 << 20);
    errno = 0;
    assert_true(fork() == -1);
    assert_true(errno == ENOMEM);
    assert_true(heap_has(heap, 1));
    limit_memory(RLIM_INFINITY);
    const pid_t pid = fork();
    if (pid == 0) {
        _exit(heap_has(heap, 1) ? 0 : 1);
    }
    expect_success(pid);
    heap_free(heap);
}

static void test_a_child_of_another_name_without_memory_is_killed(void)
{
    struct heap *heap = heap_new(1);
    int status;
    int master = -1;
    limit_memory(1 << 20);
    const pid_t pid = forkpty(&master, NULL, NULL, NULL);
    if (pid == 0) {
        _exit(0);
    }
    limit_memory(RLIM_INFINITY);
    assert_true(pid > 0 && waitpid(pid, &status, 0) == pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    assert_true(heap_has(heap, 1));
    heap_free(heap);
}

static void test_forkpty_and_daemon_copy_too(void)
{
    struct heap *heap = heap_new(1);
    struct turns turns;
    int master = -1;
    const pid_t pid = forkpty(&master, NULL, NULL, NULL);
    if (pid == 0) {
        assert_true(heap_has(heap, 1));
        heap_fill(heap, 2);
        heap_free(heap);
        _exit(0);
    }
    expect_success(pid);
    turns_open(&turns);
    const pid_t starter = fork();
    if (starter == 0) {
        assert_true(daemon(1, 1) == 0);
        assert_true(heap_has(heap, 1));
        heap_fill(heap, 3);
        heap_free(heap_new(4));
        turn_give(turns.to_parent);
        _exit(0);
    }
    expect_success(starter);
    turn_await(turns.to_parent);
    assert_true(heap_has(heap, 1));
    heap_free(heap);
}

static void test_programs_that_are_started_copy_nothing(void)
{
    struct heap *heap = heap_new(1);
    limit_memory(data_bytes() + (2 << 20));
    assert_true(fork() == -1 && errno == ENOMEM); /* no copy is to be had */
    assert_true(system("exit 7") == 7 << 8);      /* NOLINT(cert-env33-c): that is the test */
    FILE *said = popen("echo said", "r");         /* NOLINT(cert-env33-c): likewise */
    char line[10] = "";
    assert_true(said != NULL && fgets(line, sizeof(line), said) != NULL);
    assert_true(strcmp(line, "said\n") == 0 && pclose(said) == 0);
    const pid_t pid = vfork(); /* NOLINT(clang-analyzer-security.insecureAPI.vfork): likewise */
    if (pid == 0) {
        (void)execl("/bin/true", "true", NULL);
        _exit(127);
    }
    expect_success(pid);
    limit_memory(RLIM_INFINITY);
    heap_free(heap);
}

/* Anything may be said of the range that the segment had: it is not to be read, nor released. */
static void misuse_child_releases_what_is_no_block(void)
{
    char *volatile block = malloc(4096);
    const pid_t pid = fork();
    if (pid == 0) {
        block += 128;
        free(block); /* NOLINT(clang-analyzer-unix.Malloc): that is the test */
        _exit(0);
    }
    int status;
    assert_true(waitpid(pid, &status, 0) == pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    free(block);
}

/* Blocks of each size, direct ones and others; and one that is aligned, inside of another. */
static void misuse_child_releases_twice(void)
{
    struct heap *heap = heap_new(1);
    void *aligned = NULL;
    assert_true(posix_memalign(&aligned, 32768, 100) == 0);
    for (size_t i = 0; i <= N_BLOCKS; i += i < N_SMALL_SIZES || i >= N_BLOCKS - 2 ? 1 : 30) {
        void *volatile block = i < N_BLOCKS ? heap->blocks[i] : aligned;
        int status;
        const pid_t pid = fork();
        if (pid == 0) {
            free(block);
            free(block); /* NOLINT(clang-analyzer-unix.Malloc): that is the test */
            _exit(0);
        }
        assert_true(waitpid(pid, &status, 0) == pid);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    }
    free(aligned);
    heap_free(heap);
}

static const struct test tests[] = {
    TEST(test_neither_sees_what_the_other_writes),
    TEST(test_a_child_is_a_client_of_its_own),
    TEST(test_a_child_that_allocates_nothing_is_no_client),
    TEST(test_what_a_child_releases_of_its_parents_stays_the_parents),
    TEST(test_inherited_blocks_grow_and_shrink),
    TEST(test_inherited_aligned_blocks_are_known),
    TEST(test_children_of_children_have_all),
    TEST(test_a_hundred_forks_leave_the_ledger_as_it_was),
    TEST(test_exit_handlers_run_in_the_child),
    TEST(test_a_child_that_is_killed_at_once_harms_nobody),
    TEST(test_a_parent_that_is_killed_while_it_forks_harms_nobody),
    TEST(test_a_fork_without_memory_for_the_copy_is_ENOMEM),
    TEST(test_a_child_of_another_name_without_memory_is_killed),
    TEST(test_forkpty_and_daemon_copy_too),
    TEST(test_programs_that_are_started_copy_nothing),
    TEST(misuse_child_releases_what_is_no_block),
    TEST(misuse_child_releases_twice),
};

int main(int argc, char **argv)
{
    kmemctl = argv[1];
    if (argc == 3 && run_test(tests, sizeof(tests) / sizeof(tests[0]), argv[2])) {
        return EXIT_SUCCESS;
    }
    (void)fputs("usage: forks KMEMCTL TEST\n", stderr);
    return EXIT_FAILURE;
}

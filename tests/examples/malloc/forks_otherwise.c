/* SPDX-License-Identifier: MIT */
/*
 * A program that knows nothing of kmem and forks by other names than fork(): what containers' tools
 * and sandboxes do. It is run by `kmemctl run --malloc`; each test is a process of its own. Most of
 * these names are seen on x86-64 only, and so it is built there.
 *
 *      forks_otherwise TEST
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <ucontext.h>

#include "tests/examples/malloc/forks.h"

/* -------------------------------------------------------------------------- ways of forking -- */

static pid_t fork_by_system_call(void)
{
    return (pid_t)syscall(SYS_fork);
}

static pid_t fork_by_clone_call(void)
{
    return (pid_t)syscall(SYS_clone, (unsigned long)SIGCHLD, 0L, 0L, 0L, 0L);
}

static pid_t fork_by_clone3_call(void)
{
    struct clone_args arguments = {.exit_signal = SIGCHLD};
    return (pid_t)syscall(SYS_clone3, &arguments, sizeof(arguments));
}

static pid_t (*const ways[])(void) = {_Fork, fork_by_system_call, fork_by_clone_call,
                                      fork_by_clone3_call};
#define N_WAYS (sizeof(ways) / sizeof(ways[0]))

/* In a child: what it has is its own, and it is served. */
static int use_heap(void *given)
{
    struct heap *heap = given;
    assert_true(heap_has(heap, 1));
    heap_fill(heap, 2);
    struct heap *own = heap_new(3);
    assert_true(heap_has(own, 3) && heap_has(heap, 2));
    heap_free(own);
    heap_free(heap);
    return 0;
}

static void test_each_way_copies(void)
{
    struct heap *heap = heap_new(1);
    for (size_t i = 0; i < N_WAYS; i++) {
        const pid_t pid = ways[i]();
        if (pid == 0) {
            _exit(use_heap(heap));
        }
        expect_success(pid);
        assert_true(heap_has(heap, 1));
    }
    heap_free(heap);
}

static void no_more_memory(void)
{
    const struct rlimit limit = {1 << 20, RLIM_INFINITY};
    assert_true(setrlimit(RLIMIT_DATA, &limit) == 0);
}

static void test_without_memory_each_way_is_ENOMEM(void)
{
    struct heap *heap = heap_new(1);
    const struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
    no_more_memory();
    for (size_t i = 0; i < N_WAYS; i++) {
        errno = 0;
        assert_true(ways[i]() == -1);
        assert_true(errno == ENOMEM);
    }
    assert_true(setrlimit(RLIMIT_DATA, &limit) == 0);
    assert_true(heap_has(heap, 1));
    heap_free(heap);
}

#define N_GENERATIONS 20

/* In a child of a child of a child, each by another name. */
static void test_generations_by_each_way(void)
{
    char *blocks[N_GENERATIONS];
    const pid_t first = getpid();
    pid_t pid = 0;
    size_t n = 0;
    while (pid == 0 && n < N_GENERATIONS) {
        blocks[n] = malloc(1000 * (n + 1));
        (void)sprintf(blocks[n], "generation %zu", n);
        pid = n % (N_WAYS + 1) < N_WAYS ? ways[n % (N_WAYS + 1)]() : fork();
        n++;
    }
    if (pid != 0) {
        expect_success(pid);
    }
    for (size_t i = 0; i < n; i++) {
        char wanted[40];
        (void)sprintf(wanted, "generation %zu", i);
        assert_true(strcmp(blocks[i], wanted) == 0);
        assert_true(malloc_usable_size(blocks[i]) == 1000 * (i + 1));
        (void)snprintf(blocks[i], 1000, "spoilt");
        free(blocks[i]);
    }
    if (getpid() != first) {
        _exit(0);
    }
}

/* ----------------------------------------------------------------------------------- clone() -- */

#define STACK_BYTES ((size_t)64 * 1024)

/* The block that its stack is stays: it ends there. */
static void test_a_stack_may_be_a_block(void)
{
    struct heap *heap = heap_new(1);
    unsigned char *stack = malloc(STACK_BYTES);
    assert_true(stack != NULL);
    memset(stack, 5, STACK_BYTES);
    for (int i = 0; i < 5; i++) {
        expect_success(clone(use_heap, stack + STACK_BYTES, SIGCHLD, heap));
        assert_true(heap_has(heap, 1));
    }
    for (size_t i = 0; i < STACK_BYTES; i++) {
        assert_true(stack[i] == 5);
    }
    free(stack);
    heap_free(heap);
}

static int expect_stack(void *stack)
{
    unsigned char here;
    assert_true((uintptr_t)&here - (uintptr_t)stack < STACK_BYTES);
    assert_true((uintptr_t)__builtin_frame_address(0) % 16 == 0);
    return 0;
}

static void test_a_child_has_the_stack_that_it_is_given(void)
{
    static unsigned char stack[STACK_BYTES] __attribute__((aligned(16)));
    expect_success(clone(expect_stack, stack + STACK_BYTES, SIGCHLD, stack));
}

/* It is served by libc, which knows other sizes; and so is what it forks. */
static int write_own(void *given)
{
    struct heap *heap = given;
    assert_true(heap_has(heap, 1));
    heap_fill(heap, 2);
    char *own = malloc(10000000);
    assert_true(own != NULL);
    memset(own, 1, 10000000);
    const pid_t pid = fork_by_system_call();
    if (pid == 0) {
        assert_true(own[9999999] == 1 && heap_has(heap, 2));
        own[9999999] = 2;
        _exit(0);
    }
    expect_success(pid);
    assert_true(own[9999999] == 1);
    free(own);
    heap_free(heap);
    return 0;
}

static int return_status(void *status)
{
    return *(int *)status;
}

static void test_identities_flags_and_ends_are_as_libcs(void)
{
    static unsigned char stack[STACK_BYTES] __attribute__((aligned(16)));
    int *status = malloc(sizeof(*status));
    pid_t noted = 0;
    int ended = -1;
    *status = 7;
    (void)signal(SIGUSR1, SIG_IGN); /* which it ends with */
    const pid_t pid =
        clone(return_status, stack + STACK_BYTES, CLONE_PARENT_SETTID | SIGUSR1, status, &noted);
    assert_true(pid > 0 && noted == pid);
    assert_true(waitpid(pid, &ended, __WCLONE) == pid);
    assert_true(WIFEXITED(ended) && WEXITSTATUS(ended) == 7);
    assert_true(clone(return_status, NULL, SIGCHLD, status) == -1 && errno == EINVAL);
    assert_true(clone(NULL, stack + STACK_BYTES, SIGCHLD, status) == -1 && errno == EINVAL);
    assert_true(clone(return_status, stack + STACK_BYTES, CLONE_THREAD | SIGCHLD, status) == -1);
    assert_true(errno == EINVAL);
    free(status);
}

static int leap(void *given)
{
    jmp_buf *there = given;
    longjmp(*there, 1);
}

/* As runc's nsexec does: the child's stack is a part of the parent's. */
static void test_a_child_may_leave_its_stack(void)
{
    struct heap *heap = heap_new(1);
    unsigned char stack[4096] __attribute__((aligned(16)));
    jmp_buf there;
    if (setjmp(there) != 0) {
        _exit(use_heap(heap));
    }
    expect_success(clone(leap, stack + sizeof(stack), SIGCHLD, there));
    assert_true(heap_has(heap, 1));
    heap_free(heap);
}

/* It closes nothing of its parent's, which is a client still: that shows in the size of a block. */
static void test_descriptors_in_common_stay_the_parents(void)
{
    static unsigned char stack[STACK_BYTES] __attribute__((aligned(16)));
    struct heap *heap = heap_new(1);
    expect_success(clone(write_own, stack + STACK_BYTES, CLONE_FILES | SIGCHLD, heap));
    assert_true(heap_has(heap, 1));
    void *volatile block = malloc(10000000);
    assert_true(block != NULL && malloc_usable_size(block) == 10000000);
    free(block);
    heap_free(heap);
}

static int write_there(void *there)
{
    *(volatile int *)there = 5;
    free(malloc(100));
    return 0;
}

/* What is to share memory shares it. */
static void test_memory_in_common_is_in_common(void)
{
    static unsigned char stack[STACK_BYTES] __attribute__((aligned(16)));
    int *there = calloc(1, sizeof(*there));
    expect_success(
        clone(write_there, stack + STACK_BYTES, CLONE_VM | CLONE_VFORK | SIGCHLD, there));
    assert_true(*there == 5);
    free(there);
}

/* What has room for more than is known has zeros there. A stack without a size is none. */
static void test_clone3_takes_more_and_refuses_less(void)
{
    struct {
        struct clone_args known;
        uint64_t unknown[8];
    } given = {.known = {.exit_signal = SIGCHLD}};
    struct heap *heap = heap_new(1);
    const pid_t pid = (pid_t)syscall(SYS_clone3, &given, sizeof(given));
    if (pid == 0) {
        _exit(use_heap(heap));
    }
    expect_success(pid);
    errno = 0;
    assert_true(syscall(SYS_clone3, &given, sizeof(uint64_t)) == -1 && errno == EINVAL);
    given.known.stack = (uintptr_t)heap;
    errno = 0;
    assert_true(syscall(SYS_clone3, &given, sizeof(given)) == -1 && errno == EINVAL);
    assert_true(heap_has(heap, 1));
    heap_free(heap);
}

/* --------------------------------------------------------------------------------- unseen -- */

/* By an instruction of its own, as sandboxes and crash reporters have it. */
static pid_t fork_unseen(void)
{
    long pid;
    __asm__ volatile("syscall" : "=a"(pid) : "a"(SYS_fork) : "rcx", "r11", "memory");
    return (pid_t)pid;
}

/* From its first allocation or release on; what it has written before is in its parent as well. */
static void test_a_child_that_is_forked_unseen_parts_from_its_parent(void)
{
    struct heap *heap = heap_new(1);
    char *unreadable = NULL;
    assert_true(posix_memalign((void **)&unreadable, 4096, 65536) == 0);
    assert_true(mprotect(unreadable, 4096, PROT_NONE) == 0);
    for (int i = 0; i < 2; i++) {
        const pid_t pid = fork_unseen();
        if (pid == 0) {
            char *own = i == 0 ? malloc(100) : NULL;
            free(i == 0 ? own : (void *)heap->blocks[0]);
            heap_fill(heap, 2);
            for (size_t k = 1; k < N_BLOCKS; k++) {
                unsigned char *grown = realloc(heap->blocks[k], size_of(k) + 1000);
                assert_true(grown != NULL && grown[size_of(k) - 1] == (unsigned char)(2 + k));
                free(grown);
            }
            _exit(0);
        }
        expect_success(pid);
        assert_true(heap_has(heap, 1));
    }
    assert_true(mprotect(unreadable, 4096, PROT_READ | PROT_WRITE) == 0);
    free(unreadable);
    heap_free(heap);
}

/* Its parent's memory is not to be touched, and its own is not to be had. */
static void test_a_child_that_is_forked_unseen_and_can_not_part_is_ended(void)
{
    struct heap *heap = heap_new(1);
    int status = 0;
    const pid_t pid = fork_unseen();
    if (pid == 0) {
        no_more_memory();
        free(heap->blocks[0]);
        _exit(0);
    }
    assert_true(waitpid(pid, &status, 0) == pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    assert_true(heap_has(heap, 1));
    heap_free(heap);
}

/* It does not know their sizes, and takes what can be read. */
static void test_a_child_that_is_forked_unseen_resizes_what_it_can_read(void)
{
    const size_t page = 4096;
    unsigned char *block = NULL;
    assert_true(posix_memalign((void **)&block, page, 64 * page) == 0);
    memset(block, 5, 64 * page);
    const pid_t pid = fork_unseen();
    if (pid == 0) {
        free(malloc(100));
        assert_true(realloc(block, PTRDIFF_MAX) == NULL && errno == ENOMEM);
        assert_true(mprotect(block + 8 * page, page, PROT_NONE) == 0);
        unsigned char *unreadable = block + 8 * page;
        errno = 0;
        assert_true(realloc(unreadable, 100) == NULL && errno == ENOMEM);
        unsigned char *grown = realloc(block, 100 * page);
        assert_true(grown != NULL && grown[8 * page - 1] == 5 && grown[8 * page] == 0);
        _exit(0);
    }
    expect_success(pid);
    assert_true(block[64 * page - 1] == 5);
    free(block);
}

/* Of a child's own: by fork() or unseen, before the child has parted from its parent or after. */
static void fork_from_unseen(struct heap *heap, bool has_parted, pid_t (*way)(void))
{
    const unsigned char mark = has_parted ? 2 : 1;
    if (has_parted) {
        free(malloc(100));
        heap_fill(heap, mark);
    }
    const pid_t pid = way();
    if (pid == 0) {
        free(malloc(100));
        assert_true(heap_has_bytes(heap, mark));
        heap_fill(heap, 3);
        _exit(0);
    }
    expect_success(pid);
    assert_true(heap_has_bytes(heap, mark));
}

static void test_what_a_child_that_is_forked_unseen_forks_parts_too(void)
{
    struct heap *heap = heap_new(1);
    for (int i = 0; i < 6; i++) {
        const pid_t pid = fork_unseen();
        if (pid == 0) {
            fork_from_unseen(heap, i % 2 != 0, i < 2 ? fork : i < 4 ? _Fork : fork_unseen);
            _exit(0);
        }
        expect_success(pid);
        assert_true(heap_has(heap, 1));
    }
    heap_free(heap);
}

/* ------------------------------------------------------------------------------ system calls -- */

/* The kernel notes its identity in the child, and not where its parent has the block. */
static void test_an_identity_that_is_noted_in_a_child_is_the_childs(void)
{
    const int flags = CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | SIGCHLD;
    pid_t *noted = calloc(1, sizeof(*noted));
    struct clone_args arguments = {
        .flags = CLONE_CHILD_SETTID, .child_tid = (uintptr_t)noted, .exit_signal = SIGCHLD};
    for (int i = 0; i < 2; i++) {
        const pid_t pid =
            (pid_t)(i == 0 ? syscall(SYS_clone, (unsigned long)flags, 0L, 0L, noted, 0L)
                           : syscall(SYS_clone3, &arguments, sizeof(arguments)));
        if (pid == 0) {
            _exit(*noted == getpid() ? 0 : 1);
        }
        expect_success(pid);
        assert_true(*noted == 0);
    }
    const pid_t pid = (pid_t)syscall(SYS_clone, (unsigned long)flags, 0L, 0L, NULL, 0L);
    if (pid == 0) {
        _exit(0); /* nowhere is no place */
    }
    expect_success(pid);
    free(noted);
}

/* Six arguments, what it returns, and errno. */
static void test_other_system_calls_are_as_they_are(void)
{
    const size_t page = 4096;
    const int file = (int)syscall(SYS_memfd_create, "pages", 0U);
    assert_true(file >= 0 && ftruncate(file, (off_t)(2 * page)) == 0);
    assert_true(pwrite(file, "second", 6, (off_t)page) == 6);
    const long at = syscall(SYS_mmap, NULL, page, PROT_READ, MAP_PRIVATE, file, page);
    assert_true(at != -1 && memcmp((const char *)at, "second", 6) == 0); /* NOLINT: an address */
    errno = 0;
    assert_true(syscall(SYS_mmap, NULL, page, PROT_READ, MAP_PRIVATE, file, page + 1) == -1);
    assert_true(errno == EINVAL);
    errno = 5;
    assert_true(syscall(SYS_getpid) == getpid() && errno == 5);
    assert_true(syscall(SYS_clone3, NULL, 0UL) == -1 && errno == EINVAL);
    assert_true(munmap((void *)at, page) == 0 && close(file) == 0); /* NOLINT: likewise */
}

/* ----------------------------------------------------------------------------------- signals -- */

/* NOLINTNEXTLINE(bugprone-signal-handler, cert-sig30-c): it calls nothing */
static void refuse_call(int signal_number, siginfo_t *info, void *context)
{
    (void)signal_number;
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_RAX] =
        info->si_syscall == SYS_fork || info->si_syscall == SYS_clone ? -EPERM : -ENOSYS;
}

/* As sandboxes do: what traps is answered by a handler. */
static void trap_forks(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fork, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {sizeof(filter) / sizeof(filter[0]), filter};
    const struct sigaction action = {.sa_sigaction = refuse_call, .sa_flags = SA_SIGINFO};
    assert_true(sigaction(SIGSYS, &action, NULL) == 0);
    assert_true(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    assert_true(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

static void test_a_filter_may_trap_a_fork(void)
{
    pid_t (*const trapped[])(void) = {fork, _Fork, fork_by_system_call, fork_by_clone_call};
    struct heap *heap = heap_new(1);
    trap_forks();
    for (size_t i = 0; i < sizeof(trapped) / sizeof(trapped[0]); i++) {
        errno = 0;
        assert_true(trapped[i]() == -1 && errno == EPERM);
    }
    assert_true(heap_has(heap, 1));
    heap_free(heap);
}

static volatile int *volatile in_heap;
static volatile int n_failed;

/* NOLINTBEGIN(bugprone-signal-handler, cert-sig30-c): _Fork() is what a handler may call */
static void fork_in_handler(int signal_number)
{
    int status = -1;
    (void)signal_number;
    const pid_t pid = _Fork();
    if (pid == 0) {
        const int was = *in_heap;
        *in_heap = 2;
        _exit(was == 1 ? 0 : 1);
    }
    n_failed += waitpid(pid, &status, 0) != pid || status != 0 || *in_heap != 1;
}
/* NOLINTEND(bugprone-signal-handler, cert-sig30-c) */

static void test_a_handler_forks(void)
{
    in_heap = malloc(sizeof(*in_heap));
    *in_heap = 1;
    (void)signal(SIGUSR1, fork_in_handler);
    for (int i = 0; i < 20; i++) {
        assert_true(raise(SIGUSR1) == 0);
        assert_true(n_failed == 0);
    }
    free((void *)in_heap);
}

static const struct test tests[] = {
    TEST(test_each_way_copies),
    TEST(test_without_memory_each_way_is_ENOMEM),
    TEST(test_generations_by_each_way),
    TEST(test_a_stack_may_be_a_block),
    TEST(test_a_child_has_the_stack_that_it_is_given),
    TEST(test_identities_flags_and_ends_are_as_libcs),
    TEST(test_a_child_may_leave_its_stack),
    TEST(test_descriptors_in_common_stay_the_parents),
    TEST(test_memory_in_common_is_in_common),
    TEST(test_clone3_takes_more_and_refuses_less),
    TEST(test_a_child_that_is_forked_unseen_parts_from_its_parent),
    TEST(test_a_child_that_is_forked_unseen_and_can_not_part_is_ended),
    TEST(test_a_child_that_is_forked_unseen_resizes_what_it_can_read),
    TEST(test_what_a_child_that_is_forked_unseen_forks_parts_too),
    TEST(test_an_identity_that_is_noted_in_a_child_is_the_childs),
    TEST(test_other_system_calls_are_as_they_are),
    TEST(test_a_filter_may_trap_a_fork),
    TEST(test_a_handler_forks),
};

int main(int argc, char **argv)
{
    return run_tests(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}

/* SPDX-License-Identifier: MIT */
/*
 * What a signal handler gets that runs while the thread is in a call of the library: each request
 * to the daemon traps here, by a filter, and is sent by the handler when it has used the heap. It
 * is run by `kmemctl run --malloc`; each test is a process of its own.
 *
 *      within TEST
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <ucontext.h>

#include "tests/examples/malloc/forks.h"

/* More than may wait until the call is over. */
#define N_ANOTHERS 12

/* So much that only the daemon has it. */
#define MUCH ((size_t)10000000)

static char *anothers[N_ANOTHERS];
static void (*volatile run_within)(void);
static volatile int n_within;

/* A socket's, by another system call: that one would trap again. */
static long long send_otherwise(const greg_t *registers)
{
    /* NOLINTNEXTLINE(performance-no-int-to-ptr): a system call's */
    struct iovec bytes = {(void *)registers[REG_RSI], (size_t)registers[REG_RDX]};
    const struct msghdr message = {.msg_iov = &bytes, .msg_iovlen = 1};
    const ssize_t n_sent = sendmsg((int)registers[REG_RDI], &message, (int)registers[REG_R10]);
    return n_sent < 0 ? -errno : n_sent;
}

/* NOLINTBEGIN(bugprone-signal-handler, cert-sig30-c): that is the test */
static void trapped(int signal_number, siginfo_t *info, void *context)
{
    const int saved_errno = errno;
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    void (*run)(void) = run_within;
    (void)signal_number;
    (void)info;
    run_within = NULL;
    if (run != NULL) {
        run();
        n_within++;
    }
    registers[REG_RAX] = send_otherwise(registers);
    errno = saved_errno;
}
/* NOLINTEND(bugprone-signal-handler, cert-sig30-c) */

static void trap_requests(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_sendto, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {sizeof(filter) / sizeof(filter[0]), filter};
    const struct sigaction action = {.sa_sigaction = trapped, .sa_flags = SA_SIGINFO};
    assert_true(sigaction(SIGSYS, &action, NULL) == 0);
    assert_true(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    assert_true(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

static void *allocate_anothers(void *unused)
{
    for (size_t i = 0; i < N_ANOTHERS; i++) {
        anothers[i] = malloc(100);
        (void)snprintf(anothers[i], 100, "another's %zu", i);
    }
    return unused;
}

/* In a call of the library, which the thread makes when it asks for much. */
static void within(void (*run)(void))
{
    run_within = run;
    char *much = malloc(MUCH);
    assert_true(much != NULL && n_within == 1);
    much[MUCH - 1] = 1;
    free(much);
}

static void release_all(void)
{
    for (size_t i = 0; i < N_ANOTHERS; i++) {
        free(anothers[i]);
    }
}

/* Some are released behind the call, when the thread releases the next one; the rest stays. */
static void test_anothers_blocks_are_released_within(void)
{
    within(release_all);
    for (size_t i = 0; i < 1000; i++) {
        char *volatile block = malloc(100);
        assert_true(block != NULL);
        memset(block, 1, 100);
        free(block);
    }
}

static void resize_one(void)
{
    char *resized = realloc(anothers[0], 5000);
    assert_true(resized != NULL && strcmp(resized, "another's 0") == 0);
    free(resized);
}

/* Nobody can be asked for its size just now. */
static void test_anothers_block_is_resized_within(void)
{
    within(resize_one);
}

static void allocate_some(void)
{
    char *small = malloc(100);
    char *cleared = calloc(1, 5000);
    assert_true(small != NULL && malloc_usable_size(small) >= 100);
    assert_true(cleared != NULL && cleared[4999] == 0);
    assert_true(malloc_usable_size(anothers[1]) == 0);
    small = realloc(small, 1000);
    assert_true(small != NULL);
    free(small);
    free(cleared);
}

static void test_blocks_are_allocated_within(void)
{
    within(allocate_some);
}

static const struct test tests[] = {
    TEST(test_anothers_blocks_are_released_within),
    TEST(test_anothers_block_is_resized_within),
    TEST(test_blocks_are_allocated_within),
};

int main(int argc, char **argv)
{
    pthread_t another;
    assert_true(pthread_create(&another, NULL, allocate_anothers, NULL) == 0);
    assert_true(pthread_join(another, NULL) == 0);
    trap_requests();
    return run_tests(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}

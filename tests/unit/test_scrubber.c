/* SPDX-License-Identifier: MIT */
/*
 * test_scrubber.c - the process: what it does to the file, when it begins, and when it ends
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/server/scrubber.h"
#include "tests/unit/captured.h"
#include "tests/unit/fail.h"
#include "tests/unit/unit.h"

#define SEGMENT_BYTES ((size_t)4 << 20)

FAIL_WRAP(pid_t, fork, (void), (), -1)
FAIL_WRAP(int, socketpair, (int domain, int type, int protocol, int ends[2]),
          (domain, type, protocol, ends), -1)
FAIL_WRAP(void *, mmap,
          (void *address, size_t n_bytes, int protection, int flags, int fd, off_t offset),
          (address, n_bytes, protection, flags, fd, offset), MAP_FAILED)
FAIL_WRAP(int, madvise, (void *at, size_t n_bytes, int advice), (at, n_bytes, advice), -1)
FAIL_WRAP(int, fallocate, (int fd, int mode, off_t at, off_t n_bytes), (fd, mode, at, n_bytes), -1)

static struct scrubber scrubber;
static int segment_fd;
static int state_fd;
static unsigned char *bytes;

static int scrubber_setup(void **state)
{
    segment_fd = memfd_create("segment", MFD_CLOEXEC);
    state_fd = memfd_create("state", MFD_CLOEXEC);
    assert_int_equal(ftruncate(segment_fd, (off_t)SEGMENT_BYTES), 0);
    bytes = mmap(NULL, SEGMENT_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, segment_fd, 0);
    assert_true(bytes != MAP_FAILED);
    memset(bytes, 0xa5, SEGMENT_BYTES);
    return 0;
}

static int scrubber_teardown(void **state)
{
    assert_int_equal(munmap(bytes, SEGMENT_BYTES), 0);
    assert_int_equal(close(segment_fd), 0);
    assert_int_equal(close(state_fd), 0);
    return 0;
}

static struct scrubber_answer hear(const struct scrubber *from)
{
    struct scrubber_answer answer;
    struct pollfd readable = {.fd = from->fd, .events = POLLIN};
    assert_int_equal(poll(&readable, 1, -1), 1);
    assert_int_equal(scrubber_hear(from, &answer), 0);
    return answer;
}

static void start(struct scrubber *ret_scrubber)
{
    assert_int_equal(scrubber_start(segment_fd, state_fd, ret_scrubber), 0);
}

/* It ends by itself when nobody is left to order anything. */
static void end(const struct scrubber *which)
{
    int status;
    assert_int_equal(close(which->fd), 0);
    assert_int_equal(waitpid(which->pid, &status, 0), which->pid);
    assert_true(WIFEXITED(status));
}

static struct scrubber_answer order(enum scrubber_kind kind, uint64_t at, uint64_t n_bytes)
{
    const struct scrubber_order wanted = {.kind = (uint32_t)kind, .at = at, .n_bytes = n_bytes};
    assert_int_equal(scrubber_order(&scrubber, &wanted), 0);
    return hear(&scrubber);
}

static void assert_bytes(size_t from, size_t to, unsigned char byte)
{
    for (size_t at = from; at < to; at++) {
        assert_int_equal(bytes[at], byte);
    }
}

static void test_scrubber_clears_what_it_is_told_to(void **state)
{
    start(&scrubber);
    assert_int_equal(hear(&scrubber).kind, SCRUBBER_READY);
    const struct scrubber_answer answer = order(SCRUBBER_CLEAR, 16384, 1000000);
    assert_int_equal(answer.kind, SCRUBBER_DONE);
    assert_int_equal(answer.error, 0);
    assert_bytes(0, 16384, 0xa5);
    assert_bytes(16384, 1016384, 0);
    assert_bytes(1016384, SEGMENT_BYTES, 0xa5);
    end(&scrubber);
}

static void test_scrubber_gives_memory_back(void **state)
{
    struct stat before;
    struct stat after;
    assert_int_equal(fstat(segment_fd, &before), 0);
    start(&scrubber);
    assert_int_equal(hear(&scrubber).kind, SCRUBBER_READY);
    assert_int_equal(order(SCRUBBER_GIVE_BACK, 1 << 20, 2 << 20).error, 0);
    assert_int_equal(fstat(segment_fd, &after), 0);
    assert_int_equal((before.st_blocks - after.st_blocks) * 512, 2 << 20);
    assert_bytes(1 << 20, 3 << 20, 0);
    assert_bytes(3 << 20, SEGMENT_BYTES, 0xa5);
    end(&scrubber);
}

static void test_scrubber_collapses_and_still_takes_orders(void **state)
{
    start(&scrubber);
    assert_int_equal(hear(&scrubber).kind, SCRUBBER_READY);
    const struct scrubber_order collapse = {.kind = SCRUBBER_COLLAPSE, .n_bytes = SEGMENT_BYTES};
    assert_int_equal(scrubber_order(&scrubber, &collapse), 0);
    bool is_done = false;
    bool is_collapsed = false;
    struct scrubber_answer answer = order(SCRUBBER_CLEAR, 0, 4096);
    for (int i = 0; i < 2; i++) {
        is_done = is_done || answer.kind == SCRUBBER_DONE;
        is_collapsed = is_collapsed || answer.kind == SCRUBBER_COLLAPSED;
        if (i == 0) {
            answer = hear(&scrubber);
        }
    }
    assert_true(is_done && is_collapsed);
    assert_bytes(0, 4096, 0);
    assert_bytes(4096, SEGMENT_BYTES, 0xa5);
    end(&scrubber);
}

/* Two mappings and an advice are what it takes: without one of them it writes. */
static void test_scrubber_that_can_not_map_clears_all_the_same(void **state)
{
    const struct {
        const char *call;
        unsigned nth;
        int error;
    } calls[] = {{"mmap", 1, ENOMEM}, {"mmap", 2, ENOMEM}, {"madvise", 1, EINVAL}};
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        memset(bytes, 0xa5, SEGMENT_BYTES);
        fail_nth(calls[i].call, calls[i].nth, calls[i].error); /* the scrubber inherits it */
        start(&scrubber);
        (void)fail_end(); /* it fails there, not here */
        assert_int_equal(hear(&scrubber).kind, SCRUBBER_READY);
        assert_int_equal(order(SCRUBBER_CLEAR, 16384, 3000000).error, 0);
        assert_bytes(0, 16384, 0xa5);
        assert_bytes(16384, 3016384, 0);
        assert_bytes(3016384, SEGMENT_BYTES, 0xa5);
        end(&scrubber);
    }
}

/* The file can be neither mapped for writing nor written to: that is said, and not for ever. */
static void test_scrubber_that_can_not_says_why(void **state)
{
    const int write_fd = segment_fd;
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", write_fd);
    segment_fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(segment_fd >= 0);
    start(&scrubber);
    assert_int_equal(close(segment_fd), 0);
    segment_fd = write_fd;
    assert_int_equal(hear(&scrubber).kind, SCRUBBER_READY);
    assert_int_equal(order(SCRUBBER_CLEAR, 0, SEGMENT_BYTES).error, -EBADF);
    assert_int_equal(order(SCRUBBER_GIVE_BACK, 0, SEGMENT_BYTES).error, -EBADF);
    assert_bytes(0, SEGMENT_BYTES, 0xa5);
    end(&scrubber);
}

/* What it clears by is no memory of its own afterwards. */
static void test_scrubber_keeps_nothing_mapped(void **state)
{
    char path[64];
    char line[256];
    unsigned n_mapped = 0;
    assert_int_equal(munmap(bytes, SEGMENT_BYTES), 0); /* which it would inherit */
    start(&scrubber);
    assert_int_equal(hear(&scrubber).kind, SCRUBBER_READY);
    assert_int_equal(order(SCRUBBER_CLEAR, 0, SEGMENT_BYTES).error, 0);
    (void)snprintf(path, sizeof(path), "/proc/%d/maps", (int)scrubber.pid);
    FILE *maps = fopen(path, "re");
    assert_non_null(maps);
    while (fgets(line, sizeof(line), maps)) {
        n_mapped += strstr(line, "memfd:segment") != NULL;
    }
    (void)fclose(maps);
    assert_int_equal(n_mapped, 0);
    end(&scrubber);
    bytes = mmap(NULL, SEGMENT_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, segment_fd, 0);
    assert_true(bytes != MAP_FAILED);
    assert_bytes(0, SEGMENT_BYTES, 0);
}

static void test_scrubber_is_not_ended_by_a_signal(void **state)
{
    fail_nth("fallocate", 1, EINTR);
    start(&scrubber);
    (void)fail_end(); /* in the scrubber it stays so */
    assert_int_equal(hear(&scrubber).kind, SCRUBBER_READY);
    assert_int_equal(order(SCRUBBER_GIVE_BACK, 0, SEGMENT_BYTES).error, 0);
    assert_bytes(0, SEGMENT_BYTES, 0);
    end(&scrubber);
}

/* While one lives that may still write, no other says that it is ready. */
static void test_scrubber_waits_for_the_last_one(void **state)
{
    struct scrubber next;
    struct scrubber_answer answer;
    start(&scrubber);
    assert_int_equal(hear(&scrubber).kind, SCRUBBER_READY);
    assert_int_equal(kill(scrubber.pid, SIGSTOP), 0); /* hangs */

    start(&next);
    struct flock lock = {
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = STATE_LOCK_SCRUBBER, .l_len = 1};
    assert_int_equal(fcntl(state_fd, F_GETLK, &lock), 0);
    assert_int_equal(lock.l_pid, scrubber.pid);
    assert_int_equal(scrubber_hear(&next, &answer), -EAGAIN);

    assert_int_equal(kill(scrubber.pid, SIGKILL), 0);
    assert_int_equal(hear(&next).kind, SCRUBBER_READY);
    assert_int_equal(waitpid(scrubber.pid, NULL, 0), scrubber.pid);
    assert_int_equal(scrubber_hear(&scrubber, &answer), -EPIPE);
    assert_int_equal(close(scrubber.fd), 0);
    end(&next);
}

/* What it has open outlives the server: a connection would not end, a ledger's memory stay. */
static void test_scrubber_has_no_other_descriptor(void **state)
{
    int ends[2];
    char byte;
    assert_int_equal(pipe(ends), 0);
    const int saved = dup(STDERR_FILENO);
    assert_int_equal(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
    start(&scrubber);
    assert_int_equal(dup2(saved, STDERR_FILENO), STDERR_FILENO);
    assert_int_equal(hear(&scrubber).kind, SCRUBBER_READY);
    assert_int_equal(close(ends[1]), 0);
    assert_int_equal(read(ends[0], &byte, 1), 0); /* nobody can write, not as stderr either */
    assert_int_equal(close(ends[0]), 0);
    assert_int_equal(close(saved), 0);
    end(&scrubber);
}

static void test_scrubber_start_fails_cleanly(void **state)
{
    const struct {
        const char *call;
        int error;
    } calls[] = {{"socketpair", EMFILE}, {"fork", EAGAIN}};
    const unsigned n_fds = count_fds();
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        fail_nth(calls[i].call, 1, calls[i].error);
        assert_int_equal(scrubber_start(segment_fd, state_fd, &scrubber), -calls[i].error);
        assert_true(fail_end());
        assert_int_equal(count_fds(), n_fds);
    }
}

#define SCRUBBER_TEST(test) cmocka_unit_test_setup_teardown(test, scrubber_setup, scrubber_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCRUBBER_TEST(test_scrubber_clears_what_it_is_told_to),
        SCRUBBER_TEST(test_scrubber_gives_memory_back),
        SCRUBBER_TEST(test_scrubber_collapses_and_still_takes_orders),
        SCRUBBER_TEST(test_scrubber_that_can_not_map_clears_all_the_same),
        SCRUBBER_TEST(test_scrubber_that_can_not_says_why),
        SCRUBBER_TEST(test_scrubber_keeps_nothing_mapped),
        SCRUBBER_TEST(test_scrubber_is_not_ended_by_a_signal),
        SCRUBBER_TEST(test_scrubber_waits_for_the_last_one),
        SCRUBBER_TEST(test_scrubber_has_no_other_descriptor),
        SCRUBBER_TEST(test_scrubber_start_fails_cleanly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * harness.h - tests that start the real daemon and real processes, and read as transcripts
 *
 * A test is a function without arguments. It runs in a process of its own, in a private directory
 * that is removed afterwards, under a deadline. Its first expectation that does not hold ends it
 * with the place, both figures and the daemon's log. When it returns, the harness wants its
 * descriptors closed and its processes reaped; in a sanitizer build it wants no leak either.
 *
 *      static void test_a_killed_client_gives_everything_back(void)
 *      {
 *          daemon_start("--size", "16MiB", NULL);
 *          struct client victim = client_begin(hold_a_block, NULL);
 *          expect_usage(44, 1);
 *          client_kill(&victim);
 *          daemon_stop_balanced();
 *      }
 *
 * The verbs: daemon_ (tests/system/daemon.h) starts, stops and looks at kmemd; client_
 * (tests/system/client.h) runs a function as another process; wire_ (tests/wire/wire.h) speaks to
 * the socket without the library, rightly or wrongly; usage_ and ledger_ (tests/system/usage.h)
 * ask. Only the clients use libkmem: what the tests conclude about the daemon, they learn from the
 * socket and from /proc.
 */
#ifndef TESTS_SYSTEM_HARNESS_H
#define TESTS_SYSTEM_HARNESS_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "proto/attributes.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HARNESS_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define HARNESS_SANITIZED 1
#endif
#endif
#ifndef HARNESS_SANITIZED
#define HARNESS_SANITIZED 0
#endif

struct system_test {
    const char *name;
    void (*run)(void);
    unsigned int deadline_s; /* on a machine that is not busy; HARNESS_PATIENCE times that */
};

/*
 * How many times longer than on a quiet machine the harness waits for what should happen, before it
 * gives up: for the end of a test, an answer, a condition. A test that waits for an event ends with
 * the event, so patience costs time only where something is wrong. 20: ten busy loops beside a test
 * leave it a tenth of the machine, and half of that is reserve. 160: a sanitizer makes a test three
 * to six times as slow.
 */
#define HARNESS_PATIENCE (HARNESS_SANITIZED ? 160U : 20U)

/* CMakeLists.txt finds these by name, so each test is its own entry in ctest. */
#define SYSTEM_TEST(function, deadline_seconds)                                                    \
    {                                                                                              \
#function, function, deadline_seconds                                                      \
    }

/**
 * harness_run() - be the main function of a file of tests
 *
 * Without arguments all tests run, with arguments those that are named.
 *
 * Return: the exit status: 0, 1 if a test failed, 77 if all that ran were skipped.
 */
int harness_run(const struct system_test *tests, size_t n_tests, int argc, char **argv);

/** harness_skip() - end the test because this machine can not do it: exit status 77 */
KMEM_NORETURN void harness_skip(const char *format, ...) KMEM_PRINTF(1, 2);

/** harness_note() - print a figure that the reader of the test's output wants to see */
void harness_note(const char *format, ...) KMEM_PRINTF(1, 2);

/** harness_path() - a path in the test's directory. Ownership: the harness's, for this test. */
const char *harness_path(const char *name);

/** harness_program() - the path of a program of this build: from $KMEM_BIN or $KMEM_TEST_BIN */
const char *harness_program(const char *name);

/**
 * harness_scaled() - a tenth of a count under a sanitizer, where everything takes ten times as long
 *
 * The first call of a test prints that it does so.
 */
uint64_t harness_scaled(uint64_t count);

/** harness_stride() - one in so many is taken of what is alike: $KMEM_TEST_STRIDE, or the usual */
unsigned int harness_stride(unsigned int usual);

/** harness_count_fds() - the open descriptors of a process */
unsigned int harness_count_fds(int pid);

/** harness_state_of() - 'R', 'S', 'D', 'T', as proc(5) says of a process; 0: there is none */
char harness_state_of(int pid);

/**
 * harness_now_us() - a clock; for the harness, and for how long something takes at least
 *
 * No test compares a time with an upper limit, nor a count per time: how long something takes says
 * how busy the machine is. Tests count what is done; times are printed by `make bench`. lint.clocks
 * sees to it.
 */
uint64_t harness_now_us(void);
void harness_sleep_ms(unsigned int duration_ms);

/**
 * harness_deadline_us() - when to give up what takes limit_ms at most on a machine that is not busy
 *
 * In HARNESS_PATIENCE times that, in half a minute at least.
 */
uint64_t harness_deadline_us(uint64_t limit_ms);

/** harness_patient_ms() - the same as a duration, for poll() */
int harness_patient_ms(uint64_t limit_ms);

/* How long something has taken: stopwatch_ms() to print it, expect_lasted() for the least. */
struct stopwatch {
    uint64_t began_us;
};

struct stopwatch stopwatch_start(void);
double stopwatch_ms(const struct stopwatch *stopwatch);

/** expect_lasted() - want at least so many milliseconds to have passed */
#define expect_lasted(stopwatch, least_ms)                                                         \
    EXPECT_COMPARE((uint64_t)stopwatch_ms(stopwatch), >=, least_ms)

/** harness_fail() - end the test, or the client, that calls it */
KMEM_NORETURN void harness_fail(const char *file, int line, const char *format, ...)
    KMEM_PRINTF(3, 4);

#define fail(...) harness_fail(__FILE__, __LINE__, __VA_ARGS__)

#define expect_true(condition)                                                                     \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fail("not true: %s", #condition);                                                      \
        }                                                                                          \
    } while (0)

/* For a call that says in errno why it failed. */
#define expect_call(call)                                                                          \
    do {                                                                                           \
        if (!(call)) {                                                                             \
            fail("%s: %s", #call, strerror(errno));                                                \
        }                                                                                          \
    } while (0)

#define expect_equal(got, want) EXPECT_COMPARE(got, ==, want)
#define expect_at_most(got, limit) EXPECT_COMPARE(got, <=, limit)
#define expect_at_least(got, limit) EXPECT_COMPARE(got, >=, limit)

#define EXPECT_COMPARE(left, operator, right)                                                      \
    do {                                                                                           \
        const long long left_ = (long long)(left);                                                 \
        const long long right_ = (long long)(right);                                               \
        if (!(left_ operator right_)) {                                                            \
            fail("%s is %lld, expected %s %lld (%s)", #left, left_, #operator, right_, #right);    \
        }                                                                                          \
    } while (0)

#define expect_text(got, want)                                                                     \
    do {                                                                                           \
        const char *const got_ = (got);                                                            \
        const char *const want_ = (want);                                                          \
        if (strcmp(got_, want_) != 0) {                                                            \
            fail("%s is\n    \"%s\", expected\n    \"%s\"", #got, got_, want_);                    \
        }                                                                                          \
    } while (0)

/** expect_match() - want an extended regular expression to match somewhere in a text */
#define expect_match(text, pattern) harness_expect_match(__FILE__, __LINE__, text, pattern)

bool harness_matches(const char *text, const char *pattern);
void harness_expect_match(const char *file, int line, const char *text, const char *pattern);

/**
 * expect_soon() - want a condition to become true
 * @limit_ms:  how long that may take on a machine that is not busy; HARNESS_PATIENCE times that
 *
 * The condition is evaluated every millisecond, so it may ask the daemon.
 */
#define expect_soon(condition, limit_ms)                                                           \
    do {                                                                                           \
        const uint64_t until_us_ = harness_deadline_us(limit_ms);                                  \
        while (!(condition)) {                                                                     \
            if (harness_now_us() > until_us_) {                                                    \
                fail("never true: %s", #condition);                                                \
            }                                                                                      \
            harness_sleep_ms(1);                                                                   \
        }                                                                                          \
    } while (0)

#endif

/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <uv.h>

#include "daemon/server/pidfd_watch.h"
#include "proto/limits.h"
#include "tests/unit/broken.h"
#include "tests/unit/captured.h"
#include "tests/unit/fail.h"
#include "tests/unit/unit.h"

FAIL_WRAP(int, uv_poll_init, (uv_loop_t * loop, uv_poll_t *poll, int fd), (loop, poll, fd),
          UV_EMFILE)
FAIL_WRAP(int, uv_poll_start, (uv_poll_t * poll, int events, uv_poll_cb called),
          (poll, events, called), UV_EBADF)

static uv_loop_t loop;
static struct pidfd_watch pidfds;
static unsigned n_fds;

/* Who has died, in this order. */
static uint32_t dead[8];
static unsigned n_dead;

static void died(uint32_t slot, void *user)
{
    assert_ptr_equal(user, dead);
    dead[n_dead++] = slot;
}

static int pidfd_watch_setup(void **state)
{
    n_dead = 0;
    assert_int_equal(uv_loop_init(&loop), 0);
    n_fds = count_fds();
    assert_int_equal(pidfd_watch_init(&pidfds, &loop, died, dead), 0);
    return 0;
}

static int pidfd_watch_teardown(void **state)
{
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(count_fds(), n_fds);
    pidfd_watch_fini(&pidfds);
    assert_int_equal(uv_loop_close(&loop), 0);
    return 0;
}

/* A process that lives until it is killed. */
static pid_t child_start(int *ret_pidfd)
{
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves nobody behind */
        for (;;) {
            (void)pause();
        }
    }
    *ret_pidfd = (int)syscall(SYS_pidfd_open, child, 0);
    assert_true(*ret_pidfd >= 0);
    return child;
}

static void child_kill(pid_t child)
{
    assert_int_equal(kill(child, SIGKILL), 0);
}

static void child_wait(pid_t child)
{
    assert_int_equal(waitpid(child, NULL, 0), child);
}

static void turn(void)
{
    (void)uv_run(&loop, UV_RUN_NOWAIT);
}

static void test_pidfd_watch_watch_tells_of_a_death_once(void **state)
{
    int pidfd;
    const pid_t child = child_start(&pidfd);
    assert_int_equal(pidfd_watch_watch(&pidfds, 7, pidfd), 0);
    turn();
    assert_int_equal(n_dead, 0);

    child_kill(child);
    (void)uv_run(&loop, UV_RUN_ONCE);
    child_wait(child);
    turn();

    assert_int_equal(n_dead, 1);
    assert_int_equal(dead[0], 7);
    assert_true(pidfd_watch_watches(&pidfds, 7));
    pidfd_watch_forget(&pidfds, 7);
    assert_false(pidfd_watch_watches(&pidfds, 7));
}

static void test_pidfd_watch_watch_of_one_that_is_dead_already_tells(void **state)
{
    int pidfd;
    const pid_t child = child_start(&pidfd);
    child_kill(child);
    child_wait(child);

    assert_int_equal(pidfd_watch_watch(&pidfds, CLIENTS_MAX - 1, pidfd), 0);
    (void)uv_run(&loop, UV_RUN_ONCE);

    assert_int_equal(n_dead, 1);
    assert_int_equal(dead[0], CLIENTS_MAX - 1);
    pidfd_watch_forget(&pidfds, CLIENTS_MAX - 1);
}

static void test_pidfd_watch_look_tells_of_a_death_before_the_loop_and_once(void **state)
{
    int pidfd;
    const pid_t child = child_start(&pidfd);
    assert_int_equal(pidfd_watch_watch(&pidfds, 7, pidfd), 0);
    pidfd_watch_look(&pidfds, 7);
    pidfd_watch_look(&pidfds, 8); /* is not watched */
    assert_int_equal(n_dead, 0);

    child_kill(child);
    child_wait(child);
    pidfd_watch_look(&pidfds, 7);
    assert_int_equal(n_dead, 1);
    assert_int_equal(dead[0], 7);
    turn();

    assert_int_equal(n_dead, 1);
    pidfd_watch_forget(&pidfds, 7);
}

static void test_pidfd_watch_forget_before_the_death_says_nothing(void **state)
{
    int pidfd;
    const pid_t child = child_start(&pidfd);
    assert_int_equal(pidfd_watch_watch(&pidfds, 3, pidfd), 0);

    pidfd_watch_forget(&pidfds, 3);
    child_kill(child);
    child_wait(child);
    turn();

    assert_int_equal(n_dead, 0);
    pidfd_watch_forget(&pidfds, 3); /* of nobody: nothing */
}

static void test_pidfd_watch_watch_of_a_slot_whose_allocator_was_just_forgotten(void **state)
{
    int first_pidfd;
    int second_pidfd;
    const pid_t first = child_start(&first_pidfd);
    const pid_t second = child_start(&second_pidfd);
    assert_int_equal(pidfd_watch_watch(&pidfds, 3, first_pidfd), 0);

    pidfd_watch_forget(&pidfds, 3);
    assert_int_equal(pidfd_watch_watch(&pidfds, 3, second_pidfd), 0);
    child_kill(second);
    while (n_dead == 0) {
        (void)uv_run(&loop, UV_RUN_ONCE);
    }

    assert_int_equal(n_dead, 1);
    pidfd_watch_forget(&pidfds, 3);
    child_kill(first);
    child_wait(first);
    child_wait(second);
}

static void test_pidfd_watch_watch_tells_of_many_deaths(void **state)
{
    pid_t children[8];
    for (uint32_t slot = 0; slot < 8; slot++) {
        int pidfd;
        children[slot] = child_start(&pidfd);
        assert_int_equal(pidfd_watch_watch(&pidfds, slot, pidfd), 0);
    }

    for (uint32_t slot = 0; slot < 8; slot++) {
        child_kill(children[slot]);
    }
    while (n_dead < 8) {
        (void)uv_run(&loop, UV_RUN_ONCE);
    }

    uint32_t slots = 0;
    for (uint32_t slot = 0; slot < 8; slot++) {
        slots |= UINT32_C(1) << dead[slot];
        pidfd_watch_forget(&pidfds, slot);
        child_wait(children[slot]);
    }
    assert_int_equal(slots, 0xff);
}

/* -------------------------------------------------------------------- when something fails ---- */

static void watch_while_failing(const char *what, int wanted)
{
    int pidfd;
    const pid_t child = child_start(&pidfd);
    fail_nth(what, 1, ENOMEM);

    assert_int_equal(pidfd_watch_watch(&pidfds, 5, pidfd), wanted);

    assert_true(fail_end());
    assert_false(pidfd_watch_watches(&pidfds, 5));
    child_kill(child);
    child_wait(child);
    turn();
    assert_int_equal(n_dead, 0);
}

static void test_pidfd_watch_watch_that_fails_closes_the_pidfd(void **state)
{
    watch_while_failing("memory", -ENOMEM);
    watch_while_failing("uv_poll_init", UV_EMFILE);
    watch_while_failing("uv_poll_start", UV_EBADF);
    assert_int_equal(count_fds(), n_fds);
}

static void test_pidfd_watch_init_without_memory_fails_cleanly(void **state)
{
    struct pidfd_watch other;

    for (unsigned nth = 1; fail_again("memory", nth, ENOMEM); nth++) {
        const int r = pidfd_watch_init(&other, &loop, died, dead);
        assert_int_equal(r, fail_end() ? -ENOMEM : 0);
    }
    pidfd_watch_fini(&other);
}

static void test_pidfd_watch_misuse_is_a_bug(void **state)
{
    int pidfd;
    const pid_t child = child_start(&pidfd);
    assert_int_equal(pidfd_watch_watch(&pidfds, 1, pidfd), 0);

    assert_broken(assert_int_equal(pidfd_watch_watch(&pidfds, 1, -1), 0));
    assert_broken(assert_int_equal(pidfd_watch_watch(&pidfds, CLIENTS_MAX, -1), 0));
    assert_broken(pidfd_watch_fini(&pidfds));
    pidfd_watch_forget(&pidfds, 1);
    child_kill(child);
    child_wait(child);
}

#define REAPER_TEST(test)                                                                          \
    cmocka_unit_test_setup_teardown(test, pidfd_watch_setup, pidfd_watch_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        REAPER_TEST(test_pidfd_watch_watch_tells_of_a_death_once),
        REAPER_TEST(test_pidfd_watch_watch_of_one_that_is_dead_already_tells),
        REAPER_TEST(test_pidfd_watch_look_tells_of_a_death_before_the_loop_and_once),
        REAPER_TEST(test_pidfd_watch_forget_before_the_death_says_nothing),
        REAPER_TEST(test_pidfd_watch_watch_of_a_slot_whose_allocator_was_just_forgotten),
        REAPER_TEST(test_pidfd_watch_watch_tells_of_many_deaths),
        REAPER_TEST(test_pidfd_watch_watch_that_fails_closes_the_pidfd),
        REAPER_TEST(test_pidfd_watch_init_without_memory_fails_cleanly),
        REAPER_TEST(test_pidfd_watch_misuse_is_a_bug),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * test_clear_trial.c - what is measured is a plan that can be used, and it is measured once
 */
#include <errno.h>
#include <sys/mman.h>

#include "daemon/server/clear_trial.h"
#include "proto/clear.h"
#include "tests/unit/fail.h"
#include "tests/unit/unit.h"

FAIL_WRAP(void *, mmap,
          (void *address, size_t n_bytes, int protection, int flags, int fd, off_t offset),
          (address, n_bytes, protection, flags, fd, offset), MAP_FAILED)

static void test_trial_finds_a_plan_that_can_be_used(void **state)
{
    assert_true(clear_plan_is_usable(clear_trial()));
}

static void test_trial_is_made_once_for_a_segment(void **state)
{
    _Atomic uint32_t word = 0;
    const uint32_t plan = clear_trial_once(&word);
    assert_true(clear_plan_is_usable(plan));
    assert_int_equal(word, plan);
    word = clear_plan_of(CLEAR_MEMSET); /* the next server believes the first */
    assert_int_equal(clear_trial_once(&word), clear_plan_of(CLEAR_MEMSET));
}

static void test_trial_is_made_anew_for_what_can_not_be_used(void **state)
{
    _Atomic uint32_t word = UINT32_MAX; /* another version's, or of another machine */
    assert_true(clear_plan_is_usable(clear_trial_once(&word)));
    assert_true(clear_plan_is_usable(word));
}

static void test_trial_without_memory_says_nothing(void **state)
{
    _Atomic uint32_t word = 0;
    fail_nth("mmap", 1, ENOMEM);
    assert_int_equal(clear_trial_once(&word), 0);
    assert_true(fail_end());
    assert_int_equal(word, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trial_finds_a_plan_that_can_be_used),
        cmocka_unit_test(test_trial_is_made_once_for_a_segment),
        cmocka_unit_test(test_trial_is_made_anew_for_what_can_not_be_used),
        cmocka_unit_test(test_trial_without_memory_says_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

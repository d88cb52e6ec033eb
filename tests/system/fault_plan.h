/* SPDX-License-Identifier: MIT */
/*
 * fault_plan.h - which call of kmemd is to fail, and what became of it
 *
 * One page of shared memory: the test writes the plan and arms it, whoever makes calls fail counts.
 *
 *      field     written by           read by         what a reader may conclude
 *      armed     test                 who counts      1: the members of the plan above it stand
 *      n_calls   who counts           test            a lower bound until disarmed
 *      n_failed  who counts           test            likewise; 0 after the act: nth was too large
 *      number    who counts, once     who counts,     of the first that failed
 *                                     test
 *      unknown   supervisor           test            a system call that is in no table; 0: none
 */
#ifndef TESTS_SYSTEM_FAULT_PLAN_H
#define TESTS_SYSTEM_FAULT_PLAN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* In the environment of kmemd: the plan's file, the program and the preloaded object. */
#define FAULT_PLAN_VARIABLE "KMEM_FAULT_PLAN"
#define FAULT_PROGRAM_VARIABLE "KMEM_FAULT_PROGRAM"
#define FAULT_PRELOAD_VARIABLE "KMEM_FAULT_PRELOAD"

/* No system call has this number. */
#define FAULT_NUMBER_MEMORY 100000

/* The exit status of kmemd where the kernel, or a container, has no such filter. */
#define FAULT_NO_FILTER 125

enum fault_kind {
    FAULT_CALL,   /* a system call */
    FAULT_MEMORY, /* malloc(), calloc(), realloc() and the like */
};

/* What is counted. What the keeper forks is the keeper's until it has become another program. */
enum fault_role { FAULT_KEEPER, FAULT_SERVER };

struct fault {
    enum fault_kind kind;
    enum fault_role role;
    uint32_t nth;  /* from 1 */
    bool for_good; /* that one and all later calls of its kind; else that one alone */
    uint32_t only; /* the number of the one system call that is counted; 0: all are */
};

struct fault_plan {
    struct fault fault;
    _Atomic uint32_t armed;
    _Atomic uint32_t n_calls;
    _Atomic uint32_t n_failed;
    _Atomic uint32_t number;
    _Atomic uint32_t unknown;
};

/**
 * fault_plan_count() - counts one call
 * @lasts:  whether it may fail again and again
 *
 * Return: whether it is to fail.
 */
static inline bool fault_plan_count(struct fault_plan *plan, enum fault_role role, uint32_t number,
                                    bool lasts)
{
    if (!atomic_load(&plan->armed) || plan->fault.role != role ||
        (plan->fault.only != 0 && plan->fault.only != number)) {
        return false;
    }
    const uint32_t n = atomic_fetch_add(&plan->n_calls, 1) + 1;
    const bool is_nth = n == plan->fault.nth;
    if (is_nth) {
        atomic_store(&plan->number, number);
    }
    const bool fails = is_nth || (plan->fault.for_good && lasts && n > plan->fault.nth &&
                                  atomic_load(&plan->number) == number);
    if (fails) {
        atomic_fetch_add(&plan->n_failed, 1);
    }
    return fails;
}

#endif

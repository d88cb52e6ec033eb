/* SPDX-License-Identifier: MIT */
/*
 * fault_calls.h - what the system calls of kmemd fail with
 */
#ifndef TESTS_SYSTEM_FAULT_CALLS_H
#define TESTS_SYSTEM_FAULT_CALLS_H

#include <stddef.h>

struct fault_call {
    int number;
    int error; /* what it fails with; 0: it does not */
    const char *name;
};

/* By no order; every system call that kmemd may make. */
extern const struct fault_call fault_calls[];
extern const size_t fault_n_calls;

/** fault_call_find() - by its number. Return: NULL if the table does not have it. */
const struct fault_call *fault_call_find(int number);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * ctl.h - run kmemctl, and look at what it says
 *
 * A kmemctl that is started finds the test's daemon through $KMEM_SOCKET, as everybody does. Its
 * private daemons make their directories in the test's own, so a test can see that they are gone.
 */
#ifndef TESTS_SYSTEM_CTL_H
#define TESTS_SYSTEM_CTL_H

#include <stddef.h>
#include <sys/types.h>

#include "proto/attributes.h"

/* How it ended, and what it printed. */
struct ctl_end {
    int exit_status; /* 128 + n: signal n */
    char out[65536];
    char err[16384];
};

/* One that runs. */
struct ctl_process {
    pid_t pid;
    int out_fd; /* files of the test's directory */
    int err_fd;
};

/** ctl_start() - start kmemctl with these arguments, NULL at the end */
struct ctl_process ctl_start(const char *const *arguments);

/** ctl_start_as_init() - the same, as the first process of a pid namespace with its own /proc */
struct ctl_process ctl_start_as_init(const char *const *arguments);

/** ctl_start_closed() - the same, without the descriptors whose bits are set: 1, 2, 4 */
struct ctl_process ctl_start_closed(const char *const *arguments, unsigned int closed);

/** ctl_wait() - wait for its end. Return: what it said; the harness's, until the next one ends. */
const struct ctl_end *ctl_wait(const struct ctl_process *process);

/** ctl() - start it and wait for its end: ctl("usage", "--json") */
#define ctl(...) ctl_run((const char *const[]){__VA_ARGS__, NULL})
const struct ctl_end *ctl_run(const char *const *arguments);

/** ctl_err() - what a running one has printed on stderr so far; valid until the next call */
const char *ctl_err(const struct ctl_process *process);

/** ctl_out() - the same of stdout */
const char *ctl_out(const struct ctl_process *process);

/** ctl_private_daemons() - how many private daemons have a directory */
size_t ctl_private_daemons(void);

#endif

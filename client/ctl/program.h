/* SPDX-License-Identifier: MIT */
/*
 * program.h - the program that `kmemctl run` runs
 */
#ifndef CTL_PROGRAM_H
#define CTL_PROGRAM_H

#include <sys/types.h>

#include <kmem/kmem.h>

#include "client/ctl/private.h"
#include "client/ctl/signals.h"

/**
 * program_start() - run it on the private daemon
 * @argv:     the program, looked for in $PATH, its arguments, NULL
 * @preload:  a library that it is to load first; NULL is none
 * Return: 0, or the negative errno that exec failed with; then there is no child.
 */
KMEM_MUST_USE int program_start(char **argv, const char *preload,
                                const struct private_daemon *private, const struct signals *signals,
                                pid_t *ret_pid);

/** program_wait() - wait for its end, forward signals meanwhile. Return: its waitpid() status. */
int program_wait(pid_t pid, struct private_daemon *private, const struct signals *signals);

/** program_status() - the exit status that stands for a waitpid() status: 128 + n for a signal */
int program_status(int wait_status);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * walls.h - what a test needs before it puts a process behind walls, wherever the tests run
 *
 * The tests may run in a chroot, whose root is no mount point, and in a tree below a directory that
 * only root can enter.
 */
#ifndef TESTS_SYSTEM_WALLS_H
#define TESTS_SYSTEM_WALLS_H

#include <sys/types.h>

/** walls_own_mounts() - a mount namespace that nothing leaves. Return: 0, or -1 and errno. */
int walls_own_mounts(void);

/**
 * walls_own_pids() - from now on children are born in a pid namespace of their own
 * @ret_former_fd:  for walls_former_pids(), which makes them the test's again
 * Return: its first process, which only lives: the caller kills it last.
 */
pid_t walls_own_pids(int *ret_former_fd);
void walls_former_pids(int former_fd);

/**
 * walls_launcher() - what becomes this program: itself, or $KMEM_TEST_LAUNCHER
 *
 * The latter puts it behind the walls of its unit: tests/hardened.
 */
const char *walls_launcher(const char *program);

/** walls_open_program() - before privileges are dropped. Return: for walls_exec(); -1 and errno. */
int walls_open_program(const char *program);

/** walls_exec() - execv(), also if this user can not reach the path; returns on failure */
void walls_exec(int program_fd, const char *program, const char *const *arguments);

#endif

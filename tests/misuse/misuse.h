/* SPDX-License-Identifier: MIT */
/*
 * misuse.h - what the programs here share: each makes one mistake
 *
 * Without an argument the failure handler is the library's: the mistake is the program's last act.
 * With the argument "handled" its own handler prints the message on stdout and returns; then the
 * program looks at a block that it had before, the witness, and exits with 0 if nothing happened to
 * it.
 *
 * Each program is built twice: misuse_NAME makes its mistake with a block that the daemon carved,
 * and misuse_leased_NAME with one that the library carved from a lease.
 */
#ifndef TESTS_MISUSE_MISUSE_H
#define TESTS_MISUSE_MISUSE_H

#include <stddef.h>

#include <kmem/kmem.h>

/** misuse_begin() - install the handler, if the arguments say so */
void misuse_begin(int argc, char **argv);

/** misuse_witness() - a block of 44 bytes to compare with later; the first of the process */
char *misuse_witness(void);

/**
 * misuse_allocate() - kmem_allocate()
 *
 * In a program built with MISUSE_LEASED its size has been used so often before that it is leased.
 */
void *misuse_allocate(int num_bytes, const char *reason);

/** misuse_end() - want exactly one failure, and the witness as it was. Return: the exit status. */
int misuse_end(char *witness);

#endif

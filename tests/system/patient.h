/* SPDX-License-Identifier: MIT */
/*
 * patient.h - requests that are asked until there is an answer, through any number of servers
 *
 * As docs/protocol.md says that a client should: come back with the nonce, repeat with the
 * sequence number.
 */
#ifndef TESTS_SYSTEM_PATIENT_H
#define TESTS_SYSTEM_PATIENT_H

#include <stdint.h>

/** patient_allocate() - *fd is replaced if the daemon closes it. Return: the offset. */
uint64_t patient_allocate(int *fd, uint64_t sequence, uint64_t num_bytes, const char *reason);

void patient_release(int *fd, uint64_t sequence, uint64_t offset);

#endif

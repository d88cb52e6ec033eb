/* SPDX-License-Identifier: MIT */
/*
 * store.h - a service manager with an fd store: sd_pid_notify_with_fds(3)
 *
 * One at a time. It reads what its service has told it when the test asks.
 */
#ifndef TESTS_SYSTEM_STORE_H
#define TESTS_SYSTEM_STORE_H

#include "tests/system/daemon.h"

/** store_open() - listen at "notify" in the test's directory; the fd store is empty */
void store_open(void);

/** store_close() - and close what is kept */
void store_close(void);

/** store_count() - read what was told meanwhile. Return: how many descriptors are kept. */
unsigned int store_count(void);

/** store_count_ready() - the same. Return: how often READY=1 was among it. */
unsigned int store_count_ready(void);

/** store_setting() - of a daemon that is given what is kept; valid until the fd store changes */
struct daemon_setting store_setting(void);

/** store_first_setting() - of a daemon that this supervisor starts for the first time */
struct daemon_setting store_first_setting(void);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * hardened.h - what kmemd@.service says of kmemd's process, done without a service manager
 *
 * A line of the unit is a rule. Each is applied in its phase, as systemd does: mounts while the
 * process is root, filters last, since they forbid what makes the others. A function that can not
 * do its part ends the process: a test in half a sandbox would prove nothing.
 */
#ifndef TESTS_HARDENED_HARDENED_H
#define TESTS_HARDENED_HARDENED_H

#include "proto/attributes.h"

/* The exit status of a launcher that can not do all that the unit says; kmemd has none like it. */
#define HARDENED_FAILED 124

/** hardened_give_up() - say what can not be done, with errno, and end */
KMEM_NORETURN void hardened_give_up(const char *what);

/* ------------------------------------------------------------------- mounts (mounts.c) ---- */

/**
 * mounts_take() - before anything is covered: what kmemd is to see whatever lies over it
 * @writable:  the directory of its socket, as a RuntimeDirectory=; to be kmemd's user's
 * @programs:  where it is built, which may lie under what ProtectHome= covers
 */
void mounts_take(const char *writable, const char *programs);
/** mounts_give() - the same at the end: they lie on top */
void mounts_give(void);

void mounts_read_only(const char *value);
void mounts_private_tmp(const char *value);
void mounts_no_home(const char *value);
void mounts_private_devices(const char *value);
void mounts_read_only_kernel(const char *value);
void mounts_read_only_cgroups(const char *value);

/* ----------------------------------------------------------------- filters (filters.c) ---- */

/** filters_set() - one SystemCallFilter= after the other; filters_load() ends them */
void filters_set(const char *value);
void filters_error(const char *value);
void filters_load(void);

void filters_no_modules(const char *value);
void filters_no_raw_io(const char *value);
void filters_no_clock(const char *value);
void filters_no_log(const char *value);
void filters_no_hostname(const char *value);
void filters_only_unix(const char *value);
void filters_no_namespaces(const char *value);
void filters_no_realtime(const char *value);
void filters_no_set_id(const char *value);
void filters_no_written_code(const char *value);
void filters_one_personality(const char *value);

#endif

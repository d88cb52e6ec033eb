/* SPDX-License-Identifier: MIT */
/*
 * faults.h - a kmemd whose n-th system call, or n-th allocation, fails
 *
 *      faults_begin(FAULT_CALL);
 *      faults_arm(&(struct fault){FAULT_CALL, FAULT_SERVER, nth, false});
 *      if (faults_start(NULL, &end)) {
 *          seen = faults_disarm();
 *          ...
 *          faults_stop();
 *      }
 *
 * The same of a client: faults_run_client().
 *
 * The calls of both processes are counted from main() on, and only while a fault is armed. Each
 * fails with the errno that fault_calls.c has for it.
 */
#ifndef TESTS_SYSTEM_FAULTS_H
#define TESTS_SYSTEM_FAULTS_H

#include "tests/system/daemon.h"
#include "tests/system/fault_plan.h"

/* What came of a fault. */
struct faults_seen {
    unsigned int n_calls;  /* that were counted */
    unsigned int n_failed; /* 0: there were fewer than nth */
    const char *name;      /* of what failed; "" */
};

/** faults_begin() - make the plan; once in a test, before all others. All are of this kind. */
void faults_begin(enum fault_kind kind);

/** faults_arm() - counting begins anew */
void faults_arm(const struct fault *fault);

/** faults_disarm() - nothing fails any more */
struct faults_seen faults_disarm(void);

/** faults_n_failed() - how many have, while the fault is armed */
unsigned int faults_n_failed(void);

/**
 * faults_start() - daemon_try_start() of a kmemd that fails as armed
 *
 * Return: whether it got ready; if not, *ret_end says how it ended.
 */
bool faults_start(const char *const *options, struct daemon_end *ret_end);

/**
 * faults_run_client() - run a function as another process, whose calls are counted from there on
 *
 * Wants exit status 0. The function arms and disarms the fault itself: the plan is shared. It may
 * fork, and what it forks is counted as well.
 */
void faults_run_client(void (*run)(const void *argument), const void *argument);

/** faults_plan() - for what counts allocations itself: failing_memory.h */
struct fault_plan *faults_plan(void);

/** faults_stop() - daemon_stop(), and whatever watched it */
void faults_stop(void);

/** faults_end() - after the daemon has ended some other way */
void faults_end(void);

#endif

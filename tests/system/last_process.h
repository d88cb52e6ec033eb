/* SPDX-License-Identifier: MIT */
/*
 * last_process.h - a daemon that was killed holds the lock of its socket until all of it has ended
 */
#ifndef TESTS_SYSTEM_LAST_PROCESS_H
#define TESTS_SYSTEM_LAST_PROCESS_H

/**
 * last_process_await() - until none of a killed daemon's processes is left, in a sanitizer build
 *
 * There a server looks for leaks before it ends, which takes longer than the next start waits for
 * the lock. In a release it takes some milliseconds, and that the start waits is tested.
 */
void last_process_await(const char *socket);

#endif

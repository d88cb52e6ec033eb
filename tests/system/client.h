/* SPDX-License-Identifier: MIT */
/*
 * client.h - a function of the test that runs as another process
 *
 * The test and its client talk in numbers: what one tells or says, the other awaits or hears, in
 * order. A client begins with no descriptor but its standard three and its line to the test, so it
 * holds nothing open that is the test's. When its function returns, it exits with status 0.
 */
#ifndef TESTS_SYSTEM_CLIENT_H
#define TESTS_SYSTEM_CLIENT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "proto/attributes.h"

struct client {
    pid_t pid;
    int pidfd;
    int line_fd;
};

/* ------------------------------------------------------------------------ in the test ---- */

struct client client_start(void (*run)(const void *argument), const void *argument);

/* For a client that pauses: it runs to its first pause, to its next one, to its end. */
struct client client_begin(void (*run)(const void *argument), const void *argument);
void client_resume(const struct client *client);
void client_finish(struct client *client);

void client_tell(const struct client *client, uint64_t number);

/** client_try_tell() - the same to one that may be dead by now, and then is told nothing */
void client_try_tell(const struct client *client, uint64_t number);

uint64_t client_hear(const struct client *client);

/** client_kill() - SIGKILL, and wait until the kernel says that it is dead */
void client_kill(struct client *client);

/** client_kill_only() - the same, but it remains to be reaped, and its line open for its child */
void client_kill_only(const struct client *client);

void client_stop(const struct client *client);
void client_continue(const struct client *client);

/** client_end() - wait for its end and want exit status 0 */
void client_end(struct client *client);

/** client_end_by() - wait for its end and want it to be by this signal */
void client_end_by(struct client *client, int signal_number);

/** client_run() - start and end */
void client_run(void (*run)(const void *argument), const void *argument);

/* ---------------------------------------------------------------------- in the client ---- */

void client_say(uint64_t number);
uint64_t client_await(void);

/** client_pause() - say that the test may look, and wait until it has */
void client_pause(void);

/** client_pass_line() - what this process becomes by exec goes on with the line */
void client_pass_line(void);

/** client_take_line() - goes on with the line of the client that has become this program */
void client_take_line(void);

/** client_was_told() - whether the test has told something; the client need not wait for it */
bool client_was_told(void);

#endif

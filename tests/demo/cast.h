/* SPDX-License-Identifier: MIT */
/*
 * cast.h - the demo's processes: started, listened to, ended by their ids, never left behind
 *
 * A member of the cast is a worker (worker.h says how it speaks) with a pipe to its standard input,
 * whose end tells it to finish, and one from its standard output. It gets SIGKILL if the conductor
 * dies.
 */
#ifndef DEMO_CAST_H
#define DEMO_CAST_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Four roles and the successor of the one that is killed; one more would not fit 24 lines. */
#define CAST_MAX 5
/* What one worker reports: two numbers for each licence text, and a few more. */
#define RESULTS_MAX 128

enum member_state {
    MEMBER_WORKS,
    MEMBER_HOLDS,  /* said "done" */
    MEMBER_LEAVES, /* its standard input was closed */
    MEMBER_ENDED,  /* exited with status 0 after "bye" */
    MEMBER_KILLED, /* by cast_kill() */
    MEMBER_FAILED, /* ended in any other way */
};

struct member {
    const char *role;
    pid_t pid;
    enum member_state state;
    int input;  /* the conductor's end of its standard input, -1 when closed */
    int output; /* the conductor's end of its standard output, -1 when ended */
    bool said_bye;
    char at[128];
    size_t n_progress;
    size_t n_progress_of;
    char *results[RESULTS_MAX]; /* "KEY VALUE" */
    size_t n_results;
    char line[4096];
    size_t n_line_bytes;
};

struct cast {
    struct member members[CAST_MAX];
    size_t n_members;
    void (*say)(const struct member *member, const char *words, void *user);
    void *user;
};

/** process_start() - run a program. Ends this process if it can not. Return: its id.
 * @argv:    ends with NULL; argv[0] is the path
 * @input, @output, @errors:  its standard descriptors; -1: /dev/null, or ours for errors */
pid_t process_start(char *const *argv, int input, int output, int errors);

/** process_end() - send a signal and wait until it has ended, up to 2 s, then SIGKILL. Return: its
 * status as waitpid() has it. */
int process_end(pid_t pid, int signal_number);

/** cast_start() - start a worker. argv ends with NULL; role is kept. Return: the member. */
struct member *cast_start(struct cast *cast, const char *role, char *const *argv);

/** cast_listen() - wait for what workers say, and for their ends, up to timeout_ms; take it in */
void cast_listen(struct cast *cast, int timeout_ms);

/** cast_kill() - SIGKILL */
void cast_kill(struct member *member);

/** cast_dismiss() - close its standard input: it releases what it holds, and ends */
void cast_dismiss(struct member *member);

/** cast_end() - end and wait for whoever still runs, free everything */
void cast_end(struct cast *cast);

/** member_result() - what a worker reported under a key. Return: borrowed; NULL if nothing. */
const char *member_result(const struct member *member, const char *key);

/** member_runs() - whether its process has not ended yet */
bool member_runs(const struct member *member);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * traced.h - two processes under ptrace(): a program that does an operation, and the server
 *
 * Of one of them it is counted what it takes. The program stops itself where counting begins and
 * ends. The server is let run on there until it waits for events, so all that was asked is counted.
 */
#ifndef TESTS_GUARD_TRACED_H
#define TESTS_GUARD_TRACED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define RANGES_MAX 4

enum counted {
    COUNT_NOTHING,
    COUNT_INSTRUCTIONS, /* in the process's own text, of its first thread */
    COUNT_CALLS,        /* of all threads; not futex(): which one is first is chance */
};

/* Where the instructions are that count: which ones of libc run is the processor's choice. */
struct text {
    unsigned long long from[RANGES_MAX];
    unsigned long long to[RANGES_MAX];
    size_t n_ranges;
};

struct traced {
    pid_t pid; /* 0: there is none */
    enum counted counted;
    struct text text;
    uint64_t count; /* of calls: each is seen when it begins and when it ends */
};

/**
 * traced_start() - start a program, and stand before its first instruction
 * @preload:  $LD_PRELOAD; NULL: as it is
 * @out_fd:   its standard output
 */
struct traced traced_start(const char *const *argv, const char *preload, int out_fd,
                           enum counted counted);

/** traced_server() - trace a server, and stop its clock, for what that makes it do is chance */
struct traced traced_server(pid_t pid, enum counted counted);

/** traced_release() - the server goes on untraced */
void traced_release(struct traced *server);

/** traced_go_on() - until the program stops itself, or ends, which it has to do well
 * @counts:  whether it is counted, of the one that has something to be counted
 * @server:  may be NULL
 */
void traced_go_on(struct traced *program, struct traced *server, bool counts);

/** traced_find() - where the program's text is in files with that in their path */
void traced_find(struct traced *program, const char *path_part);

#endif

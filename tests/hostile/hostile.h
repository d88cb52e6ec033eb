/* SPDX-License-Identifier: MIT */
/*
 * hostile.h - a client that means harm: what its attacks have in common
 *
 * An attack is a function that ends by itself. It may join as often as it is let, say what it
 * likes, and write to everything that it was handed. What the daemon must answer it, must()
 * checks; what the others must not feel is judged by the program that runs it beside a victim:
 * tests/system/test_hostile.c, and tests/bench/bench_hostile.c for how long that waits.
 *
 * To add one: see attacks.def.
 */
#ifndef TESTS_HOSTILE_HOSTILE_H
#define TESTS_HOSTILE_HOSTILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/attributes.h"
#include "proto/kmem.pb-c.h"
#include "proto/limits.h"
#include "tests/wire/frames.h"
#include "tests/wire/request.h"

struct attack {
    const char *name;
    const char *family; /* test_hostile.c has a test for each */
    const char *what;
    void (*run)(void);
};

extern const struct attack attacks[];
extern const size_t n_attacks;

/** must() - end the program with a sentence, unless the daemon did what it promises */
#define must(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            hostile_fail(__FILE__, __LINE__, #condition);                                          \
        }                                                                                          \
    } while (0)

KMEM_NORETURN void hostile_fail(const char *file, int line, const char *what);

/** many() - how often: few in a test, where all attacks take seconds; all in a campaign */
uint64_t many(uint64_t few, uint64_t all);

/* What an answer was, beside the codes of errors. */
enum {
    ANSWER_OK = 0,
    ANSWER_CLOSED = -1,
};

/** hostile_connect() - Return: a connection on which nothing was said; -1: there is none now */
int hostile_connect(void);

/** hostile_join() - Return: a connection that was welcomed; -1: it was refused */
int hostile_join(Kmem__Role role);

/** hostile_member() - one that was welcomed as a member; what came with it is the caller's */
int hostile_member(struct wire_descriptors *ret_descriptors);

/** hostile_drop() - close a connection and what came with it */
void hostile_drop(int fd, struct wire_descriptors *descriptors);

/** hostile_send() - a request as a frame. Return: false if the daemon has closed. */
bool hostile_send(int fd, const Kmem__Request *request);

/** hostile_ask() - Return: the answer, to be freed; NULL: the daemon has closed */
Kmem__Response *hostile_ask(int fd, const Kmem__Request *request);

/** hostile_answer() - the same. Return: ANSWER_OK, ANSWER_CLOSED or the code of an error. */
int hostile_answer(int fd, const Kmem__Request *request);

/** hostile_hear() - the next answer, whatever was asked. Return: as hostile_answer() */
int hostile_hear(int fd);

/** hostile_allocate() - Return: the offset; 0: it was refused */
uint64_t hostile_allocate(int fd, uint64_t num_bytes, const char *reason);

/** hostile_crew() - run the same in n processes at once, and wait for all */
void hostile_crew(unsigned int n, void (*run)(void));

#define ATTACK(name, family, what) void attack_##name(void);
#include "tests/hostile/attacks.def"
#undef ATTACK

#endif

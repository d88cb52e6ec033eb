/* SPDX-License-Identifier: MIT */
/*
 * shown.h - what a command of kmemctl prints about a segment that answers from a table
 */
#ifndef TESTS_UNIT_SHOWN_H
#define TESTS_UNIT_SHOWN_H

#include "client/ctl/command.h"
#include "tests/unit/fake_query.h"

struct shown {
    char *text; /* to be freed */
    int status;
};

/** show() - show it where every line has room */
struct shown show(command_show_fn command, struct kmem_query query, struct options options);

/** show_at() - the same on a terminal; 0: it is none. Notes follow what is shown. */
struct shown show_at(unsigned n_columns, command_show_fn command, struct kmem_query query,
                     struct options options);

/** assert_golden() - it is what the file has; with $KMEM_GOLDEN_WRITE the file is written */
void assert_golden(const char *name, struct shown shown);

/** assert_shows() - it is this text */
void assert_shows(command_show_fn command, struct kmem_query query, struct options options,
                  const char *wanted);

#endif

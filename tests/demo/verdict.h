/* SPDX-License-Identifier: MIT */
/*
 * verdict.h - whether what the demo has shown is true
 *
 * What the workers computed in shared memory is computed again by other programs, cksum, tr, sort
 * and grep, on the files themselves; that the segment is balanced is what the daemon says.
 */
#ifndef DEMO_VERDICT_H
#define DEMO_VERDICT_H

#include <stdbool.h>

#include "tests/demo/cast.h"
#include "tests/demo/screen.h"
#include "tests/demo/stage.h"

struct verdict {
    const struct screen *screen; /* for colours */
    const char *recount;         /* the path of tests/demo/recount */
    unsigned int n_failed;
};

/** verdict_say() - one line: what was checked, and whether it holds */
void verdict_say(struct verdict *verdict, bool holds, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/** verdict_reader() - the checksums, as cksum(1) computes them; and that nothing changed later */
void verdict_reader(struct verdict *verdict, const struct member *reader,
                    const struct inherited_fds *files);

/** verdict_words() - the counts, as tr(1) and sort(1) make them */
void verdict_words(struct verdict *verdict, const struct member *words,
                   const struct inherited_fds *files);

/** verdict_phrases() - the phrase is in both files, and goes on differently in each */
void verdict_phrases(struct verdict *verdict, const struct member *phrases,
                     const struct inherited_fds *files);

/** verdict_index() - each query's number of files, as grep(1) counts them */
void verdict_index(struct verdict *verdict, const struct member *index, char *const *queries,
                   size_t n_queries, const struct inherited_fds *files);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * sample.h - one round of questions, and what was answered
 */
#ifndef CTL_TOP_SAMPLE_H
#define CTL_TOP_SAMPLE_H

#include <stdint.h>

#include <kmem/query.h>

#include "client/ctl/figures.h"
#include "client/ctl/filter.h"
#include "client/ctl/groups.h"
#include "client/ctl/rows.h"
#include "client/ctl/top/page.h"
#include "client/ctl/top/past.h"

struct sample {
    enum page_id page;
    uint64_t now_ms; /* when it was asked, on the clock of the one who asks */
    int error;       /* 0, or a negative errno: then the rest is not to be used */
    char *sentence;  /* why; foreign; NULL: not known */
    struct figures figures;
    struct groups reasons; /* of the page of reasons */
    struct rows rows;      /* of all others */
    struct past past;      /* what was before, with the first answer; or empty */
};

/**
 * sample_take() - ask what a page shows, and no more; error says how; sample_fini() is due
 * @filter:  of the blocks that reasons are added up of; rows of other pages are all taken
 */
void sample_take(struct sample *sample, struct kmem_query *query, enum page_id page,
                 const struct filter *filter, uint64_t now_ms);

/** sample_fail() - it could not be asked; sample_fini() is due */
void sample_fail(struct sample *sample, int error, const char *sentence);

void sample_fini(struct sample *sample);

#endif

/* SPDX-License-Identifier: MIT */
#include "client/ctl/top/sample.h"

#include <stdlib.h>
#include <string.h>

void sample_fini(struct sample *sample)
{
    figures_fini(&sample->figures);
    groups_fini(&sample->reasons);
    rows_fini(&sample->rows);
    past_fini(&sample->past);
    free(sample->sentence);
    *sample = (struct sample){0};
}

void sample_fail(struct sample *sample, int error, const char *sentence)
{
    sample_fini(sample);
    sample->error = error;
    sample->sentence =
        strdup(*sentence ? sentence
                         : strerror(-error)); /* NULL: then nothing is said but that it failed */
}

void sample_take(struct sample *sample, struct kmem_query *query, enum page_id page,
                 uint64_t now_ms)
{
    const struct page *asked = page_get(page);
    *sample = (struct sample){.page = page, .now_ms = now_ms};
    int r = figures_init(&sample->figures, query);
    if (r == 0 && !asked->ask) {
        r = kmem_query_ledger(query, KMEM_BY_REASON, groups_add, &sample->reasons);
    } else if (r == 0) {
        sample->rows.shape = page_shape(asked);
        r = asked->ask(query, &sample->rows);
    }
    sample->error = r;
}

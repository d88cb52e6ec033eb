/* SPDX-License-Identifier: MIT */
#include "client/ctl/top/sample.h"

#include <stdlib.h>
#include <string.h>

#include "client/ctl/blocks.h"

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

struct chosen {
    const struct filter *filter;
    struct groups *reasons;
};

static int add_block(const struct kmem_block *block, void *user)
{
    const struct chosen *chosen = user;
    return blocks_filter(chosen->filter, block)
               ? groups_add_block(chosen->reasons, KMEM_BY_REASON, NULL, block)
               : 0;
}

/* The daemon adds up all blocks; of some, it lists them, and they are added up here. */
static int ask_reasons(struct kmem_query *query, const struct filter *filter,
                       struct groups *reasons)
{
    struct chosen chosen = {filter, reasons};
    if (!filter_is_set(filter)) {
        return groups_ask(reasons, query, KMEM_BY_REASON);
    }
    int r = blocks_ask(query, filter, false, add_block, &chosen);
    groups_join(reasons);
    return r;
}

void sample_take(struct sample *sample, struct kmem_query *query, enum page_id page,
                 const struct filter *filter, uint64_t now_ms)
{
    const struct page *asked = page_get(page);
    *sample = (struct sample){.page = page, .now_ms = now_ms};
    int r = figures_init(&sample->figures, query);
    if (r == 0 && !asked->ask) {
        r = ask_reasons(query, filter, &sample->reasons);
    } else if (r == 0) {
        sample->rows.shape = page_shape(asked);
        r = asked->ask(query, &sample->rows);
    }
    sample->error = r;
}

/* SPDX-License-Identifier: MIT */
/*
 * resize.c - another size for the segment, while it is served
 */
#include "client/ctl/command.h"

#include <stdio.h>

#include "client/ctl/figures.h"
#include "client/ctl/format.h"
#include "client/ctl/json.h"
#include "client/ctl/measure.h"
#include "client/ctl/status.h"

static int tell(const struct figures *before, const struct figures *after,
                const struct options *options, const struct screen *screen)
{
    const uint64_t before_bytes = figures_get(before, "segment_bytes");
    const uint64_t now_bytes = figures_get(after, "segment_bytes");
    const uint64_t most_bytes = figures_get(after, "most_bytes");
    if (options->format == FORMAT_JSON || options->format == FORMAT_JSONL) {
        struct json_row row;
        json_row_init(&row);
        json_row_text(&row, "segment", after->segment_name);
        json_row_number(&row, "before_bytes", before_bytes);
        json_row_number(&row, "segment_bytes", now_bytes);
        json_row_number(&row, "most_bytes", most_bytes);
        return json_row_print(&row, screen->file);
    }
    (void)fprintf(screen->file, "segment \"%s\": %s, before %s; it may have up to %s\n",
                  format_escaped(after->segment_name).text,
                  format_bytes(now_bytes, options->exact_bytes).text,
                  format_bytes(before_bytes, options->exact_bytes).text,
                  format_bytes(most_bytes, options->exact_bytes).text);
    return STATUS_OK;
}

int resize_show(struct kmem_query *query, const struct options *options,
                const struct screen *screen)
{
    const char *text = options->arguments[0];
    struct figures before = {0};
    struct figures after = {0};
    uint64_t num_bytes = 0;
    if (!measure_bytes(text, &num_bytes)) {
        (void)fprintf(stderr, "kmemctl resize: \"%s\" is no size: write 512MiB, 2G or 1.5GiB\n",
                      format_escaped(text).text);
        return STATUS_USAGE;
    }
    int r = figures_init(&before, query);
    r = r == 0 ? kmem_query_resize(query, num_bytes) : r;
    r = r == 0 ? figures_init(&after, query) : r;
    r = r == 0 ? tell(&before, &after, options, screen) : r;
    figures_fini(&before);
    figures_fini(&after);
    return r;
}

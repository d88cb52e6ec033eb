/* SPDX-License-Identifier: MIT */
/*
 * export.c - the live ledger for other programs: flame graph viewers, pprof, a browser
 */
#include "client/ctl/export.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client/ctl/blocks.h"
#include "client/ctl/command.h"
#include "client/ctl/figures.h"
#include "client/ctl/format.h"
#include "client/ctl/status.h"

const struct argp_option export_options[] = {
    {"format", OPTION_FORMAT, "FORMAT", 0, "What to write: folded (the default), pprof or html", 0},
    {0},
};

typedef int (*export_fn)(const struct exported *exported, FILE *file);

static const export_fn writers[] = {
    [EXPORT_FOLDED] = export_folded,
    [EXPORT_PPROF] = export_profile,
    [EXPORT_HTML] = export_page,
};

/* ------------------------------------------------------------------------------ gathering ---- */

struct ledger {
    const struct filter *filter;
    struct figures figures;
    struct groups groups;
    struct tree tree;
};

static int add_block(const struct kmem_block *block, void *user)
{
    struct ledger *ledger = user;
    if (!blocks_filter(ledger->filter, block)) {
        return 0;
    }
    return groups_add_block(&ledger->groups, KMEM_BY_REASON, NULL, block);
}

static int gather(struct ledger *ledger, struct kmem_query *query)
{
    int r = figures_init(&ledger->figures, query);
    if (r == 0 && filter_is_set(ledger->filter)) {
        r = blocks_ask(query, ledger->filter, false, add_block, ledger);
        groups_join(&ledger->groups);
    } else if (r == 0) {
        r = groups_ask(&ledger->groups, query, KMEM_BY_REASON);
    }
    return r ? r : tree_init(&ledger->tree, &ledger->groups);
}

/* --------------------------------------------------------------------------------- writing ---- */

/* Return: STATUS_OK, or a status, and then a message is printed. */
static int complain(const char *path, int error)
{
    (void)fprintf(stderr, "kmemctl export: cannot write %s: %s\n",
                  format_escaped(path ? path : "the standard output").text, strerror(-error));
    return STATUS_ERROR;
}

static int write_out(const struct ledger *ledger, const struct options *options, FILE *to_stdout)
{
    struct timespec now = {0};
    const char *path = options->arguments[0];
    FILE *file = path ? fopen(path, "we") : to_stdout;
    if (!file) {
        return complain(path, -errno);
    }
    (void)clock_gettime(CLOCK_REALTIME, &now);
    const struct exported exported = {
        .tree = &ledger->tree,
        .segment_name = ledger->figures.segment_name,
        .taken_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000,
    };
    int r = writers[options->export_format](&exported, file);
    if (r == 0 && (fflush(file) != 0 || ferror(file))) {
        r = -errno;
    }
    if (path && fclose(file) != 0 && r == 0) {
        r = -errno;
    }
    return r < 0 ? complain(path, r) : STATUS_OK;
}

int export_show(struct kmem_query *query, const struct options *options,
                const struct screen *screen)
{
    struct ledger ledger = {.filter = &options->filter};
    const bool is_binary = options->export_format == EXPORT_PPROF && !options->arguments[0];
    if (is_binary && isatty(fileno(screen->file))) {
        (void)fputs("kmemctl export: a profile is no text; name a file: --format=pprof FILE\n",
                    stderr);
        return STATUS_USAGE;
    }
    int r = gather(&ledger, query);
    r = r ? r : write_out(&ledger, options, screen->file);
    tree_fini(&ledger.tree);
    groups_fini(&ledger.groups);
    figures_fini(&ledger.figures);
    return r;
}

/* SPDX-License-Identifier: MIT */
#include "client/ctl/command.h"

#include <errno.h>

#include "client/ctl/format.h"
#include "client/ctl/groups.h"
#include "client/ctl/json.h"
#include "client/ctl/status.h"
#include "client/ctl/table.h"

const struct argp_option ledger_options[] = {
    {"by", OPTION_BY, "WHAT", 0, "Roll up by reason (the default), client or uid", 0},
    {"depth", OPTION_DEPTH, "N", 0, "Keep N levels of each reason: fold \"a/b/c\" into \"a/b\"", 0},
    {0},
};

static const struct table_column columns_by_reason[] = {
    {"BYTES", TABLE_RIGHT, false},  {"SHARE", TABLE_RIGHT, false}, {"BLOCKS", TABLE_RIGHT, false},
    {"OLDEST", TABLE_RIGHT, false}, {"REASON", TABLE_LEFT, true},
};
static const struct table_column columns_by_client[] = {
    {"BYTES", TABLE_RIGHT, false},  {"SHARE", TABLE_RIGHT, false}, {"BLOCKS", TABLE_RIGHT, false},
    {"OLDEST", TABLE_RIGHT, false}, {"PID", TABLE_RIGHT, false},   {"UID", TABLE_RIGHT, false},
    {"COMMAND", TABLE_LEFT, true},
};
static const struct table_column columns_by_uid[] = {
    {"BYTES", TABLE_RIGHT, false},  {"SHARE", TABLE_RIGHT, false}, {"BLOCKS", TABLE_RIGHT, false},
    {"OLDEST", TABLE_RIGHT, false}, {"UID", TABLE_RIGHT, false},
};

static struct table *ledger_table(enum kmem_group_by by)
{
    switch (by) {
    case KMEM_BY_CLIENT:
        return table_new(columns_by_client, 7);
    case KMEM_BY_UID:
        return table_new(columns_by_uid, 5);
    case KMEM_BY_REASON:
        break;
    }
    return table_new(columns_by_reason, 5);
}

static struct group groups_total(const struct groups *groups)
{
    struct group total = {0};
    for (size_t i = 0; i < groups->n_groups; i++) {
        const struct group *group = &groups->groups[i];
        total.n_blocks += group->n_blocks;
        total.num_bytes += group->num_bytes;
        total.oldest_ms = group->oldest_ms > total.oldest_ms ? group->oldest_ms : total.oldest_ms;
    }
    return total;
}

/* The cells that tell one group from another are the last ones, and the total has none of them. */
static int add_group(struct table *table, const struct group *group, const struct group *total,
                     const struct options *options)
{
    bool is_total = group == total;
    struct label bytes = format_bytes(group->num_bytes, options->exact_bytes);
    struct label share = format_share(group->num_bytes, total->num_bytes);
    struct label blocks = format_count(group->n_blocks);
    struct label oldest = format_age(group->oldest_ms);
    struct label pid = format_pid(group->pid);
    struct label uid = format_id(group->uid);
    struct escaped key = format_escaped(is_total ? "" : group->key);
    const char *cells[7] = {bytes.text, share.text, blocks.text, oldest.text};
    if (is_total) {
        cells[4] = options->by == KMEM_BY_REASON ? "total" : "";
    } else if (options->by == KMEM_BY_REASON) {
        cells[4] = key.text;
    } else if (options->by == KMEM_BY_UID) {
        cells[4] = uid.text;
    } else {
        cells[4] = pid.text;
        cells[5] = uid.text;
        cells[6] = key.text;
    }
    return table_add(table, cells);
}

static int print_table(const struct groups *groups, const struct options *options,
                       const struct screen *screen)
{
    struct group total = groups_total(groups);
    struct table *table = ledger_table(options->by);
    int r = table ? 0 : -ENOMEM;
    for (size_t i = 0; r == 0 && i < groups->n_groups; i++) {
        r = add_group(table, &groups->groups[i], &total, options);
    }
    if (r == 0) {
        table_rule(table);
        r = add_group(table, &total, &total, options);
    }
    if (r == 0) {
        table_print(table, screen);
    }
    table_free(table);
    return r;
}

/* ----------------------------------------------------------------------------------- JSON ---- */

static int add_json(struct json_list *list, const struct group *group, enum kmem_group_by by)
{
    struct json_row row;
    json_row_init(&row);
    if (by == KMEM_BY_REASON) {
        json_row_text(&row, "reason", group->key);
    } else {
        json_row_number(&row, "uid", group->uid);
    }
    if (by == KMEM_BY_CLIENT) {
        json_row_number(&row, "pid", group->pid);
        json_row_text(&row, "command", group->key);
    }
    json_row_number(&row, "n_blocks", group->n_blocks);
    json_row_number(&row, "num_bytes", group->num_bytes);
    json_row_number(&row, "oldest_ms", group->oldest_ms);
    return json_list_add(list, &row);
}

static int print_json(const struct groups *groups, const struct options *options,
                      const struct screen *screen)
{
    struct json_list list;
    int r = 0;
    json_list_begin(&list, screen->file, "ledger");
    for (size_t i = 0; r == 0 && i < groups->n_groups; i++) {
        r = add_json(&list, &groups->groups[i], options->by);
    }
    json_list_end(&list);
    return r;
}

static int print_groups(const struct groups *groups, const struct options *options,
                        const struct screen *screen)
{
    if (options->json) {
        return print_json(groups, options, screen);
    }
    if (groups->n_groups == 0) {
        (void)fputs("no live blocks\n", screen->file);
        return STATUS_OK;
    }
    return print_table(groups, options, screen);
}

int ledger_show(struct kmem_query *query, const struct options *options,
                const struct screen *screen)
{
    struct groups groups = {0};
    int r = kmem_query_ledger(query, options->by, groups_add, &groups);
    if (r == 0 && options->depth > 0) {
        groups_fold(&groups, options->depth);
    }
    r = r ? r : print_groups(&groups, options, screen);
    groups_fini(&groups);
    return r;
}

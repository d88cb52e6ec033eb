/* SPDX-License-Identifier: MIT */
#include "client/ctl/command.h"

#include "client/ctl/format.h"
#include "client/ctl/listing.h"

static const struct table_column columns[] = {
    {"NAME", TABLE_LEFT, false},   {"VERSION", TABLE_RIGHT, false}, {"OFFSET", TABLE_RIGHT, false},
    {"BYTES", TABLE_RIGHT, false}, {"HOLDERS", TABLE_RIGHT, false}, {"KEEP", TABLE_LEFT, false},
    {"PID", TABLE_RIGHT, false},   {"UID", TABLE_RIGHT, false},     {"COMMAND", TABLE_LEFT, false},
    {"REASON", TABLE_LEFT, true},
};

static const struct listing_shape shape = {"names", "no names", columns,
                                           sizeof(columns) / sizeof(columns[0])};

static int add_row(const struct kmem_name *name, void *user)
{
    struct listing *listing = user;
    struct escaped text = format_escaped(name->name);
    struct label version = format_count(name->version);
    struct label offset = format_offset(name->offset);
    struct label bytes = format_bytes(name->num_bytes, listing->options->exact_bytes);
    struct label holders = format_count(name->n_holders);
    struct label pid = format_process(name->pid, name->command);
    struct label uid = format_id(name->uid);
    struct escaped command = format_escaped(name->command);
    struct escaped reason = format_escaped(name->block_reason);
    return table_add(listing->table,
                     (const char *[]){text.text, version.text, offset.text, bytes.text,
                                      holders.text, name->keep ? "yes" : "no", pid.text, uid.text,
                                      command.text, reason.text});
}

static int add_json(const struct kmem_name *name, void *user)
{
    struct listing *listing = user;
    struct json_row row;
    json_row_init(&row);
    json_row_text(&row, "name", name->name);
    json_row_number(&row, "version", name->version);
    json_row_number(&row, "offset", name->offset);
    json_row_number(&row, "num_bytes", name->num_bytes);
    json_row_text(&row, "block_reason", name->block_reason);
    json_row_number(&row, "n_holders", name->n_holders);
    json_row_bool(&row, "keep", name->keep);
    json_row_number(&row, "pid", name->pid);
    json_row_text(&row, "command", name->command);
    json_row_number(&row, "uid", name->uid);
    return json_list_add(&listing->json, &row);
}

int names_show(struct kmem_query *query, const struct options *options, const struct screen *screen)
{
    struct listing listing;
    int r = listing_begin(&listing, &shape, options, screen);
    if (r < 0) {
        return r;
    }
    r = kmem_query_names(query, options->json ? add_json : add_row, &listing);
    return listing_end(&listing, r);
}

/* SPDX-License-Identifier: MIT */
#include "client/ctl/command.h"

#include "client/ctl/listing.h"

/* A process that has ended has no number. */
static const char *pid_text(const void *row)
{
    const struct kmem_name *name = row;
    return *name->command ? NULL : "-";
}

#define AT(member) COLUMN_AT(struct kmem_name, member)

static const struct column columns[] = {
    {"NAME", "name", COLUMN_TEXT, AT(name)},
    {"VERSION", "version", COLUMN_COUNT, AT(version), .drop = 3},
    {"OFFSET", "offset", COLUMN_OFFSET, AT(offset), .drop = 4},
    {"BYTES", "num_bytes", COLUMN_BYTES, AT(num_bytes), .filter = FILTER_SIZE, .drop = 1},
    {"REASON", "block_reason", COLUMN_TEXT, AT(block_reason), .filter = FILTER_REASON, .drop = 1,
     .may_flow = true},
    {"HOLDERS", "n_holders", COLUMN_COUNT, AT(n_holders), .drop = 2},
    {"KEEP", "keep", COLUMN_FLAG, AT(keep), .drop = 5},
    {"PID", "pid", COLUMN_PID, AT(pid), .word = pid_text, .filter = FILTER_PID, .drop = 3},
    {"COMMAND", "command", COLUMN_TEXT, AT(command), .drop = 6},
    {"UID", "uid", COLUMN_ID, AT(uid), .filter = FILTER_USER, .drop = 8},
    {"USER", "user", COLUMN_USER, AT(uid), .drop = 7, .is_derived = true},
};

#define TABLE "NAME,VERSION,OFFSET,BYTES,HOLDERS,KEEP,PID,UID,USER,COMMAND,REASON"

static const struct listing_shape shape = {
    .name = "names",
    .nothing = "no names",
    .nothing_chosen = "no names of that kind",
    .columns = columns,
    .n_columns = sizeof(columns) / sizeof(columns[0]),
    .table = TABLE,
    .wide = TABLE,
    .row_bytes = sizeof(struct kmem_name),
};

const struct listing_shape *names_shape(const struct options *options)
{
    (void)options;
    return &shape;
}

static int add_name(const struct kmem_name *name, void *user)
{
    int r = listing_add(user, name);
    return r < 0 ? r : 0;
}

int names_show(struct kmem_query *query, const struct options *options, const struct screen *screen)
{
    struct listing listing;
    int r = listing_begin(&listing, &shape, options, screen);
    if (r < 0) {
        return r;
    }
    return listing_end(&listing, kmem_query_names(query, add_name, &listing));
}

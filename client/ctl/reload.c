/* SPDX-License-Identifier: MIT */
/*
 * reload.c - have the daemon read its configuration anew, and show what that changes
 */
#include "client/ctl/command.h"

#include <errno.h>

#include "client/ctl/listing.h"
#include "client/ctl/status.h"

static const char *state_word(const void *row)
{
    const struct kmem_setting_change *change = row;
    return change->waits[0] != '\0' ? "waits" : "applied";
}

#define AT(member) COLUMN_AT(struct kmem_setting_change, member)

static const struct column columns[] = {
    {"SETTING", "key", COLUMN_TEXT, AT(key)},
    {"WAS", "was", COLUMN_TEXT, AT(was), .drop = 2},
    {"NOW", "now", COLUMN_TEXT, AT(now), .drop = 3},
    {"STATE", "state", COLUMN_WORD, .word = state_word},
    {"WHY", "waits", COLUMN_TEXT, AT(waits), .drop = 1, .may_flow = true},
};

#define TABLE "SETTING,WAS,NOW,STATE,WHY"

static const struct listing_shape shape = {
    .name = "reload",
    .nothing = "nothing has changed",
    .columns = columns,
    .n_columns = sizeof(columns) / sizeof(columns[0]),
    .table = TABLE,
    .wide = TABLE,
    .row_bytes = sizeof(struct kmem_setting_change),
};

const struct listing_shape *reload_shape(const struct options *options)
{
    (void)options;
    return &shape;
}

struct reload {
    struct listing listing;
    bool waits;
};

static int add_change(const struct kmem_setting_change *change, void *user)
{
    struct reload *reload = user;
    struct kmem_setting_change row = *change;
    reload->waits = reload->waits || change->waits;
    row.waits = row.waits ? row.waits : "";
    int r = listing_add(&reload->listing, &row);
    return r < 0 ? r : 0;
}

int reload_show(struct kmem_query *query, const struct options *options,
                const struct screen *screen)
{
    struct reload reload = {.waits = false};
    int r = listing_begin(&reload.listing, &shape, options, screen);
    if (r < 0) {
        return r;
    }
    r = listing_end(&reload.listing, kmem_query_reload(query, add_change, &reload));
    if (r == -EINVAL) {
        return -EBADMSG; /* it is not the command line that can not be meant */
    }
    return r == 0 && reload.waits ? STATUS_WAITS : r;
}

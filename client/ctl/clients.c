/* SPDX-License-Identifier: MIT */
#include "client/ctl/command.h"

#include "client/ctl/listing.h"

/* An older daemon knows of pages in no use alone. */
static uint64_t idle_bytes(const void *row)
{
    const struct kmem_client *client = row;
    return client->idle_bytes > client->unused_bytes ? client->idle_bytes : client->unused_bytes;
}

static const char *role_text(const void *row)
{
    const struct kmem_client *client = row;
    if (!client->is_reader) {
        return "member";
    }
    return client->is_walled ? "walled reader" : "reader";
}

static const char *state_text(const void *row)
{
    const struct kmem_client *client = row;
    return client->connected ? "connected" : "cut off";
}

#define AT(member) COLUMN_AT(struct kmem_client, member)

static const struct column columns[] = {
    {"SLOT", "slot", COLUMN_ID, AT(slot), .drop = 15},
    {"PID", "pid", COLUMN_PID, AT(pid), .filter = FILTER_PID},
    {"UID", "uid", COLUMN_ID, AT(uid), .filter = FILTER_USER, .drop = 11},
    {"USER", "user", COLUMN_USER, AT(uid), .drop = 9, .is_derived = true},
    {"GID", "gid", COLUMN_ID, AT(gid), .drop = 12},
    {"COMMAND", "command", COLUMN_TEXT, AT(command), .drop = 1, .may_flow = true},
    {NULL, "connected", COLUMN_FLAG, AT(connected)},
    {NULL, "reader", COLUMN_FLAG, AT(is_reader)},
    {NULL, "walled", COLUMN_FLAG, AT(is_walled)},
    {"BLOCKS", "n_blocks", COLUMN_COUNT, AT(n_blocks), .drop = 3},
    {"BYTES", "num_bytes", COLUMN_BYTES, AT(num_bytes), .filter = FILTER_SIZE, .drop = 0},
    {"LEASED", "leased_bytes", COLUMN_BYTES, AT(leased_bytes), .drop = 5},
    {"UNUSED", "unused_bytes", COLUMN_BYTES, AT(unused_bytes), .drop = 14},
    {"IDLE", "idle_bytes", COLUMN_BYTES, .number = idle_bytes, .drop = 4},
    {"PEAK USED", "peak_used_bytes", COLUMN_BYTES, AT(peak_used_bytes), .drop = 8},
    {"PEAK HELD", "peak_bytes", COLUMN_BYTES, AT(peak_bytes), .drop = 10},
    {"AGE", "age_ms", COLUMN_AGE, AT(age_ms), .filter = FILTER_AGE, .drop = 2},
    {"ROLE", "role", COLUMN_WORD, .word = role_text, .drop = 7, .is_derived = true},
    {"STATE", "state", COLUMN_WORD, .word = state_text, .drop = 6, .is_derived = true},
};

static const struct listing_shape shape = {
    .name = "clients",
    .nothing = "no clients",
    .nothing_chosen = "no clients of that kind",
    .columns = columns,
    .n_columns = sizeof(columns) / sizeof(columns[0]),
    .table = "PID,UID,USER,GID,AGE,BLOCKS,BYTES,LEASED,IDLE,PEAK USED,PEAK HELD,ROLE,STATE,COMMAND",
    .wide = "SLOT,PID,UID,USER,GID,AGE,BLOCKS,BYTES,LEASED,UNUSED,IDLE,PEAK USED,PEAK HELD,ROLE,"
            "STATE,COMMAND",
    .row_bytes = sizeof(struct kmem_client),
};

const struct listing_shape *clients_shape(const struct options *options)
{
    (void)options;
    return &shape;
}

static int add_client(const struct kmem_client *client, void *user)
{
    int r = listing_add(user, client);
    return r < 0 ? r : 0;
}

int clients_show(struct kmem_query *query, const struct options *options,
                 const struct screen *screen)
{
    struct listing listing;
    int r = listing_begin(&listing, &shape, options, screen);
    if (r < 0) {
        return r;
    }
    return listing_end(&listing, kmem_query_clients(query, add_client, &listing));
}

/* SPDX-License-Identifier: MIT */
#include "client/ctl/command.h"

#include "client/ctl/format.h"
#include "client/ctl/listing.h"

static const struct table_column columns[] = {
    {"PID", TABLE_RIGHT, false},       {"UID", TABLE_RIGHT, false},
    {"GID", TABLE_RIGHT, false},       {"AGE", TABLE_RIGHT, false},
    {"BLOCKS", TABLE_RIGHT, false},    {"BYTES", TABLE_RIGHT, false},
    {"LEASED", TABLE_RIGHT, false},    {"IDLE", TABLE_RIGHT, false},
    {"PEAK USED", TABLE_RIGHT, false}, {"PEAK HELD", TABLE_RIGHT, false},
    {"ROLE", TABLE_LEFT, false},       {"STATE", TABLE_LEFT, false},
    {"COMMAND", TABLE_LEFT, true},
};

static const struct listing_shape shape = {"clients", "no clients", columns,
                                           sizeof(columns) / sizeof(columns[0])};

/* An older daemon knows of pages in no use alone. */
static uint64_t idle_bytes(const struct kmem_client *client)
{
    return client->idle_bytes > client->unused_bytes ? client->idle_bytes : client->unused_bytes;
}

static const char *role_text(const struct kmem_client *client)
{
    if (!client->is_reader) {
        return "member";
    }
    return client->is_walled ? "walled reader" : "reader";
}

static int add_row(const struct kmem_client *client, void *user)
{
    struct listing *listing = user;
    bool exactly = listing->options->exact_bytes;
    struct label pid = format_pid(client->pid);
    struct label uid = format_id(client->uid);
    struct label gid = format_id(client->gid);
    struct label age = format_age(client->age_ms);
    struct label blocks = format_count(client->n_blocks);
    struct label bytes = format_bytes(client->num_bytes, exactly);
    struct label leased = format_bytes(client->leased_bytes, exactly);
    struct label idle = format_bytes(idle_bytes(client), exactly);
    struct label peak_used = format_bytes(client->peak_used_bytes, exactly);
    struct label peak_held = format_bytes(client->peak_bytes, exactly);
    const char *state = client->connected ? "connected" : "cut off";
    struct escaped command = format_escaped(client->command);
    return table_add(listing->table,
                     (const char *[]){pid.text, uid.text, gid.text, age.text, blocks.text,
                                      bytes.text, leased.text, idle.text, peak_used.text,
                                      peak_held.text, role_text(client), state, command.text});
}

static int add_json(const struct kmem_client *client, void *user)
{
    struct listing *listing = user;
    struct json_row row;
    json_row_init(&row);
    json_row_number(&row, "slot", client->slot);
    json_row_number(&row, "pid", client->pid);
    json_row_number(&row, "uid", client->uid);
    json_row_number(&row, "gid", client->gid);
    json_row_text(&row, "command", client->command);
    json_row_bool(&row, "connected", client->connected);
    json_row_bool(&row, "reader", client->is_reader);
    json_row_bool(&row, "walled", client->is_walled);
    json_row_number(&row, "n_blocks", client->n_blocks);
    json_row_number(&row, "num_bytes", client->num_bytes);
    json_row_number(&row, "leased_bytes", client->leased_bytes);
    json_row_number(&row, "unused_bytes", client->unused_bytes);
    json_row_number(&row, "idle_bytes", idle_bytes(client));
    json_row_number(&row, "peak_used_bytes", client->peak_used_bytes);
    json_row_number(&row, "peak_bytes", client->peak_bytes);
    json_row_number(&row, "age_ms", client->age_ms);
    return json_list_add(&listing->json, &row);
}

int clients_show(struct kmem_query *query, const struct options *options,
                 const struct screen *screen)
{
    struct listing listing;
    int r = listing_begin(&listing, &shape, options, screen);
    if (r < 0) {
        return r;
    }
    r = kmem_query_clients(query, options->json ? add_json : add_row, &listing);
    return listing_end(&listing, r);
}

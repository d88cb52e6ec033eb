/* SPDX-License-Identifier: MIT */
/*
 * holders.c - who holds the shared blocks, or one of them
 *
 * One is meant by a name, by a handle's text, or by its offset. What is a name is taken as one,
 * whatever else it could be. Of a handle the generation is compared as well: at the same offset
 * there may be another block by now.
 */
#include "client/ctl/command.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/ctl/format.h"
#include "client/ctl/listing.h"
#include "client/ctl/status.h"

#define HANDLE_SCHEME "kmem://"

enum column {
    OFFSET,
    BYTES,
    KIND,
    ACCESS,
    AGE,
    PID,
    UID,
    COMMAND,
    REASON,
    BLOCK,
    N_COLUMNS,
};

static const struct table_column columns[N_COLUMNS] = {
    [OFFSET] = {"OFFSET", TABLE_RIGHT, false}, [BYTES] = {"BYTES", TABLE_RIGHT, false},
    [KIND] = {"KIND", TABLE_LEFT, false},      [ACCESS] = {"ACCESS", TABLE_LEFT, false},
    [AGE] = {"AGE", TABLE_RIGHT, false},       [PID] = {"PID", TABLE_RIGHT, false},
    [UID] = {"UID", TABLE_RIGHT, false},       [COMMAND] = {"COMMAND", TABLE_LEFT, false},
    [REASON] = {"REASON", TABLE_LEFT, true},   [BLOCK] = {"BLOCK", TABLE_LEFT, true},
};

static const struct listing_shape all_holders = {"holders", "no shared blocks", columns, N_COLUMNS};
static const struct listing_shape some_holders = {
    "holders", "no shared block of that name or place", columns, N_COLUMNS};

/* The blocks that are asked for. */
struct wanted {
    const char *name;    /* as it was typed */
    bool is_one;         /* else all of them */
    bool is_named;       /* it is a name */
    bool has_generation; /* it is a handle */
    uint64_t offset;
    uint64_t generation;
};

struct holders {
    struct listing listing;
    struct wanted wanted;
    uint64_t n_rows;
    uint64_t generation; /* of the block of the last row; 0: there is none */
};

/* ------------------------------------------------------------------------------- which one ---- */

/* "4096" or "0x1000", up to a character that is none of it. Return: whether there is a number. */
static bool parse_number(const char **at, uint64_t *ret_number)
{
    const bool is_hex = strncmp(*at, "0x", 2) == 0;
    const char *digits = is_hex ? *at + 2 : *at;
    char *end;
    if (strspn(digits, is_hex ? "0123456789abcdefABCDEF" : "0123456789") == 0) {
        return false;
    }
    errno = 0;
    *ret_number = strtoull(digits, &end, is_hex ? 16 : 10);
    *at = end;
    return errno == 0;
}

static bool skip(const char **at, char character)
{
    const bool is_there = **at == character;
    *at += is_there;
    return is_there;
}

/* kmem://HOST/SEGMENT/OFFSET+SIZE@GENERATION/TAG. Return: whether it is one. */
static bool parse_handle(const char *text, struct wanted *wanted)
{
    uint64_t num_bytes;
    const char *at = text + strlen(HANDLE_SCHEME);
    for (int i = 0; i < 2; i++) {
        at = strchr(at, '/');
        if (!at) {
            return false;
        }
        at++;
    }
    wanted->has_generation = true;
    return parse_number(&at, &wanted->offset) && skip(&at, '+') && parse_number(&at, &num_bytes) &&
           skip(&at, '@') && parse_number(&at, &wanted->generation) && skip(&at, '/') &&
           *at != '\0';
}

static bool parse_offset(const char *text, struct wanted *wanted)
{
    return parse_number(&text, &wanted->offset) && *text == '\0';
}

static int find_name(const struct kmem_name *name, void *user)
{
    struct wanted *wanted = user;
    if (strcmp(name->name, wanted->name) == 0) {
        wanted->is_named = true;
        wanted->offset = name->offset;
    }
    return 0;
}

/*
 * Finds out which block is asked for. Return: 0; a negative errno; STATUS_ERROR: it is no name,
 * and could be nothing else; STATUS_USAGE: it looks like a handle, and is none.
 */
static int wanted_find(struct kmem_query *query, const char *argument, struct wanted *wanted)
{
    *wanted = (struct wanted){.name = argument, .is_one = argument != NULL};
    if (!argument) {
        return 0;
    }
    int r = kmem_query_names(query, find_name, wanted);
    if (r != 0 || wanted->is_named) {
        return r;
    }
    if (strncmp(argument, HANDLE_SCHEME, strlen(HANDLE_SCHEME)) == 0) {
        return parse_handle(argument, wanted) ? 0 : STATUS_USAGE;
    }
    return parse_offset(argument, wanted) ? 0 : STATUS_ERROR;
}

/* -------------------------------------------------------------------------------- the rows ---- */

static const char *kind_text(enum kmem_holder_kind kind)
{
    switch (kind) {
    case KMEM_HOLDER_OWNER:
        return "owner";
    case KMEM_HOLDER_ATTACHED:
        return "attached";
    case KMEM_HOLDER_NAME:
        return "name";
    case KMEM_HOLDER_OFFER:
        return "offer";
    }
    return "?"; /* a newer daemon's */
}

/* What is the same in each row of a block stands in the first. */
static int add_row(struct listing *listing, const struct kmem_holder *holder, bool is_first)
{
    const bool is_name = holder->kind == KMEM_HOLDER_NAME;
    struct label offset = format_offset(holder->offset);
    struct label bytes = format_bytes(holder->num_bytes, listing->options->exact_bytes);
    struct label age = format_age(holder->age_ms);
    struct label pid = format_process(holder->pid, holder->command);
    struct label uid = format_id(holder->uid);
    struct escaped command = format_escaped(holder->command);
    struct escaped reason = format_escaped(holder->reason);
    struct escaped block = format_escaped(holder->block_reason);
    const char *cells[N_COLUMNS] = {
        [OFFSET] = is_first ? offset.text : "",
        [BYTES] = is_first ? bytes.text : "",
        [KIND] = kind_text(holder->kind),
        [ACCESS] = is_name         ? ""
                   : holder->write ? "write"
                                   : "read",
        [AGE] = is_name ? "" : age.text,
        [PID] = pid.text,
        [UID] = *holder->command || is_name ? uid.text : "-",
        [COMMAND] = command.text,
        [REASON] = reason.text,
        [BLOCK] = is_first ? block.text : "",
    };
    return table_add(listing->table, cells);
}

static int add_json(struct listing *listing, const struct kmem_holder *holder)
{
    struct json_row row;
    json_row_init(&row);
    json_row_number(&row, "offset", holder->offset);
    json_row_number(&row, "num_bytes", holder->num_bytes);
    json_row_number(&row, "generation", holder->generation);
    json_row_text(&row, "block_reason", holder->block_reason);
    json_row_text(&row, "kind", kind_text(holder->kind));
    json_row_number(&row, "pid", holder->pid);
    json_row_text(&row, "command", holder->command);
    json_row_number(&row, "uid", holder->uid);
    json_row_text(&row, "reason", holder->reason);
    json_row_number(&row, "age_ms", holder->age_ms);
    json_row_bool(&row, "write", holder->write);
    return json_list_add(&listing->json, &row);
}

static int add_holder(const struct kmem_holder *holder, void *user)
{
    struct holders *holders = user;
    const bool is_first = holder->generation != holders->generation;
    if (holders->wanted.has_generation && holder->generation != holders->wanted.generation) {
        return 0;
    }
    holders->n_rows++;
    holders->generation = holder->generation;
    return holders->listing.table ? add_row(&holders->listing, holder, is_first)
                                  : add_json(&holders->listing, holder);
}

/* --------------------------------------------------------------------------------- showing ---- */

static int complain_of_handle(const char *text)
{
    struct escaped handle = format_escaped(text);
    (void)fprintf(stderr,
                  "kmemctl holders: a handle is kmem://HOST/SEGMENT/OFFSET+SIZE@GENERATION/TAG, "
                  "not \"%s\"\n",
                  handle.text);
    return STATUS_USAGE;
}

int holders_show(struct kmem_query *query, const struct options *options,
                 const struct screen *screen)
{
    struct holders holders = {0};
    const int found = wanted_find(query, options->argument, &holders.wanted);
    if (found < 0) {
        return found;
    }
    if (found == STATUS_USAGE) {
        return complain_of_handle(options->argument);
    }
    const struct wanted *wanted = &holders.wanted;
    int r = listing_begin(&holders.listing, wanted->is_one ? &some_holders : &all_holders, options,
                          screen);
    if (r < 0) {
        return r;
    }
    /* 0, of all, is the offset of no block: the first page is never given out. */
    if (found == 0 && (!wanted->is_one || wanted->offset != 0)) {
        r = kmem_query_holders(query, wanted->offset, add_holder, &holders);
    }
    r = listing_end(&holders.listing, r);
    return r == 0 && wanted->is_one && holders.n_rows == 0 ? STATUS_ERROR : r;
}

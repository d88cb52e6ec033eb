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
    uint64_t n_rows; /* of that block, whether they are shown or not */
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

static const char *kind_text(const void *row)
{
    const struct kmem_holder *holder = row;
    switch (holder->kind) {
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

static bool is_name(const struct kmem_holder *holder)
{
    return holder->kind == KMEM_HOLDER_NAME;
}

static const char *access_text(const void *row)
{
    const struct kmem_holder *holder = row;
    return is_name(holder) ? "" : holder->write ? "write" : "read";
}

static const char *age_text(const void *row)
{
    return is_name(row) ? "" : NULL;
}

/* A process that has ended has no number, and only of a name its user is known. */
static const char *pid_text(const void *row)
{
    const struct kmem_holder *holder = row;
    return *holder->command ? NULL : "-";
}

static const char *uid_text(const void *row)
{
    return is_name(row) ? NULL : pid_text(row);
}

#define AT(member) COLUMN_AT(struct kmem_holder, member)
#define GENERATION 2

/* What is the same in each row of a block stands in the first. */
static const struct column columns[] = {
    {"OFFSET", "offset", COLUMN_OFFSET, AT(offset), .drop = 2, .is_once = true},
    {"BYTES", "num_bytes", COLUMN_BYTES, AT(num_bytes), .filter = FILTER_SIZE, .drop = 3,
     .is_once = true},
    [GENERATION] = {NULL, "generation", COLUMN_COUNT, AT(generation)},
    {"BLOCK", "block_reason", COLUMN_TEXT, AT(block_reason), .drop = 6, .is_once = true,
     .may_flow = true},
    {"KIND", "kind", COLUMN_WORD, .word = kind_text, .drop = 1},
    {"PID", "pid", COLUMN_PID, AT(pid), .word = pid_text, .filter = FILTER_PID},
    {"COMMAND", "command", COLUMN_TEXT, AT(command), .drop = 7},
    {"UID", "uid", COLUMN_ID, AT(uid), .word = uid_text, .filter = FILTER_USER, .drop = 9},
    {"USER", "user", COLUMN_USER, AT(uid), .word = uid_text, .drop = 8, .is_derived = true},
    {"REASON", "reason", COLUMN_TEXT, AT(reason), .filter = FILTER_REASON, .may_flow = true},
    {"AGE", "age_ms", COLUMN_AGE, AT(age_ms), .word = age_text, .filter = FILTER_AGE, .drop = 4},
    {NULL, "write", COLUMN_FLAG, AT(write)},
    {"ACCESS", "access", COLUMN_WORD, .word = access_text, .drop = 5, .is_derived = true},
};

#define TABLE "OFFSET,BYTES,KIND,ACCESS,AGE,PID,UID,USER,COMMAND,REASON,BLOCK"

static const struct listing_shape all_holders = {
    .name = "holders",
    .nothing = "no shared blocks",
    .nothing_chosen = "no holders of that kind",
    .columns = columns,
    .n_columns = sizeof(columns) / sizeof(columns[0]),
    .table = TABLE,
    .wide = TABLE,
    .row_bytes = sizeof(struct kmem_holder),
    .once_by = &columns[GENERATION],
};

static const struct listing_shape some_holders = {
    .name = "holders",
    .nothing = "no shared block of that name or place",
    .nothing_chosen = "no holders of that kind",
    .columns = columns,
    .n_columns = sizeof(columns) / sizeof(columns[0]),
    .table = TABLE,
    .wide = TABLE,
    .row_bytes = sizeof(struct kmem_holder),
    .once_by = &columns[GENERATION],
};

const struct listing_shape *holders_shape(const struct options *options)
{
    return options->arguments[0] ? &some_holders : &all_holders;
}

static int add_holder(const struct kmem_holder *holder, void *user)
{
    struct holders *holders = user;
    if (holders->wanted.has_generation && holder->generation != holders->wanted.generation) {
        return 0;
    }
    holders->n_rows++;
    int r = listing_add(&holders->listing, holder);
    return r < 0 ? r : 0;
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
    struct holders holders = {.n_rows = 0};
    const int found = wanted_find(query, options->arguments[0], &holders.wanted);
    if (found < 0) {
        return found;
    }
    if (found == STATUS_USAGE) {
        return complain_of_handle(options->arguments[0]);
    }
    const struct wanted *wanted = &holders.wanted;
    int r = listing_begin(&holders.listing, holders_shape(options), options, screen);
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

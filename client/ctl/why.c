/* SPDX-License-Identifier: MIT */
/*
 * why.c - what one byte of the segment is: of what block, whose, what for, who holds it, and what
 * lies beside it
 *
 * It is meant by an offset, by a handle, or by an address in a process, which /proc/PID/maps leads
 * to an offset: memory of a process is the segment's where the file that is mapped there is called
 * kmemd:NAME:segment.
 */
#include "client/ctl/command.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <kmem/observe.h>

#include "client/ctl/format.h"
#include "client/ctl/json.h"
#include "client/ctl/place.h"
#include "client/ctl/status.h"

/* What is known, printed as it comes. */
struct story {
    const struct screen *screen;
    const struct options *options;
    const struct place *place;
    struct json_row *json; /* NULL: a text */
    uint64_t holders_of;   /* a block's offset: its holders are asked for next; 0: of none */
    uint64_t n_holders;
};

/* ------------------------------------------------------------------------------- the words ---- */

static const char *kind_word(enum kmem_byte_kind kind)
{
    static const char *const words[] = {"beyond",   "free",  "idle", "block",
                                        "rounding", "place", "rest", "unknown"};
    return (size_t)kind < sizeof(words) / sizeof(words[0]) ? words[kind] : "?";
}

static const char *pages_words(enum kmem_page_state state)
{
    static const char *const words[] = {
        "free",
        "free, and being cleared",
        "the first page",
        "a slab or large block of the daemon's",
        "leased",
        "leased, and in no use",
        "on its way back",
    };
    return (size_t)state < sizeof(words) / sizeof(words[0]) ? words[state] : "?";
}

static struct label bytes_of(const struct story *story, uint64_t num_bytes)
{
    return format_bytes(num_bytes, story->options->exact_bytes);
}

/* ---------------------------------------------------------------------------------- a text ---- */

static void print_line(const struct story *story, const char *title, const char *text)
{
    (void)fprintf(story->screen->file, "%-11s ", title);
    (void)screen_flow(story->screen, 12, 12, text);
    (void)fputc('\n', story->screen->file);
}

static void print_block(const struct story *story, const char *title,
                        const struct kmem_block *block)
{
    char text[3 * ESCAPED_MAX_BYTES];
    const struct escaped reason = format_escaped(block->reason);
    const struct escaped command = format_escaped(block->command);
    (void)snprintf(
        text, sizeof(text), "%s bytes at %s, \"%s\", of process %s (%s, user %u), %s old%s%s",
        format_count(block->num_bytes).text, format_offset(block->offset).text, reason.text,
        format_process(block->pid, block->command).text, command.text, block->uid,
        format_age(block->age_ms).text, block->leased ? ", carved by its owner" : "",
        block->shared ? ", shared" : ""); /* fits */
    print_line(story, title, text);
}

static void print_pages(const struct story *story, const char *title,
                        const struct kmem_pages *pages)
{
    char text[3 * ESCAPED_MAX_BYTES];
    char owner[ESCAPED_MAX_BYTES + 64] = "";
    char blocks[ESCAPED_MAX_BYTES + 128] = "";
    if (*pages->command) {
        (void)snprintf(owner, sizeof(owner), ", %s %s (%s)",
                       pages->one_owner ? "of process" : "most of it of process",
                       format_process(pages->pid, pages->command).text,
                       format_escaped(pages->command).text); /* fits */
    }
    if (pages->n_blocks > 0) {
        (void)snprintf(
            blocks, sizeof(blocks), ", %s %s with %s, %s\"%s\"", format_count(pages->n_blocks).text,
            pages->n_blocks == 1 ? "block" : "blocks", bytes_of(story, pages->live_bytes).text,
            pages->one_reason ? "" : "most of it ", format_escaped(pages->reason).text); /* fits */
    }
    (void)snprintf(text, sizeof(text), "%s at %s, %s%s%s", bytes_of(story, pages->num_bytes).text,
                   format_offset(pages->offset).text, pages_words(pages->state), owner,
                   blocks); /* fits */
    print_line(story, title, text);
}

/* What is said of it comes with it; a daemon that leaves it out says nothing. */
static enum kmem_byte_kind kind_of(const struct kmem_byte *byte)
{
    const bool wants_block = byte->kind == KMEM_BYTE_BLOCK || byte->kind == KMEM_BYTE_ROUNDING;
    return (wants_block && !byte->block) || (byte->kind == KMEM_BYTE_FREE && !byte->pages)
               ? KMEM_BYTE_UNKNOWN
               : byte->kind;
}

static void say_what(const struct kmem_byte *byte, char *text, size_t text_bytes)
{
    const uint64_t at = byte->block ? byte->offset - byte->block->offset : 0;
    switch (kind_of(byte)) {
    case KMEM_BYTE_BEYOND:
        (void)snprintf(text, text_bytes, "behind the segment's end, which is at %s",
                       format_offset(byte->segment_bytes).text);
        return;
    case KMEM_BYTE_FREE:
        (void)snprintf(text, text_bytes, "no block; its pages: %s",
                       pages_words(byte->pages->state));
        return;
    case KMEM_BYTE_IDLE:
        (void)snprintf(text, text_bytes, "in a leased page that is in no use: no block is there");
        return;
    case KMEM_BYTE_BLOCK:
        (void)snprintf(text, text_bytes, "byte %s of a block of %s", format_count(at).text,
                       format_count(byte->block->num_bytes).text);
        return;
    case KMEM_BYTE_ROUNDING:
        (void)snprintf(text, text_bytes,
                       "%s bytes behind the end of a block of %s: sizes are rounded up, here to "
                       "%s; what is written there is written out of bounds",
                       format_count(at - byte->block->num_bytes).text,
                       format_count(byte->block->num_bytes).text,
                       format_count(byte->place_bytes).text);
        return;
    case KMEM_BYTE_PLACE:
        (void)snprintf(
            text, text_bytes, "in a free place of %s bytes of a slab, at %s: no block is there now",
            format_count(byte->place_bytes).text, format_offset(byte->place_offset).text);
        return;
    case KMEM_BYTE_REST:
        (void)snprintf(text, text_bytes, "at the end of a slab, where no block fits");
        return;
    case KMEM_BYTE_UNKNOWN:
        break;
    }
    (void)snprintf(text, text_bytes, "in a leased page of which its client's ledger says nothing");
}

static void print_byte(const struct story *story, const struct kmem_byte *byte)
{
    char text[256];
    const struct place *place = story->place;
    if (place->pid > 0) {
        const struct escaped name = format_escaped(place->name);
        (void)snprintf(text, sizeof(text), "0x%llx in process %u, mapped from %.100s",
                       (unsigned long long)place->address, place->pid, name.text);
        print_line(story, "Address", text);
    }
    print_line(story, "Offset", format_offset(byte->offset).text);
    say_what(byte, text, sizeof(text));
    print_line(story, "This is", text);
    if (byte->block) {
        print_block(story, "Block", byte->block);
    }
    if (byte->pages) {
        print_pages(story, "In", byte->pages);
    }
    if (byte->block_before) {
        print_block(story, "Before it", byte->block_before);
    }
    if (byte->before && (!byte->block_before || byte->before->n_blocks == 0)) {
        print_pages(story, "Before that", byte->before);
    }
    if (byte->block_after) {
        print_block(story, "Behind it", byte->block_after);
    }
    if (byte->after && (!byte->block_after || byte->after->n_blocks == 0)) {
        print_pages(story, "Behind that", byte->after);
    }
}

/* ------------------------------------------------------------------------------------ JSON ---- */

static void json_block(struct json_row *json, const char *key, const struct kmem_block *block)
{
    struct json_row row;
    if (!block) {
        return;
    }
    json_row_init(&row);
    json_row_number(&row, "offset", block->offset);
    json_row_number(&row, "num_bytes", block->num_bytes);
    json_row_text(&row, "reason", block->reason);
    json_row_number(&row, "pid", block->pid);
    json_row_number(&row, "uid", block->uid);
    json_row_text(&row, "command", block->command);
    json_row_number(&row, "age_ms", block->age_ms);
    json_row_bool(&row, "leased", block->leased);
    json_row_bool(&row, "shared", block->shared);
    json_row_row(json, key, &row);
}

static void json_pages(struct json_row *json, const char *key, const struct kmem_pages *pages)
{
    struct json_row row;
    if (!pages) {
        return;
    }
    json_row_init(&row);
    json_row_number(&row, "offset", pages->offset);
    json_row_number(&row, "num_bytes", pages->num_bytes);
    json_row_text(&row, "state", pages_words(pages->state));
    json_row_number(&row, "pid", pages->pid);
    json_row_text(&row, "command", pages->command);
    json_row_number(&row, "n_blocks", pages->n_blocks);
    json_row_number(&row, "live_bytes", pages->live_bytes);
    json_row_text(&row, "reason", pages->reason);
    json_row_row(json, key, &row);
}

static void json_byte(const struct story *story, const struct kmem_byte *byte)
{
    struct json_row *json = story->json;
    json_row_number(json, "offset", byte->offset);
    json_row_text(json, "kind", kind_word(byte->kind));
    if (story->place->pid > 0) {
        json_row_number(json, "pid", story->place->pid);
        json_row_number(json, "address", story->place->address);
        json_row_text(json, "mapping", story->place->name);
    }
    if (byte->block) {
        json_row_number(json, "byte_of_block", byte->offset - byte->block->offset);
    }
    if (byte->place_bytes > 0) {
        json_row_number(json, "place_offset", byte->place_offset);
        json_row_number(json, "place_bytes", byte->place_bytes);
    }
    json_block(json, "block", byte->block);
    json_pages(json, "pages", byte->pages);
    json_block(json, "block_before", byte->block_before);
    json_pages(json, "pages_before", byte->before);
    json_block(json, "block_after", byte->block_after);
    json_pages(json, "pages_after", byte->after);
}

/* --------------------------------------------------------------------------------- showing ---- */

static int tell_byte(const struct kmem_byte *byte, void *user)
{
    struct story *story = user;
    if (story->json) {
        json_byte(story, byte);
    } else {
        print_byte(story, byte);
    }
    story->holders_of = byte->block && byte->block->shared ? byte->block->offset : 0;
    return 0;
}

static const char *holder_word(enum kmem_holder_kind kind)
{
    static const char *const words[] = {"owner", "attached", "name", "offer"};
    return (size_t)kind < sizeof(words) / sizeof(words[0]) ? words[kind] : "?";
}

static int tell_holder(const struct kmem_holder *holder, void *user)
{
    struct story *story = user;
    story->n_holders++;
    if (story->json) {
        struct json_row row;
        json_row_init(&row);
        json_row_text(&row, "kind", holder_word(holder->kind));
        json_row_number(&row, "pid", holder->pid);
        json_row_text(&row, "command", holder->command);
        json_row_text(&row, "reason", holder->reason);
        json_row_append(story->json, "holders", &row);
        return 0;
    }
    char text[2 * ESCAPED_MAX_BYTES + 64];
    const struct escaped command = format_escaped(holder->command);
    const struct escaped reason = format_escaped(holder->reason);
    (void)snprintf(text, sizeof(text), "%s %s %s, \"%s\"", holder_word(holder->kind),
                   format_process(holder->pid, holder->command).text, command.text,
                   reason.text); /* fits */
    print_line(story, story->n_holders == 1 ? "Held by" : "", text);
    return 0;
}

static int tell(struct kmem_query *query, struct story *story)
{
    int r = kmem_query_at(query, story->place->offset, tell_byte, story);
    if (r == 0 && story->json) {
        json_row_list(story->json, "holders");
    }
    return r == 0 && story->holders_of != 0
               ? kmem_query_holders(query, story->holders_of, tell_holder, story)
               : r;
}

int why_show(struct kmem_query *query, const struct options *options, const struct screen *screen)
{
    struct place place;
    struct json_row json;
    struct story story = {.screen = screen, .options = options, .place = &place};
    const bool is_json = options->format == FORMAT_JSON || options->format == FORMAT_JSONL;
    if (options->format == FORMAT_CSV) {
        (void)fputs("kmemctl why: its answer is no table: --output=csv means nothing to it\n",
                    stderr);
        return STATUS_USAGE;
    }
    int r = place_find(options->arguments[0], query, &place);
    if (r != 0) {
        return r;
    }
    if (!is_json) {
        return tell(query, &story);
    }
    json_row_init(&json);
    story.json = &json;
    r = tell(query, &story);
    if (r != 0) {
        json_row_drop(&json);
        return r;
    }
    return json_row_print(&json, screen->file);
}

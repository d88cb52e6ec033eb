/* SPDX-License-Identifier: MIT */
/*
 * query_pages.c - the segment's pages, and what one byte is
 *
 * A cell that an answer has only a part of is put together here, before the caller sees it.
 */
#include <stdlib.h>
#include <string.h>

#include <kmem/observe.h>

#include "client/query_parts.h"
#include "proto/limits.h"

/* ----------------------------------------------------------------------------------- pages ---- */

static struct kmem_pages pages_row(const Kmem__PageRow *said)
{
    return (struct kmem_pages){
        .offset = said->offset,
        .num_bytes = said->num_bytes,
        .state = (enum kmem_page_state)said->state,
        .free_bytes = said->free_bytes,
        .dirty_bytes = said->dirty_bytes,
        .idle_bytes = said->idle_bytes,
        .live_bytes = said->live_bytes,
        .n_blocks = said->n_blocks,
        .longest_bytes = said->longest_bytes,
        .oldest_ms = said->oldest_ms,
        .newest_ms = said->newest_ms,
        .pid = said->pid,
        .uid = said->uid,
        .command = said->command,
        .reason = said->reason,
        .one_owner = said->one_owner,
        .one_reason = said->one_reason,
    };
}

/* A cell of which more may come; its strings are copies. */
struct cell {
    struct kmem_pages pages;
    uint64_t state_bytes; /* what speaks for the state, the owner and the reason */
    uint64_t owner_bytes;
    uint64_t reason_bytes;
    char command[COMMAND_BYTES];
    char reason[REASON_MAX_BYTES + 1];
};

static void copy_text(char *to, size_t to_bytes, const char *from)
{
    const size_t n_bytes = strnlen(from, to_bytes - 1);
    memcpy(to, from, n_bytes);
    to[n_bytes] = '\0';
}

static void cell_begin(struct cell *cell, const Kmem__PageRow *said)
{
    cell->pages = pages_row(said);
    cell->state_bytes = said->num_bytes;
    cell->owner_bytes = said->owner_bytes;
    cell->reason_bytes = said->reason_bytes;
    copy_text(cell->command, sizeof(cell->command), said->command);
    copy_text(cell->reason, sizeof(cell->reason), said->reason);
    cell->pages.command = cell->command;
    cell->pages.reason = cell->reason;
}

static void cell_add_owner(struct cell *cell, const Kmem__PageRow *said)
{
    struct kmem_pages *pages = &cell->pages;
    const int is_same = said->owner_bytes == 0 || cell->owner_bytes == 0 ||
                        (said->pid == pages->pid && strcmp(said->command, pages->command) == 0);
    pages->one_owner = (pages->one_owner || cell->owner_bytes == 0) &&
                       (said->one_owner || said->owner_bytes == 0) && is_same;
    if (said->owner_bytes > cell->owner_bytes) {
        cell->owner_bytes = said->owner_bytes;
        pages->pid = said->pid;
        pages->uid = said->uid;
        copy_text(cell->command, sizeof(cell->command), said->command);
    }
}

static void cell_add_reason(struct cell *cell, const Kmem__PageRow *said)
{
    struct kmem_pages *pages = &cell->pages;
    const int is_same = said->reason_bytes == 0 || cell->reason_bytes == 0 ||
                        strcmp(said->reason, pages->reason) == 0;
    pages->one_reason = (pages->one_reason || cell->reason_bytes == 0) &&
                        (said->one_reason || said->reason_bytes == 0) && is_same;
    if (said->reason_bytes > 0) {
        pages->newest_ms = cell->reason_bytes > 0 && pages->newest_ms < said->newest_ms
                               ? pages->newest_ms
                               : said->newest_ms;
    }
    if (said->reason_bytes > cell->reason_bytes) {
        cell->reason_bytes = said->reason_bytes;
        copy_text(cell->reason, sizeof(cell->reason), said->reason);
    }
}

/* The rest of a cell, or some more of it. The longest piece may go over the border. */
static void cell_add(struct cell *cell, const Kmem__PageRow *said)
{
    struct kmem_pages *pages = &cell->pages;
    cell_add_owner(cell, said);
    cell_add_reason(cell, said);
    if (said->num_bytes > cell->state_bytes) {
        cell->state_bytes = said->num_bytes;
        pages->state = (enum kmem_page_state)said->state;
    }
    pages->num_bytes += said->num_bytes;
    pages->free_bytes += said->free_bytes;
    pages->dirty_bytes += said->dirty_bytes;
    pages->idle_bytes += said->idle_bytes;
    pages->live_bytes += said->live_bytes;
    pages->n_blocks += said->n_blocks;
    pages->oldest_ms = said->oldest_ms > pages->oldest_ms ? said->oldest_ms : pages->oldest_ms;
    pages->longest_bytes =
        said->longest_bytes > pages->longest_bytes ? said->longest_bytes : pages->longest_bytes;
}

struct asking {
    uint64_t cell_bytes;
    struct cell cell; /* num_bytes 0: none is begun */
    kmem_pages_fn each;
    void *user;
};

static int cell_end(struct asking *asking)
{
    const int r =
        asking->cell.pages.num_bytes > 0 ? asking->each(&asking->cell.pages, asking->user) : 0;
    asking->cell.pages.num_bytes = 0;
    return r;
}

static int cells_page(struct asking *asking, const Kmem__PagesReport *report)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < report->n_rows; i++) {
        const Kmem__PageRow *said = report->rows[i];
        const uint64_t at = said->offset / asking->cell_bytes;
        if (asking->cell.pages.num_bytes > 0 &&
            asking->cell.pages.offset / asking->cell_bytes == at) {
            cell_add(&asking->cell, said);
        } else {
            r = cell_end(asking);
            cell_begin(&asking->cell, said);
        }
    }
    return r;
}

static int pages_page(struct asking *asking, const Kmem__PagesReport *report)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < report->n_rows; i++) {
        const struct kmem_pages pages = pages_row(report->rows[i]);
        r = asking->each(&pages, asking->user);
    }
    return r;
}

KMEM_MUST_USE static int pages_rows(struct kmem_query *query, struct asking *asking)
{
    const Kmem__Response *response = NULL;
    Kmem__Request request = KMEM__REQUEST__INIT;
    Kmem__Pages pages = KMEM__PAGES__INIT;
    request.body_case = KMEM__REQUEST__BODY_PAGES;
    request.pages = &pages;
    pages.cell_bytes = asking->cell_bytes;
    for (;;) {
        int r = kmem__query_ask(query, &request, KMEM__RESPONSE__BODY_PAGES, &response);
        if (r == 0) {
            r = asking->cell_bytes > 0 ? cells_page(asking, response->pages)
                                       : pages_page(asking, response->pages);
        }
        if (r != 0 || !response->pages->more) {
            return r == 0 ? cell_end(asking) : r;
        }
        if (response->pages->next_offset <= pages.from_offset) {
            return kmem__query_fail_to_move_on(query);
        }
        pages.from_offset = response->pages->next_offset;
        pages.stretch_offset = response->pages->next_stretch;
    }
}

int kmem_query_pages(struct kmem_query *query, uint64_t cell_bytes, kmem_pages_fn each, void *user)
{
    struct asking asking = {.cell_bytes = cell_bytes, .each = each, .user = user};
    int r = kmem__query_begin(query, "kmem_query_pages");
    return r < 0 ? r : kmem__query_end(query, pages_rows(query, &asking));
}

/* -------------------------------------------------------------------------------- one byte ---- */

/* What an answer may have, made into what the callback is given. */
struct parts {
    struct kmem_pages pages[3];
    struct kmem_block blocks[3];
};

static const struct kmem_pages *part_pages(struct kmem_pages *room, const Kmem__PageRow *said)
{
    if (said != NULL) {
        *room = pages_row(said);
    }
    return said != NULL ? room : NULL;
}

static const struct kmem_block *part_block(struct kmem_block *room, const Kmem__Block *said)
{
    if (said != NULL) {
        *room = kmem__query_block(said);
    }
    return said != NULL ? room : NULL;
}

KMEM_MUST_USE static int at_row(struct kmem_query *query, uint64_t offset, kmem_byte_fn each,
                                void *user)
{
    const Kmem__Response *response = NULL;
    Kmem__Request request = KMEM__REQUEST__INIT;
    Kmem__At at = KMEM__AT__INIT;
    struct parts parts;
    request.body_case = KMEM__REQUEST__BODY_AT;
    request.at = &at;
    at.offset = offset;
    int r = kmem__query_ask(query, &request, KMEM__RESPONSE__BODY_AT, &response);
    if (r != 0) {
        return r;
    }
    const Kmem__AtReport *said = response->at;
    const struct kmem_byte byte = {
        .offset = offset,
        .segment_bytes = said->segment_bytes,
        .kind = (enum kmem_byte_kind)said->kind,
        .block = part_block(&parts.blocks[0], said->block),
        .place_offset = said->place_offset,
        .place_bytes = said->place_bytes,
        .pages = part_pages(&parts.pages[0], said->pages),
        .before = part_pages(&parts.pages[1], said->pages_before),
        .after = part_pages(&parts.pages[2], said->pages_after),
        .block_before = part_block(&parts.blocks[1], said->before),
        .block_after = part_block(&parts.blocks[2], said->after),
    };
    return each(&byte, user);
}

int kmem_query_at(struct kmem_query *query, uint64_t offset, kmem_byte_fn each, void *user)
{
    int r = kmem__query_begin(query, "kmem_query_at");
    return r < 0 ? r : kmem__query_end(query, at_row(query, offset, each, user));
}

/* SPDX-License-Identifier: MIT */
/*
 * report_pages.c - the pages in order: stretch by stretch, or added up to cells
 *
 * A page of the answer looks at a scan's step of entries, whatever the segment's size and whatever
 * clients say; others are served before the next one. A cell that the budget does not suffice for
 * is told in parts. That a stretch is cut, by cells or by the end of an answer, changes nothing in
 * what it is: where it begins travels with the question, and what it counts is divided by pages.
 */
#include "daemon/core/report_pages.h"

#include <assert.h>
#include <string.h>

#include "daemon/core/block_iter.h"
#include "daemon/core/leading.h"
#include "daemon/core/scan.h"
#include "daemon/core/tick.h"

/* Five varints and two flags beside what was counted for a row, and words of states. */
#define PAGES_EXTRA_BYTES 80

/* What a row is made of: a stretch's part, or the parts of several in a cell. */
struct row {
    uint32_t page;
    uint32_t n_pages;
    uint32_t n_of_state[N_STRETCH_STATES];
    uint32_t n_dirty;
    uint64_t live_bytes;
    uint64_t n_blocks;
    uint32_t n_longest;
    uint32_t n_stretch_free; /* of the free piece that it ends with, so far */
    uint32_t oldest;
    uint32_t newest;
    bool has_ages;
    bool one_owner;
    bool one_reason;
    struct leading owners;  /* in pages, as bytes */
    struct leading reasons; /* likewise; the keys stand for these: */
    struct block reason[LEADING_KEYS];
};

static void row_init(struct row *row, uint32_t page)
{
    memset(row, 0, sizeof(*row));
    row->page = page;
    row->one_owner = true;
    row->one_reason = true;
    leading_init(&row->owners);
    leading_init(&row->reasons);
}

static bool is_free(enum stretch_state state)
{
    return state == STRETCH_FREE || state == STRETCH_CLEARING;
}

/* Divided by pages: exact where the stretch is whole. */
static uint64_t share_of(uint64_t number, uint32_t n_part, uint32_t n_whole)
{
    return n_part == n_whole ? number : (uint64_t)((__uint128_t)number * n_part / n_whole);
}

static void row_note_blocks(struct row *row, const struct stretch *stretch, bool begins,
                            uint32_t n_pages)
{
    const uint64_t num_bytes = (uint64_t)n_pages << PAGE_SHIFT;
    if (!row->has_ages || stretch->oldest < row->oldest) {
        row->oldest = stretch->oldest;
    }
    if (!row->has_ages || stretch->newest > row->newest) {
        row->newest = stretch->newest;
    }
    row->has_ages = true;
    row->n_blocks += begins ? stretch->n_blocks : 0;
    row->live_bytes += share_of(stretch->live_bytes, n_pages, stretch->n_pages);
    row->one_reason = row->one_reason && stretch->one_reason;
    leading_note(&row->reasons, stretch_reason_key(&stretch->reason), num_bytes);
    for (uint32_t i = 0; i < row->reasons.n_keys; i++) {
        if (row->reasons.counters[i].key == stretch_reason_key(&stretch->reason)) {
            row->reason[i] = stretch->reason;
        }
    }
}

/* The row takes n_pages of a stretch, from `page` on. */
static void row_add(struct row *row, const struct stretch *stretch, uint32_t page, uint32_t n_pages)
{
    row->n_pages += n_pages;
    row->n_of_state[stretch->state] += n_pages;
    row->n_stretch_free = is_free(stretch->state) ? row->n_stretch_free + n_pages : 0;
    row->n_longest = row->n_stretch_free > row->n_longest ? row->n_stretch_free : row->n_longest;
    if (stretch->owner != SLOT_NONE) {
        row->one_owner = row->one_owner && stretch->one_owner;
        leading_note(&row->owners, stretch->owner, (uint64_t)n_pages << PAGE_SHIFT);
    }
    if (stretch->n_blocks > 0) {
        row_note_blocks(row, stretch, page == stretch->page, n_pages);
    }
}

/* 2,048 pages: 32 words in a row, which take no longer than an entry does that is in no cache. */
#define DIRTY_PAGES_A_STEP 2048

static void row_note_free(struct row *row, const struct core *core, uint32_t page, uint32_t n_pages,
                          uint32_t *spent)
{
    row->n_dirty += pages_count_dirty(&core->pages, page, n_pages);
    *spent += n_pages / DIRTY_PAGES_A_STEP;
}

/* ----------------------------------------------------------------------------- the message -- */

static enum stretch_state state_of(const struct row *row)
{
    uint32_t most = 0;
    for (uint32_t state = 1; state < N_STRETCH_STATES; state++) {
        most = row->n_of_state[state] > row->n_of_state[most] ? state : most;
    }
    return (enum stretch_state)most;
}

static Kmem__PageState wire_state(enum stretch_state state)
{
    static const Kmem__PageState states[] = {
        [STRETCH_FREE] = KMEM__PAGE_STATE__PAGES_FREE,
        [STRETCH_CLEARING] = KMEM__PAGE_STATE__PAGES_CLEARING,
        [STRETCH_FIRST] = KMEM__PAGE_STATE__PAGES_FIRST,
        [STRETCH_DIRECT] = KMEM__PAGE_STATE__PAGES_DIRECT,
        [STRETCH_LEASED] = KMEM__PAGE_STATE__PAGES_LEASED,
        [STRETCH_IDLE] = KMEM__PAGE_STATE__PAGES_IDLE,
        [STRETCH_RETURNING] = KMEM__PAGE_STATE__PAGES_RETURNING,
    };
    return states[state];
}

static uint64_t bytes_of(uint32_t n_pages)
{
    return (uint64_t)n_pages << PAGE_SHIFT;
}

static void message_owner(const struct core *core, const struct row *row, struct reply *reply,
                          Kmem__PageRow *message)
{
    const uint32_t slot = (uint32_t)leading_first(&row->owners, &message->owner_bytes);
    const struct client_identity *identity = &clients_get(&core->clients, slot)->identity;
    message->pid = identity->pid;
    message->uid = identity->uid;
    message->command = reply_string(reply, identity->command, strlen(identity->command));
    message->one_owner = row->one_owner && leading_is_sole(&row->owners);
}

static void message_reason(const struct core *core, const struct row *row, struct reply *reply,
                           Kmem__PageRow *message)
{
    char text[REASON_MAX_BYTES];
    const uint64_t key = leading_first(&row->reasons, &message->reason_bytes);
    uint32_t at = 0;
    while (row->reasons.counters[at].key != key) {
        at++;
    }
    message->reason = reply_string(reply, text, block_reason(core, &row->reason[at], text));
    message->one_reason = row->one_reason && leading_is_sole(&row->reasons);
}

static Kmem__PageRow *row_message(const struct core *core, const struct row *row, uint32_t now,
                                  struct reply *reply)
{
    const uint32_t *n_of = row->n_of_state;
    Kmem__PageRow *message = reply_take(reply, sizeof(*message));
    kmem__page_row__init(message);
    message->offset = bytes_of(row->page);
    message->num_bytes = bytes_of(row->n_pages);
    message->state = wire_state(state_of(row));
    message->free_bytes = bytes_of(n_of[STRETCH_FREE] + n_of[STRETCH_CLEARING]);
    message->dirty_bytes = bytes_of(row->n_dirty);
    message->idle_bytes = bytes_of(n_of[STRETCH_IDLE] + n_of[STRETCH_RETURNING]);
    message->live_bytes = row->live_bytes;
    message->n_blocks = row->n_blocks;
    message->longest_bytes = bytes_of(row->n_longest);
    message->oldest_ms = row->has_ages ? tick_age_ms(row->oldest, now) : 0;
    message->newest_ms = row->has_ages ? tick_age_ms(row->newest, now) : 0;
    if (row->owners.n_keys > 0) {
        message_owner(core, row, reply, message);
    }
    if (row->reasons.n_keys > 0) {
        message_reason(core, row, reply, message);
    }
    return message;
}

Kmem__PageRow *report_pages_row(const struct core *core, const struct stretch *stretch,
                                uint32_t now, struct reply *reply)
{
    struct row row;
    uint32_t spent = 0;
    row_init(&row, stretch->page);
    row_add(&row, stretch, stretch->page, stretch->n_pages);
    if (stretch->state == STRETCH_FREE) {
        row_note_free(&row, core, stretch->page, stretch->n_pages, &spent);
    }
    return row_message(core, &row, now, reply);
}

/* -------------------------------------------------------------------------------- the walk -- */

/* Where the answer has come to. */
struct walk {
    const struct core *core;
    struct stretch stretch; /* that `page` is in; n_pages 0: it has to be found */
    uint32_t page;
    uint32_t cell_pages; /* 0: stretches are rows */
    uint32_t spent;
};

static uint32_t stretch_end(const struct stretch *stretch)
{
    return stretch->page + stretch->n_pages;
}

/* What the question says of the stretch may have changed, or be nonsense. */
static void walk_begin(struct walk *walk, uint64_t stretch_offset)
{
    const uint64_t begin = stretch_offset >> PAGE_SHIFT;
    walk->stretch.n_pages = 0;
    if (begin == 0 || begin >= walk->page || walk->page >= walk->core->pages.n_pages) {
        return;
    }
    stretch_find(walk->core, (uint32_t)begin, (uint32_t)begin, &walk->spent, &walk->stretch);
    if (stretch_end(&walk->stretch) <= walk->page) {
        walk->stretch.n_pages = 0;
    }
}

static void walk_look(struct walk *walk)
{
    if (walk->stretch.n_pages == 0 || stretch_end(&walk->stretch) <= walk->page) {
        stretch_find(walk->core, walk->page, walk->page, &walk->spent, &walk->stretch);
    }
}

/* Fills a row: with a stretch, or with what there is of a cell, as far as the budget goes. */
static void walk_row(struct walk *walk, struct row *row)
{
    const uint32_t n_pages = walk->core->pages.n_pages;
    uint32_t until = n_pages;
    row_init(row, walk->page);
    if (walk->cell_pages > 0 && n_pages - walk->page > walk->cell_pages) {
        until = walk->page - walk->page % walk->cell_pages + walk->cell_pages;
    }
    do {
        walk_look(walk);
        const uint32_t end = stretch_end(&walk->stretch);
        const uint32_t stop = end < until ? end : until;
        row_add(row, &walk->stretch, walk->page, stop - walk->page);
        if (walk->stretch.state == STRETCH_FREE) {
            row_note_free(row, walk->core, walk->page, stop - walk->page, &walk->spent);
        }
        walk->page = stop;
    } while (walk->cell_pages > 0 && walk->page < until && walk->spent < SCAN_BUDGET);
}

void report_pages(const struct core *core, const Kmem__Pages *asked, uint64_t now_ms,
                  struct reply *reply)
{
    const uint32_t n_pages = core->pages.n_pages;
    const uint64_t from = asked->from_offset >> PAGE_SHIFT;
    const uint64_t cell_pages = asked->cell_bytes >> PAGE_SHIFT;
    struct walk walk = {
        .core = core,
        .page = from < n_pages ? (uint32_t)from : n_pages,
        .cell_pages = cell_pages < n_pages ? (uint32_t)cell_pages : n_pages,
    };
    Kmem__PagesReport *report = &reply->body.pages;
    kmem__pages_report__init(report);
    report->rows = reply_take(reply, REPLY_ROWS_MAX * sizeof(Kmem__PageRow *));
    walk_begin(&walk, asked->stretch_offset);
    static_assert(REPLY_ROWS_MAX * (REPLY_ROW_BYTES + PAGES_EXTRA_BYTES) > RESPONSE_MAX_BYTES,
                  "what fits is less than REPLY_ROWS_MAX");
    /* One row at least, whatever it took to find again where the last answer ended. */
    bool goes_on = walk.page < n_pages;
    while (goes_on && reply_row_fits(reply, REASON_MAX_BYTES + COMMAND_BYTES + PAGES_EXTRA_BYTES)) {
        struct row row;
        walk_row(&walk, &row);
        report->rows[report->n_rows++] = row_message(core, &row, core_tick(core, now_ms), reply);
        goes_on = walk.page < n_pages && walk.spent < SCAN_BUDGET;
    }
    report->more = walk.page < n_pages;
    report->next_offset = report->more ? bytes_of(walk.page) : 0;
    const bool is_cut = report->more && stretch_end(&walk.stretch) > walk.page;
    report->next_stretch = is_cut ? bytes_of(walk.stretch.page) : 0;
    reply->response.body_case = KMEM__RESPONSE__BODY_PAGES;
    reply->response.pages = report;
}

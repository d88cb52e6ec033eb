/* SPDX-License-Identifier: MIT */
#include "daemon/core/resize.h"

#include <stdio.h>
#include <string.h>

#include "daemon/core/block_iter.h"
#include "daemon/core/scan.h"
#include "proto/store.h"
#include "proto/text.h"

/* 4: what is read of one line; the sums before them say the rest. */
#define HOLDERS_TOLD 4
/* 64 reasons and clients: more would be a table that is searched for each block. */
#define HOLDERS_MAX 64

/* -------------------------------------------------------------------------------- growing ---- */

static void size_commit(struct core *core, uint32_t to_pages)
{
    const uint64_t before_bytes = core_segment_bytes(core);
    if (to_pages > core->pages.n_pages) {
        pages_grow(&core->pages, to_pages);
    } else {
        pages_shrink(&core->pages, to_pages);
    }
    /* Before: a reader of the header takes the size for the former one. After: for this. */
    store_commit(&core->state.header->now_pages, to_pages);
    shortage_look(&core->shortage);
    if (core->config.resized) {
        core->config.resized(before_bytes, core->config.resize_user);
    }
}

void resize_taken(struct core *core, const char *why)
{
    struct resize *resize = &core->resize;
    const uint32_t to_pages = resize->to_pages;
    KMEM_ASSERT(to_pages > core->pages.n_pages);
    (void)snprintf(resize->why, sizeof(resize->why), "%s", why ? why : ""); /* too long: cut */
    resize->to_pages = 0;
    resize->n_ended++;
    if (!why) {
        size_commit(core, to_pages);
    }
    core_wake(core, RESIZE_BELL);
}

static int grow(struct core *core, struct resize_request *request, uint32_t to_pages)
{
    struct resize *resize = &core->resize;
    const uint64_t at = core_segment_bytes(core);
    if (request->grows && request->n_ended != resize->n_ended) {
        return RESIZE_E_SYSTEM; /* it has ended, and the size is not there */
    }
    if (resize->to_pages == 0) {
        resize->to_pages = to_pages;
        resize->why[0] = '\0';
        if (!core->config.take_memory) {
            resize_taken(core, NULL);
            return RESIZE_OK;
        }
        const uint64_t num_bytes = ((uint64_t)to_pages << PAGE_SHIFT) - at;
        if (!core->config.take_memory(at, num_bytes, resize->why, sizeof(resize->why),
                                      core->config.resize_user)) {
            resize->to_pages = 0;
            return RESIZE_E_SYSTEM;
        }
    }
    if (to_pages == core->pages.n_pages) {
        return RESIZE_OK; /* nothing had to be taken */
    }
    request->grows = true;
    request->n_ended = resize->n_ended;
    return RESIZE_E_WAIT;
}

/* ------------------------------------------------------------------------------ shrinking ---- */

/* Whether something in the way comes back by itself in a moment. */
static bool is_returning(const struct core *core, uint32_t to_pages)
{
    return core_has_dead(core) ||
           (pages_await_scrub(&core->pages) &&
            core->pages.scrub_page +
                    PAGE_WORD_PAGES(pages_word(&core->pages, core->pages.scrub_page)) >
                to_pages);
}

static void take_unused_back(struct core *core, uint32_t to_pages)
{
    struct client *client = clients_next(&core->clients, 0);
    for (; client; client = clients_next(&core->clients, client->slot + 1)) {
        core->state.counters->revoked_pages +=
            leases_return(&core->leases, client, to_pages, core->pages.n_pages);
    }
}

static int shrink(struct core *core, struct resize_request *request, uint32_t to_pages,
                  struct now now)
{
    struct reclaim *reclaim = &core->reclaim;
    take_unused_back(core, to_pages);
    if (pages_tail(&core->pages) <= to_pages) {
        size_commit(core, to_pages);
        return RESIZE_OK;
    }
    if (is_returning(core, to_pages)) {
        return RESIZE_E_WAIT;
    }
    if (!request->reclaims) {
        if (!reclaim_begin(reclaim, now.us, &request->until)) {
            return RESIZE_E_HELD;
        }
        reclaim_wait(reclaim);
        request->reclaims = true;
    }
    if (reclaim->n_passes < request->until) {
        (void)reclaim_step(reclaim);
        return RESIZE_E_WAIT;
    }
    return RESIZE_E_HELD;
}

static int look(struct core *core, struct resize_request *request, uint32_t to_pages,
                struct now now)
{
    if (to_pages == core->pages.n_pages && core->resize.to_pages == 0) {
        return RESIZE_OK;
    }
    if (core->resize.to_pages != 0 && core->resize.to_pages != to_pages) {
        return RESIZE_E_BUSY;
    }
    return to_pages > core->pages.n_pages ? grow(core, request, to_pages)
                                          : shrink(core, request, to_pages, now);
}

int resize_step(struct core *core, struct resize_request *request, uint32_t to_pages,
                struct now now)
{
    KMEM_ASSERT(to_pages >= 2);
    KMEM_ASSERT(to_pages <= core->state.n_pages);
    const int r = look(core, request, to_pages, now);
    if (r != RESIZE_E_WAIT) {
        resize_leave(core, request);
    }
    return r;
}

void resize_leave(struct core *core, struct resize_request *request)
{
    if (request->reclaims) {
        reclaim_leave(&core->reclaim);
        request->reclaims = false;
    }
}

/* -------------------------------------------------------------------------------- holders ---- */

struct holder {
    uint32_t slot;
    uint64_t n_blocks;
    uint64_t num_bytes;
    struct block first; /* whose reason is told */
};

struct holding {
    uint64_t n_blocks;
    uint64_t num_bytes;
    uint32_t n_holders;
    bool is_all;
    struct holder holders[HOLDERS_MAX];
};

/* By client and reason; what finds no place any more is in the sums alone. */
static void holding_add(struct holding *holding, const struct block *block)
{
    uint32_t i = 0;
    holding->n_blocks++;
    holding->num_bytes += block->num_bytes;
    while (i < holding->n_holders && (holding->holders[i].slot != block->slot ||
                                      holding->holders[i].first.leased != block->leased ||
                                      holding->holders[i].first.reason != block->reason)) {
        i++;
    }
    if (i == HOLDERS_MAX) {
        return;
    }
    struct holder *holder = &holding->holders[i];
    if (i == holding->n_holders) {
        *holder = (struct holder){.slot = block->slot, .first = *block};
        holding->n_holders++;
    }
    holder->n_blocks++;
    holder->num_bytes += block->num_bytes;
}

static void holding_look(const struct core *core, uint32_t to_pages, struct holding *ret_holding)
{
    struct block_iter iter;
    struct block block;
    const uint64_t to_bytes = (uint64_t)to_pages << PAGE_SHIFT;
    const uint32_t first = pages_run_of(&core->pages, to_pages); /* it may reach over the end */
    *ret_holding = (struct holding){.n_blocks = 0};
    block_iter_init(&iter, core, BLOCKS_ALL, (struct seg_off){(uint64_t)first << PAGE_SHIFT},
                    SCAN_BUDGET);
    while (block_iter_next(&iter, &block)) {
        if (block.off.bytes + block.num_bytes > to_bytes) {
            holding_add(ret_holding, &block);
        }
    }
    ret_holding->is_all = block_iter_position(&iter).bytes == 0;
}

/* The one with the most, which is taken from the others. Return: NULL: there is none. */
static struct holder *holding_largest(struct holding *holding)
{
    struct holder *largest = NULL;
    for (uint32_t i = 0; i < holding->n_holders; i++) {
        struct holder *holder = &holding->holders[i];
        if (holder->n_blocks > 0 && (!largest || holder->num_bytes > largest->num_bytes)) {
            largest = holder;
        }
    }
    return largest;
}

static int holder_text(const struct core *core, const struct holder *holder, char *ret_text,
                       size_t text_bytes)
{
    const struct client_identity *who = &clients_get(&core->clients, holder->slot)->identity;
    char reason[REASON_MAX_BYTES];
    char escaped[4 * REASON_MAX_BYTES];
    char command[4 * COMMAND_BYTES];
    char size[TEXT_BYTES_MAX];
    char pid[PID_TEXT_BYTES];
    const size_t n_bytes = block_reason(core, &holder->first, reason);
    (void)text_escape(reason, n_bytes, escaped, sizeof(escaped)); /* its buffer */
    (void)text_escape(who->command, strlen(who->command), command, sizeof(command));
    return snprintf(ret_text, text_bytes, "; %llu of process %s (%s), \"%s\": %s",
                    (unsigned long long)holder->n_blocks, client_pid_text(who->pid, pid), command,
                    escaped, text_format_bytes(holder->num_bytes, size, sizeof(size)));
}

/* The text grows by what was printed; too long: cut. */
static void text_grow(char **text, size_t *text_bytes, int n)
{
    KMEM_ASSERT(n > 0);
    const size_t n_bytes = (size_t)n;
    const size_t n_more = n_bytes < *text_bytes ? n_bytes : *text_bytes - 1;
    *text += n_more;
    *text_bytes -= n_more;
}

void resize_holders(const struct core *core, uint32_t to_pages, char *ret_text, size_t text_bytes)
{
    struct holding holding;
    char size[TEXT_BYTES_MAX];
    holding_look(core, to_pages, &holding);
    if (holding.n_blocks == 0) {
        (void)snprintf(ret_text, text_bytes, "pages there are in use by a client, and no block");
        return;
    }
    text_grow(&ret_text, &text_bytes,
              snprintf(ret_text, text_bytes, "%s%llu block%s (%s) lie%s there",
                       holding.is_all ? "" : "at least ", (unsigned long long)holding.n_blocks,
                       holding.n_blocks == 1 ? "" : "s",
                       text_format_bytes(holding.num_bytes, size, sizeof(size)),
                       holding.n_blocks == 1 ? "s" : ""));
    for (uint32_t told = 0; told < HOLDERS_TOLD; told++) {
        struct holder *holder = holding_largest(&holding);
        if (!holder) {
            break;
        }
        text_grow(&ret_text, &text_bytes, holder_text(core, holder, ret_text, text_bytes));
        holder->n_blocks = 0;
    }
}

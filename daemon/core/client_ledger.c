/* SPDX-License-Identifier: MIT */
/*
 * client_ledger.c - reading somebody else's ledger
 *
 * By read, not through a mapping: a load from a hole of a sparse file makes the kernel allocate the
 * page, in the reader's account, and a client could punch holes as fast as the daemon fills them.
 *
 * What honest clients guarantee is that a block whose pointer they have is entered, so a total is
 * never less than the truth by more than what changed while it was made.
 */
#include "daemon/core/client_ledger.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/lease.h"
#include "proto/text.h"

/* 32: the heads of a lease of 512 KiB in one kilobyte, on the stack. */
#define HEADS_AT_ONCE 32
#define UNVERIFIED "<unverified>"

/* A slab of the smallest class has the most entries. */
#define ENTRIES_MAX ((size_t)PAGE_BYTES / BLOCK_ALIGN_BYTES)

int client_ledger_init(struct client_ledger *ledger, uint32_t n_pages, client_ledger_read_fn read,
                       void *user)
{
    *ledger = (struct client_ledger){.read = read, .user = user, .n_pages = n_pages};
    ledger_layout_init(&ledger->layout, n_pages);
    ledger->entries = calloc(ENTRIES_MAX, sizeof(*ledger->entries));
    return ledger->entries ? 0 : -ENOMEM;
}

void client_ledger_fini(struct client_ledger *ledger)
{
    free(ledger->entries);
    ledger->entries = NULL;
}

/* What a head says about the slab that begins at its page; n_blocks 0: nothing that can be so. */
struct told_slab {
    uint32_t page;
    uint32_t span_pages;
    uint32_t n_blocks;
    uint64_t block_bytes;
    uint32_t plane;
};

static uint32_t head_kind(const struct ledger_head *head)
{
    return atomic_load_explicit(&head->kind, memory_order_relaxed); /* Relaxed: a copy. */
}

static struct told_slab slab_read(const struct ledger_head *head, uint32_t page, uint32_t end)
{
    const uint32_t kind = head_kind(head);
    struct told_slab slab = {.page = page, .span_pages = head->span_pages};
    if (slab.span_pages == 0 || slab.span_pages > end - page) {
        return slab;
    }
    if (kind == HEAD_LARGE) {
        slab.n_blocks = 1;
        slab.block_bytes = (uint64_t)slab.span_pages << PAGE_SHIFT;
    } else if (kind == HEAD_SLAB && head->size_class < N_SIZE_CLASSES &&
               size_classes[head->size_class].span_pages == slab.span_pages) {
        const struct size_class *size_class = &size_classes[head->size_class];
        slab.plane = size_class->plane;
        slab.block_bytes = size_class->block_bytes;
        slab.n_blocks =
            head->n_carved < size_class->n_blocks ? head->n_carved : size_class->n_blocks;
    }
    return slab;
}

static uint64_t slab_entries_at(const struct client_ledger *ledger, const struct told_slab *slab)
{
    const uint64_t first_entry = (uint64_t)slab->page << PLANE_SHIFT(slab->plane);
    return ledger->layout.plane_at[slab->plane] + first_entry * sizeof(struct ledger_entry);
}

/* What a copy of an entry says. */
static struct block block_of(const struct told_slab *slab, const struct ledger_entry *entry,
                             uint32_t index, uint32_t slot)
{
    /* Relaxed: a copy, that nobody else writes. */
    const uint64_t word = atomic_load_explicit(&entry->word, memory_order_relaxed);
    return (struct block){
        .off = {((uint64_t)slab->page << PAGE_SHIFT) + index * slab->block_bytes},
        .num_bytes = ENTRY_NUM_BYTES(word),
        .reason = ENTRY_REASON(word),
        .born = atomic_load_explicit(&entry->born, memory_order_relaxed),
        .slot = slot,
        .leased = true,
        .block_bytes = slab->block_bytes,
        .slab_page = slab->page,
        .span_pages = slab->span_pages,
    };
}

static bool block_is_possible(const struct block *block, const struct told_slab *slab)
{
    return block->num_bytes >= 1 && block->num_bytes <= slab->block_bytes;
}

static struct seg_off slab_walk(const struct client_ledger *ledger, uint32_t slot,
                                const struct told_slab *slab, struct seg_off from, block_fn each,
                                void *user)
{
    if (!ledger->read(ledger->user, slot, slab_entries_at(ledger, slab), ledger->entries,
                      slab->n_blocks * sizeof(struct ledger_entry))) {
        return (struct seg_off){0};
    }
    for (uint32_t i = 0; i < slab->n_blocks; i++) {
        const struct block block = block_of(slab, &ledger->entries[i], i, slot);
        if (block_is_possible(&block, slab) && block.off.bytes >= from.bytes &&
            !each(&block, user)) {
            return block.off;
        }
    }
    return (struct seg_off){0};
}

/* A copy of some heads that follow one another. */
struct told_heads {
    struct ledger_head heads[HEADS_AT_ONCE];
    uint32_t page;
    uint32_t end;
};

/* The head of a page out of the copy, which is renewed if the page is not in it. */
static const struct ledger_head *head_read(const struct client_ledger *ledger,
                                           struct told_heads *copy, uint32_t slot, uint32_t page,
                                           uint32_t end, uint32_t *spent)
{
    if (page < copy->page || page >= copy->end) {
        const uint32_t n_heads = end - page < HEADS_AT_ONCE ? end - page : HEADS_AT_ONCE;
        const uint64_t at = ledger->layout.heads_at + page * sizeof(struct ledger_head);
        *spent += CLIENT_LEDGER_READ_COST;
        if (!ledger->read(ledger->user, slot, at, copy->heads, n_heads * sizeof(copy->heads[0]))) {
            return NULL;
        }
        copy->page = page;
        copy->end = page + n_heads;
    }
    return &copy->heads[page - copy->page];
}

/* Pages that are not in use are counted as free: what is in them is not counted as well. */
static bool slab_is_used(const struct client *client, const struct told_slab *slab, uint32_t *spent)
{
    *spent += slab->span_pages / LEASE_PAGES_PER_WORD;
    return lease_all_used(client->states, slab->page, slab->span_pages);
}

struct seg_off client_ledger_walk_run(const struct client_ledger *ledger,
                                      const struct client *client, uint32_t *page, uint32_t until,
                                      uint32_t end, struct seg_off from, block_fn each, void *user,
                                      uint32_t *spent)
{
    struct told_heads copy = {.page = 0, .end = 0};
    while (*page < until) {
        (*spent)++;
        if (lease_state_of(client->states, *page) != LEASE_USED) {
            (*page)++;
            continue;
        }
        const struct ledger_head *head = head_read(ledger, &copy, client->slot, *page, end, spent);
        const struct told_slab slab =
            head ? slab_read(head, *page, end) : (struct told_slab){.n_blocks = 0};
        if (slab.n_blocks == 0 || !slab_is_used(client, &slab, spent)) {
            (*page)++;
            continue;
        }
        *spent += CLIENT_LEDGER_READ_COST + slab.n_blocks;
        const struct seg_off stopped = slab_walk(ledger, client->slot, &slab, from, each, user);
        if (stopped.bytes != 0) {
            return stopped;
        }
        *page += slab.span_pages;
    }
    return (struct seg_off){0};
}

/* Where a slab or a large block begins, by the head of page `at`; false if it says nothing. */
static bool slab_begin(const struct client_ledger *ledger, const struct client *client, uint32_t at,
                       uint32_t *ret_page)
{
    struct ledger_head head;
    const uint64_t head_at = ledger->layout.heads_at + at * sizeof(head);
    if (!ledger->read(ledger->user, client->slot, head_at, &head, sizeof(head))) {
        return false;
    }
    if (head_kind(&head) == HEAD_SLAB || head_kind(&head) == HEAD_INTERIOR) {
        const uint32_t back = head_kind(&head) == HEAD_SLAB ? 0 : head.back;
        *ret_page = at - back;
        return back < at;
    }
    return ledger_large_begin(&head, at, ret_page);
}

/* The block over an offset, if the slab that begins at `page` has one there. */
static bool slab_find(const struct client_ledger *ledger, const struct client *client,
                      uint32_t page, uint32_t end, struct seg_off off, struct block *ret_block)
{
    struct told_heads copy = {.page = 0, .end = 0};
    struct ledger_entry entry;
    uint32_t spent = 0;
    const struct ledger_head *head = head_read(ledger, &copy, client->slot, page, page + 1, &spent);
    const struct told_slab slab =
        head ? slab_read(head, page, end) : (struct told_slab){.n_blocks = 0};
    const uint64_t within_bytes = off.bytes - ((uint64_t)page << PAGE_SHIFT);
    if (slab.n_blocks == 0 || within_bytes / slab.block_bytes >= slab.n_blocks) {
        return false;
    }
    const uint32_t index = (uint32_t)(within_bytes / slab.block_bytes);
    if (!ledger->read(ledger->user, client->slot,
                      slab_entries_at(ledger, &slab) + index * sizeof(entry), &entry,
                      sizeof(entry))) {
        return false;
    }
    *ret_block = block_of(&slab, &entry, index, client->slot);
    return block_is_possible(ret_block, &slab) &&
           off.bytes - ret_block->off.bytes < ret_block->num_bytes;
}

bool client_ledger_find(const struct client_ledger *ledger, const struct client *client,
                        uint32_t begin, uint32_t end, struct seg_off off, struct block *ret_block)
{
    const uint32_t page = (uint32_t)(off.bytes >> PAGE_SHIFT);
    uint32_t first;
    KMEM_ASSERT(begin >= 1);
    if (lease_state_of(client->states, page) != LEASE_USED) {
        return false;
    }
    for (uint32_t at = page; at >= begin; at = ledger_stretch_before(at)) {
        if (slab_begin(ledger, client, at, &first) && first >= begin &&
            slab_find(ledger, client, first, end, off, ret_block)) {
            return true;
        }
    }
    return false;
}

bool told_heads(const struct client_ledger *ledger, uint32_t slot, uint32_t page, uint32_t n_heads,
                struct ledger_head *ret_heads)
{
    const uint64_t at = ledger->layout.heads_at + page * sizeof(*ret_heads);
    return ledger->read(ledger->user, slot, at, ret_heads, n_heads * sizeof(*ret_heads));
}

bool client_ledger_is_fenced(const struct client_ledger *ledger, uint32_t slot)
{
    uint64_t is_fenced;
    return ledger->read(ledger->user, slot, offsetof(struct ledger_header, is_fenced), &is_fenced,
                        sizeof(is_fenced)) &&
           is_fenced == 1;
}

uint32_t client_ledger_n_used_pages(const struct client_ledger *ledger, uint32_t slot)
{
    uint64_t n_used;
    return ledger->read(ledger->user, slot, offsetof(struct ledger_header, n_used_pages), &n_used,
                        sizeof(n_used)) &&
                   n_used <= ledger->n_pages
               ? (uint32_t)n_used
               : UINT32_MAX;
}

bool told_entries_are_idle(const struct client_ledger *ledger, uint32_t slot, uint32_t page,
                           uint32_t size_class)
{
    const struct size_class *of = &size_classes[size_class];
    const uint64_t first = (uint64_t)page << PLANE_SHIFT(of->plane);
    const uint64_t at = ledger->layout.plane_at[of->plane] + first * sizeof(struct ledger_entry);
    return ledger->read(ledger->user, slot, at, ledger->entries,
                        of->n_blocks * sizeof(struct ledger_entry)) &&
           ledger_entries_are_idle(ledger->entries, of->n_blocks);
}

bool client_ledger_slab_is_idle(const struct client_ledger *ledger, uint32_t slot, uint32_t page,
                                uint32_t size_class)
{
    struct ledger_head head;
    return told_heads(ledger, slot, page, 1, &head) && head_kind(&head) == HEAD_SLAB &&
           head.size_class == size_class && told_entries_are_idle(ledger, slot, page, size_class);
}

size_t client_ledger_reason(const struct client_ledger *ledger, uint32_t slot, uint32_t id,
                            char *ret_text)
{
    struct ledger_reason reason;
    const uint64_t at = ledger->layout.reasons_at + (uint64_t)id * sizeof(reason);
    const bool told_so = id < LEDGER_REASONS_MAX &&
                         ledger->read(ledger->user, slot, at, &reason, sizeof(reason)) &&
                         reason.n_bytes >= 1 && reason.n_bytes <= REASON_MAX_BYTES &&
                         text_is_utf8((const unsigned char *)reason.bytes, reason.n_bytes);
    if (!told_so) {
        memcpy(ret_text, UNVERIFIED, strlen(UNVERIFIED));
        return strlen(UNVERIFIED);
    }
    memcpy(ret_text, reason.bytes, reason.n_bytes);
    return reason.n_bytes;
}

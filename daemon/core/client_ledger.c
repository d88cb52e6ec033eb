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

bool client_ledger_heads(const struct client_ledger *ledger, uint32_t slot, uint32_t page,
                         uint32_t n_heads, struct ledger_head *ret_heads)
{
    const uint64_t at = ledger->layout.heads_at + page * sizeof(*ret_heads);
    return ledger->read(ledger->user, slot, at, ret_heads, n_heads * sizeof(*ret_heads));
}

static uint32_t head_kind(const struct ledger_head *head)
{
    return atomic_load_explicit(&head->kind, memory_order_relaxed); /* Relaxed: a copy. */
}

/* What a head says of the slab that begins at its page; n_blocks 0: nothing that can be so. */
static struct slab slab_read(const struct client_ledger *ledger, const struct client *client,
                             const struct ledger_head *head, uint32_t page, uint32_t end)
{
    const uint32_t kind = head_kind(head);
    struct slab slab = {
        .page = page,
        .slot = client->slot,
        .span_pages = head->span_pages,
        .entries = ledger->entries,
    };
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

/* Copies n_entries of a slab, from its block `first` on, to where it has them. */
static bool entries_read(const struct client_ledger *ledger, const struct slab *slab,
                         uint32_t first, uint32_t n_entries)
{
    const uint64_t entry = ((uint64_t)slab->page << PLANE_SHIFT(slab->plane)) + first;
    const uint64_t at = ledger->layout.plane_at[slab->plane] + entry * sizeof(struct ledger_entry);
    return ledger->read(ledger->user, slab->slot, at, &slab->entries[first],
                        n_entries * sizeof(struct ledger_entry));
}

bool client_ledger_block(const struct slab *slab, uint32_t index, struct block *ret_block)
{
    const struct ledger_entry *entry = &slab->entries[index];
    /* Relaxed: a copy, which has no other writer. */
    const uint64_t word = atomic_load_explicit(&entry->word, memory_order_relaxed);
    *ret_block = (struct block){
        .off = {((uint64_t)slab->page << PAGE_SHIFT) + index * slab->block_bytes},
        .num_bytes = ENTRY_NUM_BYTES(word),
        .reason = ENTRY_REASON(word),
        .born = atomic_load_explicit(&entry->born, memory_order_relaxed),
        .slot = slab->slot,
        .leased = true,
    };
    return ret_block->num_bytes >= 1 && ret_block->num_bytes <= slab->block_bytes;
}

uint32_t client_ledger_slab(const struct client_ledger *ledger, const struct client *client,
                            const struct ledger_head *head, uint32_t page, uint32_t end,
                            struct slab *ret_slab)
{
    *ret_slab = slab_read(ledger, client, head, page, end);
    if (ret_slab->n_blocks == 0) {
        return 0;
    }
    uint32_t spent = ret_slab->span_pages / LEASE_PAGES_PER_WORD;
    /* Pages that are not in use are counted as free: what is in them is not counted as well. */
    if (!lease_all_used(client->states, page, ret_slab->span_pages)) {
        ret_slab->n_blocks = 0;
        return spent;
    }
    spent += CLIENT_LEDGER_READ_COST + ret_slab->n_blocks;
    if (!entries_read(ledger, ret_slab, 0, ret_slab->n_blocks)) {
        ret_slab->n_blocks = 0;
    }
    return spent;
}

/* Where a slab or a large block begins, by the head of page `at`; false if it says nothing. */
static bool slab_begin(const struct client_ledger *ledger, const struct client *client, uint32_t at,
                       struct ledger_head *ret_head, uint32_t *ret_page)
{
    if (!client_ledger_heads(ledger, client->slot, at, 1, ret_head)) {
        return false;
    }
    if (head_kind(ret_head) == HEAD_SLAB || head_kind(ret_head) == HEAD_INTERIOR) {
        const uint32_t back = head_kind(ret_head) == HEAD_SLAB ? 0 : ret_head->back;
        *ret_page = at - back;
        return back < at;
    }
    return ledger_large_begin(ret_head, at, ret_page);
}

/* The block over an offset, if the slab of this head, which begins at `page`, has one there. */
static bool slab_find(const struct client_ledger *ledger, const struct client *client,
                      const struct ledger_head *head, uint32_t page, uint32_t end,
                      struct seg_off off, struct block *ret_block, struct slab *ret_slab)
{
    const struct slab slab = slab_read(ledger, client, head, page, end);
    const uint64_t within_bytes = off.bytes - ((uint64_t)page << PAGE_SHIFT);
    if (slab.n_blocks == 0 || within_bytes / slab.block_bytes >= slab.n_blocks) {
        return false;
    }
    const uint32_t index = (uint32_t)(within_bytes / slab.block_bytes);
    *ret_slab = slab;
    return entries_read(ledger, &slab, index, 1) && client_ledger_block(&slab, index, ret_block) &&
           off.bytes - ret_block->off.bytes < ret_block->num_bytes;
}

bool client_ledger_find(const struct client_ledger *ledger, const struct client *client,
                        uint32_t begin, uint32_t end, struct seg_off off, struct block *ret_block,
                        struct slab *ret_slab)
{
    const uint32_t page = (uint32_t)(off.bytes >> PAGE_SHIFT);
    struct ledger_head head;
    uint32_t first;
    KMEM_ASSERT(begin >= 1);
    if (lease_state_of(client->states, page) != LEASE_USED) {
        return false;
    }
    for (uint32_t at = page; at >= begin; at = ledger_stretch_before(at)) {
        if (slab_begin(ledger, client, at, &head, &first) && first >= begin &&
            (first == at || client_ledger_heads(ledger, client->slot, first, 1, &head)) &&
            slab_find(ledger, client, &head, first, end, off, ret_block, ret_slab)) {
            return true;
        }
    }
    return false;
}

/* The slab or large block that a head says begins at `first`, with its entries, over a page. */
static bool slab_over(const struct client_ledger *ledger, const struct client *client,
                      const struct ledger_head *head, uint32_t first, uint32_t page, uint32_t end,
                      struct slab *ret_slab)
{
    *ret_slab = slab_read(ledger, client, head, first, end);
    return ret_slab->n_blocks > 0 && page - first < ret_slab->span_pages &&
           entries_read(ledger, ret_slab, 0, ret_slab->n_blocks);
}

/*
 * Heads inside of a large block are left over from what was there before. So a slab is believed at
 * once if its page says that it is an open slab's, a large block if it lives; what else could be a
 * slab only if there is none of these.
 */
uint32_t client_ledger_slab_of(const struct client_ledger *ledger, const struct client *client,
                               uint32_t begin, uint32_t page, uint32_t end, struct slab *ret_slab)
{
    const bool is_open = (lease_flags_of(client->states, page) & LEASE_SLAB) != 0;
    struct slab possible = {.n_blocks = 0};
    struct block block;
    struct ledger_head head;
    uint32_t spent = 0;
    uint32_t first;
    KMEM_ASSERT(begin >= 1);
    for (uint32_t at = page; at >= begin; at = ledger_stretch_before(at)) {
        spent += 3 * CLIENT_LEDGER_READ_COST;
        if (!slab_begin(ledger, client, at, &head, &first) || first < begin ||
            (first != at && !client_ledger_heads(ledger, client->slot, first, 1, &head)) ||
            !slab_over(ledger, client, &head, first, page, end, ret_slab)) {
            continue;
        }
        const bool is_large = head_kind(&head) == HEAD_LARGE;
        if (is_large ? client_ledger_block(ret_slab, 0, &block) : is_open) {
            return spent;
        }
        possible = possible.n_blocks == 0 && !is_large ? *ret_slab : possible;
    }
    *ret_slab = possible;
    if (possible.n_blocks > 0 && !entries_read(ledger, &possible, 0, possible.n_blocks)) {
        ret_slab->n_blocks = 0;
    }
    return spent + CLIENT_LEDGER_READ_COST;
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

bool client_ledger_entries_are_idle(const struct client_ledger *ledger, uint32_t slot,
                                    uint32_t page, uint32_t size_class)
{
    const struct size_class *of = &size_classes[size_class];
    const struct slab slab = {
        .page = page, .slot = slot, .plane = of->plane, .entries = ledger->entries};
    return entries_read(ledger, &slab, 0, of->n_blocks) &&
           ledger_entries_are_idle(ledger->entries, of->n_blocks);
}

bool client_ledger_slab_is_idle(const struct client_ledger *ledger, uint32_t slot, uint32_t page,
                                uint32_t size_class)
{
    struct ledger_head head;
    return client_ledger_heads(ledger, slot, page, 1, &head) && head_kind(&head) == HEAD_SLAB &&
           head.size_class == size_class &&
           client_ledger_entries_are_idle(ledger, slot, page, size_class);
}

uint32_t client_ledger_lifetimes(const struct client_ledger *ledger, uint32_t slot,
                                 struct ledger_lifetimes *ret_records)
{
    uint32_t n_records = 0;
    if (!ledger->read(ledger->user, slot, ledger->layout.lifetimes_at, ret_records,
                      LIFETIMES_MAX * sizeof(*ret_records))) {
        return 0;
    }
    while (n_records < LIFETIMES_MAX && ret_records[n_records].reason != 0) {
        n_records++;
    }
    return n_records;
}

void client_ledger_reasons_init(struct ledger_reasons_read *read)
{
    for (size_t i = 0; i < LEDGER_REASON_READS; i++) {
        read->of[i].slot = SLOT_NONE;
    }
}

static bool reasons_read(const struct client_ledger *ledger, uint32_t slot, uint32_t id, uint32_t n,
                         struct ledger_reason *ret_reasons)
{
    const uint64_t at = ledger->layout.reasons_at + (uint64_t)id * sizeof(*ret_reasons);
    return ledger->read(ledger->user, slot, at, ret_reasons, n * sizeof(*ret_reasons));
}

static_assert(LEDGER_REASONS_MAX % LEDGER_REASONS_A_READ == 0, "what is read is in the table");

/* Copies a reason, out of what was read before if it is there. */
static bool reason_read(const struct client_ledger *ledger, struct ledger_reasons_read *read,
                        uint32_t slot, uint32_t id, struct ledger_reason *ret_reason)
{
    if (!read) {
        return reasons_read(ledger, slot, id, 1, ret_reason);
    }
    const uint32_t first = id - id % LEDGER_REASONS_A_READ;
    const uint32_t at = (first / LEDGER_REASONS_A_READ + slot * 5) % LEDGER_REASON_READS;
    if (read->of[at].slot != slot || read->of[at].first != first) {
        const bool could =
            reasons_read(ledger, slot, first, LEDGER_REASONS_A_READ, read->reasons[at]);
        read->of[at].slot = could ? slot : SLOT_NONE;
        read->of[at].first = first;
    }
    if (read->of[at].slot != slot) {
        return false;
    }
    *ret_reason = read->reasons[at][id - first];
    return true;
}

size_t client_ledger_reason_of_many(const struct client_ledger *ledger,
                                    struct ledger_reasons_read *read, uint32_t slot, uint32_t id,
                                    char *ret_text)
{
    struct ledger_reason reason;
    const bool is_possible = id < LEDGER_REASONS_MAX &&
                             reason_read(ledger, read, slot, id, &reason) && reason.n_bytes >= 1 &&
                             reason.n_bytes <= REASON_MAX_BYTES &&
                             text_is_utf8((const unsigned char *)reason.bytes, reason.n_bytes);
    if (!is_possible) {
        memcpy(ret_text, UNVERIFIED, strlen(UNVERIFIED));
        return strlen(UNVERIFIED);
    }
    memcpy(ret_text, reason.bytes, reason.n_bytes);
    return reason.n_bytes;
}

size_t client_ledger_reason(const struct client_ledger *ledger, uint32_t slot, uint32_t id,
                            char *ret_text)
{
    return client_ledger_reason_of_many(ledger, NULL, slot, id, ret_text);
}

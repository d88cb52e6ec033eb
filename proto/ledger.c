/* SPDX-License-Identifier: MIT */
/*
 * ledger.c - slabs and their entries
 *
 * A free list in the blocks themselves, as allocators have it, is out of the question: whoever can
 * write the segment could then make the daemon hand out anything. The list runs through the entries
 * instead: an entry that is free needs no birth tick and keeps the number of the next free block in
 * its place. A slab is not threaded when it is opened; n_carved divides the blocks that were never
 * handed out from those that have an entry on the list or in use:
 *
 *      0 ............ n_carved ............ n_blocks
 *      used or on list |   never handed out
 *
 * so opening costs the same for one block as for a thousand, and entries never touched cost no
 * memory. The list is last in, first out: the block that is warm in the cache goes out next.
 *
 * What is written when: an entry's word is the last store of taking a block and the first of giving
 * it back. Everything else here is derived from the words, the kinds and the spans.
 */
#include "proto/ledger.h"

#include <string.h>

#include "proto/lease.h"
#include "proto/store.h"

#define LAYOUT_ALIGN_BYTES 4096
/* 1001: no part of the file ends at a border by accident. */
#define LAYOUT_SAMPLE_PAGES 1001

static uint64_t layout_reserve(uint64_t *at, uint64_t n_bytes)
{
    const uint64_t begin = *at;
    *at = (begin + n_bytes + LAYOUT_ALIGN_BYTES - 1) & ~(uint64_t)(LAYOUT_ALIGN_BYTES - 1);
    return begin;
}

void ledger_layout_init(struct ledger_layout *layout, uint32_t n_pages)
{
    uint64_t at = 0;
    (void)layout_reserve(&at, sizeof(struct ledger_header)); /* the header begins at 0 */
    layout->counts_at = layout_reserve(&at, sizeof(struct ledger_counts));
    layout->returns_at = layout_reserve(&at, sizeof(struct ledger_returns));
    layout->states_at =
        layout_reserve(&at, CPU_PAGE_SKEW_BYTES + (n_pages + UINT64_C(7)) / 8 * sizeof(uint64_t)) +
        CPU_PAGE_SKEW_BYTES;
    layout->asked_at = layout->states_at - LEASE_ASKED_BEFORE_BYTES;
    layout->heads_at = layout_reserve(&at, n_pages * sizeof(struct ledger_head));
    for (uint32_t plane = 0; plane < N_PLANES; plane++) {
        const uint64_t n_entries = (uint64_t)n_pages << PLANE_SHIFT(plane);
        layout->plane_at[plane] =
            layout_reserve(&at, CPU_PAGE_SKEW_BYTES + n_entries * sizeof(struct ledger_entry)) +
            CPU_PAGE_SKEW_BYTES;
    }
    layout->reasons_at =
        layout_reserve(&at, (uint64_t)LEDGER_REASONS_MAX * sizeof(struct ledger_reason));
    layout->lifetimes_at =
        layout_reserve(&at, (uint64_t)LIFETIMES_MAX * sizeof(struct ledger_lifetimes));
    layout->total_bytes = at;
}

/* FNV-1a (Fowler, Noll, Vo): one number that changes with any of the numbers fed to it. */
static uint64_t signature_feed(uint64_t signature, uint64_t number)
{
    return (signature ^ number) * UINT64_C(0x100000001b3);
}

/* Where everything is: the numbers for one size tell the rules for all. */
static uint64_t signature_layout(uint64_t signature)
{
    struct ledger_layout layout;
    ledger_layout_init(&layout, LAYOUT_SAMPLE_PAGES);
    signature = signature_feed(signature, sizeof(struct ledger_header));
    signature = signature_feed(signature, layout.counts_at);
    signature = signature_feed(signature, layout.returns_at);
    signature = signature_feed(signature, layout.asked_at);
    signature = signature_feed(signature, layout.states_at);
    signature = signature_feed(signature, layout.heads_at);
    for (uint32_t plane = 0; plane < N_PLANES; plane++) {
        signature = signature_feed(signature, layout.plane_at[plane]);
    }
    signature = signature_feed(signature, layout.reasons_at);
    signature = signature_feed(signature, layout.lifetimes_at);
    return signature_feed(signature, layout.total_bytes);
}

uint64_t ledger_layout_signature(void)
{
    uint64_t signature = UINT64_C(0xcbf29ce484222325);
    signature = signature_feed(signature, PAGE_SHIFT);
    signature = signature_feed(signature, sizeof(struct ledger_counts));
    signature = signature_feed(signature, sizeof(struct ledger_returns));
    signature = signature_feed(signature, ENTRY_SHARED);
    signature = signature_feed(signature, sizeof(struct ledger_head));
    signature = signature_feed(signature, sizeof(struct ledger_entry));
    signature = signature_feed(signature, ENTRY_REASON_SHIFT);
    signature = signature_feed(signature, LEDGER_REASONS_MAX);
    signature = signature_feed(signature, LEASE_PROTOCOL);
    signature = signature_feed(signature, HEAD_SHAREABLE);
    signature = signature_feed(signature, RETURNS_WRITTEN);
    signature = signature_feed(signature, sizeof(struct ledger_lifetimes));
    signature = signature_layout(signature);
    signature = signature_feed(signature, LEASE_GIVEN_BEFORE_BYTES);
    for (uint32_t i = 0; i < N_SIZE_CLASSES; i++) {
        signature = signature_feed(signature, size_classes[i].block_bytes);
        signature = signature_feed(signature, size_classes[i].span_pages);
        signature = signature_feed(signature, size_classes[i].plane);
    }
    return signature;
}

static void ledger_view(struct ledger *ledger, void *base, uint32_t n_pages)
{
    struct ledger_layout layout;
    ledger_layout_init(&layout, n_pages);
    unsigned char *bytes = base;
    ledger->header = base;
    ledger->counts = (void *)(bytes + layout.counts_at);
    ledger->returns = (void *)(bytes + layout.returns_at);
    ledger->asked = (void *)(bytes + layout.asked_at);
    ledger->states = (void *)(bytes + layout.states_at);
    ledger->heads = (void *)(bytes + layout.heads_at);
    ledger->reasons = (void *)(bytes + layout.reasons_at);
    ledger->lifetimes = (void *)(bytes + layout.lifetimes_at);
    for (uint32_t plane = 0; plane < N_PLANES; plane++) {
        ledger->planes[plane] = (void *)(bytes + layout.plane_at[plane]);
    }
    ledger->n_pages = n_pages;
}

void ledger_header_init(struct ledger_header *header, uint32_t n_pages)
{
    *header = (struct ledger_header){
        .magic = LEDGER_MAGIC,
        .layout = ledger_layout_signature(),
        .n_pages = n_pages,
        .n_reasons = REASONS_RESERVED,
    };
}

void ledger_format(struct ledger *ledger, void *base, uint32_t n_pages)
{
    ledger_view(ledger, base, n_pages);
    struct ledger_header header;
    ledger_header_init(&header, n_pages);
    store_prepare_bytes(ledger->header, &header, sizeof(header));
}

int ledger_attach(struct ledger *ledger, void *base, uint32_t n_pages)
{
    const struct ledger_header header = *(const struct ledger_header *)base;
    if (header.magic != LEDGER_MAGIC || header.layout != ledger_layout_signature() ||
        header.n_pages != n_pages) {
        return LEDGER_E_FOREIGN;
    }
    ledger_view(ledger, base, n_pages);
    return 0;
}

static uint32_t head_kind(const struct ledger_head *head)
{
    /* Relaxed: the owner reads what it wrote itself. */
    return atomic_load_explicit(&head->kind, memory_order_relaxed);
}

static void head_open(struct ledger_head *head, uint32_t kind, uint32_t size_class, uint32_t span,
                      uint16_t flags)
{
    store_hook(); /* plain stores, as below: kind publishes them */
    head->span_pages = span;
    head->size_class = (uint16_t)size_class;
    head->back = 0;
    store_hook();
    head->free = 0;
    head->n_carved = 0;
    head->n_used = 0;
    head->next = 0;
    head->prev = 0;
    head->flags = flags;
    atomic_store_explicit(&head->remote, 0, memory_order_relaxed); /* Relaxed: kind publishes it. */
    store_prepare_u32(&head->kind, kind);
}

static void slab_open(struct ledger *ledger, uint32_t page, uint32_t size_class, uint16_t flags)
{
    KMEM_ASSERT(size_class < N_SIZE_CLASSES);
    const uint32_t span = size_classes[size_class].span_pages;
    KMEM_ASSERT(page + span <= ledger->n_pages);
    for (uint32_t i = 1; i < span; i++) {
        struct ledger_head *interior = &ledger->heads[page + i];
        store_hook(); /* a plain store */
        interior->back = (uint16_t)i;
        store_prepare_u32(&interior->kind, HEAD_INTERIOR);
    }
    head_open(&ledger->heads[page], HEAD_SLAB, size_class, span, flags);
}

void ledger_slab_open(struct ledger *ledger, uint32_t page, uint32_t size_class)
{
    slab_open(ledger, page, size_class, 0);
}

void ledger_slab_open_shareable(struct ledger *ledger, uint32_t page, uint32_t size_class)
{
    slab_open(ledger, page, size_class, HEAD_SHAREABLE);
}

void ledger_run_open(struct ledger *ledger, uint32_t page, uint32_t span_pages)
{
    KMEM_ASSERT(span_pages >= 1);
    KMEM_ASSERT(page + (uint64_t)span_pages <= ledger->n_pages);
    head_open(&ledger->heads[page], HEAD_LARGE, 0, span_pages, 0);
}

/* The largest aligned stretch of pages that begins at `page` and does not go beyond `end`. */
static uint32_t stretch_at(uint32_t page, uint32_t end)
{
    uint32_t n_pages = page & -page;
    while (n_pages > end - page) {
        n_pages /= 2;
    }
    return n_pages;
}

void ledger_large_open(struct ledger *ledger, uint32_t page, uint32_t span_pages)
{
    KMEM_ASSERT(page >= 1);
    KMEM_ASSERT(page + (uint64_t)span_pages <= ledger->n_pages);
    const uint32_t end = page + span_pages;
    for (uint32_t at = page + stretch_at(page, end); at < end; at += stretch_at(at, end)) {
        struct ledger_head *within = &ledger->heads[at];
        store_hook(); /* a plain store */
        within->span_pages = at - page;
        store_prepare_u32(&within->kind, HEAD_WITHIN);
    }
    ledger_run_open(ledger, page, span_pages);
}

void ledger_slab_close(struct ledger *ledger, uint32_t page)
{
    struct ledger_head *head = &ledger->heads[page];
    KMEM_ASSERT(head->n_used == 0);
    if (head_kind(head) == HEAD_LARGE) {
        store_prepare_u32(&head->kind, HEAD_CLOSED_LARGE);
        return;
    }
    KMEM_ASSERT(head_kind(head) == HEAD_SLAB);
    store_prepare_u32(&head->kind, HEAD_CLOSED);
    for (uint32_t i = 1; i < head->span_pages; i++) {
        /* INTERIOR stays: it leads to the closed head, which says what the place was. */
        KMEM_CHECK(head_kind(head + i) == HEAD_INTERIOR);
    }
}

uint64_t ledger_block_bytes(const struct ledger *ledger, uint32_t page)
{
    const struct ledger_head *head = &ledger->heads[page];
    if (head_kind(head) == HEAD_LARGE) {
        return (uint64_t)head->span_pages << PAGE_SHIFT;
    }
    return size_classes[head->size_class].block_bytes;
}

uint32_t ledger_n_blocks(const struct ledger *ledger, uint32_t page)
{
    const struct ledger_head *head = &ledger->heads[page];
    return head_kind(head) == HEAD_LARGE ? 1 : size_classes[head->size_class].n_blocks;
}

uint32_t ledger_take(struct ledger *ledger, uint32_t page, uint64_t num_bytes, uint32_t reason,
                     uint32_t born, uint32_t holder)
{
    struct ledger_head *head = &ledger->heads[page];
    struct ledger_entry *entries = ledger_entries(ledger, page);
    KMEM_CHECK(num_bytes >= 1);
    KMEM_CHECK(num_bytes <= ledger_block_bytes(ledger, page));
    KMEM_ASSERT(head_kind(head) == HEAD_LARGE ? head->n_used == 0 : !ledger_slab_is_full(head));
    return entry_take(head, entries, ENTRY_WORD(num_bytes, reason), born, holder);
}

void ledger_give(struct ledger *ledger, const struct ledger_block *block)
{
    struct ledger_head *head = &ledger->heads[block->page];
    KMEM_ASSERT(head->n_used > 0);
    entry_give(head, ledger_entries(ledger, block->page), block->index);
}

/* The slab that a page belongs to, or belonged to; false if the page never was of one. */
static bool ledger_slab_at(const struct ledger *ledger, uint32_t page, uint32_t *ret_first)
{
    const struct ledger_head *head = &ledger->heads[page];
    const uint32_t kind = head_kind(head);
    if (kind == HEAD_NONE || kind == HEAD_WITHIN) {
        return false;
    }
    if (kind != HEAD_INTERIOR) {
        *ret_first = page;
        return true;
    }
    *ret_first = page - head->back;
    return head->back <= page; /* of a page that is free it may be anything */
}

bool ledger_large_begin(const struct ledger_head *head, uint32_t at, uint32_t *ret_page)
{
    const uint32_t kind = head_kind(head);
    const uint32_t back = kind == HEAD_WITHIN ? head->span_pages : 0;
    *ret_page = at - back;
    return (kind == HEAD_LARGE || kind == HEAD_WITHIN) && back < at;
}

/*
 * The head of a page inside a large block is not written when the block is made: a block of 1 GiB
 * has 65,536 of them. What stands there is older than the block. So a page whose head does not
 * lead to an open slab may still be inside a large block; the heads that were written are those
 * of the aligned stretches, and one of these begins at the page with some of its low bits cleared.
 */
static int ledger_find_large(const struct ledger *ledger, uint32_t page,
                             struct ledger_block *ret_block, int otherwise)
{
    uint32_t first;
    for (uint32_t at = page; at != 0; at = ledger_stretch_before(at)) {
        if (!ledger_large_begin(&ledger->heads[at], at, &first)) {
            continue;
        }
        const struct ledger_head *head = &ledger->heads[first];
        if (head_kind(head) == HEAD_LARGE && page - first < head->span_pages) {
            *ret_block = (struct ledger_block){first, 0, ledger_entries(ledger, first)};
            return LEDGER_E_INTERIOR;
        }
    }
    return otherwise;
}

static int ledger_find_in_slab(const struct ledger *ledger, uint32_t first, uint64_t within_bytes,
                               struct ledger_block *ret_block)
{
    const struct ledger_head *head = &ledger->heads[first];
    const struct size_class *size_class = &size_classes[head->size_class];
    const uint32_t index = size_class_index(size_class, (uint32_t)within_bytes);
    if (index >= size_class->n_blocks) {
        return LEDGER_E_WILD;
    }
    struct ledger_entry *entry = &ledger_entries(ledger, first)[index];
    const bool at_start = (uint64_t)index * size_class->block_bytes == within_bytes;
    /* Relaxed: the owner reads what it wrote itself. */
    if (ENTRY_NUM_BYTES(atomic_load_explicit(&entry->word, memory_order_relaxed)) == 0) {
        return at_start && index < head->n_carved ? LEDGER_E_RELEASED : LEDGER_E_WILD;
    }
    *ret_block = (struct ledger_block){first, index, entry};
    return at_start ? 0 : LEDGER_E_INTERIOR;
}

static bool was_block_start(const struct ledger_head *head, uint64_t within_bytes)
{
    if (head_kind(head) == HEAD_CLOSED_LARGE) {
        return within_bytes == 0;
    }
    if (head->size_class >= N_SIZE_CLASSES) {
        return false; /* of a page that is free it may be anything */
    }
    const struct size_class *size_class = &size_classes[head->size_class];
    const uint64_t index = within_bytes / size_class->block_bytes;
    return index < head->n_carved && index * size_class->block_bytes == within_bytes;
}

static bool page_of(const struct ledger *ledger, struct seg_off off, uint32_t *ret_page)
{
    const uint64_t page = off.bytes >> PAGE_SHIFT;
    *ret_page = (uint32_t)page;
    return page != 0 && page < ledger->n_pages;
}

int ledger_find_in(const struct ledger *ledger, struct seg_off off, uint32_t first,
                   struct ledger_block *ret_block)
{
    const struct ledger_head *head = &ledger->heads[first];
    const uint64_t within_bytes = off.bytes - ((uint64_t)first << PAGE_SHIFT);
    KMEM_ASSERT(within_bytes < (uint64_t)head->span_pages << PAGE_SHIFT);
    if (head_kind(head) == HEAD_SLAB) {
        return ledger_find_in_slab(ledger, first, within_bytes, ret_block);
    }
    KMEM_ASSERT(head_kind(head) == HEAD_LARGE);
    *ret_block = (struct ledger_block){first, 0, ledger_entries(ledger, first)};
    return within_bytes == 0 ? 0 : LEDGER_E_INTERIOR;
}

int ledger_find_closed(const struct ledger *ledger, struct seg_off off)
{
    uint32_t page;
    uint32_t first;
    if (!page_of(ledger, off, &page) || !ledger_slab_at(ledger, page, &first)) {
        return LEDGER_E_WILD;
    }
    const struct ledger_head *head = &ledger->heads[first];
    const uint32_t kind = head_kind(head);
    const bool was_closed = kind == HEAD_CLOSED || kind == HEAD_CLOSED_LARGE;
    const uint64_t within_bytes = off.bytes - ((uint64_t)first << PAGE_SHIFT);
    return was_closed && was_block_start(head, within_bytes) ? LEDGER_E_RELEASED : LEDGER_E_WILD;
}

int ledger_find(const struct ledger *ledger, struct seg_off off, struct ledger_block *ret_block)
{
    uint32_t page;
    uint32_t first;
    if (!page_of(ledger, off, &page)) {
        return LEDGER_E_WILD;
    }
    if (ledger_slab_at(ledger, page, &first)) {
        const struct ledger_head *head = &ledger->heads[first];
        const uint32_t kind = head_kind(head);
        if ((kind == HEAD_SLAB && page - first < head->span_pages) ||
            (kind == HEAD_LARGE && page == first)) {
            return ledger_find_in(ledger, off, first, ret_block);
        }
    }
    return ledger_find_large(ledger, page, ret_block, ledger_find_closed(ledger, off));
}

bool ledger_entries_are_idle(const struct ledger_entry *entries, uint32_t n_entries)
{
    for (uint32_t i = 0; i < n_entries; i++) {
        /* Acquire: pairs with kmem__remote_retire(), and with the release of a block. */
        const uint64_t word = atomic_load_explicit(&entries[i].word, memory_order_acquire);
        if (word != 0 && word != ENTRY_PUSHED) {
            return false;
        }
    }
    return true;
}

void ledger_slab_rebuild(struct ledger *ledger, uint32_t page)
{
    struct ledger_head *head = &ledger->heads[page];
    struct ledger_entry *entries = ledger_entries(ledger, page);
    head->free = 0;
    head->n_used = 0;
    head->n_carved = (uint16_t)ledger_n_blocks(ledger, page);
    /* Backwards, so that the list begins with the lowest block. */
    for (uint32_t index = head->n_carved; index-- > 0;) {
        if (atomic_load_explicit(&entries[index].word, memory_order_relaxed) != 0) {
            head->n_used++;
            continue;
        }
        /* Relaxed: derived, like all that is written here; nobody relies on it after a kill. */
        atomic_store_explicit(&entries[index].born, head->free, memory_order_relaxed);
        head->free = (uint16_t)(index + 1);
    }
}

int ledger_slab_check(const struct ledger *ledger, uint32_t page)
{
    const struct ledger_head *head = &ledger->heads[page];
    const struct ledger_entry *entries = ledger_entries(ledger, page);
    const uint32_t n_blocks = ledger_n_blocks(ledger, page);
    const uint64_t block_bytes = ledger_block_bytes(ledger, page);
    uint32_t n_used = 0;
    for (uint32_t i = 0; i < n_blocks; i++) {
        const uint64_t word = atomic_load_explicit(&entries[i].word, memory_order_relaxed);
        if (word == 0) {
            continue;
        }
        n_used++;
        if (ENTRY_NUM_BYTES(word) == 0 || ENTRY_NUM_BYTES(word) > block_bytes ||
            i >= head->n_carved) {
            return LEDGER_E_CORRUPT;
        }
    }
    uint32_t n_listed = 0;
    for (uint32_t at = head->free; at != 0 && n_listed <= n_blocks; n_listed++) {
        if (at > head->n_carved ||
            atomic_load_explicit(&entries[at - 1].word, memory_order_relaxed) != 0) {
            return LEDGER_E_CORRUPT;
        }
        at = atomic_load_explicit(&entries[at - 1].born, memory_order_relaxed);
    }
    const bool adds_up = n_used == head->n_used && n_used + n_listed == head->n_carved;
    return adds_up ? 0 : LEDGER_E_CORRUPT;
}

/* SPDX-License-Identifier: MIT */
/*
 * direct.c - the daemon's own slabs
 *
 * The order of stores makes every prefix of them a state that can be recovered from:
 *
 *      new slab:  state's `opening`     says where there may be an open head without a slab
 *                 heads of its pages    a free page's head means nothing
 *                 page word             the run is a slab without blocks: freed on recovery
 *      block:     reason's words        nobody names them
 *                 the client's intent   says where the block will be: clients.h
 *                 entry's birth, holder the entry is free
 *                 entry's word          the block is live, charged to its holder
 *      release:   entry's word = 0      the block is gone
 *      old slab:  head closed           the run is a slab without blocks: freed on recovery
 *                 page word             the run is free
 *      payer:     entry's holder        another is charged; what holds a shared block says who may
 *                                       be: sharing.c
 *      adopted:   `opening`, heads      as those of a new slab, but the pages are leased
 *                 entries               forgotten on recovery, as long as the pages are leased
 *                 page word             the run is a slab with these blocks
 *
 * Totals, lists and free lists follow from the entries and are not ordered at all.
 *
 * A small block that is to be shared lies among others of that kind, in slabs of their own: what a
 * guard opens for who reads it, and for who writes it, is then nothing but that. A slab that was
 * adopted is not one of them: there is room in it for all.
 *
 * An empty slab is closed at once. Keeping a spare would save two stores and some pointers when a
 * client allocates and releases one block again and again, about 0.1 us in a round trip of more
 * than 20, and would make "everything is released" and "everything is free" two different things.
 */
#include "daemon/core/direct.h"

#include <string.h>

#include "proto/crash_point.h"
#include "proto/store.h"

static uint32_t entry_holder(const struct ledger_entry *entry)
{
    /* Relaxed: the server alone writes and reads its own ledger. */
    return atomic_load_explicit(&entry->holder, memory_order_relaxed);
}

void direct_init(struct direct *direct, struct ledger *ledger, struct pages *pages,
                 struct reasons *reasons, struct clients *clients)
{
    *direct = (struct direct){
        .ledger = ledger,
        .pages = pages,
        .reasons = reasons,
        .clients = clients,
    };
}

void direct_fini(struct direct *direct)
{
    KMEM_ASSERT(direct->n_blocks == 0);
    KMEM_ASSERT(direct->used_bytes == 0);
    KMEM_ASSERT(direct->slab_bytes == 0);
}

static bool is_shareable(const struct direct *direct, uint32_t page)
{
    return (direct->ledger->heads[page].flags & HEAD_SHAREABLE) != 0;
}

/* The lists of slabs with room, by class: of those for blocks that are to be shared, or others. */
static uint32_t *room_lists(struct direct *direct, bool shareable)
{
    return shareable ? direct->shareable_slabs : direct->partial_slabs;
}

static void room_link(struct direct *direct, uint32_t page)
{
    struct ledger_head *heads = direct->ledger->heads;
    uint32_t *first = &room_lists(direct, is_shareable(direct, page))[heads[page].size_class];
    heads[page].prev = 0;
    heads[page].next = *first;
    if (*first != 0) {
        heads[*first].prev = page;
    }
    *first = page;
}

static void room_unlink(struct direct *direct, uint32_t page)
{
    struct ledger_head *heads = direct->ledger->heads;
    const uint32_t next = heads[page].next;
    const uint32_t prev = heads[page].prev;
    if (next != 0) {
        heads[next].prev = prev;
    }
    if (prev != 0) {
        heads[prev].next = next;
    } else {
        uint32_t *first = &room_lists(direct, is_shareable(direct, page))[heads[page].size_class];
        KMEM_ASSERT(*first == page);
        *first = next;
    }
}

static bool heads_are_noted(const struct direct *direct, uint32_t page)
{
    const uint32_t bit = page / HEADS_PER_BIT;
    return state_load(&direct->ledger->states[bit / 64]) >> bit % 64 & 1;
}

/* The heads of these pages are about to be written. */
static void heads_note(struct direct *direct, uint32_t page, uint32_t n_pages)
{
    for (uint32_t at = page; at < page + n_pages; at += HEADS_PER_BIT - at % HEADS_PER_BIT) {
        if (!heads_are_noted(direct, at)) {
            const uint32_t bit = at / HEADS_PER_BIT;
            _Atomic uint64_t *word = &direct->ledger->states[bit / 64];
            const uint64_t noted = state_load(word);
            /* Before: they are not looked at. After: they are, and say nothing yet. */
            store_prepare_u64(word, noted | UINT64_C(1) << bit % 64);
        }
    }
}

/* A slab or large block with room for what is asked for. */
struct run {
    uint32_t page;
    bool is_zero; /* of a block alone: every byte is known to be zero */
};

/* Before its pages are a direct run; of a large block, shareable says nothing. */
static void run_prepare(struct direct *direct, uint32_t page, uint32_t span_pages,
                        uint32_t size_class, bool shareable)
{
    /* Before and after: nothing but that this page is looked at after a restart. */
    state_commit(direct->pages->state, &direct->pages->state->header->opening, page);
    heads_note(direct, page, size_class < N_SIZE_CLASSES ? span_pages : 1);
    if (size_class == N_SIZE_CLASSES) {
        ledger_run_open(direct->ledger, page, span_pages);
    } else if (shareable) {
        ledger_slab_open_shareable(direct->ledger, page, size_class);
    } else {
        ledger_slab_open(direct->ledger, page, size_class);
    }
}

/* Pages for a new slab or large block: its heads are written before it owns them. */
static int run_open(struct direct *direct, uint32_t size_class, uint32_t span_pages, bool shareable,
                    struct run *ret_run)
{
    uint32_t page;
    bool zero;
    if (pages_find(direct->pages, span_pages, &page)) {
        return DIRECT_E_FULL;
    }
    run_prepare(direct, page, span_pages, size_class, shareable);
    /* Afterwards a client has them, and can write to them. */
    ret_run->is_zero = pages_zero_stretch(direct->pages, page, span_pages, &zero) == span_pages &&
                       zero && size_class == N_SIZE_CLASSES;
    pages_take(direct->pages, page, span_pages, PAGE_DIRECT, 0);
    direct->slab_bytes += (uint64_t)span_pages << PAGE_SHIFT;
    ret_run->page = page;
    return 0;
}

static void run_close(struct direct *direct, uint32_t page)
{
    const uint64_t span_pages = PAGE_WORD_PAGES(pages_word(direct->pages, page));
    ledger_slab_close(direct->ledger, page);
    pages_give(direct->pages, page);
    direct->slab_bytes -= span_pages << PAGE_SHIFT;
}

uint32_t direct_pages_for(uint64_t num_bytes)
{
    return (uint32_t)((num_bytes + PAGE_BYTES - 1) >> PAGE_SHIFT);
}

uint32_t direct_new_pages(const struct direct *direct, uint64_t num_bytes, bool shareable)
{
    if (num_bytes > SMALL_MAX_BYTES) {
        return direct_pages_for(num_bytes);
    }
    const uint32_t size_class = size_class_of((uint32_t)num_bytes);
    const uint32_t *with_room = shareable ? direct->shareable_slabs : direct->partial_slabs;
    return with_room[size_class] != 0 ? 0 : size_classes[size_class].span_pages;
}

/* A run for one block alone. */
static int run_find_alone(struct direct *direct, uint64_t num_bytes, struct run *ret_run)
{
    const uint64_t span_pages = (num_bytes + PAGE_BYTES - 1) >> PAGE_SHIFT;
    if (span_pages > direct->pages->n_free_pages) {
        return DIRECT_E_FULL;
    }
    return run_open(direct, N_SIZE_CLASSES, (uint32_t)span_pages, false, ret_run);
}

/* A slab with room of this class, or else of the next larger one that has any. */
static int run_find_in_slab(const uint32_t *with_room, uint32_t size_class, struct run *ret_run)
{
    for (; size_class < N_SIZE_CLASSES; size_class++) {
        if (with_room[size_class] != 0) {
            *ret_run = (struct run){.page = with_room[size_class]};
            return 0;
        }
    }
    return DIRECT_E_FULL;
}

/*
 * A slab, or a run for one block, that has room for num_bytes. When there are not enough pages in
 * one place for a slab, a larger block than needed, or a run shorter than a slab, is better than to
 * say "no room" while there is.
 */
static int run_find(struct direct *direct, uint64_t num_bytes, bool shareable, struct run *ret_run)
{
    if (num_bytes > SMALL_MAX_BYTES) {
        return run_find_alone(direct, num_bytes, ret_run);
    }
    const uint32_t size_class = size_class_of((uint32_t)num_bytes);
    const uint32_t *with_room = room_lists(direct, shareable);
    if (with_room[size_class] != 0) {
        *ret_run = (struct run){.page = with_room[size_class]};
        return 0;
    }
    if (run_open(direct, size_class, size_classes[size_class].span_pages, shareable, ret_run) ==
        0) {
        room_link(direct, ret_run->page);
        return 0;
    }
    if (run_find_in_slab(with_room, size_class + 1, ret_run) == 0) {
        return 0;
    }
    return run_find_alone(direct, num_bytes, ret_run);
}

static bool is_large(const struct direct *direct, uint32_t page)
{
    return direct_head_kind(direct, page) == HEAD_LARGE;
}

int direct_allocate(struct direct *direct, struct client *client,
                    const struct direct_request *request, struct direct_carved *ret_carved)
{
    const uint64_t num_bytes = request->num_bytes;
    KMEM_ASSERT(num_bytes >= 1);
    KMEM_ASSERT(num_bytes <= SEGMENT_MAX_BYTES);
    struct run run;
    const int r = run_find(direct, num_bytes, request->shareable, &run);
    if (r) {
        return r;
    }
    const uint32_t page = run.page;
    const uint32_t id = reasons_ref(direct->reasons, client->identity.uid, request->reason,
                                    request->n_reason_bytes, num_bytes);
    budgets_charge(direct->budgets, id, num_bytes);
    const struct seg_off off =
        ledger_offset(direct->ledger, page, ledger_next(direct->ledger, page));
    const struct intent intent = {.kind = INTENT_ALLOCATE, .at = off.bytes};
    clients_intend(direct->clients, client->slot, request->sequence, &intent);
    KMEM_CRASH_POINT("server.allocate.intended");
    const uint32_t index =
        ledger_take(direct->ledger, page, num_bytes, id, request->now, client->slot);
    KMEM_CRASH_POINT("server.allocate.carved");
    if (!is_large(direct, page) && ledger_slab_is_full(&direct->ledger->heads[page])) {
        room_unlink(direct, page);
    }
    client_charge(client, num_bytes);
    direct->pages->state->counters->allocations++;
    direct->n_blocks++;
    direct->used_bytes += num_bytes;
    direct->block_bytes += ledger_block_bytes(direct->ledger, page);
    KMEM_ASSERT(ledger_offset(direct->ledger, page, index).bytes == off.bytes);
    *ret_carved = (struct direct_carved){.off = off, .is_zero = run.is_zero};
    return 0;
}

struct slab direct_slab(const struct direct *direct, uint32_t page)
{
    return (struct slab){
        .page = page,
        .n_blocks = direct->ledger->heads[page].n_carved,
        .block_bytes = ledger_block_bytes(direct->ledger, page),
        .entries = ledger_entries(direct->ledger, page),
    };
}

bool direct_block(const struct slab *slab, uint32_t index, struct block *ret_block)
{
    const struct ledger_entry *entry = &slab->entries[index];
    const uint64_t word = state_load(&entry->word);
    if (word == 0) {
        return false;
    }
    *ret_block = (struct block){
        .off = {((uint64_t)slab->page << PAGE_SHIFT) + index * slab->block_bytes},
        .num_bytes = ENTRY_NUM_BYTES(word),
        .reason = ENTRY_REASON(word),
        .born = atomic_load_explicit(&entry->born, memory_order_relaxed),
        .slot = entry_holder(entry),
    };
    return true;
}

static struct block block_describe(const struct direct *direct, const struct ledger_block *block)
{
    const struct slab slab = direct_slab(direct, block->page);
    struct block described;
    const bool is_live = direct_block(&slab, block->index, &described);
    KMEM_ASSERT(is_live);
    return described;
}

/*
 * The page table knows where a direct run begins. Of a page that is in none, its head can tell what
 * it was, if it has one: this is the only place where a head is looked at that may be none.
 */
static int ledger_look(const struct direct *direct, struct seg_off off,
                       struct ledger_block *ret_block)
{
    const uint64_t page = off.bytes >> PAGE_SHIFT;
    if (page >= direct->ledger->n_pages) {
        return LEDGER_E_WILD;
    }
    const uint32_t first = pages_run_of(direct->pages, (uint32_t)page);
    if (PAGE_WORD_STATE(pages_word(direct->pages, first)) == PAGE_DIRECT) {
        return ledger_find_in(direct->ledger, off, first, ret_block);
    }
    return heads_are_noted(direct, (uint32_t)page) ? ledger_find_closed(direct->ledger, off)
                                                   : LEDGER_E_WILD;
}

static int block_find(const struct direct *direct, const struct client *client, struct seg_off off,
                      struct ledger_block *ret_block, struct block *ret_described)
{
    switch (ledger_look(direct, off, ret_block)) {
    case LEDGER_OK:
        break;
    case LEDGER_E_INTERIOR:
        *ret_described = block_describe(direct, ret_block);
        return DIRECT_E_INTERIOR;
    case LEDGER_E_RELEASED:
        return DIRECT_E_RELEASED;
    default:
        return DIRECT_E_WILD;
    }
    *ret_described = block_describe(direct, ret_block);
    return ret_described->slot == client->slot ? 0 : DIRECT_E_FOREIGN;
}

int direct_find(const struct direct *direct, const struct client *client, struct seg_off off,
                struct block *ret_block)
{
    struct ledger_block block = {.page = 0};
    return block_find(direct, client, off, &block, ret_block);
}

/* Takes a live block back, whoever holds it. */
static void block_take_back(struct direct *direct, const struct ledger_block *block)
{
    const struct block was = block_describe(direct, block);
    struct ledger_head *head = &direct->ledger->heads[block->page];
    const bool large = is_large(direct, block->page);
    const bool was_full = !large && ledger_slab_is_full(head);
    direct->pages->state->counters->releases++;
    direct->n_blocks--;
    direct->used_bytes -= was.num_bytes;
    direct->block_bytes -= ledger_block_bytes(direct->ledger, block->page);
    ledger_give(direct->ledger, block);
    struct client *client = clients_get(direct->clients, was.slot);
    budgets_discharge(direct->budgets, was.reason, was.num_bytes);
    reasons_unref(direct->reasons, client->identity.uid, was.reason, was.num_bytes);
    client_discharge(client, was.num_bytes);
    if (head->n_used == 0) {
        if (!large && !was_full) {
            room_unlink(direct, block->page);
        }
        run_close(direct, block->page);
    } else if (was_full) {
        room_link(direct, block->page);
    }
}

int direct_release(struct direct *direct, const struct client *client, struct seg_off off,
                   uint64_t sequence, struct block *ret_block)
{
    struct ledger_block block = {.page = 0};
    const int r = block_find(direct, client, off, &block, ret_block);
    if (r == 0) {
        const struct intent intent = {.kind = INTENT_RELEASE, .at = off.bytes};
        clients_intend(direct->clients, client->slot, sequence, &intent);
        KMEM_CRASH_POINT("server.release.intended");
        block_take_back(direct, &block);
        KMEM_CRASH_POINT("server.release.done");
    }
    return r;
}

/* The block that begins at an offset: it is known that one does. */
static struct ledger_block block_at(const struct direct *direct, struct seg_off off)
{
    struct ledger_block block = {.page = 0};
    const int r = ledger_look(direct, off, &block);
    KMEM_ASSERT(r == 0);
    return block;
}

void direct_take_back(struct direct *direct, struct seg_off off)
{
    const struct ledger_block block = block_at(direct, off);
    block_take_back(direct, &block);
}

void direct_charge(struct direct *direct, struct seg_off off, uint32_t slot)
{
    const struct ledger_block block = block_at(direct, off);
    const struct block is = block_describe(direct, &block);
    if (is.slot != slot) {
        struct client *from = clients_get(direct->clients, is.slot);
        struct client *to = clients_get(direct->clients, slot);
        client_discharge(from, is.num_bytes);
        client_charge(to, is.num_bytes);
        reasons_move(direct->reasons, is.reason, from->identity.uid, to->identity.uid);
        /* Before: the one is charged. After: the other. */
        store_prepare_u32(&block.entry->holder, slot);
        KMEM_CRASH_POINT("server.share.charged");
    }
}

/* All of its entries are read when it is adopted, so none may be left there by what was damaged. */
void direct_prepare(struct direct *direct, uint32_t page, uint32_t span_pages, uint32_t size_class)
{
    run_prepare(direct, page, span_pages, size_class, false);
    direct_forget_entries(direct, page);
}

void direct_prepare_block(struct direct *direct, uint32_t page, uint32_t index,
                          const struct block *block)
{
    struct ledger_entry *entry = &ledger_entries(direct->ledger, page)[index];
    KMEM_ASSERT(state_load(&entry->word) == 0);
    store_prepare_u32(&entry->born, block->born);
    store_prepare_u32(&entry->holder, block->slot);
    store_prepare_u64(&entry->word, ENTRY_WORD(block->num_bytes, block->reason));
}

void direct_adopt(struct direct *direct, uint32_t page)
{
    const uint64_t n_before = direct->n_blocks;
    const char *why;
    /* As a restart would count it; the words of its reasons are there, so no memory is needed. */
    const int r = direct_recover_run(direct, page, &why);
    KMEM_ASSERT(r == 0);
    direct->pages->state->counters->allocations += direct->n_blocks - n_before;
}

void direct_reap_run(struct direct *direct, uint32_t page,
                     void (*taken)(const struct block *block, void *user), void *user)
{
    const struct slab slab = direct_slab(direct, page);
    uint32_t n_left = direct->ledger->heads[page].n_used;
    /* The slab is closed with its last block: nothing is looked at after that. */
    for (uint32_t index = 0; index < slab.n_blocks && n_left > 0; index++) {
        struct block block;
        if (!direct_block(&slab, index, &block)) {
            continue;
        }
        n_left--;
        if (clients_get(direct->clients, block.slot)->client_state == CLIENT_ENDED) {
            const struct ledger_block place = {page, index, &slab.entries[index]};
            taken(&block, user);
            block_take_back(direct, &place);
        }
    }
}

/* --------------------------------------------------------------------------- after a restart -- */

/* Whether the heads of a run say that it is one slab, or one large block, of this length. */
static bool run_heads_are_sound(const struct direct *direct, uint32_t page, uint32_t n_pages)
{
    const struct ledger_head *head = &direct->ledger->heads[page];
    if (head->span_pages != n_pages || (head->flags & ~HEAD_SHAREABLE) != 0) {
        return false;
    }
    if (direct_head_kind(direct, page) == HEAD_LARGE) {
        return true;
    }
    if (head->size_class >= N_SIZE_CLASSES ||
        size_classes[head->size_class].span_pages != n_pages) {
        return false;
    }
    for (uint32_t i = 1; i < n_pages; i++) {
        if (direct_head_kind(direct, page + i) != HEAD_INTERIOR || head[i].back != i) {
            return false;
        }
    }
    return true;
}

static int block_recover(struct direct *direct, const struct block *block, uint64_t block_bytes,
                         const char **ret_why)
{
    if (block->num_bytes == 0 || block->num_bytes > block_bytes) {
        *ret_why = "a block is larger than its place";
        return DIRECT_E_CORRUPT;
    }
    if (!clients_has(direct->clients, block->slot)) {
        *ret_why = "a block is held by a client that is not there";
        return DIRECT_E_CORRUPT;
    }
    struct client *client = clients_get(direct->clients, block->slot);
    const int r =
        reasons_recover(direct->reasons, client->identity.uid, block->reason, block->num_bytes);
    if (r > 0) {
        *ret_why = "a block has a reason without words of its own";
        return DIRECT_E_CORRUPT;
    }
    if (r == 0) {
        budgets_charge(direct->budgets, block->reason, block->num_bytes);
        client_charge(client, block->num_bytes);
        direct->n_blocks++;
        direct->used_bytes += block->num_bytes;
        direct->block_bytes += block_bytes;
    }
    return r;
}

static int blocks_recover(struct direct *direct, uint32_t page, const char **ret_why)
{
    const struct slab slab = direct_slab(direct, page);
    for (uint32_t index = 0; index < slab.n_blocks; index++) {
        struct block block;
        if (!direct_block(&slab, index, &block)) {
            continue;
        }
        const int r = block_recover(direct, &block, slab.block_bytes, ret_why);
        if (r) {
            return r;
        }
    }
    return 0;
}

int direct_recover_run(struct direct *direct, uint32_t page, const char **ret_why)
{
    const uint32_t n_pages = PAGE_WORD_PAGES(pages_word(direct->pages, page));
    const uint32_t kind = direct_head_kind(direct, page);
    if (kind == HEAD_CLOSED || kind == HEAD_CLOSED_LARGE) {
        pages_give(direct->pages, page); /* killed between closing it and giving it back */
        return 0;
    }
    if ((kind != HEAD_SLAB && kind != HEAD_LARGE) || !run_heads_are_sound(direct, page, n_pages)) {
        *ret_why = "its pages are not what its head says";
        return DIRECT_E_CORRUPT;
    }
    heads_note(direct, page, kind == HEAD_SLAB ? n_pages : 1); /* by a server that did not */
    ledger_slab_rebuild(direct->ledger, page);
    direct->slab_bytes += (uint64_t)n_pages << PAGE_SHIFT;
    if (direct->ledger->heads[page].n_used == 0) {
        run_close(direct, page); /* killed before its first block, or after its last */
        return 0;
    }
    if (kind == HEAD_SLAB && !ledger_slab_is_full(&direct->ledger->heads[page])) {
        room_link(direct, page);
    }
    return blocks_recover(direct, page, ret_why);
}

void direct_recovered(struct direct *direct)
{
    struct state_counters *counters = direct->pages->state->counters;
    const uint64_t n_blocks = counters->allocations - counters->releases;
    if (direct->n_blocks > n_blocks) {
        counters->allocations += direct->n_blocks - n_blocks;
    } else {
        counters->releases += n_blocks - direct->n_blocks;
    }
}

/* SPDX-License-Identifier: MIT */
/*
 * The segment is shared memory: a forked child that went on in its parent's heap would change it
 * under its parent. So it gets copies, at the same addresses, of every block that its parent has:
 *
 *      parent, before    base | slab ... |  | large ... |        shared
 *                        area | copies   |  | copies    |        private, of the parent
 *      child             area                                    nothing
 *                        base | copies   |  | copies    |        private; in between: no access
 *
 * THE PARENT COPIES, before the fork, into private memory that the kernel hands to the child like
 * any other; the child moves it over the segment, and the parent gives its own up. So no process
 * waits for another: there is no child that a debugger may stop or the kernel kill while its parent
 * waits, no descriptor, and a fork that has no memory for the copy fails before there is a child.
 * Rejected: to let the child copy while the parent waits, which is the same work and the same
 * memory, and all of that. Rejected too: to copy late, what one of the two is about to write. The
 * parent's threads go on writing, and pages of a file that is mapped shared can not be write-
 * protected for one process without a fault handler in it (userfaultfd), which is not to be had
 * without privileges, and costs each page that the parent writes more than its copy. And to map the
 * segment MAP_PRIVATE in the child: it shows what the parent writes until the page is copied.
 *
 * WHAT IS COPIED. The bytes of live blocks, and of free ones between them: of slabs by the entries
 * in the ledger, large blocks and direct ones as far as they were asked for. Not whole pages:
 * direct blocks of several processes lie in one. Nothing is frozen meanwhile: as with any fork,
 * what the parent's other threads are in the midst of is in the child as it happens to be. What the
 * forking thread has locked in its handlers of pthread_atfork() is as it was. A page that the
 * server has taken away while it was copied may have been another client's: its copy is cleared.
 *
 * A SHARED BLOCK, own or attached, is a copy like all others. A child holds nothing of what its
 * parent holds (kmem/share.h): as soon as the parent lets go, its bytes may be another's, and a
 * child that wrote there would spoil them. By its handle the child attaches it, and has the bytes
 * that the others see, at another address.
 *
 * SIZES. A slab's blocks are noted by what of them was not asked for, 2 bytes each, so that a child
 * has the size of a block to the byte; a tenth of what a copy of the ledger would be.
 *
 * PROTECTED. A program may have taken the access to a page of a block, below a stack or to see what
 * is written there. From when it has, what is copied is read through a second mapping of the
 * segment, and the copies are protected as their originals are (map/protections.h). Rejected: to
 * let the kernel copy (process_vm_readv), which can not read there either, and to give access for a
 * moment, which other threads would have too.
 *
 * WHAT IT COSTS: docs/man/kmemctl.1 says it.
 */
#include "client/inherit.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "client/context.h"
#include "client/estate.h"
#include "client/heap/shared.h"
#include "client/map/map.h"
#include "proto/lease.h"

/* What huge pages are aligned to: a copy is as far from such a place as what it is a copy of. */
#define HUGE_PAGE_BYTES ((uint64_t)2 << 20)

/* 64 pages: a gap of 1 MiB costs nothing but that a wild pointer into it is not noticed. */
#define RUN_GAP_PAGES 64

/* 512: two copies cost more than one that is longer by this. */
#define COPY_GAP_BYTES 512

#define PAGES_PER_BITS 64

/* 8 KiB, two pages: what is mapped in one call takes a third of a fault for each. */
#define POPULATE_MIN_BYTES ((uint64_t)8 * 1024)

#define CPU_PAGE_BYTES ((uintptr_t)4096)

const uint64_t kmem__malloc_layout = MALLOC_LAYOUT;

static _Atomic bool is_wanted;    /* relaxed: it stands alone, and is set once */
static _Atomic bool is_protected; /* likewise */

/* Written by the thread of a child that parts late; its own children have its copies, and it. */
static bool has_parted;

void kmem__inherit_begin(void)
{
    atomic_store_explicit(&is_wanted, true, memory_order_relaxed);
}

bool kmem__inherit_is_wanted(void)
{
    return atomic_load_explicit(&is_wanted, memory_order_relaxed);
}

void kmem__inherit_protected(void)
{
    atomic_store_explicit(&is_protected, true, memory_order_relaxed);
}

/* ------------------------------------------------------------------- what there is to copy ---- */

/* Return: the first page from `page` on that is in use by this process; n_pages: there is none. */
static uint32_t next_used(const struct allocator *allocator, uint32_t page)
{
    const uint32_t n_pages = allocator->ledger.n_pages;
    const _Atomic uint64_t *states = allocator->ledger.states;
    while ((page = kmem__guard_next_open(allocator->guard, page)) < n_pages) {
        /* Relaxed: other threads go on, and what they take now is none of the child's. */
        if (page % LEASE_PAGES_PER_WORD == 0 &&
            atomic_load_explicit(&states[page / LEASE_PAGES_PER_WORD], memory_order_relaxed) == 0) {
            page += LEASE_PAGES_PER_WORD;
        } else if ((lease_flags_of(states, page) & LEASE_STATE_MASK) == LEASE_USED) {
            return page;
        } else {
            page++;
        }
    }
    return n_pages;
}

/* Return: from the first page in use to the last, and how many there are. */
static struct stretch find_used(const struct allocator *allocator)
{
    struct stretch used = {0, 0, 0};
    for (uint32_t page = 0; (page = next_used(allocator, page)) < allocator->ledger.n_pages;) {
        used.begin = used.n_marked++ == 0 ? page : used.begin;
        used.end = ++page;
    }
    return used;
}

static void mark_page(struct estate *estate, uint32_t page)
{
    struct stretch *marked = &estate->marked;
    marked->begin = marked->end == 0 || page < marked->begin ? page : marked->begin;
    marked->end = page >= marked->end ? page + 1 : marked->end;
    estate->pages[page / PAGES_PER_BITS] |= UINT64_C(1) << page % PAGES_PER_BITS;
}

static bool page_is_marked(const struct estate *estate, uint32_t page)
{
    return estate->pages[page / PAGES_PER_BITS] >> page % PAGES_PER_BITS & 1;
}

/* Pages in which direct and attached blocks lie, and pages that are leased and in use. */
static void mark_all(struct estate *estate, const struct allocator *allocator)
{
    const struct hold *hold;
    for (uint32_t at = 0; (hold = kmem__holds_next(&estate->directs, &at)) != NULL;) {
        const uint64_t end = hold->offset + hold->num_bytes;
        for (uint64_t page = hold->offset >> PAGE_SHIFT; page << PAGE_SHIFT < end; page++) {
            mark_page(estate, (uint32_t)page);
        }
    }
    const struct stretch used = estate->used;
    for (uint32_t page = used.begin; (page = next_used(allocator, page)) < used.end;) {
        mark_page(estate, page++);
    }
}

static uint32_t next_marked(const struct estate *estate, uint32_t page, uint32_t end)
{
    while (page < end && !page_is_marked(estate, page)) {
        const bool is_empty = estate->pages[page / PAGES_PER_BITS] == 0;
        page = is_empty ? (page / PAGES_PER_BITS + 1) * PAGES_PER_BITS : page + 1;
    }
    return page < end ? page : end;
}

/* Marked pages, and gaps that are not worth two mappings, or are too many. */
static void find_runs(struct estate *estate)
{
    struct stretch *run = NULL;
    const uint32_t end = estate->marked.end;
    for (uint32_t page = estate->marked.begin; (page = next_marked(estate, page, end)) < end;
         page++) {
        if (run != NULL && (page - run->end <= RUN_GAP_PAGES || estate->n_runs == RUNS_MAX)) {
            run->end = page + 1;
            run->n_marked++;
        } else {
            run = &estate->runs[estate->n_runs++];
            *run = (struct stretch){page, page + 1, 1};
        }
    }
}

/* -------------------------------------------------------------------------- the new memory ---- */

static void *map_private(uint64_t num_bytes, int protection)
{
    void *mapping =
        mmap(NULL, num_bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return mapping != MAP_FAILED ? mapping : NULL;
}

/* A cache line, so that each begins on what any of them needs. */
#define TABLE_ALIGN_BYTES UINT64_C(64)
#define N_TABLES 5

static uint64_t *take_table(unsigned char **at, uint64_t num_bytes)
{
    void *table = *at;
    *at += (num_bytes + TABLE_ALIGN_BYTES - 1) / TABLE_ALIGN_BYTES * TABLE_ALIGN_BYTES;
    return table;
}

/* The tables, as large as they can become. Return: 0 or -ENOMEM. */
KMEM_MUST_USE static int estate_new(struct inherit_copy *copy, struct allocator *allocator,
                                    const struct segment *segment)
{
    const uint64_t n_pages = segment->num_bytes >> PAGE_SHIFT;
    const struct stretch used = find_used(allocator);
    const uint32_t n_used = used.n_marked;
    const uint32_t n_slots = kmem__holds_slots_for(kmem__holds_count(&allocator->directs) +
                                                   kmem__holds_count(&allocator->holds));
    const uint64_t pages_bytes = (n_pages / PAGES_PER_BITS + 1) * sizeof(uint64_t);
    const uint64_t max_slacks = (uint64_t)n_used << PLANE_SHIFT(N_PLANES - 1);
    copy->estate_bytes = sizeof(struct estate) + pages_bytes + n_slots * sizeof(struct hold) +
                         n_used * sizeof(struct piece) + max_slacks * sizeof(uint16_t) +
                         N_TABLES * TABLE_ALIGN_BYTES;
    unsigned char *at = map_private(copy->estate_bytes, PROT_READ | PROT_WRITE);
    if (at == NULL) {
        return -ENOMEM;
    }
    struct estate *estate = (void *)take_table(&at, sizeof(*estate));
    estate->base = segment->base;
    estate->num_bytes = segment->num_bytes;
    estate->used = used;
    estate->pages = take_table(&at, pages_bytes);
    estate->directs.slots = (void *)take_table(&at, n_slots * sizeof(struct hold));
    estate->directs.n_slots = n_slots;
    estate->pieces = (void *)take_table(&at, n_used * sizeof(struct piece));
    estate->max_pieces = n_used;
    estate->slacks = (void *)take_table(&at, max_slacks * sizeof(uint16_t));
    estate->max_slacks = max_slacks < UINT32_MAX ? (uint32_t)max_slacks : UINT32_MAX;
    copy->estate = estate;
    return 0;
}

/* Return: where the copy of a page is. */
static unsigned char *area_at(const struct inherit_copy *copy, uint32_t page)
{
    return copy->area + ((uint64_t)page << PAGE_SHIFT);
}

/* Maps the runs: address space for all, memory for them alone. Return: 0 or -ENOMEM. */
KMEM_MUST_USE static int area_map(struct inherit_copy *copy)
{
    const struct estate *estate = copy->estate;
    if (estate->n_runs == 0) {
        return 0;
    }
    const struct stretch all = {estate->runs[0].begin, estate->runs[estate->n_runs - 1].end, 0};
    const uint64_t skew = ((uint64_t)all.begin << PAGE_SHIFT) % HUGE_PAGE_BYTES;
    copy->mapped_bytes = ((uint64_t)(all.end - all.begin) << PAGE_SHIFT) + 2 * HUGE_PAGE_BYTES;
    copy->mapped = map_private(copy->mapped_bytes, PROT_NONE);
    if (copy->mapped == NULL) {
        return -ENOMEM;
    }
    const uint64_t to_aligned = -(uintptr_t)copy->mapped % HUGE_PAGE_BYTES;
    copy->area = copy->mapped + to_aligned + skew - ((uint64_t)all.begin << PAGE_SHIFT);
    for (uint32_t i = 0; i < estate->n_runs; i++) {
        const struct stretch run = estate->runs[i];
        const uint64_t run_bytes = (uint64_t)(run.end - run.begin) << PAGE_SHIFT;
        if (mprotect(area_at(copy, run.begin), run_bytes, PROT_READ | PROT_WRITE) < 0) {
            return -ENOMEM;
        }
        if (run_bytes >= HUGE_PAGE_BYTES && run.n_marked >= (run.end - run.begin) / 4 * 3) {
            (void)madvise(area_at(copy, run.begin), run_bytes, MADV_HUGEPAGE); /* or it is slower */
        }
    }
    return 0;
}

void kmem__inherit_drop(struct inherit_copy *copy)
{
    if (copy->mapped != NULL) {
        (void)munmap(copy->mapped, copy->mapped_bytes);
    }
    if (copy->estate != NULL) {
        (void)munmap(copy->estate, copy->estate_bytes);
    }
    *copy = (struct inherit_copy){.estate = NULL};
}

/* Finds out what there is, and has room for it. Return: 0 or -ENOMEM. */
KMEM_MUST_USE static int copy_begin(struct inherit_copy *copy, struct allocator *allocator,
                                    const struct segment *segment)
{
    int r = estate_new(copy, allocator, segment);
    if (r == 0) {
        kmem__holds_copy(&allocator->directs, &copy->estate->directs);
        kmem__holds_copy(&allocator->holds, &copy->estate->directs);
        mark_all(copy->estate, allocator);
        find_runs(copy->estate);
        r = area_map(copy);
    }
    if (r < 0) {
        kmem__inherit_drop(copy);
    }
    return r;
}

/* --------------------------------------------------------------------------------- copying ---- */

/* Whether all pages of some bytes were in use when the runs were mapped. */
static bool has_room(const struct estate *estate, uint64_t offset, uint64_t num_bytes)
{
    const uint32_t last = (uint32_t)((offset + num_bytes - 1) >> PAGE_SHIFT);
    for (uint32_t page = (uint32_t)(offset >> PAGE_SHIFT); page <= last; page++) {
        if (!page_is_marked(estate, page)) {
            return false;
        }
    }
    return true;
}

static void copy_bytes(const struct inherit_copy *copy, uint64_t offset, uint64_t num_bytes)
{
    unsigned char *to = copy->area + offset;
    if (num_bytes >= POPULATE_MIN_BYTES) {
        const uintptr_t skew = (uintptr_t)to % CPU_PAGE_BYTES;
        (void)madvise(to - skew, num_bytes + skew, MADV_POPULATE_WRITE); /* or it is slower */
    }
    if (num_bytes > 0) {
        memcpy(to, copy->from + offset, num_bytes);
    }
}

/* The blocks of a slab; what is free between them is copied where that is faster. */
static void copy_blocks(const struct inherit_copy *copy, struct piece *piece,
                        const struct ledger_entry *entries)
{
    _Atomic uint16_t *slacks = &copy->estate->slacks[piece->first_slack];
    uint64_t begin = piece->offset;
    uint64_t end = begin;
    for (uint32_t i = 0; i < piece->n_blocks; i++) {
        /* Acquire: another thread's block that this one knows of is complete. */
        const uint64_t word = atomic_load_explicit(&entries[i].word, memory_order_acquire);
        const uint64_t num_bytes = ENTRY_NUM_BYTES(word);
        if (num_bytes == 0 || num_bytes > piece->block_bytes) {
            atomic_init(&slacks[i], SLACK_FREE);
            continue;
        }
        const uint64_t offset = piece->offset + i * piece->block_bytes;
        atomic_init(&slacks[i], (uint16_t)(piece->block_bytes - num_bytes));
        if (offset - end > COPY_GAP_BYTES) {
            copy_bytes(copy, begin, end - begin);
            begin = offset;
        }
        end = offset + num_bytes;
    }
    copy_bytes(copy, begin, end - begin);
}

static void copy_piece(const struct inherit_copy *copy, const struct piece *wanted,
                       const struct ledger_entry *entries)
{
    struct estate *estate = copy->estate;
    const uint64_t num_bytes = wanted->block_bytes * wanted->n_blocks;
    if (estate->n_pieces == estate->max_pieces ||
        estate->max_slacks - estate->n_slacks < wanted->n_blocks ||
        !has_room(estate, wanted->offset, num_bytes)) {
        return; /* younger than the fork */
    }
    struct piece *piece = &estate->pieces[estate->n_pieces++];
    *piece = *wanted;
    piece->first_slack = estate->n_slacks;
    estate->n_slacks += piece->n_blocks;
    if (entries != NULL) {
        copy_blocks(copy, piece, entries);
    } else {
        copy_bytes(copy, piece->offset, piece->block_bytes);
    }
}

/* What was copied of pages that are not this process's any more is nothing for the child. */
static void clear_lost(const struct inherit_copy *copy, const struct allocator *allocator,
                       struct stretch pages)
{
    /* Acquire: the look comes behind the copy. */
    atomic_thread_fence(memory_order_acquire);
    for (uint32_t page = pages.begin; page < pages.end; page++) {
        if (page_is_marked(copy->estate, page) &&
            (lease_flags_of(allocator->ledger.states, page) & LEASE_STATE_MASK) != LEASE_USED) {
            memset(area_at(copy, page), 0, PAGE_BYTES);
        }
    }
}

/* A shared block that this process has let go of is others' alone. */
static bool is_away(const struct ledger_entry *entry, uint64_t word)
{
    return entry_is_shared(word) &&
           atomic_load_explicit(&entry->holder, memory_order_acquire) == SHARED_AWAY;
}

/* Copies what begins at a page that is in use. Return: the page behind it. */
static uint32_t copy_at(const struct inherit_copy *copy, const struct allocator *allocator,
                        uint32_t page)
{
    const struct ledger *ledger = &allocator->ledger;
    const struct ledger_head *head = &ledger->heads[page];
    /* Acquire: pairs with the store of kind, last of the head's fields. */
    const uint32_t kind = atomic_load_explicit(&head->kind, memory_order_acquire);
    struct stretch pages = {page, page + 1, 1};
    struct piece piece = {.offset = (uint64_t)page << PAGE_SHIFT};
    if (kind == HEAD_SLAB && head->size_class < N_SIZE_CLASSES &&
        (lease_flags_of(ledger->states, page) & LEASE_SLAB) != 0) {
        const struct size_class *class = &size_classes[head->size_class];
        pages.end = page + class->span_pages;
        piece.block_bytes = class->block_bytes;
        piece.n_blocks = class->n_blocks;
        copy_piece(copy, &piece,
                   ledger->planes[class->plane] + ((uint64_t)page << PLANE_SHIFT(class->plane)));
    } else if (kind == HEAD_LARGE) {
        const struct ledger_entry *entry = ledger->planes[0] + ((uint64_t)page << PLANE_SHIFT(0));
        const uint64_t word = atomic_load_explicit(&entry->word, memory_order_acquire);
        pages.end = page + head->span_pages;
        piece.block_bytes = ENTRY_NUM_BYTES(word);
        piece.n_blocks = 1;
        if (piece.block_bytes != 0 && !is_away(entry, word) &&
            piece.block_bytes <= (uint64_t)head->span_pages << PAGE_SHIFT) {
            copy_piece(copy, &piece, NULL);
        }
    }
    if (pages.end <= page || pages.end > ledger->n_pages) {
        return page + 1; /* it has just become another's */
    }
    clear_lost(copy, allocator, pages);
    return pages.end;
}

static void copy_all(const struct inherit_copy *copy, const struct allocator *allocator)
{
    const struct hold *hold;
    const struct stretch used = copy->estate->used;
    for (uint32_t page = used.begin; (page = next_used(allocator, page)) < used.end;) {
        page = copy_at(copy, allocator, page);
    }
    for (uint32_t at = 0; (hold = kmem__holds_next(&copy->estate->directs, &at)) != NULL;) {
        copy_bytes(copy, hold->offset, hold->num_bytes);
    }
}

/* ------------------------------------------------------------------------------- the calls ---- */

int kmem__inherit_try(void)
{
    struct inherit_copy copy = {.estate = NULL};
    struct allocator *allocator = kmem__context_allocator();
    if (allocator == NULL) {
        return 0;
    }
    const struct segment *segment = kmem__context_segment();
    int r = copy_begin(&copy, allocator, segment);
    if (r == 0 && atomic_load_explicit(&is_protected, memory_order_relaxed)) {
        void *second = kmem__protections_evade(segment);
        r = second != NULL ? 0 : -ENOMEM;
        (void)munmap(second, second != NULL ? segment->num_bytes : 0);
    }
    kmem__inherit_drop(&copy);
    return r;
}

/* Copies what may be protected, and notes how. Return: 0 or -ENOMEM. */
KMEM_MUST_USE static int copy_protected(struct inherit_copy *copy,
                                        const struct allocator *allocator,
                                        const struct segment *segment)
{
    void *second = kmem__protections_evade(segment);
    if (second == NULL) {
        kmem__inherit_drop(copy);
        return -ENOMEM;
    }
    kmem__protections_read(&copy->estate->protections, segment);
    copy->from = second;
    copy_all(copy, allocator);
    (void)munmap(second, segment->num_bytes);
    return 0;
}

int kmem__inherit_copy(struct inherit_copy *copy)
{
    struct allocator *allocator = kmem__context_allocator();
    const struct segment *segment = kmem__context_segment();
    *copy = (struct inherit_copy){.estate = NULL};
    if (allocator == NULL) {
        return 0;
    }
    kmem__guard_hold(allocator->guard);
    int r = copy_begin(copy, allocator, segment);
    if (r == 0 && atomic_load_explicit(&is_protected, memory_order_relaxed)) {
        r = copy_protected(copy, allocator, segment);
    } else if (r == 0) {
        copy->from = segment->base;
        copy_all(copy, allocator);
    }
    kmem__guard_let_go(allocator->guard);
    return r;
}

int kmem__inherit_place(struct inherit_copy *copy)
{
    struct estate *estate = copy->estate;
    if (estate == NULL) {
        return 0;
    }
    if (mmap(estate->base, estate->num_bytes, PROT_NONE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED) {
        return -errno;
    }
    for (uint32_t i = 0; i < estate->n_runs; i++) {
        const struct stretch run = estate->runs[i];
        const uint64_t run_bytes = (uint64_t)(run.end - run.begin) << PAGE_SHIFT;
        void *to = estate->base + ((uint64_t)run.begin << PAGE_SHIFT);
        if (mremap(area_at(copy, run.begin), run_bytes, run_bytes, MREMAP_MAYMOVE | MREMAP_FIXED,
                   to) == MAP_FAILED) {
            return -errno;
        }
    }
    if (copy->mapped != NULL) {
        (void)munmap(copy->mapped, copy->mapped_bytes); /* what is left between the runs */
    }
    kmem__protections_set(&estate->protections, estate->base);
    kmem__estate_add(estate);
    *copy = (struct inherit_copy){.estate = NULL};
    kmem__context_forget();
    return 0;
}

/* Pages that are open, one after the other, become this process's. Return: 0 or -errno. */
KMEM_MUST_USE static int keep_stretch(const struct segment *segment, const unsigned char *second,
                                      struct stretch pages)
{
    const uint64_t offset = (uint64_t)pages.begin << PAGE_SHIFT;
    const uint64_t num_bytes = (uint64_t)(pages.end - pages.begin) << PAGE_SHIFT;
    void *copy = map_private(num_bytes, PROT_READ | PROT_WRITE);
    if (copy == NULL) {
        return -ENOMEM;
    }
    memcpy(copy, second + offset, num_bytes);
    if (mremap(copy, num_bytes, num_bytes, MREMAP_MAYMOVE | MREMAP_FIXED, segment->base + offset) ==
        MAP_FAILED) {
        return -errno;
    }
    return 0;
}

int kmem__inherit_late(void)
{
    const struct segment *segment = kmem__context_segment();
    if (segment == NULL || has_parted) {
        return 0;
    }
    void *second = kmem__protections_evade(segment);
    int r = second != NULL ? 0 : -ENOMEM;
    const uint32_t n_pages = (uint32_t)(segment->num_bytes >> PAGE_SHIFT);
    uint32_t page = 0;
    while (r == 0 && (page = kmem__guard_next_open(segment->guard, page)) < n_pages) {
        struct stretch pages = {page, page + 1, 1};
        while (pages.end < n_pages &&
               kmem__guard_next_open(segment->guard, pages.end) == pages.end) {
            pages.end++;
        }
        r = keep_stretch(segment, second, pages);
        page = pages.end;
    }
    has_parted = r == 0;
    if (second != NULL) {
        (void)munmap(second, segment->num_bytes);
    }
    return r;
}

bool kmem__inherit_may_join(void)
{
    return !kmem__context_has_connection();
}

bool kmem__inherit_has(const void *address)
{
    return kmem__estate_of(address) != NULL;
}

uint64_t kmem__inherit_sizeof(const void *block)
{
    const struct estate *estate = kmem__estate_of(block);
    return estate != NULL ? kmem__estate_sizeof(estate, (uintptr_t)block - (uintptr_t)estate->base)
                          : 0;
}

int kmem__inherit_release(const void *block)
{
    const struct estate *estate = kmem__estate_of(block);
    return estate != NULL ? kmem__estate_release(estate, (uintptr_t)block - (uintptr_t)estate->base)
                          : -EINVAL;
}

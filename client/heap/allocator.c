/* SPDX-License-Identifier: MIT */
/*
 * A allocator is made when the process joins and ends when it leaves. Its ledger is a file of the
 * daemon's; that it can not be shrunk under this process is checked, as for the segment. Neither
 * the ledger nor what leads into it is mapped in a forked child, who could do nothing right with
 * it.
 */
#include "client/heap/allocator.h"

#include <errno.h>
#include <string.h>
#include <fcntl.h>
#include <linux/membarrier.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "client/heap/bins.h"
#include "client/heap/clear.h"
#include "client/link/locate.h"
#include "client/map/dump.h"
#include "client/map/map.h"

#define BY_ID_BYTES (HEAPS_MAX * sizeof(struct heap *))

/*
 * Memory that a forked child does not get: it leads into the parent's ledger. Touched where it is
 * used, so a table for the largest segment costs what is in it.
 */
static void *table_map(uint64_t num_bytes)
{
    void *table = kmem__map_sparse(NULL, num_bytes, PROT_READ | PROT_WRITE,
                                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
    if (table == MAP_FAILED) {
        return NULL;
    }
    (void)madvise(table, num_bytes, MADV_DONTFORK);
    return table;
}

static void table_unmap(void *table, uint64_t num_bytes)
{
    if (table != NULL) {
        (void)munmap(table, num_bytes);
    }
}

static uint64_t remotes_bytes(const struct allocator *allocator)
{
    return allocator->ledger.n_pages * sizeof(struct remote);
}

static uint64_t notes_bytes(const struct allocator *allocator)
{
    return CPU_PAGE_SKEW_BYTES + allocator->ledger.n_pages * sizeof(struct page_note);
}

/* Return: the notes of all pages; NULL if there is no memory. */
static struct page_note *notes_map(const struct allocator *allocator)
{
    unsigned char *table = table_map(notes_bytes(allocator));
    return table == NULL ? NULL : (struct page_note *)(void *)(table + CPU_PAGE_SKEW_BYTES);
}

static void notes_unmap(const struct allocator *allocator)
{
    if (allocator->notes != NULL) {
        table_unmap((unsigned char *)allocator->notes - CPU_PAGE_SKEW_BYTES,
                    notes_bytes(allocator));
    }
}

/* How often this process, and those that it was forked from, have joined a segment. */
static _Atomic uint64_t n_epochs;

/*
 * From now on the daemon's membarrier() is a barrier in this process as well: see proto/lease.h.
 * Where the kernel refuses that, no slab is taken from this process while it sleeps.
 */
static void allocator_be_fenced(const struct allocator *allocator)
{
    const long r = syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0);
    /* Relaxed: the daemon reads it before it asks for a slab; it is true before there is one. */
    atomic_store_explicit(&allocator->ledger.header->is_fenced, r == 0, memory_order_relaxed);
}

int kmem__allocator_init(struct allocator *allocator, const struct segment *segment,
                         const struct ledger *ledger, const _Atomic uint32_t *clock,
                         lend_function lend, void *lender)
{
    allocator->base = segment->base;
    allocator->num_bytes = segment->num_bytes;
    allocator->guard = segment->guard;
    allocator->ledger = *ledger;
    allocator->clock = clock;
    /* Relaxed: no other thread knows the allocator yet. */
    atomic_store_explicit(&allocator->wants_own, kmem__dump_serves_malloc(), memory_order_relaxed);
    allocator->hot.is_eager = kmem__dump_serves_malloc();
    kmem__lease_cache_init(&allocator->cache, &allocator->ledger, clock, lend, lender);
    allocator->heaps.by_id = table_map(BY_ID_BYTES);
    allocator->remotes = table_map(remotes_bytes(allocator));
    allocator->notes = notes_map(allocator);
    /* Relaxed: a number of its own is all that is asked for. 2^40 of them are never used up. */
    allocator->epoch = atomic_fetch_add_explicit(&n_epochs, 1, memory_order_relaxed) + 1;
    if (allocator->heaps.by_id == NULL || allocator->remotes == NULL || allocator->notes == NULL ||
        kmem__intern_init(&allocator->intern, &allocator->ledger) < 0 ||
        kmem__lifetimes_init(&allocator->lifetimes, &allocator->ledger) < 0) {
        return -ENOMEM;
    }
    allocator_be_fenced(allocator);
    return 0;
}

uint64_t kmem__allocator_size(const struct allocator *allocator)
{
    /* Relaxed: a hint. */
    const uint32_t n_pages =
        atomic_load_explicit(allocator->clock + CLOCK_PAGES, memory_order_relaxed);
    const uint64_t num_bytes = (uint64_t)n_pages << PAGE_SHIFT;
    return n_pages > 0 && num_bytes < allocator->num_bytes ? num_bytes : allocator->num_bytes;
}

/* Maps a file of the daemon's that must have at least num_bytes. Return: NULL, and a sentence. */
static void *allocator_map(int fd, uint64_t num_bytes, int protection, int flags,
                           struct failure *failure)
{
    struct map_file there;
    if (kmem__map_look(fd, &there, failure) < 0) {
        return NULL;
    }
    if (there.num_bytes < num_bytes || (there.seals & F_SEAL_SHRINK) == 0) {
        (void)kmem__failure_set(failure, EPROTO,
                                "the daemon sent a ledger or a clock that is not what it should "
                                "be; install the same version of both");
        return NULL;
    }
    void *at = kmem__map_sparse(NULL, num_bytes, protection, flags, fd);
    if (at == MAP_FAILED) {
        (void)kmem__map_failed(failure, errno, "this process's ledger", num_bytes);
        return NULL;
    }
    (void)madvise(at, num_bytes, MADV_DONTFORK);
    kmem__dump_leave_out(at, num_bytes);
    return at;
}

/*
 * What a debugger needs of them in a core, if the user wants it: all but the entries of the
 * smallest blocks, whose place for each 16 bytes of the segment is as large as the segment. What is
 * in no use of a ledger's file takes memory when it is dumped: so it is not done unasked.
 */
static void allocator_keep_for_cores(const struct allocator *allocator,
                                     const struct ledger_layout *layout)
{
    unsigned char *ledger = allocator->ledger_at;
    const enum dump wanted = kmem__dump_wanted(DUMP_NONE);
    if (wanted == DUMP_LEDGER || wanted == DUMP_BLOCKS) {
        kmem__dump_keep(ledger, layout->plane_at[2] - CPU_PAGE_SKEW_BYTES);
        kmem__dump_keep(ledger + layout->reasons_at, layout->total_bytes - layout->reasons_at);
        kmem__dump_keep(allocator->clock_at, NOTICE_BYTES);
    }
}

/* Called once the notice is mapped. */
KMEM_MUST_USE static int allocator_choose_clearing(const _Atomic uint32_t *clock,
                                                   struct failure *failure)
{
    const struct notice *notice = (const void *)clock;
    enum clear_loop forced;
    const int r = kmem__locate_clear(&forced, failure);
    if (r == 0) {
        /* Relaxed: a number that stands alone. */
        kmem__clear_choose(forced, atomic_load_explicit(&notice->clear, memory_order_relaxed));
    }
    return r;
}

int kmem__allocator_open(struct allocator *allocator, struct welcome *welcome,
                         const struct segment *segment, lend_function lend, void *lender,
                         struct failure *failure)
{
    struct ledger_layout layout;
    struct ledger ledger;
    const uint32_t n_pages = (uint32_t)(welcome->segment_bytes >> PAGE_SHIFT);
    ledger_layout_init(&layout, n_pages);
    allocator->ledger_bytes = layout.total_bytes;
    /* A reader has nothing to tell in its ledger, and no right to: what is written is its own. */
    allocator->ledger_at =
        allocator_map(welcome->ledger_fd, layout.total_bytes, PROT_READ | PROT_WRITE,
                      welcome->is_reader ? MAP_PRIVATE | MAP_NORESERVE : MAP_SHARED, failure);
    allocator->clock_at =
        allocator_map(welcome->clock_fd, NOTICE_BYTES, PROT_READ, MAP_SHARED, failure);
    int r = allocator->ledger_at == NULL || allocator->clock_at == NULL ? -failure->error : 0;
    if (r == 0) {
        allocator_keep_for_cores(allocator, &layout);
    }
    if (r == 0 && ledger_attach(&ledger, allocator->ledger_at, n_pages) != 0) {
        r = kmem__failure_set(failure, EPROTO,
                              "the daemon sent a ledger of another layout; install the same "
                              "version of both");
    }
    if (r == 0) {
        const _Atomic uint32_t *clock =
            (const void *)((const unsigned char *)allocator->clock_at + CLOCK_TICK_AT);
        r = kmem__allocator_init(allocator, segment, &ledger, clock, lend, lender);
        if (r < 0) {
            (void)kmem__failure_set(failure, ENOMEM, "no memory for what leases need");
        } else {
            r = allocator_choose_clearing(clock, failure);
        }
    }
    if (r < 0) {
        kmem__allocator_fini(allocator);
        return r;
    }
    kmem__notice_open(&allocator->notice, allocator->clock_at, welcome->clock_fd, segment->name);
    welcome->clock_fd = -1; /* the notice's */
    return 0;
}

void kmem__allocator_fini(struct allocator *allocator)
{
    struct heaps *heaps = &allocator->heaps;
    while (heaps->abandoned != NULL) {
        struct heap *heap = heaps->abandoned;
        heaps->abandoned = heap->next_abandoned;
        /* Relaxed: no other thread is in a call. */
        atomic_store_explicit(&heaps->by_id[heap->id], NULL, memory_order_relaxed);
        kmem__bins_unmap(heap);
    }
    for (uint32_t id = 1; id <= heaps->n_ids; id++) {
        struct heap *heap = kmem__allocator_heap(allocator, id);
        if (heap != NULL) {
            memset((void *)heap, 0, sizeof(*heap));
        }
    }
    kmem__lifetimes_fini(&allocator->lifetimes);
    kmem__intern_fini(&allocator->intern);
    kmem__holds_fini(&allocator->holds);
    kmem__holds_fini(&allocator->directs);
    kmem__notice_close(&allocator->notice);
    table_unmap((void *)heaps->by_id, BY_ID_BYTES);
    table_unmap(allocator->remotes, remotes_bytes(allocator));
    notes_unmap(allocator);
    table_unmap(allocator->ledger_at, allocator->ledger_bytes);
    table_unmap(allocator->clock_at, NOTICE_BYTES);
    memset(allocator, 0, sizeof(*allocator));
}

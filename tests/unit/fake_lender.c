/* SPDX-License-Identifier: MIT */
#include "tests/unit/fake_lender.h"

#include <stdlib.h>
#include <string.h>
#include <linux/membarrier.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "client/heap/heap.h"
#include "proto/lease.h"

static void *map_file(const char *name, uint64_t num_bytes)
{
    const int fd = memfd_create(name, MFD_CLOEXEC);
    KMEM_ASSERT(fd >= 0);
    KMEM_ASSERT(ftruncate(fd, (off_t)num_bytes) == 0);
    /* 2 MiB-aligned, as the library maps it. */
    const uint64_t align_bytes = UINT64_C(2) << 20;
    unsigned char *reserved = mmap(NULL, num_bytes + align_bytes, PROT_NONE,
                                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    KMEM_ASSERT(reserved != MAP_FAILED);
    void *at = reserved + (-(uintptr_t)reserved % align_bytes);
    KMEM_ASSERT(mmap(at, num_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == at);
    (void)close(fd);
    return at;
}

/* First fit among pages that nobody has. */
static uint32_t find_ungranted(const struct fake_lender *lender, uint32_t n_pages)
{
    uint32_t n_found = 0;
    for (uint32_t page = 1; page < lender->n_pages; page++) {
        n_found = lender->is_granted[page] ? 0 : n_found + 1;
        if (n_found == n_pages) {
            return page + 1 - n_pages;
        }
    }
    return 0;
}

static void grant(struct fake_lender *lender, uint32_t page, uint32_t n_pages)
{
    for (uint32_t i = 0; i < n_pages; i++) {
        lender->is_granted[page + i] = true;
    }
    lender->n_granted += n_pages;
    lease_grant(lender->ledger.states, page, n_pages, !lender->is_dirty);
}

static int lend(void *of_lender, uint32_t n_pages, uint32_t want_pages, struct run *ret_run)
{
    struct fake_lender *lender = of_lender;
    (void)pthread_mutex_lock(&lender->lock);
    lender->n_asked++;
    uint32_t granted = lender->is_refusing ? n_pages - 1 : want_pages;
    uint32_t page = 0;
    while (granted >= n_pages && (page = find_ungranted(lender, granted)) == 0) {
        granted = granted / 2 > n_pages ? granted / 2 : granted == n_pages ? 0 : n_pages;
    }
    if (page != 0) {
        grant(lender, page, granted);
        *ret_run = (struct run){page, granted};
    }
    (void)pthread_mutex_unlock(&lender->lock);
    return page != 0 ? 0 : -1;
}

struct fake_lender *fake_lender_new(uint32_t n_pages)
{
    struct ledger_layout layout;
    struct fake_lender *lender = calloc(1, sizeof(*lender));
    KMEM_ASSERT(lender != NULL);
    lender->n_pages = n_pages;
    lender->base = map_file("segment", n_pages * PAGE_BYTES);
    ledger_layout_init(&layout, n_pages);
    lender->ledger_at = map_file("ledger", layout.total_bytes);
    ledger_format(&lender->ledger, lender->ledger_at, n_pages);
    lender->is_granted = calloc(n_pages, sizeof(bool));
    lender->allocator = calloc(1, sizeof(struct allocator));
    KMEM_ASSERT(lender->is_granted != NULL);
    KMEM_ASSERT(lender->allocator != NULL);
    const struct segment segment = {
        .base = lender->base, .num_bytes = n_pages * PAGE_BYTES, .guard = &lender->guard};
    const int r = kmem__allocator_init(lender->allocator, &segment, &lender->ledger, lender->clock,
                                       lend, lender);
    KMEM_ASSERT(r == 0);
    return lender;
}

void fake_lender_free(struct fake_lender *lender)
{
    struct ledger_layout layout;
    kmem__allocator_fini(lender->allocator);
    ledger_layout_init(&layout, lender->n_pages);
    (void)munmap(lender->ledger_at, layout.total_bytes);
    (void)munmap(lender->base, lender->n_pages * PAGE_BYTES);
    free(lender->allocator);
    free(lender->is_granted);
    free(lender);
}

uint32_t fake_lender_revoke(struct fake_lender *lender, uint32_t n_pages)
{
    uint32_t n_revoked = 0;
    (void)pthread_mutex_lock(&lender->lock);
    lender->is_dirty = true;
    for (uint32_t page = 1; n_revoked < n_pages;) {
        const uint32_t n = lease_revoke(lender->ledger.states, &page, lender->n_pages);
        if (n == 0) {
            break;
        }
        for (uint32_t i = 0; i < n; i++) {
            KMEM_ASSERT(lender->is_granted[page + i]);
            lender->is_granted[page + i] = false;
        }
        lease_forget(lender->ledger.states, page, n);
        n_revoked += n;
        page += n;
    }
    lender->n_granted -= n_revoked;
    (void)pthread_mutex_unlock(&lender->lock);
    return n_revoked;
}

/* Pages that were seized are nobody's; whoever gets them next finds others' bytes in them. */
static void ungrant_seized(struct fake_lender *lender, uint32_t page, uint32_t n_pages)
{
    for (uint32_t i = 0; i < n_pages; i++) {
        KMEM_ASSERT(lender->is_granted[page + i]);
        lender->is_granted[page + i] = false;
        memset(lender->base + (uint64_t)(page + i) * PAGE_BYTES, 0x5a, PAGE_BYTES);
    }
    lender->n_granted -= n_pages;
    lease_forget(lender->ledger.states, page, n_pages);
}

/*
 * A copy of a head, as the daemon makes one by pread(), which ThreadSanitizer does not see: the
 * client may write it meanwhile.
 */
struct head_copy {
    uint32_t kind;
    uint32_t span_pages;
    uint32_t size_class;
};

__attribute__((noinline, no_sanitize("thread"))) static struct head_copy
head_peek(const struct fake_lender *lender, uint32_t page)
{
    const struct ledger_head *head = &lender->ledger.heads[page];
    const volatile uint32_t *span_pages = &head->span_pages;
    const volatile uint16_t *size_class = &head->size_class;
    return (struct head_copy){
        .kind = atomic_load(&head->kind), .span_pages = *span_pages, .size_class = *size_class};
}

/* Whether it is still the slab that was seen, and no block is live in it. */
static bool slab_is_idle(const struct fake_lender *lender, uint32_t page, struct head_copy seen)
{
    const struct head_copy now = head_peek(lender, page);
    const struct size_class *of = &size_classes[seen.size_class];
    const struct ledger_entry *entries =
        lender->ledger.planes[of->plane] + ((uint64_t)page << PLANE_SHIFT(of->plane));
    return now.kind == HEAD_SLAB && now.size_class == seen.size_class &&
           ledger_entries_are_idle(entries, of->n_blocks);
}

uint32_t fake_lender_seize(struct fake_lender *lender)
{
    uint32_t n_seized = 0;
    (void)pthread_mutex_lock(&lender->lock);
    lender->is_dirty = true;
    for (uint32_t page = 1; page < lender->n_pages; page++) {
        const struct head_copy head = head_peek(lender, page);
        if (lease_flags_of(lender->ledger.states, page) != LEASE_OPEN || head.kind != HEAD_SLAB ||
            head.size_class >= N_SIZE_CLASSES) {
            continue;
        }
        const uint32_t span = size_classes[head.size_class].span_pages;
        if (span > lender->n_pages - page || !lease_ask(lender->ledger.states, page, span)) {
            continue;
        }
        lease_announce(lender->ledger.states);
        (void)syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0);
        uint32_t n_pages = 0;
        if (slab_is_idle(lender, page, head)) {
            n_pages = lease_seize(lender->ledger.states, page, span);
            ungrant_seized(lender, page, n_pages);
        }
        lease_unask(lender->ledger.states, page + n_pages, span - n_pages);
        n_seized += n_pages;
    }
    (void)pthread_mutex_unlock(&lender->lock);
    return n_seized;
}

uint32_t fake_lender_count_used(const struct fake_lender *lender)
{
    uint32_t n_used = 0;
    for (uint32_t page = 0; page < lender->n_pages; page++) {
        const uint32_t state = lease_state_of(lender->ledger.states, page) & LEASE_STATE_MASK;
        n_used += state == LEASE_USED;
    }
    return n_used;
}

uint64_t fake_lender_count_live(const struct fake_lender *lender)
{
    uint64_t n_live = 0;
    for (uint32_t plane = 0; plane < N_PLANES; plane++) {
        const struct ledger_entry *entries = lender->ledger.planes[plane];
        const uint64_t n_entries = (uint64_t)lender->n_pages << PLANE_SHIFT(plane);
        for (uint64_t i = 0; i < n_entries; i++) {
            const uint64_t word = atomic_load_explicit(&entries[i].word, memory_order_relaxed);
            n_live += ENTRY_NUM_BYTES(word) != 0;
        }
    }
    return n_live;
}
